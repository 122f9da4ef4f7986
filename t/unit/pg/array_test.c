
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/pg/ngx_broadcast_pg_array.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_array.h"

#include "tap.h"


static ngx_pool_t  *pool;


static void
text(const char *bytes, size_t len, const char *want, const char *name)
{
    char                      *got;
    ngx_str_t                  s;
    ngx_broadcast_pg_array_t   array;

    s.data = (u_char *) bytes;
    s.len = len;

    ngx_broadcast_pg_array_init(&array, pool, 0);
    ngx_broadcast_pg_array_text(&array, &s);

    got = ngx_broadcast_pg_array_done(&array);

    if (want == NULL) {
        ok(got == NULL, name);

    } else {
        is_mem(got, got ? strlen(got) : 0, want, strlen(want), name);
    }
}

#define T(bytes)  bytes, sizeof(bytes) - 1


static void
test_text(void)
{
    text(T("abc"), "{\"abc\"}", "a text is quoted");
    text(T(""), "{\"\"}", "the empty text is two quotes, no null");
    text(T("NULL"), "{\"NULL\"}", "the text NULL is no null");
    text(T("a\"b"), "{\"a\\\"b\"}", "a quote is escaped");
    text(T("a\\b"), "{\"a\\\\b\"}", "a backslash is escaped");
    text(T("\\\""), "{\"\\\\\\\"\"}", "both, each by itself");
    text(T("\"\"\"\""), "{\"\\\"\\\"\\\"\\\"\"}", "a text of quotes alone");
    text(T("{a,b}"), "{\"{a,b}\"}", "braces and commas are only text");
    text(T("  a\n\t"), "{\"  a\n\t\"}", "white space at both ends stays");
    text(T("\xc3\xbc\xf0\x9f\x98\x80"),
         "{\"\xc3\xbc\xf0\x9f\x98\x80\"}", "UTF-8 goes as it is");
    text(T("a\0b"), NULL, "a zero byte is refused, not cut off");
}


static void
test_elements(void)
{
    char                      *got;
    ngx_str_t                  s;
    ngx_broadcast_pg_array_t   array;

    ngx_broadcast_pg_array_init(&array, pool, 0);
    is_int(strcmp(ngx_broadcast_pg_array_done(&array), "{}"), 0,
           "no element");

    ngx_broadcast_pg_array_init(&array, pool, 0);

    s = tap_str("a");
    ngx_broadcast_pg_array_text(&array, &s);
    ngx_broadcast_pg_array_null(&array);
    ngx_broadcast_pg_array_int(&array, 0);
    ngx_broadcast_pg_array_int(&array, INT64_MAX);
    ngx_broadcast_pg_array_int(&array, INT64_MIN);
    s.len = 0;
    ngx_broadcast_pg_array_text(&array, &s);

    got = ngx_broadcast_pg_array_done(&array);

    is_mem(got, strlen(got), T("{\"a\",NULL,0,9223372036854775807,"
                               "-9223372036854775808,\"\"}"),
           "elements of all kinds, with commas between");
}


static void
test_large(void)
{
    char                      *got;
    size_t                     i, len;
    ngx_str_t                  s;
    ngx_broadcast_pg_array_t   array;

    len = 1024 * 1024;

    s.len = len;
    s.data = ngx_alloc(len, pool->log);

    for (i = 0; i < len; i++) {
        s.data[i] = (i % 3) ? '"' : 'x';
    }

    ngx_broadcast_pg_array_init(&array, pool, 10);
    ngx_broadcast_pg_array_text(&array, &s);
    ngx_broadcast_pg_array_text(&array, &s);

    got = ngx_broadcast_pg_array_done(&array);

    is_int(strlen(got), 2 * (len + len - (len + 2) / 3 + 2) + 3,
           "a megabyte of quotes, twice, from a guess of ten bytes");
    is_int(got[strlen(got) - 1], '}', "and its end");

    ngx_free(s.data);
}


int
main(void)
{
    pool = ngx_create_pool(1024, &ngx_stub_log);

    test_text();
    test_elements();
    test_large();

    ngx_destroy_pool(pool);

    return done();
}
