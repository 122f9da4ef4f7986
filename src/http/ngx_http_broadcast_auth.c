
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast.h"


static ngx_int_t ngx_http_broadcast_token_find(ngx_http_request_t *r,
    ngx_str_t *token);
static ngx_int_t ngx_http_broadcast_auth_refuse(ngx_http_request_t *r,
    ngx_uint_t token);


/*
 * "Authorization: Bearer" first, then "access_token" in the query: browsers
 * cannot send a header with an EventSource or a WebSocket, signalr.md 1.10.
 * NGX_DECLINED: there is none.
 */

static ngx_int_t
ngx_http_broadcast_token_find(ngx_http_request_t *r, ngx_str_t *token)
{
    u_char     *p, *last;
    ngx_int_t   rc;

    if (r->headers_in.authorization) {

        p = r->headers_in.authorization->value.data;
        last = p + r->headers_in.authorization->value.len;

        if (last - p >= 6 && ngx_strncasecmp(p, (u_char *) "Bearer", 6) == 0
            && (last - p == 6 || p[6] == ' '))
        {
            p += 6;

            while (p < last && *p == ' ') {
                p++;
            }

            token->data = p;
            token->len = last - p;

            return NGX_OK;
        }
    }

    rc = ngx_http_broadcast_arg(r, "access_token", token);

    if (rc == NGX_OK && token->len == 0) {
        return NGX_DECLINED;
    }

    return rc;
}


ngx_int_t
ngx_http_broadcast_token(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t **pctx)
{
    ngx_int_t                       rc;
    ngx_str_t                       token;
    const char                     *error;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_srv_conf_t  *bscf;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    *pctx = ctx;

    if (ctx->token != NGX_HTTP_BROADCAST_TOKEN_UNSEEN) {
        return NGX_OK;
    }

    rc = ngx_http_broadcast_token_find(r, &token);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ctx->token = NGX_HTTP_BROADCAST_TOKEN_NONE;
        return NGX_OK;
    }

    bscf = ngx_http_get_module_srv_conf(r, ngx_http_broadcast_module);

    error = "the query is not well encoded";

    if (rc == NGX_OK) {
        rc = ngx_broadcast_verified(r->pool, bscf->keys, &token, ngx_time(),
                                    &ctx->jwt, &error);
    }

    switch (rc) {

    case NGX_OK:
        ctx->token = NGX_HTTP_BROADCAST_TOKEN_GOOD;
        ctx->user = ctx->jwt->user;
        return NGX_OK;

    case NGX_ERROR:
        return NGX_ERROR;

    case NGX_BUSY:
        ctx->token = NGX_HTTP_BROADCAST_TOKEN_LONG;
        break;

    default:
        ctx->token = NGX_HTTP_BROADCAST_TOKEN_BAD;
    }

    ctx->jwt = NULL;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "token refused: %s", error);

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_client(ngx_http_request_t *r, ngx_str_t *hub,
    ngx_uint_t anonymous, ngx_uint_t *answered)
{
    ngx_http_broadcast_ctx_t  *ctx;

    *answered = 1;

    if (ngx_http_broadcast_token(r, &ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (ctx->token) {

    case NGX_HTTP_BROADCAST_TOKEN_GOOD:

        if (hub ? ngx_broadcast_jwt_for_hub(ctx->jwt, hub)
                : ngx_broadcast_jwt_is_client(ctx->jwt))
        {
            *answered = 0;
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "token refused: it is not for this hub");
        break;

    case NGX_HTTP_BROADCAST_TOKEN_LONG:
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);

        return ngx_http_broadcast_text(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                       "The token is too long.");

    case NGX_HTTP_BROADCAST_TOKEN_NONE:

        if (anonymous) {
            *answered = 0;
            return NGX_OK;
        }

        break;
    }

    return ngx_http_broadcast_unauthorized(r);
}


/*
 * broadcast_auth.  Refusals are given back as statuses, so that "satisfy any"
 * and "error_page" work as with nginx's own access modules; only where one of
 * our handlers would answer a program it is in the handler's own words.
 */

ngx_int_t
ngx_http_broadcast_auth_handler(ngx_http_request_t *r)
{
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (blcf->auth == NGX_HTTP_BROADCAST_AUTH_OFF) {
        return NGX_DECLINED;
    }

    if (ngx_http_broadcast_token(r, &ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->token == NGX_HTTP_BROADCAST_TOKEN_NONE
        && blcf->auth == NGX_HTTP_BROADCAST_AUTH_OPTIONAL)
    {
        return NGX_DECLINED;
    }

    if (ctx->token != NGX_HTTP_BROADCAST_TOKEN_GOOD) {
        return ngx_http_broadcast_auth_refuse(r, ctx->token);
    }

    if (!ngx_broadcast_jwt_is_client(ctx->jwt)) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "token refused: it is no client token");
        return ngx_http_broadcast_auth_refuse(r, NGX_HTTP_BROADCAST_TOKEN_BAD);
    }

    if (blcf->role.len && !ngx_broadcast_jwt_has_role(ctx->jwt, &blcf->role)) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "token refused: it has not the role \"%V\"",
                      &blcf->role);
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);
        return NGX_HTTP_FORBIDDEN;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_auth_refuse(ngx_http_request_t *r, ngx_uint_t token)
{
    ngx_table_elt_t                *h;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_broadcast_loc_conf_t  *blcf;

    if (token == NGX_HTTP_BROADCAST_TOKEN_LONG) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (blcf->kind != NGX_HTTP_BROADCAST_NONE
        && clcf->satisfy == NGX_HTTP_SATISFY_ALL)
    {
        ngx_http_finalize_request(r, ngx_http_broadcast_unauthorized(r));
        return NGX_DONE;
    }

    ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);

    /* in this member "satisfy any" finds it and takes it away again */

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    h->hash = 1;
    ngx_str_set(&h->key, "WWW-Authenticate");
    ngx_str_set(&h->value, "Bearer");
    h->lowcase_key = (u_char *) "www-authenticate";
    ngx_broadcast_header_single(h);

    r->headers_out.www_authenticate = h;

    return NGX_HTTP_UNAUTHORIZED;
}
