
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_log.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Reading the log without the lock: copy, then look whether the tail has
 * passed what was copied.  The fences and what they pair with are told at the
 * head of ngx_broadcast_log.c.  Nothing of a copy is looked at before.
 */


static ngx_int_t ngx_broadcast_log_copy(ngx_broadcast_zone_t *zone,
    uint64_t offset, void *p, size_t len);


uint64_t
ngx_broadcast_log_head(ngx_broadcast_zone_t *zone)
{
    return __atomic_load_n(&zone->head, __ATOMIC_ACQUIRE);
}


/* NGX_OK, or NGX_DECLINED if the bytes were overrun */

static ngx_int_t
ngx_broadcast_log_copy(ngx_broadcast_zone_t *zone, uint64_t offset, void *p,
    size_t len)
{
    ngx_broadcast_ring_get(zone, offset, p, len);

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    if (__atomic_load_n(&zone->tail, __ATOMIC_RELAXED) > offset) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_log_read(ngx_broadcast_zone_t *zone, uint64_t *cursor,
    u_char *buf, size_t size, size_t *len)
{
    size_t                   n, used;
    uint64_t                 head, tail;
    ngx_broadcast_header_t   h;

    *len = 0;

    head = ngx_broadcast_log_head(zone);

    if (*cursor == head) {
        return NGX_AGAIN;
    }

    tail = __atomic_load_n(&zone->tail, __ATOMIC_RELAXED);

    /* a cursor from nowhere is treated as one that fell off */

    if (*cursor < tail || *cursor > head || *cursor % 8 != 0) {
        *cursor = tail;
        return NGX_DECLINED;
    }

    if (head - *cursor < sizeof(h)) {
        *cursor = tail;
        return NGX_DECLINED;
    }

    if (size < sizeof(h)) {
        if (ngx_broadcast_log_copy(zone, *cursor, &h, sizeof(h)) != NGX_OK) {
            *cursor = __atomic_load_n(&zone->tail, __ATOMIC_RELAXED);
            return NGX_DECLINED;
        }

        *len = h.size;
        return NGX_BUSY;
    }

    n = (size_t) ngx_min(head - *cursor, size);

    if (ngx_broadcast_log_copy(zone, *cursor, buf, n) != NGX_OK) {
        *cursor = __atomic_load_n(&zone->tail, __ATOMIC_RELAXED);
        return NGX_DECLINED;
    }

    /* whole records only */

    for (used = 0; n - used >= sizeof(h); used += h.size) {

        ngx_memcpy(&h, buf + used, sizeof(h));

        if (h.offset != *cursor + used || h.size < sizeof(h)) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "broadcast: no record at offset %uL of the log",
                          *cursor + used);
            ngx_debug_point();

            *cursor = head;
            return NGX_DECLINED;
        }

        if (h.size > n - used) {
            break;
        }
    }

    if (used == 0) {
        *len = h.size;
        return NGX_BUSY;
    }

    *cursor += used;
    *len = used;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_log_next(u_char **pos, u_char *last, ngx_broadcast_record_t *rec)
{
    u_char                  *p;
    ngx_broadcast_header_t   h;

    if (*pos == last) {
        return NGX_DONE;
    }

    p = *pos;
    ngx_memcpy(&h, p, sizeof(h));
    *pos = p + h.size;
    p += sizeof(h);

    rec->type = h.type;
    rec->scope = h.scope;
    rec->flags = h.flags;
    rec->source = h.source;
    rec->hub = h.hub;
    rec->position.epoch = h.epoch;
    rec->position.seq = h.seq;
    rec->relay = h.relay;
    rec->mark = h.mark;
    rec->time = h.time;
    rec->log = h.offset;
    rec->ttl = h.ttl;

    rec->name.len = h.name_len;
    rec->name.data = p;
    p += h.name_len;

    rec->group.len = h.group_len;
    rec->group.data = p;
    p += h.group_len;

    rec->target.len = h.target_len;
    rec->target.data = p;
    p += h.target_len;

    rec->arguments.len = h.arguments_len;
    rec->arguments.data = p;
    p += h.arguments_len;

    rec->excluded.len = h.excluded_len;
    rec->excluded.data = p;
    p += h.excluded_len;

    rec->packed.len = h.packed_len;
    rec->packed.data = p;

    return NGX_OK;
}


/*
 * From the newest message of the hub back to the one behind the position: as
 * many headers as there are messages to replay.
 */

ngx_int_t
ngx_broadcast_log_seek(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_broadcast_position_t *after, uint64_t *cursor)
{
    uint64_t                 head, offset;
    ngx_broadcast_hub_t     *hub;
    ngx_broadcast_place_t    place;
    ngx_broadcast_header_t   h;

    if (i >= ngx_broadcast_hub_count(zone)) {
        return NGX_DECLINED;
    }

    hub = ngx_broadcast_hub_row(zone, i + 1);

    ngx_broadcast_zone_lock(zone);

    place = hub->place[hub->current];
    head = zone->head;

    ngx_broadcast_zone_unlock(zone);

    if (after->epoch != place.epoch
        || after->seq < place.floor
        || after->seq > place.seq)
    {
        return NGX_DECLINED;
    }

    if (after->seq == place.seq) {
        *cursor = head;
        return NGX_OK;
    }

    for (offset = place.last; offset; offset = h.prev) {

        if (ngx_broadcast_log_copy(zone, offset, &h, sizeof(h)) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (h.seq == after->seq + 1) {
            *cursor = offset;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


void
ngx_broadcast_log_oldest(ngx_broadcast_zone_t *zone, ngx_uint_t i,
    ngx_broadcast_position_t *oldest)
{
    ngx_broadcast_hub_t    *hub;
    ngx_broadcast_place_t  *place;

    oldest->epoch = 0;
    oldest->seq = 0;

    if (i >= ngx_broadcast_hub_count(zone)) {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, i + 1);

    ngx_broadcast_zone_lock(zone);

    place = &hub->place[hub->current];

    if (place->floor < place->seq) {
        oldest->epoch = place->epoch;
        oldest->seq = place->floor + 1;
    }

    ngx_broadcast_zone_unlock(zone);
}
