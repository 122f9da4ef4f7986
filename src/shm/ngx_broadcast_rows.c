
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Going over the rows: what is looked for, what is overdue, what the dead left;
 * and the end of a row.  The lock is given back every NGX_BROADCAST_SCAN rows;
 * a row changes in between as it likes.
 */


static void ngx_broadcast_row_free_locked(ngx_broadcast_zone_t *zone,
    uint32_t row);


ngx_int_t
ngx_broadcast_registry_find(ngx_broadcast_zone_t *zone, ngx_str_t *id,
    ngx_broadcast_row_info_t *info)
{
    uint32_t  row;

    ngx_broadcast_zone_lock(zone);

    row = ngx_broadcast_row_find_locked(zone, id);

    if (row) {
        ngx_broadcast_row_info_locked(zone, row, info);
    }

    ngx_broadcast_zone_unlock(zone);

    return row ? NGX_OK : NGX_DECLINED;
}


void
ngx_broadcast_row_info_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    ngx_broadcast_row_info_t *info)
{
    ngx_broadcast_conn_row_t  *conn;

    conn = ngx_broadcast_conn(zone, row);

    info->row = row;
    info->state = conn->state;
    info->owner = conn->owner;
    info->hub = conn->hub;
    info->transport = conn->transport;
    info->plain = conn->plain;
    info->stateful = conn->stateful;
    info->owed = conn->owed;
    info->reason = conn->reason;
    info->tries = conn->tries;
    info->connected = (time_t) conn->connected;

    info->id_len = conn->id_len;
    ngx_memcpy(info->id, conn->id, conn->id_len);

    info->why_len = 0;

    if (conn->state == NGX_BROADCAST_ROW_UNSETTLED) {
        info->why_len = ngx_broadcast_name_copy_locked(zone, conn->key,
                                                       info->why,
                                                       NGX_BROADCAST_WHY_MAX);
    }

    info->user_len = ngx_broadcast_name_copy_locked(zone, conn->user,
                                                    info->user,
                                                    NGX_BROADCAST_USER_MAX);
}


ngx_uint_t
ngx_broadcast_registry_walk(ngx_broadcast_zone_t *zone, ngx_uint_t state,
    ngx_uint_t hub, ngx_broadcast_row_t *next, ngx_broadcast_row_info_t *info,
    ngx_uint_t n)
{
    uint32_t                   row;
    ngx_uint_t                 i, found;
    ngx_broadcast_conn_row_t  *conn;

    found = 0;
    row = *next ? *next : 1;

    ngx_broadcast_zone_lock(zone);

    /* asked for several times a second, and mostly there is none */

    if (state == NGX_BROADCAST_ROW_UNSETTLED && zone->unsettled == 0) {
        row = zone->rows.high + 1;
    }

    for (i = 0;
         row <= zone->rows.high && found < n && i < 4 * NGX_BROADCAST_SCAN;
         i++, row++)
    {
        conn = ngx_broadcast_conn(zone, row);

        if (conn->state == state
            && (hub == NGX_BROADCAST_HUB_NONE || conn->hub == hub))
        {
            ngx_broadcast_row_info_locked(zone, row, &info[found++]);
        }
    }

    *next = (row <= zone->rows.high) ? row : 0;

    ngx_broadcast_zone_unlock(zone);

    return found;
}


/*
 * Goes on where the last call of any process stopped; a lost store of that
 * hint costs nothing.  At most 32 holds of NGX_BROADCAST_SCAN rows.
 */

void
ngx_broadcast_registry_expire(ngx_broadcast_zone_t *zone, time_t now)
{
    uint32_t                   row;
    ngx_uint_t                 i, hold, end;
    ngx_broadcast_conn_row_t  *conn;

    end = 0;

    for (hold = 0; hold < 32 && !end; hold++) {

        ngx_broadcast_zone_lock(zone);

        for (i = 0; i < NGX_BROADCAST_SCAN && zone->tombstones; i++) {

            row = zone->expire_next + 1;

            if (row > zone->rows.high) {
                zone->expire_next = 0;
                ngx_broadcast_store(expire_wrap);

                end = 1;
                break;
            }

            zone->expire_next = row;
            ngx_broadcast_store(expire_next);

            conn = ngx_broadcast_conn(zone, row);

            if (conn->state != NGX_BROADCAST_ROW_GONE
                || conn->expires > (uint32_t) now)
            {
                continue;
            }

            ngx_broadcast_zone_dirty_locked(zone);
            ngx_broadcast_row_free_locked(zone, row);
            ngx_broadcast_zone_clean_locked(zone);
        }

        if (zone->tombstones == 0) {
            end = 1;
        }

        ngx_broadcast_zone_unlock(zone);
    }
}


void
ngx_broadcast_registry_sweep(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner)
{
    uint32_t                   row, high;
    ngx_uint_t                 looked, ended;
    ngx_broadcast_conn_row_t  *conn;

    row = 1;

    do {
        ngx_broadcast_zone_lock(zone);

        high = zone->rows.high;
        looked = 0;
        ended = 0;

        while (row <= high
               && looked++ < NGX_BROADCAST_SCAN
               && ended < NGX_BROADCAST_PIECE)
        {
            conn = ngx_broadcast_conn(zone, row);

            if (conn->state == NGX_BROADCAST_ROW_LIVE
                && conn->owner == owner)
            {
                ended++;

                if (ngx_broadcast_row_end_locked(zone, row,
                                                 NGX_BROADCAST_REASON_WORKER))
                {
                    break;
                }
            }

            row++;
        }

        ngx_broadcast_zone_unlock(zone);

    } while (row <= high);
}


/*
 * A death before settled_state: still UNSETTLED, whoever settles does it
 * again.  From there on: a tombstone; the rebuild drops the user, the words
 * and counts.
 */

void
ngx_broadcast_registry_settled(ngx_broadcast_zone_t *zone, ngx_str_t *id)
{
    uint32_t                   row;
    ngx_broadcast_conn_row_t  *conn;

    ngx_broadcast_zone_lock(zone);

    row = ngx_broadcast_row_find_locked(zone, id);

    if (row == 0) {
        ngx_broadcast_zone_unlock(zone);
        return;
    }

    conn = ngx_broadcast_conn(zone, row);

    if (conn->state != NGX_BROADCAST_ROW_UNSETTLED) {
        ngx_broadcast_zone_unlock(zone);
        return;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    conn->state = NGX_BROADCAST_ROW_GONE;
    ngx_broadcast_store(settled_state);

    if (conn->user) {
        ngx_broadcast_name_drop_locked(zone, conn->user);

        conn->user = 0;
        ngx_broadcast_store(settled_user);
    }

    if (conn->key) {
        ngx_broadcast_name_drop_locked(zone, conn->key);

        conn->key = 0;
        ngx_broadcast_store(settled_key);
    }

    zone->unsettled--;
    ngx_broadcast_store(settled_unsettled);

    zone->tombstones++;
    ngx_broadcast_store(settled_tombstones);

    if (conn->expires <= (uint32_t) ngx_time()) {
        ngx_broadcast_row_free_locked(zone, row);
    }

    ngx_broadcast_zone_clean_locked(zone);

    ngx_broadcast_zone_unlock(zone);
}


/* one store, and nothing derived from it */

ngx_uint_t
ngx_broadcast_registry_tried(ngx_broadcast_zone_t *zone, ngx_str_t *id)
{
    uint32_t                   row;
    ngx_uint_t                 tries;
    ngx_broadcast_conn_row_t  *conn;

    tries = 0;

    ngx_broadcast_zone_lock(zone);

    row = ngx_broadcast_row_find_locked(zone, id);

    if (row) {
        conn = ngx_broadcast_conn(zone, row);

        if (conn->tries < 255) {
            conn->tries++;
            ngx_broadcast_store(tried_tries);
        }

        tries = conn->tries;
    }

    ngx_broadcast_zone_unlock(zone);

    return tries;
}


/*
 * Frees a tombstone; `dirty` is set.  A death before free_state: it is still
 * one, for the next expire.  From there on: free; the rebuild links it so.
 */

static void
ngx_broadcast_row_free_locked(ngx_broadcast_zone_t *zone, uint32_t row)
{
    uint32_t                  *link;
    ngx_str_t                  id;
    ngx_broadcast_conn_row_t  *conn;

    conn = ngx_broadcast_conn(zone, row);

    conn->state = NGX_BROADCAST_ROW_FREE;
    ngx_broadcast_store(free_state);

    id.len = conn->id_len;
    id.data = conn->id;

    link = ngx_broadcast_head(zone, rows, ngx_broadcast_id_hash(zone, &id));

    while (*link && *link != row) {
        link = &ngx_broadcast_conn(zone, *link)->next;
    }

    if (*link) {
        *link = conn->next;
        ngx_broadcast_store(free_chain);
    }

    conn->next = zone->rows.free;
    ngx_broadcast_store(free_next);

    zone->rows.free = row;
    ngx_broadcast_store(free_list);

    zone->rows.spare++;
    ngx_broadcast_store(free_spare);

    zone->tombstones--;
    ngx_broadcast_store(free_tombstones);
}
