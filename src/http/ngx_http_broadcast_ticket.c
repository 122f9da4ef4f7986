
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
