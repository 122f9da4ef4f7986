
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_row.h"


/* columns of the statement */

enum {
    NGX_BROADCAST_HISTORY_EPOCH = 0,
    NGX_BROADCAST_HISTORY_OLDEST,
    NGX_BROADCAST_HISTORY_NEWEST,
    NGX_BROADCAST_HISTORY_SETTLED,
    NGX_BROADCAST_HISTORY_MESSAGE       /* and what belongs to it */
};

#define NGX_BROADCAST_HISTORY_PARAMS  6


typedef struct {
    ngx_broadcast_job_t             job;
    ngx_uint_t                      hub;
    ngx_uint_t                      suffix;     /* 1: there is one */
    ngx_broadcast_position_t        after;
    uint64_t                        upto;
    ngx_uint_t                      max;
    ngx_broadcast_history_row_pt    row;
    ngx_broadcast_history_pt        done;
} ngx_broadcast_replayer_t;


static void ngx_broadcast_history_end(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);
static ngx_int_t ngx_broadcast_history_head(ngx_broadcast_replayer_t *r,
    PGresult *result, ngx_broadcast_history_t *history);
static void ngx_broadcast_history_rows(ngx_broadcast_replayer_t *r,
    PGresult *result, ngx_broadcast_history_t *history);


ngx_int_t
ngx_broadcast_history(ngx_uint_t hub, ngx_broadcast_position_t *after,
    ngx_str_t *suffix, uint64_t upto, ngx_uint_t max,
    ngx_broadcast_history_row_pt row, ngx_broadcast_history_pt done,
    const void *data, size_t size, ngx_broadcast_call_t **call)
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
    r->suffix = (suffix->len != 0);
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
    r->job.query.nparams = NGX_BROADCAST_HISTORY_PARAMS;
    r->job.query.params[0] = ngx_broadcast_job_text(&r->job, &name);
    r->job.query.params[1] = ngx_broadcast_job_number(&r->job, r->after.epoch);
    r->job.query.params[2] = ngx_broadcast_job_number(&r->job, r->after.seq);
    r->job.query.params[3] = ngx_broadcast_job_number(&r->job, r->upto);
    r->job.query.params[4] = ngx_broadcast_job_number(&r->job, r->max);
    r->job.query.params[5] = ngx_broadcast_job_text(&r->job, suffix);

    for (i = 0; i < NGX_BROADCAST_HISTORY_PARAMS; i++) {
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
 * Every row begins with the hub's epoch, its oldest and its newest number:
 * whether what is behind r->after can be told at all.  NGX_OK; NGX_DECLINED: it
 * cannot, *history says why.
 */

static ngx_int_t
ngx_broadcast_history_head(ngx_broadcast_replayer_t *r, PGresult *result,
    ngx_broadcast_history_t *history)
{
    if (PQntuples(result) == 0) {

        /* a hub that the database does not know (any more) */

        history->gap = (r->after.epoch || r->after.seq);
        history->unsettled = r->suffix;
        return NGX_DECLINED;
    }

    history->oldest.epoch = ngx_broadcast_pg_number(result, 0,
                                                NGX_BROADCAST_HISTORY_EPOCH);
    history->oldest.seq = ngx_broadcast_pg_number(result, 0,
                                                NGX_BROADCAST_HISTORY_OLDEST);
    history->newest = ngx_broadcast_pg_number(result, 0,
                                                NGX_BROADCAST_HISTORY_NEWEST);

    /* "0-0" is the position of a hub in which nothing was sent yet */

    if (r->after.epoch == 0 && r->after.seq == 0) {
        r->after.epoch = history->oldest.epoch;
        history->reached = r->after;
    }

    if (history->oldest.epoch != r->after.epoch
        || r->after.seq > history->newest
        || history->oldest.seq > r->after.seq + 1)
    {
        history->gap = 1;
        return NGX_DECLINED;
    }

    if (PQgetisnull(result, 0, NGX_BROADCAST_HISTORY_SETTLED)) {

        /* it only looks like a suffix */

        history->gap = 1;
        return NGX_DECLINED;
    }

    if (*PQgetvalue(result, 0, NGX_BROADCAST_HISTORY_SETTLED) != 't') {
        history->unsettled = 1;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * The message of a row is null where there is none.  Numbers have no holes: a
 * row that is not the next one after the last says that some were removed.  A
 * hole ends the page, and the next page begins with the gap: so a gap is told
 * before any message that lies behind it.
 */

static void
ngx_broadcast_history_rows(ngx_broadcast_replayer_t *r, PGresult *result,
    ngx_broadcast_history_t *history)
{
    int                        i, n;
    size_t                     bytes;
    uint64_t                   seq;
    ngx_broadcast_record_t     rec;
    ngx_broadcast_position_t  *reached;

    if (ngx_broadcast_history_head(r, result, history) != NGX_OK) {
        return;
    }

    n = PQntuples(result);
    reached = &history->reached;

    if (PQgetisnull(result, 0, NGX_BROADCAST_HISTORY_MESSAGE)) {
        n = 0;
    }

    bytes = 0;

    for (i = 0; i < n; i++) {
        seq = ngx_broadcast_pg_number(result, i,
                                      NGX_BROADCAST_HISTORY_MESSAGE);

        if (seq != reached->seq + 1) {

            if (i == 0) {
                history->gap = 1;
                history->oldest.seq = seq;

            } else {
                history->more = 1;
            }

            return;
        }

        bytes += ngx_broadcast_row_record(result, i,
                                          NGX_BROADCAST_HISTORY_MESSAGE, &rec);

        rec.hub = r->hub;
        rec.position.epoch = r->after.epoch;
        rec.position.seq = seq;
        rec.flags = NGX_BROADCAST_REC_NUMBERED;

        if (rec.type == NGX_BROADCAST_REC_MESSAGE
            && r->row(&rec, r->job.call.data) == NGX_AGAIN)
        {
            history->more = 1;
            history->cut = 1;
            return;
        }

        reached->seq = seq;
    }

    if (reached->seq >= ngx_min(r->upto, history->newest)) {
        return;
    }

    if ((ngx_uint_t) n == r->max || bytes >= NGX_BROADCAST_ROW_PAGE) {
        history->more = 1;
        return;
    }

    /* the rest is gone, though the hub has given these numbers */

    if (n == 0) {
        history->gap = 1;
        history->oldest.seq = history->newest + 1;

    } else {
        history->more = 1;
    }
}
