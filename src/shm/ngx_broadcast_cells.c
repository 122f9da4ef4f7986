
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Names of users, groups and keys.
 *
 * A name is there while something refers to it, so every store here is to a
 * derived word, or to a cell that nothing refers to yet.  A death at any of
 * them is mended by the rebuild, which counts the references of rows,
 * memberships and rules and puts all other cells on the free list; whether the
 * name is there afterwards is decided by the one store of whoever refers to it.
 * The callers hold the lock and have set `dirty`.
 */


static uint32_t ngx_broadcast_cell_take_locked(ngx_broadcast_zone_t *zone);
static ngx_uint_t ngx_broadcast_name_is(ngx_broadcast_zone_t *zone,
    ngx_broadcast_cell_t *cell, ngx_str_t *text);
static void ngx_broadcast_name_count_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_cell_t *cell, ngx_int_t n);


uint32_t
ngx_broadcast_name_hash(ngx_broadcast_zone_t *zone, ngx_uint_t kind,
    ngx_uint_t hub, ngx_str_t *text)
{
    return (uint32_t) ngx_broadcast_hash(zone,
                                         ((uint64_t) kind << 32) | hub,
                                         text->data, text->len);
}


ngx_uint_t
ngx_broadcast_name_need(size_t len)
{
    if (len <= NGX_BROADCAST_CELL_FIRST) {
        return 1;
    }

    len -= NGX_BROADCAST_CELL_FIRST;

    return 1 + (len + NGX_BROADCAST_CELL_NEXT - 1) / NGX_BROADCAST_CELL_NEXT;
}


uint32_t
ngx_broadcast_name_find_locked(ngx_broadcast_zone_t *zone, ngx_uint_t kind,
    ngx_uint_t hub, ngx_str_t *text)
{
    uint32_t               i, hash;
    ngx_broadcast_cell_t  *cell;

    hash = ngx_broadcast_name_hash(zone, kind, hub, text);

    for (i = *ngx_broadcast_head(zone, cells, hash);
         i;
         i = cell->u.first.chain)
    {
        cell = ngx_broadcast_cell(zone, i);

        if (cell->u.first.hash == hash
            && cell->u.first.kind == kind
            && cell->u.first.hub == hub
            && cell->u.first.len == text->len
            && ngx_broadcast_name_is(zone, cell, text))
        {
            return i;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_broadcast_name_is(ngx_broadcast_zone_t *zone, ngx_broadcast_cell_t *cell,
    ngx_str_t *text)
{
    u_char  *p;
    size_t   n, len;

    p = text->data;
    len = text->len;
    n = ngx_min(len, NGX_BROADCAST_CELL_FIRST);

    if (ngx_memcmp(p, cell->u.first.text, n) != 0) {
        return 0;
    }

    for ( ;; ) {
        p += n;
        len -= n;

        if (len == 0) {
            return 1;
        }

        cell = ngx_broadcast_cell(zone, cell->next);
        n = ngx_min(len, NGX_BROADCAST_CELL_NEXT);

        if (ngx_memcmp(p, cell->u.text, n) != 0) {
            return 0;
        }
    }
}


size_t
ngx_broadcast_name_copy_locked(ngx_broadcast_zone_t *zone, uint32_t name,
    u_char *p, size_t size)
{
    size_t                 n, len;
    ngx_broadcast_cell_t  *cell;

    if (name == 0) {
        return 0;
    }

    cell = ngx_broadcast_cell(zone, name);
    size = ngx_min(size, cell->u.first.len);
    len = size;
    n = ngx_min(len, NGX_BROADCAST_CELL_FIRST);

    p = ngx_cpymem(p, cell->u.first.text, n);

    for (len -= n; len; len -= n) {
        cell = ngx_broadcast_cell(zone, cell->next);
        n = ngx_min(len, NGX_BROADCAST_CELL_NEXT);
        p = ngx_cpymem(p, cell->u.text, n);
    }

    return size;
}


uint32_t
ngx_broadcast_name_take_locked(ngx_broadcast_zone_t *zone, ngx_uint_t kind,
    ngx_uint_t hub, ngx_str_t *text)
{
    u_char                *p;
    size_t                 n, len;
    uint32_t               i, next, *head;
    ngx_broadcast_cell_t  *cell, *first;

    i = ngx_broadcast_name_find_locked(zone, kind, hub, text);

    if (i) {
        ngx_broadcast_name_refer_locked(zone, i);
        return i;
    }

    i = ngx_broadcast_cell_take_locked(zone);
    first = ngx_broadcast_cell(zone, i);

    first->u.first.hash = ngx_broadcast_name_hash(zone, kind, hub, text);
    ngx_broadcast_store(name_hash);

    first->u.first.live = 0;
    ngx_broadcast_store(name_live);

    first->u.first.kind = (uint8_t) kind;
    ngx_broadcast_store(name_kind);

    first->u.first.hub = (uint16_t) hub;
    ngx_broadcast_store(name_hub);

    first->u.first.len = (uint16_t) text->len;
    ngx_broadcast_store(name_len);

    p = text->data;
    len = text->len;
    n = ngx_min(len, NGX_BROADCAST_CELL_FIRST);

    ngx_memcpy(first->u.first.text, p, n);
    ngx_broadcast_store(name_text);

    cell = first;

    for ( ;; ) {
        p += n;
        len -= n;

        if (len == 0) {
            break;
        }

        next = ngx_broadcast_cell_take_locked(zone);
        cell->next = next;
        ngx_broadcast_store(name_next);

        cell = ngx_broadcast_cell(zone, next);
        n = ngx_min(len, NGX_BROADCAST_CELL_NEXT);

        ngx_memcpy(cell->u.text, p, n);
        ngx_broadcast_store(name_more);
    }

    head = ngx_broadcast_head(zone, cells, first->u.first.hash);

    first->u.first.chain = *head;
    ngx_broadcast_store(name_chain);

    *head = i;
    ngx_broadcast_store(name_head);

    ngx_broadcast_table_grow_locked(zone, &zone->cells);

    return i;
}


void
ngx_broadcast_name_refer_locked(ngx_broadcast_zone_t *zone, uint32_t name)
{
    ngx_broadcast_cell(zone, name)->refs++;
    ngx_broadcast_store(name_refs);
}


/* the caller has looked that one is left; refs is 1, next 0 */

static uint32_t
ngx_broadcast_cell_take_locked(ngx_broadcast_zone_t *zone)
{
    uint32_t               i;
    ngx_broadcast_cell_t  *cell;

    i = zone->cells.free;

    if (i) {
        cell = ngx_broadcast_cell(zone, i);

        zone->cells.free = cell->next;
        ngx_broadcast_store(cell_free);

        zone->cells.spare--;
        ngx_broadcast_store(cell_spare);

    } else {
        i = ++zone->cells.high;
        ngx_broadcast_store(cell_high);

        cell = ngx_broadcast_cell(zone, i);
    }

    cell->next = 0;
    ngx_broadcast_store(cell_next);

    cell->refs = 1;
    ngx_broadcast_store(cell_refs);

    return i;
}


/* one more, or one less, live reference: a user or group is there or not */

void
ngx_broadcast_name_live_locked(ngx_broadcast_zone_t *zone, uint32_t name)
{
    ngx_broadcast_name_count_locked(zone, ngx_broadcast_cell(zone, name), 1);
}


void
ngx_broadcast_name_dead_locked(ngx_broadcast_zone_t *zone, uint32_t name)
{
    ngx_broadcast_name_count_locked(zone, ngx_broadcast_cell(zone, name), -1);
}


static void
ngx_broadcast_name_count_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_cell_t *cell, ngx_int_t n)
{
    uint32_t              was;
    ngx_broadcast_hub_t  *hub;

    was = cell->u.first.live;

    cell->u.first.live = (uint32_t) (was + n);
    ngx_broadcast_store(count_live);

    if (was != 0 && cell->u.first.live != 0) {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, cell->u.first.hub + 1);

    switch (cell->u.first.kind) {

    case NGX_BROADCAST_NAME_USER:
        hub->users += (uint32_t) n;
        ngx_broadcast_store(count_users);
        break;

    case NGX_BROADCAST_NAME_GROUP:
        hub->groups += (uint32_t) n;
        ngx_broadcast_store(count_groups);
        break;

    default: /* NGX_BROADCAST_NAME_KEY, _WHY */
        break;
    }
}


void
ngx_broadcast_name_drop_locked(ngx_broadcast_zone_t *zone, uint32_t name)
{
    uint32_t               i, next, *link;
    ngx_broadcast_cell_t  *cell;

    cell = ngx_broadcast_cell(zone, name);

    cell->refs--;
    ngx_broadcast_store(drop_refs);

    if (cell->refs) {
        return;
    }

    link = ngx_broadcast_head(zone, cells, cell->u.first.hash);

    while (*link && *link != name) {
        link = &ngx_broadcast_cell(zone, *link)->u.first.chain;
    }

    if (*link) {
        *link = cell->u.first.chain;
        ngx_broadcast_store(drop_chain);
    }

    for (i = name; i; i = next) {
        cell = ngx_broadcast_cell(zone, i);
        next = cell->next;

        cell->refs = 0;
        ngx_broadcast_store(drop_cell);

        cell->next = zone->cells.free;
        ngx_broadcast_store(drop_next);

        zone->cells.free = i;
        ngx_broadcast_store(drop_free);

        zone->cells.spare++;
        ngx_broadcast_store(drop_spare);
    }
}
