
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_name.h"
#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_array.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_presence.h"


typedef struct {
    ngx_broadcast_job_t          job;
    ngx_broadcast_presence_pt    handler;
} ngx_broadcast_asker_t;


typedef struct {
    ngx_broadcast_job_t          job;
    ngx_broadcast_call_pt        handler;
} ngx_broadcast_keeper_t;


static ngx_int_t ngx_broadcast_presence_params(ngx_broadcast_job_t *job,
    ngx_broadcast_presence_ask_t *ask);
static void ngx_broadcast_presence_text(ngx_broadcast_job_t *job,
    ngx_str_t *text);
static void ngx_broadcast_presence_names(ngx_broadcast_job_t *job,
    ngx_broadcast_presence_ask_t *ask);
static void ngx_broadcast_presence_rows(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_presence_groups(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);
static ngx_int_t ngx_broadcast_presence_say(ngx_uint_t statement,
    ngx_str_t *text, ngx_str_t *node, ngx_broadcast_call_pt handler,
    const void *data, size_t size, ngx_broadcast_call_t **call);
static void ngx_broadcast_presence_kept(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);


ngx_int_t
ngx_broadcast_presence(ngx_broadcast_presence_ask_t *ask,
    ngx_broadcast_presence_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call)
{
    ngx_broadcast_asker_t  *asker;

    if (!ngx_broadcast_pg.enabled) {
        return NGX_DECLINED;
    }

    asker = ngx_broadcast_job_create(sizeof(ngx_broadcast_asker_t),
                                     ask->names
                                     ? ngx_broadcast_presence_groups
                                     : ngx_broadcast_presence_rows,
                                     data, size);
    if (asker == NULL) {
        return NGX_BUSY;
    }

    asker->handler = handler;

    if (ask->names) {
        asker->job.query.statement = NGX_BROADCAST_PG_GROUPS;

    } else {
        asker->job.query.statement = ask->ngroups ? NGX_BROADCAST_PG_MEMBERS
                                                  : NGX_BROADCAST_PG_PRESENT;
    }

    if (ngx_broadcast_presence_params(&asker->job, ask) != NGX_OK) {
        ngx_broadcast_job_destroy(&asker->job);
        return NGX_BUSY;
    }

    return ngx_broadcast_job_start(&asker->job, 1, call);
}


static ngx_int_t
ngx_broadcast_presence_params(ngx_broadcast_job_t *job,
    ngx_broadcast_presence_ask_t *ask)
{
    ngx_str_t                  none = ngx_null_string;
    ngx_str_t                 *node;
    ngx_broadcast_pg_query_t  *query;

    query = &job->query;
    node = ask->elsewhere ? &ngx_broadcast_pg.node : &none;

    ngx_broadcast_presence_text(job, &ask->hub);

    switch (query->statement) {

    case NGX_BROADCAST_PG_PRESENT:
        ngx_broadcast_presence_text(job, &ask->connection);
        ngx_broadcast_presence_text(job, &ask->user);
        ngx_broadcast_presence_text(job, &ask->after);
        ngx_broadcast_presence_text(job, node);
        break;

    case NGX_BROADCAST_PG_MEMBERS:
        ngx_broadcast_presence_text(job, &ask->user);
        ngx_broadcast_presence_text(job, &ask->after);
        ngx_broadcast_presence_text(job, node);
        ngx_broadcast_presence_names(job, ask);
        query->params[query->nparams++] = ask->member ? "t" : "f";
        break;

    default: /* NGX_BROADCAST_PG_GROUPS */
        ngx_broadcast_presence_text(job, &ask->after);
    }

    query->params[query->nparams] = ngx_broadcast_job_number(job, ask->max);

    if (query->params[query->nparams++] == NULL || job->finished) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* an empty one is null; without memory the job is finished */

static void
ngx_broadcast_presence_text(ngx_broadcast_job_t *job, ngx_str_t *text)
{
    char  *value;

    value = NULL;

    if (text->len) {
        value = ngx_broadcast_job_text(job, text);

        if (value == NULL) {
            job->finished = 1;
        }
    }

    job->query.params[job->query.nparams++] = value;
}


static void
ngx_broadcast_presence_names(ngx_broadcast_job_t *job,
    ngx_broadcast_presence_ask_t *ask)
{
    char                      *value;
    ngx_str_t                  name;
    ngx_uint_t                 i;
    ngx_broadcast_pg_array_t   array;

    ngx_broadcast_pg_array_init(&array, job->pool, 256);

    for (i = 0; i < ask->ngroups; i++) {
        name = ask->groups[i];

        /* bytes that are no name, nor any text: no group is named so */

        if (ngx_broadcast_group_name(&name) != NGX_OK) {
            name.len = 0;
        }

        ngx_broadcast_pg_array_text(&array, &name);
    }

    value = ngx_broadcast_pg_array_done(&array);

    if (value == NULL) {
        job->finished = 1;
    }

    job->query.params[job->query.nparams++] = value;
}


static void
ngx_broadcast_presence_rows(ngx_broadcast_job_t *job, ngx_uint_t status,
    PGresult *result)
{
    int                        i;
    ngx_broadcast_asker_t     *asker = (ngx_broadcast_asker_t *) job;
    ngx_broadcast_present_t   *row;
    ngx_broadcast_presence_t   presence;

    ngx_memzero(&presence, sizeof(ngx_broadcast_presence_t));
    presence.status = status;

    if (status == NGX_BROADCAST_CALL_OK) {

        presence.n = PQntuples(result);
        presence.rows = ngx_palloc(job->pool,
                                   ngx_max(presence.n, 1)
                                   * sizeof(ngx_broadcast_present_t));

        if (presence.rows == NULL) {
            presence.status = NGX_BROADCAST_CALL_FAILED;
            presence.n = 0;
        }

        for (i = 0; i < (int) presence.n; i++) {
            row = &presence.rows[i];

            row->id = ngx_broadcast_pg_value(result, i, 0);
            row->user = ngx_broadcast_pg_value(result, i, 1);
            row->transport = ngx_broadcast_pg_value(result, i, 2);
            row->connected = ngx_broadcast_pg_value(result, i, 3);
            row->groups = (job->query.statement == NGX_BROADCAST_PG_MEMBERS)
                          ? (uint32_t) ngx_broadcast_pg_number(result, i, 4)
                          : 0;
        }
    }

    asker->handler(&presence, job->call.data);
}


static void
ngx_broadcast_presence_groups(ngx_broadcast_job_t *job, ngx_uint_t status,
    PGresult *result)
{
    int                             i;
    ngx_broadcast_asker_t          *asker = (ngx_broadcast_asker_t *) job;
    ngx_broadcast_presence_t        presence;
    ngx_broadcast_present_group_t  *group;

    ngx_memzero(&presence, sizeof(ngx_broadcast_presence_t));
    presence.status = status;

    if (status == NGX_BROADCAST_CALL_OK) {

        presence.n = PQntuples(result);
        presence.groups = ngx_palloc(job->pool,
                                     ngx_max(presence.n, 1)
                                     * sizeof(ngx_broadcast_present_group_t));

        if (presence.groups == NULL) {
            presence.status = NGX_BROADCAST_CALL_FAILED;
            presence.n = 0;
        }

        for (i = 0; i < (int) presence.n; i++) {
            group = &presence.groups[i];

            group->name = ngx_broadcast_pg_value(result, i, 0);
            group->connections = ngx_broadcast_pg_number(result, i, 1);
            group->key = ngx_broadcast_pg_value(result, i, 2);
        }
    }

    asker->handler(&presence, job->call.data);
}


ngx_int_t
ngx_broadcast_presence_keep(ngx_str_t *groups, ngx_broadcast_call_pt handler,
    const void *data, size_t size, ngx_broadcast_call_t **call)
{
    return ngx_broadcast_presence_say(NGX_BROADCAST_PG_KEEP, groups, NULL,
                                      handler, data, size, call);
}


ngx_int_t
ngx_broadcast_presence_enrol(ngx_str_t *events, ngx_broadcast_call_pt handler,
    const void *data, size_t size, ngx_broadcast_call_t **call)
{
    return ngx_broadcast_presence_say(NGX_BROADCAST_PG_ENROL, events,
                                      &ngx_broadcast_pg.node, handler, data,
                                      size, call);
}


static ngx_int_t
ngx_broadcast_presence_say(ngx_uint_t statement, ngx_str_t *text,
    ngx_str_t *node, ngx_broadcast_call_pt handler, const void *data,
    size_t size, ngx_broadcast_call_t **call)
{
    ngx_broadcast_keeper_t    *keeper;
    ngx_broadcast_pg_query_t  *query;

    if (!ngx_broadcast_pg.enabled) {
        return NGX_DECLINED;
    }

    keeper = ngx_broadcast_job_create(sizeof(ngx_broadcast_keeper_t),
                                      ngx_broadcast_presence_kept, data, size);
    if (keeper == NULL) {
        return NGX_BUSY;
    }

    keeper->handler = handler;

    query = &keeper->job.query;

    query->statement = statement;
    query->params[query->nparams++] = ngx_broadcast_job_text(&keeper->job,
                                                             text);
    if (node) {
        query->params[query->nparams++] = ngx_broadcast_job_text(&keeper->job,
                                                                 node);
    }

    if (query->params[0] == NULL || query->params[query->nparams - 1] == NULL)
    {
        ngx_broadcast_job_destroy(&keeper->job);
        return NGX_BUSY;
    }

    return ngx_broadcast_job_start(&keeper->job, 1, call);
}


static void
ngx_broadcast_presence_kept(ngx_broadcast_job_t *job, ngx_uint_t status,
    PGresult *result)
{
    ngx_broadcast_keeper_t       *keeper = (ngx_broadcast_keeper_t *) job;
    ngx_broadcast_call_result_t   answer;

    ngx_memzero(&answer, sizeof(ngx_broadcast_call_result_t));
    answer.status = status;

    if (status == NGX_BROADCAST_CALL_OK) {
        answer.value = ngx_broadcast_pg_value(result, 0, 0);

    } else if (result) {
        answer.sqlstate = ngx_broadcast_pg_sqlstate(result);
        answer.message = ngx_broadcast_pg_message(result);
    }

    keeper->handler(&answer, job->call.data);
}


uint64_t
ngx_broadcast_presence_cut_off(void)
{
    return ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_CUT_OFF);
}
