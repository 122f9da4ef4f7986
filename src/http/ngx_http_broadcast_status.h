
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_STATUS_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_STATUS_H_INCLUDED_


#include "http/ngx_http_broadcast_endpoint.h"
#include "shm/ngx_broadcast_note.h"
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
    uint64_t                    calls;     /* refused: the queue was full, or
                                              the database away */
    uint64_t                    away;      /* connections without a socket */
    uint64_t                    streams;   /* of functions, that run */
    uint64_t                    unsettled; /* `disconnected` is owed */

    ngx_http_broadcast_health_t  **health; /* as this worker sees them */
    ngx_uint_t                  nhealth;

    const char                 *state;     /* of the database */
    const char                 *relay;
    uint64_t                    lag;       /* microseconds */
    uint64_t                    wal;       /* 1: sends go through the WAL */
    uint64_t                    behind;    /* bytes of it not confirmed */

    ngx_uint_t                  session;   /* 1: the relay has one */
    uint64_t                    connected; /* milliseconds: it runs so long */
    uint64_t                    heard;     /* and answered so long ago */
    uint64_t                    retry;     /* 1: none, the next in so long */
    uint64_t                    failures;
    ngx_uint_t                  listens;   /* NGX_BROADCAST_LISTENS_… */
    ngx_uint_t                  pooler;    /* NGX_BROADCAST_POOLER_… */
    u_char                      server[NGX_BROADCAST_NOTE_SIZE];
    u_char                      reason[NGX_BROADCAST_NOTE_SIZE];
    u_char                      hinders[NGX_BROADCAST_NOTE_SIZE];

#if (NGX_BROADCAST_DEBUG)
    u_char                      check[256];    /* the broken invariant */
    size_t                      check_len;
#endif
} ngx_http_broadcast_status_t;


void ngx_http_broadcast_status_prometheus(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);
void ngx_http_broadcast_status_html(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);

/* reads how the relay's session fares; the member "database" */
void ngx_http_broadcast_status_session(ngx_http_broadcast_status_t *st);
void ngx_http_broadcast_status_database(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);

#define ngx_http_broadcast_status_member(b, name, value)                      \
    ngx_broadcast_buf_literal(b, name);                                       \
    ngx_broadcast_buf_uint(b, value)

/* microseconds as seconds, with six digits behind the point */
void ngx_http_broadcast_status_seconds(ngx_broadcast_buf_t *b, uint64_t usec);

/*
 * Why connections were closed, requests and messages refused, sessions of the
 * relay lost or not made: in the order of their counters, NULL behind the last.
 */
extern const char  *ngx_http_broadcast_closed[];
extern const char  *ngx_http_broadcast_refused[];
extern const char  *ngx_http_broadcast_lost[];

/* an object of them; n is the first of the counters */
void ngx_http_broadcast_status_reasons(ngx_broadcast_buf_t *b,
    const char **reason, uint64_t *n);

/* by NGX_BROADCAST_WEBSOCKET, … */
extern ngx_str_t  ngx_http_broadcast_transport_names[NGX_BROADCAST_TRANSPORTS];


#endif /* _NGX_HTTP_BROADCAST_STATUS_H_INCLUDED_ */
