
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_transport.h"
#include "transport/ngx_http_broadcast_socket.h"
#include "proto/ngx_broadcast_ws.h"
#include "base/ngx_broadcast_compat.h"


/* WebSocket over HTTP/1.1, RFC 6455. */

#define NGX_HTTP_BROADCAST_WS_TURN  16      /* buffers read in a turn */

#define NGX_HTTP_BROADCAST_WS_UNSUPPORTED  1003


typedef struct {
    ngx_http_broadcast_socket_t  socket;
    ngx_broadcast_ws_parser_t    parser;
    ngx_uint_t                   peer_closed;   /* its close frame came, or
                                                   none is waited for */
} ngx_http_broadcast_ws_t;


static ngx_uint_t ngx_http_broadcast_ws_token(ngx_str_t *list,
    const char *token);
static ngx_table_elt_t *ngx_http_broadcast_ws_header(ngx_http_request_t *r,
    const char *name, size_t len);
static ngx_int_t ngx_http_broadcast_ws_answer(ngx_http_request_t *r,
    const char *name, u_char *value, size_t len);
static ngx_int_t ngx_http_broadcast_ws_101(ngx_http_request_t *r);
static void ngx_http_broadcast_ws_read(ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_ws_feed(ngx_http_broadcast_socket_t *s,
    u_char *pos, u_char *last);
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
    ngx_http_broadcast_socket_resume
};


#define ngx_http_broadcast_ws_in(r, name)                                     \
    ngx_http_broadcast_ws_header(r, name, sizeof(name) - 1)


ngx_int_t
ngx_http_broadcast_websocket_check(ngx_http_request_t *r)
{
    u_char            accept[NGX_BROADCAST_WS_ACCEPT_LEN];
    ngx_table_elt_t  *h;

    h = r->headers_in.upgrade;

    if (h == NULL || !ngx_http_broadcast_ws_token(&h->value, "websocket")) {
        return 0;
    }

    if (r != r->main
        || r->method != NGX_HTTP_GET
        || r->http_version != NGX_HTTP_VERSION_11
        || r->headers_in.content_length_n > 0
        || r->headers_in.chunked)
    {
        return NGX_HTTP_BAD_REQUEST;
    }

    /* before 1.23.0 nginx does not keep the header's place */

    h = ngx_http_broadcast_ws_in(r, "connection");

    if (h == NULL || !ngx_http_broadcast_ws_token(&h->value, "upgrade")) {
        return NGX_HTTP_BAD_REQUEST;
    }

    h = ngx_http_broadcast_ws_in(r, "sec-websocket-version");

    if (h == NULL || h->value.len != 2
        || ngx_strncmp(h->value.data, "13", 2) != 0)
    {
        if (ngx_http_broadcast_ws_answer(r, "Sec-WebSocket-Version",
                                         (u_char *) "13", 2)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return 426;
    }

    h = ngx_http_broadcast_ws_in(r, "sec-websocket-key");

    if (h == NULL || ngx_broadcast_ws_accept(&h->value, accept) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    return 1;
}


/* one of the names in a list that is separated by commas, ignoring case */

static ngx_uint_t
ngx_http_broadcast_ws_token(ngx_str_t *list, const char *token)
{
    u_char  *p, *last, *start, *end;
    size_t   len;

    len = ngx_strlen(token);

    p = list->data;
    last = p + list->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        start = p;

        while (p < last && *p != ',') {
            p++;
        }

        end = p;

        while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        if ((size_t) (end - start) == len
            && ngx_strncasecmp(start, (u_char *) token, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_table_elt_t *
ngx_http_broadcast_ws_header(ngx_http_request_t *r, const char *name,
    size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }
}


static ngx_int_t
ngx_http_broadcast_ws_answer(ngx_http_request_t *r, const char *name,
    u_char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_broadcast_header_single(h);

    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = value;
    h->value.len = len;

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_websocket(ngx_http_request_t *r, ngx_broadcast_conn_t *bc)
{
    ngx_int_t                     rc;
    ngx_broadcast_limits_t       *limits;
    ngx_http_broadcast_ws_t      *ws;
    ngx_http_broadcast_socket_t  *s;

    s = ngx_http_broadcast_socket_create(r, bc,
                                         sizeof(ngx_http_broadcast_ws_t));
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ws = (ngx_http_broadcast_ws_t *) s;

    s->transport = &ngx_http_broadcast_ws_transport;
    s->read = ngx_http_broadcast_ws_read;
    s->early = ngx_http_broadcast_ws_feed;
    s->flushed = ngx_http_broadcast_ws_flushed;
    s->free = ngx_http_broadcast_ws_free;

    limits = ngx_broadcast_conn_limits(bc);
    ngx_broadcast_ws_init(&ws->parser, limits->message_size, 0);

    /* whatever fails from here on: the request's end closes bc */

    rc = ngx_http_broadcast_ws_101(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    return ngx_http_broadcast_socket_begin(s);
}


static ngx_int_t
ngx_http_broadcast_ws_101(ngx_http_request_t *r)
{
    u_char           *accept;
    ngx_int_t         rc;
    ngx_table_elt_t  *h;

    h = ngx_http_broadcast_ws_in(r, "sec-websocket-key");

    accept = ngx_pnalloc(r->pool, NGX_BROADCAST_WS_ACCEPT_LEN);

    if (accept == NULL
        || h == NULL
        || ngx_broadcast_ws_accept(&h->value, accept) != NGX_OK
        || ngx_http_broadcast_ws_answer(r, "Upgrade", (u_char *) "websocket",
                                        sizeof("websocket") - 1)
           != NGX_OK
        || ngx_http_broadcast_ws_answer(r, "Sec-WebSocket-Accept", accept,
                                        NGX_BROADCAST_WS_ACCEPT_LEN)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    r->keepalive = 0;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    rc = ngx_http_send_special(r, NGX_HTTP_FLUSH);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
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
    ngx_str_t                  reason;
    ngx_http_broadcast_ws_t   *ws;
    ngx_broadcast_ws_event_t   ev;

    ws = (ngx_http_broadcast_ws_t *) s;

    for ( ;; ) {
        rc = ngx_broadcast_ws_feed(&ws->parser, &pos, last, &ev);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                          "broadcast client sent an invalid frame: %s",
                          ev.error);

            if (ev.close_code == NGX_BROADCAST_WS_TOO_BIG) {
                ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);
            }

            reason.data = (u_char *) ev.error;
            reason.len = ngx_strlen(ev.error);

            /* whatever it sends now is not read as frames any more */

            ws->peer_closed = 1;

            ngx_broadcast_conn_end(s->bc, NGX_BROADCAST_END_PROTOCOL,
                                   ev.close_code, &reason);
            ngx_http_broadcast_ws_finish(ws);
            return;
        }

        ngx_http_broadcast_ws_event(ws, &ev);

        if (s->connection == NULL) {
            return;
        }
    }
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
