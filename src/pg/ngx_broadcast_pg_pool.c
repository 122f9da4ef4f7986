
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_backoff.h"


#define NGX_BROADCAST_PG_CONNECT_TIME  5000   /* ms, at most */
#define NGX_BROADCAST_PG_DEPTH         8      /* queries on one connection */

/*
 * A connection whose first answer is late is busy with something long: what
 * were sent behind it would wait for it, and be carried out though its caller
 * had given up.  So functions share none whose last answer was late, nor one
 * that has not called any.
 */
#define NGX_BROADCAST_PG_PROMPT        10     /* ms */


typedef struct {
    ngx_broadcast_pg_conn_t     conn;
    ngx_broadcast_pg_query_t    setup;
    ngx_uint_t                  up;         /* 1: set up, takes queries */
    ngx_uint_t                  spare;      /* 1: a spare query is on it */
} ngx_broadcast_pg_member_t;


typedef struct {
    ngx_broadcast_pg_conf_t    *conf;       /* borrowed from the cycle */
    ngx_log_t                  *log;        /* borrowed from the cycle */

    ngx_broadcast_pg_member_t  *members;    /* owned */
    ngx_uint_t                  n;

    ngx_queue_t                 quick;      /* of queries */
    ngx_queue_t                 slow;
    ngx_uint_t                  waiting;    /* in both */
    ngx_queue_t                 spare;

    ngx_uint_t                  failed;     /* the last connect did */
    ngx_uint_t                  tries;      /* that failed, ever */
    ngx_uint_t                  state;      /* gauge, at the last tick */
    ngx_broadcast_backoff_t     backoff;
    ngx_event_t                 retry;      /* the next try after a failure */
    ngx_event_t                 work;       /* posted: hand out, or refuse */

    char                        setup[256];
} ngx_broadcast_pg_pool_t;


static void ngx_broadcast_pg_pool_ready(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_pg_pool_set_up(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_pg_pool_lost(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_pg_pool_answered(ngx_broadcast_pg_conn_t *conn);
static void ngx_broadcast_pg_pool_retry(ngx_event_t *ev);
static void ngx_broadcast_pg_pool_work(ngx_event_t *ev);
static ngx_uint_t ngx_broadcast_pg_pool_hand_out(ngx_queue_t *queue,
    ngx_uint_t quick);
static ngx_uint_t ngx_broadcast_pg_pool_hand_spare(void);
static ngx_broadcast_pg_member_t *ngx_broadcast_pg_pool_choose(
    ngx_uint_t quick);
static ngx_uint_t ngx_broadcast_pg_pool_grows(void);
static void ngx_broadcast_pg_pool_open(ngx_uint_t quick);
static void ngx_broadcast_pg_pool_failure(const u_char *why);
static void ngx_broadcast_pg_pool_refuse(ngx_queue_t *queue);
static ngx_uint_t ngx_broadcast_pg_pool_count(ngx_uint_t *connecting);
static void ngx_broadcast_pg_pool_gauge(void);


static ngx_broadcast_pg_pool_t  ngx_broadcast_pg_pool;


void
ngx_broadcast_pg_pool_init(ngx_broadcast_pg_conf_t *conf, ngx_log_t *log)
{
    ngx_uint_t                  i;
    ngx_msec_t                  limit;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    ngx_memzero(pool, sizeof(ngx_broadcast_pg_pool_t));

    ngx_queue_init(&pool->quick);
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
     * give up: then the outcome is known, and the connection lives on.
     */

    limit = conf->timeout - ngx_min(conf->timeout / 10, 500);

    (void) ngx_snprintf((u_char *) pool->setup, sizeof(pool->setup),
              "SELECT pg_catalog.pg_is_in_recovery(),"
              " pg_catalog.set_config('statement_timeout', '%M', false),"
              " pg_catalog.set_config('client_min_messages', 'error', false)"
              "%Z", limit);

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
        ngx_queue_insert_tail(&pool->slow, &query->queue);
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
 * up, or the relay knows that the database is away, nobody waits for it.
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

    if (ngx_broadcast_pg_pool_count(&connecting)) {
        return 0;
    }

    return pool->failed || state == NGX_BROADCAST_DB_DOWN;
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
}


static void
ngx_broadcast_pg_pool_work(ngx_event_t *ev)
{
    ngx_uint_t                up, connecting, quick, slow;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    quick = ngx_broadcast_pg_pool_hand_out(&pool->quick, 1);
    slow = ngx_broadcast_pg_pool_hand_out(&pool->slow, 0);

    if (ngx_broadcast_pg_pool_hand_spare()) {
        slow = 1;
    }

    up = ngx_broadcast_pg_pool_count(&connecting);

    /* one more at a time: the next when this one is there */

    if ((quick || slow) && connecting == 0 && !pool->retry.timer_set) {
        ngx_broadcast_pg_pool_open(quick);
        up = ngx_broadcast_pg_pool_count(&connecting);
    }

    if (up == 0 && connecting == 0) {
        ngx_broadcast_pg_pool_refuse(&pool->quick);
        ngx_broadcast_pg_pool_refuse(&pool->slow);
        ngx_broadcast_pg_pool_refuse(&pool->spare);
    }

    ngx_broadcast_pg_pool_gauge();
}


/* 1: there are not enough connections for all that waits */

static ngx_uint_t
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

static ngx_uint_t
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


static void
ngx_broadcast_pg_pool_open(ngx_uint_t quick)
{
    ngx_uint_t                  i;
    ngx_msec_t                  timeout;
    const char                 *conninfo;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m;

    for (i = (quick || pool->n == 1) ? 0 : 1; i < pool->n; i++) {
        if (pool->members[i].conn.state == NGX_BROADCAST_PG_CLOSED) {
            break;
        }
    }

    if (i == pool->n) {
        return;
    }

    m = &pool->members[i];
    m->up = 0;

    conninfo = ngx_broadcast_pg_conninfo(pool->tries);

    if (conninfo == NULL) {
        ngx_broadcast_pg_pool_failure((u_char *) "its host has no address");
        return;
    }

    timeout = ngx_min(pool->conf->timeout, NGX_BROADCAST_PG_CONNECT_TIME);

    if (ngx_broadcast_pg_conn_open(&m->conn, conninfo, timeout,
                                   pool->conf->timeout + 1000)
        != NGX_OK)
    {
        ngx_broadcast_pg_pool_failure(m->conn.error);
    }

    ngx_broadcast_pg_pool_gauge();
}


static void
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
    m->conn.took = NGX_BROADCAST_PG_PROMPT + 1;

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


static void
ngx_broadcast_pg_pool_lost(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m = conn->data;

    m->spare = 0;

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

static void
ngx_broadcast_pg_pool_answered(ngx_broadcast_pg_conn_t *conn)
{
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m = conn->data;

    if (conn->nflight == 0) {
        m->spare = 0;
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


static void
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


/* connections that take queries; *connecting: those on their way there */

static ngx_uint_t
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


static void
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
