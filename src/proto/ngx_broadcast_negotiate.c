
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_negotiate.h"

#include "proto/ngx_broadcast_out.h"


/* as it is offered with text alone, and where there is MessagePack, too */

typedef struct {
    ngx_uint_t   bit;
    ngx_str_t    text;
    ngx_str_t    binary;
} ngx_broadcast_negotiate_transport_t;

#define ngx_broadcast_negotiate_text(name)                                    \
    ngx_string("{\"transport\":\"" name "\","                                 \
               "\"transferFormats\":[\"Text\"]}")
#define ngx_broadcast_negotiate_binary(name)                                  \
    ngx_string("{\"transport\":\"" name "\","                                 \
               "\"transferFormats\":[\"Text\",\"Binary\"]}")


static void ngx_broadcast_negotiate_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_negotiate_t *n);
static void ngx_broadcast_negotiate_transports(ngx_broadcast_out_t *out,
    const ngx_broadcast_negotiate_t *n);


static ngx_broadcast_negotiate_transport_t
    ngx_broadcast_negotiate_names[] =
{
    { NGX_BROADCAST_NEGOTIATE_WEBSOCKET,
      ngx_broadcast_negotiate_text("WebSockets"),
      ngx_broadcast_negotiate_binary("WebSockets") },
    { NGX_BROADCAST_NEGOTIATE_SSE,
      ngx_broadcast_negotiate_text("ServerSentEvents"),
      ngx_broadcast_negotiate_text("ServerSentEvents") },
    { NGX_BROADCAST_NEGOTIATE_LONGPOLL,
      ngx_broadcast_negotiate_text("LongPolling"),
      ngx_broadcast_negotiate_binary("LongPolling") },
    { 0, ngx_null_string, ngx_null_string }
};


/* a 32-bit integer with an optional sign, as the reference server reads it */

ngx_int_t
ngx_broadcast_negotiate_version(ngx_broadcast_negotiate_t *n,
    const ngx_str_t *value)
{
    u_char      *p;
    int64_t      number;
    ngx_uint_t   negative;
    ngx_str_t    digits;

    n->version = 0;

    if (value == NULL) {
        return NGX_OK;
    }

    digits = *value;
    negative = 0;

    if (digits.len && (digits.data[0] == '-' || digits.data[0] == '+')) {
        negative = (digits.data[0] == '-');
        digits.data++;
        digits.len--;
    }

    /* leading zeros are no reason to overflow */

    while (digits.len > 1 && digits.data[0] == '0') {
        digits.data++;
        digits.len--;
    }

    number = (digits.len > 10) ? NGX_ERROR
                               : ngx_atoof(digits.data, digits.len);

    if (number == NGX_ERROR
        || number > (int64_t) NGX_MAX_INT32_VALUE + (int64_t) negative)
    {
        ngx_str_set(&n->error, "The client requested a non-integer protocol "
                               "version.");
        return NGX_ERROR;
    }

    if (negative && number) {
        p = ngx_sprintf(n->text, "The client requested version '-%L', but the "
                        "server does not support this version.", number);

        n->error.data = n->text;
        n->error.len = p - n->text;
        return NGX_ERROR;
    }

    n->version = number ? 1 : 0;

    return NGX_OK;
}


size_t
ngx_broadcast_negotiate_len(const ngx_broadcast_negotiate_t *n)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_negotiate_out(&out, n);

    return out.len;
}


u_char *
ngx_broadcast_negotiate_write(u_char *dst, const ngx_broadcast_negotiate_t *n)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_negotiate_out(&out, n);

    return out.pos;
}


static void
ngx_broadcast_negotiate_out(ngx_broadcast_out_t *out,
    const ngx_broadcast_negotiate_t *n)
{
    if (n->error.len) {
        ngx_broadcast_out_literal(out, "{\"error\":");
        ngx_broadcast_out_quoted(out, &n->error);
        ngx_broadcast_out_literal(out, "}");
        return;
    }

    if (n->url.len) {
        ngx_broadcast_out_literal(out, "{\"url\":");
        ngx_broadcast_out_quoted(out, &n->url);

        if (n->access_token.len) {
            ngx_broadcast_out_literal(out, ",\"accessToken\":");
            ngx_broadcast_out_quoted(out, &n->access_token);
        }

        ngx_broadcast_out_literal(out, "}");
        return;
    }

    ngx_broadcast_out_mem(out, n->version ? "{\"negotiateVersion\":1"
                                          : "{\"negotiateVersion\":0",
                          sizeof("{\"negotiateVersion\":0") - 1);
    ngx_broadcast_out_literal(out, ",\"connectionId\":");
    ngx_broadcast_out_quoted(out, &n->id);

    if (n->version) {
        ngx_broadcast_out_literal(out, ",\"connectionToken\":");
        ngx_broadcast_out_quoted(out, &n->token);
    }

    if (n->stateful) {
        ngx_broadcast_out_literal(out, ",\"useStatefulReconnect\":true");
    }

    ngx_broadcast_negotiate_transports(out, n);
}


static void
ngx_broadcast_negotiate_transports(ngx_broadcast_out_t *out,
    const ngx_broadcast_negotiate_t *n)
{
    ngx_uint_t                            first;
    ngx_broadcast_negotiate_transport_t  *t;

    ngx_broadcast_out_literal(out, ",\"availableTransports\":[");

    first = 1;

    for (t = ngx_broadcast_negotiate_names; t->bit; t++) {

        if (!(n->transports & t->bit)) {
            continue;
        }

        if (!first) {
            ngx_broadcast_out_literal(out, ",");
        }

        first = 0;

        ngx_broadcast_out_str(out, n->binary ? &t->binary : &t->text);
    }

    ngx_broadcast_out_literal(out, "]}");
}
