
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ROWS_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_ROWS_LOCAL_H_INCLUDED_


#include "conn/ngx_broadcast_rows.h"


/* between ngx_broadcast_rows.c, the database's side, and …_take.c, the
   connection's */

#define NGX_BROADCAST_ROWS_BYTES  65536     /* that wait for a client at most,
                                               beside one item */

/* this worker's word: one without a slot keeps its connections */
#define ngx_broadcast_rows_self()                                             \
    (ngx_broadcast_bus.owner ? ngx_broadcast_bus.owner                        \
                             : (ngx_broadcast_owner_t) -1)

/* database's side: nothing is said; or a Completion with an error */
void ngx_broadcast_rows_cancel(uint64_t serial);
void ngx_broadcast_rows_give_up(uint64_t serial);

/* connection's side: its stream with that source, or NULL */
ngx_broadcast_under_t *ngx_broadcast_rows_under(ngx_broadcast_conn_t *bc,
    ngx_broadcast_owner_t source, uint64_t serial);

/* 1 if an item of that length may be queued */
ngx_uint_t ngx_broadcast_rows_fits(ngx_broadcast_conn_t *bc, size_t len);
void ngx_broadcast_rows_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under, ngx_str_t *item);

/* more is asked for when the queue has become shorter */
void ngx_broadcast_rows_wait(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under);

/*
 * Completes the record (scope, flags, target) and appends it.  The target is
 * "<owner word>.<serial>", with a "+" behind it if more is asked for.
 */
ngx_int_t ngx_broadcast_rows_publish(ngx_broadcast_record_t *rec,
    ngx_broadcast_owner_t owner, uint64_t serial, ngx_uint_t more);
ngx_int_t ngx_broadcast_rows_name(ngx_str_t *target,
    ngx_broadcast_owner_t *owner, uint64_t *serial, ngx_uint_t *more);


#endif /* _NGX_BROADCAST_ROWS_LOCAL_H_INCLUDED_ */
