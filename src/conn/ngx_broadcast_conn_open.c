
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * A connection is made: its row claimed, its memory taken, its place in the
 * index, and the groups, rights and resume that it comes with.
 */


#include "conn/ngx_broadcast_index.h"
#include "pg/ngx_broadcast_outbox.h"


#define NGX_BROADCAST_ADDRESS_MAX    255

/*
 * Seconds that a tombstone outlives its ticket: the second that ends one is
 * still its own, and another worker's clock may be a turn behind.
 */

#define NGX_BROADCAST_TICKET_MARGIN  2


static void ngx_broadcast_conn_claim(ngx_broadcast_open_t *in,
    ngx_uint_t index, ngx_broadcast_claim_t *claim);
static ngx_broadcast_conn_t *ngx_broadcast_conn_make(ngx_broadcast_open_t *in,
    ngx_uint_t index, ngx_broadcast_claimed_t *claimed);
static ngx_int_t ngx_broadcast_conn_enter(ngx_broadcast_conn_t *bc,
    ngx_broadcast_open_t *in, ngx_broadcast_claimed_t *claimed);


ngx_int_t
ngx_broadcast_conn_open(ngx_broadcast_open_t *in, ngx_log_t *log,
    ngx_broadcast_conn_t **bcp)
{
    ngx_int_t                 rc;
    ngx_uint_t                index;
    ngx_broadcast_conn_t     *bc;
    ngx_broadcast_claim_t     claim;
    ngx_broadcast_claimed_t   claimed;

    /* the caller counts: as of a connection, not of a message */

    rc = ngx_broadcast_hub_get(ngx_broadcast_bus.zone, &in->hub,
                               ngx_broadcast_hub_durable(&in->hub), &index);

    if (rc != NGX_OK) {
        ngx_broadcast_bus_full("a hub");
        return rc;
    }

    ngx_broadcast_conn_claim(in, index, &claim);

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


static void
ngx_broadcast_conn_claim(ngx_broadcast_open_t *in, ngx_uint_t index,
    ngx_broadcast_claim_t *claim)
{
    ngx_memzero(claim, sizeof(ngx_broadcast_claim_t));

    claim->id = in->id;
    claim->hub = index;
    claim->user = in->user;
    claim->expires = in->ticket_expires + NGX_BROADCAST_TICKET_MARGIN;
    claim->plain = !ngx_broadcast_is_hub(in->protocol);
    claim->limit = in->limit;
    claim->hub_limit = in->hub_limit;
    claim->key = in->key;

    switch (in->framing) {

    case NGX_BROADCAST_FRAME_WS:
        claim->transport = NGX_BROADCAST_WEBSOCKET;
        break;

    case NGX_BROADCAST_FRAME_BYTES:
        claim->transport = NGX_BROADCAST_LONGPOLL;
        break;

    default:
        claim->transport = NGX_BROADCAST_SSE;
        break;
    }
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
