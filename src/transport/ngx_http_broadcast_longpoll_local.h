
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_LONGPOLL_LOCAL_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_LONGPOLL_LOCAL_H_INCLUDED_


#include "transport/ngx_http_broadcast_transport.h"
#include "conn/ngx_broadcast_move.h"


/* a poll; for transport/ngx_http_broadcast_longpoll*.c only */

typedef struct {
    ngx_http_request_t     *request;        /* borrowed: it frees this */
    ngx_broadcast_conn_t   *bc;             /* while waiting or answered */
    ngx_broadcast_move_t   *move;           /* while moving */
    time_t                  expires;
    ngx_msec_t              hold;
    ngx_event_t             timer;
    size_t                  taken;          /* bytes of the queue in the answer,
                                               0: not answered, or empty */
    unsigned                answered:1;
    unsigned                inside:1;       /* the request's own handler waits
                                               for what is done */
} ngx_http_broadcast_poll_t;


/* ngx_http_broadcast_longpoll.c */

/* of the request, whose cleanup data is the poll */
void ngx_http_broadcast_poll_cleanup(void *data);

/* the connection, which goes on without this poll; NULL: it has none */
ngx_broadcast_conn_t *ngx_http_broadcast_poll_detach(
    ngx_http_broadcast_poll_t *poll);

/* closes it if nothing more is to be said, and who had to hear it has */
void ngx_http_broadcast_poll_last(ngx_broadcast_conn_t *bc);


/* ngx_http_broadcast_longpoll_answer.c */

/* answers a poll that waits; it may be over behind it.  type: NULL is none */
void ngx_http_broadcast_poll_answer(ngx_http_broadcast_poll_t *poll,
    ngx_uint_t status, const char *type, ngx_str_t *body);

/* the same for a request that need not wait; what a content handler returns */
ngx_int_t ngx_http_broadcast_poll_reply(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, ngx_str_t *body);

/* finalizes the request: the poll is gone */
void ngx_http_broadcast_poll_end(ngx_http_broadcast_poll_t *poll,
    ngx_int_t rc);


#endif /* _NGX_HTTP_BROADCAST_LONGPOLL_LOCAL_H_INCLUDED_ */
