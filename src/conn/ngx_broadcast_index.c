
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_keep.h"


#define NGX_BROADCAST_TABLE_MIN    256
#define NGX_BROADCAST_CONNS_MIN    4
#define NGX_BROADCAST_RULES_PIECE  32       /* groups, at once */


/* a hash table of nodes, doubled when it is full */

typedef struct {
    ngx_broadcast_node_t   **buckets;       /* owned */
    uint32_t                 size;          /* a power of two */
    uint32_t                 count;
} ngx_broadcast_table_t;


static ngx_int_t ngx_broadcast_table_init(ngx_broadcast_table_t *t);
static void ngx_broadcast_table_insert(ngx_broadcast_table_t *t,
    ngx_broadcast_node_t *node);
static void ngx_broadcast_table_delete(ngx_broadcast_table_t *t,
    ngx_broadcast_node_t *node);
static ngx_broadcast_label_t *ngx_broadcast_label_find(
    ngx_broadcast_table_t *t, ngx_uint_t hub, ngx_str_t *name);
static ngx_broadcast_label_t *ngx_broadcast_label_make(
    ngx_broadcast_table_t *t, ngx_uint_t hub, ngx_str_t *name);
static void ngx_broadcast_label_drop(ngx_broadcast_table_t *t,
    ngx_broadcast_label_t *label);
static ngx_int_t ngx_broadcast_index_room(ngx_broadcast_local_t *hub);
static void ngx_broadcast_index_changed(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_joined_free(ngx_broadcast_joined_t *joined);


static ngx_broadcast_table_t   ngx_broadcast_ids;
static ngx_broadcast_table_t   ngx_broadcast_users;
static ngx_broadcast_table_t   ngx_broadcast_groups;

static ngx_broadcast_local_t **ngx_broadcast_locals;    /* owned, by index */
static ngx_uint_t              ngx_broadcast_nlocals;


#define ngx_broadcast_bucket(t, hash)                                         \
    (&(t)->buckets[(hash) & ((t)->size - 1)])


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


static ngx_int_t
ngx_broadcast_table_init(ngx_broadcast_table_t *t)
{
    t->buckets = ngx_calloc(NGX_BROADCAST_TABLE_MIN
                            * sizeof(ngx_broadcast_node_t *),
                            ngx_broadcast_bus.log);
    if (t->buckets == NULL) {
        return NGX_ERROR;
    }

    t->size = NGX_BROADCAST_TABLE_MIN;
    t->count = 0;

    return NGX_OK;
}


static void
ngx_broadcast_table_insert(ngx_broadcast_table_t *t,
    ngx_broadcast_node_t *node)
{
    uint32_t                i, old;
    ngx_broadcast_node_t   *n, *next, **buckets, **bucket;

    if (t->count == t->size && t->size < NGX_MAX_INT32_VALUE) {

        /* without memory the chains become longer, and nothing else */

        buckets = ngx_calloc(2 * t->size * sizeof(ngx_broadcast_node_t *),
                             ngx_broadcast_bus.log);
        if (buckets) {
            old = t->size;
            bucket = t->buckets;

            t->buckets = buckets;
            t->size = 2 * old;

            for (i = 0; i < old; i++) {
                for (n = bucket[i]; n; n = next) {
                    next = n->next;
                    buckets = ngx_broadcast_bucket(t, n->hash);
                    n->next = *buckets;
                    *buckets = n;
                }
            }

            ngx_free(bucket);
        }
    }

    bucket = ngx_broadcast_bucket(t, node->hash);

    node->next = *bucket;
    *bucket = node;
    t->count++;
}


static void
ngx_broadcast_table_delete(ngx_broadcast_table_t *t,
    ngx_broadcast_node_t *node)
{
    ngx_broadcast_node_t  **n;

    for (n = ngx_broadcast_bucket(t, node->hash); *n; n = &(*n)->next) {
        if (*n == node) {
            *n = node->next;
            t->count--;
            return;
        }
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


/* a client may join groups of its own naming: who has no seed picks no chain */

#define ngx_broadcast_label_hash(hub, name)                                   \
    ((uint32_t) ngx_broadcast_hash(ngx_broadcast_bus.zone, hub,               \
                                   (name)->data, (name)->len))


static ngx_broadcast_label_t *
ngx_broadcast_label_find(ngx_broadcast_table_t *t, ngx_uint_t hub,
    ngx_str_t *name)
{
    uint32_t                hash;
    ngx_broadcast_node_t   *n;
    ngx_broadcast_label_t  *label;

    hash = ngx_broadcast_label_hash(hub, name);

    for (n = *ngx_broadcast_bucket(t, hash); n; n = n->next) {

        if (n->hash != hash) {
            continue;
        }

        label = (ngx_broadcast_label_t *) n;

        if (label->hub == hub
            && label->len == name->len
            && ngx_memcmp(label->data, name->data, name->len) == 0)
        {
            return label;
        }
    }

    return NULL;
}


static ngx_broadcast_label_t *
ngx_broadcast_label_make(ngx_broadcast_table_t *t, ngx_uint_t hub,
    ngx_str_t *name)
{
    ngx_broadcast_label_t  *label;

    label = ngx_broadcast_label_find(t, hub, name);
    if (label) {
        return label;
    }

    label = ngx_alloc(sizeof(ngx_broadcast_label_t) + name->len,
                      ngx_broadcast_bus.log);
    if (label == NULL) {
        return NULL;
    }

    ngx_queue_init(&label->conns);

    label->hub = (uint32_t) hub;
    label->len = (uint32_t) name->len;
    ngx_memcpy(label->data, name->data, name->len);

    label->node.hash = ngx_broadcast_label_hash(hub, name);
    ngx_broadcast_table_insert(t, &label->node);

    return label;
}


/* frees the label with its last connection */

static void
ngx_broadcast_label_drop(ngx_broadcast_table_t *t,
    ngx_broadcast_label_t *label)
{
    if (ngx_queue_empty(&label->conns)) {
        ngx_broadcast_table_delete(t, &label->node);
        ngx_free(label);
    }
}


ngx_uint_t
ngx_broadcast_index_member(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_broadcast_joined_t  *joined;

    for (joined = bc->groups; joined; joined = joined->next) {
        if (joined->group->len == group->len
            && ngx_memcmp(joined->group->data, group->data, group->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_broadcast_index_meant(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    return ngx_broadcast_index_member(bc, &rec->name)
           || (rec->group.len && ngx_broadcast_index_member(bc, &rec->group));
}


ngx_int_t
ngx_broadcast_index_join(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_int_t                rc;
    ngx_broadcast_joined_t  *joined;

    if (!bc->indexed || ngx_broadcast_index_member(bc, group)) {
        return NGX_OK;
    }

    joined = ngx_alloc(sizeof(ngx_broadcast_joined_t), ngx_broadcast_bus.log);
    if (joined == NULL) {
        return NGX_ERROR;
    }

    joined->group = ngx_broadcast_label_make(&ngx_broadcast_groups,
                                             bc->hub->index, group);
    if (joined->group == NULL) {
        ngx_free(joined);
        return NGX_ERROR;
    }

    joined->conn = bc;
    ngx_queue_insert_tail(&joined->group->conns, &joined->link);

    rc = ngx_broadcast_registry_join(ngx_broadcast_bus.zone, bc->row, &bc->id,
                                     group);
    if (rc == NGX_BUSY) {
        ngx_broadcast_joined_free(joined);
        return NGX_BUSY;
    }

    joined->next = bc->groups;
    bc->groups = joined;

    ngx_broadcast_index_changed(bc);

    return NGX_OK;
}


/*
 * The claim has made the memberships, at one moment with the row; here they
 * become the worker's.  Nobody else changes them meanwhile.
 */

ngx_int_t
ngx_broadcast_index_rules(ngx_broadcast_conn_t *bc)
{
    uint32_t    next;
    ngx_int_t   rc;
    ngx_str_t   group[NGX_BROADCAST_RULES_PIECE];
    ngx_uint_t  i, n;

    static u_char  buf[NGX_BROADCAST_GROUP_BYTES];

    next = 0;

    do {
        n = ngx_broadcast_registry_groups(ngx_broadcast_bus.zone, bc->row,
                                          &bc->id, &next, group,
                                          NGX_BROADCAST_RULES_PIECE, buf,
                                          sizeof(buf));

        for (i = 0; i < n; i++) {
            rc = ngx_broadcast_index_join(bc, &group[i]);

            if (rc != NGX_OK) {
                return rc;
            }
        }

    } while (next);

    return NGX_OK;
}


void
ngx_broadcast_index_leave(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_broadcast_joined_t  *joined, **next;

    for (next = &bc->groups; *next; next = &joined->next) {
        joined = *next;

        if (joined->group->len == group->len
            && ngx_memcmp(joined->group->data, group->data, group->len) == 0)
        {
            *next = joined->next;
            ngx_broadcast_joined_free(joined);

            (void) ngx_broadcast_registry_leave(ngx_broadcast_bus.zone,
                                                bc->row, &bc->id, group);
            ngx_broadcast_index_changed(bc);
            return;
        }
    }
}


void
ngx_broadcast_index_leave_all(ngx_broadcast_conn_t *bc)
{
    ngx_str_t                group;
    ngx_broadcast_joined_t  *joined;

    if (bc->groups) {
        ngx_broadcast_index_changed(bc);
    }

    while (bc->groups) {
        joined = bc->groups;
        bc->groups = joined->next;

        group.len = joined->group->len;
        group.data = joined->group->data;

        (void) ngx_broadcast_registry_leave(ngx_broadcast_bus.zone, bc->row,
                                            &bc->id, &group);

        ngx_broadcast_joined_free(joined);
    }
}


static void
ngx_broadcast_index_changed(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_keep_changed(bc);

    if (bc->resume) {
        bc->resume->changed = 1;
    }
}


static void
ngx_broadcast_joined_free(ngx_broadcast_joined_t *joined)
{
    ngx_queue_remove(&joined->link);
    ngx_broadcast_label_drop(&ngx_broadcast_groups, joined->group);
    ngx_free(joined);
}
