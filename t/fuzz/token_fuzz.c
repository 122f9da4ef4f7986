
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/token/ngx_broadcast_mint.c src/token/ngx_broadcast_jwt.c
 *        src/token/ngx_broadcast_audience.c src/token/ngx_broadcast_hmac.c
 *        src/token/ngx_broadcast_jws.c
 *        src/token/ngx_broadcast_key.c src/token/ngx_broadcast_jwk.c
 *        src/base/ngx_broadcast_json.c src/base/ngx_broadcast_id.c
 *        src/base/ngx_broadcast_buf.c src/base/ngx_broadcast_name.c
 *        src/base/ngx_broadcast_utf8.c -ljansson -lcrypto */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>

#include "base/ngx_broadcast_buf.h"
#include "base/ngx_broadcast_json.h"
#include "base/ngx_broadcast_name.h"
#include "token/ngx_broadcast_jws.h"
#include "token/ngx_broadcast_jwt.h"

#include "ngx_stub.h"
#include "token/token.h"


#define NOW  1700000000


/* Bytes that were never signed are no token. */

static void
fuzz_token(ngx_pool_t *pool, ngx_str_t *input)
{
    ngx_str_t    payload;
    const char  *error;

    if (ngx_broadcast_jws_verify(pool, token_keys(pool, ACCESS_KEY), input,
                                 &payload, &error)
        == NGX_OK
        || error == NULL)
    {
        abort();
    }
}


/* Anything may have been signed; the input is also what is asked for. */

static void
fuzz_claims(ngx_pool_t *pool, ngx_str_t *input)
{
    size_t                i;
    ngx_str_t             token, value;
    const char           *error;
    ngx_broadcast_jwt_t  *jwt;

    token = token_sign(pool, "{\"alg\":\"HS256\"}", input->data, input->len,
                       ACCESS_KEY, sizeof(ACCESS_KEY) - 1, EVP_sha256());

    if (ngx_broadcast_jwt_verify(pool, token_keys(pool, ACCESS_KEY), &token,
                                 NOW, &jwt, &error)
        != NGX_OK)
    {
        return;
    }

    if (jwt->user.len && ngx_broadcast_user_id(&jwt->user) != NGX_OK) {
        abort();
    }

    (void) ngx_broadcast_jwt_for_hub(jwt, input);
    (void) ngx_broadcast_jwt_for_path(jwt, input);
    (void) ngx_broadcast_jwt_may(jwt, "broadcast.join", input);
    (void) ngx_broadcast_jwt_groups(pool, jwt);

    ngx_str_set(&token, "aud");

    if (ngx_broadcast_jwt_claim(pool, jwt, &token, &value) == NGX_OK) {
        for (i = 0; i < value.len; i++) {
            if (value.data[i] < 0x20) {
                abort();
            }
        }
    }
}


/* The input's claims and user are minted: what comes out verifies. */

static void
fuzz_mint(ngx_pool_t *pool, ngx_str_t *input)
{
    ngx_str_t                  token, user;
    const char                *error;
    ngx_broadcast_jwt_t       *jwt;
    ngx_broadcast_jwt_mint_t   mint;

    ngx_memzero(&mint, sizeof(mint));

    ngx_str_set(&user, "alice");

    mint.user = user;
    mint.now = NOW;
    mint.ttl = 60;
    mint.claims = ngx_broadcast_json_parse(input, 0, &error);

    if (json_is_object(mint.claims)
        && ngx_broadcast_jwt_mint(pool, token_keys(pool, ACCESS_KEY), &mint,
                                  &token, &error)
           == NGX_OK
        && (ngx_broadcast_jwt_verify(pool, token_keys(pool, ACCESS_KEY),
                                     &token, NOW, &jwt, &error)
            == NGX_OK)
        && (jwt->user.len != user.len
            || ngx_strncmp(jwt->user.data, user.data, user.len) != 0))
    {
        abort();
    }

    json_decref(mint.claims);
}


static void
fuzz_keys(ngx_pool_t *pool, ngx_str_t *input)
{
    ngx_broadcast_keys_t  *keys;

    keys = ngx_broadcast_keys_create(pool);

    (void) ngx_broadcast_key_add_file(keys, input, NULL, input);
    (void) ngx_broadcast_key_add_file(keys, input, NULL, NULL);
    (void) ngx_broadcast_key_add_jwks(keys, input, input, NULL);

    if (ERR_peek_error()) {
        abort();
    }
}


/* A query is walked to its end; any bytes make a JSON string. */

static void
fuzz_text(ngx_pool_t *pool, ngx_str_t *input)
{
    json_t               *string;
    ngx_str_t             args, key, value, out;
    const char           *error;
    ngx_broadcast_buf_t   b;

    args = *input;

    while (ngx_broadcast_query_next(&args, &key, &value) == NGX_OK) {
        (void) ngx_broadcast_query_key(&key, "access_token");

        if (ngx_broadcast_unescape(pool, &value, &out, NGX_BROADCAST_IN_QUERY)
            == NGX_OK
            && out.len > value.len)
        {
            abort();
        }
    }

    ngx_broadcast_buf_init(&b, pool, 0);
    ngx_broadcast_buf_json(&b, input);
    ngx_broadcast_buf_done(&b, &out);

    string = ngx_broadcast_json_parse(&out, 0, &error);

    if (!json_is_string(string)) {
        abort();
    }

    json_decref(string);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t    input;
    ngx_pool_t  *pool;

    if (size < 2) {
        return 0;
    }

    pool = ngx_create_pool(4096, &ngx_stub_log);

    /* of its own, so that a read behind the end is seen */

    input.len = size - 1;
    input.data = malloc(input.len);
    ngx_memcpy(input.data, data + 1, input.len);

    switch (data[0] % 5) {

    case 0:
        fuzz_token(pool, &input);
        break;

    case 1:
        fuzz_claims(pool, &input);
        break;

    case 2:
        fuzz_mint(pool, &input);
        break;

    case 3:
        fuzz_keys(pool, &input);
        break;

    default:
        fuzz_text(pool, &input);
        break;
    }

    ngx_destroy_pool(pool);
    free(input.data);

    return 0;
}
