
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_keep.h"
#include "conn/ngx_broadcast_move.h"
#include "base/ngx_broadcast_buf.h"
#include "conn/ngx_broadcast_invocation.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_settle.h"
#include "proto/ngx_broadcast_scan.h"
#include "shm/ngx_broadcast_progress.h"


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


/* an ended connection whose `connected` is under way; the texts stand behind */

typedef struct ngx_broadcast_deferred_s  ngx_broadcast_deferred_t;

struct ngx_broadcast_deferred_s {
    ngx_broadcast_deferred_t  *next;
    ngx_uint_t                 reason;
    ngx_str_t                  id;
    ngx_str_t                  why;
};


static ngx_int_t ngx_broadcast_function_greet(ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_function_call(ngx_broadcast_conn_t *bc,
    ngx_str_t *event);
static ngx_uint_t ngx_broadcast_function_taken(ngx_str_t *value);
static void ngx_broadcast_function_handler(
    ngx_broadcast_call_result_t *result, void *data);
static void ngx_broadcast_function_answered(
    ngx_broadcast_call_result_t *result, ngx_broadcast_caller_t *caller);
static void ngx_broadcast_function_head(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
static ngx_broadcast_deferred_t **ngx_broadcast_function_find(ngx_str_t *id);


static ngx_broadcast_deferred_t  *ngx_broadcast_function_deferrals;


static const char  *ngx_broadcast_function_transports[] = {
    "websocket", "sse", "longpoll"
};


/*
 * Owed before the call: a worker that dies behind it has asked for the event.
 * Until the database has the row, `message` events get from here what they
 * tell of the connection.
 */

void
ngx_broadcast_function_connected(ngx_broadcast_conn_t *bc)
{
    ngx_uint_t  up;

    if (!bc->functions || !ngx_broadcast_pg_enabled()) {

        if (bc->event) {
            ngx_broadcast_frame_free(bc->event);
            bc->event = NULL;
        }

        return;
    }

    up = (ngx_broadcast_pg_state() == NGX_BROADCAST_DB_UP);

    ngx_broadcast_registry_owe(ngx_broadcast_bus.zone, bc->row, &bc->id,
                               up ? NGX_BROADCAST_OWED_MAYBE
                                  : NGX_BROADCAST_OWED_BACK);

    if (up && ngx_broadcast_function_greet(bc) == NGX_OK) {
        ngx_broadcast_keep_begin(bc);

    } else {
        ngx_broadcast_enrol(bc);
    }
}


static ngx_int_t
ngx_broadcast_function_greet(ngx_broadcast_conn_t *bc)
{
    ngx_int_t             rc;
    ngx_str_t             event;
    ngx_pool_t           *pool;
    ngx_broadcast_buf_t   b;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_broadcast_bus.log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_buf_init(&b, pool, 1024);
    ngx_broadcast_function_event(&b, bc);

    if (bc->groups && ngx_broadcast_hub_durable(&bc->hub->name)) {
        ngx_broadcast_buf_literal(&b, ",\"groups\":");
        ngx_broadcast_keep_groups(&b, bc);
    }

    ngx_broadcast_buf_char(&b, '}');

    rc = ngx_broadcast_buf_done(&b, &event);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_function_call(bc, &event);
    }

    ngx_destroy_pool(pool);

    return rc;
}


void
ngx_broadcast_function_event(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
    const char  *transport;

    transport = ngx_broadcast_function_transports[bc->type];

    ngx_broadcast_function_head(b, bc);

    ngx_broadcast_buf_literal(b, ",\"transport\":\"");
    ngx_broadcast_buf_append(b, (u_char *) transport, ngx_strlen(transport));
    ngx_broadcast_buf_char(b, '"');

    if (bc->event) {
        ngx_broadcast_buf_char(b, ',');
        ngx_broadcast_buf_append(b, ngx_broadcast_frame_data(bc->event),
                                 bc->event->len);
    }
}


/* the members that the events of a connection have, the brace left open */

static void
ngx_broadcast_function_head(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
    ngx_str_t  user;

    ngx_broadcast_buf_literal(b, "{\"kind\":\"connected\",\"hub\":");
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
ngx_broadcast_function_call(ngx_broadcast_conn_t *bc, ngx_str_t *event)
{
    ngx_int_t                rc;
    ngx_broadcast_task_t    *task;
    ngx_broadcast_caller_t   caller;

    task = ngx_calloc(sizeof(ngx_broadcast_task_t), ngx_broadcast_bus.log);
    if (task == NULL) {
        return NGX_ERROR;
    }

    task->serial = ngx_broadcast_call_serial();
    task->kind = NGX_BROADCAST_ON_CONNECTED;

    ngx_memzero(&caller, sizeof(ngx_broadcast_caller_t));

    caller.serial = (uint32_t) task->serial;
    caller.hub = (uint32_t) bc->hub->index;
    caller.row = bc->row;
    caller.len = (u_char) bc->id.len;
    ngx_memcpy(caller.id, bc->id.data, bc->id.len);

    rc = ngx_broadcast_call(NGX_BROADCAST_ON_CONNECTED, &bc->hub->name, event,
                            ngx_broadcast_function_handler, &caller,
                            sizeof(ngx_broadcast_caller_t), NULL);

    if (rc != NGX_OK) {
        ngx_free(task);
        return rc;
    }

    bc->task = task;

    ngx_broadcast_progress_begun(ngx_broadcast_bus.zone,
                                 ngx_broadcast_bus.slot);

    return NGX_OK;
}


/* who waits for its end finds counted what has changed meanwhile */

static void
ngx_broadcast_function_handler(ngx_broadcast_call_result_t *result,
    void *data)
{
    ngx_broadcast_function_answered(result, data);

    ngx_broadcast_progress_ended(ngx_broadcast_bus.zone,
                                 ngx_broadcast_bus.slot);
}


static void
ngx_broadcast_function_answered(ngx_broadcast_call_result_t *result,
    ngx_broadcast_caller_t *caller)
{
    ngx_str_t                   id, why;
    ngx_uint_t                  reason;
    ngx_broadcast_conn_t       *bc;
    ngx_broadcast_task_t       *task;
    ngx_broadcast_deferred_t  **link, *deferred;

    id.data = caller->id;
    id.len = caller->len;

    bc = ngx_broadcast_index_find(&id);

    if (bc == NULL || bc->task == NULL
        || (uint32_t) bc->task->serial != caller->serial)
    {
        /* the connection has ended; its row waited for `connected` */

        if (caller->row) {
            reason = NGX_BROADCAST_REASON_CLIENT;
            ngx_str_null(&why);

            link = ngx_broadcast_function_find(&id);
            deferred = *link;

            if (deferred) {
                reason = deferred->reason;
                why = deferred->why;
                *link = deferred->next;
            }

            if (result->status == NGX_BROADCAST_CALL_OK) {
                ngx_broadcast_registry_owe(ngx_broadcast_bus.zone, caller->row,
                                           &id, NGX_BROADCAST_OWED_ROW);
            }

            ngx_broadcast_function_release(caller->hub, caller->row, &id,
                                           reason, &why);
            if (deferred) {
                ngx_free(deferred);
            }
        }

        return;
    }

    task = bc->task;
    bc->task = NULL;

    bc->received = ngx_current_msec;

    /* what `connected` wants done was staged with it, and comes by the log */

    if (result->status == NGX_BROADCAST_CALL_OK
        && ngx_broadcast_function_taken(&result->value))
    {
        /* another node's, or it has ended: no row is its own */

        ngx_broadcast_registry_owe(ngx_broadcast_bus.zone, bc->row, &bc->id,
                                   NGX_BROADCAST_OWED_NOT);

        ngx_broadcast_call_free(task);
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_DRAIN, NULL);
        return;
    }

    if (result->status == NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_enrol_known(bc);
        ngx_broadcast_keep_connected(bc, 0);

    } else {
        ngx_broadcast_enrol(bc);
    }

    ngx_broadcast_call_free(task);

    /* what came meanwhile: goes with it, if it is wanted elsewhere */

    if (bc->moving && ngx_broadcast_move_go(bc) == NGX_OK) {
        return;
    }

    ngx_broadcast_inbound_run(bc);
}


/* its token was used at another node before; as dispatch() words it */

static ngx_uint_t
ngx_broadcast_function_taken(ngx_str_t *value)
{
    return value->len == sizeof("{\"taken\": true}") - 1
           && ngx_memcmp(value->data, "{\"taken\": true}", value->len) == 0;
}


void
ngx_broadcast_function_free(ngx_broadcast_conn_t *bc)
{
    if (bc->task) {
        ngx_broadcast_call_free(bc->task);
        bc->task = NULL;
    }
}


void
ngx_broadcast_function_release(ngx_uint_t hub, ngx_broadcast_row_t row,
    ngx_str_t *id, ngx_uint_t reason, ngx_str_t *why)
{
    if (ngx_broadcast_registry_release_why(ngx_broadcast_bus.zone, row, id,
                                           ngx_broadcast_bus.owner, reason,
                                           why)
        == NGX_BUSY)
    {
        ngx_broadcast_registry_counted(ngx_broadcast_bus.zone, row, id);
        ngx_broadcast_move_gone(hub, id);
        return;
    }

    if (ngx_broadcast_pg_enabled()) {
        ngx_broadcast_settle_nudge();
    }
}


void
ngx_broadcast_function_defer(ngx_broadcast_conn_t *bc, ngx_uint_t reason,
    ngx_str_t *why)
{
    ngx_broadcast_deferred_t  *deferred;

    deferred = ngx_alloc(sizeof(ngx_broadcast_deferred_t) + bc->id.len
                         + why->len, ngx_broadcast_bus.log);
    if (deferred == NULL) {
        return;
    }

    deferred->reason = reason;
    deferred->id.len = bc->id.len;
    deferred->id.data = (u_char *) (deferred + 1);
    ngx_memcpy(deferred->id.data, bc->id.data, bc->id.len);

    deferred->why.len = why->len;
    deferred->why.data = deferred->id.data + bc->id.len;

    if (why->len) {
        ngx_memcpy(deferred->why.data, why->data, why->len);
    }

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
