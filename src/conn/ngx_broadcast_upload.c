
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_invocation.h"
#include "base/ngx_broadcast_buf.h"
#include "proto/ngx_broadcast_hub_json.h"


/*
 * Streams from the client: a function takes JSON, so the items of a stream are
 * collected as the text of an array.  When all streams of the invocation are
 * complete the function is called with an array for each behind the arguments.
 * Other messages of the client are not held up meanwhile.
 */


static ngx_broadcast_upload_t *ngx_broadcast_upload_make(ngx_pool_t *pool,
    ngx_broadcast_message_t *m);
static ngx_str_t *ngx_broadcast_upload_twice(ngx_broadcast_conn_t *bc,
    ngx_broadcast_upload_t *up);
static ngx_broadcast_collected_t *ngx_broadcast_upload_find(
    ngx_broadcast_conn_t *bc, ngx_str_t *id, ngx_broadcast_upload_t **up);
static void ngx_broadcast_upload_call(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_upload_t *up);
static void ngx_broadcast_upload_remove(ngx_broadcast_conn_t *bc,
    ngx_broadcast_upload_t *up);



static ngx_str_t  ngx_broadcast_upload_large =
    ngx_string("The streams of the client are too large.");


void
ngx_broadcast_upload_open(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m, ngx_uint_t asked)
{
    ngx_str_t                    *why, *id;
    ngx_broadcast_upload_t       *up;
    ngx_broadcast_wanted_t        w;
    ngx_broadcast_invocation_t   *inv;

    ngx_memzero(&w, sizeof(ngx_broadcast_wanted_t));

    w.id = m->id;
    w.target = m->target;
    w.arguments = m->arguments;
    w.nstreams = m->nstreams;
    w.uploads = m->streams;
    w.stream = (m->type == NGX_BROADCAST_MESSAGE_STREAM_INVOCATION);
    w.asked = asked ? 1 : 0;

    if (ngx_broadcast_call_check(bc, pool, &w) != NGX_OK) {
        return;
    }

    inv = ngx_broadcast_invocation_get(bc);

    if (inv == NULL) {
        ngx_broadcast_inbound_refuse(bc, pool, &m->id, &m->target, NGX_ERROR);
        return;
    }

    why = NULL;

    if (m->nstreams > NGX_BROADCAST_UPLOADS_MAX - inv->nuploads
        || m->id.len > NGX_BROADCAST_INVOCATION_ID_MAX)
    {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_INVOCATION, 1);
        why = &ngx_broadcast_invocation_many;

    } else if (m->arguments.len + inv->bytes > bc->limits->message_size) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);
        why = &ngx_broadcast_upload_large;
    }

    if (why) {
        ngx_broadcast_invocation_refuse(bc, pool, &m->id, &m->target,
                                    NGX_BROADCAST_FAILED_TO_INVOKE,
                                    NGX_BROADCAST_DUE_TO_AN_ERROR, why);
        return;
    }

    up = ngx_broadcast_upload_make(pool, m);

    if (up == NULL) {
        ngx_broadcast_inbound_refuse(bc, pool, &m->id, &m->target, NGX_ERROR);
        return;
    }

    id = ngx_broadcast_upload_twice(bc, up);

    if (id) {
        ngx_broadcast_invocation_in_use(bc, pool, &m->id, id);
        ngx_broadcast_upload_free(up);
        return;
    }

    ngx_broadcast_upload_add(bc, up);
}


ngx_broadcast_upload_t *
ngx_broadcast_upload_new(ngx_str_t *id, ngx_str_t *target,
    ngx_str_t *arguments, ngx_uint_t n, size_t bytes)
{
    size_t                   size;
    u_char                  *p;
    ngx_broadcast_upload_t  *up;

    size = offsetof(ngx_broadcast_upload_t, streams)
           + n * sizeof(ngx_broadcast_collected_t);

    up = ngx_calloc(size + id->len + target->len + arguments->len + bytes,
                    ngx_broadcast_bus.log);
    if (up == NULL) {
        return NULL;
    }

    up->n = n;
    up->left = n;
    up->bytes = arguments->len;

    p = (u_char *) up + size;

    up->id.data = p;
    up->id.len = id->len;

    if (id->len) {
        p = ngx_cpymem(p, id->data, id->len);
    }

    up->target.data = p;
    up->target.len = target->len;
    p = ngx_cpymem(p, target->data, target->len);

    up->arguments.data = p;
    up->arguments.len = arguments->len;
    ngx_memcpy(p, arguments->data, arguments->len);

    return up;
}


void
ngx_broadcast_upload_name(ngx_broadcast_upload_t *up, ngx_uint_t i,
    ngx_str_t *id)
{
    ngx_str_t  *before, *name;

    before = i ? &up->streams[i - 1].id : &up->arguments;
    name = &up->streams[i].id;

    name->data = before->data + before->len;
    name->len = id->len;

    if (id->len) {
        ngx_memcpy(name->data, id->data, id->len);
    }
}


void
ngx_broadcast_upload_add(ngx_broadcast_conn_t *bc, ngx_broadcast_upload_t *up)
{
    ngx_broadcast_invocation_t  *inv;

    inv = bc->invocation;

    up->next = inv->uploads;
    inv->uploads = up;
    inv->nuploads += up->n;
    inv->bytes += up->bytes;
}


/* NULL: no memory */

static ngx_broadcast_upload_t *
ngx_broadcast_upload_make(ngx_pool_t *pool, ngx_broadcast_message_t *m)
{
    u_char                  *pos;
    ngx_str_t                id;
    ngx_uint_t               i;
    ngx_broadcast_upload_t  *up;

    /* a decoded id is never longer than its text in the array */

    up = ngx_broadcast_upload_new(&m->id, &m->target, &m->arguments,
                                  m->nstreams, m->streams.len);
    if (up == NULL) {
        return NULL;
    }

    up->stream = (m->type == NGX_BROADCAST_MESSAGE_STREAM_INVOCATION);

    pos = NULL;

    for (i = 0; i < up->n; i++) {

        if (ngx_broadcast_hub_json_stream(m, &pos, pool, &id) != NGX_OK) {
            ngx_free(up);
            return NULL;
        }

        ngx_broadcast_upload_name(up, i, &id);
    }

    return up;
}


/* an id that is in use already, or comes twice; NULL: there is none */

static ngx_str_t *
ngx_broadcast_upload_twice(ngx_broadcast_conn_t *bc,
    ngx_broadcast_upload_t *up)
{
    ngx_str_t   *id, *other;
    ngx_uint_t   i, j;

    for (i = 0; i < up->n; i++) {
        id = &up->streams[i].id;

        if (ngx_broadcast_invocation_used(bc, id)) {
            return id;
        }

        for (j = 0; j <= i; j++) {
            other = j ? &up->streams[j - 1].id : &up->id;

            if (other->len == id->len
                && ngx_memcmp(other->data, id->data, id->len) == 0)
            {
                return id;
            }
        }
    }

    return NULL;
}


void
ngx_broadcast_upload_item(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m)
{
    ngx_broadcast_upload_t      *up;
    ngx_broadcast_collected_t   *stream;
    ngx_broadcast_invocation_t  *inv;

    stream = ngx_broadcast_upload_find(bc, &m->id, &up);

    if (stream == NULL || stream->complete) {
        return;
    }

    inv = bc->invocation;

    if (m->value.len + 1 + inv->bytes > bc->limits->message_size) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);

        ngx_broadcast_invocation_refuse(bc, pool, &up->id, &up->target,
                                    NGX_BROADCAST_FAILED_TO_INVOKE,
                                    NGX_BROADCAST_DUE_TO_AN_ERROR,
                                    &ngx_broadcast_upload_large);

        ngx_broadcast_upload_remove(bc, up);
        return;
    }

    if (ngx_broadcast_upload_append(up, stream, &m->value) != NGX_OK) {
        ngx_broadcast_inbound_refuse(bc, pool, &up->id, &up->target,
                                     NGX_ERROR);
        ngx_broadcast_upload_remove(bc, up);
        return;
    }

    inv->bytes += m->value.len + 1;
}


ngx_int_t
ngx_broadcast_upload_append(ngx_broadcast_upload_t *up,
    ngx_broadcast_collected_t *stream, ngx_str_t *item)
{
    u_char  *p;
    size_t   size;

    if (stream->size - stream->len < item->len + 1) {

        size = ngx_max(2 * stream->size, stream->len + item->len + 1);
        size = ngx_max(size, 64);

        p = ngx_alloc(size, ngx_broadcast_bus.log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (stream->items) {
            ngx_memcpy(p, stream->items, stream->len);
            ngx_free(stream->items);
        }

        stream->items = p;
        stream->size = size;
    }

    p = stream->items + stream->len;

    if (stream->len) {
        *p++ = ',';
    }

    p = ngx_cpymem(p, item->data, item->len);

    stream->len = p - stream->items;
    up->bytes += item->len + 1;

    return NGX_OK;
}


void
ngx_broadcast_upload_complete(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m)
{
    ngx_broadcast_upload_t     *up;
    ngx_broadcast_collected_t  *stream;

    stream = ngx_broadcast_upload_find(bc, &m->id, &up);

    if (stream == NULL || stream->complete) {
        return;
    }

    if (m->has_error && m->error.len) {

        /* the reference server's method throws what the client says */

        ngx_broadcast_invocation_refuse(bc, pool, &up->id, &up->target,
                                    NGX_BROADCAST_UNEXPECTED,
                                    NGX_BROADCAST_HUB_EXCEPTION, &m->error);

        ngx_broadcast_upload_remove(bc, up);
        return;
    }

    stream->complete = 1;

    if (--up->left == 0) {
        ngx_broadcast_upload_call(bc, pool, up);
    }
}


static void
ngx_broadcast_upload_call(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_upload_t *up)
{
    u_char                  *last;
    ngx_uint_t               i;
    ngx_broadcast_buf_t      b;
    ngx_broadcast_wanted_t   w;

    ngx_broadcast_buf_init(&b, pool, up->bytes + 4 * up->n + 2
                                     + up->id.len + up->target.len);

    /* the call may open a stream of the same id: the upload goes first */

    ngx_broadcast_buf_str(&b, &up->id);
    ngx_broadcast_buf_str(&b, &up->target);

    last = up->arguments.data + up->arguments.len - 1;

    ngx_broadcast_buf_append(&b, up->arguments.data, up->arguments.len - 1);

    while (last > up->arguments.data + 1 && ngx_strchr(" \t\r\n", last[-1])) {
        last--;
    }

    for (i = 0; i < up->n; i++) {

        if (i || last[-1] != '[') {
            ngx_broadcast_buf_char(&b, ',');
        }

        ngx_broadcast_buf_char(&b, '[');
        ngx_broadcast_buf_append(&b, up->streams[i].items,
                                 up->streams[i].len);
        ngx_broadcast_buf_char(&b, ']');
    }

    ngx_broadcast_buf_char(&b, ']');

    ngx_memzero(&w, sizeof(ngx_broadcast_wanted_t));

    if (ngx_broadcast_buf_done(&b, &w.arguments) != NGX_OK) {
        ngx_broadcast_inbound_refuse(bc, pool, &up->id, &up->target,
                                     NGX_ERROR);
        ngx_broadcast_upload_remove(bc, up);
        return;
    }

    w.id.data = w.arguments.data;
    w.id.len = up->id.len;

    w.target.data = w.id.data + w.id.len;
    w.target.len = up->target.len;

    w.arguments.data += w.id.len + w.target.len;
    w.arguments.len -= w.id.len + w.target.len;

    w.stream = up->stream;
    w.nstreams = up->n;

    ngx_broadcast_upload_remove(bc, up);

    ngx_broadcast_invocation_call(bc, pool, &w);
}


static ngx_broadcast_collected_t *
ngx_broadcast_upload_find(ngx_broadcast_conn_t *bc, ngx_str_t *id,
    ngx_broadcast_upload_t **upp)
{
    ngx_uint_t                  i;
    ngx_broadcast_upload_t     *up;
    ngx_broadcast_collected_t  *stream;

    for (up = bc->invocation->uploads; up; up = up->next) {

        for (i = 0; i < up->n; i++) {
            stream = &up->streams[i];

            if (stream->id.len == id->len
                && ngx_memcmp(stream->id.data, id->data, id->len) == 0)
            {
                *upp = up;
                return stream;
            }
        }
    }

    return NULL;
}


ngx_uint_t
ngx_broadcast_upload_used(ngx_broadcast_conn_t *bc, ngx_str_t *id)
{
    ngx_broadcast_upload_t  *up;

    if (ngx_broadcast_upload_find(bc, id, &up)) {
        return 1;
    }

    for (up = bc->invocation->uploads; up; up = up->next) {

        if (up->id.len && up->id.len == id->len
            && ngx_memcmp(up->id.data, id->data, id->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_broadcast_upload_cancel(ngx_broadcast_conn_t *bc, ngx_str_t *id)
{
    ngx_broadcast_upload_t   *up;
    ngx_broadcast_message_t   m;

    for (up = bc->invocation->uploads; up; up = up->next) {

        if (up->id.len == 0 || up->id.len != id->len
            || ngx_memcmp(up->id.data, id->data, id->len) != 0)
        {
            continue;
        }

        ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

        m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
        m.id = *id;

        ngx_broadcast_conn_queue_message(bc, &m);
        ngx_broadcast_upload_remove(bc, up);

        return 1;
    }

    return 0;
}


static void
ngx_broadcast_upload_remove(ngx_broadcast_conn_t *bc,
    ngx_broadcast_upload_t *up)
{
    ngx_broadcast_upload_t      **link;
    ngx_broadcast_invocation_t   *inv;

    inv = bc->invocation;

    for (link = &inv->uploads; *link != up; link = &(*link)->next) {
        /* void */
    }

    *link = up->next;

    inv->nuploads -= up->n;
    inv->bytes -= up->bytes;

    ngx_broadcast_upload_free(up);
}


void
ngx_broadcast_upload_free(ngx_broadcast_upload_t *up)
{
    ngx_uint_t  i;

    for (i = 0; i < up->n; i++) {
        if (up->streams[i].items) {
            ngx_free(up->streams[i].items);
        }
    }

    ngx_free(up);
}
