
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/token/ngx_broadcast_ticket.c src/token/ngx_broadcast_hmac.c
 *        src/token/ngx_broadcast_key.c
 *        src/token/ngx_broadcast_jwk.c src/base/ngx_broadcast_json.c
 *        src/base/ngx_broadcast_id.c -ljansson -lcrypto
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_name.h"
#include "token/ngx_broadcast_ticket.h"

#include "tap.h"
#include "token/token.h"


#define NOW  1700000000


static u_char  key[NGX_BROADCAST_TICKET_KEY];
static u_char  id[NGX_BROADCAST_ID_BYTES + 1] = "0123456789abcdef";
static u_char  text[NGX_BROADCAST_TICKET_LEN + 1];
static ngx_str_t  token = { NGX_BROADCAST_TICKET_LEN, text };


static ngx_int_t
verify(const char *hub, const char *user, time_t now)
{
    u_char     got[NGX_BROADCAST_ID_BYTES];
    time_t     expires;
    ngx_str_t  h, u;

    h = tap_str(hub);
    u = tap_str(user);

    return ngx_broadcast_ticket_verify(&token, key, &h, &u, now, got,
                                       &expires);
}


static void
make(const char *hub, const char *user)
{
    ngx_str_t  h, u;

    h = tap_str(hub);
    u = tap_str(user);

    is_int(ngx_broadcast_ticket_make(text, key, id, &h, &u,
                                     NOW + NGX_BROADCAST_TICKET_TTL),
           NGX_OK, "a ticket is made");
}


static void
test_key(ngx_pool_t *pool)
{
    u_char      one[NGX_BROADCAST_TICKET_KEY];
    u_char      two[NGX_BROADCAST_TICKET_KEY];
    u_char      seed[NGX_BROADCAST_TICKET_KEY];
    ngx_str_t   jwk;

    ngx_broadcast_keys_t  *keys;

    memset(seed, 7, sizeof(seed));

    ngx_broadcast_ticket_key(one, token_keys(pool, ACCESS_KEY), seed);
    memset(seed, 8, sizeof(seed));
    ngx_broadcast_ticket_key(two, token_keys(pool, ACCESS_KEY), seed);
    ok(memcmp(one, two, sizeof(one)) == 0, "one secret, one key on all nodes");

    ngx_broadcast_ticket_key(two, token_keys(pool, ACCESS_KEY "x"), seed);
    ok(memcmp(one, two, sizeof(one)) != 0, "another secret, another key");

    ngx_broadcast_ticket_key(two, NULL, seed);
    ok(memcmp(two, seed, sizeof(two)) == 0, "no secret, the zone's seed");

    jwk = tap_str("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
                  "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}");
    keys = ngx_broadcast_keys_create(pool);
    ngx_broadcast_key_add_jwks(keys, &jwk, NULL, NULL);
    ngx_broadcast_ticket_key(two, keys, seed);
    ok(memcmp(two, seed, sizeof(two)) == 0, "public keys alone: the seed");

    jwk = tap_str(ACCESS_KEY);
    ngx_broadcast_key_add_secret(keys, &jwk, NULL, NULL);
    ngx_broadcast_ticket_key(two, keys, seed);
    ok(memcmp(two, one, sizeof(two)) == 0, "the first secret, not first key");

    jwk = tap_str(ACCESS_KEY "x");
    ngx_broadcast_key_add_secret(keys, &jwk, NULL, NULL);
    ngx_broadcast_ticket_key(one, token_keys(pool, ACCESS_KEY "x"), seed);
    ok(ngx_broadcast_ticket_key_at(two, keys, 1) == NGX_OK
       && memcmp(two, one, sizeof(two)) == 0, "the second secret");
    ok(ngx_broadcast_ticket_key_at(two, keys, 2) == NGX_DECLINED
       && ngx_broadcast_ticket_key_at(two, NULL, 0) == NGX_DECLINED,
       "there is no third");
}


static void
test_verify(void)
{
    u_char     got[NGX_BROADCAST_ID_BYTES];
    time_t     expires;
    ngx_str_t  h, u;

    make("chat", "alice");
    ok(strlen((char *) text) == 48, "of 48 characters");
    is_mem(text, 21, "MDEyMzQ1Njc4OWFiY2RlZ", 21, "which begin with the id");

    h = tap_str("chat");
    u = tap_str("alice");
    is_int(ngx_broadcast_ticket_verify(&token, key, &h, &u, NOW, got,
                                       &expires),
           NGX_OK, "it opens its hub for its user");
    is_mem(got, 16, id, 16, "and says its id");
    is_int(expires, NOW + 15, "and its end");

    is_int(verify("chat", "alice", NOW + 15), NGX_OK, "for 15 seconds");
    is_int(verify("chat", "alice", NOW + 16), NGX_BUSY, "then it is over");
    is_int(verify("chat", "bob", NOW), NGX_DECLINED, "not for another user");
    is_int(verify("chat", "", NOW), NGX_DECLINED, "nor for nobody");
    is_int(verify("chat", "bob", NOW + 16), NGX_DECLINED, "nor afterwards");
    is_int(verify("other", "alice", NOW), NGX_DECLINED, "nor for another hub");
    is_int(verify("chata", "lice", NOW), NGX_DECLINED,
           "hub and user do not run together");

    make("chat", "");
    is_int(verify("chat", "", NOW), NGX_OK, "nobody's is nobody's");
    is_int(verify("chat", "alice", NOW), NGX_DECLINED, "and not a user's");
}


static void
test_tampered(void)
{
    size_t     i, valid;
    u_char     other[NGX_BROADCAST_TICKET_KEY], got[NGX_BROADCAST_ID_BYTES];
    time_t     expires;
    ngx_str_t  h, u;

    make("chat", "alice");

    valid = 0;

    for (i = 0; i < token.len; i++) {
        text[i] ^= 1;
        valid += verify("chat", "alice", NOW) != NGX_DECLINED;
        text[i] ^= 1;
    }

    is_int(valid, 0, "no byte of it can be changed");

    token.len = 47;
    is_int(verify("chat", "alice", NOW), NGX_DECLINED, "nor can it be cut");
    token.len = 22;
    is_int(verify("chat", "alice", NOW), NGX_DECLINED, "the id opens nothing");
    token.len = 0;
    is_int(verify("chat", "alice", NOW), NGX_DECLINED, "nothing neither");
    token.len = 48;

    ngx_memcpy(other, key, sizeof(key));
    other[31] ^= 1;
    h = tap_str("chat");
    u = tap_str("alice");
    is_int(ngx_broadcast_ticket_verify(&token, other, &h, &u, NOW, got,
                                       &expires),
           NGX_DECLINED, "nor is it for another key");

    is_int(ngx_broadcast_ticket_read(&token, got, &expires), NGX_OK,
           "it can be read without the key");
    is_mem(got, 16, id, 16, "for its id");

    text[3] = '!';
    is_int(ngx_broadcast_ticket_read(&token, got, &expires), NGX_DECLINED,
           "unless it is no ticket at all");
}


static void
test_limits(void)
{
    static u_char  longest[NGX_BROADCAST_USER_MAX + 1];

    u_char     got[NGX_BROADCAST_ID_BYTES];
    time_t     expires;
    ngx_str_t  h, u;

    memset(longest, 'h', sizeof(longest));

    h.data = longest;
    h.len = NGX_BROADCAST_HUB_MAX;
    u.data = longest;
    u.len = NGX_BROADCAST_USER_MAX;

    is_int(ngx_broadcast_ticket_make(text, key, id, &h, &u, 0xfffffff0),
           NGX_OK, "the longest names fit");
    is_int(ngx_broadcast_ticket_verify(&token, key, &h, &u, NOW, got,
                                       &expires),
           NGX_OK, "both ways");
    is_int(expires, 0xfffffff0, "and all times of 32 bits");

    u.len++;
    is_int(ngx_broadcast_ticket_make(text, key, id, &h, &u, NOW), NGX_ERROR,
           "a user too long is an error");
    is_int(ngx_broadcast_ticket_verify(&token, key, &h, &u, NOW, got,
                                       &expires),
           NGX_DECLINED, "and has no ticket");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, &ngx_stub_log);

    memset(key, 42, sizeof(key));

    test_key(pool);
    test_verify();
    test_tampered();
    test_limits();

    ngx_destroy_pool(pool);

    return done();
}
