
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What publish and the REST API have in common behind their bodies. */


#include "http/ngx_http_broadcast.h"


ngx_int_t
ngx_http_broadcast_send_to(ngx_http_request_t *r, ngx_str_t *hub,
    ngx_array_t *records, ngx_uint_t want, ngx_http_broadcast_sent_pt sent)
{
    ngx_uint_t               i, index;
    ngx_broadcast_sent_t     result;
    ngx_broadcast_record_t  *rec;

    if (ngx_broadcast_hub_index(hub, &index) != NGX_OK) {
        ngx_memzero(&result, sizeof(ngx_broadcast_sent_t));
        result.status = NGX_BROADCAST_NOT_FIT;
        return ngx_http_broadcast_not_sent(r, &result);
    }

    rec = records->elts;

    for (i = 0; i < records->nelts; i++) {
        rec[i].hub = index;
    }

    return ngx_http_broadcast_send(r, rec, records->nelts, want, sent);
}


ngx_int_t
ngx_http_broadcast_not_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent)
{
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->json = 1;

    switch (sent->status) {

    case NGX_BROADCAST_NOT_FIT:
        return ngx_http_broadcast_error(r, NGX_HTTP_INSUFFICIENT_STORAGE,
                                        "InsufficientStorage",
                                        "It does not fit into the zone.",
                                        NULL);

    case NGX_BROADCAST_NOT_SENT:
        return ngx_http_broadcast_unavailable(r, "The database is away, "
                                              "nothing was kept.");

    default:
        return ngx_http_broadcast_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "Unknown", "The connection to the "
                                        "database broke while it was kept.",
                                        NULL);
    }
}


/* ids are base64url; those of clients that negotiated version 0 are longer */

ngx_int_t
ngx_http_broadcast_connection_id(ngx_str_t *id)
{
    size_t  i;
    u_char  c;

    if (id->len == 0 || id->len > NGX_BROADCAST_CONN_ID_MAX) {
        return NGX_ERROR;
    }

    for (i = 0; i < id->len; i++) {
        c = id->data[i];

        if (c <= ' ' || c == ',' || c >= 0x7f) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
