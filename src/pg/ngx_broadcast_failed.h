
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_FAILED_H_INCLUDED_
#define _NGX_BROADCAST_FAILED_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"

#include <libpq-fe.h>


/*
 * What a function raised, told to who wrote it: a line in the log and a row in
 * broadcast.function_error.  Both are bounded: a line a second for each
 * function and SQLSTATE (16 in all), ten rows a second and worker; what is left
 * out is counted with the next one of its kind.
 *
 * The log gets function, SQLSTATE, message and hint; detail and context may
 * quote what a client sent and stand in the row alone.
 */

typedef struct {
    ngx_uint_t              kind;       /* NGX_BROADCAST_ON_… */

    /* all borrowed until return; each may be empty */

    ngx_str_t               function;   /* if empty it is looked for in the
                                           error */
    ngx_str_t               name;       /* of the method, the HTTP function,
                                           the timer: where the function is
                                           not known */
    ngx_str_t               hub;
    ngx_str_t               connection;
    ngx_str_t               event;      /* JSON that has the last three */
} ngx_broadcast_failed_t;


/*
 * For an error that rolled the call back.  result: the error, which is not
 * changed; NULL: there was no answer in time.  A refused caller (see below) is
 * counted here.
 */
void ngx_broadcast_call_failed(ngx_broadcast_failed_t *failed,
    PGresult *result);

/*
 * For the {"errors":[…]} that dispatch() answers with for connected and
 * disconnected: the rows are there, as part of the call.  1: it is one.
 */
ngx_uint_t ngx_broadcast_call_errors(ngx_uint_t kind, ngx_str_t *answer);

/* 1: the caller has no role, or none that may call this */
ngx_uint_t ngx_broadcast_pg_unauthorized(PGresult *result);

/* init_process */
void ngx_broadcast_failed_init(void);


#endif /* _NGX_BROADCAST_FAILED_H_INCLUDED_ */
