
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_STATEFUL_H_INCLUDED_
#define _NGX_BROADCAST_STATEFUL_H_INCLUDED_


#include "conn/ngx_broadcast_peer.h"
#include "conn/ngx_broadcast_sequence.h"
#include "conn/ngx_broadcast_state.h"


/*
 * Stateful reconnect, signalr.md 6: a connection that spoke version 2 of its
 * protocol outlives its socket.  Without one it is ACTIVE, its transport is
 * NULL, and it is matched and called for as ever, until another WebSocket
 * takes it over or its time is up.
 */

/* the handshake asked for version 2; NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_stateful_open(ngx_broadcast_conn_t *bc);

/*
 * A frame that is to be queued.  NGX_OK: for the socket, now; NGX_DONE: it
 * waits, or there is no socket to send it to; bc may have been condemned.
 */
ngx_int_t ngx_broadcast_stateful_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame);

/* counts and looks at a message; 0: it is dealt with, or bc was ended */
ngx_uint_t ngx_broadcast_stateful_message(ngx_broadcast_conn_t *bc,
    ngx_broadcast_message_t *m);

/* wheel: sends the Ack that is due; 0: its time is up, it was closed */
ngx_uint_t ngx_broadcast_stateful_look(ngx_broadcast_conn_t *bc);
ngx_msec_int_t ngx_broadcast_stateful_left(ngx_broadcast_conn_t *bc);

/* another worker has it: the socket goes, if there is one */
void ngx_broadcast_stateful_leave(ngx_broadcast_conn_t *bc);

/* its part of a state; a connection that has come waits for a socket */
void ngx_broadcast_stateful_put(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
ngx_int_t ngx_broadcast_stateful_get(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc);

/* it ends: what waited for acks goes into the queue, if it is to be said */
void ngx_broadcast_stateful_finish(ngx_broadcast_conn_t *bc, ngx_uint_t say);
void ngx_broadcast_stateful_free(ngx_broadcast_conn_t *bc);


#endif /* _NGX_BROADCAST_STATEFUL_H_INCLUDED_ */
