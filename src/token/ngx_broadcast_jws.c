
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/ngx_broadcast_buf.h"
#include "base/ngx_broadcast_id.h"
#include "base/ngx_broadcast_json.h"
#include "token/ngx_broadcast_hmac.h"
#include "token/ngx_broadcast_jws.h"


#define NGX_BROADCAST_JWS_BYTES                                               \
    ngx_broadcast_unbase64url_len(NGX_BROADCAST_TOKEN_MAX)

/* P-521's signature: a sequence of two integers, each up to 67 bytes */

#define NGX_BROADCAST_JWS_COORDINATE  66
#define NGX_BROADCAST_JWS_DER         160

#define NGX_BROADCAST_JWS_HEADER      256   /* longer ones are read each time */


/* A token taken apart; all parts are borrowed from it. */

typedef struct {
    ngx_str_t             header;
    ngx_str_t             payload;
    ngx_str_t             input;     /* what is signed: header "." payload   */
    ngx_str_t             signature;
} ngx_broadcast_jws_t;


/* What the header of a token said, and the header. */

typedef struct {
    size_t                len;       /* of text, 0: none                     */
    size_t                kid_len;
    ngx_uint_t            alg;       /* NGX_BROADCAST_ALG_...                */
    u_char                text[NGX_BROADCAST_JWS_HEADER];
    u_char                kid[NGX_BROADCAST_JWS_HEADER];
} ngx_broadcast_jws_header_t;


static ngx_int_t ngx_broadcast_jws_split(ngx_str_t *token,
    ngx_broadcast_jws_t *jws);
static ngx_int_t ngx_broadcast_jws_header(ngx_broadcast_keys_t *keys,
    ngx_broadcast_jws_t *jws, ngx_str_t *signature, const char **error);
static ngx_int_t ngx_broadcast_jws_recall(ngx_str_t *header, ngx_str_t *kid,
    ngx_uint_t *alg);
static void ngx_broadcast_jws_remember(ngx_str_t *header, ngx_str_t *kid,
    ngx_uint_t alg);
static ngx_int_t ngx_broadcast_jws_search(ngx_broadcast_keys_t *keys,
    ngx_str_t *kid, ngx_uint_t alg, ngx_str_t *input, ngx_str_t *signature,
    const char **error);
static const EVP_MD *ngx_broadcast_jws_digest(ngx_uint_t alg);
static ngx_uint_t ngx_broadcast_jws_secret(ngx_broadcast_key_t *key,
    ngx_uint_t alg, ngx_str_t *input, ngx_str_t *signature);
static ngx_uint_t ngx_broadcast_jws_public(ngx_broadcast_key_t *key,
    ngx_uint_t alg, ngx_str_t *input, ngx_str_t *signature);
static ngx_int_t ngx_broadcast_jws_ecdsa(ngx_uint_t alg, u_char *der,
    ngx_str_t *signature);


static ngx_broadcast_jws_header_t  ngx_broadcast_jws_last;


ngx_int_t
ngx_broadcast_jws_verify(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    ngx_str_t *token, ngx_str_t *payload, const char **error)
{
    u_char                bytes[NGX_BROADCAST_JWS_BYTES];
    ngx_int_t             rc;
    ngx_str_t             signature;
    ngx_broadcast_jws_t   jws;

    ngx_str_null(payload);

    if (token->len > NGX_BROADCAST_TOKEN_MAX) {
        *error = "the token is too long";
        return NGX_BUSY;
    }

    if (keys == NULL || keys->keys.nelts == 0) {
        *error = "there is no key for tokens";
        return NGX_DECLINED;
    }

    signature.data = bytes;

    if (ngx_broadcast_jws_split(token, &jws) != NGX_OK
        || ngx_broadcast_unbase64url(bytes, &signature.len, &jws.signature)
           != NGX_OK)
    {
        *error = "this is no token";
        return NGX_DECLINED;
    }

    rc = ngx_broadcast_jws_header(keys, &jws, &signature, error);
    if (rc != NGX_OK) {
        return rc;
    }

    payload->data = ngx_pnalloc(pool, jws.payload.len + 1);
    if (payload->data == NULL) {
        *error = "no memory";
        return NGX_ERROR;
    }

    if (ngx_broadcast_unbase64url(payload->data, &payload->len, &jws.payload)
        != NGX_OK)
    {
        ngx_str_null(payload);
        *error = "the token's payload is not base64url";
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_jws_split(ngx_str_t *token, ngx_broadcast_jws_t *jws)
{
    u_char  *end, *one, *two;

    if (token->len == 0) {
        return NGX_DECLINED;
    }

    end = token->data + token->len;

    one = ngx_strlchr(token->data, end, '.');
    if (one == NULL) {
        return NGX_DECLINED;
    }

    two = ngx_strlchr(one + 1, end, '.');
    if (two == NULL) {
        return NGX_DECLINED;
    }

    jws->header.data = token->data;
    jws->header.len = one - token->data;

    jws->payload.data = one + 1;
    jws->payload.len = two - one - 1;

    jws->input.data = token->data;
    jws->input.len = two - token->data;

    /* a third dot, of an encrypted token, is no base64url */

    jws->signature.data = two + 1;
    jws->signature.len = end - two - 1;

    return NGX_OK;
}


/*
 * Nothing of the header is trusted but to choose among the keys.  An issuer
 * writes the same one over and over, so what the last one said is remembered.
 */

static ngx_int_t
ngx_broadcast_jws_header(ngx_broadcast_keys_t *keys, ngx_broadcast_jws_t *jws,
    ngx_str_t *signature, const char **error)
{
    u_char       bytes[NGX_BROADCAST_JWS_BYTES];
    json_t      *header;
    ngx_int_t    rc;
    ngx_str_t    text, alg, kid;
    ngx_uint_t   bit;
    const char  *reason;

    if (ngx_broadcast_jws_recall(&jws->header, &kid, &bit) == NGX_OK) {
        return ngx_broadcast_jws_search(keys, &kid, bit, &jws->input,
                                        signature, error);
    }

    text.data = bytes;
    *error = "the token's header is not JSON";

    if (ngx_broadcast_unbase64url(bytes, &text.len, &jws->header) != NGX_OK) {
        return NGX_DECLINED;
    }

    header = ngx_broadcast_json_parse(&text, NGX_BROADCAST_JSON_UNIQUE,
                                      &reason);
    if (header == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    if (ngx_broadcast_json_str(header, "alg", &alg) != NGX_OK
        || ngx_broadcast_json_str(header, "kid", &kid) == NGX_ERROR)
    {
        *error = "the token's header is broken";
        goto done;
    }

    /* an extension that has to be understood; we know none */

    if (json_object_get(header, "crit")) {
        *error = "the token's header has \"crit\"";
        goto done;
    }

    bit = ngx_broadcast_alg(&alg);

    if (bit == 0) {
        *error = "the token's algorithm is not allowed";
        goto done;
    }

    ngx_broadcast_jws_remember(&jws->header, &kid, bit);

    rc = ngx_broadcast_jws_search(keys, &kid, bit, &jws->input, signature,
                                  error);

done:

    json_decref(header);

    return rc;
}


/* kid is borrowed from here until the next header is remembered */

static ngx_int_t
ngx_broadcast_jws_recall(ngx_str_t *header, ngx_str_t *kid, ngx_uint_t *alg)
{
    ngx_broadcast_jws_header_t  *h;

    h = &ngx_broadcast_jws_last;

    if (h->len == 0 || h->len != header->len
        || ngx_memcmp(h->text, header->data, h->len) != 0)
    {
        return NGX_DECLINED;
    }

    kid->data = h->kid;
    kid->len = h->kid_len;
    *alg = h->alg;

    return NGX_OK;
}


static void
ngx_broadcast_jws_remember(ngx_str_t *header, ngx_str_t *kid, ngx_uint_t alg)
{
    ngx_broadcast_jws_header_t  *h;

    h = &ngx_broadcast_jws_last;

    if (header->len > NGX_BROADCAST_JWS_HEADER
        || kid->len > NGX_BROADCAST_JWS_HEADER)
    {
        return;
    }

    h->len = header->len;
    ngx_memcpy(h->text, header->data, h->len);

    h->kid_len = kid->len;

    if (kid->len) {
        ngx_memcpy(h->kid, kid->data, kid->len);
    }

    h->alg = alg;
}


static ngx_int_t
ngx_broadcast_jws_search(ngx_broadcast_keys_t *keys, ngx_str_t *kid,
    ngx_uint_t alg, ngx_str_t *input, ngx_str_t *signature,
    const char **error)
{
    ngx_uint_t            i, known, valid;
    ngx_broadcast_key_t  *key;

    key = keys->keys.elts;
    known = 0;

    for (i = 0; i < keys->keys.nelts && kid->len; i++) {
        if (key[i].kid.len == kid->len
            && ngx_memcmp(key[i].kid.data, kid->data, kid->len) == 0)
        {
            known = 1;
            break;
        }
    }

    *error = "no key has the token's algorithm";

    for (i = 0; i < keys->keys.nelts; i++) {

        if (!(key[i].algs & alg)) {
            continue;
        }

        if (known && key[i].kid.len
            && (key[i].kid.len != kid->len
                || ngx_memcmp(key[i].kid.data, kid->data, kid->len) != 0))
        {
            continue;
        }

        *error = "the token's signature does not match";

        if (key[i].pkey) {
            valid = ngx_broadcast_jws_public(&key[i], alg, input, signature);

        } else {
            valid = ngx_broadcast_jws_secret(&key[i], alg, input, signature);
        }

        if (valid) {
            *error = NULL;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static const EVP_MD *
ngx_broadcast_jws_digest(ngx_uint_t alg)
{
    switch (alg) {

    case NGX_BROADCAST_ALG_RS256:
    case NGX_BROADCAST_ALG_PS256:
    case NGX_BROADCAST_ALG_ES256:
        return EVP_sha256();

    case NGX_BROADCAST_ALG_RS384:
    case NGX_BROADCAST_ALG_PS384:
    case NGX_BROADCAST_ALG_ES384:
        return EVP_sha384();

    case NGX_BROADCAST_ALG_EDDSA:
        return NULL;

    default:
        return EVP_sha512();
    }
}


static ngx_broadcast_hmac_e
ngx_broadcast_jws_hmac(ngx_uint_t alg)
{
    switch (alg) {

    case NGX_BROADCAST_ALG_HS256:
        return NGX_BROADCAST_HMAC_SHA256;

    case NGX_BROADCAST_ALG_HS384:
        return NGX_BROADCAST_HMAC_SHA384;

    default:
        return NGX_BROADCAST_HMAC_SHA512;
    }
}


static ngx_uint_t
ngx_broadcast_jws_secret(ngx_broadcast_key_t *key, ngx_uint_t alg,
    ngx_str_t *input, ngx_str_t *signature)
{
    u_char  mac[NGX_BROADCAST_HMAC_MAX];
    size_t  len;

    len = ngx_broadcast_hmac(mac, ngx_broadcast_jws_hmac(alg), &key->secret,
                             input->data, input->len);

    return len && signature->len == len
           && ngx_broadcast_memeq(mac, signature->data, len);
}


static ngx_uint_t
ngx_broadcast_jws_public(ngx_broadcast_key_t *key, ngx_uint_t alg,
    ngx_str_t *input, ngx_str_t *signature)
{
    u_char         der[NGX_BROADCAST_JWS_DER];
    ngx_str_t      sig;
    ngx_uint_t     valid;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *pctx;

    sig = *signature;
    valid = 0;

    if (alg & NGX_BROADCAST_ALG_EC) {
        if (ngx_broadcast_jws_ecdsa(alg, der, &sig) != NGX_OK) {
            return 0;
        }
    }

    ctx = EVP_MD_CTX_new();

    if (ctx
        && EVP_DigestVerifyInit(ctx, &pctx, ngx_broadcast_jws_digest(alg),
                                NULL, key->pkey)
           == 1)
    {
        if (!(alg & (NGX_BROADCAST_ALG_PS256|NGX_BROADCAST_ALG_PS384
                     |NGX_BROADCAST_ALG_PS512))
            || (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0
                && EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx,
                                                    RSA_PSS_SALTLEN_DIGEST)
                   > 0))
        {
            valid = EVP_DigestVerify(ctx, sig.data, sig.len,
                                     input->data, input->len)
                    == 1;
        }
    }

    EVP_MD_CTX_free(ctx);

    /* nginx's TLS would report what is left here as an error of its own */

    ERR_clear_error();

    return valid;
}


/*
 * The two numbers side by side (RFC 7518 section 3.4) as the DER that OpenSSL
 * wants, into der.
 */

static ngx_int_t
ngx_broadcast_jws_ecdsa(ngx_uint_t alg, u_char *der, ngx_str_t *signature)
{
    int         len;
    size_t      size;
    u_char     *p;
    BIGNUM     *r, *s;
    ECDSA_SIG  *sig;

    size = (alg == NGX_BROADCAST_ALG_ES256) ? 32
           : (alg == NGX_BROADCAST_ALG_ES384) ? 48
           : NGX_BROADCAST_JWS_COORDINATE;

    if (signature->len != 2 * size) {
        return NGX_DECLINED;
    }

    r = BN_bin2bn(signature->data, (int) size, NULL);
    s = BN_bin2bn(signature->data + size, (int) size, NULL);
    sig = ECDSA_SIG_new();

    if (r == NULL || s == NULL || sig == NULL
        || ECDSA_SIG_set0(sig, r, s) != 1)
    {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(sig);
        ERR_clear_error();

        return NGX_DECLINED;
    }

    len = i2d_ECDSA_SIG(sig, NULL);

    if (len > 0 && len <= NGX_BROADCAST_JWS_DER) {
        p = der;
        len = i2d_ECDSA_SIG(sig, &p);
    }

    ECDSA_SIG_free(sig);

    if (len <= 0 || len > NGX_BROADCAST_JWS_DER) {
        return NGX_DECLINED;
    }

    signature->data = der;
    signature->len = len;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_jws_sign(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    ngx_str_t *payload, ngx_str_t *token)
{
    u_char                mac[NGX_BROADCAST_HMAC_MAX], *p;
    size_t                len, mac_len;
    ngx_str_t             header;
    ngx_uint_t            alg;
    ngx_broadcast_buf_t   b;
    ngx_broadcast_key_t  *key;

    if (!ngx_broadcast_keys_can_sign(keys)) {
        return NGX_DECLINED;
    }

    key = keys->keys.elts;

    ngx_broadcast_buf_init(&b, pool, 64 + key->kid.len);

    if (key->algs & NGX_BROADCAST_ALG_HS256) {
        alg = NGX_BROADCAST_ALG_HS256;
        ngx_broadcast_buf_literal(&b, "{\"alg\":\"HS256\"");

    } else if (key->algs & NGX_BROADCAST_ALG_HS384) {
        alg = NGX_BROADCAST_ALG_HS384;
        ngx_broadcast_buf_literal(&b, "{\"alg\":\"HS384\"");

    } else {
        alg = NGX_BROADCAST_ALG_HS512;
        ngx_broadcast_buf_literal(&b, "{\"alg\":\"HS512\"");
    }

    if (key->kid.len) {
        ngx_broadcast_buf_literal(&b, ",\"kid\":");
        ngx_broadcast_buf_json(&b, &key->kid);
    }

    ngx_broadcast_buf_literal(&b, ",\"typ\":\"JWT\"}");

    if (ngx_broadcast_buf_done(&b, &header) != NGX_OK) {
        return NGX_ERROR;
    }

    len = ngx_broadcast_base64url_len(header.len) + 1
          + ngx_broadcast_base64url_len(payload->len) + 1
          + ngx_broadcast_base64url_len(NGX_BROADCAST_HMAC_MAX);

    token->data = ngx_pnalloc(pool, len);
    if (token->data == NULL) {
        return NGX_ERROR;
    }

    p = token->data;
    p += ngx_broadcast_base64url(p, header.data, header.len);
    *p++ = '.';
    p += ngx_broadcast_base64url(p, payload->data, payload->len);

    mac_len = ngx_broadcast_hmac(mac, ngx_broadcast_jws_hmac(alg),
                                 &key->secret, token->data, p - token->data);
    if (mac_len == 0) {
        return NGX_ERROR;
    }

    *p++ = '.';
    p += ngx_broadcast_base64url(p, mac, mac_len);

    token->len = p - token->data;

    return NGX_OK;
}
