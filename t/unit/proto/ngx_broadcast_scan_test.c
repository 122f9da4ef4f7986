
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_scan.h"

#include "tap.h"


#define T(text)  { sizeof(text) - 1, (u_char *) text }

#define NUL   NGX_BROADCAST_SCAN_NULL
#define FALS  NGX_BROADCAST_SCAN_FALSE
#define TRU   NGX_BROADCAST_SCAN_TRUE
#define NUM   NGX_BROADCAST_SCAN_NUMBER
#define STR   NGX_BROADCAST_SCAN_STRING
#define ARR   NGX_BROADCAST_SCAN_ARRAY
#define OBJ   NGX_BROADCAST_SCAN_OBJECT


typedef struct {
    const char  *name;
    ngx_str_t    text;
    int          type;     /* -1: refused */
} row_t;


static row_t  rows[] = {

    /* literals: exact, lower case, whole */

    { "null", T("null"), NUL },
    { "true", T("true"), TRU },
    { "false", T("false"), FALS },
    { "Null", T("Null"), -1 },
    { "TRUE", T("TRUE"), -1 },
    { "nul", T("nul"), -1 },
    { "nulll", T("nulll"), -1 },
    { "tru", T("tru"), -1 },
    { "truefalse", T("truefalse"), -1 },
    { "undefined", T("undefined"), -1 },
    { "NaN", T("NaN"), -1 },
    { "Infinity", T("Infinity"), -1 },
    { "-Infinity", T("-Infinity"), -1 },

    /* numbers */

    { "0", T("0"), NUM },
    { "-0", T("-0"), NUM },
    { "7", T("7"), NUM },
    { "-7", T("-7"), NUM },
    { "1234567890", T("1234567890"), NUM },
    { "a number of 60 digits is forwarded, not read",
      T("123456789012345678901234567890123456789012345678901234567890"), NUM },
    { "0.5", T("0.5"), NUM },
    { "-0.0", T("-0.0"), NUM },
    { "10.25", T("10.25"), NUM },
    { "1e5", T("1e5"), NUM },
    { "1E5", T("1E5"), NUM },
    { "1e+5", T("1e+5"), NUM },
    { "1e-5", T("1e-5"), NUM },
    { "1.5e05", T("1.5e05"), NUM },
    { "0e0", T("0e0"), NUM },
    { "1e99999, beyond any double", T("1e99999"), NUM },
    { "+1", T("+1"), -1 },
    { "-", T("-"), -1 },
    { "--1", T("--1"), -1 },
    { "01", T("01"), -1 },
    { "-01", T("-01"), -1 },
    { "00", T("00"), -1 },
    { ".5", T(".5"), -1 },
    { "-.5", T("-.5"), -1 },
    { "1.", T("1."), -1 },
    { "1.e5", T("1.e5"), -1 },
    { "1..2", T("1..2"), -1 },
    { "1.2.3", T("1.2.3"), -1 },
    { "1e", T("1e"), -1 },
    { "1e+", T("1e+"), -1 },
    { "1e1.5", T("1e1.5"), -1 },
    { "1e5e5", T("1e5e5"), -1 },
    { "0x10", T("0x10"), -1 },
    { "1_000", T("1_000"), -1 },
    { "1,000", T("1,000"), -1 },
    { "1 2", T("1 2"), -1 },
    { "1a", T("1a"), -1 },
    { "a digit that is not ASCII", T("\xef\xbc\x91"), -1 },

    /* strings */

    { "empty string", T("\"\""), STR },
    { "plain string", T("\"abc\""), STR },
    { "all short escapes", T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), STR },
    { "u escape", T("\"\\u00e9\""), STR },
    { "u escape in capitals", T("\"\\u00E9\""), STR },
    { "U+0000 as escape", T("\"\\u0000\""), STR },
    { "record separator as escape", T("\"\\u001e\""), STR },
    { "pair of surrogates", T("\"\\ud83d\\ude00\""), STR },
    { "lone high surrogate", T("\"\\ud83d\""), STR },
    { "lone low surrogate", T("\"\\ude00\""), STR },
    { "surrogates in the wrong order", T("\"\\ude00\\ud83d\""), STR },
    { "high surrogate and another escape", T("\"\\ud83d\\n\""), STR },
    { "U+007F is no control character to JSON", T("\"\x7f\""), STR },
    { "U+2028 is no line break to JSON", T("\"\xe2\x80\xa8\""), STR },
    { "noncharacter U+FFFF", T("\"\xef\xbf\xbf\""), STR },
    { "a slash needs no escape", T("\"a/b\""), STR },
    { "one quote", T("\""), -1 },
    { "no closing quote", T("\"abc"), -1 },
    { "an escaped closing quote", T("\"abc\\\""), -1 },
    { "ends in a backslash", T("\"abc\\"), -1 },
    { "single quotes", T("'abc'"), -1 },
    { "unknown escape", T("\"\\x41\""), -1 },
    { "escaped line break", T("\"\\\n\""), -1 },
    { "escape a", T("\"\\a\""), -1 },
    { "escape U in capitals", T("\"\\U0041\""), -1 },
    { "u escape of three digits", T("\"\\u004\""), -1 },
    { "u escape of no digits", T("\"\\u\""), -1 },
    { "u escape with a letter", T("\"\\u00g0\""), -1 },
    { "u escape with a sign", T("\"\\u+041\""), -1 },
    { "second half of a pair broken", T("\"\\ud83d\\u12\""), -1 },
    { "second half of a pair cut by the end", T("\"\\ud83d\\ude0"), -1 },
    { "raw U+0000", T("\"\0\""), -1 },
    { "raw line feed", T("\"a\nb\""), -1 },
    { "raw carriage return", T("\"a\rb\""), -1 },
    { "raw tab", T("\"a\tb\""), -1 },
    { "raw record separator, which would split a hub message",
      T("\"a\x1e" "b\""), -1 },
    { "raw U+001F", T("\"\x1f\""), -1 },
    { "two bytes", T("\"\xc3\xa9\""), STR },
    { "three bytes", T("\"\xe2\x82\xac\""), STR },
    { "four bytes", T("\"\xf0\x9f\x98\x80\""), STR },
    { "Latin-1", T("\"\xe9\""), -1 },
    { "overlong quote", T("\"\xc0\xa2\""), -1 },
    { "encoded surrogate", T("\"\xed\xa0\x80\""), -1 },
    { "above U+10FFFF", T("\"\xf4\x90\x80\x80\""), -1 },
    { "lone continuation byte", T("\"\x80\""), -1 },
    { "a character cut by the quote", T("\"\xe2\x82\""), -1 },
    { "a character cut by the end", T("\"\xe2\x82"), -1 },

    /* arrays */

    { "empty array", T("[]"), ARR },
    { "array of one", T("[1]"), ARR },
    { "array of all types", T("[null,true,false,1,\"a\",[],{}]"), ARR },
    { "arrays in arrays", T("[[[]],[[],[]]]"), ARR },
    { "blanks anywhere", T(" [ 1 , 2 ] "), ARR },
    { "all four blanks", T("\t[\r\n1\n]\r"), ARR },
    { "open array", T("["), -1 },
    { "open array with a value", T("[1"), -1 },
    { "open array with a comma", T("[1,"), -1 },
    { "trailing comma", T("[1,]"), -1 },
    { "leading comma", T("[,1]"), -1 },
    { "comma alone", T("[,]"), -1 },
    { "two commas", T("[1,,2]"), -1 },
    { "no comma", T("[1 2]"), -1 },
    { "no comma between strings", T("[\"a\"\"b\"]"), -1 },
    { "colon in an array", T("[\"a\":1]"), -1 },
    { "closed by a brace", T("[1}"), -1 },
    { "closed twice", T("[1]]"), -1 },
    { "closing bracket alone", T("]"), -1 },
    { "word in an array", T("[a]"), -1 },
    { "minus in an array", T("[-]"), -1 },
    { "vertical tab is no blank", T("[\x0b]"), -1 },
    { "form feed is no blank", T("[\x0c]"), -1 },
    { "no-break space is no blank", T("[\xc2\xa0]"), -1 },

    /* objects */

    { "empty object", T("{}"), OBJ },
    { "object of one", T("{\"a\":1}"), OBJ },
    { "object of two", T("{\"a\":1,\"b\":2}"), OBJ },
    { "objects in objects", T("{\"a\":{\"b\":{}}}"), OBJ },
    { "arrays in objects in arrays", T("[{\"a\":[{\"b\":[]}]}]"), ARR },
    { "blanks around the colon", T("{ \"a\" : 1 }"), OBJ },
    { "empty name", T("{\"\":1}"), OBJ },
    { "escapes in a name", T("{\"\\u0061\\n\":1}"), OBJ },
    { "a name twice", T("{\"a\":1,\"a\":2}"), OBJ },
    { "open object", T("{"), -1 },
    { "open object with a name", T("{\"a\""), -1 },
    { "open object with a colon", T("{\"a\":"), -1 },
    { "open object with a value", T("{\"a\":1"), -1 },
    { "open object with a comma", T("{\"a\":1,"), -1 },
    { "trailing comma in an object", T("{\"a\":1,}"), -1 },
    { "leading comma in an object", T("{,\"a\":1}"), -1 },
    { "two commas in an object", T("{\"a\":1,,\"b\":2}"), -1 },
    { "no colon", T("{\"a\" 1}"), -1 },
    { "two colons", T("{\"a\"::1}"), -1 },
    { "no value", T("{\"a\":}"), -1 },
    { "name without a value", T("{\"a\"}"), -1 },
    { "value without a name", T("{1}"), -1 },
    { "colon without a name", T("{:1}"), -1 },
    { "number as a name", T("{1:1}"), -1 },
    { "null as a name", T("{null:1}"), -1 },
    { "name without quotes", T("{a:1}"), -1 },
    { "name in single quotes", T("{'a':1}"), -1 },
    { "closed by a bracket", T("{\"a\":1]"), -1 },
    { "array that forgets it is in an object", T("{\"a\":[1}"), -1 },
    { "closing brackets in the wrong order", T("[{\"a\":1]}"), -1 },
    { "comma then a value in an object", T("{\"a\":1,2}"), -1 },
    { "closed twice", T("{}}"), -1 },
    { "colon behind an element that follows an object", T("[{},\"a\":1]"), -1 },
    { "control character in a name", T("{\"a\x1e\":1}"), -1 },

    /* the text around the value */

    { "nothing", T(""), -1 },
    { "blanks only", T(" \t\r\n"), -1 },
    { "blanks around", T(" \n 1 \t "), NUM },
    { "two values", T("{}{}"), -1 },
    { "a byte behind", T("{}x"), -1 },
    { "U+0000 behind", T("{}\0"), -1 },
    { "a record separator behind", T("{}\x1e"), -1 },
    { "byte order mark", T("\xef\xbb\xbf{}"), -1 },
    { "comment", T("/* */ 1"), -1 },
    { "comment in an array", T("[1 // one\n]"), -1 },
    { "UTF-16", T("[\0]\0"), -1 },
    { "a byte that is no token", T("\xff"), -1 },

    { NULL, { 0, NULL }, 0 }
};


/* in memory of exactly its size, so a read behind the end is found */

static ngx_str_t
exact(const ngx_str_t *text)
{
    ngx_str_t  s;

    s.len = text->len;
    s.data = malloc(text->len ? text->len : 1);
    memcpy(s.data, text->data, text->len);

    return s;
}


static void
test_grammar(void)
{
    row_t                       *row;
    ngx_int_t                    rc;
    ngx_str_t                    s;
    const char                  *error;
    ngx_broadcast_scan_value_t   v;

    for (row = rows; row->name; row++) {
        s = exact(&row->text);
        error = NULL;

        rc = ngx_broadcast_scan_document(&s, &v, &error);

        if (row->type < 0) {
            ok(rc == NGX_ERROR && error != NULL, row->name);

        } else {
            ok(rc == NGX_OK && (int) v.type == row->type, row->name);
        }

        free(s.data);
    }
}


/* a document with something of everything ends nowhere but at its end */

static void
test_cuts(void)
{
    size_t                       n;
    ngx_str_t                    cut, s;
    ngx_uint_t                   refused;
    const char                  *error;
    ngx_broadcast_scan_value_t   v;
    static ngx_str_t             text = T("{\"a\":[1.5e-3,true,null,{\"\\u00e9"
                                          "\\n\":\"\xe2\x82\xac\"}],\"b\":[]}");

    refused = 0;

    for (n = 0; n < text.len; n++) {
        cut.data = text.data;
        cut.len = n;
        s = exact(&cut);

        if (ngx_broadcast_scan_document(&s, &v, &error) == NGX_ERROR) {
            refused++;
        }

        free(s.data);
    }

    is_int(refused, text.len, "a document cut anywhere is refused");
    is_int(ngx_broadcast_scan_document(&text, &v, NULL), NGX_OK,
           "and whole it is good");
}


static void
test_depth(void)
{
    size_t                       i;
    u_char                       b[300000];
    ngx_str_t                    s;
    const char                  *error;
    ngx_broadcast_scan_value_t   v;

    s.data = b;

    memset(b, '[', 64);
    memset(b + 64, ']', 64);
    s.len = 128;

    is_int(ngx_broadcast_scan_document(&s, &v, &error), NGX_OK,
           "64 arrays in each other are good");
    is_int(v.levels, 64, "and are told to be 64 levels");

    memset(b, '[', 65);
    memset(b + 65, ']', 65);
    s.len = 130;

    is_int(ngx_broadcast_scan_document(&s, &v, &error), NGX_ERROR,
           "65 are refused");
    ok(strstr(error, "64") != NULL, "and the sentence names the limit");

    /* alternating, so that each of the 64 bits of the stack matters */

    for (i = 0; i < 32; i++) {
        memcpy(b + i * 6, "[{\"a\":", 6);
        memcpy(b + 32 * 6 + 1 + i * 2, "}]", 2);
    }

    b[32 * 6] = '0';
    s.len = 32 * 6 + 1 + 64;

    is_int(ngx_broadcast_scan_document(&s, &v, &error), NGX_OK,
           "32 arrays and 32 objects in turn are good");
    is_int(v.levels, 64, "and 64 levels, too");

    ngx_str_set(&s, "[[1],{\"a\":[[]]},\"[[[[[\"]");

    (void) ngx_broadcast_scan_document(&s, &v, &error);
    is_int(v.levels, 4, "the deepest branch counts, and no string");

    ngx_str_set(&s, "\"[[\"");

    (void) ngx_broadcast_scan_document(&s, &v, &error);
    is_int(v.levels, 0, "a scalar has none");

    s.data = b;
    s.len = 32 * 6 + 1 + 64;

    b[32 * 6 + 1] = ']';

    is_int(ngx_broadcast_scan_document(&s, &v, &error), NGX_ERROR,
           "the innermost closed by the wrong bracket is refused");

    b[32 * 6 + 1] = '}';
    b[s.len - 1] = '}';

    is_int(ngx_broadcast_scan_document(&s, &v, &error), NGX_ERROR,
           "the outermost closed by the wrong bracket is refused");

    /* no recursion: a wall of brackets must not move the stack */

    memset(b, '[', sizeof(b));
    s.len = sizeof(b);

    is_int(ngx_broadcast_scan_document(&s, &v, &error), NGX_ERROR,
           "300000 brackets are refused");

    for (i = 0; i < 65; i++) {
        memcpy(b + i * 4, "[ ],", 4);
    }

    memcpy(b + 1, "[],", 3);
    memcpy(b + 64 * 4, "[ ]]", 4);
    s.len = 65 * 4;

    is_int(ngx_broadcast_scan_document(&s, &v, &error), NGX_OK,
           "65 arrays beside each other are no depth");
}


static void
test_walk(void)
{
    ngx_int_t                   rc;
    ngx_uint_t                  n;
    ngx_broadcast_scan_t        s;
    ngx_broadcast_scan_value_t  k, v;
    static ngx_str_t            object = T(" { \"a\" : 1 , \"\\u0062\" : "
                                           "[ 2 , {} ] , \"c\":\"x\" } ");
    static ngx_str_t            array = T("[1,\"two\", [3] ,{\"f\":4} ]");
    static ngx_str_t            empty = T("{}");
    static ngx_str_t            bad[] = {
        T("{\"a\":1,}"), T("{\"a\":1 \"b\":2}"), T("{\"a\" 1}"), T("{,}"),
        T("{\"a\":1"), T("{\"a\":[1}"), T("{\"a\":1,"), T("{"), T("{\"a\":01}")
    };

    ngx_broadcast_scan_init(&s, &object);

    is_int(ngx_broadcast_scan_open(&s, '['), NGX_DECLINED,
           "an object is not opened as an array");
    is_int(ngx_broadcast_scan_open(&s, '{'), NGX_OK,
           "but then still as an object");

    rc = ngx_broadcast_scan_member(&s, &k, &v);

    ok(rc == NGX_OK && k.text.len == 3 && ngx_broadcast_scan_is(&k, "a")
       && v.type == NUM, "first member, blanks around it left out");
    is_str(&v.text, "1", "its value is the span");

    rc = ngx_broadcast_scan_member(&s, &k, &v);

    ok(rc == NGX_OK && ngx_broadcast_scan_is(&k, "b"),
       "a name with an escape equals what it means");
    is_str(&v.text, "[ 2 , {} ]", "a nested value is one span as it came");

    rc = ngx_broadcast_scan_member(&s, &k, &v);

    ok(rc == NGX_OK && v.type == STR, "third member");
    is_str(&v.text, "\"x\"", "the span of a string has its quotes");

    ok(ngx_broadcast_scan_member(&s, &k, &v) == NGX_DONE
       && ngx_broadcast_scan_end(&s) == NGX_OK,
       "the walk ends behind the brace, blanks are nothing");

    ngx_broadcast_scan_init(&s, &array);
    ngx_broadcast_scan_open(&s, '[');

    for (n = 0; ngx_broadcast_scan_element(&s, &v) == NGX_OK; n++) {
        switch (n) {
        case 0:
            is_str(&v.text, "1", "first element");
            break;
        case 1:
            is_str(&v.text, "\"two\"", "second element");
            break;
        case 2:
            is_str(&v.text, "[3]", "third element");
            break;
        default:
            is_str(&v.text, "{\"f\":4}", "fourth element");
        }
    }

    is_int(n, 4, "four elements");
    is_int(ngx_broadcast_scan_end(&s), NGX_OK, "and nothing behind");

    ngx_broadcast_scan_init(&s, &empty);
    ngx_broadcast_scan_open(&s, '{');

    is_int(ngx_broadcast_scan_member(&s, &k, &v), NGX_DONE,
           "an empty object is done at once");

    /* the walk alone finds what the check of the whole would */

    for (n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
        ngx_broadcast_scan_init(&s, &bad[n]);
        ngx_broadcast_scan_open(&s, '{');

        do {
            rc = ngx_broadcast_scan_member(&s, &k, &v);
        } while (rc == NGX_OK);

        ok(rc == NGX_ERROR && s.error, (char *) bad[n].data);
    }
}


static void
test_strings(ngx_pool_t *pool)
{
    size_t                      i;
    u_char                      b[64];
    ngx_str_t                   out;
    ngx_broadcast_scan_value_t  v;
    static struct {
        ngx_str_t    text;
        ngx_str_t    want;
        const char  *name;
    } strings[] = {
        { T("\"plain\""), T("plain"), "without escapes" },
        { T("\"\""), T(""), "empty" },
        { T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), T("\"\\/\b\f\n\r\t"),
          "short escapes" },
        { T("\"\\u0041\\u007f\""), T("A\x7f"), "one byte" },
        { T("\"\\u0080\\u07FF\""), T("\xc2\x80\xdf\xbf"), "two bytes" },
        { T("\"\\u0800\\uffff\""), T("\xe0\xa0\x80\xef\xbf\xbf"),
          "three bytes" },
        { T("\"\\ud800\\udc00\\udbff\\udfff\""),
          T("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), "pairs, four bytes" },
        { T("\"a\\u0000b\""), T("a\0b"), "U+0000" },
        { T("\"\\ud800\""), T("\xef\xbf\xbd"), "lone high: U+FFFD" },
        { T("\"\\udc00x\""), T("\xef\xbf\xbdx"), "lone low: U+FFFD" },
        { T("\"\\ud800\\ud800\\udc00\""), T("\xef\xbf\xbd\xf0\x90\x80\x80"),
          "a high before a pair does not eat half of it" },
        { T("\"\\udc00\\udc00\""), T("\xef\xbf\xbd\xef\xbf\xbd"),
          "two lows are no pair" },
        { T("\"\\ud800\\n\""), T("\xef\xbf\xbd\n"),
          "a high before another escape leaves it alone" },
        { T("\"\\ud800\\u0041\""), T("\xef\xbf\xbd" "A"),
          "a high before another letter leaves it alone" },
        { T("\"\xe2\x82\xac\\u20ac\""), T("\xe2\x82\xac\xe2\x82\xac"),
          "raw and escaped euro are one" },
    };

    for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        ngx_broadcast_scan_document(&strings[i].text, &v, NULL);
        ngx_broadcast_scan_string(&v, pool, &out);

        is_mem(out.data, out.len, strings[i].want.data, strings[i].want.len,
               strings[i].name);

        ok(out.len <= v.text.len - 2
           && ngx_broadcast_scan_decode(&v, b) == out.len
           && memcmp(b, out.data, out.len) == 0,
           "decode() writes the same, not more than the span holds");
    }

    ngx_broadcast_scan_document(&strings[0].text, &v, NULL);
    ngx_broadcast_scan_string(&v, NULL, &out);

    ok(out.data == strings[0].text.data + 1,
       "without escapes it is borrowed, and no pool is asked");

    out = tap_str("[\"a\",\"\\n\",{\"b\\u0000\":1}]");
    ngx_broadcast_scan_document(&out, &v, NULL);

    ok(v.escaped && v.nul && !v.lone, "flags tell of strings at any depth");

    out = tap_str("[\"\\ude00\"]");
    ngx_broadcast_scan_document(&out, &v, NULL);

    ok(v.escaped && !v.nul && v.lone, "and of lone surrogates");

    out = tap_str("\"\\ud83d\\ud83d\"");
    ngx_broadcast_scan_document(&out, &v, NULL);

    ok(v.lone, "two high ones are both lone");

    out = tap_str("\"\\ud83d\\ude00\"");
    ngx_broadcast_scan_document(&out, &v, NULL);

    ok(!v.lone, "a pair is not");

    out = tap_str("\"Json\"");
    ngx_broadcast_scan_document(&out, &v, NULL);

    ok(!ngx_broadcast_scan_is(&v, "json"), "case counts");
    ok(ngx_broadcast_scan_is_nocase(&v, "jSON"), "unless it is ignored");
    ok(!ngx_broadcast_scan_is(&v, "Jso"), "a beginning is not the string");
    ok(!ngx_broadcast_scan_is(&v, "Jsons"), "nor is one that goes on");
    ok(!ngx_broadcast_scan_is(&v, ""), "nor the empty one");

    out = tap_str("\"a\\u0000\"");
    ngx_broadcast_scan_document(&out, &v, NULL);

    ok(!ngx_broadcast_scan_is(&v, "a"), "U+0000 does not end the comparison");

    out = tap_str("1");
    ngx_broadcast_scan_document(&out, &v, NULL);

    ok(!ngx_broadcast_scan_is(&v, "1") && !ngx_broadcast_scan_is(&v, ""),
       "a number is no string");
}


static void
test_numbers(void)
{
    size_t                      i;
    int64_t                     n;
    ngx_int_t                   rc;
    ngx_str_t                   text;
    ngx_broadcast_scan_value_t  v;
    static struct {
        const char  *text;
        ngx_int_t    rc;
        int64_t      n;
    } numbers[] = {
        { "0", NGX_OK, 0 },
        { "-0", NGX_OK, 0 },
        { "1", NGX_OK, 1 },
        { "-1", NGX_OK, -1 },
        { "9223372036854775807", NGX_OK, INT64_MAX },
        { "-9223372036854775807", NGX_OK, -INT64_MAX },
        { "-9223372036854775808", NGX_OK, INT64_MIN },
        { "9223372036854775808", NGX_DECLINED, 0 },
        { "-9223372036854775809", NGX_DECLINED, 0 },
        { "9223372036854775810", NGX_DECLINED, 0 },
        { "18446744073709551616", NGX_DECLINED, 0 },
        { "99999999999999999999999", NGX_DECLINED, 0 },
        { "1.0", NGX_DECLINED, 0 },
        { "1e0", NGX_DECLINED, 0 },
        { "\"1\"", NGX_DECLINED, 0 },
        { "true", NGX_DECLINED, 0 },
        { "null", NGX_DECLINED, 0 },
    };

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        text = tap_str(numbers[i].text);
        ngx_broadcast_scan_document(&text, &v, NULL);

        n = 0;
        rc = ngx_broadcast_scan_int64(&v, &n);

        ok(rc == numbers[i].rc && n == numbers[i].n, numbers[i].text);
    }
}


static void
test_compact(ngx_pool_t *pool)
{
    size_t      i, n;
    u_char      b[128], *p;
    ngx_str_t   text;
    static struct {
        const char  *text;
        int          needed;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "[1,2]", 0, "[1,2]", "nothing to do" },
        { "[1, 2]", 0, "[1,2]", "a space would do no harm" },
        { "[1,\n2]", 1, "[1,2]", "a line feed would" },
        { "[1,\r2]", 1, "[1,2]", "a carriage return too" },
        { "[\r\n  {\r\n\t\"a b\" : \"c  d\"\r\n  }\r\n]", 1,
          "[{\"a b\":\"c  d\"}]", "blanks in strings stay" },
        { "[\"\\n\"]", 0, "[\"\\n\"]", "an escaped line feed is none" },
        { "[\"a\\\" \\\\\" ,\n1]", 1, "[\"a\\\" \\\\\",1]",
          "an escaped quote does not end the string" },
        { "", 0, "", "nothing at all" },
        { "\n", 1, "", "a line feed alone" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text = tap_str(rows[i].text);
        p = text.data;

        is_int(ngx_broadcast_scan_one_line(&text, pool), NGX_OK,
               "on one line");
        ok((text.data != p) == rows[i].needed,
           "by a copy where one is needed");

        if (rows[i].needed) {
            is_mem(text.data, text.len, rows[i].want, strlen(rows[i].want),
                   "which is compact");
        }

        text = tap_str(rows[i].text);

        is_int(ngx_broadcast_scan_compact_needed(&text), rows[i].needed,
               rows[i].name);

        memcpy(b, text.data, text.len);
        text.data = b;
        n = ngx_broadcast_scan_compact(b, &text);

        is_mem(b, n, rows[i].want, strlen(rows[i].want),
               "compacted in its own place");
    }
}


static void
test_quoted(void)
{
    size_t                      i, n;
    u_char                     *b, *p, empty[2];
    ngx_str_t                   text;
    ngx_broadcast_scan_value_t  v;
    static struct {
        ngx_str_t    text;
        const char  *want;
        const char  *name;
    } rows[] = {
        { T(""), "\"\"", "empty" },
        { T("plain 'text' <>&/"), "\"plain 'text' <>&/\"",
          "apostrophes, slashes and angle brackets as they are" },
        { T("a\"b\\c"), "\"a\\\"b\\\\c\"", "quote and backslash" },
        { T("\b\t\n\v\f\r"), "\"\\b\\t\\n\\u000b\\f\\r\"",
          "letters where JSON has them, the vertical tab has none" },
        { T("\0\x07\x0e\x1e\x1f\x7f"),
          "\"\\u0000\\u0007\\u000e\\u001e\\u001f\\u007f\"",
          "the record separator among the control characters" },
        { T("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
          "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "UTF-8 as it is" },
        { T("a\xff" "b\xe2\x82"), "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\xef\xbf\xbd"
          "\"", "what is no UTF-8 becomes U+FFFD, or the client would go" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        n = ngx_broadcast_scan_quoted_len(&rows[i].text);
        b = malloc(n);
        p = ngx_broadcast_scan_quoted_write(b, &rows[i].text);

        is_mem(b, p - b, rows[i].want, strlen(rows[i].want), rows[i].name);
        is_int(p - b, n, "of the length that was said");

        text.data = b;
        text.len = n;

        is_int(ngx_broadcast_scan_document(&text, &v, NULL), NGX_OK,
               "the scanner takes what the writer wrote");

        free(b);
    }

    /* ngx_str_null() is as good as "" everywhere */

    ngx_str_null(&text);

    ok(ngx_broadcast_scan_quoted_len(&text) == 2
       && ngx_broadcast_scan_quoted_write(empty, &text) == empty + 2
       && memcmp(empty, "\"\"", 2) == 0, "a null string is empty in quotes");
    ok(ngx_broadcast_scan_compact(empty, &text) == 0
       && !ngx_broadcast_scan_compact_needed(&text),
       "and nothing to compact");
    is_int(ngx_broadcast_scan_document(&text, &v, NULL), NGX_ERROR,
           "and no document");
}


/*
 * Eight bytes are looked at together: each byte at each place of such a word,
 * in texts that end anywhere, behind a plain one and behind one that is not.
 * Each text is memory of its own, so that a look beyond its end is seen.
 */

static void
test_words(void)
{
    int                         bad, taken;
    u_char                     *b, *q, *p;
    size_t                      len, at, n;
    ngx_str_t                   raw, json;
    unsigned                    c, want;
    ngx_broadcast_scan_value_t  v;

    bad = 0;
    taken = 0;

    for (len = 1; len <= 18; len++) {
        for (at = 0; at < len; at++) {
            for (c = 0; c < 256; c++) {

                b = malloc(len + 2);
                memset(b, at & 1 ? 0x7f : 'a', len + 2);
                b[0] = '"';
                b[len + 1] = '"';
                b[at + 1] = c;

                json.data = b;
                json.len = len + 2;

                want = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';

                if ((ngx_broadcast_scan_document(&json, &v, NULL) == NGX_OK)
                    != want)
                {
                    bad++;
                }

                raw.data = b + 1;
                raw.len = len;

                n = ngx_broadcast_scan_quoted_len(&raw);
                q = malloc(n);
                p = ngx_broadcast_scan_quoted_write(q, &raw);

                json.data = q;
                json.len = n;

                if ((size_t) (p - q) != n
                    || ngx_broadcast_scan_document(&json, &v, NULL) != NGX_OK)
                {
                    bad++;

                } else if (c < 0x80) {
                    p = malloc(n);

                    if (ngx_broadcast_scan_decode(&v, p) != len
                        || memcmp(p, raw.data, len) != 0)
                    {
                        bad++;
                    }

                    free(p);
                }

                taken += want;
                free(q);
                free(b);
            }
        }
    }

    is_int(bad, 0, "each byte is told at each place of a word");
    is_int(taken, 171 * 94, "and most are plain");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_grammar();
    test_cuts();
    test_depth();
    test_walk();
    test_strings(pool);
    test_numbers();
    test_compact(pool);
    test_quoted();
    test_words();

    ngx_destroy_pool(pool);

    return done();
}
