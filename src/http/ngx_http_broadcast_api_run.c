
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Operations of the REST API, signalr.md 8.2 and 8.3.  Sends, closes and
 * removals do not ask whether their target exists.
 */


#include "http/ngx_http_broadcast_api.h"


typedef struct {
    ngx_uint_t                   what;
    ngx_uint_t                   verb;
    ngx_uint_t                   methods;
    ngx_uint_t                   status;    /* of the answer, if all is well */
    ngx_uint_t                   v1;        /* the same below v1/, 0: there
                                               is no such operation there */
    ngx_http_broadcast_api_pt    handler;
} ngx_http_broadcast_api_op_t;


static ngx_int_t ngx_http_broadcast_api_methods(ngx_http_request_t *r,
    ngx_uint_t methods);
static ngx_int_t ngx_http_broadcast_api_entra(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
static void ngx_http_broadcast_api_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_api_message(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_api_lines(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent);
static ngx_int_t ngx_http_broadcast_api_close(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
static ngx_int_t ngx_http_broadcast_api_done(ngx_http_request_t *r);
static void ngx_http_broadcast_api_scope(ngx_http_broadcast_api_t *api,
    ngx_broadcast_record_t *rec);


#define NGX_HTTP_BROADCAST_READ  (NGX_HTTP_GET|NGX_HTTP_HEAD)

#define ngx_http_broadcast_api_op(what, verb, methods, status, v1, handler)   \
    { NGX_HTTP_BROADCAST_API_ ## what, NGX_HTTP_BROADCAST_API_ ## verb,       \
      methods, status, v1, ngx_http_broadcast_api_ ## handler }


/* signalr.md 8.2; what is newer than 2023 is not below v1/ */

static const ngx_http_broadcast_api_op_t  ngx_http_broadcast_api_ops[] = {

    ngx_http_broadcast_api_op(ACCESS_KEY, NO_VERB, NGX_HTTP_GET, 200, 200,
                              entra),

    ngx_http_broadcast_api_op(HUB, SEND, NGX_HTTP_POST, 202, 202, send),
    ngx_http_broadcast_api_op(HUB, NO_VERB, NGX_HTTP_POST, 202, 202, send),
    ngx_http_broadcast_api_op(HUB, CLOSE, NGX_HTTP_POST, 204, 204, close),
    ngx_http_broadcast_api_op(HUB, EXECUTE, NGX_HTTP_POST, 202, 202, execute),
    ngx_http_broadcast_api_op(HUB, GENERATE, NGX_HTTP_POST, 200, 200, entra),

    ngx_http_broadcast_api_op(CONNECTIONS, NO_VERB, NGX_HTTP_BROADCAST_READ,
                              200, 200, list),
    ngx_http_broadcast_api_op(CONNECTION, SEND, NGX_HTTP_POST, 202, 202,
                              send),
    ngx_http_broadcast_api_op(CONNECTION, INVOKE, NGX_HTTP_POST, 200, 0,
                              invoke),
    ngx_http_broadcast_api_op(CONNECTION, NO_VERB, NGX_HTTP_POST, 202, 202,
                              send),
    ngx_http_broadcast_api_op(CONNECTION, NO_VERB, NGX_HTTP_BROADCAST_READ,
                              200, 200, exists),
    ngx_http_broadcast_api_op(CONNECTION, NO_VERB, NGX_HTTP_DELETE, 200, 202,
                              delete),
    ngx_http_broadcast_api_op(CONNECTION_GROUPS, NO_VERB, NGX_HTTP_DELETE,
                              200, 200, leave),
    ngx_http_broadcast_api_op(STREAM, SEND, NGX_HTTP_POST, 202, 0,
                              stream_send),
    ngx_http_broadcast_api_op(STREAM, COMPLETE, NGX_HTTP_POST, 202, 0,
                              stream_complete),

    ngx_http_broadcast_api_op(GROUPS, NO_VERB, NGX_HTTP_BROADCAST_READ, 200,
                              200, list),
    ngx_http_broadcast_api_op(GROUP, SEND, NGX_HTTP_POST, 202, 202, send),
    ngx_http_broadcast_api_op(GROUP, NO_VERB, NGX_HTTP_POST, 202, 202, send),
    ngx_http_broadcast_api_op(GROUP, CLOSE, NGX_HTTP_POST, 204, 204, close),
    ngx_http_broadcast_api_op(GROUP, NO_VERB, NGX_HTTP_BROADCAST_READ, 200,
                              200, exists),
    ngx_http_broadcast_api_op(GROUP_CONNECTIONS, NO_VERB,
                              NGX_HTTP_BROADCAST_READ, 200, 200, list),
    ngx_http_broadcast_api_op(MEMBER, NO_VERB, NGX_HTTP_PUT, 200, 200, join),
    ngx_http_broadcast_api_op(MEMBER, NO_VERB, NGX_HTTP_DELETE, 200, 200,
                              leave),

    ngx_http_broadcast_api_op(USER, SEND, NGX_HTTP_POST, 202, 202, send),
    ngx_http_broadcast_api_op(USER, NO_VERB, NGX_HTTP_POST, 202, 202, send),
    ngx_http_broadcast_api_op(USER, CLOSE, NGX_HTTP_POST, 204, 204, close),
    ngx_http_broadcast_api_op(USER, NO_VERB, NGX_HTTP_BROADCAST_READ, 200,
                              200, exists),
    ngx_http_broadcast_api_op(USER_CONNECTIONS, NO_VERB,
                              NGX_HTTP_BROADCAST_READ, 200, 200, list),
    ngx_http_broadcast_api_op(USER_GROUPS, NO_VERB, NGX_HTTP_DELETE, 204, 202,
                              leave),
    ngx_http_broadcast_api_op(USER_GROUP, NO_VERB, NGX_HTTP_BROADCAST_READ,
                              200, 200, exists),
    ngx_http_broadcast_api_op(USER_GROUP, NO_VERB, NGX_HTTP_PUT, 200, 202,
                              rule),
    ngx_http_broadcast_api_op(USER_GROUP, NO_VERB, NGX_HTTP_DELETE, 204, 202,
                              leave),

    { NGX_HTTP_BROADCAST_API_NOTHING, 0, 0, 0, 0, NULL }
};


ngx_int_t
ngx_http_broadcast_api_run(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    ngx_uint_t                          methods;
    const ngx_http_broadcast_api_op_t  *op;

    methods = 0;

    for (op = ngx_http_broadcast_api_ops; op->what; op++) {

        if (op->what != api->what || op->verb != api->verb
            || (api->v1 && op->v1 == 0))
        {
            continue;
        }

        if (op->methods & r->method) {
            api->status = api->v1 ? op->v1 : op->status;
            return op->handler(r, api);
        }

        methods |= op->methods;
    }

    if (methods) {
        return ngx_http_broadcast_api_methods(r, methods);
    }

    return ngx_http_broadcast_api_refuse(r, NGX_DECLINED, NULL);
}


static ngx_int_t
ngx_http_broadcast_api_methods(ngx_http_request_t *r, ngx_uint_t methods)
{
    u_char  *p, *allow;

    allow = ngx_pnalloc(r->pool, sizeof("GET, HEAD, POST, PUT, DELETE, "
                                        "OPTIONS"));
    if (allow == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = allow;

    if (methods & NGX_HTTP_GET) {
        p = ngx_cpymem(p, "GET, ", sizeof("GET, ") - 1);
    }

    if (methods & NGX_HTTP_HEAD) {
        p = ngx_cpymem(p, "HEAD, ", sizeof("HEAD, ") - 1);
    }

    if (methods & NGX_HTTP_POST) {
        p = ngx_cpymem(p, "POST, ", sizeof("POST, ") - 1);
    }

    if (methods & NGX_HTTP_PUT) {
        p = ngx_cpymem(p, "PUT, ", sizeof("PUT, ") - 1);
    }

    if (methods & NGX_HTTP_DELETE) {
        p = ngx_cpymem(p, "DELETE, ", sizeof("DELETE, ") - 1);
    }

    ngx_memcpy(p, "OPTIONS", sizeof("OPTIONS"));

    return ngx_http_broadcast_not_allowed(r, (char *) allow);
}


/* those that hand out keys and tokens to holders of Microsoft Entra tokens */

static ngx_int_t
ngx_http_broadcast_api_entra(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    return ngx_http_broadcast_error(r, NGX_HTTP_FORBIDDEN, "EntraOnly",
                                    "This operation is for Microsoft Entra "
                                    "tokens, which are not served; client "
                                    "tokens are made by broadcast_negotiate.",
                                    NULL);
}


/*
 * A body without a type is taken for JSON.  The .NET SDK sends octet-stream as
 * soon as MessagePack is switched on.
 */

ngx_int_t
ngx_http_broadcast_api_send(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    if (r->headers_in.content_type
        && !ngx_http_broadcast_content_type(r, "application/json")
        && !ngx_http_broadcast_content_type(r, "application/x-ndjson")
        && !ngx_http_broadcast_packed_type(r))
    {
        return ngx_http_broadcast_api_type(r,
                              "The body must be application/json, "
                              "application/x-ndjson, application/x-msgpack "
                              "or application/octet-stream.");
    }

    return ngx_http_broadcast_read_send(r, ngx_http_broadcast_api_body);
}


ngx_int_t
ngx_http_broadcast_api_type(ngx_http_request_t *r, const char *error)
{
    return ngx_http_broadcast_error(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                    "UnsupportedMediaType", error,
                                    &r->headers_in.content_type->value);
}


static void
ngx_http_broadcast_api_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_api_message(r));
}


static ngx_int_t
ngx_http_broadcast_api_message(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
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

    rc = ngx_http_broadcast_batch(&batch);

    if (rc != NGX_OK) {
        return ngx_http_broadcast_batch_refused(&batch, rc);
    }

    if (ngx_http_broadcast_content_type(r, "application/x-ndjson")) {
        return ngx_http_broadcast_send_to(r, &api->hub, &batch.records,
                                          NGX_BROADCAST_NUMBERED,
                                          ngx_http_broadcast_api_lines);
    }

    return ngx_http_broadcast_send_to(r, &api->hub, &batch.records,
                                      NGX_BROADCAST_KEPT,
                                      ngx_http_broadcast_api_sent);
}


/* several messages are not Azure's, and are answered as publish does */

static ngx_int_t
ngx_http_broadcast_api_lines(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent)
{
    ngx_http_broadcast_api_t  *api;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;

    return ngx_http_broadcast_sent(r, sent, api->status);
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
    case NGX_HTTP_BROADCAST_API_USER_GROUPS:
    case NGX_HTTP_BROADCAST_API_USER_GROUP:
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


ngx_int_t
ngx_http_broadcast_api_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent)
{
    if (sent->status != NGX_BROADCAST_SENT
        && sent->status != NGX_BROADCAST_SENT_UNNUMBERED)
    {
        return ngx_http_broadcast_not_sent(r, sent);
    }

    return ngx_http_broadcast_api_done(r);
}


static ngx_int_t
ngx_http_broadcast_api_close(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_CLOSE);
}


ngx_int_t
ngx_http_broadcast_api_command(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t type)
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
    rec->ttl = api->ttl;

    ngx_http_broadcast_api_scope(api, rec);

    if (type == NGX_BROADCAST_REC_CLOSE) {
        rec->arguments = api->reason;
        ngx_str_null(&rec->group);
    }

    return ngx_http_broadcast_send_to(r, &api->hub, &records,
                                      NGX_BROADCAST_NUMBERED,
                                      ngx_http_broadcast_api_commanded);
}


/* it is in the log of this node by now, if its number is not late */

ngx_int_t
ngx_http_broadcast_api_commanded(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent)
{
    if (sent->status != NGX_BROADCAST_SENT) {
        return ngx_http_broadcast_api_sent(r, sent);
    }

    return ngx_http_broadcast_when_done(r, ngx_http_broadcast_api_done);
}


static ngx_int_t
ngx_http_broadcast_api_done(ngx_http_request_t *r)
{
    ngx_str_t                  none = ngx_null_string;
    ngx_http_broadcast_api_t  *api;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;

    return ngx_http_broadcast_answer(r, api->status, NULL, &none);
}
