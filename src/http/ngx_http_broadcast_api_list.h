
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_API_LIST_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_API_LIST_H_INCLUDED_


#include "http/ngx_http_broadcast_api.h"
#include "shm/ngx_broadcast_select.h"


/* a page that is being made; in r->pool, as api->data */

typedef struct {
    ngx_broadcast_select_t       select;
    ngx_broadcast_selected_t    *rows;      /* owned by r->pool, or */
    ngx_broadcast_group_info_t  *names;     /* groups are listed */
    uint32_t                     next;      /* where to go on */
    uint32_t                     last;      /* place of the last one given */
    ngx_uint_t                   max;       /* of this page */
    ngx_uint_t                   top;       /* of all pages */
    ngx_uint_t                   given;     /* by earlier pages */
    ngx_uint_t                   count;     /* by this one */
    ngx_uint_t                   more;      /* there is at least one more */
    ngx_uint_t                   groups;    /* not connections */
    ngx_uint_t                   cluster;   /* from the database: */
    ngx_str_t                    after;     /* id or key of the last given */
    ngx_broadcast_buf_t          buf;
} ngx_http_broadcast_list_t;


/*
 * 1: the page is full.  Otherwise one more is counted, which the caller
 * writes.  To be asked when there is one: it begins the next page, if `top`
 * leaves any.
 */
ngx_uint_t ngx_http_broadcast_list_full(ngx_http_broadcast_list_t *list);

void ngx_http_broadcast_list_row(ngx_http_broadcast_list_t *list,
    ngx_broadcast_row_info_t *row);
void ngx_http_broadcast_list_entry(ngx_http_broadcast_list_t *list,
    ngx_broadcast_present_t *conn);
void ngx_http_broadcast_list_name(ngx_http_broadcast_list_t *list,
    ngx_broadcast_group_info_t *group);
void ngx_http_broadcast_list_group(ngx_http_broadcast_list_t *list,
    ngx_str_t *name, ngx_uint_t connections);

/* ends the page and answers */
ngx_int_t ngx_http_broadcast_list_answer(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list);


#endif /* _NGX_HTTP_BROADCAST_API_LIST_H_INCLUDED_ */
