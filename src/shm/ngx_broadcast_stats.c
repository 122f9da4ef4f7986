
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_stats.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * A block a slot, written by its owner alone: a load and a store, which other
 * processes see whole.  The block behind the last one is shared by workers
 * that found no slot; those add atomically.  A death loses at most what was
 * about to be added.
 */

const uint64_t  ngx_broadcast_stats_bounds[NGX_BROADCAST_BUCKETS] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
    500000, 1000000, 2500000, 5000000, 10000000
};


static ngx_broadcast_stats_t *ngx_broadcast_stats_block(
    ngx_broadcast_zone_t *zone, ngx_uint_t slot);
static void ngx_broadcast_stats_word(ngx_uint_t slot, uint64_t *word,
    uint64_t n);
static void ngx_broadcast_stats_has(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot, size_t word, ngx_uint_t n);
static ngx_uint_t ngx_broadcast_stats_have(ngx_broadcast_zone_t *zone,
    size_t word);


static ngx_broadcast_stats_t *
ngx_broadcast_stats_block(ngx_broadcast_zone_t *zone, ngx_uint_t slot)
{
    ngx_broadcast_stats_t  *stats;

    stats = (ngx_broadcast_stats_t *) ((u_char *) zone + zone->stats);

    return stats + ngx_min(slot, NGX_BROADCAST_SLOTS);
}


static void
ngx_broadcast_stats_word(ngx_uint_t slot, uint64_t *word, uint64_t n)
{
    if (slot >= NGX_BROADCAST_SLOTS) {
        (void) __atomic_fetch_add(word, n, __ATOMIC_RELAXED);
        return;
    }

    n += __atomic_load_n(word, __ATOMIC_RELAXED);
    __atomic_store_n(word, n, __ATOMIC_RELAXED);
}


void
ngx_broadcast_stats_add(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t counter, uint64_t n)
{
    ngx_broadcast_stats_t  *stats;

    if (zone == NULL || counter >= NGX_BROADCAST_COUNTERS) {
        return;
    }

    stats = ngx_broadcast_stats_block(zone, slot);

    ngx_broadcast_stats_word(slot, &stats->counter[counter], n);
}


uint64_t
ngx_broadcast_stats_sum(ngx_broadcast_zone_t *zone, ngx_uint_t counter)
{
    uint64_t                sum;
    ngx_uint_t              i;
    ngx_broadcast_stats_t  *stats;

    sum = 0;

    if (counter >= NGX_BROADCAST_COUNTERS) {
        return sum;
    }

    for (i = 0; i <= NGX_BROADCAST_SLOTS; i++) {
        stats = ngx_broadcast_stats_block(zone, i);
        sum += __atomic_load_n(&stats->counter[counter], __ATOMIC_RELAXED);
    }

    return sum;
}


void
ngx_broadcast_stats_observe(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t histogram, uint64_t usec)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_BUCKETS; i++) {
        if (usec <= ngx_broadcast_stats_bounds[i]) {
            break;
        }
    }

    ngx_broadcast_stats_observe_all(zone, slot, histogram, i, usec, 1);
}


void
ngx_broadcast_stats_observe_all(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t histogram, ngx_uint_t bucket, uint64_t sum, ngx_uint_t n)
{
    ngx_broadcast_histogram_t  *h;

    if (zone == NULL || histogram >= NGX_BROADCAST_HISTOGRAMS) {
        return;
    }

    h = &ngx_broadcast_stats_block(zone, slot)->histogram[histogram];

    if (bucket < NGX_BROADCAST_BUCKETS) {
        ngx_broadcast_stats_word(slot, &h->bucket[bucket], n);
    }

    ngx_broadcast_stats_word(slot, &h->sum, sum);
    ngx_broadcast_stats_word(slot, &h->count, n);
}


void
ngx_broadcast_stats_histogram(ngx_broadcast_zone_t *zone, ngx_uint_t histogram,
    ngx_broadcast_histogram_t *out)
{
    ngx_uint_t                  i, n;
    ngx_broadcast_histogram_t  *h;

    ngx_memzero(out, sizeof(ngx_broadcast_histogram_t));

    if (histogram >= NGX_BROADCAST_HISTOGRAMS) {
        return;
    }

    for (i = 0; i <= NGX_BROADCAST_SLOTS; i++) {
        h = &ngx_broadcast_stats_block(zone, i)->histogram[histogram];

        out->sum += __atomic_load_n(&h->sum, __ATOMIC_RELAXED);
        out->count += __atomic_load_n(&h->count, __ATOMIC_RELAXED);

        for (n = 0; n < NGX_BROADCAST_BUCKETS; n++) {
            out->bucket[n] += __atomic_load_n(&h->bucket[n], __ATOMIC_RELAXED);
        }
    }
}


void
ngx_broadcast_stats_call(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t event, ngx_uint_t outcome)
{
    ngx_broadcast_stats_t  *stats;

    if (zone == NULL || event >= 8 || outcome >= NGX_BROADCAST_OUTCOMES) {
        return;
    }

    stats = ngx_broadcast_stats_block(zone, slot);

    ngx_broadcast_stats_word(slot, &stats->calls[event][outcome], 1);
}


uint64_t
ngx_broadcast_stats_calls(ngx_broadcast_zone_t *zone, ngx_uint_t event,
    ngx_uint_t outcome)
{
    uint64_t                sum;
    ngx_uint_t              i;
    ngx_broadcast_stats_t  *stats;

    sum = 0;

    if (event >= 8 || outcome >= NGX_BROADCAST_OUTCOMES) {
        return sum;
    }

    for (i = 0; i <= NGX_BROADCAST_SLOTS; i++) {
        stats = ngx_broadcast_stats_block(zone, i);
        sum += __atomic_load_n(&stats->calls[event][outcome],
                               __ATOMIC_RELAXED);
    }

    return sum;
}


void
ngx_broadcast_stats_pool(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t n[NGX_BROADCAST_POOL_STATES])
{
    ngx_uint_t  i;

    if (zone == NULL || slot >= NGX_BROADCAST_SLOTS) {
        return;
    }

    for (i = 0; i < NGX_BROADCAST_POOL_STATES; i++) {
        __atomic_store_n(&zone->slot[slot].pool[i], (uint64_t) n[i],
                         __ATOMIC_RELAXED);
    }
}


void
ngx_broadcast_stats_pools(ngx_broadcast_zone_t *zone,
    ngx_uint_t n[NGX_BROADCAST_POOL_STATES])
{
    ngx_uint_t  i, slot;

    for (i = 0; i < NGX_BROADCAST_POOL_STATES; i++) {
        n[i] = 0;
    }

    for (slot = ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT);
         slot != NGX_BROADCAST_NO_SLOT;
         slot = ngx_broadcast_slot_next(zone, slot))
    {
        for (i = 0; i < NGX_BROADCAST_POOL_STATES; i++) {
            n[i] += (ngx_uint_t) __atomic_load_n(&zone->slot[slot].pool[i],
                                                 __ATOMIC_RELAXED);
        }
    }
}


/* a word that each slot has: how many of something its worker has now */

static void
ngx_broadcast_stats_has(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    size_t word, ngx_uint_t n)
{
    uint64_t  *p;

    if (zone && slot < NGX_BROADCAST_SLOTS) {
        p = (uint64_t *) ((u_char *) &zone->slot[slot] + word);
        __atomic_store_n(p, (uint64_t) n, __ATOMIC_RELAXED);
    }
}


static ngx_uint_t
ngx_broadcast_stats_have(ngx_broadcast_zone_t *zone, size_t word)
{
    uint64_t    *p;
    ngx_uint_t   n, slot;

    n = 0;

    for (slot = ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT);
         slot != NGX_BROADCAST_NO_SLOT;
         slot = ngx_broadcast_slot_next(zone, slot))
    {
        p = (uint64_t *) ((u_char *) &zone->slot[slot] + word);
        n += (ngx_uint_t) __atomic_load_n(p, __ATOMIC_RELAXED);
    }

    return n;
}


void
ngx_broadcast_stats_away(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t n)
{
    ngx_broadcast_stats_has(zone, slot, offsetof(ngx_broadcast_slot_t, away),
                            n);
}


ngx_uint_t
ngx_broadcast_stats_aways(ngx_broadcast_zone_t *zone)
{
    return ngx_broadcast_stats_have(zone,
                                    offsetof(ngx_broadcast_slot_t, away));
}


void
ngx_broadcast_stats_streams(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t n)
{
    ngx_broadcast_stats_has(zone, slot, offsetof(ngx_broadcast_slot_t, streams),
                            n);
}


ngx_uint_t
ngx_broadcast_stats_running(ngx_broadcast_zone_t *zone)
{
    return ngx_broadcast_stats_have(zone,
                                    offsetof(ngx_broadcast_slot_t, streams));
}


void
ngx_broadcast_stats_set(ngx_broadcast_zone_t *zone, ngx_uint_t gauge,
    uint64_t value)
{
    if (zone && gauge < NGX_BROADCAST_GAUGES) {
        __atomic_store_n(&zone->gauge[gauge], value, __ATOMIC_RELAXED);
    }
}


uint64_t
ngx_broadcast_stats_get(ngx_broadcast_zone_t *zone, ngx_uint_t gauge)
{
    if (gauge >= NGX_BROADCAST_GAUGES) {
        return 0;
    }

    return __atomic_load_n(&zone->gauge[gauge], __ATOMIC_RELAXED);
}
