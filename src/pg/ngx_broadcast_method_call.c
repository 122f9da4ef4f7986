
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_failed.h"
#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_method_local.h"
#include "pg/ngx_broadcast_pg_error.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay.h"


/*
 * Calls are many and small, so they have neither pool nor timer of their own:
 * one piece of memory, kept for the next one, and one timer for the oldest of
 * them, since all may take the same time.
 */

#define NGX_BROADCAST_METHOD_ROOM  1024     /* bytes of parameters, at least */
#define NGX_BROADCAST_METHOD_KEPT  64       /* calls kept for the next ones */


typedef struct {
    ngx_broadcast_method_call_t     call;
    ngx_broadcast_pg_query_t        query;
    ngx_queue_t                     queue;      /* by age, until its caller was
                                                   told; or of those kept */
    ngx_broadcast_method_pt         handler;
    uint64_t                        started;    /* microseconds, wall clock */
    ngx_msec_t                      deadline;
    size_t                          room;       /* bytes behind */
    unsigned                        told:1;
    unsigned                        again:1;    /* it was prepared anew */
    uint64_t                        data[NGX_BROADCAST_CALL_DATA / 8];
} ngx_broadcast_method_job_t;


static void ngx_broadcast_method_done(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static ngx_int_t ngx_broadcast_method_again(ngx_broadcast_method_job_t *job,
    PGresult *result);
static void ngx_broadcast_method_finish(ngx_broadcast_method_job_t *job,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_method_error(ngx_broadcast_method_job_t *job,
    ngx_broadcast_method_result_t *answer, PGresult *result);
static void ngx_broadcast_method_count(ngx_broadcast_method_job_t *job,
    ngx_uint_t outcome);
static void ngx_broadcast_method_untold(ngx_broadcast_method_job_t *job);
static void ngx_broadcast_method_late(ngx_event_t *ev);
static void ngx_broadcast_method_free(ngx_broadcast_method_job_t *job);


static ngx_queue_t  ngx_broadcast_method_calls;
static ngx_queue_t  ngx_broadcast_method_kept;
static ngx_uint_t   ngx_broadcast_method_nkept;
static ngx_event_t  ngx_broadcast_method_timer;


void
ngx_broadcast_method_calls_start(ngx_log_t *log)
{
    ngx_event_t  *ev = &ngx_broadcast_method_timer;

    ngx_queue_init(&ngx_broadcast_method_calls);
    ngx_queue_init(&ngx_broadcast_method_kept);
    ngx_broadcast_method_nkept = 0;

    ngx_memzero(ev, sizeof(ngx_event_t));

    /* not cancelable: an exiting worker waits for its calls */

    ev->handler = ngx_broadcast_method_late;
    ev->data = ev;
    ev->log = log;
}


void
ngx_broadcast_method_calls_stop(void)
{
    ngx_queue_t                 *q;
    ngx_broadcast_method_job_t  *job;

    if (ngx_broadcast_method_timer.timer_set) {
        ngx_del_timer(&ngx_broadcast_method_timer);
    }

    while (!ngx_queue_empty(&ngx_broadcast_method_calls)) {
        q = ngx_queue_head(&ngx_broadcast_method_calls);
        job = ngx_queue_data(q, ngx_broadcast_method_job_t, queue);
        ngx_queue_remove(q);

        (void) ngx_broadcast_pg_pool_withdraw(&job->query);
        ngx_broadcast_method_free(job);
    }

    while (!ngx_queue_empty(&ngx_broadcast_method_kept)) {
        q = ngx_queue_head(&ngx_broadcast_method_kept);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_broadcast_method_job_t, queue));
    }
}


ngx_broadcast_method_call_t *
ngx_broadcast_method_prepare(ngx_broadcast_method_t *method,
    ngx_uint_t nparams, size_t size)
{
    size_t                       room;
    ngx_queue_t                 *q;
    ngx_broadcast_method_job_t  *job;

    job = NULL;
    room = nparams * sizeof(char *) + size;

    if (room <= NGX_BROADCAST_METHOD_ROOM
        && !ngx_queue_empty(&ngx_broadcast_method_kept))
    {
        q = ngx_queue_head(&ngx_broadcast_method_kept);
        ngx_queue_remove(q);
        ngx_broadcast_method_nkept--;

        job = ngx_queue_data(q, ngx_broadcast_method_job_t, queue);
        room = NGX_BROADCAST_METHOD_ROOM;
    }

    if (job == NULL) {
        room = ngx_max(room, NGX_BROADCAST_METHOD_ROOM);

        job = ngx_alloc(sizeof(ngx_broadcast_method_job_t) + room,
                        ngx_broadcast_pg.log);
        if (job == NULL) {
            return NULL;
        }
    }

    ngx_memzero(job, sizeof(ngx_broadcast_method_job_t));

    job->room = room;

    job->call.method = method;
    job->call.params = (const char **) (job + 1);
    job->call.nparams = nparams;
    job->call.text = (u_char *) (job->call.params + nparams);
    job->call.size = size;

    method->methods->refs++;

    return &job->call;
}


void
ngx_broadcast_method_discard(ngx_broadcast_method_call_t *call)
{
    ngx_broadcast_method_free((ngx_broadcast_method_job_t *) call);
}


ngx_int_t
ngx_broadcast_method_call(ngx_broadcast_method_call_t *call,
    ngx_broadcast_method_pt handler, const void *data, size_t size)
{
    ngx_int_t                    rc;
    ngx_broadcast_method_job_t  *job = (ngx_broadcast_method_job_t *) call;

    job->query.statement = NGX_BROADCAST_PG_METHOD;
    job->query.prepare = call->method->text;
    job->query.pace = &call->method->text->pace;
    job->query.values = call->params;
    job->query.nparams = call->nparams;
    job->query.done = ngx_broadcast_method_done;
    job->query.data = job;

    job->handler = handler;
    ngx_memcpy(job->data, data, size);

    rc = NGX_DECLINED;

    if (ngx_broadcast_pg.enabled && size <= NGX_BROADCAST_CALL_DATA) {
        rc = ngx_broadcast_pg_pool_send(&job->query, NGX_BROADCAST_PG_SLOW);
    }

    if (rc != NGX_OK) {
        ngx_broadcast_stats_call(ngx_broadcast_bus.zone,
                                 ngx_broadcast_bus.slot,
                                 NGX_BROADCAST_ON_MESSAGE,
                                 NGX_BROADCAST_OUTCOME_REFUSED);
        ngx_broadcast_method_free(job);
        return rc;
    }

    ngx_broadcast_count(NGX_BROADCAST_DB_CALLS, 1);

    job->started = ngx_broadcast_now();
    job->deadline = ngx_current_msec + ngx_broadcast_pg.conf->timeout;

    ngx_queue_insert_tail(&ngx_broadcast_method_calls, &job->queue);

    if (!ngx_broadcast_method_timer.timer_set) {
        ngx_add_timer(&ngx_broadcast_method_timer,
                      ngx_broadcast_pg.conf->timeout);
    }

    return NGX_OK;
}


static void
ngx_broadcast_method_done(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_uint_t                   outcome;
    ngx_broadcast_method_job_t  *job = query->data;

    switch (status) {

    case NGX_BROADCAST_PG_OK:
        outcome = NGX_BROADCAST_CALL_OK;
        break;

    case NGX_BROADCAST_PG_FAILED:
        if (ngx_broadcast_method_again(job, result) == NGX_OK) {
            return;
        }

        outcome = ngx_broadcast_pg_canceled(result)
                  ? NGX_BROADCAST_CALL_TIMEOUT : NGX_BROADCAST_CALL_FAILED;
        break;

    default:
        outcome = NGX_BROADCAST_CALL_AWAY;
    }

    if (!job->told) {
        ngx_broadcast_method_finish(job, outcome, result);
    }

    ngx_broadcast_method_free(job);
}


/* once: what was prepared is of no use, and nothing was executed */

static ngx_int_t
ngx_broadcast_method_again(ngx_broadcast_method_job_t *job, PGresult *result)
{
    if (job->again || job->told || ngx_broadcast_pg.stopping
        || !ngx_broadcast_pg_unprepared(result))
    {
        return NGX_DECLINED;
    }

    job->again = 1;

    ngx_broadcast_pg_text_renew(job->query.prepare);

    return ngx_broadcast_pg_pool_send(&job->query, NGX_BROADCAST_PG_SLOW);
}


static void
ngx_broadcast_method_finish(ngx_broadcast_method_job_t *job,
    ngx_uint_t status, PGresult *result)
{
    ngx_broadcast_method_result_t  answer;

    ngx_broadcast_method_untold(job);

    /* a worker that exits closes its connections when callers are no more */

    if (ngx_broadcast_pg.stopping) {
        return;
    }

    ngx_memzero(&answer, sizeof(ngx_broadcast_method_result_t));

    answer.status = status;
    answer.method = job->call.method;
    answer.raw = job->call.raw;

    if (status == NGX_BROADCAST_CALL_OK) {
        if (!PQgetisnull(result, 0, 0)) {
            answer.value = ngx_broadcast_pg_value(result, 0, 0);
        }

        /* one that can send nothing does not tell whether it has */

        answer.staged = PQnfields(result) > 1
                        && ngx_broadcast_pg_value(result, 0, 1).data[0] == 't';

        if (answer.staged) {
            ngx_broadcast_relay_nudge();
        }

        ngx_broadcast_method_count(job, NGX_BROADCAST_OUTCOME_OK);

    } else {
        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        ngx_broadcast_method_error(job, &answer, result);
    }

    job->handler(&answer, job->data);
}


static void
ngx_broadcast_method_error(ngx_broadcast_method_job_t *job,
    ngx_broadcast_method_result_t *answer, PGresult *result)
{
    ngx_str_t               state;
    ngx_uint_t              outcome;
    ngx_broadcast_failed_t  failed;

    outcome = answer->status == NGX_BROADCAST_CALL_TIMEOUT
              ? NGX_BROADCAST_OUTCOME_TIMEOUT : NGX_BROADCAST_OUTCOME_ERROR;

    if (answer->status == NGX_BROADCAST_CALL_FAILED) {
        state = ngx_broadcast_pg_sqlstate(result);

        answer->binding = ngx_broadcast_pg_binding(result);
        answer->message = ngx_broadcast_pg_message(result);
        answer->datatype = ngx_broadcast_pg_datatype(result);
        answer->raised = ngx_broadcast_pg_raised(result);

        if (!answer->raised && state.len == 5
            && ngx_broadcast_pg_outside(result))
        {
            answer->denied = ngx_memcmp(state.data, "42501", 5) == 0;
            answer->gone = ngx_broadcast_pg_no_schema(result)
                           && !answer->denied;
        }

        if (ngx_broadcast_pg_unauthorized(result)) {
            answer->denied = 1;
            answer->raised = 0;
        }

        if (answer->denied) {
            outcome = NGX_BROADCAST_OUTCOME_REFUSED;
        }
    }

    ngx_broadcast_method_count(job, outcome);

    /* what the caller sent is its own fault; a connection was told of */

    if (answer->binding || answer->status == NGX_BROADCAST_CALL_AWAY) {
        return;
    }

    ngx_memzero(&failed, sizeof(ngx_broadcast_failed_t));

    failed.kind = NGX_BROADCAST_ON_MESSAGE;
    failed.function = answer->method->function;
    failed.event.data = (u_char *) job->call.context;
    failed.event.len = ngx_strlen(failed.event.data);

    ngx_broadcast_call_failed(&failed, result);
}


static void
ngx_broadcast_method_count(ngx_broadcast_method_job_t *job,
    ngx_uint_t outcome)
{
    uint64_t  now;

    now = ngx_broadcast_now();

    ngx_broadcast_stats_call(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                             NGX_BROADCAST_ON_MESSAGE, outcome);

    ngx_broadcast_stats_observe(ngx_broadcast_bus.zone,
                                ngx_broadcast_bus.slot,
                                NGX_BROADCAST_FUNCTION_TIME
                                + NGX_BROADCAST_ON_MESSAGE,
                                now > job->started ? now - job->started : 0);
}


/* its caller is told now: it waits for nothing any more */

static void
ngx_broadcast_method_untold(ngx_broadcast_method_job_t *job)
{
    job->told = 1;
    ngx_queue_remove(&job->queue);

    if (ngx_queue_empty(&ngx_broadcast_method_calls)
        && ngx_broadcast_method_timer.timer_set)
    {
        ngx_del_timer(&ngx_broadcast_method_timer);
    }
}


/*
 * The oldest call has waited long enough, unless it has ended meanwhile.  The
 * connection is kept: the server ends the statement by itself, and if it does
 * not answer at all, the connection's own patience ends it.
 */

static void
ngx_broadcast_method_late(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_queue_t                 *q;
    ngx_msec_int_t               left;
    ngx_broadcast_method_job_t  *job;

    while (!ngx_queue_empty(&ngx_broadcast_method_calls)) {

        q = ngx_queue_head(&ngx_broadcast_method_calls);
        job = ngx_queue_data(q, ngx_broadcast_method_job_t, queue);

        left = (ngx_msec_int_t) (job->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(ev, (ngx_msec_t) left);
            return;
        }

        rc = ngx_broadcast_pg_pool_withdraw(&job->query);

        ngx_broadcast_method_finish(job, NGX_BROADCAST_CALL_TIMEOUT, NULL);

        if (rc == NGX_OK) {
            ngx_broadcast_method_free(job);
        }
    }
}


static void
ngx_broadcast_method_free(ngx_broadcast_method_job_t *job)
{
    ngx_broadcast_methods_put(job->call.method->methods);

    if (job->room == NGX_BROADCAST_METHOD_ROOM
        && ngx_broadcast_method_nkept < NGX_BROADCAST_METHOD_KEPT
        && !ngx_broadcast_pg.stopping)
    {
        ngx_queue_insert_head(&ngx_broadcast_method_kept, &job->queue);
        ngx_broadcast_method_nkept++;
        return;
    }

    ngx_free(job);
}
