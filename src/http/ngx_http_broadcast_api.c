
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* The REST API of the Azure SignalR data plane: who may, and which. */


#include "http/ngx_http_broadcast_api.h"


static ngx_int_t ngx_http_broadcast_api_token(ngx_http_request_t *r,
    ngx_uint_t *answered);
static ngx_int_t ngx_http_broadcast_api_health(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc, token;
    ngx_str_t                       version;
    ngx_uint_t                      answered;
    const char                     *error;
    ngx_http_broadcast_api_t       *api;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_broadcast_ctx(r);
    api = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_api_t));

    if (ctx == NULL || api == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->json = 1;
    ctx->data = api;

    rc = ngx_http_broadcast_api_parse(r, api, &error);

    if (api->what == NGX_HTTP_BROADCAST_API_HEALTH) {
        return ngx_http_broadcast_api_health(r);
    }

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (!blcf->open) {

        /* strangers do not learn which paths there are */

        token = ngx_http_broadcast_api_token(r, &answered);

        if (answered) {
            return token;
        }
    }

    if (rc != NGX_OK) {
        return ngx_http_broadcast_api_refuse(r, rc, error);
    }

    if (!api->v1) {
        rc = ngx_http_broadcast_arg(r, "api-version", &version);

        if (rc != NGX_OK || version.len == 0) {
            return ngx_http_broadcast_api_refuse(r, NGX_ABORT,
                                                 "api-version is required.");
        }
    }

    rc = ngx_http_broadcast_api_query(r, api, &error);

    if (rc != NGX_OK) {
        return ngx_http_broadcast_api_refuse(r, rc, error);
    }

    ctx->hub = api->hub;

    return ngx_http_broadcast_api_run(r, api);
}


/* a REST token whose audience is this path, signalr.md 7.4 */

static ngx_int_t
ngx_http_broadcast_api_token(ngx_http_request_t *r, ngx_uint_t *answered)
{
    ngx_http_broadcast_ctx_t  *ctx;

    *answered = 1;

    if (ngx_http_broadcast_token(r, &ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->token == NGX_HTTP_BROADCAST_TOKEN_LONG) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);

        return ngx_http_broadcast_error(r,
                                        NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        "TokenTooLong",
                                        "The token is too long.", NULL);
    }

    if (ctx->token != NGX_HTTP_BROADCAST_TOKEN_GOOD
        || !ngx_broadcast_jwt_for_path(ctx->jwt, &r->unparsed_uri))
    {
        return ngx_http_broadcast_unauthorized(r);
    }

    *answered = 0;

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_api_refuse(ngx_http_request_t *r, ngx_int_t rc,
    const char *error)
{
    switch (rc) {

    case NGX_DECLINED:
        return ngx_http_broadcast_error(r, NGX_HTTP_NOT_FOUND, "NotFound",
                                        "There is no such operation.", NULL);

    case NGX_ABORT:
        return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST,
                                        "BadRequest", error, NULL);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


ngx_int_t
ngx_http_broadcast_api_bad(ngx_http_request_t *r, const char *target,
    const char *error)
{
    ngx_str_t  name;

    name.data = (u_char *) target;
    name.len = ngx_strlen(target);

    return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                    error, &name);
}


ngx_int_t
ngx_http_broadcast_api_missing(ngx_http_request_t *r, const char *code,
    const char *message)
{
    return ngx_http_broadcast_error(r, NGX_HTTP_NOT_FOUND, code, message,
                                    NULL);
}


/*
 * An instance is healthy if it would take a message for a hub that the
 * configuration says nothing else about: with a database that is a durable
 * one, and the database must be up.  Who asks is not refused anything, so it
 * is not counted.
 */

static ngx_int_t
ngx_http_broadcast_api_health(ngx_http_request_t *r)
{
    ngx_str_t  none = ngx_null_string;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_broadcast_not_allowed(r, "GET, HEAD, OPTIONS");
    }

    if (ngx_broadcast_bus.zone == NULL) {
        return ngx_http_broadcast_retry(r, "There is no zone.");
    }

    if (ngx_broadcast_hub_durable(&none)
        && ngx_broadcast_pg_state() != NGX_BROADCAST_DB_UP)
    {
        return ngx_http_broadcast_retry(r, "The database is away.");
    }

    return ngx_http_broadcast_answer(r, NGX_HTTP_OK, "text/plain", &none);
}
