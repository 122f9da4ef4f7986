
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * The claim of a row: whether the id is free, its hub has room for one more,
 * and the zone has room for the row and all that it names; then the row, in
 * one critical section.
 */


static ngx_int_t ngx_broadcast_claim_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner, ngx_broadcast_claim_t *in,
    uint32_t now, uint32_t *row);
static ngx_uint_t ngx_broadcast_claim_limited_locked(
    ngx_broadcast_zone_t *zone, ngx_broadcast_claim_t *in, ngx_str_t *key);
static ngx_uint_t ngx_broadcast_claim_cells_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_claim_t *in, ngx_str_t *key);
static uint32_t ngx_broadcast_row_take_locked(ngx_broadcast_zone_t *zone);


ngx_int_t
ngx_broadcast_registry_claim(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner, ngx_broadcast_claim_t *in,
    ngx_broadcast_claimed_t *out)
{
    uint32_t                row, now;
    ngx_int_t               rc;
    ngx_uint_t              full;
    ngx_broadcast_hub_t    *hub;
    ngx_broadcast_place_t  *place;

    if (in->id.len == 0 || in->id.len > NGX_BROADCAST_CONN_ID_MAX
        || in->user.len > NGX_BROADCAST_USER_MAX
        || in->transport >= NGX_BROADCAST_TRANSPORTS)
    {
        return NGX_DECLINED;
    }

    now = (uint32_t) ngx_time();

    for (full = 0; /* void */ ; full++) {

        ngx_broadcast_zone_lock(zone);

        if (in->hub >= zone->hubs.high) {
            ngx_broadcast_zone_unlock(zone);
            return NGX_DECLINED;
        }

        rc = ngx_broadcast_claim_locked(zone, owner, in, now, &row);

        if (rc == NGX_OK) {
            hub = ngx_broadcast_hub_row(zone, in->hub + 1);
            place = &hub->place[hub->current];

            out->row = row;
            out->position.epoch = place->epoch;
            out->position.seq = place->seq;
            out->log = zone->head;
        }

        ngx_broadcast_zone_unlock(zone);

        /* full of tombstones, perhaps of ones whose time has come: once */

        if (rc != NGX_AGAIN) {
            return rc;
        }

        if (full) {
            return NGX_ABORT;
        }

        ngx_broadcast_registry_expire(zone, ngx_time());
    }
}


/*
 * A death before claim_state: the row is FREE, cells that were taken have no
 * reference: the rebuild makes them free, nothing has happened.  From there
 * on: the rebuild counts the row and puts it into its chain; the claim stands,
 * for an owner who is dead, perhaps in some of its groups only, and the sweep
 * ends it.
 *
 * NGX_AGAIN: the tables are full.
 */

static ngx_int_t
ngx_broadcast_claim_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner, ngx_broadcast_claim_t *in, uint32_t now,
    uint32_t *out)
{
    uint32_t                   row, user, *head;
    ngx_str_t                  key;
    ngx_broadcast_conn_row_t  *conn;

    key.data = (u_char *) &in->key;
    key.len = in->key ? sizeof(in->key) : 0;

    if (ngx_broadcast_row_find_locked(zone, &in->id)) {
        return NGX_DECLINED;
    }

    if (ngx_broadcast_claim_limited_locked(zone, in, &key)) {
        return NGX_BUSY;
    }

    user = in->user.len
           ? ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_USER,
                                            in->hub, &in->user)
           : 0;

    if (ngx_broadcast_table_left(&zone->rows) == 0
        || ngx_broadcast_rule_count_locked(zone, user, now)
           > ngx_broadcast_table_left(&zone->members)
        || ngx_broadcast_claim_cells_locked(zone, in, &key)
           > ngx_broadcast_table_left(&zone->cells))
    {
        return NGX_AGAIN;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    row = ngx_broadcast_row_take_locked(zone);
    conn = ngx_broadcast_conn(zone, row);

    conn->user = in->user.len
                 ? ngx_broadcast_name_take_locked(zone, NGX_BROADCAST_NAME_USER,
                                                  in->hub, &in->user)
                 : 0;
    ngx_broadcast_store(claim_user);

    conn->key = key.len
                ? ngx_broadcast_name_take_locked(zone, NGX_BROADCAST_NAME_KEY,
                                                 in->hub, &key)
                : 0;
    ngx_broadcast_store(claim_key);

    conn->owner = owner;
    ngx_broadcast_store(claim_owner);

    conn->members = 0;
    ngx_broadcast_store(claim_members);

    conn->expires = (uint32_t) in->expires;
    ngx_broadcast_store(claim_expires);

    conn->connected = now;
    ngx_broadcast_store(claim_connected);

    conn->hub = (uint16_t) in->hub;
    ngx_broadcast_store(claim_hub);

    conn->transport = (uint8_t) in->transport;
    ngx_broadcast_store(claim_transport);

    conn->plain = in->plain ? 1 : 0;
    ngx_broadcast_store(claim_plain);

    conn->owed = NGX_BROADCAST_OWED_NOT;
    ngx_broadcast_store(claim_owed);

    conn->reason = NGX_BROADCAST_REASON_CLIENT;
    ngx_broadcast_store(claim_reason);

    conn->tries = 0;
    ngx_broadcast_store(claim_tries);

    conn->stateful = 0;
    ngx_broadcast_store(claim_stateful);

    conn->counted = 0;
    ngx_broadcast_store(claim_counted);

    conn->id_len = (uint8_t) in->id.len;
    ngx_broadcast_store(claim_id_len);

    ngx_memcpy(conn->id, in->id.data, in->id.len);
    ngx_broadcast_store(claim_id);

    conn->state = NGX_BROADCAST_ROW_LIVE;
    ngx_broadcast_store(claim_state);

    head = ngx_broadcast_head(zone, rows, ngx_broadcast_id_hash(zone, &in->id));

    conn->next = *head;
    ngx_broadcast_store(claim_next);

    *head = row;
    ngx_broadcast_store(claim_head);

    ngx_broadcast_table_grow_locked(zone, &zone->rows);

    ngx_broadcast_row_count_locked(zone, conn, 1);

    ngx_broadcast_rule_join_locked(zone, row, conn->user, now);

    ngx_broadcast_zone_clean_locked(zone);

    *out = row;

    return NGX_OK;
}


static ngx_uint_t
ngx_broadcast_claim_limited_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_claim_t *in, ngx_str_t *key)
{
    uint32_t              name;
    ngx_uint_t            i, n;
    ngx_broadcast_hub_t  *hub;

    if (in->limit == 0 && in->hub_limit == 0) {
        return 0;
    }

    n = 0;
    hub = ngx_broadcast_hub_row(zone, in->hub + 1);

    for (i = 0; i < NGX_BROADCAST_TRANSPORTS; i++) {
        n += hub->connections[i];
    }

    if (in->hub_limit && n >= in->hub_limit) {
        return 1;
    }

    if (key->len) {
        n = 0;

        name = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_KEY,
                                              in->hub, key);
        if (name) {
            n = ngx_broadcast_cell(zone, name)->u.first.live;
        }
    }

    return in->limit && n >= in->limit;
}


static ngx_uint_t
ngx_broadcast_claim_cells_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_claim_t *in, ngx_str_t *key)
{
    ngx_uint_t  n;

    n = 0;

    if (in->user.len
        && ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_USER,
                                          in->hub, &in->user)
           == 0)
    {
        n += ngx_broadcast_name_need(in->user.len);
    }

    if (key->len
        && ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_KEY,
                                          in->hub, key)
           == 0)
    {
        n += ngx_broadcast_name_need(key->len);
    }

    return n;
}


/* the caller has looked that one is left */

static uint32_t
ngx_broadcast_row_take_locked(ngx_broadcast_zone_t *zone)
{
    uint32_t  row;

    row = zone->rows.free;

    if (row) {
        zone->rows.free = ngx_broadcast_conn(zone, row)->next;
        ngx_broadcast_store(row_free);

        zone->rows.spare--;
        ngx_broadcast_store(row_spare);

        return row;
    }

    row = ++zone->rows.high;
    ngx_broadcast_store(row_high);

    return row;
}
