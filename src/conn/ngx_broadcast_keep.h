
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_KEEP_H_INCLUDED_
#define _NGX_BROADCAST_KEEP_H_INCLUDED_


#include "base/ngx_broadcast_buf.h"
#include "conn/ngx_broadcast_peer.h"


/*
 * The groups of this worker's connections in the database, for the other
 * nodes: of those that have a row in broadcast.connections, in durable hubs.
 * `connected` makes the row with the groups of that moment; what changes later
 * is said here.
 */

/* what goes with the state of a connection to another worker */

#define NGX_BROADCAST_KEEP_KEPT     0x01
#define NGX_BROADCAST_KEEP_CHANGED  0x02
#define NGX_BROADCAST_KEEP_ROWED    0x04    /* its row is in the database */


/* the groups of bc as a JSON array */
void ngx_broadcast_keep_groups(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);

/* is the id in a list with commas */
ngx_uint_t ngx_broadcast_keep_among(ngx_str_t *ids, ngx_str_t *id);

/* `connected` was called with the groups of now */
void ngx_broadcast_keep_begin(ngx_broadcast_conn_t *bc);

/* and was answered; failed: they have to be said once more */
void ngx_broadcast_keep_connected(ngx_broadcast_conn_t *bc,
    ngx_uint_t failed);

/* it has joined or left a group; ends and frees nothing */
void ngx_broadcast_keep_changed(ngx_broadcast_conn_t *bc);

/* it is out of the index */
void ngx_broadcast_keep_remove(ngx_broadcast_conn_t *bc);

/* NGX_BROADCAST_KEEP_…, and what came so */
ngx_uint_t ngx_broadcast_keep_state(ngx_broadcast_conn_t *bc);
void ngx_broadcast_keep_set_state(ngx_broadcast_conn_t *bc,
    ngx_uint_t state);

void ngx_broadcast_keep_start(ngx_cycle_t *cycle);
void ngx_broadcast_keep_stop(void);


#endif /* _NGX_BROADCAST_KEEP_H_INCLUDED_ */
