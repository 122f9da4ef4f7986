
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/token/ngx_broadcast_key.c src/token/ngx_broadcast_jwk.c
 *        src/base/ngx_broadcast_json.c src/base/ngx_broadcast_id.c
 *        -ljansson -lcrypto
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "token/ngx_broadcast_key.h"

#include "tap.h"


#define ED25519_JWK(more)                                                     \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"," more                              \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

#define ED25519_PEM                                                           \
    "-----BEGIN PUBLIC KEY-----\n"                                            \
    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"          \
    "-----END PUBLIC KEY-----\n"

#define OCT_JWK(more)                                                         \
    "{\"kty\":\"oct\"," more "\"k\":\"MDEyMzQ1Njc4OWFiY2RlZg\"}"


typedef const char *(*add_pt)(ngx_broadcast_keys_t *keys, ngx_str_t *text,
    ngx_str_t *kid, ngx_str_t *alg);


static ngx_pool_t            *pool;
static ngx_broadcast_keys_t  *keys;


static const char *
add(add_pt how, const char *text, const char *kid, const char *alg)
{
    ngx_str_t    t, k, a;
    const char  *error;

    t = tap_str(text);
    k = tap_str(kid ? kid : "");
    a = tap_str(alg ? alg : "");

    keys = ngx_broadcast_keys_create(pool);
    error = how(keys, &t, kid ? &k : NULL, alg ? &a : NULL);

    return error ? error : "";
}

#define secret(text, kid, alg)                                                \
    add(ngx_broadcast_key_add_secret, text, kid, alg)
#define file(text, kid, alg)                                                  \
    add(ngx_broadcast_key_add_file, text, kid, alg)
#define jwks(text, kid, alg)                                                  \
    add(ngx_broadcast_key_add_jwks, text, kid, alg)


static void
says(const char *got, const char *want, const char *name)
{
    ngx_str_t  s = tap_str(got);

    is_str(&s, want, name);
}


static ngx_broadcast_key_t *
key(ngx_uint_t i)
{
    static ngx_broadcast_key_t  none;

    return (i < keys->keys.nelts)
           ? (ngx_broadcast_key_t *) keys->keys.elts + i : &none;
}


static void
test_secret(void)
{
    says(secret("0123456789abcdef", "k1", NULL), "", "16 bytes are enough");
    is_int(key(0)->algs, NGX_BROADCAST_ALG_HS, "for all three by default");
    is_str(&key(0)->kid, "k1", "with its kid");
    is_int(ngx_broadcast_keys_can_sign(keys), 1, "it can sign");

    says(secret("0123456789abcde", NULL, NULL),
         "a secret must have at least 16 bytes", "15 bytes are not");
    says(secret("", NULL, NULL),
         "a secret must have at least 16 bytes", "nothing is not");

    says(secret("0123456789abcdef", NULL, "HS512"), "", "alg= with one name");
    is_int(key(0)->algs, NGX_BROADCAST_ALG_HS512, "narrows to it");
    says(secret("0123456789abcdef", NULL, "HS256,HS384"), "", "with two");
    is_int(key(0)->algs, NGX_BROADCAST_ALG_HS256|NGX_BROADCAST_ALG_HS384,
           "to them");
    says(secret("0123456789abcdef", NULL, "HS257"), "an unknown algorithm",
         "an unknown name");
    says(secret("0123456789abcdef", NULL, "none"), "an unknown algorithm",
         "\"none\" is unknown");
    says(secret("0123456789abcdef", NULL, "HS256,"), "an unknown algorithm",
         "an empty name too");
    says(secret("0123456789abcdef", NULL, "RS256"),
         "an algorithm that does not fit the key",
         "a secret is for no algorithm of public keys");
    says(secret(ED25519_PEM, NULL, NULL),
         "a PEM text is no secret, name its file with \"file=\"",
         "a PEM text is no secret");
}


static void
test_file(void)
{
    u_char     bytes[20];
    ngx_str_t  s;

    says(file("0123456789abcdef\n", NULL, NULL), "", "a file with a secret");
    is_str(&key(0)->secret, "0123456789abcdef", "without its line's end");
    file("0123456789abcdef\r\n", NULL, NULL);
    is_str(&key(0)->secret, "0123456789abcdef", "of DOS too");
    file("0123456789abcdef\n\n", NULL, NULL);
    is_str(&key(0)->secret, "0123456789abcdef\n", "one only");
    file(" 0123456789abcdef \n", NULL, NULL);
    is_str(&key(0)->secret, " 0123456789abcdef ", "blanks belong to it");

    memset(bytes, 0, sizeof(bytes));
    s.data = bytes;
    s.len = sizeof(bytes);
    keys = ngx_broadcast_keys_create(pool);
    ok(ngx_broadcast_key_add_file(keys, &s, NULL, NULL) == NULL,
       "any bytes are a secret");
    is_int(key(0)->secret.len, 20, "zeros count");

    says(file("", NULL, NULL), "the file is empty", "an empty file");
    says(file("\n", NULL, NULL), "a secret must have at least 16 bytes",
         "an empty line");
    says(file("0123456789abcde\n", NULL, NULL),
         "a secret must have at least 16 bytes",
         "the line's end is no 16th byte");
    says(file("{\"keys\":[" ED25519_JWK("") "]}\n", NULL, NULL),
         "a JWK set is no secret, use \"jwks=\"", "a JWK set is no secret");
    says(file(ED25519_JWK(""), NULL, NULL),
         "a JWK set is no secret, use \"jwks=\"", "nor is a JWK");
    says(file("{\"a\":\"0123456789abcdef\"}", NULL, NULL), "",
         "other JSON is one");
}


static void
test_pem(void)
{
    char       *data;
    BIO        *bio;
    EVP_PKEY   *pkey;
    ngx_str_t   pem;

    says(file(ED25519_PEM, "k1", NULL), "", "a public key");
    is_int(key(0)->algs, NGX_BROADCAST_ALG_EDDSA, "is for its algorithm");
    is_int(key(0)->secret.len, 0, "and has no secret");
    is_int(ngx_broadcast_keys_can_sign(keys), 0, "so it cannot sign");
    says(file("some words\n" ED25519_PEM, NULL, NULL), "",
         "words before it are passed over");
    is_int(key(0)->secret.len, 0, "and make it no secret");
    says(file(ED25519_PEM ED25519_PEM, NULL, NULL), "", "two in one file");
    is_int(keys->keys.nelts, 2, "are two");
    says(file(ED25519_PEM, NULL, "EdDSA"), "", "with its algorithm named");
    says(file(ED25519_PEM, NULL, "HS256"),
         "an algorithm that does not fit the key",
         "a public key is not for HMAC");

    says(file("-----BEGIN PUBLIC KEY-----\nMCow", NULL, NULL),
         "a broken PEM text", "a cut one");
    says(file(ED25519_PEM "-----BEGIN PUBLIC KEY-----\nMCow\n", NULL, NULL),
         "a broken PEM text", "a second one that is cut");
    says(file("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
              NULL, NULL),
         "a broken public key", "one that is no key");
    says(file("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoR"
              "K9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n",
              NULL, NULL),
         "a private key, the public one is wanted", "a private key");
    says(file("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", NULL,
              NULL),
         "a PEM text that is no public key", "something else in PEM");

    pkey = NULL;

    {
        EVP_PKEY_CTX  *ctx;

        ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
        EVP_PKEY_keygen_init(ctx);
        EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 1024);
        EVP_PKEY_keygen(ctx, &pkey);
        EVP_PKEY_CTX_free(ctx);
    }

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, pkey);
    pem.len = BIO_get_mem_data(bio, &data);
    pem.data = (u_char *) data;

    keys = ngx_broadcast_keys_create(pool);
    says(ngx_broadcast_key_add_file(keys, &pem, NULL, NULL),
         "an RSA key of less than 2048 bits", "RSA of 1024 bits");

    BIO_free(bio);
    EVP_PKEY_free(pkey);

    says(file("-----BEGIN PUBLIC KEY-----\n"
              "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEeb5mfvncu6xVoGKVzocLBwKb/NstzijZ"
              "\nWfKBWxb4F5hIOtp3JqPEZV2k+/wOEQio/Re0SKaFVBmcR9CP+xDUuA==\n"
              "-----END PUBLIC KEY-----\n", NULL, NULL),
         "an EC key of another curve than P-256, P-384 and P-521",
         "secp256k1, which also has 256 bits");

    is_int(ERR_peek_error(), 0, "OpenSSL's error queue is left empty");
}


static void
test_jwks(void)
{
    says(jwks("{\"keys\":[" ED25519_JWK("\"kid\":\"a\",") ","
              OCT_JWK("\"alg\":\"HS256\",") "]}", NULL, NULL), "",
         "a set of two");
    is_int(keys->keys.nelts, 2, "gives two keys");
    is_str(&key(0)->kid, "a", "the first with its kid");
    is_int(key(1)->algs, NGX_BROADCAST_ALG_HS256, "the second with its alg");
    is_str(&key(1)->secret, "0123456789abcdef", "and its decoded secret");

    says(jwks(ED25519_JWK(""), "k", NULL), "", "a JWK alone");
    is_str(&key(0)->kid, "k", "gets the directive's kid");
    jwks(ED25519_JWK("\"kid\":\"own\","), "k", NULL);
    is_str(&key(0)->kid, "own", "if it has none of its own");

    says(jwks("{\"keys\":[{\"kty\":\"AKP\"},{\"kty\":\"OKP\",\"crv\":"
              "\"X25519\",\"x\":\"AA\"},{},7," ED25519_JWK("") "]}", NULL,
              NULL),
         "", "keys of unknown types");
    is_int(keys->keys.nelts, 1, "are passed over");

    says(jwks(ED25519_JWK("\"use\":\"enc\","), NULL, NULL),
         "no usable key in the JWK set", "a key for encryption is not used");
    says(jwks(ED25519_JWK("\"use\":\"sig\","), NULL, NULL), "",
         "one for signatures is");
    says(jwks(ED25519_JWK("\"key_ops\":[\"verify\"],"), NULL, NULL), "",
         "one for verification is");
    says(jwks(ED25519_JWK("\"key_ops\":[\"sign\"],"), NULL, NULL),
         "no usable key in the JWK set", "one for signing alone is not");
    says(jwks(ED25519_JWK("\"alg\":\"HS256\","), NULL, NULL),
         "no usable key in the JWK set",
         "nor a public key that says it is for HMAC");
    says(jwks("{\"keys\":[" ED25519_JWK("") "," OCT_JWK("") "]}", NULL,
              "EdDSA"), "", "the directive's alg chooses");
    is_int(keys->keys.nelts, 1, "among the keys");
    says(jwks("{\"keys\":[]}", NULL, NULL), "no usable key in the JWK set",
         "an empty set");
    says(jwks("[]", NULL, NULL), "no usable key in the JWK set", "a list");
    says(jwks("x", NULL, NULL), "not JSON", "no JSON");
    says(jwks("{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}]}", NULL, NULL),
         "a secret must have at least 16 bytes", "a short secret");
    says(jwks("{\"keys\":[{\"kty\":\"oct\",\"k\":\"a+b=\"}]}", NULL, NULL),
         "a broken key in the JWK set", "a secret that is not base64url");
    says(jwks("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1"
              "gHMzV76e8Tus9uPHvRVEU\",\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8T"
              "us9uPHvRVEU\"}", NULL, NULL),
         "a broken key in the JWK set", "a point that is not on the curve");
    says(jwks("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}",
              NULL, NULL),
         "a broken key in the JWK set", "coordinates that are too short");
    says(jwks("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", NULL, NULL),
         "an RSA key of less than 2048 bits", "a small RSA key");
    says(jwks("{\"kty\":\"RSA\",\"n\":\"AQAB\"}", NULL, NULL),
         "a broken key in the JWK set", "an RSA key without exponent");
}


static void
test_many(void)
{
    ngx_str_t    s;
    ngx_uint_t   i;
    const char  *error;

    s = tap_str("0123456789abcdef");
    keys = ngx_broadcast_keys_create(pool);
    error = NULL;

    for (i = 0; i < NGX_BROADCAST_KEYS_MAX && error == NULL; i++) {
        error = ngx_broadcast_key_add_secret(keys, &s, NULL, NULL);
    }

    ok(error == NULL, "64 keys are allowed");
    says(ngx_broadcast_key_add_secret(keys, &s, NULL, NULL), "too many keys",
         "65 are not");

    is_int(ngx_broadcast_keys_can_sign(NULL), 0, "no set cannot sign");
    is_int(ngx_broadcast_keys_can_sign(ngx_broadcast_keys_create(pool)), 0,
           "nor can an empty one");
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_secret();
    test_file();
    test_pem();
    test_jwks();
    test_many();

    ngx_destroy_pool(pool);

    return done();
}
