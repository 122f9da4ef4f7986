
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_MASK_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_MASK_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


/*
 * Points text to a copy with masked values of access_token, if it has any;
 * text is a query, a URI or a line that has one in it.  NGX_ERROR: no memory,
 * text is empty then.
 */
ngx_int_t ngx_http_broadcast_mask(ngx_pool_t *pool, ngx_str_t *text);


#endif /* _NGX_HTTP_BROADCAST_MASK_H_INCLUDED_ */
