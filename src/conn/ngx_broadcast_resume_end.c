
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_resume.h"


/*
 * How a replay ends: with a gap, or where the live messages begin; and where
 * its client is from then on.
 */

static void ngx_broadcast_resume_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_outq_t *q);
static void ngx_broadcast_resume_tell(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *position);


/* the database cannot say: what the log has is all there is */

void
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

void
ngx_broadcast_resume_gap(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *oldest)
{
    ngx_uint_t                 rest;
    ngx_broadcast_resume_t    *r;
    ngx_broadcast_position_t   from;

    r = bc->resume;

    r->suffix.len = 0;

    ngx_broadcast_count(NGX_BROADCAST_GAPS, 1);

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
                         ngx_broadcast_frame_gap(bc->protocol, bc->framing,
                                                 &r->requested, oldest, &from));
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


void
ngx_broadcast_resume_finish(ngx_broadcast_conn_t *bc)
{
    ngx_uint_t                 none;
    ngx_broadcast_resume_t    *r;
    ngx_broadcast_position_t  *read, position;

    r = bc->resume;
    r->checked = 1;

    if (bc->outq.count
        && ngx_broadcast_resume_queued(bc) + r->early.bytes + r->held.bytes
           > bc->limits->queue)
    {
        /* once more when the queue is empty: there is nothing to replay */

        r->after = r->upto;
        ngx_broadcast_fanout_flush(bc);
        return;
    }

    ngx_broadcast_resume_queue(bc, &r->early);
    ngx_broadcast_resume_queue(bc, &r->held);

    read = &bc->hub->position;
    none = r->none;

    if (r->skip.epoch
        && (read->epoch != r->skip.epoch || read->seq < r->skip.seq))
    {

        /* live messages up to there are still to come, and to be skipped */

        r->through = 1;

    } else {
        ngx_broadcast_resume_free(bc);
    }

    if (bc->tells) {
        ngx_broadcast_resume_position(bc, &position);

        if (position.epoch || none) {
            ngx_broadcast_resume_tell(bc, &position);
        }
    }

    ngx_broadcast_fanout_flush(bc);
}


static void
ngx_broadcast_resume_queue(ngx_broadcast_conn_t *bc, ngx_broadcast_outq_t *q)
{
    ngx_broadcast_frame_t  *frame;

    while (q->count) {
        frame = ngx_broadcast_outq_shift(q);
        ngx_broadcast_conn_queue(bc, frame);
        ngx_broadcast_frame_free(frame);
    }
}


void
ngx_broadcast_resume_position(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *position)
{
    ngx_broadcast_resume_t  *r;

    r = bc->resume;

    if (r && r->through
        && bc->hub->position.epoch == r->skip.epoch
        && bc->hub->position.seq >= r->skip.seq)
    {
        ngx_broadcast_resume_free(bc);
        r = NULL;
    }

    if (r == NULL) {
        *position = bc->hub->position;
        return;
    }

    if (r->through) {
        *position = r->skip;
        return;
    }

    /* during a replay the hub's position would skip what is to come */

    position->epoch = 0;
    position->seq = 0;
}


static void
ngx_broadcast_resume_tell(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *position)
{
    u_char     buf[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t  text;

    text.data = buf;
    text.len = ngx_broadcast_position_print(buf, position) - buf;

    *bc->told = *position;

    ngx_broadcast_conn_queue_new(bc,
                                 ngx_broadcast_frame_position(bc->protocol,
                                                              bc->framing,
                                                              &text));
}


void
ngx_broadcast_resume_alive(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_position_t  position;

    ngx_broadcast_resume_position(bc, &position);

    if (position.epoch
        && (position.epoch != bc->told->epoch
            || position.seq != bc->told->seq))
    {
        ngx_broadcast_resume_tell(bc, &position);
    }
}
