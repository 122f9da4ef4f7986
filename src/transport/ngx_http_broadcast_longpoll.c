
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_longpoll_local.h"


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


static ngx_http_broadcast_poll_t *ngx_http_broadcast_poll_create(
    ngx_http_request_t *r);
static void ngx_http_broadcast_poll_moved(ngx_broadcast_conn_t *bc,
    ngx_int_t rc, void *data);
static void ngx_http_broadcast_poll_wait(ngx_http_broadcast_poll_t *poll,
    ngx_broadcast_conn_t *bc);
static void ngx_http_broadcast_poll_timer(ngx_event_t *ev);
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

void
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

ngx_broadcast_conn_t *
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

void
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
