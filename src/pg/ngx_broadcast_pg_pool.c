
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_pool_local.h"


static void ngx_broadcast_pg_pool_work(ngx_event_t *ev);
static void ngx_broadcast_pg_pool_refuse(ngx_queue_t *queue);


ngx_broadcast_pg_pool_t  ngx_broadcast_pg_pool;


void
ngx_broadcast_pg_pool_init(ngx_broadcast_pg_conf_t *conf, ngx_log_t *log)
{
    char                        settings[320];
    ngx_uint_t                  i;
    ngx_msec_t                  limit;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    ngx_memzero(pool, sizeof(ngx_broadcast_pg_pool_t));

    ngx_queue_init(&pool->quick);
    ngx_queue_init(&pool->known);
    ngx_queue_init(&pool->slow);
    ngx_queue_init(&pool->spare);

    pool->conf = conf;
    pool->log = log;

    ngx_broadcast_backoff_init(&pool->backoff);

    pool->retry.handler = ngx_broadcast_pg_pool_retry;
    pool->retry.data = pool;
    pool->retry.log = log;
    pool->retry.cancelable = 1;

    pool->work.handler = ngx_broadcast_pg_pool_work;
    pool->work.data = pool;
    pool->work.log = log;

    /*
     * The server ends a statement by itself shortly before its caller would
     * give up: then the outcome is known, and the connection lives on.  What
     * functions send rings no NOTIFY: this node's relay is woken instead.
     */

    limit = conf->timeout - ngx_min(conf->timeout / 10, 500);

    (void) ngx_snprintf((u_char *) settings, sizeof(settings),
              "pg_catalog.set_config('statement_timeout', '%M', false),"
              " pg_catalog.set_config('client_min_messages', 'error', false),"
              " pg_catalog.set_config('broadcast.doorbell', 'off', false)"
              "%Z", limit);

    (void) ngx_snprintf((u_char *) pool->setup, sizeof(pool->setup),
              "SELECT pg_catalog.pg_is_in_recovery(), %s%Z", settings);

    (void) ngx_broadcast_pg_reset_text((u_char *) pool->reset,
                                       sizeof(pool->reset), settings);

    pool->members = ngx_calloc(conf->pool * sizeof(ngx_broadcast_pg_member_t),
                               log);
    if (pool->members == NULL) {
        return;
    }

    pool->n = conf->pool;

    for (i = 0; i < pool->n; i++) {
        m = &pool->members[i];

        ngx_broadcast_pg_conn_init(&m->conn, log);

        m->conn.ready = ngx_broadcast_pg_pool_ready;
        m->conn.lost = ngx_broadcast_pg_pool_lost;
        m->conn.answered = ngx_broadcast_pg_pool_answered;
        m->conn.data = m;
    }
}


void
ngx_broadcast_pg_pool_done(void)
{
    ngx_uint_t                i;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    if (pool->members == NULL) {
        return;
    }

    if (pool->retry.timer_set) {
        ngx_del_timer(&pool->retry);
    }

    if (pool->work.posted) {
        ngx_delete_posted_event(&pool->work);
    }

    for (i = 0; i < pool->n; i++) {
        pool->members[i].up = 0;
        ngx_broadcast_pg_conn_close(&pool->members[i].conn);
    }

    if (pool->work.posted) {
        ngx_delete_posted_event(&pool->work);
    }

    ngx_free(pool->members);
    pool->members = NULL;
    pool->n = 0;
}


ngx_int_t
ngx_broadcast_pg_pool_send(ngx_broadcast_pg_query_t *query,
    ngx_uint_t urgency)
{
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    if (ngx_broadcast_pg_pool_away()) {
        return NGX_DECLINED;
    }

    if (urgency != NGX_BROADCAST_PG_SPARE
        && pool->waiting >= pool->conf->queue)
    {
        return NGX_BUSY;
    }

    query->waiting = 1;
    query->quick = (urgency == NGX_BROADCAST_PG_QUICK);
    query->spare = (urgency == NGX_BROADCAST_PG_SPARE);

    switch (urgency) {

    case NGX_BROADCAST_PG_SPARE:
        ngx_queue_insert_tail(&pool->spare, &query->queue);
        break;

    case NGX_BROADCAST_PG_QUICK:
        ngx_queue_insert_tail(&pool->quick, &query->queue);
        pool->waiting++;
        break;

    default:
        ngx_queue_insert_tail(ngx_broadcast_pg_pool_known(query)
                              ? &pool->known : &pool->slow, &query->queue);
        pool->waiting++;
    }

    if (!pool->work.posted) {
        ngx_post_event(&pool->work, &ngx_posted_events);
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_pg_pool_withdraw(ngx_broadcast_pg_query_t *query)
{
    if (!query->waiting) {
        return NGX_DECLINED;
    }

    ngx_queue_remove(&query->queue);
    query->waiting = 0;

    if (!query->spare) {
        ngx_broadcast_pg_pool.waiting--;
    }

    return NGX_OK;
}


/*
 * The circuit breaker.  While the last connect failed and no connection is
 * up, or the relay knows that the database is away, nobody waits for it; nor
 * while the server says nothing, though connections are up.
 */

ngx_uint_t
ngx_broadcast_pg_pool_away(void)
{
    ngx_uint_t                state, connecting;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    if (pool->n == 0) {
        return 1;
    }

    state = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_STATE);

    if (state == NGX_BROADCAST_DB_SCHEMA) {
        return 1;
    }

    if (ngx_broadcast_pg_pool_silent()) {
        return 1;
    }

    if (ngx_broadcast_pg_pool_count(&connecting)) {
        return 0;
    }

    return pool->failed || state == NGX_BROADCAST_DB_DOWN;
}


ngx_uint_t
ngx_broadcast_pg_pool_silent(void)
{
    ngx_msec_t  silent;

    silent = (ngx_msec_t) ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_SILENT);

    return silent
           && (ngx_msec_int_t) (ngx_broadcast_pg_pool.heard - silent) <= 0;
}


void
ngx_broadcast_pg_pool_tick(void)
{
    ngx_uint_t                state, connecting;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    state = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_STATE);

    if (pool->n && state != pool->state && state == NGX_BROADCAST_DB_UP
        && pool->failed
        && ngx_broadcast_pg_pool_count(&connecting) == 0 && connecting == 0)
    {
        if (pool->retry.timer_set) {
            ngx_del_timer(&pool->retry);
        }

        ngx_broadcast_pg_pool_open(1);
    }

    pool->state = state;

    ngx_broadcast_pg_pool_reset();

    /* nobody comes to tell those that wait */

    if (pool->n && ngx_broadcast_pg_pool_silent() && !pool->work.posted
        && (pool->waiting || !ngx_queue_empty(&pool->spare)))
    {
        ngx_post_event(&pool->work, &ngx_posted_events);
    }
}


static void
ngx_broadcast_pg_pool_work(ngx_event_t *ev)
{
    ngx_uint_t                up, connecting, quick, slow, silent;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    quick = 0;
    slow = 0;
    silent = ngx_broadcast_pg_pool_silent();

    if (!silent) {
        ngx_broadcast_pg_pool_hand(&quick, &slow);
    }

    up = ngx_broadcast_pg_pool_count(&connecting);

    /* one more at a time: the next when this one is there */

    if ((quick || slow) && connecting == 0 && !pool->retry.timer_set) {
        ngx_broadcast_pg_pool_open(quick);
        up = ngx_broadcast_pg_pool_count(&connecting);
    }

    if ((up == 0 && connecting == 0) || silent) {
        ngx_broadcast_pg_pool_refuse(&pool->quick);
        ngx_broadcast_pg_pool_refuse(&pool->known);
        ngx_broadcast_pg_pool_refuse(&pool->slow);
        ngx_broadcast_pg_pool_refuse(&pool->spare);
    }

    ngx_broadcast_pg_pool_gauge();
}


static void
ngx_broadcast_pg_pool_refuse(ngx_queue_t *queue)
{
    ngx_queue_t               *q;
    ngx_broadcast_pg_query_t  *query;

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

        (void) ngx_broadcast_pg_pool_withdraw(query);

        query->done(query, NGX_BROADCAST_PG_UNSENT, NULL);
    }
}


ngx_uint_t
ngx_broadcast_pg_pool_count(ngx_uint_t *connecting)
{
    ngx_uint_t                  i, up;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    up = 0;
    *connecting = 0;

    for (i = 0; i < pool->n; i++) {
        m = &pool->members[i];

        if (m->up) {
            up++;

        } else if (m->conn.state != NGX_BROADCAST_PG_CLOSED) {
            (*connecting)++;
        }
    }

    return up;
}


void
ngx_broadcast_pg_pool_gauge(void)
{
    ngx_uint_t                  i, n[NGX_BROADCAST_POOL_STATES];
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    ngx_memzero(n, sizeof(n));

    for (i = 0; i < pool->n; i++) {
        m = &pool->members[i];

        if (m->up) {
            n[m->conn.nflight ? 1 : 0]++;

        } else if (m->conn.state != NGX_BROADCAST_PG_CLOSED) {
            n[2]++;
        }
    }

    ngx_broadcast_stats_pool(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                             n);
}
