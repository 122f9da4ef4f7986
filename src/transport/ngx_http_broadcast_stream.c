
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_stream.h"


#define NGX_HTTP_BROADCAST_STREAM_BUFFER  16384


/* lives in the request's pool */

typedef struct {
    ngx_http_request_t     *request;
    ngx_broadcast_conn_t   *bc;             /* NULL: closed */
    ngx_http_cleanup_t     *cleanup;
    ngx_chain_t             out;
    ngx_buf_t               buf;            /* memory only while it is in use */
    ngx_event_t             event;          /* the attach, then the end */
    unsigned                attached:1;
    unsigned                closing:1;
} ngx_http_broadcast_stream_t;


static void ngx_http_broadcast_stream_cleanup(void *data);
static void ngx_http_broadcast_stream_event(ngx_event_t *ev);
static void ngx_http_broadcast_stream_write(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_stream_send(ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_http_broadcast_stream_fill(
    ngx_http_broadcast_stream_t *st);
static void ngx_http_broadcast_stream_close(ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_stream_end(ngx_http_broadcast_stream_t *st);
static void ngx_http_broadcast_stream_destroy(ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_stream_resume(ngx_broadcast_conn_t *bc);


static ngx_broadcast_transport_t  ngx_http_broadcast_stream_transport = {
    NGX_BROADCAST_SSE,
    ngx_http_broadcast_stream_send,
    ngx_http_broadcast_stream_close,
    ngx_http_broadcast_stream_destroy,
    ngx_http_broadcast_stream_resume,
    NULL
};


ngx_int_t
ngx_http_broadcast_stream(ngx_http_request_t *r, ngx_broadcast_conn_t *bc)
{
    ngx_http_broadcast_stream_t  *st;

    st = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_stream_t));

    if (st) {
        st->cleanup = ngx_http_cleanup_add(r, 0);
    }

    if (st == NULL || st->cleanup == NULL) {
        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_ERROR);
        return NGX_ERROR;
    }

    st->cleanup->handler = ngx_http_broadcast_stream_cleanup;
    st->cleanup->data = st;

    st->request = r;
    st->bc = bc;
    st->out.buf = &st->buf;

    st->event.handler = ngx_http_broadcast_stream_event;
    st->event.data = st;
    st->event.log = r->connection->log;

    r->main->count++;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_broadcast_stream_write;

    ngx_post_event(&st->event, &ngx_posted_events);

    return NGX_DONE;
}


static void
ngx_http_broadcast_stream_cleanup(void *data)
{
    ngx_http_broadcast_stream_t *st = data;

    ngx_broadcast_conn_t  *bc;

    if (st->event.posted) {
        ngx_delete_posted_event(&st->event);
    }

    bc = st->bc;
    st->bc = NULL;

    if (bc) {
        ngx_broadcast_conn_closed(bc, st->request->connection->close
                                          ? NGX_BROADCAST_END_DRAIN
                                          : NGX_BROADCAST_END_CLIENT);
    }
}


static void
ngx_http_broadcast_stream_event(ngx_event_t *ev)
{
    ngx_http_broadcast_stream_t *st = ev->data;

    if (st->closing) {
        ngx_http_broadcast_stream_end(st);
        return;
    }

    st->attached = 1;
    ngx_broadcast_conn_attach(st->bc, &ngx_http_broadcast_stream_transport,
                              st);
}


static void
ngx_http_broadcast_stream_write(ngx_http_request_t *r)
{
    ngx_http_cleanup_t           *cln;
    ngx_http_broadcast_stream_t  *st;

    for (cln = r->main->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_broadcast_stream_cleanup) {
            break;
        }
    }

    if (cln == NULL) {
        return;
    }

    st = cln->data;

    if (r->connection->write->timedout) {
        r->connection->write->timedout = 0;
    }

    if ((r->buffered || r->connection->buffered)
        && ngx_http_output_filter(r, NULL) == NGX_ERROR)
    {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (st->attached && st->bc) {
        ngx_broadcast_conn_writable(st->bc);
    }
}


/*
 * The filters keep what they are given, so frames are copied, one buffer at a
 * time, and the next waits until the last one is out.
 */

static ngx_int_t
ngx_http_broadcast_stream_send(ngx_broadcast_conn_t *bc)
{
    ngx_int_t                     rc;
    ngx_http_request_t           *r;
    ngx_http_broadcast_stream_t  *st;

    st = ngx_broadcast_conn_transport_data(bc);
    r = st->request;

    if (r->connection->error) {
        return NGX_ERROR;
    }

    for ( ;; ) {

        if (st->buf.pos != st->buf.last
            || r->buffered || r->connection->buffered)
        {
            return NGX_AGAIN;
        }

        rc = ngx_http_broadcast_stream_fill(st);

        if (rc != NGX_OK) {
            break;
        }

        if (ngx_http_output_filter(r, &st->out) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (st->buf.start) {
        ngx_pfree(r->pool, st->buf.start);
        ngx_memzero(&st->buf, sizeof(ngx_buf_t));
    }

    if (st->closing && !st->event.posted) {
        ngx_post_event(&st->event, &ngx_posted_events);
    }

    return NGX_OK;
}


/* NGX_DONE: there is nothing to send */

static ngx_int_t
ngx_http_broadcast_stream_fill(ngx_http_broadcast_stream_t *st)
{
    u_char       *p;
    size_t        size, left;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = &st->buf;

    cl = ngx_broadcast_outq_chain(st->bc, NGX_HTTP_BROADCAST_STREAM_BUFFER);

    if (cl == NULL) {
        return NGX_DONE;
    }

    p = b->start;

    if (p == NULL) {

        /* larger than the pool's blocks: it can be freed again */

        p = ngx_palloc(st->request->pool, NGX_HTTP_BROADCAST_STREAM_BUFFER);

        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_memzero(b, sizeof(ngx_buf_t));

    b->start = p;
    b->pos = p;
    b->end = p + NGX_HTTP_BROADCAST_STREAM_BUFFER;
    b->temporary = 1;
    b->flush = 1;

    for ( /* void */ ; cl && p < b->end; cl = cl->next) {
        left = b->end - p;
        size = cl->buf->last - cl->buf->pos;
        size = ngx_min(size, left);

        p = ngx_cpymem(p, cl->buf->pos, size);
    }

    b->last = p;
    st->out.next = NULL;

    ngx_broadcast_outq_sent(st->bc, b->last - b->pos);

    return NGX_OK;
}


static void
ngx_http_broadcast_stream_close(ngx_broadcast_conn_t *bc)
{
    ngx_http_broadcast_stream_t  *st;

    st = ngx_broadcast_conn_transport_data(bc);

    st->closing = 1;

    if (ngx_http_broadcast_stream_send(bc) == NGX_ERROR
        && !st->event.posted)
    {
        ngx_post_event(&st->event, &ngx_posted_events);
    }
}


static void
ngx_http_broadcast_stream_end(ngx_http_broadcast_stream_t *st)
{
    ngx_int_t              rc;
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_broadcast_conn_t  *bc;

    r = st->request;
    c = r->connection;

    bc = st->bc;
    st->bc = NULL;

    if (bc) {
        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_CLIENT);
    }

    rc = NGX_ERROR;

    if (!c->error) {
        r->write_event_handler = ngx_http_request_empty_handler;
        rc = ngx_http_send_special(r, NGX_HTTP_LAST);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_broadcast_stream_destroy(ngx_broadcast_conn_t *bc)
{
    ngx_http_broadcast_stream_t  *st;

    st = ngx_broadcast_conn_transport_data(bc);

    /*
     * The stack may hold the request: it ends from the posted event, but in an
     * exiting worker, where that event may never come; nothing touches either
     * of them after this returns.
     */

    st->bc = NULL;
    st->closing = 1;
    st->request->connection->error = 1;

    if (ngx_exiting || ngx_terminate) {
        if (st->event.posted) {
            ngx_delete_posted_event(&st->event);
        }

        ngx_http_broadcast_stream_end(st);
        return;
    }

    if (!st->event.posted) {
        ngx_post_event(&st->event, &ngx_posted_events);
    }
}


/* a POST brings what the client says: nothing is read here */

static void
ngx_http_broadcast_stream_resume(ngx_broadcast_conn_t *bc)
{
}
