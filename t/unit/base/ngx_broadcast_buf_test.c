
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/base/ngx_broadcast_buf.c src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_buf.h"

#include "tap.h"


static ngx_pool_t  *pool;


static void
json(const char *bytes, size_t len, const char *want, const char *name)
{
    ngx_str_t            s, text;
    ngx_broadcast_buf_t  b;

    s.data = (u_char *) bytes;
    s.len = len;

    ngx_broadcast_buf_init(&b, pool, 1);
    ngx_broadcast_buf_json(&b, &s);
    ngx_broadcast_buf_done(&b, &text);

    is_str(&text, want, name);
}

#define J(bytes)  bytes, sizeof(bytes) - 1


static void
test_append(void)
{
    ngx_str_t            s, text;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, pool, 0);
    is_int(ngx_broadcast_buf_done(&b, &text), NGX_OK, "nothing is fine");
    is_int(text.len, 0, "and empty");

    s = tap_str("str,");

    ngx_broadcast_buf_literal(&b, "literal,");
    ngx_broadcast_buf_str(&b, &s);
    ngx_broadcast_buf_char(&b, 'c');
    ngx_broadcast_buf_append(&b, (u_char *) "\0", 1);
    ngx_broadcast_buf_append(&b, NULL, 0);
    ngx_broadcast_buf_done(&b, &text);

    is_mem(text.data, text.len, "literal,str,c\0", 14,
           "what is appended stands in order");

    ngx_broadcast_buf_init(&b, pool, 0);
    ngx_broadcast_buf_uint(&b, 0);
    ngx_broadcast_buf_char(&b, ' ');
    ngx_broadcast_buf_uint(&b, UINT64_MAX);
    ngx_broadcast_buf_char(&b, ' ');
    ngx_broadcast_buf_int(&b, INT64_MIN);
    ngx_broadcast_buf_char(&b, ' ');
    ngx_broadcast_buf_int(&b, 42);
    ngx_broadcast_buf_done(&b, &text);

    is_str(&text, "0 18446744073709551615 -9223372036854775808 42",
           "numbers to the last of 64 bits");
}


static void
test_grow(void)
{
    u_char               *p;
    ngx_str_t             text;
    ngx_uint_t            i, wrong;
    ngx_broadcast_buf_t   b;

    ngx_broadcast_buf_init(&b, pool, 1);

    for (i = 0; i < 100000; i++) {
        ngx_broadcast_buf_char(&b, (u_char) (i * 7));
    }

    ngx_broadcast_buf_done(&b, &text);
    is_int(text.len, 100000, "it grows");

    wrong = 0;

    for (i = 0; i < text.len; i++) {
        wrong += text.data[i] != (u_char) (i * 7);
    }

    is_int(wrong, 0, "and nothing is lost");

    p = ngx_broadcast_buf_reserve(&b, 300000);
    ok(p == b.last && b.end - b.last >= 300000, "room can be asked for");
    is_int(ngx_broadcast_buf_len(&b), 100000, "which is not counted");
}


static void
test_failed(void)
{
    ngx_str_t            text;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, pool, 1);
    ngx_broadcast_buf_literal(&b, "before");
    ok(ngx_broadcast_buf_reserve(&b, NGX_MAX_SIZE_T_VALUE - 10) == NULL,
       "more than there can be is not there");
    ngx_broadcast_buf_literal(&b, "behind");
    is_int(ngx_broadcast_buf_done(&b, &text), NGX_ERROR,
           "and it is told at the end");
    is_int(text.len, 0, "with an empty text");
}


static void
test_json(void)
{
    ngx_str_t            s, text;
    ngx_broadcast_buf_t  b;

    json(J(""), "\"\"", "an empty string");
    json(J("plain"), "\"plain\"", "a plain string");
    json(J("a\"b\\c"), "\"a\\\"b\\\\c\"", "quote and backslash are escaped");
    json(J("/<>&'"), "\"/<>&'\"", "slash and markup are not");
    json(J("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"", "short escapes");
    json(J("\0\x1e\x1f\x7f"), "\"\\u0000\\u001e\\u001f\\u007f\"",
         "other control characters, the record separator among them");
    json(J("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "UTF-8 stays");
    json(J("a\xff" "b"), "\"a\xef\xbf\xbd" "b\"", "a wrong byte is replaced");
    json(J("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"",
         "so is each of a cut character");
    json(J("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
         "and of a surrogate");

    s = tap_str("a\n");
    ngx_broadcast_buf_init(&b, pool, 1);
    ngx_broadcast_buf_json_bare(&b, &s);
    ngx_str_null(&s);
    ngx_broadcast_buf_json_bare(&b, &s);
    ngx_broadcast_buf_done(&b, &text);
    is_str(&text, "a\\n", "a bare one has no quotes");
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_append();
    test_grow();
    test_failed();
    test_json();

    ngx_destroy_pool(pool);

    return done();
}
