
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Operations of the REST API, signalr.md 8.2 and 8.3.  Sends, closes and
 * removals do not ask whether their target exists.
 */


#include "http/ngx_http_broadcast_api.h"


static ngx_int_t ngx_http_broadcast_api_send(ngx_http_request_t *r);
static void ngx_http_broadcast_api_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_api_message(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_api_exists(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
static ngx_int_t ngx_http_broadcast_api_close(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t status);
static ngx_int_t ngx_http_broadcast_api_member(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
static ngx_int_t ngx_http_broadcast_api_command(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t type, ngx_uint_t status);
static void ngx_http_broadcast_api_scope(ngx_http_broadcast_api_t *api,
    ngx_broadcast_record_t *rec);
static ngx_int_t ngx_http_broadcast_api_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent);
static ngx_int_t ngx_http_broadcast_api_missing(ngx_http_request_t *r,
    const char *code, const char *message);
static ngx_uint_t ngx_http_broadcast_api_connected(
    ngx_http_broadcast_api_t *api);


ngx_int_t
ngx_http_broadcast_api_run(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    ngx_uint_t  what;

    what = api->what;

    switch (api->verb) {

    case NGX_HTTP_BROADCAST_API_SEND:
        if (r->method != NGX_HTTP_POST) {
            return ngx_http_broadcast_not_allowed(r, "POST, OPTIONS");
        }

        return ngx_http_broadcast_api_send(r);

    case NGX_HTTP_BROADCAST_API_CLOSE:
        if (what == NGX_HTTP_BROADCAST_API_CONNECTION) {
            break;
        }

        if (r->method != NGX_HTTP_POST) {
            return ngx_http_broadcast_not_allowed(r, "POST, OPTIONS");
        }

        return ngx_http_broadcast_api_close(r, api, NGX_HTTP_NO_CONTENT);

    case NGX_HTTP_BROADCAST_API_NO_VERB:

        if (what == NGX_HTTP_BROADCAST_API_MEMBER) {
            return ngx_http_broadcast_api_member(r, api);
        }

        if (what == NGX_HTTP_BROADCAST_API_CONNECTION_GROUPS) {

            if (r->method != NGX_HTTP_DELETE) {
                return ngx_http_broadcast_not_allowed(r, "DELETE, OPTIONS");
            }

            return ngx_http_broadcast_api_command(r, api,
                                                  NGX_BROADCAST_REC_LEAVE,
                                                  NGX_HTTP_OK);
        }

        if (r->method == NGX_HTTP_POST) {
            return ngx_http_broadcast_api_send(r);
        }

        if (what == NGX_HTTP_BROADCAST_API_HUB) {
            return ngx_http_broadcast_not_allowed(r, "POST, OPTIONS");
        }

        if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
            return ngx_http_broadcast_api_exists(r, api);
        }

        if (what != NGX_HTTP_BROADCAST_API_CONNECTION) {
            return ngx_http_broadcast_not_allowed(r,
                                                  "GET, HEAD, POST, OPTIONS");
        }

        if (r->method != NGX_HTTP_DELETE) {
            return ngx_http_broadcast_not_allowed(r,
                                          "GET, HEAD, POST, DELETE, OPTIONS");
        }

        return ngx_http_broadcast_api_close(r, api, api->v1 ? NGX_HTTP_ACCEPTED
                                                            : NGX_HTTP_OK);
    }

    return ngx_http_broadcast_error(r, NGX_HTTP_NOT_FOUND, "NotFound",
                                    "There is no such operation.", NULL);
}


static ngx_int_t
ngx_http_broadcast_api_send(ngx_http_request_t *r)
{
    if (ngx_http_broadcast_content_type(r, "application/x-msgpack")
        || ngx_http_broadcast_content_type(r, "application/octet-stream"))
    {
        return ngx_http_broadcast_error(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                        "UnsupportedMediaType",
                                        "The body must be application/json.",
                                        &r->headers_in.content_type->value);
    }

    return ngx_http_broadcast_read_body(r, ngx_http_broadcast_api_body);
}


static void
ngx_http_broadcast_api_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_api_message(r));
}


static ngx_int_t
ngx_http_broadcast_api_message(ngx_http_request_t *r)
{
    u_char                      *p;
    ngx_str_t                    target;
    ngx_http_broadcast_api_t    *api;
    ngx_http_broadcast_ctx_t    *ctx;
    ngx_http_broadcast_batch_t   batch;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;

    ngx_memzero(&batch, sizeof(ngx_http_broadcast_batch_t));

    batch.r = r;
    batch.scope.source = NGX_BROADCAST_SRC_REST;
    ngx_str_set(&batch.target, "message");

    ngx_http_broadcast_api_scope(api, &batch.scope);

    switch (ngx_http_broadcast_batch(&batch)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ngx_str_null(&target);

        if (batch.line) {
            p = ngx_pnalloc(r->pool, sizeof("line ") - 1 + NGX_INT_T_LEN);
            if (p == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            target.data = p;
            target.len = ngx_sprintf(p, "line %ui", batch.line) - p;
        }

        return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                        batch.error, &target);

    case NGX_BUSY:
        return ngx_http_broadcast_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        "PayloadTooLarge",
                                        "Too many messages in one body.",
                                        NULL);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->status = NGX_HTTP_ACCEPTED;

    return ngx_http_broadcast_send_to(r, &api->hub, &batch.records,
                                      NGX_BROADCAST_KEPT,
                                      ngx_http_broadcast_api_sent);
}


static void
ngx_http_broadcast_api_scope(ngx_http_broadcast_api_t *api,
    ngx_broadcast_record_t *rec)
{
    rec->excluded = api->excluded;

    switch (api->what) {

    case NGX_HTTP_BROADCAST_API_GROUP:
        rec->scope = NGX_BROADCAST_GROUP;
        rec->name = api->group;
        break;

    case NGX_HTTP_BROADCAST_API_USER:
        rec->scope = NGX_BROADCAST_USER;
        rec->name = api->user;
        break;

    case NGX_HTTP_BROADCAST_API_HUB:
        rec->scope = NGX_BROADCAST_ALL;
        break;

    default:
        rec->scope = NGX_BROADCAST_CONNECTION;
        rec->name = api->connection;
    }
}


static ngx_int_t
ngx_http_broadcast_api_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent)
{
    ngx_str_t                  none = ngx_null_string;
    ngx_http_broadcast_api_t  *api;
    ngx_http_broadcast_ctx_t  *ctx;

    if (sent->status != NGX_BROADCAST_SENT
        && sent->status != NGX_BROADCAST_SENT_UNNUMBERED)
    {
        return ngx_http_broadcast_not_sent(r, sent);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;

    return ngx_http_broadcast_answer(r, api->status, NULL, &none);
}


static ngx_int_t
ngx_http_broadcast_api_command(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t type, ngx_uint_t status)
{
    ngx_int_t                rc;
    ngx_array_t              records;
    ngx_broadcast_record_t  *rec;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_array_init(&records, r->pool, 1, sizeof(ngx_broadcast_record_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rec = ngx_array_push(&records);     /* it has room for one */

    ngx_memzero(rec, sizeof(ngx_broadcast_record_t));

    rec->type = type;
    rec->flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec->source = NGX_BROADCAST_SRC_REST;
    rec->group = api->group;

    ngx_http_broadcast_api_scope(api, rec);

    if (type == NGX_BROADCAST_REC_CLOSE) {
        rec->arguments = api->reason;
        ngx_str_null(&rec->group);
    }

    api->status = status;

    return ngx_http_broadcast_send_to(r, &api->hub, &records,
                                      NGX_BROADCAST_KEPT,
                                      ngx_http_broadcast_api_sent);
}


static ngx_uint_t
ngx_http_broadcast_api_connected(ngx_http_broadcast_api_t *api)
{
    ngx_uint_t                index;
    ngx_broadcast_row_info_t  row;

    return ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub, &index)
           == NGX_OK
           && api->connection.len <= NGX_BROADCAST_CONN_ID_MAX
           && ngx_broadcast_registry_find(ngx_broadcast_bus.zone,
                                          &api->connection, &row)
              == NGX_OK
           && row.hub == index
           && row.state == NGX_BROADCAST_ROW_LIVE;
}


static ngx_int_t
ngx_http_broadcast_api_missing(ngx_http_request_t *r, const char *code,
    const char *message)
{
    return ngx_http_broadcast_error(r, NGX_HTTP_NOT_FOUND, code, message,
                                    NULL);
}


static ngx_int_t
ngx_http_broadcast_api_exists(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    ngx_str_t   none = ngx_null_string;
    ngx_uint_t  index, n;

    n = 0;

    if (api->what == NGX_HTTP_BROADCAST_API_CONNECTION) {

        if (!ngx_http_broadcast_api_connected(api)) {
            return ngx_http_broadcast_api_missing(r,
                                       "Warning.Connection.NotExisted",
                                       "The connection does not exist.");
        }

        n = 1;

    } else if (ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub,
                                      &index)
               == NGX_OK)
    {
        n = (api->what == NGX_HTTP_BROADCAST_API_GROUP)
            ? ngx_broadcast_registry_group(ngx_broadcast_bus.zone, index,
                                           &api->group)
            : ngx_broadcast_registry_user(ngx_broadcast_bus.zone, index,
                                          &api->user);
    }

    if (n) {
        return ngx_http_broadcast_answer(r, NGX_HTTP_OK, NULL, &none);
    }

    if (api->what == NGX_HTTP_BROADCAST_API_GROUP) {
        return ngx_http_broadcast_api_missing(r, "Warning.Group.NotExisted",
                                              "The group does not exist.");
    }

    return ngx_http_broadcast_api_missing(r, "Warning.User.NotExisted",
                                          "The user does not exist.");
}


static ngx_int_t
ngx_http_broadcast_api_close(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t status)
{
    if (api->what == NGX_HTTP_BROADCAST_API_CONNECTION
        && !ngx_http_broadcast_api_connected(api))
    {
        return ngx_http_broadcast_api_missing(r,
                                       "Warning.Connection.NotExisted",
                                       "The connection does not exist.");
    }

    return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_CLOSE,
                                          status);
}


static ngx_int_t
ngx_http_broadcast_api_member(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    switch (r->method) {

    case NGX_HTTP_PUT:

        if (!ngx_http_broadcast_api_connected(api)) {
            return ngx_http_broadcast_api_missing(r,
                                       "Error.Connection.NotExisted",
                                       "The connection does not exist.");
        }

        return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_JOIN,
                                              NGX_HTTP_OK);

    case NGX_HTTP_DELETE:
        return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_LEAVE,
                                              NGX_HTTP_OK);

    default:
        return ngx_http_broadcast_not_allowed(r, "PUT, DELETE, OPTIONS");
    }
}
