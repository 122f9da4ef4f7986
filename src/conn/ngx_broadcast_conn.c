
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_invocation.h"
#include "conn/ngx_broadcast_stateful.h"
#include "pg/ngx_broadcast_outbox.h"


#define NGX_BROADCAST_ADDRESS_MAX    255

/*
 * Seconds that a tombstone outlives its ticket: the second that ends one is
 * still its own, and another worker's clock may be a turn behind.
 */

#define NGX_BROADCAST_TICKET_MARGIN  2


static ngx_broadcast_conn_t *ngx_broadcast_conn_make(ngx_broadcast_open_t *in,
    ngx_uint_t index, ngx_broadcast_claimed_t *claimed);
static ngx_int_t ngx_broadcast_conn_enter(ngx_broadcast_conn_t *bc,
    ngx_broadcast_open_t *in, ngx_broadcast_claimed_t *claimed);
static void ngx_broadcast_conn_leave(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_conn_drop(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_conn_free(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_conn_bury(ngx_event_t *ev);


/* closed connections; nobody on the stack may still look at them */

static ngx_broadcast_conn_t  *ngx_broadcast_dead;
static ngx_event_t            ngx_broadcast_dead_event;
static ngx_connection_t       ngx_broadcast_dead_dumb;


ngx_int_t
ngx_broadcast_conn_open(ngx_broadcast_open_t *in, ngx_log_t *log,
    ngx_broadcast_conn_t **bcp)
{
    ngx_int_t                 rc;
    ngx_uint_t                index;
    ngx_broadcast_conn_t     *bc;
    ngx_broadcast_claim_t     claim;
    ngx_broadcast_claimed_t   claimed;

    rc = ngx_broadcast_hub_index(&in->hub, &index);

    if (rc != NGX_OK) {
        ngx_broadcast_bus_full("a hub");
        return rc;
    }

    ngx_memzero(&claim, sizeof(ngx_broadcast_claim_t));

    claim.id = in->id;
    claim.hub = index;
    claim.user = in->user;
    claim.expires = in->ticket_expires + NGX_BROADCAST_TICKET_MARGIN;
    claim.plain = !ngx_broadcast_is_hub(in->protocol);
    claim.limit = in->limit;
    claim.hub_limit = in->hub_limit;
    claim.key = in->key;

    switch (in->framing) {
    case NGX_BROADCAST_FRAME_WS:
        claim.transport = NGX_BROADCAST_WEBSOCKET;
        break;

    case NGX_BROADCAST_FRAME_BYTES:
        claim.transport = NGX_BROADCAST_LONGPOLL;
        break;

    default:
        claim.transport = NGX_BROADCAST_SSE;
        break;
    }

    rc = ngx_broadcast_registry_claim(ngx_broadcast_bus.zone,
                                      ngx_broadcast_bus.owner, &claim,
                                      &claimed);

    if (rc == NGX_ABORT) {
        ngx_broadcast_bus_full("a connection");
        return NGX_BUSY;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    bc = ngx_broadcast_conn_make(in, index, &claimed);

    if (bc == NULL) {
        (void) ngx_broadcast_registry_release(ngx_broadcast_bus.zone,
                                              claimed.row, &in->id,
                                              ngx_broadcast_bus.owner,
                                              NGX_BROADCAST_REASON_ERROR);
        return NGX_ERROR;
    }

    bc->type = claim.transport;

    rc = ngx_broadcast_conn_enter(bc, in, &claimed);

    if (rc != NGX_OK) {
        ngx_broadcast_conn_leave(bc);
        ngx_broadcast_conn_free(bc);
        return rc;
    }

    ngx_broadcast_wheel_set(bc);
    ngx_broadcast_count(NGX_BROADCAST_OPENED, 1);

    ngx_log_debug2(NGX_LOG_DEBUG_CORE, log, 0,
                   "broadcast connection %p opened, hub \"%V\"",
                   bc, &bc->hub->name);

    *bcp = bc;

    return NGX_OK;
}


ngx_broadcast_conn_t *
ngx_broadcast_conn_adopt(ngx_broadcast_open_t *in, ngx_uint_t type,
    ngx_uint_t hub, ngx_broadcast_claimed_t *claimed)
{
    ngx_broadcast_conn_t  *bc;

    bc = ngx_broadcast_conn_make(in, hub, claimed);

    if (bc == NULL) {
        return NULL;
    }

    bc->type = type;

    if (ngx_broadcast_index_add(bc, &in->user) != NGX_OK) {
        ngx_broadcast_conn_free(bc);
        return NULL;
    }

    ngx_broadcast_wheel_set(bc);

    return bc;
}


static ngx_broadcast_conn_t *
ngx_broadcast_conn_make(ngx_broadcast_open_t *in, ngx_uint_t index,
    ngx_broadcast_claimed_t *claimed)
{
    size_t                  size, address;
    ngx_broadcast_conn_t   *bc;
    ngx_broadcast_local_t  *hub;

    hub = ngx_broadcast_index_hub_make(index, &in->hub, claimed);
    if (hub == NULL) {
        return NULL;
    }

    address = ngx_min(in->address.len, NGX_BROADCAST_ADDRESS_MAX);

    size = offsetof(ngx_broadcast_conn_t, text) + in->id.len + address;

    bc = ngx_memalign(NGX_BROADCAST_CONN_LINE, size, ngx_broadcast_bus.log);
    if (bc == NULL) {
        return NULL;
    }

    ngx_memzero(bc, size);

    bc->id.len = in->id.len;
    bc->id.data = bc->text;
    bc->address = (uint8_t) address;

    ngx_memcpy(bc->text, in->id.data, in->id.len);
    ngx_memcpy(bc->text + in->id.len, in->address.data, address);

    bc->hub = hub;
    bc->limits = in->limits;
    bc->protocol = in->protocol;
    bc->framing = in->framing;
    bc->start = claimed->log;
    bc->row = claimed->row;
    bc->claimed = 1;
    bc->expires = in->token_expires;
    bc->handshake = (uint8_t) in->handshake;
    bc->functions = in->functions ? 1 : 0;
    bc->granted = in->stateful ? 1 : 0;

    bc->state = NGX_BROADCAST_NEW;
    bc->since = ngx_current_msec;
    bc->received = ngx_current_msec;
    bc->sent = ngx_current_msec;
    bc->pinged = ngx_current_msec;
    bc->progress = ngx_current_msec;

    /*
     * Frames wait until there is a transport.  What is sent to a hub before
     * the handshake is not for this connection.
     */

    bc->blocked = 1;
    bc->bare = (ngx_socket_t) -1;
    bc->live = (in->protocol == NGX_BROADCAST_PLAIN);

    return bc;
}


/* all that may fail after the row was claimed */

static ngx_int_t
ngx_broadcast_conn_enter(ngx_broadcast_conn_t *bc, ngx_broadcast_open_t *in,
    ngx_broadcast_claimed_t *claimed)
{
    ngx_int_t    rc;
    ngx_str_t   *group;
    ngx_uint_t   i;

    if (ngx_broadcast_index_add(bc, &in->user) != NGX_OK) {
        return NGX_ERROR;
    }

    if (in->user.len) {
        rc = ngx_broadcast_index_rules(bc);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (in->groups) {
        group = in->groups->elts;

        for (i = 0; i < in->groups->nelts; i++) {
            rc = ngx_broadcast_index_join(bc, &group[i]);

            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    if (bc->functions && in->event.len && ngx_broadcast_pg_enabled()) {
        bc->event = ngx_broadcast_frame_bytes(in->event.data, in->event.len);

        if (bc->event == NULL) {
            return NGX_ERROR;
        }
    }

    if (bc->protocol == NGX_BROADCAST_PLAIN) {

        if (ngx_broadcast_plain_rights(bc, in) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (in->has_resume && bc->protocol != NGX_BROADCAST_ECHO) {

        if (bc->protocol != NGX_BROADCAST_PLAIN) {
            bc->told = ngx_calloc(sizeof(ngx_broadcast_position_t),
                                  ngx_broadcast_bus.log);
            if (bc->told == NULL) {
                return NGX_ERROR;
            }

            bc->tells = 1;
        }

        if (ngx_broadcast_resume_open(bc, in, claimed) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_broadcast_conn_attach(ngx_broadcast_conn_t *bc,
    ngx_broadcast_transport_t *transport, void *data)
{
    bc->transport = transport;
    bc->data = data;
    bc->blocked = 0;
    bc->received = ngx_current_msec;

    /* whatever waited: frames, or a verdict */

    ngx_broadcast_fanout_flush(bc);

    if (bc->verdict) {
        return;
    }

    if (!ngx_broadcast_is_hub(bc->protocol)) {
        ngx_broadcast_conn_turn(bc, NGX_BROADCAST_ACTIVE);
        ngx_broadcast_function_connected(bc);

    } else {
        ngx_broadcast_conn_turn(bc, NGX_BROADCAST_HANDSHAKE);
    }

    if (bc->input && bc->task == NULL) {
        ngx_broadcast_inbound_run(bc);
    }
}


void
ngx_broadcast_conn_poll(ngx_broadcast_conn_t *bc, void *data)
{
    bc->data = data;
    bc->idle = 0;

    if (bc->tells) {

        /* its keep-alives are due earlier than the next poll was */

        ngx_broadcast_wheel_set(bc);
    }

    ngx_broadcast_conn_writable(bc);
}


void
ngx_broadcast_conn_polled(ngx_broadcast_conn_t *bc)
{
    bc->data = NULL;
    bc->idle = 1;
    bc->blocked = 1;
    bc->polled = ngx_current_msec;

    ngx_broadcast_wheel_set(bc);
}


void
ngx_broadcast_conn_expire(ngx_broadcast_conn_t *bc, time_t expires)
{
    if (bc->expires != expires) {
        bc->expires = expires;
        ngx_broadcast_wheel_set(bc);
    }
}


ngx_uint_t
ngx_broadcast_conn_why(ngx_broadcast_conn_t *bc)
{
    return bc->end;
}


void
ngx_broadcast_conn_turn(ngx_broadcast_conn_t *bc, ngx_uint_t state)
{
    ngx_log_debug3(NGX_LOG_DEBUG_CORE, ngx_broadcast_bus.log, 0,
                   "broadcast connection %p state %ui to %ui",
                   bc, (ngx_uint_t) bc->state, state);

    bc->state = state;
    bc->since = ngx_current_msec;

    if (state == NGX_BROADCAST_ACTIVE) {
        bc->received = ngx_current_msec;
        bc->live = (bc->protocol != NGX_BROADCAST_ECHO);
    }

    if (state == NGX_BROADCAST_CLOSED) {
        ngx_broadcast_wheel_remove(bc);

    } else {
        ngx_broadcast_wheel_set(bc);
    }
}


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

static void
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


static void
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


void
ngx_broadcast_conn_set_deflate(ngx_broadcast_conn_t *bc, ngx_uint_t bits)
{
    bc->deflate = bits;
}


void *
ngx_broadcast_conn_transport_data(ngx_broadcast_conn_t *bc)
{
    return bc->data;
}


void
ngx_broadcast_conn_bare(ngx_broadcast_conn_t *bc, ngx_socket_t fd)
{
    bc->bare = fd;
}


ngx_str_t *
ngx_broadcast_conn_id(ngx_broadcast_conn_t *bc)
{
    return &bc->id;
}


ngx_uint_t
ngx_broadcast_conn_state(ngx_broadcast_conn_t *bc)
{
    return bc->state;
}


ngx_uint_t
ngx_broadcast_conn_protocol(ngx_broadcast_conn_t *bc)
{
    return bc->protocol;
}


ngx_broadcast_limits_t *
ngx_broadcast_conn_limits(ngx_broadcast_conn_t *bc)
{
    return bc->limits;
}


void
ngx_broadcast_conn_alive(ngx_broadcast_conn_t *bc)
{
    bc->received = ngx_current_msec;
}


ngx_uint_t
ngx_broadcast_conn_paused(ngx_broadcast_conn_t *bc)
{
    return (bc->task != NULL || bc->held) && bc->state == NGX_BROADCAST_ACTIVE;
}


ngx_broadcast_conn_t *
ngx_broadcast_conn_next(ngx_broadcast_conn_t *bc)
{
    ngx_uint_t              i;
    ngx_broadcast_local_t  *hub;

    i = 0;

    if (bc) {
        if (bc->place + 1 < bc->hub->count) {
            return bc->hub->conns[bc->place + 1];
        }

        i = bc->hub->index + 1;
    }

    for ( ;; ) {
        hub = ngx_broadcast_index_hub_next(&i);

        if (hub == NULL) {
            return NULL;
        }

        if (hub->count) {
            return hub->conns[0];
        }
    }
}
