
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Where broadcast_negotiate sends its clients. */


#include "http/ngx_http_broadcast_endpoint.h"
#include "http/ngx_http_broadcast_negotiate.h"


static ngx_int_t ngx_http_broadcast_negotiate_position(ngx_http_request_t *r,
    ngx_str_t *url);


/* NGX_OK, NGX_ABORT: broken encoding, NGX_ERROR; no value is an empty one */

ngx_int_t
ngx_http_broadcast_negotiate_value(ngx_http_request_t *r,
    ngx_http_broadcast_value_t *value, ngx_str_t *text)
{
    ngx_int_t  rc;

    ngx_str_null(text);

    if (value == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, &value->value, text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!value->encoded) {
        return NGX_OK;
    }

    rc = ngx_broadcast_unescape(r->pool, text, text, value->where);

    return (rc == NGX_DECLINED) ? NGX_ABORT : rc;
}


/* the audience is the URL with the hub alone as its query, signalr.md 7.4 */

ngx_int_t
ngx_http_broadcast_negotiate_url(ngx_http_request_t *r, ngx_str_t *hub,
    ngx_str_t *url, ngx_str_t *aud)
{
    u_char                         *p, *last;
    u_char                          name[NGX_BROADCAST_HUB_MAX * 3];
    ngx_int_t                       rc;
    ngx_str_t                       base;
    ngx_broadcast_buf_t             b;
    ngx_http_broadcast_endpoint_t  *ep;
    ngx_http_broadcast_loc_conf_t  *blcf;
    ngx_http_broadcast_srv_conf_t  *bscf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);
    bscf = ngx_http_get_module_srv_conf(r, ngx_http_broadcast_module);

    last = (u_char *) ngx_escape_uri(name, hub->data, hub->len,
                                     NGX_ESCAPE_URI_COMPONENT);

    ngx_broadcast_buf_init(&b, r->pool, 128);

    ngx_str_null(url);

    ep = ngx_http_broadcast_endpoint(&blcf->negotiate->endpoints);

    if (ep) {
        rc = ngx_http_broadcast_negotiate_value(r, ep->url, url);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (url->len == 0) {

        if (bscf->client.len == 0) {
            return NGX_ABORT;
        }

        ngx_http_broadcast_negotiate_host(r, &b);
        ngx_broadcast_buf_str(&b, &bscf->client);
        ngx_broadcast_buf_literal(&b, "?hub=");
        ngx_broadcast_buf_append(&b, name, last - name);

        if (ngx_broadcast_buf_done(&b, url) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    base = *url;

    p = ngx_strlchr(base.data, base.data + base.len, '?');
    if (p) {
        base.len = p - base.data;
    }

    ngx_broadcast_buf_init(&b, r->pool, base.len + hub->len + 16);
    ngx_broadcast_buf_str(&b, &base);
    ngx_broadcast_buf_literal(&b, "?hub=");
    ngx_broadcast_buf_append(&b, name, last - name);

    if (ngx_broadcast_buf_done(&b, aud) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_broadcast_negotiate_position(r, url);
}


/*
 * A client sets its position in the URL that it knows, which is this one; it
 * reconnects to the one in the answer.  The value is taken over as it is
 * encoded.
 */

static ngx_int_t
ngx_http_broadcast_negotiate_position(ngx_http_request_t *r, ngx_str_t *url)
{
    u_char               *p;
    ngx_str_t             args, position;
    ngx_broadcast_buf_t   b;

    if (ngx_broadcast_query_get(&r->args, "position", &position) != NGX_OK) {
        return NGX_OK;
    }

    p = ngx_strlchr(url->data, url->data + url->len, '?');

    if (p) {
        args.data = p + 1;
        args.len = url->data + url->len - args.data;

        if (ngx_broadcast_query_count(&args, "position")) {
            return NGX_OK;
        }
    }

    ngx_broadcast_buf_init(&b, r->pool, url->len + position.len + 16);
    ngx_broadcast_buf_str(&b, url);
    ngx_broadcast_buf_char(&b, p ? '&' : '?');
    ngx_broadcast_buf_literal(&b, "position=");
    ngx_broadcast_buf_str(&b, &position);

    return ngx_broadcast_buf_done(&b, url);
}


/* scheme and the Host header with its port */

void
ngx_http_broadcast_negotiate_host(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b)
{
    u_char                    text[NGX_SOCKADDR_STRLEN];
    ngx_str_t                 addr;
    ngx_http_core_srv_conf_t  *cscf;

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        ngx_broadcast_buf_literal(b, "https://");
    } else
#endif
    {
        ngx_broadcast_buf_literal(b, "http://");
    }

    if (r->headers_in.host && r->headers_in.host->value.len) {
        ngx_broadcast_buf_str(b, &r->headers_in.host->value);
        return;
    }

    /* HTTP/1.0 without Host */

    addr.data = text;
    addr.len = NGX_SOCKADDR_STRLEN;

    if (ngx_connection_local_sockaddr(r->connection, &addr, 1) == NGX_OK) {
        ngx_broadcast_buf_str(b, &addr);
        return;
    }

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    ngx_broadcast_buf_str(b, &cscf->server_name);
}
