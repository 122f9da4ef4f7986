
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


/* What a connection that is set apart does for a stream. */


#define NGX_BROADCAST_SEAT_IDLE     60000   /* ms: then it is closed */
#define NGX_BROADCAST_SEAT_AGAIN    100     /* ms: the next cancel */


static void ngx_broadcast_seat_answered(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_seat_next(ngx_broadcast_seat_t *seat);
static void ngx_broadcast_seat_cancel(ngx_broadcast_seat_t *seat);
static void ngx_broadcast_seat_cancelled(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


static const char  ngx_broadcast_seat_cancel_text[] =
    "SELECT pg_catalog.pg_cancel_backend($1::pg_catalog.int4)";


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

    if (which == NGX_BROADCAST_SEAT_RESET) {

        /* of the one before: no error of who has the seat now */

        if (status == NGX_BROADCAST_PG_FAILED) {
            ngx_broadcast_pg_conn_drop(&seat->conn,
                                       "the session was not reset");
        }

    } else if (status != NGX_BROADCAST_PG_OK) {
        ngx_broadcast_seat_fail(seat, status, result);

    } else if (!seat->failed) {
        ngx_broadcast_stream_step(seat, which, result);
    }

    if (seat->pending == 0) {
        ngx_broadcast_seat_next(seat);
    }
}


/* the first error of a transaction is its error */

void
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

    /* the server that shuts down, or the session alone, is no function's */

    outcome = NGX_BROADCAST_STREAM_AWAY;

    if (status == NGX_BROADCAST_PG_FAILED) {
        state = ngx_broadcast_pg_sqlstate(result);

        if (state.len != 5 || ngx_memcmp(state.data, "57P", 3) != 0) {
            outcome = ngx_broadcast_pg_canceled(result)
                      ? NGX_BROADCAST_STREAM_TIMEOUT
                      : NGX_BROADCAST_STREAM_FAILED;
        }
    }

    ngx_broadcast_stream_finish(seat->rows, outcome, result);
}


/* no query is in flight: ROLLBACK, or it takes the next stream */

static void
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

void
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

            /* what the function left in the session is not for the next one */

            (void) ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_RESET,
                                           ngx_broadcast_stream.reset, 0, NULL);

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

    if (seat->pid[0] == '\0') {

        /* BEGIN has not been answered: whose query it would be is not known */

        ngx_add_timer(&seat->timer, NGX_BROADCAST_SEAT_AGAIN);
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


void
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


void
ngx_broadcast_seat_wake(ngx_event_t *ev)
{
    ngx_broadcast_seat_t  *seat = ev->data;

    if (seat->busy && seat->rows && seat->pending == 0) {
        ngx_broadcast_seat_next(seat);
    }
}
