
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_relay_local.h"
#include "pg/ngx_broadcast_timer.h"
#include "pg/ngx_broadcast_wal.h"


static void ngx_broadcast_relay_open(void);
static void ngx_broadcast_relay_ready(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_relay_lost(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_relay_notify(ngx_broadcast_pg_conn_t *conn,
    const char *channel, const char *payload);
static void ngx_broadcast_relay_answered(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_relay_timer(ngx_event_t *ev);
static void ngx_broadcast_relay_away(const u_char *why, ngx_uint_t changed);


ngx_broadcast_relay_t  ngx_broadcast_relay;


void
ngx_broadcast_relay_start(void)
{
    ngx_broadcast_relay_t      *relay = &ngx_broadcast_relay;
    ngx_broadcast_zone_info_t   info;

    if (relay->running) {
        return;
    }

    ngx_memzero(relay, sizeof(ngx_broadcast_relay_t));

    ngx_broadcast_pg_conn_init(&relay->conn, ngx_broadcast_pg.log);

    relay->conn.ready = ngx_broadcast_relay_ready;
    relay->conn.lost = ngx_broadcast_relay_lost;
    relay->conn.notify = ngx_broadcast_relay_notify;
    relay->conn.answered = ngx_broadcast_relay_answered;

    ngx_broadcast_relay_silence_start();

    relay->timer.handler = ngx_broadcast_relay_timer;
    relay->timer.data = relay;
    relay->timer.log = ngx_broadcast_pg.log;
    relay->timer.cancelable = 1;

    relay->quick.handler = ngx_broadcast_relay_bell_poll;
    relay->quick.data = relay;
    relay->quick.log = ngx_broadcast_pg.log;
    relay->quick.cancelable = 1;

    relay->pause.handler = ngx_broadcast_relay_pause_over;
    relay->pause.data = relay;
    relay->pause.log = ngx_broadcast_pg.log;
    relay->pause.cancelable = 1;

    ngx_broadcast_zone_info(ngx_broadcast_bus.zone, &info);

    relay->piece = info.log_bytes / 16;
    relay->running = 1;

    (void) ngx_snprintf((u_char *) relay->node, sizeof(relay->node), "%V%Z",
                        &ngx_broadcast_pg.node);

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_STATE,
                            NGX_BROADCAST_RELAY_OFF);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_SLOT,
                            ngx_broadcast_bus.slot + 1);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_SINCE, 0);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_RETRY, 0);

    ngx_log_error(NGX_LOG_INFO, ngx_broadcast_pg.log, 0,
                  "broadcast: this worker relays from the database");

    ngx_broadcast_relay_open();
}


void
ngx_broadcast_relay_stop(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (!relay->running) {
        return;
    }

    relay->running = 0;
    relay->phase = NGX_BROADCAST_RELAY_CLOSED;

    ngx_broadcast_wal_stop();
    ngx_broadcast_relay_undelivered();
    ngx_broadcast_relay_bell_stop();
    ngx_broadcast_timer_stop();

    if (relay->timer.timer_set) {
        ngx_del_timer(&relay->timer);
    }

    ngx_broadcast_relay_silence_stop();
    ngx_broadcast_pg_conn_close(&relay->conn);
}


static void
ngx_broadcast_relay_open(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (ngx_broadcast_pg_conn_start(&relay->conn, relay->tries,
                                    ngx_min(ngx_broadcast_pg.conf->timeout,
                                            NGX_BROADCAST_RELAY_CONNECT),
                                    NGX_BROADCAST_RELAY_PATIENCE)
        != NGX_OK)
    {
        ngx_broadcast_relay_lost(&relay->conn);
    }
}


static void
ngx_broadcast_relay_ready(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->leader = 0;
    relay->turning = 0;
    relay->due = 0;
    relay->lock.data = NULL;
    relay->beats.data = NULL;
    relay->about.data = NULL;
    relay->probe.data = NULL;
    relay->lost_as = 0;
    relay->look.data = NULL;
    relay->bindings.data = NULL;
    relay->unseat.data = NULL;
    relay->beat = 0;
    relay->clock = 0;
    relay->courted = ngx_current_msec;

    ngx_broadcast_relay_set_up();
}


static void
ngx_broadcast_relay_lost(ngx_broadcast_pg_conn_t *conn)
{
    ngx_msec_t              wait;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->phase != NGX_BROADCAST_RELAY_RUNNING) {
        relay->tries++;
    }

    relay->failures++;

    relay->phase = NGX_BROADCAST_RELAY_CLOSED;

    ngx_broadcast_wal_stop();
    ngx_broadcast_relay_undelivered();
    ngx_broadcast_relay_bell_stop();
    ngx_broadcast_timer_stop();

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_STATE,
                            NGX_BROADCAST_RELAY_OFF);
    ngx_broadcast_relay_about_lost();
    ngx_broadcast_relay_state(NGX_BROADCAST_DB_DOWN, conn->error);

    wait = ngx_broadcast_backoff(&relay->backoff);

    if (relay->lease) {

        /* a node that waits too long is taken for lost */

        wait = ngx_min(wait, relay->lease / 3);
    }

    ngx_broadcast_relay_about_retry(wait);
    ngx_add_timer(&relay->timer, wait);
}


static void
ngx_broadcast_relay_answered(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_HEARD, ngx_current_msec);

    if (ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_SILENT)) {
        ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_SILENT, 0);
    }
}


static void
ngx_broadcast_relay_timer(ngx_event_t *ev)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    switch (relay->phase) {

    case NGX_BROADCAST_RELAY_CLOSED:
        ngx_broadcast_relay_open();
        return;

    case NGX_BROADCAST_RELAY_NO_SCHEMA:
        ngx_broadcast_relay_ask_again();
        return;

    case NGX_BROADCAST_RELAY_RUNNING:
        ngx_broadcast_relay_poll();
        return;

    default:
        return;
    }
}


static void
ngx_broadcast_relay_notify(ngx_broadcast_pg_conn_t *conn, const char *channel,
    const char *payload)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (ngx_strcmp(channel, "broadcast_doorbell") == 0) {

        ngx_broadcast_count(NGX_BROADCAST_DOORBELLS, 1);

        /* a follower waits for the batch that the leader makes of it */

        if (relay->leader) {
            ngx_broadcast_relay_bell(ngx_strcmp(payload, "adaptive") == 0);
            ngx_broadcast_relay_turn();
        }

    } else if (ngx_strcmp(channel, "broadcast_batch") == 0) {

        if (!relay->leader) {
            ngx_broadcast_relay_turn();
        }

    } else if (ngx_strcmp(channel, "broadcast_bindings") == 0) {
        relay->looking = 1;
        ngx_broadcast_relay_turn();

    } else if (ngx_strcmp(channel, "broadcast_probe") == 0
               && ngx_strcmp(payload, relay->node) == 0)
    {
        ngx_broadcast_relay_probed();
    }

    ngx_broadcast_listen_notify(channel, payload);
}


void
ngx_broadcast_relay_send(ngx_broadcast_pg_query_t *query,
    ngx_uint_t statement, const char *text, ngx_broadcast_pg_done_pt done)
{
    query->statement = statement;
    query->text = text;
    query->done = done;

    if (ngx_broadcast_pg_conn_send(&ngx_broadcast_relay.conn, query)
        != NGX_OK)
    {
        ngx_broadcast_pg_conn_drop(&ngx_broadcast_relay.conn, NULL);
    }
}


ngx_uint_t
ngx_broadcast_relay_good(ngx_uint_t status, PGresult *result,
    const char *what)
{
    char                    why[256];
    ngx_str_t               state, message;

    if (status == NGX_BROADCAST_PG_OK) {
        return 1;
    }

    if (status == NGX_BROADCAST_PG_FAILED) {
        state = ngx_broadcast_pg_sqlstate(result);
        message = ngx_broadcast_pg_message(result);

        (void) ngx_snprintf((u_char *) why, sizeof(why) - 1,
                            "%s failed: %V (%V)%Z", what, &message, &state);
        why[sizeof(why) - 1] = '\0';

        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        ngx_broadcast_relay_drop(NGX_BROADCAST_LOST_ERROR, why);
    }

    return 0;
}


void
ngx_broadcast_relay_drop(ngx_uint_t as, const char *why)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (!relay->conn.broken) {
        relay->lost_as = as;
        ngx_broadcast_pg_conn_drop(&relay->conn, why);
    }
}


/* one line a change of the node's state, whichever worker saw it last */

void
ngx_broadcast_relay_state(ngx_uint_t state, const u_char *why)
{
    ngx_uint_t   was;
    const char  *name;

    was = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_STATE);

    if (state == NGX_BROADCAST_DB_DOWN) {
        ngx_broadcast_relay_away(why, was != state);
    }

    if (was == state) {
        return;
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_STATE, state);

    switch (state) {

    case NGX_BROADCAST_DB_UP:
        ngx_log_error(NGX_LOG_NOTICE, ngx_broadcast_pg.log, 0,
                      "broadcast: the database is up");

        if (was == NGX_BROADCAST_DB_DOWN) {
            ngx_broadcast_count(NGX_BROADCAST_DB_RECONNECTS, 1);
        }

        break;

    case NGX_BROADCAST_DB_SCHEMA:
        name = ngx_broadcast_relay.conn.pg
               ? PQdb(ngx_broadcast_relay.conn.pg) : NULL;

        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: the database has no usable schema "
                      "\"broadcast\": %s; install it with: "
                      "psql -d %s -f sql/broadcast.sql",
                      why, name ? name : "DATABASE");
        break;

    default:
        break;
    }
}


/* at once if it is news, else seldom: the reason may be another one by now */

static void
ngx_broadcast_relay_away(const u_char *why, ngx_uint_t changed)
{
    ngx_msec_t              since;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    since = ngx_current_msec - relay->said;

    if (!changed
        && since < (ngx_strcmp(why, relay->said_why) == 0
                    ? NGX_BROADCAST_RELAY_SAY_AGAIN
                    : NGX_BROADCAST_RELAY_SAY))
    {
        return;
    }

    relay->said = ngx_current_msec;
    ngx_cpystrn(relay->said_why, (u_char *) why, sizeof(relay->said_why));

    ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                  "broadcast: the database is away: %s", why);
}
