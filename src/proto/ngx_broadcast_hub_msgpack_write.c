
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_hub_msgpack.h"

#include "base/ngx_broadcast_msgpack.h"
#include "proto/ngx_broadcast_out.h"


#define NGX_BROADCAST_HUB_MSGPACK_ERROR   1     /* kinds of a result */
#define NGX_BROADCAST_HUB_MSGPACK_VOID    2
#define NGX_BROADCAST_HUB_MSGPACK_RESULT  3


static int ngx_broadcast_hub_msgpack_put(void *data, const char *bytes,
    size_t len);
static void ngx_broadcast_hub_msgpack_prefix(ngx_broadcast_out_t *out,
    size_t len);
static void ngx_broadcast_hub_msgpack_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_message_t *m);
static void ngx_broadcast_hub_msgpack_start(msgpack_packer *pk,
    const ngx_broadcast_message_t *m, size_t elements);
static void ngx_broadcast_hub_msgpack_str(msgpack_packer *pk,
    const ngx_str_t *str);


size_t
ngx_broadcast_hub_msgpack_len(const ngx_broadcast_message_t *m)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_hub_msgpack_out(&out, m);
    ngx_broadcast_hub_msgpack_prefix(&out, out.len);

    return out.len;
}


u_char *
ngx_broadcast_hub_msgpack_write(u_char *dst, const ngx_broadcast_message_t *m)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_hub_msgpack_out(&out, m);

    out.pos = dst;

    ngx_broadcast_hub_msgpack_prefix(&out, out.len);
    ngx_broadcast_hub_msgpack_out(&out, m);

    return out.pos;
}


static int
ngx_broadcast_hub_msgpack_put(void *data, const char *bytes, size_t len)
{
    ngx_broadcast_out_mem(data, bytes, len);

    return 0;
}


/* VarInt: seven bits a byte, the least significant first */

static void
ngx_broadcast_hub_msgpack_prefix(ngx_broadcast_out_t *out, size_t len)
{
    u_char  *p, prefix[NGX_BROADCAST_HUB_MSGPACK_PREFIX];

    p = prefix;

    while (len > 0x7f && p < prefix + NGX_BROADCAST_HUB_MSGPACK_PREFIX - 1) {
        *p++ = (u_char) (0x80 | (len & 0x7f));
        len >>= 7;
    }

    *p++ = (u_char) len;

    ngx_broadcast_out_mem(out, prefix, p - prefix);
}


static void
ngx_broadcast_hub_msgpack_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_message_t *m)
{
    msgpack_packer  pk;

    msgpack_packer_init(&pk, out, ngx_broadcast_hub_msgpack_put);

    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_INVOCATION:

        ngx_broadcast_hub_msgpack_start(&pk, m, 6);
        ngx_broadcast_hub_msgpack_str(&pk, &m->target);
        ngx_broadcast_out_str(out, &m->arguments);

        if (m->streams.len) {
            ngx_broadcast_out_str(out, &m->streams);

        } else {
            msgpack_pack_array(&pk, 0);
        }

        break;

    case NGX_BROADCAST_MESSAGE_STREAM_ITEM:

        ngx_broadcast_hub_msgpack_start(&pk, m, 4);
        ngx_broadcast_out_str(out, &m->value);
        break;

    case NGX_BROADCAST_MESSAGE_COMPLETION:

        ngx_broadcast_hub_msgpack_start(&pk, m, 4 + (m->has_error
                                                     || m->has_value));
        if (m->has_error) {
            msgpack_pack_int(&pk, NGX_BROADCAST_HUB_MSGPACK_ERROR);
            ngx_broadcast_hub_msgpack_str(&pk, &m->error);

        } else if (m->has_value) {
            msgpack_pack_int(&pk, NGX_BROADCAST_HUB_MSGPACK_RESULT);
            ngx_broadcast_out_str(out, &m->value);

        } else {
            msgpack_pack_int(&pk, NGX_BROADCAST_HUB_MSGPACK_VOID);
        }

        break;

    case NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION:

        ngx_broadcast_hub_msgpack_start(&pk, m, 3);
        break;

    case NGX_BROADCAST_MESSAGE_CLOSE:

        msgpack_pack_array(&pk, 3);
        msgpack_pack_int(&pk, m->type);

        if (m->has_error) {
            ngx_broadcast_hub_msgpack_str(&pk, &m->error);

        } else {
            msgpack_pack_nil(&pk);
        }

        if (m->allow_reconnect) {
            msgpack_pack_true(&pk);

        } else {
            msgpack_pack_false(&pk);
        }

        break;

    case NGX_BROADCAST_MESSAGE_ACK:
    case NGX_BROADCAST_MESSAGE_SEQUENCE:

        msgpack_pack_array(&pk, 2);
        msgpack_pack_int(&pk, m->type);
        msgpack_pack_int64(&pk, m->sequence);
        break;

    default:
        msgpack_pack_array(&pk, 1);
        msgpack_pack_int(&pk, m->type);
        break;
    }
}


/* an array that begins with type, headers and invocation id */

static void
ngx_broadcast_hub_msgpack_start(msgpack_packer *pk,
    const ngx_broadcast_message_t *m, size_t elements)
{
    msgpack_pack_array(pk, elements);
    msgpack_pack_int(pk, m->type);
    msgpack_pack_map(pk, 0);

    if (m->id.len) {
        ngx_broadcast_hub_msgpack_str(pk, &m->id);

    } else {
        msgpack_pack_nil(pk);
    }
}


static void
ngx_broadcast_hub_msgpack_str(msgpack_packer *pk, const ngx_str_t *str)
{
    msgpack_pack_str(pk, str->len);
    msgpack_pack_str_body(pk, str->data, str->len);
}
