
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_CHECK_H_INCLUDED_
#define _NGX_BROADCAST_CHECK_H_INCLUDED_


#include "shm/ngx_broadcast_zone.h"


/* for the check's own two files */

#define NGX_BROADCAST_MET_CHAIN  1
#define NGX_BROADCAST_MET_FREE   2
#define NGX_BROADCAST_MET_TEXT   4

#define NGX_BROADCAST_CHECK_COUNTS  (NGX_BROADCAST_TRANSPORTS + 2)


typedef struct {
    ngx_broadcast_zone_t   *zone;       /* borrowed, shared memory */
    u_char                 *buf;        /* borrowed from the caller */
    size_t                  len;

    /* owned, in one piece at `rows`; one entry each, the first is unused */
    uint32_t               *rows;       /* where met */
    uint32_t               *members;    /* where met */
    uint32_t               *rules;      /* where met */
    uint32_t               *cells;      /* where met */
    uint32_t               *refs;       /* to a name */
    uint32_t               *live;       /* of these, from LIVE rows */
    uint32_t               *hubs;       /* connections, users, groups */
    uint32_t               *slots;      /* connections */
} ngx_broadcast_check_t;


/* NGX_ERROR, with the sentence in the caller's buffer */
ngx_int_t ngx_broadcast_check_fail(ngx_broadcast_check_t *check,
    const char *what, uint64_t where);

/* counts a reference to a name, which is of this kind and hub */
ngx_int_t ngx_broadcast_check_refer(ngx_broadcast_check_t *check,
    uint32_t name, ngx_uint_t kind, ngx_uint_t hub, ngx_uint_t live);

/* rows first, then the memberships of each, then all of these */
ngx_int_t ngx_broadcast_check_of_row(ngx_broadcast_check_t *check,
    uint32_t row);
ngx_int_t ngx_broadcast_check_members(ngx_broadcast_check_t *check);
ngx_int_t ngx_broadcast_check_rules(ngx_broadcast_check_t *check);
ngx_int_t ngx_broadcast_check_cells(ngx_broadcast_check_t *check);


#endif /* _NGX_BROADCAST_CHECK_H_INCLUDED_ */
