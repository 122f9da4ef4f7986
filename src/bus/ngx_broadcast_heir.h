
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_HEIR_H_INCLUDED_
#define _NGX_BROADCAST_HEIR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_zone.h"


/*
 * Whether others serve now what is published here: a zone that a reload has
 * replaced, or a binary upgrade.  Two masters, the second one a child of the
 * first, have no zone in common, and a page of memory:
 *
 *   older   when a worker of the first one was seen that is not exiting
 *   newer   the same, of the second one
 *
 * both in milliseconds of the monotonic clock, which is one for all.
 */

/*
 * init_module, in the master: once, finds the page of the master that it was
 * started by and makes the one for a master that it will start; each time, the
 * zone that is current from now on, NULL if there is none.  Never fails.
 */
void ngx_broadcast_heir_open(ngx_cycle_t *cycle, ngx_broadcast_zone_t *zone);

/* a worker, once a second and when it begins: it is there, or it is leaving */
void ngx_broadcast_heir_beat(void);

/*
 * 1: what is published comes to others now, so who is here for what is not in
 * the database has to come anew.  May change back: the second master has ended.
 */
ngx_uint_t ngx_broadcast_heir_took(void);


#endif /* _NGX_BROADCAST_HEIR_H_INCLUDED_ */
