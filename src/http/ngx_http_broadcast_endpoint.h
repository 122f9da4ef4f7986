
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_ENDPOINT_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_ENDPOINT_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


#define NGX_HTTP_BROADCAST_STATUS_LINE  (sizeof("HTTP/1.1 200") - 1)

/* health requests that fail one behind another before clients are kept away */

#define NGX_HTTP_BROADCAST_FAILURES     2


/*
 * Whether the server behind some URLs answers: one for each scheme, host and
 * port, however many locations name it.  Made while the configuration is
 * read; each worker asks for itself, and the second part is its own.
 */

typedef struct {
    ngx_str_t                  url;        /* "http://host:port" */
    ngx_str_t                  name;       /* the host, for SNI, with a NUL
                                              behind it; empty: an address */
    ngx_str_t                  request;    /* as it is sent */
    ngx_addr_t                *addrs;      /* owned by the configuration */
    ngx_uint_t                 naddrs;
    ngx_msec_t                 interval;
    void                      *ssl;        /* ngx_ssl_t, NULL: plain */

    ngx_uint_t                 down;
    ngx_uint_t                 failures;   /* one behind another */
    ngx_uint_t                 addr;       /* the one that is asked */
    ngx_event_t                timer;      /* of the next request, or of the
                                              time-out of this one */
    ngx_peer_connection_t      peer;       /* its connection is NULL between
                                              two requests */
    ngx_uint_t                 connected;
    size_t                     sent;
    size_t                     got;
    u_char                     answer[NGX_HTTP_BROADCAST_STATUS_LINE];
} ngx_http_broadcast_health_t;


/* one url= of broadcast_negotiate */

typedef struct {
    ngx_http_broadcast_value_t    *url;
    ngx_int_t                      weight;     /* at least 1 */
    ngx_int_t                      current;    /* this worker's round robin */
    ngx_http_broadcast_health_t   *health;     /* NULL: it is not asked */
} ngx_http_broadcast_endpoint_t;


/* ngx_http_broadcast_endpoint.c */

/*
 * The next of an array of ngx_http_broadcast_endpoint_t: smooth weighted round
 * robin over those that are not down, or over all if all are.  NULL: there is
 * none at all.
 */
ngx_http_broadcast_endpoint_t *ngx_http_broadcast_endpoint(
    ngx_array_t *endpoints);


/* ngx_http_broadcast_health.c */

/* a worker's requests begin and end with it; health may be NULL */
void ngx_http_broadcast_health_start(ngx_array_t *health, ngx_log_t *log);
void ngx_http_broadcast_health_stop(ngx_array_t *health);


#endif /* _NGX_HTTP_BROADCAST_ENDPOINT_H_INCLUDED_ */
