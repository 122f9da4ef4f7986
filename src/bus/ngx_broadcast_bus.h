
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_BUS_H_INCLUDED_
#define _NGX_BROADCAST_BUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "bus/ngx_broadcast_wake.h"
#include "bus/ngx_broadcast_reader.h"
#include "shm/ngx_broadcast_log.h"
#include "shm/ngx_broadcast_slot.h"
#include "shm/ngx_broadcast_stats.h"


/*
 * Called whenever this worker was woken and before it reads the log; see
 * ngx_broadcast_wake() below.
 */
typedef void (*ngx_broadcast_nudge_pt)(void);


/* this worker's place: set by ngx_broadcast_bus_start, read by all above */

typedef struct {
    ngx_broadcast_zone_t   *zone;       /* borrowed, shared memory; NULL: the
                                           configuration has no zone */
    ngx_uint_t              slot;       /* NGX_BROADCAST_NO_SLOT: none free,
                                           the timer alone serves */
    ngx_broadcast_owner_t   owner;
    ngx_log_t              *log;        /* the cycle's */
    ngx_broadcast_nudge_pt  nudge;      /* NULL: none */
} ngx_broadcast_bus_t;

extern ngx_broadcast_bus_t  ngx_broadcast_bus;

#define ngx_broadcast_count(counter, n)                                       \
    ngx_broadcast_stats_add(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,   \
                            counter, n)


/*
 * init_process: claims a slot, sets the cursor to the log's head, starts the
 * reader and the 1 s timer (cancelable), which also reaps dead slots and
 * expires tombstones and rules.  Never fails for what can happen at run time.
 */
void ngx_broadcast_bus_start(ngx_cycle_t *cycle, ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_pt hook, ngx_broadcast_overrun_pt overrun);

/* exit_process: releases the slot and the event connection */
void ngx_broadcast_bus_stop(ngx_cycle_t *cycle);


/*
 * A nudge: wakes the worker of that slot though there is no record.  It
 * carries no data; what there is to do stands in the zone (a gauge), written
 * before.  There is one hook, pg/'s; NULL takes it away.
 */
void ngx_broadcast_bus_nudged(ngx_broadcast_nudge_pt hook);
void ngx_broadcast_wake(ngx_uint_t slot);

/*
 * This worker has clients of the hub from now on, or has none any more.  It is
 * not woken at once for messages of hubs of which it has none.
 */
void ngx_broadcast_bus_watch(ngx_uint_t hub, ngx_uint_t on);

/*
 * The only way into the log.  Checks sizes, appends all or none, wakes the
 * workers that sleep and have to read it; this worker reads its own records
 * from a posted event, never from inside this call.  NGX_OK, NGX_BUSY (507;
 * counted).
 * Called by pg/outbox and pg/relay for messages and group and close commands;
 * by conn and http for INPUT and other commands of one connection.
 */
ngx_int_t ngx_broadcast_publish(ngx_broadcast_record_t *recs, ngx_uint_t n);

/*
 * 1: a living worker has much to read yet, and who has more to append should
 * wait some milliseconds and ask again; half a second at most for one that is
 * stopped.  Not called by a worker in the middle of its own turn.
 */
ngx_uint_t ngx_broadcast_pace(void);

/*
 * Logs that the zone has no room for `what`, at most once a second; whoever
 * was refused is counted by the caller.
 */
void ngx_broadcast_bus_full(const char *what);


#endif /* _NGX_BROADCAST_BUS_H_INCLUDED_ */
