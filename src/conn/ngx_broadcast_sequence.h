
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_SEQUENCE_H_INCLUDED_
#define _NGX_BROADCAST_SEQUENCE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "conn/ngx_broadcast_outq.h"


/*
 * What a stateful reconnect knows of a connection, signalr.md 6: hub messages
 * of types 1 to 5 are numbered from 1 in each direction, and those that were
 * sent are kept until the other side has acknowledged them.
 *
 *   to the client     1 … acked | unacked … sent | waiting
 *                      forgotten   kept            no number yet
 *
 *   from the client   1 … received | new
 *                      `next` is the number of the message that comes next:
 *                      received + 1, or less while the client repeats
 *
 * Frames are shared with the output queue and with other connections: keeping
 * one costs a pointer.  A frame that holds several messages is forgotten when
 * the last of them was acknowledged, and goes out whole.
 */

#define NGX_BROADCAST_SEQUENCE_LIMIT  100000    /* bytes, signalr.md 6.2 */

typedef struct {
    ngx_broadcast_outq_t   unacked;
    ngx_broadcast_outq_t   waiting;     /* until acks make room */
    size_t                 limit;       /* bytes of unacked: from there on
                                           messages wait */
    int64_t                acked;       /* up to a frame's end */
    int64_t                sent;
    int64_t                received;
    int64_t                next;
    ngx_msec_t             due;         /* of the Ack that is owed */
    ngx_msec_t             lost;        /* the socket, where there is none */
    unsigned               owed:1;      /* an Ack */
    unsigned               away:1;      /* there is no socket: counted */
    unsigned               deaf:1;      /* a new socket, and Sequence has not
                                           come by it yet */
} ngx_broadcast_sequence_t;


#define ngx_broadcast_sequence_sent(s)  ((s)->sent)


/* zeroed memory becomes the state of a connection that said nothing */
void ngx_broadcast_sequence_init(ngx_broadcast_sequence_t *s, size_t limit);

/* drops all frames; the memory is the caller's */
void ngx_broadcast_sequence_clear(ngx_broadcast_sequence_t *s);

/*
 * A counted frame to the client.  NGX_OK: it has its number and goes now;
 * NGX_AGAIN: it waits; NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_sequence_send(ngx_broadcast_sequence_t *s,
    ngx_broadcast_frame_t *frame);

/*
 * Ack(n).  NGX_OK: messages were forgotten; NGX_DECLINED: it says nothing new;
 * NGX_ERROR: so many were not sent.
 */
ngx_int_t ngx_broadcast_sequence_ack(ngx_broadcast_sequence_t *s, int64_t n);

/*
 * The next message that waited and may go now: it gets its number; *frame is
 * borrowed.  NGX_DECLINED: there is none; NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_sequence_next(ngx_broadcast_sequence_t *s,
    ngx_broadcast_frame_t **frame);

/*
 * A counted message from the client.  NGX_OK: it is new; NGX_DECLINED: it is
 * known, or from before the client's Sequence, and is not to be looked at.
 */
ngx_int_t ngx_broadcast_sequence_receive(ngx_broadcast_sequence_t *s);

/* Sequence(n).  NGX_ERROR: messages between were never received */
ngx_int_t ngx_broadcast_sequence_reset(ngx_broadcast_sequence_t *s,
    int64_t n);


#endif /* _NGX_BROADCAST_SEQUENCE_H_INCLUDED_ */
