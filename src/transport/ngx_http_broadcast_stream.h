
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_STREAM_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_STREAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "conn/ngx_broadcast_conn.h"


/*
 * An answer that never ends through nginx's output filters, for HTTP/2 and
 * HTTP/3, where the connection is the protocol's and the request has to stay.
 * The header and the first bytes were sent.  Returns what a content handler
 * returns; whatever happens, bc is closed with the request.
 */
ngx_int_t ngx_http_broadcast_stream(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc);


#endif /* _NGX_HTTP_BROADCAST_STREAM_H_INCLUDED_ */
