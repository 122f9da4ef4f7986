
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_bus.h"
#include "bus/ngx_broadcast_reader.h"
#include "shm/ngx_broadcast_progress.h"


/*
 * The only way out of the log.  This worker's cursor is private; a batch of
 * whole records is copied out, and the records are given to the hook one by
 * one from the copy.
 *
 *   log in shared memory    ... | r | r | r | r | r | r | r |
 *                                           ^ cursor        ^ head
 *   batch                   [ r | r | r | r ]
 *                                 ^ pos     ^ last
 */

#define NGX_BROADCAST_READER_BUFFER   65536     /* bytes */
#define NGX_BROADCAST_READER_BATCHES  16        /* in one turn */
#define NGX_BROADCAST_REPLAY_PLACES   64        /* a power of two */


typedef struct {
    u_char                    *start;       /* owned */
    size_t                     size;
} ngx_broadcast_buffer_t;


typedef struct {
    ngx_broadcast_record_pt    hook;        /* NULL: not started */
    ngx_broadcast_overrun_pt   overrun;
    uint64_t                   cursor;
    ngx_broadcast_buffer_t     buffer;
    u_char                    *pos;         /* borrowed from buffer */
    u_char                    *last;
    ngx_uint_t                 busy;        /* 1: inside of drain */
    ngx_uint_t                 again;       /* 1: asked for while busy */
    ngx_event_t                event;
    ngx_connection_t           dummy;       /* for the event's debug lines */
} ngx_broadcast_reader_t;


/* where a replay that was interrupted goes on; a place may be taken over */

typedef struct {
    ngx_uint_t                 hub;
    ngx_broadcast_position_t   after;
    uint64_t                   cursor;      /* 0: none */
} ngx_broadcast_replay_t;


static ngx_int_t ngx_broadcast_reader_turn(ngx_broadcast_reader_t *reader);
static ngx_int_t ngx_broadcast_reader_batch(ngx_broadcast_reader_t *reader);
static ngx_int_t ngx_broadcast_reader_fill(ngx_broadcast_reader_t *reader);
static void ngx_broadcast_reader_overrun(ngx_broadcast_reader_t *reader);
static ngx_int_t ngx_broadcast_buffer_grow(ngx_broadcast_buffer_t *buffer,
    size_t size);
static void ngx_broadcast_buffer_free(ngx_broadcast_buffer_t *buffer);
static ngx_int_t ngx_broadcast_replay_from(ngx_uint_t hub,
    ngx_broadcast_position_t *after, uint64_t *cursor);
static ngx_broadcast_replay_t *ngx_broadcast_replay_place(ngx_uint_t hub,
    ngx_broadcast_position_t *after);


static ngx_broadcast_reader_t   ngx_broadcast_reader;

static ngx_broadcast_buffer_t   ngx_broadcast_replay_buffer;
static ngx_broadcast_replay_t
                       ngx_broadcast_replays[NGX_BROADCAST_REPLAY_PLACES];


void
ngx_broadcast_reader_start(ngx_cycle_t *cycle, ngx_broadcast_record_pt hook,
    ngx_broadcast_overrun_pt overrun)
{
    ngx_broadcast_reader_t  *reader;

    reader = &ngx_broadcast_reader;

    ngx_memzero(reader, sizeof(ngx_broadcast_reader_t));

    reader->hook = hook;
    reader->overrun = overrun;

    reader->dummy.fd = (ngx_socket_t) -1;

    reader->event.data = &reader->dummy;
    reader->event.log = cycle->log;
    reader->event.handler = ngx_broadcast_reader_drain;

    reader->cursor = ngx_broadcast_log_head(ngx_broadcast_bus.zone);
}


void
ngx_broadcast_reader_stop(void)
{
    ngx_broadcast_reader_t  *reader;

    reader = &ngx_broadcast_reader;

    if (reader->hook == NULL) {
        return;
    }

    reader->hook = NULL;

    if (reader->event.posted) {
        ngx_delete_posted_event(&reader->event);
    }

    ngx_broadcast_buffer_free(&reader->buffer);
    ngx_broadcast_buffer_free(&ngx_broadcast_replay_buffer);

    ngx_memzero(ngx_broadcast_replays, sizeof(ngx_broadcast_replays));
}


/*
 * Inside of a turn it is remembered: the turn itself may read what its hook
 * appended, but the publish has marked this worker as woken, and only another
 * look, with the mark cleared before, lets others ring again.
 */

void
ngx_broadcast_reader_post(void)
{
    ngx_broadcast_reader_t  *reader;

    reader = &ngx_broadcast_reader;

    if (reader->busy) {
        reader->again = 1;
        return;
    }

    if (reader->hook) {
        ngx_post_event(&reader->event, &ngx_posted_events);
    }
}


/*
 * The flag is cleared before the log is looked at: who appends from now on
 * rings again.  A turn that stops early sets it, because it comes back anyway.
 */

void
ngx_broadcast_reader_drain(ngx_event_t *ev)
{
    ngx_int_t                rc;
    ngx_broadcast_reader_t  *reader;

    reader = &ngx_broadcast_reader;

    if (reader->hook == NULL || reader->busy) {
        return;
    }

    ngx_broadcast_slot_disarm(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot);

    if (ngx_broadcast_bus.nudge) {
        ngx_broadcast_bus.nudge();
    }

    reader->busy = 1;
    reader->again = 0;

    ngx_broadcast_slot_turn(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot);

    rc = ngx_broadcast_reader_turn(reader);

    reader->busy = 0;

    if ((rc == NGX_AGAIN || reader->again) && reader->hook) {
        (void) ngx_broadcast_slot_arm(ngx_broadcast_bus.zone,
                                      ngx_broadcast_bus.slot);

        /* the queue of this turn would be walked to its end: the next one */

        ngx_post_event(&reader->event, &ngx_posted_next_events);
    }
}


/* NGX_OK: at the head; NGX_AGAIN: there may be more; NGX_ERROR: no memory */

static ngx_int_t
ngx_broadcast_reader_turn(ngx_broadcast_reader_t *reader)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_READER_BATCHES; i++) {

        if (ngx_broadcast_reader_batch(reader) == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        rc = ngx_broadcast_reader_fill(reader);

        if (rc == NGX_DECLINED) {
            ngx_broadcast_reader_overrun(reader);
            continue;
        }

        if (rc != NGX_OK) {
            return (rc == NGX_AGAIN) ? NGX_OK : rc;
        }
    }

    return NGX_AGAIN;
}


/* the rest of the batch; NGX_AGAIN: the hook has enough for now */

static ngx_int_t
ngx_broadcast_reader_batch(ngx_broadcast_reader_t *reader)
{
    ngx_broadcast_record_t  rec;

    while (reader->hook
           && ngx_broadcast_log_next(&reader->pos, reader->last, &rec)
              == NGX_OK)
    {
        if (reader->hook(&rec) == NGX_AGAIN) {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* NGX_OK: a batch; NGX_AGAIN: nothing new; NGX_DECLINED: overrun */

static ngx_int_t
ngx_broadcast_reader_fill(ngx_broadcast_reader_t *reader)
{
    size_t                   len;
    ngx_int_t                rc;
    ngx_broadcast_buffer_t  *buffer;

    buffer = &reader->buffer;

    /* the batch before was given to the hook to its end */

    ngx_broadcast_progress_done(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                                reader->cursor);

    for ( ;; ) {

        reader->pos = buffer->start;
        reader->last = buffer->start;

        rc = ngx_broadcast_log_read(ngx_broadcast_bus.zone, &reader->cursor,
                                    buffer->start, buffer->size, &len);
        if (rc == NGX_OK || rc == NGX_DECLINED) {
            ngx_broadcast_slot_read(ngx_broadcast_bus.zone,
                                    ngx_broadcast_bus.slot, reader->cursor);
        }

        if (rc == NGX_OK) {
            reader->last += len;
            return NGX_OK;
        }

        if (rc == NGX_BUSY) {

            if (ngx_broadcast_buffer_grow(buffer, len) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        /* at the head: what a large message took is given back */

        if (rc == NGX_AGAIN && buffer->size > NGX_BROADCAST_READER_BUFFER) {
            ngx_broadcast_buffer_free(buffer);

            reader->pos = NULL;
            reader->last = NULL;
        }

        return rc;
    }
}


static void
ngx_broadcast_reader_overrun(ngx_broadcast_reader_t *reader)
{
    ngx_broadcast_count(NGX_BROADCAST_OVERRUNS, 1);

    ngx_log_error(NGX_LOG_ERR, ngx_broadcast_bus.log, 0,
                  "broadcast: the log of messages was overwritten before this "
                  "worker had read it, its clients are told that they missed "
                  "something");

    reader->overrun();
}


static ngx_int_t
ngx_broadcast_buffer_grow(ngx_broadcast_buffer_t *buffer, size_t size)
{
    ngx_broadcast_buffer_free(buffer);

    size = ngx_max(size, NGX_BROADCAST_READER_BUFFER);

    buffer->start = ngx_alloc(size, ngx_broadcast_bus.log);
    if (buffer->start == NULL) {
        return NGX_ERROR;
    }

    buffer->size = size;

    return NGX_OK;
}


static void
ngx_broadcast_buffer_free(ngx_broadcast_buffer_t *buffer)
{
    if (buffer->start) {
        ngx_free(buffer->start);
    }

    buffer->start = NULL;
    buffer->size = 0;
}


ngx_int_t
ngx_broadcast_replay(ngx_uint_t hub, ngx_broadcast_position_t *after,
    uint64_t upto, ngx_uint_t max, ngx_broadcast_replay_pt handler, void *data)
{
    u_char                  *pos, *last;
    size_t                   len;
    uint64_t                 cursor;
    ngx_int_t                rc;
    ngx_uint_t               n;
    ngx_broadcast_buffer_t  *buffer;
    ngx_broadcast_record_t   rec;
    ngx_broadcast_replay_t  *place;

    if (ngx_broadcast_bus.zone == NULL) {
        return NGX_DECLINED;
    }

    if (after->seq >= upto) {
        return NGX_OK;
    }

    if (ngx_broadcast_replay_from(hub, after, &cursor) != NGX_OK) {
        return NGX_DECLINED;
    }

    buffer = &ngx_broadcast_replay_buffer;
    n = 0;

    for ( ;; ) {

        rc = ngx_broadcast_log_read(ngx_broadcast_bus.zone, &cursor,
                                    buffer->start, buffer->size, &len);
        if (rc == NGX_BUSY) {

            if (ngx_broadcast_buffer_grow(buffer, len) != NGX_OK) {
                return NGX_DECLINED;
            }

            continue;
        }

        /* at the head already: what was asked for is not in the log */

        if (rc != NGX_OK) {
            return NGX_DECLINED;
        }

        pos = buffer->start;
        last = pos + len;

        while (ngx_broadcast_log_next(&pos, last, &rec) == NGX_OK) {

            if (rec.hub != hub
                || (rec.flags & NGX_BROADCAST_REC_UNNUMBERED)
                || rec.position.epoch != after->epoch
                || rec.position.seq <= after->seq)
            {
                continue;
            }

            if (n == max
                || (rec.type == NGX_BROADCAST_REC_MESSAGE
                    && handler(&rec, data) == NGX_AGAIN))
            {
                place = ngx_broadcast_replay_place(hub, after);
                place->hub = hub;
                place->after = *after;
                place->cursor = rec.log;

                return NGX_AGAIN;
            }

            after->seq = rec.position.seq;
            n++;

            if (after->seq >= upto) {
                return NGX_OK;
            }
        }
    }
}


static ngx_int_t
ngx_broadcast_replay_from(ngx_uint_t hub, ngx_broadcast_position_t *after,
    uint64_t *cursor)
{
    ngx_broadcast_replay_t  *place;

    place = ngx_broadcast_replay_place(hub, after);

    if (place->cursor
        && place->hub == hub
        && place->after.epoch == after->epoch
        && place->after.seq == after->seq)
    {
        *cursor = place->cursor;
        return NGX_OK;
    }

    return ngx_broadcast_log_seek(ngx_broadcast_bus.zone, hub, after, cursor);
}


static ngx_broadcast_replay_t *
ngx_broadcast_replay_place(ngx_uint_t hub, ngx_broadcast_position_t *after)
{
    return &ngx_broadcast_replays[(hub * 31 + after->seq)
                                  & (NGX_BROADCAST_REPLAY_PLACES - 1)];
}
