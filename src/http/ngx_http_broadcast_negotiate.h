
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_NEGOTIATE_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_NEGOTIATE_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


/* ngx_http_broadcast_negotiate_url.c */

/* NGX_OK, NGX_ABORT: broken encoding, NGX_ERROR; no value is an empty one */
ngx_int_t ngx_http_broadcast_negotiate_value(ngx_http_request_t *r,
    ngx_http_broadcast_value_t *value, ngx_str_t *text);

/* the URL of the hub and the audience of tokens for it; returns the same */
ngx_int_t ngx_http_broadcast_negotiate_url(ngx_http_request_t *r,
    ngx_str_t *hub, ngx_str_t *url, ngx_str_t *aud);

/* scheme and host of the request: what an absolute URL begins with */
void ngx_http_broadcast_negotiate_host(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b);


#endif /* _NGX_HTTP_BROADCAST_NEGOTIATE_H_INCLUDED_ */
