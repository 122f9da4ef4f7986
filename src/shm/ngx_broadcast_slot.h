
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_SLOT_H_INCLUDED_
#define _NGX_BROADCAST_SLOT_H_INCLUDED_


#include "shm/ngx_broadcast_zone.h"


/*
 * A slot is a worker's place in the zone.  Its owner holds the slot's robust
 * "life" mutex from claim to exit, so that death is seen at once by anybody
 * who tries it, also of a zombie that nobody has reaped.
 *
 * owner word = slot number and the slot's generation: rows and leases name
 * their owner by it, and a re-used slot is another owner.
 */

typedef uint64_t  ngx_broadcast_owner_t;        /* 0 is nobody */

#define ngx_broadcast_owner_slot(owner)  ((ngx_uint_t) ((owner) & 0xff))

#define NGX_BROADCAST_NO_SLOT  ((ngx_uint_t) -1)


typedef struct {
    ngx_pid_t               pid;
    ngx_uint_t              slot;
    ngx_broadcast_owner_t   owner;
    ngx_uint_t              connections;
    ngx_uint_t              exiting;
} ngx_broadcast_slot_info_t;


/*
 * Claims a free or dead slot.  NGX_BUSY when all are alive.  A dead slot's
 * rows must have been swept (ngx_broadcast_registry_sweep) before, which this
 * function does itself.
 */
ngx_int_t ngx_broadcast_slot_claim(ngx_broadcast_zone_t *zone,
    ngx_uint_t *slot, ngx_broadcast_owner_t *owner);
void ngx_broadcast_slot_release(ngx_broadcast_zone_t *zone, ngx_uint_t slot);

/* for the list: this worker was told to exit and drains */
void ngx_broadcast_slot_exiting(ngx_broadcast_zone_t *zone, ngx_uint_t slot);

/* 1: a worker that was not told to exit is there, or has just died; no lock */
ngx_uint_t ngx_broadcast_slot_staying(ngx_broadcast_zone_t *zone);

/* 1 while the owner holds its slot; tells a dead one from a stopped one */
ngx_uint_t ngx_broadcast_slot_alive(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner);

/*
 * Looks for slots whose owner died, sweeps their rows and frees them.
 * Returns how many were found.  Any process may call it at any time; two at
 * once are harmless.
 */
ngx_uint_t ngx_broadcast_slot_reap(ngx_broadcast_zone_t *zone);

/*
 * Grows with each worker that comes, and with each that is gone and swept: who
 * sees another number than before looks what has changed.  No lock.
 */
uint64_t ngx_broadcast_slot_changes(ngx_broadcast_zone_t *zone);

/* fills at most n entries with the living workers; returns how many */
ngx_uint_t ngx_broadcast_slot_list(ngx_broadcast_zone_t *zone,
    ngx_broadcast_slot_info_t *info, ngx_uint_t n);

/*
 * "Already woken" flags, without the lock, sequentially consistent.  arm():
 * 1 if the caller changed it from asleep to woken and therefore has to ring.
 * The reader clears its flag first and then looks at the log.
 */
ngx_uint_t ngx_broadcast_slot_arm(ngx_broadcast_zone_t *zone, ngx_uint_t slot);
void ngx_broadcast_slot_disarm(ngx_broadcast_zone_t *zone, ngx_uint_t slot);

/* the owner of the slot has read the log up to this offset; no lock */
void ngx_broadcast_slot_read(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    uint64_t offset);

/*
 * Whether the worker of the slot has connections of the hub: then it is rung
 * for each of the hub's messages; NGX_BROADCAST_HUB_NONE is all hubs.  A claim
 * of the slot takes all of it back.
 * watched(): adds the hub's slots to `map`, NGX_BROADCAST_SLOTS bits.  No lock,
 * sequentially consistent.
 */
void ngx_broadcast_slot_watch(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t hub, ngx_uint_t on);
void ngx_broadcast_slot_watched(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    uint64_t *map);

/* 1 if a worker that is not rung for what is appended has to be by now */
ngx_uint_t ngx_broadcast_slot_lags(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot);

/*
 * 1 if the worker has more than an eighth of the log's bytes to read yet; no
 * lock.  Who has something to append may wait for it, but not for ever: a
 * worker that is stopped does not read.  It is not, if its turns go on.
 */
ngx_uint_t ngx_broadcast_slot_behind(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot);
void ngx_broadcast_slot_turn(ngx_broadcast_zone_t *zone, ngx_uint_t slot);
uint64_t ngx_broadcast_slot_turns(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot);

/* a bit map of living slots, for the walk of a wake-up: no lock */
ngx_uint_t ngx_broadcast_slot_next(ngx_broadcast_zone_t *zone,
    ngx_uint_t after);              /* NGX_BROADCAST_NO_SLOT ends and begins */


#endif /* _NGX_BROADCAST_SLOT_H_INCLUDED_ */
