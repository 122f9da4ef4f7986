
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* The answer to a poll: what nginx's filters are given, and when all is out. */


#include "transport/ngx_http_broadcast_longpoll_local.h"
#include "base/ngx_broadcast_compat.h"


static ngx_int_t ngx_http_broadcast_poll_headers(ngx_http_request_t *r,
    ngx_uint_t status);
static void ngx_http_broadcast_poll_write(ngx_http_request_t *r);
static void ngx_http_broadcast_poll_written(ngx_http_broadcast_poll_t *poll,
    ngx_int_t rc);


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


void
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


ngx_int_t
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


void
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
