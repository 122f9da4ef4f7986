
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ENROL_H_INCLUDED_
#define _NGX_BROADCAST_ENROL_H_INCLUDED_


#include "conn/ngx_broadcast_peer.h"


/*
 * The rows of this worker's connections in broadcast.connections, where
 * `connected` has not made them: the database was away when they came, or
 * nobody knows what became of the call.  Such a connection keeps the members
 * of its event until then.  Also asks whether the rows of all are still there,
 * when other nodes may have ended this one's.
 */

/*
 * bc, which is ACTIVE, has no row that is known of, or one to be looked for;
 * ends and frees nothing.
 */
void ngx_broadcast_enrol(ngx_broadcast_conn_t *bc);

/* its row is in the database */
void ngx_broadcast_enrol_known(ngx_broadcast_conn_t *bc);

/*
 * A connection that changes its worker takes along up to which cut-off its row
 * was asked for, 0: it is to be asked for; where it arrives that is made up.
 */
uint64_t ngx_broadcast_enrol_heard(ngx_broadcast_conn_t *bc);
void ngx_broadcast_enrol_arrived(ngx_broadcast_conn_t *bc, uint64_t heard);

/* it is out of the index */
void ngx_broadcast_enrol_remove(ngx_broadcast_conn_t *bc);

/* with each tick of the wheel: goes on if it can */
void ngx_broadcast_enrol_look(void);

void ngx_broadcast_enrol_start(void);


#endif /* _NGX_BROADCAST_ENROL_H_INCLUDED_ */
