
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_invocation.h"


/*
 * What is under way moves with its connection: a part of the state.
 *
 *     asked      count, then age and id of each
 *     streams    count, then age, id, source, serial and shape of each
 *     uploads    count, then of each: stream, id, target, arguments, count,
 *                ids of its streams, then of each complete and items
 */


static void ngx_broadcast_invocation_put_list(ngx_broadcast_buf_t *b,
    ngx_broadcast_under_t *list, ngx_uint_t n, ngx_uint_t streams);
static ngx_int_t ngx_broadcast_invocation_get_list(
    ngx_broadcast_state_in_t *in, ngx_broadcast_under_t **list, ngx_uint_t *n,
    ngx_uint_t max, ngx_uint_t streams);
static void ngx_broadcast_invocation_put_upload(ngx_broadcast_buf_t *b,
    ngx_broadcast_upload_t *up);
static ngx_int_t ngx_broadcast_invocation_get_upload(
    ngx_broadcast_state_in_t *in, ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_invocation_get_streams(
    ngx_broadcast_state_in_t *in, ngx_broadcast_upload_t *up);


void
ngx_broadcast_invocation_put(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
    ngx_uint_t                   n;
    ngx_broadcast_upload_t      *up;
    ngx_broadcast_invocation_t  *inv;

    inv = bc->invocation;

    if (inv == NULL) {
        return;
    }

    ngx_broadcast_invocation_put_list(b, inv->asked, inv->nasked, 0);
    ngx_broadcast_invocation_put_list(b, inv->streams, inv->nstreams, 1);

    n = 0;

    for (up = inv->uploads; up; up = up->next) {
        n++;
    }

    ngx_broadcast_state_put(b, n);

    for (up = inv->uploads; up; up = up->next) {
        ngx_broadcast_invocation_put_upload(b, up);
    }
}


ngx_int_t
ngx_broadcast_invocation_got(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    uint64_t                     n;
    ngx_int_t                    rc;
    ngx_broadcast_invocation_t  *inv;

    if (in->pos == in->last) {
        return NGX_OK;
    }

    inv = ngx_broadcast_invocation_get(bc);

    if (inv == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_broadcast_invocation_get_list(in, &inv->asked, &inv->nasked,
                                           NGX_BROADCAST_ASKED_MAX, 0);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_invocation_get_list(in, &inv->streams,
                                               &inv->nstreams,
                                               NGX_BROADCAST_STREAMS_MAX, 1);
    }

    for (n = ngx_broadcast_state_get(in); rc == NGX_OK && n; n--) {
        rc = ngx_broadcast_invocation_get_upload(in, bc);
    }

    return rc;
}


static void
ngx_broadcast_invocation_put_list(ngx_broadcast_buf_t *b,
    ngx_broadcast_under_t *list, ngx_uint_t n, ngx_uint_t streams)
{
    ngx_broadcast_state_put(b, n);

    for ( /* void */ ; list; list = list->next) {
        ngx_broadcast_state_put(b, ngx_current_msec - list->since);
        ngx_broadcast_state_put_bytes(b, list->id.data, list->id.len);

        if (streams) {
            ngx_broadcast_state_put(b, list->source);
            ngx_broadcast_state_put(b, list->serial);
            ngx_broadcast_state_put_bytes(b, list->shape.data,
                                          list->shape.len);
        }
    }
}


static ngx_int_t
ngx_broadcast_invocation_get_list(ngx_broadcast_state_in_t *in,
    ngx_broadcast_under_t **list, ngx_uint_t *n, ngx_uint_t max,
    ngx_uint_t streams)
{
    uint64_t                count, age, source, serial;
    ngx_str_t               id, shape;
    ngx_broadcast_under_t  *under;

    count = ngx_broadcast_state_get(in);

    if (count > max) {
        return NGX_DECLINED;
    }

    while (count--) {
        age = ngx_broadcast_state_get(in);
        ngx_broadcast_state_get_bytes(in, &id);

        source = 0;
        serial = 0;
        ngx_str_null(&shape);

        if (streams) {
            source = ngx_broadcast_state_get(in);
            serial = ngx_broadcast_state_get(in);
            ngx_broadcast_state_get_bytes(in, &shape);
        }

        if (in->failed) {
            return NGX_DECLINED;
        }

        under = ngx_broadcast_under_push(list, &id);

        if (under == NULL) {
            return NGX_ERROR;
        }

        under->since = ngx_current_msec - (ngx_msec_t) age;
        under->source = source;
        under->serial = serial;
        (*n)++;

        if (ngx_broadcast_under_shape(under, &shape) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_broadcast_invocation_put_upload(ngx_broadcast_buf_t *b,
    ngx_broadcast_upload_t *up)
{
    ngx_uint_t                  i;
    ngx_broadcast_collected_t  *stream;

    ngx_broadcast_state_put(b, up->stream);
    ngx_broadcast_state_put_bytes(b, up->id.data, up->id.len);
    ngx_broadcast_state_put_bytes(b, up->target.data, up->target.len);
    ngx_broadcast_state_put_bytes(b, up->arguments.data, up->arguments.len);
    ngx_broadcast_state_put(b, up->n);

    for (i = 0; i < up->n; i++) {
        stream = &up->streams[i];
        ngx_broadcast_state_put_bytes(b, stream->id.data, stream->id.len);
    }

    for (i = 0; i < up->n; i++) {
        stream = &up->streams[i];
        ngx_broadcast_state_put(b, stream->complete);
        ngx_broadcast_state_put_bytes(b, stream->items, stream->len);
    }
}


static ngx_int_t
ngx_broadcast_invocation_get_upload(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    size_t                       bytes;
    uint64_t                     i, n, stream;
    ngx_int_t                    rc;
    ngx_str_t                    id, target, arguments, name;
    ngx_broadcast_upload_t      *up;
    ngx_broadcast_state_in_t     ahead;
    ngx_broadcast_invocation_t  *inv;

    inv = bc->invocation;

    stream = ngx_broadcast_state_get(in);
    ngx_broadcast_state_get_bytes(in, &id);
    ngx_broadcast_state_get_bytes(in, &target);
    ngx_broadcast_state_get_bytes(in, &arguments);
    n = ngx_broadcast_state_get(in);

    if (in->failed || n == 0 || n > NGX_BROADCAST_UPLOADS_MAX - inv->nuploads) {
        return NGX_DECLINED;
    }

    ahead = *in;
    bytes = 0;

    for (i = 0; i < n; i++) {
        ngx_broadcast_state_get_bytes(&ahead, &name);
        bytes += name.len;
    }

    if (ahead.failed) {
        return NGX_DECLINED;
    }

    up = ngx_broadcast_upload_new(&id, &target, &arguments, n, bytes);

    if (up == NULL) {
        return NGX_ERROR;
    }

    up->stream = stream ? 1 : 0;

    rc = ngx_broadcast_invocation_get_streams(in, up);

    if (rc != NGX_OK) {
        ngx_broadcast_upload_free(up);
        return rc;
    }

    ngx_broadcast_upload_add(bc, up);

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_invocation_get_streams(ngx_broadcast_state_in_t *in,
    ngx_broadcast_upload_t *up)
{
    ngx_str_t                   text;
    ngx_uint_t                  i;
    ngx_broadcast_collected_t  *stream;

    for (i = 0; i < up->n; i++) {
        ngx_broadcast_state_get_bytes(in, &text);
        ngx_broadcast_upload_name(up, i, &text);
    }

    for (i = 0; i < up->n; i++) {
        stream = &up->streams[i];

        if (ngx_broadcast_state_get(in)) {
            stream->complete = 1;
            up->left--;
        }

        ngx_broadcast_state_get_bytes(in, &text);

        if (in->failed) {
            return NGX_DECLINED;
        }

        if (text.len
            && ngx_broadcast_upload_append(up, stream, &text) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return up->left ? NGX_OK : NGX_DECLINED;
}
