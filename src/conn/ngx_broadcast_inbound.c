
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_invocation.h"
#include "conn/ngx_broadcast_stateful.h"
#include "proto/ngx_broadcast_handshake.h"
#include "proto/ngx_broadcast_hub_json.h"
#include "proto/ngx_broadcast_ws.h"


/*
 * Bytes from the client become records, one after another: while a function is
 * called for one, the rest waits in bc->input and the transport stops reading
 * where it can.
 */

static ngx_int_t ngx_broadcast_inbound_take(ngx_broadcast_conn_t *bc,
    u_char **pos, u_char *last);
static ngx_int_t ngx_broadcast_inbound_next(ngx_broadcast_conn_t *bc,
    u_char **pos, u_char *last);
static ngx_int_t ngx_broadcast_inbound_handshake(ngx_broadcast_conn_t *bc,
    u_char **pos, u_char *last);
static void ngx_broadcast_inbound_record(ngx_broadcast_conn_t *bc,
    ngx_str_t *record);
static void ngx_broadcast_inbound_message(ngx_broadcast_conn_t *bc,
    ngx_broadcast_message_t *m);
static void ngx_broadcast_inbound_invalid(ngx_broadcast_conn_t *bc,
    const char *error);
static void ngx_broadcast_inbound_too_big(ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_inbound_keep(ngx_broadcast_conn_t *bc,
    u_char *data, size_t len, ngx_uint_t separate);
static ngx_uint_t ngx_broadcast_inbound_partial(ngx_broadcast_conn_t *bc,
    ngx_broadcast_input_t *in);
static void ngx_broadcast_inbound_drop(ngx_broadcast_conn_t *bc);


/* for decoded strings of one record, emptied behind each */

static ngx_pool_t  *ngx_broadcast_inbound_pool;


void
ngx_broadcast_conn_input(ngx_broadcast_conn_t *bc, ngx_str_t *bytes)
{
    u_char      *pos, *last;
    ngx_uint_t   plain;

    if (bc->state >= NGX_BROADCAST_CLOSING) {
        return;
    }

    bc->received = ngx_current_msec;

#if (NGX_BROADCAST_DEBUG)

    if (bc->protocol == NGX_BROADCAST_ECHO) {
        ngx_broadcast_conn_echo(bc, bytes, 0);
        return;
    }

#endif

    plain = (bc->protocol == NGX_BROADCAST_PLAIN);

    if (bc->input || bc->task || bc->inside
        || bc->state == NGX_BROADCAST_NEW || ngx_broadcast_held(bc))
    {
        if (ngx_broadcast_inbound_keep(bc, bytes->data, bytes->len, plain)
            != NGX_OK)
        {
            ngx_broadcast_inbound_too_big(bc);
            return;
        }

        if (bc->task == NULL && !bc->inside
            && bc->state != NGX_BROADCAST_NEW)
        {
            ngx_broadcast_inbound_run(bc);
        }

        return;
    }

    pos = bytes->data;
    last = pos + bytes->len;

    /* a plain WebSocket message is one record, whole as it is */

    if (plain) {
        bc->inside = 1;
        ngx_broadcast_inbound_record(bc, bytes);
        bc->inside = 0;
        return;
    }

    bc->inside = 1;
    (void) ngx_broadcast_inbound_take(bc, &pos, last);
    bc->inside = 0;

    if (pos < last && bc->state < NGX_BROADCAST_CLOSING
        && ngx_broadcast_inbound_keep(bc, pos, last - pos, 0) != NGX_OK)
    {
        ngx_broadcast_inbound_too_big(bc);
    }
}


void
ngx_broadcast_inbound_run(ngx_broadcast_conn_t *bc)
{
    u_char                 *pos, *last;
    ngx_int_t               rc;
    ngx_broadcast_input_t  *in;

    in = bc->input;

    if (in && bc->task == NULL && !bc->held && !bc->inside
        && bc->state < NGX_BROADCAST_CLOSING
        && !ngx_broadcast_inbound_partial(bc, in))
    {
        /* nobody frees or moves it while we are inside */

        pos = ngx_broadcast_input_data(in) + in->pos;
        last = ngx_broadcast_input_data(in) + in->len;

        bc->inside = 1;
        rc = ngx_broadcast_inbound_take(bc, &pos, last);
        bc->inside = 0;

        in->pos = pos - ngx_broadcast_input_data(in);
        in->partial = (rc == NGX_AGAIN) ? in->len - in->pos : 0;

        if (in->pos == in->len) {
            ngx_broadcast_inbound_drop(bc);
        }
    }

    if (bc->task == NULL && !bc->held && bc->transport
        && bc->state == NGX_BROADCAST_ACTIVE)
    {
        bc->transport->resume(bc);
    }
}


/*
 * 1 if what waits is still no whole record, for the new bytes have no end of
 * one: a record in many small pieces is looked through once.  A MessagePack
 * record says how long it is.
 */

static ngx_uint_t
ngx_broadcast_inbound_partial(ngx_broadcast_conn_t *bc,
    ngx_broadcast_input_t *in)
{
    u_char  *p;
    size_t   len;

    len = in->len - in->pos;

    if (in->partial == 0 || bc->protocol == NGX_BROADCAST_HUB_MSGPACK
        || len > bc->limits->message_size)
    {
        return 0;
    }

    p = ngx_broadcast_input_data(in) + in->pos;

    if (memchr(p + in->partial, NGX_BROADCAST_HUB_JSON_SEPARATOR,
               len - in->partial))
    {
        return 0;
    }

    in->partial = len;

    return 1;
}


/*
 * Takes records until there is none, until one is being called for (NGX_BUSY),
 * or until the connection has ended (NGX_DONE).  NGX_AGAIN: what is left at
 * *pos is no whole record.
 */

static ngx_int_t
ngx_broadcast_inbound_take(ngx_broadcast_conn_t *bc, u_char **pos,
    u_char *last)
{
    ngx_int_t  rc;

    for ( ;; ) {

        if (bc->state >= NGX_BROADCAST_CLOSING) {
            return NGX_DONE;
        }

        if (bc->task || ngx_broadcast_held(bc)) {
            return NGX_BUSY;
        }

        if (*pos == last) {
            return NGX_OK;
        }

        if (bc->state == NGX_BROADCAST_HANDSHAKE) {
            rc = ngx_broadcast_inbound_handshake(bc, pos, last);

        } else {
            rc = ngx_broadcast_inbound_next(bc, pos, last);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


static ngx_int_t
ngx_broadcast_inbound_next(ngx_broadcast_conn_t *bc, u_char **pos,
    u_char *last)
{
    ngx_int_t    rc;
    ngx_str_t    record;
    const char  *error;

    rc = ngx_broadcast_encoding_next(bc, pos, last, &record, &error);

    switch (rc) {

    case NGX_OK:
        ngx_broadcast_inbound_record(bc, &record);
        return NGX_OK;

    case NGX_BUSY:
        ngx_broadcast_inbound_too_big(bc);
        return NGX_DONE;

    case NGX_ERROR:
        ngx_broadcast_inbound_invalid(bc, error);
        return NGX_DONE;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_broadcast_inbound_handshake(ngx_broadcast_conn_t *bc, u_char **pos,
    u_char *last)
{
    u_char                     *p;
    ngx_int_t                   rc;
    ngx_str_t                   text;
    ngx_broadcast_handshake_t   h;

    ngx_memzero(&h, sizeof(ngx_broadcast_handshake_t));

    h.limit = bc->limits->message_size;
    h.max_version = bc->granted ? 2 : 1;
    h.msgpack = 1;
    h.binary = (bc->type != NGX_BROADCAST_SSE);

    rc = ngx_broadcast_handshake_parse(&h, pos, last);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    text.len = ngx_broadcast_handshake_reply_len(&h);

    p = ngx_alloc(text.len, ngx_broadcast_bus.log);
    if (p == NULL) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_ERROR, 0, NULL);
        return NGX_DONE;
    }

    text.data = p;
    ngx_broadcast_handshake_reply_write(p, &h);

    ngx_broadcast_conn_queue_text(bc, &text);

    ngx_free(p);

    if (rc != NGX_OK) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_PROTOCOL,
                               NGX_BROADCAST_WS_NORMAL, NULL);
        return NGX_DONE;
    }

    bc->protocol = h.protocol;

    if (h.version == 2 && ngx_broadcast_stateful_open(bc) != NGX_OK) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_ERROR, 0, NULL);
        return NGX_DONE;
    }

    ngx_broadcast_resume_begin(bc);
    ngx_broadcast_conn_turn(bc, NGX_BROADCAST_ACTIVE);
    ngx_broadcast_function_connected(bc);

    return NGX_OK;
}


/* one record without its separator */

static void
ngx_broadcast_inbound_record(ngx_broadcast_conn_t *bc, ngx_str_t *record)
{
    ngx_int_t                 rc;
    const char               *error;
    ngx_broadcast_message_t   m;

    if (ngx_broadcast_inbound_pool == NULL) {
        ngx_broadcast_inbound_pool = ngx_create_pool(4096,
                                                     ngx_broadcast_bus.log);
        if (ngx_broadcast_inbound_pool == NULL) {
            ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_ERROR, 0, NULL);
            return;
        }
    }

    if (record->len > bc->limits->message_size) {
        ngx_broadcast_inbound_too_big(bc);
        return;
    }

    if (bc->protocol == NGX_BROADCAST_PLAIN) {
        ngx_broadcast_plain_input(bc, ngx_broadcast_inbound_pool, record);
        ngx_reset_pool(ngx_broadcast_inbound_pool);
        return;
    }

    rc = ngx_broadcast_encoding_parse(bc, record, ngx_broadcast_inbound_pool,
                                      &m, &error);

    if (rc == NGX_OK) {
        ngx_broadcast_inbound_message(bc, &m);

    } else if (rc == NGX_ERROR) {
        ngx_broadcast_inbound_invalid(bc, error);
    }

    ngx_reset_pool(ngx_broadcast_inbound_pool);
}


static void
ngx_broadcast_inbound_message(ngx_broadcast_conn_t *bc,
    ngx_broadcast_message_t *m)
{
    if (bc->sequence && !ngx_broadcast_stateful_message(bc, m)) {
        return;
    }

    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_ITEM:
    case NGX_BROADCAST_MESSAGE_COMPLETION:
    case NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION:
        break;

    case NGX_BROADCAST_MESSAGE_CLOSE:
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_CLIENT, 0, NULL);
        return;

    default:
        return;
    }

    if (ngx_broadcast_inbound_rate(bc) != NGX_OK) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_RATE, 0, NULL);
        return;
    }

    ngx_broadcast_invocation_message(bc, ngx_broadcast_inbound_pool, m);
}


ngx_int_t
ngx_broadcast_inbound_rate(ngx_broadcast_conn_t *bc)
{
    ngx_msec_t      elapsed;
    ngx_msec_int_t  excess;

    if (bc->limits->rate == 0) {
        return NGX_OK;
    }

    /* a leaky bucket in thousandths of a message, as in limit_req */

    elapsed = ngx_min(ngx_current_msec - bc->counted, 3600000);

    excess = (ngx_msec_int_t) bc->excess
             - (ngx_msec_int_t) (bc->limits->rate * elapsed / 1000);
    excess = ngx_max(excess, 0);

    if ((ngx_uint_t) excess > bc->limits->burst * 1000) {
        return NGX_BUSY;
    }

    bc->counted = ngx_current_msec;
    bc->excess = excess + 1000;

    return NGX_OK;
}


void
ngx_broadcast_inbound_refuse(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *id, ngx_str_t *target, ngx_int_t rc)
{
    ngx_str_t   error;
    ngx_uint_t  why;

    switch (rc) {

    case NGX_DECLINED:
        why = NGX_BROADCAST_REFUSAL_UNKNOWN;
        break;

    case NGX_ABORT:
        why = NGX_BROADCAST_REFUSAL_AWAY;
        break;

    case NGX_BUSY:
        why = NGX_BROADCAST_REFUSAL_BUSY;
        break;

    default:
        why = NGX_BROADCAST_REFUSAL_MEMORY;
    }

    if (ngx_broadcast_refusal_text(pool, why, target, 0, 0, &error)
        == NGX_OK)
    {
        ngx_broadcast_inbound_answer(bc, id, NULL, &error);
    }
}


void
ngx_broadcast_inbound_answer(ngx_broadcast_conn_t *bc, ngx_str_t *id,
    ngx_str_t *result, ngx_str_t *error)
{
    ngx_broadcast_message_t  m;

    if (bc->protocol == NGX_BROADCAST_PLAIN) {

        if (error) {
            ngx_broadcast_conn_queue_new(bc, ngx_broadcast_frame_error(error));
        }

        return;
    }

    if (id->len == 0) {
        return;
    }

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    m.id = *id;

    if (error) {
        m.error = *error;
        m.has_error = 1;

    } else {
        m.value = *result;
        m.has_value = 1;
    }

    ngx_broadcast_conn_queue_message(bc, &m);
}


static void
ngx_broadcast_inbound_invalid(ngx_broadcast_conn_t *bc, const char *error)
{
    ngx_log_error(NGX_LOG_INFO, ngx_broadcast_bus.log, 0,
                  "broadcast client sent an invalid record: %s", error);
    ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_PROTOCOL, 0, NULL);
}


/* the close code makes the sentence of signalr.md 3.4 */

static void
ngx_broadcast_inbound_too_big(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);

    ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_PROTOCOL,
                           NGX_BROADCAST_WS_TOO_BIG, NULL);
}


/*
 * Appends to what waits.  Bounded by one message and, as it is data that waits
 * for somebody slow, by the bytes of the queue.  Messages of a plain WebSocket
 * are kept apart by the record separator, which no JSON text holds.
 */

static ngx_int_t
ngx_broadcast_inbound_keep(ngx_broadcast_conn_t *bc, u_char *data, size_t len,
    ngx_uint_t separate)
{
    u_char                 *p;
    size_t                  size, have;
    ngx_broadcast_input_t  *in, *old;

    old = bc->input;
    have = old ? old->len - old->pos : 0;

    if (have + len > bc->limits->message_size + bc->limits->queue) {
        return NGX_ERROR;
    }

    if (old == NULL || old->size - old->len < len + 1) {
        size = ngx_max(have + len + 1, 2 * have);
        size = ngx_max(size, 256);

        in = ngx_alloc(sizeof(ngx_broadcast_input_t) + size,
                       ngx_broadcast_bus.log);
        if (in == NULL) {
            return NGX_ERROR;
        }

        in->pos = 0;
        in->len = have;
        in->size = size;
        in->partial = old ? old->partial : 0;

        if (old) {

            /* a caller that is inside still reads the old one */

            if (bc->inside) {
                ngx_free(in);
                return NGX_ERROR;
            }

            ngx_memcpy(ngx_broadcast_input_data(in),
                       ngx_broadcast_input_data(old) + old->pos, have);
            ngx_free(old);
        }

        bc->input = in;
    }

    in = bc->input;

    p = ngx_cpymem(ngx_broadcast_input_data(in) + in->len, data, len);

    if (separate) {
        *p++ = NGX_BROADCAST_HUB_JSON_SEPARATOR;
    }

    in->len = p - ngx_broadcast_input_data(in);

    return NGX_OK;
}


static void
ngx_broadcast_inbound_drop(ngx_broadcast_conn_t *bc)
{
    ngx_free(bc->input);
    bc->input = NULL;
}


void
ngx_broadcast_inbound_stop(void)
{
    if (ngx_broadcast_inbound_pool) {
        ngx_destroy_pool(ngx_broadcast_inbound_pool);
        ngx_broadcast_inbound_pool = NULL;
    }
}
