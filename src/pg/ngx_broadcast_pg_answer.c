
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_answer.h"


static void ngx_broadcast_pg_answer_result(ngx_broadcast_pg_conn_t *conn,
    PGresult *result);
static ngx_uint_t ngx_broadcast_pg_answer_unclear(
    ngx_broadcast_pg_query_t *query, PGresult *result);
static void ngx_broadcast_pg_answer_synced(ngx_broadcast_pg_conn_t *conn);


/* PQconsumeInput() reads once.  A peek tells if there is more. */

ngx_int_t
ngx_broadcast_pg_answer_consume(ngx_broadcast_pg_conn_t *conn)
{
    u_char   byte;
    ssize_t  n;

    for ( ;; ) {
        if (PQconsumeInput(conn->pg) != 1) {
            return NGX_ERROR;
        }

        n = recv(PQsocket(conn->pg), &byte, 1, MSG_PEEK);

        if (n == 1) {
            continue;
        }

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1 && ngx_errno == NGX_EAGAIN) {
            return NGX_OK;
        }

        /* the end, which libpq puts into words */

        if (n == 0) {
            (void) PQconsumeInput(conn->pg);
        }

        return NGX_ERROR;
    }
}


void
ngx_broadcast_pg_answers(ngx_broadcast_pg_conn_t *conn)
{
    PGresult    *result;
    ngx_uint_t   dead, nothing;

    /* between two queries libpq gives one NULL; two are the end */

    nothing = 0;

    while (conn->nflight && nothing < 2 && !PQisBusy(conn->pg)) {

        result = PQgetResult(conn->pg);

        if (result == NULL) {
            nothing++;
            continue;
        }

        nothing = 0;

        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            ngx_broadcast_pg_answer_synced(conn);

        } else {

            /* a dead connection answers with errors for ever */

            dead = PQstatus(conn->pg) == CONNECTION_BAD
                   && ngx_broadcast_pg_sqlstate(result).len == 0;

            ngx_broadcast_pg_answer_result(conn, result);

            if (dead) {
                return;
            }
        }

        ngx_broadcast_pg_answer_notifies(conn);
    }
}


static void
ngx_broadcast_pg_answer_result(ngx_broadcast_pg_conn_t *conn, PGresult *result)
{
    ngx_str_t                  state;
    ngx_queue_t               *q;
    ngx_broadcast_pg_query_t  *query;

    q = ngx_queue_head(&conn->flight);
    query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

    if (query->failed) {
        PQclear(result);
        return;
    }

    switch (PQresultStatus(result)) {

    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:

        if (query->preparing) {
            query->preparing--;
            PQclear(result);
            return;
        }

        break;

    default:
        query->failed = 1;
        query->unclear = ngx_broadcast_pg_answer_unclear(query, result);

        state = ngx_broadcast_pg_sqlstate(result);

        /* 26000: the prepared statement is gone, a pooler's doing */

        if (query->preparing
            || (state.len == 5 && ngx_memcmp(state.data, "26000", 5) == 0))
        {
            ngx_broadcast_pg_statement_lost(conn, query);
        }
    }

    if (query->result) {
        PQclear(query->result);
    }

    query->result = result;
}


/*
 * The statement's end comes before its commit.  A session that ends behind it
 * may have committed; a pooler tells the end of one in words of its own, of
 * SQLSTATE class 08, whenever that was.
 */

static ngx_uint_t
ngx_broadcast_pg_answer_unclear(ngx_broadcast_pg_query_t *query,
    PGresult *result)
{
    char       *severity;
    ngx_str_t   state;

    state = ngx_broadcast_pg_sqlstate(result);

    if (state.len == 5 && ngx_memcmp(state.data, "08", 2) == 0) {
        return 1;
    }

    severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    return query->result && !query->preparing
           && severity && ngx_strcmp(severity, "ERROR") != 0;
}


/* ReadyForQuery: the transaction of the first query in flight is over */

static void
ngx_broadcast_pg_answer_synced(ngx_broadcast_pg_conn_t *conn)
{
    PGresult                  *result;
    ngx_uint_t                 status;
    ngx_queue_t               *q;
    ngx_broadcast_pg_query_t  *query;

    q = ngx_queue_head(&conn->flight);
    query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

    ngx_queue_remove(q);
    conn->nflight--;

    if (query->pace) {
        ngx_broadcast_pg_pace_took(query->pace,
                                   ngx_current_msec - conn->since, 1);
    }

    conn->since = ngx_current_msec;
    ngx_broadcast_pg_answer_watch(conn);

    result = query->result;
    query->result = NULL;

    status = query->failed ? NGX_BROADCAST_PG_FAILED : NGX_BROADCAST_PG_OK;

    conn->keep = 0;

    query->done(query, status, result);

    if (result && !conn->keep) {
        PQclear(result);
    }

    if (conn->answered) {
        conn->answered(conn);
    }
}


ngx_uint_t
ngx_broadcast_pg_answer_late(ngx_broadcast_pg_conn_t *conn)
{
    ngx_queue_t               *q;
    ngx_broadcast_pg_query_t  *query;

    if (conn->nflight == 0
        || ngx_current_msec - conn->since <= NGX_BROADCAST_PG_PROMPT)
    {
        return 0;
    }

    q = ngx_queue_head(&conn->flight);
    query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

    if (query->pace) {
        ngx_broadcast_pg_pace_took(query->pace,
                                   ngx_current_msec - conn->since, 0);
    }

    return 1;
}


void
ngx_broadcast_pg_answer_notifies(ngx_broadcast_pg_conn_t *conn)
{
    PGnotify  *notify;

    for ( ;; ) {
        notify = PQnotifies(conn->pg);

        if (notify == NULL) {
            return;
        }

        if (conn->notify) {
            conn->notify(conn, notify->relname, notify->extra);
        }

        PQfreemem(notify);
    }
}


/* the server ends each statement in time; one that does not is not there */

void
ngx_broadcast_pg_answer_watch(ngx_broadcast_pg_conn_t *conn)
{
    if (conn->nflight) {
        ngx_add_timer(&conn->timer, conn->patience);

    } else if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }
}


void
ngx_broadcast_pg_answer_away(ngx_queue_t *flight)
{
    PGresult                  *result;
    ngx_uint_t                 status;
    ngx_queue_t               *q;
    ngx_broadcast_pg_query_t  *query;

    while (!ngx_queue_empty(flight)) {
        q = ngx_queue_head(flight);
        query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);
        ngx_queue_remove(q);

        result = query->result;
        query->result = NULL;

        /*
         * An error that the server has told (it was shut down, say) means
         * that the transaction was rolled back, though its end did not come,
         * unless it is unclear.  Errors that libpq makes itself have no
         * SQLSTATE.
         */

        status = query->failed && !query->unclear
                 && ngx_broadcast_pg_sqlstate(result).len
                 ? NGX_BROADCAST_PG_FAILED : NGX_BROADCAST_PG_AWAY;

        query->done(query, status,
                    status == NGX_BROADCAST_PG_FAILED ? result : NULL);

        if (result) {
            PQclear(result);
        }
    }
}
