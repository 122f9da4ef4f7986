
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/token/ngx_broadcast_verified.c src/token/ngx_broadcast_jwt.c
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
#include "token/ngx_broadcast_verified.h"

#include "tap.h"
#include "token/token.h"


/*
 * Whether a token was remembered shows when its keys are spoiled, which no
 * caller does: then only what is remembered is still good.
 */

#define NOW      1700000000
#define EXP      1700003600
#define EXPIRED  (EXP + NGX_BROADCAST_JWT_LEEWAY)

#define MANY     2000       /* tokens, far more than places */


static ngx_pool_t   *pool;
static const char   *reason;


static ngx_pool_t *
fresh(void)
{
    return ngx_create_pool(4096, &ngx_stub_log);
}


static ngx_str_t
sign(const char *payload)
{
    return token_sign(pool, "{\"alg\":\"HS256\"}", payload, strlen(payload),
                      ACCESS_KEY, sizeof(ACCESS_KEY) - 1, EVP_sha256());
}


/* the claims, or NULL: refused, see reason */

static ngx_broadcast_jwt_t *
verify(ngx_pool_t *to, ngx_broadcast_keys_t *keys, ngx_str_t *token,
    time_t now)
{
    ngx_int_t             rc;
    ngx_broadcast_jwt_t  *jwt;

    jwt = NULL;
    reason = NULL;

    rc = ngx_broadcast_verified(to, keys, token, now, &jwt, &reason);

    if ((rc == NGX_OK) != (jwt != NULL)
        || (rc == NGX_OK) != (reason == NULL)
        || (rc != NGX_OK && rc != NGX_DECLINED))
    {
        ok(0, "code, claims and reason agree");
    }

    return jwt;
}


static void
refused(ngx_broadcast_keys_t *keys, ngx_str_t *token, time_t now,
    const char *want, const char *name)
{
    ngx_str_t  s;

    s = tap_str(verify(pool, keys, token, now) ? "accepted" : reason);
    is_str(&s, want, name);
}


static void
spoil(ngx_broadcast_keys_t *keys)
{
    ngx_broadcast_key_t  *key;

    key = keys->keys.elts;
    key[0].secret.data[0] ^= 1;
}


static void
test_recalled(void)
{
    ngx_str_t              token, other;
    ngx_pool_t            *first, *second;
    ngx_broadcast_jwt_t   *a, *b;
    ngx_broadcast_keys_t  *keys;

    keys = token_keys(pool, ACCESS_KEY);

    token = sign("{\"exp\":1700003600,\"nameid\":4711,\"groups\":[\"g\"],"
                 "\"asrs.s.cht\":5,\"asrs.s.ttl\":20,\"asrs.s.htt\":3,"
                 "\"asrs.s.coae\":true,\"aud\":\"http://h/client/?hub=chat\"}");
    other = sign("{\"exp\":1700003600}");

    first = fresh();
    second = fresh();

    a = verify(first, keys, &token, NOW);
    ok(a != NULL, "a token is good");

    spoil(keys);

    refused(keys, &other, NOW, "the token's signature does not match",
            "with its key spoiled nothing new is");

    b = verify(second, keys, &token, NOW + 1);
    ok(b != NULL, "what was verified before is remembered");

    if (a == NULL || b == NULL) {
        return;
    }

    ok(a->kind == b->kind && a->exp == b->exp && a->close_at == b->close_at
       && a->handshake == b->handshake && a->poll == b->poll
       && a->transports == b->transports && b->handshake == 5
       && b->close_at == EXP,
       "with all its numbers");
    is_mem(b->payload.data, b->payload.len, a->payload.data, a->payload.len,
           "and its payload");

    /* the first request is over: the second has all that it needs */

    ngx_destroy_pool(first);

    is_str(&b->user, "4711", "and its user, who was a number");

    other = tap_str("g");
    ok(ngx_broadcast_jwt_has_group(b, &other), "and its groups");
    ok(ngx_broadcast_jwt_is_client(b), "and its kind");

    /* expires between two requests, one of which still runs */

    refused(keys, &token, EXPIRED, "the token has expired",
            "a remembered token that has expired is refused");

    ok(ngx_broadcast_jwt_has_group(b, &other),
       "which takes nothing from a request that is under way");

    refused(keys, &token, NOW, "the token's signature does not match",
            "and the token is forgotten");

    ngx_destroy_pool(second);
}


static void
test_times(void)
{
    ngx_str_t              token;
    ngx_broadcast_keys_t  *keys;

    keys = token_keys(pool, ACCESS_KEY);
    token = sign("{\"exp\":1700003600,\"nbf\":1700000000}");

    ok(verify(pool, keys, &token, NOW) != NULL,
       "a token with nbf is good");
    ok(verify(pool, keys, &token, EXPIRED - 1) != NULL,
       "in the last second of its leeway, too");
    ok(verify(pool, keys, &token, NOW) != NULL,
       "the clock is set back");
    refused(keys, &token, NOW - NGX_BROADCAST_JWT_LEEWAY - 1,
            "the token is not valid yet", "and farther than nbf allows");

    token = sign("{\"exp\":1700003600,\"jti\":1}");

    refused(keys, &token, EXPIRED, "the token has expired",
            "a token that comes too late is refused");
    ok(verify(pool, keys, &token, EXPIRED - 1) != NULL,
       "its refusal is not kept");
}


static void
test_tampered(void)
{
    size_t                 i;
    ngx_str_t              token, forged;
    ngx_uint_t             good;
    ngx_broadcast_keys_t  *keys;

    keys = token_keys(pool, ACCESS_KEY);
    token = sign("{\"exp\":1700003600,\"nameid\":\"alice\"}");

    ok(verify(pool, keys, &token, NOW) != NULL,
       "a token is good and remembered");

    forged.len = token.len;
    forged.data = ngx_pnalloc(pool, token.len);
    good = 0;

    /* so many that some of them come to the token's own place */

    for (i = 0; i < token.len * 16; i++) {
        ngx_memcpy(forged.data, token.data, token.len);
        forged.data[i / 16] = (u_char) ('A' + i % 16);

        if (forged.data[i / 16] != token.data[i / 16]
            && verify(pool, keys, &forged, NOW))
        {
            good++;
        }
    }

    ok(good == 0, "with any character changed it is refused");

    forged = token;
    forged.len--;
    ok(verify(pool, keys, &forged, NOW) == NULL, "without its last one, too");

    ok(verify(pool, keys, &token, NOW) != NULL,
       "it is good as it was");
}


static void
test_keys(void)
{
    ngx_str_t              token;
    ngx_pool_t            *old, *new;
    ngx_broadcast_keys_t  *mine, *same, *theirs, *before, *after;

    mine = token_keys(pool, ACCESS_KEY);
    theirs = token_keys(pool, "another location's key, 16 bytes or more");
    token = sign("{\"exp\":1700003600,\"nameid\":\"bob\"}");

    ok(verify(pool, mine, &token, NOW) != NULL,
       "a token is good at one location");
    refused(theirs, &token, NOW, "the token's signature does not match",
            "another location's keys do not match it");
    refused(NULL, &token, NOW, "there is no key for tokens",
            "nor does a location without keys");
    ok(verify(pool, mine, &token, NOW) != NULL,
       "it is still good at the first");

    same = token_keys(pool, ACCESS_KEY);
    spoil(same);
    refused(same, &token, NOW, "the token's signature does not match",
            "each set of keys is asked itself");

    /* a configuration that is read again, in the place of the old one */

    old = fresh();
    before = token_keys(old, ACCESS_KEY);
    ok(verify(pool, before, &token, NOW) != NULL,
       "a token is good before a reload");
    ok(before->serial != 0, "a set has a serial");

    new = fresh();
    after = token_keys(new, "the key that the reload has brought");

    refused(after, &token, NOW, "the token's signature does not match",
            "and refused behind it, with other keys");
    ok(after->serial != before->serial
       && after->serial != mine->serial && same->serial != mine->serial,
       "no set has the serial of another");

    ngx_destroy_pool(old);
    ngx_destroy_pool(new);
}


static void
test_bounds(void)
{
    char                   payload[NGX_BROADCAST_TOKEN_MAX];
    ngx_str_t              token[MANY];
    ngx_uint_t             i, good, left;
    ngx_pool_t            *p;
    ngx_broadcast_keys_t  *keys;

    keys = token_keys(pool, ACCESS_KEY);
    good = 0;

    for (i = 0; i < MANY; i++) {
        sprintf(payload, "{\"exp\":%u,\"nameid\":\"user%u\"}", (unsigned) EXP,
                (unsigned) i);
        token[i] = sign(payload);
    }

    for (i = 0; i < 2 * MANY; i++) {
        p = fresh();

        if (verify(p, keys, &token[i % MANY], NOW)) {
            good++;
        }

        ngx_destroy_pool(p);
    }

    ok(good == 2 * MANY, "more tokens than places are all good");

    spoil(keys);

    left = 0;

    for (i = 0; i < MANY; i++) {
        p = fresh();

        if (verify(p, keys, &token[i], NOW)) {
            left++;
        }

        ngx_destroy_pool(p);
    }

    ok(left > NGX_BROADCAST_VERIFIED_PLACES / 2
       && left <= NGX_BROADCAST_VERIFIED_PLACES,
       "as many are remembered as there are places");

    ok(verify(pool, token_keys(pool, ACCESS_KEY), &token[0], NOW) != NULL,
       "a place that was taken from a token is no loss");

    /* a long one */

    keys = token_keys(pool, ACCESS_KEY);

    ngx_memset(payload, ' ', NGX_BROADCAST_VERIFIED_TOKEN);
    sprintf(payload + NGX_BROADCAST_VERIFIED_TOKEN, "{\"exp\":1700003600}");
    token[0] = sign(payload);

    ok(verify(pool, keys, &token[0], NOW) != NULL,
       "a long token is good");
    spoil(keys);
    refused(keys, &token[0], NOW, "the token's signature does not match",
            "but not remembered");

    token[0].len = NGX_BROADCAST_TOKEN_MAX + 1;
    token[0].data = ngx_pcalloc(pool, token[0].len);
    ok(ngx_broadcast_verified(pool, keys, &token[0], NOW, NULL, &reason)
       == NGX_BUSY,
       "one that is too long is refused as such");
}


int
main(void)
{
    ngx_broadcast_json_init();

    pool = fresh();

    test_recalled();
    test_times();
    test_tampered();
    test_keys();
    test_bounds();

    ngx_destroy_pool(pool);

    return done();
}
