
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_FRAME_H_INCLUDED_
#define _NGX_BROADCAST_FRAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_message.h"
#include "shm/ngx_broadcast_record.h"


/*
 * A frame is bytes ready for a socket, made once per worker, protocol and
 * framing, never changed, and shared by the queues of all connections that get
 * it.  Counted within this worker; the bytes stand behind the head.
 *
 * A WebSocket frame keeps its compressed forms, one a window size: they are
 * made when a first connection needs them, and shared like itself.
 */

typedef struct ngx_broadcast_frame_s  ngx_broadcast_frame_t;

struct ngx_broadcast_frame_s {
    uint32_t                refs;
    uint32_t                len;
    uint64_t                time;       /* microseconds, wall clock, of the
                                           publish or of the commit; 0: not a
                                           message, not counted as delivered */
    uint64_t                seq;        /* number of the message, or 0 */
    unsigned                sql:1;      /* came by the database's commit */
    unsigned                counted:2;  /* hub messages of types 1 to 5, which
                                           a stateful reconnect numbers */
    unsigned                bits:4;     /* of a form: its window */
    unsigned                tried:16;   /* windows (1 << bits) for which there
                                           is a form, or it is no use */
    ngx_broadcast_frame_t  *forms;      /* each counted once here; of a form:
                                           the next one */
};


#define ngx_broadcast_frame_data(f)  ((u_char *) ((f) + 1))

/* the invocation that tells a hub's client its position */

#define NGX_BROADCAST_TOLD  "broadcast.position"


/* each returns a frame with one reference, the caller's; NULL: no memory */

/* bytes as they are */
ngx_broadcast_frame_t *ngx_broadcast_frame_bytes(const void *data,
    size_t len);

/* a handshake's answer, or the text of a plain WebSocket frame, framed */
ngx_broadcast_frame_t *ngx_broadcast_frame_text(ngx_uint_t framing,
    ngx_str_t *text);

/* {"error":…} of a plain WebSocket */
ngx_broadcast_frame_t *ngx_broadcast_frame_error(ngx_str_t *text);

/*
 * A hub message in the encoding of that protocol, which is none of the plain
 * ones.
 */
ngx_broadcast_frame_t *ngx_broadcast_frame_hub_message(ngx_uint_t protocol,
    ngx_uint_t framing, const ngx_broadcast_message_t *m);

/*
 * The invocation of a record, borrowed from it: arguments as they were
 * published, if that was in the encoding of the protocol.
 */
void ngx_broadcast_frame_invocation(ngx_uint_t protocol,
    ngx_broadcast_record_t *rec, ngx_broadcast_message_t *m);

/* a MESSAGE record for connections of that protocol */
ngx_broadcast_frame_t *ngx_broadcast_frame_message(ngx_uint_t protocol,
    ngx_uint_t framing, ngx_broadcast_record_t *rec);

/*
 * The same with the text of a position: the id of a plain subscriber's, in
 * place of its own; behind a hub's as a message of its own, in the same frame.
 */
ngx_broadcast_frame_t *ngx_broadcast_frame_placed(ngx_uint_t protocol,
    ngx_uint_t framing, ngx_broadcast_record_t *rec, ngx_str_t *position);

/* that message alone, of a hub's protocol */
ngx_broadcast_frame_t *ngx_broadcast_frame_position(ngx_uint_t protocol,
    ngx_uint_t framing, ngx_str_t *position);

/*
 * The gap event: requested is text or empty (null); the stream of a plain
 * subscriber goes on behind `from`.
 */
ngx_broadcast_frame_t *ngx_broadcast_frame_gap(ngx_uint_t protocol,
    ngx_uint_t framing, ngx_str_t *requested,
    ngx_broadcast_position_t *oldest, ngx_broadcast_position_t *from);

/* keep-alives: SignalR's Ping, an id alone, a WebSocket ping */
ngx_broadcast_frame_t *ngx_broadcast_frame_ping(ngx_uint_t protocol,
    ngx_uint_t framing, ngx_broadcast_position_t *position);

/*
 * What is queued for a connection that negotiated permessage-deflate with a
 * window of 2^bits: the frame's compressed form, or the frame itself where its
 * payload has less than min bytes, would not get shorter, or is none of a
 * whole data frame.  Borrowed from the frame.
 */
ngx_broadcast_frame_t *ngx_broadcast_frame_deflated(
    ngx_broadcast_frame_t *frame, ngx_uint_t bits, size_t min);

/* gives a reference back */
void ngx_broadcast_frame_free(ngx_broadcast_frame_t *frame);

/* exit of the worker */
void ngx_broadcast_frame_stop(void);


#endif /* _NGX_BROADCAST_FRAME_H_INCLUDED_ */
