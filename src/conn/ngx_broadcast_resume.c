
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "pg/ngx_broadcast_outbox.h"


/*
 * A plain subscriber that names its last id gets what it missed before what is
 * live: from the log, or, in a durable hub, from the database.  Where that does
 * not reach back the first event is a gap, and the stream goes on with the
 * oldest message that is left.
 *
 *   waiting --> checked --> replay from the log --> held messages, live
 *                  |              |      ^
 *                  |              v      |
 *                  +--> gap <-- history -+
 *
 * Pages are asked for as the queue empties, so a long history of a slow client
 * does not fill it.
 */

#define NGX_BROADCAST_RESUME_PAGE  64           /* messages */
#define NGX_BROADCAST_RESUME_FULL  (64 * 1024)  /* bytes queued: wait */
#define NGX_BROADCAST_RESUME_WAIT  10000        /* ms, a call's time-out */


typedef struct {
    u_char                   len;
    u_char                   id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_resumer_t;


static ngx_int_t ngx_broadcast_resume_wait(ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_resume_check(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_resume_page(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_resume_message(ngx_broadcast_record_t *rec,
    void *data);
static void ngx_broadcast_resume_ask(ngx_broadcast_conn_t *bc);
static ngx_broadcast_conn_t *ngx_broadcast_resume_find(void *data);
static void ngx_broadcast_resume_row(ngx_broadcast_record_t *rec, void *data);
static void ngx_broadcast_resume_done(ngx_broadcast_history_t *history,
    void *data);
static void ngx_broadcast_resume_gap(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *oldest);
static void ngx_broadcast_resume_local_gap(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_resume_finish(ngx_broadcast_conn_t *bc);


ngx_int_t
ngx_broadcast_resume_open(ngx_broadcast_conn_t *bc, ngx_broadcast_open_t *in,
    ngx_broadcast_claimed_t *claimed)
{
    ngx_broadcast_resume_t  *r;

    r = ngx_calloc(sizeof(ngx_broadcast_resume_t) + in->requested.len,
                   ngx_broadcast_bus.log);
    if (r == NULL) {
        return NGX_ERROR;
    }

    r->after = in->resume;
    r->upto = claimed->position;

    r->requested.len = in->requested.len;
    r->requested.data = (u_char *) (r + 1);
    ngx_memcpy(r->requested.data, in->requested.data, in->requested.len);

    /* a durable hub of a node whose relay has not read it yet */

    r->waiting = (r->upto.epoch == 0);
    r->deadline = ngx_current_msec + NGX_BROADCAST_RESUME_WAIT;

    bc->resume = r;

    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_resume_hold(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame, ngx_broadcast_record_t *rec)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (rec
        && !(rec->flags & NGX_BROADCAST_REC_UNNUMBERED)
        && rec->position.epoch == r->skip.epoch
        && rec->position.seq <= r->skip.seq)
    {
        return 1;
    }

    if (r->through) {

        if (rec && !(rec->flags & NGX_BROADCAST_REC_UNNUMBERED)) {
            ngx_broadcast_resume_free(bc);
        }

        return 0;
    }

    frame = ngx_broadcast_conn_form(bc, frame);

    if (ngx_broadcast_outq_push(&r->held, frame) != NGX_OK) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);

    } else if (r->held.bytes > bc->limits->queue) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_SLOW, NULL);
    }

    return 1;
}


void
ngx_broadcast_resume_run(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (r->asked || r->through || bc->verdict) {
        return;
    }

    if (r->waiting && ngx_broadcast_resume_wait(bc) != NGX_OK) {
        return;
    }

    if (!r->checked) {
        r->checked = 1;

        if (ngx_broadcast_resume_check(bc) != NGX_OK) {
            return;
        }
    }

    if (ngx_broadcast_outq_size(bc) < NGX_BROADCAST_RESUME_FULL) {
        ngx_broadcast_resume_page(bc);
    }
}


/* NGX_OK: the hub's position is known now */

static ngx_int_t
ngx_broadcast_resume_wait(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_resume_t    *r;
    ngx_broadcast_position_t   position;

    r = bc->resume;

    ngx_broadcast_hub_position(ngx_broadcast_bus.zone, bc->hub->index,
                               &position);

    if (position.epoch == 0) {

        if ((ngx_msec_int_t) (ngx_current_msec - r->deadline) >= 0) {
            r->waiting = 0;
            ngx_broadcast_resume_local_gap(bc);
        }

        return NGX_AGAIN;
    }

    /*
     * A message with a number up to the position comes twice, by the replay
     * and live, and is skipped; commands of the log come once and count.
     */

    ngx_broadcast_outq_clear(&r->held, 0);

    r->upto = position;
    r->skip = position;
    r->waiting = 0;

    return NGX_OK;
}


/* NGX_OK: there is something to replay, and it may be there */

static ngx_int_t
ngx_broadcast_resume_check(ngx_broadcast_conn_t *bc)
{
    ngx_uint_t               durable;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;
    durable = ngx_broadcast_hub_durable(&bc->hub->name);

    if (r->after.epoch != r->upto.epoch) {

        if (durable) {
            ngx_broadcast_resume_ask(bc);

        } else {
            ngx_broadcast_resume_local_gap(bc);
        }

        return NGX_DECLINED;
    }

    if (r->after.seq == r->upto.seq) {
        ngx_broadcast_resume_finish(bc);
        return NGX_DECLINED;
    }

    if (r->after.seq > r->upto.seq) {

        if (!durable) {
            ngx_broadcast_resume_local_gap(bc);
            return NGX_DECLINED;
        }

        /*
         * The client heard of it from another node, whose relay is ahead: what
         * it has is skipped here.  The database knows whether that is true.
         */

        r->skip = r->after;
        r->ahead = 1;

        ngx_broadcast_resume_ask(bc);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_broadcast_resume_page(ngx_broadcast_conn_t *bc)
{
    ngx_int_t                rc;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    rc = ngx_broadcast_replay(bc->hub->index, &r->after, r->upto.seq,
                              NGX_BROADCAST_RESUME_PAGE,
                              ngx_broadcast_resume_message, bc);

    if (bc->verdict) {
        return;
    }

    switch (rc) {

    case NGX_OK:
        ngx_broadcast_resume_finish(bc);
        return;

    case NGX_AGAIN:

        /* the flush comes back here */

        ngx_broadcast_fanout_flush(bc);
        return;
    }

    if (ngx_broadcast_hub_durable(&bc->hub->name)) {
        ngx_broadcast_resume_ask(bc);
        return;
    }

    ngx_broadcast_resume_local_gap(bc);
}


/* a message of the past: only what the connection may see */

static void
ngx_broadcast_resume_message(ngx_broadcast_record_t *rec, void *data)
{
    ngx_broadcast_conn_t *bc = data;

    ngx_broadcast_frame_t  *frame;

    switch (rec->scope) {

    case NGX_BROADCAST_ALL:
        break;

    case NGX_BROADCAST_USER:
        if (bc->user == NULL
            || bc->user->len != rec->name.len
            || ngx_memcmp(bc->user->data, rec->name.data, rec->name.len) != 0)
        {
            return;
        }

        break;

    case NGX_BROADCAST_GROUP:
        if (!ngx_broadcast_index_meant(bc, rec)) {
            return;
        }

        break;

    default:
        return;
    }

    frame = ngx_broadcast_frame_message(bc->protocol, bc->framing, rec);

    /* its age is not the latency of a delivery */

    if (frame) {
        frame->time = 1;
    }

    ngx_broadcast_conn_queue_new(bc, frame);
}


static void
ngx_broadcast_resume_ask(ngx_broadcast_conn_t *bc)
{
    ngx_int_t                 rc;
    ngx_broadcast_resume_t   *r;
    ngx_broadcast_resumer_t   resumer;

    r = bc->resume;

    resumer.len = (u_char) bc->id.len;
    ngx_memcpy(resumer.id, bc->id.data, bc->id.len);

    rc = ngx_broadcast_history(bc->hub->index, &r->after,
                               ngx_max(r->upto.seq, r->after.seq),
                               NGX_BROADCAST_RESUME_PAGE,
                               ngx_broadcast_resume_row,
                               ngx_broadcast_resume_done, &resumer,
                               sizeof(ngx_broadcast_resumer_t), NULL);

    if (rc == NGX_OK) {
        r->asked = 1;
        return;
    }

    ngx_broadcast_resume_local_gap(bc);
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


static void
ngx_broadcast_resume_row(ngx_broadcast_record_t *rec, void *data)
{
    ngx_broadcast_conn_t  *bc;

    bc = ngx_broadcast_resume_find(data);

    if (bc) {
        ngx_broadcast_resume_message(rec, bc);
    }
}


static void
ngx_broadcast_resume_done(ngx_broadcast_history_t *history, void *data)
{
    ngx_broadcast_conn_t    *bc;
    ngx_broadcast_resume_t  *r;

    bc = ngx_broadcast_resume_find(data);

    if (bc == NULL) {
        return;
    }

    r = bc->resume;
    r->asked = 0;

    if (history->status != NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_resume_local_gap(bc);
        return;
    }

    if (history->gap) {
        ngx_broadcast_resume_gap(bc, &history->oldest);
        return;
    }

    r->after = history->reached;

    /* what is newer than the page may be in the log by now */

    if (history->more && r->after.seq < r->upto.seq) {
        ngx_broadcast_fanout_flush(bc);
        return;
    }

    ngx_broadcast_resume_finish(bc);
}


/* the database cannot say: what the log has is all there is */

static void
ngx_broadcast_resume_local_gap(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_position_t  oldest;

    ngx_broadcast_log_oldest(ngx_broadcast_bus.zone, bc->hub->index, &oldest);

    ngx_broadcast_resume_gap(bc, &oldest);
}


/*
 * Tells of the gap.  The stream goes on with the oldest message that is left,
 * or, if none is, with what is live.
 */

static void
ngx_broadcast_resume_gap(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *oldest)
{
    ngx_uint_t                 rest;
    ngx_broadcast_resume_t    *r;
    ngx_broadcast_position_t   from;

    r = bc->resume;

    rest = (!r->ahead
            && oldest->epoch != 0
            && oldest->epoch == r->upto.epoch
            && oldest->seq <= r->upto.seq
            && (r->after.epoch != oldest->epoch
                || oldest->seq > r->after.seq + 1));

    from = r->upto;

    if (rest) {
        from.seq = oldest->seq - 1;
    }

    ngx_broadcast_conn_queue_new(bc,
                                 ngx_broadcast_frame_gap(bc->framing,
                                                         &r->requested, oldest,
                                                         &from));
    if (bc->verdict) {
        return;
    }

    if (r->ahead) {

        /* what was skipped is not known to it: once more, from when it came */

        r->ahead = 0;
        r->checked = 0;
        r->waiting = 1;
        r->skip.epoch = 0;
        rest = 1;
    }

    if (rest) {
        r->after = from;
        ngx_broadcast_fanout_flush(bc);
        return;
    }

    ngx_broadcast_resume_finish(bc);
}


static void
ngx_broadcast_resume_finish(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (ngx_broadcast_outq_append(&bc->outq, &r->held) != NGX_OK) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
    }

    if (r->skip.epoch
        && (bc->hub->position.epoch != r->skip.epoch
            || bc->hub->position.seq < r->skip.seq))
    {

        /* live messages up to there are still to come, and to be skipped */

        r->through = 1;

    } else {
        ngx_broadcast_resume_free(bc);
    }

    ngx_broadcast_fanout_flush(bc);
}


void
ngx_broadcast_resume_free(ngx_broadcast_conn_t *bc)
{
    if (bc->resume) {
        ngx_broadcast_outq_clear(&bc->resume->held, 0);
        ngx_free(bc->resume);
        bc->resume = NULL;
    }
}
