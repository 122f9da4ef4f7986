
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast.h"


/*
 * Each worker derives it when it is first needed: the zone's secret is not
 * there yet while the configuration is read.
 */

u_char *
ngx_http_broadcast_ticket(ngx_http_request_t *r)
{
    u_char                         *seed;
    ngx_http_broadcast_srv_conf_t  *bscf;

    bscf = ngx_http_get_module_srv_conf(r, ngx_http_broadcast_module);

    if (bscf->ticket_made) {
        return bscf->ticket;
    }

    seed = ngx_broadcast_zone_secret(ngx_broadcast_bus.zone);

    if (ngx_broadcast_ticket_key(bscf->ticket, bscf->keys, seed) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "the key of connection tokens could not be made");
        return NULL;
    }

    bscf->ticket_made = 1;

    return bscf->ticket;
}


/* The first key signs, all verify: a rotation breaks no connection. */

ngx_int_t
ngx_http_broadcast_ticket_verify(ngx_http_request_t *r, ngx_str_t *token,
    ngx_str_t *user, time_t *expires)
{
    u_char                          id[NGX_BROADCAST_ID_BYTES];
    u_char                          other[NGX_BROADCAST_TICKET_KEY];
    u_char                         *key;
    ngx_int_t                       rc;
    ngx_uint_t                      n;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_srv_conf_t  *bscf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    bscf = ngx_http_get_module_srv_conf(r, ngx_http_broadcast_module);

    key = ngx_http_broadcast_ticket(r);

    if (key == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_broadcast_ticket_verify(token, key, &ctx->hub, user, ngx_time(),
                                     id, expires);

    for (n = 1; rc == NGX_DECLINED; n++) {

        if (ngx_broadcast_ticket_key_at(other, bscf->keys, n) != NGX_OK) {
            break;
        }

        rc = ngx_broadcast_ticket_verify(token, other, &ctx->hub, user,
                                         ngx_time(), id, expires);
    }

    return rc;
}
