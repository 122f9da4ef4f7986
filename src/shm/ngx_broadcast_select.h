
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_SELECT_H_INCLUDED_
#define _NGX_BROADCAST_SELECT_H_INCLUDED_


#include "shm/ngx_broadcast_registry.h"


/*
 * Going over the connections, or over the groups, of a hub in bounded pieces.
 * A call takes the lock once and looks at some hundred entries; *next is where
 * to go on, 0 first and at the end.  The order is that of rows (and of names),
 * which keep their places as long as they are there: what is there from the
 * first call to the last is given exactly once, whatever comes and goes.
 */

#define NGX_BROADCAST_SELECT_GROUPS  32


typedef struct {
    ngx_uint_t                hub;
    ngx_str_t                 user;         /* empty: any */
    ngx_str_t                *groups;       /* asked about, borrowed */
    ngx_uint_t                ngroups;      /* NGX_BROADCAST_SELECT_GROUPS */
    ngx_uint_t                member;       /* 1: members of groups[0] alone */
} ngx_broadcast_select_t;


typedef struct {
    ngx_broadcast_row_info_t  info;
    uint32_t                  groups;       /* bit i: is in groups[i] */
} ngx_broadcast_selected_t;


typedef struct {
    uint32_t                  cell;         /* its place in the order */
    ngx_uint_t                connections;
    size_t                    len;
    u_char                    name[NGX_BROADCAST_GROUP_BYTES];
} ngx_broadcast_group_info_t;


/* LIVE rows, at most n; returns how many */
ngx_uint_t ngx_broadcast_select_rows(ngx_broadcast_zone_t *zone,
    ngx_broadcast_select_t *select, ngx_broadcast_row_t *next,
    ngx_broadcast_selected_t *rows, ngx_uint_t n);

/* groups with at least one connection, at most n; returns how many */
ngx_uint_t ngx_broadcast_select_groups(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, uint32_t *next, ngx_broadcast_group_info_t *groups,
    ngx_uint_t n);


#endif /* _NGX_BROADCAST_SELECT_H_INCLUDED_ */
