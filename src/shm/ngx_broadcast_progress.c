
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_progress.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * What a command changes (groups, rows) is changed by the worker that has the
 * connection, when it comes to the record.  Who is told that a command was
 * carried out must find it so, whichever worker is asked: release here, acquire
 * there.
 */


static void ngx_broadcast_progress_more(uint64_t *word);


void
ngx_broadcast_progress_done(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    uint64_t offset)
{
    if (slot < NGX_BROADCAST_SLOTS) {
        __atomic_store_n(&zone->slot[slot].done, offset, __ATOMIC_RELEASE);
    }
}


/* one word of the owner's own */

static void
ngx_broadcast_progress_more(uint64_t *word)
{
    __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + 1,
                     __ATOMIC_RELEASE);
}


void
ngx_broadcast_progress_changed(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    if (slot < NGX_BROADCAST_SLOTS) {
        ngx_broadcast_progress_more(&zone->slot[slot].changes);
    }
}


uint64_t
ngx_broadcast_progress_changes(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    return slot < NGX_BROADCAST_SLOTS
           ? __atomic_load_n(&zone->slot[slot].changes, __ATOMIC_RELAXED) : 0;
}


void
ngx_broadcast_progress_told(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    uint64_t n)
{
    if (slot < NGX_BROADCAST_SLOTS) {
        __atomic_store_n(&zone->slot[slot].told, n, __ATOMIC_RELEASE);
    }
}


void
ngx_broadcast_progress_begun(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    if (slot < NGX_BROADCAST_SLOTS) {
        ngx_broadcast_progress_more(&zone->slot[slot].begun);
    }
}


void
ngx_broadcast_progress_ended(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    if (slot < NGX_BROADCAST_SLOTS) {
        ngx_broadcast_progress_more(&zone->slot[slot].ended);
    }
}


ngx_uint_t
ngx_broadcast_progress_late(ngx_broadcast_zone_t *zone, ngx_uint_t after,
    uint64_t offset)
{
    ngx_uint_t  i;

    for (i = ngx_broadcast_slot_next(zone, after);
         i != NGX_BROADCAST_NO_SLOT;
         i = ngx_broadcast_slot_next(zone, i))
    {
        if (__atomic_load_n(&zone->slot[i].done, __ATOMIC_ACQUIRE) < offset) {
            return i;
        }
    }

    return NGX_BROADCAST_NO_SLOT;
}


void
ngx_broadcast_progress_untold(ngx_broadcast_zone_t *zone,
    ngx_broadcast_untold_t *untold)
{
    ngx_uint_t             i;
    ngx_broadcast_slot_t  *slot;

    untold->changes = 0;
    untold->begun = 0;

    for (i = ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT);
         i != NGX_BROADCAST_NO_SLOT;
         i = ngx_broadcast_slot_next(zone, i))
    {
        slot = &zone->slot[i];

        untold->changes += __atomic_load_n(&slot->changes, __ATOMIC_ACQUIRE);
        untold->begun += __atomic_load_n(&slot->begun, __ATOMIC_ACQUIRE);
    }
}


ngx_uint_t
ngx_broadcast_progress_known(ngx_broadcast_zone_t *zone,
    ngx_broadcast_untold_t *untold)
{
    uint64_t               told, ended;
    ngx_uint_t             i;
    ngx_broadcast_slot_t  *slot;

    told = 0;
    ended = 0;

    for (i = ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT);
         i != NGX_BROADCAST_NO_SLOT;
         i = ngx_broadcast_slot_next(zone, i))
    {
        slot = &zone->slot[i];

        told += __atomic_load_n(&slot->told, __ATOMIC_ACQUIRE);
        ended += __atomic_load_n(&slot->ended, __ATOMIC_ACQUIRE);
    }

    if (untold->begun) {

        if (ended < untold->begun) {
            return 0;
        }

        /* groups that changed during a call are counted behind it */

        ngx_broadcast_progress_untold(zone, untold);
        untold->begun = 0;
    }

    return told >= untold->changes;
}
