
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_rows.h"
#include "base/ngx_broadcast_buf.h"


static void ngx_broadcast_invocation_begin(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_message_t *m);
static void ngx_broadcast_invocation_too_deep(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_message_t *m);
static ngx_int_t ngx_broadcast_invocation_open(ngx_broadcast_conn_t *bc,
    ngx_str_t *id);
static void ngx_broadcast_invocation_item(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_invocation_complete(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);
static ngx_broadcast_under_t *ngx_broadcast_invocation_stream(
    ngx_broadcast_conn_t *bc, ngx_broadcast_record_t *rec);


ngx_str_t  ngx_broadcast_invocation_many =
    ngx_string("Too many streams are open.");


ngx_broadcast_invocation_t *
ngx_broadcast_invocation_get(ngx_broadcast_conn_t *bc)
{
    if (bc->invocation == NULL) {
        bc->invocation = ngx_calloc(sizeof(ngx_broadcast_invocation_t),
                                    ngx_broadcast_bus.log);
    }

    return bc->invocation;
}


void
ngx_broadcast_invocation_message(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m)
{
    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_INVOCATION:
        ngx_broadcast_invocation_begin(bc, pool, m);
        return;

    default:
        break;
    }

    /* about something that is under way: else it is ignored */

    if (bc->invocation == NULL) {
        return;
    }

    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_STREAM_ITEM:
        ngx_broadcast_upload_item(bc, pool, m);
        return;

    case NGX_BROADCAST_MESSAGE_COMPLETION:
        if (!ngx_broadcast_asked_answer(bc, m)) {
            ngx_broadcast_upload_complete(bc, pool, m);
        }

        return;

    case NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION:
        if (!ngx_broadcast_invocation_end(bc, &m->id, NULL)) {
            (void) ngx_broadcast_upload_cancel(bc, &m->id);
        }

        return;

    default:
        return;
    }
}


static void
ngx_broadcast_invocation_begin(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m)
{
    ngx_broadcast_wanted_t  w;

    if (m->nul) {

        /* PostgreSQL has no text with U+0000: no function has such a name */

        ngx_broadcast_inbound_refuse(bc, pool, &m->id, &m->target,
                                     NGX_DECLINED);
        return;
    }

    if (m->id.len && ngx_broadcast_invocation_used(bc, &m->id)) {
        ngx_broadcast_invocation_in_use(bc, pool, &m->id, &m->id);
        return;
    }

    if (m->deep) {
        ngx_broadcast_invocation_too_deep(bc, pool, m);
        return;
    }

    if (m->nstreams) {
        ngx_broadcast_upload_open(bc, pool, m, 0);
        return;
    }

    ngx_memzero(&w, sizeof(ngx_broadcast_wanted_t));

    w.id = m->id;
    w.target = m->target;
    w.arguments = m->arguments;
    w.stream = (m->type == NGX_BROADCAST_MESSAGE_STREAM_INVOCATION);

    ngx_broadcast_invocation_call(bc, pool, &w);
}


static void
ngx_broadcast_invocation_too_deep(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m)
{
    ngx_str_t  error;

    if (ngx_broadcast_refusal_text(pool, NGX_BROADCAST_REFUSAL_BINDING,
                                   &m->target, 0, 0, &error)
        == NGX_OK)
    {
        ngx_broadcast_inbound_answer(bc, &m->id, NULL, &error);
    }
}


void
ngx_broadcast_invocation_call(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w)
{
    ngx_int_t  rc;

    /* open before the call: whoever it tells of may be quicker than its end */

    if (w->stream) {
        rc = ngx_broadcast_invocation_open(bc, &w->id);

        if (rc == NGX_BUSY) {
            ngx_broadcast_invocation_refuse(bc, pool, &w->id, &w->target,
                                            NGX_BROADCAST_FAILED_TO_INVOKE,
                                            NGX_BROADCAST_DUE_TO_AN_ERROR,
                                            &ngx_broadcast_invocation_many);
            return;
        }

        if (rc != NGX_OK) {
            ngx_broadcast_inbound_refuse(bc, pool, &w->id, &w->target, rc);
            return;
        }
    }

    w->open = w->stream;

    ngx_broadcast_call_begin(bc, pool, w);
}


void
ngx_broadcast_invocation_in_use(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *id, ngx_str_t *used)
{
    ngx_broadcast_invocation_refuse(bc, pool, id, used, "Invocation ID '",
                                    "' is already in use.", NULL);
}


void
ngx_broadcast_invocation_refuse(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *id, ngx_str_t *name, const char *head, const char *tail,
    ngx_str_t *why)
{
    ngx_str_t            error;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, pool, 128 + name->len + (why ? why->len : 0));

    ngx_broadcast_buf_append(&b, (u_char *) head, ngx_strlen(head));
    ngx_broadcast_buf_str(&b, name);
    ngx_broadcast_buf_append(&b, (u_char *) tail, ngx_strlen(tail));

    if (why) {
        ngx_broadcast_buf_str(&b, why);
    }

    if (ngx_broadcast_buf_done(&b, &error) == NGX_OK) {
        ngx_broadcast_inbound_answer(bc, id, NULL, &error);
    }
}


static ngx_int_t
ngx_broadcast_invocation_open(ngx_broadcast_conn_t *bc, ngx_str_t *id)
{
    ngx_broadcast_invocation_t  *inv;

    inv = ngx_broadcast_invocation_get(bc);
    if (inv == NULL) {
        return NGX_ERROR;
    }

    if (inv->nstreams == NGX_BROADCAST_STREAMS_MAX
        || id->len > NGX_BROADCAST_INVOCATION_ID_MAX)
    {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_INVOCATION, 1);
        return NGX_BUSY;
    }

    if (ngx_broadcast_under_push(&inv->streams, id) == NULL) {
        return NGX_ERROR;
    }

    inv->nstreams++;

    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_invocation_end(ngx_broadcast_conn_t *bc, ngx_str_t *id,
    ngx_str_t *error)
{
    ngx_broadcast_under_t   **link;
    ngx_broadcast_message_t   m;

    if (bc->invocation == NULL) {
        return 0;
    }

    link = ngx_broadcast_under_find(&bc->invocation->streams, id);

    if (link == NULL) {
        return 0;
    }

    ngx_broadcast_rows_stop(bc, *link);

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    m.id = *id;

    if (error) {
        m.error = *error;
        m.has_error = 1;
    }

    ngx_broadcast_conn_queue_message(bc, &m);

    /* id may be its own */

    ngx_broadcast_under_remove(link);
    bc->invocation->nstreams--;

    return 1;
}


ngx_uint_t
ngx_broadcast_invocation_used(ngx_broadcast_conn_t *bc, ngx_str_t *id)
{
    if (bc->invocation == NULL) {
        return 0;
    }

    return ngx_broadcast_under_find(&bc->invocation->streams, id) != NULL
           || ngx_broadcast_upload_used(bc, id);
}


void
ngx_broadcast_invocation_record(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    switch (rec->type) {

    case NGX_BROADCAST_REC_INVOKE:
        ngx_broadcast_asked_open(bc, rec);
        return;

    case NGX_BROADCAST_REC_FORGET:
        (void) ngx_broadcast_asked_forget(bc, &rec->group);
        return;

    case NGX_BROADCAST_REC_ITEM:
        ngx_broadcast_invocation_item(bc, rec);
        return;

    default: /* NGX_BROADCAST_REC_COMPLETE */
        ngx_broadcast_invocation_complete(bc, rec);
        return;
    }
}


static void
ngx_broadcast_invocation_item(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    ngx_str_t               error;
    ngx_broadcast_under_t  *under;

    under = ngx_broadcast_invocation_stream(bc, rec);

    if (under == NULL) {
        return;
    }

    if (ngx_broadcast_rows_queue(bc, under, &rec->arguments) != NGX_OK) {
        ngx_str_set(&error, NGX_BROADCAST_ROWS_ERROR);
        (void) ngx_broadcast_invocation_end(bc, &rec->group, &error);
        return;
    }

    if (under->source) {
        ngx_broadcast_rows_took(bc, under, rec);
    }
}


static void
ngx_broadcast_invocation_complete(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    ngx_broadcast_under_t  *under;

    under = ngx_broadcast_invocation_stream(bc, rec);

    if (under) {
        under->source = 0;
        (void) ngx_broadcast_invocation_end(bc, &rec->group,
                                            rec->arguments.len
                                            ? &rec->arguments : NULL);
    }
}


/* the client's stream that an ITEM or COMPLETE is for, or NULL */

static ngx_broadcast_under_t *
ngx_broadcast_invocation_stream(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    ngx_broadcast_under_t  **link;

    if (bc->invocation == NULL) {
        return NULL;
    }

    link = ngx_broadcast_under_find(&bc->invocation->streams, &rec->group);

    return link && ngx_broadcast_rows_belongs(*link, rec) ? *link : NULL;
}


ngx_broadcast_under_t *
ngx_broadcast_under_push(ngx_broadcast_under_t **list, ngx_str_t *id)
{
    ngx_broadcast_under_t  *under;

    under = ngx_calloc(sizeof(ngx_broadcast_under_t) + id->len,
                       ngx_broadcast_bus.log);
    if (under == NULL) {
        return NULL;
    }

    under->since = ngx_current_msec;
    under->id.len = id->len;
    under->id.data = (u_char *) (under + 1);
    ngx_memcpy(under->id.data, id->data, id->len);

    under->next = *list;
    *list = under;

    return under;
}


ngx_broadcast_under_t **
ngx_broadcast_under_find(ngx_broadcast_under_t **list, ngx_str_t *id)
{
    for ( /* void */ ; *list; list = &(*list)->next) {

        if ((*list)->id.len == id->len
            && ngx_memcmp((*list)->id.data, id->data, id->len) == 0)
        {
            return list;
        }
    }

    return NULL;
}


ngx_int_t
ngx_broadcast_under_shape(ngx_broadcast_under_t *under, ngx_str_t *shape)
{
    if (shape->len == 0) {
        return NGX_OK;
    }

    under->shape.data = ngx_alloc(shape->len, ngx_broadcast_bus.log);

    if (under->shape.data == NULL) {
        return NGX_ERROR;
    }

    under->shape.len = shape->len;
    ngx_memcpy(under->shape.data, shape->data, shape->len);

    return NGX_OK;
}


void
ngx_broadcast_under_remove(ngx_broadcast_under_t **link)
{
    ngx_broadcast_under_t  *under;

    under = *link;
    *link = under->next;

    if (under->shape.len) {
        ngx_free(under->shape.data);
    }

    ngx_free(under);
}


void
ngx_broadcast_invocation_free(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_upload_t      *up;
    ngx_broadcast_invocation_t  *inv;

    inv = bc->invocation;

    if (inv == NULL) {
        return;
    }

    bc->invocation = NULL;

    while (inv->asked) {
        ngx_broadcast_under_remove(&inv->asked);
    }

    while (inv->streams) {
        ngx_broadcast_under_remove(&inv->streams);
    }

    while (inv->uploads) {
        up = inv->uploads;
        inv->uploads = up->next;
        ngx_broadcast_upload_free(up);
    }

    ngx_free(inv);
}

