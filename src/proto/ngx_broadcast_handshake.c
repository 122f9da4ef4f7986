
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_handshake.h"

#include "proto/ngx_broadcast_hub_json.h"
#include "proto/ngx_broadcast_out.h"
#include "proto/ngx_broadcast_scan.h"


static ngx_int_t ngx_broadcast_handshake_read(ngx_broadcast_handshake_t *h,
    const ngx_str_t *record, ngx_broadcast_scan_value_t *name);
static void ngx_broadcast_handshake_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_handshake_t *h);


ngx_int_t
ngx_broadcast_handshake_parse(ngx_broadcast_handshake_t *h, u_char **pos,
    u_char *last)
{
    ngx_str_t                   record;
    ngx_broadcast_scan_value_t  name;

    if (ngx_broadcast_hub_json_next(pos, last, &record) != NGX_OK) {

        if ((size_t) (last - *pos) <= h->limit) {
            return NGX_AGAIN;
        }

        h->status = NGX_BROADCAST_HANDSHAKE_CANCELED;
        return NGX_ERROR;
    }

    if (record.len > h->limit) {
        h->status = NGX_BROADCAST_HANDSHAKE_CANCELED;
        return NGX_ERROR;
    }

    if (ngx_broadcast_handshake_read(h, &record, &name) != NGX_OK) {
        h->status = NGX_BROADCAST_HANDSHAKE_MALFORMED;
        return NGX_ERROR;
    }

    h->name.data = name.text.data + 1;
    h->name.len = name.text.len - 2;

    if (ngx_broadcast_scan_is_nocase(&name, "json")) {
        h->protocol = NGX_BROADCAST_HUB_JSON;

    } else if (h->msgpack
               && ngx_broadcast_scan_is_nocase(&name, "messagepack"))
    {
        h->protocol = NGX_BROADCAST_HUB_MSGPACK;

    } else {
        h->status = NGX_BROADCAST_HANDSHAKE_PROTOCOL;
        return NGX_ERROR;
    }

    if (h->version < 1 || h->version > h->max_version) {
        h->status = NGX_BROADCAST_HANDSHAKE_VERSION;
        return NGX_ERROR;
    }

    if (h->protocol == NGX_BROADCAST_HUB_MSGPACK && !h->binary) {
        h->status = NGX_BROADCAST_HANDSHAKE_FORMAT;
        return NGX_ERROR;
    }

    h->status = NGX_BROADCAST_HANDSHAKE_ACCEPTED;

    return NGX_OK;
}


size_t
ngx_broadcast_handshake_reply_len(const ngx_broadcast_handshake_t *h)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_handshake_out(&out, h);

    return out.len;
}


u_char *
ngx_broadcast_handshake_reply_write(u_char *dst,
    const ngx_broadcast_handshake_t *h)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_handshake_out(&out, h);

    return out.pos;
}


static ngx_int_t
ngx_broadcast_handshake_read(ngx_broadcast_handshake_t *h,
    const ngx_str_t *record, ngx_broadcast_scan_value_t *name)
{
    ngx_int_t                   rc;
    ngx_uint_t                  has_name, has_version;
    ngx_broadcast_scan_t        s;
    ngx_broadcast_scan_value_t  key, value;

    has_name = 0;
    has_version = 0;

    ngx_broadcast_scan_init(&s, record);

    if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) {
        return NGX_ERROR;
    }

    while ((rc = ngx_broadcast_scan_member(&s, &key, &value)) == NGX_OK) {

        if (ngx_broadcast_scan_is(&key, "protocol")) {

            if (value.type != NGX_BROADCAST_SCAN_STRING) {
                return NGX_ERROR;
            }

            *name = value;
            has_name = 1;

        } else if (ngx_broadcast_scan_is(&key, "version")) {

            if (ngx_broadcast_scan_int64(&value, &h->version) != NGX_OK
                || h->version > NGX_MAX_INT32_VALUE
                || h->version < -(int64_t) NGX_MAX_INT32_VALUE - 1)
            {
                return NGX_ERROR;
            }

            has_version = 1;
        }
    }

    if (rc == NGX_ERROR || ngx_broadcast_scan_end(&s) != NGX_OK) {
        return NGX_ERROR;
    }

    return (has_name && has_version) ? NGX_OK : NGX_ERROR;
}


/* the texts are the reference server's, clients show them */

static void
ngx_broadcast_handshake_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_handshake_t *h)
{
    if (h->status == NGX_BROADCAST_HANDSHAKE_ACCEPTED) {
        ngx_broadcast_out_literal(out, NGX_BROADCAST_HANDSHAKE_OK);
        return;
    }

    ngx_broadcast_out_literal(out, "{\"error\":\"");

    switch (h->status) {

    case NGX_BROADCAST_HANDSHAKE_PROTOCOL:

        /* what stood between quotes may stand there again as it came */

        ngx_broadcast_out_literal(out, "The protocol '");
        ngx_broadcast_out_str(out, &h->name);
        ngx_broadcast_out_literal(out, "' is not supported.");
        break;

    case NGX_BROADCAST_HANDSHAKE_VERSION:

        ngx_broadcast_out_literal(out, "The server does not support version ");
        ngx_broadcast_out_int(out, h->version);
        ngx_broadcast_out_literal(out, " of the '");
        ngx_broadcast_out_str(out, &h->name);
        ngx_broadcast_out_literal(out, "' protocol.");
        break;

    case NGX_BROADCAST_HANDSHAKE_FORMAT:

        ngx_broadcast_out_literal(out, "Cannot use the '");
        ngx_broadcast_out_str(out, &h->name);
        ngx_broadcast_out_literal(out, "' protocol on the current transport. "
                                  "The transport does not support 'Binary' "
                                  "transfer format.");
        break;

    case NGX_BROADCAST_HANDSHAKE_CANCELED:

        ngx_broadcast_out_literal(out, "Handshake was canceled.");
        break;

    default:

        ngx_broadcast_out_literal(out, "An unexpected error occurred during "
                                  "connection handshake.");
        break;
    }

    ngx_broadcast_out_literal(out, "\"}\x1e");
}
