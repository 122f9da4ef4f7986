
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_lease.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Taking: nobody's, until when, ours.  A death in between leaves the lease
 * with nobody, or with an owner who is dead: free both times.
 */

ngx_int_t
ngx_broadcast_lease_take(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_broadcast_owner_t owner, uint64_t now, uint64_t term)
{
    ngx_int_t               rc;
    ngx_broadcast_lease_t  *lease;

    if (owner == 0 || i >= NGX_BROADCAST_LEASES) {
        return NGX_DECLINED;
    }

    lease = &zone->lease[i];
    rc = NGX_OK;

    ngx_broadcast_zone_lock(zone);

    if (lease->owner == owner) {
        lease->until = now + term;
        ngx_broadcast_store(lease_renewed);

    } else if (lease->owner
               && now < lease->until
               && ngx_broadcast_slot_alive_locked(zone, lease->owner))
    {
        rc = NGX_DECLINED;

    } else {
        lease->owner = 0;
        ngx_broadcast_store(lease_nobody);

        lease->until = now + term;
        ngx_broadcast_store(lease_until);

        lease->owner = owner;
        ngx_broadcast_store(lease_owner);
    }

    ngx_broadcast_zone_unlock(zone);

    return rc;
}


void
ngx_broadcast_lease_drop(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_broadcast_owner_t owner)
{
    ngx_broadcast_lease_t  *lease;

    if (owner == 0 || i >= NGX_BROADCAST_LEASES) {
        return;
    }

    lease = &zone->lease[i];

    ngx_broadcast_zone_lock(zone);

    if (lease->owner == owner) {
        lease->owner = 0;
        ngx_broadcast_store(lease_dropped);
    }

    ngx_broadcast_zone_unlock(zone);
}
