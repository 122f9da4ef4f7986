
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_socket.h"


#define NGX_HTTP_BROADCAST_SEND   65536     /* bytes given to one writev() */

#if (NGX_HTTP_SSL)
#define ngx_http_broadcast_socket_plain(c)  ((c)->ssl == NULL)
#else
#define ngx_http_broadcast_socket_plain(c)  1
#endif


static ngx_int_t ngx_http_broadcast_socket_write(ngx_connection_t *c,
    ngx_chain_t *in, size_t *sent);


ngx_int_t
ngx_http_broadcast_socket_send(ngx_broadcast_conn_t *bc)
{
    size_t                        n;
    ngx_int_t                     rc;
    ngx_chain_t                  *in;
    ngx_connection_t             *c;
    ngx_http_broadcast_socket_t  *s;

    s = ngx_broadcast_conn_transport_data(bc);
    c = s->connection;

    if (c == NULL || c->error) {
        return NGX_ERROR;
    }

    for ( ;; ) {
        in = ngx_broadcast_outq_chain(bc, NGX_HTTP_BROADCAST_SEND);

        if (in == NULL && !c->buffered) {
            break;
        }

        if (!c->write->ready) {
            goto again;
        }

        rc = ngx_http_broadcast_socket_write(c, in, &n);

        if (rc == NGX_ERROR) {
            c->error = 1;
            return NGX_ERROR;
        }

        if (n) {
            ngx_broadcast_outq_sent(bc, n);
        }

        if (rc == NGX_AGAIN) {
            goto again;
        }
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif

    if (ngx_event_flags & NGX_USE_LEVEL_EVENT) {
        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (s->closing) {
        s->calls->flushed(s);
    }

    return NGX_OK;

again:

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


/*
 * NGX_OK: all of it; NGX_AGAIN: sent bytes of it.  Mostly there is one frame,
 * and for one buffer send() is the cheaper call.  TLS wants the chain: it keeps
 * back what has no flush.
 */

static ngx_int_t
ngx_http_broadcast_socket_write(ngx_connection_t *c, ngx_chain_t *in,
    size_t *sent)
{
    size_t        size;
    ssize_t       n;
    ngx_chain_t  *cl, *out;

    *sent = 0;

    if (in && in->next == NULL && ngx_http_broadcast_socket_plain(c)) {
        size = in->buf->last - in->buf->pos;

        n = c->send(c, in->buf->pos, size);

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n < 0) {
            return NGX_ERROR;
        }

        *sent = n;

        return (size_t) n == size ? NGX_OK : NGX_AGAIN;
    }

    out = c->send_chain(c, in, 0);

    if (out == NGX_CHAIN_ERROR) {
        return NGX_ERROR;
    }

    for (cl = in; cl; cl = cl->next) {
        *sent += cl->buf->pos - cl->buf->start;
    }

    return (out || c->buffered) ? NGX_AGAIN : NGX_OK;
}
