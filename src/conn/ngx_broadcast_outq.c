
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_rows.h"


#define NGX_BROADCAST_OUTQ_RING   8         /* frames of the first own ring */
#define NGX_BROADCAST_OUTQ_CHAIN  64        /* links: nginx's IOVs at most */


static ngx_int_t ngx_broadcast_outq_grow(ngx_broadcast_outq_t *q);
static void ngx_broadcast_outq_taken(ngx_broadcast_conn_t *bc, size_t n);


static ngx_chain_t  ngx_broadcast_outq_links[NGX_BROADCAST_OUTQ_CHAIN];
static ngx_buf_t    ngx_broadcast_outq_bufs[NGX_BROADCAST_OUTQ_CHAIN];


#define ngx_broadcast_outq_at(q, i)                                           \
    ((q)->size ? &(q)->ring[((q)->head + (i)) & ((q)->size - 1)]              \
               : &(q)->inside[((q)->head + (i))                               \
                              & (NGX_BROADCAST_OUTQ_INSIDE - 1)])


ngx_int_t
ngx_broadcast_outq_push(ngx_broadcast_outq_t *q, ngx_broadcast_frame_t *frame)
{
    if (q->count == (q->size ? q->size : NGX_BROADCAST_OUTQ_INSIDE)
        && ngx_broadcast_outq_grow(q) != NGX_OK)
    {
        return NGX_ERROR;
    }

    *ngx_broadcast_outq_at(q, q->count) = frame;

    frame->refs++;
    q->count++;
    q->bytes += frame->len;

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_outq_grow(ngx_broadcast_outq_t *q)
{
    uint32_t                 i, size;
    ngx_broadcast_frame_t  **ring;

    size = q->size ? 2 * q->size : NGX_BROADCAST_OUTQ_RING;

    ring = ngx_alloc(size * sizeof(ngx_broadcast_frame_t *),
                     ngx_broadcast_bus.log);
    if (ring == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < q->count; i++) {
        ring[i] = *ngx_broadcast_outq_at(q, i);
    }

    if (q->size) {
        ngx_free(q->ring);
    }

    q->ring = ring;
    q->size = size;
    q->head = 0;

    return NGX_OK;
}


ngx_broadcast_frame_t *
ngx_broadcast_outq_shift(ngx_broadcast_outq_t *q)
{
    ngx_broadcast_frame_t  *frame;

    frame = *ngx_broadcast_outq_at(q, 0);

    q->bytes -= frame->len - q->offset;
    q->offset = 0;
    q->head++;
    q->count--;

    if (q->count == 0) {
        q->head = 0;

        if (q->size) {
            ngx_free(q->ring);
            q->ring = NULL;
            q->size = 0;
        }
    }

    return frame;
}


ngx_int_t
ngx_broadcast_outq_append(ngx_broadcast_outq_t *q, ngx_broadcast_outq_t *from)
{
    ngx_int_t               rc;
    ngx_broadcast_frame_t  *frame;

    rc = NGX_OK;

    while (from->count) {
        frame = ngx_broadcast_outq_shift(from);

        if (ngx_broadcast_outq_push(q, frame) != NGX_OK) {
            rc = NGX_ERROR;
        }

        ngx_broadcast_frame_free(frame);
    }

    return rc;
}


void
ngx_broadcast_outq_clear(ngx_broadcast_outq_t *q, ngx_uint_t keep_begun)
{
    uint32_t                keep;
    ngx_broadcast_frame_t  *frame;

    keep = 0;

    if (keep_begun) {
        keep = q->held ? q->held : q->offset != 0;
    }

    if (keep == 0) {
        q->held = 0;

        while (q->count) {
            ngx_broadcast_frame_free(ngx_broadcast_outq_shift(q));
        }

        return;
    }

    while (q->count > keep) {
        frame = *ngx_broadcast_outq_at(q, q->count - 1);

        q->count--;
        q->bytes -= frame->len;

        ngx_broadcast_frame_free(frame);
    }
}


ngx_broadcast_frame_t *
ngx_broadcast_outq_frame(ngx_broadcast_outq_t *q, uint32_t i)
{
    return *ngx_broadcast_outq_at(q, i);
}


ngx_uint_t
ngx_broadcast_outq_over(ngx_broadcast_outq_t *q, size_t limit)
{
    size_t                  waiting;
    ngx_broadcast_frame_t  *frame;

    if (q->bytes <= limit) {
        return 0;
    }

    frame = *ngx_broadcast_outq_at(q, 0);
    waiting = q->bytes;

    if (frame->len > limit) {
        waiting -= frame->len - q->offset;
    }

    return waiting > limit;
}


size_t
ngx_broadcast_outq_size(ngx_broadcast_conn_t *bc)
{
    return bc->outq.bytes;
}


ngx_chain_t *
ngx_broadcast_outq_chain(ngx_broadcast_conn_t *bc, size_t limit)
{
    size_t                  size, offset;
    ngx_buf_t              *b;
    ngx_uint_t              i;
    ngx_chain_t            *cl;
    ngx_broadcast_outq_t   *q;
    ngx_broadcast_frame_t  *frame;

    q = &bc->outq;

    if (q->count == 0) {
        return NULL;
    }

    size = 0;
    offset = q->offset;

    for (i = 0; i < q->count && i < NGX_BROADCAST_OUTQ_CHAIN; i++) {

        frame = *ngx_broadcast_outq_at(q, i);

        if (i && size + frame->len > limit) {
            break;
        }

        b = &ngx_broadcast_outq_bufs[i];
        cl = &ngx_broadcast_outq_links[i];

        ngx_memzero(b, sizeof(ngx_buf_t));

        b->start = ngx_broadcast_frame_data(frame) + offset;
        b->pos = b->start;
        b->last = ngx_broadcast_frame_data(frame) + frame->len;
        b->end = b->last;
        b->memory = 1;

        cl->buf = b;
        cl->next = cl + 1;

        size += b->last - b->pos;
        offset = 0;
    }

    ngx_broadcast_outq_links[i - 1].next = NULL;

    /* under TLS nginx keeps bytes back until a buffer asks for the flush */

    ngx_broadcast_outq_bufs[i - 1].flush = 1;

    return ngx_broadcast_outq_links;
}


ngx_int_t
ngx_broadcast_outq_hold(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *bytes)
{
    u_char                 *p;
    uint32_t                i;
    ngx_broadcast_outq_t   *q;
    ngx_broadcast_frame_t  *frame;

    q = &bc->outq;

    p = ngx_pnalloc(pool, q->bytes);
    if (p == NULL) {
        return NGX_ERROR;
    }

    bytes->data = p;
    bytes->len = q->bytes;

    for (i = 0; i < q->count; i++) {
        frame = *ngx_broadcast_outq_at(q, i);
        p = ngx_cpymem(p, ngx_broadcast_frame_data(frame), frame->len);
    }

    q->held = q->count;

    return NGX_OK;
}


void
ngx_broadcast_outq_unhold(ngx_broadcast_conn_t *bc)
{
    bc->outq.held = 0;
}


ngx_int_t
ngx_broadcast_outq_write(ngx_broadcast_conn_t *bc)
{
    ssize_t                 n;
    ngx_broadcast_outq_t   *q;
    ngx_broadcast_frame_t  *frame;

    q = &bc->outq;

    if (bc->bare == (ngx_socket_t) -1
        || q->count != 1 || q->offset
        || bc->state == NGX_BROADCAST_CLOSING)
    {
        return NGX_DECLINED;
    }

    frame = *ngx_broadcast_outq_at(q, 0);

    n = send(bc->bare, ngx_broadcast_frame_data(frame), frame->len, 0);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, ngx_broadcast_bus.log, 0,
                   "broadcast send: fd:%d %z of %uD", bc->bare, n, frame->len);

    if (n <= 0) {
        return NGX_DECLINED;
    }

    ngx_broadcast_outq_taken(bc, n);

    return q->count ? NGX_DECLINED : NGX_OK;
}


void
ngx_broadcast_outq_sent(ngx_broadcast_conn_t *bc, size_t n)
{
    bc->progress = ngx_current_msec;

    ngx_broadcast_fanout_stale();
    ngx_broadcast_outq_taken(bc, n);
}


static void
ngx_broadcast_outq_taken(ngx_broadcast_conn_t *bc, size_t n)
{
    size_t                  left;
    ngx_uint_t              delivered;
    ngx_broadcast_outq_t   *q;
    ngx_broadcast_frame_t  *frame;

    q = &bc->outq;
    q->held = 0;
    left = n;
    delivered = 0;

    while (q->count) {
        frame = *ngx_broadcast_outq_at(q, 0);

        if (left < frame->len - q->offset) {
            q->offset += left;
            q->bytes -= left;
            break;
        }

        left -= frame->len - q->offset;
        frame = ngx_broadcast_outq_shift(q);

        if (frame->time) {
            delivered++;

            if (frame->time != 1) {
                ngx_broadcast_fanout_observe(frame);
            }
        }

        ngx_broadcast_frame_free(frame);
    }

    ngx_broadcast_fanout_delivered(bc->hub, bc->type, n, delivered);

    if (bc->invocation && bc->invocation->starved) {
        ngx_broadcast_rows_room(bc);
    }
}
