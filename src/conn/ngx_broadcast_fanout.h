
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_FANOUT_H_INCLUDED_
#define _NGX_BROADCAST_FANOUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "conn/ngx_broadcast_outq.h"


/* the record hook and the overrun hook for ngx_broadcast_bus_start() */
ngx_int_t ngx_broadcast_fanout_record(ngx_broadcast_record_t *rec);
void ngx_broadcast_fanout_overrun(void);

/*
 * Offset in the log of the first record that was not given to this worker's
 * connections yet; while one is given, its own.
 */
uint64_t ngx_broadcast_fanout_matched(void);

/*
 * A record that this worker has read before, for bc alone, which came from
 * another worker that had not read it.  May end bc.
 */
void ngx_broadcast_fanout_again(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *bc);

/*
 * Puts bc on this worker's list of connections to flush, which is worked off
 * by a posted event in slices, so that everything queued in one turn leaves in
 * one call of the socket.
 */
void ngx_broadcast_fanout_flush(ngx_broadcast_conn_t *bc);

ngx_int_t ngx_broadcast_fanout_start(ngx_cycle_t *cycle);
void ngx_broadcast_fanout_stop(void);


#endif /* _NGX_BROADCAST_FANOUT_H_INCLUDED_ */
