
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/base/ngx_broadcast_json.c -ljansson */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_json.h"

#include "tap.h"


static ngx_pool_t  *pool;
static const char  *reason;


static json_t *
parse(const char *text, ngx_uint_t flags)
{
    ngx_str_t  s = tap_str(text);

    return ngx_broadcast_json_parse(&s, flags, &reason);
}


/* What comes of a text that is parsed and written again; "" for an error. */

static void
again(const char *text, ngx_uint_t flags, const char *want, const char *name)
{
    json_t     *value;
    ngx_str_t   out;

    ngx_str_null(&out);

    value = parse(text, flags);

    if (value) {
        ngx_broadcast_json_dump(pool, value, &out);
        json_decref(value);
    }

    is_str(&out, want, name);
}


static void
refused(const char *text, ngx_uint_t flags, const char *want,
    const char *name)
{
    json_t     *value;
    ngx_str_t   s;

    value = parse(text, flags);
    json_decref(value);

    s = tap_str(value ? "(taken)" : reason);

    is_str(&s, want, name);
}


static void
test_parse(void)
{
    json_t     *value;
    ngx_str_t   s;

    again("{ \"b\" : 1, \"a\" : [ true, null ] }", 0,
          "{\"b\":1,\"a\":[true,null]}", "compact and in order");
    again(" 7 ", 0, "7", "a bare number is JSON");
    again("\"a\\u0000b\"", 0, "\"a\\u0000b\"", "U+0000 survives");
    again("{\"a\":1,\"a\":2}", 0, "{\"a\":2}", "the last of two names counts");
    again("9223372036854775807", 0, "9223372036854775807",
          "the largest integer is kept");
    again("[9223372036854775808]", NGX_BROADCAST_JSON_REALS,
          "[9.2233720368547758e18]", "a larger one is a double if allowed");

    refused("{\"a\":1,\"a\":2}", NGX_BROADCAST_JSON_UNIQUE,
            "a name is repeated in an object", "unless names are to be unique");
    refused("[9223372036854775808]", 0, "a number is too big",
            "and else an error, never silence");
    refused("[1e999]", NGX_BROADCAST_JSON_REALS, "a number is too big",
            "as is what no double holds");
    refused("", 0, "JSON ends too early", "nothing is no JSON");
    refused("[1", 0, "JSON ends too early", "a cut text is none");
    refused("[1] x", 0, "something follows the JSON value",
            "nor one with more behind");
    s.data = (u_char *) "12\0";
    s.len = 3;
    value = ngx_broadcast_json_parse(&s, 0, &reason);
    ok(value == NULL, "not even a zero byte behind a number");
    json_decref(value);

    refused("{\"a\\u0000\":1}", 0, "a name holds U+0000",
            "no U+0000 in names");
    refused("\"\xff\"", 0, "JSON is not UTF-8", "only UTF-8");
    refused("\"\\ud800\"", 0, "not JSON", "no lone surrogate");
    refused("{a:1}", 0, "not JSON", "no bare names");
}


static void
test_depth(void)
{
    char       text[2 * NGX_BROADCAST_JSON_DEPTH + 3];
    json_t    *value;
    ngx_str_t  s;

    ngx_str_set(&s, "[{\"a[\\\"[\":[]},[[[0]]]]");
    is_int(ngx_broadcast_json_levels(&s), 4, "the deepest branch counts");

    ngx_str_set(&s, "\"[[\"");
    is_int(ngx_broadcast_json_levels(&s), 0, "a scalar has no levels");

    memset(text, '[', NGX_BROADCAST_JSON_DEPTH);
    memset(text + NGX_BROADCAST_JSON_DEPTH, ']', NGX_BROADCAST_JSON_DEPTH);
    text[2 * NGX_BROADCAST_JSON_DEPTH] = '\0';

    value = parse(text, 0);
    ok(value != NULL, "512 levels are allowed");
    json_decref(value);

    memset(text, '[', NGX_BROADCAST_JSON_DEPTH + 1);
    memset(text + NGX_BROADCAST_JSON_DEPTH + 1, ']',
           NGX_BROADCAST_JSON_DEPTH + 1);
    text[2 * NGX_BROADCAST_JSON_DEPTH + 2] = '\0';

    refused(text, 0, "JSON is nested too deep", "513 are not");

    memset(text, '[', sizeof(text) - 1);
    text[0] = '"';
    text[1] = '\\';
    text[2] = '"';
    text[sizeof(text) - 2] = '"';
    text[sizeof(text) - 1] = '\0';

    value = parse(text, 0);
    ok(value != NULL, "brackets in a string are no levels");
    json_decref(value);
}


static void
test_members(void)
{
    json_t     *value, *string;
    ngx_str_t   s;

    value = parse("{\"s\":\"a\\u0000b\",\"n\":1,\"z\":null,\"e\":\"\"}", 0);

    is_int(ngx_broadcast_json_str(value, "s", &s), NGX_OK, "a string member");
    is_mem(s.data, s.len, "a\0b", 3, "with all its bytes");
    is_int(ngx_broadcast_json_str(value, "e", &s), NGX_OK, "an empty one");
    is_int(ngx_broadcast_json_str(value, "n", &s), NGX_ERROR,
           "a number is no string");
    is_int(ngx_broadcast_json_str(value, "z", &s), NGX_DECLINED,
           "null is no member");
    is_int(ngx_broadcast_json_str(value, "x", &s), NGX_DECLINED,
           "nor is what is not there");
    is_int(ngx_broadcast_json_str(NULL, "x", &s), NGX_DECLINED,
           "no object has no members");

    ngx_str_null(&s);
    string = ngx_broadcast_json_new(&s);
    ok(json_is_string(string), "a null string is an empty one");
    json_decref(string);

    s = tap_str("\xff");
    ok(ngx_broadcast_json_new(&s) == NULL, "none of what is not UTF-8");

    is_int(ngx_broadcast_json_own(pool, value), NGX_OK,
           "the pool may have it (and releases it, or a leak is reported)");
}


int
main(void)
{
    ngx_broadcast_json_init();

    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_parse();
    test_depth();
    test_members();

    ngx_destroy_pool(pool);

    return done();
}
