
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Connections of all workers.  Source: `state` and what it stands for, the
 * fields of a row that is not FREE.  Derived: chains by id, the free list,
 * the counts of hubs, slots, users and keys.
 *
 * A row that became LIVE and whose worker died stays LIVE until the sweep
 * ends it, as its owner would have done.
 */


static void ngx_broadcast_row_why_locked(ngx_broadcast_zone_t *zone,
    uint32_t row, ngx_str_t *why);
static void ngx_broadcast_slot_count_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner, ngx_int_t n);


uint32_t
ngx_broadcast_row_find_locked(ngx_broadcast_zone_t *zone, ngx_str_t *id)
{
    uint32_t                   row;
    ngx_broadcast_conn_row_t  *conn;

    if (id->len == 0 || id->len > NGX_BROADCAST_CONN_ID_MAX) {
        return 0;
    }

    row = *ngx_broadcast_head(zone, rows, ngx_broadcast_id_hash(zone, id));

    while (row) {
        conn = ngx_broadcast_conn(zone, row);

        if (conn->id_len == id->len
            && ngx_memcmp(conn->id, id->data, id->len) == 0)
        {
            return row;
        }

        row = conn->next;
    }

    return 0;
}


ngx_broadcast_conn_row_t *
ngx_broadcast_row_locked(ngx_broadcast_zone_t *zone, ngx_broadcast_row_t row,
    ngx_str_t *id)
{
    ngx_broadcast_conn_row_t  *conn;

    if (row == 0 || row > zone->rows.high) {
        return NULL;
    }

    conn = ngx_broadcast_conn(zone, row);

    if (conn->state != NGX_BROADCAST_ROW_LIVE
        || conn->id_len != id->len
        || ngx_memcmp(conn->id, id->data, id->len) != 0)
    {
        return NULL;
    }

    return conn;
}


/* one connection more or less; all of it derived */

void
ngx_broadcast_row_count_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_conn_row_t *conn, ngx_int_t n)
{
    ngx_broadcast_hub_t  *hub;

    hub = ngx_broadcast_hub_row(zone, conn->hub + 1);

    hub->connections[conn->transport] += (uint32_t) n;
    ngx_broadcast_store(count_hub);

    ngx_broadcast_slot_count_locked(zone, conn->owner, n);

    if (conn->user) {
        if (n > 0) {
            ngx_broadcast_name_live_locked(zone, conn->user);

        } else {
            ngx_broadcast_name_dead_locked(zone, conn->user);
        }
    }

    if (conn->key) {
        if (n > 0) {
            ngx_broadcast_name_live_locked(zone, conn->key);

        } else {
            ngx_broadcast_name_dead_locked(zone, conn->key);
        }
    }
}


static void
ngx_broadcast_slot_count_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner, ngx_int_t n)
{
    ngx_uint_t             i;
    ngx_broadcast_slot_t  *slot;

    i = ngx_broadcast_owner_slot(owner);

    if (i >= NGX_BROADCAST_SLOTS) {
        return;
    }

    slot = &zone->slot[i];

    if (slot->owner == owner) {
        slot->connections += (uint32_t) n;
        ngx_broadcast_store(count_slot);
    }
}


/*
 * One store, and nothing derived from it.  Whose the row is does not matter:
 * who calls `connected` may have lost it to another worker already.
 */

void
ngx_broadcast_registry_owe(ngx_broadcast_zone_t *zone, ngx_broadcast_row_t row,
    ngx_str_t *id, ngx_uint_t owed)
{
    ngx_broadcast_conn_row_t  *conn;

    ngx_broadcast_zone_lock(zone);

    conn = ngx_broadcast_row_locked(zone, row, id);

    if (conn) {
        conn->owed = (uint8_t) owed;
        ngx_broadcast_store(owe_owed);
    }

    ngx_broadcast_zone_unlock(zone);
}


/* the same */

void
ngx_broadcast_registry_stateful(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id)
{
    ngx_broadcast_conn_row_t  *conn;

    ngx_broadcast_zone_lock(zone);

    conn = ngx_broadcast_row_locked(zone, row, id);

    if (conn) {
        conn->stateful = 1;
        ngx_broadcast_store(stateful_set);
    }

    ngx_broadcast_zone_unlock(zone);
}


/* the same */

void
ngx_broadcast_registry_counted(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id)
{
    ngx_broadcast_conn_row_t  *conn;

    ngx_broadcast_zone_lock(zone);

    conn = ngx_broadcast_row_locked(zone, row, id);

    if (conn) {
        conn->counted = 1;
        ngx_broadcast_store(counted_set);
    }

    ngx_broadcast_zone_unlock(zone);
}


/*
 * A worker that has no slot yet claims rows for nobody, and gives them back
 * when it may have one: the rows of nobody are anybody's to release.
 */

ngx_int_t
ngx_broadcast_registry_release(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t owner,
    ngx_uint_t reason)
{
    ngx_str_t  none;

    ngx_str_null(&none);

    return ngx_broadcast_registry_release_why(zone, row, id, owner, reason,
                                              &none);
}


ngx_int_t
ngx_broadcast_registry_release_why(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t owner,
    ngx_uint_t reason, ngx_str_t *why)
{
    ngx_int_t                  rc;
    ngx_uint_t                 more;
    ngx_broadcast_conn_row_t  *conn;

    do {
        ngx_broadcast_zone_lock(zone);

        more = 0;

        conn = ngx_broadcast_row_locked(zone, row, id);

        if (conn == NULL) {
            rc = NGX_DECLINED;

        } else if (conn->owner && conn->owner != owner) {
            rc = NGX_BUSY;

        } else {
            rc = NGX_OK;
            more = ngx_broadcast_row_end_locked(zone, row, reason);

            if (!more && why->len && why->len <= NGX_BROADCAST_WHY_MAX) {
                ngx_broadcast_row_why_locked(zone, row, why);
            }
        }

        ngx_broadcast_zone_unlock(zone);

    } while (more);

    return rc;
}


/*
 * A death before move_owner: the row is the old owner's, nothing has happened.
 * From there on: the new one's, who is dead then, and the sweep ends it; the
 * rebuild counts the connections of the slots.
 */

ngx_int_t
ngx_broadcast_registry_move(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t to,
    ngx_broadcast_owner_t *from)
{
    ngx_broadcast_owner_t      old;
    ngx_broadcast_conn_row_t  *conn;

    ngx_broadcast_zone_lock(zone);

    conn = ngx_broadcast_row_locked(zone, row, id);

    if (conn == NULL) {
        ngx_broadcast_zone_unlock(zone);
        return NGX_DECLINED;
    }

    old = conn->owner;

    if (old != to) {
        ngx_broadcast_zone_dirty_locked(zone);

        conn->owner = to;
        ngx_broadcast_store(move_owner);

        ngx_broadcast_slot_count_locked(zone, old, -1);
        ngx_broadcast_slot_count_locked(zone, to, 1);

        ngx_broadcast_zone_clean_locked(zone);
    }

    ngx_broadcast_zone_unlock(zone);

    *from = old;

    return NGX_OK;
}


/*
 * A death before adopt_owner: the row is nobody's, as it was.  From there on:
 * the sweep ends it.
 */

void
ngx_broadcast_registry_adopt(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t owner)
{
    ngx_broadcast_conn_row_t  *conn;

    ngx_broadcast_zone_lock(zone);

    conn = ngx_broadcast_row_locked(zone, row, id);

    if (conn && conn->owner == 0) {
        ngx_broadcast_zone_dirty_locked(zone);

        conn->owner = owner;
        ngx_broadcast_store(adopt_owner);

        ngx_broadcast_slot_count_locked(zone, owner, 1);

        ngx_broadcast_zone_clean_locked(zone);
    }

    ngx_broadcast_zone_unlock(zone);
}


/*
 * Ends a LIVE row, or takes a piece of its memberships off and returns 1 if
 * they are too many for one hold.
 *
 * A death before end_state: the row is LIVE, and the sweep comes to it again,
 * with a reason of its own.
 * From there on: no connection any more; the rebuild makes its memberships
 * free, counts without it, and drops the references that a state has no need
 * of (key, and user of a tombstone).
 */

ngx_uint_t
ngx_broadcast_row_end_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    ngx_uint_t reason)
{
    ngx_uint_t                 i, owed;
    uint32_t                   member;
    ngx_broadcast_conn_row_t  *conn;

    conn = ngx_broadcast_conn(zone, row);
    member = conn->members;

    for (i = 0; member && i < NGX_BROADCAST_PIECE; i++) {
        member = ngx_broadcast_member(zone, member)->next;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    if (member) {
        (void) ngx_broadcast_member_strip_locked(zone, row,
                                                 NGX_BROADCAST_PIECE);
        ngx_broadcast_zone_clean_locked(zone);

        return 1;
    }

    owed = conn->owed;

    if (owed == NGX_BROADCAST_OWED_BACK
        && ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_DB_STATE)
           != NGX_BROADCAST_DB_UP)
    {
        owed = NGX_BROADCAST_OWED_NOT;
    }

    conn->reason = (uint8_t) reason;
    ngx_broadcast_store(end_reason);

    conn->state = owed ? NGX_BROADCAST_ROW_UNSETTLED : NGX_BROADCAST_ROW_GONE;
    ngx_broadcast_store(end_state);

    /* nobody else has counted it; under the lock no two write to a block */

    if (reason == NGX_BROADCAST_REASON_WORKER && !conn->counted) {
        ngx_broadcast_stats_add(zone, conn->owner
                                      ? ngx_broadcast_owner_slot(conn->owner)
                                      : NGX_BROADCAST_SLOTS,
                                NGX_BROADCAST_CLOSED_WORKER, 1);
    }

    (void) ngx_broadcast_member_strip_locked(zone, row, NGX_BROADCAST_PIECE);

    ngx_broadcast_row_count_locked(zone, conn, -1);

    if (conn->key) {
        ngx_broadcast_name_drop_locked(zone, conn->key);

        conn->key = 0;
        ngx_broadcast_store(end_key);
    }

    if (owed) {
        zone->unsettled++;
        ngx_broadcast_store(end_unsettled);

    } else {

        if (conn->user) {
            ngx_broadcast_name_drop_locked(zone, conn->user);

            conn->user = 0;
            ngx_broadcast_store(end_user);
        }

        zone->tombstones++;
        ngx_broadcast_store(end_tombstones);
    }

    ngx_broadcast_zone_clean_locked(zone);

    return 0;
}


/*
 * A death before why_key: the row has no words, cells that were taken have no
 * reference: the rebuild makes them free.
 */

static void
ngx_broadcast_row_why_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    ngx_str_t *why)
{
    ngx_broadcast_conn_row_t  *conn;

    conn = ngx_broadcast_conn(zone, row);

    if (conn->state != NGX_BROADCAST_ROW_UNSETTLED
        || (ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_WHY,
                                           conn->hub, why)
            == 0
            && ngx_broadcast_name_need(why->len)
               > ngx_broadcast_table_left(&zone->cells)))
    {
        return;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    conn->key = ngx_broadcast_name_take_locked(zone, NGX_BROADCAST_NAME_WHY,
                                               conn->hub, why);
    ngx_broadcast_store(why_key);

    ngx_broadcast_zone_clean_locked(zone);
}
