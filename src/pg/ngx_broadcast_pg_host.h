
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_HOST_H_INCLUDED_
#define _NGX_BROADCAST_PG_HOST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_buf.h"


/*
 * What a conninfo says of where to connect: `host` stays beside the address,
 * TLS compares the certificate with it.
 */

typedef struct {
    ngx_str_t                   host;
    ngx_str_t                   addr;       /* empty: a socket's folder, or a
                                               name that was not looked up */
    ngx_str_t                   port;
    ngx_uint_t                  name;       /* 1: it is to be looked up */
} ngx_broadcast_pg_host_t;


#define NGX_BROADCAST_PG_HOSTS  16


/* one more of the hosts, with a copy of addr; those above the limit are not */
ngx_int_t ngx_broadcast_pg_host_add(ngx_array_t *hosts, ngx_pool_t *pool,
    ngx_broadcast_pg_host_t *host, ngx_str_t *addr);

/*
 * A conninfo, zero terminated: the options as they are and the hosts, the
 * first one first, the others around behind it.
 */
ngx_int_t ngx_broadcast_pg_host_conninfo(ngx_pool_t *pool, ngx_str_t *options,
    ngx_array_t *hosts, ngx_uint_t first, ngx_str_t *conninfo);

/* one option with its value, quoted, and a blank behind it */
void ngx_broadcast_pg_option(ngx_broadcast_buf_t *buf, const char *name,
    ngx_str_t *value);


#endif /* _NGX_BROADCAST_PG_HOST_H_INCLUDED_ */
