
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
 *        -ljansson -lcrypto
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_json.h"
#include "token/ngx_broadcast_jws.h"
#include "token/ngx_broadcast_jwt.h"

#include "tap.h"
#include "token/token.h"


#define NOW  1700000000


static ngx_pool_t                *pool;
static ngx_broadcast_keys_t      *keys;
static ngx_broadcast_jwt_mint_t   mint;
static const char                *reason;


static void
fresh(const char *user)
{
    ngx_memzero(&mint, sizeof(mint));

    mint.aud = tap_str("http://localhost/client/?hub=chat");
    mint.user = tap_str(user);
    mint.now = NOW;
    mint.ttl = 3600;
}


/* The payload of what is minted with these claims beside. */

static void
payload(const char *claims, const char *want, const char *name)
{
    ngx_str_t             s, token;
    ngx_broadcast_jwt_t  *jwt;

    s = tap_str(claims);
    mint.claims = ngx_broadcast_json_parse(&s, 0, &reason);

    ngx_str_null(&s);

    if (ngx_broadcast_jwt_mint(pool, keys, &mint, &token, &reason) == NGX_OK
        && ngx_broadcast_jwt_verify(pool, keys, &token, NOW, &jwt, &reason)
           == NGX_OK)
    {
        s = jwt->payload;
    }

    is_str(&s, want, name);

    json_decref(mint.claims);
    mint.claims = NULL;
}


#define TIMES  "\"nbf\":1700000000,\"exp\":1700003600,\"iat\":1700000000"
#define AUD    "\"aud\":\"http://localhost/client/?hub=chat\""


static void
test_claims(void)
{
    ngx_str_t     token, *group;
    ngx_array_t  *groups;

    fresh("alice");
    is_int(ngx_broadcast_jwt_mint(pool, keys, &mint, &token, &reason), NGX_OK,
           "a token is minted");
    is_str(&token, TOKEN_A1, "signalr.md A1, byte for byte");

    fresh("");
    payload("{}", "{" TIMES "," AUD "}", "nobody has no nameid");
    payload("{\"role\":[\"a\"],\"n\":1}",
            "{" TIMES "," AUD ",\"role\":[\"a\"],\"n\":1}",
            "claims are written behind");
    payload("{\"exp\":9999999999,\"aud\":\"x\",\"iss\":\"me\"}",
            "{" TIMES "," AUD ",\"asrs.u.exp\":9999999999,"
            "\"asrs.u.aud\":\"x\",\"asrs.u.iss\":\"me\"}",
            "registered names get their prefix");
    payload("{\"nameid\":\"x\",\"asrs.s.uid\":\"x\"}",
            "{" TIMES "," AUD ",\"asrs.u.nameid\":\"x\","
            "\"asrs.u.asrs.s.uid\":\"x\"}",
            "a claim makes no user");
    payload("{\"groups\":[\"x\"]}", "{" TIMES "," AUD ",\"groups\":[\"x\"]}",
            "groups may be claimed");

    groups = ngx_array_create(pool, 2, sizeof(ngx_str_t));
    group = ngx_array_push(groups);
    *group = tap_str("a");
    group = ngx_array_push(groups);
    *group = tap_str("b \"c\"");

    fresh("\xc3\xa9");
    mint.groups = groups;
    payload("{\"groups\":[\"x\"]}",
            "{\"nameid\":\"\xc3\xa9\"," TIMES "," AUD
            ",\"groups\":[\"a\",\"b \\\"c\\\"\"],\"asrs.u.groups\":[\"x\"]}",
            "unless they were given");
}


static void
test_refused(void)
{
    char          big[4000];
    ngx_str_t     token, *group;
    ngx_array_t  *groups;

    fresh("a\nb");
    is_int(ngx_broadcast_jwt_mint(pool, keys, &mint, &token, &reason),
           NGX_DECLINED, "a bad user is declined");
    is_int(token.len, 0, "without a token");

    groups = ngx_array_create(pool, 1, sizeof(ngx_str_t));
    group = ngx_array_push(groups);
    *group = tap_str(" ");
    fresh("a");
    mint.groups = groups;
    is_int(ngx_broadcast_jwt_mint(pool, keys, &mint, &token, &reason),
           NGX_DECLINED, "a bad group is declined");

    fresh("a");
    is_int(ngx_broadcast_jwt_mint(pool, NULL, &mint, &token, &reason),
           NGX_DECLINED, "without a key it is declined");

    memset(big, 'x', sizeof(big));
    mint.claims = json_pack("{s:s#}", "big", big, (int) sizeof(big));
    is_int(ngx_broadcast_jwt_mint(pool, keys, &mint, &token, &reason),
           NGX_BUSY, "a token that would be 413 is not handed out");
    is_int(token.len, 0, "nor left behind");
    json_decref(mint.claims);
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);
    keys = token_keys(pool, ACCESS_KEY);

    test_claims();
    test_refused();

    ngx_destroy_pool(pool);

    return done();
}
