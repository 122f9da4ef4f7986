
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_check.h"
#include "shm/ngx_broadcast_record.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * All invariants of the zone.  What is derived is counted here by other means
 * than the rebuild's: each chain is walked, and everything that ought to be
 * in one must have been met exactly once.
 *
 * It is long and holds the lock all the time: for tests and debug builds.
 */


static ngx_int_t ngx_broadcast_check_header(ngx_broadcast_check_t *check);
static ngx_int_t ngx_broadcast_check_log(ngx_broadcast_check_t *check);
static ngx_int_t ngx_broadcast_check_record(ngx_broadcast_check_t *check,
    ngx_broadcast_header_t *h);
static ngx_int_t ngx_broadcast_check_replay(ngx_broadcast_check_t *check);
static ngx_int_t ngx_broadcast_check_rows(ngx_broadcast_check_t *check);
static ngx_int_t ngx_broadcast_check_row(ngx_broadcast_check_t *check,
    uint32_t row);
static ngx_int_t ngx_broadcast_check_hubs(ngx_broadcast_check_t *check);
static void ngx_broadcast_check_count(ngx_broadcast_check_t *check);
static ngx_int_t ngx_broadcast_check_slots(ngx_broadcast_check_t *check);


ngx_int_t
ngx_broadcast_zone_check(ngx_broadcast_zone_t *zone, u_char *buf, size_t len)
{
    size_t                 n;
    ngx_int_t              rc;
    ngx_broadcast_check_t  check;

    check.zone = zone;
    check.buf = buf;
    check.len = len;

    n = (size_t) zone->rows.n + zone->members.n + zone->rules.n
        + 3 * (size_t) zone->cells.n
        + (size_t) zone->hubs.n * NGX_BROADCAST_CHECK_COUNTS
        + NGX_BROADCAST_SLOTS + 6;

    check.rows = ngx_calloc(n * sizeof(uint32_t), ngx_cycle->log);
    if (check.rows == NULL) {
        return ngx_broadcast_check_fail(&check, "no memory for the check", 0);
    }

    check.members = check.rows + zone->rows.n + 1;
    check.rules = check.members + zone->members.n + 1;
    check.cells = check.rules + zone->rules.n + 1;
    check.refs = check.cells + zone->cells.n + 1;
    check.live = check.refs + zone->cells.n + 1;
    check.hubs = check.live + zone->cells.n + 1;
    check.slots = check.hubs + zone->hubs.n * NGX_BROADCAST_CHECK_COUNTS;

    ngx_broadcast_zone_lock(zone);

    rc = NGX_ERROR;

    if (ngx_broadcast_check_header(&check) == NGX_OK
        && ngx_broadcast_check_slots(&check) == NGX_OK
        && ngx_broadcast_check_log(&check) == NGX_OK
        && ngx_broadcast_check_replay(&check) == NGX_OK
        && ngx_broadcast_check_rows(&check) == NGX_OK
        && ngx_broadcast_check_members(&check) == NGX_OK
        && ngx_broadcast_check_rules(&check) == NGX_OK
        && ngx_broadcast_check_cells(&check) == NGX_OK
        && ngx_broadcast_check_hubs(&check) == NGX_OK)
    {
        rc = NGX_OK;
    }

    ngx_broadcast_zone_unlock(zone);

    ngx_free(check.rows);

    if (rc == NGX_OK && len) {
        buf[0] = '\0';
    }

    return rc;
}


ngx_int_t
ngx_broadcast_check_fail(ngx_broadcast_check_t *check, const char *what,
    uint64_t where)
{
    (void) ngx_snprintf(check->buf, check->len, "%s (%uL)%Z", what, where);

    if (check->len) {
        check->buf[check->len - 1] = '\0';
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_broadcast_check_header(ngx_broadcast_check_t *check)
{
    ngx_uint_t              i;
    ngx_broadcast_zone_t   *zone;
    ngx_broadcast_table_t  *table[5];

    zone = check->zone;

    if (zone->magic != NGX_BROADCAST_MAGIC
        || zone->layout != NGX_BROADCAST_LAYOUT)
    {
        return ngx_broadcast_check_fail(check, "no zone of this layout", 0);
    }

    if (zone->dirty) {
        return ngx_broadcast_check_fail(check, "dirty under the lock", 0);
    }

    table[0] = &zone->hubs;
    table[1] = &zone->rows;
    table[2] = &zone->members;
    table[3] = &zone->cells;
    table[4] = &zone->rules;

    for (i = 0; i < 5; i++) {
        if (table[i]->high > table[i]->n || table[i]->spare > table[i]->high) {
            return ngx_broadcast_check_fail(check, "more entries than a table "
                                            "has", i);
        }

        if (table[i]->used < NGX_BROADCAST_HEADS_FIRST
            || table[i]->used > table[i]->mask + 1)
        {
            return ngx_broadcast_check_fail(check, "heads in use of table", i);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_check_slots(ngx_broadcast_check_t *check)
{
    ngx_uint_t             i, bit;
    ngx_broadcast_slot_t  *slot;

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {

        slot = &check->zone->slot[i];
        bit = (check->zone->map[i / 64] >> (i % 64)) & 1;

        if (slot->state > NGX_BROADCAST_SLOT_DEAD) {
            return ngx_broadcast_check_fail(check, "state of slot", i);
        }

        if (bit != (slot->state == NGX_BROADCAST_SLOT_LIVE)) {
            return ngx_broadcast_check_fail(check, "map of living slots", i);
        }

        if (slot->state != NGX_BROADCAST_SLOT_FREE
            && ngx_broadcast_owner_slot(slot->owner) != i)
        {
            return ngx_broadcast_check_fail(check, "owner of slot", i);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_check_log(ngx_broadcast_check_t *check)
{
    uint64_t                 offset, number;
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_header_t   h;

    zone = check->zone;

    if (zone->tail > zone->head
        || zone->head - zone->tail > zone->ring_size
        || zone->head % 8 != 0)
    {
        return ngx_broadcast_check_fail(check, "head and tail of the log",
                                        zone->head);
    }

    if (zone->applied != zone->head) {
        return ngx_broadcast_check_fail(check, "records not applied",
                                        zone->applied);
    }

    number = 0;

    for (offset = zone->tail; offset < zone->head; offset += h.size) {

        ngx_broadcast_ring_get(zone, offset, &h, sizeof(h));

        if (h.offset != offset
            || h.size < sizeof(h)
            || h.size % 8 != 0
            || h.size > zone->head - offset)
        {
            return ngx_broadcast_check_fail(check, "no record in the log at",
                                            offset);
        }

        if (number && h.number != number + 1) {
            return ngx_broadcast_check_fail(check, "number of the record at",
                                            offset);
        }

        number = h.number;

        if (ngx_broadcast_check_record(check, &h) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (number && number != zone->number) {
        return ngx_broadcast_check_fail(check, "number of the newest record",
                                        number);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_check_record(ngx_broadcast_check_t *check,
    ngx_broadcast_header_t *h)
{
    size_t                  size;
    ngx_broadcast_hub_t    *hub;
    ngx_broadcast_place_t  *place;

    size = sizeof(*h) + (size_t) h->name_len + h->group_len + h->target_len
           + h->arguments_len + h->excluded_len + h->packed_len;

    if (ngx_align(size, 8) != h->size) {
        return ngx_broadcast_check_fail(check, "lengths of the record at",
                                        h->offset);
    }

    if (h->hub >= check->zone->hubs.high) {
        return ngx_broadcast_check_fail(check, "hub of the record at",
                                        h->offset);
    }

    hub = ngx_broadcast_hub_row(check->zone, h->hub + 1);
    place = &hub->place[hub->current];

    if (!(h->flags & NGX_BROADCAST_REC_UNNUMBERED)
        && h->epoch == place->epoch
        && h->seq > place->seq)
    {
        return ngx_broadcast_check_fail(check, "record beyond its hub's "
                                        "position at", h->offset);
    }

    return NGX_OK;
}


/* every message between floor and position is there, in its place */

static ngx_int_t
ngx_broadcast_check_replay(ngx_broadcast_check_t *check)
{
    uint32_t                 i;
    uint64_t                 seq, offset;
    ngx_broadcast_hub_t     *hub;
    ngx_broadcast_place_t   *place;
    ngx_broadcast_header_t   h;

    for (i = 1; i <= check->zone->hubs.high; i++) {

        hub = ngx_broadcast_hub_row(check->zone, i);

        if (hub->current > 1) {
            return ngx_broadcast_check_fail(check, "place of hub", i);
        }

        place = &hub->place[hub->current];

        if (place->floor > place->seq) {
            return ngx_broadcast_check_fail(check, "floor of hub", i);
        }

        offset = place->last;

        for (seq = place->seq; seq > place->floor; seq--) {

            if (offset < check->zone->tail || offset >= check->zone->head) {
                return ngx_broadcast_check_fail(check, "message missing in "
                                                "hub", i);
            }

            ngx_broadcast_ring_get(check->zone, offset, &h, sizeof(h));

            if (h.offset != offset || h.hub != i - 1 || h.seq != seq
                || h.epoch != place->epoch)
            {
                return ngx_broadcast_check_fail(check, "another message in "
                                                "hub", i);
            }

            offset = h.prev;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_check_rows(ngx_broadcast_check_t *check)
{
    uint32_t                   i, row, n, gone, unsettled;
    ngx_str_t                  id;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_conn_row_t  *conn;

    zone = check->zone;

    for (i = 0; i < zone->rows.used; i++) {

        for (row = *ngx_broadcast_head(zone, rows, i);
             row;
             row = conn->next)
        {
            if (row > zone->rows.high || check->rows[row]) {
                return ngx_broadcast_check_fail(check, "chain of ids", i);
            }

            conn = ngx_broadcast_conn(zone, row);

            check->rows[row] = NGX_BROADCAST_MET_CHAIN;

            id.len = conn->id_len;
            id.data = conn->id;

            if (ngx_broadcast_chain(&zone->rows,
                                    (uint32_t) ngx_broadcast_id_hash(zone, &id))
                != i)
            {
                return ngx_broadcast_check_fail(check, "id in another's "
                                                "chain, row", row);
            }
        }
    }

    n = 0;

    for (row = zone->rows.free; row; row = conn->next) {
        if (row > zone->rows.high || check->rows[row]) {
            return ngx_broadcast_check_fail(check, "list of free rows", row);
        }

        conn = ngx_broadcast_conn(zone, row);

        check->rows[row] = NGX_BROADCAST_MET_FREE;
        n++;
    }

    if (n != zone->rows.spare) {
        return ngx_broadcast_check_fail(check, "number of free rows", n);
    }

    gone = 0;
    unsettled = 0;

    for (row = 1; row <= zone->rows.high; row++) {

        conn = ngx_broadcast_conn(zone, row);

        gone += (conn->state == NGX_BROADCAST_ROW_GONE);
        unsettled += (conn->state == NGX_BROADCAST_ROW_UNSETTLED);

        if (ngx_broadcast_check_row(check, row) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (gone != zone->tombstones) {
        return ngx_broadcast_check_fail(check, "number of tombstones", gone);
    }

    if (unsettled != zone->unsettled) {
        return ngx_broadcast_check_fail(check, "number of unsettled rows",
                                        unsettled);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_check_row(ngx_broadcast_check_t *check, uint32_t row)
{
    uint32_t                   met;
    ngx_uint_t                 live;
    ngx_broadcast_conn_row_t  *conn;

    conn = ngx_broadcast_conn(check->zone, row);

    met = (conn->state == NGX_BROADCAST_ROW_FREE) ? NGX_BROADCAST_MET_FREE
                                                  : NGX_BROADCAST_MET_CHAIN;

    if (conn->state > NGX_BROADCAST_ROW_GONE || check->rows[row] != met) {
        return ngx_broadcast_check_fail(check, "state of row", row);
    }

    if (conn->state == NGX_BROADCAST_ROW_FREE) {
        return NGX_OK;
    }

    live = (conn->state == NGX_BROADCAST_ROW_LIVE);

    if (conn->hub >= check->zone->hubs.high
        || conn->transport >= NGX_BROADCAST_TRANSPORTS
        || conn->id_len == 0
        || conn->id_len > NGX_BROADCAST_CONN_ID_MAX
        || (!live && conn->members)
        || (conn->state == NGX_BROADCAST_ROW_GONE
            && (conn->user || conn->key)))
    {
        return ngx_broadcast_check_fail(check, "fields of row", row);
    }

    if (conn->user
        && ngx_broadcast_check_refer(check, conn->user,
                                     NGX_BROADCAST_NAME_USER, conn->hub, live)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conn->key
        && ngx_broadcast_check_refer(check, conn->key,
                                     live ? NGX_BROADCAST_NAME_KEY
                                          : NGX_BROADCAST_NAME_WHY,
                                     conn->hub, live)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return live ? ngx_broadcast_check_of_row(check, row) : NGX_OK;
}


/* what rows and names that were met above add up to */

static ngx_int_t
ngx_broadcast_check_hubs(ngx_broadcast_check_t *check)
{
    uint32_t               i, n, h, *count;
    ngx_uint_t             t;
    ngx_broadcast_hub_t   *hub;
    ngx_broadcast_zone_t  *zone;

    zone = check->zone;
    n = 0;

    for (h = 0; h < zone->hubs.used; h++) {
        for (i = *ngx_broadcast_head(zone, hubs, h); i; i = hub->next) {

            if (i > zone->hubs.high || n++ == zone->hubs.high) {
                return ngx_broadcast_check_fail(check, "chain of hubs", h);
            }

            hub = ngx_broadcast_hub_row(zone, i);
        }
    }

    if (n != zone->hubs.high) {
        return ngx_broadcast_check_fail(check, "number of hubs", n);
    }

    ngx_broadcast_check_count(check);

    for (i = 1; i <= zone->hubs.high; i++) {

        hub = ngx_broadcast_hub_row(zone, i);
        count = &check->hubs[(i - 1) * NGX_BROADCAST_CHECK_COUNTS];

        for (t = 0; t < NGX_BROADCAST_TRANSPORTS; t++) {
            if (hub->connections[t] != count[t]) {
                return ngx_broadcast_check_fail(check, "connections of hub",
                                                i);
            }
        }

        if (hub->users != count[t] || hub->groups != count[t + 1]) {
            return ngx_broadcast_check_fail(check, "users or groups of hub",
                                            i);
        }
    }

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        if (zone->slot[i].owner
            && zone->slot[i].connections != check->slots[i])
        {
            return ngx_broadcast_check_fail(check, "connections of slot", i);
        }
    }

    return NGX_OK;
}


static void
ngx_broadcast_check_count(ngx_broadcast_check_t *check)
{
    uint32_t                   i, *count;
    ngx_uint_t                 slot;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_conn_row_t  *conn;
    ngx_broadcast_cell_t      *cell;

    zone = check->zone;

    for (i = 1; i <= zone->rows.high; i++) {

        conn = ngx_broadcast_conn(zone, i);

        if (conn->state != NGX_BROADCAST_ROW_LIVE) {
            continue;
        }

        count = &check->hubs[conn->hub * NGX_BROADCAST_CHECK_COUNTS];
        count[conn->transport]++;

        slot = ngx_broadcast_owner_slot(conn->owner);

        if (slot < NGX_BROADCAST_SLOTS
            && zone->slot[slot].owner == conn->owner)
        {
            check->slots[slot]++;
        }
    }

    for (i = 1; i <= zone->cells.high; i++) {

        cell = ngx_broadcast_cell(zone, i);

        if (check->cells[i] == NGX_BROADCAST_MET_CHAIN
            && cell->u.first.live
            && cell->u.first.kind < NGX_BROADCAST_NAME_KEY)
        {
            count = &check->hubs[cell->u.first.hub
                                 * NGX_BROADCAST_CHECK_COUNTS];
            count[NGX_BROADCAST_TRANSPORTS + cell->u.first.kind]++;
        }
    }
}
