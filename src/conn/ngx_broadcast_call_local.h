
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_CALL_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_CALL_LOCAL_H_INCLUDED_


#include "conn/ngx_broadcast_call.h"


/* between ngx_broadcast_call.c, a call's way there, and _call_end.c, back */

/* What goes with a call or a question: the connection may be gone by then. */

typedef struct {
    uint64_t                    serial;
    u_char                      len;
    u_char                      id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_calling_t;

/* NULL: it has ended, or does not wait for this any more */
ngx_broadcast_conn_t *ngx_broadcast_call_caller(
    ngx_broadcast_calling_t *calling);

/* borrowed from the task */
void ngx_broadcast_call_wanted(ngx_broadcast_wanted_t *w,
    ngx_broadcast_task_t *task);

/* NGX_OK: it is tried again when the catalogue is as new as it can be */
ngx_int_t ngx_broadcast_call_ask(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w);

/* a sentence of ngx_broadcast_refusal_e, and one of anybody's */
void ngx_broadcast_call_say(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_wanted_t *w, ngx_uint_t why,
    ngx_uint_t n, ngx_uint_t m);
void ngx_broadcast_call_error(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w, ngx_str_t *error);

/* of ngx_broadcast_method_call() */
void ngx_broadcast_call_result(ngx_broadcast_method_result_t *result,
    void *data);

/* there is no task: takes what has come meanwhile; may end bc */
void ngx_broadcast_call_on(ngx_broadcast_conn_t *bc);


#endif /* _NGX_BROADCAST_CALL_LOCAL_H_INCLUDED_ */
