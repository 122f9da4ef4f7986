
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_CALL_H_INCLUDED_
#define _NGX_BROADCAST_CALL_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"
#include "shm/ngx_broadcast_binding.h"


/*
 * A call of an SQL function over this worker's pool: queued, bounded in
 * number and time, answered by the handler from the event loop, never from
 * inside ngx_broadcast_call() itself.
 *
 * Who gives a pointer in data cancels the call before the thing dies (a
 * request, in its pool's cleanup); a connection gives its id, not its address.
 */

typedef struct ngx_broadcast_call_s  ngx_broadcast_call_t;   /* opaque */

#define NGX_BROADCAST_CALL_DATA  64         /* bytes copied from the caller */

typedef enum {
    NGX_BROADCAST_CALL_OK = 0,
    NGX_BROADCAST_CALL_FAILED,      /* SQL error: sqlstate, message */
    NGX_BROADCAST_CALL_TIMEOUT,
    NGX_BROADCAST_CALL_AWAY         /* connection lost meanwhile: unknown */
} ngx_broadcast_call_status_e;

typedef struct {
    ngx_uint_t              status;
    ngx_str_t               value;      /* text of the jsonb result; len 0:
                                           SQL null.  Borrowed until return */
    ngx_str_t               sqlstate;
    ngx_str_t               message;    /* primary message of the error */
    ngx_uint_t              raised;     /* 1: by a RAISE in a function of the
                                           user's: meant for its caller */
    ngx_uint_t              unauthorized;   /* 1: FAILED, since the caller has
                                           no role that may call it */
} ngx_broadcast_call_result_t;

typedef void (*ngx_broadcast_call_pt)(ngx_broadcast_call_result_t *result,
    void *data);


/*
 * Calls broadcast.dispatch(event).  event is JSON text with "kind" in it,
 * copied.  name, which may be NULL, tells functions of the kind apart: a hub's
 * or the function's own; nothing is remembered but how long it took.  data is
 * copied, size <= NGX_BROADCAST_CALL_DATA.
 *
 * NGX_OK: the handler will be called once (*call, if asked for, is valid
 * until then).  NGX_BUSY: queue full (counted).  NGX_DECLINED: the database
 * is away or the schema is missing: refused at once (circuit breaker).
 */
ngx_int_t ngx_broadcast_call(ngx_uint_t kind, ngx_str_t *name,
    ngx_str_t *event, ngx_broadcast_call_pt handler, const void *data,
    size_t size, ngx_broadcast_call_t **call);

/* the handler will not be called; the statement may still run to its end */
void ngx_broadcast_call_cancel(ngx_broadcast_call_t *call);


/*
 * Replay of a durable hub from broadcast.message: messages with
 * after < seq <= upto in pages of at most `max`, given one by one to `row`,
 * then `done` once: status OK with *reached (the last seq given or covered),
 * or FAILED/…  `gap` in done is 1 if rows were aged out or the epoch is
 * another; then oldest tells from where the history goes on.  A `row` that
 * says NGX_AGAIN has not taken it, and ends the page: cut and more are 1.
 *
 * suffix, which may be empty, is that of a position: what it says was seen is
 * left out.  Until all of that has a number nothing is given, and unsettled is
 * 1; then messages behind newest were not seen, whatever upto was.
 */
typedef struct {
    ngx_uint_t                status;
    ngx_uint_t                gap;
    ngx_uint_t                more;         /* ask again from reached */
    ngx_uint_t                cut;          /* of those that were read some
                                               were not taken */
    ngx_uint_t                unsettled;
    ngx_broadcast_position_t  oldest;
    ngx_broadcast_position_t  reached;
    uint64_t                  newest;
} ngx_broadcast_history_t;

typedef ngx_int_t (*ngx_broadcast_history_row_pt)(ngx_broadcast_record_t *rec,
    void *data);
typedef void (*ngx_broadcast_history_pt)(ngx_broadcast_history_t *history,
    void *data);

ngx_int_t ngx_broadcast_history(ngx_uint_t hub,
    ngx_broadcast_position_t *after, ngx_str_t *suffix, uint64_t upto,
    ngx_uint_t max, ngx_broadcast_history_row_pt row,
    ngx_broadcast_history_pt done, const void *data, size_t size,
    ngx_broadcast_call_t **call);


#endif /* _NGX_BROADCAST_CALL_H_INCLUDED_ */
