
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/token/ngx_broadcast_jws.c src/token/ngx_broadcast_hmac.c
 *        src/token/ngx_broadcast_key.c
 *        src/token/ngx_broadcast_jwk.c src/base/ngx_broadcast_json.c
 *        src/base/ngx_broadcast_id.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c -ljansson -lcrypto
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "token/ngx_broadcast_jws.h"

#include "tap.h"
#include "token/token.h"


#define RFC7515_PAYLOAD                                                       \
    "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n"                           \
    " \"http://example.com/is_root\":true}"

#define RFC7515_INPUT                                                         \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlL"   \
    "mNvbS9pc19yb290Ijp0cnVlfQ"

#define RFC7515_A1_KEY                                                        \
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"   \
    "-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}"

#define RFC7515_A2_KEY                                                        \
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbj"   \
    "i9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC"    \
    "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5"    \
    "z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qC"    \
    "o5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91"    \
    "kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"}"

#define RFC7515_A3_KEY                                                        \
    "{\"kty\":\"EC\",\"crv\":\"P-256\","                                      \
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                  \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"

#define RFC8037_KEY                                                           \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","                                   \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"


static ngx_pool_t  *pool;
static const char  *reason;


static ngx_broadcast_keys_t *
jwk(const char *text)
{
    ngx_str_t              s = tap_str(text);
    ngx_broadcast_keys_t  *keys;

    keys = ngx_broadcast_keys_create(pool);
    reason = ngx_broadcast_key_add_jwks(keys, &s, NULL, NULL);

    if (reason) {
        diag(reason);
    }

    return keys;
}


static ngx_int_t
verify(ngx_broadcast_keys_t *keys, const char *text)
{
    ngx_str_t  s, payload;

    s = tap_str(text);

    return ngx_broadcast_jws_verify(pool, keys, &s, &payload, &reason);
}


static void
refused(ngx_broadcast_keys_t *keys, ngx_str_t *token, const char *want,
    const char *name)
{
    ngx_str_t  payload, s;

    reason = "";

    (void) ngx_broadcast_jws_verify(pool, keys, token, &payload, &reason);

    s = tap_str(reason ? reason : "(valid)");
    is_str(&s, want, name);
}


static void
test_vectors(void)
{
    ngx_str_t              s, payload;
    ngx_broadcast_keys_t  *keys;

    keys = jwk(RFC7515_A1_KEY);
    s = tap_str("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC7515_INPUT
                ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    is_int(ngx_broadcast_jws_verify(pool, keys, &s, &payload, &reason), NGX_OK,
           "RFC 7515 A.1, HS256");
    is_str(&payload, RFC7515_PAYLOAD, "its payload as it was signed");

    keys = jwk(RFC7515_A2_KEY);
    is_int(verify(keys, "eyJhbGciOiJSUzI1NiJ9." RFC7515_INPUT
           ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
           "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
           "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
           "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
           "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
           "p0igcN_IoypGlUPQGe77Rw"),
           NGX_OK, "RFC 7515 A.2, RS256");

    keys = jwk(RFC7515_A3_KEY);
    is_int(verify(keys, "eyJhbGciOiJFUzI1NiJ9." RFC7515_INPUT
           ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
           "pmWQxfKTUJqPP3-Kg6NU1Q"),
           NGX_OK, "RFC 7515 A.3, ES256");
    is_int(verify(keys, "eyJhbGciOiJFUzI1NiJ9." RFC7515_INPUT
           ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
           "pmWQxfKTUJqPP3-Kg6NU1A"),
           NGX_DECLINED, "the same with its last byte changed is not");
    is_int(verify(keys, "eyJhbGciOiJFUzI1NiJ9." RFC7515_INPUT
           ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
           "AAAAAAAAAAAAAAAAAAAAAA"),
           NGX_DECLINED, "nor one of zeros");

    keys = jwk(RFC8037_KEY);
    is_int(verify(keys, "eyJhbGciOiJFZERTQSJ9."
           "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
           "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B"
           "hVsPt9g7sVvpAr_MuM0KAg"),
           NGX_OK, "RFC 8037 A.4, Ed25519");

    keys = token_keys(pool, ACCESS_KEY);
    is_int(verify(keys, TOKEN_A1), NGX_OK, "signalr.md A1");
    is_int(verify(keys, TOKEN_A2), NGX_OK, "signalr.md A2");
}


static void
test_sign(void)
{
    ngx_str_t              payload, token, s, kid, alg, back;
    ngx_broadcast_keys_t  *keys;

    payload = tap_str("{\"nameid\":\"alice\",\"nbf\":1700000000,\"exp\":"
                      "1700003600,\"iat\":1700000000,\"aud\":"
                      "\"http://localhost/client/?hub=chat\"}");

    keys = token_keys(pool, ACCESS_KEY);
    is_int(ngx_broadcast_jws_sign(pool, keys, &payload, &token), NGX_OK,
           "a secret signs");
    is_str(&token, TOKEN_A1, "to signalr.md A1, byte for byte");

    s = tap_str(ACCESS_KEY);
    kid = tap_str("k\"1");
    alg = tap_str("HS512");
    keys = ngx_broadcast_keys_create(pool);
    ngx_broadcast_key_add_secret(keys, &s, &kid, &alg);
    ngx_broadcast_jws_sign(pool, keys, &payload, &token);
    is_int(ngx_broadcast_jws_verify(pool, keys, &token, &back, &reason),
           NGX_OK, "a key for HS512 alone with a kid verifies what it signed");
    is_mem(back.data, back.len, payload.data, payload.len,
           "and the payload comes back");

    keys = ngx_broadcast_keys_create(pool);
    is_int(ngx_broadcast_jws_sign(pool, keys, &payload, &token),
           NGX_DECLINED, "no key signs nothing");
    is_int(ngx_broadcast_jws_sign(pool, jwk(RFC7515_A3_KEY), &payload,
                                  &token),
           NGX_DECLINED, "a public key signs nothing");
}


static void
test_tampered(void)
{
    u_char                 text[] = TOKEN_A1;
    size_t                 i, len, valid, cut;
    ngx_str_t              s, payload;
    ngx_broadcast_keys_t  *keys;

    keys = token_keys(pool, ACCESS_KEY);
    len = sizeof(text) - 1;
    valid = 0;
    cut = 0;

    for (i = 0; i < len; i++) {
        text[i] ^= 1;
        s.data = text;
        s.len = len;
        valid += ngx_broadcast_jws_verify(pool, keys, &s, &payload, &reason)
                 == NGX_OK;
        text[i] ^= 1;

        s.len = i;
        cut += ngx_broadcast_jws_verify(pool, keys, &s, &payload, &reason)
               == NGX_OK;
    }

    is_int(valid, 0, "no byte of a token can be changed");
    is_int(cut, 0, "nor can it be cut anywhere");
    is_int(verify(keys, TOKEN_A1 "A"), NGX_DECLINED, "nor made longer");
    is_int(verify(keys, TOKEN_A1 "."), NGX_DECLINED, "nor get a third dot");
    is_int(verify(keys, TOKEN_A1 "="), NGX_DECLINED, "nor be padded");
    is_int(verify(keys, " " TOKEN_A1), NGX_DECLINED, "nor begin with a blank");
    is_int(verify(keys, ""), NGX_DECLINED, "an empty token is none");
    is_int(verify(keys, "."), NGX_DECLINED, "a dot is none");
    is_int(verify(keys, ".."), NGX_DECLINED, "two dots are none");
    is_int(verify(NULL, TOKEN_A1), NGX_DECLINED, "no keys, no token");
    is_int(verify(ngx_broadcast_keys_create(pool), TOKEN_A1), NGX_DECLINED,
           "an empty set of keys neither");
    is_int(verify(token_keys(pool, ACCESS_KEY "x"), TOKEN_A1), NGX_DECLINED,
           "nor one with another key");
}


#define SIGN(header, md)                                                      \
    token_sign(pool, header, "{}", 2, ACCESS_KEY, sizeof(ACCESS_KEY) - 1, md)


static void
test_header(void)
{
    ngx_str_t              s;
    ngx_broadcast_keys_t  *keys;

    keys = token_keys(pool, ACCESS_KEY);

    s = SIGN("{\"alg\":\"HS256\"}", EVP_sha256());
    refused(keys, &s, "(valid)", "no more than \"alg\" is needed");
    s = SIGN("{\"alg\":\"HS384\",\"typ\":\"at+jwt\"}", EVP_sha384());
    refused(keys, &s, "(valid)", "HS384, and any \"typ\"");
    s = SIGN("{\"alg\":\"HS512\"}", EVP_sha512());
    refused(keys, &s, "(valid)", "HS512");

    s = SIGN("{\"alg\":\"HS512\"}", EVP_sha256());
    refused(keys, &s, "the token's signature does not match",
            "a digest that is not that of \"alg\"");
    s = SIGN("{\"alg\":\"none\"}", EVP_sha256());
    refused(keys, &s, "the token's algorithm is not allowed",
            "\"none\" with a signature");
    s = tap_str("eyJhbGciOiJub25lIn0.e30.");
    refused(keys, &s, "the token's algorithm is not allowed",
            "\"none\" without one");
    s = tap_str("eyJhbGciOiJIUzI1NiJ9.e30.");
    refused(keys, &s, "the token's signature does not match",
            "HS256 with an empty signature");
    s = SIGN("{\"alg\":\"hs256\"}", EVP_sha256());
    refused(keys, &s, "the token's algorithm is not allowed",
            "names of algorithms do not ignore case");
    s = SIGN("{\"alg\":\"HS256\\u0000\"}", EVP_sha256());
    refused(keys, &s, "the token's algorithm is not allowed",
            "nor what follows U+0000");
    s = SIGN("{\"typ\":\"JWT\"}", EVP_sha256());
    refused(keys, &s, "the token's header is broken", "no \"alg\"");
    s = SIGN("{\"alg\":[\"HS256\"]}", EVP_sha256());
    refused(keys, &s, "the token's header is broken", "\"alg\" as a list");
    s = SIGN("{\"alg\":\"HS256\",\"kid\":7}", EVP_sha256());
    refused(keys, &s, "the token's header is broken", "\"kid\" as a number");
    s = SIGN("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
             EVP_sha256());
    refused(keys, &s, "the token's header has \"crit\"", "\"crit\"");
    s = SIGN("{\"alg\":\"none\",\"alg\":\"HS256\"}", EVP_sha256());
    refused(keys, &s, "the token's header is not JSON", "\"alg\" twice");
    s = SIGN("[\"HS256\"]", EVP_sha256());
    refused(keys, &s, "the token's header is broken", "a list as header");
    s = SIGN("x", EVP_sha256());
    refused(keys, &s, "the token's header is not JSON", "no JSON as header");
    s = SIGN("{\"alg\":\"ES256\"}", EVP_sha256());
    refused(keys, &s, "no key has the token's algorithm",
            "an algorithm of another type of key");
}


static void
test_long(void)
{
    u_char                 payload[4096];
    size_t                 len;
    ngx_str_t              s, out;
    ngx_broadcast_keys_t  *keys;

    keys = token_keys(pool, ACCESS_KEY);
    memset(payload, 'x', sizeof(payload));

    for (len = 2990; ; len++) {
        s = token_sign(pool, "{\"alg\":\"HS256\"}", payload, len, ACCESS_KEY,
                       sizeof(ACCESS_KEY) - 1, EVP_sha256());

        if (s.len > NGX_BROADCAST_TOKEN_MAX) {
            break;
        }

        if (s.len == NGX_BROADCAST_TOKEN_MAX) {
            is_int(ngx_broadcast_jws_verify(pool, keys, &s, &out, &reason),
                   NGX_OK, "a token of 4096 characters is valid");
        }
    }

    is_int(s.len, 4097, "one of 4097");
    is_int(ngx_broadcast_jws_verify(pool, keys, &s, &out, &reason), NGX_BUSY,
           "is too long, which is told apart");
}


static void
test_kid(void)
{
    ngx_str_t              one, two, three, kid, s;
    ngx_broadcast_keys_t  *keys;

    one = tap_str("one-one-one-one-one");
    two = tap_str("two-two-two-two-two");
    three = tap_str("three-three-three-three");

    keys = ngx_broadcast_keys_create(pool);
    kid = tap_str("1");
    ngx_broadcast_key_add_secret(keys, &one, &kid, NULL);
    kid = tap_str("2");
    ngx_broadcast_key_add_secret(keys, &two, &kid, NULL);
    ngx_broadcast_key_add_secret(keys, &three, NULL, NULL);

#define KID(header, key)                                                      \
    token_sign(pool, header, "{}", 2, (char *) key.data, key.len, EVP_sha256())

    s = KID("{\"alg\":\"HS256\"}", two);
    refused(keys, &s, "(valid)", "without a kid all keys are tried");
    s = KID("{\"alg\":\"HS256\",\"kid\":\"2\"}", two);
    refused(keys, &s, "(valid)", "with it the key that has it");
    s = KID("{\"alg\":\"HS256\",\"kid\":\"1\"}", two);
    refused(keys, &s, "the token's signature does not match",
            "and not one that has another");
    s = KID("{\"alg\":\"HS256\",\"kid\":\"1\"}", three);
    refused(keys, &s, "(valid)", "keys without a kid are tried too");
    s = KID("{\"alg\":\"HS256\",\"kid\":\"unknown\"}", two);
    refused(keys, &s, "(valid)", "a kid that no key has is ignored");
    s = KID("{\"alg\":\"HS256\",\"kid\":\"\"}", one);
    refused(keys, &s, "(valid)", "so is an empty one");
}


/* RSA and EC of every kind, with keys made here. */

static void
test_made(EVP_PKEY *pkey, const char *alg, const EVP_MD *md, int pss,
    size_t coordinate, ngx_str_t *pem)
{
    char                   header[64];
    u_char                 sig[1024], raw[1024], *p;
    size_t                 len;
    ngx_str_t              token;
    const u_char          *in;
    EVP_MD_CTX            *ctx;
    EVP_PKEY_CTX          *pctx;
    ECDSA_SIG             *ecdsa;
    ngx_broadcast_keys_t  *keys;

    keys = ngx_broadcast_keys_create(pool);
    ngx_broadcast_key_add_file(keys, pem, NULL, NULL);

    sprintf(header, "{\"alg\":\"%s\"}", alg);

    token.data = ngx_pnalloc(pool, 2048);
    p = token.data;
    p += ngx_broadcast_base64url(p, (u_char *) header, strlen(header));
    p = ngx_cpymem(p, ".e30", 4);

    ctx = EVP_MD_CTX_new();
    EVP_DigestSignInit(ctx, &pctx, md, NULL, pkey);

    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
    }

    len = sizeof(sig);
    EVP_DigestSign(ctx, sig, &len, token.data, p - token.data);
    EVP_MD_CTX_free(ctx);

    ngx_memcpy(raw, sig, len);

    if (coordinate) {
        in = sig;
        ecdsa = d2i_ECDSA_SIG(NULL, &in, (long) len);
        BN_bn2binpad(ECDSA_SIG_get0_r(ecdsa), raw, (int) coordinate);
        BN_bn2binpad(ECDSA_SIG_get0_s(ecdsa), raw + coordinate,
                     (int) coordinate);
        ECDSA_SIG_free(ecdsa);
        len = 2 * coordinate;
    }

    *p++ = '.';
    p += ngx_broadcast_base64url(p, raw, len);
    token.len = p - token.data;

    refused(keys, &token, "(valid)", alg);

    p = &token.data[token.len - 20];
    *p = (*p == 'A') ? 'B' : 'A';
    refused(keys, &token, "the token's signature does not match",
            "and not with a changed signature");

    is_int(ERR_peek_error(), 0, "OpenSSL's error queue is left empty");
}


static void
test_public(int type, const char *group)
{
    BIO           *bio;
    char          *data;
    EVP_PKEY      *pkey;
    ngx_str_t      pem, token;
    EVP_PKEY_CTX  *ctx;

    ngx_broadcast_keys_t  *keys;

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_id(type, NULL);
    EVP_PKEY_keygen_init(ctx);

    if (type == EVP_PKEY_RSA) {
        EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048);

    } else {
        EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, OBJ_txt2nid(group));
    }

    EVP_PKEY_keygen(ctx, &pkey);
    EVP_PKEY_CTX_free(ctx);

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, pkey);
    pem.len = BIO_get_mem_data(bio, &data);
    pem.data = (u_char *) data;

    if (type == EVP_PKEY_RSA) {
        test_made(pkey, "RS256", EVP_sha256(), 0, 0, &pem);
        test_made(pkey, "RS384", EVP_sha384(), 0, 0, &pem);
        test_made(pkey, "RS512", EVP_sha512(), 0, 0, &pem);
        test_made(pkey, "PS256", EVP_sha256(), 1, 0, &pem);
        test_made(pkey, "PS384", EVP_sha384(), 1, 0, &pem);
        test_made(pkey, "PS512", EVP_sha512(), 1, 0, &pem);

        keys = ngx_broadcast_keys_create(pool);
        ngx_broadcast_key_add_file(keys, &pem, NULL, NULL);

        token = token_sign(pool, "{\"alg\":\"HS256\"}", "{}", 2,
                           (char *) pem.data, pem.len, EVP_sha256());
        refused(keys, &token, "no key has the token's algorithm",
                "a public key's text is no HMAC secret");

        token = token_sign(pool, "{\"alg\":\"HS256\"}", "{}", 2,
                           (char *) pem.data, pem.len - 1, EVP_sha256());
        refused(keys, &token, "no key has the token's algorithm",
                "nor without its last line's end");

        token = token_sign(pool, "{\"alg\":\"HS256\"}", "{}", 2, "", 0,
                           EVP_sha256());
        refused(keys, &token, "no key has the token's algorithm",
                "nor is the empty secret of a public key one");

    } else if (strcmp(group, "prime256v1") == 0) {
        test_made(pkey, "ES256", EVP_sha256(), 0, 32, &pem);

    } else if (strcmp(group, "secp384r1") == 0) {
        test_made(pkey, "ES384", EVP_sha384(), 0, 48, &pem);

    } else {
        test_made(pkey, "ES512", EVP_sha512(), 0, 66, &pem);
    }

    BIO_free(bio);
    EVP_PKEY_free(pkey);
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_vectors();
    test_sign();
    test_tampered();
    test_header();
    test_long();
    test_kid();
    test_public(EVP_PKEY_RSA, NULL);
    test_public(EVP_PKEY_EC, "prime256v1");
    test_public(EVP_PKEY_EC, "secp384r1");
    test_public(EVP_PKEY_EC, "secp521r1");

    ngx_destroy_pool(pool);

    return done();
}
