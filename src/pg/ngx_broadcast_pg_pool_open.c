
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_pool_local.h"


#define NGX_BROADCAST_PG_CONNECT_TIME  5000   /* ms, at most */


static void ngx_broadcast_pg_pool_set_up(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_pg_pool_failure(const u_char *why);


void
ngx_broadcast_pg_pool_open(ngx_uint_t quick)
{
    ngx_uint_t                  i;
    ngx_msec_t                  timeout;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    for (i = (quick || pool->n == 1) ? 0 : 1; i < pool->n; i++) {
        if (pool->members[i].conn.state == NGX_BROADCAST_PG_CLOSED) {
            break;
        }
    }

    if (i == pool->n) {

        /* those that would share it with quick ones */

        if (ngx_queue_empty(&pool->known)
            || pool->members[0].conn.state != NGX_BROADCAST_PG_CLOSED)
        {
            return;
        }

        i = 0;
    }

    m = &pool->members[i];
    m->up = 0;

    timeout = ngx_min(pool->conf->timeout, NGX_BROADCAST_PG_CONNECT_TIME);

    if (ngx_broadcast_pg_conn_start(&m->conn, pool->tries, timeout,
                                    pool->conf->timeout + 1000)
        != NGX_OK)
    {
        ngx_broadcast_pg_pool_failure(m->conn.error);
    }

    ngx_broadcast_pg_pool_gauge();
}


void
ngx_broadcast_pg_pool_ready(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_pg_member_t  *m = conn->data;

    ngx_memzero(&m->setup, sizeof(ngx_broadcast_pg_query_t));

    m->setup.statement = NGX_BROADCAST_PG_TEXT;
    m->setup.text = ngx_broadcast_pg_pool.setup;
    m->setup.done = ngx_broadcast_pg_pool_set_up;
    m->setup.data = m;

    if (ngx_broadcast_pg_conn_send(conn, &m->setup) != NGX_OK) {
        ngx_broadcast_pg_conn_drop(conn, NULL);
    }
}


static void
ngx_broadcast_pg_pool_set_up(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m = query->data;

    if (status == NGX_BROADCAST_PG_AWAY) {
        return;
    }

    if (status != NGX_BROADCAST_PG_OK) {
        ngx_broadcast_pg_conn_drop(&m->conn, "the session was not set up");
        return;
    }

    if (ngx_broadcast_pg_value(result, 0, 0).data[0] == 't') {
        ngx_broadcast_pg_conn_drop(&m->conn, "the server is a standby");
        return;
    }

    m->up = 1;
    m->spare = 0;
    m->alone = 0;
    m->used = 0;
    m->resetting = 0;
    m->clean = ngx_current_msec;

    pool->heard = ngx_current_msec;

    ngx_broadcast_backoff_init(&pool->backoff);

    if (pool->failed) {
        pool->failed = 0;
        ngx_log_error(NGX_LOG_NOTICE, pool->log, 0,
                      "broadcast: connected to the database again");
    }

    if (!pool->work.posted) {
        ngx_post_event(&pool->work, &ngx_posted_events);
    }
}


void
ngx_broadcast_pg_pool_lost(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m = conn->data;

    m->spare = 0;
    m->alone = 0;

    if (m->up) {
        m->up = 0;

        ngx_log_error(NGX_LOG_INFO, pool->log, 0,
                      "broadcast: a connection to the database was lost: %s",
                      conn->error);

        /* what waits may open it anew at once */

        if (!pool->work.posted) {
            ngx_post_event(&pool->work, &ngx_posted_events);
        }

        return;
    }

    ngx_broadcast_pg_pool_failure(conn->error);
}


/* it may take one that waits */

void
ngx_broadcast_pg_pool_answered(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m = conn->data;

    pool->heard = ngx_current_msec;

    if (conn->nflight == 0) {
        m->spare = 0;
        m->alone = 0;
    }

    if ((pool->waiting || conn->nflight == 0) && !pool->work.posted) {
        ngx_post_event(&pool->work, &ngx_posted_events);
    }
}


/* a connect failed: the next try later, and later again */

static void
ngx_broadcast_pg_pool_failure(const u_char *why)
{
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    pool->tries++;

    if (!pool->failed) {
        pool->failed = 1;
        ngx_log_error(NGX_LOG_WARN, pool->log, 0,
                      "broadcast: cannot connect to the database: %s", why);
    }

    if (!pool->retry.timer_set && !ngx_exiting) {
        ngx_add_timer(&pool->retry, ngx_broadcast_backoff(&pool->backoff));
    }

    if (!pool->work.posted) {
        ngx_post_event(&pool->work, &ngx_posted_events);
    }
}


void
ngx_broadcast_pg_pool_retry(ngx_event_t *ev)
{
    ngx_uint_t                connecting;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    if (ngx_broadcast_pg_pool_count(&connecting) == 0 && connecting == 0) {
        ngx_broadcast_pg_pool_open(1);

    } else if ((pool->waiting || !ngx_queue_empty(&pool->spare))
               && !pool->work.posted)
    {
        ngx_post_event(&pool->work, &ngx_posted_events);
    }
}
