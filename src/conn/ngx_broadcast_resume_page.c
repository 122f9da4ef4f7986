
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_resume.h"
#include "pg/ngx_broadcast_outbox.h"


/*
 * What a client missed, in pages: a page is as much as the queue has room for.
 * While the database cannot be asked it is asked again, for as long as a call
 * may take; a restart of it takes less.  The messages are still there, so only
 * then the client is told of a gap.
 */

#define NGX_BROADCAST_RESUME_AGAIN      250     /* ms, doubled each time */
#define NGX_BROADCAST_RESUME_AGAIN_MAX  2000
#define NGX_BROADCAST_RESUME_PATIENCE   6       /* times that, while so many
                                                   ask that nobody can */


typedef struct {
    u_char                   len;
    u_char                   id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_resumer_t;


static ngx_int_t ngx_broadcast_resume_message(ngx_broadcast_record_t *rec,
    void *data);
static ngx_broadcast_frame_t *ngx_broadcast_resume_frame(
    ngx_broadcast_conn_t *bc, ngx_broadcast_record_t *rec);
static ngx_broadcast_conn_t *ngx_broadcast_resume_find(void *data);
static ngx_int_t ngx_broadcast_resume_row(ngx_broadcast_record_t *rec,
    void *data);
static void ngx_broadcast_resume_done(ngx_broadcast_history_t *history,
    void *data);
static void ngx_broadcast_resume_read(ngx_broadcast_conn_t *bc,
    ngx_broadcast_history_t *history);
static void ngx_broadcast_resume_measure(ngx_broadcast_conn_t *bc,
    ngx_uint_t cut);
static void ngx_broadcast_resume_settled(ngx_broadcast_conn_t *bc,
    uint64_t newest);
static void ngx_broadcast_resume_away(ngx_broadcast_conn_t *bc,
    ngx_uint_t patience);
static void ngx_broadcast_resume_next(ngx_broadcast_conn_t *bc,
    ngx_uint_t moved);


void
ngx_broadcast_resume_page(ngx_broadcast_conn_t *bc)
{
    uint64_t                 seq;
    ngx_int_t                rc;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;
    seq = r->after.seq;

    if (r->suffix.len && r->after.seq < r->upto.seq) {

        /* the log does not know who sent what */

        ngx_broadcast_resume_ask(bc);
        return;
    }

    rc = ngx_broadcast_replay(bc->hub->index, &r->after, r->upto.seq,
                              ngx_broadcast_resume_messages(bc),
                              ngx_broadcast_resume_message, bc);

    if (bc->verdict) {
        return;
    }

    switch (rc) {

    case NGX_OK:
        ngx_broadcast_resume_finish(bc);
        return;

    case NGX_AGAIN:
        ngx_broadcast_resume_next(bc, r->after.seq != seq);
        return;
    }

    if (ngx_broadcast_hub_durable(&bc->hub->name)) {
        ngx_broadcast_resume_ask(bc);
        return;
    }

    ngx_broadcast_resume_local_gap(bc);
}


/*
 * A message of the past: only what the connection may see.  NGX_AGAIN: there
 * is no room for it.
 */

static ngx_int_t
ngx_broadcast_resume_message(ngx_broadcast_record_t *rec, void *data)
{
    ngx_broadcast_conn_t *bc = data;

    size_t                  queued;
    ngx_broadcast_frame_t  *frame;

    switch (rec->scope) {

    case NGX_BROADCAST_ALL:
        break;

    case NGX_BROADCAST_USER:
        if (bc->user == NULL
            || bc->user->len != rec->name.len
            || ngx_memcmp(bc->user->data, rec->name.data, rec->name.len) != 0)
        {
            return NGX_OK;
        }

        break;

    case NGX_BROADCAST_GROUP:
        if (!ngx_broadcast_index_meant(bc, rec)) {
            return NGX_OK;
        }

        break;

    default:

        /* of this connection itself, from its own time: it was not held */

        if (rec->name.len != bc->id.len
            || ngx_memcmp(rec->name.data, bc->id.data, bc->id.len) != 0)
        {
            return NGX_OK;
        }
    }

    if (rec->excluded.len && ngx_broadcast_record_excludes(rec, &bc->id)) {
        return NGX_OK;
    }

    frame = ngx_broadcast_resume_frame(bc, rec);

    if (frame == NULL) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
        return NGX_AGAIN;
    }

    /* a message that is larger than the room comes into an empty queue */

    queued = ngx_broadcast_resume_queued(bc);

    if (queued && queued + frame->len > ngx_broadcast_resume_room(bc)) {
        ngx_broadcast_frame_free(frame);
        return NGX_AGAIN;
    }

    /* its age is not the latency of a delivery */

    frame->time = 1;

    bc->resume->bytes += frame->len;

    ngx_broadcast_conn_queue_new(bc, frame);

    if (bc->tells) {
        *bc->told = rec->position;
    }

    return bc->verdict ? NGX_AGAIN : NGX_OK;
}


static ngx_broadcast_frame_t *
ngx_broadcast_resume_frame(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    u_char                  *p;
    ngx_str_t                place;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (!bc->tells && r->suffix.len == 0) {
        return ngx_broadcast_frame_message(bc->protocol, bc->framing, rec);
    }

    /* who breaks off here goes on with what the position leaves out */

    p = ngx_broadcast_position_print(r->place, &rec->position);
    p = ngx_cpymem(p, r->suffix.data, r->suffix.len);

    place.data = r->place;
    place.len = p - r->place;

    return ngx_broadcast_frame_placed(bc->protocol, bc->framing, rec, &place);
}


void
ngx_broadcast_resume_ask(ngx_broadcast_conn_t *bc)
{
    ngx_int_t                 rc;
    ngx_broadcast_resume_t   *r;
    ngx_broadcast_resumer_t   resumer;

    r = bc->resume;

    resumer.len = (u_char) bc->id.len;
    ngx_memcpy(resumer.id, bc->id.data, bc->id.len);

    if (!r->away) {
        r->deadline = ngx_current_msec + ngx_broadcast_pg_timeout();
        r->delay = NGX_BROADCAST_RESUME_AGAIN;
    }

    r->rows = 0;
    r->bytes = 0;
    r->moved = 0;

    rc = ngx_broadcast_history(bc->hub->index, &r->after, &r->suffix,
                               ngx_max(r->upto.seq, r->after.seq), r->page,
                               ngx_broadcast_resume_row,
                               ngx_broadcast_resume_done, &resumer,
                               sizeof(ngx_broadcast_resumer_t), NULL);

    if (rc == NGX_OK) {
        r->asked = 1;
        return;
    }

    ngx_broadcast_resume_away(bc, rc == NGX_BUSY
                                  ? NGX_BROADCAST_RESUME_PATIENCE : 1);
}


static ngx_broadcast_conn_t *
ngx_broadcast_resume_find(void *data)
{
    ngx_broadcast_resumer_t  *resumer = data;

    ngx_str_t              id;
    ngx_broadcast_conn_t  *bc;

    id.data = resumer->id;
    id.len = resumer->len;

    bc = ngx_broadcast_index_find(&id);

    return bc && bc->resume && bc->verdict == 0 ? bc : NULL;
}


static ngx_int_t
ngx_broadcast_resume_row(ngx_broadcast_record_t *rec, void *data)
{
    ngx_int_t              rc;
    ngx_broadcast_conn_t  *bc;

    bc = ngx_broadcast_resume_find(data);

    if (bc == NULL) {
        return NGX_AGAIN;
    }

    rc = ngx_broadcast_resume_message(rec, bc);

    if (rc == NGX_OK) {
        bc->resume->rows++;
    }

    return rc;
}


static void
ngx_broadcast_resume_done(ngx_broadcast_history_t *history, void *data)
{
    ngx_broadcast_conn_t  *bc;

    bc = ngx_broadcast_resume_find(data);

    if (bc == NULL) {
        return;
    }

    bc->resume->asked = 0;

    ngx_broadcast_resume_read(bc, history);

    /* wanted elsewhere: it goes on there */

    if (bc->moving) {
        (void) ngx_broadcast_move_go(bc);
    }
}


static void
ngx_broadcast_resume_read(ngx_broadcast_conn_t *bc,
    ngx_broadcast_history_t *history)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (history->status != NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_resume_away(bc, 1);
        return;
    }

    r->unsettled = history->unsettled;

    if (history->unsettled) {
        ngx_broadcast_resume_away(bc, 1);
        return;
    }

    r->away = 0;

    ngx_broadcast_count(NGX_BROADCAST_RESUME_READS, 1);

    if (history->gap) {
        ngx_broadcast_resume_gap(bc, &history->oldest);
        return;
    }

    r->after = history->reached;

    if (r->suffix.len && !r->settled) {
        r->none = (r->after.epoch == 0);
        ngx_broadcast_resume_settled(bc, history->newest);
    }

    ngx_broadcast_resume_measure(bc, history->cut);

    /* what is newer than the page may be in the log by now */

    if ((history->more || r->moved) && r->after.seq < r->upto.seq) {
        r->checked = 1;
        ngx_broadcast_resume_next(bc, !history->cut || r->rows);
        return;
    }

    ngx_broadcast_resume_finish(bc);
}


/*
 * The next page is as many rows as there is room for, going by this one: what
 * there is no room for was read for nothing, and each question has its price.
 */

static void
ngx_broadcast_resume_measure(ngx_broadcast_conn_t *bc, ngx_uint_t cut)
{
    ngx_uint_t               n;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;
    n = cut ? r->rows : 2 * r->page;

    if (!cut && r->bytes) {
        n = ngx_min(n, r->rows * ngx_broadcast_resume_room(bc) / r->bytes);
    }

    n = ngx_min(n, NGX_BROADCAST_RESUME_ROWS);
    r->page = ngx_max(n, 1);
}


/*
 * What the suffix leaves out is all numbered, up to the newest number of that
 * moment.  This node may not have read so far: then that is replayed as well,
 * and skipped when it comes live.
 */

static void
ngx_broadcast_resume_settled(ngx_broadcast_conn_t *bc, uint64_t newest)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;
    r->settled = 1;

    if (r->upto.epoch != r->after.epoch) {

        /* it has not heard of the new epoch, and tells of it when it does */

        r->upto = r->after;
    }

    if (r->upto.seq < newest) {
        r->upto.seq = newest;
        r->moved = 1;
    }

    ngx_broadcast_resume_skip(bc, &r->upto);
}


/* the database could not be asked, or did not say */

static void
ngx_broadcast_resume_away(ngx_broadcast_conn_t *bc, ngx_uint_t patience)
{
    ngx_msec_int_t           late;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    late = (ngx_msec_int_t) (ngx_current_msec - r->deadline);

    if (late >= (ngx_msec_int_t) ((patience - 1)
                                  * ngx_broadcast_pg_timeout()))
    {
        r->away = 0;
        ngx_broadcast_resume_local_gap(bc);
        return;
    }

    r->away = 1;
    r->again = ngx_current_msec + r->delay;
    r->delay = ngx_min(2 * r->delay, NGX_BROADCAST_RESUME_AGAIN_MAX);

    ngx_broadcast_wheel_set(bc);
}


/*
 * The flush comes back for the next page.  If nothing of the last one was taken
 * it only does so when there is something to send: what else is in the way is
 * without a number yet, and goes with an Ack of the client's.
 */

static void
ngx_broadcast_resume_next(ngx_broadcast_conn_t *bc, ngx_uint_t moved)
{
    if (moved || bc->outq.count) {
        ngx_broadcast_fanout_flush(bc);
    }
}
