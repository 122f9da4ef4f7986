
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index_local.h"
#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_keep.h"


#define NGX_BROADCAST_CONNS_MIN  4


static ngx_int_t ngx_broadcast_index_room(ngx_broadcast_local_t *hub);


static ngx_broadcast_table_t   ngx_broadcast_ids;
static ngx_broadcast_table_t   ngx_broadcast_users;
ngx_broadcast_table_t          ngx_broadcast_groups;

static ngx_broadcast_local_t **ngx_broadcast_locals;    /* owned, by index */
static ngx_uint_t              ngx_broadcast_nlocals;


ngx_int_t
ngx_broadcast_index_start(void)
{
    if (ngx_broadcast_table_init(&ngx_broadcast_ids) != NGX_OK
        || ngx_broadcast_table_init(&ngx_broadcast_users) != NGX_OK
        || ngx_broadcast_table_init(&ngx_broadcast_groups) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_broadcast_index_stop(void)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_broadcast_nlocals; i++) {
        if (ngx_broadcast_locals[i] == NULL) {
            continue;
        }

        if (ngx_broadcast_locals[i]->conns) {
            ngx_free(ngx_broadcast_locals[i]->conns);
        }

        ngx_free(ngx_broadcast_locals[i]);
    }

    if (ngx_broadcast_locals) {
        ngx_free(ngx_broadcast_locals);
        ngx_broadcast_locals = NULL;
        ngx_broadcast_nlocals = 0;
    }

    if (ngx_broadcast_ids.buckets) {
        ngx_free(ngx_broadcast_ids.buckets);
        ngx_broadcast_ids.buckets = NULL;
    }

    if (ngx_broadcast_users.buckets) {
        ngx_free(ngx_broadcast_users.buckets);
        ngx_broadcast_users.buckets = NULL;
    }

    if (ngx_broadcast_groups.buckets) {
        ngx_free(ngx_broadcast_groups.buckets);
        ngx_broadcast_groups.buckets = NULL;
    }
}


ngx_broadcast_local_t *
ngx_broadcast_index_hub(ngx_uint_t hub)
{
    return hub < ngx_broadcast_nlocals ? ngx_broadcast_locals[hub] : NULL;
}


ngx_broadcast_local_t *
ngx_broadcast_index_hub_next(ngx_uint_t *i)
{
    ngx_broadcast_local_t  *hub;

    while (*i < ngx_broadcast_nlocals) {
        hub = ngx_broadcast_locals[(*i)++];

        if (hub) {
            return hub;
        }
    }

    return NULL;
}


ngx_broadcast_local_t *
ngx_broadcast_index_hub_make(ngx_uint_t index, ngx_str_t *name,
    ngx_broadcast_claimed_t *claimed)
{
    ngx_uint_t               n;
    ngx_broadcast_local_t   *hub, **locals;

    hub = ngx_broadcast_index_hub(index);

    if (hub) {

        /* with nobody here what was sent meanwhile may not have been read */

        if (hub->count == 0 && hub->log < claimed->log) {
            hub->position = claimed->position;
            hub->log = claimed->log;
        }

        return hub;
    }

    if (index >= ngx_broadcast_nlocals) {
        n = ngx_max(index + 1, 2 * ngx_broadcast_nlocals);

        locals = ngx_calloc(n * sizeof(ngx_broadcast_local_t *),
                            ngx_broadcast_bus.log);
        if (locals == NULL) {
            return NULL;
        }

        if (ngx_broadcast_locals) {
            ngx_memcpy(locals, ngx_broadcast_locals,
                       ngx_broadcast_nlocals * sizeof(ngx_broadcast_local_t *));
            ngx_free(ngx_broadcast_locals);
        }

        ngx_broadcast_locals = locals;
        ngx_broadcast_nlocals = n;
    }

    hub = ngx_calloc(sizeof(ngx_broadcast_local_t) + name->len,
                     ngx_broadcast_bus.log);
    if (hub == NULL) {
        return NULL;
    }

    hub->index = index;
    hub->name.len = name->len;
    hub->name.data = (u_char *) (hub + 1);
    ngx_memcpy(hub->name.data, name->data, name->len);

    hub->position = claimed->position;
    hub->log = claimed->log;

    ngx_broadcast_locals[index] = hub;

    return hub;
}


ngx_int_t
ngx_broadcast_index_add(ngx_broadcast_conn_t *bc, ngx_str_t *user)
{
    ngx_broadcast_local_t  *hub;

    if (ngx_broadcast_index_room(bc->hub) != NGX_OK) {
        return NGX_ERROR;
    }

    if (user->len) {
        bc->user = ngx_broadcast_label_make(&ngx_broadcast_users,
                                            bc->hub->index, user);
        if (bc->user == NULL) {
            return NGX_ERROR;
        }

        ngx_queue_insert_tail(&bc->user->conns, &bc->same);
    }

    bc->node.hash = ngx_murmur_hash2(bc->id.data, bc->id.len);
    ngx_broadcast_table_insert(&ngx_broadcast_ids, &bc->node);

    hub = bc->hub;

    bc->place = hub->count++;
    hub->conns[bc->place] = bc;

    if (hub->count == 1) {
        ngx_broadcast_bus_watch(hub->index, 1);
    }

    bc->indexed = 1;

    return NGX_OK;
}


/* pointers side by side: whose turn comes is known long before it is there */

static ngx_int_t
ngx_broadcast_index_room(ngx_broadcast_local_t *hub)
{
    uint32_t                room;
    ngx_broadcast_conn_t  **conns;

    if (hub->count < hub->room) {
        return NGX_OK;
    }

    room = hub->room ? 2 * hub->room : NGX_BROADCAST_CONNS_MIN;

    conns = ngx_alloc(room * sizeof(ngx_broadcast_conn_t *),
                      ngx_broadcast_bus.log);
    if (conns == NULL) {
        return NGX_ERROR;
    }

    if (hub->conns) {
        ngx_memcpy(conns, hub->conns,
                   hub->count * sizeof(ngx_broadcast_conn_t *));
        ngx_free(hub->conns);
    }

    hub->conns = conns;
    hub->room = room;

    return NGX_OK;
}


void
ngx_broadcast_index_remove(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_conn_t    *last;
    ngx_broadcast_local_t   *hub;
    ngx_broadcast_joined_t  *joined;

    if (!bc->indexed) {
        return;
    }

    bc->indexed = 0;

    ngx_broadcast_keep_remove(bc);
    ngx_broadcast_enrol_remove(bc);

    while (bc->groups) {
        joined = bc->groups;
        bc->groups = joined->next;
        ngx_broadcast_joined_free(joined);
    }

    if (bc->user) {
        ngx_queue_remove(&bc->same);
        ngx_broadcast_label_drop(&ngx_broadcast_users, bc->user);
        bc->user = NULL;
    }

    ngx_broadcast_table_delete(&ngx_broadcast_ids, &bc->node);

    hub = bc->hub;
    last = hub->conns[--hub->count];

    hub->conns[bc->place] = last;
    last->place = bc->place;

    if (hub->count == 0) {
        ngx_broadcast_bus_watch(hub->index, 0);

        ngx_free(hub->conns);
        hub->conns = NULL;
        hub->room = 0;
    }
}


ngx_broadcast_conn_t *
ngx_broadcast_index_find(ngx_str_t *id)
{
    uint32_t               hash;
    ngx_broadcast_conn_t  *bc;
    ngx_broadcast_node_t  *n;

    /* at exit calls are answered behind the index's end */

    if (ngx_broadcast_ids.buckets == NULL) {
        return NULL;
    }

    hash = ngx_murmur_hash2(id->data, id->len);

    for (n = *ngx_broadcast_bucket(&ngx_broadcast_ids, hash); n; n = n->next) {

        if (n->hash != hash) {
            continue;
        }

        bc = ngx_queue_data(n, ngx_broadcast_conn_t, node);

        if (bc->id.len == id->len
            && ngx_memcmp(bc->id.data, id->data, id->len) == 0)
        {
            return bc;
        }
    }

    return NULL;
}


void
ngx_broadcast_index_exclude(ngx_str_t *ids, ngx_uint_t excluded)
{
    u_char                *p, *last, *end;
    ngx_str_t              id;
    ngx_broadcast_conn_t  *bc;

    p = ids->data;
    last = p + ids->len;

    for ( /* void */ ; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        id.data = p;
        id.len = end - p;

        bc = ngx_broadcast_index_find(&id);

        if (bc) {
            bc->excluded = excluded ? 1 : 0;
        }
    }
}


ngx_uint_t
ngx_broadcast_index_count(void)
{
    return ngx_broadcast_ids.count;
}


ngx_queue_t *
ngx_broadcast_index_user(ngx_uint_t hub, ngx_str_t *user)
{
    ngx_broadcast_label_t  *label;

    label = ngx_broadcast_label_find(&ngx_broadcast_users, hub, user);

    return label ? &label->conns : NULL;
}


ngx_queue_t *
ngx_broadcast_index_group(ngx_uint_t hub, ngx_str_t *group)
{
    ngx_broadcast_label_t  *label;

    label = ngx_broadcast_label_find(&ngx_broadcast_groups, hub, group);

    return label ? &label->conns : NULL;
}
