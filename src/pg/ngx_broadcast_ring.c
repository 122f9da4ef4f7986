
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay_local.h"


/*
 * Where this node's relay leads it is woken in shared memory.  Where another
 * node's does, a NOTIFY rings its doorbell: one at a time, since each takes a
 * lock of the whole cluster at its commit; what comes meanwhile is rung for
 * by one more.  A bell that is lost costs the poll's second.
 */


static void ngx_broadcast_ring_send(void);
static void ngx_broadcast_ring_done(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


static ngx_broadcast_pg_query_t  ngx_broadcast_ring;
static ngx_uint_t                ngx_broadcast_ringing;
static ngx_uint_t                ngx_broadcast_ring_again;


void
ngx_broadcast_relay_nudge(void)
{
    ngx_uint_t  slot;

    if (ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_WAL)) {

        /* whoever leads hears of it from the server */

        return;
    }

    if (ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_STATE)
        != NGX_BROADCAST_RELAY_LEADER)
    {
        ngx_broadcast_ring_send();
        return;
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_DUE, 1);

    slot = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_SLOT);

    if (slot == ngx_broadcast_bus.slot + 1) {
        ngx_broadcast_relay_woken();

    } else if (slot) {
        ngx_broadcast_wake(slot - 1);
    }
}


void
ngx_broadcast_relay_woken(void)
{
    if (ngx_broadcast_relay.running
        && ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_DUE))
    {
        ngx_broadcast_relay.rung = 1;
        ngx_broadcast_relay_turn();
    }
}


static void
ngx_broadcast_ring_send(void)
{
    if (ngx_broadcast_ringing) {
        ngx_broadcast_ring_again = 1;
        return;
    }

    ngx_broadcast_ring.statement = NGX_BROADCAST_PG_RING;
    ngx_broadcast_ring.nparams = 0;
    ngx_broadcast_ring.done = ngx_broadcast_ring_done;

    if (ngx_broadcast_pg_pool_send(&ngx_broadcast_ring, 1) == NGX_OK) {
        ngx_broadcast_ringing = 1;
    }
}


static void
ngx_broadcast_ring_done(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_broadcast_ringing = 0;

    if (ngx_broadcast_ring_again) {
        ngx_broadcast_ring_again = 0;
        ngx_broadcast_ring_send();
    }
}
