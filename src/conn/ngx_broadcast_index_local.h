
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_INDEX_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_INDEX_LOCAL_H_INCLUDED_


#include "conn/ngx_broadcast_index.h"


/* The inside of the index: for its own files only. */


/* a hash table of nodes, doubled when it is full */

typedef struct {
    ngx_broadcast_node_t   **buckets;       /* owned */
    uint32_t                 size;          /* a power of two */
    uint32_t                 count;
} ngx_broadcast_table_t;


#define ngx_broadcast_bucket(t, hash)                                         \
    (&(t)->buckets[(hash) & ((t)->size - 1)])


/* names of groups; ngx_broadcast_index_start() and _stop() have its life */

extern ngx_broadcast_table_t  ngx_broadcast_groups;


/* NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_table_init(ngx_broadcast_table_t *t);

/*
 * By node->hash, which is set.  Never fails: without memory for a larger table
 * its chains become longer.
 */
void ngx_broadcast_table_insert(ngx_broadcast_table_t *t,
    ngx_broadcast_node_t *node);
void ngx_broadcast_table_delete(ngx_broadcast_table_t *t,
    ngx_broadcast_node_t *node);

/* the name of a hub, or NULL */
ngx_broadcast_label_t *ngx_broadcast_label_find(ngx_broadcast_table_t *t,
    ngx_uint_t hub, ngx_str_t *name);

/* finds or makes it, without a connection yet; NULL: no memory */
ngx_broadcast_label_t *ngx_broadcast_label_make(ngx_broadcast_table_t *t,
    ngx_uint_t hub, ngx_str_t *name);

/* frees it if it has no connection any more */
void ngx_broadcast_label_drop(ngx_broadcast_table_t *t,
    ngx_broadcast_label_t *label);

/* out of its group, and the memory; not out of the connection's list */
void ngx_broadcast_joined_free(ngx_broadcast_joined_t *joined);


#endif /* _NGX_BROADCAST_INDEX_LOCAL_H_INCLUDED_ */
