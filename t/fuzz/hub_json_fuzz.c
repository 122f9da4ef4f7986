
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_hub_json.c
 *        src/proto/ngx_broadcast_hub_json_write.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c -ljansson */


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "proto/ngx_broadcast_hub_json.h"

#include "ngx_stub.h"


static int
differ(ngx_str_t *one, ngx_str_t *two)
{
    return one->len != two->len
           || (one->len && memcmp(one->data, two->data, one->len) != 0);
}


/* a string member, or none, which null stands for */

static void
is_text(json_t *json, const char *name, ngx_str_t *text)
{
    json_t  *v;

    v = json_object_get(json, name);

    if (json_string_length(v) != text->len
        || (text->len
            && memcmp(json_string_value(v), text->data, text->len) != 0))
    {
        abort();
    }
}


static void
is_value(json_t *json, const char *name, ngx_str_t *text)
{
    json_t  *v;

    v = json_loadb((char *) text->data, text->len,
                   JSON_DECODE_ANY|JSON_ALLOW_NUL, NULL);

    if (v == NULL || !json_equal(v, json_object_get(json, name))) {
        abort();
    }

    json_decref(v);
}


/* what jansson takes as well has the same members, the last of each name */

static void
same(ngx_str_t *record, ngx_broadcast_message_t *m)
{
    json_t  *json;

    json = json_loadb((char *) record->data, record->len, JSON_ALLOW_NUL,
                      NULL);
    if (json == NULL) {
        return;
    }

    if (json_integer_value(json_object_get(json, "type")) != (int) m->type
        || json_array_size(json_object_get(json, "streamIds")) != m->nstreams)
    {
        abort();
    }

    is_text(json, "invocationId", &m->id);
    is_text(json, "target", &m->target);
    is_text(json, "error", &m->error);

    if (m->arguments.len) {
        is_value(json, "arguments", &m->arguments);
    }

    if (m->has_value) {
        is_value(json, m->type == NGX_BROADCAST_MESSAGE_STREAM_ITEM
                       ? "item" : "result", &m->value);
    }

    if (m->type == NGX_BROADCAST_MESSAGE_ACK
        && json_integer_value(json_object_get(json, "sequenceId"))
           != m->sequence)
    {
        abort();
    }

    json_decref(json);
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

        if (rc == NGX_OK) {
            same(&record, &m);
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
