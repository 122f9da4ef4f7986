
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#include "base/ngx_broadcast_id.h"


#define NGX_BROADCAST_BASE64URL_BAD  64


static const u_char  ngx_broadcast_base64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


/* OpenSSL's generator notices a fork by itself and never waits for entropy. */

ngx_int_t
ngx_broadcast_id_random(u_char *buf, size_t len)
{
    size_t  n;

    while (len) {
        n = ngx_min(len, 4096);

        if (RAND_bytes(buf, (int) n) != 1) {
            ERR_clear_error();
            return NGX_ERROR;
        }

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


static ngx_inline u_char
ngx_broadcast_base64url_value(u_char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    if (c == '-') {
        return 62;
    }

    if (c == '_') {
        return 63;
    }

    return NGX_BROADCAST_BASE64URL_BAD;
}


ngx_int_t
ngx_broadcast_unbase64url(u_char *dst, size_t *len, ngx_str_t *src)
{
    size_t       i;
    u_char      *d, v;
    uint32_t     bits;
    ngx_uint_t   have;

    d = dst;
    bits = 0;
    have = 0;

    for (i = 0; i < src->len; i++) {
        v = ngx_broadcast_base64url_value(src->data[i]);

        if (v == NGX_BROADCAST_BASE64URL_BAD) {
            return NGX_ERROR;
        }

        bits = (bits << 6) | v;
        have += 6;

        if (have >= 8) {
            have -= 8;
            *d++ = (u_char) (bits >> have);
            bits &= (1u << have) - 1;
        }
    }

    /* six bits over are a character too many; others must be zero */

    if (have == 6 || bits) {
        return NGX_ERROR;
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
