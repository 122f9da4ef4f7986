
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_transport.h"
#include "transport/ngx_http_broadcast_socket.h"
#include "transport/ngx_http_broadcast_stream.h"
#include "proto/ngx_broadcast_sse.h"
#include "base/ngx_broadcast_compat.h"


/* Server-Sent Events, signalr.md 2.3. */

#define NGX_HTTP_BROADCAST_SSE_TURN  4      /* buffers read in a turn */


static ngx_int_t ngx_http_broadcast_sse_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_sse_open(ngx_http_request_t *r);
static void ngx_http_broadcast_sse_attach(ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_sse_attach_chunked(
    ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_sse_read(ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_sse_close_chunked(ngx_broadcast_conn_t *bc);


static ngx_broadcast_transport_t  ngx_http_broadcast_sse_transport = {
    NGX_BROADCAST_SSE,
    ngx_http_broadcast_socket_send,
    ngx_http_broadcast_socket_close,
    ngx_http_broadcast_socket_destroy,
    ngx_http_broadcast_socket_resume,
    NULL
};

static ngx_broadcast_transport_t  ngx_http_broadcast_sse_chunked = {
    NGX_BROADCAST_SSE,
    ngx_http_broadcast_socket_send,
    ngx_http_broadcast_sse_close_chunked,
    ngx_http_broadcast_socket_destroy,
    ngx_http_broadcast_socket_resume,
    NULL
};


static ngx_http_broadcast_socket_calls_t  ngx_http_broadcast_sse_calls = {
    ngx_http_broadcast_sse_attach,
    ngx_http_broadcast_sse_read,
    NULL,
    ngx_http_broadcast_socket_finish,
    NULL
};

static ngx_http_broadcast_socket_calls_t
                                     ngx_http_broadcast_sse_chunked_calls = {
    ngx_http_broadcast_sse_attach_chunked,
    ngx_http_broadcast_sse_read,
    NULL,
    ngx_http_broadcast_socket_finish,
    NULL
};


static ngx_str_t  ngx_http_broadcast_sse_headers[] = {
    ngx_string("Cache-Control"), ngx_string("no-cache,no-store"),
    ngx_string("Pragma"), ngx_string("no-cache"),
    ngx_string("X-Accel-Buffering"), ngx_string("no"),
    ngx_null_string
};


ngx_uint_t
ngx_http_broadcast_sse_framing(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return r->http_version == NGX_HTTP_VERSION_11
           && clcf->chunked_transfer_encoding
           ? NGX_BROADCAST_FRAME_SSE_CHUNK
           : NGX_BROADCAST_FRAME_SSE;
}


ngx_int_t
ngx_http_broadcast_sse(ngx_http_request_t *r, ngx_broadcast_conn_t *bc)
{
    ngx_int_t                     rc;
    ngx_http_broadcast_socket_t  *s;

    s = NULL;

    /* who sends a body with it has to wait for nothing */

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK || r->discard_body) {
        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_CLIENT);
        return rc != NGX_OK ? rc : NGX_HTTP_BAD_REQUEST;
    }

    if (r->http_version <= NGX_HTTP_VERSION_11) {

        s = ngx_http_broadcast_socket_create(r, bc,
                                       ngx_http_broadcast_sse_framing(r)
                                       == NGX_BROADCAST_FRAME_SSE_CHUNK
                                       ? &ngx_http_broadcast_sse_chunked_calls
                                       : &ngx_http_broadcast_sse_calls,
                                       sizeof(ngx_http_broadcast_socket_t));
        if (s == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        r->keepalive = 0;
    }

    rc = ngx_http_broadcast_sse_header(r);

    if (rc != NGX_OK || r->header_only) {

        if (s == NULL) {
            ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_CLIENT);
        }

        return rc;
    }

    if (s) {
        return ngx_http_broadcast_socket_begin(s);
    }

    return ngx_http_broadcast_stream(r, bc);
}


/* header and first bytes, flushed */

static ngx_int_t
ngx_http_broadcast_sse_header(ngx_http_request_t *r)
{
    ngx_int_t         rc;
    ngx_str_t        *name;
    ngx_table_elt_t  *h;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = -1;

    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    for (name = ngx_http_broadcast_sse_headers; name->len; name += 2) {
        h = ngx_list_push(&r->headers_out.headers);

        if (h == NULL) {
            return NGX_ERROR;
        }

        h->hash = 1;
        ngx_broadcast_header_single(h);
        h->key = name[0];
        h->value = name[1];
    }

    /* the body goes past the filters: none may announce that it will code it */

    h = ngx_list_push(&r->headers_out.headers);

    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_broadcast_header_single(h);
    ngx_str_set(&h->key, "Content-Encoding");
    ngx_str_set(&h->value, "identity");

    r->headers_out.content_encoding = h;
    r->disable_not_modified = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_broadcast_sse_open(r);
}


static ngx_int_t
ngx_http_broadcast_sse_open(ngx_http_request_t *r)
{
    ngx_buf_t    *b;
    ngx_int_t     rc;
    ngx_chain_t   out;

    b = ngx_calloc_buf(r->pool);

    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = (u_char *) NGX_BROADCAST_SSE_OPEN;
    b->last = b->pos + sizeof(NGX_BROADCAST_SSE_OPEN) - 1;
    b->memory = 1;
    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_output_filter(r, &out);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static void
ngx_http_broadcast_sse_attach(ngx_http_broadcast_socket_t *s)
{
    ngx_broadcast_conn_attach(s->bc, &ngx_http_broadcast_sse_transport, s);
}


static void
ngx_http_broadcast_sse_attach_chunked(ngx_http_broadcast_socket_t *s)
{
    ngx_broadcast_conn_attach(s->bc, &ngx_http_broadcast_sse_chunked, s);
}


/* a client has nothing to say here; the end of its side is the end */

static void
ngx_http_broadcast_sse_read(ngx_http_broadcast_socket_t *s)
{
    u_char      *buf;
    ngx_uint_t   i;

    for (i = 0; i < NGX_HTTP_BROADCAST_SSE_TURN; i++) {

        if (ngx_http_broadcast_socket_recv(s, &buf) < 0) {
            return;
        }
    }

    ngx_http_broadcast_socket_yield(s);
}


static void
ngx_http_broadcast_sse_close_chunked(ngx_broadcast_conn_t *bc)
{
    (void) ngx_broadcast_conn_control(bc,
                                      (u_char *) NGX_BROADCAST_SSE_LAST_CHUNK,
                                      sizeof(NGX_BROADCAST_SSE_LAST_CHUNK) - 1);

    ngx_http_broadcast_socket_close(bc);
}
