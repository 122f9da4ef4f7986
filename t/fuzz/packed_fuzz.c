
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_packed.c
 *        src/proto/ngx_broadcast_hub_json.c
 *        src/proto/ngx_broadcast_hub_msgpack.c
 *        src/proto/ngx_broadcast_recode.c
 *        src/proto/ngx_broadcast_recode_shape.c
 *        src/proto/ngx_broadcast_recode_text.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_msgpack.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c -lmsgpackc */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_msgpack.h"
#include "proto/ngx_broadcast_packed.h"
#include "proto/ngx_broadcast_scan.h"

#include "ngx_stub.h"


/*
 * A body becomes arguments that are a JSON array, and one in MessagePack; and
 * whatever is taken as a value is one to msgpack-c.
 */

static void
taken(ngx_int_t rc, ngx_broadcast_packed_t *p, const char *error)
{
    u_char                      *pos;
    ngx_str_t                    span;
    ngx_broadcast_scan_value_t   v;

    if ((rc == NGX_DECLINED) != (error != NULL)) {
        abort();
    }

    if (rc != NGX_OK) {
        return;
    }

    if (ngx_broadcast_scan_document(&p->arguments, &v, NULL) != NGX_OK
        || v.type != NGX_BROADCAST_SCAN_ARRAY)
    {
        abort();
    }

    if (p->packed.len == 0) {
        return;
    }

    pos = p->packed.data;

    if (ngx_broadcast_msgpack_check(&pos, pos + p->packed.len, &span, &error)
        != NGX_OK
        || span.len != p->packed.len)
    {
        abort();
    }
}


/*
 * msgpack-c makes room for as many elements as a head announces, so it is
 * asked about no more than it can be given: a check that passed has seen them.
 * What it takes and we do not is named here.
 */

static void
judged(ngx_str_t *body)
{
    size_t             off;
    u_char            *pos, *last;
    ngx_str_t          span;
    ngx_int_t          rc;
    const char        *error;
    msgpack_unpacked   value;

    pos = body->data;
    last = pos + body->len;

    if (ngx_broadcast_msgpack_pass(&pos, last) != NGX_OK) {
        pos = body->data;

        if (ngx_broadcast_msgpack_check(&pos, last, &span, &error) == NGX_OK) {
            abort();
        }

        return;
    }

    off = 0;
    msgpack_unpacked_init(&value);

    rc = msgpack_unpack_next(&value, (char *) body->data, body->len, &off);

    /* it refuses what is nested deeper than 32, not for want of bytes */

    if (rc == MSGPACK_UNPACK_CONTINUE
        || ((rc == MSGPACK_UNPACK_SUCCESS || rc == MSGPACK_UNPACK_EXTRA_BYTES)
            && off != (size_t) (pos - body->data)))
    {
        abort();
    }

    msgpack_unpacked_destroy(&value);

    pos = body->data;
    rc = ngx_broadcast_msgpack_check(&pos, last, &span, &error);

    if (rc == NGX_ERROR
        && strstr(error, "UTF-8") == NULL && strstr(error, "a key") == NULL)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t                body;
    ngx_int_t                rc;
    ngx_pool_t              *pool;
    const char              *error;
    ngx_broadcast_packed_t   p;

    pool = ngx_create_pool(1024, &ngx_stub_log);

    body.len = size;
    body.data = malloc(size ? size : 1);
    memcpy(body.data, data, size);

    ngx_memzero(&p, sizeof(p));
    error = NULL;
    rc = ngx_broadcast_packed_message(&body, pool, &p, &error);
    taken(rc, &p, error);

    ngx_memzero(&p, sizeof(p));
    error = NULL;
    rc = ngx_broadcast_packed_encoded(&body, pool, &p, &error);
    taken(rc, &p, error);

    judged(&body);

    free(body.data);
    ngx_destroy_pool(pool);

    return 0;
}
