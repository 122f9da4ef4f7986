
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_json.h"
#include "base/ngx_broadcast_name.h"
#include "token/ngx_broadcast_jws.h"
#include "token/ngx_broadcast_jwt.h"


static json_t *ngx_broadcast_mint_claims(ngx_broadcast_jwt_mint_t *mint);
static ngx_int_t ngx_broadcast_mint_groups(json_t *claims,
    ngx_array_t *groups);
static ngx_int_t ngx_broadcast_mint_others(ngx_pool_t *pool, json_t *claims,
    json_t *others);


/* signalr.md 7.3, and what would make another user of it */

static const char  *ngx_broadcast_mint_taken[] = {
    "aud", "exp", "iat", "nbf", "iss", "actort", "acr", "azp", "c_hash",
    "jti", "nonce", "nameid", "asrs.s.uid",
    NGX_BROADCAST_JWT_NAMEIDENTIFIER,
    NULL
};


ngx_int_t
ngx_broadcast_jwt_mint(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    ngx_broadcast_jwt_mint_t *mint, ngx_str_t *token, const char **error)
{
    json_t      *claims;
    ngx_int_t    rc;
    ngx_str_t    payload, *group;
    ngx_uint_t   i;

    ngx_str_null(token);

    if (!ngx_broadcast_keys_can_sign(keys)) {
        *error = "the first key is no secret";
        return NGX_DECLINED;
    }

    if (mint->user.len && ngx_broadcast_user_id(&mint->user) != NGX_OK) {
        *error = "the user is no user id";
        return NGX_DECLINED;
    }

    if (mint->groups) {
        group = mint->groups->elts;

        for (i = 0; i < mint->groups->nelts; i++) {
            if (ngx_broadcast_group_name(&group[i]) != NGX_OK) {
                *error = "a group has no group's name";
                return NGX_DECLINED;
            }
        }
    }

    *error = "no memory";

    claims = ngx_broadcast_mint_claims(mint);
    if (claims == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_broadcast_mint_others(pool, claims, mint->claims);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_json_dump(pool, claims, &payload);
    }

    json_decref(claims);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_broadcast_jws_sign(pool, keys, &payload, token);
    if (rc != NGX_OK) {
        return rc;
    }

    if (token->len > NGX_BROADCAST_TOKEN_MAX) {
        ngx_str_null(token);
        *error = "the token became too long";
        return NGX_BUSY;
    }

    *error = NULL;

    return NGX_OK;
}


/* The registered ones, in the order in which Azure's SDKs write them. */

static json_t *
ngx_broadcast_mint_claims(ngx_broadcast_jwt_mint_t *mint)
{
    json_t  *claims;

    claims = json_object();
    if (claims == NULL) {
        return NULL;
    }

    if (mint->user.len
        && json_object_set_new(claims, "nameid",
                               ngx_broadcast_json_new(&mint->user)))
    {
        goto failed;
    }

    if (json_object_set_new(claims, "nbf", json_integer(mint->now))
        || json_object_set_new(claims, "exp",
                               json_integer(mint->now + mint->ttl))
        || json_object_set_new(claims, "iat", json_integer(mint->now)))
    {
        goto failed;
    }

    if (mint->aud.len
        && json_object_set_new(claims, "aud",
                               ngx_broadcast_json_new(&mint->aud)))
    {
        goto failed;
    }

    if (mint->groups && mint->groups->nelts
        && ngx_broadcast_mint_groups(claims, mint->groups) != NGX_OK)
    {
        goto failed;
    }

    return claims;

failed:

    json_decref(claims);

    return NULL;
}


static ngx_int_t
ngx_broadcast_mint_groups(json_t *claims, ngx_array_t *groups)
{
    json_t      *list;
    ngx_str_t   *group;
    ngx_uint_t   i;

    /* json_object_set_new() refuses the NULL of a failed json_array() */

    list = json_array();

    if (json_object_set_new(claims, "groups", list)) {
        return NGX_ERROR;
    }

    group = groups->elts;

    for (i = 0; i < groups->nelts; i++) {
        if (json_array_append_new(list, ngx_broadcast_json_new(&group[i]))) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_broadcast_mint_is_taken(const char *name)
{
    const char  **taken;

    for (taken = ngx_broadcast_mint_taken; *taken; taken++) {
        if (ngx_strcmp(name, *taken) == 0) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_broadcast_mint_others(ngx_pool_t *pool, json_t *claims, json_t *others)
{
    u_char      *prefixed;
    size_t       len;
    json_t      *value;
    const char  *name;

    if (others == NULL) {
        return NGX_OK;
    }

    json_object_foreach(others, name, value) {

        if (!ngx_broadcast_mint_is_taken(name)
            && json_object_get(claims, name) == NULL)
        {
            if (json_object_set(claims, name, value)) {
                return NGX_ERROR;
            }

            continue;
        }

        len = sizeof("asrs.u.") + ngx_strlen(name);

        prefixed = ngx_pnalloc(pool, len);
        if (prefixed == NULL) {
            return NGX_ERROR;
        }

        ngx_sprintf(prefixed, "asrs.u.%s%Z", name);

        if (json_object_set(claims, (char *) prefixed, value)) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
