
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Bodies are taken unbuffered, piece by piece, into one block that grows:
 * nothing is written to a file, and a body without Content-Length is refused
 * as soon as it is too long.  Where another module has read the body before
 * (mirror, say) it is copied from there.
 */


#include "http/ngx_http_broadcast.h"


#define NGX_HTTP_BROADCAST_BODY_PIECE  4096


static void ngx_http_broadcast_body_start(ngx_http_request_t *r);
static void ngx_http_broadcast_body_read(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_body_take(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t *ctx);
static ngx_int_t ngx_http_broadcast_body_append(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t *ctx, ngx_buf_t *b);
static ngx_int_t ngx_http_broadcast_body_large(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_read_body(ngx_http_request_t *r,
    ngx_http_broadcast_body_pt handler)
{
    ngx_int_t                       rc;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    ctx->body_handler = handler;
    ctx->body_limit = blcf->limits.message_size;

    if (blcf->body_max) {
        ctx->body_limit = ngx_min(ctx->body_limit, (size_t) blcf->body_max);
    }

    /* a subrequest has the length of a body that need not be its own */

    if (r == r->main
        && r->headers_in.content_length_n > (off_t) ctx->body_limit)
    {
        return ngx_http_broadcast_body_large(r);
    }

    ctx->body_ours = (r->request_body == NULL && r == r->main);
    r->request_body_no_buffering = ctx->body_ours;

    rc = ngx_http_read_client_request_body(r, ngx_http_broadcast_body_start);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static void
ngx_http_broadcast_body_start(ngx_http_request_t *r)
{
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_broadcast_body_read(r);
}


static void
ngx_http_broadcast_body_read(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    for ( ;; ) {

        rc = ngx_http_broadcast_body_take(r, ctx);

        if (rc == NGX_BUSY) {
            ngx_http_finalize_request(r, ngx_http_broadcast_body_large(r));
            return;
        }

        if (rc == NGX_ERROR) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        if (!r->reading_body) {
            r->read_event_handler = ngx_http_block_reading;
            ctx->body_handler(r);
            return;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            r->read_event_handler = ngx_http_broadcast_body_read;
            return;
        }
    }
}


/* NGX_OK, NGX_BUSY: too long, NGX_ERROR */

static ngx_int_t
ngx_http_broadcast_body_take(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    if (r->request_body == NULL) {
        return NGX_OK;
    }

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        rc = ngx_http_broadcast_body_append(r, ctx, cl->buf);

        if (rc != NGX_OK) {
            return rc;
        }

        if (ctx->body_ours) {
            cl->buf->pos = cl->buf->last;
        }
    }

    if (ctx->body_ours) {
        r->request_body->bufs = NULL;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_body_append(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t *ctx, ngx_buf_t *b)
{
    off_t       n;
    size_t      size;
    u_char     *p;
    ngx_str_t  *body;

    body = &ctx->body;
    n = ngx_buf_size(b);

    if (n == 0) {
        return NGX_OK;
    }

    if (n > (off_t) (ctx->body_limit - body->len)) {
        return NGX_BUSY;
    }

    if ((size_t) n > ctx->body_size - body->len) {

        size = ngx_max(ctx->body_size * 2, NGX_HTTP_BROADCAST_BODY_PIECE);
        size = ngx_max(size, body->len + (size_t) n);

        p = ngx_pnalloc(r->pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (body->data) {
            ngx_memcpy(p, body->data, body->len);
            (void) ngx_pfree(r->pool, body->data);
        }

        body->data = p;
        ctx->body_size = size;
    }

    if (ngx_buf_in_memory(b)) {
        ngx_memcpy(body->data + body->len, b->pos, (size_t) n);

    } else if (ngx_read_file(b->file, body->data + body->len, (size_t) n,
                             b->file_pos)
               != (ssize_t) n)
    {
        return NGX_ERROR;
    }

    body->len += (size_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_body_large(ngx_http_request_t *r)
{
    ngx_str_t                  none = ngx_null_string;
    ngx_http_broadcast_ctx_t  *ctx;

    ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);

    /* who waits for "100 Continue" shall not send it */

    r->expect_tested = 1;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ctx->json) {
        return ngx_http_broadcast_error(r,
                                        NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        "PayloadTooLarge",
                                        "The body is too large.", &none);
    }

    return ngx_http_broadcast_text(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                   "The body is too large.");
}
