
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_rows.h"
#include "conn/ngx_broadcast_stateful.h"


/*
 * One timer for all connections of the worker.  A connection stands in the
 * slot of its next deadline; what has happened since then is looked at when
 * the slot's turn comes, so traffic moves nobody.  Deadlines beyond the wheel
 * wait at its far end and are put in again.
 */

#define NGX_BROADCAST_WHEEL_TICK   250      /* ms */
#define NGX_BROADCAST_WHEEL_SLOTS  256

#define NGX_BROADCAST_CLOSE_TIME   5000     /* ms, signalr.md 3.3 */


static void ngx_broadcast_wheel_handler(ngx_event_t *ev);
static ngx_msec_t ngx_broadcast_wheel_handshake(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_wheel_look(ngx_broadcast_conn_t *bc);
static ngx_uint_t ngx_broadcast_wheel_active(ngx_broadcast_conn_t *bc);
static ngx_msec_int_t ngx_broadcast_wheel_closing(ngx_broadcast_conn_t *bc);
static ngx_msec_int_t ngx_broadcast_wheel_left(ngx_broadcast_conn_t *bc);
static ngx_uint_t ngx_broadcast_wheel_poll(ngx_broadcast_conn_t *bc);
static ngx_uint_t ngx_broadcast_wheel_silent(ngx_broadcast_conn_t *bc);
static ngx_uint_t ngx_broadcast_wheel_mute(ngx_broadcast_conn_t *bc);
static ngx_msec_t ngx_broadcast_wheel_alive(ngx_broadcast_conn_t *bc);


/* there is something to replay, or to wait for */

#define ngx_broadcast_wheel_resumes(bc)                                       \
    ((bc)->resume && (bc)->resume->begun && !(bc)->resume->through            \
     && !(bc)->resume->asked)


static ngx_queue_t       ngx_broadcast_wheel[NGX_BROADCAST_WHEEL_SLOTS];
static ngx_uint_t        ngx_broadcast_wheel_count;
static ngx_msec_t        ngx_broadcast_wheel_tick;  /* last one worked off */
static ngx_event_t       ngx_broadcast_wheel_event;
static ngx_connection_t  ngx_broadcast_wheel_dumb;


void
ngx_broadcast_wheel_init(ngx_log_t *log)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_WHEEL_SLOTS; i++) {
        ngx_queue_init(&ngx_broadcast_wheel[i]);
    }

    ngx_broadcast_wheel_count = 0;

    ngx_memzero(&ngx_broadcast_wheel_event, sizeof(ngx_event_t));

    ngx_broadcast_wheel_dumb.fd = (ngx_socket_t) -1;

    ngx_broadcast_wheel_event.handler = ngx_broadcast_wheel_handler;
    ngx_broadcast_wheel_event.data = &ngx_broadcast_wheel_dumb;
    ngx_broadcast_wheel_event.log = log;
    ngx_broadcast_wheel_event.cancelable = 1;
}


void
ngx_broadcast_wheel_stop(void)
{
    if (ngx_broadcast_wheel_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_wheel_event);
    }
}


ngx_broadcast_conn_t *
ngx_broadcast_wheel_first(void)
{
    ngx_uint_t    i;
    ngx_queue_t  *q;

    for (i = 0; i < NGX_BROADCAST_WHEEL_SLOTS; i++) {

        if (!ngx_queue_empty(&ngx_broadcast_wheel[i])) {
            q = ngx_queue_head(&ngx_broadcast_wheel[i]);
            return ngx_queue_data(q, ngx_broadcast_conn_t, wheel);
        }
    }

    return NULL;
}


void
ngx_broadcast_wheel_hold(void)
{
    ngx_broadcast_wheel_event.cancelable = 0;
}


void
ngx_broadcast_wheel_set(ngx_broadcast_conn_t *bc)
{
    ngx_msec_t      tick;
    ngx_msec_int_t  left;

    ngx_broadcast_wheel_remove(bc);

    if (ngx_broadcast_wheel_count++ == 0) {
        ngx_broadcast_wheel_tick = ngx_current_msec / NGX_BROADCAST_WHEEL_TICK;

        if (!ngx_broadcast_wheel_event.timer_set) {
            ngx_add_timer(&ngx_broadcast_wheel_event,
                          NGX_BROADCAST_WHEEL_TICK);
        }
    }

    left = ngx_broadcast_wheel_left(bc);
    left = ngx_max(left, 0);

    tick = (left + NGX_BROADCAST_WHEEL_TICK - 1) / NGX_BROADCAST_WHEEL_TICK;
    tick = ngx_max(tick, 1);
    tick = ngx_min(tick, NGX_BROADCAST_WHEEL_SLOTS - 2);

    tick += ngx_current_msec / NGX_BROADCAST_WHEEL_TICK;

    ngx_queue_insert_tail(&ngx_broadcast_wheel[tick
                                               % NGX_BROADCAST_WHEEL_SLOTS],
                          &bc->wheel);
}


void
ngx_broadcast_wheel_remove(ngx_broadcast_conn_t *bc)
{
    if (bc->wheel.next == NULL) {
        return;
    }

    ngx_queue_remove(&bc->wheel);
    bc->wheel.next = NULL;

    ngx_broadcast_wheel_count--;
}


static void
ngx_broadcast_wheel_handler(ngx_event_t *ev)
{
    ngx_msec_t             now;
    ngx_queue_t            due, *slot, *q;
    ngx_broadcast_conn_t  *bc;

    now = ngx_current_msec / NGX_BROADCAST_WHEEL_TICK;

    /* a stopped process: one turn meets everybody */

    if (now - ngx_broadcast_wheel_tick > NGX_BROADCAST_WHEEL_SLOTS) {
        ngx_broadcast_wheel_tick = now - NGX_BROADCAST_WHEEL_SLOTS;
    }

    while (ngx_broadcast_wheel_tick != now) {
        ngx_broadcast_wheel_tick++;

        slot = &ngx_broadcast_wheel[ngx_broadcast_wheel_tick
                                    % NGX_BROADCAST_WHEEL_SLOTS];

        ngx_queue_init(&due);
        ngx_queue_add(&due, slot);
        ngx_queue_init(slot);

        /* who is looked at may end, and end others: only the head is sure */

        while (!ngx_queue_empty(&due)) {
            q = ngx_queue_head(&due);
            bc = ngx_queue_data(q, ngx_broadcast_conn_t, wheel);

            ngx_broadcast_wheel_set(bc);
            ngx_broadcast_wheel_look(bc);
        }
    }

    ngx_broadcast_worker_bequeath();
    ngx_broadcast_worker_drain();
    ngx_broadcast_move_look();
    ngx_broadcast_rows_look();
    ngx_broadcast_enrol_look();

    if (ngx_broadcast_wheel_count && !ev->timer_set) {
        ngx_add_timer(ev, NGX_BROADCAST_WHEEL_TICK);
    }
}


/* the token may have another one, signalr.md 7.3 */

static ngx_msec_t
ngx_broadcast_wheel_handshake(ngx_broadcast_conn_t *bc)
{
    return bc->handshake ? (ngx_msec_t) bc->handshake * 1000
                         : bc->limits->handshake_timeout;
}


static void
ngx_broadcast_wheel_look(ngx_broadcast_conn_t *bc)
{
    ngx_msec_t  age;

    age = ngx_current_msec - bc->since;

    if (bc->moving && ngx_broadcast_move_go(bc) == NGX_OK) {
        return;
    }

    switch (bc->state) {

    case NGX_BROADCAST_HANDSHAKE:
        if (age >= ngx_broadcast_wheel_handshake(bc)) {
            ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_TIMEOUT, 0, NULL);
        }

        return;

    case NGX_BROADCAST_ACTIVE:
        if (ngx_broadcast_wheel_active(bc)) {
            ngx_broadcast_wheel_set(bc);
        }

        return;

    case NGX_BROADCAST_CLOSING:
        if (ngx_broadcast_wheel_closing(bc) <= 0) {
            bc->transport->destroy(bc);
            ngx_broadcast_conn_closed(bc, bc->end);
        }

        return;
    }
}


/* 0: it was ended */

static ngx_uint_t
ngx_broadcast_wheel_active(ngx_broadcast_conn_t *bc)
{
    ngx_msec_t                now;
    ngx_broadcast_position_t  position;

    now = ngx_current_msec;

    if (bc->expires && ngx_time() >= bc->expires) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_EXPIRED, 0, NULL);
        return 0;
    }

    /* what it waits for may be there */

    if (ngx_broadcast_wheel_resumes(bc)) {
        ngx_broadcast_fanout_flush(bc);
    }

    if (bc->type == NGX_BROADCAST_LONGPOLL) {
        return ngx_broadcast_wheel_poll(bc);
    }

    if (bc->sequence) {

        if (!ngx_broadcast_stateful_look(bc)) {
            return 0;
        }

        if (bc->transport == NULL) {
            return 1;
        }
    }

    if (ngx_broadcast_wheel_silent(bc)
        && now - bc->received >= bc->limits->client_timeout)
    {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_TIMEOUT, 0, NULL);
        return 0;
    }

    if (bc->blocked) {

        /* measured by progress: new messages do not put it off */

        if (now - bc->progress >= bc->limits->client_timeout) {
            ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_SLOW, 0, NULL);
            return 0;
        }

        return 1;
    }

    if (now - ngx_broadcast_wheel_alive(bc) >= bc->limits->keepalive
        && (bc->outq.count == 0 || ngx_broadcast_wheel_mute(bc)))
    {
        bc->pinged = now;

        ngx_broadcast_resume_position(bc, &position);

        ngx_broadcast_conn_queue_new(bc,
                                     ngx_broadcast_frame_ping(bc->protocol,
                                                              bc->framing,
                                                              &position));
        if (bc->tells) {
            ngx_broadcast_resume_alive(bc);
        }
    }

    return 1;
}


/*
 * Long polling: neither pings nor silence count, signalr.md 2.4, and a slow
 * answer is the request's own affair.  While another worker has the row the
 * client polls there.
 */

static ngx_uint_t
ngx_broadcast_wheel_poll(ngx_broadcast_conn_t *bc)
{
    if (bc->idle
        && !bc->moving
        && ngx_current_msec - bc->polled >= NGX_BROADCAST_POLL_GAP)
    {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_TIMEOUT, 0, NULL);
        return 0;
    }

    /* there is no ping; a position that moved ends a poll */

    if (bc->tells
        && !bc->blocked
        && ngx_current_msec - bc->sent >= bc->limits->keepalive)
    {
        ngx_broadcast_resume_alive(bc);
    }

    return 1;
}


/* 1 if silence of the client means that it is gone */

static ngx_uint_t
ngx_broadcast_wheel_silent(ngx_broadcast_conn_t *bc)
{
    if (bc->type == NGX_BROADCAST_SSE && bc->protocol == NGX_BROADCAST_PLAIN) {
        return 0;
    }

    /* while a function runs we do not read */

    return bc->task == NULL;
}


/* 1: a WebSocket that says nothing by itself, it only answers pings */

static ngx_uint_t
ngx_broadcast_wheel_mute(ngx_broadcast_conn_t *bc)
{
    return bc->framing == NGX_BROADCAST_FRAME_WS
           && !ngx_broadcast_is_hub(bc->protocol);
}


/*
 * Since when a sign of life has been due.  Where messages flow they are one,
 * but what is mute must be asked all the same, or its silence would end it.
 */

static ngx_msec_t
ngx_broadcast_wheel_alive(ngx_broadcast_conn_t *bc)
{
    ngx_msec_t  heard;

    if (!ngx_broadcast_wheel_mute(bc)) {
        return bc->sent;
    }

    heard = (ngx_msec_int_t) (bc->received - bc->pinged) > 0 ? bc->received
                                                             : bc->pinged;

    return (ngx_msec_int_t) (bc->sent - heard) < 0 ? bc->sent : heard;
}


/* milliseconds that the other side still has for its part of the end */

static ngx_msec_int_t
ngx_broadcast_wheel_closing(ngx_broadcast_conn_t *bc)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (bc->since + NGX_BROADCAST_CLOSE_TIME
                             - ngx_current_msec);

    return left > 0 ? (ngx_msec_int_t) ngx_broadcast_worker_patience(left)
                    : 0;
}


/* milliseconds to the next deadline, as far as it is known now */

static ngx_msec_int_t
ngx_broadcast_wheel_left(ngx_broadcast_conn_t *bc)
{
    ngx_msec_t      now;
    ngx_msec_int_t  left, next;

    now = ngx_current_msec;

#define ngx_broadcast_wheel_until(from, period)                               \
    (ngx_msec_int_t) ((from) + (period) - now)

    if (bc->moving) {
        return 0;
    }

    switch (bc->state) {

    case NGX_BROADCAST_HANDSHAKE:
        return ngx_broadcast_wheel_until(bc->since,
                                         ngx_broadcast_wheel_handshake(bc));

    case NGX_BROADCAST_CLOSING:
        return ngx_broadcast_wheel_closing(bc);

    case NGX_BROADCAST_ACTIVE:
        break;

    default:
        return NGX_MAX_INT32_VALUE;
    }

    if (ngx_broadcast_wheel_resumes(bc)) {
        return 0;
    }

    next = NGX_MAX_INT32_VALUE;

    if (bc->type == NGX_BROADCAST_LONGPOLL) {

        if (bc->idle) {
            next = ngx_broadcast_wheel_until(bc->polled,
                                             NGX_BROADCAST_POLL_GAP);

        } else if (bc->tells) {
            next = ngx_broadcast_wheel_until(bc->sent, bc->limits->keepalive);

            if (next <= 0) {
                next = 1000;
            }
        }

        goto expires;
    }

    if (bc->sequence) {
        next = ngx_broadcast_stateful_left(bc);

        if (bc->transport == NULL) {
            return next;
        }
    }

    left = ngx_broadcast_wheel_until(ngx_broadcast_wheel_alive(bc),
                                     bc->limits->keepalive);

    /* bytes still wait, so a ping would say nothing new */

    if (left <= 0) {
        left = 1000;
    }

    next = ngx_min(next, left);

    if (ngx_broadcast_wheel_silent(bc)) {
        left = ngx_broadcast_wheel_until(bc->received,
                                         bc->limits->client_timeout);
        next = ngx_min(next, left);
    }

    if (bc->blocked) {
        left = ngx_broadcast_wheel_until(bc->progress,
                                         bc->limits->client_timeout);
        next = ngx_min(next, left);
    }

expires:

    if (bc->expires) {
        left = (ngx_msec_int_t) ngx_min(bc->expires - ngx_time(), 3600) * 1000;
        next = ngx_min(next, left);
    }

    return next;
}
