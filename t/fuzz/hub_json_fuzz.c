
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_hub_json.c
 *        src/proto/ngx_broadcast_hub_json_write.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_hub_json.h"

#include "ngx_stub.h"


static int
differ(ngx_str_t *one, ngx_str_t *two)
{
    return one->len != two->len
           || (one->len && memcmp(one->data, two->data, one->len) != 0);
}


/* a message that was read is written and read again, and is the same */

static void
again(ngx_broadcast_message_t *m, ngx_pool_t *pool)
{
    u_char                    *b, *p, *pos;
    size_t                     len;
    ngx_str_t                  record, id;
    ngx_uint_t                 n;
    const char                *error;
    ngx_broadcast_message_t    copy;

    len = ngx_broadcast_hub_json_len(m);
    b = malloc(len);
    p = ngx_broadcast_hub_json_write(b, m);

    pos = b;

    if ((size_t) (p - b) != len
        || ngx_broadcast_hub_json_next(&pos, p, &record) != NGX_OK
        || pos != p
        || ngx_broadcast_hub_json_parse(&record, pool, &copy, &error)
           != NGX_OK
        || copy.type != m->type
        || copy.has_value != m->has_value
        || copy.has_error != m->has_error
        || differ(&copy.value, &m->value)
        || differ(&copy.error, &m->error))
    {
        abort();
    }

    if (m->type <= NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION
        && differ(&copy.id, &m->id))
    {
        abort();
    }

    if ((m->type == NGX_BROADCAST_MESSAGE_INVOCATION
         || m->type == NGX_BROADCAST_MESSAGE_STREAM_INVOCATION)
        && (differ(&copy.target, &m->target)
            || differ(&copy.arguments, &m->arguments)
            || copy.nstreams != m->nstreams))
    {
        abort();
    }

    pos = NULL;

    for (n = 0; ngx_broadcast_hub_json_stream(m, &pos, pool, &id) == NGX_OK;
         n++)
    {
        /* void */
    }

    if (n != m->nstreams) {
        abort();
    }

    free(b);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                    *copy, *pos;
    ngx_int_t                  rc;
    ngx_str_t                  record;
    ngx_pool_t                *pool;
    const char                *error;
    ngx_broadcast_message_t    m;

    pool = ngx_create_pool(1024, &ngx_stub_log);

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    pos = copy;

    while (ngx_broadcast_hub_json_next(&pos, copy + size, &record) == NGX_OK) {
        error = NULL;
        rc = ngx_broadcast_hub_json_parse(&record, pool, &m, &error);

        if ((rc == NGX_ERROR) != (error != NULL)) {
            abort();
        }

        /*
         * A close may carry an id that nobody reads, and a lone error belongs
         * to a completion or close.
         */

        if (rc == NGX_OK) {
            m.has_error &= (m.type == NGX_BROADCAST_MESSAGE_COMPLETION
                            || m.type == NGX_BROADCAST_MESSAGE_CLOSE);

            if (!m.has_error) {
                ngx_str_null(&m.error);
            }

            if (!m.deep) {
                again(&m, pool);
            }
        }
    }

    free(copy);
    ngx_destroy_pool(pool);

    return 0;
}
