
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_frame_local.h"
#include "proto/ngx_broadcast_hub_json.h"
#include "proto/ngx_broadcast_hub_msgpack.h"
#include "proto/ngx_broadcast_plain.h"
#include "proto/ngx_broadcast_recode.h"
#include "proto/ngx_broadcast_scan.h"
#include "proto/ngx_broadcast_ws.h"


/*
 * Messages as frames.  Who is told its position gets it in the frame of the
 * message itself, as one more hub message behind it: a client takes a frame
 * whole or not at all, so it never has a message without the position behind
 * it, however a connection breaks.
 */

#define NGX_BROADCAST_FRAME_PARTS  2        /* hub messages in a frame */


/* ["position"] as arguments, in memory of its own if it is long */

typedef struct {
    ngx_broadcast_message_t   message;
    u_char                   *owned;
    u_char                    buf[NGX_BROADCAST_POSITION_LEN + 4];
} ngx_broadcast_frame_place_t;


static void ngx_broadcast_frame_unsaid(ngx_uint_t protocol,
    ngx_broadcast_record_t *rec);
static ngx_int_t ngx_broadcast_frame_place(ngx_broadcast_frame_place_t *place,
    ngx_str_t *position);
static void ngx_broadcast_frame_place_free(
    ngx_broadcast_frame_place_t *place);
static ngx_broadcast_frame_t *ngx_broadcast_frame_hub(ngx_uint_t protocol,
    ngx_uint_t framing, const ngx_broadcast_message_t **parts, ngx_uint_t n);
static ngx_broadcast_frame_t *ngx_broadcast_frame_json(ngx_uint_t framing,
    const ngx_broadcast_message_t **parts, ngx_uint_t n);
static ngx_broadcast_frame_t *ngx_broadcast_frame_msgpack(ngx_uint_t framing,
    const ngx_broadcast_message_t **parts, ngx_uint_t n);


/* values on their way to the other encoding, emptied behind each message */

static ngx_pool_t  *ngx_broadcast_recode_pool;  /* owned */


ngx_broadcast_frame_t *
ngx_broadcast_frame_message(ngx_uint_t protocol, ngx_uint_t framing,
    ngx_broadcast_record_t *rec)
{
    u_char     buf[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t  id;

    ngx_str_null(&id);

    if (protocol == NGX_BROADCAST_PLAIN
        && !(rec->flags & NGX_BROADCAST_REC_UNNUMBERED))
    {
        ngx_broadcast_frame_id(&id, buf, &rec->position);
    }

    return ngx_broadcast_frame_placed(protocol, framing, rec, &id);
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_placed(ngx_uint_t protocol, ngx_uint_t framing,
    ngx_broadcast_record_t *rec, ngx_str_t *position)
{
    ngx_uint_t                      n;
    ngx_broadcast_frame_t          *frame;
    ngx_broadcast_message_t         m;
    ngx_broadcast_frame_place_t     place;
    const ngx_broadcast_message_t  *parts[NGX_BROADCAST_FRAME_PARTS];

    if (protocol == NGX_BROADCAST_PLAIN) {
        frame = ngx_broadcast_frame_plain(framing, position, &rec->target,
                                          &rec->arguments);

    } else {
        ngx_broadcast_frame_invocation(protocol, rec, &m);

        n = 0;
        parts[n++] = &m;
        place.owned = NULL;

        if (position->len) {

            if (ngx_broadcast_frame_place(&place, position) != NGX_OK) {
                return NULL;
            }

            parts[n++] = &place.message;
        }

        frame = ngx_broadcast_frame_hub(protocol, framing, parts, n);

        ngx_broadcast_frame_place_free(&place);
    }

    if (frame == NULL) {
        ngx_broadcast_frame_unsaid(protocol, rec);
        return NULL;
    }

    /* the first microsecond of 1970 stands for a record without time */

    frame->time = rec->time ? rec->time : 1;
    frame->seq = (rec->flags & NGX_BROADCAST_REC_UNNUMBERED)
                 ? 0 : rec->position.seq;
    frame->sql = (rec->source == NGX_BROADCAST_SRC_SQL);

    ngx_broadcast_count(NGX_BROADCAST_FRAMES_ENCODED, 1);

    return frame;
}


/*
 * No way into the log lets a message in that has no words in a protocol; what
 * was kept by an older version may be one.  Its clients are closed, each time,
 * so the log says why, once a second.
 */

static void
ngx_broadcast_frame_unsaid(ngx_uint_t protocol, ngx_broadcast_record_t *rec)
{
    u_char                    buf[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t                 id, hub;
    ngx_broadcast_hub_info_t  info;

    static time_t             last;

    if (protocol != NGX_BROADCAST_HUB_MSGPACK || last == ngx_time()) {
        return;
    }

    last = ngx_time();

    ngx_broadcast_hub_info(ngx_broadcast_bus.zone, rec->hub, &info);
    ngx_broadcast_frame_id(&id, buf, &rec->position);

    hub.data = info.name;
    hub.len = info.len;

    ngx_log_error(NGX_LOG_ERR, ngx_broadcast_bus.log, 0,
                  "broadcast message %V of hub \"%V\" cannot be said in "
                  "MessagePack, it is nested deeper than %d levels: clients "
                  "that speak it are closed",
                  &id, &hub, NGX_BROADCAST_SCAN_DEPTH);
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_position(ngx_uint_t protocol, ngx_uint_t framing,
    ngx_str_t *position)
{
    ngx_broadcast_frame_t        *frame;
    ngx_broadcast_frame_place_t   place;

    if (ngx_broadcast_frame_place(&place, position) != NGX_OK) {
        return NULL;
    }

    frame = ngx_broadcast_frame_hub_message(protocol, framing, &place.message);

    ngx_broadcast_frame_place_free(&place);

    return frame;
}


static ngx_int_t
ngx_broadcast_frame_place(ngx_broadcast_frame_place_t *place,
    ngx_str_t *position)
{
    u_char  *p, *start;

    place->owned = NULL;
    start = place->buf;

    if (position->len + 4 > sizeof(place->buf)) {
        start = ngx_alloc(position->len + 4, ngx_broadcast_bus.log);
        if (start == NULL) {
            return NGX_ERROR;
        }

        place->owned = start;
    }

    /* letters, digits and what needs no escape in a URL */

    p = ngx_cpymem(start, "[\"", 2);
    p = ngx_cpymem(p, position->data, position->len);
    p = ngx_cpymem(p, "\"]", 2);

    ngx_memzero(&place->message, sizeof(ngx_broadcast_message_t));

    place->message.type = NGX_BROADCAST_MESSAGE_INVOCATION;
    place->message.encoding = NGX_BROADCAST_HUB_JSON;
    place->message.arguments.data = start;
    place->message.arguments.len = p - start;

    ngx_str_set(&place->message.target, NGX_BROADCAST_TOLD);

    return NGX_OK;
}


static void
ngx_broadcast_frame_place_free(ngx_broadcast_frame_place_t *place)
{
    if (place->owned) {
        ngx_free(place->owned);
    }
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_gap(ngx_uint_t protocol, ngx_uint_t framing,
    ngx_str_t *requested, ngx_broadcast_position_t *oldest,
    ngx_broadcast_position_t *from)
{
    u_char                    buf[NGX_BROADCAST_POSITION_LEN];
    u_char                    old[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t                 id, text, target, data;
    ngx_uint_t                array;
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_message_t   m;

    ngx_broadcast_frame_id(&id, buf, from);
    ngx_broadcast_frame_id(&text, old, oldest);

    ngx_str_set(&target, NGX_BROADCAST_PLAIN_GAP);

    array = (framing == NGX_BROADCAST_FRAME_WS
             || ngx_broadcast_is_hub(protocol));

    /* the scratch is needed once more for the frame */

    data.len = ngx_broadcast_plain_gap_len(requested, &text, array);
    data.data = ngx_alloc(data.len, ngx_broadcast_bus.log);
    if (data.data == NULL) {
        return NULL;
    }

    ngx_broadcast_plain_gap_write(data.data, requested, &text, array);

    if (ngx_broadcast_is_hub(protocol)) {
        ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

        m.type = NGX_BROADCAST_MESSAGE_INVOCATION;
        m.encoding = NGX_BROADCAST_HUB_JSON;
        m.target = target;
        m.arguments = data;

        frame = ngx_broadcast_frame_hub_message(protocol, framing, &m);

    } else {
        frame = ngx_broadcast_frame_plain(framing, &id, &target, &data);
    }

    ngx_free(data.data);

    return frame;
}


void
ngx_broadcast_frame_invocation(ngx_uint_t protocol,
    ngx_broadcast_record_t *rec, ngx_broadcast_message_t *m)
{
    ngx_memzero(m, sizeof(ngx_broadcast_message_t));

    m->type = NGX_BROADCAST_MESSAGE_INVOCATION;
    m->encoding = NGX_BROADCAST_HUB_JSON;
    m->target = rec->target;
    m->arguments = rec->arguments;

    if (protocol == NGX_BROADCAST_HUB_MSGPACK && rec->packed.len) {

        /* JSON would have lost dates and bytes */

        m->encoding = NGX_BROADCAST_HUB_MSGPACK;
        m->arguments = rec->packed;
    }
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_hub_message(ngx_uint_t protocol, ngx_uint_t framing,
    const ngx_broadcast_message_t *m)
{
    return ngx_broadcast_frame_hub(protocol, framing, &m, 1);
}


/* changes what parts points to, not the messages */

static ngx_broadcast_frame_t *
ngx_broadcast_frame_hub(ngx_uint_t protocol, ngx_uint_t framing,
    const ngx_broadcast_message_t **parts, ngx_uint_t n)
{
    ngx_uint_t                i, counted;
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_message_t   own[NGX_BROADCAST_FRAME_PARTS];

    frame = NULL;
    counted = 0;

    for (i = 0; i < n; i++) {
        counted += ngx_broadcast_message_counted(parts[i]);

        if ((ngx_uint_t) parts[i]->encoding == protocol) {
            continue;
        }

        if (ngx_broadcast_recode_pool == NULL) {
            ngx_broadcast_recode_pool = ngx_create_pool(4096,
                                                        ngx_broadcast_bus.log);
            if (ngx_broadcast_recode_pool == NULL) {
                return NULL;
            }
        }

        if (ngx_broadcast_recode_message(parts[i], protocol,
                                         ngx_broadcast_recode_pool, &own[i])
            != NGX_OK)
        {
            goto done;
        }

        parts[i] = &own[i];
    }

    switch (protocol) {

    case NGX_BROADCAST_HUB_JSON:
        frame = ngx_broadcast_frame_json(framing, parts, n);
        break;

    case NGX_BROADCAST_HUB_MSGPACK:
        frame = ngx_broadcast_frame_msgpack(framing, parts, n);
        break;
    }

    if (frame) {
        frame->counted = counted;
    }

done:

    if (ngx_broadcast_recode_pool) {
        ngx_reset_pool(ngx_broadcast_recode_pool);
    }

    return frame;
}


static ngx_broadcast_frame_t *
ngx_broadcast_frame_json(ngx_uint_t framing,
    const ngx_broadcast_message_t **parts, ngx_uint_t n)
{
    u_char                 *p;
    ngx_str_t               text;
    ngx_uint_t              i;
    ngx_broadcast_frame_t  *frame;

    text.len = 0;

    for (i = 0; i < n; i++) {
        text.len += ngx_broadcast_hub_json_len(parts[i]);
    }

    if (framing == NGX_BROADCAST_FRAME_WS
        || framing == NGX_BROADCAST_FRAME_BYTES)
    {
        frame = ngx_broadcast_frame_open(framing, NGX_BROADCAST_WS_TEXT,
                                         text.len, &p);
        if (frame) {
            for (i = 0; i < n; i++) {
                p = ngx_broadcast_hub_json_write(p, parts[i]);
            }
        }

        return frame;
    }

    text.data = ngx_broadcast_frame_scratch(text.len);
    if (text.data == NULL) {
        return NULL;
    }

    p = text.data;

    for (i = 0; i < n; i++) {
        p = ngx_broadcast_hub_json_write(p, parts[i]);
    }

    return ngx_broadcast_frame_text(framing, &text);
}


/* MessagePack does not go over an event stream */

static ngx_broadcast_frame_t *
ngx_broadcast_frame_msgpack(ngx_uint_t framing,
    const ngx_broadcast_message_t **parts, ngx_uint_t n)
{
    u_char                 *p;
    size_t                  len;
    ngx_uint_t              i;
    ngx_broadcast_frame_t  *frame;

    len = 0;

    for (i = 0; i < n; i++) {
        len += ngx_broadcast_hub_msgpack_len(parts[i]);
    }

    frame = ngx_broadcast_frame_open(framing, NGX_BROADCAST_WS_BINARY, len,
                                     &p);
    if (frame) {
        for (i = 0; i < n; i++) {
            p = ngx_broadcast_hub_msgpack_write(p, parts[i]);
        }
    }

    return frame;
}


void
ngx_broadcast_frame_recode_free(void)
{
    if (ngx_broadcast_recode_pool) {
        ngx_destroy_pool(ngx_broadcast_recode_pool);
        ngx_broadcast_recode_pool = NULL;
    }
}
