
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_SOCKET_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_SOCKET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "conn/ngx_broadcast_conn.h"


/*
 * The client's socket behind the answer's header: bytes go straight to it,
 * past nginx's filters, and its events come here.
 *
 * The request is finished and freed where that is allowed; then the socket's
 * connection is ours.  Else it is kept for nothing but its memory, the
 * connection stays the request's, and everything else is the same.
 *
 *     begin -- answer flushed --> attached -- close() --> closing
 *                                    |                       |  all is sent
 *                                    |                       v
 *                                    |                   finished: no more
 *                                    |                   writes, wait for EOF
 *                                    v                       v
 *                                  released: connection is NULL
 */

typedef struct ngx_http_broadcast_socket_s  ngx_http_broadcast_socket_t;

/* what the transports do each in their way */

typedef struct {

    /* the socket is ours: makes it the connection's; sets bc, or leaves it */
    void                      (*attach)(ngx_http_broadcast_socket_t *s);

    /* bytes that came; called with every read event */
    void                      (*read)(ngx_http_broadcast_socket_t *s);

    /* bytes that came behind the request; may be NULL */
    void                      (*early)(ngx_http_broadcast_socket_t *s,
                                       u_char *pos, u_char *last);

    /* closing, and all that was queued is sent */
    void                      (*flushed)(ngx_http_broadcast_socket_t *s);

    /* frees what is behind this head; may be NULL */
    void                      (*free)(ngx_http_broadcast_socket_t *s);

} ngx_http_broadcast_socket_calls_t;


/*
 * Where nothing stands in the way the connection gives up its pool, too: what
 * it needs of it, its log and addresses, stands here and behind `size` bytes.
 */

struct ngx_http_broadcast_socket_s {
    ngx_connection_t           *connection;     /* owned, or kept request's;
                                                   NULL: released */
    ngx_broadcast_conn_t       *bc;             /* NULL: closed, or to be found
                                                   by attach() */
    ngx_http_broadcast_socket_calls_t  *calls;  /* static */
    ngx_http_request_t         *request;        /* until it is freed, or kept */

    union {
        ngx_event_t            *event;          /* in the request's pool: the
                                                   takeover, NULL behind it */
        ngx_http_broadcast_socket_t  *next;     /* of the released */
    };

    ngx_log_t                   log;            /* the connection's, if it has
                                                   no pool */
    uint32_t                    size;           /* of what begins with this */
    uint16_t                    room;           /* behind it, for addresses */
    unsigned                    closing:1;
    unsigned                    finished:1;
};


/*
 * Memory of `size` bytes that begins with a socket for r and bc; from here on
 * the request's end is the connection's.  NULL: no memory, bc was closed.  bc
 * is NULL where attach() will find it.
 */
ngx_http_broadcast_socket_t *ngx_http_broadcast_socket_create(
    ngx_http_request_t *r, ngx_broadcast_conn_t *bc,
    ngx_http_broadcast_socket_calls_t *calls, size_t size);

/* the socket of a request that was not freed, or NULL */
ngx_http_broadcast_socket_t *ngx_http_broadcast_socket_of(
    ngx_http_request_t *r);

/* from now on the request's end is not the connection's */
void ngx_http_broadcast_socket_forget(ngx_http_request_t *r);

/*
 * The header was handed to the filters with a flush.  Returns NGX_DONE: the
 * takeover follows from a posted event, as soon as the header is sent.
 */
ngx_int_t ngx_http_broadcast_socket_begin(ngx_http_broadcast_socket_t *s);

/* the transport's functions that all sockets share */
ngx_int_t ngx_http_broadcast_socket_send(ngx_broadcast_conn_t *bc);
void ngx_http_broadcast_socket_close(ngx_broadcast_conn_t *bc);
void ngx_http_broadcast_socket_destroy(ngx_broadcast_conn_t *bc);
void ngx_http_broadcast_socket_resume(ngx_broadcast_conn_t *bc);

/* attached: frames may go past send() from now on, if the socket is bare */
void ngx_http_broadcast_socket_bare(ngx_http_broadcast_socket_t *s);

/* nothing more will be written: shuts that side, EOF or the clock ends it */
void ngx_http_broadcast_socket_finish(ngx_http_broadcast_socket_t *s);

/* the peer is gone, or everything is said: releases, tells the connection */
void ngx_http_broadcast_socket_gone(ngx_http_broadcast_socket_t *s);

/*
 * Reads into a buffer of this worker: bytes, NGX_AGAIN (the event is armed),
 * or NGX_DONE: EOF or error, the socket was released.
 */
ssize_t ngx_http_broadcast_socket_recv(ngx_http_broadcast_socket_t *s,
    u_char **buf);

/* lets other events go first: the read event is posted */
void ngx_http_broadcast_socket_yield(ngx_http_broadcast_socket_t *s);


#endif /* _NGX_HTTP_BROADCAST_SOCKET_H_INCLUDED_ */
