
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay_local.h"


/*
 * Who is lost is judged by the server's clock: a node that was not heard of for
 * its lease.  Only who has itself been answered without a break for as long may
 * judge: behind an outage of the database, or when it was this process that
 * stood still, nobody was heard of, and all need the time to come back.  The
 * same if the server's clock was set: it has then not gone on as ours did.
 */


static void ngx_broadcast_relay_unseat(void);
static void ngx_broadcast_relay_unseated(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_sweep(void);
static void ngx_broadcast_relay_swept(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


static const char  ngx_broadcast_relay_unseat_text[] =
    "SELECT broadcast.unseat($1::double precision)";


/* of the pool, not of the session: it runs functions, which take their time */

static ngx_broadcast_pg_query_t  ngx_broadcast_relay_sweeper;
static ngx_uint_t                ngx_broadcast_relay_sweeping;
static ngx_uint_t                ngx_broadcast_relay_sweep_rows =
                                     NGX_BROADCAST_RELAY_SWEEP;
static char                      ngx_broadcast_relay_sweep_text[
                                     NGX_INT_T_LEN + 1];
static char                      ngx_broadcast_relay_sweep_at[
                                     NGX_INT64_LEN + 2];


void
ngx_broadcast_relay_judge(ngx_msec_t lease, uint64_t clock)
{
    int64_t                 passed, there;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    passed = ngx_current_msec - relay->answered;
    there = clock - relay->clock;

    /* a part of the lease: the nodes' own beats have the rest */

    if (relay->clock == 0
        || passed > (int64_t) lease / 2
        || ngx_abs(there - passed) > (int64_t) lease / 4)
    {
        relay->unbroken = ngx_current_msec;
    }

    relay->lease = lease;
    relay->clock = clock;
    relay->answered = ngx_current_msec;

    if (ngx_current_msec - relay->unbroken < lease) {
        return;
    }

    if (relay->leader) {
        ngx_broadcast_relay_sweep();

    } else {
        ngx_broadcast_relay_unseat();
    }
}


/*
 * A machine that is lost loses the lock with its session.  A process that is
 * stopped does not: its kernel goes on acknowledging for it.
 */

static void
ngx_broadcast_relay_unseat(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->unseat.data) {
        return;
    }

    (void) ngx_sprintf((u_char *) relay->unseat_lease, "%M%Z", relay->lease);

    relay->unseat.data = relay;
    relay->unseat.nparams = 1;
    relay->unseat.params[0] = relay->unseat_lease;

    ngx_broadcast_relay_send(&relay->unseat, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_relay_unseat_text,
                             ngx_broadcast_relay_unseated);
}


/* nothing depends on it: a role without the right tries once a session */

static void
ngx_broadcast_relay_unseated(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    if (status != NGX_BROADCAST_PG_OK) {
        return;
    }

    query->data = NULL;

    if (ngx_broadcast_pg_number(result, 0, 0)) {
        ngx_log_error(NGX_LOG_WARN, ngx_broadcast_pg.log, 0,
                      "broadcast: the relay that led was silent for its "
                      "lease, its session was ended");
    }
}


/*
 * Connections of nodes that are lost.  They are one transaction, which may take
 * as long as a call: if it was ended for that, or for anything else, the next
 * one is smaller.
 */

static void
ngx_broadcast_relay_sweep(void)
{
    ngx_broadcast_pg_query_t  *query = &ngx_broadcast_relay_sweeper;

    if (!ngx_broadcast_relay.leader || ngx_broadcast_relay_sweeping) {
        return;
    }

    query->statement = NGX_BROADCAST_PG_SWEEP;
    query->nparams = 4;
    query->params[0] = ngx_broadcast_relay_sweep_text;
    query->params[1] = ngx_broadcast_pg_text(
                                        &ngx_broadcast_pg.conf->role_claim);
    query->params[2] = ngx_broadcast_pg_text(
                                        &ngx_broadcast_pg.conf->role_default);
    query->params[3] = ngx_broadcast_relay_sweep_at;
    query->done = ngx_broadcast_relay_swept;

    (void) ngx_sprintf((u_char *) ngx_broadcast_relay_sweep_text, "%ui%Z",
                       ngx_broadcast_relay_sweep_rows);

    /* the clock that was checked, not one that may be set meanwhile */

    (void) ngx_sprintf((u_char *) ngx_broadcast_relay_sweep_at, "%uL%Z",
                       ngx_broadcast_relay.clock);

    if (ngx_broadcast_pg_pool_send(query, 0) == NGX_OK) {
        ngx_broadcast_relay_sweeping = 1;
    }
}


static void
ngx_broadcast_relay_swept(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_str_t   state;
    ngx_uint_t  n, rows;

    ngx_broadcast_relay_sweeping = 0;

    rows = ngx_broadcast_relay_sweep_rows;

    if (status == NGX_BROADCAST_PG_FAILED) {
        state = ngx_broadcast_pg_sqlstate(result);

        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: broadcast.sweep(%ui) failed, SQLSTATE %V",
                      rows, &state);

        ngx_broadcast_relay_sweep_rows = ngx_max(rows / 10, 1);
        return;
    }

    if (status != NGX_BROADCAST_PG_OK) {
        return;
    }

    n = (ngx_uint_t) ngx_broadcast_pg_number(result, 0, 0);

    if (n) {
        ngx_broadcast_relay_nudge();
    }

    /* as many as were asked for: there are more */

    if (n == rows) {
        ngx_broadcast_relay_sweep();

    } else {
        ngx_broadcast_relay_sweep_rows = NGX_BROADCAST_RELAY_SWEEP;
    }
}
