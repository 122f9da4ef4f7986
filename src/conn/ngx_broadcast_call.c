
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_call_local.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_rows.h"


static ngx_broadcast_method_t *ngx_broadcast_call_find(
    ngx_broadcast_conn_t *bc, ngx_pool_t *pool, ngx_broadcast_wanted_t *w,
    ngx_broadcast_arguments_t *a);
static ngx_uint_t ngx_broadcast_call_verdict(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w, ngx_broadcast_arguments_t *a,
    ngx_broadcast_method_t **method);
static ngx_uint_t ngx_broadcast_call_nargs(ngx_broadcast_wanted_t *w,
    ngx_broadcast_arguments_t *a);
static void ngx_broadcast_call_refuse(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_wanted_t *w,
    ngx_broadcast_arguments_t *a, ngx_broadcast_method_t *method,
    ngx_uint_t why);
static void ngx_broadcast_call_asked(ngx_uint_t status, void *data);
static void ngx_broadcast_call_anew(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_wanted_t *w);
static void ngx_broadcast_call_method(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_wanted_t *w,
    ngx_broadcast_arguments_t *a, ngx_broadcast_method_t *method);
static void ngx_broadcast_call_rows(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_wanted_t *w,
    ngx_broadcast_method_call_t *call, uint64_t serial);
static ngx_broadcast_task_t *ngx_broadcast_call_task(
    ngx_broadcast_wanted_t *w, ngx_uint_t whole);
static u_char *ngx_broadcast_call_copy(u_char *p, ngx_str_t *to,
    ngx_str_t *from);
static void ngx_broadcast_call_calling(ngx_broadcast_calling_t *calling,
    ngx_broadcast_conn_t *bc, uint64_t serial);


static uint64_t  ngx_broadcast_call_last;


uint64_t
ngx_broadcast_call_serial(void)
{
    return ++ngx_broadcast_call_last;
}


void
ngx_broadcast_call_begin(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w)
{
    ngx_broadcast_method_t     *method;
    ngx_broadcast_arguments_t   a;

    method = ngx_broadcast_call_find(bc, pool, w, &a);

    if (method) {
        ngx_broadcast_call_method(bc, pool, w, &a, method);
    }
}


ngx_int_t
ngx_broadcast_call_check(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w)
{
    ngx_broadcast_arguments_t  a;

    return ngx_broadcast_call_find(bc, pool, w, &a) ? NGX_OK : NGX_DONE;
}


/* NULL: it was said why not, or will be when more is known */

static ngx_broadcast_method_t *
ngx_broadcast_call_find(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w, ngx_broadcast_arguments_t *a)
{
    ngx_uint_t               why;
    ngx_broadcast_method_t  *method;

    if (!bc->functions || !ngx_broadcast_pg_enabled()) {
        ngx_broadcast_call_say(bc, pool, w, NGX_BROADCAST_REFUSAL_UNKNOWN,
                               0, 0);
        return NULL;
    }

    if (ngx_broadcast_arguments_parse(a, &w->arguments) != NGX_OK) {
        ngx_broadcast_call_say(bc, pool, w, NGX_BROADCAST_REFUSAL_BINDING,
                               0, 0);
        return NULL;
    }

    why = ngx_broadcast_call_verdict(bc, w, a, &method);

    if (why == NGX_BROADCAST_REFUSAL_NONE) {
        return method;
    }

    /* it may have been created an instant ago */

    if (w->asked || ngx_broadcast_call_ask(bc, w) != NGX_OK) {
        ngx_broadcast_call_refuse(bc, pool, w, a, method, why);
    }

    return NULL;
}


static ngx_uint_t
ngx_broadcast_call_verdict(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w, ngx_broadcast_arguments_t *a,
    ngx_broadcast_method_t **method)
{
    ngx_broadcast_method_t  *m;

    switch (ngx_broadcast_method_find(&bc->hub->name, &w->target,
                                      ngx_broadcast_call_nargs(w, a),
                                      w->nstreams, method))
    {
    case NGX_BROADCAST_METHOD_FOUND:
        break;

    case NGX_BROADCAST_METHOD_COUNT:
        return NGX_BROADCAST_REFUSAL_COUNT;

    case NGX_BROADCAST_METHOD_STREAMS:
        return NGX_BROADCAST_REFUSAL_UPLOADS;

    case NGX_BROADCAST_METHOD_AMBIGUOUS:
        return NGX_BROADCAST_REFUSAL_AMBIGUOUS;

    case NGX_BROADCAST_METHOD_UNREAD:
        return NGX_BROADCAST_REFUSAL_AWAY;

    default:
        return NGX_BROADCAST_REFUSAL_UNKNOWN;
    }

    m = *method;

    if (m->stream && !w->stream) {
        return NGX_BROADCAST_REFUSAL_STREAMING;
    }

    /* a bound function may let others make the items of its stream */

    if (w->stream && !m->stream && !m->message) {
        return NGX_BROADCAST_REFUSAL_NOT_STREAMING;
    }

    return NGX_BROADCAST_REFUSAL_NONE;
}


/* without those of upload streams, which may not be there yet */

static ngx_uint_t
ngx_broadcast_call_nargs(ngx_broadcast_wanted_t *w,
    ngx_broadcast_arguments_t *a)
{
    return w->uploads.len ? a->n : a->n - ngx_min(w->nstreams, a->n);
}


static void
ngx_broadcast_call_refuse(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w, ngx_broadcast_arguments_t *a,
    ngx_broadcast_method_t *method, ngx_uint_t why)
{
    ngx_uint_t  n, m;

    n = 0;
    m = 0;

    if (why == NGX_BROADCAST_REFUSAL_COUNT) {
        n = ngx_broadcast_call_nargs(w, a);
        m = method->count - ngx_min(w->nstreams, method->count);

        if (method->rest && w->nstreams == 0) {
            m--;
        }

    } else if (why == NGX_BROADCAST_REFUSAL_UPLOADS) {
        n = w->nstreams;
        m = method->arrays;
    }

    ngx_broadcast_call_say(bc, pool, w, why, n, m);
}


void
ngx_broadcast_call_say(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w, ngx_uint_t why, ngx_uint_t n, ngx_uint_t m)
{
    ngx_str_t  error;

    if (ngx_broadcast_refusal_text(pool, why, &w->target, n, m, &error)
        == NGX_OK)
    {
        ngx_broadcast_call_error(bc, w, &error);
    }
}


/* NGX_OK: it is tried again when the catalogue is as new as it can be */

ngx_int_t
ngx_broadcast_call_ask(ngx_broadcast_conn_t *bc, ngx_broadcast_wanted_t *w)
{
    ngx_int_t                 rc;
    ngx_broadcast_task_t     *task;
    ngx_broadcast_calling_t   calling;

    task = ngx_broadcast_call_task(w, 1);
    if (task == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_call_calling(&calling, bc, task->serial);

    rc = ngx_broadcast_method_ask(ngx_broadcast_call_asked, &calling,
                                  sizeof(ngx_broadcast_calling_t));

    if (rc != NGX_OK) {
        ngx_free(task);
        return rc;
    }

    bc->task = task;

    return NGX_OK;
}


static void
ngx_broadcast_call_asked(ngx_uint_t status, void *data)
{
    ngx_pool_t              *pool;
    ngx_broadcast_conn_t    *bc;
    ngx_broadcast_task_t    *task;
    ngx_broadcast_wanted_t   w;

    bc = ngx_broadcast_call_caller(data);

    if (bc == NULL) {
        return;
    }

    task = bc->task;
    bc->task = NULL;

    ngx_broadcast_call_wanted(&w, task);
    w.asked = 1;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_broadcast_bus.log);

    if (pool) {
        if (bc->state < NGX_BROADCAST_CLOSING) {
            ngx_broadcast_call_anew(bc, pool, &w);
        }

        ngx_destroy_pool(pool);
    }

    ngx_broadcast_call_free(task);

    if (bc->task == NULL) {
        ngx_broadcast_call_on(bc);
    }
}


static void
ngx_broadcast_call_anew(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w)
{
    ngx_broadcast_message_t  m;

    if (w->uploads.len == 0) {
        ngx_broadcast_call_begin(bc, pool, w);
        return;
    }

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = w->stream ? NGX_BROADCAST_MESSAGE_STREAM_INVOCATION
                       : NGX_BROADCAST_MESSAGE_INVOCATION;
    m.id = w->id;
    m.target = w->target;
    m.arguments = w->arguments;
    m.streams = w->uploads;
    m.nstreams = w->nstreams;

    ngx_broadcast_upload_open(bc, pool, &m, 1);
}


static void
ngx_broadcast_call_method(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w, ngx_broadcast_arguments_t *a,
    ngx_broadcast_method_t *method)
{
    ngx_int_t                     rc;
    ngx_broadcast_task_t         *task;
    ngx_broadcast_calling_t       calling;
    ngx_broadcast_method_call_t  *call;

    task = ngx_broadcast_call_task(w, 0);

    if (task == NULL) {
        ngx_broadcast_call_say(bc, pool, w, NGX_BROADCAST_REFUSAL_MEMORY,
                               0, 0);
        return;
    }

    rc = ngx_broadcast_arguments_call(bc, w, a, method, task->serial, &call);

    if (rc != NGX_OK) {
        ngx_free(task);
        ngx_broadcast_call_say(bc, pool, w, rc == NGX_DECLINED
                                            ? NGX_BROADCAST_REFUSAL_BINDING
                                            : NGX_BROADCAST_REFUSAL_MEMORY,
                               0, 0);
        return;
    }

    if (method->stream) {
        ngx_broadcast_call_rows(bc, pool, w, call, task->serial);
        ngx_free(task);
        return;
    }

    ngx_broadcast_call_calling(&calling, bc, task->serial);

    rc = ngx_broadcast_method_call(call, ngx_broadcast_call_result, &calling,
                                   sizeof(ngx_broadcast_calling_t));

    if (rc == NGX_OK) {
        bc->task = task;
        return;
    }

    ngx_free(task);
    ngx_broadcast_call_say(bc, pool, w, rc == NGX_BUSY
                                        ? NGX_BROADCAST_REFUSAL_BUSY
                                        : NGX_BROADCAST_REFUSAL_AWAY, 0, 0);
}


/* the rows go their own way, and the next message is taken */

static void
ngx_broadcast_call_rows(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w, ngx_broadcast_method_call_t *call,
    uint64_t serial)
{
    ngx_int_t                   rc;
    ngx_uint_t                  why;
    ngx_broadcast_stream_in_t   in;

    ngx_memzero(&in, sizeof(ngx_broadcast_stream_in_t));

    in.serial = serial;
    in.function = call->method->function;
    in.shape = call->method->shape;
    in.statement = (char *) call->method->statement.data;
    in.cursor = call->method->cursor;
    in.before = ngx_broadcast_method_before();
    in.shape = call->method->shape;
    in.nparams = call->nparams;
    in.params = call->params;

    rc = ngx_broadcast_rows_open(bc, &w->id, &w->target,
                                 call->method->message, &in);

    ngx_broadcast_method_discard(call);

    if (rc == NGX_OK) {
        return;
    }

    why = rc == NGX_BUSY ? NGX_BROADCAST_REFUSAL_STREAMS
                         : rc == NGX_DECLINED ? NGX_BROADCAST_REFUSAL_AWAY
                                              : NGX_BROADCAST_REFUSAL_MEMORY;

    ngx_broadcast_call_say(bc, pool, w, why, 0, 0);
}


/* whole: with the arguments */

static ngx_broadcast_task_t *
ngx_broadcast_call_task(ngx_broadcast_wanted_t *w, ngx_uint_t whole)
{
    u_char                *p;
    size_t                 size;
    ngx_broadcast_task_t  *task;

    size = w->id.len + w->target.len;

    if (whole) {
        size += w->arguments.len + w->uploads.len;
    }

    task = ngx_alloc(sizeof(ngx_broadcast_task_t) + size,
                     ngx_broadcast_bus.log);
    if (task == NULL) {
        return NULL;
    }

    ngx_memzero(task, sizeof(ngx_broadcast_task_t));

    task->serial = ngx_broadcast_call_serial();
    task->kind = NGX_BROADCAST_ON_MESSAGE;
    task->nstreams = w->nstreams;
    task->stream = w->stream;
    task->open = w->open;
    task->asked = w->asked;

    p = (u_char *) (task + 1);

    p = ngx_broadcast_call_copy(p, &task->id, &w->id);
    p = ngx_broadcast_call_copy(p, &task->target, &w->target);

    if (whole) {
        p = ngx_broadcast_call_copy(p, &task->arguments, &w->arguments);
        (void) ngx_broadcast_call_copy(p, &task->uploads, &w->uploads);
    }

    return task;
}


static u_char *
ngx_broadcast_call_copy(u_char *p, ngx_str_t *to, ngx_str_t *from)
{
    to->len = from->len;
    to->data = p;

    return from->len ? ngx_cpymem(p, from->data, from->len) : p;
}


void
ngx_broadcast_call_wanted(ngx_broadcast_wanted_t *w,
    ngx_broadcast_task_t *task)
{
    w->id = task->id;
    w->target = task->target;
    w->arguments = task->arguments;
    w->nstreams = task->nstreams;
    w->uploads = task->uploads;
    w->stream = task->stream;
    w->open = task->open;
    w->asked = task->asked;
}


static void
ngx_broadcast_call_calling(ngx_broadcast_calling_t *calling,
    ngx_broadcast_conn_t *bc, uint64_t serial)
{
    calling->serial = serial;
    calling->len = (u_char) bc->id.len;
    ngx_memcpy(calling->id, bc->id.data, bc->id.len);
}


/* NULL: it has ended, or does not wait for this any more */

ngx_broadcast_conn_t *
ngx_broadcast_call_caller(ngx_broadcast_calling_t *calling)
{
    ngx_str_t              id;
    ngx_broadcast_conn_t  *bc;

    id.data = calling->id;
    id.len = calling->len;

    bc = ngx_broadcast_index_find(&id);

    if (bc == NULL || bc->task == NULL || bc->task->serial != calling->serial)
    {
        return NULL;
    }

    return bc;
}


void
ngx_broadcast_call_error(ngx_broadcast_conn_t *bc, ngx_broadcast_wanted_t *w,
    ngx_str_t *error)
{
    if (w->open) {

        /* it may have been completed meanwhile */

        (void) ngx_broadcast_invocation_end(bc, &w->id, error);
        return;
    }

    ngx_broadcast_inbound_answer(bc, &w->id, NULL, error);
}
