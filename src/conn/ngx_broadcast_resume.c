
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_resume.h"
#include "pg/ngx_broadcast_outbox.h"


/*
 * A client that names its last position gets what it missed before what is
 * live: from the log, or, in a durable hub, from the database.  Where that does
 * not reach back the first event is a gap, and the stream goes on with the
 * oldest message that is left.
 *
 *   opened --> waiting --> checked --> replay from the log --> held, live
 *                |            |           |      ^     |
 *                |            |           v      |     |
 *                +--> gap <---+------- history --+     |
 *                      |                               |
 *                      +-------------------------------+
 *
 *   opened     a hub's client, until its handshake
 *   waiting    this node does not know the hub's position yet
 *   held       what is live meanwhile waits behind the replay
 *
 * Pages are asked for as the queue empties, so a long history of a slow client
 * does not fill it.  If more is live meanwhile than may be held it is dropped,
 * and the replay goes on to where that ended: the log or the database has it,
 * too.  That needs the groups of the moment to be those of then.
 */

#define NGX_BROADCAST_RESUME_SILENCE  1000      /* ms */


static ngx_int_t ngx_broadcast_resume_wait(ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_resume_check(ngx_broadcast_conn_t *bc);
static ngx_uint_t ngx_broadcast_resume_whole(ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_resume_drop(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);


ngx_int_t
ngx_broadcast_resume_open(ngx_broadcast_conn_t *bc, ngx_broadcast_open_t *in,
    ngx_broadcast_claimed_t *claimed)
{
    ngx_broadcast_resume_t  *r;

    r = ngx_broadcast_resume_new(&in->requested, in->suffix.len);
    if (r == NULL) {
        return NGX_ERROR;
    }

    r->after = in->resume;
    r->upto = claimed->position;
    r->fresh = (in->requested.len == 0);

    bc->resume = r;

    if (!r->fresh) {
        ngx_broadcast_count(NGX_BROADCAST_RESUMES, 1);
    }

    if (bc->protocol == NGX_BROADCAST_PLAIN) {
        ngx_broadcast_resume_begin(bc);
    }

    return NGX_OK;
}


/*
 * From here on bc gets what is live.  A hub's client did not until now: what
 * this worker has read since the claim is a part of the replay.
 */

void
ngx_broadcast_resume_begin(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_resume_t    *r;
    ngx_broadcast_position_t  *read;

    r = bc->resume;

    if (r == NULL) {
        return;
    }

    read = &bc->hub->position;

    if (bc->protocol != NGX_BROADCAST_PLAIN) {

        if (read->epoch
            && (r->upto.epoch == 0
                || (r->upto.epoch == read->epoch && r->upto.seq < read->seq)))
        {
            r->upto = *read;
        }

        /* the reader may be behind the claim, which knew the log's head */

        r->skip = r->upto;
    }

    if (r->fresh) {
        r->after = r->upto;
    }

    /*
     * A client of the official package that comes back for good still has the
     * numbers of its old connection when it reads the answer to the handshake,
     * and drops what stands right behind that.  It pings when it has new ones.
     */

    if (bc->sequence) {
        r->unheard = 1;
        r->again = ngx_current_msec + NGX_BROADCAST_RESUME_SILENCE;
    }

    r->begun = 1;
    r->waiting = (r->upto.epoch == 0);
    r->deadline = ngx_current_msec;

    if (ngx_broadcast_pg_enabled()) {
        r->deadline += ngx_broadcast_pg_timeout();
    }
}


void
ngx_broadcast_resume_heard(ngx_broadcast_conn_t *bc)
{
    if (bc->resume && bc->resume->unheard) {
        bc->resume->unheard = 0;
        ngx_broadcast_fanout_flush(bc);
    }
}


ngx_uint_t
ngx_broadcast_resume_hold(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame, ngx_broadcast_record_t *rec)
{
    ngx_uint_t               numbered;
    ngx_broadcast_outq_t    *q;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;
    numbered = (rec && !(rec->flags & NGX_BROADCAST_REC_UNNUMBERED));

    if (numbered
        && rec->position.epoch == r->skip.epoch
        && rec->position.seq <= r->skip.seq)
    {
        return 1;
    }

    if (r->through) {

        /* also if what was to be skipped will not come any more */

        if (numbered
            || (bc->hub->position.epoch
                && bc->hub->position.epoch != r->skip.epoch))
        {
            ngx_broadcast_resume_free(bc);
        }

        return 0;
    }

    q = &r->held;

    if (!numbered) {

        /* no replay has it: it stays, though its neighbours may go */

        if (r->waiting) {
            q = &r->early;

        } else {
            r->kept = 1;
        }
    }

    if (ngx_broadcast_outq_push(q, frame) != NGX_OK) {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
        return 1;
    }

    if (r->unsettled) {

        /* something has a number now: perhaps all has */

        r->again = ngx_current_msec;
        ngx_broadcast_fanout_flush(bc);
    }

    if (q->bytes > bc->limits->queue / 2
        && (!numbered || ngx_broadcast_resume_drop(bc, rec) != NGX_OK)
        && q->bytes > bc->limits->queue)
    {
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_SLOW, NULL);
    }

    return 1;
}


/* NGX_OK: what is held, up to this record, is replayed later instead */

static ngx_int_t
ngx_broadcast_resume_drop(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (r->kept || r->changed) {
        return NGX_DECLINED;
    }

    if (!r->waiting) {

        if (rec->position.epoch != r->upto.epoch) {
            return NGX_DECLINED;
        }

        r->upto = rec->position;
        r->moved = 1;
    }

    ngx_broadcast_outq_clear(&r->held, 0);

    return NGX_OK;
}


void
ngx_broadcast_resume_skip(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *position)
{
    uint32_t                 n;
    ngx_broadcast_frame_t   *frame;
    ngx_broadcast_resume_t  *r;

    r = bc->resume;
    r->skip = *position;

    for (n = r->held.count; n; n--) {
        frame = ngx_broadcast_outq_shift(&r->held);

        if ((frame->seq == 0 || frame->seq > position->seq)
            && ngx_broadcast_outq_push(&r->held, frame) != NGX_OK)
        {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
        }

        ngx_broadcast_frame_free(frame);
    }
}


void
ngx_broadcast_resume_run(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (!r->begun || r->asked || r->through || bc->verdict || bc->moving) {
        return;
    }

    if (r->unheard) {

        if ((ngx_msec_int_t) (ngx_current_msec - r->again) < 0) {
            return;
        }

        r->unheard = 0;
    }

    if (r->waiting && ngx_broadcast_resume_wait(bc) != NGX_OK) {
        return;
    }

    if (r->away && (ngx_msec_int_t) (ngx_current_msec - r->again) < 0) {
        return;
    }

    if (!r->checked) {

        if (ngx_broadcast_resume_check(bc) != NGX_OK) {
            return;
        }

        r->checked = 1;
    }

    if (ngx_broadcast_resume_queued(bc) < ngx_broadcast_resume_room(bc)) {
        ngx_broadcast_resume_page(bc);
    }
}


/* NGX_OK: the hub's position is known now, or does not matter */

static ngx_int_t
ngx_broadcast_resume_wait(ngx_broadcast_conn_t *bc)
{
    ngx_uint_t                 ready;
    ngx_broadcast_resume_t    *r;
    ngx_broadcast_position_t   position;

    r = bc->resume;

    /* asked before the position, which is there first */

    ready = ngx_broadcast_binding_ready(ngx_broadcast_bus.zone);

    ngx_broadcast_hub_position(ngx_broadcast_bus.zone, bc->hub->index,
                               &position);

    if (position.epoch == 0) {

        if (ready && r->after.epoch == 0 && r->after.seq == 0) {

            if (r->suffix.len) {

                /* the database knows when what it names is numbered */

                r->waiting = 0;
                return NGX_OK;
            }

            /* nothing was ever sent: whatever comes is live */

            r->waiting = 0;
            r->none = 1;
            ngx_broadcast_resume_finish(bc);

        } else if ((ngx_msec_int_t) (ngx_current_msec - r->deadline) >= 0) {
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

    if (r->fresh) {
        r->after = position;
    }

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

    if (!durable && ngx_broadcast_resume_whole(bc)) {
        r->after.epoch = r->upto.epoch;
    }

    if (r->after.epoch != r->upto.epoch || r->suffix.len) {

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

        ngx_broadcast_resume_skip(bc, &r->after);
        r->ahead = 1;

        ngx_broadcast_resume_ask(bc);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* 1: "0-0" was asked for, and the log has all that was ever sent */

static ngx_uint_t
ngx_broadcast_resume_whole(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_resume_t    *r;
    ngx_broadcast_position_t   oldest;

    r = bc->resume;

    if (r->after.epoch || r->after.seq || r->suffix.len) {
        return 0;
    }

    ngx_broadcast_log_oldest(ngx_broadcast_bus.zone, bc->hub->index, &oldest);

    return r->upto.seq == 0
           || (oldest.epoch == r->upto.epoch && oldest.seq == 1);
}
