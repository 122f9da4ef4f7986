
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_bus.h"


/*
 * The pace of those who append much is that of the slowest worker that lives:
 * else they would push it off the log's tail, and all of its clients with it.
 * A worker that is stopped takes no turns: it is waited for so long, once, and
 * not again before it takes one.
 */

#define NGX_BROADCAST_PACE_PATIENCE  500    /* milliseconds without a turn */


typedef struct {
    uint64_t                  turns;
    ngx_msec_t                since;        /* when they were first so many */
    ngx_uint_t                behind;       /* 1: it was, at the last look */
} ngx_broadcast_pace_t;


static ngx_uint_t ngx_broadcast_pace_slot(ngx_uint_t slot);


static ngx_broadcast_pace_t  ngx_broadcast_paces[NGX_BROADCAST_SLOTS];


ngx_uint_t
ngx_broadcast_pace(void)
{
    ngx_uint_t             slot, wait;
    ngx_broadcast_zone_t  *zone = ngx_broadcast_bus.zone;

    wait = 0;

    for (slot = ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT);
         slot != NGX_BROADCAST_NO_SLOT;
         slot = ngx_broadcast_slot_next(zone, slot))
    {
        if (!ngx_broadcast_slot_behind(zone, slot)) {
            ngx_broadcast_paces[slot].behind = 0;

        } else if (ngx_broadcast_pace_slot(slot)) {
            wait = 1;
        }
    }

    return wait;
}


/* it is behind: 1 if that is worth waiting for */

static ngx_uint_t
ngx_broadcast_pace_slot(ngx_uint_t slot)
{
    uint64_t               turns;
    ngx_broadcast_pace_t  *pace = &ngx_broadcast_paces[slot];

    turns = ngx_broadcast_slot_turns(ngx_broadcast_bus.zone, slot);

    if (!pace->behind || pace->turns != turns) {
        pace->behind = 1;
        pace->turns = turns;
        pace->since = ngx_current_msec;
        return 1;
    }

    return ngx_current_msec - pace->since < NGX_BROADCAST_PACE_PATIENCE;
}
