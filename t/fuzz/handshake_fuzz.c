
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_handshake.c
 *        src/proto/ngx_broadcast_hub_json.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_handshake.h"
#include "proto/ngx_broadcast_scan.h"


/*
 * Whatever is said in place of a handshake, the answer is one JSON record.  The
 * first byte has the options.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                      *copy, *pos, *b, *p;
    size_t                       len;
    ngx_int_t                    rc;
    ngx_str_t                    record;
    ngx_broadcast_handshake_t    h;
    ngx_broadcast_scan_value_t   v;

    if (size == 0) {
        return 0;
    }

    memset(&h, 0, sizeof(h));
    h.msgpack = data[0];
    h.binary = data[0] >> 1;
    h.max_version = 1 + ((data[0] >> 2) & 1);
    h.limit = data[0] & 8 ? 40 : 4096;

    data++;
    size--;

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    pos = copy;

    rc = ngx_broadcast_handshake_parse(&h, &pos, copy + size);

    if (rc == NGX_AGAIN) {

        if (pos != copy || memchr(copy, 0x1e, size) || size > h.limit) {
            abort();
        }

        free(copy);
        return 0;
    }

    if ((rc == NGX_OK) != (h.status == NGX_BROADCAST_HANDSHAKE_ACCEPTED)) {
        abort();
    }

    len = ngx_broadcast_handshake_reply_len(&h);
    b = malloc(len);
    p = ngx_broadcast_handshake_reply_write(b, &h);

    record.data = b;
    record.len = len - 1;

    if ((size_t) (p - b) != len || b[len - 1] != 0x1e
        || ngx_broadcast_scan_document(&record, &v, NULL) != NGX_OK
        || v.type != NGX_BROADCAST_SCAN_OBJECT)
    {
        abort();
    }

    free(b);
    free(copy);

    return 0;
}
