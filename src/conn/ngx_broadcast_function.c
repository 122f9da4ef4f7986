
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_keep.h"
#include "conn/ngx_broadcast_move.h"
#include "base/ngx_broadcast_buf.h"
#include "conn/ngx_broadcast_invocation.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_settle.h"
#include "proto/ngx_broadcast_scan.h"


/*
 * What goes with a call: the connection by its id, because it may be gone when
 * the answer comes, and its row, which is given back then.
 */

typedef struct {
    uint32_t                 serial;
    uint32_t                 hub;
    ngx_broadcast_row_t      row;           /* of `connected`, else 0 */
    u_char                   len;
    u_char                   id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_caller_t;


/* an ended connection whose `connected` is under way; the id stands behind */

typedef struct ngx_broadcast_deferred_s  ngx_broadcast_deferred_t;

struct ngx_broadcast_deferred_s {
    ngx_broadcast_deferred_t  *next;
    ngx_str_t                  id;
};


static ngx_int_t ngx_broadcast_function_call(ngx_broadcast_conn_t *bc,
    ngx_uint_t kind, ngx_str_t *event, ngx_str_t *id, ngx_str_t *target);
static void ngx_broadcast_function_handler(
    ngx_broadcast_call_result_t *result, void *data);
static void ngx_broadcast_function_result(ngx_broadcast_conn_t *bc,
    ngx_broadcast_task_t *task, ngx_broadcast_call_result_t *result);
static void ngx_broadcast_function_failed(ngx_broadcast_conn_t *bc,
    ngx_broadcast_task_t *task, ngx_str_t *error);
static void ngx_broadcast_function_head(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc, const char *kind);
static ngx_broadcast_deferred_t **ngx_broadcast_function_find(ngx_str_t *id);


static uint32_t                   ngx_broadcast_function_serial;
static ngx_broadcast_deferred_t  *ngx_broadcast_function_deferrals;


static const char  *ngx_broadcast_function_transports[] = {
    "websocket", "sse", "longpoll"
};


void
ngx_broadcast_function_connected(ngx_broadcast_conn_t *bc)
{
    ngx_str_t             event, none;
    ngx_pool_t           *pool;
    ngx_broadcast_buf_t   b;

    if (!bc->functions || !ngx_broadcast_pg_enabled()) {
        goto done;
    }

    if (ngx_broadcast_pg_state() != NGX_BROADCAST_DB_UP) {

        /* there will be no row: `message` events get it from here */

        return;
    }

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_broadcast_bus.log);
    if (pool == NULL) {
        goto done;
    }

    ngx_broadcast_buf_init(&b, pool, 1024);
    ngx_broadcast_function_head(&b, bc, "connected");

    ngx_broadcast_buf_literal(&b, ",\"transport\":\"");
    ngx_broadcast_buf_append(&b, (u_char *)
                             ngx_broadcast_function_transports[bc->type],
                             ngx_strlen(
                               ngx_broadcast_function_transports[bc->type]));
    ngx_broadcast_buf_char(&b, '"');

    if (bc->event) {
        ngx_broadcast_buf_char(&b, ',');
        ngx_broadcast_buf_append(&b, ngx_broadcast_frame_data(bc->event),
                                 bc->event->len);
    }

    if (bc->groups && ngx_broadcast_hub_durable(&bc->hub->name)) {
        ngx_broadcast_buf_literal(&b, ",\"groups\":");
        ngx_broadcast_keep_groups(&b, bc);
    }

    ngx_broadcast_buf_char(&b, '}');

    if (ngx_broadcast_buf_done(&b, &event) == NGX_OK) {

        /*
         * Owed before the call: a worker that dies behind it has asked for the
         * event, and `disconnected` for a row that is not there does nothing.
         */

        ngx_broadcast_registry_owe(ngx_broadcast_bus.zone, bc->row, &bc->id);

        ngx_str_null(&none);

        if (ngx_broadcast_function_call(bc, NGX_BROADCAST_ON_CONNECTED,
                                        &event, &none, &none)
            == NGX_OK)
        {
            ngx_broadcast_keep_begin(bc);
        }
    }

    ngx_destroy_pool(pool);

done:

    if (bc->event) {
        ngx_broadcast_frame_free(bc->event);
        bc->event = NULL;
    }
}


ngx_int_t
ngx_broadcast_function_bound(ngx_broadcast_conn_t *bc, ngx_str_t *target)
{
    if (!bc->functions || !ngx_broadcast_pg_enabled()) {
        return NGX_DECLINED;
    }

    if (!ngx_broadcast_binding_ready(ngx_broadcast_bus.zone)) {
        return NGX_ABORT;
    }

    if (!ngx_broadcast_binding_find(ngx_broadcast_bus.zone,
                                    NGX_BROADCAST_ON_MESSAGE, &bc->hub->name,
                                    target, NULL))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_function_message(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_uint_t stream, ngx_str_t *id, ngx_str_t *target, ngx_str_t *arguments)
{
    ngx_int_t             rc;
    ngx_str_t             event;
    ngx_broadcast_buf_t   b;

    rc = ngx_broadcast_function_bound(bc, target);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_broadcast_buf_init(&b, pool, 512 + arguments->len);
    ngx_broadcast_function_head(&b, bc, "message");

    ngx_broadcast_buf_literal(&b, ",\"target\":");
    ngx_broadcast_buf_json(&b, target);

    ngx_broadcast_buf_literal(&b, ",\"arguments\":");
    ngx_broadcast_buf_str(&b, arguments);

    if (id->len) {
        ngx_broadcast_buf_literal(&b, ",\"invocationId\":");
        ngx_broadcast_buf_json(&b, id);
    }

    if (stream) {
        ngx_broadcast_buf_literal(&b, ",\"stream\":true");
    }

    if (bc->event) {

        /* else claims and query are in the connection's row */

        ngx_broadcast_buf_char(&b, ',');
        ngx_broadcast_buf_append(&b, ngx_broadcast_frame_data(bc->event),
                                 bc->event->len);
    }

    ngx_broadcast_buf_char(&b, '}');

    if (ngx_broadcast_buf_done(&b, &event) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_broadcast_function_call(bc, NGX_BROADCAST_ON_MESSAGE, &event, id,
                                     target);

    if (rc == NGX_OK) {
        bc->task->stream = stream;
    }

    return rc;
}


/* the members that all events of a connection have, the brace left open */

static void
ngx_broadcast_function_head(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc,
    const char *kind)
{
    ngx_str_t  user;

    ngx_broadcast_buf_literal(b, "{\"kind\":\"");
    ngx_broadcast_buf_append(b, (u_char *) kind, ngx_strlen(kind));

    ngx_broadcast_buf_literal(b, "\",\"hub\":");
    ngx_broadcast_buf_json(b, &bc->hub->name);

    ngx_broadcast_buf_literal(b, ",\"connectionId\":");
    ngx_broadcast_buf_json(b, &bc->id);

    ngx_broadcast_buf_literal(b, ",\"userId\":");

    if (bc->user) {
        user.len = bc->user->len;
        user.data = bc->user->data;
        ngx_broadcast_buf_json(b, &user);

    } else {
        ngx_broadcast_buf_literal(b, "null");
    }
}


static ngx_int_t
ngx_broadcast_function_call(ngx_broadcast_conn_t *bc, ngx_uint_t kind,
    ngx_str_t *event, ngx_str_t *id, ngx_str_t *target)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_broadcast_task_t    *task;
    ngx_broadcast_caller_t   caller;

    task = ngx_alloc(sizeof(ngx_broadcast_task_t) + id->len + target->len,
                     ngx_broadcast_bus.log);
    if (task == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) (task + 1);

    task->serial = ++ngx_broadcast_function_serial;
    task->kind = kind;
    task->stream = 0;

    task->id.data = p;
    task->id.len = id->len;

    if (id->len) {
        p = ngx_cpymem(p, id->data, id->len);
    }

    task->target.data = p;
    task->target.len = target->len;

    if (target->len) {
        ngx_memcpy(p, target->data, target->len);
    }

    ngx_memzero(&caller, sizeof(ngx_broadcast_caller_t));

    caller.serial = task->serial;
    caller.hub = (uint32_t) bc->hub->index;
    caller.row = (kind == NGX_BROADCAST_ON_CONNECTED) ? bc->row : 0;
    caller.len = (u_char) bc->id.len;
    ngx_memcpy(caller.id, bc->id.data, bc->id.len);

    rc = ngx_broadcast_call(kind, event, ngx_broadcast_function_handler,
                            &caller, sizeof(ngx_broadcast_caller_t), NULL);

    if (rc != NGX_OK) {
        ngx_free(task);
        return rc == NGX_DECLINED ? NGX_ABORT : rc;
    }

    bc->task = task;

    return NGX_OK;
}


static void
ngx_broadcast_function_handler(ngx_broadcast_call_result_t *result,
    void *data)
{
    ngx_broadcast_caller_t  *caller = data;

    ngx_str_t                   id;
    ngx_broadcast_conn_t       *bc;
    ngx_broadcast_task_t       *task;
    ngx_broadcast_deferred_t  **link, *deferred;

    id.data = caller->id;
    id.len = caller->len;

    bc = ngx_broadcast_index_find(&id);

    if (bc == NULL || bc->task == NULL || bc->task->serial != caller->serial) {

        /* the connection has ended; its row waited for `connected` */

        if (caller->row) {
            link = ngx_broadcast_function_find(&id);

            if (*link) {
                deferred = *link;
                *link = deferred->next;
                ngx_free(deferred);
            }

            ngx_broadcast_function_release(caller->hub, caller->row, &id);
        }

        return;
    }

    task = bc->task;
    bc->task = NULL;

    bc->received = ngx_current_msec;

    /* what `connected` wants done was staged with it, and comes by the log */

    if (task->kind == NGX_BROADCAST_ON_CONNECTED) {
        ngx_broadcast_keep_connected(bc,
                                     result->status != NGX_BROADCAST_CALL_OK);

    } else if (bc->state < NGX_BROADCAST_CLOSING) {
        ngx_broadcast_function_result(bc, task, result);
    }

    ngx_free(task);

    /* what came meanwhile: goes with it, if it is wanted elsewhere */

    if (bc->moving && ngx_broadcast_move_go(bc) == NGX_OK) {
        return;
    }

    ngx_broadcast_inbound_run(bc);
}


static void
ngx_broadcast_function_result(ngx_broadcast_conn_t *bc,
    ngx_broadcast_task_t *task, ngx_broadcast_call_result_t *result)
{
    u_char                       buf[1280];
    ngx_str_t                    value, error;
    ngx_broadcast_scan_t         s;
    ngx_broadcast_scan_value_t   key, member;

    ngx_str_null(&error);

    if (result->status == NGX_BROADCAST_CALL_OK && task->stream) {

        /* items and the end come from whoever was told of the stream */

        return;
    }

    if (result->status == NGX_BROADCAST_CALL_OK) {
        ngx_str_set(&value, "null");

        ngx_broadcast_scan_init(&s, &result->value);

        if (result->value.len
            && ngx_broadcast_scan_open(&s, '{') == NGX_OK)
        {
            while (ngx_broadcast_scan_member(&s, &key, &member) == NGX_OK) {

                if (ngx_broadcast_scan_is(&key, "result")) {
                    value = member.text;
                }
            }
        }

        ngx_broadcast_inbound_answer(bc, &task->id, &value, NULL);
        return;
    }

    if (result->status == NGX_BROADCAST_CALL_FAILED && result->raised
        && !result->unauthorized)
    {

        /* RAISE EXCEPTION: what the function says to its caller */

        ngx_broadcast_function_failed(bc, task, &result->message);
        return;
    }

    /* signalr.md 4.6; anything else is between us and the database */

    error.data = buf;
    error.len = ngx_snprintf(buf, sizeof(buf),
                             result->unauthorized
                             ? "Failed to invoke '%V' because user is "
                               "unauthorized"
                             : "An unexpected error occurred invoking '%V' on "
                               "the server.", &task->target)
                - buf;

    ngx_broadcast_function_failed(bc, task, &error);
}


static void
ngx_broadcast_function_failed(ngx_broadcast_conn_t *bc,
    ngx_broadcast_task_t *task, ngx_str_t *error)
{
    if (task->stream) {

        /* it may have been completed meanwhile */

        (void) ngx_broadcast_invocation_end(bc, &task->id, error);
        return;
    }

    ngx_broadcast_inbound_answer(bc, &task->id, NULL, error);
}


void
ngx_broadcast_function_free(ngx_broadcast_conn_t *bc)
{
    if (bc->task) {
        ngx_free(bc->task);
        bc->task = NULL;
    }
}


void
ngx_broadcast_function_release(ngx_uint_t hub, ngx_broadcast_row_t row,
    ngx_str_t *id)
{
    if (ngx_broadcast_registry_release(ngx_broadcast_bus.zone, row, id,
                                       ngx_broadcast_bus.owner)
        == NGX_BUSY)
    {
        ngx_broadcast_move_gone(hub, id);
        return;
    }

    if (ngx_broadcast_pg_enabled()) {
        ngx_broadcast_settle_nudge();
    }
}


void
ngx_broadcast_function_defer(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_deferred_t  *deferred;

    deferred = ngx_alloc(sizeof(ngx_broadcast_deferred_t) + bc->id.len,
                         ngx_broadcast_bus.log);
    if (deferred == NULL) {
        return;
    }

    deferred->id.len = bc->id.len;
    deferred->id.data = (u_char *) (deferred + 1);
    ngx_memcpy(deferred->id.data, bc->id.data, bc->id.len);

    deferred->next = ngx_broadcast_function_deferrals;
    ngx_broadcast_function_deferrals = deferred;
}


ngx_uint_t
ngx_broadcast_function_deferred(ngx_str_t *id)
{
    return *ngx_broadcast_function_find(id) != NULL;
}


/* the link that leads to it, or to NULL */

static ngx_broadcast_deferred_t **
ngx_broadcast_function_find(ngx_str_t *id)
{
    ngx_broadcast_deferred_t  **link;

    for (link = &ngx_broadcast_function_deferrals;
         *link;
         link = &(*link)->next)
    {
        if ((*link)->id.len == id->len
            && ngx_memcmp((*link)->id.data, id->data, id->len) == 0)
        {
            break;
        }
    }

    return link;
}
