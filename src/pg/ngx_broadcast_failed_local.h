
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_FAILED_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_FAILED_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_failed.h"


/* an error, read out of a result or of an answer; borrowed from there */

typedef struct {
    ngx_str_t               function;
    ngx_str_t               sqlstate;
    ngx_str_t               message;
    ngx_str_t               detail;
    ngx_str_t               hint;
    ngx_str_t               context;
} ngx_broadcast_failed_error_t;


/*
 * Reads *e out of the result (NULL: there was no answer in time), with the
 * function that the caller knows, or that the error names.
 */
void ngx_broadcast_failed_read(ngx_broadcast_failed_t *failed,
    PGresult *result, ngx_broadcast_failed_error_t *e);


#endif /* _NGX_BROADCAST_FAILED_LOCAL_H_INCLUDED_ */
