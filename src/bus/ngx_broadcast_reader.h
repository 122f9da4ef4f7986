
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_READER_H_INCLUDED_
#define _NGX_BROADCAST_READER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_log.h"


/*
 * The record hook: the only call that goes up from here.  Not called with a
 * lock held or while a list is walked.  rec is borrowed until it returns.
 * The hook may return NGX_AGAIN: it has queued enough for one turn; the
 * reader posts itself and goes on with the *next* record after other events.
 */
typedef ngx_int_t (*ngx_broadcast_record_pt)(ngx_broadcast_record_t *rec);

/* this worker fell off the log's tail: what its clients missed is unknown */
typedef void (*ngx_broadcast_overrun_pt)(void);


/* from the log's head on; the slot was claimed before */
void ngx_broadcast_reader_start(ngx_cycle_t *cycle,
    ngx_broadcast_record_pt hook, ngx_broadcast_overrun_pt overrun);
void ngx_broadcast_reader_stop(void);

/* reads in this turn of the event loop, never inside the call */
void ngx_broadcast_reader_post(void);

/* an event's handler: reads now */
void ngx_broadcast_reader_drain(ngx_event_t *ev);


/*
 * Replays from the log the hub's messages with after < seq <= upto, in order,
 * to the handler, at most `max` a call.  NGX_OK: all were given; NGX_AGAIN:
 * call again, *after was moved; NGX_DECLINED: the log does not reach back.
 * A handler that says NGX_AGAIN has not taken the record, and ends the call.
 */
typedef ngx_int_t (*ngx_broadcast_replay_pt)(ngx_broadcast_record_t *rec,
    void *data);
ngx_int_t ngx_broadcast_replay(ngx_uint_t hub, ngx_broadcast_position_t *after,
    uint64_t upto, ngx_uint_t max, ngx_broadcast_replay_pt handler,
    void *data);

/*
 * Gives the records from the offset `from` on, up to the one at `upto` and
 * without it, to the handler, in this call.  NGX_OK; NGX_DECLINED: some of
 * them are not in the log any more; NGX_ERROR: no memory.
 */
typedef void (*ngx_broadcast_reread_pt)(ngx_broadcast_record_t *rec,
    void *data);
ngx_int_t ngx_broadcast_reread(uint64_t from, uint64_t upto,
    ngx_broadcast_reread_pt handler, void *data);


#endif /* _NGX_BROADCAST_READER_H_INCLUDED_ */
