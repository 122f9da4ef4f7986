
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_buf.h"
#include "pg/ngx_broadcast_failed.h"
#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay.h"


typedef struct {
    ngx_broadcast_job_t         job;
    ngx_uint_t                  kind;
    ngx_broadcast_call_pt       handler;
} ngx_broadcast_dispatch_t;


static char *ngx_broadcast_call_event(ngx_broadcast_job_t *job,
    ngx_uint_t kind, ngx_str_t *event);
static void ngx_broadcast_call_end(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);
static ngx_uint_t ngx_broadcast_call_raised(ngx_broadcast_dispatch_t *d,
    ngx_str_t *value);
static void ngx_broadcast_call_error(ngx_broadcast_dispatch_t *d,
    ngx_broadcast_call_result_t *answer, PGresult *result);


/* of ngx_broadcast_call_status_e */

static const ngx_uint_t  ngx_broadcast_call_outcomes[] = {
    NGX_BROADCAST_OUTCOME_OK,
    NGX_BROADCAST_OUTCOME_ERROR,
    NGX_BROADCAST_OUTCOME_TIMEOUT,
    NGX_BROADCAST_OUTCOME_ERROR
};


ngx_int_t
ngx_broadcast_call(ngx_uint_t kind, ngx_str_t *name, ngx_str_t *event,
    ngx_broadcast_call_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call)
{
    ngx_int_t                  rc;
    ngx_broadcast_dispatch_t  *d;

    rc = NGX_DECLINED;

    if (ngx_broadcast_pg.enabled) {

        d = ngx_broadcast_job_create(sizeof(ngx_broadcast_dispatch_t),
                                     ngx_broadcast_call_end, data, size);
        if (d == NULL) {
            return NGX_BUSY;
        }

        d->kind = kind;
        d->handler = handler;

        d->job.query.statement = NGX_BROADCAST_PG_DISPATCH;
        d->job.query.pace = ngx_broadcast_pg_pace_get(kind, name);
        d->job.query.nparams = 3;
        d->job.query.params[0] = ngx_broadcast_call_event(&d->job, kind,
                                                          event);
        d->job.query.params[1] = ngx_broadcast_pg_text(
                                        &ngx_broadcast_pg.conf->role_claim);
        d->job.query.params[2] = ngx_broadcast_pg_text(
                                        &ngx_broadcast_pg.conf->role_default);

        if (d->job.query.params[0] == NULL) {
            ngx_broadcast_job_destroy(&d->job);
            return NGX_BUSY;
        }

        /* `disconnected` waits in its registry row, and never for a place */

        rc = ngx_broadcast_job_start(&d->job,
                                     kind == NGX_BROADCAST_ON_DISCONNECTED
                                     ? NGX_BROADCAST_PG_SPARE
                                     : NGX_BROADCAST_PG_SLOW, call);
    }

    if (rc == NGX_OK) {
        ngx_broadcast_count(NGX_BROADCAST_DB_CALLS, 1);

    } else {
        ngx_broadcast_stats_call(ngx_broadcast_bus.zone,
                                 ngx_broadcast_bus.slot, kind,
                                 NGX_BROADCAST_OUTCOME_REFUSED);
    }

    return rc;
}


/*
 * A connection's row names its node, and who calls for it need not know the
 * name: it is put in front of the other members.
 */

static char *
ngx_broadcast_call_event(ngx_broadcast_job_t *job, ngx_uint_t kind,
    ngx_str_t *event)
{
    ngx_str_t            text;
    ngx_broadcast_buf_t  buf;

    if ((kind != NGX_BROADCAST_ON_CONNECTED
         && kind != NGX_BROADCAST_ON_DISCONNECTED)
        || event->len < 2 || event->data[0] != '{')
    {
        return ngx_broadcast_job_text(job, event);
    }

    ngx_broadcast_buf_init(&buf, job->pool, event->len + 256);

    ngx_broadcast_buf_literal(&buf, "{\"node\":");
    ngx_broadcast_buf_json(&buf, &ngx_broadcast_pg.node);
    ngx_broadcast_buf_char(&buf, ',');
    ngx_broadcast_buf_append(&buf, event->data + 1, event->len - 1);
    ngx_broadcast_buf_char(&buf, '\0');

    if (ngx_broadcast_buf_done(&buf, &text) != NGX_OK) {
        return NULL;
    }

    return (char *) text.data;
}


static void
ngx_broadcast_call_end(ngx_broadcast_job_t *job, ngx_uint_t status,
    PGresult *result)
{
    uint64_t                      now;
    ngx_uint_t                    outcome;
    ngx_broadcast_dispatch_t     *d = (ngx_broadcast_dispatch_t *) job;
    ngx_broadcast_call_result_t   answer;

    ngx_memzero(&answer, sizeof(ngx_broadcast_call_result_t));
    answer.status = status;

    outcome = ngx_broadcast_call_outcomes[status];

    if (status == NGX_BROADCAST_CALL_OK) {
        answer.value = ngx_broadcast_pg_value(result, 0, 0);

        if (ngx_broadcast_call_raised(d, &answer.value)) {
            outcome = NGX_BROADCAST_OUTCOME_ERROR;
        }

        /* it may have staged something, and does not ring */

        ngx_broadcast_relay_nudge();

    } else if (status != NGX_BROADCAST_CALL_AWAY) {
        ngx_broadcast_call_error(d, &answer, result);

        if (answer.unauthorized) {
            outcome = NGX_BROADCAST_OUTCOME_REFUSED;
        }
    }

    now = ngx_broadcast_now();

    ngx_broadcast_stats_call(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                             d->kind, outcome);

    ngx_broadcast_stats_observe(ngx_broadcast_bus.zone,
                                ngx_broadcast_bus.slot,
                                NGX_BROADCAST_FUNCTION_TIME + d->kind,
                                now > job->started ? now - job->started : 0);

    d->handler(&answer, job->call.data);
}


/*
 * connected, disconnected and timer are carried out all the same when a
 * function of theirs raises.
 */

static ngx_uint_t
ngx_broadcast_call_raised(ngx_broadcast_dispatch_t *d, ngx_str_t *value)
{
    if ((d->kind != NGX_BROADCAST_ON_CONNECTED
         && d->kind != NGX_BROADCAST_ON_DISCONNECTED
         && d->kind != NGX_BROADCAST_ON_TIMER)
        || !ngx_broadcast_call_errors(d->kind, value))
    {
        return 0;
    }

    ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);

    return 1;
}


static void
ngx_broadcast_call_error(ngx_broadcast_dispatch_t *d,
    ngx_broadcast_call_result_t *answer, PGresult *result)
{
    ngx_broadcast_failed_t  failed;

    ngx_memzero(&failed, sizeof(ngx_broadcast_failed_t));

    failed.kind = d->kind;
    failed.event.data = (u_char *) d->job.query.params[0];
    failed.event.len = ngx_strlen(failed.event.data);

    ngx_broadcast_call_failed(&failed, result);

    if (result) {
        answer->sqlstate = ngx_broadcast_pg_sqlstate(result);
        answer->message = ngx_broadcast_pg_message(result);
        answer->raised = ngx_broadcast_pg_raised(result);
        answer->unauthorized = ngx_broadcast_pg_unauthorized(result);
    }
}
