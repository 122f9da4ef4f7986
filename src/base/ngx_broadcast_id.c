
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#include "base/ngx_broadcast_id.h"


#define NGX_BROADCAST_RANDOM         1024   /* bytes drawn at once */

#define NGX_BROADCAST_BASE64URL_BAD  64


static const u_char  ngx_broadcast_base64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const u_char  ngx_broadcast_base64url_values[128] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 63,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64
};


/*
 * OpenSSL's generator never waits for entropy, but asks the kernel at each
 * call which process it is, lest two draw the same after a fork: that costs
 * more than the bytes.  So it is asked for many at once, and what it gave
 * belongs to the process that asked.
 */

ngx_int_t
ngx_broadcast_id_random(u_char *buf, size_t len)
{
    static u_char     bytes[NGX_BROADCAST_RANDOM];
    static size_t     left;
    static ngx_pid_t  owner;

    size_t  n;

    while (len) {

        if (left == 0 || owner != ngx_pid) {

            if (RAND_bytes(bytes, NGX_BROADCAST_RANDOM) != 1) {
                ERR_clear_error();
                return NGX_ERROR;
            }

            left = NGX_BROADCAST_RANDOM;
            owner = ngx_pid;
        }

        n = ngx_min(len, left);
        left -= n;

        ngx_memcpy(buf, bytes + left, n);
        ngx_memzero(bytes + left, n);

        buf += n;
        len -= n;
    }

    return NGX_OK;
}


size_t
ngx_broadcast_base64url(u_char *dst, const u_char *src, size_t len)
{
    u_char        *d;
    const u_char  *abc;

    d = dst;
    abc = ngx_broadcast_base64url_alphabet;

    while (len > 2) {
        *d++ = abc[src[0] >> 2];
        *d++ = abc[((src[0] & 0x03) << 4) | (src[1] >> 4)];
        *d++ = abc[((src[1] & 0x0f) << 2) | (src[2] >> 6)];
        *d++ = abc[src[2] & 0x3f];

        src += 3;
        len -= 3;
    }

    if (len) {
        *d++ = abc[src[0] >> 2];

        if (len == 1) {
            *d++ = abc[(src[0] & 0x03) << 4];

        } else {
            *d++ = abc[((src[0] & 0x03) << 4) | (src[1] >> 4)];
            *d++ = abc[(src[1] & 0x0f) << 2];
        }
    }

    return d - dst;
}


static ngx_inline uint32_t
ngx_broadcast_base64url_value(u_char c)
{
    return (c < 128) ? ngx_broadcast_base64url_values[c]
                     : NGX_BROADCAST_BASE64URL_BAD;
}


/* dst never gets ahead of what was read of src, it may be the same */

ngx_int_t
ngx_broadcast_unbase64url(u_char *dst, size_t *len, ngx_str_t *src)
{
    u_char      *d, *s, *last;
    uint32_t     bits, v[4];
    ngx_uint_t   i, n;

    d = dst;
    s = src->data;
    last = s + src->len;

    for ( /* void */ ; last - s > 3; s += 4) {

        v[0] = ngx_broadcast_base64url_value(s[0]);
        v[1] = ngx_broadcast_base64url_value(s[1]);
        v[2] = ngx_broadcast_base64url_value(s[2]);
        v[3] = ngx_broadcast_base64url_value(s[3]);

        if ((v[0] | v[1] | v[2] | v[3]) & NGX_BROADCAST_BASE64URL_BAD) {
            return NGX_ERROR;
        }

        bits = v[0] << 18 | v[1] << 12 | v[2] << 6 | v[3];

        *d++ = (u_char) (bits >> 16);
        *d++ = (u_char) (bits >> 8);
        *d++ = (u_char) bits;
    }

    bits = 0;
    n = last - s;

    for (i = 0; i < n; i++) {
        v[0] = ngx_broadcast_base64url_value(s[i]);

        if (v[0] == NGX_BROADCAST_BASE64URL_BAD) {
            return NGX_ERROR;
        }

        bits = bits << 6 | v[0];
    }

    /* one character is less than a byte; the bits over must be zero */

    if (n == 1 || (n == 2 && bits & 0x0f) || (n == 3 && bits & 0x03)) {
        return NGX_ERROR;
    }

    if (n == 2) {
        *d++ = (u_char) (bits >> 4);

    } else if (n == 3) {
        *d++ = (u_char) (bits >> 10);
        *d++ = (u_char) (bits >> 2);
    }

    *len = d - dst;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_memeq(const void *one, const void *two, size_t len)
{
    size_t                  i;
    volatile u_char         diff;
    const volatile u_char  *a, *b;

    a = one;
    b = two;
    diff = 0;

    for (i = 0; i < len; i++) {
        diff |= a[i] ^ b[i];
    }

    return diff == 0;
}
