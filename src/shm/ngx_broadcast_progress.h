
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PROGRESS_H_INCLUDED_
#define _NGX_BROADCAST_PROGRESS_H_INCLUDED_


#include "shm/ngx_broadcast_slot.h"


/*
 * How far the workers are, written by the one of the slot alone and read by
 * all, without the lock.  A worker without a place (NGX_BROADCAST_NO_SLOT)
 * says nothing and is not waited for.
 */

/* what the database does not know yet of the connections of all workers */

typedef struct {
    uint64_t  changes;
    uint64_t  begun;
} ngx_broadcast_untold_t;


/* it has carried out what stands in the log before this offset */
void ngx_broadcast_progress_done(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    uint64_t offset);

/*
 * changed(): groups of one of its connections are others than the database
 * knows.  changes(): how many such there were.  told(): it knows those of the
 * first n.
 */
void ngx_broadcast_progress_changed(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot);
uint64_t ngx_broadcast_progress_changes(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot);
void ngx_broadcast_progress_told(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    uint64_t n);

/* a call of `connected`, which makes a connection's row */
void ngx_broadcast_progress_begun(ngx_broadcast_zone_t *zone, ngx_uint_t slot);
void ngx_broadcast_progress_ended(ngx_broadcast_zone_t *zone, ngx_uint_t slot);

/*
 * The next living worker behind `after` (NGX_BROADCAST_NO_SLOT: the first) that
 * has not done all of it, or NGX_BROADCAST_NO_SLOT.
 */
ngx_uint_t ngx_broadcast_progress_late(ngx_broadcast_zone_t *zone,
    ngx_uint_t after, uint64_t offset);

/*
 * untold(): what there is by now; known(): 1 if as much of it has been told,
 * and what the calls under way had to tell behind them, for which it is changed
 * once.  It is counted, not named: where much comes, what is newer may count
 * for it.
 */
void ngx_broadcast_progress_untold(ngx_broadcast_zone_t *zone,
    ngx_broadcast_untold_t *untold);
ngx_uint_t ngx_broadcast_progress_known(ngx_broadcast_zone_t *zone,
    ngx_broadcast_untold_t *untold);


#endif /* _NGX_BROADCAST_PROGRESS_H_INCLUDED_ */
