
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * broadcast_origin and CORS, signalr.md 1.9.  It runs before access, so that
 * a preflight, which carries no credentials, is answered whatever guards the
 * location, and so that refusals of the access phase have the headers too.
 */


#include "http/ngx_http_broadcast.h"


#define NGX_HTTP_BROADCAST_CORS_METHODS                                       \
    "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#define NGX_HTTP_BROADCAST_CORS_AGE      "600"      /* seconds */


static ngx_uint_t ngx_http_broadcast_origin_own(ngx_http_request_t *r,
    ngx_str_t *origin);
static ngx_uint_t ngx_http_broadcast_origin_allowed(ngx_http_request_t *r,
    ngx_http_broadcast_origins_t *origins, ngx_str_t *origin);
static ngx_int_t ngx_http_broadcast_origin_refuse(ngx_http_request_t *r,
    ngx_uint_t kind);
static ngx_int_t ngx_http_broadcast_preflight(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_origin_handler(ngx_http_request_t *r)
{
    ngx_str_t                      *origin;
    ngx_table_elt_t                *h;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (blcf->kind == NGX_HTTP_BROADCAST_NONE || r != r->main) {
        return NGX_DECLINED;
    }

    h = ngx_http_broadcast_header_in(r, "origin");

    if (h == NULL) {
        return NGX_DECLINED;
    }

    origin = &h->value;

    if (!ngx_http_broadcast_origin_own(r, origin)
        && !ngx_http_broadcast_origin_allowed(r, blcf->origins, origin))
    {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_ORIGIN, 1);

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "origin \"%V\" is not allowed", origin);

        return ngx_http_broadcast_origin_refuse(r, blcf->kind);
    }

    if (ngx_http_broadcast_header(r, "Access-Control-Allow-Origin", origin)
        != NGX_OK
        || ngx_http_broadcast_header_text(r,
                                          "Access-Control-Allow-Credentials",
                                          "true")
           != NGX_OK
        || ngx_http_broadcast_header_text(r, "Vary", "Origin") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method == NGX_HTTP_OPTIONS
        && ngx_http_broadcast_header_in(r, "access-control-request-method"))
    {
        return ngx_http_broadcast_preflight(r);
    }

    return NGX_DECLINED;
}


/* in the words of the location's handler */

static ngx_int_t
ngx_http_broadcast_origin_refuse(ngx_http_request_t *r, ngx_uint_t kind)
{
    ngx_int_t  rc;

    static const char  text[] = "The origin is not allowed.";

    if (kind == NGX_HTTP_BROADCAST_API || kind == NGX_HTTP_BROADCAST_PUBLISH
        || kind == NGX_HTTP_BROADCAST_FUNCTION)
    {
        rc = ngx_http_broadcast_error(r, NGX_HTTP_FORBIDDEN, "Forbidden",
                                      text, NULL);
    } else {
        rc = ngx_http_broadcast_text(r, NGX_HTTP_FORBIDDEN, text);
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_broadcast_preflight(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    h = ngx_http_broadcast_header_in(r, "access-control-request-headers");

    if (h
        && ngx_http_broadcast_header(r, "Access-Control-Allow-Headers",
                                     &h->value)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_broadcast_header_text(r, "Access-Control-Allow-Methods",
                                       NGX_HTTP_BROADCAST_CORS_METHODS)
        != NGX_OK
        || ngx_http_broadcast_header_text(r, "Access-Control-Max-Age",
                                          NGX_HTTP_BROADCAST_CORS_AGE)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_NO_CONTENT;
}


/*
 * The request's own host and port.  A port that is the default of the
 * origin's scheme may be left out on either side; the request's scheme is
 * not looked at, it is the proxy's where one ends TLS before us.
 */

static ngx_uint_t
ngx_http_broadcast_origin_own(ngx_http_request_t *r, ngx_str_t *origin)
{
    u_char     *last, *olast;
    ngx_str_t   host, own, port;

    if (r->headers_in.host == NULL) {
        return 0;
    }

    host = *origin;

    if (host.len > 7
        && ngx_strncasecmp(host.data, (u_char *) "http://", 7) == 0)
    {
        host.data += 7;
        host.len -= 7;
        ngx_str_set(&port, ":80");

    } else if (host.len > 8
               && ngx_strncasecmp(host.data, (u_char *) "https://", 8) == 0)
    {
        host.data += 8;
        host.len -= 8;
        ngx_str_set(&port, ":443");

    } else {
        return 0;
    }

    own = r->headers_in.host->value;

    last = own.data + own.len;
    olast = host.data + host.len;

    if (own.len > port.len
        && ngx_memcmp(last - port.len, port.data, port.len) == 0)
    {
        own.len -= port.len;
    }

    if (host.len > port.len
        && ngx_memcmp(olast - port.len, port.data, port.len) == 0)
    {
        host.len -= port.len;
    }

    return own.len == host.len
           && ngx_strncasecmp(own.data, host.data, own.len) == 0;
}


static ngx_uint_t
ngx_http_broadcast_origin_allowed(ngx_http_request_t *r,
    ngx_http_broadcast_origins_t *origins, ngx_str_t *origin)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (origins == NULL) {
        return 0;
    }

    if (origins->any) {
        return 1;
    }

    value = origins->values.elts;

    for (i = 0; i < origins->values.nelts; i++) {
        if (value[i].len == origin->len
            && ngx_strncasecmp(value[i].data, origin->data, origin->len) == 0)
        {
            return 1;
        }
    }

#if (NGX_PCRE)
    if (origins->regex) {
        return ngx_regex_exec_array(origins->regex, origin,
                                    r->connection->log)
               == NGX_OK;
    }
#endif

    return 0;
}
