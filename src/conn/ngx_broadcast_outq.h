
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_OUTQ_H_INCLUDED_
#define _NGX_BROADCAST_OUTQ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "conn/ngx_broadcast_frame.h"


typedef struct ngx_broadcast_conn_s  ngx_broadcast_conn_t;


/*
 * A queue of counted frames: a ring of pointers.  The ring is inside for two
 * frames, grows by doubling, and is given back when the queue is empty.  What
 * one frame alone needs stands in front.
 */

#define NGX_BROADCAST_OUTQ_INSIDE  2

typedef struct {
    uint32_t                    count;
    uint32_t                    offset;     /* bytes of the first frame that
                                               the socket took */
    uint32_t                    size;       /* of the ring, a power of two;
                                               0: it is inside */
    uint32_t                    head;
    size_t                      bytes;      /* that still wait */

    union {
        ngx_broadcast_frame_t  *inside[NGX_BROADCAST_OUTQ_INSIDE];
        ngx_broadcast_frame_t **ring;       /* owned */
    };

    uint32_t                    held;       /* frames at the head that an
                                               answer under way holds a copy
                                               of */
} ngx_broadcast_outq_t;


/* zeroed memory is an empty queue */

/* takes a reference of its own; NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_outq_push(ngx_broadcast_outq_t *q,
    ngx_broadcast_frame_t *frame);

/* takes the first frame off, there is one; its reference is the caller's */
ngx_broadcast_frame_t *ngx_broadcast_outq_shift(ngx_broadcast_outq_t *q);

/* moves all of `from` behind what is in q; NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_outq_append(ngx_broadcast_outq_t *q,
    ngx_broadcast_outq_t *from);

/* drops everything, or all but what was begun: a frame, or an answer */
void ngx_broadcast_outq_clear(ngx_broadcast_outq_t *q, ngx_uint_t keep_begun);

/* the frame at place i of the queue, borrowed */
ngx_broadcast_frame_t *ngx_broadcast_outq_frame(ngx_broadcast_outq_t *q,
    uint32_t i);

/*
 * 1 if more than `limit` bytes wait.  A message larger than that at the head
 * of the queue does not count: it came into an empty one.
 */
ngx_uint_t ngx_broadcast_outq_over(ngx_broadcast_outq_t *q, size_t limit);


/* the output queue of a connection, as its transport sees it */

/*
 * At most `limit` bytes of the queue (but at least one frame's) as a chain for
 * send_chain(): a static chain of this worker, valid until the next call.
 * NULL: the queue is empty.
 */
ngx_chain_t *ngx_broadcast_outq_chain(ngx_broadcast_conn_t *bc, size_t limit);

/*
 * All that is queued, copied into one piece of the pool, for an answer that
 * takes it whole: it stays in the queue until outq_sent() of its length, and
 * is given anew after outq_unhold().  NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_outq_hold(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *bytes);
void ngx_broadcast_outq_unhold(ngx_broadcast_conn_t *bc);

/*
 * The short way of what a fan-out mostly finds: one frame, not begun, and a
 * bare socket.  NGX_OK: it is sent; NGX_DECLINED: what there is, or is left,
 * is the transport's to send, which also tells what is wrong with the socket.
 */
ngx_int_t ngx_broadcast_outq_write(ngx_broadcast_conn_t *bc);

/* n bytes of it were taken by the socket; counts deliveries and latency */
void ngx_broadcast_outq_sent(ngx_broadcast_conn_t *bc, size_t n);
size_t ngx_broadcast_outq_size(ngx_broadcast_conn_t *bc);


#endif /* _NGX_BROADCAST_OUTQ_H_INCLUDED_ */
