
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_socket.h"


#define NGX_HTTP_BROADCAST_RECV  16384      /* bytes of the shared buffer */


static ngx_http_cleanup_t *ngx_http_broadcast_socket_hook(
    ngx_http_request_t *r);
static void ngx_http_broadcast_socket_cleanup(void *data);
static void ngx_http_broadcast_socket_end(ngx_http_broadcast_socket_t *s,
    ngx_uint_t drained);
static void ngx_http_broadcast_socket_release(
    ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_socket_shut(ngx_connection_t *c);
static void ngx_http_broadcast_socket_bury(ngx_event_t *ev);


/* what came is taken out of it before anybody else reads */

static u_char  ngx_http_broadcast_recv_buffer[NGX_HTTP_BROADCAST_RECV];

/* released sockets, which somebody on the stack may still look at */

static ngx_http_broadcast_socket_t  *ngx_http_broadcast_released;
static ngx_event_t                   ngx_http_broadcast_released_event;


ngx_http_broadcast_socket_t *
ngx_http_broadcast_socket_create(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc, ngx_http_broadcast_socket_calls_t *calls,
    size_t size)
{
    size_t                        room;
    ngx_connection_t             *c;
    ngx_http_cleanup_t           *cln;
    ngx_http_broadcast_socket_t  *s;

    c = r->connection;

    /*
     * realip has perhaps put others in place of the addresses, until the
     * request's end; one of a Unix socket is shorter than any of those
     */

    room = (c->listening->sockaddr->sa_family == AF_UNIX)
           ? c->socklen + c->addr_text.len
           : c->listening->socklen + c->listening->addr_text_max_len;

    size = ngx_align(size, NGX_ALIGNMENT);

    s = ngx_calloc(size + room, c->log);

    if (s == NULL) {
        goto failed;
    }

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL) {
        ngx_free(s);
        goto failed;
    }

    cln->handler = ngx_http_broadcast_socket_cleanup;
    cln->data = s;

    s->connection = c;
    s->request = r;
    s->bc = bc;
    s->calls = calls;
    s->size = (uint32_t) size;
    s->room = (uint16_t) room;

    return s;

failed:

    if (bc) {
        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_ERROR);
    }

    return NULL;
}


static ngx_http_cleanup_t *
ngx_http_broadcast_socket_hook(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;

    for (cln = r->main->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_broadcast_socket_cleanup) {
            return cln;
        }
    }

    return NULL;
}


ngx_http_broadcast_socket_t *
ngx_http_broadcast_socket_of(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_broadcast_socket_hook(r);

    return cln ? cln->data : NULL;
}


void
ngx_http_broadcast_socket_forget(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_broadcast_socket_hook(r);

    if (cln) {
        cln->handler = NULL;
    }
}


/* the request ends, and we were not asked */

static void
ngx_http_broadcast_socket_cleanup(void *data)
{
    ngx_http_broadcast_socket_t *s = data;

    ngx_uint_t  drained;

    drained = s->connection->close;

    /* the request closes the connection itself */

    s->request = NULL;
    s->connection = NULL;

    ngx_http_broadcast_socket_end(s, drained);
}


void
ngx_http_broadcast_socket_close(ngx_broadcast_conn_t *bc)
{
    ngx_http_broadcast_socket_t  *s;

    s = ngx_broadcast_conn_transport_data(bc);

    s->closing = 1;

    if (ngx_http_broadcast_socket_send(bc) == NGX_ERROR) {
        ngx_http_broadcast_socket_gone(s);
    }
}


void
ngx_http_broadcast_socket_destroy(ngx_broadcast_conn_t *bc)
{
    ngx_http_broadcast_socket_t  *s;

    s = ngx_broadcast_conn_transport_data(bc);

    s->bc = NULL;
    ngx_broadcast_conn_bare(bc, (ngx_socket_t) -1);

#if (NGX_HTTP_SSL)
    if (s->connection && s->connection->ssl) {
        s->connection->ssl->no_wait_shutdown = 1;
        s->connection->ssl->no_send_shutdown = 1;
    }
#endif

    ngx_http_broadcast_socket_release(s);
}


void
ngx_http_broadcast_socket_resume(ngx_broadcast_conn_t *bc)
{
    ngx_http_broadcast_socket_t  *s;

    s = ngx_broadcast_conn_transport_data(bc);

    if (s->connection == NULL) {
        return;
    }

    if (s->connection->read->ready) {
        ngx_http_broadcast_socket_yield(s);
        return;
    }

    if (ngx_handle_read_event(s->connection->read, 0) != NGX_OK) {

        /* the caller's stack looks at bc: the clock ends it */

        s->connection->error = 1;
        ngx_broadcast_conn_bare(bc, (ngx_socket_t) -1);
    }
}


void
ngx_http_broadcast_socket_bare(ngx_http_broadcast_socket_t *s)
{
    ngx_connection_t  *c;

    c = s->connection;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        return;
    }
#endif

    if (s->request || !(ngx_event_flags & NGX_USE_CLEAR_EVENT)) {
        return;
    }

    ngx_broadcast_conn_bare(s->bc, c->fd);
}


void
ngx_http_broadcast_socket_yield(ngx_http_broadcast_socket_t *s)
{
    ngx_event_t  *rev;

    rev = s->connection->read;

    if (!rev->posted) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }
}


ssize_t
ngx_http_broadcast_socket_recv(ngx_http_broadcast_socket_t *s, u_char **buf)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = s->connection;

    n = c->recv(c, ngx_http_broadcast_recv_buffer, NGX_HTTP_BROADCAST_RECV);

    *buf = ngx_http_broadcast_recv_buffer;

    if (n > 0) {
        return n;
    }

    if (n == NGX_AGAIN) {

        if (ngx_handle_read_event(c->read, 0) == NGX_OK) {
            return NGX_AGAIN;
        }
    }

#if (NGX_HTTP_SSL)
    if (c->ssl && n == NGX_ERROR) {
        c->ssl->no_send_shutdown = 1;
    }
#endif

    ngx_http_broadcast_socket_gone(s);

    return NGX_DONE;
}


void
ngx_http_broadcast_socket_finish(ngx_http_broadcast_socket_t *s)
{
    ngx_connection_t  *c;

    c = s->connection;

    if (c == NULL || s->finished) {
        return;
    }

    s->finished = 1;

#if (NGX_HTTP_SSL)

    /* close_notify ends it; half a TLS connection is of no use to anybody */

    if (c->ssl) {
        ngx_http_broadcast_socket_gone(s);
        return;
    }

#endif

    /*
     * Closing with unread bytes would reset the connection, and the peer might
     * lose what it was told last: read to the end.
     */

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_connection_error(c, ngx_socket_errno,
                             ngx_shutdown_socket_n " failed");
        ngx_http_broadcast_socket_gone(s);
        return;
    }

    if (!c->read->posted) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


void
ngx_http_broadcast_socket_gone(ngx_http_broadcast_socket_t *s)
{
    ngx_http_broadcast_socket_end(s, s->connection && s->connection->close);
}


/* drained: worker_shutdown_timeout is over, it was not the client */

static void
ngx_http_broadcast_socket_end(ngx_http_broadcast_socket_t *s,
    ngx_uint_t drained)
{
    ngx_broadcast_conn_t  *bc;

    bc = s->bc;
    s->bc = NULL;

    if (bc) {
        ngx_broadcast_conn_bare(bc, (ngx_socket_t) -1);
    }

    ngx_http_broadcast_socket_release(s);

    if (bc == NULL) {
        return;
    }

    if (drained) {
        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_DRAIN);

    } else {
        ngx_broadcast_conn_lost(bc);
    }
}


static void
ngx_http_broadcast_socket_release(ngx_http_broadcast_socket_t *s)
{
    ngx_event_t         *ev;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = s->connection;
    r = s->request;

    s->connection = NULL;
    s->request = NULL;

    if (s->event) {
        if (s->event->posted) {
            ngx_delete_posted_event(s->event);
        }

        s->event = NULL;
    }

    if (r) {
        ngx_http_broadcast_socket_forget(r);

        c->error = 1;

        ngx_http_finalize_request(r, NGX_ERROR);
        ngx_http_run_posted_requests(c);

    } else if (c) {
        ngx_http_broadcast_socket_shut(c);
    }

    s->next = ngx_http_broadcast_released;
    ngx_http_broadcast_released = s;

    ev = &ngx_http_broadcast_released_event;

    ev->handler = ngx_http_broadcast_socket_bury;
    ev->log = ngx_cycle->log;

    if (!ev->posted) {
        ngx_post_event(ev, &ngx_posted_events);
    }
}


/* as ngx_http_close_connection(), which wants a pool */

static void
ngx_http_broadcast_socket_shut(ngx_connection_t *c)
{
    if (c->pool) {
        ngx_http_close_connection(c);
        return;
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    c->destroyed = 1;

    ngx_close_connection(c);
}


static void
ngx_http_broadcast_socket_bury(ngx_event_t *ev)
{
    ngx_http_broadcast_socket_t  *s;

    while (ngx_http_broadcast_released) {
        s = ngx_http_broadcast_released;
        ngx_http_broadcast_released = s->next;

        if (s->calls->free) {
            s->calls->free(s);
        }

        ngx_free(s);
    }
}
