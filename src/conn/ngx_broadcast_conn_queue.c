
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_stateful.h"
#include "proto/ngx_broadcast_hub_json.h"


/*
 * What goes out of a connection: frames are queued, which may happen while
 * lists are walked, and sent by the flush, which may end the connection.
 */


void
ngx_broadcast_conn_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame)
{
    if (bc->verdict || bc->state == NGX_BROADCAST_CLOSED) {
        return;
    }

    if (bc->sequence && ngx_broadcast_stateful_queue(bc, frame) != NGX_OK) {
        return;
    }

    frame = ngx_broadcast_conn_form(bc, frame);

    if (ngx_broadcast_outq_push(&bc->outq, frame) != NGX_OK) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
        return;
    }

    bc->sent = ngx_current_msec;

    if (!bc->blocked) {
        ngx_broadcast_fanout_flush(bc);
        return;
    }

    if (bc->state != NGX_BROADCAST_CLOSING
        && ngx_broadcast_outq_over(&bc->outq, bc->limits->queue))
    {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_SLOW, NULL);
    }
}


ngx_broadcast_frame_t *
ngx_broadcast_conn_form(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame)
{
    if (bc->deflate == 0) {
        return frame;
    }

    return ngx_broadcast_frame_deflated(frame, bc->deflate,
                                        bc->limits->deflate_min);
}


void
ngx_broadcast_conn_queue_new(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame)
{
    if (frame == NULL) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
        return;
    }

    ngx_broadcast_conn_queue(bc, frame);
    ngx_broadcast_frame_free(frame);
}


void
ngx_broadcast_conn_queue_text(ngx_broadcast_conn_t *bc, ngx_str_t *text)
{
    ngx_broadcast_conn_queue_new(bc, ngx_broadcast_frame_text(bc->framing,
                                                              text));
}


void
ngx_broadcast_conn_queue_message(ngx_broadcast_conn_t *bc,
    const ngx_broadcast_message_t *m)
{
    ngx_broadcast_conn_queue_new(bc,
                                 ngx_broadcast_frame_hub_message(bc->protocol,
                                                                 bc->framing,
                                                                 m));
}


void
ngx_broadcast_conn_queue_records(ngx_broadcast_conn_t *bc, ngx_str_t *text)
{
    u_char                   *pos, *last;
    ngx_str_t                 record;
    ngx_pool_t               *pool;
    const char               *error;
    ngx_broadcast_message_t   m;

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE, ngx_broadcast_bus.log);
    if (pool == NULL) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
        return;
    }

    pos = text->data;
    last = pos + text->len;

    while (ngx_broadcast_hub_json_next(&pos, last, &record) == NGX_OK) {

        if (ngx_broadcast_hub_json_parse(&record, pool, &m, &error) != NGX_OK) {
            ngx_log_error(NGX_LOG_ALERT, ngx_broadcast_bus.log, 0,
                          "broadcast record for a client is invalid: %s",
                          error);
            ngx_debug_point();
            break;
        }

        ngx_broadcast_conn_queue_message(bc, &m);
    }

    ngx_destroy_pool(pool);
}


ngx_int_t
ngx_broadcast_conn_control(ngx_broadcast_conn_t *bc, u_char *bytes,
    size_t len)
{
    ngx_broadcast_frame_t  *frame;

    frame = ngx_broadcast_frame_bytes(bytes, len);
    if (frame == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_conn_queue(bc, frame);
    ngx_broadcast_frame_free(frame);

    return NGX_OK;
}


void
ngx_broadcast_conn_condemn(ngx_broadcast_conn_t *bc, ngx_uint_t end,
    ngx_broadcast_frame_t *reason)
{
    if (bc->verdict || bc->state >= NGX_BROADCAST_CLOSING) {
        return;
    }

    bc->verdict = end + 1;

    if (reason) {
        reason->refs++;
        bc->reason = reason;
    }

    ngx_broadcast_fanout_flush(bc);
}


void
ngx_broadcast_conn_flush(ngx_broadcast_conn_t *bc)
{
    ngx_int_t   rc;
    ngx_str_t   reason;
    ngx_uint_t  end;

    if (bc->state == NGX_BROADCAST_CLOSED
        || (bc->transport == NULL && bc->state == NGX_BROADCAST_NEW))
    {
        return;
    }

    if (bc->verdict) {
        end = bc->verdict - 1;
        bc->verdict = 0;

        ngx_str_null(&reason);

        if (bc->reason) {
            reason.len = bc->reason->len;
            reason.data = ngx_broadcast_frame_data(bc->reason);
        }

        ngx_broadcast_conn_end(bc, end, 0, &reason);
        return;
    }

    if (bc->blocked) {
        return;
    }

    rc = ngx_broadcast_outq_write(bc);

    if (rc == NGX_DECLINED) {
        rc = bc->transport->send(bc);
    }

    if (bc->state == NGX_BROADCAST_CLOSED) {
        return;
    }

    if (rc == NGX_ERROR) {
        bc->transport->destroy(bc);
        ngx_broadcast_conn_lost(bc);
        return;
    }

    if (rc == NGX_AGAIN) {
        bc->blocked = 1;
        bc->progress = ngx_current_msec;

        if (bc->state != NGX_BROADCAST_CLOSING
            && ngx_broadcast_outq_over(&bc->outq, bc->limits->queue))
        {
            ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_SLOW, 0, NULL);
        }

        return;
    }

    if (bc->resume && bc->state == NGX_BROADCAST_ACTIVE) {
        ngx_broadcast_resume_run(bc);
    }
}


void
ngx_broadcast_conn_writable(ngx_broadcast_conn_t *bc)
{
    bc->blocked = 0;
    ngx_broadcast_conn_flush(bc);
}
