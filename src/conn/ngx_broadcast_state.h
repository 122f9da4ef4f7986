
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_STATE_H_INCLUDED_
#define _NGX_BROADCAST_STATE_H_INCLUDED_


#include "base/ngx_broadcast_buf.h"
#include "conn/ngx_broadcast_peer.h"


/*
 * A connection as bytes, for the worker that takes it over: the arguments of
 * a STATE record.
 *
 *     +---------+----+---------+------+------------+------------+----
 *     | version | to | matched | kind | part: base | part: next | ...
 *     +---------+----+---------+------+------------+------------+----
 *
 * Each owner of a piece of state has a part of its own, with its length before
 * it; they are listed in ngx_broadcast_state.c, in the order in which they are
 * written and read.  All numbers are 8 bytes in this machine's order; times
 * are ages in milliseconds, because a clock value of another process says
 * nothing.  Who changes a part changes NGX_BROADCAST_STATE_VERSION: across a
 * reload another version of the module may read it.
 */

#define NGX_BROADCAST_STATE_VERSION  5

#define NGX_BROADCAST_STATE_WHOLE    0
#define NGX_BROADCAST_STATE_GONE     1      /* it has ended: no part follows */
#define NGX_BROADCAST_STATE_LATER    2      /* nor here: it will come, a call
                                               is under way */


typedef struct ngx_broadcast_state_in_s  ngx_broadcast_state_in_t;

struct ngx_broadcast_state_in_s {
    u_char                   *pos;
    u_char                   *last;
    ngx_uint_t                failed;       /* 1: it was shorter than that */
};


typedef struct {
    ngx_broadcast_owner_t     to;           /* for the worker with this word */
    uint64_t                  matched;      /* offset in the log: records from
                                               here on were not matched yet */
    ngx_uint_t                kind;         /* NGX_BROADCAST_STATE_… */
    ngx_broadcast_state_in_t  rest;         /* borrowed from the record */
} ngx_broadcast_state_t;


/* how a part is composed: what does not fit is remembered by the buffer */

void ngx_broadcast_state_put(ngx_broadcast_buf_t *b, uint64_t n);
void ngx_broadcast_state_put_bytes(ngx_broadcast_buf_t *b, const u_char *data,
    size_t len);

/* and read: 0 and an empty string behind the end, which is remembered */

uint64_t ngx_broadcast_state_get(ngx_broadcast_state_in_t *in);
void ngx_broadcast_state_get_bytes(ngx_broadcast_state_in_t *in,
    ngx_str_t *bytes);

/* the frames of a queue, to the end of the part; NGX_ERROR: no memory */

void ngx_broadcast_state_put_frames(ngx_broadcast_buf_t *b,
    ngx_broadcast_outq_t *q);
ngx_int_t ngx_broadcast_state_get_frames(ngx_broadcast_state_in_t *in,
    ngx_broadcast_outq_t *q);


/* all of bc; it changes nothing */
void ngx_broadcast_state_write(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc, ngx_broadcast_owner_t to, uint64_t matched);

/* a head alone: GONE or LATER */
void ngx_broadcast_state_write_kind(ngx_broadcast_buf_t *b,
    ngx_uint_t kind, ngx_broadcast_owner_t to);

/* the same for another worker: the bytes are changed in place */
void ngx_broadcast_state_forward(ngx_str_t *text, ngx_broadcast_owner_t to);

/*
 * The head, and where the parts begin.  NGX_DECLINED: it is of another
 * version, or no state at all.
 */
ngx_int_t ngx_broadcast_state_read(ngx_str_t *text,
    ngx_broadcast_state_t *state);

/*
 * Makes the connection, in this worker's index, with all that came with it;
 * it has no transport yet.  NGX_DECLINED: bytes that are no state; NGX_ERROR:
 * no memory.  The row is the caller's in both cases.
 */
ngx_int_t ngx_broadcast_state_make(ngx_broadcast_state_t *state,
    ngx_broadcast_record_t *rec, ngx_broadcast_row_t row,
    ngx_broadcast_limits_t *limits, ngx_broadcast_conn_t **bc);


#endif /* _NGX_BROADCAST_STATE_H_INCLUDED_ */
