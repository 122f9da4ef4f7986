
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "ngx_http_broadcast_conf.h"


static ngx_int_t ngx_http_broadcast_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_broadcast_variable_claim(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_broadcast_claim_nocase(ngx_http_request_t *r,
    ngx_broadcast_jwt_t *jwt, ngx_str_t *name, ngx_str_t *value);
static void ngx_http_broadcast_variable_set(ngx_http_variable_value_t *v,
    ngx_str_t *text);


#define NGX_HTTP_BROADCAST_CLAIM  "broadcast_claim_"


/* not cacheable: a request learns its connection id and its user on the way */

static ngx_http_variable_t  ngx_http_broadcast_variables[] = {

    { ngx_string("broadcast_user"), NULL, ngx_http_broadcast_variable,
      offsetof(ngx_http_broadcast_ctx_t, user),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("broadcast_hub"), NULL, ngx_http_broadcast_variable,
      offsetof(ngx_http_broadcast_ctx_t, hub),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("broadcast_connection_id"), NULL,
      ngx_http_broadcast_variable,
      offsetof(ngx_http_broadcast_ctx_t, id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string(NGX_HTTP_BROADCAST_CLAIM), NULL,
      ngx_http_broadcast_variable_claim, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_broadcast_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_broadcast_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static void
ngx_http_broadcast_variable_set(ngx_http_variable_value_t *v,
    ngx_str_t *text)
{
    v->data = text->data;
    v->len = text->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}


static ngx_int_t
ngx_http_broadcast_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                       *text;
    ngx_http_broadcast_ctx_t        *ctx;
    ngx_http_broadcast_main_conf_t  *bmcf;

    v->not_found = 1;

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_broadcast_module);

    if (bmcf->zone == NULL) {
        return NGX_OK;
    }

    if (ngx_http_broadcast_token(r, &ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    text = (ngx_str_t *) ((char *) ctx + data);

    if (text->len) {
        ngx_http_broadcast_variable_set(v, text);
    }

    return NGX_OK;
}


/* $broadcast_claim_NAME: nginx gives the names of variables in lower case */

static ngx_int_t
ngx_http_broadcast_variable_claim(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t *var = (ngx_str_t *) data;

    ngx_int_t                        rc;
    ngx_str_t                        name, value;
    ngx_http_broadcast_ctx_t        *ctx;
    ngx_http_broadcast_main_conf_t  *bmcf;

    v->not_found = 1;

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_broadcast_module);

    if (bmcf->zone == NULL) {
        return NGX_OK;
    }

    if (ngx_http_broadcast_token(r, &ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->jwt == NULL) {
        return NGX_OK;
    }

    name.data = var->data + sizeof(NGX_HTTP_BROADCAST_CLAIM) - 1;
    name.len = var->len - (sizeof(NGX_HTTP_BROADCAST_CLAIM) - 1);

    rc = ngx_broadcast_jwt_claim(r->pool, ctx->jwt, &name, &value);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_broadcast_claim_nocase(r, ctx->jwt, &name, &value);
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {
        ngx_http_broadcast_variable_set(v, &value);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_claim_nocase(ngx_http_request_t *r,
    ngx_broadcast_jwt_t *jwt, ngx_str_t *name, ngx_str_t *value)
{
    json_t      *claim;
    ngx_str_t    text;
    const char  *key;

    json_object_foreach(jwt->claims, key, claim) {

        text.data = (u_char *) key;
        text.len = ngx_strlen(key);

        if (text.len == name->len
            && ngx_strncasecmp(text.data, name->data, name->len) == 0)
        {
            return ngx_broadcast_jwt_claim(r->pool, jwt, &text, value);
        }
    }

    return NGX_DECLINED;
}
