
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_socket.h"


/*
 * From the flushed header to the life of our own: the request is freed, or
 * kept, and the events of its connection come here.
 */

static void ngx_http_broadcast_takeover_header(ngx_http_request_t *r);
static void ngx_http_broadcast_takeover(ngx_event_t *ev);
static ngx_uint_t ngx_http_broadcast_takeover_allowed(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_takeover_free(
    ngx_http_broadcast_socket_t *s);
static void ngx_http_broadcast_takeover_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);
static void ngx_http_broadcast_takeover_pool(ngx_http_broadcast_socket_t *s);
static u_char *ngx_http_broadcast_takeover_log(ngx_log_t *log, u_char *buf,
    size_t len);
static void ngx_http_broadcast_takeover_attach(ngx_http_broadcast_socket_t *s,
    u_char *early, size_t len);
static void ngx_http_broadcast_takeover_read_event(ngx_event_t *ev);
static void ngx_http_broadcast_takeover_write_event(ngx_event_t *ev);
static void ngx_http_broadcast_takeover_kept_read(ngx_http_request_t *r);
static void ngx_http_broadcast_takeover_kept_write(ngx_http_request_t *r);
static void ngx_http_broadcast_takeover_writable(
    ngx_http_broadcast_socket_t *s);


ngx_int_t
ngx_http_broadcast_socket_begin(ngx_http_broadcast_socket_t *s)
{
    ngx_http_request_t  *r;

    r = s->request;

    s->event = ngx_pcalloc(r->pool, sizeof(ngx_event_t));
    if (s->event == NULL) {
        return NGX_ERROR;
    }

    s->event->handler = ngx_http_broadcast_takeover;
    s->event->data = s;
    s->event->log = r->connection->log;

    r->main->count++;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_broadcast_takeover_header;

    /* not in the request's own call stack, which looks at it afterwards */

    ngx_post_event(s->event, &ngx_posted_events);

    return NGX_DONE;
}


/* the header did not fit into the socket at once */

static void
ngx_http_broadcast_takeover_header(ngx_http_request_t *r)
{
    ngx_http_broadcast_socket_t  *s;

    if (r->connection->write->timedout) {
        r->connection->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    s = ngx_http_broadcast_socket_of(r);

    if (s && s->event && !s->event->posted) {
        ngx_post_event(s->event, &ngx_posted_events);
    }
}


static void
ngx_http_broadcast_takeover(ngx_event_t *ev)
{
    ngx_http_broadcast_socket_t *s = ev->data;

    size_t                     len;
    u_char                    *early;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = s->request;
    c = r->connection;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (c->buffered || r->buffered || r->out) {

        if (!c->write->delayed) {
            ngx_add_timer(c->write, clcf->send_timeout);
        }

        if (ngx_handle_write_event(c->write, clcf->send_lowat) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
            ngx_http_run_posted_requests(c);
        }

        return;
    }

    s->event = NULL;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    /* bytes behind the upgrade: their buffer goes with the request */

    early = NULL;
    len = r->header_in->last - r->header_in->pos;

    if (len && s->calls->early) {
        early = ngx_alloc(len, c->log);

        if (early == NULL) {
            ngx_http_finalize_request(r, NGX_ERROR);
            ngx_http_run_posted_requests(c);
            return;
        }

        ngx_memcpy(early, r->header_in->pos, len);
        r->header_in->pos = r->header_in->last;
    }

    if (ngx_http_broadcast_takeover_allowed(r)) {

        if (ngx_http_broadcast_takeover_free(s) != NGX_OK) {

            if (early) {
                ngx_free(early);
            }

            ngx_http_broadcast_socket_gone(s);
            return;
        }

    } else {
        r->read_event_handler = ngx_http_broadcast_takeover_kept_read;
        r->write_event_handler = ngx_http_broadcast_takeover_kept_write;
    }

    ngx_http_broadcast_takeover_attach(s, early, len);

    if (early) {
        ngx_free(early);
    }
}


/*
 * Whether the request may be freed with its connection living on: nobody else
 * may hold it, and nothing that counts until its end may be registered.
 */

static ngx_uint_t
ngx_http_broadcast_takeover_allowed(ngx_http_request_t *r)
{
    return r == r->main
           && r->count == 1
           && r->posted_requests == NULL
           && r->postponed == NULL
           && !r->blocked
           && !r->aio
           && !r->discard_body
           && r->limit_conn_status == 0;
}


/* as ngx_http_set_keepalive() does, but for a life of our own */

static ngx_int_t
ngx_http_broadcast_takeover_free(ngx_http_broadcast_socket_t *s)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_connection_t  *hc;

    r = s->request;
    c = r->connection;
    hc = r->http_connection;

    ngx_http_broadcast_socket_forget(r);

    s->request = NULL;

    /* guard against ngx_http_finalize_connection() */
    r->keepalive = 0;

    ngx_http_free_request(r, 0);

    c->data = s;
    c->destroyed = 0;
    c->sent = 0;
    c->idle = 0;

    ngx_http_broadcast_takeover_buffers(c, hc);

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif

    c->log->action = "serving broadcast client";

    c->read->handler = ngx_http_broadcast_takeover_read_event;
    c->write->handler = ngx_http_broadcast_takeover_write_event;

    if (c->write->active && (ngx_event_flags & NGX_USE_LEVEL_EVENT)) {
        if (ngx_del_event(c->write, NGX_WRITE_EVENT, 0) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (c->tcp_nopush == NGX_TCP_NOPUSH_SET) {
        if (ngx_tcp_push(c->fd) == -1) {
            ngx_connection_error(c, ngx_socket_errno, ngx_tcp_push_n " failed");
            return NGX_ERROR;
        }

        c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;
    }

    ngx_http_broadcast_takeover_pool(s);

    return NGX_OK;
}


/* header buffers, which an idle client does not need */

static void
ngx_http_broadcast_takeover_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *ln;

    b = c->buffer;

    if (b && ngx_pfree(c->pool, b->start) == NGX_OK) {
        b->start = NULL;
        b->pos = NULL;
        b->last = NULL;
        b->end = NULL;
    }

    for (cl = hc->free; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    hc->free = NULL;

    for (cl = hc->busy; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    hc->busy = NULL;
    hc->nbusy = 0;
}


/*
 * The pool, half a kilobyte, holds little that is needed on: TLS keeps it, and
 * who has something to be cleaned up with it.
 */

static void
ngx_http_broadcast_takeover_pool(ngx_http_broadcast_socket_t *s)
{
    u_char            *p;
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = s->connection;
    pool = c->pool;

    if (pool->cleanup || c->socklen + c->addr_text.len > s->room) {
        return;
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        return;
    }
#endif

    p = (u_char *) s + s->size;

    ngx_memcpy(p, c->sockaddr, c->socklen);
    c->sockaddr = (struct sockaddr *) p;

    p += c->socklen;

    ngx_memcpy(p, c->addr_text.data, c->addr_text.len);
    c->addr_text.data = p;

    /* asked for by somebody, it may stand in the pool */

    c->local_sockaddr = c->listening->sockaddr;
    c->local_socklen = c->listening->socklen;

    c->proxy_protocol = NULL;
    c->buffer = NULL;

#if (NGX_THREADS || NGX_COMPAT)
    c->sendfile_task = NULL;
#endif

    s->log = *c->log;
    s->log.handler = ngx_http_broadcast_takeover_log;
    s->log.data = c;

    c->log = &s->log;
    c->read->log = &s->log;
    c->write->log = &s->log;

    c->pool = NULL;

    /* it logs, and its log is in it */

    pool->log = &s->log;

    ngx_destroy_pool(pool);
}


/* what ngx_http_log_error() says of a connection without a request */

static u_char *
ngx_http_broadcast_takeover_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char            *p;
    ngx_connection_t  *c;

    c = log->data;
    p = buf;

    if (log->action) {
        p = ngx_snprintf(p, len, " while %s", log->action);
    }

    return ngx_snprintf(p, len - (p - buf), ", client: %V, server: %V",
                        &c->addr_text, &c->listening->addr_text);
}


static void
ngx_http_broadcast_takeover_attach(ngx_http_broadcast_socket_t *s,
    u_char *early, size_t len)
{
    s->calls->attach(s);

    if (s->connection && s->bc == NULL) {

        /* the connection that it was for has ended meanwhile */

        ngx_http_broadcast_socket_gone(s);
        return;
    }

    if (s->connection) {
        ngx_http_broadcast_socket_bare(s);
    }

    if (early && s->connection) {
        s->calls->early(s, early, early + len);
    }

    if (s->connection == NULL) {
        return;
    }

    if (ngx_handle_read_event(s->connection->read, 0) != NGX_OK) {
        ngx_http_broadcast_socket_gone(s);
        return;
    }

    /* edge-triggered: what came meanwhile is not told again */

    if (s->connection->read->ready) {
        ngx_post_event(s->connection->read, &ngx_posted_events);
    }
}


static void
ngx_http_broadcast_takeover_read_event(ngx_event_t *ev)
{
    ngx_connection_t             *c;
    ngx_http_broadcast_socket_t  *s;

    c = ev->data;
    s = c->data;

    if (c->close) {
        ngx_http_broadcast_socket_gone(s);
        return;
    }

    s->calls->read(s);
}


static void
ngx_http_broadcast_takeover_write_event(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_http_broadcast_takeover_writable(c->data);
}


static void
ngx_http_broadcast_takeover_kept_read(ngx_http_request_t *r)
{
    ngx_http_broadcast_socket_t  *s;

    s = ngx_http_broadcast_socket_of(r);

    if (s) {
        s->calls->read(s);
    }
}


static void
ngx_http_broadcast_takeover_kept_write(ngx_http_request_t *r)
{
    ngx_http_broadcast_socket_t  *s;

    s = ngx_http_broadcast_socket_of(r);

    if (s) {
        ngx_http_broadcast_takeover_writable(s);
    }
}


static void
ngx_http_broadcast_takeover_writable(ngx_http_broadcast_socket_t *s)
{
    /* epoll tells it with each read event: mostly there is nothing to do */

    if (ngx_broadcast_outq_size(s->bc) == 0 && !s->connection->buffered) {
        return;
    }

    ngx_broadcast_conn_writable(s->bc);
}
