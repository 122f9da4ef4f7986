
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_hub_msgpack.c
 *        src/proto/ngx_broadcast_hub_msgpack_write.c
 *        src/proto/ngx_broadcast_recode.c
 *        src/proto/ngx_broadcast_recode_shape.c
 *        src/proto/ngx_broadcast_recode_text.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_msgpack.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_msgpack.h"
#include "proto/ngx_broadcast_hub_msgpack.h"
#include "proto/ngx_broadcast_recode.h"
#include "proto/ngx_broadcast_scan.h"

#include "ngx_stub.h"


#define LIMIT  65536


static int
differ(const ngx_str_t *one, const ngx_str_t *two)
{
    return one->len != two->len
           || (one->len && memcmp(one->data, two->data, one->len) != 0);
}


/*
 * A checked value becomes valid JSON, and that a checked value.  Bytes, dates
 * and forms of numbers are lost by the first step; behind it nothing is.
 */

static void
recode(const ngx_str_t *packed, ngx_pool_t *pool)
{
    u_char                      *pos;
    ngx_str_t                    text, again, same, span;
    const char                  *error;
    ngx_broadcast_scan_value_t   v;

    if (ngx_broadcast_recode_text(packed, pool, &text) != NGX_OK
        || ngx_broadcast_scan_document(&text, &v, NULL) != NGX_OK
        || text.len > packed->len * 6 + 32
        || ngx_broadcast_recode_pack(&text, pool, &again) != NGX_OK)
    {
        abort();
    }

    pos = again.data;

    if (ngx_broadcast_msgpack_check(&pos, again.data + again.len, &span,
                                    &error)
        != NGX_OK
        || pos != again.data + again.len
        || ngx_broadcast_recode_text(&again, pool, &same) != NGX_OK)
    {
        abort();
    }

    /* -0.0 is written "-0", which is the integer 0 */

    if (differ(&text, &same)
        && ngx_strnstr(text.data, "-0", text.len) == NULL)
    {
        abort();
    }
}


/* a message that was read is written and read again, and is the same */

static void
again(ngx_broadcast_message_t *m, ngx_pool_t *pool)
{
    u_char                    *b, *p, *pos;
    size_t                     len;
    ngx_str_t                  record;
    const char                *error;
    ngx_broadcast_message_t    copy;

    len = ngx_broadcast_hub_msgpack_len(m);
    b = malloc(len);
    p = ngx_broadcast_hub_msgpack_write(b, m);

    pos = b;

    if ((size_t) (p - b) != len
        || ngx_broadcast_hub_msgpack_next(&pos, p, 2 * LIMIT, &record)
           != NGX_OK
        || pos != p
        || ngx_broadcast_hub_msgpack_parse(&record, &copy, &error) != NGX_OK
        || copy.type != m->type
        || copy.has_value != m->has_value
        || copy.has_error != m->has_error
        || copy.nstreams != m->nstreams
        || copy.allow_reconnect != m->allow_reconnect
        || copy.sequence != m->sequence
        || copy.nul != m->nul
        || differ(&copy.id, &m->id)
        || differ(&copy.target, &m->target)
        || differ(&copy.arguments, &m->arguments)
        || differ(&copy.streams, &m->streams)
        || differ(&copy.value, &m->value)
        || differ(&copy.error, &m->error))
    {
        abort();
    }

    if (ngx_broadcast_recode_message(m, NGX_BROADCAST_HUB_JSON, pool, &copy)
        != NGX_OK)
    {
        abort();
    }

    free(b);

    if (m->arguments.len) {
        recode(&m->arguments, pool);
    }

    if (m->has_value) {
        recode(&m->value, pool);
    }
}


/* bytes that are JSON become a value that is one */

static void
json(ngx_str_t *text, ngx_pool_t *pool)
{
    u_char                      *pos;
    ngx_str_t                    packed, span;
    const char                  *error;
    ngx_broadcast_scan_value_t   v;

    if (ngx_broadcast_scan_document(text, &v, NULL) != NGX_OK) {

        /* it does not come so far; it must do no harm */

        (void) ngx_broadcast_recode_pack(text, pool, &packed);
        return;
    }

    if (ngx_broadcast_recode_pack(text, pool, &packed) != NGX_OK
        || packed.len > text->len * 5 / 2 + 9)
    {
        abort();
    }

    pos = packed.data;

    if (ngx_broadcast_msgpack_check(&pos, packed.data + packed.len, &span,
                                    &error)
        != NGX_OK
        || pos != packed.data + packed.len)
    {
        abort();
    }

    recode(&packed, pool);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                    *copy, *pos, *last;
    ngx_int_t                  rc;
    ngx_str_t                  record, whole;
    ngx_pool_t                *pool;
    const char                *error;
    ngx_broadcast_message_t    m;

    pool = ngx_create_pool(1024, &ngx_stub_log);

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);

    pos = copy;
    last = copy + size;

    while (ngx_broadcast_hub_msgpack_next(&pos, last, LIMIT, &record)
           == NGX_OK)
    {
        error = NULL;
        rc = ngx_broadcast_hub_msgpack_parse(&record, &m, &error);

        if ((rc == NGX_ERROR) != (error != NULL)) {
            abort();
        }

        if (rc == NGX_OK && !m.deep) {
            again(&m, pool);
        }
    }

    /* unchecked bytes as a value, too */

    whole.data = copy;
    whole.len = size;

    if (size) {
        (void) ngx_broadcast_recode_text(&whole, pool, &record);
        json(&whole, pool);
    }

    free(copy);
    ngx_destroy_pool(pool);

    return 0;
}
