
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The hash tables of the index, and the names of users and groups that stand
 * in two of them.
 */


#include "conn/ngx_broadcast_index_local.h"


#define NGX_BROADCAST_TABLE_MIN  256


/* a client may join groups of its own naming: who has no seed picks no chain */

#define ngx_broadcast_label_hash(hub, name)                                   \
    ((uint32_t) ngx_broadcast_hash(ngx_broadcast_bus.zone, hub,               \
                                   (name)->data, (name)->len))


ngx_int_t
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


void
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


void
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


ngx_broadcast_label_t *
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


ngx_broadcast_label_t *
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

void
ngx_broadcast_label_drop(ngx_broadcast_table_t *t,
    ngx_broadcast_label_t *label)
{
    if (ngx_queue_empty(&label->conns)) {
        ngx_broadcast_table_delete(t, &label->node);
        ngx_free(label);
    }
}
