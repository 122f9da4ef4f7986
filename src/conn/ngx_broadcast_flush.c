
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_peer.h"


/*
 * The second half of the fan-out: connections that have something queued are
 * written from a list, in slices, so that everything queued in one turn leaves
 * in one call of the socket.
 */

#define NGX_BROADCAST_FLUSH_SLICE  256      /* sockets written in a turn */
#define NGX_BROADCAST_FLUSH_CLOCK  16       /* and by one look at the clock:
                                               less than the first bound of a
                                               histogram */


static void ngx_broadcast_fanout_handler(ngx_event_t *ev);
static void ngx_broadcast_fanout_account(void);
static void ngx_broadcast_fanout_observed(void);
static uint64_t ngx_broadcast_fanout_now(void);


/* messages of one histogram and bucket, microseconds */

typedef struct {
    ngx_uint_t                 n;
    uint64_t                   sum;
    ngx_uint_t                 sql;
    ngx_uint_t                 bucket;
    uint64_t                   from;
    uint64_t                   upto;
} ngx_broadcast_flush_took_t;


static ngx_queue_t             ngx_broadcast_flush_list;
static ngx_event_t             ngx_broadcast_flush_event;
static ngx_connection_t        ngx_broadcast_flush_dumb;
static ngx_uint_t              ngx_broadcast_flushing;
static ngx_broadcast_local_t  *ngx_broadcast_delivered; /* hubs to account */
static uint64_t                ngx_broadcast_flush_now; /* 0: to be read */

static ngx_broadcast_flush_took_t  ngx_broadcast_flush_took;


ngx_int_t
ngx_broadcast_fanout_start(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_broadcast_flush_list);

    ngx_memzero(&ngx_broadcast_flush_event, sizeof(ngx_event_t));

    ngx_broadcast_flush_dumb.fd = (ngx_socket_t) -1;

    ngx_broadcast_flush_event.handler = ngx_broadcast_fanout_handler;
    ngx_broadcast_flush_event.data = &ngx_broadcast_flush_dumb;
    ngx_broadcast_flush_event.log = cycle->log;

    return NGX_OK;
}


void
ngx_broadcast_fanout_stop(void)
{
    if (ngx_broadcast_flush_event.posted) {
        ngx_delete_posted_event(&ngx_broadcast_flush_event);
    }

    ngx_broadcast_fanout_account();
}


void
ngx_broadcast_fanout_flush(ngx_broadcast_conn_t *bc)
{
    if (bc->listed) {
        return;
    }

    bc->listed = 1;
    ngx_queue_insert_tail(&ngx_broadcast_flush_list, &bc->flush);

    if (!ngx_broadcast_flushing && !ngx_broadcast_flush_event.posted) {
        ngx_post_event(&ngx_broadcast_flush_event, &ngx_posted_events);
    }
}


static void
ngx_broadcast_fanout_handler(ngx_event_t *ev)
{
    ngx_uint_t             n;
    ngx_queue_t           *q, *next;
    ngx_broadcast_conn_t  *bc;

    ngx_broadcast_flushing = 1;
    ngx_broadcast_fanout_turn = 0;

    for (n = 0; n < NGX_BROADCAST_FLUSH_SLICE; n++) {

        if (ngx_queue_empty(&ngx_broadcast_flush_list)) {
            break;
        }

        q = ngx_queue_head(&ngx_broadcast_flush_list);
        bc = ngx_queue_data(q, ngx_broadcast_conn_t, flush);

        /* the one behind the next is far, and there is a send() of time */

        next = ngx_queue_next(ngx_queue_next(q));
        ngx_broadcast_conn_near(ngx_queue_data(next, ngx_broadcast_conn_t,
                                               flush));

        if (n % NGX_BROADCAST_FLUSH_CLOCK == 0) {
            ngx_broadcast_fanout_stale();
        }

        ngx_queue_remove(q);
        bc->listed = 0;

        ngx_broadcast_conn_flush(bc);
    }

    ngx_broadcast_flushing = 0;

    ngx_broadcast_fanout_account();

    if (!ngx_queue_empty(&ngx_broadcast_flush_list) && !ev->posted) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


static uint64_t
ngx_broadcast_fanout_now(void)
{
    struct timeval  tv;

    if (ngx_broadcast_flush_now == 0 || !ngx_broadcast_flushing) {
        ngx_gettimeofday(&tv);
        ngx_broadcast_flush_now = (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;
    }

    return ngx_broadcast_flush_now;
}


void
ngx_broadcast_fanout_stale(void)
{
    ngx_broadcast_flush_now = 0;
}


/* what is observed was delivered, too, and is accounted with that */

void
ngx_broadcast_fanout_observe(ngx_broadcast_frame_t *frame)
{
    uint64_t                     now, usec;
    ngx_uint_t                   i;
    ngx_broadcast_flush_took_t  *took;

    took = &ngx_broadcast_flush_took;
    now = ngx_broadcast_fanout_now();

    /* clocks of other machines may be ahead */

    usec = now > frame->time ? now - frame->time : 0;

    if (took->n == 0
        || frame->sql != took->sql
        || usec < took->from
        || usec > took->upto)
    {
        ngx_broadcast_fanout_observed();

        took->from = 0;
        took->upto = (uint64_t) -1;

        for (i = 0; i < NGX_BROADCAST_BUCKETS; i++) {

            if (usec <= ngx_broadcast_stats_bounds[i]) {
                took->upto = ngx_broadcast_stats_bounds[i];
                break;
            }

            took->from = ngx_broadcast_stats_bounds[i] + 1;
        }

        took->bucket = i;
        took->sql = frame->sql;
    }

    took->n++;
    took->sum += usec;
}


static void
ngx_broadcast_fanout_observed(void)
{
    ngx_broadcast_flush_took_t  *took;

    took = &ngx_broadcast_flush_took;

    if (took->n == 0) {
        return;
    }

    ngx_broadcast_stats_observe_all(ngx_broadcast_bus.zone,
                                    ngx_broadcast_bus.slot,
                                    took->sql ? NGX_BROADCAST_COMMIT_TO_SOCKET
                                              : NGX_BROADCAST_PUBLISH_TO_SOCKET,
                                    took->bucket, took->sum, took->n);
    took->n = 0;
    took->sum = 0;
}


/*
 * Deliveries are added up for the turn: one atomic addition in shared memory a
 * hub, not one a client.
 */

void
ngx_broadcast_fanout_delivered(ngx_broadcast_local_t *hub, ngx_uint_t type,
    size_t bytes, ngx_uint_t n)
{
    hub->delivered[type] += n;
    hub->bytes[type] += bytes;

    if (hub->dirty) {
        return;
    }

    hub->dirty = 1;
    hub->next = ngx_broadcast_delivered;
    ngx_broadcast_delivered = hub;

    if (!ngx_broadcast_flushing && !ngx_broadcast_flush_event.posted) {
        ngx_post_event(&ngx_broadcast_flush_event, &ngx_posted_events);
    }
}


static void
ngx_broadcast_fanout_account(void)
{
    ngx_uint_t              t;
    ngx_broadcast_local_t  *hub;

    ngx_broadcast_fanout_observed();

    while (ngx_broadcast_delivered) {
        hub = ngx_broadcast_delivered;

        ngx_broadcast_delivered = hub->next;
        hub->dirty = 0;

        for (t = 0; t < NGX_BROADCAST_TRANSPORTS; t++) {

            if (hub->delivered[t]) {
                ngx_broadcast_hub_delivered(ngx_broadcast_bus.zone, hub->index,
                                            t, hub->delivered[t]);
                hub->delivered[t] = 0;
            }

            if (hub->bytes[t]) {
                ngx_broadcast_count(NGX_BROADCAST_SENT_BYTES_WEBSOCKET + t,
                                    hub->bytes[t]);
                hub->bytes[t] = 0;
            }
        }
    }
}
