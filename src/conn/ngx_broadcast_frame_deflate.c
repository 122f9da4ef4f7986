
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_conn.h"
#include "proto/ngx_broadcast_deflate.h"
#include "proto/ngx_broadcast_ws.h"


/* Compressed forms of WebSocket frames, RFC 7692. */


static ngx_broadcast_frame_t *ngx_broadcast_frame_form(
    ngx_broadcast_frame_t *frame, ngx_uint_t bits, ngx_str_t *payload);
static ngx_int_t ngx_broadcast_frame_payload(ngx_broadcast_frame_t *frame,
    ngx_str_t *payload);


ngx_broadcast_frame_t *
ngx_broadcast_frame_deflated(ngx_broadcast_frame_t *frame, ngx_uint_t bits,
    size_t min)
{
    ngx_str_t               payload;
    ngx_broadcast_frame_t  *form;

    if (ngx_broadcast_frame_payload(frame, &payload) != NGX_OK
        || payload.len < min)
    {
        return frame;
    }

    if (!(frame->tried & (1 << bits))) {

        /*
         * Never tried again, also where there was no memory: what a connection
         * was given is what its queue goes on with.
         */

        frame->tried |= 1 << bits;

        return ngx_broadcast_frame_form(frame, bits, &payload);
    }

    for (form = frame->forms; form; form = form->forms) {
        if (form->bits == bits) {
            return form;
        }
    }

    return frame;
}


static ngx_broadcast_frame_t *
ngx_broadcast_frame_form(ngx_broadcast_frame_t *frame, ngx_uint_t bits,
    ngx_str_t *payload)
{
    u_char                 *p;
    size_t                  head;
    ngx_str_t               out;
    ngx_uint_t              opcode;
    ngx_broadcast_frame_t  *form;

    if (ngx_broadcast_deflate(bits, payload, &out) != NGX_OK) {
        return frame;
    }

    head = ngx_broadcast_ws_header_len(out.len);

    form = ngx_alloc(sizeof(ngx_broadcast_frame_t) + head + out.len,
                     ngx_broadcast_bus.log);
    if (form == NULL) {
        return frame;
    }

    *form = *frame;

    form->refs = 1;
    form->len = (uint32_t) (head + out.len);
    form->bits = bits;
    form->tried = 0;

    frame->forms = form;

    p = ngx_broadcast_frame_data(frame);
    opcode = p[0] & 0x0f;

    p = ngx_broadcast_frame_data(form);
    p += ngx_broadcast_ws_header(p, opcode|NGX_BROADCAST_WS_RSV1, 1, out.len);
    ngx_memcpy(p, out.data, out.len);

    ngx_broadcast_count(NGX_BROADCAST_FRAMES_DEFLATED, 1);

    return form;
}


/* of one whole text or binary message; else NGX_DECLINED */

static ngx_int_t
ngx_broadcast_frame_payload(ngx_broadcast_frame_t *frame, ngx_str_t *payload)
{
    u_char  *p;
    size_t   head;

    p = ngx_broadcast_frame_data(frame);

    if (frame->len < 2
        || (p[0] != (NGX_BROADCAST_WS_FIN|NGX_BROADCAST_WS_TEXT)
            && p[0] != (NGX_BROADCAST_WS_FIN|NGX_BROADCAST_WS_BINARY)))
    {
        return NGX_DECLINED;
    }

    switch (p[1]) {

    case 127:
        head = 10;
        break;

    case 126:
        head = 4;
        break;

    default:
        head = 2;
    }

    payload->data = p + head;
    payload->len = frame->len - head;

    return NGX_OK;
}
