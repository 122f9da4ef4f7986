
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_sse.h"

#include "proto/ngx_broadcast_out.h"


static void ngx_broadcast_sse_data(ngx_broadcast_out_t *out,
    const ngx_str_t *payload, const char *eol);
static void ngx_broadcast_sse_event(ngx_broadcast_out_t *out,
    const ngx_str_t *id, const ngx_str_t *event, const ngx_str_t *data);
static void ngx_broadcast_sse_field(ngx_broadcast_out_t *out,
    const ngx_str_t *field);


size_t
ngx_broadcast_sse_data_len(const ngx_str_t *payload)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_sse_data(&out, payload, CRLF);

    return out.len + sizeof(CRLF) - 1;
}


u_char *
ngx_broadcast_sse_data_write(u_char *dst, const ngx_str_t *payload)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_sse_data(&out, payload, CRLF);

    return ngx_cpymem(out.pos, CRLF, sizeof(CRLF) - 1);
}


ngx_uint_t
ngx_broadcast_sse_field_ok(const ngx_str_t *field)
{
    u_char  c;
    size_t  i;

    for (i = 0; i < field->len; i++) {
        c = field->data[i];

        if (c == CR || c == LF || c == '\0') {
            return 0;
        }
    }

    return 1;
}


size_t
ngx_broadcast_sse_event_len(const ngx_str_t *id, const ngx_str_t *event,
    const ngx_str_t *data)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_sse_event(&out, id, event, data);

    return out.len;
}


u_char *
ngx_broadcast_sse_event_write(u_char *dst, const ngx_str_t *id,
    const ngx_str_t *event, const ngx_str_t *data)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_sse_event(&out, id, event, data);

    return out.pos;
}


size_t
ngx_broadcast_sse_chunk_len(size_t len)
{
    size_t  n;

    if (len == 0) {
        return 0;
    }

    for (n = sizeof(CRLF) - 1; len; n++) {
        len >>= 4;
    }

    return n;
}


size_t
ngx_broadcast_sse_chunk(u_char *dst, size_t len)
{
    size_t         i, n;
    static u_char  hex[] = "0123456789abcdef";

    n = ngx_broadcast_sse_chunk_len(len);

    if (n == 0) {
        return 0;
    }

    dst[n - 2] = CR;
    dst[n - 1] = LF;

    for (i = n - 2; i; i--) {
        dst[i - 1] = hex[len & 0xf];
        len >>= 4;
    }

    return n;
}


/* a data line for each line of the payload, which has at least one */

static void
ngx_broadcast_sse_data(ngx_broadcast_out_t *out, const ngx_str_t *payload,
    const char *eol)
{
    u_char  *p, *end, *last;

    p = payload->data;
    last = payload->len ? p + payload->len : p;

    for ( ;; ) {

        for (end = p; end < last; end++) {
            if (*end == CR || *end == LF) {
                break;
            }
        }

        ngx_broadcast_out_literal(out, "data: ");
        ngx_broadcast_out_mem(out, p, end - p);
        ngx_broadcast_out_mem(out, eol, ngx_strlen(eol));

        if (end == last) {
            return;
        }

        p = end + 1;

        if (*end == CR && p < last && *p == LF) {
            p++;
        }
    }
}


static void
ngx_broadcast_sse_event(ngx_broadcast_out_t *out, const ngx_str_t *id,
    const ngx_str_t *event, const ngx_str_t *data)
{
    if (id->len) {
        ngx_broadcast_out_literal(out, "id: ");
        ngx_broadcast_sse_field(out, id);
        ngx_broadcast_out_literal(out, "\n");
    }

    if (event->len) {
        ngx_broadcast_out_literal(out, "event: ");
        ngx_broadcast_sse_field(out, event);
        ngx_broadcast_out_literal(out, "\n");
    }

    if (data) {
        ngx_broadcast_sse_data(out, data, "\n");
    }

    ngx_broadcast_out_literal(out, "\n");
}


/*
 * A break in a field would forge the next line, and leaving the event out would
 * lose it: it becomes a space.
 */

static void
ngx_broadcast_sse_field(ngx_broadcast_out_t *out, const ngx_str_t *field)
{
    u_char  c;
    size_t  i;

    if (ngx_broadcast_sse_field_ok(field)) {
        ngx_broadcast_out_str(out, field);
        return;
    }

    for (i = 0; i < field->len; i++) {
        c = field->data[i];

        if (c == CR || c == LF || c == '\0') {
            c = ' ';
        }

        ngx_broadcast_out_mem(out, &c, 1);
    }
}
