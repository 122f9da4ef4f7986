
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_INDEX_H_INCLUDED_
#define _NGX_BROADCAST_INDEX_H_INCLUDED_


#include "conn/ngx_broadcast_peer.h"


/*
 * This worker's connections by id, by hub, by user and by group of a hub:
 * private memory, no lock.
 */

/* NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_index_start(void);
void ngx_broadcast_index_stop(void);

/* the hub as this worker sees it, or NULL if it never had a connection here */
ngx_broadcast_local_t *ngx_broadcast_index_hub(ngx_uint_t hub);

/* finds or makes it; NULL: no memory */
ngx_broadcast_local_t *ngx_broadcast_index_hub_make(ngx_uint_t hub,
    ngx_str_t *name, ngx_broadcast_claimed_t *claimed);

/* the hubs one after another: *i begins with 0; NULL at the end */
ngx_broadcast_local_t *ngx_broadcast_index_hub_next(ngx_uint_t *i);

/* user may be empty; NGX_ERROR: no memory, nothing was done */
ngx_int_t ngx_broadcast_index_add(ngx_broadcast_conn_t *bc, ngx_str_t *user);

/* from all lists, groups included; the registry is not told */
void ngx_broadcast_index_remove(ngx_broadcast_conn_t *bc);

/* by id; NULL: there is none, or it is another worker's */
ngx_broadcast_conn_t *ngx_broadcast_index_find(ngx_str_t *id);

/*
 * Marks those of a list of ids, joined by ',', that are here, or takes the
 * marks back: so a fan-out walks the list once, not once a connection.
 */
void ngx_broadcast_index_exclude(ngx_str_t *ids, ngx_uint_t excluded);

/* connections of a user (linked by conn.same), or NULL if there is none */
ngx_queue_t *ngx_broadcast_index_user(ngx_uint_t hub, ngx_str_t *user);

/* members of a group (linked by joined.link), or NULL if there is none */
ngx_queue_t *ngx_broadcast_index_group(ngx_uint_t hub, ngx_str_t *group);

/*
 * Membership, here and in the registry.  NGX_OK also if it was so before;
 * NGX_BUSY: the zone is full; NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_index_join(ngx_broadcast_conn_t *bc,
    ngx_str_t *group);
/* the same for the groups that the rules of its user gave it in the claim */
ngx_int_t ngx_broadcast_index_rules(ngx_broadcast_conn_t *bc);
void ngx_broadcast_index_leave(ngx_broadcast_conn_t *bc, ngx_str_t *group);
void ngx_broadcast_index_leave_all(ngx_broadcast_conn_t *bc);

/* 1 if it is a member */
ngx_uint_t ngx_broadcast_index_member(ngx_broadcast_conn_t *bc,
    ngx_str_t *group);

/* 1 if it is a member of the group, or of one of the two, of a message */
ngx_uint_t ngx_broadcast_index_meant(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);

/* connections of this worker, of all hubs */
ngx_uint_t ngx_broadcast_index_count(void);


#endif /* _NGX_BROADCAST_INDEX_H_INCLUDED_ */
