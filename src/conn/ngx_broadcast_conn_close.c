
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * A connection ends: its last words, out of the index, its row given back, and
 * its memory freed when nobody on the stack may look at it any more.
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_invocation.h"
#include "conn/ngx_broadcast_stateful.h"


static void ngx_broadcast_conn_drop(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_conn_bury(ngx_event_t *ev);


/* closed connections; nobody on the stack may still look at them */

static ngx_broadcast_conn_t  *ngx_broadcast_dead;
static ngx_event_t            ngx_broadcast_dead_event;
static ngx_connection_t       ngx_broadcast_dead_dumb;


void
ngx_broadcast_conn_end(ngx_broadcast_conn_t *bc, ngx_uint_t end,
    ngx_uint_t code, ngx_str_t *reason)
{
    ngx_uint_t              was;
    ngx_broadcast_frame_t  *frame;

    if (bc->state >= NGX_BROADCAST_CLOSING) {
        return;
    }

    if (bc->transport == NULL && bc->state != NGX_BROADCAST_NEW) {

        /* it waits for another socket: nobody to talk to */

        ngx_broadcast_conn_closed(bc, end);
        return;
    }

    if (bc->transport == NULL) {

        /* not attached yet: nobody to talk to, the flush will do it */

        frame = NULL;

        if (reason && reason->len) {
            frame = ngx_broadcast_frame_bytes(reason->data, reason->len);
        }

        ngx_broadcast_conn_condemn(bc, end, frame);

        if (frame) {
            ngx_broadcast_frame_free(frame);
        }

        return;
    }

    bc->verdict = 0;
    bc->live = 0;

    /* a hub's client must hear the Close behind what was queued before it */

    if (end == NGX_BROADCAST_END_SLOW) {
        ngx_broadcast_outq_clear(&bc->outq, 1);
    }

    if (bc->sequence) {
        ngx_broadcast_stateful_finish(bc, end != NGX_BROADCAST_END_SLOW
                                          && end != NGX_BROADCAST_END_CLIENT);
    }

    was = bc->state;
    bc->end = end;

    /* last words that a poll has to fetch need the row: it is looked for */

    if (bc->type == NGX_BROADCAST_LONGPOLL) {
        ngx_broadcast_registry_counted(ngx_broadcast_bus.zone, bc->row,
                                       &bc->id);
        ngx_broadcast_resume_free(bc);
        ngx_broadcast_invocation_leave(bc);

    } else {
        ngx_broadcast_conn_leave(bc);
    }

    ngx_broadcast_conn_turn(bc, NGX_BROADCAST_CLOSING);

    ngx_broadcast_end_words(bc, was, code, reason);
    ngx_broadcast_end_count(end);

    bc->transport->close(bc);
}


void
ngx_broadcast_conn_closed(ngx_broadcast_conn_t *bc, ngx_uint_t end)
{
    ngx_str_t  address;

    if (bc->state == NGX_BROADCAST_CLOSED) {
        return;
    }

    if (bc->state != NGX_BROADCAST_CLOSING) {
        bc->end = end;
        bc->live = 0;
        ngx_broadcast_end_count(end);
    }

    ngx_broadcast_conn_leave(bc);

    address.len = bc->address;
    address.data = bc->text + bc->id.len;

    ngx_log_error(NGX_LOG_INFO, ngx_broadcast_bus.log, 0,
                  "broadcast client closed: %s, hub: \"%V\", client: %V",
                  ngx_broadcast_end_name(bc->end), &bc->hub->name, &address);

    ngx_broadcast_conn_drop(bc);
}


void
ngx_broadcast_conn_moved(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_index_remove(bc);
    ngx_broadcast_invocation_free(bc);

    bc->claimed = 0;
    bc->live = 0;

    ngx_broadcast_conn_drop(bc);
}


static void
ngx_broadcast_conn_drop(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_conn_turn(bc, NGX_BROADCAST_CLOSED);

    if (bc->listed) {
        ngx_queue_remove(&bc->flush);
        bc->listed = 0;
    }

    /* callers may still look at it: it goes when they have returned */

    bc->transport = NULL;
    bc->node.next = (ngx_broadcast_node_t *) ngx_broadcast_dead;
    ngx_broadcast_dead = bc;

    ngx_broadcast_dead_event.handler = ngx_broadcast_conn_bury;
    ngx_broadcast_dead_event.data = &ngx_broadcast_dead_dumb;
    ngx_broadcast_dead_event.log = ngx_broadcast_bus.log;
    ngx_broadcast_dead_dumb.fd = (ngx_socket_t) -1;

    if (!ngx_broadcast_dead_event.posted) {
        ngx_post_event(&ngx_broadcast_dead_event, &ngx_posted_events);
    }
}


/* out of the index, and the registry's row given back: once */

void
ngx_broadcast_conn_leave(ngx_broadcast_conn_t *bc)
{
    ngx_str_t   why;
    ngx_uint_t  reason;

    ngx_broadcast_index_remove(bc);
    ngx_broadcast_resume_free(bc);
    ngx_broadcast_invocation_leave(bc);

    if (!bc->claimed) {
        return;
    }

    bc->claimed = 0;
    reason = ngx_broadcast_end_reason(bc->end);
    ngx_broadcast_end_why(bc, &why);

    /*
     * `disconnected` must not overtake `connected`: while that is under way
     * its answer gives the row back.
     */

    if (bc->task && bc->task->kind == NGX_BROADCAST_ON_CONNECTED) {
        ngx_broadcast_registry_counted(ngx_broadcast_bus.zone, bc->row,
                                       &bc->id);
        ngx_broadcast_function_defer(bc, reason, &why);
        return;
    }

    ngx_broadcast_function_release(bc->hub->index, bc->row, &bc->id, reason,
                                   &why);
}


static void
ngx_broadcast_conn_bury(ngx_event_t *ev)
{
    ngx_broadcast_conn_t  *bc;

    while (ngx_broadcast_dead) {
        bc = ngx_broadcast_dead;
        ngx_broadcast_dead = (ngx_broadcast_conn_t *) bc->node.next;
        ngx_broadcast_conn_free(bc);
    }
}


void
ngx_broadcast_conn_bury_all(void)
{
    if (ngx_broadcast_dead_event.posted) {
        ngx_delete_posted_event(&ngx_broadcast_dead_event);
    }

    ngx_broadcast_conn_bury(&ngx_broadcast_dead_event);
}


void
ngx_broadcast_conn_free(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_wheel_remove(bc);
    ngx_broadcast_outq_clear(&bc->outq, 0);
    ngx_broadcast_resume_free(bc);
    ngx_broadcast_invocation_free(bc);
    ngx_broadcast_stateful_free(bc);
    ngx_broadcast_function_free(bc);

    if (bc->listed) {
        ngx_queue_remove(&bc->flush);
    }

    if (bc->input) {
        ngx_free(bc->input);
    }

    if (bc->tells) {
        ngx_free(bc->told);

    } else if (bc->rights) {
        ngx_free(bc->rights);
    }

    if (bc->event) {
        ngx_broadcast_frame_free(bc->event);
    }

    if (bc->reason) {
        ngx_broadcast_frame_free(bc->reason);
    }

    ngx_free(bc);
}
