
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_WAKE_H_INCLUDED_
#define _NGX_BROADCAST_WAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/*
 * Waking: an eventfd a slot, made by the master before it forks, so that all
 * workers of all generations have all of them under the same numbers.  It
 * carries no data; whether there is something to read is told by the log.
 */

/* init_module, in the master: makes the descriptors once, never fails */
void ngx_broadcast_wake_open(ngx_cycle_t *cycle);

/*
 * Puts this worker's descriptor into the event loop; handler runs when it was
 * rung.  NGX_ERROR (logged): the timer alone has to do.
 */
ngx_int_t ngx_broadcast_wake_listen(ngx_cycle_t *cycle, ngx_uint_t slot,
    ngx_event_handler_pt handler);
void ngx_broadcast_wake_unlisten(void);

/* in the handler: takes the ring back where the event is level-triggered */
void ngx_broadcast_wake_seen(ngx_event_t *ev);

/* rings a worker; one write(), which cannot block */
void ngx_broadcast_wake_ring(ngx_uint_t slot, ngx_log_t *log);


#endif /* _NGX_BROADCAST_WAKE_H_INCLUDED_ */
