
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_POOL_H_INCLUDED_
#define _NGX_BROADCAST_PG_POOL_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"
#include "pg/ngx_broadcast_pg_conn.h"


/*
 * This worker's connections, opened when they are needed.  A query waits in
 * one of two bounded queues until a connection takes it: quick ones (staging,
 * history) go first, and the first connection is kept for them, so that
 * functions that run long do not hold up publishers.
 */

/* once, at start; conf and log are borrowed from the cycle */
void ngx_broadcast_pg_pool_init(ngx_broadcast_pg_conf_t *conf,
    ngx_log_t *log);
void ngx_broadcast_pg_pool_done(void);

/*
 * Queues the query, whose statement, params, done and data are set.  done is
 * called once from the event loop, never from in here, with status UNSENT if
 * the connection it waited for did not come.
 *
 * NGX_BUSY: queue full.  NGX_DECLINED: the database is away or has no schema:
 * refused at once, while the way there is tried in the background.
 */
ngx_int_t ngx_broadcast_pg_pool_send(ngx_broadcast_pg_query_t *query,
    ngx_uint_t quick);

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
