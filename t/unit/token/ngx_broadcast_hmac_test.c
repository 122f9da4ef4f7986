
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/token/ngx_broadcast_hmac.c -lcrypto */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/hmac.h>

#include "token/ngx_broadcast_hmac.h"

#include "tap.h"


static void
vector(const char *key, const char *input, const char *want,
    ngx_broadcast_hmac_e digest, const char *name)
{
    u_char     mac[NGX_BROADCAST_HMAC_MAX];
    u_char     text[2 * NGX_BROADCAST_HMAC_MAX];
    size_t     len;
    ngx_str_t  k, s;

    k = tap_str(key);

    len = ngx_broadcast_hmac(mac, digest, &k, (u_char *) input,
                             strlen(input));

    s.data = text;
    s.len = ngx_hex_dump(text, mac, len) - text;

    is_str(&s, want, name);
}


/* the same as OpenSSL's own, whatever the lengths of key and input */

static void
test_lengths(ngx_broadcast_hmac_e digest, const EVP_MD *md, const char *name)
{
    u_char     key[300], input[300], mine[NGX_BROADCAST_HMAC_MAX];
    u_char     theirs[EVP_MAX_MD_SIZE];
    size_t     i, n, len;
    unsigned   want;
    ngx_str_t  k;
    ngx_uint_t  equal;

    for (i = 0; i < sizeof(key); i++) {
        key[i] = (u_char) (i * 7);
        input[i] = (u_char) (i * 13);
    }

    equal = 1;

    for (i = 0; i <= sizeof(key); i += (i < 130) ? 1 : 17) {
        for (n = 0; n <= sizeof(input); n += 25) {

            k.data = key;
            k.len = i;

            len = ngx_broadcast_hmac(mine, digest, &k, input, n);

            (void) HMAC(md, key, (int) i, input, n, theirs, &want);

            equal &= (len == want && memcmp(mine, theirs, len) == 0);
        }
    }

    ok(equal, name);
}


int
main(void)
{
    /* RFC 4231, sections 4.3 and 4.7 */

    vector("Jefe", "what do ya want for nothing?",
           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
           NGX_BROADCAST_HMAC_SHA256, "RFC 4231 section 4.3, SHA-256");
    vector("Jefe", "what do ya want for nothing?",
           "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
           "8e2240ca5e69e2c78b3239ecfab21649",
           NGX_BROADCAST_HMAC_SHA384, "RFC 4231 section 4.3, SHA-384");
    vector("Jefe", "what do ya want for nothing?",
           "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
           "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
           NGX_BROADCAST_HMAC_SHA512, "RFC 4231 section 4.3, SHA-512");

    test_lengths(NGX_BROADCAST_HMAC_SHA256, EVP_sha256(),
                 "SHA-256: keys and inputs of all lengths");
    test_lengths(NGX_BROADCAST_HMAC_SHA384, EVP_sha384(),
                 "SHA-384: keys and inputs of all lengths");
    test_lengths(NGX_BROADCAST_HMAC_SHA512, EVP_sha512(),
                 "SHA-512: keys and inputs of all lengths");

    ok(ERR_peek_error() == 0, "no error of OpenSSL's is left behind");

    return done();
}
