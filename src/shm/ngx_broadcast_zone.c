
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_zone_layout.h"

#include <sys/random.h>


/* what is measured at one size of the zone and divided among the tables */

typedef struct {
    size_t      block;
    size_t      log;
    size_t      bindings;
    ngx_uint_t  hubs;
    ngx_uint_t  rows;
} ngx_broadcast_plan_t;


static uint32_t ngx_broadcast_zone_sizes(void);
static void *ngx_broadcast_zone_block(ngx_slab_pool_t *pool, size_t *size);
static void ngx_broadcast_zone_plan(ngx_broadcast_plan_t *plan, size_t size,
    size_t block);
static size_t ngx_broadcast_zone_divide(ngx_broadcast_zone_t *zone,
    ngx_broadcast_plan_t *plan);
static uint64_t ngx_broadcast_zone_table(ngx_broadcast_table_t *table,
    uint64_t at, ngx_uint_t n, size_t size);
static ngx_int_t ngx_broadcast_zone_random(ngx_broadcast_zone_t *zone);
static ngx_int_t ngx_broadcast_zone_mutex(pthread_mutex_t *mutex);


#if (NGX_BROADCAST_DEBUG)
void  (*ngx_broadcast_stop_hook)(const char *name);

static const char  *ngx_broadcast_die_name;


static void
ngx_broadcast_zone_die(const char *name)
{
    if (ngx_strcmp(name, ngx_broadcast_die_name) == 0) {
        (void) kill(getpid(), SIGKILL);
    }
}


void
ngx_broadcast_zone_die_at(const char *name)
{
    if (name) {
        ngx_broadcast_die_name = name;
        ngx_broadcast_stop_hook = ngx_broadcast_zone_die;
    }
}

#endif


ngx_int_t
ngx_broadcast_zone_open(ngx_slab_pool_t *pool, size_t size,
    ngx_broadcast_zone_t **out, const char **err)
{
    size_t                 block;
    ngx_uint_t             i;
    ngx_broadcast_plan_t   plan;
    ngx_broadcast_zone_t  *zone;

    if (pool->data) {
        zone = pool->data;

        if (zone->magic != NGX_BROADCAST_MAGIC
            || zone->layout != NGX_BROADCAST_LAYOUT
            || zone->sizes != ngx_broadcast_zone_sizes()
            || zone->size != size)
        {
            *err = "the zone was made by another build of the module, "
                   "restart nginx or give it another name or size";
            return NGX_ERROR;
        }

        *out = zone;

        return NGX_OK;
    }

    if (size < NGX_BROADCAST_ZONE_MIN) {
        *err = "the zone is smaller than 1m";
        return NGX_ERROR;
    }

    zone = ngx_broadcast_zone_block(pool, &block);
    if (zone == NULL) {
        *err = "the zone has no room for its tables";
        return NGX_ERROR;
    }

    zone->layout = NGX_BROADCAST_LAYOUT;
    zone->sizes = ngx_broadcast_zone_sizes();
    zone->size = size;
    zone->block = block;
    zone->created = (uint64_t) time(NULL);

    ngx_broadcast_zone_plan(&plan, size, block);

    if (ngx_broadcast_zone_divide(zone, &plan) > block) {
        *err = "the zone has no room for its tables";
        return NGX_ERROR;
    }

    /* 0 means "none" for an offset, so the log does not begin there */

    zone->head = zone->ring_size;
    zone->tail = zone->ring_size;
    zone->applied = zone->ring_size;

    if (ngx_broadcast_zone_random(zone) != NGX_OK) {
        *err = "the system has no random bytes";
        return NGX_ERROR;
    }

    if (ngx_broadcast_zone_mutex(&zone->lock) != NGX_OK) {
        *err = "the system has no robust mutex between processes";
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        if (ngx_broadcast_zone_mutex(&zone->slot[i].life) != NGX_OK) {
            *err = "the system has no robust mutex between processes";
            return NGX_ERROR;
        }
    }

    zone->magic = NGX_BROADCAST_MAGIC;
    pool->data = zone;

    *out = zone;

    return NGX_OK;
}


/* a build with other structures must not attach to what this one made */

static uint32_t
ngx_broadcast_zone_sizes(void)
{
    size_t      i;
    uint32_t    sum;

    size_t      size[] = {
        sizeof(ngx_broadcast_zone_t), sizeof(ngx_broadcast_slot_t),
        sizeof(ngx_broadcast_hub_t), sizeof(ngx_broadcast_conn_row_t),
        sizeof(ngx_broadcast_member_t), sizeof(ngx_broadcast_cell_t),
        sizeof(ngx_broadcast_rule_row_t),
        sizeof(ngx_broadcast_header_t), sizeof(ngx_broadcast_stats_t),
        NGX_BROADCAST_COUNTERS, NGX_BROADCAST_HISTOGRAMS,
        NGX_BROADCAST_LEASES, NGX_BROADCAST_GAUGES
    };

    sum = 0;

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        sum = sum * 31 + (uint32_t) size[i];
    }

    return sum;
}


/*
 * All pages of the pool in one piece.  A fresh pool's pages are one run; if
 * something was taken before us, less will do.
 */

static void *
ngx_broadcast_zone_block(ngx_slab_pool_t *pool, size_t *size)
{
    void        *p;
    ngx_uint_t   pages, log_nomem;

    log_nomem = pool->log_nomem;
    pool->log_nomem = 0;

    p = NULL;

    for (pages = pool->pfree; pages > 0; pages -= ngx_min(pages, 8)) {
        p = ngx_slab_alloc(pool, pages * ngx_pagesize);

        if (p) {
            *size = pages * ngx_pagesize;
            break;
        }
    }

    pool->log_nomem = log_nomem;

#if (NGX_DEBUG_MALLOC || NGX_HAVE_DEBUG_MALLOC)

    /* a fresh mapping is zero, unless the slab has filled it with junk */

    if (p) {
        ngx_memzero(p, *size);
    }

#endif

    return p;
}


static void
ngx_broadcast_zone_plan(ngx_broadcast_plan_t *plan, size_t size, size_t block)
{
    plan->block = block;
    plan->log = (size / 4) & ~(size_t) 4095;

    plan->hubs = size / 65536;
    plan->hubs = ngx_max(plan->hubs, 64);
    plan->hubs = ngx_min(plan->hubs, 4096);

    plan->bindings = ngx_min(size / 256, 256 * 1024) & ~(size_t) 63;

    /* rows take what is left: too many at first, then fewer until it fits */

    plan->rows = block / sizeof(ngx_broadcast_conn_row_t);
}


/* returns the bytes that are needed */

static size_t
ngx_broadcast_zone_divide(ngx_broadcast_zone_t *zone,
    ngx_broadcast_plan_t *plan)
{
    uint64_t  at, tables;

    at = ngx_align(sizeof(ngx_broadcast_zone_t), NGX_BROADCAST_LINE);

    zone->stats = at;
    at += sizeof(ngx_broadcast_stats_t) * (NGX_BROADCAST_SLOTS + 1);

    zone->bindings = at;
    zone->bindings_size = plan->bindings;
    at += 2 * plan->bindings;

    at = ngx_broadcast_zone_table(&zone->hubs, at, plan->hubs,
                                  sizeof(ngx_broadcast_hub_t));

    /* some pages at most, and hubs are not many */

    zone->hubs.used = zone->hubs.mask + 1;

    zone->ring = at;
    zone->ring_size = plan->log;
    at += plan->log;

    tables = at;

    do {
        at = ngx_broadcast_zone_table(&zone->rows, tables, plan->rows,
                                      sizeof(ngx_broadcast_conn_row_t));
        at = ngx_broadcast_zone_table(&zone->members, at, 2 * plan->rows,
                                      sizeof(ngx_broadcast_member_t));
        at = ngx_broadcast_zone_table(&zone->rules, at, plan->rows / 2,
                                      sizeof(ngx_broadcast_rule_row_t));
        at = ngx_broadcast_zone_table(&zone->cells, at, 2 * plan->rows,
                                      sizeof(ngx_broadcast_cell_t));

        plan->rows -= plan->rows / 64 + 1;

    } while (at > plan->block && plan->rows > 64);

    return at;
}


/* room for heads: up to four entries a chain in a full table */

static uint64_t
ngx_broadcast_zone_table(ngx_broadcast_table_t *table, uint64_t at,
    ngx_uint_t n, size_t size)
{
    uint32_t  heads;

    for (heads = 64; heads * 4 < n; heads *= 2) { /* void */ }

    table->at = at;
    table->n = (uint32_t) n;
    table->mask = heads - 1;
    table->used = NGX_BROADCAST_HEADS_FIRST;
    at = ngx_align(at + n * size, NGX_BROADCAST_LINE);

    table->heads = at;

    return ngx_align(at + heads * sizeof(uint32_t), NGX_BROADCAST_LINE);
}


static ngx_int_t
ngx_broadcast_zone_random(ngx_broadcast_zone_t *zone)
{
    struct {
        u_char    secret[32];
        uint64_t  seed[2];
        uint64_t  epoch;
    } r;

    if (getrandom(&r, sizeof(r), 0) != (ssize_t) sizeof(r)) {
        return NGX_ERROR;
    }

    ngx_memcpy(zone->secret, r.secret, sizeof(r.secret));
    zone->seed[0] = r.seed[0];
    zone->seed[1] = r.seed[1];
    zone->epoch = r.epoch ? r.epoch : 1;

    ngx_explicit_memzero(&r, sizeof(r));

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_zone_mutex(pthread_mutex_t *mutex)
{
    ngx_int_t            rc;
    pthread_mutexattr_t  attr;

    if (pthread_mutexattr_init(&attr)) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0
        && pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0
        && pthread_mutex_init(mutex, &attr) == 0)
    {
        rc = NGX_OK;
    }

    pthread_mutexattr_destroy(&attr);

    return rc;
}


/*
 * A death while holding the lock: `dirty` is set before the mutex is declared
 * consistent, so if we die in turn at any store of this, or of the rebuild,
 * the next one is told by the mutex or by `dirty` and rebuilds.
 */

void
ngx_broadcast_zone_lock(ngx_broadcast_zone_t *zone)
{
    int  err;

    err = pthread_mutex_lock(&zone->lock);

    if (err == EOWNERDEAD) {
        zone->dirty = 1;
        ngx_broadcast_store(lock_dirty);

        (void) pthread_mutex_consistent(&zone->lock);
        ngx_broadcast_store(lock_consistent);

    } else if (err) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, err,
                      "broadcast: pthread_mutex_lock() failed");
        ngx_debug_point();
    }

    if (zone->dirty) {
        ngx_broadcast_rebuild_locked(zone);
    }
}


void
ngx_broadcast_zone_unlock(ngx_broadcast_zone_t *zone)
{
    (void) pthread_mutex_unlock(&zone->lock);
}


void
ngx_broadcast_zone_dirty_locked(ngx_broadcast_zone_t *zone)
{
    zone->dirty = 1;
    ngx_broadcast_store(dirty_set);
}


void
ngx_broadcast_zone_clean_locked(ngx_broadcast_zone_t *zone)
{
    ngx_broadcast_store(dirty_before_clear);

    zone->dirty = 0;
    ngx_broadcast_store(dirty_clear);
}


u_char *
ngx_broadcast_zone_secret(ngx_broadcast_zone_t *zone)
{
    return zone->secret;
}


void
ngx_broadcast_zone_info(ngx_broadcast_zone_t *zone,
    ngx_broadcast_zone_info_t *info)
{
    ngx_broadcast_header_t  h;

    ngx_memzero(info, sizeof(ngx_broadcast_zone_info_t));

    info->size = zone->size;
    info->log_bytes = zone->ring_size;
    info->rows = zone->rows.n;
    info->rules = zone->rules.n;
    info->created = (time_t) zone->created;
    info->log_overruns = ngx_broadcast_stats_sum(zone, NGX_BROADCAST_OVERRUNS);

    ngx_broadcast_zone_lock(zone);

    info->log_head = zone->number;
    info->log_tail = zone->number;

    if (zone->tail != zone->head) {
        ngx_broadcast_ring_get(zone, zone->tail, &h, sizeof(h));
        info->log_tail = h.number;
    }

    info->rows_used = zone->rows.high - zone->rows.spare;
    info->unsettled = zone->unsettled;
    info->rules_used = zone->rules.high - zone->rules.spare;

    info->used = zone->ring - sizeof(ngx_broadcast_hub_t)
                              * (zone->hubs.n - zone->hubs.high)
                 + (zone->head - zone->tail)
                 + info->rows_used * sizeof(ngx_broadcast_conn_row_t)
                 + (zone->members.high - zone->members.spare)
                   * sizeof(ngx_broadcast_member_t)
                 + info->rules_used * sizeof(ngx_broadcast_rule_row_t)
                 + (zone->cells.high - zone->cells.spare)
                   * sizeof(ngx_broadcast_cell_t);

    ngx_broadcast_zone_unlock(zone);
}
