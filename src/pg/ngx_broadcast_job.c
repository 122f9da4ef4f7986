
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_check.h"
#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"


#define NGX_BROADCAST_JOB_POOL   2048

/* under the address sanitizer what was freed is not to be used again */

#if defined(__SANITIZE_ADDRESS__)
#define NGX_BROADCAST_JOB_SPARE  0
#else
#define NGX_BROADCAST_JOB_SPARE  64
#endif


/*
 * Calls wait for the same time all, so the first that was started is the first
 * that is due: a queue and one timer do for what would be a timer each, set and
 * taken back thousands of times a second.
 */

typedef struct {
    ngx_queue_t                 queue;      /* next is NULL before the first */
    ngx_event_t                 timer;

    /* of calls that have ended, one block each; the next ones take them */

    ngx_pool_t                 *spare[NGX_BROADCAST_JOB_SPARE + 1];
    ngx_uint_t                  nspare;
} ngx_broadcast_jobs_t;


static void ngx_broadcast_job_done(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_job_watch(ngx_broadcast_job_t *job);
static void ngx_broadcast_job_unwatch(ngx_broadcast_job_t *job);
static void ngx_broadcast_job_overdue(ngx_event_t *ev);
static void ngx_broadcast_job_timeout(ngx_broadcast_job_t *job);
static ngx_pool_t *ngx_broadcast_job_pool(void);
static void ngx_broadcast_job_cancel(ngx_broadcast_call_t *call);
static void ngx_broadcast_job_finish(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);


static ngx_broadcast_jobs_t  ngx_broadcast_jobs;


void
ngx_broadcast_call_cancel(ngx_broadcast_call_t *call)
{
    call->cancel(call);
}


void *
ngx_broadcast_job_create(size_t size, ngx_broadcast_job_pt end,
    const void *data, size_t len)
{
    ngx_pool_t           *pool;
    ngx_broadcast_job_t  *job;

    if (len > NGX_BROADCAST_CALL_DATA) {
        ngx_broadcast_alert(ngx_broadcast_bus.log,
                            "broadcast: a call with %uz bytes of data", len);
        return NULL;
    }

    pool = ngx_broadcast_job_pool();
    if (pool == NULL) {
        return NULL;
    }

    job = ngx_pcalloc(pool, size);
    if (job == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    job->pool = pool;
    job->end = end;
    job->started = ngx_broadcast_now();

    job->call.cancel = ngx_broadcast_job_cancel;

    if (len) {
        ngx_memcpy(job->call.data, data, len);
    }

    job->query.done = ngx_broadcast_job_done;
    job->query.data = job;

    return job;
}


static ngx_pool_t *
ngx_broadcast_job_pool(void)
{
    ngx_broadcast_jobs_t  *jobs = &ngx_broadcast_jobs;

    if (jobs->nspare) {
        return jobs->spare[--jobs->nspare];
    }

    return ngx_create_pool(NGX_BROADCAST_JOB_POOL, ngx_broadcast_bus.log);
}


void
ngx_broadcast_job_destroy(ngx_broadcast_job_t *job)
{
    ngx_pool_t            *pool = job->pool;
    ngx_broadcast_jobs_t  *jobs = &ngx_broadcast_jobs;

    ngx_broadcast_job_unwatch(job);

    if (jobs->nspare != NGX_BROADCAST_JOB_SPARE
        && pool->d.next == NULL && pool->cleanup == NULL)
    {
        ngx_reset_pool(pool);
        jobs->spare[jobs->nspare++] = pool;
        return;
    }

    ngx_destroy_pool(pool);
}


ngx_int_t
ngx_broadcast_job_start(ngx_broadcast_job_t *job, ngx_uint_t urgency,
    ngx_broadcast_call_t **call)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_pg_pool_send(&job->query, urgency);

    if (rc != NGX_OK) {
        ngx_broadcast_job_destroy(job);
        return rc;
    }

    ngx_broadcast_job_watch(job);

    if (call) {
        *call = &job->call;
    }

    return NGX_OK;
}


static void
ngx_broadcast_job_done(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_uint_t            outcome;
    ngx_broadcast_job_t  *job = query->data;

    switch (status) {

    case NGX_BROADCAST_PG_OK:
        outcome = NGX_BROADCAST_CALL_OK;
        break;

    case NGX_BROADCAST_PG_FAILED:
        if (query->preparing && ngx_broadcast_pg_no_schema(result)) {
            outcome = NGX_BROADCAST_CALL_AWAY;

        } else if (ngx_broadcast_pg_canceled(result)) {
            outcome = NGX_BROADCAST_CALL_TIMEOUT;

        } else {
            outcome = NGX_BROADCAST_CALL_FAILED;
        }

        break;

    default:
        outcome = NGX_BROADCAST_CALL_AWAY;
    }

    if (!job->finished) {
        ngx_broadcast_job_finish(job, outcome, result);
    }

    ngx_broadcast_job_destroy(job);
}


static void
ngx_broadcast_job_watch(ngx_broadcast_job_t *job)
{
    ngx_event_t           *timer = &ngx_broadcast_jobs.timer;
    ngx_broadcast_jobs_t  *jobs = &ngx_broadcast_jobs;

    job->due = ngx_current_msec + ngx_broadcast_pg.conf->timeout;
    job->watched = 1;

    if (jobs->queue.next == NULL) {
        ngx_queue_init(&jobs->queue);
    }

    ngx_queue_insert_tail(&jobs->queue, &job->queue);

    if (!timer->timer_set) {

        /* not cancelable: an exiting worker waits for its calls */

        timer->handler = ngx_broadcast_job_overdue;
        timer->data = jobs;
        timer->log = ngx_broadcast_bus.log;

        ngx_add_timer(timer, ngx_broadcast_pg.conf->timeout);
    }
}


static void
ngx_broadcast_job_unwatch(ngx_broadcast_job_t *job)
{
    ngx_broadcast_jobs_t  *jobs = &ngx_broadcast_jobs;

    if (!job->watched) {
        return;
    }

    job->watched = 0;
    ngx_queue_remove(&job->queue);

    if (ngx_queue_empty(&jobs->queue) && jobs->timer.timer_set) {
        ngx_del_timer(&jobs->timer);
    }
}


/* it was set for one that may have ended long ago */

static void
ngx_broadcast_job_overdue(ngx_event_t *ev)
{
    ngx_queue_t           *q;
    ngx_msec_int_t         left;
    ngx_broadcast_job_t   *job;
    ngx_broadcast_jobs_t  *jobs = ev->data;

    while (!ngx_queue_empty(&jobs->queue)) {
        q = ngx_queue_head(&jobs->queue);
        job = ngx_queue_data(q, ngx_broadcast_job_t, queue);

        left = (ngx_msec_int_t) (job->due - ngx_current_msec);

        if (left > 0) {

            /* one that was started in here has set it for its own time */

            if (ev->timer_set) {
                ngx_del_timer(ev);
            }

            ngx_add_timer(ev, (ngx_msec_t) left);
            return;
        }

        ngx_broadcast_job_timeout(job);
    }
}


/*
 * The caller has waited long enough.  The connection is kept: the server
 * ends the statement by itself, and if it does not answer at all, the
 * connection's own patience ends it.
 */

static void
ngx_broadcast_job_timeout(ngx_broadcast_job_t *job)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_pg_pool_withdraw(&job->query);

    if (rc != NGX_OK && job->query.spare) {

        /*
         * It may have waited for a connection as long as it likes.  From there
         * on the server's word counts, or that the connection is lost.
         */

        ngx_broadcast_job_unwatch(job);
        ngx_broadcast_job_watch(job);
        return;
    }

    ngx_broadcast_job_finish(job, NGX_BROADCAST_CALL_TIMEOUT, NULL);

    if (rc == NGX_OK) {
        ngx_broadcast_job_destroy(job);
    }
}


static void
ngx_broadcast_job_finish(ngx_broadcast_job_t *job, ngx_uint_t status,
    PGresult *result)
{
    job->finished = 1;

    ngx_broadcast_job_unwatch(job);

    if (status != NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
    }

    /* a worker that exits closes its connections when callers are no more */

    if (!ngx_broadcast_pg.stopping) {
        job->end(job, status, result);
    }
}


static void
ngx_broadcast_job_cancel(ngx_broadcast_call_t *call)
{
    ngx_broadcast_job_t  *job = (ngx_broadcast_job_t *) call;

    job->finished = 1;

    ngx_broadcast_job_unwatch(job);

    if (ngx_broadcast_pg_pool_withdraw(&job->query) == NGX_OK) {
        ngx_broadcast_job_destroy(job);
    }
}


char *
ngx_broadcast_job_text(ngx_broadcast_job_t *job, ngx_str_t *text)
{
    u_char  *p;

    p = ngx_pnalloc(job->pool, text->len + 1);

    if (p) {
        ngx_memcpy(p, text->data, text->len);
        p[text->len] = '\0';
    }

    return (char *) p;
}


char *
ngx_broadcast_job_number(ngx_broadcast_job_t *job, int64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(job->pool, NGX_INT64_LEN + 2);

    if (p) {
        (void) ngx_sprintf(p, "%L%Z", n);
    }

    return (char *) p;
}


uint64_t
ngx_broadcast_now(void)
{
    struct timeval  tv;

    ngx_gettimeofday(&tv);

    return (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;
}
