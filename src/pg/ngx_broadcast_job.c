
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


static void ngx_broadcast_job_done(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_job_timeout(ngx_event_t *ev);
static void ngx_broadcast_job_cancel(ngx_broadcast_call_t *call);
static void ngx_broadcast_job_finish(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);


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

    pool = ngx_create_pool(2048, ngx_broadcast_bus.log);
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

    job->timer.handler = ngx_broadcast_job_timeout;
    job->timer.data = job;
    job->timer.log = ngx_broadcast_bus.log;

    return job;
}


void
ngx_broadcast_job_destroy(ngx_broadcast_job_t *job)
{
    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

    ngx_destroy_pool(job->pool);
}


ngx_int_t
ngx_broadcast_job_start(ngx_broadcast_job_t *job, ngx_uint_t quick,
    ngx_broadcast_call_t **call)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_pg_pool_send(&job->query, quick);

    if (rc != NGX_OK) {
        ngx_broadcast_job_destroy(job);
        return rc;
    }

    /* not cancelable: an exiting worker waits for its calls */

    ngx_add_timer(&job->timer, ngx_broadcast_pg.conf->timeout);

    if (call) {
        *call = &job->call;
    }

    return NGX_OK;
}


static void
ngx_broadcast_job_done(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_str_t             state;
    ngx_uint_t            outcome;
    ngx_broadcast_job_t  *job = query->data;

    switch (status) {

    case NGX_BROADCAST_PG_OK:
        outcome = NGX_BROADCAST_CALL_OK;
        break;

    case NGX_BROADCAST_PG_FAILED:
        state = ngx_broadcast_pg_sqlstate(result);

        if (query->preparing && ngx_broadcast_pg_no_schema(result)) {
            outcome = NGX_BROADCAST_CALL_AWAY;

        } else if (state.len == 5 && ngx_memcmp(state.data, "57014", 5) == 0) {
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


/*
 * The caller has waited long enough.  The connection is kept: the server
 * ends the statement by itself, and if it does not answer at all, the
 * connection's own patience ends it.
 */

static void
ngx_broadcast_job_timeout(ngx_event_t *ev)
{
    ngx_int_t             rc;
    ngx_broadcast_job_t  *job = ev->data;

    rc = ngx_broadcast_pg_pool_withdraw(&job->query);

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

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

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

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

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
