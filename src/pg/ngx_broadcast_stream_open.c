
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_stream_local.h"


/* The connections that are set apart for streams. */


#define NGX_BROADCAST_SEAT_CONNECT  5000    /* ms, at most */
#define NGX_BROADCAST_SEAT_SPARE    5000    /* ms: the server waits longer than
                                               we do for a stream's end */


static void ngx_broadcast_seat_handler(ngx_event_t *ev);
static ngx_broadcast_seat_t *ngx_broadcast_seat_free(void);
static void ngx_broadcast_seat_open(void);
static void ngx_broadcast_seat_ready(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_seat_failure(const u_char *why);
static void ngx_broadcast_seat_lost(ngx_broadcast_pg_conn_t *conn);


ngx_int_t
ngx_broadcast_seat_init(void)
{
    char                     settings[384];
    ngx_uint_t               i;
    ngx_msec_t               limit;
    ngx_broadcast_seat_t    *seat;
    ngx_broadcast_stream_t  *stream = &ngx_broadcast_stream;

    stream->work.handler = ngx_broadcast_seat_handler;
    stream->work.data = stream;
    stream->work.log = stream->log;

    if (stream->conf->streams == 0) {
        return NGX_OK;
    }

    /*
     * A FETCH is ended by the server before we lose patience, and so is a
     * transaction whose nginx is not there any more, though nobody told.
     */

    limit = stream->conf->timeout;
    limit -= ngx_min(limit / 10, 500);

    (void) ngx_snprintf((u_char *) settings, sizeof(settings),
              "pg_catalog.set_config('statement_timeout', '%M', false),"
              " pg_catalog.set_config('idle_in_transaction_session_timeout',"
              " '%M', false),"
              " pg_catalog.set_config('client_min_messages', 'error', false),"
              " pg_catalog.set_config('broadcast.doorbell', 'off', false)"
              "%Z", limit,
              stream->conf->stream_timeout + NGX_BROADCAST_SEAT_SPARE);

    (void) ngx_snprintf((u_char *) stream->setup, sizeof(stream->setup),
              "SELECT pg_catalog.pg_is_in_recovery(),"
              " pg_catalog.pg_backend_pid(), %s%Z", settings);

    (void) ngx_broadcast_pg_reset_text((u_char *) stream->reset,
                                       sizeof(stream->reset), settings);

    stream->seats = ngx_calloc(stream->conf->streams
                               * sizeof(ngx_broadcast_seat_t), stream->log);
    if (stream->seats == NULL) {
        return NGX_ERROR;
    }

    stream->n = stream->conf->streams;

    for (i = 0; i < stream->n; i++) {
        seat = &stream->seats[i];

        ngx_broadcast_pg_conn_init(&seat->conn, stream->log);

        seat->conn.ready = ngx_broadcast_seat_ready;
        seat->conn.lost = ngx_broadcast_seat_lost;
        seat->conn.data = seat;

        seat->wake.handler = ngx_broadcast_seat_wake;
        seat->wake.data = seat;
        seat->wake.log = stream->log;

        seat->timer.handler = ngx_broadcast_seat_timer;
        seat->timer.data = seat;
        seat->timer.log = stream->log;
        seat->timer.cancelable = 1;
    }

    return NGX_OK;
}


/* the pool is closed already: no cancel is on its way */

void
ngx_broadcast_seat_done(void)
{
    ngx_uint_t               i;
    ngx_broadcast_seat_t    *seat;
    ngx_broadcast_stream_t  *stream = &ngx_broadcast_stream;

    for (i = 0; i < stream->n; i++) {
        seat = &stream->seats[i];

        ngx_broadcast_pg_conn_close(&seat->conn);

        if (seat->wake.posted) {
            ngx_delete_posted_event(&seat->wake);
        }

        if (seat->timer.timer_set) {
            ngx_del_timer(&seat->timer);
        }
    }

    if (stream->work.posted) {
        ngx_delete_posted_event(&stream->work);
    }

    if (stream->seats) {
        ngx_free(stream->seats);
        stream->seats = NULL;
    }

    stream->n = 0;
}


void
ngx_broadcast_seat_post(void)
{
    if (!ngx_broadcast_pg.stopping && !ngx_broadcast_stream.work.posted) {
        ngx_post_event(&ngx_broadcast_stream.work, &ngx_posted_events);
    }
}


static void
ngx_broadcast_seat_handler(ngx_event_t *ev)
{
    ngx_queue_t             *q;
    ngx_broadcast_seat_t    *seat;
    ngx_broadcast_stream_t  *stream = &ngx_broadcast_stream;

    while (!ngx_queue_empty(&stream->waiting)) {
        seat = ngx_broadcast_seat_free();

        if (seat == NULL) {
            ngx_broadcast_seat_open();
            return;
        }

        if (seat->timer.timer_set) {
            ngx_del_timer(&seat->timer);
        }

        q = ngx_queue_head(&stream->waiting);

        ngx_broadcast_stream_run(seat, ngx_queue_data(q, ngx_broadcast_rows_t,
                                                      queue));
    }
}


static ngx_broadcast_seat_t *
ngx_broadcast_seat_free(void)
{
    ngx_uint_t             i;
    ngx_broadcast_seat_t  *seat;

    for (i = 0; i < ngx_broadcast_stream.n; i++) {
        seat = &ngx_broadcast_stream.seats[i];

        if (seat->up && !seat->busy && !seat->conn.broken) {
            return seat;
        }
    }

    return NULL;
}


/* one more at a time, if one may be: the next when this one is there */

static void
ngx_broadcast_seat_open(void)
{
    ngx_uint_t               i;
    ngx_msec_t               timeout;
    ngx_broadcast_seat_t    *seat, *closed;
    ngx_broadcast_stream_t  *stream = &ngx_broadcast_stream;

    closed = NULL;

    for (i = 0; i < stream->n; i++) {
        seat = &stream->seats[i];

        if (seat->conn.state == NGX_BROADCAST_PG_CLOSED) {

            /* a cancel that is on its way is not meant for a new session */

            if (!seat->cancelling) {
                closed = seat;
            }

        } else if (!seat->up && !seat->conn.broken) {
            return;
        }
    }

    if (closed == NULL) {
        return;
    }

    timeout = ngx_min(stream->conf->timeout, NGX_BROADCAST_SEAT_CONNECT);

    if (ngx_broadcast_pg_conn_start(&closed->conn, stream->tries, timeout,
                                    stream->conf->timeout + 1000)
        != NGX_OK)
    {
        ngx_broadcast_seat_failure(closed->conn.error);
    }
}


static void
ngx_broadcast_seat_ready(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_seat_t  *seat = conn->data;

    (void) ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_SETUP,
                                   ngx_broadcast_stream.setup, 0, NULL);
}


void
ngx_broadcast_seat_set_up(ngx_broadcast_seat_t *seat, ngx_uint_t status,
    PGresult *result)
{
    if (status == NGX_BROADCAST_PG_AWAY) {
        return;
    }

    if (status != NGX_BROADCAST_PG_OK) {
        ngx_broadcast_pg_conn_drop(&seat->conn, "the session was not set up");
        return;
    }

    if (ngx_broadcast_pg_value(result, 0, 0).data[0] == 't') {
        ngx_broadcast_pg_conn_drop(&seat->conn, "the server is a standby");
        return;
    }

    ngx_cpystrn((u_char *) seat->pid, ngx_broadcast_pg_value(result, 0, 1).data,
                sizeof(seat->pid));

    seat->up = 1;
    ngx_broadcast_stream.failed = 0;

    ngx_broadcast_seat_post();
}


/* the queries that were in flight end behind this, and tell what is known */

static void
ngx_broadcast_seat_lost(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_seat_t  *seat = conn->data;

    if (!seat->up) {
        ngx_broadcast_seat_failure(conn->error);
        return;
    }

    seat->up = 0;

    ngx_log_error(NGX_LOG_INFO, ngx_broadcast_stream.log, 0,
                  "broadcast: a connection to the database was lost: %s",
                  conn->error);

    if (seat->pending == 0) {
        ngx_broadcast_seat_fail(seat, NGX_BROADCAST_PG_AWAY, NULL);
        ngx_broadcast_seat_settle(seat);
    }
}


/* a connect failed: who waits is told, and for a second nobody waits */

static void
ngx_broadcast_seat_failure(const u_char *why)
{
    ngx_queue_t             *q;
    ngx_broadcast_stream_t  *stream = &ngx_broadcast_stream;

    stream->tries++;
    stream->since = ngx_current_msec;

    if (!stream->failed) {
        stream->failed = 1;
        ngx_log_error(NGX_LOG_WARN, stream->log, 0,
                      "broadcast: cannot connect to the database for a "
                      "stream: %s", why);
    }

    while (!ngx_queue_empty(&stream->waiting)) {
        q = ngx_queue_head(&stream->waiting);

        ngx_broadcast_stream_finish(ngx_queue_data(q, ngx_broadcast_rows_t,
                                                   queue),
                                    NGX_BROADCAST_STREAM_AWAY, NULL);
    }
}
