
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What goes over an open connection: queries out, answers in. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_answer.h"
#include "pg/ngx_broadcast_pg_conn_local.h"


static ngx_int_t ngx_broadcast_pg_conn_consume(ngx_broadcast_pg_conn_t *conn);


ngx_int_t
ngx_broadcast_pg_conn_send(ngx_broadcast_pg_conn_t *conn,
    ngx_broadcast_pg_query_t *query)
{
    if (conn->state != NGX_BROADCAST_PG_OPEN || conn->broken) {
        return NGX_DECLINED;
    }

    /*
     * An idle connection may have been closed by the server an instant ago:
     * seen here, the query can go elsewhere; seen later, nobody could say
     * whether it was executed.
     */

    if (conn->nflight == 0 && conn->heard != ngx_current_msec
        && ngx_broadcast_pg_answer_consume(conn) != NGX_OK)
    {
        ngx_broadcast_pg_conn_drop(conn, NULL);
        return NGX_DECLINED;
    }

    if (ngx_broadcast_pg_statement_send(conn, query) != NGX_OK) {
        /* without its Sync nothing that left is ever committed */

        ngx_broadcast_pg_conn_drop(conn, NULL);
        return NGX_DECLINED;
    }

    ngx_queue_insert_tail(&conn->flight, &query->queue);

    if (conn->nflight++ == 0) {
        conn->since = ngx_current_msec;
        ngx_broadcast_pg_answer_watch(conn);
    }

    if (PQpipelineSync(conn->pg) != 1
        || ngx_broadcast_pg_conn_flush(conn) != NGX_OK)
    {
        ngx_broadcast_pg_conn_drop(conn, NULL);
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_pg_conn_flush(ngx_broadcast_pg_conn_t *conn)
{
    int           left;
    ngx_event_t  *wev;

    left = conn->raw ? conn->output(conn) : PQflush(conn->pg);

    if (left < 0 || conn->c == NULL) {
        return NGX_ERROR;
    }

    wev = conn->c->write;

    if (left && !wev->active) {
        return ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
    }

    if (!left && wev->active) {
        return ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }

    return NGX_OK;
}


void
ngx_broadcast_pg_conn_write(ngx_event_t *ev)
{
    ngx_connection_t         *c = ev->data;
    ngx_broadcast_pg_conn_t  *conn = c->data;

    if (ngx_broadcast_pg_conn_flush(conn) != NGX_OK) {
        ngx_broadcast_pg_conn_why(conn, NULL);
        ngx_broadcast_pg_conn_fail(conn);
    }
}


void
ngx_broadcast_pg_conn_read(ngx_event_t *ev)
{
    ngx_int_t                 rc;
    ngx_connection_t         *c = ev->data;
    ngx_broadcast_pg_conn_t  *conn = c->data;

    if (c->close) {
        ngx_broadcast_pg_conn_why(conn, "shutting down");
        ngx_broadcast_pg_conn_fail(conn);
        return;
    }

    conn->heard = ngx_current_msec;

    rc = conn->raw ? NGX_OK : ngx_broadcast_pg_conn_consume(conn);

    /* answers that came before the end of the connection count */

    if (conn->replication) {
        if (conn->input(conn) == NGX_AGAIN && rc == NGX_OK && ev->active) {
            rc = ngx_del_event(ev, NGX_READ_EVENT, 0);
        }

    } else {
        ngx_broadcast_pg_answers(conn);
        ngx_broadcast_pg_answer_notifies(conn);
    }

    if (rc == NGX_OK) {
        rc = ngx_broadcast_pg_conn_flush(conn);
    }

    if (rc != NGX_OK) {

        if (!conn->broken) {
            ngx_broadcast_pg_conn_why(conn, NULL);
        }

        ngx_broadcast_pg_conn_fail(conn);
    }
}


/*
 * libpq may take a part of a TLS record, and no event tells of the rest, which
 * is not in the socket any more: where that is dry it is read once more.
 * PostgreSQL's records are small enough; those of who stands between are not.
 */

static ngx_int_t
ngx_broadcast_pg_conn_consume(ngx_broadcast_pg_conn_t *conn)
{
    u_char  byte;

    if (PQconsumeInput(conn->pg) != 1) {
        return NGX_ERROR;
    }

    if (!PQsslInUse(conn->pg)
        || recv(PQsocket(conn->pg), &byte, 1, MSG_PEEK) != -1)
    {
        return NGX_OK;
    }

    return PQconsumeInput(conn->pg) == 1 ? NGX_OK : NGX_ERROR;
}


void
ngx_broadcast_pg_conn_resume(ngx_broadcast_pg_conn_t *conn)
{
    ngx_event_t  *rev;

    if (conn->state != NGX_BROADCAST_PG_OPEN || conn->broken
        || conn->c == NULL)
    {
        return;
    }

    rev = conn->c->read;

    if (!rev->active
        && ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        ngx_broadcast_pg_conn_drop(conn, "cannot register the socket");
        return;
    }

    /* libpq may have what the socket has not any more */

    ngx_post_event(rev, &ngx_posted_events);
}
