
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/base/ngx_broadcast_id.c -lcrypto */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_id.h"

#include "tap.h"


static ngx_str_t
encode(const char *bytes, size_t len)
{
    static u_char  text[4][512];
    static int     next;

    ngx_str_t  s;

    s.data = text[next++ % 4];
    s.len = ngx_broadcast_base64url(s.data, (const u_char *) bytes, len);

    return s;
}


static ngx_int_t
decode(const char *text)
{
    size_t     len;
    u_char     bytes[512];
    ngx_str_t  s;

    s = tap_str(text);

    return ngx_broadcast_unbase64url(bytes, &len, &s);
}


static void
test_encode(void)
{
    ngx_str_t  s;

    s = encode("", 0);
    is_str(&s, "", "nothing is encoded as nothing");
    s = encode("f", 1);
    is_str(&s, "Zg", "one byte, RFC 4648 section 10");
    s = encode("fo", 2);
    is_str(&s, "Zm8", "two bytes");
    s = encode("foo", 3);
    is_str(&s, "Zm9v", "three bytes");
    s = encode("foobar", 6);
    is_str(&s, "Zm9vYmFy", "six bytes");
    s = encode("\xfb\xff\xbf", 3);
    is_str(&s, "-_-_", "the alphabet is that of section 5");

    is_int(ngx_broadcast_base64url_len(16), NGX_BROADCAST_ID_LEN,
           "16 bytes are 22 characters");
}


static void
test_decode(void)
{
    size_t      i, len, back;
    u_char      bytes[64], out[64], text[128];
    ngx_str_t   s;
    ngx_uint_t  wrong;

    is_int(decode("Zg=="), NGX_ERROR, "padding is refused");
    is_int(decode("Z"), NGX_ERROR, "one character is refused");
    is_int(decode("Zm9vY"), NGX_ERROR, "a single one over is refused");
    is_int(decode("A"), NGX_ERROR, "also where it is all zero");
    is_int(decode("Zh"), NGX_ERROR, "unused bits must be zero, of 4");
    is_int(decode("Zm9"), NGX_ERROR, "and of 2");
    is_int(decode("Zm9v\n"), NGX_ERROR, "white space is refused");
    is_int(decode("Zm+v"), NGX_ERROR, "\"+\" is refused");
    is_int(decode("Zm/v"), NGX_ERROR, "\"/\" is refused");
    is_int(decode("Zm.v"), NGX_ERROR, "a dot is refused");
    is_int(decode("\xc3\xa9zz"), NGX_ERROR, "a byte above 0x7f is refused");
    is_int(decode(""), NGX_OK, "nothing is fine");

    wrong = 0;

    for (len = 0; len < sizeof(bytes); len++) {
        for (i = 0; i < len; i++) {
            bytes[i] = (u_char) (i * 37 + len * 11);
        }

        s.data = text;
        s.len = ngx_broadcast_base64url(text, bytes, len);

        if (s.len != ngx_broadcast_base64url_len(len)
            || ngx_broadcast_unbase64url(out, &back, &s) != NGX_OK
            || back != len || memcmp(out, bytes, len) != 0)
        {
            wrong++;
        }
    }

    is_int(wrong, 0, "every length up to 63 comes back as it was");

    s = tap_str("Zm9vYmFy");
    ngx_memcpy(text, s.data, s.len);
    s.data = text;
    ngx_broadcast_unbase64url(text, &len, &s);
    is_mem(text, len, "foobar", 6, "it can be decoded in place");
}


static void
test_random(void)
{
    u_char  one[5000], two[5000];

    ngx_memzero(one, sizeof(one));
    ngx_memzero(two, sizeof(two));

    is_int(ngx_broadcast_id_random(one, 16), NGX_OK, "random bytes come");
    ok(one[16] == 0 && one[17] == 0, "no more than asked for");

    ngx_broadcast_id_random(two, 16);
    ok(memcmp(one, two, 16) != 0, "others the next time");

    is_int(ngx_broadcast_id_random(one, 5000), NGX_OK, "many come too");
    ok(memcmp(one + 4984, two + 4984, 16) != 0, "to the last byte");
}


static void
test_memeq(void)
{
    is_int(ngx_broadcast_memeq("abc", "abc", 3), 1, "equal bytes are equal");
    is_int(ngx_broadcast_memeq("abc", "abd", 3), 0, "the last one counts");
    is_int(ngx_broadcast_memeq("xbc", "abc", 3), 0, "the first one counts");
    is_int(ngx_broadcast_memeq("a\0b", "a\0c", 3), 0, "zero does not end it");
    is_int(ngx_broadcast_memeq("abc", "xyz", 0), 1, "no bytes are equal");
}


int
main(void)
{
    test_encode();
    test_decode();
    test_random();
    test_memeq();

    return done();
}
