
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "token/ngx_broadcast_key.h"
#include "token/ngx_broadcast_jwk.h"


#define NGX_BROADCAST_KEY_RSA_MIN  2048     /* bits, RFC 7518 section 3.3    */


typedef struct {
    ngx_str_t             name;
    ngx_uint_t            alg;
} ngx_broadcast_alg_name_t;


static const char *ngx_broadcast_key_push(ngx_broadcast_keys_t *keys,
    ngx_broadcast_key_t *key, ngx_str_t *kid, ngx_uint_t algs);
static const char *ngx_broadcast_key_algs(ngx_str_t *names,
    ngx_uint_t *algs);
static ngx_uint_t ngx_broadcast_key_is_pem(ngx_str_t *content);
static const char *ngx_broadcast_key_add_pem(ngx_broadcast_keys_t *keys,
    ngx_str_t *content, ngx_str_t *kid, ngx_uint_t algs);
static EVP_PKEY *ngx_broadcast_key_block(const char *name, const u_char *der,
    long len, const char **error);
static ngx_uint_t ngx_broadcast_key_curve(EVP_PKEY *pkey);
static void ngx_broadcast_keys_cleanup(void *data);


static ngx_broadcast_alg_name_t  ngx_broadcast_alg_names[] = {
    { ngx_string("HS256"), NGX_BROADCAST_ALG_HS256 },
    { ngx_string("HS384"), NGX_BROADCAST_ALG_HS384 },
    { ngx_string("HS512"), NGX_BROADCAST_ALG_HS512 },
    { ngx_string("RS256"), NGX_BROADCAST_ALG_RS256 },
    { ngx_string("RS384"), NGX_BROADCAST_ALG_RS384 },
    { ngx_string("RS512"), NGX_BROADCAST_ALG_RS512 },
    { ngx_string("PS256"), NGX_BROADCAST_ALG_PS256 },
    { ngx_string("PS384"), NGX_BROADCAST_ALG_PS384 },
    { ngx_string("PS512"), NGX_BROADCAST_ALG_PS512 },
    { ngx_string("ES256"), NGX_BROADCAST_ALG_ES256 },
    { ngx_string("ES384"), NGX_BROADCAST_ALG_ES384 },
    { ngx_string("ES512"), NGX_BROADCAST_ALG_ES512 },
    { ngx_string("EdDSA"), NGX_BROADCAST_ALG_EDDSA }
};


ngx_broadcast_keys_t *
ngx_broadcast_keys_create(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t    *cln;
    ngx_broadcast_keys_t  *keys;

    static uint64_t        serial;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_broadcast_keys_t));
    if (cln == NULL) {
        return NULL;
    }

    keys = cln->data;
    keys->pool = pool;
    keys->serial = ++serial;

    if (ngx_array_init(&keys->keys, pool, 4, sizeof(ngx_broadcast_key_t))
        != NGX_OK)
    {
        return NULL;
    }

    cln->handler = ngx_broadcast_keys_cleanup;

    return keys;
}


static void
ngx_broadcast_keys_cleanup(void *data)
{
    ngx_broadcast_keys_t *keys = data;

    ngx_uint_t            i;
    ngx_broadcast_key_t  *key;

    key = keys->keys.elts;

    for (i = 0; i < keys->keys.nelts; i++) {
        EVP_PKEY_free(key[i].pkey);
        OPENSSL_cleanse(key[i].secret.data, key[i].secret.len);
    }

    keys->keys.nelts = 0;
}


ngx_uint_t
ngx_broadcast_alg(ngx_str_t *name)
{
    ngx_uint_t                 i;
    ngx_broadcast_alg_name_t  *alg;

    alg = ngx_broadcast_alg_names;

    for (i = 0; i < sizeof(ngx_broadcast_alg_names) / sizeof(*alg); i++) {
        if (name->len == alg[i].name.len
            && ngx_memcmp(name->data, alg[i].name.data, name->len) == 0)
        {
            return alg[i].alg;
        }
    }

    return 0;
}


ngx_uint_t
ngx_broadcast_keys_can_sign(ngx_broadcast_keys_t *keys)
{
    ngx_broadcast_key_t  *key;

    if (keys == NULL || keys->keys.nelts == 0) {
        return 0;
    }

    key = keys->keys.elts;

    return key->secret.len != 0;
}


ngx_uint_t
ngx_broadcast_algs(ngx_str_t *names)
{
    u_char      *p, *end, *comma;
    ngx_str_t    name;
    ngx_uint_t   alg, algs;

    algs = 0;
    end = names->data + names->len;

    for (p = names->data; p <= end; p = comma + 1) {
        comma = ngx_strlchr(p, end, ',');
        if (comma == NULL) {
            comma = end;
        }

        name.data = p;
        name.len = comma - p;

        alg = ngx_broadcast_alg(&name);
        if (alg == 0) {
            return 0;
        }

        algs |= alg;
    }

    return algs;
}


/* Takes key over: its pkey is freed where it is refused. */

static const char *
ngx_broadcast_key_push(ngx_broadcast_keys_t *keys, ngx_broadcast_key_t *key,
    ngx_str_t *kid, ngx_uint_t algs)
{
    const char           *error;
    ngx_broadcast_key_t  *slot;

    if (algs & ~key->algs) {
        error = "an algorithm that does not fit the key";
        goto refused;
    }

    if (algs) {
        key->algs = algs;
    }

    if (keys->keys.nelts == NGX_BROADCAST_KEYS_MAX) {
        error = "too many keys";
        goto refused;
    }

    error = "no memory";

    if (kid && kid->len) {
        key->kid.len = kid->len;
        key->kid.data = ngx_pstrdup(keys->pool, kid);
        if (key->kid.data == NULL) {
            goto refused;
        }
    }

    slot = ngx_array_push(&keys->keys);
    if (slot == NULL) {
        goto refused;
    }

    *slot = *key;

    return NULL;

refused:

    EVP_PKEY_free(key->pkey);

    return error;
}


/* NULL, or what is wrong with the names. */

static const char *
ngx_broadcast_key_algs(ngx_str_t *names, ngx_uint_t *algs)
{
    *algs = 0;

    if (names == NULL || names->len == 0) {
        return NULL;
    }

    *algs = ngx_broadcast_algs(names);

    return *algs ? NULL : "an unknown algorithm";
}


const char *
ngx_broadcast_key_add_secret(ngx_broadcast_keys_t *keys, ngx_str_t *secret,
    ngx_str_t *kid, ngx_str_t *alg)
{
    ngx_uint_t   algs;
    const char  *error;

    error = ngx_broadcast_key_algs(alg, &algs);
    if (error) {
        return error;
    }

    if (ngx_broadcast_key_is_pem(secret)) {
        return "a PEM text is no secret, name its file with \"file=\"";
    }

    return ngx_broadcast_key_put_secret(keys, secret, kid, algs);
}


const char *
ngx_broadcast_key_put_secret(ngx_broadcast_keys_t *keys, ngx_str_t *secret,
    ngx_str_t *kid, ngx_uint_t algs)
{
    ngx_broadcast_key_t  key;

    if (secret->len < NGX_BROADCAST_KEY_MIN) {
        return "a secret must have at least 16 bytes";
    }

    ngx_memzero(&key, sizeof(ngx_broadcast_key_t));

    key.algs = NGX_BROADCAST_ALG_HS;
    key.secret.len = secret->len;
    key.secret.data = ngx_pstrdup(keys->pool, secret);

    if (key.secret.data == NULL) {
        return "no memory";
    }

    return ngx_broadcast_key_push(keys, &key, kid, algs);
}


static ngx_uint_t
ngx_broadcast_key_is_pem(ngx_str_t *content)
{
    static u_char  begin[] = "-----BEGIN ";

    return content->len
           && ngx_strlcasestrn(content->data, content->data + content->len,
                               begin, sizeof(begin) - 2)
              != NULL;
}


const char *
ngx_broadcast_key_add_file(ngx_broadcast_keys_t *keys, ngx_str_t *content,
    ngx_str_t *kid, ngx_str_t *alg)
{
    ngx_str_t    secret;
    ngx_uint_t   algs;
    const char  *error;

    error = ngx_broadcast_key_algs(alg, &algs);
    if (error) {
        return error;
    }

    if (content->len == 0) {
        return "the file is empty";
    }

    if (ngx_broadcast_key_is_pem(content)) {
        return ngx_broadcast_key_add_pem(keys, content, kid, algs);
    }

    /* a public text taken for a secret would let everybody sign */

    if (ngx_broadcast_jwk_looks_like(content)) {
        return "a JWK set is no secret, use \"jwks=\"";
    }

    secret = *content;

    if (secret.data[secret.len - 1] == '\n') {
        secret.len--;

        if (secret.len && secret.data[secret.len - 1] == '\r') {
            secret.len--;
        }
    }

    return ngx_broadcast_key_put_secret(keys, &secret, kid, algs);
}


static const char *
ngx_broadcast_key_add_pem(ngx_broadcast_keys_t *keys, ngx_str_t *content,
    ngx_str_t *kid, ngx_uint_t algs)
{
    BIO         *bio;
    long         len;
    char        *name, *header;
    u_char      *der;
    EVP_PKEY    *pkey;
    ngx_uint_t   n;
    const char  *error;

    bio = BIO_new_mem_buf(content->data, (int) content->len);
    if (bio == NULL) {
        return "no memory";
    }

    error = NULL;

    for (n = 0; error == NULL; n++) {

        if (PEM_read_bio(bio, &name, &header, &der, &len) != 1) {
            break;
        }

        pkey = ngx_broadcast_key_block(name, der, len, &error);

        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, len);

        if (pkey) {
            error = ngx_broadcast_key_put_public(keys, pkey, kid, algs);
        }
    }

    if (n == 0
        || (error == NULL
            && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE))
    {
        error = "a broken PEM text";
    }

    BIO_free(bio);
    ERR_clear_error();

    return error;
}


static EVP_PKEY *
ngx_broadcast_key_block(const char *name, const u_char *der, long len,
    const char **error)
{
    X509      *cert;
    EVP_PKEY  *pkey;

    if (ngx_strstr(name, "PRIVATE KEY")) {
        *error = "a private key, the public one is wanted";
        return NULL;
    }

    pkey = NULL;

    if (ngx_strcmp(name, PEM_STRING_PUBLIC) == 0) {
        pkey = d2i_PUBKEY(NULL, &der, len);

    } else if (ngx_strcmp(name, PEM_STRING_RSA_PUBLIC) == 0) {
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, len);

    } else if (ngx_strcmp(name, PEM_STRING_X509) == 0) {
        cert = d2i_X509(NULL, &der, len);

        if (cert) {
            pkey = X509_get_pubkey(cert);
            X509_free(cert);
        }

    } else {
        *error = "a PEM text that is no public key";
        return NULL;
    }

    if (pkey == NULL) {
        *error = "a broken public key";
    }

    return pkey;
}


/* The one algorithm of an EC key's curve, 0: none. */

static ngx_uint_t
ngx_broadcast_key_curve(EVP_PKEY *pkey)
{
    int  nid;

#if OPENSSL_VERSION_NUMBER >= 0x30000000L

    char  group[80];

    if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1) {
        return 0;
    }

    nid = OBJ_txt2nid(group);

#else

    const EC_KEY  *ec;

    ec = EVP_PKEY_get0_EC_KEY(pkey);
    if (ec == NULL) {
        return 0;
    }

    nid = EC_GROUP_get_curve_name(EC_KEY_get0_group(ec));

#endif

    switch (nid) {

    case NID_X9_62_prime256v1:
        return NGX_BROADCAST_ALG_ES256;

    case NID_secp384r1:
        return NGX_BROADCAST_ALG_ES384;

    case NID_secp521r1:
        return NGX_BROADCAST_ALG_ES512;

    default:
        return 0;
    }
}


const char *
ngx_broadcast_key_put_public(ngx_broadcast_keys_t *keys, EVP_PKEY *pkey,
    ngx_str_t *kid, ngx_uint_t algs)
{
    const char           *error;
    ngx_broadcast_key_t   key;

    ngx_memzero(&key, sizeof(ngx_broadcast_key_t));

    key.pkey = pkey;

    switch (EVP_PKEY_base_id(pkey)) {

    case EVP_PKEY_RSA:
        if (EVP_PKEY_bits(pkey) < NGX_BROADCAST_KEY_RSA_MIN) {
            error = "an RSA key of less than 2048 bits";
            goto refused;
        }

        key.algs = NGX_BROADCAST_ALG_RSA;
        break;

    case EVP_PKEY_EC:
        key.algs = ngx_broadcast_key_curve(pkey);

        if (key.algs == 0) {
            error = "an EC key of another curve than P-256, P-384 and P-521";
            goto refused;
        }

        break;

    case EVP_PKEY_ED25519:
        key.algs = NGX_BROADCAST_ALG_EDDSA;
        break;

    default:
        error = "a key of another type than RSA, EC and Ed25519";
        goto refused;
    }

    return ngx_broadcast_key_push(keys, &key, kid, algs);

refused:

    EVP_PKEY_free(pkey);

    return error;
}
