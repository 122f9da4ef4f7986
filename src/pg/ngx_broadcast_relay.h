
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_RELAY_H_INCLUDED_
#define _NGX_BROADCAST_RELAY_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"


/*
 * The way from the database into this node's log.  One worker of the node
 * runs it, in a session of its own; see ngx_broadcast_relay.c.
 */

/* this worker got the node's lease: begins; lost it or exits: ends at once */
void ngx_broadcast_relay_start(void);
void ngx_broadcast_relay_stop(void);

/*
 * Any worker, when it has staged something: wakes the node's relay if that
 * numbers for the cluster, else rings the doorbell of whoever does.
 */
void ngx_broadcast_relay_nudge(void);

/* the relay's worker, when it was woken */
void ngx_broadcast_relay_woken(void);


#endif /* _NGX_BROADCAST_RELAY_H_INCLUDED_ */
