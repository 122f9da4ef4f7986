
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_CONN_CALL_H_INCLUDED_
#define _NGX_BROADCAST_CONN_CALL_H_INCLUDED_


#include "conn/ngx_broadcast_peer.h"
#include "pg/ngx_broadcast_method.h"
#include "proto/ngx_broadcast_scan.h"


/*
 * What a client wants called.  All strings are borrowed.
 *
 *   begin --> find --> call ------------> result ------> Completion
 *               |        ^                   |               ^
 *               +- ask --+                   +-- DONE -------+
 *                                         where it has sent something, for a
 *                                         Completion must not overtake that
 *
 * bc->task is there from begin to Completion, so what else the client sends
 * waits; a stream of rows goes on by itself and has no task.
 */

typedef struct {
    ngx_str_t                   id;         /* of the invocation; empty: nobody
                                               wants to know */
    ngx_str_t                   target;
    ngx_str_t                   arguments;  /* JSON array; those of upload
                                               streams are the last ones */
    ngx_uint_t                  nstreams;   /* so many */
    ngx_str_t                   uploads;    /* JSON array of their ids: they are
                                               yet to be collected */
    unsigned                    stream:1;   /* a StreamInvocation */
    unsigned                    open:1;     /* and its stream is */
    unsigned                    asked:1;    /* the catalogue is as new as it
                                               can be */
} ngx_broadcast_wanted_t;


/*
 * Calls it, or says why not: to whom it may concern, the stream is ended then.
 * May set bc->task.
 */
void ngx_broadcast_call_begin(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w);

/*
 * Before the streams of its uploads are collected.  NGX_OK: they are to be;
 * NGX_DONE: it was said why not, or ngx_broadcast_upload_open() is called again
 * when more is known.
 */
ngx_int_t ngx_broadcast_call_check(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w);

/* a DONE record; may end its connection */
void ngx_broadcast_call_done(ngx_broadcast_record_t *rec);

/* a number that no other call or stream of this worker has */
uint64_t ngx_broadcast_call_serial(void);

/* the task ends, or its connection does */
void ngx_broadcast_call_free(ngx_broadcast_task_t *task);

void ngx_broadcast_call_start(ngx_log_t *log);
void ngx_broadcast_call_stop(void);


/* ngx_broadcast_arguments.c: the parameters of a call */

typedef struct {
    ngx_uint_t                  n;          /* all of them */
    u_char                     *end;        /* behind the last one */
    ngx_broadcast_scan_value_t  v[NGX_BROADCAST_METHOD_ARGS];
                                            /* the first ones */
} ngx_broadcast_arguments_t;

/* NGX_ERROR: it is no JSON array */
ngx_int_t ngx_broadcast_arguments_parse(ngx_broadcast_arguments_t *a,
    ngx_str_t *text);

/*
 * The call with its parameters.  NGX_DECLINED: an argument is not of a kind
 * that the method takes; NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_arguments_call(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w, ngx_broadcast_arguments_t *a,
    ngx_broadcast_method_t *method, uint64_t serial,
    ngx_broadcast_method_call_t **call);


/* ngx_broadcast_refusal.c: what is said of an invocation that failed */

typedef enum {
    NGX_BROADCAST_REFUSAL_UNKNOWN = 0,
    NGX_BROADCAST_REFUSAL_COUNT,            /* n arguments, m expected */
    NGX_BROADCAST_REFUSAL_BINDING,
    NGX_BROADCAST_REFUSAL_AMBIGUOUS,
    NGX_BROADCAST_REFUSAL_STREAMING,        /* a stream, invoked as none */
    NGX_BROADCAST_REFUSAL_NOT_STREAMING,    /* the other way round */
    NGX_BROADCAST_REFUSAL_UPLOADS,          /* n upload streams, m expected */
    NGX_BROADCAST_REFUSAL_UNAUTHORIZED,
    NGX_BROADCAST_REFUSAL_UNEXPECTED,       /* it threw: no detail */
    NGX_BROADCAST_REFUSAL_AWAY,
    NGX_BROADCAST_REFUSAL_BUSY,
    NGX_BROADCAST_REFUSAL_STREAMS,          /* too many streams run */
    NGX_BROADCAST_REFUSAL_MEMORY,
    NGX_BROADCAST_REFUSAL_NONE
} ngx_broadcast_refusal_e;

/* the sentence, in the pool; n and m where they are named above */
ngx_int_t ngx_broadcast_refusal_text(ngx_pool_t *pool, ngx_uint_t why,
    ngx_str_t *target, ngx_uint_t n, ngx_uint_t m, ngx_str_t *text);

/* what a method threw: a HubException, or what the error was named */
ngx_int_t ngx_broadcast_refusal_thrown(ngx_pool_t *pool, ngx_str_t *target,
    ngx_str_t *name, ngx_str_t *message, ngx_str_t *text);


#endif /* _NGX_BROADCAST_CONN_CALL_H_INCLUDED_ */
