
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ROWS_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_ROWS_LOCAL_H_INCLUDED_


#include "conn/ngx_broadcast_rows.h"


/*
 * Between ngx_broadcast_rows.c and _end.c, the database's side, and _take.c,
 * the connection's.
 */

#define NGX_BROADCAST_ROWS_BYTES  65536     /* that wait for a client at most,
                                               beside one item */

/* a stream that this worker runs; bytes stand behind */

typedef struct ngx_broadcast_flow_s  ngx_broadcast_flow_t;

struct ngx_broadcast_flow_s {
    ngx_broadcast_flow_t       *next;       /* owned */
    uint64_t                    serial;
    ngx_uint_t                  hub;
    ngx_str_t                   connection;
    ngx_str_t                   id;         /* of the invocation */
    ngx_str_t                   target;
    int64_t                     credit;     /* bytes that may be sent to another
                                               worker */
    ngx_msec_t                  deadline;   /* of waiting for DONE */
    unsigned                    message:1;  /* a bound function */
    unsigned                    ended:1;    /* DONE has to come yet */
    unsigned                    done:1;     /* DONE has come */
};


/* this worker's word: one without a slot keeps its connections */
#define ngx_broadcast_rows_self()                                             \
    (ngx_broadcast_bus.owner ? ngx_broadcast_bus.owner                        \
                             : (ngx_broadcast_owner_t) -1)

/* database's side: the link to it, or NULL */
ngx_broadcast_flow_t **ngx_broadcast_rows_find(uint64_t serial);

/* it is not wanted any more: nothing is said; or a Completion with an error */
void ngx_broadcast_rows_cancel(uint64_t serial);
void ngx_broadcast_rows_give_up(uint64_t serial);

/* handler of the stream; what ends the flow, with an error or NULL */
void ngx_broadcast_rows_end(uint64_t serial, ngx_broadcast_stream_end_t *end);
void ngx_broadcast_rows_complete(ngx_broadcast_flow_t **link,
    ngx_str_t *error);

/* connection's side: its stream with that source, or NULL */
ngx_broadcast_under_t *ngx_broadcast_rows_under(ngx_broadcast_conn_t *bc,
    ngx_broadcast_owner_t source, uint64_t serial);

/* 1 if an item of that length may be queued */
ngx_uint_t ngx_broadcast_rows_fits(ngx_broadcast_conn_t *bc, size_t len);

/* more is asked for when the queue has become shorter */
void ngx_broadcast_rows_wait(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under);

/*
 * Completes the record (scope, flags, target) and appends it.  The target is
 * "<owner word>.<serial>", with a "+" behind it if more is asked for.
 */
ngx_int_t ngx_broadcast_rows_publish(ngx_broadcast_record_t *rec,
    ngx_broadcast_owner_t owner, uint64_t serial, ngx_uint_t more);
ngx_int_t ngx_broadcast_rows_name(ngx_str_t *target,
    ngx_broadcast_owner_t *owner, uint64_t *serial, ngx_uint_t *more);


#endif /* _NGX_BROADCAST_ROWS_LOCAL_H_INCLUDED_ */
