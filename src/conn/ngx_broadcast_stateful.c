
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_rows.h"
#include "conn/ngx_broadcast_stateful.h"


#define NGX_BROADCAST_AWAY_TIME  15000      /* ms, signalr.md 6.4 */
#define NGX_BROADCAST_ACK_TIME   1000       /* ms, signalr.md 6.2 */

#define NGX_BROADCAST_SEQUENCE_ERROR                                          \
    "Sequence ID greater than amount of messages we've received."
#define NGX_BROADCAST_ACK_ERROR                                               \
    "Ack ID greater than amount of messages we've sent."


static void ngx_broadcast_stateful_ack(ngx_broadcast_conn_t *bc, int64_t n);
static ngx_int_t ngx_broadcast_stateful_send(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame);
static void ngx_broadcast_stateful_reset(ngx_broadcast_conn_t *bc, int64_t n);
static void ngx_broadcast_stateful_say(ngx_broadcast_conn_t *bc,
    ngx_uint_t type, int64_t n);
static void ngx_broadcast_stateful_lost(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_stateful_away(ngx_broadcast_conn_t *bc,
    ngx_uint_t away);


static ngx_uint_t  ngx_broadcast_stateful_aways;


ngx_int_t
ngx_broadcast_stateful_open(ngx_broadcast_conn_t *bc)
{
    bc->sequence = ngx_calloc(sizeof(ngx_broadcast_sequence_t),
                              ngx_broadcast_bus.log);
    if (bc->sequence == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_sequence_init(bc->sequence, bc->limits->queue);

    ngx_broadcast_registry_stateful(ngx_broadcast_bus.zone, bc->row, &bc->id);

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_stateful_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame)
{
    ngx_int_t  rc;

    if (frame->counted) {
        rc = ngx_broadcast_sequence_send(bc->sequence, frame);

        if (rc == NGX_ERROR) {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
            return NGX_DONE;
        }

        if (rc == NGX_AGAIN) {

            if (ngx_broadcast_outq_over(&bc->sequence->waiting,
                                        bc->limits->queue))
            {
                ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_SLOW, NULL);
            }

            return NGX_DONE;
        }
    }

    return bc->transport ? NGX_OK : NGX_DONE;
}


ngx_uint_t
ngx_broadcast_stateful_message(ngx_broadcast_conn_t *bc,
    ngx_broadcast_message_t *m)
{
    ngx_int_t                  rc;
    ngx_uint_t                 owed;
    ngx_broadcast_sequence_t  *s;

    s = bc->sequence;

    ngx_broadcast_resume_heard(bc);

    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_ITEM:
    case NGX_BROADCAST_MESSAGE_COMPLETION:
    case NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION:

        owed = s->owed;
        rc = ngx_broadcast_sequence_receive(s);

        if (s->owed && !owed) {
            s->due = ngx_current_msec + NGX_BROADCAST_ACK_TIME;
            ngx_broadcast_wheel_set(bc);
        }

        return rc == NGX_OK;

    case NGX_BROADCAST_MESSAGE_ACK:
        ngx_broadcast_stateful_ack(bc, m->sequence);
        return 0;

    case NGX_BROADCAST_MESSAGE_SEQUENCE:
        ngx_broadcast_stateful_reset(bc, m->sequence);
        return 0;

    default:
        return 1;
    }
}


static void
ngx_broadcast_stateful_ack(ngx_broadcast_conn_t *bc, int64_t n)
{
    ngx_int_t               rc;
    ngx_str_t               reason;
    ngx_broadcast_frame_t  *frame;

    rc = ngx_broadcast_sequence_ack(bc->sequence, n);

    if (rc == NGX_ERROR) {
        ngx_str_set(&reason, NGX_BROADCAST_ACK_ERROR);
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_SEQUENCE, 0, &reason);
        return;
    }

    if (rc == NGX_DECLINED) {
        return;
    }

    do {
        rc = ngx_broadcast_sequence_next(bc->sequence, &frame);

        if (rc == NGX_OK) {
            rc = ngx_broadcast_stateful_send(bc, frame);
        }

    } while (rc == NGX_OK);

    if (rc == NGX_ERROR) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
        return;
    }

    if (bc->invocation && bc->invocation->starved) {
        ngx_broadcast_rows_room(bc);
    }
}


/* a frame that has its number, in the form that the socket wants */

static ngx_int_t
ngx_broadcast_stateful_send(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame)
{
    if (bc->transport == NULL) {
        return NGX_OK;
    }

    bc->sent = ngx_current_msec;

    ngx_broadcast_fanout_flush(bc);

    return ngx_broadcast_outq_push(&bc->outq,
                                   ngx_broadcast_conn_form(bc, frame));
}


static void
ngx_broadcast_stateful_reset(ngx_broadcast_conn_t *bc, int64_t n)
{
    ngx_str_t  reason;

    if (ngx_broadcast_sequence_reset(bc->sequence, n) != NGX_OK) {
        ngx_str_set(&reason, NGX_BROADCAST_SEQUENCE_ERROR);
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_SEQUENCE, 0, &reason);
    }
}


static void
ngx_broadcast_stateful_say(ngx_broadcast_conn_t *bc, ngx_uint_t type,
    int64_t n)
{
    ngx_broadcast_message_t  m;

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = type;
    m.sequence = n;

    ngx_broadcast_conn_queue_message(bc, &m);
}


/* for the status page */

static void
ngx_broadcast_stateful_away(ngx_broadcast_conn_t *bc, ngx_uint_t away)
{
    if (bc->sequence->away == away) {
        return;
    }

    bc->sequence->away = away;

    ngx_broadcast_stateful_aways += away ? 1 : -1;

    ngx_broadcast_stats_away(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                             ngx_broadcast_stateful_aways);
}


/*
 * What the socket did not take is either kept by its number or, as a ping,
 * of no use later.
 */

static void
ngx_broadcast_stateful_lost(ngx_broadcast_conn_t *bc)
{
    ngx_log_debug1(NGX_LOG_DEBUG_CORE, ngx_broadcast_bus.log, 0,
                   "broadcast connection %p lost its socket", bc);

    bc->transport = NULL;
    bc->data = NULL;
    bc->blocked = 1;

    ngx_broadcast_outq_clear(&bc->outq, 0);

    bc->sequence->lost = ngx_current_msec;

    ngx_broadcast_stateful_away(bc, 1);
    ngx_broadcast_wheel_set(bc);
}


void
ngx_broadcast_conn_lost(ngx_broadcast_conn_t *bc)
{
    if (ngx_broadcast_conn_stateful(bc)) {
        ngx_broadcast_stateful_lost(bc);
        return;
    }

    ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_LOST);
}


ngx_uint_t
ngx_broadcast_conn_stateful(ngx_broadcast_conn_t *bc)
{
    return bc->sequence != NULL && bc->state == NGX_BROADCAST_ACTIVE
           && bc->verdict == 0;
}


void
ngx_broadcast_stateful_leave(ngx_broadcast_conn_t *bc)
{
    if (bc->transport) {
        bc->transport->destroy(bc);
        ngx_broadcast_stateful_lost(bc);
    }
}


ngx_broadcast_conn_t *
ngx_broadcast_conn_reattach(ngx_str_t *id,
    ngx_broadcast_transport_t *transport, void *data, ngx_uint_t deflate,
    time_t expires)
{
    uint32_t                   i;
    ngx_broadcast_conn_t      *bc;
    ngx_broadcast_frame_t     *frame;
    ngx_broadcast_sequence_t  *s;

    bc = ngx_broadcast_index_find(id);

    if (bc == NULL || !ngx_broadcast_conn_stateful(bc)) {
        return NULL;
    }

    ngx_broadcast_stateful_leave(bc);

    s = bc->sequence;

    bc->transport = transport;
    bc->data = data;
    bc->blocked = 0;
    bc->deflate = deflate;
    bc->expires = expires;
    bc->received = ngx_current_msec;
    bc->progress = ngx_current_msec;

    /* what was not taken was not counted: it comes again */

    if (bc->input) {
        ngx_free(bc->input);
        bc->input = NULL;
    }

    s->deaf = 1;

    ngx_broadcast_stateful_away(bc, 0);
    ngx_broadcast_count(NGX_BROADCAST_RECONNECTS, 1);

    /* clients drop whatever comes before it, signalr.md 6.3 */

    ngx_broadcast_stateful_say(bc, NGX_BROADCAST_MESSAGE_SEQUENCE,
                               s->acked + 1);

    for (i = 0; i < s->unacked.count; i++) {
        frame = ngx_broadcast_outq_frame(&s->unacked, i);

        if (ngx_broadcast_stateful_send(bc, frame) != NGX_OK) {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
            break;
        }
    }

    ngx_broadcast_wheel_set(bc);

    return bc;
}


ngx_uint_t
ngx_broadcast_stateful_look(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_sequence_t  *s;

    s = bc->sequence;

    if (bc->transport == NULL) {

        /* who moves has a socket, at another worker */

        if (!bc->moving
            && ngx_current_msec - s->lost >= NGX_BROADCAST_AWAY_TIME)
        {
            ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_LOST);
            return 0;
        }

        return 1;
    }

    if (s->owed && (ngx_msec_int_t) (s->due - ngx_current_msec) <= 0) {
        s->owed = 0;
        ngx_broadcast_stateful_say(bc, NGX_BROADCAST_MESSAGE_ACK, s->received);
    }

    return 1;
}


ngx_msec_int_t
ngx_broadcast_stateful_left(ngx_broadcast_conn_t *bc)
{
    ngx_msec_t                 until;
    ngx_broadcast_sequence_t  *s;

    s = bc->sequence;

    if (bc->transport == NULL) {
        until = s->lost + NGX_BROADCAST_AWAY_TIME;

    } else if (s->owed) {
        until = s->due;

    } else {
        return NGX_MAX_INT32_VALUE;
    }

    return (ngx_msec_int_t) (until - ngx_current_msec);
}


void
ngx_broadcast_stateful_put(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_sequence_t  *s;

    s = bc->sequence;

    if (s == NULL) {
        return;
    }

    ngx_broadcast_state_put(b, s->acked);
    ngx_broadcast_state_put(b, s->received);
    ngx_broadcast_state_put(b, s->unacked.count);

    ngx_broadcast_state_put_frames(b, &s->unacked);
    ngx_broadcast_state_put_frames(b, &s->waiting);
}


ngx_int_t
ngx_broadcast_stateful_get(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    uint64_t                   n;
    ngx_int_t                  rc;
    ngx_broadcast_frame_t     *frame;
    ngx_broadcast_sequence_t  *s;

    if (bc->type != NGX_BROADCAST_WEBSOCKET) {
        return NGX_OK;
    }

    s = ngx_calloc(sizeof(ngx_broadcast_sequence_t), ngx_broadcast_bus.log);
    if (s == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_sequence_init(s, bc->limits->queue);

    bc->sequence = s;

    s->acked = ngx_broadcast_state_get(in);
    s->sent = s->acked;
    s->received = ngx_broadcast_state_get(in);
    s->next = s->received + 1;

    n = ngx_broadcast_state_get(in);

    if (in->failed || bc->state != NGX_BROADCAST_ACTIVE) {
        return NGX_DECLINED;
    }

    rc = ngx_broadcast_state_get_frames(in, &s->waiting);

    for ( /* void */ ; rc == NGX_OK && n; n--) {

        if (s->waiting.count == 0) {
            return NGX_DECLINED;
        }

        frame = ngx_broadcast_outq_shift(&s->waiting);
        s->sent += frame->counted;
        rc = ngx_broadcast_outq_push(&s->unacked, frame);
        ngx_broadcast_frame_free(frame);
    }

    ngx_broadcast_stateful_lost(bc);

    return rc;
}


void
ngx_broadcast_stateful_finish(ngx_broadcast_conn_t *bc, ngx_uint_t say)
{
    /* without memory for it the Close comes alone, and is true as well */

    if (say) {
        (void) ngx_broadcast_outq_append(&bc->outq, &bc->sequence->waiting);
    }

    ngx_broadcast_stateful_free(bc);
}


void
ngx_broadcast_stateful_free(ngx_broadcast_conn_t *bc)
{
    if (bc->sequence == NULL) {
        return;
    }

    ngx_broadcast_stateful_away(bc, 0);
    ngx_broadcast_sequence_clear(bc->sequence);

    ngx_free(bc->sequence);
    bc->sequence = NULL;
}
