
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_transport.h"
#include "base/ngx_broadcast_compat.h"
#include "conn/ngx_broadcast_move.h"


/*
 * Long polling, signalr.md 2.4: each poll is an ordinary request that waits
 * for something to say; between two polls the connection has none.
 *
 *     moving ----> waiting ----> answered ----> over
 *        |            |              |            ^
 *        +------------+--------------+------------+
 *
 *   moving     another worker has the connection, its state is on its way
 *   waiting    the connection is here and has nothing queued
 *   answered   the answer is given to nginx's filters; what it carries stays
 *              in the queue until the socket has taken all of it
 */

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


static ngx_http_broadcast_poll_t *ngx_http_broadcast_poll_create(
    ngx_http_request_t *r);
static void ngx_http_broadcast_poll_cleanup(void *data);
static ngx_broadcast_conn_t *ngx_http_broadcast_poll_detach(
    ngx_http_broadcast_poll_t *poll);
static void ngx_http_broadcast_poll_last(ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_poll_moved(ngx_broadcast_conn_t *bc,
    ngx_int_t rc, void *data);
static void ngx_http_broadcast_poll_wait(ngx_http_broadcast_poll_t *poll,
    ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_poll_timer(ngx_event_t *ev);
static void ngx_http_broadcast_poll_answer(ngx_http_broadcast_poll_t *poll,
    ngx_uint_t status, const char *type, ngx_str_t *body);
static ngx_int_t ngx_http_broadcast_poll_reply(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, ngx_str_t *body);
static ngx_int_t ngx_http_broadcast_poll_headers(ngx_http_request_t *r,
    ngx_uint_t status);
static void ngx_http_broadcast_poll_write(ngx_http_request_t *r);
static void ngx_http_broadcast_poll_written(ngx_http_broadcast_poll_t *poll,
    ngx_int_t rc);
static void ngx_http_broadcast_poll_end(ngx_http_broadcast_poll_t *poll,
    ngx_int_t rc);
static ngx_int_t ngx_http_broadcast_poll_send(ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_poll_close(ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_poll_destroy(ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_poll_resume(ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_poll_leave(ngx_broadcast_conn_t *bc);


static ngx_broadcast_transport_t  ngx_http_broadcast_poll_transport = {
    NGX_BROADCAST_LONGPOLL,
    ngx_http_broadcast_poll_send,
    ngx_http_broadcast_poll_close,
    ngx_http_broadcast_poll_destroy,
    ngx_http_broadcast_poll_resume,
    ngx_http_broadcast_poll_leave
};


static ngx_str_t  ngx_http_broadcast_poll_fields[] = {
    ngx_string("Cache-Control"), ngx_string("no-cache, no-store"),
    ngx_string("Pragma"), ngx_string("no-cache"),
    ngx_string("Expires"), ngx_string("Thu, 01 Jan 1970 00:00:00 GMT"),
    ngx_null_string
};

static ngx_str_t  ngx_http_broadcast_poll_denied[] = {
    ngx_string("WWW-Authenticate"), ngx_string("Bearer"),
    ngx_null_string
};

static ngx_str_t  ngx_http_broadcast_poll_gone =
    ngx_string("No Connection with that ID");
static ngx_str_t  ngx_http_broadcast_poll_busy =
    ngx_string("Too many connections move.");


ngx_int_t
ngx_http_broadcast_longpoll_open(ngx_http_request_t *r,
    ngx_broadcast_conn_t *bc)
{
    ngx_int_t  rc;
    ngx_str_t  none = ngx_null_string;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_CLIENT);
        return rc;
    }

    ngx_broadcast_conn_attach(bc, &ngx_http_broadcast_poll_transport, NULL);
    ngx_broadcast_conn_polled(bc);

    return ngx_http_broadcast_poll_reply(r, NGX_HTTP_OK,
                                         "application/octet-stream", &none);
}


ngx_int_t
ngx_http_broadcast_longpoll(ngx_http_request_t *r,
    ngx_http_broadcast_longpoll_t *lp)
{
    ngx_int_t                   rc;
    ngx_event_t                *rev;
    ngx_broadcast_conn_t       *bc;
    ngx_broadcast_move_in_t     in;
    ngx_http_broadcast_poll_t  *poll;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    poll = ngx_http_broadcast_poll_create(r);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    poll->expires = lp->expires;
    poll->hold = lp->hold;

    in.id = lp->id;
    in.row = lp->row;
    in.limits = lp->limits;
    in.transport = &ngx_http_broadcast_poll_transport;
    in.handler = ngx_http_broadcast_poll_moved;
    in.data = poll;

    rc = ngx_broadcast_move(&in, &poll->move, &bc);

    switch (rc) {

    case NGX_OK:
    case NGX_AGAIN:
        break;

    case NGX_DECLINED:
        return ngx_http_broadcast_poll_reply(r, NGX_HTTP_NOT_FOUND,
                                             "text/plain",
                                             &ngx_http_broadcast_poll_gone);

    case NGX_BUSY:
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_LIMIT, 1);

        return ngx_http_broadcast_poll_reply(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                             "text/plain",
                                             &ngx_http_broadcast_poll_busy);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    /* a client that went away behind its request is seen now, or never */

    rev = r->connection->read;

    if ((rev->ready || rev->pending_eof) && !rev->posted) {
        ngx_post_event(rev, &ngx_posted_events);
    }

    if (rc == NGX_OK) {
        poll->inside = 1;
        ngx_http_broadcast_poll_wait(poll, bc);
        poll->inside = 0;
    }

    return NGX_DONE;
}


static ngx_http_broadcast_poll_t *
ngx_http_broadcast_poll_create(ngx_http_request_t *r)
{
    ngx_http_cleanup_t         *cln;
    ngx_http_broadcast_poll_t  *poll;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_broadcast_poll_t));
    if (cln == NULL) {
        return NULL;
    }

    poll = cln->data;
    ngx_memzero(poll, sizeof(ngx_http_broadcast_poll_t));

    cln->handler = ngx_http_broadcast_poll_cleanup;

    poll->request = r;

    poll->timer.handler = ngx_http_broadcast_poll_timer;
    poll->timer.data = poll;
    poll->timer.log = r->connection->log;

    /* who drains is held by the connections themselves */

    poll->timer.cancelable = 1;

    return poll;
}


/* the request ends without us: what it was to carry is for the next one */

static void
ngx_http_broadcast_poll_cleanup(void *data)
{
    ngx_http_broadcast_poll_t *poll = data;

    ngx_broadcast_conn_t  *bc;

    if (poll->timer.timer_set) {
        ngx_del_timer(&poll->timer);
    }

    if (poll->move) {
        ngx_broadcast_move_cancel(poll->move);
        poll->move = NULL;
    }

    bc = ngx_http_broadcast_poll_detach(poll);

    if (bc) {
        ngx_http_broadcast_poll_last(bc);
    }
}


/* the connection goes on without this poll */

static ngx_broadcast_conn_t *
ngx_http_broadcast_poll_detach(ngx_http_broadcast_poll_t *poll)
{
    ngx_broadcast_conn_t  *bc;

    bc = poll->bc;
    poll->bc = NULL;

    if (bc) {
        ngx_broadcast_outq_unhold(bc);
        ngx_broadcast_conn_polled(bc);
    }

    return bc;
}


/* nothing more is to be said, and who had to hear it has */

static void
ngx_http_broadcast_poll_last(ngx_broadcast_conn_t *bc)
{
    if (ngx_broadcast_conn_state(bc) == NGX_BROADCAST_CLOSING
        && ngx_broadcast_outq_size(bc) == 0)
    {
        ngx_broadcast_conn_closed(bc, ngx_broadcast_conn_why(bc));
    }
}


static void
ngx_http_broadcast_poll_moved(ngx_broadcast_conn_t *bc, ngx_int_t rc,
    void *data)
{
    ngx_http_broadcast_poll_t *poll = data;

    ngx_str_t  none = ngx_null_string;

    poll->move = NULL;

    switch (rc) {

    case NGX_OK:
        ngx_http_broadcast_poll_wait(poll, bc);
        break;

    case NGX_ABORT:
        ngx_http_broadcast_poll_answer(poll, NGX_HTTP_NO_CONTENT, NULL, &none);
        break;

    case NGX_BUSY:
        ngx_http_broadcast_poll_answer(poll, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "text/plain",
                                       &ngx_http_broadcast_poll_busy);
        break;

    default:
        ngx_http_broadcast_poll_answer(poll, NGX_HTTP_NOT_FOUND, "text/plain",
                                       &ngx_http_broadcast_poll_gone);
        break;
    }
}


/* the last thing that is done with a poll: it may be over behind it */

static void
ngx_http_broadcast_poll_wait(ngx_http_broadcast_poll_t *poll,
    ngx_broadcast_conn_t *bc)
{
    if (ngx_broadcast_conn_transport_data(bc)) {
        ngx_http_broadcast_poll_leave(bc);
    }

    poll->bc = bc;

    ngx_add_timer(&poll->timer, poll->hold);

    ngx_broadcast_conn_expire(bc, poll->expires);
    ngx_broadcast_conn_poll(bc, poll);
}


static void
ngx_http_broadcast_poll_timer(ngx_event_t *ev)
{
    ngx_http_broadcast_poll_t  *poll;

    ngx_str_t  none = ngx_null_string;

    poll = ev->data;

    ngx_http_broadcast_poll_answer(poll, NGX_HTTP_OK, "text/plain", &none);
}


static void
ngx_http_broadcast_poll_answer(ngx_http_broadcast_poll_t *poll,
    ngx_uint_t status, const char *type, ngx_str_t *body)
{
    poll->answered = 1;

    if (poll->timer.timer_set) {
        ngx_del_timer(&poll->timer);
    }

    ngx_http_broadcast_poll_written(poll,
                            ngx_http_broadcast_poll_reply(poll->request,
                                                          status, type, body));
}


static ngx_int_t
ngx_http_broadcast_poll_reply(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_str_t *body)
{
    ngx_buf_t    *b;
    ngx_int_t     rc;
    ngx_chain_t   out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;

    if (type) {
        r->headers_out.content_type.data = (u_char *) type;
        r->headers_out.content_type.len = ngx_strlen(type);
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    r->header_only = (body->len == 0);

    if (ngx_http_broadcast_poll_headers(r, status) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_broadcast_poll_headers(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_str_t        *field;
    ngx_table_elt_t  *h;

    field = ngx_http_broadcast_poll_fields;

    if (status == NGX_HTTP_UNAUTHORIZED) {
        field = ngx_http_broadcast_poll_denied;
    }

    for ( /* void */ ; field->len; field += 2) {
        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        h->hash = 1;
        ngx_broadcast_header_single(h);
        h->key = field[0];
        h->value = field[1];
    }

    return NGX_OK;
}


static void
ngx_http_broadcast_poll_write(ngx_http_request_t *r)
{
    ngx_event_t                *wev;
    ngx_http_cleanup_t         *cln;
    ngx_http_broadcast_poll_t  *poll;

    for (cln = r->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_broadcast_poll_cleanup) {
            break;
        }
    }

    if (cln == NULL) {
        return;
    }

    poll = cln->data;
    wev = r->connection->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, wev->log, NGX_ETIMEDOUT,
                      "client timed out");
        r->connection->timedout = 1;

        ngx_http_broadcast_poll_written(poll, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    ngx_http_broadcast_poll_written(poll, wev->delayed
                                          ? NGX_AGAIN
                                          : ngx_http_output_filter(r, NULL));
}


/* rc of a filter or of the event: is all of the answer in the socket? */

static void
ngx_http_broadcast_poll_written(ngx_http_broadcast_poll_t *poll, ngx_int_t rc)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_broadcast_conn_t      *bc;
    ngx_http_core_loc_conf_t  *clcf;

    r = poll->request;
    c = r->connection;
    wev = c->write;

    if (rc != NGX_ERROR && rc <= NGX_OK && !c->error) {

        if (r->buffered || c->buffered || wev->delayed) {
            clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

            r->write_event_handler = ngx_http_broadcast_poll_write;

            if (!wev->delayed) {
                ngx_add_timer(wev, clcf->send_timeout);
            }

            if (ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK) {
                return;
            }

            rc = NGX_ERROR;

        } else {
            rc = NGX_OK;

            if (poll->bc && poll->taken) {
                ngx_broadcast_outq_sent(poll->bc, poll->taken);
            }
        }
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    bc = ngx_http_broadcast_poll_detach(poll);

    ngx_http_broadcast_poll_end(poll, rc);

    if (bc) {
        ngx_http_broadcast_poll_last(bc);
    }
}


static void
ngx_http_broadcast_poll_end(ngx_http_broadcast_poll_t *poll, ngx_int_t rc)
{
    ngx_uint_t           inside;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = poll->request;
    c = r->connection;
    inside = poll->inside;

    ngx_http_finalize_request(r, rc);

    /* a request that was terminated is freed there: not under its handler */

    if (!inside) {
        ngx_http_run_posted_requests(c);
    }
}


static ngx_int_t
ngx_http_broadcast_poll_send(ngx_broadcast_conn_t *bc)
{
    ngx_str_t                   body;
    ngx_http_broadcast_poll_t  *poll;

    poll = ngx_broadcast_conn_transport_data(bc);

    if (poll == NULL || poll->answered) {
        return NGX_AGAIN;
    }

    if (ngx_broadcast_outq_size(bc) == 0) {

        if (ngx_broadcast_conn_state(bc) == NGX_BROADCAST_CLOSING) {
            ngx_str_null(&body);
            ngx_http_broadcast_poll_answer(poll, NGX_HTTP_NO_CONTENT, NULL,
                                           &body);
            return NGX_AGAIN;
        }

        return NGX_OK;
    }

    if (ngx_broadcast_outq_hold(bc, poll->request->pool, &body) != NGX_OK) {
        ngx_http_broadcast_poll_leave(bc);
        return NGX_AGAIN;
    }

    poll->taken = body.len;

    ngx_http_broadcast_poll_answer(poll, NGX_HTTP_OK,
                                   "application/octet-stream", &body);

    return NGX_AGAIN;
}


static void
ngx_http_broadcast_poll_close(ngx_broadcast_conn_t *bc)
{
    ngx_str_t                   none = ngx_null_string;
    ngx_uint_t                  why;
    ngx_http_broadcast_poll_t  *poll;

    poll = ngx_broadcast_conn_transport_data(bc);
    why = ngx_broadcast_conn_why(bc);

    switch (why) {

    case NGX_BROADCAST_END_CLIENT:
        break;

    case NGX_BROADCAST_END_EXPIRED:

        /* the next poll would be told so, signalr.md 2.5 */

        if (poll && !poll->answered) {
            (void) ngx_http_broadcast_poll_detach(poll);
            ngx_http_broadcast_poll_answer(poll, NGX_HTTP_UNAUTHORIZED, NULL,
                                           &none);
        }

        break;

    default:

        if (why == NGX_BROADCAST_END_TIMEOUT && poll == NULL) {
            break;
        }

        if (poll) {
            (void) ngx_http_broadcast_poll_send(bc);
            return;
        }

        ngx_http_broadcast_poll_last(bc);
        return;
    }

    if (ngx_broadcast_conn_transport_data(bc)) {
        ngx_http_broadcast_poll_leave(bc);
    }

    ngx_broadcast_conn_closed(bc, why);
}


/* at once; the request's end is known to nobody but its client */

static void
ngx_http_broadcast_poll_destroy(ngx_broadcast_conn_t *bc)
{
    ngx_http_broadcast_poll_t  *poll;

    poll = ngx_broadcast_conn_transport_data(bc);

    if (poll == NULL) {
        return;
    }

    (void) ngx_http_broadcast_poll_detach(poll);

    poll->request->connection->error = 1;

    ngx_http_broadcast_poll_end(poll, NGX_ERROR);
}


/* a POST brings what the client says: nothing is read here */

static void
ngx_http_broadcast_poll_resume(ngx_broadcast_conn_t *bc)
{
}


/*
 * A poll that waits is told that there is another; one whose answer is on its
 * way is cut off, because its client reads that no more: it polls elsewhere.
 */

static void
ngx_http_broadcast_poll_leave(ngx_broadcast_conn_t *bc)
{
    ngx_str_t                   none = ngx_null_string;
    ngx_http_broadcast_poll_t  *poll;

    poll = ngx_broadcast_conn_transport_data(bc);

    if (poll == NULL) {
        return;
    }

    if (poll->answered) {
        ngx_http_broadcast_poll_destroy(bc);
        return;
    }

    (void) ngx_http_broadcast_poll_detach(poll);

    ngx_http_broadcast_poll_answer(poll, NGX_HTTP_NO_CONTENT, NULL, &none);
}
