
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_recode.c
 *        src/proto/ngx_broadcast_recode_shape.c
 *        src/proto/ngx_broadcast_recode_text.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_msgpack.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_msgpack.h"
#include "proto/ngx_broadcast_recode.h"
#include "proto/ngx_broadcast_scan.h"

#include "tap.h"


static ngx_pool_t  *pool;


#define packs(json, bytes, name)                                              \
    is_packed(json, bytes, sizeof(bytes) - 1, name)

#define reads(bytes, json, name)                                              \
    is_text(bytes, sizeof(bytes) - 1, json, name)


/* JSON in memory of exactly its size becomes those bytes */

static void
is_packed(const char *json, const char *bytes, size_t len, const char *name)
{
    u_char     *copy;
    ngx_str_t   text, packed;

    text.len = strlen(json);
    copy = malloc(text.len);
    memcpy(copy, json, text.len);
    text.data = copy;

    if (ngx_broadcast_recode_pack(&text, pool, &packed) != NGX_OK) {
        ngx_str_set(&packed, "(error)");
    }

    is_mem(packed.data, packed.len, bytes, len, name);

    free(copy);
}


static void
is_text(const char *bytes, size_t len, const char *json, const char *name)
{
    u_char                      *copy, *pos;
    ngx_str_t                    packed, span, text;
    const char                  *error;
    ngx_broadcast_scan_value_t   v;

    copy = malloc(len);
    memcpy(copy, bytes, len);
    packed.data = copy;
    packed.len = len;
    pos = copy;

    ok(ngx_broadcast_msgpack_check(&pos, copy + len, &span, &error) == NGX_OK
       && pos == copy + len
       && ngx_broadcast_recode_text(&packed, pool, &text) == NGX_OK
       && ngx_broadcast_scan_document(&text, &v, NULL) == NGX_OK,
       "a value becomes valid JSON:");

    is_mem(text.data, text.len, json, strlen(json), name);

    free(copy);
}


static void
test_pack(void)
{
    packs("null", "\xc0", "null");
    packs("true", "\xc3", "true");
    packs("false", "\xc2", "false");

    packs("[0,127,128,255,256,65535,65536,4294967295,4294967296]",
          "\x99\x00\x7f\xcc\x80\xcc\xff\xcd\x01\x00\xcd\xff\xff"
          "\xce\x00\x01\x00\x00\xce\xff\xff\xff\xff"
          "\xcf\x00\x00\x00\x01\x00\x00\x00\x00",
          "integers take the shortest form");
    packs("[-1,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649]",
          "\x99\xff\xe0\xd0\xdf\xd0\x80\xd1\xff\x7f\xd1\x80\x00"
          "\xd2\xff\xff\x7f\xff\xd2\x80\x00\x00\x00"
          "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff",
          "negative ones as well");
    packs("[9223372036854775807,9223372036854775808,18446744073709551615]",
          "\x93\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"
          "\xcf\x80\x00\x00\x00\x00\x00\x00\x00"
          "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
          "64 bits without a sign are kept whole");
    packs("[-9223372036854775808,-9223372036854775809]",
          "\x92\xd3\x80\x00\x00\x00\x00\x00\x00\x00"
          "\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00",
          "and with one; what is less is a float64");
    packs("18446744073709551616", "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00",
          "what is greater is a float64");
    packs("[1.0,1e2,0.1,-0]",
          "\x94\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"
          "\xcb\x40\x59\x00\x00\x00\x00\x00\x00"
          "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\x00",
          "a fraction or an exponent makes a float64");
    packs("[1e999,-1e999,1e-999]",
          "\x93\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"
          "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"
          "\xcb\x00\x00\x00\x00\x00\x00\x00\x00",
          "beyond the range of float64 is infinite, as JSON.parse() has it");

    packs("\"\"", "\xa0", "an empty string");
    packs("\"\\u00e4\\n\\\"\\\\\"", "\xa5\xc3\xa4\n\"\\",
          "escapes are decoded");
    packs("\"a\\u0000b\"", "\xa3" "a\0b", "U+0000 too");
    packs("\"\\ud83c\\udf88\"", "\xa4\xf0\x9f\x8e\x88", "a surrogate pair");
    packs("\"x\\ud800y\\udc00\"",
          "\xa8x\xef\xbf\xbdy\xef\xbf\xbd",
          "a lone surrogate becomes U+FFFD");
    packs("\"[{,\"", "\xa3[{,", "brackets and commas in a string are text");
    packs("\"\\\\\"", "\xa1\\", "a backslash before the closing quote");

    packs("[]", "\x90", "an empty array");
    packs("{}", "\x80", "an empty object");
    packs("[[],{},[[]]]", "\x93\x90\x80\x91\x90", "empty ones in one another");
    packs(" [ 1 , [ 2 , 3 ] , { \"a\" : [ ] , \"b\" : null } ] ",
          "\x93\x01\x92\x02\x03\x82\xa1" "a\x90\xa1" "b\xc0",
          "blanks between the tokens");
    packs("{\"z\":1,\"a\":2,\"z\":3}", "\x83\xa1z\x01\xa1" "a\x02\xa1z\x03",
          "names keep their order, and a repeated one is kept");
    packs("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]",
          "\xdc\x00\x10\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d"
          "\x0e\x0f\x10", "sixteen elements need a longer head");
}


static void
test_long(void)
{
    size_t      i;
    char       *p, *text;
    ngx_str_t   json, packed;

    /* a number of as many digits as a message may have bytes */

    text = malloc(100001);
    memset(text, '9', 100000);
    text[100000] = '\0';

    packs(text, "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
          "a hundred thousand digits are infinite");

    text[1] = '.';
    packs(text, "\xcb\x40\x24\x00\x00\x00\x00\x00\x00",
          "behind the point they are rounded");

    free(text);

    text = malloc(70003);
    memset(text, 'x', 70002);
    text[0] = '"';
    text[70001] = '"';

    json.data = (u_char *) text;
    json.len = 70002;

    ok(ngx_broadcast_recode_pack(&json, pool, &packed) == NGX_OK
       && packed.len == 70005
       && memcmp(packed.data, "\xdb\x00\x01\x11\x70xxx", 8) == 0,
       "a string of 70000 bytes has a head of five");

    free(text);

    text = malloc(2 * 70000 + 2);
    p = text;
    *p++ = '[';

    for (i = 0; i < 70000; i++) {
        *p++ = '0';
        *p++ = (i < 69999) ? ',' : ']';
    }

    json.data = (u_char *) text;
    json.len = p - text;

    ok(ngx_broadcast_recode_pack(&json, pool, &packed) == NGX_OK
       && packed.len == 70005
       && memcmp(packed.data, "\xdd\x00\x01\x11\x70\0\0", 7) == 0,
       "so has an array of 70000 elements");

    ok(ngx_broadcast_recode_text(&packed, pool, &packed) == NGX_OK
       && packed.len == json.len
       && memcmp(packed.data, json.data, json.len) == 0,
       "and comes back as it was");

    free(text);
}


/* the scanner stands before it; without it nothing breaks */

static void
test_unchecked(void)
{
    size_t       i, right;
    ngx_str_t    json, packed;
    static char  deep[130];
    const char  *rows[] = {
        "[", "]", "}", "[1", "\"", "\"\\", "tru", "nul", "x", "[1}]",
        "1e", "\"a\\\"", deep
    };

    memset(deep, '[', 65);
    memset(deep + 65, ']', 64);

    for (i = 0, right = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json.len = strlen(rows[i]);
        json.data = malloc(json.len);
        memcpy(json.data, rows[i], json.len);

        right += (ngx_broadcast_recode_pack(&json, pool, &packed)
                  == NGX_ERROR);
        free(json.data);
    }

    is_int(right, sizeof(rows) / sizeof(rows[0]),
           "what is no JSON is an error");
}


static void
test_text(void)
{
    reads("\xc0", "null", "nil");
    reads("\x92\xc2\xc3", "[false,true]", "booleans");
    reads("\x93\x05\xcd\x00\x05\xd3\x00\x00\x00\x00\x00\x00\x00\x05",
          "[5,5,5]", "an integer of any form");
    reads("\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
          "\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
          "[18446744073709551615,-9223372036854775808]",
          "the greatest and the least");

    reads("\x94\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"
          "\xcb\x40\x14\x00\x00\x00\x00\x00\x00"
          "\xcb\x44\x15\xaf\x1d\x78\xb5\x8c\x40"
          "\xca\x3f\x00\x00\x00", "[0.1,5,1e+20,0.5]",
          "a float is the shortest number that reads back");
    reads("\x92\xcb\x7f\xef\xff\xff\xff\xff\xff\xff"
          "\xcb\x00\x00\x00\x00\x00\x00\x00\x01",
          "[1.7976931348623157e+308,4.94065645841247e-324]",
          "the greatest and the least of them");
    reads("\x93\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"
          "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"
          "\xca\xff\x80\x00\x00", "[null,null,null]",
          "NaN and infinity are null, as JSON.stringify() has it");

    reads("\xa5\xc3\xa4\n\"\\", "\"\xc3\xa4\\n\\\"\\\\\"", "a string");
    reads("\xa3" "a\0b", "\"a\\u0000b\"", "U+0000 in a string");
    reads("\xa1\x1e", "\"\\u001e\"",
          "the record separator of the other protocol is escaped");
    reads("\xa0", "\"\"", "an empty string");

    reads("\xc4\x03\x01\x02\x03", "\"AQID\"", "bytes are base64");
    reads("\xc4\x00", "\"\"", "no bytes are an empty string");
    reads("\xd4\x05\x01", "\"AQ==\"", "an unknown extension is base64");

    reads("\x90", "[]", "an empty array");
    reads("\x80", "{}", "an empty map");
    reads("\x83\xa1z\x01\xa1" "a\x91\x80\xa1z\xc0",
          "{\"z\":1,\"a\":[{}],\"z\":null}",
          "a map in its order, a repeated key too");
    reads("\x82\x05\x01\xff\x02", "{\"5\":1,\"-1\":2}",
          "an integer as key is a name");
}


static void
test_time(void)
{
    reads("\xd6\xff\x38\x6d\x43\x80", "\"2000-01-01T00:00:00.000Z\"",
          "a timestamp of 32 bits");
    reads("\xd6\xff\xff\xff\xff\xff", "\"2106-02-07T06:28:15.000Z\"",
          "the greatest");
    reads("\xd6\xff\x00\x00\x00\x00", "\"1970-01-01T00:00:00.000Z\"",
          "the least");
    reads("\xd7\xff\x1d\x6f\x34\x54\x38\x6d\x43\x80",
          "\"2000-01-01T00:00:00.123456789Z\"",
          "one of 64 bits with nanoseconds");
    reads("\xd7\xff\x1d\xcd\x65\x00\x5e\x5a\xf9\x70",
          "\"2020-02-29T23:53:20.125Z\"", "a leap day, milliseconds");
    reads("\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
          "\"1969-12-31T23:59:59.000Z\"", "a second before 1970");
    reads("\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x86\x8b\x84\x00",
          "\"0000-01-01T00:00:00.000Z\"", "the year 0");
    reads("\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x86\x8b\x83\xff",
          "\"-000001-12-31T23:59:59.000Z\"", "the year before");
    reads("\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x3a\xff\xf4\x41\x80",
          "\"+010000-01-01T00:00:00.000Z\"", "the year 10000");
    reads("\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x07\xdb\xa8\x21\x80\x00",
          "\"+275760-09-13T00:00:00.000Z\"", "the last date of JavaScript");
    reads("\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x07\xdb\xa8\x21\x80\x01",
          "null", "behind it there is none");
    reads("\xc7\x0c\xff\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00",
          "null", "the least of 64 bits is none");
    reads("\xc7\x0c\xff\x3b\x9a\xca\x00\x00\x00\x00\x00\x00\x00\x00\x00",
          "null", "a billion nanoseconds are none");
    reads("\xd5\xff\x01\x02", "\"AQI=\"",
          "a timestamp of another length is an unknown extension");
}


/* what both protocols can say comes back as it went */

static void
test_round(void)
{
    size_t       i, right;
    ngx_str_t    json, packed, text;
    const char  *rows[] = {
        "null", "[]", "{}", "\"\"", "[\"\"]", "[null,true,false]",
        "[0,-1,9007199254740993,18446744073709551615,-9223372036854775808]",
        "[0.1,1.5,-2.25,1e+20,1.7976931348623157e+308,2.2250738585072014e-308]",
        "\"\xc3\xa4\xc3\xb6 \xf0\x9f\x8e\x88 \xe2\x80\xa8 \\u0000\\u001e\\t\"",
        "{\"a\":{\"b\":{\"c\":[[[[{}]]]]}},\"\":0}",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
        "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
    };

    for (i = 0, right = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json = tap_str(rows[i]);

        if (ngx_broadcast_recode_pack(&json, pool, &packed) == NGX_OK
            && ngx_broadcast_recode_text(&packed, pool, &text) == NGX_OK
            && text.len == json.len
            && memcmp(text.data, json.data, json.len) == 0)
        {
            right++;

        } else {
            diag(rows[i]);
        }
    }

    is_int(right, sizeof(rows) / sizeof(rows[0]),
           "numbers, unicode, nested and empty values are equal in both");
}


static void
test_message(void)
{
    ngx_broadcast_message_t  m, to, back;

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_INVOCATION;
    m.encoding = NGX_BROADCAST_HUB_JSON;
    ngx_str_set(&m.target, "t");
    ngx_str_set(&m.arguments, "[1]");
    ngx_str_set(&m.streams, "[\"2\"]");

    ok(ngx_broadcast_recode_message(&m, NGX_BROADCAST_HUB_JSON, pool, &to)
       == NGX_OK && to.arguments.data == m.arguments.data,
       "a message in its own encoding keeps its bytes");

    ok(ngx_broadcast_recode_message(&m, NGX_BROADCAST_HUB_MSGPACK, pool, &to)
       == NGX_OK && to.encoding == NGX_BROADCAST_HUB_MSGPACK,
       "in the other one it gets new ones");
    is_str(&to.arguments, "\x91\x01", "arguments");
    is_str(&to.streams, "\x91\xa1" "2", "stream ids");
    is_str(&to.target, "t", "the target is the same");

    ok(ngx_broadcast_recode_message(&to, NGX_BROADCAST_HUB_JSON, pool, &back)
       == NGX_OK, "and back");
    is_str(&back.arguments, "[1]", "arguments, back");
    is_str(&back.streams, "[\"2\"]", "stream ids, back");

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    m.has_value = 1;
    ngx_str_set(&m.value, "{\"a\":null}");

    ngx_broadcast_recode_message(&m, NGX_BROADCAST_HUB_MSGPACK, pool, &m);
    is_str(&m.value, "\x81\xa1" "a\xc0", "a result, in place");
}


/* JSON of that shape becomes those bytes */

static void
is_shaped(const char *json, const char *shape, const char *bytes, size_t len,
    const char *name)
{
    u_char     *copy;
    ngx_str_t   text, form, packed;

    text.len = strlen(json);
    copy = malloc(text.len);
    memcpy(copy, json, text.len);
    text.data = copy;

    form.data = (u_char *) shape;
    form.len = strlen(shape);

    if (ngx_broadcast_recode_shaped(&text, &form, pool, &packed) != NGX_OK) {
        ngx_str_set(&packed, "(error)");
    }

    is_mem(packed.data, packed.len, bytes, len, name);

    free(copy);
}


#define shapes(json, shape, bytes, name)                                      \
    is_shaped(json, shape, bytes, sizeof(bytes) - 1, name)


static void
test_shape(void)
{
    shapes("\"AP8Q\"", "\"bytes\"", "\xc4\x03\x00\xff\x10", "base64 is bin");
    shapes("\"\"", "\"bytes\"", "\xc4\x00", "none of it, too");
    shapes("\"*\"", "\"bytes\"", "\xa1*", "what is no base64 stays a string");
    shapes("null", "\"bytes\"", "\xc0", "null is nil");
    shapes("7", "\"bytes\"", "\x07", "a number is no bytes");

    shapes("[\"AQ==\", null ,\"Ag==\"]", "[\"bytes\"]",
           "\x93\xc4\x01\x01\xc0\xc4\x01\x02", "in an array");
    shapes("[[\"AQ==\"],[]]", "[\"bytes\"]", "\x92\x91\xc4\x01\x01\x90",
           "of two dimensions");

    shapes("{\"a\":\"AQ==\",\"b\":\"AQ==\"}", "{\"a\":\"bytes\"}",
           "\x82\xa1" "a\xc4\x01\x01\xa1" "b\xa4" "AQ==",
           "a member, and one that has no shape");
    shapes("{\"\\u0061\":\"AQ==\"}", "{\"a\":\"bytes\"}",
           "\x81\xa1" "a\xc4\x01\x01", "whose name is escaped");
    shapes("[{\"x\":1,\"a\":{\"b\":[\"AQ==\"]}}]",
           "[{\"a\":{\"b\":[\"bytes\"]}}]",
           "\x91\x82\xa1x\x01\xa1" "a\x81\xa1" "b\x91\xc4\x01\x01", "deep");
    shapes("[\"AQ==\"]", "{\"a\":\"bytes\"}", "\x91\xa4" "AQ==",
           "an array where an object was said");
    shapes("{\"a\":\"AQ==\"}", "[\"bytes\"]", "\x81\xa1" "a\xa4" "AQ==",
           "an object where an array was said");

    shapes("\"1970-01-01T00:00:01+00:00\"", "\"time\"",
           "\xd6\xff\x00\x00\x00\x01", "a time is a timestamp");
    shapes("\"1970-01-01T01:00:01+01:00\"", "\"time\"",
           "\xd6\xff\x00\x00\x00\x01", "of any zone");
    shapes("\"1969-12-31T18:30:01-05:30\"", "\"time\"",
           "\xd6\xff\x00\x00\x00\x01", "also to the west");
    shapes("\"1970-01-01T00:00:01.000001Z\"", "\"time\"",
           "\xd7\xff\x00\x00\x0f\xa0\x00\x00\x00\x01", "with microseconds");
    shapes("\"1969-12-31T23:59:59Z\"", "\"time\"",
           "\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
           "before 1970");
    shapes("\"2024-02-29T00:00:00Z\"", "\"time\"",
           "\xd6\xff\x65\xdf\xc9\x00", "a leap day");
    shapes("\"infinity\"", "\"time\"", "\xa8" "infinity",
           "infinity is a string");
    shapes("\"1970-01-01T00:00:01\"", "\"time\"",
           "\xb3" "1970-01-01T00:00:01", "and so is a time without a zone");

    shapes("]", "\"bytes\"", "(error)", "what is no JSON is an error");
    shapes("[\"", "[\"bytes\"]", "(error)", "also where it ends too early");
    shapes("{1:2}", "{\"a\":\"bytes\"}", "(error)", "or has no names");
}


int
main(void)
{
    pool = ngx_create_pool(1024, &ngx_stub_log);

    test_pack();
    test_long();
    test_unchecked();
    test_text();
    test_time();
    test_round();
    test_message();
    test_shape();

    ngx_destroy_pool(pool);

    return done();
}
