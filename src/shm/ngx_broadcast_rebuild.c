
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Makes all derived words anew from the source words:
 *
 *   hubs.high                         -> chains by name
 *   slot states                       -> map, numbers of connections
 *   row states                        -> chains by id, free list, counts
 *   members of LIVE rows              -> chains, free list, groups
 *   rules that have a user            -> chains, free list
 *   users, keys and groups of these   -> chains, references, users, groups
 *   cells without a reference         -> free list
 *   records behind `applied`          -> places, relay cursor, number, rules
 *
 * Every step begins from nothing, and `dirty` is cleared last, so a death
 * anywhere in it is mended by doing it again.  Source words are written in
 * one respect: what a state has no need of any more is cleared, as it would
 * have been had the owner of the lock lived one store longer.
 *
 * Free lists are made from the end, so that low entries are used first and
 * the zone stays small.
 */


static void ngx_broadcast_rebuild_hubs(ngx_broadcast_zone_t *zone);
static void ngx_broadcast_rebuild_slots(ngx_broadcast_zone_t *zone);
static void ngx_broadcast_rebuild_cells(ngx_broadcast_zone_t *zone);
static void ngx_broadcast_rebuild_rows(ngx_broadcast_zone_t *zone);
static void ngx_broadcast_rebuild_row(ngx_broadcast_zone_t *zone,
    ngx_broadcast_conn_row_t *conn, uint32_t row);
static void ngx_broadcast_rebuild_members(ngx_broadcast_zone_t *zone);
static void ngx_broadcast_rebuild_rules(ngx_broadcast_zone_t *zone);
static void ngx_broadcast_rebuild_name(ngx_broadcast_zone_t *zone,
    uint32_t name, ngx_uint_t live);
static void ngx_broadcast_rebuild_free(ngx_broadcast_zone_t *zone);
static void ngx_broadcast_rebuild_heads(ngx_broadcast_zone_t *zone,
    ngx_broadcast_table_t *table);


void
ngx_broadcast_rebuild_locked(ngx_broadcast_zone_t *zone)
{
    ngx_broadcast_rebuild_hubs(zone);
    ngx_broadcast_rebuild_slots(zone);
    ngx_broadcast_rebuild_cells(zone);
    ngx_broadcast_rebuild_rows(zone);
    ngx_broadcast_rebuild_members(zone);
    ngx_broadcast_rebuild_rules(zone);
    ngx_broadcast_rebuild_free(zone);

    /* the rules of a record are found by what was derived */

    ngx_broadcast_log_apply_locked(zone);

    zone->rebuilds++;
    ngx_broadcast_store(rebuild_rebuilds);

    ngx_broadcast_zone_clean_locked(zone);
}


/* also the lists' heads: nothing is free until it was found to be */

static void
ngx_broadcast_rebuild_heads(ngx_broadcast_zone_t *zone,
    ngx_broadcast_table_t *table)
{
    ngx_memzero((u_char *) zone + table->heads,
                (size_t) table->used * sizeof(uint32_t));
    ngx_broadcast_store(rebuild_heads);

    table->free = 0;
    ngx_broadcast_store(rebuild_free);

    table->spare = 0;
    ngx_broadcast_store(rebuild_spare);
}


static void
ngx_broadcast_rebuild_hubs(ngx_broadcast_zone_t *zone)
{
    uint32_t              i, *head;
    ngx_str_t             name;
    ngx_uint_t            n;
    ngx_broadcast_hub_t  *hub;

    ngx_broadcast_rebuild_heads(zone, &zone->hubs);

    for (i = 1; i <= zone->hubs.high; i++) {

        hub = ngx_broadcast_hub_row(zone, i);

        name.len = hub->len;
        name.data = hub->name;

        head = ngx_broadcast_head(zone, hubs,
                                  ngx_broadcast_hub_hash(zone, &name));
        hub->next = *head;
        ngx_broadcast_store(rebuild_hub_next);

        *head = i;
        ngx_broadcast_store(rebuild_hub_head);

        /* of an append that is dead */

        hub->serial = 0;
        ngx_broadcast_store(rebuild_hub_serial);

        hub->users = 0;
        ngx_broadcast_store(rebuild_hub_users);

        hub->groups = 0;
        ngx_broadcast_store(rebuild_hub_groups);

        for (n = 0; n < NGX_BROADCAST_TRANSPORTS; n++) {
            hub->connections[n] = 0;
            ngx_broadcast_store(rebuild_hub_connections);
        }
    }
}


/* the map is read without the lock, so a word is stored as it shall be */

static void
ngx_broadcast_rebuild_slots(ngx_broadcast_zone_t *zone)
{
    uint64_t    map;
    ngx_uint_t  i;

    map = 0;

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {

        zone->slot[i].connections = 0;
        ngx_broadcast_store(rebuild_slot);

        if (zone->slot[i].state == NGX_BROADCAST_SLOT_LIVE) {
            map |= (uint64_t) 1 << (i % 64);
        }

        if (i % 64 == 63) {
            __atomic_store_n(&zone->map[i / 64], map, __ATOMIC_SEQ_CST);
            ngx_broadcast_store(rebuild_map);

            map = 0;
        }
    }
}


static void
ngx_broadcast_rebuild_cells(ngx_broadcast_zone_t *zone)
{
    uint32_t  i;

    ngx_broadcast_rebuild_heads(zone, &zone->cells);

    for (i = 1; i <= zone->cells.high; i++) {
        ngx_broadcast_cell(zone, i)->refs = 0;
        ngx_broadcast_store(rebuild_cell);
    }
}


static void
ngx_broadcast_rebuild_rows(ngx_broadcast_zone_t *zone)
{
    uint32_t                   row;
    ngx_broadcast_conn_row_t  *conn;

    ngx_broadcast_rebuild_heads(zone, &zone->rows);

    zone->tombstones = 0;
    ngx_broadcast_store(rebuild_tombstones);

    zone->unsettled = 0;
    ngx_broadcast_store(rebuild_unsettled);

    for (row = zone->rows.high; row > 0; row--) {

        conn = ngx_broadcast_conn(zone, row);

        conn->members = 0;
        ngx_broadcast_store(rebuild_row_members);

        if (conn->state != NGX_BROADCAST_ROW_FREE) {
            ngx_broadcast_rebuild_row(zone, conn, row);
            continue;
        }

        conn->next = zone->rows.free;
        ngx_broadcast_store(rebuild_row_next);

        zone->rows.free = row;
        ngx_broadcast_store(rebuild_row_free);

        zone->rows.spare++;
        ngx_broadcast_store(rebuild_row_spare);
    }
}


static void
ngx_broadcast_rebuild_row(ngx_broadcast_zone_t *zone,
    ngx_broadcast_conn_row_t *conn, uint32_t row)
{
    uint32_t              *head;
    ngx_str_t              id;
    ngx_uint_t             slot, live;
    ngx_broadcast_hub_t   *hub;

    id.len = conn->id_len;
    id.data = conn->id;

    head = ngx_broadcast_head(zone, rows, ngx_broadcast_id_hash(zone, &id));

    conn->next = *head;
    ngx_broadcast_store(rebuild_id_next);

    *head = row;
    ngx_broadcast_store(rebuild_id_head);

    live = (conn->state == NGX_BROADCAST_ROW_LIVE);

    /* an UNSETTLED row may have words in its place */

    if (!live && conn->key
        && (conn->state == NGX_BROADCAST_ROW_GONE
            || ngx_broadcast_cell(zone, conn->key)->u.first.kind
               != NGX_BROADCAST_NAME_WHY))
    {
        conn->key = 0;
        ngx_broadcast_store(rebuild_row_key);
    }

    switch (conn->state) {

    case NGX_BROADCAST_ROW_LIVE:
        hub = ngx_broadcast_hub_row(zone, conn->hub + 1);

        hub->connections[conn->transport]++;
        ngx_broadcast_store(rebuild_connections);

        slot = ngx_broadcast_owner_slot(conn->owner);

        if (slot < NGX_BROADCAST_SLOTS
            && zone->slot[slot].owner == conn->owner)
        {
            zone->slot[slot].connections++;
            ngx_broadcast_store(rebuild_slot_connections);
        }

        break;

    case NGX_BROADCAST_ROW_UNSETTLED:
        zone->unsettled++;
        ngx_broadcast_store(rebuild_count_unsettled);
        break;

    default: /* NGX_BROADCAST_ROW_GONE */
        conn->user = 0;
        ngx_broadcast_store(rebuild_row_user);

        zone->tombstones++;
        ngx_broadcast_store(rebuild_count_tombstones);
        break;
    }

    if (conn->user) {
        ngx_broadcast_rebuild_name(zone, conn->user, live);
    }

    if (conn->key) {
        ngx_broadcast_rebuild_name(zone, conn->key, live);
    }
}


/* one reference more; the first brings the name into its chain */

static void
ngx_broadcast_rebuild_name(ngx_broadcast_zone_t *zone, uint32_t name,
    ngx_uint_t live)
{
    uint32_t               i, *head;
    ngx_broadcast_cell_t  *cell, *more;

    cell = ngx_broadcast_cell(zone, name);

    if (cell->refs == 0) {

        cell->u.first.live = 0;
        ngx_broadcast_store(rebuild_name_live);

        head = ngx_broadcast_head(zone, cells, cell->u.first.hash);

        cell->u.first.chain = *head;
        ngx_broadcast_store(rebuild_name_chain);

        *head = name;
        ngx_broadcast_store(rebuild_name_head);

        for (i = cell->next; i; i = more->next) {
            more = ngx_broadcast_cell(zone, i);

            more->refs = 1;
            ngx_broadcast_store(rebuild_name_more);
        }
    }

    cell->refs++;
    ngx_broadcast_store(rebuild_name_refs);

    if (live) {
        ngx_broadcast_name_live_locked(zone, name);
    }
}


static void
ngx_broadcast_rebuild_members(ngx_broadcast_zone_t *zone)
{
    uint32_t                 i;
    ngx_broadcast_member_t  *member;

    ngx_broadcast_rebuild_heads(zone, &zone->members);

    for (i = zone->members.high; i > 0; i--) {

        member = ngx_broadcast_member(zone, i);

        if (member->row
            && ngx_broadcast_conn(zone, member->row)->state
               == NGX_BROADCAST_ROW_LIVE)
        {
            ngx_broadcast_member_link_locked(zone, i);
            ngx_broadcast_rebuild_name(zone, member->group, 1);
            continue;
        }

        member->row = 0;
        ngx_broadcast_store(rebuild_member_row);

        member->next = zone->members.free;
        ngx_broadcast_store(rebuild_member_next);

        zone->members.free = i;
        ngx_broadcast_store(rebuild_member_free);

        zone->members.spare++;
        ngx_broadcast_store(rebuild_member_spare);
    }
}


static void
ngx_broadcast_rebuild_rules(ngx_broadcast_zone_t *zone)
{
    uint32_t                   i, *head;
    ngx_broadcast_rule_row_t  *rule;

    ngx_broadcast_rebuild_heads(zone, &zone->rules);

    for (i = zone->rules.high; i > 0; i--) {

        rule = ngx_broadcast_rule(zone, i);

        if (rule->user) {
            ngx_broadcast_rebuild_name(zone, rule->user, 0);
            ngx_broadcast_rebuild_name(zone, rule->group, 0);

            head = ngx_broadcast_head(zone, rules,
                                      ngx_broadcast_rule_hash(rule->user));

            rule->next = *head;
            ngx_broadcast_store(rebuild_rule_link);

            *head = i;
            ngx_broadcast_store(rebuild_rule_head);

            continue;
        }

        rule->next = zone->rules.free;
        ngx_broadcast_store(rebuild_rule_next);

        zone->rules.free = i;
        ngx_broadcast_store(rebuild_rule_free);

        zone->rules.spare++;
        ngx_broadcast_store(rebuild_rule_spare);
    }
}


static void
ngx_broadcast_rebuild_free(ngx_broadcast_zone_t *zone)
{
    uint32_t               i;
    ngx_broadcast_cell_t  *cell;

    for (i = zone->cells.high; i > 0; i--) {

        cell = ngx_broadcast_cell(zone, i);

        if (cell->refs) {
            continue;
        }

        cell->next = zone->cells.free;
        ngx_broadcast_store(rebuild_cell_next);

        zone->cells.free = i;
        ngx_broadcast_store(rebuild_cell_free);

        zone->cells.spare++;
        ngx_broadcast_store(rebuild_cell_spare);
    }
}
