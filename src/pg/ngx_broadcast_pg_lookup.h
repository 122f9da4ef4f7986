
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_LOOKUP_H_INCLUDED_
#define _NGX_BROADCAST_PG_LOOKUP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/*
 * The names of the conninfo, looked up by nginx's resolver for one connection.
 * A name that is not found keeps the addresses of the start.
 */

typedef struct ngx_broadcast_pg_lookup_s  ngx_broadcast_pg_lookup_t;

/* conninfo is borrowed until the lookup is freed; NULL: there is no address,
   and why says so */
typedef void (*ngx_broadcast_pg_lookup_pt)(void *data, const char *conninfo,
    const char *why);

/* 1: there are names, and a resolver */
ngx_uint_t ngx_broadcast_pg_lookup_needed(void);

/*
 * Begins; done follows once, from the event loop, unless it is freed before.
 * tries as of ngx_broadcast_pg_conninfo().  NULL: no memory.
 */
ngx_broadcast_pg_lookup_t *ngx_broadcast_pg_lookup(ngx_uint_t tries,
    ngx_broadcast_pg_lookup_pt done, void *data);
void ngx_broadcast_pg_lookup_free(ngx_broadcast_pg_lookup_t *lookup);


#endif /* _NGX_BROADCAST_PG_LOOKUP_H_INCLUDED_ */
