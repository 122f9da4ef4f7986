
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/base/ngx_broadcast_name.c src/base/ngx_broadcast_utf8.c
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_name.h"

#include "tap.h"


static ngx_pool_t  *pool;


static ngx_str_t
filled(const char *unit, ngx_uint_t n)
{
    static u_char  text[8192];

    ngx_str_t  s;

    s.data = text;
    s.len = 0;

    while (n--) {
        ngx_memcpy(&text[s.len], unit, strlen(unit));
        s.len += strlen(unit);
    }

    return s;
}


static ngx_int_t
hub(const char *text)
{
    ngx_str_t  s = tap_str(text);

    return ngx_broadcast_hub_name(&s, NULL);
}


static void
test_hub(void)
{
    u_char     lower[NGX_BROADCAST_HUB_MAX];
    ngx_str_t  s;

    is_int(hub("chat"), NGX_OK, "hub \"chat\"");
    is_int(hub("C"), NGX_OK, "hub of one letter");
    is_int(hub("a_`,.[]9"), NGX_OK, "hub with all that is allowed behind");
    is_int(hub(""), NGX_ERROR, "no hub without a name");
    is_int(hub("9chat"), NGX_ERROR, "no hub begins with a digit");
    is_int(hub("_chat"), NGX_ERROR, "no hub begins with an underscore");
    is_int(hub("my-hub"), NGX_ERROR, "no hyphen in a hub");
    is_int(hub("a/b"), NGX_ERROR, "no slash in a hub");
    is_int(hub("a b"), NGX_ERROR, "no blank in a hub");
    is_int(hub("caf\xc3\xa9"), NGX_ERROR, "only ASCII in a hub");

    s.data = (u_char *) "a\0b";
    s.len = 3;
    is_int(ngx_broadcast_hub_name(&s, NULL), NGX_ERROR,
           "no U+0000 in a hub");

    s = filled("a", 128);
    is_int(ngx_broadcast_hub_name(&s, NULL), NGX_OK, "hub of 128 bytes");
    s = filled("a", 129);
    is_int(ngx_broadcast_hub_name(&s, NULL), NGX_ERROR, "not of 129");

    s = tap_str("ChAt[X]");
    ngx_broadcast_hub_name(&s, lower);
    is_mem(lower, s.len, "chat[x]", 7, "a hub is known in lower case");
}


static ngx_int_t
group(const char *text)
{
    ngx_str_t  s = tap_str(text);

    return ngx_broadcast_group_name(&s);
}


static void
test_group(void)
{
    ngx_str_t  s;

    is_int(group("a/b c \xe2\x82\xac"), NGX_OK, "a group has any characters");
    is_int(group(" a"), NGX_OK, "a group may begin with a blank");
    is_int(group(""), NGX_ERROR, "no group without a name");
    is_int(group(" \t\r\n"), NGX_ERROR, "no group of white space");
    is_int(group("\xc2\xa0\xe2\x80\x83\xe3\x80\x80"), NGX_ERROR,
           "no group of Unicode's white space");
    is_int(group("\xe2\x80\x8b"), NGX_OK, "U+200B is not white space");
    is_int(group("a\xff"), NGX_ERROR, "a group is UTF-8");

    s.data = (u_char *) "a\0b";
    s.len = 3;
    is_int(ngx_broadcast_group_name(&s), NGX_ERROR, "no U+0000 in a group");

    s = filled("\xe2\x82\xac", 1024);
    is_int(ngx_broadcast_group_name(&s), NGX_OK, "a group of 1024 characters");
    s = filled("\xe2\x82\xac", 1025);
    is_int(ngx_broadcast_group_name(&s), NGX_ERROR, "not of 1025");
    s = filled("\xf0\x9f\x98\x80", 1024);
    is_int(s.len, NGX_BROADCAST_GROUP_BYTES, "1024 are at most 4096 bytes");
    is_int(ngx_broadcast_group_name(&s), NGX_OK, "which are allowed");
}


static void
test_user(void)
{
    ngx_str_t  s;

    s = tap_str("al\xc3\xb6s@example.com/1");
    is_int(ngx_broadcast_user_id(&s), NGX_OK, "a user has any characters");
    s = tap_str("");
    is_int(ngx_broadcast_user_id(&s), NGX_ERROR, "no user without a name");
    s = tap_str("a\r\nX: y");
    is_int(ngx_broadcast_user_id(&s), NGX_ERROR, "no line end in a user");
    s = tap_str("a\x7f");
    is_int(ngx_broadcast_user_id(&s), NGX_ERROR, "no DEL in a user");
    s = tap_str("a\xc3");
    is_int(ngx_broadcast_user_id(&s), NGX_ERROR, "a user is UTF-8");

    s.data = (u_char *) "\0";
    s.len = 1;
    is_int(ngx_broadcast_user_id(&s), NGX_ERROR, "no U+0000 in a user");

    s = filled("u", 1024);
    is_int(ngx_broadcast_user_id(&s), NGX_OK, "a user of 1024 bytes");
    s = filled("u", 1025);
    is_int(ngx_broadcast_user_id(&s), NGX_ERROR, "not of 1025");
}


static void
test_target(void)
{
    ngx_str_t  s;

    s = tap_str("new message\t\xc3\xa4");
    is_int(ngx_broadcast_target(&s), NGX_OK, "a target has any characters");
    s = tap_str("newMessage\n");
    is_int(ngx_broadcast_target(&s), NGX_ERROR, "but no LF");
    s = tap_str("new\rMessage");
    is_int(ngx_broadcast_target(&s), NGX_ERROR, "and no CR");
    s = tap_str("");
    is_int(ngx_broadcast_target(&s), NGX_ERROR, "no target without a name");
    s = tap_str("\xed\xa0\x80");
    is_int(ngx_broadcast_target(&s), NGX_ERROR, "a target is UTF-8");

    s.data = (u_char *) "a\0";
    s.len = 2;
    is_int(ngx_broadcast_target(&s), NGX_ERROR, "no U+0000 in a target");

    s = filled("t", 1024);
    is_int(ngx_broadcast_target(&s), NGX_OK, "a target of 1024 bytes");
    s = filled("t", 1025);
    is_int(ngx_broadcast_target(&s), NGX_ERROR, "not of 1025");
}


static void
unescaped(const char *text, ngx_uint_t where, const char *want,
    const char *name)
{
    ngx_int_t  rc;
    ngx_str_t  src, dst;

    src = tap_str(text);
    rc = ngx_broadcast_unescape(pool, &src, &dst, where);

    if (want == NULL) {
        is_int(rc, NGX_DECLINED, name);
        return;
    }

    is_str(&dst, rc == NGX_OK ? want : "(failed)", name);
}


static void
test_unescape(void)
{
    ngx_str_t  s, d;

    unescaped("plain", NGX_BROADCAST_IN_PATH, "plain", "nothing to decode");
    unescaped("a%20b%2Fc", NGX_BROADCAST_IN_PATH, "a b/c", "two encoded");
    unescaped("%e2%82%AC", NGX_BROADCAST_IN_PATH, "\xe2\x82\xac",
              "hex digits of any case");
    unescaped("a+b", NGX_BROADCAST_IN_PATH, "a+b", "plus stays in a path");
    unescaped("a+b", NGX_BROADCAST_IN_QUERY, "a b", "but not in a query");
    unescaped("a%2Bb", NGX_BROADCAST_IN_QUERY, "a+b", "unless it was encoded");
    unescaped("%2541", NGX_BROADCAST_IN_PATH, "%41", "decoding is done once");
    unescaped("%", NGX_BROADCAST_IN_PATH, NULL, "a percent sign alone");
    unescaped("a%4", NGX_BROADCAST_IN_PATH, NULL, "a cut one");
    unescaped("%zz", NGX_BROADCAST_IN_PATH, NULL, "one without hex digits");
    unescaped("%+1", NGX_BROADCAST_IN_QUERY, NULL, "one with a sign");

    s = tap_str("a%00b");
    ngx_broadcast_unescape(pool, &s, &d, NGX_BROADCAST_IN_PATH);
    is_mem(d.data, d.len, "a\0b", 3, "U+0000 is for the caller to judge");

    s = tap_str("same");
    ngx_broadcast_unescape(pool, &s, &d, NGX_BROADCAST_IN_QUERY);
    ok(d.data == s.data, "what needs no decoding is borrowed");

    ngx_str_null(&s);
    is_int(ngx_broadcast_unescape(pool, &s, &d, NGX_BROADCAST_IN_QUERY),
           NGX_OK, "an empty text is fine");
    is_int(d.len, 0, "and stays empty");
}


static void
test_query(void)
{
    ngx_str_t  args, rest, key, value;

    args = tap_str("&a=1&&B=x=y&c&=d&%61ccess_Token=t&a=2");
    rest = args;

    ngx_broadcast_query_next(&rest, &key, &value);
    is_str(&key, "a", "the first key, empty pairs are passed over");
    is_str(&value, "1", "its value");
    ngx_broadcast_query_next(&rest, &key, &value);
    is_str(&key, "B", "the second key");
    is_str(&value, "x=y", "a value may hold \"=\"");
    ngx_broadcast_query_next(&rest, &key, &value);
    is_str(&key, "c", "a key without \"=\"");
    is_str(&value, "", "has an empty value");
    ngx_broadcast_query_next(&rest, &key, &value);
    is_str(&key, "", "an empty key");
    is_str(&value, "d", "has its value");
    ngx_broadcast_query_next(&rest, &key, &value);
    ngx_broadcast_query_next(&rest, &key, &value);
    is_str(&value, "2", "the last value");
    is_int(ngx_broadcast_query_next(&rest, &key, &value), NGX_DONE,
           "then it is done");

    is_int(ngx_broadcast_query_get(&args, "b", &value), NGX_OK,
           "keys are found ignoring case");
    is_int(ngx_broadcast_query_get(&args, "access_token", &value), NGX_OK,
           "and with percent-encoding in them");
    is_str(&value, "t", "with their value");
    ngx_broadcast_query_get(&args, "a", &value);
    is_str(&value, "1", "the first of two is got");
    is_int(ngx_broadcast_query_count(&args, "a"), 2, "both are counted");
    is_int(ngx_broadcast_query_get(&args, "acc", &value), NGX_DECLINED,
           "the beginning of a key is not the key");
    is_int(value.len, 0, "and leaves an empty value");
    is_int(ngx_broadcast_query_get(&args, "cc", &value), NGX_DECLINED,
           "nor is more than the key");

    ngx_str_null(&args);
    is_int(ngx_broadcast_query_get(&args, "a", &value), NGX_DECLINED,
           "no query has no keys");

    args = tap_str("hub%=x");
    is_int(ngx_broadcast_query_get(&args, "hub", &value), NGX_DECLINED,
           "a broken encoding in a key fits nothing");
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_hub();
    test_group();
    test_user();
    test_target();
    test_unescape();
    test_query();

    ngx_destroy_pool(pool);

    return done();
}
