
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_relay_local.h"


/*
 * A server that is stopped, or its network, says nothing: connections stay up,
 * and what is sent waits for its time-out.  The relay, which asks once a
 * second, may also wait for a lock.  So what hears nothing for two seconds
 * knocks with another connection, and as long as that is made, or refused with
 * a word, all is well.  If it is not, the session is given up, and nobody waits
 * for the database who has not heard of it since (pg_pool_away()).
 */

#define NGX_BROADCAST_RELAY_SILENCE  2000     /* ms */
#define NGX_BROADCAST_RELAY_KNOCK    1500     /* ms, for a connection */


static void ngx_broadcast_relay_opened(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_relay_knocked(ngx_broadcast_pg_conn_t *conn);


void
ngx_broadcast_relay_silence_start(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    ngx_broadcast_pg_conn_init(&relay->knock, ngx_broadcast_pg.log);

    relay->knock.ready = ngx_broadcast_relay_opened;
    relay->knock.lost = ngx_broadcast_relay_knocked;
}


void
ngx_broadcast_relay_silence_stop(void)
{
    ngx_broadcast_pg_conn_close(&ngx_broadcast_relay.knock);
}


void
ngx_broadcast_relay_silence(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (ngx_broadcast_relay_quiet() < NGX_BROADCAST_RELAY_SILENCE
        || relay->knock.state != NGX_BROADCAST_PG_CLOSED)
    {
        return;
    }

    relay->opened = 0;
    relay->knocked = ngx_current_msec;

    /* what fails at once says nothing of the server */

    (void) ngx_broadcast_pg_conn_start(&relay->knock, relay->tries,
                                       NGX_BROADCAST_RELAY_KNOCK,
                                       NGX_BROADCAST_RELAY_KNOCK);
}


ngx_msec_t
ngx_broadcast_relay_quiet(void)
{
    return ngx_current_msec
           - (ngx_msec_t) ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_HEARD);
}


static void
ngx_broadcast_relay_opened(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_relay.opened = 1;

    ngx_broadcast_pg_conn_drop(conn, "somebody is there");
}


static void
ngx_broadcast_relay_knocked(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->opened
        || ngx_current_msec - relay->knocked < NGX_BROADCAST_RELAY_KNOCK
        || relay->phase != NGX_BROADCAST_RELAY_RUNNING
        || ngx_broadcast_relay_quiet() < NGX_BROADCAST_RELAY_SILENCE)
    {
        return;
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_SILENT, ngx_current_msec);
    ngx_broadcast_relay_drop(NGX_BROADCAST_LOST_SILENT,
                             "the server says nothing");
}
