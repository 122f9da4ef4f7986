
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_utf8.h"

#include "tap.h"


#define U(text)                                                               \
    ngx_broadcast_utf8_valid(&(ngx_str_t) { sizeof(text) - 1,                 \
                                            (u_char *) text })


static void
test_valid(void)
{
    ok(U(""), "an empty text is valid");
    ok(U("plain"), "ASCII is valid");
    ok(U("\0"), "U+0000 is valid");
    ok(U("\x7f"), "U+007F is valid");
    ok(U("\xc2\x80"), "U+0080, the least of two bytes, is valid");
    ok(U("\xdf\xbf"), "U+07FF, the greatest of two bytes, is valid");
    ok(U("\xe0\xa0\x80"), "U+0800, the least of three bytes, is valid");
    ok(U("\xed\x9f\xbf"), "U+D7FF, before the surrogates, is valid");
    ok(U("\xee\x80\x80"), "U+E000, behind the surrogates, is valid");
    ok(U("\xef\xbf\xbf"), "U+FFFF is valid");
    ok(U("\xf0\x90\x80\x80"), "U+10000, the least of four bytes, is valid");
    ok(U("\xf4\x8f\xbf\xbf"), "U+10FFFF, the last, is valid");
}


static void
test_invalid(void)
{
    ok(!U("\x80"), "a continuation byte alone is not");
    ok(!U("\xc0\x80"), "C0, an overlong U+0000, is not");
    ok(!U("\xc1\xbf"), "C1, an overlong U+007F, is not");
    ok(!U("\xe0\x9f\xbf"), "an overlong three-byte form is not");
    ok(!U("\xed\xa0\x80"), "the first surrogate is not");
    ok(!U("\xed\xbf\xbf"), "the last surrogate is not");
    ok(!U("\xf0\x8f\xbf\xbf"), "an overlong four-byte form is not");
    ok(!U("\xf4\x90\x80\x80"), "U+110000 is not");
    ok(!U("\xf5\x80\x80\x80"), "F5 is not");
    ok(!U("\xff"), "FF is not");
    ok(!U("\xc3"), "a text that ends inside two bytes is not");
    ok(!U("\xe2\x82"), "a text that ends inside three bytes is not");
    ok(!U("\xf0\x9f\x98"), "a text that ends inside four bytes is not");
    ok(!U("\xc3\x28"), "a lead byte with ASCII behind is not");
    ok(!U("\xe2\x28\xa1"), "ASCII as the second of three is not");
    ok(!U("\xe2\x82\x28"), "ASCII as the last of three is not");
}


static void
test_pieces(void)
{
    size_t                i;
    ngx_int_t             rc;
    ngx_broadcast_utf8_t  u;

    static u_char  text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";

    ngx_broadcast_utf8_init(&u);
    rc = NGX_OK;

    for (i = 0; i < sizeof(text) - 1; i++) {
        if (ngx_broadcast_utf8_feed(&u, &text[i], 1) != NGX_OK) {
            rc = NGX_ERROR;
        }
    }

    is_int(rc, NGX_OK, "a text in single bytes is taken");
    is_int(ngx_broadcast_utf8_finish(&u), NGX_OK, "and may end there");

    ngx_broadcast_utf8_init(&u);
    ngx_broadcast_utf8_feed(&u, text, 2);
    is_int(ngx_broadcast_utf8_finish(&u), NGX_ERROR,
           "it may not end inside a character");

    is_int(ngx_broadcast_utf8_feed(&u, NULL, 0), NGX_OK, "no bytes are fine");
    is_int(ngx_broadcast_utf8_feed(&u, (u_char *) "\xe2", 1), NGX_ERROR,
           "a wrong byte in the next piece is found at once");

    ngx_broadcast_utf8_init(&u);
    ngx_broadcast_utf8_feed(&u, (u_char *) "\xed", 1);
    is_int(ngx_broadcast_utf8_feed(&u, (u_char *) "\xa0", 1), NGX_ERROR,
           "a surrogate over two pieces is found");
}


static void
test_char(void)
{
    u_char  s[] = "\xf0\x9f\x98\x80";

    is_int(ngx_broadcast_utf8_char(s, s + 4), 4, "a character has 4 bytes");
    is_int(ngx_broadcast_utf8_char(s, s + 3), 0, "a cut one has none");
    is_int(ngx_broadcast_utf8_char(s, s), 0, "nothing has none");
    is_int(ngx_broadcast_utf8_char(s + 1, s + 4), 0, "its middle has none");
}


int
main(void)
{
    test_valid();
    test_invalid();
    test_pieces();
    test_char();

    return done();
}
