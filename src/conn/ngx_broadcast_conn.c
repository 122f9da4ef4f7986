
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * A connection while it is there: its transport, its polls, its state, and what
 * other rooms may ask of it.
 */


#include "conn/ngx_broadcast_index.h"


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
