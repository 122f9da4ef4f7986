
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_bus.h"


static void ngx_broadcast_publish_wake(ngx_broadcast_record_t *recs,
    ngx_uint_t n);
static void ngx_broadcast_publish_map(ngx_broadcast_record_t *recs,
    ngx_uint_t n, uint64_t *map);


ngx_int_t
ngx_broadcast_publish(ngx_broadcast_record_t *recs, ngx_uint_t n)
{
    uint64_t        now;
    ngx_int_t       rc;
    ngx_uint_t      i;
    struct timeval  tv;

    if (ngx_broadcast_bus.zone == NULL) {
        return NGX_BUSY;
    }

    now = 0;

    for (i = 0; i < n; i++) {

        if (recs[i].time) {
            continue;
        }

        if (now == 0) {
            ngx_gettimeofday(&tv);
            now = (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;
        }

        recs[i].time = now;
    }

    rc = ngx_broadcast_log_append(ngx_broadcast_bus.zone, recs, n);

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DONE:
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_FULL, 1);
        ngx_broadcast_bus_full("the groups of a user, whose later connections "
                               "will miss one");
        break;

    case NGX_ABORT:
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_FULL, 1);
        ngx_broadcast_bus_full("the groups of a user");
        return NGX_BUSY;

    default:
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_FULL, 1);
        ngx_broadcast_bus_full("a message");
        return rc;
    }

    ngx_broadcast_publish_wake(recs, n);

    return NGX_OK;
}


void
ngx_broadcast_bus_full(const char *what)
{
    static time_t  last;

    if (ngx_time() == last) {
        return;
    }

    last = ngx_time();

    ngx_log_error(NGX_LOG_ERR, ngx_broadcast_bus.log, 0,
                  "broadcast: \"broadcast_zone\" has no room for %s", what);
}


/*
 * The records are there before anybody's flag or a map is looked at; see
 * ngx_broadcast_slot_arm() for why no wake-up is lost.
 */

static void
ngx_broadcast_publish_wake(ngx_broadcast_record_t *recs, ngx_uint_t n)
{
    uint64_t    map[NGX_BROADCAST_SLOTS / 64];
    ngx_uint_t  slot, rung;

    rung = 0;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    ngx_broadcast_publish_map(recs, n, map);

    for (slot = ngx_broadcast_slot_next(ngx_broadcast_bus.zone,
                                        NGX_BROADCAST_NO_SLOT);
         slot != NGX_BROADCAST_NO_SLOT;
         slot = ngx_broadcast_slot_next(ngx_broadcast_bus.zone, slot))
    {
        if (!(map[slot / 64] & ((uint64_t) 1 << (slot % 64)))
            && !ngx_broadcast_slot_lags(ngx_broadcast_bus.zone, slot))
        {
            continue;
        }

        if (slot == ngx_broadcast_bus.slot) {
            (void) ngx_broadcast_slot_arm(ngx_broadcast_bus.zone, slot);
            ngx_broadcast_reader_post();

        } else if (ngx_broadcast_slot_arm(ngx_broadcast_bus.zone, slot)) {
            ngx_broadcast_wake_ring(slot, ngx_broadcast_bus.log);
            rung++;
        }
    }

    if (rung) {
        ngx_broadcast_count(NGX_BROADCAST_WAKES, rung);
    }

    if (ngx_broadcast_bus.slot == NGX_BROADCAST_NO_SLOT) {
        ngx_broadcast_reader_post();
    }
}


/*
 * Who has to read now.  A message is nothing to a worker that has no client of
 * its hub, so that one reads it with others: when it is rung for another
 * reason, when it has a sixteenth of the log to read, or after a second.  All
 * else may be for anybody; so may a message with a mark, whose publisher waits
 * for its number.
 */

static void
ngx_broadcast_publish_map(ngx_broadcast_record_t *recs, ngx_uint_t n,
    uint64_t *map)
{
    ngx_uint_t             i, slot;
    ngx_broadcast_owner_t  owner;

    ngx_memzero(map, NGX_BROADCAST_SLOTS / 8);

    for (i = 0; i < n; i++) {

        if (recs[i].type == NGX_BROADCAST_REC_TAKEN) {
            ngx_memcpy(&owner, recs[i].group.data, sizeof(owner));

            slot = ngx_broadcast_owner_slot(owner);

            if (owner && slot < NGX_BROADCAST_SLOTS) {
                map[slot / 64] |= (uint64_t) 1 << (slot % 64);
            }

            continue;
        }

        if (recs[i].type != NGX_BROADCAST_REC_MESSAGE || recs[i].mark) {
            ngx_memset(map, 0xff, NGX_BROADCAST_SLOTS / 8);
            return;
        }

        if (i == 0 || recs[i].hub != recs[i - 1].hub) {
            ngx_broadcast_slot_watched(ngx_broadcast_bus.zone, recs[i].hub,
                                       map);
        }
    }
}
