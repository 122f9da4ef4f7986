
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"


/* Whom a record is for: the connections of its scope, or one of these. */


#define NGX_BROADCAST_FANOUT_AHEAD  8       /* connections fetched from memory
                                               at once */


static void ngx_broadcast_fanout_scope(ngx_broadcast_record_t *rec,
    ngx_broadcast_local_t *hub, ngx_broadcast_each_pt each, void *data);
static void ngx_broadcast_fanout_all(ngx_broadcast_record_t *rec,
    ngx_broadcast_local_t *hub, ngx_broadcast_each_pt each, void *data);
static void ngx_broadcast_fanout_list(ngx_broadcast_record_t *rec,
    ngx_queue_t *list, ngx_str_t *but, ngx_broadcast_each_pt each, void *data);
static ngx_uint_t ngx_broadcast_fanout_meant(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);


void
ngx_broadcast_fanout_each(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only, ngx_broadcast_each_pt each, void *data)
{
    ngx_broadcast_local_t  *hub;

    hub = ngx_broadcast_index_hub(rec->hub);

    if (hub == NULL || hub->count == 0) {
        return;
    }

    if (only) {

        if (ngx_broadcast_fanout_meant(only, rec)) {
            each(only, data);
        }

        return;
    }

    ngx_broadcast_index_exclude(&rec->excluded, 1);
    ngx_broadcast_fanout_scope(rec, hub, each, data);
    ngx_broadcast_index_exclude(&rec->excluded, 0);
}


static void
ngx_broadcast_fanout_scope(ngx_broadcast_record_t *rec,
    ngx_broadcast_local_t *hub, ngx_broadcast_each_pt each, void *data)
{
    ngx_queue_t           *list;
    ngx_broadcast_conn_t  *bc;

    switch (rec->scope) {

    case NGX_BROADCAST_ALL:
        ngx_broadcast_fanout_all(rec, hub, each, data);
        return;

    case NGX_BROADCAST_USER:
        list = ngx_broadcast_index_user(rec->hub, &rec->name);
        break;

    case NGX_BROADCAST_GROUP:
        list = ngx_broadcast_index_group(rec->hub, &rec->name);
        break;

    default:
        bc = ngx_broadcast_index_find(&rec->name);

        if (bc && bc->hub == hub && bc->start <= rec->log) {
            each(bc, data);
        }

        return;
    }

    ngx_broadcast_fanout_list(rec, list, NULL, each, data);

    if (rec->scope == NGX_BROADCAST_GROUP && rec->group.len) {
        list = ngx_broadcast_index_group(rec->hub, &rec->group);
        ngx_broadcast_fanout_list(rec, list, &rec->name, each, data);
    }
}


static void
ngx_broadcast_fanout_all(ngx_broadcast_record_t *rec,
    ngx_broadcast_local_t *hub, ngx_broadcast_each_pt each, void *data)
{
    ngx_uint_t             i;
    ngx_broadcast_conn_t  *bc;

    for (i = 0; i < hub->count; i++) {

        if (i + NGX_BROADCAST_FANOUT_AHEAD < hub->count) {
            ngx_broadcast_conn_near(hub->conns[i + NGX_BROADCAST_FANOUT_AHEAD]);
        }

        bc = hub->conns[i];

        if (bc->start > rec->log || bc->excluded) {
            continue;
        }

        each(bc, data);
    }
}


/* but: a group whose members had their turn already, or NULL */

static void
ngx_broadcast_fanout_list(ngx_broadcast_record_t *rec, ngx_queue_t *list,
    ngx_str_t *but, ngx_broadcast_each_pt each, void *data)
{
    ngx_queue_t             *q, *next;
    ngx_broadcast_conn_t    *bc;
    ngx_broadcast_joined_t  *joined;

    if (list == NULL) {
        return;
    }

    for (q = ngx_queue_head(list); q != list; q = next) {
        next = ngx_queue_next(q);

        if (rec->scope == NGX_BROADCAST_USER) {
            bc = ngx_queue_data(q, ngx_broadcast_conn_t, same);

        } else {
            joined = ngx_queue_data(q, ngx_broadcast_joined_t, link);
            bc = joined->conn;
        }

        if (bc->start > rec->log
            || bc->excluded
            || (but && ngx_broadcast_index_member(bc, but)))
        {
            continue;
        }

        each(bc, data);
    }
}


/* the same question as the lists answer, for one connection of the hub */

static ngx_uint_t
ngx_broadcast_fanout_meant(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    switch (rec->scope) {

    case NGX_BROADCAST_ALL:
        break;

    case NGX_BROADCAST_USER:
        if (bc->user == NULL
            || bc->user->len != rec->name.len
            || ngx_memcmp(bc->user->data, rec->name.data, rec->name.len) != 0)
        {
            return 0;
        }

        break;

    case NGX_BROADCAST_GROUP:
        if (!ngx_broadcast_index_meant(bc, rec)) {
            return 0;
        }

        break;

    default:
        return rec->name.len == bc->id.len
               && ngx_memcmp(rec->name.data, bc->id.data, bc->id.len) == 0;
    }

    return rec->excluded.len == 0
           || !ngx_broadcast_record_excludes(rec, &bc->id);
}
