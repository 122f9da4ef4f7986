
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_slot.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * The words of a slot that are read and written without the lock: whom to wake
 * for a record, and how far each worker has read.
 */


static uint64_t ngx_broadcast_slot_unread(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot);


/*
 * Publisher: store of the head, fence, look at the flag.
 * Reader: clear the flag, fence, look at the head.
 *
 * In any order of these four, either the publisher finds the flag clear and
 * rings, or the reader finds the new head.
 */

ngx_uint_t
ngx_broadcast_slot_arm(ngx_broadcast_zone_t *zone, ngx_uint_t i)
{
    uint32_t  *woken;

    if (i >= NGX_BROADCAST_SLOTS) {
        return 0;
    }

    woken = &zone->slot[i].woken;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    if (__atomic_load_n(woken, __ATOMIC_SEQ_CST)) {
        return 0;
    }

    return __atomic_exchange_n(woken, 1, __ATOMIC_SEQ_CST) == 0;
}


void
ngx_broadcast_slot_disarm(ngx_broadcast_zone_t *zone, ngx_uint_t i)
{
    if (i >= NGX_BROADCAST_SLOTS) {
        return;
    }

    __atomic_store_n(&zone->slot[i].woken, 0, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}


ngx_uint_t
ngx_broadcast_slot_next(ngx_broadcast_zone_t *zone, ngx_uint_t after)
{
    uint64_t    word;
    ngx_uint_t  i, from;

    from = (after == NGX_BROADCAST_NO_SLOT) ? 0 : after + 1;

    for (i = from / 64; i < NGX_BROADCAST_SLOTS / 64; i++) {

        word = __atomic_load_n(&zone->map[i], __ATOMIC_SEQ_CST);

        if (i == from / 64) {
            word &= (uint64_t) -1 << (from % 64);
        }

        if (word) {
            return i * 64 + (ngx_uint_t) __builtin_ctzll(word);
        }
    }

    return NGX_BROADCAST_NO_SLOT;
}


/*
 * Publisher: store of the head, fence, look at the map.
 * Worker: set the bit, fence, look at the head.
 *
 * As with `woken`: who begins to watch reads the log once from then on, and
 * finds there what it was not rung for.
 */

void
ngx_broadcast_slot_watch(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_uint_t hub, ngx_uint_t on)
{
    uint64_t  bit, *word;

    if (i >= NGX_BROADCAST_SLOTS) {
        return;
    }

    if (hub == NGX_BROADCAST_HUB_NONE) {
        word = &zone->watched[i / 64];

    } else if (hub < ngx_broadcast_hub_count(zone)) {
        word = &ngx_broadcast_hub_row(zone, hub + 1)->watched[i / 64];

    } else {
        return;
    }

    bit = (uint64_t) 1 << (i % 64);

    if (on) {
        (void) __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);

    } else if (__atomic_load_n(word, __ATOMIC_RELAXED) & bit) {
        (void) __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
    }

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}


void
ngx_broadcast_slot_watched(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    uint64_t *map)
{
    ngx_uint_t            i;
    ngx_broadcast_hub_t  *row;

    if (hub >= ngx_broadcast_hub_count(zone)) {
        return;
    }

    row = ngx_broadcast_hub_row(zone, hub + 1);

    for (i = 0; i < NGX_BROADCAST_SLOTS / 64; i++) {
        map[i] |= __atomic_load_n(&row->watched[i], __ATOMIC_SEQ_CST)
                  | __atomic_load_n(&zone->watched[i], __ATOMIC_SEQ_CST);
    }
}


void
ngx_broadcast_slot_read(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    uint64_t offset)
{
    if (slot < NGX_BROADCAST_SLOTS) {
        __atomic_store_n(&zone->slot[slot].read, offset, __ATOMIC_RELAXED);
    }
}


ngx_uint_t
ngx_broadcast_slot_lags(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    return ngx_broadcast_slot_unread(zone, slot) > zone->ring_size / 16;
}


ngx_uint_t
ngx_broadcast_slot_behind(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    return ngx_broadcast_slot_unread(zone, slot) > zone->ring_size / 8;
}


static uint64_t
ngx_broadcast_slot_unread(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    uint64_t  head, read;

    head = __atomic_load_n(&zone->head, __ATOMIC_RELAXED);
    read = __atomic_load_n(&zone->slot[slot].read, __ATOMIC_RELAXED);

    /* it may have read what came behind this head */

    return head > read ? head - read : 0;
}


/* one word of the owner's own */

void
ngx_broadcast_slot_turn(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    uint64_t  *turns;

    if (slot < NGX_BROADCAST_SLOTS) {
        turns = &zone->slot[slot].turns;

        __atomic_store_n(turns, __atomic_load_n(turns, __ATOMIC_RELAXED) + 1,
                         __ATOMIC_RELAXED);
    }
}


uint64_t
ngx_broadcast_slot_turns(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    return __atomic_load_n(&zone->slot[slot].turns, __ATOMIC_RELAXED);
}
