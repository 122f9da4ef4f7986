
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_relay_local.h"


/*
 * What broadcast.doctor() can know only from here: the server process that
 * this session believes to have.  A pooler in between hands out numbers of its
 * own, and one that changes sessions is seen by the next time.
 */


static void ngx_broadcast_relay_told(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


static const char  ngx_broadcast_relay_about_text[] =
    "SELECT broadcast.node_about($1::text, $2::int, $3::int)";


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
    if (status == NGX_BROADCAST_PG_OK) {
        query->data = NULL;
    }
}
