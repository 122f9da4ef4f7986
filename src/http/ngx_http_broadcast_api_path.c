
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Paths of the REST API, signalr.md 8.1 and 8.2. */


#include "http/ngx_http_broadcast_api.h"


#define NGX_HTTP_BROADCAST_API_SEGMENTS  8


typedef struct {
    ngx_uint_t                 what;
    ngx_uint_t                 n;          /* segments without a verb */
    const char                *words[2];
} ngx_http_broadcast_api_path_t;


static ngx_int_t ngx_http_broadcast_api_split(ngx_http_request_t *r,
    ngx_str_t *segments, ngx_uint_t *n);
static ngx_int_t ngx_http_broadcast_api_below_hub(
    ngx_http_broadcast_api_t *api, ngx_str_t *s, ngx_uint_t n,
    const char **error);
static ngx_uint_t ngx_http_broadcast_api_verb(ngx_str_t *text);
static ngx_int_t ngx_http_broadcast_api_names(ngx_http_broadcast_api_t *api,
    const char **error);


static const ngx_http_broadcast_api_path_t  ngx_http_broadcast_api_paths[] = {

    { NGX_HTTP_BROADCAST_API_HUB, 0, { NULL, NULL } },

    { NGX_HTTP_BROADCAST_API_CONNECTIONS, 1, { "connections", NULL } },
    { NGX_HTTP_BROADCAST_API_CONNECTION, 2, { "connections", NULL } },
    { NGX_HTTP_BROADCAST_API_CONNECTION_GROUPS, 3,
      { "connections", "groups" } },
    { NGX_HTTP_BROADCAST_API_MEMBER, 4, { "connections", "groups" } },
    { NGX_HTTP_BROADCAST_API_STREAM, 4, { "connections", "streams" } },

    { NGX_HTTP_BROADCAST_API_GROUPS, 1, { "groups", NULL } },
    { NGX_HTTP_BROADCAST_API_GROUP, 2, { "groups", NULL } },
    { NGX_HTTP_BROADCAST_API_GROUP_CONNECTIONS, 3,
      { "groups", "connections" } },
    { NGX_HTTP_BROADCAST_API_MEMBER, 4, { "groups", "connections" } },
    { NGX_HTTP_BROADCAST_API_USER_GROUP, 4, { "groups", "users" } },

    { NGX_HTTP_BROADCAST_API_USER, 2, { "users", NULL } },
    { NGX_HTTP_BROADCAST_API_USER_CONNECTIONS, 3,
      { "users", "connections" } },
    { NGX_HTTP_BROADCAST_API_USER_GROUPS, 3, { "users", "groups" } },
    { NGX_HTTP_BROADCAST_API_USER_GROUP, 4, { "users", "groups" } },

    { NGX_HTTP_BROADCAST_API_NOTHING, 0, { NULL, NULL } }
};


static const struct {
    const char                *word;
    ngx_uint_t                 verb;
} ngx_http_broadcast_api_verbs[] = {
    { ":send", NGX_HTTP_BROADCAST_API_SEND },
    { ":closeConnections", NGX_HTTP_BROADCAST_API_CLOSE },
    { ":invoke", NGX_HTTP_BROADCAST_API_INVOKE },
    { ":complete", NGX_HTTP_BROADCAST_API_COMPLETE },
    { ":execute", NGX_HTTP_BROADCAST_API_EXECUTE },
    { ":generateToken", NGX_HTTP_BROADCAST_API_GENERATE },
    { NULL, 0 }
};


ngx_uint_t
ngx_http_broadcast_api_is(ngx_str_t *text, const char *word)
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

    if (n && ngx_http_broadcast_api_is(&s[0], "v1")) {
        api->v1 = 1;
        s++;
        n--;
    }

    if (n == 1 && ngx_http_broadcast_api_is(&s[0], "health")) {
        api->what = NGX_HTTP_BROADCAST_API_HEALTH;
        return NGX_OK;
    }

    if (n == 2 && ngx_http_broadcast_api_is(&s[0], "auth")
        && ngx_http_broadcast_api_is(&s[1], "accessKey"))
    {
        api->what = NGX_HTTP_BROADCAST_API_ACCESS_KEY;
        return NGX_OK;
    }

    if (n < 2 || !ngx_http_broadcast_api_is(&s[0], "hubs")) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, NGX_BROADCAST_HUB_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_hub_name(&s[1], p) != NGX_OK) {
        *error = "Invalid hub name. Valid hub" NGX_HTTP_BROADCAST_API_NAME_RULE;
        return NGX_ABORT;
    }

    api->hub.data = p;
    api->hub.len = s[1].len;

    return ngx_http_broadcast_api_below_hub(api, s + 2, n - 2, error);
}


/* words stand at even places and are followed by a name, or by nothing */

static ngx_int_t
ngx_http_broadcast_api_below_hub(ngx_http_broadcast_api_t *api, ngx_str_t *s,
    ngx_uint_t n, const char **error)
{
    ngx_uint_t                              i, k;
    const ngx_http_broadcast_api_path_t    *path;

    if (n % 2 == 1 && s[n - 1].len && s[n - 1].data[0] == ':') {
        n--;
        api->verb = ngx_http_broadcast_api_verb(&s[n]);
    }

    for (path = ngx_http_broadcast_api_paths; path->what; path++) {

        for (i = 0; i < n && i < 4; i += 2) {
            if (path->words[i / 2] == NULL
                || !ngx_http_broadcast_api_is(&s[i], path->words[i / 2]))
            {
                break;
            }
        }

        if (path->n == n && i >= n) {
            break;
        }
    }

    if (path->what == 0) {
        return NGX_DECLINED;
    }

    api->what = path->what;

    for (i = 1; i < n; i += 2) {

        k = i - 1;

        if (ngx_http_broadcast_api_is(&s[k], "connections")) {
            api->connection = s[i];

        } else if (ngx_http_broadcast_api_is(&s[k], "groups")) {
            api->group = s[i];

        } else if (ngx_http_broadcast_api_is(&s[k], "users")) {
            api->user = s[i];

        } else {
            api->stream = s[i];
        }
    }

    return ngx_http_broadcast_api_names(api, error);
}


static ngx_uint_t
ngx_http_broadcast_api_verb(ngx_str_t *text)
{
    ngx_uint_t  i;

    for (i = 0; ngx_http_broadcast_api_verbs[i].word; i++) {
        if (ngx_http_broadcast_api_is(text,
                                      ngx_http_broadcast_api_verbs[i].word))
        {
            return ngx_http_broadcast_api_verbs[i].verb;
        }
    }

    return NGX_HTTP_BROADCAST_API_UNKNOWN;
}


static ngx_int_t
ngx_http_broadcast_api_names(ngx_http_broadcast_api_t *api,
    const char **error)
{
    /* a verb there: nginx has merged the slashes around an empty name */

    if (api->group.data
        && (ngx_broadcast_group_name(&api->group) != NGX_OK
            || ngx_http_broadcast_api_verb(&api->group)
               != NGX_HTTP_BROADCAST_API_UNKNOWN))
    {
        *error = "Invalid group name. Valid group name should be in between 1 "
                 "and 1024 characters long.";
        return NGX_ABORT;
    }

    if (api->user.data
        && (ngx_broadcast_user_id(&api->user) != NGX_OK
            || ngx_http_broadcast_api_verb(&api->user)
               != NGX_HTTP_BROADCAST_API_UNKNOWN))
    {
        *error = "Invalid user id. Valid user id should be in between 1 and "
                 "1024 bytes long.";
        return NGX_ABORT;
    }

    if (api->connection.data
        && (api->connection.len == 0 || api->connection.data[0] == ':'))
    {
        /* a verb where an id was left out, with nginx's merged slashes */

        *error = "Invalid connection id. Valid connection id should be more "
                 "than 1 characters long";
        return NGX_ABORT;
    }

    if (api->stream.data
        && (api->stream.len == 0
            || api->stream.len > NGX_BROADCAST_INVOCATION_ID_MAX
            || !ngx_broadcast_utf8_valid(&api->stream)))
    {
        *error = "Invalid stream id. Valid stream id should be in between 1 "
                 "and 128 bytes long.";
        return NGX_ABORT;
    }

    return NGX_OK;
}
