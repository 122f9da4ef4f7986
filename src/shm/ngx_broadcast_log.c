
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_log.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * The log: a ring of bytes under 64-bit offsets that only grow.
 *
 *              tail            applied = head     tail + ring_size
 *               |                    |                   |
 *       --------+------+---+--+------+-------------------+
 *        gone   | rec  |rec|..| rec  |  room             |
 *       --------+------+---+--+------+-------------------+
 *
 * A record begins at offset % ring_size, at a multiple of 8, and may go over
 * the ring's end.  Writers hold the zone lock:
 *
 *   1  evict: raise the floor of the evicted record's hub, then move the tail
 *   2  copy headers and strings behind the head
 *   3  store the head: from here on the records are there, all of them
 *   4  apply: move the hubs' places, the relay cursor and the number to what
 *      the records say, change the rules of users, then move `applied`
 *
 * A death in 1 or 2: the records are not there; the oldest may be gone, or
 * one of them may be below its hub's floor, where nobody looks for it.
 * A death in 3 or 4: the next owner of the lock applies what lies between
 * `applied` and the head, from the records alone.  Applying a record again
 * changes nothing, but that it may be counted twice in `published`.
 *
 * Readers hold no lock.  The pairs that make it right:
 *
 *   head, stored with release after the copying     head, loaded with acquire
 *   by the writer (3)                               by the reader before its
 *                                                   copying: it sees the bytes
 *
 *   tail, then a release fence before the copying   an acquire fence after the
 *   over old bytes (1, 2)                           copying, then tail: if the
 *                                                   reader has seen one new
 *                                                   byte, it sees this tail
 *                                                   and drops its copy
 */


typedef struct {
    uint64_t  relay;            /* the highest so far */
    uint64_t  number;
    uint64_t  offset;           /* of the next record */
} ngx_broadcast_append_t;


static ngx_int_t ngx_broadcast_append_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n);
static size_t ngx_broadcast_append_size_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n);
static void ngx_broadcast_append_evict_locked(ngx_broadcast_zone_t *zone,
    size_t size);
static void ngx_broadcast_append_copy_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *rec, ngx_broadcast_append_t *append);
static void ngx_broadcast_append_place_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *rec, ngx_broadcast_header_t *h);
static ngx_uint_t ngx_broadcast_place_move(ngx_broadcast_place_t *place,
    ngx_broadcast_header_t *h);


ngx_int_t
ngx_broadcast_log_append(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n)
{
    ngx_int_t   rc;
    ngx_uint_t  full;

    for (full = 0; /* void */ ; full++) {

        ngx_broadcast_zone_lock(zone);

        rc = ngx_broadcast_append_locked(zone, recs, n);

        ngx_broadcast_zone_unlock(zone);

        /* full of rules, perhaps of ones whose time has come: once */

        if (rc != NGX_ABORT || full) {
            return rc;
        }

        ngx_broadcast_rule_expire(zone, ngx_time());
    }
}


static ngx_int_t
ngx_broadcast_append_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n)
{
    size_t                   size;
    uint64_t                 refused;
    ngx_uint_t               i;
    ngx_broadcast_append_t   append;
    ngx_broadcast_record_t  *rec;

    size = ngx_broadcast_append_size_locked(zone, recs, n);

    if (size > zone->ring_size / 2) {
        return NGX_BUSY;
    }

    if (!ngx_broadcast_rule_room_locked(zone, recs, n)) {
        return NGX_ABORT;
    }

    ngx_broadcast_append_evict_locked(zone, size);

    append.relay = zone->relay;
    append.number = zone->number;
    append.offset = zone->head;

    for (i = 0; i < n; i++) {
        rec = &recs[i];
        rec->log = 0;

        if (rec->relay) {
            if (rec->relay <= append.relay) {
                continue;
            }

            append.relay = rec->relay;
        }

        ngx_broadcast_append_copy_locked(zone, rec, &append);
    }

    __atomic_store_n(&zone->head, append.offset, __ATOMIC_RELEASE);
    ngx_broadcast_store(append_head);

    refused = zone->rules_refused;

    ngx_broadcast_log_apply_locked(zone);

    return (zone->rules_refused == refused) ? NGX_OK : NGX_DONE;
}


/*
 * Bytes that the records take which are not skipped; more than any ring has
 * if one of them cannot be in a record at all.
 */

static size_t
ngx_broadcast_append_size_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n)
{
    size_t                   size;
    uint64_t                 relay;
    ngx_uint_t               i;
    ngx_broadcast_record_t  *rec;

    size = 0;
    relay = zone->relay;

    for (i = 0; i < n; i++) {
        rec = &recs[i];

        if (rec->hub >= zone->hubs.high
            || rec->name.len > 65535
            || rec->group.len > 65535
            || rec->target.len > zone->ring_size
            || rec->arguments.len > zone->ring_size
            || rec->excluded.len > zone->ring_size
            || rec->packed.len > zone->ring_size)
        {
            return (size_t) -1;
        }

        if (rec->relay) {
            if (rec->relay <= relay) {
                continue;
            }

            relay = rec->relay;
        }

        size += ngx_broadcast_record_size(rec);

        if (size > zone->ring_size) {
            break;
        }
    }

    return size;
}


static void
ngx_broadcast_append_evict_locked(ngx_broadcast_zone_t *zone, size_t size)
{
    uint64_t                 tail;
    ngx_broadcast_hub_t     *hub;
    ngx_broadcast_place_t   *place;
    ngx_broadcast_header_t   h;

    tail = zone->tail;

    while (zone->head + size - tail > zone->ring_size) {

        ngx_broadcast_ring_get(zone, tail, &h, sizeof(h));

        hub = ngx_broadcast_hub_row(zone, h.hub + 1);
        place = &hub->place[hub->current];

        if (!(h.flags & NGX_BROADCAST_REC_UNNUMBERED)
            && h.epoch == place->epoch
            && h.seq > place->floor)
        {
            place->floor = h.seq;
            ngx_broadcast_store(evict_floor);
        }

        tail += h.size;

        __atomic_store_n(&zone->tail, tail, __ATOMIC_RELAXED);
        ngx_broadcast_store(evict_tail);
    }

    __atomic_thread_fence(__ATOMIC_RELEASE);
}


static void
ngx_broadcast_append_copy_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *rec, ngx_broadcast_append_t *append)
{
    uint64_t                 offset;
    ngx_uint_t               i;
    ngx_str_t               *part[6];
    ngx_broadcast_header_t   h;

    ngx_memzero(&h, sizeof(h));

    h.size = (uint32_t) ngx_broadcast_record_size(rec);
    h.type = (uint8_t) rec->type;
    h.scope = (uint8_t) rec->scope;
    h.flags = (uint8_t) rec->flags;
    h.source = (uint8_t) rec->source;
    h.offset = append->offset;
    h.number = ++append->number;
    h.relay = rec->relay;
    h.mark = rec->mark;
    h.time = rec->time;
    h.hub = (uint32_t) rec->hub;
    h.name_len = (uint16_t) rec->name.len;
    h.group_len = (uint16_t) rec->group.len;
    h.target_len = (uint32_t) rec->target.len;
    h.arguments_len = (uint32_t) rec->arguments.len;
    h.excluded_len = (uint32_t) rec->excluded.len;
    h.ttl = rec->ttl;
    h.packed_len = (uint32_t) rec->packed.len;

    ngx_broadcast_append_place_locked(zone, rec, &h);

    ngx_broadcast_ring_put(zone, append->offset, &h, sizeof(h));
    ngx_broadcast_store(append_header);

    offset = append->offset + sizeof(h);

    part[0] = &rec->name;
    part[1] = &rec->group;
    part[2] = &rec->target;
    part[3] = &rec->arguments;
    part[4] = &rec->excluded;
    part[5] = &rec->packed;

    for (i = 0; i < 6; i++) {
        ngx_broadcast_ring_put(zone, offset, part[i]->data, part[i]->len);
        ngx_broadcast_store(append_string);

        offset += part[i]->len;
    }

    rec->log = append->offset;
    append->offset += h.size;
}


/*
 * The record's position.  The hub's place moves only when the records are
 * there; until then `pending` says where this append stands, and `serial`,
 * the offset of its first record, whose it is.  What a dead append left there
 * has the same serial as the next append: the rebuild clears it.
 */

static void
ngx_broadcast_append_place_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *rec, ngx_broadcast_header_t *h)
{
    ngx_broadcast_hub_t    *hub;
    ngx_broadcast_place_t  *place;

    hub = ngx_broadcast_hub_row(zone, rec->hub + 1);
    place = &hub->pending;

    if (hub->serial != zone->head) {
        *place = hub->place[hub->current];
        ngx_broadcast_store(pending_place);

        hub->serial = zone->head;
        ngx_broadcast_store(pending_serial);
    }

    if (rec->flags & NGX_BROADCAST_REC_UNNUMBERED) {
        rec->position.epoch = place->epoch;
        rec->position.seq = place->seq;

    } else if (!(rec->flags & NGX_BROADCAST_REC_NUMBERED)) {
        rec->position.epoch = place->epoch;
        rec->position.seq = place->seq + 1;
    }

    h->epoch = rec->position.epoch;
    h->seq = rec->position.seq;

    if (h->epoch == place->epoch && h->seq == place->seq + 1) {
        h->prev = place->last;
    }

    (void) ngx_broadcast_place_move(place, h);
    ngx_broadcast_store(pending_move);
}


/*
 * Moves a place to a record's position.  0 if it does not move: the record
 * takes no number, or repeats what is known.  A jump forward, or another
 * epoch, means that what lies between never was in the log.
 */

static ngx_uint_t
ngx_broadcast_place_move(ngx_broadcast_place_t *place,
    ngx_broadcast_header_t *h)
{
    if (h->flags & NGX_BROADCAST_REC_UNNUMBERED) {
        return 0;
    }

    if (h->epoch == place->epoch) {

        if (h->seq <= place->seq) {
            return 0;
        }

        if (h->seq != place->seq + 1) {
            place->floor = h->seq - 1;
        }

    } else {
        place->epoch = h->epoch;
        place->floor = h->seq ? h->seq - 1 : 0;
    }

    place->seq = h->seq;
    place->last = h->offset;

    /* it tells of the new epoch and is no message of it */

    if (h->type == NGX_BROADCAST_REC_EPOCH) {
        place->floor = h->seq;
        place->last = 0;
    }

    return 1;
}


void
ngx_broadcast_log_apply_locked(ngx_broadcast_zone_t *zone)
{
    ngx_broadcast_hub_t     *hub;
    ngx_broadcast_place_t   *place;
    ngx_broadcast_header_t   h;

    while (zone->applied < zone->head) {

        ngx_broadcast_ring_get(zone, zone->applied, &h, sizeof(h));

        hub = ngx_broadcast_hub_row(zone, h.hub + 1);
        place = &hub->place[hub->current ^ 1];

        *place = hub->place[hub->current];
        ngx_broadcast_store(apply_place);

        if (ngx_broadcast_place_move(place, &h)) {
            ngx_broadcast_store(apply_move);

            hub->current ^= 1;
            ngx_broadcast_store(apply_current);
        }

        if (h.relay > zone->relay) {
            zone->relay = h.relay;
            ngx_broadcast_store(apply_relay);
        }

        if (h.type == NGX_BROADCAST_REC_MESSAGE
            && h.source < NGX_BROADCAST_SOURCES)
        {
            hub->published[h.source]++;
            ngx_broadcast_store(apply_published);
        }

        if (h.type == NGX_BROADCAST_REC_JOIN
            || h.type == NGX_BROADCAST_REC_LEAVE)
        {
            ngx_broadcast_rule_apply_locked(zone, &h);
        }

        zone->number = h.number;
        ngx_broadcast_store(apply_number);

        zone->applied += h.size;
        ngx_broadcast_store(apply_applied);
    }
}


void
ngx_broadcast_ring_put(ngx_broadcast_zone_t *zone, uint64_t offset,
    const void *data, size_t len)
{
    size_t         at, n;
    u_char        *ring;
    const u_char  *p;

    if (len == 0) {
        return;
    }

    p = data;
    ring = (u_char *) zone + zone->ring;
    at = (size_t) (offset % zone->ring_size);
    n = ngx_min(len, (size_t) zone->ring_size - at);

    ngx_memcpy(ring + at, p, n);

    if (n < len) {
        ngx_memcpy(ring, p + n, len - n);
    }
}


void
ngx_broadcast_ring_get(ngx_broadcast_zone_t *zone, uint64_t offset,
    void *data, size_t len)
{
    size_t   at, n;
    u_char  *ring, *p;

    if (len == 0) {
        return;
    }

    p = data;
    ring = (u_char *) zone + zone->ring;
    at = (size_t) (offset % zone->ring_size);
    n = ngx_min(len, (size_t) zone->ring_size - at);

    ngx_memcpy(p, ring + at, n);

    if (n < len) {
        ngx_memcpy(p + n, ring, len - n);
    }
}


uint64_t
ngx_broadcast_log_relay(ngx_broadcast_zone_t *zone)
{
    uint64_t  relay;

    ngx_broadcast_zone_lock(zone);
    relay = zone->relay;
    ngx_broadcast_zone_unlock(zone);

    return relay;
}


/* one store: the old cursor or the new one */

void
ngx_broadcast_log_set_relay(ngx_broadcast_zone_t *zone, uint64_t relay)
{
    ngx_broadcast_zone_lock(zone);

    zone->relay = relay;
    ngx_broadcast_store(set_relay);

    ngx_broadcast_zone_unlock(zone);
}
