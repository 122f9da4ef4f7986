
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "transport/ngx_http_broadcast_transport.h"
#include "transport/ngx_http_broadcast_upgrade.h"
#include "proto/ngx_broadcast_ws.h"
#include "base/ngx_broadcast_compat.h"


/* The opening handshake of a WebSocket, RFC 6455 section 4.2. */


static ngx_uint_t ngx_http_broadcast_upgrade_has(ngx_http_request_t *r,
    const char *name, const char *token);
static ngx_uint_t ngx_http_broadcast_upgrade_token(ngx_str_t *list,
    const char *token);
static ngx_str_t *ngx_http_broadcast_upgrade_one(ngx_http_request_t *r,
    const char *name);
static ngx_str_t *ngx_http_broadcast_upgrade_header(ngx_http_request_t *r,
    const char *name, ngx_uint_t n);
static ngx_int_t ngx_http_broadcast_upgrade_offers(ngx_http_request_t *r,
    ngx_broadcast_extension_t *e);
static ngx_int_t ngx_http_broadcast_upgrade_answer(ngx_http_request_t *r,
    const char *name, u_char *value, size_t len);


ngx_int_t
ngx_http_broadcast_websocket_check(ngx_http_request_t *r)
{
    ngx_str_t                  *value;
    ngx_broadcast_extension_t   e;

    if (r->headers_in.upgrade == NULL
        || !ngx_http_broadcast_upgrade_has(r, "upgrade", "websocket"))
    {
        return 0;
    }

    if (r != r->main
        || r->method != NGX_HTTP_GET
        || r->http_version != NGX_HTTP_VERSION_11
        || r->headers_in.content_length_n > 0
        || r->headers_in.chunked)
    {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (!ngx_http_broadcast_upgrade_has(r, "connection", "upgrade")) {
        return NGX_HTTP_BAD_REQUEST;
    }

    value = ngx_http_broadcast_upgrade_one(r, "sec-websocket-version");

    if (value == NULL || value->len != 2
        || ngx_strncmp(value->data, "13", 2) != 0)
    {
        if (ngx_http_broadcast_upgrade_answer(r, "Sec-WebSocket-Version",
                                              (u_char *) "13", 2)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return 426;
    }

    value = ngx_http_broadcast_upgrade_one(r, "sec-websocket-key");

    if (value == NULL || ngx_broadcast_ws_accept(value, NULL) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_memzero(&e, sizeof(ngx_broadcast_extension_t));

    if (ngx_http_broadcast_upgrade_offers(r, &e) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    return 1;
}


/* a list may come in several headers of its name */

static ngx_uint_t
ngx_http_broadcast_upgrade_has(ngx_http_request_t *r, const char *name,
    const char *token)
{
    ngx_str_t   *value;
    ngx_uint_t   n;

    for (n = 0; /* void */ ; n++) {
        value = ngx_http_broadcast_upgrade_header(r, name, n);

        if (value == NULL) {
            return 0;
        }

        if (ngx_http_broadcast_upgrade_token(value, token)) {
            return 1;
        }
    }
}


/* one of the names in a list that is separated by commas, ignoring case */

static ngx_uint_t
ngx_http_broadcast_upgrade_token(ngx_str_t *list, const char *token)
{
    u_char  *p, *last, *start, *end;
    size_t   len;

    len = ngx_strlen(token);

    p = list->data;
    last = p + list->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        start = p;

        while (p < last && *p != ',') {
            p++;
        }

        end = p;

        while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        if ((size_t) (end - start) == len
            && ngx_strncasecmp(start, (u_char *) token, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* the value of a header that may come once, RFC 6455 section 11.3; or NULL */

static ngx_str_t *
ngx_http_broadcast_upgrade_one(ngx_http_request_t *r, const char *name)
{
    if (ngx_http_broadcast_upgrade_header(r, name, 1)) {
        return NULL;
    }

    return ngx_http_broadcast_upgrade_header(r, name, 0);
}


/* the value of the header number n of that name, in lower case; or NULL */

static ngx_str_t *
ngx_http_broadcast_upgrade_header(ngx_http_request_t *r, const char *name,
    ngx_uint_t n)
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

        if (h[i].key.len == len
            && h[i].lowcase_key
            && ngx_memcmp(h[i].lowcase_key, name, len) == 0
            && n-- == 0)
        {
            return &h[i].value;
        }
    }
}


static ngx_int_t
ngx_http_broadcast_upgrade_offers(ngx_http_request_t *r,
    ngx_broadcast_extension_t *e)
{
    ngx_str_t   *value;
    ngx_uint_t   n;

    for (n = 0; /* void */ ; n++) {
        value = ngx_http_broadcast_upgrade_header(r,
                                              "sec-websocket-extensions", n);
        if (value == NULL) {
            return NGX_OK;
        }

        if (ngx_broadcast_extension_offers(e, value) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_broadcast_upgrade_answer(ngx_http_request_t *r, const char *name,
    u_char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_broadcast_header_single(h);

    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = value;
    h->value.len = len;

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_upgrade(ngx_http_request_t *r,
    ngx_broadcast_extension_t *e)
{
    u_char     *accept, *text;
    ngx_int_t   rc;
    ngx_str_t  *key;

    key = ngx_http_broadcast_upgrade_one(r, "sec-websocket-key");

    accept = ngx_pnalloc(r->pool, NGX_BROADCAST_WS_ACCEPT_LEN
                                  + NGX_BROADCAST_EXTENSION_ANSWER);

    if (accept == NULL
        || key == NULL
        || ngx_broadcast_ws_accept(key, accept) != NGX_OK
        || ngx_http_broadcast_upgrade_offers(r, e) != NGX_OK
        || ngx_http_broadcast_upgrade_answer(r, "Upgrade",
                                             (u_char *) "websocket",
                                             sizeof("websocket") - 1)
           != NGX_OK
        || ngx_http_broadcast_upgrade_answer(r, "Sec-WebSocket-Accept", accept,
                                             NGX_BROADCAST_WS_ACCEPT_LEN)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text = accept + NGX_BROADCAST_WS_ACCEPT_LEN;

    if (e->server
        && ngx_http_broadcast_upgrade_answer(r, "Sec-WebSocket-Extensions",
                                    text,
                                    ngx_broadcast_extension_answer(text, e))
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    r->keepalive = 0;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    rc = ngx_http_send_special(r, NGX_HTTP_FLUSH);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}
