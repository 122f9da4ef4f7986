
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/pg/ngx_broadcast_pgoutput.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pgoutput.h"

#include "tap.h"


/*
 * Bytes as PostgreSQL 15 has sent them; each is parsed whole, then with each
 * byte less, from a block of that size, so a read behind its end is reported.
 */

static ngx_broadcast_pgoutput_t  out;


static ngx_int_t
parse(const void *bytes, size_t len)
{
    u_char     *copy;
    ngx_int_t   rc;

    copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);

    rc = ngx_broadcast_pgoutput_parse(copy, len, &out);

    /* borrowed from the copy, so compared before it is freed */

    if (rc == NGX_OK && out.type == NGX_BROADCAST_PGOUTPUT_MESSAGE) {
        is_mem(out.prefix.data, out.prefix.len, "broadcast", 9,
               "the prefix, without its zero");
        is_mem(out.content.data, out.content.len, "a\0b", 3,
               "the content, whatever bytes it has");
    }

    free(copy);

    return rc;
}


#define B(bytes)  bytes, sizeof(bytes) - 1

#define DATA  "w" "\0\0\0\1\2\3\4\5" "\0\0\0\1\2\3\4\6" "\0\0\0\0\0\0\0\7"

static const char  begin[] = DATA "B" "\0\0\0\x16\xb3\x74\xd8\x48"
                             "\0\0\0\0\0\0\0\1" "\xff\0\0\1";
static const char  commit[] = DATA "C" "\0" "\0\0\0\x16\xb3\x74\xd8\x48"
                              "\0\0\0\x16\xb3\x74\xd8\x78"
                              "\0\0\0\0\0\0\0\1";
static const char  message[] = DATA "M" "\1" "\0\0\0\x16\xb3\x74\xd8\x10"
                               "broadcast\0" "\0\0\0\3" "a\0b";
static const char  keepalive[] = "k" "\x80\0\0\1\2\3\4\5"
                                 "\0\0\0\0\0\0\0\1" "\1";


static void
shorter(const char *bytes, size_t len, const char *name)
{
    size_t  n, wrong;

    wrong = 0;

    for (n = 0; n < len; n++) {
        if (parse(bytes, n) != NGX_ERROR) {
            wrong++;
        }
    }

    is_int(wrong, 0, name);
}


/* a large one, whose content of n bytes is behind what is here */

static ngx_int_t
large(const char *bytes, size_t here, size_t n)
{
    u_char     *copy;
    ngx_int_t   rc;

    copy = malloc(here);
    memcpy(copy, bytes, here);

    rc = ngx_broadcast_pgoutput_begin(copy, here, here + n, &out);

    if (rc == NGX_OK) {
        is_mem(out.prefix.data, out.prefix.len, "broadcast", 9,
               "the prefix of a large one");
        is_int(out.content.data - copy, here - 2,
               "... where its content begins, of which some is there");
    }

    free(copy);

    return rc;
}


static void
errors(const char *bytes, size_t len, const char *state, const char *message)
{
    u_char     *copy;
    ngx_str_t   s, m;

    copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);

    ngx_broadcast_pgoutput_error(copy, len, &s, &m);

    is_mem(s.data, s.len, state, strlen(state), "an error's SQLSTATE");
    is_mem(m.data, m.len, message, strlen(message), "... and words");

    free(copy);
}


int
main(void)
{
    u_char  status[NGX_BROADCAST_PGOUTPUT_STATUS + 1];

    is_int(parse(B(begin)), NGX_OK, "a transaction begins");
    is_int(out.type, NGX_BROADCAST_PGOUTPUT_BEGIN, "... is told as that");
    ok(out.lsn == 0x16b374d848ULL, "... with the place of its commit");
    ok(out.xid == 0xff000001, "... and its number, which has no sign");
    shorter(B(begin), "one that is cut off anywhere is an error");

    is_int(parse(B(commit)), NGX_OK, "a transaction ends");
    is_int(out.type, NGX_BROADCAST_PGOUTPUT_COMMIT, "... is told as that");
    ok(out.lsn == 0x16b374d878ULL, "... with the place behind its commit");
    shorter(B(commit), "one that is cut off anywhere is an error");

    is_int(parse(B(message)), NGX_OK, "a message");
    is_int(out.type, NGX_BROADCAST_PGOUTPUT_MESSAGE, "... is told as that");
    is_int(out.transactional, 1, "... of a transaction");
    ok(out.lsn == 0x16b374d810ULL, "... with its own place");
    shorter(B(message), "one that is cut off anywhere is an error");

    is_int(parse(B(keepalive)), NGX_OK, "a keepalive");
    is_int(out.type, NGX_BROADCAST_PGOUTPUT_KEEPALIVE, "... is told as that");
    ok(out.lsn == 0x8000000102030405ULL, "... with what was sent");
    is_int(out.reply, 1, "... that wants an answer");
    shorter(B(keepalive), "one that is cut off anywhere is an error");

    is_int(parse(B(DATA "I" "\0\0\0\1N\0\1")), NGX_OK, "a row");
    is_int(out.type, NGX_BROADCAST_PGOUTPUT_OTHER, "... is nothing to us");
    is_int(parse(B("x")), NGX_ERROR, "another message of COPY is an error");

    is_int(parse(B(DATA "M\1\0\0\0\0\0\0\0\1broadcast")), NGX_ERROR,
           "a prefix without an end is an error");
    is_int(parse(B(DATA "M\1\0\0\0\0\0\0\0\1b\0\xff\xff\xff\xff" "a")),
           NGX_ERROR, "so is a length beyond the message");

#define LARGE  DATA "M\1\0\0\0\0\0\0\0\1broadcast\0\0\1\0\2ab"

    is_int(large(B(LARGE), 65536), NGX_OK, "what is there of a large message");
    is_int(out.content.len, 65538, "... says how long it is");
    is_int(large(B(LARGE), 65535), NGX_ERROR, "not longer than it is there");
    is_int(large(B(LARGE), 65539), NGX_ERROR, "... nor much shorter");
    is_int(large(B(DATA "M\1\0\0\0\0\0\0\0\1" "a prefix that is long"), 9),
           NGX_DECLINED, "one whose prefix goes on is another's");
    is_int(large(B(DATA "I\0\0\0\1N\0\1"), 9), NGX_DECLINED, "so is a row");
    is_int(large(B("k\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0"), 9), NGX_ERROR,
           "a keepalive is not large");

    errors(B("SERROR\0C55006\0Min use\0\0"), "55006", "in use");
    errors(B("SERROR\0C55006\0Min u"), "55006", "");
    errors(B(""), "", "");

    memset(status, 0xaa, sizeof(status));
    ngx_broadcast_pgoutput_status(status, 0x102030405ULL, 0x8000000001ULL,
                                  946684800000001ULL, 1);

    is_mem(status, sizeof(status),
           B("r" "\0\0\0\1\2\3\4\5" "\0\0\0\x80\0\0\0\1" "\0\0\0\x80\0\0\0\1"
             "\0\0\0\0\0\0\0\1" "\1" "\xaa"),
           "a status: received, twice confirmed, the time since 2000, a wish");

    return done();
}
