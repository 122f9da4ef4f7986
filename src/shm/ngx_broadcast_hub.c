
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_hub.h"
#include "shm/ngx_broadcast_zone_layout.h"


static ngx_uint_t ngx_broadcast_hub_find_locked(ngx_broadcast_zone_t *zone,
    ngx_str_t *name);
static void ngx_broadcast_hub_place_locked(ngx_broadcast_hub_t *hub,
    ngx_broadcast_position_t *position);

/*
 * A death before hub_high: the row is not there.  From there on: it is, and
 * the rebuild puts it into its chain.
 */

ngx_int_t
ngx_broadcast_hub_get(ngx_broadcast_zone_t *zone, ngx_str_t *name,
    ngx_uint_t durable, ngx_uint_t *out)
{
    uint32_t              *head;
    ngx_uint_t             i;
    ngx_broadcast_hub_t   *hub;

    if (name->len == 0 || name->len > sizeof(hub->name)) {
        return NGX_BUSY;
    }

    ngx_broadcast_zone_lock(zone);

    i = ngx_broadcast_hub_find_locked(zone, name);

    if (i) {
        goto done;
    }

    if (zone->hubs.high == zone->hubs.n) {
        ngx_broadcast_zone_unlock(zone);

        return NGX_BUSY;
    }

    i = zone->hubs.high + 1;
    hub = ngx_broadcast_hub_row(zone, i);

    ngx_broadcast_zone_dirty_locked(zone);

    ngx_memcpy(hub->name, name->data, name->len);
    ngx_broadcast_store(hub_name);

    hub->len = (uint32_t) name->len;
    ngx_broadcast_store(hub_len);

    hub->durable = durable ? 1 : 0;
    ngx_broadcast_store(hub_durable);

    hub->current = 0;
    ngx_broadcast_store(hub_current);

    hub->place[0].epoch = durable ? 0 : zone->epoch;
    ngx_broadcast_store(hub_epoch);

    zone->hubs.high = (uint32_t) i;
    ngx_broadcast_store(hub_high);

    head = ngx_broadcast_head(zone, hubs, ngx_broadcast_hub_hash(zone, name));

    hub->next = *head;
    ngx_broadcast_store(hub_next);

    *head = (uint32_t) i;
    ngx_broadcast_store(hub_head);

    ngx_broadcast_zone_clean_locked(zone);

done:

    ngx_broadcast_zone_unlock(zone);

    *out = i - 1;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_hub_find(ngx_broadcast_zone_t *zone, ngx_str_t *name,
    ngx_uint_t *out)
{
    ngx_uint_t  i;

    ngx_broadcast_zone_lock(zone);

    i = ngx_broadcast_hub_find_locked(zone, name);

    ngx_broadcast_zone_unlock(zone);

    if (i == 0) {
        return NGX_DECLINED;
    }

    *out = i - 1;

    return NGX_OK;
}


/* 1-based, 0 if there is none */

static ngx_uint_t
ngx_broadcast_hub_find_locked(ngx_broadcast_zone_t *zone, ngx_str_t *name)
{
    uint32_t              i;
    ngx_broadcast_hub_t  *hub;

    i = *ngx_broadcast_head(zone, hubs, ngx_broadcast_hub_hash(zone, name));

    while (i) {
        hub = ngx_broadcast_hub_row(zone, i);

        if (hub->len == name->len
            && ngx_memcmp(hub->name, name->data, name->len) == 0)
        {
            break;
        }

        i = hub->next;
    }

    return i;
}


/* hubs are never taken away: one word, no lock */

ngx_uint_t
ngx_broadcast_hub_count(ngx_broadcast_zone_t *zone)
{
    return __atomic_load_n(&zone->hubs.high, __ATOMIC_ACQUIRE);
}


void
ngx_broadcast_hub_info(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_broadcast_hub_info_t *info)
{
    ngx_uint_t              n;
    ngx_broadcast_hub_t    *hub;
    ngx_broadcast_place_t  *place;

    ngx_memzero(info, sizeof(ngx_broadcast_hub_info_t));

    if (i >= ngx_broadcast_hub_count(zone)) {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, i + 1);

    ngx_broadcast_zone_lock(zone);

    info->len = hub->len;
    ngx_memcpy(info->name, hub->name, hub->len);

    info->durable = hub->durable;

    place = &hub->place[hub->current];
    info->position.epoch = place->epoch;
    info->position.seq = place->seq;

    info->users = hub->users;
    info->groups = hub->groups;

    for (n = 0; n < NGX_BROADCAST_SOURCES; n++) {
        info->published[n] = hub->published[n];
    }

    for (n = 0; n < NGX_BROADCAST_TRANSPORTS; n++) {
        info->connections[n] = hub->connections[n];
        info->delivered[n] = __atomic_load_n(&hub->delivered[n],
                                             __ATOMIC_RELAXED);
    }

    ngx_broadcast_zone_unlock(zone);
}


void
ngx_broadcast_hub_position(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_broadcast_position_t *position)
{
    ngx_broadcast_hub_t    *hub;
    ngx_broadcast_place_t  *place;

    position->epoch = 0;
    position->seq = 0;

    if (i >= ngx_broadcast_hub_count(zone)) {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, i + 1);

    ngx_broadcast_zone_lock(zone);

    place = &hub->place[hub->current];
    position->epoch = place->epoch;
    position->seq = place->seq;

    ngx_broadcast_zone_unlock(zone);
}


void
ngx_broadcast_hub_set_position(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_broadcast_position_t *position)
{
    ngx_broadcast_hub_t    *hub;
    ngx_broadcast_place_t  *was;

    if (i >= ngx_broadcast_hub_count(zone)) {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, i + 1);

    ngx_broadcast_zone_lock(zone);

    was = &hub->place[hub->current];

    if (was->epoch != position->epoch || was->seq < position->seq) {
        ngx_broadcast_hub_place_locked(hub, position);
    }

    ngx_broadcast_zone_unlock(zone);
}


/*
 * The place that is not current is filled, then made current by one store: a
 * death before place_current leaves the old position, after it the new one.
 * What the log holds below the new position is not a whole any more, so the
 * floor is the position itself.
 */

static void
ngx_broadcast_hub_place_locked(ngx_broadcast_hub_t *hub,
    ngx_broadcast_position_t *position)
{
    ngx_broadcast_place_t  *place;

    place = &hub->place[hub->current ^ 1];

    place->epoch = position->epoch;
    ngx_broadcast_store(place_epoch);

    place->seq = position->seq;
    ngx_broadcast_store(place_seq);

    place->floor = position->seq;
    ngx_broadcast_store(place_floor);

    place->last = 0;
    ngx_broadcast_store(place_last);

    hub->current ^= 1;
    ngx_broadcast_store(place_current);
}


/*
 * The epoch before the kind: a death between them leaves the old kind, and
 * the next worker of the new configuration does both again.
 */

void
ngx_broadcast_hub_set_durable(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_uint_t durable)
{
    ngx_broadcast_hub_t       *hub;
    ngx_broadcast_position_t   position;

    if (i >= ngx_broadcast_hub_count(zone)) {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, i + 1);

    ngx_broadcast_zone_lock(zone);

    if (hub->durable && !durable) {

        /* another one each time: the log has gone on */

        position.epoch = ngx_broadcast_hash(zone, zone->head, hub->name,
                                            hub->len)
                         | 1;
        position.seq = 0;

        ngx_broadcast_hub_place_locked(hub, &position);
    }

    hub->durable = durable ? 1 : 0;
    ngx_broadcast_store(hub_kind);

    ngx_broadcast_zone_unlock(zone);
}


void
ngx_broadcast_hub_delivered(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_uint_t transport, ngx_uint_t n)
{
    ngx_broadcast_hub_t  *hub;

    if (i >= ngx_broadcast_hub_count(zone)
        || transport >= NGX_BROADCAST_TRANSPORTS)
    {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, i + 1);

    (void) __atomic_fetch_add(&hub->delivered[transport], (uint64_t) n,
                              __ATOMIC_RELAXED);
}
