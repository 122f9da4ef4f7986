
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_pool_local.h"
#include "pg/ngx_broadcast_pg_reset.h"


/*
 * What functions leave in a session: settings, temporary tables, channels,
 * advisory locks.  The statement of a call takes back a role and a search_path
 * by itself; all else waits for this, which is sent once a second to
 * connections that functions ran on, behind what is in flight there.
 */

#define NGX_BROADCAST_PG_RESET_TIME  1000   /* ms */


static void ngx_broadcast_pg_reset_done(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


/* what nginx has prepared stays: DISCARD ALL would cost it all of that */

u_char *
ngx_broadcast_pg_reset_text(u_char *text, size_t size, const char *settings)
{
    return ngx_snprintf(text, size, "DO $$BEGIN"
                        " RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;"
                        " EXECUTE 'CLOSE ALL'; UNLISTEN *;"
                        " PERFORM pg_catalog.pg_advisory_unlock_all(), %s;"
                        " DISCARD TEMP; DISCARD SEQUENCES; END$$%Z", settings);
}


void
ngx_broadcast_pg_pool_reset(void)
{
    ngx_uint_t                  i;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    for (i = 0; i < pool->n; i++) {
        m = &pool->members[i];

        if (!m->up || !m->used || m->resetting || m->conn.broken
            || (m->conn.nflight && m->alone)
            || ngx_current_msec - m->clean < NGX_BROADCAST_PG_RESET_TIME)
        {
            continue;
        }

        ngx_memzero(&m->reset, sizeof(ngx_broadcast_pg_query_t));

        m->reset.statement = NGX_BROADCAST_PG_TEXT;
        m->reset.text = pool->reset;
        m->reset.done = ngx_broadcast_pg_reset_done;
        m->reset.data = m;

        if (ngx_broadcast_pg_conn_send(&m->conn, &m->reset) == NGX_OK) {
            m->used = 0;
            m->resetting = 1;
            m->clean = ngx_current_msec;
        }
    }
}


static void
ngx_broadcast_pg_reset_done(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_broadcast_pg_member_t  *m = query->data;

    m->resetting = 0;

    if (status == NGX_BROADCAST_PG_FAILED) {
        ngx_broadcast_pg_conn_drop(&m->conn, "the session was not reset");
    }
}
