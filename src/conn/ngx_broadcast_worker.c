
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_heir.h"
#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_invoke.h"
#include "conn/ngx_broadcast_keep.h"
#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_post.h"
#include "conn/ngx_broadcast_rows.h"
#include "pg/ngx_broadcast_outbox.h"
#include "proto/ngx_broadcast_deflate.h"

#include <sys/eventfd.h>


#define NGX_BROADCAST_DRAIN_STEP  250       /* ms: the wheel's tick */
#define NGX_BROADCAST_DRAIN_LAST  1000      /* ms: the last ones have for their
                                               answers, or a quarter of all */


static void ngx_broadcast_sentinel_open(ngx_cycle_t *cycle);
static void ngx_broadcast_sentinel_close(void);
static void ngx_broadcast_sentinel_handler(ngx_event_t *ev);
static void ngx_broadcast_drain_begin(ngx_msec_t drain);


/*
 * The sentinel is an idle connection without a peer.  nginx has no hook for
 * the beginning of a graceful exit, but closes idle connections then; and all
 * that are left when worker_shutdown_timeout is over.
 */

static ngx_connection_t  *ngx_broadcast_sentinel;
static ngx_uint_t         ngx_broadcast_started;

static ngx_msec_t         ngx_broadcast_drain_time = 30000;
static ngx_uint_t         ngx_broadcast_draining;
static ngx_msec_t         ngx_broadcast_drain_pace;    /* all are told */
static ngx_msec_t         ngx_broadcast_drain_end;     /* none is waited for */


ngx_int_t
ngx_broadcast_conn_start(ngx_cycle_t *cycle)
{
    ngx_broadcast_wheel_init(cycle->log);
    ngx_broadcast_held_init(cycle->log);
    ngx_broadcast_move_start(cycle);
    ngx_broadcast_keep_start(cycle);
    ngx_broadcast_rows_start(cycle->log);
    ngx_broadcast_call_start(cycle->log);
    ngx_broadcast_enrol_start();

    if (ngx_broadcast_index_start() != NGX_OK
        || ngx_broadcast_fanout_start(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_broadcast_sentinel_open(cycle);

    ngx_broadcast_started = 1;

    return NGX_OK;
}


void
ngx_broadcast_conn_stop(ngx_cycle_t *cycle)
{
    ngx_broadcast_conn_t  *bc;

    if (!ngx_broadcast_started) {
        return;
    }

    ngx_broadcast_started = 0;

    ngx_broadcast_sentinel_close();
    ngx_broadcast_move_stop();

    for ( ;; ) {
        bc = ngx_broadcast_conn_next(NULL);

        if (bc == NULL) {
            break;
        }

        /* no answer will come that could give the row back */

        ngx_broadcast_function_free(bc);

        if (bc->transport) {
            bc->transport->destroy(bc);
        }

        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_DRAIN);
    }

    /* those that were told to go and have not gone: no index has them */

    for ( ;; ) {
        bc = ngx_broadcast_wheel_first();

        if (bc == NULL) {
            break;
        }

        if (bc->transport) {
            bc->transport->destroy(bc);
        }

        ngx_broadcast_conn_closed(bc, bc->end);
        ngx_broadcast_wheel_remove(bc);
    }

    ngx_broadcast_rows_stopped();
    ngx_broadcast_call_stop();
    ngx_broadcast_keep_stop();
    ngx_broadcast_wheel_stop();
    ngx_broadcast_fanout_stop();
    ngx_broadcast_inbound_stop();
    ngx_broadcast_held_stop();
    ngx_broadcast_invoke_stop();
    ngx_broadcast_post_stop();
    ngx_broadcast_conn_bury_all();
    ngx_broadcast_index_stop();
    ngx_broadcast_frame_stop();
    ngx_broadcast_deflate_stop();
}


static void
ngx_broadcast_sentinel_open(ngx_cycle_t *cycle)
{
    int                fd;
    ngx_connection_t  *c;

    fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "eventfd() failed, clients will not be drained");
        return;
    }

    c = ngx_get_connection(fd, cycle->log);

    if (c == NULL) {
        (void) close(fd);
        return;
    }

    c->read->handler = ngx_broadcast_sentinel_handler;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->idle = 1;

    ngx_broadcast_sentinel = c;
}


static void
ngx_broadcast_sentinel_close(void)
{
    if (ngx_broadcast_sentinel) {
        ngx_close_connection(ngx_broadcast_sentinel);
        ngx_broadcast_sentinel = NULL;
    }
}


static void
ngx_broadcast_sentinel_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (!c->close) {
        return;
    }

    if (c->idle) {
        c->idle = 0;
        c->close = 0;

        ngx_broadcast_drain_begin(ngx_broadcast_drain_time);
        return;
    }

    /* who has no socket now, between two polls, is not met by this */

    ngx_broadcast_sentinel_close();

    ngx_broadcast_draining = 1;
    ngx_broadcast_drain_pace = ngx_current_msec;
    ngx_broadcast_drain_end = ngx_current_msec;
}


void
ngx_broadcast_conn_set_drain(ngx_msec_t drain)
{
    ngx_broadcast_drain_time = drain;
}


static void
ngx_broadcast_drain_begin(ngx_msec_t drain)
{
    ngx_broadcast_slot_exiting(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot);
    ngx_broadcast_heir_beat();
    ngx_broadcast_wheel_hold();

    if (drain) {
        ngx_broadcast_draining = 1;
        ngx_broadcast_drain_end = ngx_current_msec + drain;
        ngx_broadcast_drain_pace = ngx_broadcast_drain_end
                                   - ngx_min(NGX_BROADCAST_DRAIN_LAST,
                                             drain / 4);
    }
}


ngx_msec_t
ngx_broadcast_worker_patience(ngx_msec_t patience)
{
    ngx_msec_int_t  left;

    if (!ngx_broadcast_draining) {
        return patience;
    }

    left = (ngx_msec_int_t) (ngx_broadcast_drain_end - ngx_current_msec);

    return ngx_min(patience, (ngx_msec_t) ngx_max(left, 0));
}


/*
 * Called with each tick.  Clients of durable hubs get what is published to
 * others by the database, those of ephemeral ones do not.
 */

void
ngx_broadcast_worker_bequeath(void)
{
    ngx_broadcast_conn_t  *bc, *next;

    if (!ngx_broadcast_heir_took()) {
        return;
    }

    for (bc = ngx_broadcast_conn_next(NULL); bc; bc = next) {
        next = ngx_broadcast_conn_next(bc);

        if (bc->verdict == 0
            && bc->state < NGX_BROADCAST_CLOSING
            && !ngx_broadcast_hub_durable(&bc->hub->name))
        {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_DRAIN, NULL);
        }
    }
}


/*
 * Called with each tick: ends as many of the clients that are left as an even
 * pace wants.  A request on a connection that nginx kept may still open one.
 */

void
ngx_broadcast_worker_drain(void)
{
    ngx_uint_t             n, count;
    ngx_msec_int_t         left;
    ngx_broadcast_conn_t  *bc, *next;

    if (!ngx_broadcast_draining) {
        return;
    }

    count = ngx_broadcast_index_count();
    left = (ngx_msec_int_t) (ngx_broadcast_drain_pace - ngx_current_msec);

    if (left > NGX_BROADCAST_DRAIN_STEP) {
        n = (count * NGX_BROADCAST_DRAIN_STEP + left - 1) / left;

    } else {
        n = count;
    }

    for (bc = ngx_broadcast_conn_next(NULL); bc && n; bc = next) {
        next = ngx_broadcast_conn_next(bc);

        if (bc->verdict == 0 && bc->state < NGX_BROADCAST_CLOSING) {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_DRAIN, NULL);
            n--;
        }
    }
}
