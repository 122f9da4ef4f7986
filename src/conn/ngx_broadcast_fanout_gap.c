
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_invoke.h"
#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_post.h"
#include "conn/ngx_broadcast_rows.h"


/*
 * The part of the fan-out that says what is missing: a gap that the log tells
 * of, another epoch, and records that were overwritten before this worker came
 * to read them.
 */


static void ngx_broadcast_fanout_tell(ngx_broadcast_local_t *hub,
    ngx_broadcast_position_t *from);
static void ngx_broadcast_fanout_missed(ngx_broadcast_local_t *hub,
    ngx_broadcast_record_t *rec, ngx_broadcast_conn_t *only);


void
ngx_broadcast_fanout_gap(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only)
{
    ngx_broadcast_local_t  *hub;

    hub = ngx_broadcast_index_hub(rec->hub);

    if (hub == NULL) {
        return;
    }

    if (only == NULL) {
        ngx_broadcast_fanout_tell(hub, &hub->position);
    }

    /* raw NOTIFY takes no number: nothing that was kept is missing */

    if (!(rec->flags & NGX_BROADCAST_REC_UNNUMBERED)) {
        ngx_broadcast_fanout_missed(hub, rec, only);
    }
}


void
ngx_broadcast_fanout_epoch(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only)
{
    ngx_broadcast_local_t  *hub;

    hub = ngx_broadcast_index_hub(rec->hub);

    if (hub == NULL) {
        return;
    }

    if (only) {
        ngx_broadcast_fanout_missed(hub, rec, only);
        return;
    }

    if (rec->log < hub->log) {
        return;
    }

    hub->position = rec->position;
    hub->log = rec->log;

    ngx_broadcast_fanout_tell(hub, &hub->position);
    ngx_broadcast_fanout_missed(hub, rec, only);
}


/*
 * Nobody knows what the clients missed: SignalR clients come again, plain ones
 * are told and go on from the oldest record that is left.
 */

void
ngx_broadcast_fanout_overrun(void)
{
    ngx_uint_t                i;
    ngx_broadcast_conn_t     *bc;
    ngx_broadcast_local_t    *hub;
    ngx_broadcast_position_t  from;

    ngx_broadcast_invoke_overrun();
    ngx_broadcast_post_overrun();
    ngx_broadcast_rows_overrun();

    for (bc = ngx_broadcast_conn_next(NULL);
         bc;
         bc = ngx_broadcast_conn_next(bc))
    {
        if (bc->protocol != NGX_BROADCAST_PLAIN) {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_OVERRUN, NULL);
        }
    }

    ngx_broadcast_move_overrun();

    i = 0;

    for ( ;; ) {
        hub = ngx_broadcast_index_hub_next(&i);

        if (hub == NULL) {
            return;
        }

        ngx_broadcast_log_oldest(ngx_broadcast_bus.zone, hub->index, &from);

        if (from.epoch) {
            from.seq--;

        } else {
            ngx_broadcast_hub_position(ngx_broadcast_bus.zone, hub->index,
                                       &from);
        }

        hub->position = from;

        ngx_broadcast_fanout_tell(hub, &from);
    }
}


/* plain subscribers missed something that nobody can count */

static void
ngx_broadcast_fanout_tell(ngx_broadcast_local_t *hub,
    ngx_broadcast_position_t *from)
{
    ngx_str_t                  none;
    ngx_uint_t                 i, n;
    ngx_broadcast_conn_t      *bc;
    ngx_broadcast_frame_t     *frames[NGX_BROADCAST_FRAMES];
    ngx_broadcast_position_t   oldest;

    ngx_memzero(frames, sizeof(frames));
    ngx_str_null(&none);

    ngx_broadcast_log_oldest(ngx_broadcast_bus.zone, hub->index, &oldest);

    for (n = 0; n < hub->count; n++) {
        bc = hub->conns[n];

        if (bc->protocol != NGX_BROADCAST_PLAIN || bc->verdict) {
            continue;
        }

        if (frames[bc->framing] == NULL) {
            frames[bc->framing] = ngx_broadcast_frame_gap(bc->protocol,
                                                          bc->framing, &none,
                                                          &oldest, from);
            if (frames[bc->framing] == NULL) {
                ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
                continue;
            }
        }

        ngx_broadcast_count(NGX_BROADCAST_GAPS, 1);

        if (bc->resume
            && ngx_broadcast_resume_hold(bc, frames[bc->framing], NULL))
        {
            continue;
        }

        ngx_broadcast_conn_queue(bc, frames[bc->framing]);
    }

    for (i = 0; i < NGX_BROADCAST_FRAMES; i++) {
        if (frames[i]) {
            ngx_broadcast_frame_free(frames[i]);
        }
    }
}


/*
 * SignalR has no word for a message that is missing: its clients are closed,
 * with reconnect allowed, and never left in silence.
 */

static void
ngx_broadcast_fanout_missed(ngx_broadcast_local_t *hub,
    ngx_broadcast_record_t *rec, ngx_broadcast_conn_t *only)
{
    ngx_uint_t             n;
    ngx_broadcast_conn_t  *bc;

    if (only) {
        ngx_broadcast_conn_condemn(only, NGX_BROADCAST_END_OVERRUN, NULL);
        return;
    }

    for (n = 0; n < hub->count; n++) {
        bc = hub->conns[n];

        if (bc->protocol != NGX_BROADCAST_PLAIN && bc->start <= rec->log) {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_OVERRUN, NULL);
        }
    }
}
