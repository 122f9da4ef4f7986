
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
 * The node that leads has the parts of the history made and dropped: over the
 * pool, so that the numbering waits for no lock that this may wait for.
 */


static void ngx_broadcast_relay_upkept(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_upkeep_failed(ngx_str_t *why);


static ngx_broadcast_pg_query_t  ngx_broadcast_relay_upkeeper;
static ngx_uint_t                ngx_broadcast_relay_upkeeping;
static ngx_msec_t                ngx_broadcast_relay_upkeep_last;
static ngx_msec_t                ngx_broadcast_relay_upkeep_bad;  /* 0: well */
static ngx_msec_t                ngx_broadcast_relay_upkeep_said;


void
ngx_broadcast_relay_upkeep(void)
{
    ngx_broadcast_pg_query_t  *query = &ngx_broadcast_relay_upkeeper;

    if (ngx_broadcast_relay_upkeeping
        || ngx_current_msec - ngx_broadcast_relay_upkeep_last
           < NGX_BROADCAST_RELAY_UPKEEP)
    {
        return;
    }

    query->statement = NGX_BROADCAST_PG_TEXT;
    query->text = "SELECT broadcast.upkeep()";
    query->nparams = 0;
    query->done = ngx_broadcast_relay_upkept;

    if (ngx_broadcast_pg_pool_send(query, NGX_BROADCAST_PG_SLOW) == NGX_OK) {
        ngx_broadcast_relay_upkeeping = 1;
        ngx_broadcast_relay_upkeep_last = ngx_current_msec;
    }
}


static void
ngx_broadcast_relay_upkept(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_str_t  why;

    ngx_broadcast_relay_upkeeping = 0;

    if (status == NGX_BROADCAST_PG_FAILED) {
        why = ngx_broadcast_pg_message(result);

        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        ngx_broadcast_relay_upkeep_failed(&why);
        return;
    }

    if (status != NGX_BROADCAST_PG_OK) {
        return;
    }

    if (PQgetisnull(result, 0, 0)) {
        ngx_broadcast_relay_upkeep_bad = 0;
        return;
    }

    why = ngx_broadcast_pg_value(result, 0, 0);
    ngx_broadcast_relay_upkeep_failed(&why);
}


/* somebody reads at the moment: it is tried again, and said if it goes on */

static void
ngx_broadcast_relay_upkeep_failed(ngx_str_t *why)
{
    if (ngx_broadcast_relay_upkeep_bad == 0) {
        ngx_broadcast_relay_upkeep_bad = ngx_max(ngx_current_msec, 1);
        ngx_broadcast_relay_upkeep_said = ngx_current_msec;
        return;
    }

    if (ngx_current_msec - ngx_broadcast_relay_upkeep_said
        < NGX_BROADCAST_RELAY_UPKEEP_SAY)
    {
        return;
    }

    ngx_broadcast_relay_upkeep_said = ngx_current_msec;

    ngx_log_error(NGX_LOG_WARN, ngx_broadcast_pg.log, 0,
                  "broadcast: the history is not kept up for %M s: %V",
                  (ngx_current_msec - ngx_broadcast_relay_upkeep_bad) / 1000,
                  why);
}
