
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_METHOD_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_METHOD_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_method.h"

#include <libpq-fe.h>


/* one reading of the catalogue; for pg/ngx_broadcast_method*.c only */

#define NGX_BROADCAST_METHOD_BUCKETS  256

struct ngx_broadcast_methods_s {
    ngx_pool_t                 *pool;       /* owned, holds this, too */
    ngx_uint_t                  refs;       /* calls, and being the current */
    uint64_t                    version;    /* of the bindings */
    ngx_uint_t                  over;       /* rows that were left out */
    ngx_uint_t                  n;
    ngx_broadcast_method_t     *methods;    /* in the pool */
    ngx_broadcast_method_t     *names[NGX_BROADCAST_METHOD_BUCKETS];
    ngx_broadcast_method_t     *any;        /* those without a name */
};

extern ngx_broadcast_methods_t  *ngx_broadcast_methods;     /* NULL: unread */


/* n rows of room; NULL: no memory */
ngx_broadcast_methods_t *ngx_broadcast_methods_create(ngx_uint_t n,
    ngx_log_t *log);

/*
 * The next method, whose strings are set and may be anybody's: they are copied
 * here.  Rows stay in their order.  NGX_DECLINED: there was no room.
 */
ngx_int_t ngx_broadcast_methods_add(ngx_broadcast_methods_t *methods,
    ngx_broadcast_method_t *method);

void ngx_broadcast_methods_put(ngx_broadcast_methods_t *methods);

/* takes the place of the current one, unless there is no memory */
void ngx_broadcast_method_take(PGresult *result);


/* the calls' part of a worker's life */
void ngx_broadcast_method_calls_start(ngx_log_t *log);
void ngx_broadcast_method_calls_stop(void);


#endif /* _NGX_BROADCAST_METHOD_LOCAL_H_INCLUDED_ */
