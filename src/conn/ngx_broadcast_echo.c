
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_peer.h"
#include "proto/ngx_broadcast_ws.h"


#if (NGX_BROADCAST_DEBUG)

/*
 * broadcast_echo: what a suite for a transport wants, the transport with
 * nothing on top.
 */

void
ngx_broadcast_conn_echo(ngx_broadcast_conn_t *bc, ngx_str_t *bytes,
    ngx_uint_t binary)
{
    ngx_broadcast_frame_t  *frame;

    if (bc->state >= NGX_BROADCAST_CLOSING) {
        return;
    }

    if (ngx_broadcast_inbound_rate(bc) != NGX_OK) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_RATE, 0, NULL);
        return;
    }

    frame = ngx_broadcast_frame_text(bc->framing, bytes);

    if (frame && binary) {

        /* nobody shares it yet; the header of both is the same but for this */

        ngx_broadcast_frame_data(frame)[0] ^= NGX_BROADCAST_WS_TEXT
                                              ^ NGX_BROADCAST_WS_BINARY;
    }

    ngx_broadcast_conn_queue_new(bc, frame);
}

#endif
