
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Which of several endpoints the next client is sent to. */


#include "http/ngx_http_broadcast_endpoint.h"


/*
 * As in nginx's upstreams: each turn an endpoint gains its weight, and the one
 * that is ahead pays for all.  One that was down takes up its turns again with
 * the credit it had, so it is not flooded when it comes back.
 */

ngx_http_broadcast_endpoint_t *
ngx_http_broadcast_endpoint(ngx_array_t *endpoints)
{
    ngx_int_t                       total;
    ngx_uint_t                      i, up;
    ngx_http_broadcast_endpoint_t  *ep, *best;

    up = 0;
    ep = endpoints->elts;

    for (i = 0; i < endpoints->nelts; i++) {
        up += (ep[i].health == NULL || !ep[i].health->down);
    }

    total = 0;
    best = NULL;

    for (i = 0; i < endpoints->nelts; i++) {

        if (up && ep[i].health && ep[i].health->down) {
            continue;
        }

        ep[i].current += ep[i].weight;
        total += ep[i].weight;

        if (best == NULL || ep[i].current > best->current) {
            best = &ep[i];
        }
    }

    if (best) {
        best->current -= total;
    }

    return best;
}
