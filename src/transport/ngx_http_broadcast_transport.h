
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_TRANSPORT_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_TRANSPORT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "conn/ngx_broadcast_conn.h"


/*
 * The handlers of http/ have checked token, hub, origin and limits, and
 * opened bc; these functions answer the request and take it from there.
 * Each returns what a content handler returns (NGX_DONE with the count
 * raised, or a status: then bc was closed).
 */

/*
 * 1: an upgrade request that can be accepted; 0: not an upgrade;
 * NGX_HTTP_…: refuse with it (400 bad key, 426 with Sec-WebSocket-Version).
 */
ngx_int_t ngx_http_broadcast_websocket_check(ngx_http_request_t *r);

/* sends the 101, takes the connection over (or keeps r where it may not) */
ngx_int_t ngx_http_broadcast_websocket(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc);

/*
 * The same for a socket that takes over bc, which is stateful, from another
 * one, as soon as the 101 is sent; expires is of the token, for bc.
 */
ngx_int_t ngx_http_broadcast_websocket_again(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc, time_t expires);

/* sends 200 text/event-stream; takes over on HTTP/1.x, keeps r on h2, h3 */
ngx_int_t ngx_http_broadcast_sse(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc);

/* NGX_BROADCAST_FRAME_SSE or _SSE_CHUNK for this request */
ngx_uint_t ngx_http_broadcast_sse_framing(ngx_http_request_t *r);

/* the first poll of a connection: 200 at once, empty, signalr.md 2.4 */
ngx_int_t ngx_http_broadcast_longpoll_open(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc);


typedef struct {
    ngx_str_t                  id;
    ngx_broadcast_row_info_t  *row;         /* LIVE, of this transport */
    ngx_broadcast_limits_t    *limits;
    time_t                     expires;     /* of this poll's token, 0: never */
    ngx_msec_t                 hold;        /* longest wait */
} ngx_http_broadcast_longpoll_t;

/* any later one, whichever worker has the connection */
ngx_int_t ngx_http_broadcast_longpoll(ngx_http_request_t *r,
    ngx_http_broadcast_longpoll_t *lp);


#endif /* _NGX_HTTP_BROADCAST_TRANSPORT_H_INCLUDED_ */
