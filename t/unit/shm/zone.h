
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _ZONE_H_INCLUDED_
#define _ZONE_H_INCLUDED_


#include "tap.h"

#include "shm/ngx_broadcast_binding.h"
#include "shm/ngx_broadcast_lease.h"
#include "shm/ngx_broadcast_log.h"
#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_stats.h"
#include "shm/ngx_broadcast_zone_layout.h"

#include <sys/mman.h>
#include <sys/wait.h>


/* A zone as nginx makes one: a shared mapping that begins with a slab pool. */

static inline ngx_broadcast_zone_t *
zone_make(size_t size)
{
    void                  *p;
    const char            *err;
    ngx_slab_pool_t       *pool;
    ngx_broadcast_zone_t  *zone;

    static ngx_uint_t      sizes;

    if (!sizes) {
        ngx_slab_sizes_init();
        sizes = 1;
    }

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "mmap() failed\n");
        exit(1);
    }

    pool = p;
    pool->end = (u_char *) p + size;
    pool->min_shift = 3;
    pool->addr = p;

    if (ngx_shmtx_create(&pool->mutex, &pool->lock, NULL) != NGX_OK) {
        fprintf(stderr, "ngx_shmtx_create() failed\n");
        exit(1);
    }

    ngx_slab_init(pool);

    if (ngx_broadcast_zone_open(pool, size, &zone, &err) != NGX_OK) {
        fprintf(stderr, "zone: %s\n", err);
        exit(1);
    }

    return zone;
}


static inline void
zone_free(ngx_broadcast_zone_t *zone)
{
    u_char  *p;

    p = (u_char *) ((uintptr_t) zone & ~((uintptr_t) ngx_pagesize - 1));

    /* the pool lies in the pages before the one block */

    while (((ngx_slab_pool_t *) p)->addr != p) {
        p -= ngx_pagesize;
    }

    munmap(p, zone->size);
}


/* 1 if every invariant holds, else the sentence is printed */

static inline int
zone_right(ngx_broadcast_zone_t *zone)
{
    u_char  buf[256];

    if (ngx_broadcast_zone_check(zone, buf, sizeof(buf)) == NGX_OK) {
        return 1;
    }

    fprintf(stderr, "zone: %s\n", (char *) buf);

    return 0;
}


static inline ngx_uint_t
zone_hub(ngx_broadcast_zone_t *zone, const char *name, ngx_uint_t durable)
{
    ngx_str_t   s;
    ngx_uint_t  hub;

    s = tap_str(name);

    if (ngx_broadcast_hub_get(zone, &s, durable, &hub) != NGX_OK) {
        fprintf(stderr, "no room for hub %s\n", name);
        exit(1);
    }

    return hub;
}


static inline ngx_broadcast_record_t
zone_record(ngx_uint_t hub, const char *arguments, size_t len)
{
    ngx_broadcast_record_t  rec;

    ngx_memzero(&rec, sizeof(rec));

    rec.type = NGX_BROADCAST_REC_MESSAGE;
    rec.scope = NGX_BROADCAST_ALL;
    rec.source = NGX_BROADCAST_SRC_REST;
    rec.hub = hub;
    rec.arguments.data = (u_char *) arguments;
    rec.arguments.len = len;

    return rec;
}


/* claims; *row is set on NGX_OK */

static inline ngx_int_t
zone_claim(ngx_broadcast_zone_t *zone, ngx_broadcast_owner_t owner,
    ngx_uint_t hub, const char *id, const char *user, uint64_t key,
    time_t expires, ngx_broadcast_row_t *row)
{
    ngx_int_t                rc;
    ngx_broadcast_claim_t    in;
    ngx_broadcast_claimed_t  out;

    ngx_memzero(&in, sizeof(in));

    in.id = tap_str(id);
    in.user = tap_str(user);
    in.hub = hub;
    in.transport = NGX_BROADCAST_SSE;
    in.expires = expires;
    in.key = key;

    rc = ngx_broadcast_registry_claim(zone, owner, &in, &out);

    if (rc == NGX_OK && row) {
        *row = out.row;
    }

    return rc;
}


#endif /* _ZONE_H_INCLUDED_ */
