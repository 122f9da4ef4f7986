
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast.h"


static ngx_uint_t ngx_http_broadcast_plain_path(ngx_http_request_t *r,
    ngx_str_t *raw);
static void ngx_http_broadcast_cleanup(void *data);


ngx_http_broadcast_ctx_t *
ngx_http_broadcast_ctx(ngx_http_request_t *r)
{
    ngx_http_cleanup_t        *cln;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ctx) {
        return ctx;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    /* the one hook that is called on every way out of a request */

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_broadcast_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_broadcast_module);

    return ctx;
}


static void
ngx_http_broadcast_cleanup(void *data)
{
    ngx_http_broadcast_ctx_t  *ctx = data;

    if (ctx->call) {
        ngx_broadcast_call_cancel(ctx->call);
        ctx->call = NULL;
    }

    if (ctx->wait.timer_set) {
        ngx_del_timer(&ctx->wait);
    }

    if (ctx->wait.posted) {
        ngx_delete_posted_event(&ctx->wait);
    }
}


/*
 * The path as it came, if it is what nginx made r->uri of by undoing the
 * percent-encoding alone.  It is not where dots or slashes were merged, or
 * where the path was rewritten.
 */

static ngx_uint_t
ngx_http_broadcast_plain_path(ngx_http_request_t *r, ngx_str_t *raw)
{
    u_char     *p;
    size_t      n;
    ngx_str_t   path;

    *raw = r->unparsed_uri;

    p = ngx_strlchr(raw->data, raw->data + raw->len, '?');
    if (p) {
        raw->len = p - raw->data;
    }

    if (ngx_broadcast_unescape(r->pool, raw, &path, NGX_BROADCAST_IN_PATH)
        != NGX_OK)
    {
        return 0;
    }

    n = r->uri.len;

    return path.len == n && ngx_memcmp(path.data, r->uri.data, n) == 0;
}


ngx_int_t
ngx_http_broadcast_below(ngx_http_request_t *r, ngx_str_t *rest,
    ngx_uint_t *encoded)
{
    size_t                     n;
    u_char                    *p, *last;
    ngx_str_t                  raw;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

#if (NGX_PCRE)
    if (clcf->regex) {
        return NGX_DECLINED;
    }
#endif

    if (clcf->named || clcf->name.len > r->uri.len
        || ngx_strncmp(clcf->name.data, r->uri.data, clcf->name.len) != 0)
    {
        return NGX_DECLINED;
    }

    *encoded = ngx_http_broadcast_plain_path(r, &raw);

    if (!*encoded) {
        rest->data = r->uri.data + clcf->name.len;
        rest->len = r->uri.len - clcf->name.len;
        return NGX_OK;
    }

    p = raw.data;
    last = raw.data + raw.len;

    for (n = clcf->name.len; n && p < last; n--) {
        p += (*p == '%') ? 3 : 1;
    }

    rest->data = p;
    rest->len = last - p;

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_int_t  rc;

    if (ngx_broadcast_query_get(&r->args, name, value) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_broadcast_unescape(r->pool, value, value, NGX_BROADCAST_IN_QUERY);

    return (rc == NGX_DECLINED) ? NGX_ABORT : rc;
}


ngx_int_t
ngx_http_broadcast_args(ngx_http_request_t *r, const char *name,
    ngx_array_t **values)
{
    ngx_int_t   rc;
    ngx_str_t   args, key, value, *v;

    *values = ngx_array_create(r->pool, 4, sizeof(ngx_str_t));
    if (*values == NULL) {
        return NGX_ERROR;
    }

    args = r->args;

    while (ngx_broadcast_query_next(&args, &key, &value) == NGX_OK) {

        if (!ngx_broadcast_query_key(&key, name)) {
            continue;
        }

        v = ngx_array_push(*values);
        if (v == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_broadcast_unescape(r->pool, &value, v,
                                    NGX_BROADCAST_IN_QUERY);
        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_ABORT : rc;
        }
    }

    return NGX_OK;
}


ngx_table_elt_t *
ngx_http_broadcast_header_in(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash && h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }
}


ngx_uint_t
ngx_http_broadcast_content_type(ngx_http_request_t *r, const char *type)
{
    size_t      len;
    ngx_str_t  *value;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    len = ngx_strlen(type);
    value = &r->headers_in.content_type->value;

    return value->len >= len
           && ngx_strncasecmp(value->data, (u_char *) type, len) == 0
           && (value->len == len || value->data[len] == ';'
               || value->data[len] == ' ');
}


ngx_int_t
ngx_http_broadcast_path_hub(ngx_http_request_t *r)
{
    u_char                         *p;
    ngx_int_t                       rc;
    ngx_str_t                       rest;
    ngx_uint_t                      encoded;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (ngx_http_broadcast_below(r, &rest, &encoded) != NGX_OK) {
        ctx->hub = blcf->hub;
        return NGX_OK;
    }

    if (rest.len && rest.data[0] == '/') {
        rest.data++;
        rest.len--;
    }

    if (rest.len && rest.data[rest.len - 1] == '/') {
        rest.len--;
    }

    if (ngx_strlchr(rest.data, rest.data + rest.len, '/')) {
        return NGX_DECLINED;
    }

    if (encoded) {
        rc = ngx_broadcast_unescape(r->pool, &rest, &rest,
                                    NGX_BROADCAST_IN_PATH);
        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_ABORT : rc;
        }
    }

    if (rest.len == 0) {
        ctx->hub = blcf->hub;
        return ctx->hub.len ? NGX_OK : NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, rest.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_hub_name(&rest, p) != NGX_OK) {
        return NGX_ABORT;
    }

    rest.data = p;

    if (blcf->hub.len
        && (blcf->hub.len != rest.len
            || ngx_memcmp(blcf->hub.data, p, rest.len) != 0))
    {
        return NGX_DECLINED;
    }

    ctx->hub = rest;

    return NGX_OK;
}
