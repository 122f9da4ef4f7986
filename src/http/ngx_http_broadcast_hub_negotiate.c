
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* The hub's own negotiate: ids and transports, signalr.md 1.3 and 1.4. */


#include "http/ngx_http_broadcast_hub.h"
#include "proto/ngx_broadcast_negotiate.h"


static ngx_int_t ngx_http_broadcast_hub_offer(ngx_http_request_t *r,
    ngx_broadcast_negotiate_t *n);
static ngx_int_t ngx_http_broadcast_hub_new_id(ngx_http_request_t *r,
    ngx_broadcast_negotiate_t *n);
static ngx_int_t ngx_http_broadcast_hub_stateful(ngx_http_request_t *r,
    ngx_uint_t *stateful);


ngx_int_t
ngx_http_broadcast_hub_negotiate(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_str_t                   value, body;
    ngx_broadcast_negotiate_t   n;

    ngx_memzero(&n, sizeof(ngx_broadcast_negotiate_t));

    rc = ngx_http_broadcast_arg(r, "negotiateversion", &value);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_broadcast_negotiate_version(&n, rc == NGX_DECLINED ? NULL
                                                               : &value)
        == NGX_OK
        && ngx_http_broadcast_hub_offer(r, &n) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.len = ngx_broadcast_negotiate_len(&n);
    body.data = ngx_pnalloc(r->pool, body.len);

    if (body.data == NULL
        || ngx_http_broadcast_header_text(r, "Cache-Control", "no-store")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_broadcast_negotiate_write(body.data, &n);

    return ngx_http_broadcast_json(r, NGX_HTTP_OK, &body);
}


/* a connection that may be made: its id, and by which transports */

static ngx_int_t
ngx_http_broadcast_hub_offer(ngx_http_request_t *r,
    ngx_broadcast_negotiate_t *n)
{
    ngx_uint_t                 offered, stateful;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ngx_http_broadcast_hub_stateful(r, &stateful) != NGX_OK) {
        return NGX_ERROR;
    }

    n->stateful = stateful;

    if (ngx_http_broadcast_hub_new_id(r, n) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->id = n->id;
    n->binary = 1;

    offered = ngx_http_broadcast_transports(r, ctx);

    if (offered & NGX_HTTP_BROADCAST_WEBSOCKET) {
        n->transports |= NGX_BROADCAST_NEGOTIATE_WEBSOCKET;
    }

    if (offered & NGX_HTTP_BROADCAST_SSE) {
        n->transports |= NGX_BROADCAST_NEGOTIATE_SSE;
    }

    if (offered & NGX_HTTP_BROADCAST_LONGPOLL) {
        n->transports |= NGX_BROADCAST_NEGOTIATE_LONGPOLL;
    }

    return NGX_OK;
}


/* a token that proves itself, and the public id in it */

static ngx_int_t
ngx_http_broadcast_hub_new_id(ngx_http_request_t *r,
    ngx_broadcast_negotiate_t *n)
{
    u_char                    *key, *last, id[NGX_BROADCAST_ID_BYTES];
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    key = ngx_http_broadcast_ticket(r);

    n->token.len = NGX_BROADCAST_TICKET_LEN;
    n->token.data = ngx_pnalloc(r->pool, NGX_BROADCAST_TICKET_LEN);

    if (key == NULL || n->token.data == NULL
        || ngx_broadcast_id_random(id, NGX_BROADCAST_ID_BYTES) != NGX_OK)
    {
        return NGX_ERROR;
    }

    last = &id[NGX_BROADCAST_ID_BYTES - 1];
    *last &= ~NGX_HTTP_BROADCAST_ID_BITS;

    if (n->version == 0) {
        *last |= NGX_HTTP_BROADCAST_ID_WHOLE;
    }

    if (n->stateful) {
        *last |= NGX_HTTP_BROADCAST_ID_STATEFUL;
    }

    if (ngx_broadcast_ticket_make(n->token.data, key, id, &ctx->hub,
                                  &ctx->user,
                                  ngx_time() + NGX_BROADCAST_TICKET_TTL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    n->id = n->token;

    if (n->version == 0) {
        return NGX_OK;
    }

    n->id.data = ngx_pnalloc(r->pool, NGX_BROADCAST_ID_LEN);
    if (n->id.data == NULL) {
        return NGX_ERROR;
    }

    n->id.len = ngx_broadcast_base64url(n->id.data, id,
                                        NGX_BROADCAST_ID_BYTES);

    return NGX_OK;
}


/* "true" in any case, blanks around it: as the reference server reads it */

static ngx_int_t
ngx_http_broadcast_hub_stateful(ngx_http_request_t *r, ngx_uint_t *stateful)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    *stateful = 0;

    rc = ngx_http_broadcast_arg(r, "usestatefulreconnect", &value);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        return NGX_OK;
    }

    while (value.len && value.data[0] == ' ') {
        value.data++;
        value.len--;
    }

    while (value.len && value.data[value.len - 1] == ' ') {
        value.len--;
    }

    *stateful = (value.len == 4
                 && ngx_strncasecmp(value.data, (u_char *) "true", 4) == 0);

    return NGX_OK;
}
