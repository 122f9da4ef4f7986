
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_HUB_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_HUB_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


/* ngx_http_broadcast_hub_id.c: the id that a request names */

/* what the last byte of a negotiated id tells */

#define NGX_HTTP_BROADCAST_ID_WHOLE     0x01    /* the token is the public id:
                                                   negotiate version 0 */
#define NGX_HTTP_BROADCAST_ID_STATEFUL  0x02    /* a stateful reconnect was
                                                   granted */
#define NGX_HTTP_BROADCAST_ID_BITS      0x03


typedef struct {
    ngx_str_t                 token;       /* as the client gave it */
    ngx_str_t                 id;          /* public id of the connection */
    time_t                    expires;     /* of the token */
    ngx_uint_t                stateful;    /* negotiate granted it */
    ngx_broadcast_row_info_t  row;         /* of a connection that it opened,
                                              else FREE */
} ngx_http_broadcast_hub_id_t;


/*
 * The connection token of the request, proved, in *id; ctx has id and user
 * then.  *answered: there is none that counts, the return is the handler's.
 */
ngx_int_t ngx_http_broadcast_hub_id(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id, ngx_uint_t *answered);

/* 404 with the reference server's words */
ngx_int_t ngx_http_broadcast_hub_no_connection(ngx_http_request_t *r);

/* 409 while the id's connection lives, else 404 */
ngx_int_t ngx_http_broadcast_in_use(ngx_http_request_t *r, ngx_str_t *id);


/* ngx_http_broadcast_hub_negotiate.c */

/* ids and transports; ctx has hub and user */
ngx_int_t ngx_http_broadcast_hub_negotiate(ngx_http_request_t *r);


/* ngx_http_broadcast_hub_post.c */

/* what the client of an event stream or of polls says */
ngx_int_t ngx_http_broadcast_hub_post(ngx_http_request_t *r);


/* ngx_http_broadcast_again.c */

/* another WebSocket takes over the stateful connection of a LIVE row */
ngx_int_t ngx_http_broadcast_again(ngx_http_request_t *r, ngx_str_t *id,
    ngx_broadcast_row_info_t *row);


#endif /* _NGX_HTTP_BROADCAST_HUB_H_INCLUDED_ */
