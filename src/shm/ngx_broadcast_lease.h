
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_LEASE_H_INCLUDED_
#define _NGX_BROADCAST_LEASE_H_INCLUDED_


#include "shm/ngx_broadcast_slot.h"


/*
 * One holder at a time among the workers of a zone.  A lease belongs to an
 * owner; it is free if nobody holds it, its holder's slot is dead, or it was
 * not renewed for its term (a stopped process).  Times are milliseconds of
 * the monotonic clock and given by the caller.
 */

typedef enum {
    NGX_BROADCAST_LEASE_RELAY = 0,
    NGX_BROADCAST_LEASE_SETTLE,
    NGX_BROADCAST_LEASES
} ngx_broadcast_lease_e;


/* takes or renews: NGX_OK held, NGX_DECLINED another holds it */
ngx_int_t ngx_broadcast_lease_take(ngx_broadcast_zone_t *zone,
    ngx_uint_t lease, ngx_broadcast_owner_t owner, uint64_t now,
    uint64_t term);
void ngx_broadcast_lease_drop(ngx_broadcast_zone_t *zone, ngx_uint_t lease,
    ngx_broadcast_owner_t owner);


#endif /* _NGX_BROADCAST_LEASE_H_INCLUDED_ */
