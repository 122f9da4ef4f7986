
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_deflate.c src/proto/ngx_broadcast_extension.c
 *        -lz */


#include <ngx_config.h>
#include <ngx_core.h>

#include <zlib.h>

#include "proto/ngx_broadcast_deflate.h"
#include "proto/ngx_broadcast_extension.h"

#include "tap.h"


#define T(text)  { sizeof(text) - 1, (u_char *) text }

#define ANSWER                                                                \
    "permessage-deflate; server_no_context_takeover; "                        \
    "client_no_context_takeover"


/* NULL for an answer: nothing is accepted */

static void
test_offers(void)
{
    size_t                      i, len;
    u_char                      buf[NGX_BROADCAST_EXTENSION_ANSWER];
    ngx_broadcast_extension_t   e;
    static struct {
        ngx_str_t    value;
        ngx_uint_t   window;
        const char  *answer;
        const char  *name;
    } rows[] = {
        { T("permessage-deflate"), 15, ANSWER, "the bare name" },
        { T("permessage-deflate"), 0, NULL, "it is off" },
        { T("  permessage-deflate  "), 15, ANSWER, "blanks around it" },
        { T(",, permessage-deflate ,"), 15, ANSWER, "empty elements" },
        { T(""), 15, NULL, "nothing" },
        { T(" , "), 15, NULL, "nothing but a comma" },
        { T("x-webkit-deflate-frame"), 15, NULL, "another extension" },
        { T("Permessage-Deflate"), 15, NULL, "another case" },
        { T("foo; bar=1, permessage-deflate"), 15, ANSWER,
          "another extension before it" },
        { T("foo; bar=\"a\\b\"; baz, permessage-deflate"), 15, ANSWER,
          "another one with a quoted value" },

        { T("permessage-deflate; client_max_window_bits"), 15, ANSWER,
          "what browsers send" },
        { T("permessage-deflate;client_max_window_bits"), 12,
          ANSWER "; server_max_window_bits=12; client_max_window_bits=12",
          "a smaller window of ours is asked for" },
        { T("permessage-deflate"), 12, ANSWER "; server_max_window_bits=12",
          "of a client that cannot be asked it is only told" },
        { T("permessage-deflate; client_max_window_bits=10"), 15,
          ANSWER "; client_max_window_bits=10", "a client's window" },
        { T("permessage-deflate; client_max_window_bits=8"), 15,
          ANSWER "; client_max_window_bits=8", "a client's may be 8" },
        { T("permessage-deflate; client_max_window_bits=15"), 11,
          ANSWER "; server_max_window_bits=11; client_max_window_bits=11",
          "a client's is cut to ours" },
        { T("permessage-deflate; server_max_window_bits=15"), 15,
          ANSWER "; server_max_window_bits=15", "15 is named if it was" },
        { T("permessage-deflate; server_max_window_bits=9"), 15,
          ANSWER "; server_max_window_bits=9", "a server's window" },
        { T("permessage-deflate; server_max_window_bits=14"), 10,
          ANSWER "; server_max_window_bits=10", "ours may be smaller" },
        { T("permessage-deflate; server_max_window_bits=\"10\""), 15,
          ANSWER "; server_max_window_bits=10", "a quoted value" },
        { T("permessage-deflate; server_max_window_bits=\"1\\0\""), 15,
          ANSWER "; server_max_window_bits=10", "a quoted pair" },
        { T("permessage-deflate ; server_max_window_bits = 10"), 15,
          ANSWER "; server_max_window_bits=10", "blanks at all seams" },
        { T("permessage-deflate; server_no_context_takeover; "
            "client_no_context_takeover"), 15, ANSWER, "no takeover" },

        { T("permessage-deflate; server_max_window_bits=8"), 15, NULL,
          "a server's window of 8 zlib cannot keep to" },
        { T("permessage-deflate; server_max_window_bits=8, "
            "permessage-deflate"), 15, ANSWER, "the second offer is taken" },
        { T("permessage-deflate; server_max_window_bits=9, "
            "permessage-deflate"), 15, ANSWER "; server_max_window_bits=9",
          "of two good ones the first" },
        { T("permessage-deflate; server_max_window_bits"), 15, NULL,
          "a server's window without a value" },
        { T("permessage-deflate; server_max_window_bits=7"), 15, NULL,
          "a server's window of 7" },
        { T("permessage-deflate; server_max_window_bits=16"), 15, NULL,
          "a server's window of 16" },
        { T("permessage-deflate; server_max_window_bits=010"), 15, NULL,
          "a leading zero" },
        { T("permessage-deflate; server_max_window_bits=1x"), 15, NULL,
          "a value that is no number" },
        { T("permessage-deflate; server_max_window_bits=1000000000000"), 15,
          NULL, "a value longer than any" },
        { T("permessage-deflate; client_max_window_bits=7"), 15, NULL,
          "a client's window of 7" },
        { T("permessage-deflate; client_max_window_bits=+9"), 15, NULL,
          "a sign" },
        { T("permessage-deflate; server_no_context_takeover=1"), 15, NULL,
          "a value where none may be" },
        { T("permessage-deflate; client_no_context_takeover=\"x\""), 15, NULL,
          "a quoted value where none may be" },
        { T("permessage-deflate; client_max_window_bits; "
            "client_max_window_bits"), 15, NULL, "a parameter twice" },
        { T("permessage-deflate; server_no_context_takeover; "
            "server_no_context_takeover"), 15, NULL, "another one twice" },
        { T("permessage-deflate; mode=fast"), 15, NULL,
          "an unknown parameter" },
        { T("permessage-deflate; Server_no_context_takeover"), 15, NULL,
          "a parameter in another case" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_memzero(&e, sizeof(e));
        e.window = rows[i].window;

        is_int(ngx_broadcast_extension_offers(&e, &rows[i].value), NGX_OK,
               rows[i].name);

        if (rows[i].answer == NULL) {
            is_int(e.server, 0, "... is not accepted");
            continue;
        }

        len = ngx_broadcast_extension_answer(buf, &e);
        is_mem(buf, len, rows[i].answer, strlen(rows[i].answer),
               "... is accepted as it should be");
    }
}


static void
test_malformed(void)
{
    size_t                      i;
    ngx_broadcast_extension_t   e;
    static ngx_str_t            values[] = {
        T(";"), T("a;"), T("a; ;b"), T("a b"), T("a; b c"), T("=1"),
        T("a; =1"), T("a; b="), T("a; b=;"), T("a; b=,"), T("a; b=\""),
        T("a; b=\"\""), T("a; b=\"c"), T("a; b=\"c\\"), T("a; b=\"c d\""),
        T("a; b=\"c\"d"), T("a; b=c d"), T("a/b"), T("a; b=c=d"),
        T("permessage-deflate, \x01"), T("permessage-deflate, \x80"),
        T("permessage-deflate; server_max_window_bits=10 11"),
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        ngx_memzero(&e, sizeof(e));
        e.window = 15;

        is_int(ngx_broadcast_extension_offers(&e, &values[i]), NGX_ERROR,
               (char *) values[i].data);
    }
}


static void
test_values(void)
{
    ngx_str_t                   first = T("permessage-deflate; x=1");
    ngx_str_t                   second = T("permessage-deflate");
    ngx_str_t                   third = T("permessage-deflate; "
                                          "server_max_window_bits=9");
    ngx_broadcast_extension_t   e;

    ngx_memzero(&e, sizeof(e));
    e.window = 15;

    (void) ngx_broadcast_extension_offers(&e, &first);
    is_int(e.server, 0, "an offer of the first header is declined");
    (void) ngx_broadcast_extension_offers(&e, &second);
    is_int(e.server, 15, "that of the second is accepted");
    (void) ngx_broadcast_extension_offers(&e, &third);
    is_int(e.server, 15, "and the third comes too late");
}


static u_char *
text(size_t len)
{
    size_t   i;
    u_char  *p;

    p = malloc(len + 1);

    for (i = 0; i < len; i++) {
        p[i] = "nginx broadcast: "[i % 17] + (i / 1000) % 3;
    }

    return p;
}


static u_char *
noise(size_t len)
{
    size_t    i;
    u_char   *p;
    uint32_t  x;

    p = malloc(len + 1);
    x = 1;

    for (i = 0; i < len; i++) {
        x = x * 1103515245 + 12345;
        p[i] = (u_char) (x >> 16);
    }

    return p;
}


static void
test_round(void)
{
    size_t      i;
    ngx_str_t   in, out, back;
    ngx_uint_t  bits, same;
    size_t      lens[] = { 2, 20, 128, 1000, 65536, 1000000 };

    for (bits = 9; bits <= 15; bits++) {
        for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
            in.len = lens[i];
            in.data = text(in.len);

            if (ngx_broadcast_deflate(bits, &in, &out) != NGX_OK) {
                ok(in.len <= 20, "only what is short gets no shorter");
                free(in.data);
                continue;
            }

            ok(out.len < in.len, "it gets shorter");

            same = ngx_broadcast_inflate(&out, in.len, &back) == NGX_OK
                   && back.len == in.len
                   && memcmp(back.data, in.data, in.len) == 0;

            ok(same, "and is the same again");
            is_int(ngx_broadcast_inflate(&out, in.len - 1, &back), NGX_BUSY,
                   "a limit of a byte less is kept");

            free(in.data);
        }

        in.len = 100000;
        in.data = noise(in.len);
        is_int(ngx_broadcast_deflate(bits, &in, &out), NGX_DECLINED,
               "noise gets no shorter");
        free(in.data);
    }
}


/* a peer that keeps to the window decodes what was made for it */

static void
test_window(void)
{
    u_char      buf[70000];
    z_stream    s;
    ngx_str_t   in, out;
    ngx_uint_t  bits;

    for (bits = 9; bits <= 15; bits++) {
        in.len = 60000;
        in.data = noise(in.len);
        memcpy(in.data + 30000, in.data, 30000);
        memset(in.data + 1000, 'x', 20000);

        if (ngx_broadcast_deflate(bits, &in, &out) != NGX_OK) {
            ok(0, "it gets shorter");
            continue;
        }

        memset(&s, 0, sizeof(s));
        (void) inflateInit2(&s, -(int) bits);
        s.next_in = out.data;
        s.avail_in = out.len;
        s.next_out = buf;
        s.avail_out = sizeof(buf);

        is_int(inflate(&s, Z_SYNC_FLUSH), Z_OK, "a window of that size does");
        is_mem(buf, s.next_out - buf, in.data, in.len, "and sees the same");

        inflateEnd(&s);
        free(in.data);
    }
}


static void
test_payloads(void)
{
    size_t      i;
    ngx_str_t   out;
    static struct {
        ngx_str_t    payload;
        ngx_int_t    rc;
        const char  *text;
        const char  *name;
    } rows[] = {
        { T("\xf2\x48\xcd\xc9\xc9\x07\x00"), NGX_OK, "Hello",
          "RFC 7692 7.2.3.1" },
        { T("\xf2\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00"),
          NGX_DECLINED, "", "two messages in one" },
        { T("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), NGX_OK, "Hello",
          "7.2.3.3: a stored block" },
        { T("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), NGX_OK, "Hello",
          "7.2.3.4: a block with BFINAL" },
        { T("\xf3\x48\xcd\xc9\xc9\x07\x00"), NGX_OK, "Hello",
          "BFINAL with nothing behind" },
        { T("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), NGX_OK,
          "Hello", "7.2.3.5: two blocks" },
        { T("\x00"), NGX_OK, "", "7.2.3.6: an empty message" },
        { T("\x02\x00"), NGX_OK, "", "an empty fixed block" },
        { T("\x03\x00"), NGX_OK, "", "an empty last block" },
        { T(""), NGX_DECLINED, "", "no payload at all" },
        { T("\xf2\x48\xcd\xc9"), NGX_DECLINED, "", "it breaks off" },
        { T("\x06"), NGX_DECLINED, "", "a block of the reserved type" },
        { T("\xff\xff\xff\xff"), NGX_DECLINED, "", "nonsense" },
        { T("\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00"), NGX_DECLINED, "",
          "a stored block whose lengths do not agree" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        is_int(ngx_broadcast_inflate(&rows[i].payload, 1000, &out), rows[i].rc,
               rows[i].name);

        if (rows[i].rc == NGX_OK) {
            is_mem(out.data, out.len, rows[i].text, strlen(rows[i].text),
                   "... says what it should");
        }
    }
}


/* a thousandth of what it becomes */

static void
test_bomb(void)
{
    ngx_str_t  in, bomb, out, small;

    in.len = 50000000;
    in.data = calloc(1, in.len);

    is_int(ngx_broadcast_deflate(15, &in, &bomb), NGX_OK, "a bomb is made");
    ok(bomb.len < 60000, "it is small");
    is_int(ngx_broadcast_inflate(&bomb, 1048576, &out), NGX_BUSY,
           "it is refused");
    is_int(out.len, 1048577, "with no more than the limit made of it");

    small.data = (u_char *) "\xf2\x48\xcd\xc9\xc9\x07";
    small.len = 7;
    is_int(ngx_broadcast_inflate(&small, 5, &out), NGX_OK,
           "the next message is not hurt");
    is_mem(out.data, out.len, "Hello", 5, "and is its own");
    is_int(ngx_broadcast_inflate(&small, 4, &out), NGX_BUSY,
           "unless it is above its limit");

    small.data = (u_char *) "\xf3\x48\xcd\xc9\xc9\x07";
    is_int(ngx_broadcast_inflate(&small, 4, &out), NGX_BUSY,
           "also where its last block says that it ends there");

    free(in.data);
}


int
main(void)
{
    test_offers();
    test_malformed();
    test_values();
    test_payloads();
    test_round();
    test_window();
    test_bomb();

    ngx_broadcast_deflate_stop();
    test_payloads();
    ngx_broadcast_deflate_stop();

    return done();
}
