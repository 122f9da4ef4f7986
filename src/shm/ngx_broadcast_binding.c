
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_binding.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Two tables of equal size, of which the lowest bit of bindings_current names
 * the valid one.  The other is filled, then bindings_current is stored: a
 * death before leaves the old table, after it the new one.
 *
 *   +-----+---------------------------------+-------------------------+----
 *   | len | event hub_len name_len role_len | hub name role, pad to 2 | …
 *   +-----+---------------------------------+-------------------------+----
 *
 * Readers take no lock.  The valid table is not written before it has become
 * the other one, so what was read under a bindings_current is good if that is
 * still the same afterwards.  The fence before the filling pairs with the one
 * behind the reading.
 */

typedef struct {
    uint32_t    len;            /* of the entries in bytes */
    uint32_t    over;           /* 1: more than there was room for */
} ngx_broadcast_bindings_t;

typedef struct {
    uint16_t    event;
    uint16_t    hub_len;
    uint16_t    name_len;
    uint16_t    role_len;
} ngx_broadcast_bound_t;


#define NGX_BROADCAST_ROLE_MAX  128


static ngx_broadcast_bindings_t *ngx_broadcast_bindings(
    ngx_broadcast_zone_t *zone, uint64_t current);
static size_t ngx_broadcast_binding_size(ngx_broadcast_binding_t *binding);
static u_char *ngx_broadcast_binding_put(u_char *p, ngx_str_t *text);
static ngx_uint_t ngx_broadcast_binding_look(ngx_broadcast_zone_t *zone,
    ngx_broadcast_bindings_t *table, ngx_broadcast_binding_t *want,
    ngx_str_t *role);


static ngx_broadcast_bindings_t *
ngx_broadcast_bindings(ngx_broadcast_zone_t *zone, uint64_t current)
{
    return (ngx_broadcast_bindings_t *)
               ((u_char *) zone + zone->bindings
                + (current & 1) * zone->bindings_size);
}


static size_t
ngx_broadcast_binding_size(ngx_broadcast_binding_t *binding)
{
    return ngx_align(sizeof(ngx_broadcast_bound_t) + binding->hub.len
                     + binding->name.len + binding->role.len, 2);
}


static u_char *
ngx_broadcast_binding_put(u_char *p, ngx_str_t *text)
{
    return text->len ? ngx_cpymem(p, text->data, text->len) : p;
}


ngx_int_t
ngx_broadcast_binding_replace(ngx_broadcast_zone_t *zone,
    ngx_broadcast_binding_t *bindings, ngx_uint_t n)
{
    u_char                    *p;
    size_t                     size, room;
    uint64_t                   current;
    ngx_uint_t                 i, over;
    ngx_broadcast_bound_t      bound;
    ngx_broadcast_bindings_t  *table;

    room = zone->bindings_size - sizeof(ngx_broadcast_bindings_t);
    size = 0;
    over = 0;

    for (i = 0; i < n; i++) {
        if (bindings[i].hub.len > 65535
            || bindings[i].name.len > 65535
            || bindings[i].role.len > NGX_BROADCAST_ROLE_MAX)
        {
            over = 1;
            break;
        }

        size += ngx_broadcast_binding_size(&bindings[i]);

        if (size > room) {
            over = 1;
            break;
        }
    }

    ngx_broadcast_zone_lock(zone);

    current = zone->bindings_current;
    table = ngx_broadcast_bindings(zone, current + 1);
    p = (u_char *) table + sizeof(ngx_broadcast_bindings_t);

    __atomic_thread_fence(__ATOMIC_RELEASE);

    for (i = 0; i < n && !over; i++) {
        bound.event = (uint16_t) bindings[i].event;
        bound.hub_len = (uint16_t) bindings[i].hub.len;
        bound.name_len = (uint16_t) bindings[i].name.len;
        bound.role_len = (uint16_t) bindings[i].role.len;

        ngx_memcpy(p, &bound, sizeof(bound));
        ngx_broadcast_store(binding_bound);

        p += sizeof(bound);

        p = ngx_broadcast_binding_put(p, &bindings[i].hub);
        ngx_broadcast_store(binding_hub);

        p = ngx_broadcast_binding_put(p, &bindings[i].name);
        ngx_broadcast_store(binding_name);

        p = ngx_broadcast_binding_put(p, &bindings[i].role);
        ngx_broadcast_store(binding_role);

        p = ngx_align_ptr(p, 2);
    }

    table->len = over ? 0 : (uint32_t) size;
    ngx_broadcast_store(binding_len);

    table->over = (uint32_t) over;
    ngx_broadcast_store(binding_over);

    __atomic_store_n(&zone->bindings_current, current + 1, __ATOMIC_RELEASE);
    ngx_broadcast_store(binding_current);

    ngx_broadcast_zone_unlock(zone);

    return over ? NGX_DECLINED : NGX_OK;
}


ngx_uint_t
ngx_broadcast_binding_ready(ngx_broadcast_zone_t *zone)
{
    return __atomic_load_n(&zone->bindings_current, __ATOMIC_ACQUIRE) != 0;
}


ngx_uint_t
ngx_broadcast_binding_find(ngx_broadcast_zone_t *zone, ngx_uint_t event,
    ngx_str_t *hub, ngx_str_t *name, ngx_str_t *role)
{
    uint64_t                 current;
    ngx_uint_t               i, found;
    ngx_broadcast_binding_t  want;

    ngx_memzero(&want, sizeof(want));
    want.event = event;

    if (hub) {
        want.hub = *hub;
    }

    if (name) {
        want.name = *name;
    }

    current = 0;

    for (i = 0; i < 4; i++) {

        current = __atomic_load_n(&zone->bindings_current, __ATOMIC_ACQUIRE);

        if (current == 0) {
            break;
        }

        found = ngx_broadcast_binding_look(zone,
                                           ngx_broadcast_bindings(zone,
                                                                  current),
                                           &want, role);

        __atomic_thread_fence(__ATOMIC_ACQUIRE);

        if (__atomic_load_n(&zone->bindings_current, __ATOMIC_RELAXED)
            == current)
        {
            return found;
        }
    }

    /* none was read, or they change all the time: maybe */

    if (role) {
        role->len = 0;
    }

    return current != 0;
}


/* the table may change under us: lengths are taken once and checked */

static ngx_uint_t
ngx_broadcast_binding_look(ngx_broadcast_zone_t *zone,
    ngx_broadcast_bindings_t *table, ngx_broadcast_binding_t *want,
    ngx_str_t *role)
{
    u_char                 *p, *last, *hub, *name;
    size_t                  size;
    ngx_broadcast_bound_t   bound;

    if (role) {
        role->len = 0;
    }

    if (table->over) {
        return 1;
    }

    p = (u_char *) table + sizeof(ngx_broadcast_bindings_t);
    size = zone->bindings_size - sizeof(ngx_broadcast_bindings_t);
    size = ngx_min(size, table->len);
    last = p + size;

    while ((size_t) (last - p) >= sizeof(bound)) {

        ngx_memcpy(&bound, p, sizeof(bound));
        p += sizeof(bound);

        size = (size_t) bound.hub_len + bound.name_len + bound.role_len;

        if (size > (size_t) (last - p)) {
            break;
        }

        hub = p;
        name = hub + bound.hub_len;
        p = ngx_align_ptr(p + size, 2);

        if (bound.event != want->event) {
            continue;
        }

        if (bound.hub_len && want->hub.data
            && (bound.hub_len != want->hub.len
                || ngx_memcmp(hub, want->hub.data, bound.hub_len) != 0))
        {
            continue;
        }

        if (bound.name_len && want->name.data
            && (bound.name_len != want->name.len
                || ngx_strncasecmp(name, want->name.data, bound.name_len)
                   != 0))
        {
            continue;
        }

        if (role && bound.role_len <= NGX_BROADCAST_ROLE_MAX) {
            ngx_memcpy(role->data, name + bound.name_len, bound.role_len);
            role->len = bound.role_len;
        }

        return 1;
    }

    return 0;
}
