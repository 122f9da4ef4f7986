
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_POOL_H_INCLUDED_
#define _NGX_BROADCAST_PG_POOL_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"
#include "pg/ngx_broadcast_pg_conn.h"


/*
 * This worker's connections, opened when they are needed.  A query waits in
 * a queue until a connection takes it.  Quick ones (staging, history) go first,
 * and the first connection is kept for them, so that functions that run long do
 * not hold up publishers.  Slow ones are calls of functions: one whose function
 * is known to take little time (pg_pace.h) may go behind others, and to the
 * first connection when all else is taken by long ones; any other one takes an
 * idle connection, and nothing is sent behind it.  Spare ones (`disconnected`)
 * go last, take idle connections, but not all that functions may have where
 * those are several, and no place of the bounded queue: nobody's call is
 * refused for them, nor they for a call.
 */

#define NGX_BROADCAST_PG_SLOW   0
#define NGX_BROADCAST_PG_QUICK  1
#define NGX_BROADCAST_PG_SPARE  2

/* once, at start; conf and log are borrowed from the cycle */
void ngx_broadcast_pg_pool_init(ngx_broadcast_pg_conf_t *conf,
    ngx_log_t *log);
void ngx_broadcast_pg_pool_done(void);

/*
 * Queues the query, whose statement, params, pace, done and data are set.  done
 * is called once from the event loop, never from in here, with status UNSENT if
 * the connection it waited for did not come.  urgency: NGX_BROADCAST_PG_SLOW,
 * _QUICK or _SPARE; who sends the last bounds them, by pool_spare().
 *
 * NGX_BUSY: queue full.  NGX_DECLINED: the database is away or has no schema:
 * refused at once, while the way there is tried in the background.
 */
ngx_int_t ngx_broadcast_pg_pool_send(ngx_broadcast_pg_query_t *query,
    ngx_uint_t urgency);

/* how many spare queries can be on connections at once */
ngx_uint_t ngx_broadcast_pg_pool_spare(void);

/* 1: a query would be declined now */
ngx_uint_t ngx_broadcast_pg_pool_away(void);

/*
 * NGX_OK: the query was still waiting and is forgotten, done is not called.
 * NGX_DECLINED: it was sent, done will be called.
 */
ngx_int_t ngx_broadcast_pg_pool_withdraw(ngx_broadcast_pg_query_t *query);

/* the worker's tick: sees when the relay has found the database again */
void ngx_broadcast_pg_pool_tick(void);


#endif /* _NGX_BROADCAST_PG_POOL_H_INCLUDED_ */
