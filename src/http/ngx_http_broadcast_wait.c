
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * A request that waits: for the publishers' door, for an SQL function, for
 * the first reading of the bindings.  The callbacks get the request; its
 * cleanup (ngx_http_broadcast_ctx) cancels what is under way before it dies.
 */


#include "http/ngx_http_broadcast.h"


#define NGX_HTTP_BROADCAST_LOOK    50     /* ms between two looks */
#define NGX_HTTP_BROADCAST_PAUSE   2      /* ms of a pause */
#define NGX_HTTP_BROADCAST_PAUSES  500    /* ms of all of a request's */


static ngx_int_t ngx_http_broadcast_send_now(ngx_http_request_t *r);
static void ngx_http_broadcast_send_done(ngx_broadcast_sent_t *sent,
    void *data);
static void ngx_http_broadcast_call_done(ngx_broadcast_call_result_t *result,
    void *data);
static void ngx_http_broadcast_presence_done(
    ngx_broadcast_presence_t *presence, void *data);
static void ngx_http_broadcast_ready_handler(ngx_event_t *ev);
static void ngx_http_broadcast_turn_handler(ngx_event_t *ev);


/*
 * A client that goes away ends its request; what was handed over by then may
 * still happen, as with any request whose answer is lost.
 */

void
ngx_http_broadcast_suspend(ngx_http_request_t *r)
{
    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
}


void
ngx_http_broadcast_continue(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


ngx_int_t
ngx_http_broadcast_send(ngx_http_request_t *r, ngx_broadcast_record_t *recs,
    ngx_uint_t n, ngx_uint_t want, ngx_http_broadcast_sent_pt sent)
{
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->recs = recs;
    ctx->nrecs = n;
    ctx->want = want;
    ctx->sent = sent;

    return ngx_http_broadcast_send_now(r);
}


/* or, where workers have much to read, later */

static ngx_int_t
ngx_http_broadcast_send_now(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_broadcast_sent_t       result;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ngx_http_broadcast_when_read(r, ngx_http_broadcast_send_now)
        == NGX_DONE)
    {
        return NGX_DONE;
    }

    ngx_memzero(&result, sizeof(ngx_broadcast_sent_t));

    rc = ngx_broadcast_outbox_send(ctx->recs, ctx->nrecs, ctx->want,
                                   ctx->key.len ? &ctx->key : NULL, &result,
                                   ngx_http_broadcast_send_done, &r,
                                   sizeof(ngx_http_request_t *), &ctx->call);

    switch (rc) {

    case NGX_AGAIN:
        ngx_http_broadcast_suspend(r);
        return NGX_DONE;

    case NGX_OK:
    case NGX_BUSY:
    case NGX_DECLINED:
        ctx->call = NULL;
        return ctx->sent(r, &result);

    default:
        ctx->call = NULL;
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


static void
ngx_http_broadcast_send_done(ngx_broadcast_sent_t *sent, void *data)
{
    ngx_http_request_t        *r;
    ngx_http_broadcast_ctx_t  *ctx;

    r = *(ngx_http_request_t **) data;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->call = NULL;

    ngx_http_broadcast_continue(r, ctx->sent(r, sent));
}


ngx_int_t
ngx_http_broadcast_call(ngx_http_request_t *r, ngx_uint_t kind,
    ngx_str_t *name, ngx_str_t *event, ngx_http_broadcast_called_pt called)
{
    ngx_int_t                  rc;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_broadcast_call(kind, name, event, ngx_http_broadcast_call_done,
                            &r, sizeof(ngx_http_request_t *), &ctx->call);

    switch (rc) {

    case NGX_OK:
        ctx->called = called;
        ngx_http_broadcast_suspend(r);
        return NGX_DONE;

    case NGX_BUSY:
        ctx->call = NULL;
        return ngx_http_broadcast_unavailable(r,
                                     "Too many calls of functions wait.");

    case NGX_DECLINED:
        ctx->call = NULL;
        return ngx_http_broadcast_unavailable(r, "The database is away.");

    default:
        ctx->call = NULL;
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


static void
ngx_http_broadcast_call_done(ngx_broadcast_call_result_t *result, void *data)
{
    ngx_http_request_t        *r;
    ngx_http_broadcast_ctx_t  *ctx;

    r = *(ngx_http_request_t **) data;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->call = NULL;

    ngx_http_broadcast_continue(r, ctx->called(r, result));
}


ngx_int_t
ngx_http_broadcast_presence(ngx_http_request_t *r,
    ngx_broadcast_presence_ask_t *ask, ngx_http_broadcast_present_pt present)
{
    ngx_int_t                  rc;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_broadcast_presence(ask, ngx_http_broadcast_presence_done, &r,
                                sizeof(ngx_http_request_t *), &ctx->call);

    if (rc == NGX_OK) {
        ctx->present = present;
        ngx_http_broadcast_suspend(r);
        return NGX_DONE;
    }

    ctx->call = NULL;

    return ngx_http_broadcast_unavailable(r, rc == NGX_BUSY
                              ? "Too many questions wait for the database."
                              : "The database is away.");
}


static void
ngx_http_broadcast_presence_done(ngx_broadcast_presence_t *presence,
    void *data)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_broadcast_ctx_t  *ctx;

    r = *(ngx_http_request_t **) data;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->call = NULL;

    rc = (presence->status == NGX_BROADCAST_CALL_OK)
         ? ctx->present(r, presence)
         : ngx_http_broadcast_unavailable(r, "The database did not answer.");

    ngx_http_broadcast_continue(r, rc);
}


ngx_int_t
ngx_http_broadcast_when_ready(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready)
{
    ngx_http_broadcast_ctx_t        *ctx;
    ngx_http_broadcast_main_conf_t  *bmcf;

    if (ngx_broadcast_pg_ready()) {
        return ready(r);
    }

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_broadcast_module);

    ctx->ready = ready;
    ctx->deadline = ngx_current_msec + bmcf->pg.timeout;

    ctx->wait.handler = ngx_http_broadcast_ready_handler;
    ctx->wait.data = r;
    ctx->wait.log = r->connection->log;

    ngx_add_timer(&ctx->wait, NGX_HTTP_BROADCAST_LOOK);

    ngx_http_broadcast_suspend(r);

    return NGX_DONE;
}


static void
ngx_http_broadcast_ready_handler(ngx_event_t *ev)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_broadcast_ctx_t  *ctx;

    r = ev->data;
    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ngx_broadcast_pg_ready()) {
        rc = ctx->ready(r);

    } else if ((ngx_msec_int_t) (ctx->deadline - ngx_current_msec) <= 0) {
        rc = ngx_http_broadcast_unavailable(r,
                               "The database has not been reached yet.");

    } else {
        ngx_add_timer(ev, NGX_HTTP_BROADCAST_LOOK);
        return;
    }

    ngx_http_broadcast_continue(r, rc);
}


ngx_int_t
ngx_http_broadcast_next_turn(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready)
{
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->ready = ready;

    ctx->wait.handler = ngx_http_broadcast_turn_handler;
    ctx->wait.data = r;
    ctx->wait.log = r->connection->log;

    ngx_post_event(&ctx->wait, &ngx_posted_next_events);

    ngx_http_broadcast_suspend(r);

    return NGX_DONE;
}


/*
 * Some large messages at once would push workers off the log's tail, and all of
 * their clients with them.  A request waits so long in all, whoever is slow.
 */

ngx_int_t
ngx_http_broadcast_when_read(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready)
{
    ngx_http_broadcast_ctx_t  *ctx;

    if (!ngx_broadcast_pace()) {
        return NGX_OK;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ctx->deadline == 0) {
        ctx->deadline = ngx_current_msec + NGX_HTTP_BROADCAST_PAUSES;
    }

    if ((ngx_msec_int_t) (ctx->deadline - ngx_current_msec) <= 0) {
        return NGX_OK;
    }

    ctx->ready = ready;

    ctx->wait.handler = ngx_http_broadcast_turn_handler;
    ctx->wait.data = r;
    ctx->wait.log = r->connection->log;

    ngx_add_timer(&ctx->wait, NGX_HTTP_BROADCAST_PAUSE);

    ngx_http_broadcast_suspend(r);

    return NGX_DONE;
}


static void
ngx_http_broadcast_turn_handler(ngx_event_t *ev)
{
    ngx_http_request_t        *r;
    ngx_http_broadcast_ctx_t  *ctx;

    r = ev->data;
    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    ngx_http_broadcast_continue(r, ctx->ready(r));
}
