
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_ANSWER_H_INCLUDED_
#define _NGX_BROADCAST_PG_ANSWER_H_INCLUDED_


#include "pg/ngx_broadcast_pg_conn.h"


/* what comes back on a connection; for the connection and the pool only */

/*
 * Reads until the socket is dry, into libpq's memory.  NGX_ERROR: it is
 * broken; what came before may still be taken out.
 */
ngx_int_t ngx_broadcast_pg_answer_consume(ngx_broadcast_pg_conn_t *conn);

/* takes out all answers that are there whole: done and answered are called */
void ngx_broadcast_pg_answers(ngx_broadcast_pg_conn_t *conn);
/* and notifications, which come with any answer */
void ngx_broadcast_pg_answer_notifies(ngx_broadcast_pg_conn_t *conn);

/* 1: the first in flight is late, and its function known to be from now on */
ngx_uint_t ngx_broadcast_pg_answer_late(ngx_broadcast_pg_conn_t *conn);

/* starts the patience anew, or ends it if nothing is in flight */
void ngx_broadcast_pg_answer_watch(ngx_broadcast_pg_conn_t *conn);

/* the connection is closed: ends the queries that were in flight on it */
void ngx_broadcast_pg_answer_away(ngx_queue_t *flight);


#endif /* _NGX_BROADCAST_PG_ANSWER_H_INCLUDED_ */
