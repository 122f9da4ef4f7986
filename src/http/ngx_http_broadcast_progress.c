
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Who was answered that a connection is in a group asks next who is there, and
 * may ask another worker: the answer waits until all of them have come to the
 * record.  A worker that is stopped holds nobody up for long.
 */


#include "http/ngx_http_broadcast.h"


#define NGX_HTTP_BROADCAST_PROGRESS_LOOK  1       /* ms between two looks */
#define NGX_HTTP_BROADCAST_PROGRESS_WAIT  2000    /* ms in all */


static ngx_int_t ngx_http_broadcast_progress(ngx_http_request_t *r,
    uint64_t offset, ngx_http_broadcast_ready_pt ready);
static void ngx_http_broadcast_progress_wake(uint64_t offset);
static ngx_uint_t ngx_http_broadcast_progressed(
    ngx_http_broadcast_ctx_t *ctx);
static void ngx_http_broadcast_progress_handler(ngx_event_t *ev);


ngx_int_t
ngx_http_broadcast_when_done(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready)
{
    return ngx_http_broadcast_progress(r,
                                ngx_broadcast_log_head(ngx_broadcast_bus.zone),
                                ready);
}


ngx_int_t
ngx_http_broadcast_when_told(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready)
{
    return ngx_http_broadcast_progress(r, 0, ready);
}


/* the first look is at the end of this turn: this worker reads in it, too */

static ngx_int_t
ngx_http_broadcast_progress(ngx_http_request_t *r, uint64_t offset,
    ngx_http_broadcast_ready_pt ready)
{
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->offset = offset;

    if (offset == 0) {
        ngx_broadcast_progress_untold(ngx_broadcast_bus.zone, &ctx->untold);
    }

    if (ngx_http_broadcast_progressed(ctx)) {
        return ready(r);
    }

    if (offset) {
        ngx_http_broadcast_progress_wake(offset);
    }

    ctx->ready = ready;
    ctx->deadline = ngx_current_msec + NGX_HTTP_BROADCAST_PROGRESS_WAIT;

    ctx->wait.handler = ngx_http_broadcast_progress_handler;
    ctx->wait.data = r;
    ctx->wait.log = r->connection->log;

    ngx_post_event(&ctx->wait, &ngx_posted_next_events);

    ngx_http_broadcast_suspend(r);

    return NGX_DONE;
}


/*
 * Behind the record may stand messages for which nobody was woken: of hubs of
 * which they have no client.
 */

static void
ngx_http_broadcast_progress_wake(uint64_t offset)
{
    ngx_uint_t             slot;
    ngx_broadcast_zone_t  *zone = ngx_broadcast_bus.zone;

    for (slot = ngx_broadcast_progress_late(zone, NGX_BROADCAST_NO_SLOT,
                                            offset);
         slot != NGX_BROADCAST_NO_SLOT;
         slot = ngx_broadcast_progress_late(zone, slot, offset))
    {
        ngx_broadcast_wake(slot);
    }
}


static ngx_uint_t
ngx_http_broadcast_progressed(ngx_http_broadcast_ctx_t *ctx)
{
    ngx_broadcast_zone_t  *zone = ngx_broadcast_bus.zone;

    if (ctx->offset == 0) {
        return ngx_broadcast_progress_known(zone, &ctx->untold);
    }

    return ngx_broadcast_progress_late(zone, NGX_BROADCAST_NO_SLOT,
                                       ctx->offset)
           == NGX_BROADCAST_NO_SLOT;
}


static void
ngx_http_broadcast_progress_handler(ngx_event_t *ev)
{
    ngx_http_request_t        *r;
    ngx_http_broadcast_ctx_t  *ctx;

    r = ev->data;
    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (!ngx_http_broadcast_progressed(ctx)
        && (ngx_msec_int_t) (ctx->deadline - ngx_current_msec) > 0)
    {
        ngx_add_timer(ev, NGX_HTTP_BROADCAST_PROGRESS_LOOK);
        return;
    }

    ngx_http_broadcast_continue(r, ctx->ready(r));
}
