
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_pool_local.h"


static ngx_broadcast_pg_member_t *ngx_broadcast_pg_pool_choose(
    ngx_uint_t quick);
static ngx_uint_t ngx_broadcast_pg_pool_grows(void);


ngx_uint_t
ngx_broadcast_pg_pool_hand_out(ngx_queue_t *queue, ngx_uint_t quick)
{
    ngx_uint_t                  shared;
    ngx_queue_t                *q;
    ngx_broadcast_pg_query_t   *query;
    ngx_broadcast_pg_member_t  *m;

    shared = 0;

    while (!ngx_queue_empty(queue)) {
        m = ngx_broadcast_pg_pool_choose(quick);

        if (m == NULL) {
            return 1;
        }

        q = ngx_queue_head(queue);
        query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

        (void) ngx_broadcast_pg_pool_withdraw(query);

        if (m->conn.nflight) {
            shared = 1;
        }

        if (ngx_broadcast_pg_conn_send(&m->conn, query) != NGX_OK) {

            /* broken before it left, and marked so: another one takes it */

            query->waiting = 1;
            ngx_queue_insert_head(queue, &query->queue);
            ngx_broadcast_pg_pool.waiting++;
        }
    }

    return shared;
}


/*
 * In the end, what nobody waits for: a connection each, if it is idle.  The
 * first one of several is not for functions, and one of the others is left.
 */

ngx_uint_t
ngx_broadcast_pg_pool_hand_spare(void)
{
    ngx_uint_t                  i, n;
    ngx_queue_t                *q;
    ngx_broadcast_pg_query_t   *query;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    n = 0;

    for (i = 0; i < pool->n; i++) {
        n += pool->members[i].spare ? 1 : 0;
    }

    for (i = pool->n; i-- > 0 && n < ngx_broadcast_pg_pool_spare(); /* void */)
    {
        if (ngx_queue_empty(&pool->spare)) {
            return 0;
        }

        m = &pool->members[i];

        if (!m->up || m->conn.broken || m->conn.nflight
            || (i == 0 && pool->n > 1))
        {
            continue;
        }

        q = ngx_queue_head(&pool->spare);
        query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

        (void) ngx_broadcast_pg_pool_withdraw(query);

        if (ngx_broadcast_pg_conn_send(&m->conn, query) == NGX_OK) {
            m->spare = 1;
            n++;

        } else {
            query->waiting = 1;
            ngx_queue_insert_head(&pool->spare, &query->queue);
        }
    }

    return !ngx_queue_empty(&pool->spare)
           && n < ngx_broadcast_pg_pool_spare();
}


ngx_uint_t
ngx_broadcast_pg_pool_spare(void)
{
    ngx_uint_t  n;

    n = ngx_broadcast_pg_pool.n;

    return n > 3 ? n - 2 : 1;
}


/* an idle connection, else a prompt one with the fewest queries, or NULL */

static ngx_broadcast_pg_member_t *
ngx_broadcast_pg_pool_choose(ngx_uint_t quick)
{
    ngx_uint_t                  i, k, others, grows;
    ngx_broadcast_pg_conn_t    *conn;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m, *best;

    others = 0;
    best = NULL;
    grows = !quick && ngx_broadcast_pg_pool_grows();

    for (k = 0; k < pool->n; k++) {
        i = quick ? k : pool->n - 1 - k;
        m = &pool->members[i];
        conn = &m->conn;

        if (!m->up || conn->broken) {
            continue;
        }

        /* the first is kept for quick ones, unless it is the only one */

        if (i == 0 && !quick && (others || grows)) {
            break;
        }

        others = 1;

        if (conn->nflight == 0) {
            return m;
        }

        if (grows
            || conn->nflight >= NGX_BROADCAST_PG_DEPTH
            || (m->spare && pool->n > 2)
            || (!quick && conn->took > NGX_BROADCAST_PG_PROMPT)
            || ngx_current_msec - conn->since > NGX_BROADCAST_PG_PROMPT)
        {
            continue;
        }

        if (best == NULL || conn->nflight < best->conn.nflight) {
            best = m;
        }
    }

    return best;
}


/*
 * 1 if a connection for functions is to come: one that takes its time holds
 * up nobody who can have a connection of his own.
 */

static ngx_uint_t
ngx_broadcast_pg_pool_grows(void)
{
    ngx_uint_t                i;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    if (pool->retry.timer_set) {
        return 0;
    }

    for (i = 1; i < pool->n; i++) {
        if (!pool->members[i].up) {
            return 1;
        }
    }

    return 0;
}
