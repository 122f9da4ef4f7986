
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Items and ends of streams that clients asked for, signalr.md 8.4.  As with
 * other sends nobody asks whether connection and stream exist.  In a durable
 * hub they take the publishers' door as the hub's messages do: so they come in
 * the order in which they were taken, whichever node is asked and has the
 * client.
 */


#include "http/ngx_http_broadcast_api.h"
#include "proto/ngx_broadcast_scan.h"


static void ngx_http_broadcast_stream_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_stream_item(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_stream_completed(ngx_http_request_t *r,
    ngx_uint_t *completed);
static ngx_int_t ngx_http_broadcast_stream_value(ngx_http_request_t *r,
    ngx_str_t *item, const char **error);
static ngx_int_t ngx_http_broadcast_stream_publish(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_broadcast_record_t *recs,
    ngx_uint_t n);


ngx_int_t
ngx_http_broadcast_api_stream_send(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    return ngx_http_broadcast_api_json(r, ngx_http_broadcast_stream_body);
}


static void
ngx_http_broadcast_stream_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_stream_item(r));
}


static ngx_int_t
ngx_http_broadcast_stream_item(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_str_t                  item;
    ngx_uint_t                 n, completed;
    const char                *error;
    ngx_broadcast_record_t     recs[2];
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    error = "Invalid value of 'completed'.";
    rc = ngx_http_broadcast_stream_completed(r, &completed);

    if (rc != NGX_OK) {
        return ngx_http_broadcast_api_refuse(r, rc, error);
    }

    ngx_memzero(recs, sizeof(recs));
    n = 0;

    if (ctx->body.len || !completed) {

        rc = ngx_http_broadcast_stream_value(r, &item, &error);

        if (rc != NGX_OK) {
            return ngx_http_broadcast_api_refuse(r, rc, error);
        }

        recs[n].type = NGX_BROADCAST_REC_ITEM;
        recs[n].arguments = item;
        n++;
    }

    if (completed) {
        recs[n++].type = NGX_BROADCAST_REC_COMPLETE;
    }

    return ngx_http_broadcast_stream_publish(r, ctx->data, recs, n);
}


/* NGX_OK, NGX_ABORT: it is no boolean, NGX_ERROR */

static ngx_int_t
ngx_http_broadcast_stream_completed(ngx_http_request_t *r,
    ngx_uint_t *completed)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    *completed = 0;

    rc = ngx_http_broadcast_arg(r, "completed", &value);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_broadcast_api_is(&value, "true")) {
        *completed = 1;
        return NGX_OK;
    }

    return ngx_http_broadcast_api_is(&value, "false") ? NGX_OK : NGX_ABORT;
}


/* the body is one JSON value; NGX_OK, NGX_ABORT with error, NGX_ERROR */

static ngx_int_t
ngx_http_broadcast_stream_value(ngx_http_request_t *r, ngx_str_t *item,
    const char **error)
{
    ngx_http_broadcast_ctx_t    *ctx;
    ngx_broadcast_scan_value_t   value;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ctx->body.len == 0) {
        *error = "Message in request body is required.";
        return NGX_ABORT;
    }

    if (ngx_broadcast_scan_document(&ctx->body, &value, error) != NGX_OK) {
        return NGX_ABORT;
    }

    *item = value.text;

    return ngx_broadcast_scan_one_line(item, r->pool);
}


/* `error` is what the .NET SDK sends, `reason` what the specification says */

ngx_int_t
ngx_http_broadcast_api_stream_complete(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    ngx_int_t               rc;
    ngx_str_t               error;
    ngx_broadcast_record_t  rec;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_broadcast_arg(r, "error", &error);

    if (rc == NGX_DECLINED) {
        error = api->reason;
        rc = NGX_OK;
    }

    if (rc == NGX_OK
        && (!ngx_broadcast_utf8_valid(&error)
            || ngx_strlchr(error.data, error.data + error.len, '\0')))
    {
        rc = NGX_ABORT;
    }

    if (rc != NGX_OK) {
        return ngx_http_broadcast_api_refuse(r, rc,
                                             "Invalid value of 'error'.");
    }

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_COMPLETE;
    rec.arguments = error;

    return ngx_http_broadcast_stream_publish(r, api, &rec, 1);
}


/* all or none; what is surely for nobody does not take room in the log */

static ngx_int_t
ngx_http_broadcast_stream_publish(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_broadcast_record_t *recs, ngx_uint_t n)
{
    ngx_uint_t                i, index;
    ngx_broadcast_sent_t      sent;
    ngx_broadcast_row_info_t  row;

    ngx_memzero(&sent, sizeof(ngx_broadcast_sent_t));
    sent.status = NGX_BROADCAST_SENT;

    if (ngx_http_broadcast_api_row(api, &row) == NGX_OK) {
        index = row.hub;

    } else if (!ngx_http_broadcast_api_cluster(api)
               || ngx_http_broadcast_connection_id(&api->connection) != NGX_OK)
    {
        return ngx_http_broadcast_api_sent(r, &sent);

    } else if (ngx_broadcast_hub_index(&api->hub, &index) != NGX_OK) {
        sent.status = NGX_BROADCAST_NOT_FIT;
        return ngx_http_broadcast_api_sent(r, &sent);
    }

    for (i = 0; i < n; i++) {
        recs[i].scope = NGX_BROADCAST_CONNECTION;
        recs[i].flags = NGX_BROADCAST_REC_UNNUMBERED;
        recs[i].source = NGX_BROADCAST_SRC_REST;
        recs[i].hub = index;
        recs[i].name = api->connection;
        recs[i].group = api->stream;
    }

    return ngx_http_broadcast_send(r, recs, n, NGX_BROADCAST_KEPT,
                                   ngx_http_broadcast_api_sent);
}
