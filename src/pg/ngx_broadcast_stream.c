
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_binding.h"
#include "pg/ngx_broadcast_failed.h"
#include "pg/ngx_broadcast_pg_error.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_stream_local.h"


#define NGX_BROADCAST_STREAM_CURSOR                                           \
    "DECLARE broadcast_rows NO SCROLL CURSOR FOR "


static ngx_broadcast_rows_t *ngx_broadcast_stream_make(
    ngx_broadcast_stream_in_t *in);
static u_char *ngx_broadcast_stream_text(u_char *p, const char *text,
    const char **copy);
static ngx_broadcast_rows_t *ngx_broadcast_stream_find(uint64_t serial);
static void ngx_broadcast_stream_outcome(ngx_uint_t outcome);
static void ngx_broadcast_stream_count(void);
static void ngx_broadcast_stream_failed(ngx_broadcast_rows_t *rows,
    PGresult *result);
static void ngx_broadcast_stream_error(ngx_broadcast_rows_t *rows,
    ngx_broadcast_stream_end_t *end, PGresult *result);
static void ngx_broadcast_stream_timeout(ngx_event_t *ev);
static void ngx_broadcast_stream_leave(ngx_broadcast_rows_t *rows);


ngx_broadcast_stream_t  ngx_broadcast_stream;


/* of ngx_broadcast_stream_status_e */

static const ngx_uint_t  ngx_broadcast_stream_outcomes[] = {
    NGX_BROADCAST_OUTCOME_OK,
    NGX_BROADCAST_OUTCOME_ERROR,
    NGX_BROADCAST_OUTCOME_TIMEOUT,
    NGX_BROADCAST_OUTCOME_ERROR
};


void
ngx_broadcast_stream_start(ngx_broadcast_pg_conf_t *conf, ngx_log_t *log)
{
    ngx_memzero(&ngx_broadcast_stream, sizeof(ngx_broadcast_stream_t));

    ngx_queue_init(&ngx_broadcast_stream.waiting);
    ngx_queue_init(&ngx_broadcast_stream.running);

    ngx_broadcast_stream.conf = conf;
    ngx_broadcast_stream.log = log;

    (void) ngx_broadcast_seat_init();
}


void
ngx_broadcast_stream_stop(void)
{
    ngx_queue_t  *q;

    if (ngx_broadcast_stream.conf == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_broadcast_stream.waiting)) {
        q = ngx_queue_head(&ngx_broadcast_stream.waiting);
        ngx_broadcast_stream_leave(ngx_queue_data(q, ngx_broadcast_rows_t,
                                                  queue));
    }

    while (!ngx_queue_empty(&ngx_broadcast_stream.running)) {
        q = ngx_queue_head(&ngx_broadcast_stream.running);
        ngx_broadcast_stream_leave(ngx_queue_data(q, ngx_broadcast_rows_t,
                                                  queue));
    }

    ngx_broadcast_seat_done();

    ngx_broadcast_stream.conf = NULL;
}


ngx_int_t
ngx_broadcast_stream_open(ngx_broadcast_stream_in_t *in)
{
    ngx_broadcast_rows_t    *rows;
    ngx_broadcast_stream_t  *stream = &ngx_broadcast_stream;

    if (!ngx_broadcast_pg.enabled) {
        return NGX_DECLINED;
    }

    if (stream->count >= stream->n) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_STREAM, 1);
        ngx_broadcast_stream_outcome(NGX_BROADCAST_OUTCOME_REFUSED);
        return NGX_BUSY;
    }

    if (ngx_broadcast_pg_pool_away()
        || (stream->failed && ngx_current_msec - stream->since < 1000))
    {
        ngx_broadcast_stream_outcome(NGX_BROADCAST_OUTCOME_REFUSED);
        return NGX_DECLINED;
    }

    rows = ngx_broadcast_stream_make(in);
    if (rows == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_count(NGX_BROADCAST_DB_CALLS, 1);

    ngx_queue_insert_tail(&stream->waiting, &rows->queue);
    stream->count++;

    /* not cancelable: an exiting worker waits for it */

    ngx_add_timer(&rows->timer, stream->conf->stream_timeout);

    ngx_broadcast_stream_count();
    ngx_broadcast_seat_post();

    return NGX_OK;
}


static ngx_broadcast_rows_t *
ngx_broadcast_stream_make(ngx_broadcast_stream_in_t *in)
{
    size_t                 len;
    u_char                *p;
    ngx_uint_t             i;
    ngx_broadcast_rows_t  *rows;

    if (in->nparams == 0 || in->nparams > NGX_BROADCAST_STREAM_PARAMS) {
        return NULL;
    }

    len = ngx_strlen(in->statement) + sizeof(NGX_BROADCAST_STREAM_CURSOR);

    if (in->before) {
        len += ngx_strlen(in->before) + 1;
    }

    len += in->function.len;

    for (i = 0; i < in->nparams; i++) {
        len += in->params[i] ? ngx_strlen(in->params[i]) + 1 : 0;
    }

    rows = ngx_calloc(sizeof(ngx_broadcast_rows_t)
                      + in->nparams * sizeof(char *) + len,
                      ngx_broadcast_stream.log);
    if (rows == NULL) {
        return NULL;
    }

    rows->in = *in;
    rows->in.params = (const char **) (rows + 1);

    p = (u_char *) (rows->in.params + in->nparams);

    rows->in.statement = (char *) p;

    if (!in->cursor) {
        p = ngx_cpymem(p, NGX_BROADCAST_STREAM_CURSOR,
                       sizeof(NGX_BROADCAST_STREAM_CURSOR) - 1);
    }

    p = ngx_broadcast_stream_text(p, in->statement, NULL);
    p = ngx_broadcast_stream_text(p, in->before, &rows->in.before);

    for (i = 0; i < in->nparams; i++) {
        p = ngx_broadcast_stream_text(p, in->params[i], &rows->in.params[i]);
    }

    rows->in.function.data = p;

    if (in->function.len) {
        ngx_memcpy(p, in->function.data, in->function.len);
    }

    rows->timer.handler = ngx_broadcast_stream_timeout;
    rows->timer.data = rows;
    rows->timer.log = ngx_broadcast_stream.log;

    return rows;
}


static u_char *
ngx_broadcast_stream_text(u_char *p, const char *text, const char **copy)
{
    if (copy) {
        *copy = text ? (char *) p : NULL;
    }

    if (text) {
        p = ngx_cpymem(p, text, ngx_strlen(text) + 1);
    }

    return p;
}


static ngx_broadcast_rows_t *
ngx_broadcast_stream_find(uint64_t serial)
{
    ngx_uint_t             i;
    ngx_queue_t           *q, *list;
    ngx_broadcast_rows_t  *rows;

    if (ngx_broadcast_stream.conf == NULL) {
        return NULL;
    }

    for (i = 0; i < 2; i++) {
        list = i ? &ngx_broadcast_stream.waiting
                 : &ngx_broadcast_stream.running;

        for (q = ngx_queue_head(list);
             q != ngx_queue_sentinel(list);
             q = ngx_queue_next(q))
        {
            rows = ngx_queue_data(q, ngx_broadcast_rows_t, queue);

            if (rows->in.serial == serial) {
                return rows;
            }
        }
    }

    return NULL;
}


/* as one of all calls of functions; one that is cancelled has done its part */

static void
ngx_broadcast_stream_outcome(ngx_uint_t outcome)
{
    ngx_broadcast_stats_call(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                             NGX_BROADCAST_ON_MESSAGE, outcome);
}


static void
ngx_broadcast_stream_count(void)
{
    ngx_broadcast_stats_streams(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                                ngx_broadcast_stream.count);
}


void
ngx_broadcast_stream_resume(uint64_t serial)
{
    ngx_broadcast_rows_t  *rows;

    rows = ngx_broadcast_stream_find(serial);

    if (rows && rows->seat && rows->result && !rows->seat->wake.posted) {
        ngx_post_event(&rows->seat->wake, &ngx_posted_events);
    }
}


void
ngx_broadcast_stream_cancel(uint64_t serial)
{
    ngx_broadcast_seat_t  *seat;
    ngx_broadcast_rows_t  *rows;

    rows = ngx_broadcast_stream_find(serial);

    if (rows == NULL) {
        return;
    }

    seat = rows->seat;

    ngx_broadcast_stream_leave(rows);
    ngx_broadcast_stream_outcome(NGX_BROADCAST_OUTCOME_OK);

    if (seat) {
        ngx_broadcast_seat_give_up(seat);
    }
}


void
ngx_broadcast_stream_finish(ngx_broadcast_rows_t *rows, ngx_uint_t status,
    PGresult *result)
{
    uint64_t                     serial;
    ngx_broadcast_stream_end_t   end;
    ngx_broadcast_stream_end_pt  handler;

    ngx_memzero(&end, sizeof(ngx_broadcast_stream_end_t));

    if (status != NGX_BROADCAST_STREAM_OK) {
        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
    }

    end.status = status;
    end.begun = rows->begun;
    end.staged = status == NGX_BROADCAST_STREAM_OK && rows->seat->staged;

    if (result) {
        ngx_broadcast_stream_error(rows, &end, result);
    }

    if ((status == NGX_BROADCAST_STREAM_FAILED && !end.binding)
        || status == NGX_BROADCAST_STREAM_TIMEOUT)
    {
        ngx_broadcast_stream_failed(rows, result);
    }

    ngx_broadcast_stream_outcome(end.denied
                                 ? NGX_BROADCAST_OUTCOME_REFUSED
                                 : ngx_broadcast_stream_outcomes[status]);

    serial = rows->in.serial;
    handler = rows->in.end;

    ngx_broadcast_stream_leave(rows);

    if (!ngx_broadcast_pg.stopping) {
        handler(serial, &end);
    }
}


static void
ngx_broadcast_stream_failed(ngx_broadcast_rows_t *rows, PGresult *result)
{
    ngx_broadcast_failed_t  failed;

    ngx_memzero(&failed, sizeof(ngx_broadcast_failed_t));

    failed.kind = NGX_BROADCAST_ON_MESSAGE;
    failed.function = rows->in.function;

    if (rows->in.params[0]) {
        failed.event.data = (u_char *) rows->in.params[0];
        failed.event.len = ngx_strlen(rows->in.params[0]);
    }

    ngx_broadcast_call_failed(&failed, result);
}


/*
 * Under a role the arguments are cast by the statement itself: no function of
 * this schema could be called.  So what is wrong with them, and that the role
 * may not call the function, has no context; but neither has what a cursor's
 * query meets.
 */

static void
ngx_broadcast_stream_error(ngx_broadcast_rows_t *rows,
    ngx_broadcast_stream_end_t *end, PGresult *result)
{
    ngx_uint_t  i;

    static const char  *casts[] = {
        "22P02", "22003", "22007", "22008", NULL
    };

    end->sqlstate = ngx_broadcast_pg_sqlstate(result);
    end->message = ngx_broadcast_pg_message(result);
    end->name = ngx_broadcast_pg_datatype(result);
    end->raised = ngx_broadcast_pg_raised(result);
    end->denied = ngx_broadcast_pg_unauthorized(result);
    end->binding = ngx_broadcast_pg_binding(result);

    if (end->sqlstate.len != 5 || end->raised || rows->portal
        || !ngx_broadcast_pg_outside(result))
    {
        return;
    }

    if (ngx_memcmp(end->sqlstate.data, "42501", 5) == 0) {
        end->denied = 1;
    }

    for (i = 0; rows->in.before && casts[i]; i++) {
        if (ngx_memcmp(end->sqlstate.data, casts[i], 5) == 0) {
            end->binding = 1;
        }
    }
}


static void
ngx_broadcast_stream_timeout(ngx_event_t *ev)
{
    ngx_broadcast_rows_t  *rows = ev->data;

    ngx_broadcast_seat_t  *seat;

    seat = rows->seat;

    ngx_broadcast_stream_finish(rows, NGX_BROADCAST_STREAM_TIMEOUT, NULL);

    if (seat) {
        ngx_broadcast_seat_give_up(seat);
    }
}


/* takes it from its seat and frees it */

static void
ngx_broadcast_stream_leave(ngx_broadcast_rows_t *rows)
{
    ngx_queue_remove(&rows->queue);
    ngx_broadcast_stream.count--;

    if (rows->seat) {
        rows->seat->rows = NULL;
    }

    if (rows->timer.timer_set) {
        ngx_del_timer(&rows->timer);
    }

    if (rows->result) {
        PQclear(rows->result);
    }

    if (rows->portal) {
        ngx_free(rows->portal);
    }

    ngx_free(rows);

    ngx_broadcast_stream_count();
}
