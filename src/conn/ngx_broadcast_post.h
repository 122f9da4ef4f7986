
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_POST_H_INCLUDED_
#define _NGX_BROADCAST_POST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "conn/ngx_broadcast_conn.h"


/*
 * What a client POSTs: an INPUT record takes it through the log to the
 * connection's owner, also if that is this worker, and the request waits until
 * the owner has taken it, or says that it came too late.
 */

/*
 * NGX_OK: it was taken; NGX_DECLINED: the connection had ended; NGX_ABORT:
 * nobody has said in time.
 */
typedef void (*ngx_broadcast_post_pt)(ngx_int_t rc, void *data);


/* filled by the caller as far as it is not said otherwise, and its own */

typedef struct {
    ngx_uint_t                hub;
    ngx_str_t                 connection;   /* borrowed until the handler was
                                               called, or it was cancelled */
    ngx_broadcast_post_pt     handler;
    void                     *data;

    /* not the caller's */

    ngx_queue_t               queue;
    uint64_t                  serial;       /* 0: nobody waits */
    uint64_t                  head;         /* of the log when the connection
                                               was found gone; 0: it was not */
    ngx_msec_t                deadline;
    ngx_int_t                 rc;           /* of a look that ends it */
} ngx_broadcast_post_t;


/*
 * NGX_AGAIN: the handler is called once, from the event loop, at the latest
 * after half a minute.  NGX_DECLINED: the connection has ended; NGX_BUSY: it
 * does not fit into the log (507); NGX_ERROR.
 */
ngx_int_t ngx_broadcast_post(ngx_broadcast_post_t *post, ngx_str_t *bytes);

/* the handler will not be called any more; also if it was, or never would */
void ngx_broadcast_post_cancel(ngx_broadcast_post_t *post);


/* fan-out: an INPUT record; only: all others had it, or NULL */
void ngx_broadcast_post_input(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only);

/* the same: a TAKEN record, for whichever worker; this worker's overrun */
void ngx_broadcast_post_told(ngx_broadcast_record_t *rec);
void ngx_broadcast_post_overrun(void);

/* exit of the worker: who still waits dies with its request */
void ngx_broadcast_post_stop(void);


#endif /* _NGX_BROADCAST_POST_H_INCLUDED_ */
