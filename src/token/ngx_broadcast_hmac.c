
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * HMAC() of OpenSSL 3 looks its algorithm up and allocates at each call, which
 * takes three times as long as the MAC of a token does.  Contexts that can be
 * used again are HMAC_CTX, which is deprecated there, or EVP_MAC, which 1.1.1
 * has not.  A digest that was looked up once serves in both: the two rounds
 * of RFC 2104 are here.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/ngx_broadcast_check.h"
#include "token/ngx_broadcast_hmac.h"


#define NGX_BROADCAST_HMAC_BLOCK  128       /* of SHA-384 and SHA-512 */


typedef struct {
    const char       *name;
    size_t            block;
    size_t            size;
    const EVP_MD     *md;          /* looked up when it is first needed, and
                                      kept for the life of the process */
} ngx_broadcast_hmac_digest_t;


ngx_broadcast_check(EVP_MAX_MD_SIZE <= NGX_BROADCAST_HMAC_MAX,
                    "room for a MAC");


static ngx_int_t ngx_broadcast_hmac_round(u_char *out,
    ngx_broadcast_hmac_digest_t *d, const u_char *pad, const u_char *input,
    size_t len);


static EVP_MD_CTX  *ngx_broadcast_hmac_ctx;

static ngx_broadcast_hmac_digest_t  ngx_broadcast_hmac_digests[] = {
    { "SHA256", 64, 32, NULL },
    { "SHA384", 128, 48, NULL },
    { "SHA512", 128, 64, NULL }
};


static ngx_int_t
ngx_broadcast_hmac_ready(ngx_broadcast_hmac_digest_t *d)
{
    if (ngx_broadcast_hmac_ctx == NULL) {
        ngx_broadcast_hmac_ctx = EVP_MD_CTX_new();

        if (ngx_broadcast_hmac_ctx == NULL) {
            return NGX_ERROR;
        }
    }

    if (d->md == NULL) {
#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)
        d->md = EVP_MD_fetch(NULL, d->name, NULL);
#else
        d->md = EVP_get_digestbyname(d->name);
#endif
    }

    return d->md ? NGX_OK : NGX_ERROR;
}


/* the digest of pad, if there is one, and input */

static ngx_int_t
ngx_broadcast_hmac_round(u_char *out, ngx_broadcast_hmac_digest_t *d,
    const u_char *pad, const u_char *input, size_t len)
{
    EVP_MD_CTX  *ctx;

    ctx = ngx_broadcast_hmac_ctx;

    if (EVP_DigestInit_ex(ctx, d->md, NULL) != 1
        || (pad && EVP_DigestUpdate(ctx, pad, d->block) != 1)
        || EVP_DigestUpdate(ctx, input, len) != 1
        || EVP_DigestFinal_ex(ctx, out, NULL) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


size_t
ngx_broadcast_hmac(u_char *mac, ngx_broadcast_hmac_e digest, ngx_str_t *key,
    const u_char *input, size_t len)
{
    u_char                        pad[NGX_BROADCAST_HMAC_BLOCK];
    size_t                        i, size;
    ngx_broadcast_hmac_digest_t  *d;

    d = &ngx_broadcast_hmac_digests[digest];
    size = 0;

    ngx_memzero(pad, NGX_BROADCAST_HMAC_BLOCK);

    if (ngx_broadcast_hmac_ready(d) != NGX_OK) {
        goto done;
    }

    if (key->len <= d->block) {
        ngx_memcpy(pad, key->data, key->len);

    } else if (ngx_broadcast_hmac_round(pad, d, NULL, key->data, key->len)
               != NGX_OK)
    {
        goto done;
    }

    for (i = 0; i < d->block; i++) {
        pad[i] ^= 0x36;
    }

    if (ngx_broadcast_hmac_round(mac, d, pad, input, len) != NGX_OK) {
        goto done;
    }

    for (i = 0; i < d->block; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }

    if (ngx_broadcast_hmac_round(mac, d, pad, mac, d->size) == NGX_OK) {
        size = d->size;
    }

done:

    ngx_explicit_memzero(pad, NGX_BROADCAST_HMAC_BLOCK);

    if (size == 0) {
        ERR_clear_error();
    }

    return size;
}


ngx_int_t
ngx_broadcast_sha256(u_char digest[NGX_BROADCAST_SHA256_LEN],
    const u_char *input, size_t len)
{
    ngx_broadcast_hmac_digest_t  *d;

    d = &ngx_broadcast_hmac_digests[NGX_BROADCAST_HMAC_SHA256];

    if (ngx_broadcast_hmac_ready(d) != NGX_OK
        || ngx_broadcast_hmac_round(digest, d, NULL, input, len) != NGX_OK)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}
