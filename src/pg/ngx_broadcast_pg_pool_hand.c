
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_answer.h"
#include "pg/ngx_broadcast_pg_pool_local.h"


static ngx_uint_t ngx_broadcast_pg_pool_trusted(
    ngx_broadcast_pg_query_t *query);
static void ngx_broadcast_pg_pool_look(void);
static void ngx_broadcast_pg_pool_promote(void);
static ngx_uint_t ngx_broadcast_pg_pool_hand_out(ngx_queue_t *queue,
    ngx_uint_t urgency);
static ngx_uint_t ngx_broadcast_pg_pool_hand_spare(void);
static ngx_broadcast_pg_member_t *ngx_broadcast_pg_pool_choose(
    ngx_uint_t urgency);
static ngx_uint_t ngx_broadcast_pg_pool_shares(ngx_broadcast_pg_member_t *m);
static ngx_uint_t ngx_broadcast_pg_pool_grows(void);


void
ngx_broadcast_pg_pool_hand(ngx_uint_t *quick, ngx_uint_t *slow)
{
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    ngx_broadcast_pg_pool_look();

    *quick = ngx_broadcast_pg_pool_hand_out(&pool->quick,
                                            NGX_BROADCAST_PG_QUICK);

    /* in turns, if need be: who came last to its turn is first now */

    if (pool->emptied) {
        (void) ngx_broadcast_pg_pool_hand_out(&pool->slow,
                                              NGX_BROADCAST_PG_SLOW);
    }

    *slow = ngx_broadcast_pg_pool_hand_out(&pool->known,
                                           NGX_BROADCAST_PG_KNOWN);

    if (ngx_broadcast_pg_pool_hand_out(&pool->slow, NGX_BROADCAST_PG_SLOW)) {
        *slow = 1;
    }

    if (ngx_broadcast_pg_pool_hand_spare()) {
        *slow = 1;
    }
}


ngx_uint_t
ngx_broadcast_pg_pool_known(ngx_broadcast_pg_query_t *query)
{
    return query->pace && query->pace->last <= NGX_BROADCAST_PG_FAIR;
}


static ngx_uint_t
ngx_broadcast_pg_pool_trusted(ngx_broadcast_pg_query_t *query)
{
    return query->quick || (query->pace && query->pace->owes == 0);
}


/* what is known of functions, and what follows for those that wait */

static void
ngx_broadcast_pg_pool_look(void)
{
    ngx_uint_t                i;
    ngx_broadcast_pg_pool_t  *pool = &ngx_broadcast_pg_pool;

    for (i = 0; i < pool->n; i++) {
        if (pool->members[i].up) {
            (void) ngx_broadcast_pg_answer_late(&pool->members[i].conn);
        }
    }

    ngx_broadcast_pg_pool_reset();

    if (pool->learned != ngx_broadcast_pg_pace_learned) {
        pool->learned = ngx_broadcast_pg_pace_learned;
        ngx_broadcast_pg_pool_promote();
    }

    if (ngx_queue_empty(&pool->slow)) {
        pool->emptied = NULL;
    }
}


/* the queue is bounded, and a function is not learned of every day */

static void
ngx_broadcast_pg_pool_promote(void)
{
    ngx_queue_t               *q, *next;
    ngx_broadcast_pg_query_t  *query;
    ngx_broadcast_pg_pool_t   *pool = &ngx_broadcast_pg_pool;

    for (q = ngx_queue_head(&pool->slow);
         q != ngx_queue_sentinel(&pool->slow);
         q = next)
    {
        next = ngx_queue_next(q);
        query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

        if (ngx_broadcast_pg_pool_known(query)) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&pool->known, q);
        }
    }
}


/* 1: there are not enough connections for all that waits */

static ngx_uint_t
ngx_broadcast_pg_pool_hand_out(ngx_queue_t *queue, ngx_uint_t urgency)
{
    ngx_uint_t                  shared;
    ngx_queue_t                *q;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_query_t   *query;
    ngx_broadcast_pg_member_t  *m;

    shared = 0;

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

        if (urgency == NGX_BROADCAST_PG_KNOWN
            && !ngx_broadcast_pg_pool_known(query))
        {

            /* its function was, when it came */

            ngx_queue_remove(q);
            ngx_queue_insert_tail(&pool->slow, q);
            continue;
        }

        m = ngx_broadcast_pg_pool_choose(urgency);

        if (m == NULL) {
            return 1;
        }

        (void) ngx_broadcast_pg_pool_withdraw(query);

        if (m->conn.nflight) {
            shared = 1;
        }

        if (ngx_broadcast_pg_conn_send(&m->conn, query) == NGX_OK) {
            m->alone = !ngx_broadcast_pg_pool_trusted(query);
            m->used |= !query->quick;

        } else {

            /* broken before it left, and marked so: another one takes it */

            query->waiting = 1;
            ngx_queue_insert_head(queue, &query->queue);
            pool->waiting++;
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
            || m == pool->emptied || (i == 0 && pool->n > 1))
        {
            continue;
        }

        q = ngx_queue_head(&pool->spare);
        query = ngx_queue_data(q, ngx_broadcast_pg_query_t, queue);

        (void) ngx_broadcast_pg_pool_withdraw(query);

        if (ngx_broadcast_pg_conn_send(&m->conn, query) == NGX_OK) {
            m->spare = 1;
            m->used = 1;
            m->alone = !ngx_broadcast_pg_pool_trusted(query);
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


/*
 * An idle connection, else, unless the query is slow, one that shares with the
 * fewest queries, or NULL.  One that is being emptied for a slow query is not
 * for others: else those that go behind each other would keep all connections
 * from ever being idle.
 */

static ngx_broadcast_pg_member_t *
ngx_broadcast_pg_pool_choose(ngx_uint_t urgency)
{
    ngx_uint_t                  i, k, quick, slow, others;
    ngx_broadcast_pg_pool_t    *pool = &ngx_broadcast_pg_pool;
    ngx_broadcast_pg_member_t  *m, *best;

    others = 0;
    best = NULL;

    quick = (urgency == NGX_BROADCAST_PG_QUICK);
    slow = (urgency == NGX_BROADCAST_PG_SLOW);

    if (slow) {
        pool->emptied = NULL;
        others = ngx_broadcast_pg_pool_grows();
    }

    for (k = 0; k < pool->n; k++) {
        i = quick ? k : pool->n - 1 - k;
        m = &pool->members[i];

        if (!m->up || m->conn.broken || m == pool->emptied) {
            continue;
        }

        /* the first is kept for quick ones, unless nothing else is there */

        if (i == 0 && !quick && others) {
            break;
        }

        if (m->conn.nflight == 0) {
            return m;
        }

        /* to a known one those that share with none are not there */

        if (ngx_broadcast_pg_pool_shares(m)) {
            others = 1;

        } else {
            others |= slow;
            continue;
        }

        if ((slow || m->conn.nflight < NGX_BROADCAST_PG_DEPTH)
            && (best == NULL || m->conn.nflight < best->conn.nflight))
        {
            best = m;
        }
    }

    if (slow) {
        pool->emptied = best;
        return NULL;
    }

    return best;
}


/* 1: what is on it will be over soon, as far as is known */

static ngx_uint_t
ngx_broadcast_pg_pool_shares(ngx_broadcast_pg_member_t *m)
{
    ngx_uint_t  n = ngx_broadcast_pg_pool.n;

    return !m->alone
           && !(m->spare && n > 2)
           && !ngx_broadcast_pg_answer_late(&m->conn);
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
