
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_presence.h"


typedef struct {
    ngx_broadcast_job_t          job;
    ngx_broadcast_presence_pt    handler;
} ngx_broadcast_asker_t;


static ngx_int_t ngx_broadcast_presence_text(ngx_broadcast_asker_t *asker,
    ngx_uint_t param, ngx_str_t *text);
static void ngx_broadcast_presence_end(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);


ngx_int_t
ngx_broadcast_presence(ngx_broadcast_presence_ask_t *ask,
    ngx_broadcast_presence_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call)
{
    ngx_str_t               none = ngx_null_string;
    ngx_broadcast_asker_t  *asker;

    if (!ngx_broadcast_pg.enabled) {
        return NGX_DECLINED;
    }

    asker = ngx_broadcast_job_create(sizeof(ngx_broadcast_asker_t),
                                     ngx_broadcast_presence_end, data, size);
    if (asker == NULL) {
        return NGX_BUSY;
    }

    asker->handler = handler;

    asker->job.query.statement = NGX_BROADCAST_PG_PRESENT;
    asker->job.query.nparams = 6;
    asker->job.query.params[5] = ngx_broadcast_job_number(&asker->job,
                                                          ask->max);

    if (ngx_broadcast_presence_text(asker, 0, &ask->hub) != NGX_OK
        || ngx_broadcast_presence_text(asker, 1, &ask->connection) != NGX_OK
        || ngx_broadcast_presence_text(asker, 2, &ask->user) != NGX_OK
        || ngx_broadcast_presence_text(asker, 3, &ask->after) != NGX_OK
        || ngx_broadcast_presence_text(asker, 4,
                                       ask->elsewhere ? &ngx_broadcast_pg.node
                                                      : &none)
           != NGX_OK
        || asker->job.query.params[5] == NULL)
    {
        ngx_broadcast_job_destroy(&asker->job);
        return NGX_BUSY;
    }

    return ngx_broadcast_job_start(&asker->job, 1, call);
}


/* an empty one is null */

static ngx_int_t
ngx_broadcast_presence_text(ngx_broadcast_asker_t *asker, ngx_uint_t param,
    ngx_str_t *text)
{
    if (text->len == 0) {
        asker->job.query.params[param] = NULL;
        return NGX_OK;
    }

    asker->job.query.params[param] = ngx_broadcast_job_text(&asker->job, text);

    return asker->job.query.params[param] ? NGX_OK : NGX_ERROR;
}


static void
ngx_broadcast_presence_end(ngx_broadcast_job_t *job, ngx_uint_t status,
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
        }
    }

    asker->handler(&presence, job->call.data);
}
