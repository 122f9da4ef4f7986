
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_peer.h"
#include "base/ngx_broadcast_utf8.h"
#include "proto/ngx_broadcast_handshake.h"
#include "proto/ngx_broadcast_hub_json.h"
#include "proto/ngx_broadcast_ws.h"


#define NGX_BROADCAST_TOO_BIG_TEXT                                            \
    NGX_BROADCAST_HUB_JSON_CLOSE_ERROR                                        \
    " InvalidDataException: The maximum message size of %uzB was exceeded. "  \
    "The message size can be configured in AddHubOptions."


/* what each end means to the counters, to a WebSocket and to a hub's client */

typedef struct {
    const char             *name;
    ngx_uint_t              counter;
    ngx_uint_t              code;
    ngx_uint_t              reconnect;      /* allowReconnect */
    ngx_uint_t              reason;         /* of the event */
    const char             *text;           /* without a reason; may be NULL */
} ngx_broadcast_ending_t;


static const ngx_broadcast_ending_t  ngx_broadcast_endings[] = {

    /* NGX_BROADCAST_END_CLIENT */
    { "by client", NGX_BROADCAST_CLOSED_NORMAL, NGX_BROADCAST_WS_NORMAL, 0,
      NGX_BROADCAST_REASON_CLIENT, NULL },

    /* NGX_BROADCAST_END_SLOW */
    { "too slow", NGX_BROADCAST_CLOSED_SLOW, NGX_BROADCAST_WS_TRY_LATER, 1,
      NGX_BROADCAST_REASON_SLOW, "The client does not read fast enough." },

    /* NGX_BROADCAST_END_RATE */
    { "rate exceeded", NGX_BROADCAST_CLOSED_RATE, NGX_BROADCAST_WS_POLICY, 0,
      NGX_BROADCAST_REASON_RATE, "The client sends too many messages." },

    /* NGX_BROADCAST_END_TIMEOUT */
    { "timed out", NGX_BROADCAST_CLOSED_TIMEOUT, NGX_BROADCAST_WS_POLICY, 1,
      NGX_BROADCAST_REASON_TIMEOUT,
      "Client hasn't sent a message/ping within the configured "
      "ClientTimeoutInterval." },

    /* NGX_BROADCAST_END_PROTOCOL */
    { "protocol error", NGX_BROADCAST_CLOSED_PROTOCOL,
      NGX_BROADCAST_WS_SERVER_ERROR, 0,
      NGX_BROADCAST_REASON_PROTOCOL, NGX_BROADCAST_HUB_JSON_CLOSE_ERROR },

    /* NGX_BROADCAST_END_OVERRUN */
    { "log overrun", NGX_BROADCAST_CLOSED_OVERRUN, NGX_BROADCAST_WS_RESTART, 1,
      NGX_BROADCAST_REASON_OVERRUN, "Messages were missed." },

    /* NGX_BROADCAST_END_DRAIN */
    { "drained", NGX_BROADCAST_CLOSED_DRAIN, NGX_BROADCAST_WS_RESTART, 1,
      NGX_BROADCAST_REASON_DRAIN, NULL },

    /* NGX_BROADCAST_END_COMMAND */
    { "by command", NGX_BROADCAST_CLOSED_SERVER, NGX_BROADCAST_WS_NORMAL, 1,
      NGX_BROADCAST_REASON_COMMAND, NULL },

    /* NGX_BROADCAST_END_EXPIRED */
    { "token expired", NGX_BROADCAST_CLOSED_SERVER, NGX_BROADCAST_WS_POLICY, 1,
      NGX_BROADCAST_REASON_EXPIRED, "The access token has expired." },

    /* NGX_BROADCAST_END_SEQUENCE */
    { "bad sequence", NGX_BROADCAST_CLOSED_PROTOCOL,
      NGX_BROADCAST_WS_SERVER_ERROR, 0,
      NGX_BROADCAST_REASON_PROTOCOL, NULL },

    /* NGX_BROADCAST_END_ERROR */
    { "internal error", NGX_BROADCAST_CLOSED_ERROR,
      NGX_BROADCAST_WS_SERVER_ERROR, 1,
      NGX_BROADCAST_REASON_ERROR, NGX_BROADCAST_HUB_JSON_CLOSE_ERROR },

    /* NGX_BROADCAST_END_LOST */
    { "connection lost", NGX_BROADCAST_CLOSED_NORMAL, NGX_BROADCAST_WS_NORMAL,
      0, NGX_BROADCAST_REASON_LOST, NULL }
};


static void ngx_broadcast_end_hub(ngx_broadcast_conn_t *bc, ngx_uint_t end,
    ngx_uint_t code, ngx_str_t *reason);
static void ngx_broadcast_end_handshake(ngx_broadcast_conn_t *bc);


void
ngx_broadcast_end_words(ngx_broadcast_conn_t *bc, ngx_uint_t was,
    ngx_uint_t code, ngx_str_t *reason)
{
    u_char      buf[NGX_BROADCAST_WS_HEADER_MAX
                    + NGX_BROADCAST_WS_CONTROL_MAX];
    size_t      len;
    ngx_str_t   text;
    ngx_uint_t  end;

    end = bc->end;

    if (reason && reason->len) {
        text = *reason;

    } else {
        text.data = (u_char *) ngx_broadcast_endings[end].text;
        text.len = text.data ? ngx_strlen(text.data) : 0;
    }

    if (ngx_broadcast_is_hub(bc->protocol)
        && end != NGX_BROADCAST_END_CLIENT)
    {
        if (was == NGX_BROADCAST_ACTIVE) {
            ngx_broadcast_end_hub(bc, end, code, &text);

        } else if (end == NGX_BROADCAST_END_TIMEOUT
                   || code == NGX_BROADCAST_WS_TOO_BIG)
        {
            ngx_broadcast_end_handshake(bc);
            ngx_str_set(&text, "Handshake was canceled.");
        }
    }

    if (bc->framing == NGX_BROADCAST_FRAME_WS) {

        if (code == 0) {
            code = ngx_broadcast_endings[end].code;
        }

        len = ngx_broadcast_ws_close(buf, code, text.len ? &text : NULL);

        (void) ngx_broadcast_conn_control(bc, buf, len);
    }
}


static void
ngx_broadcast_end_hub(ngx_broadcast_conn_t *bc, ngx_uint_t end,
    ngx_uint_t code, ngx_str_t *reason)
{
    u_char                   buf[sizeof(NGX_BROADCAST_TOO_BIG_TEXT)
                                 + NGX_SIZE_T_LEN];
    ngx_broadcast_message_t  m;

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_CLOSE;
    m.error = *reason;
    m.allow_reconnect = ngx_broadcast_endings[end].reconnect;

    if (end == NGX_BROADCAST_END_PROTOCOL) {

        /* what exactly was wrong is told in the close frame alone */

        if (code == NGX_BROADCAST_WS_TOO_BIG) {
            m.error.len = ngx_sprintf(buf, NGX_BROADCAST_TOO_BIG_TEXT,
                                      bc->limits->message_size)
                          - buf;
            m.error.data = buf;

        } else {
            ngx_str_set(&m.error, NGX_BROADCAST_HUB_JSON_CLOSE_ERROR);
        }
    }

    m.has_error = (m.error.len != 0);

    ngx_broadcast_conn_queue_message(bc, &m);
}


static void
ngx_broadcast_end_handshake(ngx_broadcast_conn_t *bc)
{
    u_char                     buf[256];
    ngx_str_t                  text;
    ngx_broadcast_handshake_t  h;

    ngx_memzero(&h, sizeof(ngx_broadcast_handshake_t));

    h.status = NGX_BROADCAST_HANDSHAKE_CANCELED;

    text.len = ngx_broadcast_handshake_reply_len(&h);

    if (text.len > sizeof(buf)) {
        return;
    }

    text.data = buf;
    ngx_broadcast_handshake_reply_write(buf, &h);

    ngx_broadcast_conn_queue_text(bc, &text);
}


void
ngx_broadcast_end_count(ngx_uint_t end)
{
    ngx_broadcast_count(ngx_broadcast_endings[end].counter, 1);
}


/* the text of a command: what does not go into an event is left out */

void
ngx_broadcast_end_why(ngx_broadcast_conn_t *bc, ngx_str_t *why)
{
    ngx_str_null(why);

    if (bc->end != NGX_BROADCAST_END_COMMAND || bc->reason == NULL) {
        return;
    }

    why->data = ngx_broadcast_frame_data(bc->reason);
    why->len = bc->reason->len;

    if (why->len > NGX_BROADCAST_WHY_MAX) {
        why->len = NGX_BROADCAST_WHY_MAX;

        while (why->len && (why->data[why->len] & 0xc0) == 0x80) {
            why->len--;
        }
    }

    if (!ngx_broadcast_utf8_valid(why)
        || ngx_strlchr(why->data, why->data + why->len, '\0'))
    {
        why->len = 0;
    }
}


ngx_uint_t
ngx_broadcast_end_reason(ngx_uint_t end)
{
    return ngx_broadcast_endings[end].reason;
}


const char *
ngx_broadcast_end_name(ngx_uint_t end)
{
    return ngx_broadcast_endings[end].name;
}
