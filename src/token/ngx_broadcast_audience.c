
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_name.h"
#include "token/ngx_broadcast_audience.h"
#include "token/ngx_broadcast_jwt.h"


/* No byte: an encoded slash, which separates nothing. */

#define NGX_BROADCAST_AUDIENCE_SLASH  0x100


typedef ngx_uint_t (*ngx_broadcast_audience_pt)(ngx_str_t *aud,
    ngx_str_t *wanted);


static void ngx_broadcast_audience_split(ngx_str_t *url, ngx_str_t *path,
    ngx_str_t *args);
static ngx_uint_t ngx_broadcast_audience_equal(ngx_str_t *one,
    ngx_str_t *two);
static ngx_uint_t ngx_broadcast_audience_hub(ngx_str_t *aud, ngx_str_t *hub);
static ngx_uint_t ngx_broadcast_audience_path(ngx_str_t *aud,
    ngx_str_t *path);
static ngx_uint_t ngx_broadcast_audience_any(ngx_broadcast_jwt_t *jwt,
    ngx_broadcast_audience_pt fits, ngx_str_t *wanted);


/*
 * Path and query of a URL, or of a request; without the fragment and one
 * slash at the path's end.  What is neither ("account") has no path: its data
 * is NULL.  All is borrowed.
 */

static void
ngx_broadcast_audience_split(ngx_str_t *url, ngx_str_t *path, ngx_str_t *args)
{
    u_char  *p, *end, *q, *host;

    ngx_str_null(path);
    ngx_str_null(args);

    if (url->len == 0) {
        return;
    }

    p = url->data;
    end = p + url->len;

    q = ngx_strlchr(p, end, '#');
    if (q) {
        end = q;
    }

    q = ngx_strlchr(p, end, '?');
    if (q) {
        args->data = q + 1;
        args->len = end - args->data;
        end = q;
    }

    if (p == end) {
        return;
    }

    if (*p != '/') {
        host = ngx_strlcasestrn(p, end, (u_char *) "://", 3 - 1);
        if (host == NULL) {
            return;
        }

        p = ngx_strlchr(host + 3, end, '/');
        if (p == NULL) {
            p = end;
        }
    }

    if (p < end && end[-1] == '/') {
        end--;
    }

    path->data = p;
    path->len = end - p;
}


/* The next character, decoded and in lower case. */

static ngx_uint_t
ngx_broadcast_audience_char(u_char **p, u_char *end)
{
    ngx_int_t  c;

    c = *(*p)++;

    if (c == '%' && end - *p >= 2) {
        c = ngx_hextoi(*p, 2);

        if (c == NGX_ERROR) {
            return '%';
        }

        *p += 2;

        if (c == '/') {
            return NGX_BROADCAST_AUDIENCE_SLASH;
        }
    }

    return ngx_tolower(c);
}


static ngx_uint_t
ngx_broadcast_audience_equal(ngx_str_t *one, ngx_str_t *two)
{
    u_char  *a, *b, *a_end, *b_end;

    a = one->data;
    b = two->data;

    a_end = a + one->len;
    b_end = b + two->len;

    while (a < a_end && b < b_end) {
        if (ngx_broadcast_audience_char(&a, a_end)
            != ngx_broadcast_audience_char(&b, b_end))
        {
            return 0;
        }
    }

    return a == a_end && b == b_end;
}


ngx_uint_t
ngx_broadcast_audience_kind(ngx_str_t *aud)
{
    ngx_str_t  path, args, hub;

    ngx_broadcast_audience_split(aud, &path, &args);

    return (ngx_broadcast_query_get(&args, "hub", &hub) == NGX_OK)
           ? NGX_BROADCAST_JWT_CLIENT : NGX_BROADCAST_JWT_REST;
}


static ngx_uint_t
ngx_broadcast_audience_hub(ngx_str_t *aud, ngx_str_t *hub)
{
    ngx_str_t  path, args, own;

    ngx_broadcast_audience_split(aud, &path, &args);

    return ngx_broadcast_query_get(&args, "hub", &own) == NGX_OK
           && ngx_broadcast_audience_equal(&own, hub);
}


static ngx_uint_t
ngx_broadcast_audience_path(ngx_str_t *aud, ngx_str_t *path)
{
    ngx_str_t  own, args, other, other_args;

    if (ngx_broadcast_audience_kind(aud) != NGX_BROADCAST_JWT_REST) {
        return 0;
    }

    ngx_broadcast_audience_split(aud, &own, &args);
    ngx_broadcast_audience_split(path, &other, &other_args);

    return own.data && other.data
           && ngx_broadcast_audience_equal(&own, &other);
}


static ngx_uint_t
ngx_broadcast_audience_any(ngx_broadcast_jwt_t *jwt,
    ngx_broadcast_audience_pt fits, ngx_str_t *wanted)
{
    size_t      i, n;
    json_t     *aud, *one;
    ngx_str_t   text;

    aud = json_object_get(jwt->claims, "aud");
    n = json_is_array(aud) ? json_array_size(aud) : 1;

    for (i = 0; i < n; i++) {
        one = json_is_array(aud) ? json_array_get(aud, i) : aud;

        if (!json_is_string(one)) {
            continue;
        }

        text.data = (u_char *) json_string_value(one);
        text.len = json_string_length(one);

        if (fits(&text, wanted)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_broadcast_jwt_for_hub(ngx_broadcast_jwt_t *jwt, ngx_str_t *hub)
{
    return jwt && hub->len
           && ngx_broadcast_audience_any(jwt, ngx_broadcast_audience_hub,
                                         hub);
}


ngx_uint_t
ngx_broadcast_jwt_for_path(ngx_broadcast_jwt_t *jwt, ngx_str_t *path)
{
    return jwt && path->len
           && ngx_broadcast_audience_any(jwt, ngx_broadcast_audience_path,
                                         path);
}
