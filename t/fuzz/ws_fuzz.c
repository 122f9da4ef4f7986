
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_ws.c src/proto/ngx_broadcast_ws_frame.c
 *        src/base/ngx_broadcast_utf8.c nginx:core/ngx_sha1.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_deflate.h"
#include "proto/ngx_broadcast_ws.h"


/*
 * The events of a stream may not depend on how it is cut.  The first byte is
 * the cut, the second the message limit and whether RSV1 is allowed.
 */

static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
    const u_char  *p;

    for (p = data; len; len--) {
        h = (h ^ *p++) * 1099511628211ULL;
    }

    return h;
}


static uint64_t
events(const uint8_t *data, size_t size, size_t piece, uint8_t option)
{
    u_char                     *copy, *pos;
    size_t                      n;
    uint64_t                    h;
    ngx_int_t                   rc;
    ngx_broadcast_ws_event_t    ev;
    ngx_broadcast_ws_parser_t   p;

    h = 14695981039346656037ULL;

    ngx_broadcast_ws_init(&p, 16 << (option & 7), option & 8);

    for ( /* void */ ; size; data += n, size -= n) {
        n = ngx_min(piece, size);

        copy = malloc(n);
        memcpy(copy, data, n);
        pos = copy;

        do {
            rc = ngx_broadcast_ws_feed(&p, &pos, copy + n, &ev);

            if (rc != NGX_AGAIN) {
                h = mix(h, &rc, sizeof(rc));
                h = mix(h, &ev.type, sizeof(ev.type));
                h = mix(h, &ev.code, sizeof(ev.code));
                h = mix(h, &ev.close_code, sizeof(ev.close_code));
                h = mix(h, ev.payload.data, ev.payload.len);
            }

            if ((rc == NGX_ERROR) != (ev.error != NULL)
                || p.size > p.limit + ngx_broadcast_deflate_slack(p.limit)
                            + NGX_BROADCAST_WS_CONTROL_MAX)
            {
                abort();
            }

        } while (rc != NGX_AGAIN);

        if (pos != copy + n || (p.opcode == 0 && p.control == 0 && p.used == 0
                                && !p.payload && p.message))
        {
            abort();
        }

        free(copy);
    }

    ngx_broadcast_ws_reset(&p);

    return h;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t  h;

    if (size < 3) {
        return 0;
    }

    h = events(data + 2, size - 2, size, data[1]);

    if (events(data + 2, size - 2, 1, data[1]) != h
        || events(data + 2, size - 2, data[0] + 1, data[1]) != h)
    {
        abort();
    }

    return 0;
}
