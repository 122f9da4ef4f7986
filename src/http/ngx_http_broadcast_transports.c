
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Which transport a request asks for, and which a location offers. */


#include "http/ngx_http_broadcast.h"
#include "transport/ngx_http_broadcast_transport.h"


ngx_uint_t
ngx_http_broadcast_transport(ngx_http_request_t *r, ngx_int_t *refuse)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;

    *refuse = NGX_OK;

    /* its socket, and the end of it, are those of the main request */

    if (r != r->main) {
        *refuse = NGX_HTTP_BAD_REQUEST;
        return NGX_BROADCAST_LONGPOLL;
    }

    rc = ngx_http_broadcast_websocket_check(r);

    if (rc == 1) {
        return NGX_BROADCAST_WEBSOCKET;
    }

    if (rc != 0) {
        *refuse = rc;
        return NGX_BROADCAST_WEBSOCKET;
    }

    h = ngx_http_broadcast_header_in(r, "accept");

    if (h
        && ngx_strlcasestrn(h->value.data, h->value.data + h->value.len,
                            (u_char *) "text/event-stream",
                            sizeof("text/event-stream") - 2))
    {
        return NGX_BROADCAST_SSE;
    }

    return NGX_BROADCAST_LONGPOLL;
}


ngx_uint_t
ngx_http_broadcast_transports(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t *ctx)
{
    ngx_uint_t                      offered;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    offered = blcf->transports;

    if (ctx->jwt == NULL) {
        return offered;
    }

    if (!(ctx->jwt->transports & NGX_BROADCAST_JWT_WEBSOCKET)) {
        offered &= ~NGX_HTTP_BROADCAST_WEBSOCKET;
    }

    if (!(ctx->jwt->transports & NGX_BROADCAST_JWT_SSE)) {
        offered &= ~NGX_HTTP_BROADCAST_SSE;
    }

    if (!(ctx->jwt->transports & NGX_BROADCAST_JWT_LONGPOLL)) {
        offered &= ~NGX_HTTP_BROADCAST_LONGPOLL;
    }

    return offered;
}


ngx_int_t
ngx_http_broadcast_transport_off(ngx_http_request_t *r, ngx_uint_t transport)
{
    static const char  *text[] = {
        "WebSockets transport not supported by this end point type",
        "ServerSentEvents transport not supported by this end point type",
        "LongPolling transport not supported by this end point type"
    };

    return ngx_http_broadcast_text(r, NGX_HTTP_NOT_FOUND, text[transport]);
}
