
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_name.h"
#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_relay_local.h"
#include "pg/ngx_broadcast_row.h"


/*
 * Rows of broadcast.read() become records of this node's log, some dozens in
 * one append, as fast as the slowest worker reads them.  Each brings its place
 * in the database's order: what was appended before, by a relay that died
 * behind it, is skipped by the log.
 */

typedef struct {
    ngx_str_t                   name;       /* borrowed from the result */
    ngx_uint_t                  index;      /* NGX_BROADCAST_HUB_NONE: none */
    ngx_uint_t                  durable;
    uint64_t                    epoch;      /* as the zone knows it */
} ngx_broadcast_read_hub_t;


typedef struct {
    ngx_broadcast_record_t      recs[NGX_BROADCAST_RELAY_RECORDS];
    ngx_uint_t                  n;
    size_t                      bytes;
} ngx_broadcast_read_batch_t;


static void ngx_broadcast_relay_slow(void);
static void ngx_broadcast_read_piece(PGresult *result);
static uint32_t ngx_broadcast_read_ttl(PGresult *result, int row, int column);
static void ngx_broadcast_read_hub(ngx_broadcast_read_hub_t *hub,
    ngx_str_t *name);
static void ngx_broadcast_read_record(ngx_broadcast_read_batch_t *batch,
    ngx_broadcast_read_hub_t *hub, uint64_t epoch,
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_read_append(ngx_broadcast_read_batch_t *batch,
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_read_flush(ngx_broadcast_read_batch_t *batch);
static void ngx_broadcast_read_mark(PGresult *result, int row);
static void ngx_broadcast_read_too_large(ngx_broadcast_record_t *rec);
static void ngx_broadcast_read_instead(ngx_broadcast_record_t *rec,
    ngx_broadcast_record_t *instead);


void
ngx_broadcast_relay_deliver(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    while (relay->row < PQntuples(relay->rows)) {

        if (ngx_broadcast_pace()) {
            ngx_broadcast_relay_slow();
            return;
        }

        ngx_broadcast_read_piece(relay->rows);
    }

    ngx_broadcast_relay_undelivered();
    ngx_broadcast_relay_delivered();
}


/* who is slow may be this worker itself, which reads meanwhile */

static void
ngx_broadcast_relay_slow(void)
{
    uint64_t                now, time;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->paused == 0) {
        relay->paused = ngx_current_msec;
    }

    now = ngx_broadcast_now();
    time = ngx_broadcast_pg_number(relay->rows, relay->row, 13);

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_LAG,
                            now > time ? now - time : 0);

    ngx_add_timer(&relay->pause, NGX_BROADCAST_RELAY_PAUSE);
}


void
ngx_broadcast_relay_pause_over(ngx_event_t *ev)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    ngx_broadcast_count(NGX_BROADCAST_RELAY_PAUSED,
                        ngx_current_msec - relay->paused);
    relay->paused = 0;

    ngx_broadcast_relay_deliver();
}


void
ngx_broadcast_relay_undelivered(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->paused = 0;

    if (relay->pause.timer_set) {
        ngx_del_timer(&relay->pause);
    }

    if (relay->rows) {
        PQclear(relay->rows);
        relay->rows = NULL;
    }
}


/*
 * Some rows, so few that no worker falls off the log's tail that was not slow
 * before.
 */

static void
ngx_broadcast_read_piece(PGresult *result)
{
    uint64_t                     pos;
    ngx_str_t                    name;
    ngx_broadcast_relay_t       *relay = &ngx_broadcast_relay;
    ngx_broadcast_record_t       rec;
    ngx_broadcast_read_hub_t     hub;
    ngx_broadcast_read_batch_t   batch;

    batch.n = 0;
    batch.bytes = 0;
    hub.name.len = 0;

    while (relay->row < PQntuples(result)) {

        pos = ngx_broadcast_pg_number(result, relay->row, 0);
        name = ngx_broadcast_pg_value(result, relay->row, 1);

        if (hub.name.len == 0) {
            ngx_broadcast_read_hub(&hub, &name);

        } else if (name.len != hub.name.len
                   || ngx_memcmp(name.data, hub.name.data, name.len) != 0)
        {
            break;
        }

        if (hub.index == NGX_BROADCAST_HUB_NONE) {
            relay->cursor = pos;
            relay->row++;
            continue;
        }

        (void) ngx_broadcast_row_record(result, relay->row, 3, &rec);

        rec.relay = pos;
        rec.ttl = ngx_broadcast_read_ttl(result, relay->row, 14);

        batch.bytes += ngx_broadcast_record_size(&rec);

        if (batch.n && (batch.bytes > relay->piece
                        || batch.n + 2 > NGX_BROADCAST_RELAY_RECORDS))
        {
            break;
        }

        ngx_broadcast_read_record(&batch, &hub,
                       ngx_broadcast_pg_number(result, relay->row, 2), &rec);

        relay->cursor = pos;
        relay->row++;
    }

    ngx_broadcast_read_flush(&batch);
    ngx_broadcast_read_mark(result, relay->row - 1);
}


/*
 * By its mark the row is known again when the session was lost meanwhile.  Who
 * dies in between leaves no position: then nothing is compared.
 */

static void
ngx_broadcast_read_mark(PGresult *result, int row)
{
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_MARK_POS, 0);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_MARK,
                            ngx_broadcast_pg_number(result, row, 12));
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_MARK_POS,
                            ngx_broadcast_pg_number(result, row, 0));
}


/* seconds, or null: none was given */

static uint32_t
ngx_broadcast_read_ttl(PGresult *result, int row, int column)
{
    int64_t  ttl;

    if (PQgetisnull(result, row, column)) {
        return NGX_BROADCAST_TTL_NONE;
    }

    ttl = ngx_broadcast_pg_number(result, row, column);

    return ttl > 0 ? (uint32_t) ngx_min(ttl, NGX_MAX_INT32_VALUE)
                   : NGX_BROADCAST_TTL_PRESENT;
}


static void
ngx_broadcast_read_hub(ngx_broadcast_read_hub_t *hub, ngx_str_t *name)
{
    ngx_broadcast_position_t  place;

    hub->name = *name;
    hub->index = NGX_BROADCAST_HUB_NONE;

    if (ngx_broadcast_hub_name(name, NULL) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: a message of a hub with a bad name was "
                      "left out");
        return;
    }

    if (ngx_broadcast_hub_index(name, &hub->index) != NGX_OK) {
        hub->index = NGX_BROADCAST_HUB_NONE;
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: no place for hub \"%V\" in the zone, its "
                      "messages are left out", name);
        return;
    }

    hub->durable = ngx_broadcast_hub_kind(hub->index);

    ngx_broadcast_hub_position(ngx_broadcast_bus.zone, hub->index, &place);
    hub->epoch = place.epoch;
}


/*
 * In an ephemeral hub a message takes a number of this node's log, and a
 * command none; in a durable one both have the database's.  What concerns one
 * connection's questions and streams has no epoch: a place, and no number.
 */

static void
ngx_broadcast_read_record(ngx_broadcast_read_batch_t *batch,
    ngx_broadcast_read_hub_t *hub, uint64_t epoch,
    ngx_broadcast_record_t *rec)
{
    ngx_broadcast_record_t  told;

    rec->hub = hub->index;

    if (!hub->durable) {

        /* this node's own epoch has not changed */

        if (rec->type == NGX_BROADCAST_REC_EPOCH) {
            return;
        }

        rec->flags = rec->type == NGX_BROADCAST_REC_MESSAGE
                     ? 0 : NGX_BROADCAST_REC_UNNUMBERED;
        ngx_broadcast_read_append(batch, rec);
        return;
    }

    if (epoch == 0) {
        rec->flags = NGX_BROADCAST_REC_UNNUMBERED;
        ngx_broadcast_read_append(batch, rec);
        return;
    }

    rec->flags = NGX_BROADCAST_REC_NUMBERED;
    rec->position.epoch = epoch;

    if (hub->epoch && hub->epoch != epoch
        && rec->type != NGX_BROADCAST_REC_EPOCH)
    {
        /* the hub's history begins anew: all are told before */

        ngx_memzero(&told, sizeof(ngx_broadcast_record_t));

        told.type = NGX_BROADCAST_REC_EPOCH;
        told.flags = NGX_BROADCAST_REC_NUMBERED;
        told.hub = hub->index;
        told.position.epoch = epoch;
        told.position.seq = rec->position.seq ? rec->position.seq - 1 : 0;

        ngx_broadcast_read_append(batch, &told);
    }

    hub->epoch = epoch;

    ngx_broadcast_read_append(batch, rec);
}


static void
ngx_broadcast_read_append(ngx_broadcast_read_batch_t *batch,
    ngx_broadcast_record_t *rec)
{
    batch->recs[batch->n++] = *rec;
}


/* what does not fit together fits one by one, or not at all */

static void
ngx_broadcast_read_flush(ngx_broadcast_read_batch_t *batch)
{
    ngx_uint_t  i;

    if (batch->n && ngx_broadcast_publish(batch->recs, batch->n) != NGX_OK) {

        for (i = 0; i < batch->n; i++) {
            if (ngx_broadcast_publish(&batch->recs[i], 1) != NGX_OK) {
                ngx_broadcast_read_too_large(&batch->recs[i]);
            }
        }
    }

    batch->n = 0;
}


/* never stuck on one message: those who miss it are told so */

static void
ngx_broadcast_read_too_large(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_record_t  gap;

    ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                  "broadcast: a message of %uz bytes does not fit into the "
                  "zone's log and was left out", rec->arguments.len);

    ngx_memzero(&gap, sizeof(ngx_broadcast_record_t));

    ngx_broadcast_read_instead(rec, &gap);
    gap.flags = rec->flags;
    gap.hub = rec->hub;
    gap.position = rec->position;
    gap.relay = rec->relay;
    gap.time = rec->time;

    (void) ngx_broadcast_publish(&gap, 1);
}


/* what is one connection's is missed by that one, or by whoever asked it */

static void
ngx_broadcast_read_instead(ngx_broadcast_record_t *rec,
    ngx_broadcast_record_t *instead)
{
    switch (rec->type) {

    case NGX_BROADCAST_REC_ITEM:
    case NGX_BROADCAST_REC_COMPLETE:
        instead->type = NGX_BROADCAST_REC_CLOSE;
        break;

    case NGX_BROADCAST_REC_INVOKE:
        instead->type = NGX_BROADCAST_REC_FORGET;
        break;

    case NGX_BROADCAST_REC_DONE:
        instead->type = rec->type;
        instead->arguments = rec->arguments;
        break;

    case NGX_BROADCAST_REC_FORGET:
    case NGX_BROADCAST_REC_ANSWER:
        instead->type = rec->type;
        instead->group = rec->group;
        break;

    default:
        instead->type = NGX_BROADCAST_REC_GAP;
        return;
    }

    instead->scope = NGX_BROADCAST_CONNECTION;
    instead->name = rec->name;
}
