
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_FILTER_H_INCLUDED_
#define _NGX_BROADCAST_FILTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Filters of connections: what of OData's syntax the cloud service's :execute
 * takes (signalr.md 8.4).
 *
 *     or    = and *( "or" and )
 *     and   = not *( "and" not )
 *     not   = "not" not / "(" or ")" / test
 *     test  = field ( "eq" / "ne" ) ( string / "null" )
 *           / string ( "eq" / "ne" ) field
 *           / string "in" "groups"
 *           / "startswith" "(" field "," string ")"
 *     field = "userId" / "connectionId"
 *
 * Words ignore case; a quote in a string is written twice.  A test is true or
 * false: a connection without a user has userId null, which equals null alone
 * and starts with nothing.
 */

#define NGX_BROADCAST_FILTER_TERMS   64
#define NGX_BROADCAST_FILTER_GROUPS  32
#define NGX_BROADCAST_FILTER_DEPTH   32


typedef struct {
    ngx_uint_t                    op;
    ngx_uint_t                    group;    /* index */
    ngx_str_t                     text;
} ngx_broadcast_filter_term_t;


/* terms are in postfix order; strings are borrowed, or owned by the pool */

typedef struct {
    ngx_broadcast_filter_term_t   terms[NGX_BROADCAST_FILTER_TERMS];
    ngx_uint_t                    nterms;   /* 0: matches everything */
    ngx_str_t                     groups[NGX_BROADCAST_FILTER_GROUPS];
    ngx_uint_t                    ngroups;

    const char                   *error;    /* after NGX_DECLINED: what was
                                               wrong, to stand behind a place */
    ngx_uint_t                    place;    /* and where: character, from 1 */
} ngx_broadcast_filter_t;


/* NGX_OK; NGX_DECLINED: error and place tell; NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_filter_parse(ngx_broadcast_filter_t *filter,
    ngx_str_t *text, ngx_pool_t *pool);

/*
 * 1 if it matches; user is empty where there is none, bit i of groups says
 * whether the connection is in filter->groups[i].
 */
ngx_uint_t ngx_broadcast_filter_match(ngx_broadcast_filter_t *filter,
    ngx_str_t *id, ngx_str_t *user, uint32_t groups);


#endif /* _NGX_BROADCAST_FILTER_H_INCLUDED_ */
