
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ZONE_H_INCLUDED_
#define _NGX_BROADCAST_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * The zone is one piece of shared memory, mapped at the same address in every
 * process of one master.  It begins with nginx's slab pool, from which one
 * block is taken at creation; afterwards the slab is never called again.
 *
 *   +-----------+--------+-------+------+----------+-----------+----------+
 *   | slab pool | header | slots | hubs | bindings | registry  | log ring |
 *   +-----------+--------+-------+------+----------+-----------+----------+
 *
 * A function that needs the zone lock held ends in _locked; every other
 * function of shm/ takes the lock itself where it needs it.
 */

#define NGX_BROADCAST_ZONE_MIN   (1024 * 1024)
#define NGX_BROADCAST_SLOTS      128


/* opaque outside shm/: the layout is in ngx_broadcast_zone_layout.h */

typedef struct ngx_broadcast_zone_s  ngx_broadcast_zone_t;


typedef struct {
    size_t                  size;          /* bytes of the whole zone */
    size_t                  used;          /* header + live rows + live log */
    size_t                  log_bytes;
    uint64_t                log_head;      /* number of the newest record */
    uint64_t                log_tail;      /* number of the oldest record */
    uint64_t                log_overruns;
    ngx_uint_t              rows;          /* registry rows in all */
    ngx_uint_t              rows_used;     /* live, unsettled and tombstones */
    ngx_uint_t              unsettled;     /* of them: `disconnected` is owed */
    ngx_uint_t              rules;         /* of users' groups, in all */
    ngx_uint_t              rules_used;
    time_t                  created;       /* wall clock, seconds */
} ngx_broadcast_zone_info_t;


/*
 * Creates the zone in the slab pool, or attaches to the one that is there
 * (after a reload).  Additive and idempotent: it never resets what an older
 * generation uses.  On NGX_ERROR *err is a static sentence (too small, layout
 * version of another build).  Called by the master only.
 */
ngx_int_t ngx_broadcast_zone_open(ngx_slab_pool_t *pool, size_t size,
    ngx_broadcast_zone_t **zone, const char **err);

/* 32 random bytes made at creation; never changes */
u_char *ngx_broadcast_zone_secret(ngx_broadcast_zone_t *zone);

/*
 * SipHash-1-3 (Aumasson, Bernstein) of the tag and the text under the zone's
 * seed: clients choose the names of groups, and may not choose their chain.
 * No lock.
 */
uint64_t ngx_broadcast_hash(ngx_broadcast_zone_t *zone, uint64_t tag,
    const u_char *p, size_t len);

void ngx_broadcast_zone_info(ngx_broadcast_zone_t *zone,
    ngx_broadcast_zone_info_t *info);

/*
 * Checks every invariant of the zone under the lock.  NGX_OK, or NGX_ERROR
 * with the first broken one as a sentence in buf.  For tests and for the
 * status page of a debug build.
 */
ngx_int_t ngx_broadcast_zone_check(ngx_broadcast_zone_t *zone, u_char *buf,
    size_t len);

#if (NGX_BROADCAST_DEBUG)

/* kills this worker at the store of that name; NULL: at none */
void ngx_broadcast_zone_die_at(const char *name);

#endif


#endif /* _NGX_BROADCAST_ZONE_H_INCLUDED_ */
