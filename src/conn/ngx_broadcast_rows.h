
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ROWS_H_INCLUDED_
#define _NGX_BROADCAST_ROWS_H_INCLUDED_


#include "conn/ngx_broadcast_invocation.h"
#include "pg/ngx_broadcast_stream.h"


/*
 * Rows of a function that returns a set, on their way to the client that asked
 * for them: items of its stream, which is open (conn/invocation) and ended by
 * exactly one Completion.
 *
 * The database's side stays with the worker S that began it, also when the
 * connection moves.  Where the connection is, at C, its stream names S and the
 * serial.  At one worker the two call each other; else by records for the
 * connection, or for S:
 *
 *          S                    log                 C
 *                             <-- FLOW(bytes)    it has come, or has room
 *     item, while bytes
 *     are left            ITEM -->               queued
 *     the last of them    ITEM, "more" -->       FLOW(bytes) as it has room
 *     the end             COMPLETE -->           Completion
 *                             <-- FLOW()         cancelled, or closed
 *
 * So no more than those bytes, or one item, are under way, and a connection
 * may move at any moment.  S looks at the registry whether the connection is
 * there, C at the slots whether S is.
 */

/* how a stream ends that fails midway, signalr.md 4.6 */

#define NGX_BROADCAST_ROWS_ERROR                                              \
    "An error occurred on the server while streaming results."


/*
 * Begins one for the open stream `id` of bc, which the caller ends unless it
 * is NGX_OK.  in: all but item and end; its serial is what the context's
 * "done" names.  message: it is a bound function, whose words are its own.
 * What is returned is ngx_broadcast_stream_open()'s.
 */
ngx_int_t ngx_broadcast_rows_open(ngx_broadcast_conn_t *bc, ngx_str_t *id,
    ngx_str_t *target, ngx_uint_t message, ngx_broadcast_stream_in_t *in);

/*
 * A DONE record for the connection with this worker's word and the serial:
 * 1 if it is about a stream.
 */
ngx_uint_t ngx_broadcast_rows_done(ngx_str_t *connection, uint64_t serial);


/* for this room */

/* of a stream of bc, which ends: nothing of it is wanted any more */
void ngx_broadcast_rows_stop(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under);

/* the queue of bc has become shorter, and a stream waits for that */
void ngx_broadcast_rows_room(ngx_broadcast_conn_t *bc);

/* bc has come from another worker */
void ngx_broadcast_rows_arrived(ngx_broadcast_conn_t *bc);

/* ITEM or COMPLETE by a worker's stream: 1 if it belongs to under */
ngx_uint_t ngx_broadcast_rows_belongs(ngx_broadcast_under_t *under,
    ngx_broadcast_record_t *rec);

/*
 * An item (JSON) of a stream of bc.  NGX_ERROR: the client's protocol has no
 * words for it; the caller ends the stream.
 */
ngx_int_t ngx_broadcast_rows_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under, ngx_str_t *item);

/* the item was queued: asks for more, if it was the last of the bytes */
void ngx_broadcast_rows_took(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under, ngx_broadcast_record_t *rec);

/* FLOW */
void ngx_broadcast_rows_flow(ngx_broadcast_record_t *rec);

/* records were missed, and FLOW may be among them */
void ngx_broadcast_rows_overrun(void);

/* with each tick: streams of workers that are gone */
void ngx_broadcast_rows_look(void);

void ngx_broadcast_rows_start(ngx_log_t *log);
void ngx_broadcast_rows_stopped(void);


#endif /* _NGX_BROADCAST_ROWS_H_INCLUDED_ */
