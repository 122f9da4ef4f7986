
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_note.h"
#include "pg/ngx_broadcast_relay_local.h"


/*
 * How the relay's session fares, for the status and for broadcast.doctor().
 *
 * Which server process this session believes to have can be known only from
 * here.  A pooler in between hands out numbers of its own; one that changes
 * sessions is seen when the process is another one, or does not LISTEN.  And
 * whether NOTIFYs come is seen by one that the session sends to itself.
 */


static void ngx_broadcast_relay_server(u_char *text, size_t size);
static void ngx_broadcast_relay_told(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_pooler(ngx_uint_t pooler);
static void ngx_broadcast_relay_probe_sent(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_listens(ngx_uint_t listens);


static const char  ngx_broadcast_relay_about_text[] =
    "SELECT broadcast.node_about($1::text, $2::int, $3::int)";

static const char  ngx_broadcast_relay_probe_text[] =
    "SELECT pg_catalog.pg_notify('broadcast_probe', $1::text)";


void
ngx_broadcast_relay_about_begun(void)
{
    u_char                  server[NGX_BROADCAST_NOTE_SIZE];
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->failures = 0;
    relay->probed = 0;
    relay->probing = 0;

    ngx_broadcast_relay_server(server, sizeof(server));

    ngx_broadcast_note_set(ngx_broadcast_bus.zone, NGX_BROADCAST_NOTE_SERVER,
                           server);

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_SINCE, ngx_current_msec);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_HEARD, ngx_current_msec);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_FAILURES, 0);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_RETRY, 0);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_LISTENS,
                            NGX_BROADCAST_LISTENS_UNKNOWN);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_POOLER,
                            NGX_BROADCAST_POOLER_UNKNOWN);
}


/* the address that was connected to, of all those that the host may have */

static void
ngx_broadcast_relay_server(u_char *text, size_t size)
{
    PGconn      *pg = ngx_broadcast_relay.conn.pg;
    const char  *addr, *port;

    addr = PQhostaddr(pg);
    port = PQport(pg);

    if (addr == NULL || *addr == '\0') {
        addr = PQhost(pg);
    }

    addr = addr ? addr : "";
    port = port ? port : "";

    (void) ngx_snprintf(text, size - 1,
                        ngx_strchr(addr, ':') ? "[%s]:%s%Z" : "%s:%s%Z",
                        addr, port);
    text[size - 1] = '\0';
}


void
ngx_broadcast_relay_about_lost(void)
{
    ngx_uint_t              as;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    as = relay->lost_as;

    if (as == 0) {
        switch (relay->conn.fault) {

        case NGX_BROADCAST_PG_FAULT_CONNECT:
            as = NGX_BROADCAST_LOST_CONNECT;
            break;

        case NGX_BROADCAST_PG_FAULT_SILENT:
            as = NGX_BROADCAST_LOST_SILENT;
            break;

        default:
            as = NGX_BROADCAST_LOST_CLOSED;
        }
    }

    relay->lost_as = 0;

    ngx_broadcast_count(as, 1);
    ngx_broadcast_note_set(ngx_broadcast_bus.zone, NGX_BROADCAST_NOTE_REASON,
                           relay->conn.error);

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_SINCE, 0);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_FAILURES, relay->failures);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_LISTENS,
                            NGX_BROADCAST_LISTENS_UNKNOWN);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_POOLER,
                            NGX_BROADCAST_POOLER_UNKNOWN);
}


void
ngx_broadcast_relay_about_retry(ngx_msec_t wait)
{
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_RETRY,
                            ngx_current_msec + wait);
}


void
ngx_broadcast_relay_about(void)
{
    ngx_uint_t              pool;
    ngx_core_conf_t        *ccf;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->about.data) {
        return;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    /* each worker's, and this one */

    pool = ccf->worker_processes * (ngx_broadcast_pg.conf->pool
                                    + ngx_broadcast_pg.conf->streams) + 1;

    (void) ngx_sprintf((u_char *) relay->about_session, "%d%Z",
                       PQbackendPID(relay->conn.pg));
    (void) ngx_sprintf((u_char *) relay->about_pool, "%ui%Z", pool);

    relay->about.data = relay;
    relay->about.nparams = 3;
    relay->about.params[0] = relay->node;
    relay->about.params[1] = relay->about_session;
    relay->about.params[2] = relay->about_pool;

    ngx_broadcast_relay_send(&relay->about, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_relay_about_text,
                             ngx_broadcast_relay_told);
}


/* nothing depends on it: a role without the right tries once a session */

static void
ngx_broadcast_relay_told(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_str_t  pooler;

    if (status != NGX_BROADCAST_PG_OK) {
        return;
    }

    query->data = NULL;

    pooler = ngx_broadcast_pg_value(result, 0, 0);

    if (pooler.len == 0) {
        return;
    }

    ngx_broadcast_relay_pooler(pooler.data[0] == 't'
                                   ? NGX_BROADCAST_POOLER_TRANSACTION
                               : pooler.data[0] == 's'
                                   ? NGX_BROADCAST_POOLER_SESSION
                                   : NGX_BROADCAST_POOLER_NONE);
}


static void
ngx_broadcast_relay_pooler(ngx_uint_t pooler)
{
    if (ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_POOLER) == pooler) {
        return;
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_POOLER, pooler);

    switch (pooler) {

    case NGX_BROADCAST_POOLER_TRANSACTION:
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: a pooler gives this session other server "
                      "processes than its own (transaction mode): LISTEN and "
                      "the lock of the relay do not hold, let "
                      "\"broadcast_database\" name the server itself");
        break;

    case NGX_BROADCAST_POOLER_SESSION:
        ngx_log_error(NGX_LOG_WARN, ngx_broadcast_pg.log, 0,
                      "broadcast: a pooler is between this session and the "
                      "database");
        break;

    default:
        break;
    }
}


void
ngx_broadcast_relay_probe(void)
{
    ngx_msec_t              since;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    since = ngx_current_msec - relay->probed;

    if (relay->probing && since >= NGX_BROADCAST_RELAY_ECHO) {
        relay->probing = 0;
        ngx_broadcast_relay_listens(NGX_BROADCAST_LISTENS_NO);
    }

    if (relay->probe.data
        || (relay->probed && since < NGX_BROADCAST_RELAY_PROBE))
    {
        return;
    }

    relay->probed = ngx_current_msec;
    relay->probing = 1;

    relay->probe.data = relay;
    relay->probe.nparams = 1;
    relay->probe.params[0] = relay->node;

    ngx_broadcast_relay_send(&relay->probe, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_relay_probe_text,
                             ngx_broadcast_relay_probe_sent);
}


static void
ngx_broadcast_relay_probe_sent(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    query->data = NULL;

    (void) ngx_broadcast_relay_good(status, result, "a NOTIFY");
}


void
ngx_broadcast_relay_probed(void)
{
    ngx_broadcast_relay.probing = 0;
    ngx_broadcast_relay_listens(NGX_BROADCAST_LISTENS_YES);
}


static void
ngx_broadcast_relay_listens(ngx_uint_t listens)
{
    ngx_uint_t  was;

    was = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_LISTENS);

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_LISTENS, listens);

    if (was == listens) {
        return;
    }

    if (listens == NGX_BROADCAST_LISTENS_NO) {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: a NOTIFY that this session sent to itself "
                      "did not come: what is sent in SQL waits for the poll, "
                      "up to a second");

    } else if (was == NGX_BROADCAST_LISTENS_NO) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_broadcast_pg.log, 0,
                      "broadcast: NOTIFYs come again");
    }
}
