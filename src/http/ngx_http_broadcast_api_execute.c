
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * :execute, signalr.md 8.4: commands for the connections that match a filter.
 *
 * All commands are read first.  Then the registry is walked, in turns of the
 * event loop, for the connections of this node that match, and for a durable
 * hub the database is asked for those of the others.  What each is to do
 * becomes a record addressed to it, and all records are sent at once: all are
 * kept, or none.
 */


#include "http/ngx_http_broadcast_api.h"
#include "proto/ngx_broadcast_filter.h"
#include "shm/ngx_broadcast_select.h"


#define NGX_HTTP_BROADCAST_EXECUTE_ROWS  32     /* asked for at once */
#define NGX_HTTP_BROADCAST_EXECUTE_TURN  16     /* pieces a turn */
#define NGX_HTTP_BROADCAST_EXECUTE_PAGE  500    /* of the database's rows */


typedef struct {
    ngx_broadcast_filter_t        filter;
    ngx_http_broadcast_batch_t    batch;    /* a record for each command */
    ngx_broadcast_select_t        select;
    ngx_broadcast_selected_t     *rows;     /* owned by r->pool */
    ngx_broadcast_row_t           next;
    ngx_array_t                   ids;      /* of ngx_str_t: they match */
    ngx_str_t                     after;    /* last id of the page before */
} ngx_http_broadcast_execute_t;


static ngx_int_t ngx_http_broadcast_execute_filter(ngx_http_request_t *r,
    ngx_broadcast_filter_t *filter, u_char **error);
static ngx_int_t ngx_http_broadcast_execute_bad(ngx_http_request_t *r,
    ngx_str_t *target, const char *error);
static void ngx_http_broadcast_execute_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_execute_commands(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_execute_turn(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_execute_piece(ngx_http_request_t *r,
    ngx_http_broadcast_execute_t *exec);
static ngx_int_t ngx_http_broadcast_execute_match(ngx_http_request_t *r,
    ngx_http_broadcast_execute_t *exec, ngx_str_t *id, ngx_str_t *user,
    uint32_t groups);
static ngx_int_t ngx_http_broadcast_execute_stop(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_int_t ngx_http_broadcast_execute_ask(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_execute_t *exec);
static ngx_int_t ngx_http_broadcast_execute_present(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence);
static ngx_int_t ngx_http_broadcast_execute_send(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_execute_t *exec);


ngx_int_t
ngx_http_broadcast_api_execute(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    u_char                        *error;
    ngx_int_t                      rc;
    ngx_http_broadcast_execute_t  *exec;

    exec = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_execute_t));
    if (exec == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->data = exec;

    error = NULL;

    rc = ngx_http_broadcast_execute_filter(r, &exec->filter, &error);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return ngx_http_broadcast_api_bad(r, "filter", (char *) error);
    }

    return ngx_http_broadcast_api_json(r, ngx_http_broadcast_execute_body);
}


/* without one all connections match; NGX_ABORT: *error is the sentence */

static ngx_int_t
ngx_http_broadcast_execute_filter(ngx_http_request_t *r,
    ngx_broadcast_filter_t *filter, u_char **error)
{
    size_t      len;
    ngx_int_t   rc;
    ngx_str_t   text;

    rc = ngx_http_broadcast_arg(r, "filter", &text);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc == NGX_ABORT) {
        *error = (u_char *) "The query is not well encoded.";
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_broadcast_filter_parse(filter, &text, r->pool);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    len = sizeof("At character : .") + NGX_INT_T_LEN
          + ngx_strlen(filter->error);

    *error = ngx_pnalloc(r->pool, len);
    if (*error == NULL) {
        return NGX_ERROR;
    }

    *ngx_sprintf(*error, "At character %ui: %s.", filter->place,
                 filter->error) = '\0';

    return NGX_ABORT;
}


static ngx_int_t
ngx_http_broadcast_execute_bad(ngx_http_request_t *r, ngx_str_t *target,
    const char *error)
{
    return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                    error, target);
}


static void
ngx_http_broadcast_execute_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_execute_commands(r));
}


static ngx_int_t
ngx_http_broadcast_execute_commands(ngx_http_request_t *r)
{
    u_char                        *p;
    ngx_int_t                      rc;
    ngx_str_t                      target;
    ngx_http_broadcast_api_t      *api;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_http_broadcast_execute_t  *exec;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;
    exec = api->data;

    exec->batch.r = r;
    exec->batch.scope.scope = NGX_BROADCAST_CONNECTION;
    exec->batch.scope.source = NGX_BROADCAST_SRC_REST;

    rc = ngx_http_broadcast_api_commands(&exec->batch);

    if (rc == NGX_DECLINED) {
        ngx_str_null(&target);

        if (exec->batch.line) {
            p = ngx_pnalloc(r->pool, sizeof("command ") - 1 + NGX_INT_T_LEN);
            if (p == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            target.data = p;
            target.len = ngx_sprintf(p, "command %ui", exec->batch.line) - p;
        }

        return ngx_http_broadcast_execute_bad(r, &target, exec->batch.error);
    }

    exec->rows = ngx_palloc(r->pool, NGX_HTTP_BROADCAST_EXECUTE_ROWS
                                     * sizeof(ngx_broadcast_selected_t));

    if (rc != NGX_OK || exec->rows == NULL
        || ngx_array_init(&exec->ids, r->pool, 16, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub,
                               &exec->select.hub)
        != NGX_OK)
    {
        return ngx_http_broadcast_execute_ask(r, api, exec);
    }

    exec->select.groups = exec->filter.groups;
    exec->select.ngroups = exec->filter.ngroups;

    return ngx_http_broadcast_execute_turn(r);
}


static ngx_int_t
ngx_http_broadcast_execute_turn(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_broadcast_api_t      *api;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_http_broadcast_execute_t  *exec;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;
    exec = api->data;

    for (i = 0; i < NGX_HTTP_BROADCAST_EXECUTE_TURN; i++) {

        rc = ngx_http_broadcast_execute_piece(r, exec);

        if (rc != NGX_OK) {
            return ngx_http_broadcast_execute_stop(r, rc);
        }

        if (exec->next == 0) {
            return ngx_http_broadcast_execute_ask(r, api, exec);
        }
    }

    return ngx_http_broadcast_next_turn(r, ngx_http_broadcast_execute_turn);
}


/* NGX_OK; NGX_BUSY: too many match; NGX_ERROR */

static ngx_int_t
ngx_http_broadcast_execute_piece(ngx_http_request_t *r,
    ngx_http_broadcast_execute_t *exec)
{
    ngx_int_t                  rc;
    ngx_str_t                  id, user;
    ngx_uint_t                 i, n;
    ngx_broadcast_selected_t  *row;

    n = ngx_broadcast_select_rows(ngx_broadcast_bus.zone, &exec->select,
                                  &exec->next, exec->rows,
                                  NGX_HTTP_BROADCAST_EXECUTE_ROWS);

    for (i = 0; i < n; i++) {

        row = &exec->rows[i];

        id.data = row->info.id;
        id.len = row->info.id_len;
        user.data = row->info.user;
        user.len = row->info.user_len;

        rc = ngx_http_broadcast_execute_match(r, exec, &id, &user,
                                              row->groups);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_execute_match(ngx_http_request_t *r,
    ngx_http_broadcast_execute_t *exec, ngx_str_t *id, ngx_str_t *user,
    uint32_t groups)
{
    ngx_str_t  *match;

    if (!ngx_broadcast_filter_match(&exec->filter, id, user, groups)) {
        return NGX_OK;
    }

    if ((exec->ids.nelts + 1) * exec->batch.records.nelts
        > NGX_BROADCAST_BATCH_MAX)
    {
        return NGX_BUSY;
    }

    match = ngx_array_push(&exec->ids);
    if (match == NULL) {
        return NGX_ERROR;
    }

    match->len = id->len;
    match->data = ngx_pstrdup(r->pool, id);

    return match->data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_broadcast_execute_stop(ngx_http_request_t *r, ngx_int_t rc)
{
    if (rc != NGX_BUSY) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);

    return ngx_http_broadcast_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                    "TooManyConnections",
                                    "Connections that match times commands "
                                    "are more than 10000; nothing was done.",
                                    NULL);
}


/* this node is done: the others, a page at a time */

static ngx_int_t
ngx_http_broadcast_execute_ask(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_execute_t *exec)
{
    ngx_broadcast_presence_ask_t  ask;

    if (!ngx_http_broadcast_api_cluster(api)) {
        return ngx_http_broadcast_execute_send(r, api, exec);
    }

    ngx_memzero(&ask, sizeof(ngx_broadcast_presence_ask_t));

    ask.hub = api->hub;
    ask.after = exec->after;
    ask.elsewhere = 1;
    ask.max = NGX_HTTP_BROADCAST_EXECUTE_PAGE;
    ask.groups = exec->filter.groups;
    ask.ngroups = exec->filter.ngroups;

    return ngx_http_broadcast_presence(r, &ask,
                                       ngx_http_broadcast_execute_present);
}


static ngx_int_t
ngx_http_broadcast_execute_present(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_broadcast_present_t       *row;
    ngx_http_broadcast_api_t      *api;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_http_broadcast_execute_t  *exec;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;
    exec = api->data;
    row = presence->rows;

    for (i = 0; i < presence->n; i++) {
        rc = ngx_http_broadcast_execute_match(r, exec, &row[i].id,
                                              &row[i].user, row[i].groups);
        if (rc != NGX_OK) {
            return ngx_http_broadcast_execute_stop(r, rc);
        }
    }

    if (presence->n < NGX_HTTP_BROADCAST_EXECUTE_PAGE) {
        return ngx_http_broadcast_execute_send(r, api, exec);
    }

    exec->after.len = row[i - 1].id.len;
    exec->after.data = ngx_pstrdup(r->pool, &row[i - 1].id);

    if (exec->after.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_execute_ask(r, api, exec);
}


/* all that one connection shall do stands together, in order */

static ngx_int_t
ngx_http_broadcast_execute_send(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_execute_t *exec)
{
    ngx_str_t                none = ngx_null_string;
    ngx_str_t               *id;
    ngx_uint_t               i, k, n;
    ngx_array_t              records;
    ngx_broadcast_record_t  *rec, *command;

    if (exec->ids.nelts == 0) {
        return ngx_http_broadcast_answer(r, api->status, NULL, &none);
    }

    id = exec->ids.elts;
    command = exec->batch.records.elts;
    n = exec->batch.records.nelts;

    if (ngx_array_init(&records, r->pool, exec->ids.nelts * n,
                       sizeof(ngx_broadcast_record_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < exec->ids.nelts; i++) {
        for (k = 0; k < n; k++) {

            rec = ngx_array_push(&records);     /* there is room for all */

            *rec = command[k];
            rec->name = id[i];
        }
    }

    return ngx_http_broadcast_send_to(r, &api->hub, &records,
                                      NGX_BROADCAST_NUMBERED,
                                      ngx_http_broadcast_api_commanded);
}
