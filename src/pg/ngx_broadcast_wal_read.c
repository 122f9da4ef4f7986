
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_wal_local.h"


/*
 * The connection of the replication protocol.  Queries of its simple protocol
 * come first, one at a time; the last of them, which libpq does not see, turns
 * it into a COPY in both directions, which ends with the connection.
 */


static void ngx_broadcast_wal_ready(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_wal_lost(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_wal_retry(ngx_event_t *ev);
static void ngx_broadcast_wal_send(ngx_uint_t state, const char *text);
static void ngx_broadcast_wal_create(void);
static void ngx_broadcast_wal_read(void);
static ngx_int_t ngx_broadcast_wal_input(ngx_broadcast_pg_conn_t *conn);
static ngx_int_t ngx_broadcast_wal_answer(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_wal_answered(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_wal_failed(ngx_str_t *state, ngx_str_t *message);
static void ngx_broadcast_wal_break(ngx_str_t *state, ngx_str_t *message);
static void ngx_broadcast_wal_words(char *why, size_t size, ngx_str_t *state,
    ngx_str_t *message);
static void ngx_broadcast_wal_began(void);
static void ngx_broadcast_wal_terminate(void);
static void ngx_broadcast_wal_terminated(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static ngx_int_t ngx_broadcast_wal_said(u_char *data, size_t len);


/*
 * The server's side: it lets go of the slot of a machine that vanished within
 * 10 seconds, also where the session waits for others.  The name is how a later
 * leader knows what may be ended.
 */

static const char  ngx_broadcast_wal_settings[] =
    "SELECT pg_catalog.count(pg_catalog.set_config(s.name, v.value, false))"
    " FROM (VALUES ('wal_sender_timeout', '10s'),"
    " ('application_name', 'broadcast wal'),"
    " ('client_connection_check_interval', '2s'),"
    " ('client_min_messages', 'error'),"
    " ('statement_timeout', '0'),"
    " ('lock_timeout', '0'),"
    " ('tcp_keepalives_idle', '3'),"
    " ('tcp_keepalives_interval', '2'),"
    " ('tcp_keepalives_count', '3'),"
    " ('tcp_user_timeout', '9000')) v(name, value)"
    " JOIN pg_catalog.pg_settings s USING (name)";

static const char  ngx_broadcast_wal_terminate_text[] =
    "SELECT pg_catalog.pg_terminate_backend(a.pid)"
    " FROM pg_catalog.pg_replication_slots s"
    " JOIN pg_catalog.pg_stat_activity a"
    " ON a.pid OPERATOR(pg_catalog.=) s.active_pid"
    " WHERE s.slot_name OPERATOR(pg_catalog.=) $1::name"
    " AND a.usename OPERATOR(pg_catalog.=) session_user"
    " AND a.application_name OPERATOR(pg_catalog.=) 'broadcast wal'";


void
ngx_broadcast_wal_open(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->state != NGX_BROADCAST_WAL_CLOSED || wal->timer.timer_set) {
        return;
    }

    ngx_broadcast_pg_conn_init(&wal->conn, ngx_broadcast_pg.log);

    wal->conn.replication = 1;
    wal->conn.ready = ngx_broadcast_wal_ready;
    wal->conn.lost = ngx_broadcast_wal_lost;
    wal->conn.input = ngx_broadcast_wal_input;

    wal->timer.handler = ngx_broadcast_wal_retry;
    wal->timer.data = wal;
    wal->timer.log = ngx_broadcast_pg.log;
    wal->timer.cancelable = 1;

    wal->busy = 0;
    wal->state = NGX_BROADCAST_WAL_CONNECTING;

    if (ngx_broadcast_pg_conn_start(&wal->conn, wal->tries,
                                    ngx_min(ngx_broadcast_pg.conf->timeout,
                                            NGX_BROADCAST_RELAY_CONNECT),
                                    NGX_BROADCAST_WAL_TIMEOUT)
        != NGX_OK)
    {
        ngx_broadcast_wal_lost(&wal->conn);
    }
}


void
ngx_broadcast_wal_close(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->timer.timer_set) {
        ngx_del_timer(&wal->timer);
    }

    if (wal->state != NGX_BROADCAST_WAL_CLOSED) {
        wal->state = NGX_BROADCAST_WAL_CLOSED;
        ngx_broadcast_pg_conn_close(&wal->conn);
    }

    ngx_broadcast_wal_wire_clear();
    ngx_broadcast_wal_batch_clear();
}


static void
ngx_broadcast_wal_lost(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    wal->state = NGX_BROADCAST_WAL_CLOSED;
    wal->tries++;

    ngx_broadcast_wal_wire_clear();
    ngx_broadcast_wal_batch_clear();
    ngx_broadcast_wal_say((char *) conn->error);

    ngx_add_timer(&wal->timer, ngx_broadcast_backoff(&wal->backoff));
}


/* another connection, or once more for a slot that was another's */

static void
ngx_broadcast_wal_retry(ngx_event_t *ev)
{
    if (ngx_broadcast_wal.state == NGX_BROADCAST_WAL_IDLE) {
        ngx_broadcast_wal_next();
        return;
    }

    ngx_broadcast_wal_ask();
}


static void
ngx_broadcast_wal_ready(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_wal_send(NGX_BROADCAST_WAL_SETTING,
                           ngx_broadcast_wal_settings);
}


static void
ngx_broadcast_wal_send(ngx_uint_t state, const char *text)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    wal->state = state;

    if (PQsendQuery(wal->conn.pg, text) != 1
        || ngx_broadcast_pg_conn_flush(&wal->conn) != NGX_OK)
    {
        ngx_broadcast_pg_conn_drop(&wal->conn, NULL);
        return;
    }

    /* that of a new slot waits for all transactions that are open now */

    if (state != NGX_BROADCAST_WAL_CREATING) {
        ngx_add_timer(&wal->conn.timer, NGX_BROADCAST_WAL_TIMEOUT);

    } else if (wal->conn.timer.timer_set) {
        ngx_del_timer(&wal->conn.timer);
    }
}


void
ngx_broadcast_wal_next(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->state != NGX_BROADCAST_WAL_IDLE || wal->timer.timer_set) {
        return;
    }

    switch (wal->plan) {

    case NGX_BROADCAST_WAL_CREATE:

        if (wal->created[0] == '\0') {
            ngx_broadcast_wal_create();
        }

        return;

    case NGX_BROADCAST_WAL_READ:
    case NGX_BROADCAST_WAL_DRAIN:
        ngx_broadcast_wal_read();
        return;

    default:
        return;
    }
}


/* names are of letters, digits and underscores: nothing to be quoted */

static void
ngx_broadcast_wal_create(void)
{
    u_char  text[256];

    (void) ngx_snprintf(text, sizeof(text),
                        "SELECT s.lsn FROM pg_catalog."
                        "pg_create_logical_replication_slot("
                        "'%s', 'pgoutput') s%Z",
                        ngx_broadcast_wal.slot);

    ngx_log_error(NGX_LOG_NOTICE, ngx_broadcast_pg.log, 0,
                  "broadcast: making the replication slot \"%s\", behind all "
                  "transactions that are open now", ngx_broadcast_wal.slot);

    ngx_broadcast_wal_send(NGX_BROADCAST_WAL_CREATING, (char *) text);
}


static void
ngx_broadcast_wal_read(void)
{
    u_char                text[512];
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    (void) ngx_snprintf(text, sizeof(text),
                        "START_REPLICATION SLOT \"%s\" LOGICAL 0/0"
                        " (proto_version '1', publication_names '\"%s\"',"
                        " messages 'true')%Z",
                        wal->slot, wal->publication);

    wal->state = NGX_BROADCAST_WAL_STARTING;

    if (ngx_broadcast_wal_wire_start(&wal->conn, (char *) text) != NGX_OK) {
        ngx_broadcast_pg_conn_drop(&wal->conn, NULL);
        return;
    }

    ngx_add_timer(&wal->conn.timer, NGX_BROADCAST_WAL_TIMEOUT);
}


/* NGX_AGAIN: no room for more, or the connection is dropped */

static ngx_int_t
ngx_broadcast_wal_input(ngx_broadcast_pg_conn_t *conn)
{
    ngx_int_t             rc;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (!conn->raw) {
        return ngx_broadcast_wal_answer(conn);
    }

    rc = ngx_broadcast_wal_wire_read(conn);

    if (wal->state != NGX_BROADCAST_WAL_READING) {
        return rc;
    }

    ngx_broadcast_wal_batch_ready();

    /* a turn may have taken the full batch, and resumed this: it goes on */

    return wal->paused || conn->broken ? rc : NGX_OK;
}


/* NGX_AGAIN: the connection is dropped */

static ngx_int_t
ngx_broadcast_wal_answer(ngx_broadcast_pg_conn_t *conn)
{
    PGresult             *result;
    ngx_str_t             state, message;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    while (wal->state != NGX_BROADCAST_WAL_IDLE && !conn->raw
           && !PQisBusy(conn->pg))
    {

        result = PQgetResult(conn->pg);

        if (result == NULL) {
            ngx_broadcast_wal_answered(conn);
            continue;
        }

        switch (PQresultStatus(result)) {

        case PGRES_TUPLES_OK:

            if (wal->state == NGX_BROADCAST_WAL_CREATING
                && PQntuples(result) == 1)
            {
                ngx_cpystrn((u_char *) wal->created,
                            (u_char *) PQgetvalue(result, 0, 0),
                            sizeof(wal->created));
            }

            break;

        case PGRES_COMMAND_OK:
            break;

        default:
            state = ngx_broadcast_pg_sqlstate(result);
            message = ngx_broadcast_pg_message(result);

            ngx_broadcast_wal_failed(&state, &message);
        }

        PQclear(result);

        if (conn->broken) {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* a query is over, well or not */

static void
ngx_broadcast_wal_answered(ngx_broadcast_pg_conn_t *conn)
{
    ngx_uint_t            state;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    state = wal->state;
    wal->state = NGX_BROADCAST_WAL_IDLE;

    if (state == NGX_BROADCAST_WAL_SETTING) {
        ngx_broadcast_wal_next();

    } else {
        ngx_broadcast_wal_ask();
    }
}


/*
 * 55006: the slot is in use.  Whoever has lost the lead goes by itself, or
 * within the server's 10 seconds, or is ended if it is one of ours.  42710:
 * there is a slot of that name now, the plan knows what to do with it.
 */

static void
ngx_broadcast_wal_failed(ngx_str_t *state, ngx_str_t *message)
{
    char                  why[256];
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (state->len == 5 && ngx_memcmp(state->data, "42710", 5) == 0) {
        return;
    }

    if (state->len != 5 || ngx_memcmp(state->data, "55006", 5) != 0) {
        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        ngx_broadcast_wal_break(state, message);
        return;
    }

    if (wal->busy == 0) {
        wal->busy = ngx_current_msec;

    } else if (ngx_current_msec - wal->busy >= NGX_BROADCAST_WAL_GRACE) {
        ngx_broadcast_wal_words(why, sizeof(why), state, message);
        ngx_broadcast_wal_say(why);
        ngx_broadcast_wal_terminate();
    }

    ngx_add_timer(&wal->timer, NGX_BROADCAST_WAL_BUSY);
}


static void
ngx_broadcast_wal_break(ngx_str_t *state, ngx_str_t *message)
{
    char  why[256];

    ngx_broadcast_wal_words(why, sizeof(why), state, message);
    ngx_broadcast_pg_conn_drop(&ngx_broadcast_wal.conn, why);
}


static void
ngx_broadcast_wal_words(char *why, size_t size, ngx_str_t *state,
    ngx_str_t *message)
{
    (void) ngx_snprintf((u_char *) why, size - 1, "%V (%V)%Z", message, state);
    why[size - 1] = '\0';
}


static void
ngx_broadcast_wal_terminate(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->dropper.data) {
        return;
    }

    wal->dropper.data = wal;
    wal->dropper.nparams = 1;
    wal->dropper.params[0] = wal->slot;

    ngx_broadcast_relay_send(&wal->dropper, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_wal_terminate_text,
                             ngx_broadcast_wal_terminated);
}


static void
ngx_broadcast_wal_terminated(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    query->data = NULL;

    if (status == NGX_BROADCAST_PG_OK && PQntuples(result)) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_broadcast_pg.log, 0,
                      "broadcast: ended the session that had the replication "
                      "slot \"%s\" before", ngx_broadcast_wal.slot);
    }
}


static void
ngx_broadcast_wal_began(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    wal->state = NGX_BROADCAST_WAL_READING;
    wal->tries = 0;
    wal->busy = 0;

    wal->commit = 0;
    wal->received = 0;
    wal->numbered = 0;
    wal->recorded = 0;
    wal->recorded_at = ngx_current_msec;

    ngx_broadcast_wal_batch_clear();

    ngx_broadcast_wal_say(NULL);

    ngx_log_error(NGX_LOG_NOTICE, ngx_broadcast_pg.log, 0,
                  "broadcast: reading from the replication slot \"%s\"",
                  wal->slot);
}


ngx_int_t
ngx_broadcast_wal_heard(u_char type, u_char *data, size_t len)
{
    ngx_str_t             state, message;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    switch (type) {

    case 'd':
        return wal->state == NGX_BROADCAST_WAL_READING
               ? ngx_broadcast_wal_said(data, len) : NGX_ERROR;

    case 'W':
        ngx_broadcast_wal_began();
        return NGX_OK;

    case 'E':
        ngx_broadcast_pgoutput_error(data, len, &state, &message);

        if (wal->state == NGX_BROADCAST_WAL_READING) {
            ngx_broadcast_wal_break(&state, &message);

        } else {
            ngx_broadcast_wal_failed(&state, &message);
        }

        return NGX_OK;

    case 'Z':

        if (wal->state == NGX_BROADCAST_WAL_READING) {
            return NGX_ERROR;
        }

        wal->conn.raw = 0;
        ngx_broadcast_wal_wire_clear();
        ngx_broadcast_wal_answered(&wal->conn);

        return NGX_DONE;

    case 'c':
    case 'C':
        ngx_broadcast_pg_conn_drop(&wal->conn, "the server ended the stream");
        return NGX_OK;

    case 'N':
    case 'S':
        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_broadcast_wal_said(u_char *data, size_t len)
{
    ngx_broadcast_wal_t       *wal = &ngx_broadcast_wal;
    ngx_broadcast_pgoutput_t   said;

    if (ngx_broadcast_pgoutput_parse(data, len, &said) != NGX_OK) {
        return NGX_ERROR;
    }

    switch (said.type) {

    case NGX_BROADCAST_PGOUTPUT_BEGIN:
        wal->commit = said.lsn;
        wal->xid = said.xid;
        wal->n = 0;
        return NGX_OK;

    case NGX_BROADCAST_PGOUTPUT_COMMIT:
        wal->commit = 0;
        wal->received = ngx_max(wal->received, said.lsn);
        ngx_broadcast_wal_batch_upto(said.lsn);
        return NGX_OK;

    case NGX_BROADCAST_PGOUTPUT_KEEPALIVE:
        wal->received = ngx_max(wal->received, said.lsn);

        if (wal->commit == 0) {
            ngx_broadcast_wal_batch_upto(said.lsn);
        }

        if (said.reply) {
            ngx_broadcast_wal_confirm(0);
        }

        return NGX_OK;

    case NGX_BROADCAST_PGOUTPUT_MESSAGE:
        return ngx_broadcast_wal_ours(&said)
               ? ngx_broadcast_wal_batch_add(&said.content) : NGX_OK;

    default:
        return NGX_OK;
    }
}


/* what is sent outside of a transaction was not sent by our schema */

ngx_uint_t
ngx_broadcast_wal_ours(ngx_broadcast_pgoutput_t *said)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (said->type != NGX_BROADCAST_PGOUTPUT_MESSAGE
        || wal->commit == 0 || !said->transactional
        || said->prefix.len != sizeof(NGX_BROADCAST_WAL_PREFIX) - 1
        || ngx_memcmp(said->prefix.data, NGX_BROADCAST_WAL_PREFIX,
                      said->prefix.len) != 0)
    {
        return 0;
    }

    wal->n++;

    return 1;
}


void
ngx_broadcast_wal_confirm(ngx_uint_t reply)
{
    u_char                status[NGX_BROADCAST_PGOUTPUT_STATUS];
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->state != NGX_BROADCAST_WAL_READING || wal->conn.broken) {
        return;
    }

    ngx_broadcast_pgoutput_status(status, wal->received,
                                  ngx_min(wal->numbered, wal->recorded),
                                  ngx_broadcast_now(), reply);

    /* where there is no room one is under way, and the next one says more */

    if (ngx_broadcast_wal_wire_put(&wal->conn, 'd', status, sizeof(status))
        == NGX_ERROR)
    {
        ngx_broadcast_pg_conn_drop(&wal->conn, NULL);
    }
}
