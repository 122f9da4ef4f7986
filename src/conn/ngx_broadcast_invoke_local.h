
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_INVOKE_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_INVOKE_LOCAL_H_INCLUDED_


#include "bus/ngx_broadcast_bus.h"
#include "conn/ngx_broadcast_invoke.h"
#include "shm/ngx_broadcast_registry.h"


/* the table of this worker's questions, and what looks after it */

#define NGX_BROADCAST_INVOKES      1024     /* a worker; a power of two */
#define NGX_BROADCAST_INVOKE_LOOK  200      /* ms */


struct ngx_broadcast_invoke_s {
    uint64_t                  serial;
    ngx_msec_t                deadline;
    ngx_broadcast_invoke_pt   handler;
    void                     *data;         /* the caller's: it cancels before
                                               that dies */
    uint64_t                  head;         /* of the log when the connection
                                               was found gone; 0: it was not */
    ngx_uint_t                afar;         /* 1: another node has it */
    ngx_msec_t                looked;       /* the database was asked */
    ngx_uint_t                gone;         /* ... and knew it not, so often
                                               in a row */
    ngx_uint_t                hub;
    size_t                    len;
    u_char                    connection[NGX_BROADCAST_CONN_ID_MAX];
};


extern ngx_broadcast_invoke_t  **ngx_broadcast_invokes;    /* owned, or NULL */
extern ngx_uint_t                ngx_broadcast_invoke_count;


/* invoke.c */

/* NULL: nobody waits for it (any more) */
ngx_broadcast_invoke_t *ngx_broadcast_invoke_find(uint64_t serial);

/* frees it and calls its handler; text may be NULL */
void ngx_broadcast_invoke_end(ngx_broadcast_invoke_t *invoke,
    ngx_uint_t status, ngx_str_t *text);

/* the owner need not keep it; where this does not fit, it finds out itself */
void ngx_broadcast_invoke_forget(ngx_broadcast_invoke_t *invoke);


/* invoke_look.c: the timer, every LOOK ms while somebody waits */
void ngx_broadcast_invoke_handler(ngx_event_t *ev);


#endif /* _NGX_BROADCAST_INVOKE_LOCAL_H_INCLUDED_ */
