
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_UPGRADE_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_UPGRADE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "proto/ngx_broadcast_extension.h"


/*
 * Sends the 101 of a request that ngx_http_broadcast_websocket_check() found
 * good, with what is accepted of its extensions: e has the window on entry, and
 * the result on return.  Returns what ngx_http_send_header() does.
 */
ngx_int_t ngx_http_broadcast_upgrade(ngx_http_request_t *r,
    ngx_broadcast_extension_t *e);


#endif /* _NGX_HTTP_BROADCAST_UPGRADE_H_INCLUDED_ */
