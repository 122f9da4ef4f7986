
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/token/ngx_broadcast_mint.c src/token/ngx_broadcast_jwt.c
 *        src/token/ngx_broadcast_audience.c
 *        src/token/ngx_broadcast_jws.c src/token/ngx_broadcast_hmac.c
 *        src/token/ngx_broadcast_key.c
 *        src/token/ngx_broadcast_jwk.c src/base/ngx_broadcast_json.c
 *        src/base/ngx_broadcast_id.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_name.c src/base/ngx_broadcast_utf8.c
 *        -ljansson -lcrypto -Wl,--wrap=malloc
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_json.h"
#include "token/ngx_broadcast_jwt.h"

#include "tap.h"
#include "token/token.h"


/*
 * Every allocation of pools and of jansson fails once, in turn: the call says
 * so, and neither falls over nor leaks.  What falls over ends the program
 * before its plan, a leak is the sanitizer's.
 */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);


static ngx_int_t   left = -1;
static ngx_uint_t  lossy;
static ngx_uint_t  parsing;


void *
__wrap_malloc(size_t size)
{
    if (left > 0 && --left == 0) {
        left = -1;
        return NULL;
    }

    return __real_malloc(size);
}


/*
 * jansson 2.14 passes over a failed allocation of its scanner's buffer and
 * loses a character, so what verify says is not looked at where it may fail.
 */

static void *
json_malloc(size_t size)
{
    return (parsing && !lossy) ? __real_malloc(size) : __wrap_malloc(size);
}


/* 1 if nothing failed any more. */

static ngx_uint_t
mint_and_verify(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    json_t *claims, ngx_int_t n, ngx_uint_t *wrong)
{
    ngx_int_t                  rc;
    ngx_str_t                  token, name, value, group;
    const char                *error;
    ngx_array_t                groups;
    ngx_broadcast_jwt_t       *jwt;
    ngx_broadcast_jwt_mint_t   mint;

    ngx_memzero(&mint, sizeof(mint));

    group = tap_str("g");
    groups.elts = &group;
    groups.nelts = 1;

    mint.aud = tap_str("http://h/?hub=chat");
    mint.groups = &groups;
    mint.claims = claims;
    mint.now = 1700000000;
    mint.ttl = 60;

    left = n;

    rc = ngx_broadcast_jwt_mint(pool, keys, &mint, &token, &error);

    if (rc == NGX_OK) {
        parsing = 1;
        rc = ngx_broadcast_jwt_verify(pool, keys, &token, mint.now, &jwt,
                                      &error);
        parsing = 0;
    }

    if (rc == NGX_OK) {
        name = tap_str("list");
        rc = ngx_broadcast_jwt_claim(pool, jwt, &name, &value);
    }

    if (rc == NGX_OK) {
        name = tap_str("line");
        rc = ngx_broadcast_jwt_claim(pool, jwt, &name, &value);
    }

    if (rc == NGX_OK && ngx_broadcast_jwt_groups(pool, jwt) == NULL) {
        rc = NGX_ERROR;
    }

    /* all of it was done, or something was not to be had */

    if (left > 0 && rc != NGX_OK) {
        (*wrong)++;
    }

    if (left == -1 && rc == NGX_OK) {
        (*wrong)++;
    }

    n = left;
    left = -1;

    return n > 0;
}


/* How many allocations there are. */

static ngx_int_t
every(ngx_broadcast_keys_t *keys, json_t *claims, ngx_uint_t *wrong)
{
    ngx_int_t    n;
    ngx_uint_t   all;
    ngx_pool_t  *pool;

    *wrong = 0;

    for (n = 1; n < 1000; n++) {
        pool = ngx_create_pool(4096, &ngx_stub_log);
        all = mint_and_verify(pool, keys, claims, n, wrong);
        ngx_destroy_pool(pool);

        if (all) {
            break;
        }
    }

    return n;
}


int
main(void)
{
    json_t                *claims;
    ngx_int_t              n;
    ngx_str_t              s;
    ngx_uint_t             wrong;
    ngx_pool_t            *keep;
    const char            *error;
    ngx_broadcast_keys_t  *keys;

    json_set_alloc_funcs(json_malloc, free);
    ngx_broadcast_json_init();

    ngx_stub_log.log_level = NGX_LOG_ALERT;

    keep = ngx_create_pool(4096, &ngx_stub_log);
    keys = token_keys(keep, ACCESS_KEY);

    s = tap_str("{\"sub\":7,\"iss\":\"x\",\"list\":[1],\"line\":\"a\\nb\"}");
    claims = ngx_broadcast_json_parse(&s, 0, &error);

    n = every(keys, claims, &wrong);
    ok(n > 30 && n < 1000, "every allocation failed once");
    is_int(wrong, 0, "and each time it was told");

    lossy = 1;
    n = every(keys, claims, &wrong);
    ok(n > 60 && n < 1000, "those of jansson's scanner too");

    json_decref(claims);
    ngx_destroy_pool(keep);

    /* nginx logs what malloc() refused as [emerg]: this time it is meant */

    ngx_stub_alerts = 0;

    return done();
}
