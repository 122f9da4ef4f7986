
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_call_local.h"
#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_rows.h"
#include "proto/ngx_broadcast_scan.h"


#define NGX_BROADCAST_CALL_QUOTED  512      /* bytes on the stack; longer ones
                                               take memory for a moment */


static ngx_int_t ngx_broadcast_call_good(ngx_broadcast_conn_t *bc,
    ngx_broadcast_task_t *task, ngx_broadcast_method_result_t *result);
static ngx_broadcast_frame_t *ngx_broadcast_call_frame(
    ngx_broadcast_conn_t *bc, ngx_broadcast_task_t *task,
    ngx_broadcast_method_result_t *result);
static ngx_broadcast_frame_t *ngx_broadcast_call_unsaid(
    ngx_broadcast_conn_t *bc, ngx_broadcast_task_t *task,
    ngx_broadcast_method_result_t *result);
static void ngx_broadcast_call_bad(ngx_broadcast_conn_t *bc,
    ngx_broadcast_task_t *task, ngx_broadcast_method_result_t *result);
static void ngx_broadcast_call_release(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_call_late(ngx_event_t *ev);


/* tasks whose Completion waits for DONE, the oldest first */

static ngx_queue_t  ngx_broadcast_call_held;
static ngx_event_t  ngx_broadcast_call_timer;


void
ngx_broadcast_call_start(ngx_log_t *log)
{
    ngx_event_t  *ev = &ngx_broadcast_call_timer;

    ngx_queue_init(&ngx_broadcast_call_held);

    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_broadcast_call_late;
    ev->data = ev;
    ev->log = log;
    ev->cancelable = 1;
}


void
ngx_broadcast_call_stop(void)
{
    if (ngx_broadcast_call_timer.timer_set) {
        ngx_del_timer(&ngx_broadcast_call_timer);
    }
}


void
ngx_broadcast_call_result(ngx_broadcast_method_result_t *result, void *data)
{
    ngx_broadcast_conn_t    *bc;
    ngx_broadcast_task_t    *task;
    ngx_broadcast_wanted_t   w;

    bc = ngx_broadcast_call_caller(data);

    if (bc == NULL) {
        return;
    }

    task = bc->task;

    bc->received = ngx_current_msec;

    if (bc->state < NGX_BROADCAST_CLOSING) {

        if (result->status == NGX_BROADCAST_CALL_OK) {

            if (ngx_broadcast_call_good(bc, task, result) == NGX_AGAIN) {
                return;
            }

        } else if (result->gone && result->raw.len && !task->asked) {

            /* the function is not there any more: is there another one? */

            ngx_broadcast_call_wanted(&w, task);
            w.arguments = result->raw;

            bc->task = NULL;

            if (ngx_broadcast_call_ask(bc, &w) == NGX_OK) {
                ngx_broadcast_call_free(task);
                return;
            }

            bc->task = task;
            ngx_broadcast_call_bad(bc, task, result);

        } else {
            ngx_broadcast_call_bad(bc, task, result);
        }
    }

    ngx_broadcast_call_release(bc);
}


/* NGX_AGAIN: the Completion waits for DONE */

static ngx_int_t
ngx_broadcast_call_good(ngx_broadcast_conn_t *bc, ngx_broadcast_task_t *task,
    ngx_broadcast_method_result_t *result)
{
    ngx_broadcast_frame_t  *frame;

    /*
     * Items and the end of a stream come from whoever was told of it; a plain
     * WebSocket hears of errors alone.
     */

    if (task->stream || task->id.len == 0
        || bc->protocol == NGX_BROADCAST_PLAIN)
    {
        return NGX_OK;
    }

    frame = ngx_broadcast_call_frame(bc, task, result);

    if (frame == NULL) {
        frame = ngx_broadcast_call_unsaid(bc, task, result);
    }

    if (!result->staged || task->done || frame == NULL) {
        ngx_broadcast_conn_queue_new(bc, frame);
        return NGX_OK;
    }

    task->conn = bc;
    task->frame = frame;
    task->held = ngx_current_msec;

    ngx_queue_insert_tail(&ngx_broadcast_call_held, &task->queue);

    if (!ngx_broadcast_call_timer.timer_set) {
        ngx_add_timer(&ngx_broadcast_call_timer, ngx_broadcast_pg_timeout());
    }

    return NGX_AGAIN;
}


/* NULL: no memory, or the client's protocol has no words for it */

static ngx_broadcast_frame_t *
ngx_broadcast_call_frame(ngx_broadcast_conn_t *bc, ngx_broadcast_task_t *task,
    ngx_broadcast_method_result_t *result)
{
    u_char                   *quoted;
    size_t                    len;
    u_char                    buf[NGX_BROADCAST_CALL_QUOTED];
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_message_t   m;

    quoted = buf;

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    m.id = task->id;
    m.has_value = 1;
    m.value = result->value;
    m.shape = result->method->shape;

    if (m.value.data == NULL) {
        ngx_str_set(&m.value, "null");

    } else if (result->method->plain) {

        len = ngx_broadcast_scan_quoted_len(&result->value);

        if (len > sizeof(buf)) {
            quoted = ngx_alloc(len, ngx_broadcast_bus.log);
            if (quoted == NULL) {
                return NULL;
            }
        }

        (void) ngx_broadcast_scan_quoted_write(quoted, &result->value);

        m.value.data = quoted;
        m.value.len = len;
    }

    frame = ngx_broadcast_frame_hub_message(bc->protocol, bc->framing, &m);

    if (quoted != buf) {
        ngx_free(quoted);
    }

    return frame;
}


/* a result that the client's protocol has no words for; NULL: no memory */

static ngx_broadcast_frame_t *
ngx_broadcast_call_unsaid(ngx_broadcast_conn_t *bc, ngx_broadcast_task_t *task,
    ngx_broadcast_method_result_t *result)
{
    ngx_pool_t               *pool;
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_message_t   m;

    ngx_log_error(NGX_LOG_INFO, ngx_broadcast_bus.log, 0,
                  "broadcast: a result of %V cannot be said in its client's "
                  "protocol, it is nested too deeply",
                  &result->method->function);

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE + 1024, ngx_broadcast_bus.log);
    if (pool == NULL) {
        return NULL;
    }

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    m.id = task->id;
    m.has_error = 1;

    frame = NULL;

    if (ngx_broadcast_refusal_text(pool, NGX_BROADCAST_REFUSAL_UNEXPECTED,
                                   &task->target, 0, 0, &m.error)
        == NGX_OK)
    {
        frame = ngx_broadcast_frame_hub_message(bc->protocol, bc->framing, &m);
    }

    ngx_destroy_pool(pool);

    return frame;
}


static void
ngx_broadcast_call_bad(ngx_broadcast_conn_t *bc, ngx_broadcast_task_t *task,
    ngx_broadcast_method_result_t *result)
{
    ngx_str_t                error;
    ngx_uint_t               why;
    ngx_pool_t              *pool;
    ngx_broadcast_wanted_t   w;

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE + 1024, ngx_broadcast_bus.log);
    if (pool == NULL) {
        return;
    }

    ngx_broadcast_call_wanted(&w, task);

    if (result->binding) {
        why = NGX_BROADCAST_REFUSAL_BINDING;

    } else if (result->denied) {
        why = NGX_BROADCAST_REFUSAL_UNAUTHORIZED;

    } else if (result->raised) {

        /* RAISE EXCEPTION: what the function says to its caller */

        if (result->method->message) {
            ngx_broadcast_call_error(bc, &w, &result->message);

        } else if (ngx_broadcast_refusal_thrown(pool, &w.target,
                                                &result->datatype,
                                                &result->message, &error)
                   == NGX_OK)
        {
            ngx_broadcast_call_error(bc, &w, &error);
        }

        ngx_destroy_pool(pool);
        return;

    } else if (result->gone && !result->method->message) {
        why = NGX_BROADCAST_REFUSAL_UNKNOWN;

    } else {

        /* anything else is between us and the database */

        why = NGX_BROADCAST_REFUSAL_UNEXPECTED;
    }

    ngx_broadcast_call_say(bc, pool, &w, why, 0, 0);

    ngx_destroy_pool(pool);
}


/* arguments: "<owner word>.<serial>" of whoever waits for it */

void
ngx_broadcast_call_done(ngx_broadcast_record_t *rec)
{
    u_char                   *dot, *last;
    ngx_int_t                 serial;
    ngx_str_t                 owner;
    u_char                    buf[NGX_INT64_LEN];
    ngx_broadcast_calling_t   calling;
    ngx_broadcast_conn_t     *bc;
    ngx_broadcast_task_t     *task;

    owner.data = buf;
    owner.len = ngx_sprintf(buf, "%uL", (uint64_t) ngx_broadcast_bus.owner)
                - buf;

    last = rec->arguments.data + rec->arguments.len;
    dot = rec->arguments.data + owner.len;

    if (rec->arguments.len < owner.len + 2 || *dot != '.'
        || ngx_memcmp(rec->arguments.data, owner.data, owner.len) != 0
        || rec->name.len > NGX_BROADCAST_CONN_ID_MAX)
    {
        return;
    }

    serial = ngx_atoi(dot + 1, last - dot - 1);

    if (serial == NGX_ERROR
        || ngx_broadcast_rows_done(&rec->name, (uint64_t) serial))
    {
        return;
    }

    calling.serial = (uint64_t) serial;
    calling.len = (u_char) rec->name.len;
    ngx_memcpy(calling.id, rec->name.data, rec->name.len);

    bc = ngx_broadcast_call_caller(&calling);

    if (bc == NULL) {
        return;
    }

    task = bc->task;
    task->done = 1;

    if (task->frame) {
        ngx_broadcast_call_release(bc);
    }
}


/* the call has ended: what it has to say is said, and the next one may begin */

static void
ngx_broadcast_call_release(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_task_t  *task = bc->task;

    if (task->frame && bc->state < NGX_BROADCAST_CLOSING) {

        /* behind what a replay holds back, which the function may have sent */

        if (bc->resume == NULL
            || !ngx_broadcast_resume_hold(bc, task->frame, NULL))
        {
            ngx_broadcast_conn_queue(bc, task->frame);
        }
    }

    bc->task = NULL;
    ngx_broadcast_call_free(task);

    ngx_broadcast_call_on(bc);
}


/* what came meanwhile: goes with it, if it is wanted elsewhere */

void
ngx_broadcast_call_on(ngx_broadcast_conn_t *bc)
{
    if (bc->moving && ngx_broadcast_move_go(bc) == NGX_OK) {
        return;
    }

    ngx_broadcast_inbound_run(bc);
}


/* DONE has not come in the time that a call may take */

static void
ngx_broadcast_call_late(ngx_event_t *ev)
{
    ngx_msec_t             timeout;
    ngx_queue_t           *q;
    ngx_msec_int_t         left;
    ngx_broadcast_task_t  *task;

    timeout = ngx_broadcast_pg_timeout();

    while (!ngx_queue_empty(&ngx_broadcast_call_held)) {

        q = ngx_queue_head(&ngx_broadcast_call_held);
        task = ngx_queue_data(q, ngx_broadcast_task_t, queue);

        left = (ngx_msec_int_t) (task->held + timeout - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(ev, (ngx_msec_t) left);
            return;
        }

        ngx_broadcast_call_release(task->conn);
    }
}


void
ngx_broadcast_call_free(ngx_broadcast_task_t *task)
{
    if (task->frame) {
        ngx_queue_remove(&task->queue);
        ngx_broadcast_frame_free(task->frame);
    }

    ngx_free(task);
}
