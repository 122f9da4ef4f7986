
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Messages of a client that cannot send otherwise, signalr.md 2.5.  The answer
 * is 200 when the worker that has the connection has taken them.  What comes
 * behind the end is 404: the official client takes a 200 to its first ping for
 * the sign that it is connected, and overlooks an end that it was told of
 * meanwhile.
 */


#include "http/ngx_http_broadcast_hub.h"
#include "conn/ngx_broadcast_post.h"


/* a request and what it waits for; in r->pool */

typedef struct {
    ngx_http_request_t       *r;
    ngx_broadcast_post_t      post;
} ngx_http_broadcast_post_t;


static void ngx_http_broadcast_hub_input(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_hub_send(ngx_http_request_t *r);
static void ngx_http_broadcast_hub_cleanup(void *data);
static void ngx_http_broadcast_hub_taken(ngx_int_t rc, void *data);
static ngx_int_t ngx_http_broadcast_hub_posted(ngx_http_request_t *r,
    ngx_int_t rc);


ngx_int_t
ngx_http_broadcast_hub_post(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_uint_t                   answered;
    ngx_http_cleanup_t          *cln;
    ngx_http_broadcast_ctx_t    *ctx;
    ngx_http_broadcast_post_t   *wait;
    ngx_http_broadcast_hub_id_t  id;

    rc = ngx_http_broadcast_hub_id(r, &id, &answered);

    if (answered) {
        return rc;
    }

    if (id.row.state != NGX_BROADCAST_ROW_LIVE) {
        return ngx_http_broadcast_hub_no_connection(r);
    }

    if (id.row.transport == NGX_BROADCAST_WEBSOCKET) {
        return ngx_http_broadcast_text(r, NGX_HTTP_NOT_ALLOWED,
                  "POST requests are not allowed for WebSocket connections.");
    }

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_broadcast_post_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_broadcast_hub_cleanup;

    wait = cln->data;
    ngx_memzero(wait, sizeof(ngx_http_broadcast_post_t));

    wait->r = r;
    wait->post.hub = id.row.hub;
    wait->post.connection = id.id;
    wait->post.handler = ngx_http_broadcast_hub_taken;
    wait->post.data = wait;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->data = wait;

    return ngx_http_broadcast_read_body(r, ngx_http_broadcast_hub_input);
}


static void
ngx_http_broadcast_hub_cleanup(void *data)
{
    ngx_http_broadcast_post_t *wait = data;

    ngx_broadcast_post_cancel(&wait->post);
}


static void
ngx_http_broadcast_hub_input(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_hub_send(r));
}


/*
 * The bytes take the log to the connection's owner, also if that is this
 * worker: one order, whatever socket they came by.
 */

static ngx_int_t
ngx_http_broadcast_hub_send(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_broadcast_ctx_t   *ctx;
    ngx_http_broadcast_post_t  *wait;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    wait = ctx->data;

    if (ngx_http_broadcast_when_read(r, ngx_http_broadcast_hub_send)
        == NGX_DONE)
    {
        return NGX_DONE;
    }

    rc = ngx_broadcast_post(&wait->post, &ctx->body);

    if (rc != NGX_AGAIN) {
        return ngx_http_broadcast_hub_posted(r, rc);
    }

    ngx_http_broadcast_suspend(r);

    return NGX_DONE;
}


static void
ngx_http_broadcast_hub_taken(ngx_int_t rc, void *data)
{
    ngx_http_broadcast_post_t *wait = data;

    ngx_http_broadcast_continue(wait->r,
                                ngx_http_broadcast_hub_posted(wait->r, rc));
}


static ngx_int_t
ngx_http_broadcast_hub_posted(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_str_t  none = ngx_null_string;

    switch (rc) {

    case NGX_OK:
        return ngx_http_broadcast_answer(r, NGX_HTTP_OK, "text/plain", &none);

    case NGX_DECLINED:
        return ngx_http_broadcast_hub_no_connection(r);

    case NGX_BUSY:
        return ngx_http_broadcast_text(r, NGX_HTTP_INSUFFICIENT_STORAGE,
                                       "It does not fit into the zone.");

    case NGX_ABORT:
        return ngx_http_broadcast_text(r, NGX_HTTP_GATEWAY_TIME_OUT,
                                       "Nobody has taken it in time.");

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}
