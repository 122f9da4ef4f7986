
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_STATUS_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_STATUS_H_INCLUDED_


#include "http/ngx_http_broadcast_endpoint.h"
#include "shm/ngx_broadcast_stats.h"


/* one moment of the zone, from which all three forms are written */

typedef struct {
    ngx_broadcast_zone_info_t   zone;

    ngx_broadcast_slot_info_t  *workers;
    ngx_uint_t                  nworkers;

    ngx_broadcast_hub_info_t   *hubs;
    ngx_uint_t                  nhubs;

    uint64_t                    counter[NGX_BROADCAST_COUNTERS];
    ngx_uint_t                  pool[NGX_BROADCAST_POOL_STATES];
    ngx_uint_t                  away;      /* connections without a socket */
    ngx_uint_t                  streams;   /* of functions, that run */

    ngx_http_broadcast_health_t  **health; /* as this worker sees them */
    ngx_uint_t                  nhealth;

    const char                 *state;     /* of the database */
    const char                 *relay;
    uint64_t                    lag;       /* microseconds */

#if (NGX_BROADCAST_DEBUG)
    u_char                      check[256];    /* the broken invariant */
    size_t                      check_len;
#endif
} ngx_http_broadcast_status_t;


void ngx_http_broadcast_status_json(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);
void ngx_http_broadcast_status_prometheus(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);
void ngx_http_broadcast_status_html(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);

/* microseconds as seconds, with six digits behind the point */
void ngx_http_broadcast_status_seconds(ngx_broadcast_buf_t *b, uint64_t usec);

/* by NGX_BROADCAST_WEBSOCKET, … */
extern ngx_str_t  ngx_http_broadcast_transport_names[NGX_BROADCAST_TRANSPORTS];


#endif /* _NGX_HTTP_BROADCAST_STATUS_H_INCLUDED_ */
