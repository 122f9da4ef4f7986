
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_SETTLE_H_INCLUDED_
#define _NGX_BROADCAST_SETTLE_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"
#include "shm/ngx_broadcast_registry.h"


/*
 * `disconnected` for connections that ended: one worker of the node, the
 * holder of the lease, calls for all rows that are UNSETTLED, whoever ended
 * them: their owner, or the sweep of a dead worker.
 */

/* any worker, when it has released a row: it is settled at once */
void ngx_broadcast_settle_nudge(void);


/* this worker got the node's lease: begins; lost it or exits: ends */
void ngx_broadcast_settle_start(void);
void ngx_broadcast_settle_stop(void);

/* the settler's worker, when it was woken, and with each tick */
void ngx_broadcast_settle_woken(void);
void ngx_broadcast_settle_tick(void);

/*
 * The event of a row, in the pool; failed: the SQLSTATE of the last try, if it
 * is to be settled without its functions.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_settle_event(ngx_pool_t *pool,
    ngx_broadcast_row_info_t *row, ngx_str_t *failed, ngx_str_t *event);


#endif /* _NGX_BROADCAST_SETTLE_H_INCLUDED_ */
