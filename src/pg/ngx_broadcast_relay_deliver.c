
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_name.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_relay_local.h"
#include "pg/ngx_broadcast_row.h"


/*
 * Rows of broadcast.read() become records of this node's log, some dozens in
 * one append.  Each brings its place in the database's order: what was
 * appended before, by a relay that died behind it, is skipped by the log.
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
} ngx_broadcast_read_batch_t;


static uint32_t ngx_broadcast_read_ttl(PGresult *result, int row, int column);
static void ngx_broadcast_read_hub(ngx_broadcast_read_hub_t *hub,
    ngx_str_t *name);
static void ngx_broadcast_read_record(ngx_broadcast_read_batch_t *batch,
    ngx_broadcast_read_hub_t *hub, uint64_t epoch,
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_read_append(ngx_broadcast_read_batch_t *batch,
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_read_flush(ngx_broadcast_read_batch_t *batch);
static void ngx_broadcast_read_too_large(ngx_broadcast_record_t *rec);
static void ngx_broadcast_read_instead(ngx_broadcast_record_t *rec,
    ngx_broadcast_record_t *instead);


void
ngx_broadcast_relay_deliver(PGresult *result)
{
    int                          i, n;
    uint64_t                     pos;
    ngx_str_t                    name;
    ngx_broadcast_relay_t       *relay = &ngx_broadcast_relay;
    ngx_broadcast_record_t       rec;
    ngx_broadcast_read_hub_t     hub;
    ngx_broadcast_read_batch_t   batch;

    batch.n = 0;
    hub.name.len = 0;

    n = PQntuples(result);

    for (i = 0; i < n; i++) {

        pos = ngx_broadcast_pg_number(result, i, 0);
        name = ngx_broadcast_pg_value(result, i, 1);

        if (name.len != hub.name.len
            || ngx_memcmp(name.data, hub.name.data, name.len) != 0)
        {
            ngx_broadcast_read_flush(&batch);
            ngx_broadcast_read_hub(&hub, &name);
        }

        relay->cursor = pos;

        if (hub.index == NGX_BROADCAST_HUB_NONE) {
            continue;
        }

        (void) ngx_broadcast_row_record(result, i, 3, &rec);

        rec.relay = pos;
        rec.ttl = ngx_broadcast_read_ttl(result, i, 14);

        ngx_broadcast_read_record(&batch, &hub,
                                  ngx_broadcast_pg_number(result, i, 2), &rec);
    }

    ngx_broadcast_read_flush(&batch);
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

    if (batch->n == NGX_BROADCAST_RELAY_RECORDS) {
        ngx_broadcast_read_flush(batch);
    }
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
