
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _TOKEN_H_INCLUDED_
#define _TOKEN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/hmac.h>

#include "base/ngx_broadcast_id.h"
#include "token/ngx_broadcast_key.h"


/* signalr.md appendix A, and its two tokens, valid from 1700000000 for 1 h */

#define ACCESS_KEY  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"

#define TOKEN_A1                                                              \
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."                                   \
    "eyJuYW1laWQiOiJhbGljZSIsIm5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAzNjAw"    \
    "LCJpYXQiOjE3MDAwMDAwMDAsImF1ZCI6Imh0dHA6Ly9sb2NhbGhvc3QvY2xpZW50Lz9o"    \
    "dWI9Y2hhdCJ9."                                                           \
    "tjPHJh2ci5X1Wop5EBLdrBN9gQ_OkBN6Wt45_GabtS4"

#define TOKEN_A2                                                              \
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."                                   \
    "eyJuYmYiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMzYwMCwiaWF0IjoxNzAwMDAwMDAw"    \
    "LCJhdWQiOiJodHRwOi8vbG9jYWxob3N0L2FwaS9odWJzL2NoYXQvOnNlbmQifQ."         \
    "71saIPR15So1MyC6B1Olljd2BVb91dK7-MwlXgdc-4s"


/* A set with this one secret. */

static inline ngx_broadcast_keys_t *
token_keys(ngx_pool_t *pool, const char *secret)
{
    ngx_str_t              s;
    ngx_broadcast_keys_t  *keys;

    s.data = (u_char *) secret;
    s.len = strlen(secret);

    keys = ngx_broadcast_keys_create(pool);

    return ngx_broadcast_key_add_secret(keys, &s, NULL, NULL) ? NULL : keys;
}


/* Any header over any payload, signed by HMAC with md, whatever it says. */

static inline ngx_str_t
token_sign(ngx_pool_t *pool, const char *header, const void *payload,
    size_t len, const char *secret, size_t secret_len, const EVP_MD *md)
{
    u_char     mac[EVP_MAX_MD_SIZE], *p;
    unsigned   n;
    ngx_str_t  token;

    token.data = ngx_pnalloc(pool, (strlen(header) + len) * 2 + 200);

    p = token.data;
    p += ngx_broadcast_base64url(p, (const u_char *) header, strlen(header));
    *p++ = '.';
    p += ngx_broadcast_base64url(p, payload, len);

    HMAC(md, secret, (int) secret_len, token.data, p - token.data, mac, &n);

    *p++ = '.';
    p += ngx_broadcast_base64url(p, mac, n);

    token.len = p - token.data;

    return token;
}


#endif /* _TOKEN_H_INCLUDED_ */
