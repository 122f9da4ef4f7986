
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_buf.h"
#include "base/ngx_broadcast_json.h"
#include "base/ngx_broadcast_name.h"
#include "token/ngx_broadcast_audience.h"
#include "token/ngx_broadcast_jws.h"
#include "token/ngx_broadcast_jwt.h"


/* The last second of the year 9999: so far, milliseconds fit any timer. */

#define NGX_BROADCAST_JWT_TIME_MAX   253402300799LL

#define NGX_BROADCAST_JWT_HANDSHAKE  30     /* seconds at most, asrs.s.cht   */
#define NGX_BROADCAST_JWT_POLL       300    /* seconds at most, asrs.s.ttl   */

#define NGX_BROADCAST_JWT_TRANSPORTS                                          \
    (NGX_BROADCAST_JWT_WEBSOCKET                                              \
     |NGX_BROADCAST_JWT_SSE                                                   \
     |NGX_BROADCAST_JWT_LONGPOLL)


static const char *ngx_broadcast_jwt_user(ngx_pool_t *pool,
    ngx_broadcast_jwt_t *jwt);
static const char *ngx_broadcast_jwt_kind(ngx_broadcast_jwt_t *jwt);
static void ngx_broadcast_jwt_system(ngx_broadcast_jwt_t *jwt);
static ngx_int_t ngx_broadcast_jwt_time(json_t *claims, const char *name,
    time_t *value);
static ngx_int_t ngx_broadcast_jwt_setting(json_t *claims, const char *name,
    time_t *value);
static ngx_uint_t ngx_broadcast_jwt_has(json_t *claim, ngx_str_t *one,
    ngx_str_t *two);


static const char  ngx_broadcast_jwt_no_memory[] = "no memory";


/* In this order, signalr.md 7.3; the last but one is .NET's long nameid. */

static const char  *ngx_broadcast_jwt_users[] = {
    "asrs.s.uid",
    "nameid",
    NGX_BROADCAST_JWT_NAMEIDENTIFIER,
    "sub",
    NULL
};


ngx_int_t
ngx_broadcast_jwt_verify(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    ngx_str_t *token, time_t now, ngx_broadcast_jwt_t **jwt,
    const char **error)
{
    json_t               *claims;
    ngx_int_t             rc;
    ngx_str_t             payload;
    const char           *reason;
    ngx_broadcast_jwt_t  *t;

    rc = ngx_broadcast_jws_verify(pool, keys, token, &payload, error);
    if (rc != NGX_OK) {
        return rc;
    }

    claims = ngx_broadcast_json_parse(&payload,
                                      NGX_BROADCAST_JSON_UNIQUE
                                      |NGX_BROADCAST_JSON_REALS,
                                      &reason);

    if (!json_is_object(claims)) {
        json_decref(claims);
        *error = reason ? reason : "the token's payload is no object";
        return NGX_DECLINED;
    }

    *error = ngx_broadcast_jwt_no_memory;

    if (ngx_broadcast_json_own(pool, claims) != NGX_OK) {
        return NGX_ERROR;
    }

    t = ngx_pcalloc(pool, sizeof(ngx_broadcast_jwt_t));
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->claims = claims;
    t->payload = payload;

    *error = ngx_broadcast_jwt_times(t, now);

    if (*error == NULL) {
        *error = ngx_broadcast_jwt_user(pool, t);
    }

    if (*error == NULL) {
        *error = ngx_broadcast_jwt_kind(t);
    }

    if (*error) {
        return (*error == ngx_broadcast_jwt_no_memory) ? NGX_ERROR
                                                       : NGX_DECLINED;
    }

    ngx_broadcast_jwt_system(t);

    *jwt = t;

    return NGX_OK;
}


const char *
ngx_broadcast_jwt_times(ngx_broadcast_jwt_t *jwt, time_t now)
{
    time_t     nbf, iat;
    ngx_int_t  rc;

    rc = ngx_broadcast_jwt_time(jwt->claims, "exp", &jwt->exp);

    if (rc == NGX_DECLINED) {
        return "the token has no \"exp\"";
    }

    if (rc != NGX_OK) {
        return "the token's \"exp\" is no time";
    }

    if (now - NGX_BROADCAST_JWT_LEEWAY >= jwt->exp) {
        return "the token has expired";
    }

    rc = ngx_broadcast_jwt_time(jwt->claims, "nbf", &nbf);

    if (rc == NGX_ERROR) {
        return "the token's \"nbf\" is no time";
    }

    if (rc == NGX_OK && nbf > now + NGX_BROADCAST_JWT_LEEWAY) {
        return "the token is not valid yet";
    }

    if (ngx_broadcast_jwt_time(jwt->claims, "iat", &iat) == NGX_ERROR) {
        return "the token's \"iat\" is no time";
    }

    return NULL;
}


/*
 * A NumericDate (RFC 7519, section 2) may have a fraction: it is cut off.  The
 * years are those that we count.  NGX_DECLINED: no claim.
 */

static ngx_int_t
ngx_broadcast_jwt_time(json_t *claims, const char *name, time_t *value)
{
    double   real;
    json_t  *claim;

    claim = json_object_get(claims, name);

    if (claim == NULL) {
        return NGX_DECLINED;
    }

    if (json_is_integer(claim)) {
        *value = (time_t) ngx_max(ngx_min(json_integer_value(claim),
                                          NGX_BROADCAST_JWT_TIME_MAX),
                                  -NGX_BROADCAST_JWT_TIME_MAX);
        return NGX_OK;
    }

    if (!json_is_real(claim)) {
        return NGX_ERROR;
    }

    real = json_real_value(claim);

    if (real > NGX_BROADCAST_JWT_TIME_MAX) {
        *value = NGX_BROADCAST_JWT_TIME_MAX;
        return NGX_OK;
    }

    if (real < -NGX_BROADCAST_JWT_TIME_MAX) {
        *value = -NGX_BROADCAST_JWT_TIME_MAX;
        return NGX_OK;
    }

    *value = (time_t) real;

    return NGX_OK;
}


static const char *
ngx_broadcast_jwt_user(ngx_pool_t *pool, ngx_broadcast_jwt_t *jwt)
{
    json_t       *claim;
    ngx_str_t     user;
    const char  **name;

    for (name = ngx_broadcast_jwt_users; *name; name++) {

        claim = json_object_get(jwt->claims, *name);

        if (claim == NULL || json_is_null(claim)) {
            continue;
        }

        if (json_is_string(claim)) {
            ngx_broadcast_json_text(claim, &user);

            if (user.len == 0) {
                continue;
            }

        } else if (json_is_integer(claim)) {
            if (ngx_broadcast_json_dump(pool, claim, &user) != NGX_OK) {
                return ngx_broadcast_jwt_no_memory;
            }

        } else {
            return "the token's user is no string";
        }

        if (ngx_broadcast_user_id(&user) != NGX_OK) {
            return "the token's user is no user id";
        }

        jwt->user = user;
        return NULL;
    }

    return NULL;
}


static const char *
ngx_broadcast_jwt_kind(ngx_broadcast_jwt_t *jwt)
{
    size_t      i;
    json_t     *aud, *one;
    ngx_str_t   text;

    aud = json_object_get(jwt->claims, "aud");

    if (aud == NULL) {
        jwt->kind = NGX_BROADCAST_JWT_CLIENT;
        return NULL;
    }

    if (json_is_string(aud)) {
        ngx_broadcast_json_text(aud, &text);
        jwt->kind = ngx_broadcast_audience_kind(&text);
        return NULL;
    }

    if (!json_is_array(aud)) {
        return "the token's \"aud\" is no string";
    }

    json_array_foreach(aud, i, one) {

        if (!json_is_string(one)) {
            return "the token's \"aud\" is no list of strings";
        }

        ngx_broadcast_json_text(one, &text);
        jwt->kind |= ngx_broadcast_audience_kind(&text);
    }

    return NULL;
}


/* What Azure's SDKs put in to be honoured; broken values are passed over. */

static void
ngx_broadcast_jwt_system(ngx_broadcast_jwt_t *jwt)
{
    time_t      value;
    json_t     *close;
    ngx_str_t   text;

    if (ngx_broadcast_jwt_setting(jwt->claims, "asrs.s.cht", &value) == NGX_OK
        && value >= 1 && value <= NGX_BROADCAST_JWT_HANDSHAKE)
    {
        jwt->handshake = value;
    }

    if (ngx_broadcast_jwt_setting(jwt->claims, "asrs.s.ttl", &value) == NGX_OK
        && value >= 1 && value <= NGX_BROADCAST_JWT_POLL)
    {
        jwt->poll = value;
    }

    jwt->transports = NGX_BROADCAST_JWT_TRANSPORTS;

    if (ngx_broadcast_jwt_setting(jwt->claims, "asrs.s.htt", &value) == NGX_OK
        && (value & NGX_BROADCAST_JWT_TRANSPORTS))
    {
        jwt->transports = value & NGX_BROADCAST_JWT_TRANSPORTS;
    }

    close = json_object_get(jwt->claims, "asrs.s.coae");

    if (json_is_string(close)) {
        ngx_broadcast_json_text(close, &text);

        if (text.len != 4 || ngx_strncasecmp(text.data, (u_char *) "true", 4))
        {
            return;
        }

    } else if (!json_is_true(close)) {
        return;
    }

    jwt->close_at = jwt->exp;

    if (ngx_broadcast_jwt_setting(jwt->claims, "asrs.s.aeo", &value)
        == NGX_OK)
    {
        jwt->close_at = value;
    }
}


/* A number of seconds or bits; .NET writes its claims as strings. */

static ngx_int_t
ngx_broadcast_jwt_setting(json_t *claims, const char *name, time_t *value)
{
    json_t     *claim;
    ngx_str_t   text;

    claim = json_object_get(claims, name);

    if (!json_is_string(claim)) {
        return ngx_broadcast_jwt_time(claims, name, value);
    }

    ngx_broadcast_json_text(claim, &text);

    *value = ngx_atotm(text.data, text.len);

    if (*value == NGX_ERROR) {
        return NGX_ERROR;
    }

    *value = ngx_min(*value, NGX_BROADCAST_JWT_TIME_MAX);

    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_jwt_is_client(ngx_broadcast_jwt_t *jwt)
{
    return jwt && (jwt->kind & NGX_BROADCAST_JWT_CLIENT);
}


/* 1: the claim is the string, one and two together, or a list with it. */

static ngx_uint_t
ngx_broadcast_jwt_has(json_t *claim, ngx_str_t *one, ngx_str_t *two)
{
    size_t      i;
    json_t     *item;
    ngx_str_t   text;

    if (json_is_array(claim)) {

        json_array_foreach(claim, i, item) {
            if (json_is_string(item) && ngx_broadcast_jwt_has(item, one, two))
            {
                return 1;
            }
        }

        return 0;
    }

    if (!json_is_string(claim)) {
        return 0;
    }

    ngx_broadcast_json_text(claim, &text);

    return text.len == one->len + two->len
           && ngx_memcmp(text.data, one->data, one->len) == 0
           && (two->len == 0
               || ngx_memcmp(text.data + one->len, two->data, two->len) == 0);
}


ngx_uint_t
ngx_broadcast_jwt_has_role(ngx_broadcast_jwt_t *jwt, ngx_str_t *role)
{
    static ngx_str_t  nothing = ngx_null_string;

    return jwt && role->len
           && ngx_broadcast_jwt_has(json_object_get(jwt->claims, "role"),
                                    role, &nothing);
}


ngx_uint_t
ngx_broadcast_jwt_has_group(ngx_broadcast_jwt_t *jwt, ngx_str_t *group)
{
    static ngx_str_t  nothing = ngx_null_string;

    return jwt && group->len
           && ngx_broadcast_jwt_has(json_object_get(jwt->claims, "groups"),
                                    group, &nothing);
}


ngx_uint_t
ngx_broadcast_jwt_may(ngx_broadcast_jwt_t *jwt, const char *verb,
    ngx_str_t *group)
{
    u_char     dotted[64];
    ngx_str_t  role;

    if (ngx_broadcast_jwt_has_group(jwt, group)) {
        return 1;
    }

    role.data = dotted;
    role.len = ngx_snprintf(dotted, sizeof(dotted), "%s", verb) - dotted;

    if (ngx_broadcast_jwt_has_role(jwt, &role)) {
        return 1;
    }

    if (jwt == NULL || role.len == sizeof(dotted)) {
        return 0;
    }

    dotted[role.len++] = '.';

    return ngx_broadcast_jwt_has(json_object_get(jwt->claims, "role"), &role,
                                 group);
}


ngx_array_t *
ngx_broadcast_jwt_groups(ngx_pool_t *pool, ngx_broadcast_jwt_t *jwt)
{
    size_t        i, n;
    json_t       *claim, *item;
    ngx_str_t     text, *group;
    ngx_array_t  *groups;

    claim = json_object_get(jwt->claims, "groups");
    n = json_is_array(claim) ? json_array_size(claim) : 1;

    groups = ngx_array_create(pool, ngx_max(n, 1), sizeof(ngx_str_t));
    if (groups == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        item = json_is_array(claim) ? json_array_get(claim, i) : claim;

        if (!json_is_string(item)) {
            continue;
        }

        ngx_broadcast_json_text(item, &text);

        if (ngx_broadcast_group_name(&text) != NGX_OK) {
            continue;
        }

        group = ngx_array_push(groups);
        if (group == NULL) {
            return NULL;
        }

        *group = text;
    }

    return groups;
}


/* How well a claim's name fits, 0: not at all. */

static ngx_uint_t
ngx_broadcast_jwt_fit(const char *key, ngx_str_t *name)
{
    size_t      len;
    ngx_uint_t  own;

    len = ngx_strlen(key);
    own = 1;

    if (len != name->len) {
        if (len != name->len + sizeof("asrs.u.") - 1
            || ngx_strncmp(key, "asrs.u.", sizeof("asrs.u.") - 1) != 0)
        {
            return 0;
        }

        key += sizeof("asrs.u.") - 1;
        own = 0;
    }

    if (ngx_memcmp(key, name->data, name->len) == 0) {
        return 3 + own;
    }

    if (ngx_strncasecmp((u_char *) key, name->data, name->len) == 0) {
        return 1 + own;
    }

    return 0;
}


ngx_int_t
ngx_broadcast_jwt_claim(ngx_pool_t *pool, ngx_broadcast_jwt_t *jwt,
    ngx_str_t *name, ngx_str_t *value)
{
    size_t                i;
    json_t               *claim, *best;
    ngx_uint_t            fit, best_fit;
    const char           *key;
    ngx_broadcast_buf_t   b;

    ngx_str_null(value);

    if (jwt == NULL || name->len == 0) {
        return NGX_DECLINED;
    }

    best = NULL;
    best_fit = 0;

    json_object_foreach(jwt->claims, key, claim) {
        fit = ngx_broadcast_jwt_fit(key, name);

        if (fit > best_fit) {
            best = claim;
            best_fit = fit;
        }
    }

    if (best == NULL) {
        return NGX_DECLINED;
    }

    if (!json_is_string(best)) {
        return ngx_broadcast_json_dump(pool, best, value);
    }

    ngx_broadcast_json_text(best, value);

    for (i = 0; i < value->len; i++) {

        if (value->data[i] >= 0x20 && value->data[i] != 0x7f) {
            continue;
        }

        ngx_broadcast_buf_init(&b, pool, value->len + 16);
        ngx_broadcast_buf_json(&b, value);

        return ngx_broadcast_buf_done(&b, value);
    }

    return NGX_OK;
}
