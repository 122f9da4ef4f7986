
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_state.h"
#include "conn/ngx_broadcast_stateful.h"


/*
 * The old owner's side of a move: it lets go of a connection whose row is
 * another worker's.
 */

#define NGX_BROADCAST_MOVE_LOOK  1000       /* ms: for workers that are gone */


static ngx_uint_t ngx_broadcast_move_can(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_move_leave(ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_move_send(ngx_broadcast_conn_t *bc,
    ngx_broadcast_owner_t to);
static void ngx_broadcast_move_word(ngx_uint_t kind, ngx_uint_t hub,
    ngx_str_t *id, ngx_broadcast_owner_t to);


static uint64_t    ngx_broadcast_move_changes;
static ngx_msec_t  ngx_broadcast_move_looked;

static ngx_broadcast_owner_t  ngx_broadcast_move_owner;     /* of our rows */


void
ngx_broadcast_move_wanted(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec, ngx_broadcast_owner_t owner)
{
    if (bc) {

        if (!ngx_broadcast_move_can(bc)) {
            return;
        }

        bc->moving = 1;
        ngx_broadcast_move_leave(bc);

        if (ngx_broadcast_move_go(bc) != NGX_AGAIN) {
            return;
        }
    }

    /* a call holds it, or its row */

    if (owner) {
        ngx_broadcast_move_word(NGX_BROADCAST_STATE_LATER, rec->hub,
                                &rec->name, owner);
    }
}


static ngx_uint_t
ngx_broadcast_move_can(ngx_broadcast_conn_t *bc)
{
    return bc->sequence || (bc->transport && bc->transport->leave);
}


/* the poll that it has here, or the socket, is not its any more */

static void
ngx_broadcast_move_leave(ngx_broadcast_conn_t *bc)
{
    if (bc->sequence) {
        ngx_broadcast_stateful_leave(bc);

    } else {
        bc->transport->leave(bc);
    }
}


void
ngx_broadcast_move_look(void)
{
    uint64_t  changes;

    if (ngx_current_msec - ngx_broadcast_move_looked
        < NGX_BROADCAST_MOVE_LOOK)
    {
        return;
    }

    ngx_broadcast_move_looked = ngx_current_msec;

    changes = ngx_broadcast_slot_changes(ngx_broadcast_bus.zone);

    if (changes != ngx_broadcast_move_changes) {
        ngx_broadcast_move_changes = changes;
        ngx_broadcast_move_doubt();
    }
}


/*
 * Rows that were made while this worker had no slot are nobody's.  When it has
 * one they become its own: what a slot holds is given back if its worker dies.
 */

void
ngx_broadcast_move_doubt(void)
{
    ngx_uint_t             nobodys;
    ngx_broadcast_conn_t  *bc;

    nobodys = (ngx_broadcast_move_owner != ngx_broadcast_bus.owner);
    ngx_broadcast_move_owner = ngx_broadcast_bus.owner;

    for (bc = ngx_broadcast_conn_next(NULL);
         bc;
         bc = ngx_broadcast_conn_next(bc))
    {
        if (nobodys) {
            ngx_broadcast_registry_adopt(ngx_broadcast_bus.zone, bc->row,
                                         &bc->id, ngx_broadcast_bus.owner);
        }

        if (ngx_broadcast_move_can(bc)) {
            bc->moving = 1;
            ngx_broadcast_wheel_set(bc);
        }
    }
}


ngx_int_t
ngx_broadcast_move_go(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_row_info_t  info;

    if (bc->task || bc->keeping || bc->asking || bc->inside
        || (bc->resume && bc->resume->asked)
        || bc->state == NGX_BROADCAST_NEW)
    {
        return NGX_AGAIN;
    }

    if (bc->verdict) {
        ngx_broadcast_conn_flush(bc);

        if (bc->state == NGX_BROADCAST_CLOSED) {
            return NGX_OK;
        }
    }

    if (!bc->claimed) {

        /* it ends here: its row is given back, its last words are its own */

        bc->moving = 0;
        return NGX_DECLINED;
    }

    if (ngx_broadcast_registry_find(ngx_broadcast_bus.zone, &bc->id, &info)
        != NGX_OK
        || info.state != NGX_BROADCAST_ROW_LIVE)
    {
        /* who waited for it has given up, or died: its end was counted there */

        if (bc->transport) {
            bc->transport->destroy(bc);
        }

        if (bc->state < NGX_BROADCAST_CLOSING) {
            bc->end = NGX_BROADCAST_END_ERROR;
            bc->live = 0;
            ngx_broadcast_conn_turn(bc, NGX_BROADCAST_CLOSING);
        }

        ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_ERROR);

        return NGX_OK;
    }

    /* nobody's: made while this worker had no slot, and not adopted yet */

    if (info.owner == ngx_broadcast_bus.owner || info.owner == 0) {
        bc->moving = 0;
        return NGX_DECLINED;
    }

    if (!bc->idle) {
        ngx_broadcast_move_leave(bc);
    }

    if (ngx_broadcast_move_send(bc, info.owner) == NGX_OK) {
        ngx_broadcast_conn_moved(bc);
        return NGX_OK;
    }

    /* it does not fit: the client has to come again, and shall know */

    if (bc->state < NGX_BROADCAST_CLOSING) {
        ngx_broadcast_outq_clear(&bc->outq, 0);
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_OVERRUN, 0, NULL);

        if (bc->state == NGX_BROADCAST_CLOSED) {
            return NGX_OK;
        }

        if (bc->input) {
            ngx_free(bc->input);
            bc->input = NULL;
        }

        if (ngx_broadcast_move_send(bc, info.owner) == NGX_OK) {
            ngx_broadcast_conn_moved(bc);
            return NGX_OK;
        }
    }

    bc->transport->destroy(bc);
    ngx_broadcast_conn_closed(bc, NGX_BROADCAST_END_ERROR);

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_move_send(ngx_broadcast_conn_t *bc, ngx_broadcast_owner_t to)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_pool_t           *pool;
    ngx_broadcast_buf_t   b;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_broadcast_bus.log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_buf_init(&b, pool, 1024 + bc->outq.bytes);

    ngx_broadcast_state_write(&b, bc, to, ngx_broadcast_fanout_matched());

    rc = ngx_broadcast_buf_done(&b, &text);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_move_publish(NGX_BROADCAST_REC_STATE,
                                        bc->hub->index, &bc->id, &text);
    }

    ngx_destroy_pool(pool);

    return rc;
}


void
ngx_broadcast_move_gone(ngx_uint_t hub, ngx_str_t *id)
{
    ngx_broadcast_row_info_t  info;

    if (ngx_broadcast_registry_find(ngx_broadcast_bus.zone, id, &info)
        == NGX_OK
        && info.state == NGX_BROADCAST_ROW_LIVE
        && info.owner != ngx_broadcast_bus.owner)
    {
        ngx_broadcast_move_word(NGX_BROADCAST_STATE_GONE, hub, id, info.owner);
    }
}


static void
ngx_broadcast_move_word(ngx_uint_t kind, ngx_uint_t hub, ngx_str_t *id,
    ngx_broadcast_owner_t to)
{
    ngx_str_t             text;
    ngx_pool_t           *pool;
    ngx_broadcast_buf_t   b;

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE, ngx_broadcast_bus.log);
    if (pool == NULL) {
        return;
    }

    ngx_broadcast_buf_init(&b, pool, 64);
    ngx_broadcast_state_write_kind(&b, kind, to);

    if (ngx_broadcast_buf_done(&b, &text) == NGX_OK) {
        (void) ngx_broadcast_move_publish(NGX_BROADCAST_REC_STATE, hub, id,
                                          &text);
    }

    ngx_destroy_pool(pool);
}


ngx_int_t
ngx_broadcast_move_publish(ngx_uint_t type, ngx_uint_t hub, ngx_str_t *id,
    ngx_str_t *arguments)
{
    ngx_broadcast_record_t  rec;

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = type;
    rec.scope = NGX_BROADCAST_CONNECTION;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec.source = NGX_BROADCAST_SRC_CLIENT;
    rec.hub = hub;
    rec.name = *id;
    rec.arguments = *arguments;

    return ngx_broadcast_publish(&rec, 1);
}
