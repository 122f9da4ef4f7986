
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "base/ngx_broadcast_id.h"
#include "base/ngx_broadcast_json.h"
#include "token/ngx_broadcast_jwk.h"
#include "token/ngx_broadcast_key.h"


#define NGX_BROADCAST_JWK_RSA_MAX  2048     /* bytes of a modulus: 16384 bits */


/*
 * What stands before the coordinates in the SubjectPublicKeyInfo of a curve:
 * sequences, the two OIDs, the bit string's head and 04, "uncompressed"
 * (RFC 5480).
 */

typedef struct {
    const char           *name;
    ngx_uint_t            alg;
    size_t                size;      /* of one coordinate                    */
    size_t                len;       /* of prefix                            */
    const char           *prefix;
} ngx_broadcast_jwk_curve_t;


static const char *ngx_broadcast_jwk_add(ngx_broadcast_keys_t *keys,
    json_t *jwk, ngx_str_t *kid, ngx_uint_t algs, ngx_uint_t *added);
static ngx_uint_t ngx_broadcast_jwk_family(json_t *jwk);
static ngx_uint_t ngx_broadcast_jwk_verifies(json_t *jwk);
static ngx_broadcast_jwk_curve_t *ngx_broadcast_jwk_curve(json_t *jwk);
static ngx_int_t ngx_broadcast_jwk_bytes(ngx_pool_t *pool, json_t *jwk,
    const char *name, ngx_str_t *bytes);
static EVP_PKEY *ngx_broadcast_jwk_rsa(ngx_pool_t *pool, json_t *jwk);
static EVP_PKEY *ngx_broadcast_jwk_ec(ngx_pool_t *pool, json_t *jwk);
static EVP_PKEY *ngx_broadcast_jwk_okp(ngx_pool_t *pool, json_t *jwk);


static ngx_broadcast_jwk_curve_t  ngx_broadcast_jwk_curves[] = {

    { "P-256", NGX_BROADCAST_ALG_ES256, 32, 27,
      "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
      "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04" },

    { "P-384", NGX_BROADCAST_ALG_ES384, 48, 24,
      "\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
      "\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00\x04" },

    { "P-521", NGX_BROADCAST_ALG_ES512, 66, 26,
      "\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
      "\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00\x04" },

    { NULL, 0, 0, 0, NULL }
};


ngx_uint_t
ngx_broadcast_jwk_looks_like(ngx_str_t *content)
{
    json_t      *json;
    ngx_uint_t   yes;
    const char  *error;

    json = ngx_broadcast_json_parse(content, 0, &error);
    if (json == NULL) {
        return 0;
    }

    yes = json_is_array(json_object_get(json, "keys"))
          || json_is_string(json_object_get(json, "kty"));

    json_decref(json);

    return yes;
}


const char *
ngx_broadcast_key_add_jwks(ngx_broadcast_keys_t *keys, ngx_str_t *content,
    ngx_str_t *kid, ngx_str_t *alg)
{
    size_t       i;
    json_t      *json, *list, *jwk;
    ngx_uint_t   algs, added;
    const char  *error;

    algs = 0;

    if (alg && alg->len) {
        algs = ngx_broadcast_algs(alg);
        if (algs == 0) {
            return "an unknown algorithm";
        }
    }

    json = ngx_broadcast_json_parse(content, NGX_BROADCAST_JSON_UNIQUE,
                                    &error);
    if (json == NULL) {
        return error;
    }

    added = 0;
    list = json_object_get(json, "keys");

    if (list == NULL) {
        error = ngx_broadcast_jwk_add(keys, json, kid, algs, &added);

    } else {
        json_array_foreach(list, i, jwk) {
            error = ngx_broadcast_jwk_add(keys, jwk, kid, algs, &added);
            if (error) {
                break;
            }
        }
    }

    json_decref(json);
    ERR_clear_error();

    if (error == NULL && added == 0) {
        error = "no usable key in the JWK set";
    }

    return error;
}


static const char *
ngx_broadcast_jwk_add(ngx_broadcast_keys_t *keys, json_t *jwk,
    ngx_str_t *kid, ngx_uint_t algs, ngx_uint_t *added)
{
    EVP_PKEY    *pkey;
    ngx_str_t    own, name, secret;
    ngx_uint_t   wanted;
    const char  *error;

    wanted = ngx_broadcast_jwk_family(jwk);

    if (algs) {
        wanted &= algs;
    }

    if (ngx_broadcast_json_str(jwk, "alg", &name) != NGX_DECLINED) {
        wanted &= ngx_broadcast_alg(&name);
    }

    if (wanted == 0 || !ngx_broadcast_jwk_verifies(jwk)) {
        return NULL;
    }

    if (ngx_broadcast_json_str(jwk, "kid", &own) == NGX_OK && own.len) {
        kid = &own;
    }

    if (wanted & NGX_BROADCAST_ALG_HS) {
        if (ngx_broadcast_jwk_bytes(keys->pool, jwk, "k", &secret)
            != NGX_OK)
        {
            return "a broken key in the JWK set";
        }

        error = ngx_broadcast_key_put_secret(keys, &secret, kid, wanted);
        OPENSSL_cleanse(secret.data, secret.len);

    } else {

        if (wanted & NGX_BROADCAST_ALG_RSA) {
            pkey = ngx_broadcast_jwk_rsa(keys->pool, jwk);

        } else if (wanted & NGX_BROADCAST_ALG_EC) {
            pkey = ngx_broadcast_jwk_ec(keys->pool, jwk);

        } else {
            pkey = ngx_broadcast_jwk_okp(keys->pool, jwk);
        }

        if (pkey == NULL) {
            return "a broken key in the JWK set";
        }

        error = ngx_broadcast_key_put_public(keys, pkey, kid, wanted);
    }

    if (error == NULL) {
        (*added)++;
    }

    return error;
}


/* The algorithms of a key's type, 0: none of ours. */

static ngx_uint_t
ngx_broadcast_jwk_family(json_t *jwk)
{
    ngx_str_t                   kty, crv;
    ngx_broadcast_jwk_curve_t  *curve;

    (void) ngx_broadcast_json_str(jwk, "kty", &kty);
    (void) ngx_broadcast_json_str(jwk, "crv", &crv);

    if (kty.len == 3 && ngx_strncmp(kty.data, "oct", 3) == 0) {
        return NGX_BROADCAST_ALG_HS;
    }

    if (kty.len == 3 && ngx_strncmp(kty.data, "RSA", 3) == 0) {
        return NGX_BROADCAST_ALG_RSA;
    }

    if (kty.len == 3 && ngx_strncmp(kty.data, "OKP", 3) == 0) {
        return (crv.len == 7 && ngx_strncmp(crv.data, "Ed25519", 7) == 0)
               ? NGX_BROADCAST_ALG_EDDSA : 0;
    }

    if (kty.len == 2 && ngx_strncmp(kty.data, "EC", 2) == 0) {
        curve = ngx_broadcast_jwk_curve(jwk);
        return curve ? curve->alg : 0;
    }

    return 0;
}


/* RFC 7517, sections 4.2 and 4.3: without "use" and "key_ops" it does. */

static ngx_uint_t
ngx_broadcast_jwk_verifies(json_t *jwk)
{
    size_t      i;
    json_t     *ops, *op;
    ngx_str_t   use;

    if (ngx_broadcast_json_str(jwk, "use", &use) != NGX_DECLINED
        && (use.len != 3 || ngx_strncmp(use.data, "sig", 3) != 0))
    {
        return 0;
    }

    ops = json_object_get(jwk, "key_ops");
    if (ops == NULL) {
        return 1;
    }

    json_array_foreach(ops, i, op) {
        if (json_is_string(op)
            && ngx_strcmp(json_string_value(op), "verify") == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_broadcast_jwk_curve_t *
ngx_broadcast_jwk_curve(json_t *jwk)
{
    ngx_str_t                   crv;
    ngx_broadcast_jwk_curve_t  *curve;

    (void) ngx_broadcast_json_str(jwk, "crv", &crv);

    for (curve = ngx_broadcast_jwk_curves; curve->name; curve++) {
        if (crv.len == 5 && ngx_strncmp(crv.data, curve->name, 5) == 0) {
            return curve;
        }
    }

    return NULL;
}


/* A member in base64url, decoded into the pool; NGX_ERROR: none or broken. */

static ngx_int_t
ngx_broadcast_jwk_bytes(ngx_pool_t *pool, json_t *jwk, const char *name,
    ngx_str_t *bytes)
{
    ngx_str_t  text;

    if (ngx_broadcast_json_str(jwk, name, &text) != NGX_OK || text.len == 0) {
        return NGX_ERROR;
    }

    bytes->data = ngx_pnalloc(pool, ngx_broadcast_unbase64url_len(text.len));
    if (bytes->data == NULL) {
        return NGX_ERROR;
    }

    return ngx_broadcast_unbase64url(bytes->data, &bytes->len, &text);
}


/* Tag and length of a DER element; p has room for 4 bytes. */

static u_char *
ngx_broadcast_jwk_der(u_char *p, u_char tag, size_t len)
{
    *p++ = tag;

    if (len >= 256) {
        *p++ = 0x82;
        *p++ = (u_char) (len >> 8);

    } else if (len >= 128) {
        *p++ = 0x81;
    }

    *p++ = (u_char) len;

    return p;
}


/* A positive INTEGER; p has room for 5 bytes and the number's. */

static u_char *
ngx_broadcast_jwk_integer(u_char *p, ngx_str_t *n)
{
    size_t       len;
    u_char      *data;
    ngx_uint_t   zero;

    data = n->data;
    len = n->len;

    while (len > 1 && *data == 0) {
        data++;
        len--;
    }

    zero = *data >> 7;
    p = ngx_broadcast_jwk_der(p, 0x02, len + zero);

    if (zero) {
        *p++ = 0;
    }

    return ngx_cpymem(p, data, len);
}


/* RSAPublicKey ::= SEQUENCE { n INTEGER, e INTEGER }, RFC 8017 A.1.1 */

static EVP_PKEY *
ngx_broadcast_jwk_rsa(ngx_pool_t *pool, json_t *jwk)
{
    u_char        *body, *last, *der, *p;
    ngx_str_t      n, e;
    const u_char  *in;

    if (ngx_broadcast_jwk_bytes(pool, jwk, "n", &n) != NGX_OK
        || ngx_broadcast_jwk_bytes(pool, jwk, "e", &e) != NGX_OK
        || n.len > NGX_BROADCAST_JWK_RSA_MAX || e.len > 8)
    {
        return NULL;
    }

    body = ngx_pnalloc(pool, n.len + e.len + 10);
    der = ngx_pnalloc(pool, n.len + e.len + 14);

    if (body == NULL || der == NULL) {
        return NULL;
    }

    last = ngx_broadcast_jwk_integer(body, &n);
    last = ngx_broadcast_jwk_integer(last, &e);

    p = ngx_broadcast_jwk_der(der, 0x30, last - body);
    p = ngx_cpymem(p, body, last - body);

    in = der;

    return d2i_PublicKey(EVP_PKEY_RSA, NULL, &in, p - der);
}


/* OpenSSL refuses a point that is not on the curve. */

static EVP_PKEY *
ngx_broadcast_jwk_ec(ngx_pool_t *pool, json_t *jwk)
{
    u_char                      der[32 + 2 * 66], *p;
    ngx_str_t                   x, y;
    const u_char               *in;
    ngx_broadcast_jwk_curve_t  *curve;

    curve = ngx_broadcast_jwk_curve(jwk);

    if (curve == NULL
        || ngx_broadcast_jwk_bytes(pool, jwk, "x", &x) != NGX_OK
        || ngx_broadcast_jwk_bytes(pool, jwk, "y", &y) != NGX_OK
        || x.len != curve->size || y.len != curve->size)
    {
        return NULL;
    }

    p = ngx_cpymem(der, curve->prefix, curve->len);
    p = ngx_cpymem(p, x.data, x.len);
    p = ngx_cpymem(p, y.data, y.len);

    in = der;

    return d2i_PUBKEY(NULL, &in, p - der);
}


static EVP_PKEY *
ngx_broadcast_jwk_okp(ngx_pool_t *pool, json_t *jwk)
{
    ngx_str_t  x;

    if (ngx_broadcast_jwk_bytes(pool, jwk, "x", &x) != NGX_OK) {
        return NULL;
    }

    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.len);
}
