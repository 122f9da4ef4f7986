
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_MASK_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_MASK_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


/* ngx_http_broadcast_mask_text.c */

/*
 * Points text to a copy with masked values of access_token, if it has any;
 * text is a query, a URI or a line that has one in it.  NGX_ERROR: no memory,
 * text is empty then.
 */
ngx_int_t ngx_http_broadcast_mask(ngx_pool_t *pool, ngx_str_t *text);

/*
 * For whoever masks where the text stands: the next value between *pos and last
 * of a text that begins at start, and *pos is behind it; NGX_DONE: none.  Then
 * write(), which takes the others as well.
 */
ngx_int_t ngx_http_broadcast_mask_next(u_char **pos, u_char *start,
    u_char *last, ngx_str_t *value);
u_char *ngx_http_broadcast_mask_write(u_char *dst, u_char *src, u_char *last,
    u_char *pos, ngx_str_t *value);

/*
 * Values that a request's line had, as an array of ngx_str_t: values() adds
 * those of a text, part() masks a text that shares its bytes with the only one
 * of them, value() one that may hold any of them.  Without memory the text is
 * empty.
 */
void ngx_http_broadcast_mask_values(ngx_http_request_t *r, ngx_str_t *text,
    ngx_array_t *values);
void ngx_http_broadcast_mask_part(ngx_http_request_t *r, ngx_str_t *text,
    ngx_array_t *values);
void ngx_http_broadcast_mask_value(ngx_http_request_t *r, ngx_str_t *text,
    ngx_array_t *values);


/* ngx_http_broadcast_mask.c: of the post-read and of the log phase */

ngx_int_t ngx_http_broadcast_mask_error_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_broadcast_mask_log_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BROADCAST_MASK_H_INCLUDED_ */
