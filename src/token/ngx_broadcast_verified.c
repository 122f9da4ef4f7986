
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_check.h"
#include "base/ngx_broadcast_id.h"
#include "base/ngx_broadcast_json.h"
#include "token/ngx_broadcast_hmac.h"
#include "token/ngx_broadcast_verified.h"


ngx_broadcast_check(NGX_BROADCAST_VERIFIED_PLACES == 256,
                    "a digest's first byte names the place");


typedef struct {
    uint64_t              set;       /* serial of the keys, 0: free          */
    u_char                digest[NGX_BROADCAST_SHA256_LEN];
    ngx_broadcast_jwt_t   jwt;       /* claims counted, its texts in text    */
    u_char               *text;      /* owned: payload, then user            */
} ngx_broadcast_verified_t;


static ngx_int_t ngx_broadcast_verified_recall(ngx_broadcast_verified_t *v,
    ngx_pool_t *pool, time_t now, ngx_broadcast_jwt_t **jwt,
    const char **error);
static void ngx_broadcast_verified_remember(ngx_broadcast_verified_t *v,
    ngx_broadcast_keys_t *keys, u_char *digest, ngx_broadcast_jwt_t *jwt,
    ngx_log_t *log);
static void ngx_broadcast_verified_forget(ngx_broadcast_verified_t *v);
static void ngx_broadcast_verified_texts(ngx_broadcast_jwt_t *to,
    ngx_broadcast_jwt_t *from, u_char *p);


static ngx_broadcast_verified_t
                  ngx_broadcast_verified_places[NGX_BROADCAST_VERIFIED_PLACES];


ngx_int_t
ngx_broadcast_verified(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    ngx_str_t *token, time_t now, ngx_broadcast_jwt_t **jwt,
    const char **error)
{
    u_char                     digest[NGX_BROADCAST_SHA256_LEN];
    ngx_int_t                  rc;
    ngx_broadcast_verified_t  *v;

    if (keys == NULL
        || token->len > NGX_BROADCAST_VERIFIED_TOKEN
        || ngx_broadcast_sha256(digest, token->data, token->len) != NGX_OK)
    {
        return ngx_broadcast_jwt_verify(pool, keys, token, now, jwt, error);
    }

    v = &ngx_broadcast_verified_places[digest[0]];

    if (v->set == keys->serial
        && ngx_broadcast_memeq(v->digest, digest, NGX_BROADCAST_SHA256_LEN))
    {
        return ngx_broadcast_verified_recall(v, pool, now, jwt, error);
    }

    rc = ngx_broadcast_jwt_verify(pool, keys, token, now, jwt, error);

    if (rc == NGX_OK) {
        ngx_broadcast_verified_remember(v, keys, digest, *jwt, pool->log);
    }

    return rc;
}


static ngx_int_t
ngx_broadcast_verified_recall(ngx_broadcast_verified_t *v, ngx_pool_t *pool,
    time_t now, ngx_broadcast_jwt_t **jwt, const char **error)
{
    u_char               *p;
    ngx_broadcast_jwt_t  *t;

    *error = ngx_broadcast_jwt_times(&v->jwt, now);

    if (*error) {
        ngx_broadcast_verified_forget(v);
        return NGX_DECLINED;
    }

    t = ngx_palloc(pool, sizeof(ngx_broadcast_jwt_t));
    p = ngx_pnalloc(pool, v->jwt.payload.len + v->jwt.user.len);

    if (t == NULL || p == NULL
        || ngx_broadcast_json_own(pool, json_incref(v->jwt.claims)) != NGX_OK)
    {
        *error = "no memory";
        return NGX_ERROR;
    }

    *t = v->jwt;
    ngx_broadcast_verified_texts(t, &v->jwt, p);

    *jwt = t;

    return NGX_OK;
}


/* without memory it is not remembered */

static void
ngx_broadcast_verified_remember(ngx_broadcast_verified_t *v,
    ngx_broadcast_keys_t *keys, u_char *digest, ngx_broadcast_jwt_t *jwt,
    ngx_log_t *log)
{
    u_char  *p;

    ngx_broadcast_verified_forget(v);

    p = ngx_alloc(jwt->payload.len + jwt->user.len, log);
    if (p == NULL) {
        return;
    }

    v->set = keys->serial;
    ngx_memcpy(v->digest, digest, NGX_BROADCAST_SHA256_LEN);

    v->jwt = *jwt;
    v->text = p;

    json_incref(v->jwt.claims);
    ngx_broadcast_verified_texts(&v->jwt, jwt, p);
}


static void
ngx_broadcast_verified_forget(ngx_broadcast_verified_t *v)
{
    if (v->set == 0) {
        return;
    }

    json_decref(v->jwt.claims);
    ngx_free(v->text);

    ngx_memzero(v, sizeof(ngx_broadcast_verified_t));
}


/* p has room for both */

static void
ngx_broadcast_verified_texts(ngx_broadcast_jwt_t *to,
    ngx_broadcast_jwt_t *from, u_char *p)
{
    size_t  len;

    len = from->payload.len;

    to->payload.data = p;
    ngx_memcpy(p, from->payload.data, len);

    if (from->user.len) {
        to->user.data = p + len;
        ngx_memcpy(p + len, from->user.data, from->user.len);
    }
}
