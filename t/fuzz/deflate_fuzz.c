
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_deflate.c src/proto/ngx_broadcast_extension.c
 *        -lz */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_deflate.h"
#include "proto/ngx_broadcast_extension.h"


/*
 * The first byte is what is done with the rest: it is inflated within a limit,
 * deflated and inflated again, or read as offers.
 */

static void
inflated(ngx_str_t *in, size_t limit)
{
    ngx_int_t  rc;
    ngx_str_t  out;

    rc = ngx_broadcast_inflate(in, limit, &out);

    if (out.len > limit + 1 || (rc == NGX_OK && out.len > limit)
        || (rc == NGX_BUSY && out.len <= limit)
        || (rc != NGX_OK && rc != NGX_BUSY && rc != NGX_DECLINED))
    {
        abort();
    }
}


static void
deflated(ngx_str_t *in, ngx_uint_t bits)
{
    ngx_str_t  out, back;

    if (ngx_broadcast_deflate(bits, in, &out) != NGX_OK) {
        return;
    }

    if (out.len >= in->len
        || ngx_broadcast_inflate(&out, in->len, &back) != NGX_OK
        || back.len != in->len
        || memcmp(back.data, in->data, in->len) != 0)
    {
        abort();
    }
}


static void
offered(ngx_str_t *in, ngx_uint_t bits)
{
    u_char                     answer[NGX_BROADCAST_EXTENSION_ANSWER];
    ngx_str_t                  text;
    ngx_broadcast_extension_t  e, again;

    memset(&e, 0, sizeof(e));
    e.window = bits;

    (void) ngx_broadcast_extension_offers(&e, in);

    if (e.server == 0) {
        return;
    }

    text.data = answer;
    text.len = ngx_broadcast_extension_answer(answer, &e);

    /* an answer has the form of an offer that could be accepted */

    memset(&again, 0, sizeof(again));
    again.window = NGX_BROADCAST_WINDOW_MAX;

    if (text.len > sizeof(answer)
        || e.server > bits || e.client > bits
        || ngx_broadcast_extension_offers(&again, &text) != NGX_OK
        || again.server != e.server || again.client != e.client)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t   in;
    ngx_uint_t  bits;

    if (size < 1) {
        return 0;
    }

    bits = NGX_BROADCAST_WINDOW_MIN + (data[0] >> 2) % 7;

    in.len = size - 1;
    in.data = malloc(in.len + 1);
    memcpy(in.data, data + 1, in.len);

    switch (data[0] & 3) {

    case 0:
        offered(&in, bits);
        break;

    case 1:
        deflated(&in, bits);
        break;

    default:
        inflated(&in, 1 << (data[0] >> 4));
    }

    free(in.data);

    return 0;
}
