
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Paths and queries of the REST API, signalr.md 8.1 and 8.2. */


#include "http/ngx_http_broadcast_api.h"


#define NGX_HTTP_BROADCAST_API_SEGMENTS  8

#define NGX_HTTP_BROADCAST_NAME_RULE                                          \
    " name should be in between 1 and 128 characters long. The first "       \
    "character must be a letter, other characters can be letters, digits or " \
    "the following symbols _`,.[]"


static ngx_int_t ngx_http_broadcast_api_split(ngx_http_request_t *r,
    ngx_str_t *segments, ngx_uint_t *n);
static ngx_int_t ngx_http_broadcast_api_below_hub(
    ngx_http_broadcast_api_t *api, ngx_str_t *s, ngx_uint_t n,
    const char **error);
static ngx_int_t ngx_http_broadcast_api_names(ngx_http_broadcast_api_t *api,
    const char **error);
static ngx_uint_t ngx_http_broadcast_is(ngx_str_t *text, const char *word);


static ngx_uint_t
ngx_http_broadcast_is(ngx_str_t *text, const char *word)
{
    return text->len == ngx_strlen(word)
           && ngx_strncasecmp(text->data, (u_char *) word, text->len) == 0;
}


/*
 * The path behind the location, split at '/' and then decoded, so that names
 * may hold slashes.  NGX_OK, NGX_DECLINED, NGX_ABORT: broken encoding,
 * NGX_ERROR.
 */

static ngx_int_t
ngx_http_broadcast_api_split(ngx_http_request_t *r, ngx_str_t *segments,
    ngx_uint_t *n)
{
    u_char      *p, *last, *end;
    ngx_int_t    rc;
    ngx_str_t    rest;
    ngx_uint_t   encoded;

    if (ngx_http_broadcast_below(r, &rest, &encoded) != NGX_OK) {
        return NGX_DECLINED;
    }

    p = rest.data;
    last = p + rest.len;

    if (p < last && *p == '/') {
        p++;
    }

    *n = 0;

    while (p < last) {

        if (*n == NGX_HTTP_BROADCAST_API_SEGMENTS) {
            return NGX_DECLINED;
        }

        end = ngx_strlchr(p, last, '/');
        if (end == NULL) {
            end = last;
        }

        segments[*n].data = p;
        segments[*n].len = end - p;

        if (encoded) {
            rc = ngx_broadcast_unescape(r->pool, &segments[*n],
                                        &segments[*n],
                                        NGX_BROADCAST_IN_PATH);
            if (rc != NGX_OK) {
                return (rc == NGX_DECLINED) ? NGX_ABORT : rc;
            }
        }

        (*n)++;
        p = end + 1;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_api_parse(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error)
{
    u_char      *p;
    ngx_int_t    rc;
    ngx_str_t    segments[NGX_HTTP_BROADCAST_API_SEGMENTS], *s;
    ngx_uint_t   n;

    rc = ngx_http_broadcast_api_split(r, segments, &n);

    if (rc == NGX_ABORT) {
        *error = "The path is not well encoded.";
    }

    if (rc != NGX_OK) {
        return rc;
    }

    s = segments;

    if (n && ngx_http_broadcast_is(&s[0], "v1")) {
        api->v1 = 1;
        s++;
        n--;
    }

    if (n == 1 && ngx_http_broadcast_is(&s[0], "health")) {
        api->what = NGX_HTTP_BROADCAST_API_HEALTH;
        return NGX_OK;
    }

    if (n < 2 || !ngx_http_broadcast_is(&s[0], "hubs")) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, NGX_BROADCAST_HUB_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_hub_name(&s[1], p) != NGX_OK) {
        *error = "Invalid hub name. Valid hub" NGX_HTTP_BROADCAST_NAME_RULE;
        return NGX_ABORT;
    }

    api->hub.data = p;
    api->hub.len = s[1].len;

    return ngx_http_broadcast_api_below_hub(api, s + 2, n - 2, error);
}


static ngx_int_t
ngx_http_broadcast_api_below_hub(ngx_http_broadcast_api_t *api, ngx_str_t *s,
    ngx_uint_t n, const char **error)
{
    ngx_str_t  *name;

    /* a verb stands behind the hub or behind one name */

    if ((n == 1 || n == 3) && s[n - 1].len && s[n - 1].data[0] == ':') {

        n--;

        api->verb = ngx_http_broadcast_is(&s[n], ":send")
                    ? NGX_HTTP_BROADCAST_API_SEND
                  : ngx_http_broadcast_is(&s[n], ":closeConnections")
                    ? NGX_HTTP_BROADCAST_API_CLOSE
                    : NGX_HTTP_BROADCAST_API_UNKNOWN;
    }

    if (n == 0) {
        api->what = NGX_HTTP_BROADCAST_API_HUB;
        return NGX_OK;
    }

    if (n < 2) {
        return NGX_DECLINED;
    }

    if (ngx_http_broadcast_is(&s[0], "connections")) {
        api->what = NGX_HTTP_BROADCAST_API_CONNECTION;
        name = &api->connection;

    } else if (ngx_http_broadcast_is(&s[0], "groups")) {
        api->what = NGX_HTTP_BROADCAST_API_GROUP;
        name = &api->group;

    } else if (ngx_http_broadcast_is(&s[0], "users")) {
        api->what = NGX_HTTP_BROADCAST_API_USER;
        name = &api->user;

    } else {
        return NGX_DECLINED;
    }

    *name = s[1];

    if (n == 3 && api->what == NGX_HTTP_BROADCAST_API_CONNECTION
        && ngx_http_broadcast_is(&s[2], "groups"))
    {
        api->what = NGX_HTTP_BROADCAST_API_CONNECTION_GROUPS;

    } else if (n == 4 && api->what == NGX_HTTP_BROADCAST_API_CONNECTION
               && ngx_http_broadcast_is(&s[2], "groups"))
    {
        api->what = NGX_HTTP_BROADCAST_API_MEMBER;
        api->group = s[3];

    } else if (n == 4 && api->what == NGX_HTTP_BROADCAST_API_GROUP
               && ngx_http_broadcast_is(&s[2], "connections"))
    {
        api->what = NGX_HTTP_BROADCAST_API_MEMBER;
        api->connection = s[3];

    } else if (n != 2) {
        return NGX_DECLINED;
    }

    return ngx_http_broadcast_api_names(api, error);
}


static ngx_int_t
ngx_http_broadcast_api_names(ngx_http_broadcast_api_t *api,
    const char **error)
{
    ngx_uint_t  what;

    what = api->what;

    if ((what == NGX_HTTP_BROADCAST_API_GROUP
         || what == NGX_HTTP_BROADCAST_API_MEMBER)
        && ngx_broadcast_group_name(&api->group) != NGX_OK)
    {
        *error = "Invalid group name. Valid group name should be in between 1 "
                 "and 1024 characters long.";
        return NGX_ABORT;
    }

    if (what == NGX_HTTP_BROADCAST_API_USER
        && ngx_broadcast_user_id(&api->user) != NGX_OK)
    {
        *error = "Invalid user id. Valid user id should be in between 1 and "
                 "1024 bytes long.";
        return NGX_ABORT;
    }

    if ((what == NGX_HTTP_BROADCAST_API_CONNECTION
         || what == NGX_HTTP_BROADCAST_API_CONNECTION_GROUPS
         || what == NGX_HTTP_BROADCAST_API_MEMBER)
        && (api->connection.len == 0 || api->connection.data[0] == ':'))
    {
        /* a verb where an id was left out, with nginx's merged slashes */

        *error = "Invalid connection id. Valid connection id should be more "
                 "than 1 characters long";
        return NGX_ABORT;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_api_query(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error)
{
    u_char      *p;
    size_t       len;
    ngx_int_t    rc;
    ngx_str_t    application, *id;
    ngx_uint_t   i;
    ngx_array_t *ids;

    *error = "The query is not well encoded.";

    rc = ngx_http_broadcast_arg(r, "application", &application);

    if (rc == NGX_ABORT || rc == NGX_ERROR) {
        return rc;
    }

    if (rc == NGX_OK && application.len) {

        /* the hub's name is then application_hub, signalr.md 7.1 */

        len = application.len + 1 + api->hub.len;

        p = ngx_pnalloc(r->pool, len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (ngx_broadcast_hub_name(&application, p) != NGX_OK
            || len > NGX_BROADCAST_HUB_MAX)
        {
            *error = "Invalid value of 'application'. Valid application"
                     NGX_HTTP_BROADCAST_NAME_RULE;
            return NGX_ABORT;
        }

        p[application.len] = '_';
        ngx_memcpy(p + application.len + 1, api->hub.data, api->hub.len);

        api->hub.data = p;
        api->hub.len = len;
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
