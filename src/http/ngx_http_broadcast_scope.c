
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast_message.h"


/*
 * Whom a publisher's message is for: one group, one user or one connection, or
 * all.  The request says it for all of its messages, or each line for itself.
 */


typedef struct {
    const char  *name;
    ngx_uint_t   scope;
    const char  *error;
} ngx_http_broadcast_scope_t;


static ngx_int_t ngx_http_broadcast_scope_set(
    ngx_http_broadcast_batch_t *batch, ngx_broadcast_record_t *rec,
    ngx_uint_t i, ngx_str_t *name);


static ngx_http_broadcast_scope_t
    ngx_http_broadcast_scopes[NGX_HTTP_BROADCAST_SCOPES] =
{
    { "group", NGX_BROADCAST_GROUP, "The group is no good name." },
    { "user", NGX_BROADCAST_USER, "The user is no good name." },
    { "connection", NGX_BROADCAST_CONNECTION, "The connection is no good id." }
};


ngx_int_t
ngx_http_broadcast_scope_args(ngx_http_broadcast_batch_t *batch)
{
    ngx_int_t    rc;
    ngx_str_t    value;
    ngx_uint_t   i, n;
    const char  *name;

    n = 0;
    batch->scope.scope = NGX_BROADCAST_ALL;

    for (i = 0; i < NGX_HTTP_BROADCAST_SCOPES; i++) {
        name = ngx_http_broadcast_scopes[i].name;

        rc = ngx_http_broadcast_arg(batch->r, name, &value);

        if (rc == NGX_DECLINED) {
            continue;
        }

        n += ngx_broadcast_query_count(&batch->r->args, name);

        if (n > 1) {
            batch->error = "Name one group, one user or one connection.";
            return NGX_DECLINED;
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            batch->error = ngx_http_broadcast_scopes[i].error;
            return NGX_DECLINED;
        }

        if (ngx_http_broadcast_scope_set(batch, &batch->scope, i, &value)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_broadcast_scope_key(ngx_broadcast_scan_value_t *key)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_BROADCAST_SCOPES; i++) {
        if (ngx_broadcast_scan_is_nocase(key,
                                         ngx_http_broadcast_scopes[i].name))
        {
            break;
        }
    }

    return i;
}


/*
 * Who lets others publish by the request's arguments has looked at these alone:
 * where they name somebody, a line cannot name somebody else.  Nor can one
 * where the path has named them, as in the API, whose sends are not bare.
 */

ngx_int_t
ngx_http_broadcast_scope_line(ngx_http_broadcast_batch_t *batch,
    ngx_broadcast_scan_value_t *values, ngx_broadcast_record_t *rec)
{
    ngx_str_t    name;
    ngx_uint_t   i, n;

    n = 0;

    for (i = 0; i < NGX_HTTP_BROADCAST_SCOPES; i++) {

        if (values[i].type == NGX_BROADCAST_SCAN_NULL) {
            continue;
        }

        if (!batch->bare || batch->scope.scope != NGX_BROADCAST_ALL) {
            batch->error = "The request has named whom its lines are for.";
            return NGX_DECLINED;
        }

        if (n++) {
            batch->error = "Name one group, one user or one connection.";
            return NGX_DECLINED;
        }

        if (values[i].type != NGX_BROADCAST_SCAN_STRING) {
            batch->error = ngx_http_broadcast_scopes[i].error;
            return NGX_DECLINED;
        }

        if (ngx_broadcast_scan_string(&values[i], batch->r->pool, &name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_broadcast_scope_set(batch, rec, i, &name) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_scope_set(ngx_http_broadcast_batch_t *batch,
    ngx_broadcast_record_t *rec, ngx_uint_t i, ngx_str_t *name)
{
    ngx_int_t  rc;

    switch (ngx_http_broadcast_scopes[i].scope) {

    case NGX_BROADCAST_GROUP:
        rc = ngx_broadcast_group_name(name);
        break;

    case NGX_BROADCAST_USER:
        rc = ngx_broadcast_user_id(name);
        break;

    default:
        rc = ngx_http_broadcast_connection_id(name);
        break;
    }

    if (rc != NGX_OK) {
        batch->error = ngx_http_broadcast_scopes[i].error;
        return NGX_DECLINED;
    }

    rec->scope = ngx_http_broadcast_scopes[i].scope;
    rec->name = *name;

    return NGX_OK;
}
