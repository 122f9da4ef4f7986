
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* The life of a connection: looked up, made, opened, lost. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_answer.h"
#include "pg/ngx_broadcast_pg_conn_local.h"
#include "pg/ngx_broadcast_pg_local.h"


static ngx_int_t ngx_broadcast_pg_conn_open(ngx_broadcast_pg_conn_t *conn,
    const char *conninfo, ngx_msec_t timeout, ngx_msec_t patience);
static void ngx_broadcast_pg_conn_looked_up(void *data, const char *conninfo,
    const char *why);
static PGconn *ngx_broadcast_pg_conn_dial(ngx_broadcast_pg_conn_t *conn,
    const char *conninfo);
static void ngx_broadcast_pg_conn_attach(ngx_broadcast_pg_conn_t *conn,
    ngx_uint_t write);
static void ngx_broadcast_pg_conn_detach(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_pg_conn_connect(ngx_event_t *ev);
static void ngx_broadcast_pg_conn_opened(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_pg_conn_timeout(ngx_event_t *ev);
static void ngx_broadcast_pg_conn_break(ngx_event_t *ev);
static void ngx_broadcast_pg_conn_release(ngx_broadcast_pg_conn_t *conn,
    ngx_queue_t *flight);
static void ngx_broadcast_pg_conn_notice(void *data, const char *message);


void
ngx_broadcast_pg_conn_init(ngx_broadcast_pg_conn_t *conn, ngx_log_t *log)
{
    ngx_memzero(conn, sizeof(ngx_broadcast_pg_conn_t));

    ngx_queue_init(&conn->flight);
    conn->log = log;

    conn->timer.handler = ngx_broadcast_pg_conn_timeout;
    conn->timer.data = conn;
    conn->timer.log = log;
    conn->timer.cancelable = 1;

    conn->breaker.handler = ngx_broadcast_pg_conn_break;
    conn->breaker.data = conn;
    conn->breaker.log = log;
}


/* conninfo has no name that would have to be looked up */

static ngx_int_t
ngx_broadcast_pg_conn_open(ngx_broadcast_pg_conn_t *conn,
    const char *conninfo, ngx_msec_t timeout, ngx_msec_t patience)
{
    conn->error[0] = '\0';
    conn->fault = NGX_BROADCAST_PG_FAULT_CONNECT;
    conn->broken = 0;
    conn->prepared = 0;
    conn->patience = patience;

    conn->pg = ngx_broadcast_pg_conn_dial(conn, conninfo);

    if (conn->pg == NULL) {
        ngx_broadcast_pg_conn_why(conn, "no memory");
        return NGX_ERROR;
    }

    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        ngx_broadcast_pg_conn_why(conn, NULL);
        PQfinish(conn->pg);
        conn->pg = NULL;
        return NGX_ERROR;
    }

    PQsetNoticeProcessor(conn->pg, ngx_broadcast_pg_conn_notice, conn);

    conn->state = NGX_BROADCAST_PG_CONNECTING;

    if (!conn->timer.timer_set) {
        ngx_add_timer(&conn->timer, timeout);
    }

    /* libpq: until the first PQconnectPoll() act as if it said WRITING */

    ngx_broadcast_pg_conn_attach(conn, 1);

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_pg_conn_start(ngx_broadcast_pg_conn_t *conn, ngx_uint_t tries,
    ngx_msec_t timeout, ngx_msec_t patience)
{
    const char  *conninfo;

    conn->fault = NGX_BROADCAST_PG_FAULT_CONNECT;

    if (!ngx_broadcast_pg_lookup_needed()) {
        conninfo = ngx_broadcast_pg_conninfo(tries);

        if (conninfo == NULL) {
            ngx_broadcast_pg_conn_why(conn, "its host has no address");
            return NGX_ERROR;
        }

        return ngx_broadcast_pg_conn_open(conn, conninfo, timeout, patience);
    }

    conn->broken = 0;
    conn->patience = patience;

    conn->lookup = ngx_broadcast_pg_lookup(tries,
                                           ngx_broadcast_pg_conn_looked_up,
                                           conn);
    if (conn->lookup == NULL) {
        ngx_broadcast_pg_conn_why(conn, "no memory");
        return NGX_ERROR;
    }

    /* one time for both: the names and the connecting */

    conn->state = NGX_BROADCAST_PG_CONNECTING;
    ngx_add_timer(&conn->timer, timeout);

    return NGX_OK;
}


static void
ngx_broadcast_pg_conn_looked_up(void *data, const char *conninfo,
    const char *why)
{
    ngx_broadcast_pg_conn_t  *conn = data;

    if (conninfo == NULL) {
        ngx_broadcast_pg_conn_why(conn, why);
        ngx_broadcast_pg_conn_fail(conn);
        return;
    }

    if (ngx_broadcast_pg_conn_open(conn, conninfo, 0, conn->patience)
        != NGX_OK)
    {
        ngx_broadcast_pg_conn_fail(conn);
        return;
    }

    ngx_broadcast_pg_lookup_free(conn->lookup);
    conn->lookup = NULL;
}


/*
 * conninfo may be an URI: what is added to it stands behind, not inside.  What
 * Kerberos encrypts nobody but libpq can read.
 */

static PGconn *
ngx_broadcast_pg_conn_dial(ngx_broadcast_pg_conn_t *conn,
    const char *conninfo)
{
    const char  *values[] = { conninfo, "database", "disable", NULL };

    static const char  *names[] = { "dbname", "replication", "gssencmode",
                                    NULL };

    return conn->replication ? PQconnectStartParams(names, values, 1)
                             : PQconnectStart(conninfo);
}


/*
 * Registers the socket of this moment: libpq may have changed it, also for
 * another with the same number.  While connecting only the direction that
 * libpq waits for: the other would be reported at once, over and over.
 *
 * By level, not by edge: libpq reads once and does not tell whether there was
 * more, and to ask the socket costs a system call an answer.
 */

static void
ngx_broadcast_pg_conn_attach(ngx_broadcast_pg_conn_t *conn, ngx_uint_t write)
{
    ngx_event_t       *ev;
    ngx_connection_t  *c;

    c = ngx_get_connection(PQsocket(conn->pg), conn->log);

    if (c == NULL) {
        ngx_broadcast_pg_conn_drop(conn, "not enough worker_connections");
        return;
    }

    c->data = conn;
    c->log = conn->log;
    c->read->log = conn->log;
    c->write->log = conn->log;
    c->log_error = NGX_ERROR_INFO;

    conn->c = c;

    if (conn->state == NGX_BROADCAST_PG_OPEN) {
        c->read->handler = ngx_broadcast_pg_conn_read;
        c->write->handler = ngx_broadcast_pg_conn_write;
        ev = c->read;

    } else {
        c->read->handler = ngx_broadcast_pg_conn_connect;
        c->write->handler = ngx_broadcast_pg_conn_connect;
        ev = write ? c->write : c->read;
    }

    if (ngx_add_event(ev, ev == c->write ? NGX_WRITE_EVENT : NGX_READ_EVENT,
                      NGX_LEVEL_EVENT)
        != NGX_OK)
    {
        ngx_broadcast_pg_conn_drop(conn, "cannot register the socket");
    }
}


static void
ngx_broadcast_pg_conn_detach(ngx_broadcast_pg_conn_t *conn)
{
    ngx_uint_t         flags;
    ngx_connection_t  *c = conn->c;

    if (c == NULL) {
        return;
    }

    conn->c = NULL;

    /* on an error libpq closes the socket itself, and may have done so */

    flags = PQsocket(conn->pg) == c->fd ? 0 : NGX_CLOSE_EVENT;

    if (c->read->active) {
        ngx_del_event(c->read, NGX_READ_EVENT, flags);
    }

    if (c->write->active) {
        ngx_del_event(c->write, NGX_WRITE_EVENT, flags);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    /* the socket is libpq's: ngx_close_connection() would close it, too */

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
}


static void
ngx_broadcast_pg_conn_connect(ngx_event_t *ev)
{
    ngx_connection_t         *c = ev->data;
    ngx_broadcast_pg_conn_t  *conn = c->data;

    if (c->close) {
        ngx_broadcast_pg_conn_why(conn, "shutting down");
        ngx_broadcast_pg_conn_fail(conn);
        return;
    }

    ngx_broadcast_pg_conn_detach(conn);

    switch (PQconnectPoll(conn->pg)) {

    case PGRES_POLLING_READING:
        ngx_broadcast_pg_conn_attach(conn, 0);
        return;

    case PGRES_POLLING_WRITING:
        ngx_broadcast_pg_conn_attach(conn, 1);
        return;

    case PGRES_POLLING_OK:
        ngx_broadcast_pg_conn_opened(conn);
        return;

    default:
        ngx_broadcast_pg_conn_why(conn, NULL);
        ngx_broadcast_pg_conn_fail(conn);
        return;
    }
}


static void
ngx_broadcast_pg_conn_opened(ngx_broadcast_pg_conn_t *conn)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (PQsetnonblocking(conn->pg, 1) != 0
        || (!conn->replication && PQenterPipelineMode(conn->pg) != 1))
    {
        ngx_broadcast_pg_conn_why(conn, NULL);
        ngx_broadcast_pg_conn_fail(conn);
        return;
    }

    conn->state = NGX_BROADCAST_PG_OPEN;
    conn->fault = NGX_BROADCAST_PG_FAULT_CLOSED;

    ngx_broadcast_pg_conn_attach(conn, 0);

    conn->ready(conn);
}


static void
ngx_broadcast_pg_conn_timeout(ngx_event_t *ev)
{
    ngx_broadcast_pg_conn_t  *conn = ev->data;

    if (conn->state == NGX_BROADCAST_PG_OPEN) {
        conn->fault = NGX_BROADCAST_PG_FAULT_SILENT;
        ngx_broadcast_pg_conn_why(conn, "no answer in time");

    } else {
        ngx_broadcast_pg_conn_why(conn, conn->lookup
                                        ? "looking up its name takes too long"
                                        : "connecting takes too long");
    }

    ngx_broadcast_pg_conn_fail(conn);
}


void
ngx_broadcast_pg_conn_drop(ngx_broadcast_pg_conn_t *conn, const char *why)
{
    if (conn->state == NGX_BROADCAST_PG_CLOSED || conn->broken) {
        return;
    }

    conn->broken = 1;

    ngx_broadcast_pg_conn_why(conn, why);
    ngx_post_event(&conn->breaker, &ngx_posted_events);
}


static void
ngx_broadcast_pg_conn_break(ngx_event_t *ev)
{
    ngx_broadcast_pg_conn_t  *conn = ev->data;

    if (conn->state == NGX_BROADCAST_PG_CLOSED) {
        return;
    }

    /*
     * What libpq has already read is not lost with the connection.  The
     * read event's own handler ends in fail(), so it cannot come here twice.
     */

    if (conn->state == NGX_BROADCAST_PG_OPEN && !conn->replication) {
        (void) ngx_broadcast_pg_answer_consume(conn);
        ngx_broadcast_pg_answers(conn);
    }

    ngx_broadcast_pg_conn_fail(conn);
}


void
ngx_broadcast_pg_conn_fail(ngx_broadcast_pg_conn_t *conn)
{
    ngx_queue_t  flight;

    ngx_broadcast_pg_conn_release(conn, &flight);

    /*
     * The owner first, so that what the queries' ends bring about finds it
     * knowing; it may open the connection anew, the queue is not its any more.
     */

    conn->lost(conn);

    ngx_broadcast_pg_answer_away(&flight);
}


void
ngx_broadcast_pg_conn_close(ngx_broadcast_pg_conn_t *conn)
{
    ngx_queue_t  flight;

    ngx_broadcast_pg_conn_release(conn, &flight);
    ngx_broadcast_pg_answer_away(&flight);
}


static void
ngx_broadcast_pg_conn_release(ngx_broadcast_pg_conn_t *conn,
    ngx_queue_t *flight)
{
    ngx_queue_init(flight);

    (void) ngx_broadcast_pg_answer_late(conn);

    if (!ngx_queue_empty(&conn->flight)) {
        ngx_queue_add(flight, &conn->flight);
        ngx_queue_init(&conn->flight);
    }

    conn->nflight = 0;
    conn->state = NGX_BROADCAST_PG_CLOSED;

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->breaker.posted) {
        ngx_delete_posted_event(&conn->breaker);
    }

    ngx_broadcast_pg_conn_detach(conn);

    if (conn->texts) {
        ngx_free(conn->texts);
        conn->texts = NULL;
        conn->ntexts = 0;
    }

    if (conn->lookup) {
        ngx_broadcast_pg_lookup_free(conn->lookup);
        conn->lookup = NULL;
    }

    if (conn->pg) {
        PQfinish(conn->pg);
        conn->pg = NULL;
    }
}


/* keeps why in one line; NULL: libpq's own words, which hold no password */

void
ngx_broadcast_pg_conn_why(ngx_broadcast_pg_conn_t *conn, const char *why)
{
    u_char  *p;

    if (why == NULL) {
        why = conn->pg ? PQerrorMessage(conn->pg) : "";

        if (*why == '\0') {
            why = "the connection broke";
        }
    }

    ngx_cpystrn(conn->error, (u_char *) why, sizeof(conn->error));

    for (p = conn->error; *p; p++) {
        if (*p < ' ') {
            *p = ' ';
        }
    }

    while (p > conn->error && p[-1] == ' ') {
        *--p = '\0';
    }
}


static void
ngx_broadcast_pg_conn_notice(void *data, const char *message)
{
    ngx_broadcast_pg_conn_t  *conn = data;

    ngx_log_debug1(NGX_LOG_DEBUG_CORE, conn->log, 0,
                   "broadcast: database says: %s", message);

    (void) conn;
    (void) message;
}
