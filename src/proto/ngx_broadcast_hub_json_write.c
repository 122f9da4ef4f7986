
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_hub_json.h"

#include "proto/ngx_broadcast_out.h"


static void ngx_broadcast_hub_json_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_message_t *m);


size_t
ngx_broadcast_hub_json_len(const ngx_broadcast_message_t *m)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_hub_json_out(&out, m);

    return out.len;
}


u_char *
ngx_broadcast_hub_json_write(u_char *dst, const ngx_broadcast_message_t *m)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_hub_json_out(&out, m);

    return out.pos;
}


static void
ngx_broadcast_hub_json_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_message_t *m)
{
    ngx_broadcast_out_literal(out, "{\"type\":");
    ngx_broadcast_out_int(out, m->type);

    if (m->id.len) {
        ngx_broadcast_out_literal(out, ",\"invocationId\":");
        ngx_broadcast_out_quoted(out, &m->id);
    }

    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_INVOCATION:

        ngx_broadcast_out_literal(out, ",\"target\":");
        ngx_broadcast_out_quoted(out, &m->target);
        ngx_broadcast_out_literal(out, ",\"arguments\":");
        ngx_broadcast_out_str(out, &m->arguments);

        if (m->streams.len) {
            ngx_broadcast_out_literal(out, ",\"streamIds\":");
            ngx_broadcast_out_str(out, &m->streams);
        }

        break;

    case NGX_BROADCAST_MESSAGE_STREAM_ITEM:

        ngx_broadcast_out_literal(out, ",\"item\":");
        ngx_broadcast_out_str(out, &m->value);
        break;

    case NGX_BROADCAST_MESSAGE_COMPLETION:

        if (m->has_error) {
            ngx_broadcast_out_literal(out, ",\"error\":");
            ngx_broadcast_out_quoted(out, &m->error);

        } else if (m->has_value) {
            ngx_broadcast_out_literal(out, ",\"result\":");
            ngx_broadcast_out_str(out, &m->value);
        }

        break;

    case NGX_BROADCAST_MESSAGE_CLOSE:

        if (m->has_error) {
            ngx_broadcast_out_literal(out, ",\"error\":");
            ngx_broadcast_out_quoted(out, &m->error);
        }

        if (m->allow_reconnect) {
            ngx_broadcast_out_literal(out, ",\"allowReconnect\":true");
        }

        break;

    case NGX_BROADCAST_MESSAGE_ACK:
    case NGX_BROADCAST_MESSAGE_SEQUENCE:

        ngx_broadcast_out_literal(out, ",\"sequenceId\":");
        ngx_broadcast_out_int(out, m->sequence);
        break;

    default:
        break;
    }

    ngx_broadcast_out_literal(out, "}\x1e");
}
