
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_TIMER_H_INCLUDED_
#define _NGX_BROADCAST_TIMER_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"


/*
 * Functions bound as `timer`: the worker whose relay leads the cluster calls
 * them when they are due.  That it leads only says who is to look: that no
 * tick runs twice is the word of the database, see broadcast.tick().
 */

/* this worker's relay leads */
void ngx_broadcast_timer_start(void);

/*
 * It does not any more, or the worker exits.  Calls that are in flight are
 * not waited for by one that exits: the server carries them through.
 */
void ngx_broadcast_timer_stop(void);

/* the bindings in the zone are others */
void ngx_broadcast_timer_changed(void);


#endif /* _NGX_BROADCAST_TIMER_H_INCLUDED_ */
