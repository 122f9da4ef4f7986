
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_sequence.h"


static ngx_int_t ngx_broadcast_sequence_number(ngx_broadcast_sequence_t *s,
    ngx_broadcast_frame_t *frame);


void
ngx_broadcast_sequence_init(ngx_broadcast_sequence_t *s, size_t limit)
{
    s->limit = ngx_min(limit, NGX_BROADCAST_SEQUENCE_LIMIT);
    s->next = 1;
}


void
ngx_broadcast_sequence_clear(ngx_broadcast_sequence_t *s)
{
    ngx_broadcast_outq_clear(&s->unacked, 0);
    ngx_broadcast_outq_clear(&s->waiting, 0);
}


ngx_int_t
ngx_broadcast_sequence_send(ngx_broadcast_sequence_t *s,
    ngx_broadcast_frame_t *frame)
{
    if (s->waiting.count == 0 && s->unacked.bytes < s->limit) {
        return ngx_broadcast_sequence_number(s, frame);
    }

    if (ngx_broadcast_outq_push(&s->waiting, frame) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_broadcast_sequence_number(ngx_broadcast_sequence_t *s,
    ngx_broadcast_frame_t *frame)
{
    if (ngx_broadcast_outq_push(&s->unacked, frame) != NGX_OK) {
        return NGX_ERROR;
    }

    s->sent += frame->counted;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_sequence_ack(ngx_broadcast_sequence_t *s, int64_t n)
{
    ngx_int_t               rc;
    ngx_broadcast_frame_t  *frame;

    if (n > s->sent) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;

    while (s->unacked.count) {
        frame = ngx_broadcast_outq_frame(&s->unacked, 0);

        if (s->acked + frame->counted > n) {
            break;
        }

        s->acked += frame->counted;
        rc = NGX_OK;

        ngx_broadcast_frame_free(ngx_broadcast_outq_shift(&s->unacked));
    }

    return rc;
}


ngx_int_t
ngx_broadcast_sequence_next(ngx_broadcast_sequence_t *s,
    ngx_broadcast_frame_t **frame)
{
    ngx_int_t  rc;

    if (s->waiting.count == 0 || s->unacked.bytes >= s->limit) {
        return NGX_DECLINED;
    }

    *frame = ngx_broadcast_outq_shift(&s->waiting);

    rc = ngx_broadcast_sequence_number(s, *frame);

    ngx_broadcast_frame_free(*frame);

    return rc;
}


ngx_int_t
ngx_broadcast_sequence_receive(ngx_broadcast_sequence_t *s)
{
    int64_t  n;

    if (s->deaf) {
        return NGX_DECLINED;
    }

    /* also for what is known: the Ack may have been lost with the socket */

    s->owed = 1;

    n = s->next++;

    if (n <= s->received) {
        return NGX_DECLINED;
    }

    s->received = n;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_sequence_reset(ngx_broadcast_sequence_t *s, int64_t n)
{
    if (n > s->received + 1) {
        return NGX_ERROR;
    }

    s->next = n;
    s->deaf = 0;

    return NGX_OK;
}
