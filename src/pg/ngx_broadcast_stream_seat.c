
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay.h"
#include "pg/ngx_broadcast_stream_local.h"


#define NGX_BROADCAST_SEAT_CONNECT  5000    /* ms, at most */
#define NGX_BROADCAST_SEAT_IDLE     60000   /* ms: then it is closed */
#define NGX_BROADCAST_SEAT_AGAIN    100     /* ms: the next cancel */
#define NGX_BROADCAST_SEAT_SPARE    5000    /* ms: the server waits longer than
                                               we do for a stream's end */


static void ngx_broadcast_seat_handler(ngx_event_t *ev);
static ngx_broadcast_seat_t *ngx_broadcast_seat_free(void);
static void ngx_broadcast_seat_open(void);
static void ngx_broadcast_seat_ready(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_seat_set_up(ngx_broadcast_seat_t *seat,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_seat_lost(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_seat_failure(const u_char *why);
static void ngx_broadcast_seat_answered(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_seat_fail(ngx_broadcast_seat_t *seat,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_seat_settle(ngx_broadcast_seat_t *seat);
static void ngx_broadcast_seat_cancel(ngx_broadcast_seat_t *seat);
static void ngx_broadcast_seat_cancelled(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_seat_wake(ngx_event_t *ev);
static void ngx_broadcast_seat_timer(ngx_event_t *ev);


static const char  ngx_broadcast_seat_cancel_text[] =
    "SELECT pg_catalog.pg_cancel_backend($1::pg_catalog.int4)";


ngx_int_t
ngx_broadcast_seat_init(void)
{
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

    (void) ngx_snprintf((u_char *) stream->setup, sizeof(stream->setup),
              "SELECT pg_catalog.pg_is_in_recovery(),"
              " pg_catalog.pg_backend_pid(),"
              " pg_catalog.set_config('statement_timeout', '%M', false),"
              " pg_catalog.set_config('idle_in_transaction_session_timeout',"
              " '%M', false),"
              " pg_catalog.set_config('client_min_messages', 'error', false)"
              "%Z", limit,
              stream->conf->stream_timeout + NGX_BROADCAST_SEAT_SPARE);

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
    const char              *conninfo;
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

    conninfo = ngx_broadcast_pg_conninfo(stream->tries);

    if (conninfo == NULL) {
        ngx_broadcast_seat_failure((u_char *) "its host has no address");
        return;
    }

    timeout = ngx_min(stream->conf->timeout, NGX_BROADCAST_SEAT_CONNECT);

    if (ngx_broadcast_pg_conn_open(&closed->conn, conninfo, timeout,
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


static void
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


ngx_int_t
ngx_broadcast_seat_send(ngx_broadcast_seat_t *seat, ngx_uint_t which,
    const char *text, ngx_uint_t n, const char **values)
{
    ngx_broadcast_pg_query_t  *query;

    query = &seat->queries[which];

    ngx_memzero(query, sizeof(ngx_broadcast_pg_query_t));

    query->statement = NGX_BROADCAST_PG_TEXT;
    query->text = text;
    query->nparams = n;
    query->values = n ? values : NULL;
    query->done = ngx_broadcast_seat_answered;
    query->data = seat;

    if (ngx_broadcast_pg_conn_send(&seat->conn, query) != NGX_OK) {

        /* and so does all that follows: the connection's end tells */

        ngx_broadcast_pg_conn_drop(&seat->conn, NULL);
        return NGX_ERROR;
    }

    seat->pending++;

    return NGX_OK;
}


static void
ngx_broadcast_seat_answered(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_uint_t             which;
    ngx_broadcast_seat_t  *seat = query->data;

    which = query - seat->queries;

    seat->pending--;

    if (ngx_broadcast_pg.stopping) {
        return;
    }

    if (which == NGX_BROADCAST_SEAT_SETUP) {
        ngx_broadcast_seat_set_up(seat, status, result);
        return;
    }

    if (status != NGX_BROADCAST_PG_OK) {
        ngx_broadcast_seat_fail(seat, status, result);

    } else if (!seat->failed) {
        ngx_broadcast_stream_step(seat, which, result);
    }

    if (seat->pending == 0) {
        ngx_broadcast_seat_next(seat);
    }
}


/* the first error of a transaction is its error */

static void
ngx_broadcast_seat_fail(ngx_broadcast_seat_t *seat, ngx_uint_t status,
    PGresult *result)
{
    ngx_str_t   state;
    ngx_uint_t  outcome;

    if (seat->failed) {
        return;
    }

    seat->failed = 1;

    if (seat->rows == NULL) {
        return;
    }

    outcome = NGX_BROADCAST_STREAM_AWAY;

    if (status == NGX_BROADCAST_PG_FAILED) {
        state = ngx_broadcast_pg_sqlstate(result);

        outcome = state.len == 5 && ngx_memcmp(state.data, "57014", 5) == 0
                  ? NGX_BROADCAST_STREAM_TIMEOUT : NGX_BROADCAST_STREAM_FAILED;
    }

    ngx_broadcast_stream_finish(seat->rows, outcome, result);
}


void
ngx_broadcast_seat_next(ngx_broadcast_seat_t *seat)
{
    if (seat->conn.state != NGX_BROADCAST_PG_OPEN || seat->conn.broken) {

        if (seat->conn.state == NGX_BROADCAST_PG_CLOSED) {
            ngx_broadcast_seat_settle(seat);
        }

        return;
    }

    if (!seat->busy) {
        return;
    }

    /* what is sent before that has been answered could be what it meets */

    if (seat->cancelling) {
        return;
    }

    if (seat->ending) {
        ngx_broadcast_seat_settle(seat);
        return;
    }

    if (seat->failed || seat->rows == NULL) {
        seat->ending = 1;

        (void) ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_ROLLBACK,
                                       "ROLLBACK", 0, NULL);
        return;
    }

    ngx_broadcast_stream_go(seat);
}


/* the transaction is over, or the connection: another stream may take it */

static void
ngx_broadcast_seat_settle(ngx_broadcast_seat_t *seat)
{
    ngx_uint_t  open;

    open = seat->conn.state == NGX_BROADCAST_PG_OPEN;

    if (open && !seat->failed) {

        if (seat->staged) {
            ngx_broadcast_relay_nudge();
        }

        if (seat->rows) {
            ngx_broadcast_stream_finish(seat->rows, NGX_BROADCAST_STREAM_OK,
                                        NULL);
        }
    }

    seat->busy = 0;
    seat->failed = 0;
    seat->ending = 0;
    seat->staged = 0;

    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }

    if (open) {

        if (PQtransactionStatus(seat->conn.pg) != PQTRANS_IDLE) {
            ngx_broadcast_pg_conn_drop(&seat->conn, "a transaction is left");

        } else {
            ngx_add_timer(&seat->timer, NGX_BROADCAST_SEAT_IDLE);
        }
    }

    ngx_broadcast_seat_post();
}


void
ngx_broadcast_seat_give_up(ngx_broadcast_seat_t *seat)
{
    if (seat->ending || !seat->busy) {
        return;
    }

    if (seat->pending == 0) {
        ngx_broadcast_seat_next(seat);
        return;
    }

    ngx_broadcast_seat_cancel(seat);
}


/*
 * PQcancel() would block.  The server's way goes over another connection and
 * may come too late; so this one is left alone until it is known to have come.
 */

static void
ngx_broadcast_seat_cancel(ngx_broadcast_seat_t *seat)
{
    ngx_broadcast_pg_query_t  *query;

    if (seat->cancelling || seat->conn.state != NGX_BROADCAST_PG_OPEN
        || seat->conn.broken)
    {
        return;
    }

    query = &seat->cancel;

    ngx_memzero(query, sizeof(ngx_broadcast_pg_query_t));

    query->statement = NGX_BROADCAST_PG_TEXT;
    query->text = ngx_broadcast_seat_cancel_text;
    query->nparams = 1;
    query->params[0] = seat->pid;
    query->done = ngx_broadcast_seat_cancelled;
    query->data = seat;

    if (ngx_broadcast_pg_pool_send(query, 1) != NGX_OK) {

        /* then the server finds out by itself, at the latest in time-out ms */

        ngx_broadcast_pg_conn_drop(&seat->conn, "its query was given up");
        return;
    }

    seat->cancelling = 1;
}


static void
ngx_broadcast_seat_cancelled(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_broadcast_seat_t  *seat = query->data;

    if (ngx_broadcast_pg.stopping) {
        return;
    }

    seat->cancelling = 0;

    if (seat->conn.state != NGX_BROADCAST_PG_OPEN) {
        ngx_broadcast_seat_post();
        return;
    }

    if (status == NGX_BROADCAST_PG_AWAY || status == NGX_BROADCAST_PG_UNSENT) {

        /* it may be on its way for ever */

        ngx_broadcast_pg_conn_drop(&seat->conn, "its query was given up");
        return;
    }

    if (seat->pending == 0) {
        ngx_broadcast_seat_next(seat);
        return;
    }

    /* it came between two queries, where it does nothing, or will be heard */

    ngx_add_timer(&seat->timer, NGX_BROADCAST_SEAT_AGAIN);
}


static void
ngx_broadcast_seat_timer(ngx_event_t *ev)
{
    ngx_broadcast_seat_t  *seat = ev->data;

    if (seat->busy) {

        if (seat->pending && seat->rows == NULL && !seat->ending) {
            ngx_broadcast_seat_cancel(seat);
        }

        return;
    }

    /* idle: other streams open it again */

    seat->up = 0;
    ngx_broadcast_pg_conn_close(&seat->conn);
}


static void
ngx_broadcast_seat_wake(ngx_event_t *ev)
{
    ngx_broadcast_seat_t  *seat = ev->data;

    if (seat->busy && seat->rows && seat->pending == 0) {
        ngx_broadcast_seat_next(seat);
    }
}
