
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_row.h"


typedef struct {
    ngx_broadcast_job_t             job;
    ngx_uint_t                      hub;
    ngx_broadcast_position_t        after;
    uint64_t                        upto;
    ngx_uint_t                      max;
    ngx_broadcast_history_row_pt    row;
    ngx_broadcast_history_pt        done;
} ngx_broadcast_replayer_t;


static void ngx_broadcast_history_end(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_history_rows(ngx_broadcast_replayer_t *r,
    PGresult *result, ngx_broadcast_history_t *history);


ngx_int_t
ngx_broadcast_history(ngx_uint_t hub, ngx_broadcast_position_t *after,
    uint64_t upto, ngx_uint_t max, ngx_broadcast_history_row_pt row,
    ngx_broadcast_history_pt done, const void *data, size_t size,
    ngx_broadcast_call_t **call)
{
    ngx_str_t                  name;
    ngx_uint_t                 i;
    ngx_broadcast_hub_info_t   info;
    ngx_broadcast_replayer_t  *r;

    if (!ngx_broadcast_pg.enabled) {
        return NGX_DECLINED;
    }

    r = ngx_broadcast_job_create(sizeof(ngx_broadcast_replayer_t),
                                 ngx_broadcast_history_end, data, size);
    if (r == NULL) {
        return NGX_BUSY;
    }

    r->hub = hub;
    r->after = *after;
    r->upto = ngx_min(upto, (uint64_t) INT64_MAX);
    r->max = ngx_max(max, 1);
    r->row = row;
    r->done = done;

    r->after.epoch = ngx_min(after->epoch, (uint64_t) INT64_MAX);
    r->after.seq = ngx_min(after->seq, (uint64_t) INT64_MAX);

    ngx_broadcast_hub_info(ngx_broadcast_bus.zone, hub, &info);
    name.data = info.name;
    name.len = info.len;

    r->job.query.statement = NGX_BROADCAST_PG_HISTORY;
    r->job.query.nparams = 5;
    r->job.query.params[0] = ngx_broadcast_job_text(&r->job, &name);
    r->job.query.params[1] = ngx_broadcast_job_number(&r->job, r->after.epoch);
    r->job.query.params[2] = ngx_broadcast_job_number(&r->job, r->after.seq);
    r->job.query.params[3] = ngx_broadcast_job_number(&r->job, r->upto);
    r->job.query.params[4] = ngx_broadcast_job_number(&r->job, r->max);

    for (i = 0; i < 5; i++) {
        if (r->job.query.params[i] == NULL) {
            ngx_broadcast_job_destroy(&r->job);
            return NGX_BUSY;
        }
    }

    return ngx_broadcast_job_start(&r->job, 1, call);
}


static void
ngx_broadcast_history_end(ngx_broadcast_job_t *job, ngx_uint_t status,
    PGresult *result)
{
    ngx_broadcast_history_t    history;
    ngx_broadcast_replayer_t  *r = (ngx_broadcast_replayer_t *) job;

    ngx_memzero(&history, sizeof(ngx_broadcast_history_t));

    history.status = status;
    history.reached = r->after;

    if (status == NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_history_rows(r, result, &history);
    }

    r->done(&history, job->call.data);
}


/*
 * Every row begins with the hub's epoch, its oldest and its newest number;
 * the message is null where there is none.  Numbers have no holes: a row that
 * is not the next one after the last says that some were removed.  A hole
 * ends the page, and the next page begins with the gap: so a gap is told
 * before any message that lies behind it.
 */

static void
ngx_broadcast_history_rows(ngx_broadcast_replayer_t *r, PGresult *result,
    ngx_broadcast_history_t *history)
{
    int                        i, n;
    size_t                     bytes;
    uint64_t                   newest, seq, end;
    ngx_broadcast_record_t     rec;
    ngx_broadcast_position_t  *reached;

    n = PQntuples(result);
    reached = &history->reached;

    if (n == 0) {

        /* a hub that the database does not know (any more) */

        history->gap = (r->after.epoch != 0);
        return;
    }

    history->oldest.epoch = ngx_broadcast_pg_number(result, 0, 0);
    history->oldest.seq = ngx_broadcast_pg_number(result, 0, 1);
    newest = ngx_broadcast_pg_number(result, 0, 2);

    end = ngx_min(r->upto, newest);

    /* "0-0" is the position of a hub in which nothing was sent yet */

    if (r->after.epoch == 0 && r->after.seq == 0) {
        r->after.epoch = history->oldest.epoch;
        *reached = r->after;
    }

    if (history->oldest.epoch != r->after.epoch || r->after.seq > newest
        || history->oldest.seq > r->after.seq + 1)
    {
        history->gap = 1;
        return;
    }

    if (PQgetisnull(result, 0, 3)) {
        n = 0;
    }

    bytes = 0;

    for (i = 0; i < n; i++) {
        seq = ngx_broadcast_pg_number(result, i, 3);

        if (seq != reached->seq + 1) {

            if (i == 0) {
                history->gap = 1;
                history->oldest.seq = seq;

            } else {
                history->more = 1;
            }

            return;
        }

        bytes += ngx_broadcast_row_record(result, i, 3, &rec);

        rec.hub = r->hub;
        rec.position.epoch = r->after.epoch;
        rec.position.seq = seq;
        rec.flags = NGX_BROADCAST_REC_NUMBERED;

        reached->seq = seq;

        if (rec.type == NGX_BROADCAST_REC_MESSAGE) {
            r->row(&rec, r->job.call.data);
        }
    }

    if (reached->seq >= end) {
        return;
    }

    if ((ngx_uint_t) n == r->max || bytes >= NGX_BROADCAST_ROW_PAGE) {
        history->more = 1;
        return;
    }

    /* the rest is gone, though the hub has given these numbers */

    if (n == 0) {
        history->gap = 1;
        history->oldest.seq = newest + 1;

    } else {
        history->more = 1;
    }
}
