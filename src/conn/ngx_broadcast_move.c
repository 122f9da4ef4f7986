
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_rows.h"
#include "conn/ngx_broadcast_state.h"
#include "pg/ngx_broadcast_settle.h"


#define NGX_BROADCAST_MOVE_MAX      1024    /* waits of a worker */
#define NGX_BROADCAST_MOVE_BUCKETS  64      /* a power of two */
#define NGX_BROADCAST_MOVE_TIME     5000    /* ms that a state may take */
#define NGX_BROADCAST_MOVE_LATER    600000  /* ms, if the old owner asks for it:
                                               its calls have a time-out */
#define NGX_BROADCAST_MOVE_GRACE    1000    /* ms, once the old owner died */
#define NGX_BROADCAST_MOVE_TICK     250     /* ms */


/* the wait for a state; without a handler it serves no request any more */

struct ngx_broadcast_move_s {
    ngx_queue_t                queue;       /* of the bucket */
    ngx_broadcast_owner_t      from;
    ngx_msec_t                 deadline;
    ngx_uint_t                 hub;
    ngx_broadcast_row_t        row;
    ngx_broadcast_limits_t    *limits;      /* borrowed from the cycle */
    ngx_broadcast_transport_t *transport;   /* static */
    ngx_broadcast_move_pt      handler;
    void                      *data;
    ngx_str_t                  id;          /* bytes in text */
    u_char                     text[NGX_BROADCAST_CONN_ID_MAX];
};


static ngx_queue_t *ngx_broadcast_move_bucket(ngx_str_t *id);
static ngx_broadcast_move_t *ngx_broadcast_move_find(ngx_str_t *id);
static ngx_broadcast_move_t *ngx_broadcast_move_add(
    ngx_broadcast_move_in_t *in, ngx_broadcast_owner_t from);
static void ngx_broadcast_move_finish(ngx_broadcast_move_t *move,
    ngx_broadcast_conn_t *bc, ngx_int_t rc);
static void ngx_broadcast_move_tell(ngx_broadcast_move_t *move,
    ngx_broadcast_conn_t *bc, ngx_int_t rc);
static void ngx_broadcast_move_release(ngx_broadcast_row_t row, ngx_str_t *id);
static void ngx_broadcast_move_take(ngx_broadcast_move_t *move,
    ngx_broadcast_state_t *state, ngx_broadcast_record_t *rec);
static void ngx_broadcast_move_again(ngx_broadcast_record_t *rec, void *data);
static void ngx_broadcast_move_handler(ngx_event_t *ev);


static ngx_queue_t       ngx_broadcast_moves[NGX_BROADCAST_MOVE_BUCKETS];
static ngx_uint_t        ngx_broadcast_nmoves;
static ngx_event_t       ngx_broadcast_move_event;
static ngx_connection_t  ngx_broadcast_move_dumb;


void
ngx_broadcast_move_start(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_MOVE_BUCKETS; i++) {
        ngx_queue_init(&ngx_broadcast_moves[i]);
    }

    ngx_broadcast_nmoves = 0;

    ngx_memzero(&ngx_broadcast_move_event, sizeof(ngx_event_t));

    ngx_broadcast_move_dumb.fd = (ngx_socket_t) -1;

    /* requests wait: an exiting worker stays for them */

    ngx_broadcast_move_event.handler = ngx_broadcast_move_handler;
    ngx_broadcast_move_event.data = &ngx_broadcast_move_dumb;
    ngx_broadcast_move_event.log = cycle->log;
}


void
ngx_broadcast_move_stop(void)
{
    ngx_uint_t             i;
    ngx_queue_t           *q;
    ngx_broadcast_move_t  *move;

    if (ngx_broadcast_move_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_move_event);
    }

    /* their rows go with the slot */

    for (i = 0; i < NGX_BROADCAST_MOVE_BUCKETS; i++) {

        while (!ngx_queue_empty(&ngx_broadcast_moves[i])) {
            q = ngx_queue_head(&ngx_broadcast_moves[i]);
            move = ngx_queue_data(q, ngx_broadcast_move_t, queue);
            ngx_broadcast_move_finish(move, NULL, NGX_BUSY);
        }
    }
}


static ngx_queue_t *
ngx_broadcast_move_bucket(ngx_str_t *id)
{
    return &ngx_broadcast_moves[ngx_murmur_hash2(id->data, id->len)
                                & (NGX_BROADCAST_MOVE_BUCKETS - 1)];
}


static ngx_broadcast_move_t *
ngx_broadcast_move_find(ngx_str_t *id)
{
    ngx_queue_t           *q, *bucket;
    ngx_broadcast_move_t  *move;

    if (ngx_broadcast_nmoves == 0) {
        return NULL;
    }

    bucket = ngx_broadcast_move_bucket(id);

    for (q = ngx_queue_head(bucket); q != bucket; q = ngx_queue_next(q)) {
        move = ngx_queue_data(q, ngx_broadcast_move_t, queue);

        if (move->id.len == id->len
            && ngx_memcmp(move->id.data, id->data, id->len) == 0)
        {
            return move;
        }
    }

    return NULL;
}


/*
 * The row first: from then on every state of the connection comes here, and
 * nothing that this worker reads before it returns can have been one.
 */

ngx_int_t
ngx_broadcast_move(ngx_broadcast_move_in_t *in, ngx_broadcast_move_t **movep,
    ngx_broadcast_conn_t **bcp)
{
    ngx_str_t               none;
    ngx_broadcast_conn_t   *bc;
    ngx_broadcast_move_t   *move;
    ngx_broadcast_owner_t   from;

    bc = ngx_broadcast_index_find(&in->id);

    if (bc && in->row->owner == ngx_broadcast_bus.owner) {
        bc->moving = 0;

        *bcp = bc;
        return NGX_OK;
    }

    if (bc == NULL && ngx_broadcast_function_deferred(&in->id)) {
        return NGX_DECLINED;
    }

    move = ngx_broadcast_move_find(&in->id);

    if (ngx_broadcast_bus.owner == 0
        || (bc == NULL && move == NULL
            && ngx_broadcast_nmoves == NGX_BROADCAST_MOVE_MAX))
    {
        return NGX_BUSY;
    }

    if (ngx_broadcast_registry_move(ngx_broadcast_bus.zone, in->row->row,
                                    &in->id, ngx_broadcast_bus.owner, &from)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (from != ngx_broadcast_bus.owner) {
        ngx_str_null(&none);

        (void) ngx_broadcast_move_publish(NGX_BROADCAST_REC_MOVE,
                                          in->row->hub, &in->id, &none);
    }

    if (bc) {
        bc->moving = 0;

        *bcp = bc;
        return NGX_OK;
    }

    if (move) {
        ngx_broadcast_move_tell(move, NULL, NGX_ABORT);

        if (from != ngx_broadcast_bus.owner) {

            /* another worker waited for it meanwhile: the time begins anew */

            move->from = from;
            move->deadline = ngx_current_msec + NGX_BROADCAST_MOVE_TIME;
        }

        move->handler = in->handler;
        move->data = in->data;

        *movep = move;
        return NGX_AGAIN;
    }

    if (from == ngx_broadcast_bus.owner) {

        /* ours, and neither here nor on its way */

        ngx_broadcast_move_release(in->row->row, &in->id);
        return NGX_DECLINED;
    }

    *movep = ngx_broadcast_move_add(in, from);

    return *movep ? NGX_AGAIN : NGX_ERROR;
}


static ngx_broadcast_move_t *
ngx_broadcast_move_add(ngx_broadcast_move_in_t *in,
    ngx_broadcast_owner_t from)
{
    ngx_broadcast_move_t  *move;

    move = ngx_alloc(sizeof(ngx_broadcast_move_t), ngx_broadcast_bus.log);

    if (move == NULL) {
        ngx_broadcast_move_release(in->row->row, &in->id);
        return NULL;
    }

    move->from = from;
    move->deadline = ngx_current_msec + NGX_BROADCAST_MOVE_TIME;
    move->hub = in->row->hub;
    move->row = in->row->row;
    move->limits = in->limits;
    move->transport = in->transport;
    move->handler = in->handler;
    move->data = in->data;

    move->id.len = in->id.len;
    move->id.data = move->text;
    ngx_memcpy(move->text, in->id.data, in->id.len);

    ngx_queue_insert_tail(ngx_broadcast_move_bucket(&move->id), &move->queue);
    ngx_broadcast_nmoves++;

    if (!ngx_broadcast_move_event.timer_set) {
        ngx_add_timer(&ngx_broadcast_move_event, NGX_BROADCAST_MOVE_TICK);
    }

    return move;
}


void
ngx_broadcast_move_cancel(ngx_broadcast_move_t *move)
{
    move->handler = NULL;
}


static void
ngx_broadcast_move_tell(ngx_broadcast_move_t *move, ngx_broadcast_conn_t *bc,
    ngx_int_t rc)
{
    ngx_broadcast_move_pt  handler;

    handler = move->handler;
    move->handler = NULL;

    if (handler) {
        handler(bc, rc, move->data);
    }
}


static void
ngx_broadcast_move_finish(ngx_broadcast_move_t *move,
    ngx_broadcast_conn_t *bc, ngx_int_t rc)
{
    ngx_queue_remove(&move->queue);
    ngx_broadcast_nmoves--;

    ngx_broadcast_move_tell(move, bc, rc);

    ngx_free(move);
}


/* ends a row that is ours, and whose connection nobody has */

static void
ngx_broadcast_move_release(ngx_broadcast_row_t row, ngx_str_t *id)
{
    if (ngx_broadcast_registry_release(ngx_broadcast_bus.zone, row, id,
                                       ngx_broadcast_bus.owner,
                                       NGX_BROADCAST_REASON_WORKER)
        == NGX_OK)
    {
        ngx_log_error(NGX_LOG_INFO, ngx_broadcast_bus.log, 0,
                      "broadcast client closed: lost with its worker");

        if (ngx_broadcast_pg_enabled()) {
            ngx_broadcast_settle_nudge();
        }
    }
}


/* MOVE: whoever has the connection, or waits for it, looks whose it is */

void
ngx_broadcast_move_asked(ngx_broadcast_record_t *rec)
{
    ngx_uint_t                 known;
    ngx_broadcast_conn_t      *bc;
    ngx_broadcast_move_t      *move;
    ngx_broadcast_row_info_t   info;

    bc = ngx_broadcast_index_find(&rec->name);
    move = bc ? NULL : ngx_broadcast_move_find(&rec->name);

    if (bc == NULL && move == NULL
        && !ngx_broadcast_function_deferred(&rec->name))
    {
        return;
    }

    known = (ngx_broadcast_registry_find(ngx_broadcast_bus.zone, &rec->name,
                                         &info)
             == NGX_OK);

    if (known && info.owner == ngx_broadcast_bus.owner) {
        return;
    }

    if (move) {

        /* a state that comes for this worker is forwarded without it */

        ngx_broadcast_move_finish(move, NULL, NGX_ABORT);
        return;
    }

    ngx_broadcast_move_wanted(bc, rec, known ? info.owner : 0);
}


/*
 * Records were missed: one of them may have asked for a connection, another
 * may have been the state that is waited for.  Who has that connection still
 * is asked again, and says at least that a call holds it.
 */

void
ngx_broadcast_move_overrun(void)
{
    ngx_str_t              none;
    ngx_uint_t             i;
    ngx_queue_t           *q, *bucket;
    ngx_broadcast_move_t  *move;

    ngx_broadcast_move_doubt();

    ngx_str_null(&none);

    for (i = 0; i < NGX_BROADCAST_MOVE_BUCKETS; i++) {
        bucket = &ngx_broadcast_moves[i];

        for (q = ngx_queue_head(bucket); q != bucket; q = ngx_queue_next(q)) {
            move = ngx_queue_data(q, ngx_broadcast_move_t, queue);

            move->deadline = ngx_current_msec + NGX_BROADCAST_MOVE_TIME;

            (void) ngx_broadcast_move_publish(NGX_BROADCAST_REC_MOVE,
                                              move->hub, &move->id, &none);
        }
    }
}


/* STATE: for one worker, who may have lost the row since */

void
ngx_broadcast_move_arrived(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_move_t      *move;
    ngx_broadcast_state_t      state;
    ngx_broadcast_row_info_t   info;

    if (ngx_broadcast_state_read(&rec->arguments, &state) != NGX_OK
        || state.to != ngx_broadcast_bus.owner)
    {
        return;
    }

    if (ngx_broadcast_registry_find(ngx_broadcast_bus.zone, &rec->name, &info)
        != NGX_OK
        || info.state != NGX_BROADCAST_ROW_LIVE)
    {
        return;
    }

    move = ngx_broadcast_move_find(&rec->name);

    if (info.owner != ngx_broadcast_bus.owner) {
        ngx_broadcast_state_forward(&rec->arguments, info.owner);

        (void) ngx_broadcast_move_publish(NGX_BROADCAST_REC_STATE, rec->hub,
                                          &rec->name, &rec->arguments);
        if (move && state.kind != NGX_BROADCAST_STATE_LATER) {
            ngx_broadcast_move_finish(move, NULL, NGX_ABORT);
        }

        return;
    }

    if (move == NULL) {
        ngx_broadcast_move_release(info.row, &rec->name);
        return;
    }

    if (state.kind == NGX_BROADCAST_STATE_LATER) {
        move->deadline = ngx_current_msec + NGX_BROADCAST_MOVE_LATER;
        return;
    }

    if (state.kind == NGX_BROADCAST_STATE_GONE) {
        ngx_broadcast_move_release(info.row, &rec->name);
        ngx_broadcast_move_finish(move, NULL, NGX_DECLINED);
        return;
    }

    ngx_broadcast_move_take(move, &state, rec);
}


static void
ngx_broadcast_move_take(ngx_broadcast_move_t *move,
    ngx_broadcast_state_t *state, ngx_broadcast_record_t *rec)
{
    ngx_int_t              rc;
    ngx_broadcast_conn_t  *bc;

    rc = ngx_broadcast_state_make(state, rec, move->row, move->limits, &bc);

    if (rc != NGX_OK) {

        if (rc == NGX_DECLINED) {
            ngx_log_error(NGX_LOG_ALERT, ngx_broadcast_bus.log, 0,
                          "broadcast: a record is no connection's state");
            ngx_debug_point();
        }

        ngx_broadcast_move_release(move->row, &rec->name);
        ngx_broadcast_move_finish(move, NULL, NGX_DECLINED);
        return;
    }

    if (move->transport) {
        bc->transport = move->transport;
        ngx_broadcast_conn_polled(bc);
    }

    /* what its former worker had not read when it let go */

    if (ngx_broadcast_reread(state->matched, rec->log,
                             ngx_broadcast_move_again, bc)
        != NGX_OK)
    {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_OVERRUN, NULL);
    }

    ngx_broadcast_rows_arrived(bc);
    ngx_broadcast_inbound_run(bc);

    if (bc->state == NGX_BROADCAST_CLOSED) {
        ngx_broadcast_move_finish(move, NULL, NGX_DECLINED);
        return;
    }

    ngx_broadcast_move_finish(move, bc, NGX_OK);
}


static void
ngx_broadcast_move_again(ngx_broadcast_record_t *rec, void *data)
{
    ngx_broadcast_fanout_again(rec, data);
}


static void
ngx_broadcast_move_handler(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_msec_t             now;
    ngx_queue_t           *q, *next, *bucket;
    ngx_broadcast_move_t  *move;

    now = ngx_current_msec;

    for (i = 0; i < NGX_BROADCAST_MOVE_BUCKETS; i++) {
        bucket = &ngx_broadcast_moves[i];

        for (q = ngx_queue_head(bucket); q != bucket; q = next) {
            next = ngx_queue_next(q);
            move = ngx_queue_data(q, ngx_broadcast_move_t, queue);

            if (move->from
                && !ngx_broadcast_slot_alive(ngx_broadcast_bus.zone,
                                             move->from))
            {
                /* unless its last word is in the log already */

                move->from = 0;

                if ((ngx_msec_int_t) (move->deadline - now)
                    > NGX_BROADCAST_MOVE_GRACE)
                {
                    move->deadline = now + NGX_BROADCAST_MOVE_GRACE;
                }
            }

            if ((ngx_msec_int_t) (move->deadline - now) > 0) {
                continue;
            }

            ngx_broadcast_move_release(move->row, &move->id);
            ngx_broadcast_move_finish(move, NULL, NGX_DECLINED);
        }
    }

    if (ngx_broadcast_nmoves && !ev->timer_set) {
        ngx_add_timer(ev, NGX_BROADCAST_MOVE_TICK);
    }
}
