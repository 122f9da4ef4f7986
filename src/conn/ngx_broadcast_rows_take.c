
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_rows_local.h"


/*
 * The connection's side of a stream of rows: it takes items as its queue has
 * room, wherever the stream runs.
 */


static void ngx_broadcast_rows_ask(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under);
static void ngx_broadcast_rows_say(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under, ngx_uint_t bytes);
static void ngx_broadcast_rows_orphans(ngx_broadcast_conn_t *bc);


static uint64_t  ngx_broadcast_rows_changes;
static uint64_t  ngx_broadcast_rows_head;   /* when all up to it was read */


ngx_broadcast_under_t *
ngx_broadcast_rows_under(ngx_broadcast_conn_t *bc,
    ngx_broadcast_owner_t source, uint64_t serial)
{
    ngx_broadcast_under_t  *under;

    if (bc->invocation == NULL) {
        return NULL;
    }

    for (under = bc->invocation->streams; under; under = under->next) {

        if (under->source == source && under->serial == serial) {
            return under;
        }
    }

    return NULL;
}


/*
 * A client that reads takes what was queued in this turn of the loop; one that
 * does not, has no more than this waiting.  What a stateful one has not
 * acknowledged counts, too.
 */

ngx_uint_t
ngx_broadcast_rows_fits(ngx_broadcast_conn_t *bc, size_t len)
{
    size_t                     limit;
    ngx_broadcast_sequence_t  *s;

    s = bc->sequence;

    if (s && (s->waiting.count
              || (s->unacked.count && s->unacked.bytes + len > s->limit)))
    {
        return 0;
    }

    limit = ngx_min(bc->limits->queue / 2, NGX_BROADCAST_ROWS_BYTES);

    return bc->outq.count == 0 || bc->outq.bytes + len <= limit;
}


ngx_int_t
ngx_broadcast_rows_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_under_t *under, ngx_str_t *item)
{
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_message_t   m;

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_STREAM_ITEM;
    m.encoding = NGX_BROADCAST_HUB_JSON;
    m.id = under->id;
    m.value = *item;
    m.shape = under->shape;
    m.has_value = 1;

    frame = ngx_broadcast_frame_hub_message(bc->protocol, bc->framing, &m);
    if (frame == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_conn_queue_new(bc, frame);

    return NGX_OK;
}


void
ngx_broadcast_rows_wait(ngx_broadcast_conn_t *bc, ngx_broadcast_under_t *under)
{
    under->starved = 1;
    bc->invocation->starved = 1;
}


void
ngx_broadcast_rows_room(ngx_broadcast_conn_t *bc)
{
    size_t                  half;
    ngx_broadcast_under_t  *under;

    /* half of what it may be: else each item would be asked for by itself */

    half = ngx_min(bc->limits->queue / 2, NGX_BROADCAST_ROWS_BYTES) / 2;

    if (bc->verdict || !ngx_broadcast_rows_fits(bc, half)) {
        return;
    }

    bc->invocation->starved = 0;

    for (under = bc->invocation->streams; under; under = under->next) {

        if (under->starved) {
            under->starved = 0;
            ngx_broadcast_rows_ask(bc, under);
        }
    }
}


static void
ngx_broadcast_rows_ask(ngx_broadcast_conn_t *bc, ngx_broadcast_under_t *under)
{
    ngx_uint_t  bytes;

    if (under->source == ngx_broadcast_rows_self()) {
        ngx_broadcast_stream_resume(under->serial);
        return;
    }

    bytes = ngx_min(bc->limits->queue / 2, NGX_BROADCAST_ROWS_BYTES) / 2;

    ngx_broadcast_rows_say(bc, under, ngx_max(bytes, 1));
}


/* 0: it is cancelled */

static void
ngx_broadcast_rows_say(ngx_broadcast_conn_t *bc, ngx_broadcast_under_t *under,
    ngx_uint_t bytes)
{
    u_char                  text[NGX_INT_T_LEN];
    ngx_broadcast_record_t  rec;

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_FLOW;
    rec.hub = bc->hub->index;
    rec.name = bc->id;

    if (bytes) {
        rec.arguments.data = text;
        rec.arguments.len = ngx_sprintf(text, "%ui", bytes) - text;
    }

    (void) ngx_broadcast_rows_publish(&rec, under->source, under->serial, 0);
}


void
ngx_broadcast_rows_stop(ngx_broadcast_conn_t *bc, ngx_broadcast_under_t *under)
{
    if (under->source == 0) {
        return;
    }

    if (under->source == ngx_broadcast_rows_self()) {
        ngx_broadcast_rows_cancel(under->serial);
        return;
    }

    ngx_broadcast_rows_say(bc, under, 0);
}


void
ngx_broadcast_rows_arrived(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_under_t  *under;

    if (bc->invocation == NULL) {
        return;
    }

    for (under = bc->invocation->streams; under; under = under->next) {

        if (under->source == 0) {
            continue;
        }

        ngx_broadcast_rows_wait(bc, under);

        /* the worker may be gone already */

        if (under->source != ngx_broadcast_rows_self()) {
            ngx_broadcast_rows_head =
                               ngx_broadcast_log_head(ngx_broadcast_bus.zone);
        }
    }

    if (bc->invocation->starved) {
        ngx_broadcast_rows_room(bc);
    }
}


ngx_uint_t
ngx_broadcast_rows_belongs(ngx_broadcast_under_t *under,
    ngx_broadcast_record_t *rec)
{
    uint64_t               serial;
    ngx_broadcast_owner_t  owner;

    if (rec->target.len == 0) {
        return under->source == 0;
    }

    return ngx_broadcast_rows_name(&rec->target, &owner, &serial, NULL)
           == NGX_OK
           && under->source == owner && under->serial == serial;
}


void
ngx_broadcast_rows_took(ngx_broadcast_conn_t *bc, ngx_broadcast_under_t *under,
    ngx_broadcast_record_t *rec)
{
    uint64_t               serial;
    ngx_uint_t             more;
    ngx_broadcast_owner_t  owner;

    if (ngx_broadcast_rows_name(&rec->target, &owner, &serial, &more)
        == NGX_OK
        && more)
    {
        ngx_broadcast_rows_wait(bc, under);
        ngx_broadcast_rows_room(bc);
    }
}


void
ngx_broadcast_rows_look(void)
{
    uint64_t               changes;
    ngx_broadcast_conn_t  *bc;

    changes = ngx_broadcast_slot_changes(ngx_broadcast_bus.zone);

    if (changes != ngx_broadcast_rows_changes) {
        ngx_broadcast_rows_changes = changes;
        ngx_broadcast_rows_head =
                               ngx_broadcast_log_head(ngx_broadcast_bus.zone);
    }

    /* a worker's last words stand before that, and may not be read yet */

    if (ngx_broadcast_rows_head == 0
        || ngx_broadcast_fanout_matched() < ngx_broadcast_rows_head)
    {
        return;
    }

    ngx_broadcast_rows_head = 0;

    for (bc = ngx_broadcast_conn_next(NULL);
         bc;
         bc = ngx_broadcast_conn_next(bc))
    {
        if (bc->invocation) {
            ngx_broadcast_rows_orphans(bc);
        }
    }
}


static void
ngx_broadcast_rows_orphans(ngx_broadcast_conn_t *bc)
{
    ngx_str_t               error;
    ngx_broadcast_under_t  *under, *next;

    for (under = bc->invocation->streams; under; under = next) {
        next = under->next;

        if (under->source && under->source != ngx_broadcast_rows_self()
            && !ngx_broadcast_slot_alive(ngx_broadcast_bus.zone,
                                         under->source))
        {
            ngx_str_set(&error, NGX_BROADCAST_ROWS_ERROR);

            under->source = 0;
            (void) ngx_broadcast_invocation_end(bc, &under->id, &error);
        }
    }
}


ngx_int_t
ngx_broadcast_rows_publish(ngx_broadcast_record_t *rec,
    ngx_broadcast_owner_t owner, uint64_t serial, ngx_uint_t more)
{
    u_char  text[2 * NGX_INT64_LEN + 3];

    rec->scope = NGX_BROADCAST_CONNECTION;
    rec->flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec->source = NGX_BROADCAST_SRC_FUNCTION;

    rec->target.data = text;
    rec->target.len = ngx_sprintf(text, "%uL.%uL%s", owner, serial,
                                  more ? "+" : "")
                      - text;

    return ngx_broadcast_publish(rec, 1);
}


ngx_int_t
ngx_broadcast_rows_name(ngx_str_t *target, ngx_broadcast_owner_t *owner,
    uint64_t *serial, ngx_uint_t *more)
{
    size_t     len;
    off_t      n;
    u_char    *dot;

    dot = ngx_strlchr(target->data, target->data + target->len, '.');

    if (dot == NULL) {
        return NGX_DECLINED;
    }

    n = ngx_atoof(target->data, dot - target->data);

    if (n == NGX_ERROR) {
        return NGX_DECLINED;
    }

    *owner = (ngx_broadcast_owner_t) n;

    len = target->data + target->len - (dot + 1);

    if (len && dot[len] == '+') {
        len--;

        if (more) {
            *more = 1;
        }

    } else if (more) {
        *more = 0;
    }

    n = ngx_atoof(dot + 1, len);

    if (n == NGX_ERROR) {
        return NGX_DECLINED;
    }

    *serial = (uint64_t) n;

    return NGX_OK;
}
