
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What all operations of the REST API take in their query, signalr.md 8.1. */


#include "http/ngx_http_broadcast_api.h"


static ngx_int_t ngx_http_broadcast_api_application(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error);
static ngx_int_t ngx_http_broadcast_api_excluded(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);


ngx_int_t
ngx_http_broadcast_api_query(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error)
{
    ngx_int_t  rc;

    *error = "The query is not well encoded.";

    rc = ngx_http_broadcast_api_application(r, api, error);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_broadcast_arg(r, "reason", &api->reason);

    if (rc == NGX_ABORT || rc == NGX_ERROR) {
        return rc;
    }

    if (rc == NGX_DECLINED) {
        ngx_str_null(&api->reason);
    }

    if (!ngx_broadcast_utf8_valid(&api->reason)
        || ngx_strlchr(api->reason.data, api->reason.data + api->reason.len,
                       '\0'))
    {
        *error = "Invalid value of 'reason'.";
        return NGX_ABORT;
    }

    return ngx_http_broadcast_api_excluded(r, api);
}


/* the hub's name is then application_hub, signalr.md 7.1 */

static ngx_int_t
ngx_http_broadcast_api_application(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error)
{
    u_char     *p;
    size_t      len;
    ngx_int_t   rc;
    ngx_str_t   application;

    rc = ngx_http_broadcast_arg(r, "application", &application);

    if (rc == NGX_ABORT || rc == NGX_ERROR) {
        return rc;
    }

    if (rc != NGX_OK || application.len == 0) {
        return NGX_OK;
    }

    len = application.len + 1 + api->hub.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_hub_name(&application, p) != NGX_OK
        || len > NGX_BROADCAST_HUB_MAX)
    {
        *error = "Invalid value of 'application'. Valid application"
                 NGX_HTTP_BROADCAST_API_NAME_RULE;
        return NGX_ABORT;
    }

    p[application.len] = '_';
    ngx_memcpy(p + application.len + 1, api->hub.data, api->hub.len);

    api->hub.data = p;
    api->hub.len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_api_excluded(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    u_char       *p;
    size_t        len;
    ngx_int_t     rc;
    ngx_str_t    *id;
    ngx_uint_t    i;
    ngx_array_t  *ids;

    rc = ngx_http_broadcast_args(r, "excluded", &ids);

    if (rc != NGX_OK) {
        return rc;
    }

    len = 0;
    id = ids->elts;

    for (i = 0; i < ids->nelts; i++) {
        len += id[i].len + 1;
    }

    if (len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    api->excluded.data = p;

    for (i = 0; i < ids->nelts; i++) {

        if (ngx_http_broadcast_connection_id(&id[i]) != NGX_OK) {
            /* no connection has such an id */
            continue;
        }

        if (p != api->excluded.data) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, id[i].data, id[i].len);
    }

    api->excluded.len = p - api->excluded.data;

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_api_number(ngx_http_request_t *r, const char *name,
    ngx_uint_t *value)
{
    ngx_int_t  rc, n;
    ngx_str_t  text;

    rc = ngx_http_broadcast_arg(r, name, &text);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }

    n = ngx_atoi(text.data, text.len);

    if (n < 1 || n > NGX_MAX_INT32_VALUE) {
        return NGX_ABORT;
    }

    *value = (ngx_uint_t) n;

    return NGX_OK;
}
