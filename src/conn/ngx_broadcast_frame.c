
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_frame_local.h"
#include "proto/ngx_broadcast_plain.h"
#include "proto/ngx_broadcast_sse.h"
#include "proto/ngx_broadcast_ws.h"


#define NGX_BROADCAST_SCRATCH_KEEP  65536


static ngx_broadcast_frame_t *ngx_broadcast_frame_new(size_t len);
static void ngx_broadcast_frame_scratch_free(void);


/* text that is written before its framed length is known */

static u_char  *ngx_broadcast_scratch;          /* owned */
static size_t   ngx_broadcast_scratch_size;

static ngx_broadcast_frame_t *
ngx_broadcast_frame_new(size_t len)
{
    ngx_broadcast_frame_t  *frame;

    if (len > NGX_MAX_UINT32_VALUE - sizeof(ngx_broadcast_frame_t)) {
        return NULL;
    }

    frame = ngx_alloc(sizeof(ngx_broadcast_frame_t) + len,
                      ngx_broadcast_bus.log);
    if (frame == NULL) {
        return NULL;
    }

    ngx_memzero(frame, sizeof(ngx_broadcast_frame_t));

    frame->refs = 1;
    frame->len = (uint32_t) len;

    return frame;
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_open(ngx_uint_t framing, ngx_uint_t opcode, size_t len,
    u_char **p)
{
    size_t                  head, tail;
    ngx_broadcast_frame_t  *frame;

    head = 0;
    tail = 0;

    switch (framing) {

    case NGX_BROADCAST_FRAME_WS:
        head = ngx_broadcast_ws_header_len(len);
        break;

    case NGX_BROADCAST_FRAME_SSE_CHUNK:
        head = ngx_broadcast_sse_chunk_len(len);
        tail = sizeof(NGX_BROADCAST_SSE_CHUNK_END) - 1;
        break;
    }

    frame = ngx_broadcast_frame_new(head + len + tail);
    if (frame == NULL) {
        return NULL;
    }

    *p = ngx_broadcast_frame_data(frame);

    switch (framing) {

    case NGX_BROADCAST_FRAME_WS:
        *p += ngx_broadcast_ws_header(*p, opcode, 1, len);
        break;

    case NGX_BROADCAST_FRAME_SSE_CHUNK:
        *p += ngx_broadcast_sse_chunk(*p, len);
        ngx_memcpy(*p + len, NGX_BROADCAST_SSE_CHUNK_END, tail);
        break;
    }

    return frame;
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_bytes(const void *data, size_t len)
{
    ngx_broadcast_frame_t  *frame;

    frame = ngx_broadcast_frame_new(len);

    if (frame) {
        ngx_memcpy(ngx_broadcast_frame_data(frame), data, len);
    }

    return frame;
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_text(ngx_uint_t framing, ngx_str_t *text)
{
    u_char                 *p;
    size_t                  len;
    ngx_uint_t              lines;
    ngx_broadcast_frame_t  *frame;

    lines = (framing == NGX_BROADCAST_FRAME_SSE
             || framing == NGX_BROADCAST_FRAME_SSE_CHUNK);

    len = lines ? ngx_broadcast_sse_data_len(text) : text->len;

    frame = ngx_broadcast_frame_open(framing, NGX_BROADCAST_WS_TEXT, len, &p);
    if (frame == NULL) {
        return NULL;
    }

    if (lines) {
        ngx_broadcast_sse_data_write(p, text);

    } else {
        ngx_memcpy(p, text->data, text->len);
    }

    return frame;
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_error(ngx_str_t *text)
{
    u_char                 *p;
    ngx_broadcast_frame_t  *frame;

    frame = ngx_broadcast_frame_open(NGX_BROADCAST_FRAME_WS,
                                     NGX_BROADCAST_WS_TEXT,
                                     ngx_broadcast_plain_error_len(text), &p);
    if (frame) {
        ngx_broadcast_plain_error_write(p, text);
    }

    return frame;
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_plain(ngx_uint_t framing, ngx_str_t *id, ngx_str_t *target,
    ngx_str_t *arguments)
{
    u_char                 *p;
    ngx_broadcast_frame_t  *frame;

    if (framing == NGX_BROADCAST_FRAME_WS) {
        frame = ngx_broadcast_frame_open(framing, NGX_BROADCAST_WS_TEXT,
                                         ngx_broadcast_plain_len(id, target,
                                                                 arguments),
                                         &p);
        if (frame) {
            ngx_broadcast_plain_write(p, id, target, arguments);
        }

        return frame;
    }

    frame = ngx_broadcast_frame_open(framing, NGX_BROADCAST_WS_TEXT,
                                     ngx_broadcast_sse_event_len(id, target,
                                                                 arguments),
                                     &p);
    if (frame) {
        ngx_broadcast_sse_event_write(p, id, target, arguments);
    }

    return frame;
}


ngx_broadcast_frame_t *
ngx_broadcast_frame_ping(ngx_uint_t protocol, ngx_uint_t framing,
    ngx_broadcast_position_t *position)
{
    u_char                    buf[NGX_BROADCAST_POSITION_LEN], *p;
    ngx_str_t                 text, none;
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_message_t   m;

    if (ngx_broadcast_is_hub(protocol)) {
        ngx_memzero(&m, sizeof(ngx_broadcast_message_t));
        m.type = NGX_BROADCAST_MESSAGE_PING;

        return ngx_broadcast_frame_hub_message(protocol, framing, &m);
    }

    if (framing == NGX_BROADCAST_FRAME_WS) {
        frame = ngx_broadcast_frame_new(ngx_broadcast_ws_header_len(0));

        if (frame) {
            ngx_broadcast_ws_header(ngx_broadcast_frame_data(frame),
                                    NGX_BROADCAST_WS_PING, 1, 0);
        }

        return frame;
    }

    ngx_str_null(&none);
    ngx_broadcast_frame_id(&text, buf, position);

    if (text.len == 0 || protocol == NGX_BROADCAST_ECHO) {

        /* no number was given yet: a comment keeps proxies awake as well */

        frame = ngx_broadcast_frame_open(framing, NGX_BROADCAST_WS_TEXT,
                                         sizeof(NGX_BROADCAST_SSE_OPEN) - 1,
                                         &p);
        if (frame) {
            ngx_memcpy(p, NGX_BROADCAST_SSE_OPEN,
                       sizeof(NGX_BROADCAST_SSE_OPEN) - 1);
        }

        return frame;
    }

    frame = ngx_broadcast_frame_open(framing, NGX_BROADCAST_WS_TEXT,
                                     ngx_broadcast_sse_event_len(&text, &none,
                                                                 NULL),
                                     &p);
    if (frame) {
        ngx_broadcast_sse_event_write(p, &text, &none, NULL);
    }

    return frame;
}


void
ngx_broadcast_frame_id(ngx_str_t *id, u_char *buf,
    ngx_broadcast_position_t *position)
{
    id->data = buf;
    id->len = position->epoch
              ? (size_t) (ngx_broadcast_position_print(buf, position) - buf)
              : 0;
}


u_char *
ngx_broadcast_frame_scratch(size_t len)
{
    if (ngx_broadcast_scratch_size < len
        || (ngx_broadcast_scratch_size > NGX_BROADCAST_SCRATCH_KEEP
            && len <= NGX_BROADCAST_SCRATCH_KEEP))
    {
        ngx_broadcast_frame_scratch_free();

        len = ngx_max(len, 4096);

        ngx_broadcast_scratch = ngx_alloc(len, ngx_broadcast_bus.log);
        if (ngx_broadcast_scratch == NULL) {
            return NULL;
        }

        ngx_broadcast_scratch_size = len;
    }

    return ngx_broadcast_scratch;
}


void
ngx_broadcast_frame_free(ngx_broadcast_frame_t *frame)
{
    ngx_broadcast_frame_t  *form;

    if (--frame->refs) {
        return;
    }

    while (frame->forms) {
        form = frame->forms;
        frame->forms = form->forms;
        form->forms = NULL;

        ngx_broadcast_frame_free(form);
    }

    ngx_free(frame);
}


static void
ngx_broadcast_frame_scratch_free(void)
{
    if (ngx_broadcast_scratch) {
        ngx_free(ngx_broadcast_scratch);
        ngx_broadcast_scratch = NULL;
        ngx_broadcast_scratch_size = 0;
    }
}


void
ngx_broadcast_frame_stop(void)
{
    ngx_broadcast_frame_scratch_free();
    ngx_broadcast_frame_recode_free();
}
