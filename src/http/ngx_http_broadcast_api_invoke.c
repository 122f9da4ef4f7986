
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Client results, signalr.md 8.4: a connection is asked, whichever worker or
 * node has it, and the request waits for what its client answers.
 */


#include "http/ngx_http_broadcast_api.h"
#include "conn/ngx_broadcast_invoke.h"


/* a request that waits; in r->pool */

typedef struct {
    ngx_http_request_t        *r;
    ngx_broadcast_invoke_t    *invoke;     /* NULL: answered */
} ngx_http_broadcast_invoke_t;


static void ngx_http_broadcast_invoke_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_invoke_message(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_invoke_not_here(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
static ngx_int_t ngx_http_broadcast_invoke_elsewhere(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence);
static ngx_int_t ngx_http_broadcast_invoke_missing(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_invoke_plain(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_invoke_ask(ngx_http_request_t *r,
    ngx_broadcast_record_t *rec, ngx_uint_t afar);
static ngx_int_t ngx_http_broadcast_invoke_not_asked(ngx_http_request_t *r,
    ngx_uint_t status);
static void ngx_http_broadcast_invoke_cleanup(void *data);
static void ngx_http_broadcast_invoke_done(ngx_uint_t status, ngx_str_t *text,
    void *data);
static ngx_int_t ngx_http_broadcast_invoke_answer(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *text);
static ngx_int_t ngx_http_broadcast_invoke_result(ngx_http_request_t *r,
    ngx_str_t *result);
static ngx_int_t ngx_http_broadcast_invoke_failed(ngx_http_request_t *r,
    ngx_str_t *error);


ngx_int_t
ngx_http_broadcast_api_invoke(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    if (r->headers_in.content_type
        && !ngx_http_broadcast_content_type(r, "application/json")
        && !ngx_http_broadcast_packed_type(r))
    {
        return ngx_http_broadcast_api_type(r,
                              "The body must be application/json, "
                              "application/x-msgpack or "
                              "application/octet-stream.");
    }

    return ngx_http_broadcast_read_body(r, ngx_http_broadcast_invoke_body);
}


ngx_int_t
ngx_http_broadcast_api_json(ngx_http_request_t *r,
    ngx_http_broadcast_body_pt handler)
{
    if (r->headers_in.content_type
        && !ngx_http_broadcast_content_type(r, "application/json"))
    {
        return ngx_http_broadcast_api_type(r, "The body must be "
                                              "application/json.");
    }

    return ngx_http_broadcast_read_body(r, handler);
}


static void
ngx_http_broadcast_invoke_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_invoke_message(r));
}


static ngx_int_t
ngx_http_broadcast_invoke_message(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_broadcast_record_t      *rec;
    ngx_broadcast_row_info_t     row;
    ngx_http_broadcast_api_t    *api;
    ngx_http_broadcast_ctx_t    *ctx;
    ngx_http_broadcast_batch_t   batch;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;

    ngx_memzero(&batch, sizeof(ngx_http_broadcast_batch_t));

    batch.r = r;
    batch.scope.source = NGX_BROADCAST_SRC_REST;
    batch.scope.name = api->connection;

    rc = ngx_http_broadcast_batch(&batch);

    if (rc == NGX_DECLINED) {
        return ngx_http_broadcast_api_refuse(r, NGX_ABORT, batch.error);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rec = batch.records.elts;

    if (ngx_http_broadcast_api_row(api, &row) != NGX_OK) {
        api->data = rec;
        return ngx_http_broadcast_invoke_not_here(r, api);
    }

    if (row.plain) {
        return ngx_http_broadcast_invoke_plain(r);
    }

    rec->hub = row.hub;

    return ngx_http_broadcast_invoke_ask(r, rec, 0);
}


/* another node may have it */

static ngx_int_t
ngx_http_broadcast_invoke_not_here(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    ngx_broadcast_presence_ask_t  ask;

    if (!ngx_http_broadcast_api_cluster(api)
        || ngx_http_broadcast_connection_id(&api->connection) != NGX_OK)
    {
        return ngx_http_broadcast_invoke_missing(r);
    }

    ngx_memzero(&ask, sizeof(ngx_broadcast_presence_ask_t));

    ask.hub = api->hub;
    ask.connection = api->connection;
    ask.elsewhere = 1;
    ask.max = 1;

    return ngx_http_broadcast_presence(r, &ask,
                                       ngx_http_broadcast_invoke_elsewhere);
}


static ngx_int_t
ngx_http_broadcast_invoke_elsewhere(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence)
{
    ngx_broadcast_record_t    *rec;
    ngx_http_broadcast_api_t  *api;
    ngx_http_broadcast_ctx_t  *ctx;

    if (presence->n == 0) {
        return ngx_http_broadcast_invoke_missing(r);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;
    rec = api->data;

    if (ngx_broadcast_hub_index(&api->hub, &rec->hub) != NGX_OK) {
        return ngx_http_broadcast_invoke_not_asked(r, NGX_BROADCAST_NOT_FIT);
    }

    return ngx_http_broadcast_invoke_ask(r, rec, 1);
}


static ngx_int_t
ngx_http_broadcast_invoke_missing(ngx_http_request_t *r)
{
    return ngx_http_broadcast_api_missing(r, "Warning.Connection.NotExisted",
                                          "The connection does not exist.");
}


static ngx_int_t
ngx_http_broadcast_invoke_plain(ngx_http_request_t *r)
{
    return ngx_http_broadcast_api_refuse(r, NGX_ABORT,
                                         "The connection speaks no hub "
                                         "protocol.");
}


static ngx_int_t
ngx_http_broadcast_invoke_not_asked(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_broadcast_sent_t  sent;

    ngx_memzero(&sent, sizeof(ngx_broadcast_sent_t));
    sent.status = status;

    return ngx_http_broadcast_not_sent(r, &sent);
}


static ngx_int_t
ngx_http_broadcast_invoke_ask(ngx_http_request_t *r,
    ngx_broadcast_record_t *rec, ngx_uint_t afar)
{
    ngx_int_t                       rc;
    ngx_http_cleanup_t             *cln;
    ngx_http_broadcast_invoke_t    *wait;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    wait = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_invoke_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (wait == NULL || cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    wait->r = r;

    cln->handler = ngx_http_broadcast_invoke_cleanup;
    cln->data = wait;

    rc = ngx_broadcast_invoke(rec, afar, blcf->limits.client_timeout,
                              ngx_http_broadcast_invoke_done, wait,
                              &wait->invoke);

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_BUSY:
        return ngx_http_broadcast_retry(r,
                                        "Too many invocations are waiting.");

    case NGX_DECLINED:
        return ngx_http_broadcast_invoke_not_asked(r, NGX_BROADCAST_NOT_FIT);

    case NGX_ABORT:
        return ngx_http_broadcast_invoke_not_asked(r, NGX_BROADCAST_NOT_SENT);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* a caller that goes away takes its question back */

    ngx_http_broadcast_suspend(r);

    return NGX_DONE;
}


static void
ngx_http_broadcast_invoke_cleanup(void *data)
{
    ngx_http_broadcast_invoke_t *wait = data;

    if (wait->invoke) {
        ngx_broadcast_invoke_cancel(wait->invoke);
        wait->invoke = NULL;
    }
}


static void
ngx_http_broadcast_invoke_done(ngx_uint_t status, ngx_str_t *text, void *data)
{
    ngx_http_broadcast_invoke_t *wait = data;

    wait->invoke = NULL;

    ngx_http_broadcast_continue(wait->r,
                                ngx_http_broadcast_invoke_answer(wait->r,
                                                                 status,
                                                                 text));
}


static ngx_int_t
ngx_http_broadcast_invoke_answer(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *text)
{
    switch (status) {

    case NGX_BROADCAST_INVOKE_RESULT:
        return ngx_http_broadcast_invoke_result(r, text);

    case NGX_BROADCAST_INVOKE_FAILED:
        return ngx_http_broadcast_invoke_failed(r, text);

    case NGX_BROADCAST_INVOKE_GONE:
        return ngx_http_broadcast_error(r, 410, "Gone", "The connection ended "
                                        "before it answered.", NULL);

    case NGX_BROADCAST_INVOKE_BUSY:
        return ngx_http_broadcast_error(r, 429, "TooManyRequests",
                                        "Too many invocations wait for this "
                                        "client.", NULL);

    case NGX_BROADCAST_INVOKE_LARGE:
        return ngx_http_broadcast_error(r, NGX_HTTP_INSUFFICIENT_STORAGE,
                                        "InsufficientStorage",
                                        "The result does not fit into the "
                                        "zone.", NULL);

    case NGX_BROADCAST_INVOKE_PLAIN:
        return ngx_http_broadcast_invoke_plain(r);

    case NGX_BROADCAST_INVOKE_EARLY:
        return ngx_http_broadcast_api_missing(r,
                                           "Warning.Connection.NotExisted",
                                           "The connection has not sent its "
                                           "handshake yet.");

    case NGX_BROADCAST_INVOKE_AWAY:
        return ngx_http_broadcast_invoke_not_asked(r, NGX_BROADCAST_NOT_SENT);

    case NGX_BROADCAST_INVOKE_UNKNOWN:
        return ngx_http_broadcast_invoke_not_asked(r,
                                               NGX_BROADCAST_SENT_UNKNOWN);

    case NGX_BROADCAST_INVOKE_TIMEOUT:
        return ngx_http_broadcast_error(r, NGX_HTTP_GATEWAY_TIME_OUT,
                                        "Timeout", "The client did not answer "
                                        "in time.", NULL);

    default:
        return ngx_http_broadcast_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "Unknown", "What the client answered "
                                        "was lost.", NULL);
    }
}


static ngx_int_t
ngx_http_broadcast_invoke_result(ngx_http_request_t *r, ngx_str_t *result)
{
    ngx_str_t            body;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, r->pool, result->len + sizeof("{\"result\":}"));

    ngx_broadcast_buf_literal(&b, "{\"result\":");
    ngx_broadcast_buf_str(&b, result);
    ngx_broadcast_buf_char(&b, '}');

    if (ngx_broadcast_buf_done(&b, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_json(r, NGX_HTTP_OK, &body);
}


/* text is the client's, so it may hold anything */

static ngx_int_t
ngx_http_broadcast_invoke_failed(ngx_http_request_t *r, ngx_str_t *error)
{
    ngx_str_t            body;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, r->pool, error->len + 128);

    ngx_broadcast_buf_literal(&b, "{\"code\":\"InvocationError\",\"message\":");
    ngx_broadcast_buf_json(&b, error);
    ngx_broadcast_buf_literal(&b, ",\"target\":null}");

    if (ngx_broadcast_buf_done(&b, &body) != NGX_OK
        || ngx_http_broadcast_header_text(r, "x-ms-error-code",
                                          "InvocationError")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_json(r, NGX_HTTP_BAD_REQUEST, &body);
}
