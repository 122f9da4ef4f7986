
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_slot.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 *   FREE -> LIVE                    claim: its process holds `life`
 *   LIVE -> FREE                    release
 *   LIVE -> DEAD -> FREE            the process died; the sweep has ended its
 *                                   connections
 *
 * `life` is only ever tried, and only under the zone lock, so nobody waits
 * for it, and whoever finds it taken knows that it is the owner who has it.
 * The kernel gives it back when its holder dies.  A holder that dies while it
 * merely tried leaves it in the same state.
 */


static ngx_int_t ngx_broadcast_slot_try_locked(ngx_broadcast_slot_t *slot);
static void ngx_broadcast_slot_unwatch_locked(ngx_broadcast_zone_t *zone,
    ngx_uint_t i);
static void ngx_broadcast_slot_map_locked(ngx_broadcast_zone_t *zone,
    ngx_uint_t i, ngx_uint_t live);


/*
 * A death before slot_state: FREE, the next claim finds the mutex abandoned
 * and takes it.  From there on: LIVE with a dead owner, which the next probe
 * sees.  The map of living slots is derived.
 */

ngx_int_t
ngx_broadcast_slot_claim(ngx_broadcast_zone_t *zone, ngx_uint_t *out,
    ngx_broadcast_owner_t *owner)
{
    uint64_t               pid;
    ngx_uint_t             i;
    ngx_broadcast_slot_t  *slot;

    pid = (uint64_t) getpid();

    (void) ngx_broadcast_slot_reap(zone);

    slot = NULL;

    ngx_broadcast_zone_lock(zone);

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        slot = &zone->slot[i];

        if (slot->state == NGX_BROADCAST_SLOT_FREE
            && ngx_broadcast_slot_try_locked(slot) == NGX_OK)
        {
            break;
        }
    }

    if (i == NGX_BROADCAST_SLOTS) {
        ngx_broadcast_zone_unlock(zone);
        return NGX_BUSY;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    slot->generation++;
    ngx_broadcast_store(slot_generation);

    slot->owner = (uint64_t) slot->generation << 8 | i;
    ngx_broadcast_store(slot_owner);

    slot->pid = pid;
    ngx_broadcast_store(slot_pid);

    slot->exiting = 0;
    ngx_broadcast_store(slot_exiting);

    slot->connections = 0;
    ngx_broadcast_store(slot_connections);

    ngx_memzero(slot->pool, sizeof(slot->pool));
    ngx_broadcast_store(slot_pool);

    slot->away = 0;
    ngx_broadcast_store(slot_away);

    slot->streams = 0;
    ngx_broadcast_store(slot_streams);

    ngx_broadcast_slot_unwatch_locked(zone, i);

    __atomic_store_n(&slot->read, zone->head, __ATOMIC_RELAXED);
    ngx_broadcast_store(slot_read);

    __atomic_store_n(&slot->done, zone->head, __ATOMIC_RELAXED);
    ngx_broadcast_store(slot_done);

    __atomic_store_n(&slot->changes, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->told, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->begun, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->ended, 0, __ATOMIC_RELAXED);
    ngx_broadcast_store(slot_told);

    __atomic_store_n(&slot->woken, 0, __ATOMIC_SEQ_CST);
    ngx_broadcast_store(slot_woken);

    slot->state = NGX_BROADCAST_SLOT_LIVE;
    ngx_broadcast_store(slot_state);

    ngx_broadcast_slot_map_locked(zone, i, 1);

    ngx_broadcast_zone_clean_locked(zone);

    *out = i;
    *owner = slot->owner;

    ngx_broadcast_zone_unlock(zone);

    return NGX_OK;
}


/* what the slot's last owner watched: until then it is rung for nothing */

static void
ngx_broadcast_slot_unwatch_locked(ngx_broadcast_zone_t *zone, ngx_uint_t i)
{
    ngx_uint_t  n;

    ngx_broadcast_slot_watch(zone, i, NGX_BROADCAST_HUB_NONE, 0);
    ngx_broadcast_store(slot_watched_all);

    for (n = 0; n < zone->hubs.high; n++) {
        ngx_broadcast_slot_watch(zone, i, n, 0);
        ngx_broadcast_store(slot_watched);
    }
}


/*
 * A death before release_state: LIVE with a dead owner.  From there on: FREE.
 */

void
ngx_broadcast_slot_release(ngx_broadcast_zone_t *zone, ngx_uint_t i)
{
    uint64_t               owner;
    ngx_broadcast_slot_t  *slot;

    if (i >= NGX_BROADCAST_SLOTS) {
        return;
    }

    slot = &zone->slot[i];
    owner = slot->owner;

    ngx_broadcast_registry_sweep(zone, owner);

    ngx_broadcast_zone_lock(zone);

    if (slot->state == NGX_BROADCAST_SLOT_LIVE && slot->owner == owner) {

        ngx_broadcast_zone_dirty_locked(zone);

        slot->state = NGX_BROADCAST_SLOT_FREE;
        ngx_broadcast_store(release_state);

        slot->owner = 0;
        ngx_broadcast_store(release_owner);

        ngx_broadcast_slot_map_locked(zone, i, 0);

        (void) pthread_mutex_unlock(&slot->life);
        ngx_broadcast_store(release_life);

        ngx_broadcast_zone_clean_locked(zone);
    }

    ngx_broadcast_zone_unlock(zone);
}


/* NGX_OK: the life mutex is ours now; NGX_BUSY: a living process has it */

static ngx_int_t
ngx_broadcast_slot_try_locked(ngx_broadcast_slot_t *slot)
{
    int  err;

    err = pthread_mutex_trylock(&slot->life);

    if (err == EOWNERDEAD) {
        ngx_broadcast_store(life_dead);

        (void) pthread_mutex_consistent(&slot->life);
        ngx_broadcast_store(life_consistent);

        return NGX_OK;
    }

    if (err) {
        return NGX_BUSY;
    }

    ngx_broadcast_store(life_taken);

    return NGX_OK;
}


static void
ngx_broadcast_slot_map_locked(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_uint_t live)
{
    uint64_t  bit;

    bit = (uint64_t) 1 << (i % 64);

    if (live) {
        (void) __atomic_fetch_or(&zone->map[i / 64], bit, __ATOMIC_SEQ_CST);
        ngx_broadcast_store(map_set);

    } else {
        (void) __atomic_fetch_and(&zone->map[i / 64], ~bit, __ATOMIC_SEQ_CST);
        ngx_broadcast_store(map_clear);
    }
}


/*
 * A death before probe_state: still LIVE, the next probe sees the same.  From
 * there on: DEAD, and the next reap sweeps it.
 */

void
ngx_broadcast_slot_probe_locked(ngx_broadcast_zone_t *zone, ngx_uint_t i)
{
    ngx_broadcast_slot_t  *slot;

    slot = &zone->slot[i];

    if (slot->state != NGX_BROADCAST_SLOT_LIVE
        || ngx_broadcast_slot_try_locked(slot) != NGX_OK)
    {
        return;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    slot->state = NGX_BROADCAST_SLOT_DEAD;
    ngx_broadcast_store(probe_state);

    ngx_broadcast_slot_map_locked(zone, i, 0);

    (void) pthread_mutex_unlock(&slot->life);
    ngx_broadcast_store(probe_life);

    ngx_broadcast_zone_clean_locked(zone);
}


ngx_uint_t
ngx_broadcast_slot_alive_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner)
{
    ngx_uint_t             i;
    ngx_broadcast_slot_t  *slot;

    i = ngx_broadcast_owner_slot(owner);

    if (owner == 0 || i >= NGX_BROADCAST_SLOTS) {
        return 0;
    }

    slot = &zone->slot[i];

    if (slot->owner != owner) {
        return 0;
    }

    ngx_broadcast_slot_probe_locked(zone, i);

    return slot->state == NGX_BROADCAST_SLOT_LIVE;
}


ngx_uint_t
ngx_broadcast_slot_alive(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner)
{
    ngx_uint_t  alive;

    ngx_broadcast_zone_lock(zone);

    alive = ngx_broadcast_slot_alive_locked(zone, owner);

    ngx_broadcast_zone_unlock(zone);

    return alive;
}


/*
 * A death before reap_state: still DEAD, and swept again by the next: the
 * sweep finds nothing more.  From there on: FREE.
 */

ngx_uint_t
ngx_broadcast_slot_reap(ngx_broadcast_zone_t *zone)
{
    uint64_t               dead[NGX_BROADCAST_SLOTS];
    ngx_uint_t             i, n;
    ngx_broadcast_slot_t  *slot;

    n = 0;

    ngx_broadcast_zone_lock(zone);

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {

        ngx_broadcast_slot_probe_locked(zone, i);

        if (zone->slot[i].state == NGX_BROADCAST_SLOT_DEAD) {
            dead[n++] = zone->slot[i].owner;
        }
    }

    ngx_broadcast_zone_unlock(zone);

    for (i = 0; i < n; i++) {

        ngx_broadcast_registry_sweep(zone, dead[i]);

        slot = &zone->slot[ngx_broadcast_owner_slot(dead[i])];

        ngx_broadcast_zone_lock(zone);

        if (slot->state == NGX_BROADCAST_SLOT_DEAD && slot->owner == dead[i]) {

            slot->state = NGX_BROADCAST_SLOT_FREE;
            ngx_broadcast_store(reap_state);

            slot->owner = 0;
            ngx_broadcast_store(reap_owner);
        }

        ngx_broadcast_zone_unlock(zone);
    }

    return n;
}


uint64_t
ngx_broadcast_slot_changes(ngx_broadcast_zone_t *zone)
{
    uint64_t               n;
    ngx_uint_t             i;
    ngx_broadcast_slot_t  *slot;

    n = 0;

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        slot = &zone->slot[i];

        /* a claim makes it two more and one less, an end one more */

        n += 2 * (uint64_t) __atomic_load_n(&slot->generation,
                                            __ATOMIC_RELAXED);
        n -= (__atomic_load_n(&slot->owner, __ATOMIC_RELAXED) != 0);
    }

    return n;
}


ngx_uint_t
ngx_broadcast_slot_list(ngx_broadcast_zone_t *zone,
    ngx_broadcast_slot_info_t *info, ngx_uint_t n)
{
    ngx_uint_t             i, found;
    ngx_broadcast_slot_t  *slot;

    found = 0;

    ngx_broadcast_zone_lock(zone);

    for (i = 0; i < NGX_BROADCAST_SLOTS && found < n; i++) {

        ngx_broadcast_slot_probe_locked(zone, i);

        slot = &zone->slot[i];

        if (slot->state != NGX_BROADCAST_SLOT_LIVE) {
            continue;
        }

        info[found].pid = (ngx_pid_t) slot->pid;
        info[found].slot = i;
        info[found].owner = slot->owner;
        info[found].connections = slot->connections;
        info[found].exiting = slot->exiting;
        found++;
    }

    ngx_broadcast_zone_unlock(zone);

    return found;
}


/* one word of the owner's own */

void
ngx_broadcast_slot_exiting(ngx_broadcast_zone_t *zone, ngx_uint_t i)
{
    if (i < NGX_BROADCAST_SLOTS) {
        __atomic_store_n(&zone->slot[i].exiting, 1, __ATOMIC_RELAXED);
    }
}


ngx_uint_t
ngx_broadcast_slot_staying(ngx_broadcast_zone_t *zone)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {

        if (__atomic_load_n(&zone->slot[i].state, __ATOMIC_RELAXED)
               == NGX_BROADCAST_SLOT_LIVE
            && !__atomic_load_n(&zone->slot[i].exiting, __ATOMIC_RELAXED))
        {
            return 1;
        }
    }

    return 0;
}
