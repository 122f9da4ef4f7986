
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_transport.h"
#include "transport/ngx_http_broadcast_socket.h"
#include "transport/ngx_http_broadcast_upgrade.h"
#include "proto/ngx_broadcast_deflate.h"
#include "proto/ngx_broadcast_ws.h"


/* WebSocket over HTTP/1.1, RFC 6455, with permessage-deflate, RFC 7692. */

#define NGX_HTTP_BROADCAST_WS_TURN  16      /* buffers read in a turn */

#define NGX_HTTP_BROADCAST_WS_UNSUPPORTED  1003


typedef struct {
    ngx_http_broadcast_socket_t  socket;
    ngx_broadcast_ws_parser_t    parser;
    ngx_uint_t                   peer_closed;   /* its close frame came, or
                                                   none is waited for */
} ngx_http_broadcast_ws_t;


/* a socket that takes a connection over; the bytes of the id stand behind */

typedef struct {
    ngx_http_broadcast_ws_t      ws;
    ngx_uint_t                   deflate;       /* bits, or 0 */
    time_t                       expires;
    ngx_str_t                    id;
} ngx_http_broadcast_ws_again_t;


static ngx_int_t ngx_http_broadcast_ws_begin(ngx_http_request_t *r,
    ngx_http_broadcast_ws_t *ws, ngx_broadcast_limits_t *limits,
    ngx_uint_t *deflate);
static void ngx_http_broadcast_ws_attach(ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_ws_reattach(ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_ws_read(ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_ws_feed(ngx_http_broadcast_socket_t *s,
    u_char *pos, u_char *last);
static void ngx_http_broadcast_ws_invalid(ngx_http_broadcast_ws_t *ws,
    ngx_broadcast_ws_event_t *ev);
static ngx_int_t ngx_http_broadcast_ws_inflate(ngx_http_broadcast_ws_t *ws,
    ngx_broadcast_ws_event_t *ev);
static void ngx_http_broadcast_ws_event(ngx_http_broadcast_ws_t *ws,
    ngx_broadcast_ws_event_t *ev);
static void ngx_http_broadcast_ws_pong(ngx_http_broadcast_ws_t *ws,
    ngx_str_t *payload);
static void ngx_http_broadcast_ws_flushed(ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_ws_finish(ngx_http_broadcast_ws_t *ws);
static void ngx_http_broadcast_ws_free(ngx_http_broadcast_socket_t *s);


static ngx_broadcast_transport_t  ngx_http_broadcast_ws_transport = {
    NGX_BROADCAST_WEBSOCKET,
    ngx_http_broadcast_socket_send,
    ngx_http_broadcast_socket_close,
    ngx_http_broadcast_socket_destroy,
    ngx_http_broadcast_socket_resume,
    NULL
};


static ngx_http_broadcast_socket_calls_t  ngx_http_broadcast_ws_calls = {
    ngx_http_broadcast_ws_attach,
    ngx_http_broadcast_ws_read,
    ngx_http_broadcast_ws_feed,
    ngx_http_broadcast_ws_flushed,
    ngx_http_broadcast_ws_free
};

static ngx_http_broadcast_socket_calls_t  ngx_http_broadcast_ws_again_calls = {
    ngx_http_broadcast_ws_reattach,
    ngx_http_broadcast_ws_read,
    ngx_http_broadcast_ws_feed,
    ngx_http_broadcast_ws_flushed,
    ngx_http_broadcast_ws_free
};


ngx_int_t
ngx_http_broadcast_websocket(ngx_http_request_t *r, ngx_broadcast_conn_t *bc)
{
    ngx_int_t                     rc;
    ngx_uint_t                    deflate;
    ngx_http_broadcast_socket_t  *s;

    s = ngx_http_broadcast_socket_create(r, bc, &ngx_http_broadcast_ws_calls,
                                         sizeof(ngx_http_broadcast_ws_t));
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* whatever fails from here on: the request's end closes bc */

    rc = ngx_http_broadcast_ws_begin(r, (ngx_http_broadcast_ws_t *) s,
                                     ngx_broadcast_conn_limits(bc), &deflate);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_broadcast_conn_set_deflate(bc, deflate);

    return ngx_http_broadcast_socket_begin(s);
}


/* bc may end before the 101 is sent: it is looked up again behind that */

ngx_int_t
ngx_http_broadcast_websocket_again(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc, time_t expires)
{
    ngx_int_t                       rc;
    ngx_str_t                      *id;
    ngx_http_broadcast_socket_t    *s;
    ngx_http_broadcast_ws_again_t  *again;

    id = ngx_broadcast_conn_id(bc);

    s = ngx_http_broadcast_socket_create(r, NULL,
                                 &ngx_http_broadcast_ws_again_calls,
                                 sizeof(ngx_http_broadcast_ws_again_t)
                                 + id->len);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    again = (ngx_http_broadcast_ws_again_t *) s;

    again->expires = expires;
    again->id.len = id->len;
    again->id.data = (u_char *) (again + 1);
    ngx_memcpy(again->id.data, id->data, id->len);

    rc = ngx_http_broadcast_ws_begin(r, &again->ws,
                                     ngx_broadcast_conn_limits(bc),
                                     &again->deflate);

    return rc == NGX_OK ? ngx_http_broadcast_socket_begin(s) : rc;
}


/* NGX_OK: the 101 is on its way, *deflate is what was agreed on */

static ngx_int_t
ngx_http_broadcast_ws_begin(ngx_http_request_t *r,
    ngx_http_broadcast_ws_t *ws, ngx_broadcast_limits_t *limits,
    ngx_uint_t *deflate)
{
    ngx_int_t                  rc;
    ngx_broadcast_extension_t  e;

    ngx_memzero(&e, sizeof(ngx_broadcast_extension_t));
    e.window = limits->deflate;

    rc = ngx_http_broadcast_upgrade(r, &e);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    ngx_broadcast_ws_init(&ws->parser, limits->message_size, e.server != 0);

    *deflate = e.server;

    return NGX_OK;
}


static void
ngx_http_broadcast_ws_attach(ngx_http_broadcast_socket_t *s)
{
    ngx_broadcast_conn_attach(s->bc, &ngx_http_broadcast_ws_transport, s);
}


static void
ngx_http_broadcast_ws_reattach(ngx_http_broadcast_socket_t *s)
{
    ngx_http_broadcast_ws_again_t  *again;

    again = (ngx_http_broadcast_ws_again_t *) s;

    s->bc = ngx_broadcast_conn_reattach(&again->id,
                                        &ngx_http_broadcast_ws_transport, s,
                                        again->deflate, again->expires);
}


static void
ngx_http_broadcast_ws_read(ngx_http_broadcast_socket_t *s)
{
    u_char      *buf;
    ssize_t      n;
    ngx_uint_t   i;

    for (i = 0; i < NGX_HTTP_BROADCAST_WS_TURN; i++) {

        /* a function is at work for it: the rest stays in the socket */

        if (ngx_broadcast_conn_paused(s->bc)) {

            if ((ngx_event_flags & NGX_USE_LEVEL_EVENT)
                && s->connection->read->active)
            {
                (void) ngx_del_event(s->connection->read, NGX_READ_EVENT, 0);
            }

            return;
        }

        n = ngx_http_broadcast_socket_recv(s, &buf);

        if (n < 0) {
            return;
        }

        if (s->finished) {
            continue;
        }

        ngx_broadcast_conn_alive(s->bc);
        ngx_http_broadcast_ws_feed(s, buf, buf + n);

        if (s->connection == NULL) {
            return;
        }
    }

    ngx_http_broadcast_socket_yield(s);
}


static void
ngx_http_broadcast_ws_feed(ngx_http_broadcast_socket_t *s, u_char *pos,
    u_char *last)
{
    ngx_int_t                  rc;
    ngx_http_broadcast_ws_t   *ws;
    ngx_broadcast_ws_event_t   ev;

    ws = (ngx_http_broadcast_ws_t *) s;

    for ( ;; ) {
        rc = ngx_broadcast_ws_feed(&ws->parser, &pos, last, &ev);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_OK && ev.deflated) {
            rc = ngx_http_broadcast_ws_inflate(ws, &ev);
        }

        if (rc != NGX_OK) {
            ngx_http_broadcast_ws_invalid(ws, &ev);
            return;
        }

        ngx_http_broadcast_ws_event(ws, &ev);

        if (s->connection == NULL) {
            return;
        }
    }
}


static void
ngx_http_broadcast_ws_invalid(ngx_http_broadcast_ws_t *ws,
    ngx_broadcast_ws_event_t *ev)
{
    ngx_str_t                     reason;
    ngx_http_broadcast_socket_t  *s;

    s = &ws->socket;

    ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                  "broadcast client sent an invalid frame: %s", ev->error);

    if (ev->close_code == NGX_BROADCAST_WS_TOO_BIG) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);
    }

    reason.data = (u_char *) ev->error;
    reason.len = ngx_strlen(ev->error);

    /* whatever it sends now is not read as frames any more */

    ws->parser.closed = 1;
    ws->peer_closed = 1;

    ngx_broadcast_conn_end(s->bc, NGX_BROADCAST_END_PROTOCOL, ev->close_code,
                           &reason);
    ngx_http_broadcast_ws_finish(ws);
}


/*
 * Without context takeover a message stands for itself: what the parser could
 * not check, its size and its UTF-8, is checked on what it becomes.
 */

static ngx_int_t
ngx_http_broadcast_ws_inflate(ngx_http_broadcast_ws_t *ws,
    ngx_broadcast_ws_event_t *ev)
{
    ngx_str_t  out;

    switch (ngx_broadcast_inflate(&ev->payload, ws->parser.limit, &out)) {

    case NGX_OK:
        break;

    case NGX_BUSY:
        ev->close_code = NGX_BROADCAST_WS_TOO_BIG;
        ev->error = "message too big";
        return NGX_ERROR;

    case NGX_DECLINED:
        ev->close_code = NGX_BROADCAST_WS_INVALID_DATA;
        ev->error = "message is not deflate data";
        return NGX_ERROR;

    default:
        ev->close_code = NGX_BROADCAST_WS_SERVER_ERROR;
        ev->error = "no memory for a message";
        return NGX_ERROR;
    }

    if (ev->type == NGX_BROADCAST_WS_TEXT && !ngx_broadcast_utf8_valid(&out)) {
        ev->close_code = NGX_BROADCAST_WS_INVALID_DATA;
        ev->error = "text is not UTF-8";
        return NGX_ERROR;
    }

    ev->payload = out;

    return NGX_OK;
}


/* may release the socket */

static void
ngx_http_broadcast_ws_event(ngx_http_broadcast_ws_t *ws,
    ngx_broadcast_ws_event_t *ev)
{
    ngx_http_broadcast_socket_t  *s;

    s = &ws->socket;

    switch (ev->type) {

    case NGX_BROADCAST_WS_BINARY:

#if (NGX_BROADCAST_DEBUG)
        if (ngx_broadcast_conn_protocol(s->bc) == NGX_BROADCAST_ECHO) {
            ngx_broadcast_conn_echo(s->bc, &ev->payload, 1);
            return;
        }
#endif

        if (ngx_broadcast_conn_protocol(s->bc) == NGX_BROADCAST_PLAIN) {
            ngx_broadcast_conn_end(s->bc, NGX_BROADCAST_END_PROTOCOL,
                                   NGX_HTTP_BROADCAST_WS_UNSUPPORTED, NULL);
            return;
        }

        /* fall through */

    case NGX_BROADCAST_WS_TEXT:
        ngx_broadcast_conn_input(s->bc, &ev->payload);
        return;

    case NGX_BROADCAST_WS_PING:
        ngx_http_broadcast_ws_pong(ws, &ev->payload);
        return;

    case NGX_BROADCAST_WS_CLOSE:
        ws->peer_closed = 1;

        ngx_broadcast_conn_end(s->bc, NGX_BROADCAST_END_CLIENT, ev->code,
                               NULL);
        ngx_http_broadcast_ws_finish(ws);
        return;
    }
}


static void
ngx_http_broadcast_ws_pong(ngx_http_broadcast_ws_t *ws, ngx_str_t *payload)
{
    u_char  buf[NGX_BROADCAST_WS_HEADER_MAX + NGX_BROADCAST_WS_CONTROL_MAX];
    size_t  len;

    if (ws->socket.closing) {
        return;
    }

    len = ngx_broadcast_ws_header(buf, NGX_BROADCAST_WS_PONG, 1, payload->len);

    ngx_memcpy(buf + len, payload->data, payload->len);

    (void) ngx_broadcast_conn_control(ws->socket.bc, buf, len + payload->len);
}


/* our close frame is sent */

static void
ngx_http_broadcast_ws_flushed(ngx_http_broadcast_socket_t *s)
{
    if (((ngx_http_broadcast_ws_t *) s)->peer_closed) {
        ngx_http_broadcast_socket_finish(s);
    }
}


/* the peer has closed; have we, and is it sent? */

static void
ngx_http_broadcast_ws_finish(ngx_http_broadcast_ws_t *ws)
{
    ngx_http_broadcast_socket_t  *s;

    s = &ws->socket;

    if (s->connection
        && s->closing
        && ngx_broadcast_outq_size(s->bc) == 0
        && !s->connection->buffered)
    {
        ngx_http_broadcast_socket_finish(s);
    }
}


static void
ngx_http_broadcast_ws_free(ngx_http_broadcast_socket_t *s)
{
    ngx_broadcast_ws_reset(&((ngx_http_broadcast_ws_t *) s)->parser);
}
