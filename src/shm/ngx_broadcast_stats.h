
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_STATS_H_INCLUDED_
#define _NGX_BROADCAST_STATS_H_INCLUDED_


#include "shm/ngx_broadcast_zone.h"


/*
 * Counters: one block a slot, written only by its owner (no lock, no atomic
 * read-modify-write), never reset, summed on read over all slots, living or
 * not: so totals survive their workers and every worker answers the same.
 */

typedef enum {
    NGX_BROADCAST_CLOSED_SLOW = 0,
    NGX_BROADCAST_CLOSED_RATE,
    NGX_BROADCAST_CLOSED_TIMEOUT,
    NGX_BROADCAST_CLOSED_PROTOCOL,
    NGX_BROADCAST_CLOSED_OVERRUN,
    NGX_BROADCAST_CLOSED_DRAIN,
    NGX_BROADCAST_CLOSED_NORMAL,
    NGX_BROADCAST_CLOSED_SERVER,        /* by command: API, SQL, action */
    NGX_BROADCAST_CLOSED_ERROR,         /* no memory, or no words for a
                                           message in the client's protocol */
    NGX_BROADCAST_CLOSED_WORKER,        /* with its worker, or on the way to
                                           another one: see registry.c */

    NGX_BROADCAST_REFUSED_TOKEN,
    NGX_BROADCAST_REFUSED_ORIGIN,
    NGX_BROADCAST_REFUSED_LIMIT,        /* connections: zone or directive */
    NGX_BROADCAST_REFUSED_FULL,         /* message that cannot fit: 507 */
    NGX_BROADCAST_REFUSED_SIZE,         /* 413, 1009 */
    NGX_BROADCAST_REFUSED_DATABASE,     /* 503 */
    NGX_BROADCAST_REFUSED_FUNCTION,     /* connect function said no */
    NGX_BROADCAST_REFUSED_INVOCATION,   /* too many are under way: client
                                           results, streams, uploads */
    NGX_BROADCAST_REFUSED_STREAM,       /* too many streams of functions run */
    NGX_BROADCAST_REFUSED_ROLE,         /* role_claim: who calls has no role
                                           that may */

    NGX_BROADCAST_SENT_BYTES_WEBSOCKET, /* by transport, in its order */
    NGX_BROADCAST_SENT_BYTES_SSE,
    NGX_BROADCAST_SENT_BYTES_LONGPOLL,

    NGX_BROADCAST_OPENED,               /* connections; those that are, and
                                           those that closed, together */

    NGX_BROADCAST_UNPLACED,             /* workers that began without a slot */

    NGX_BROADCAST_FRAMES_ENCODED,       /* once a worker, protocol, form */
    NGX_BROADCAST_FRAMES_DEFLATED,      /* the same and window size */
    NGX_BROADCAST_WAKES,
    NGX_BROADCAST_OVERRUNS,
    NGX_BROADCAST_RECONNECTS,           /* sockets that took a stateful
                                           connection over */

    NGX_BROADCAST_RESUMES,              /* positions that clients named */
    NGX_BROADCAST_RESUME_READS,         /* reads of the history for them */
    NGX_BROADCAST_GAPS,                 /* clients told that they missed
                                           something */

    NGX_BROADCAST_DB_RECONNECTS,
    NGX_BROADCAST_DB_CALLS,
    NGX_BROADCAST_DB_ERRORS,
    NGX_BROADCAST_ERRORS_DROPPED,       /* that have no row of their own in
                                           broadcast.function_error */
    NGX_BROADCAST_METHODS_OVER,         /* rows of broadcast.methods() that
                                           were left out */
    NGX_BROADCAST_WAL_LEFT_OUT,         /* messages in the WAL under our prefix
                                           that the schema has not sent */
    NGX_BROADCAST_DB_ABANDONED,         /* `disconnected`, settled without the
                                           functions: they failed too often */
    NGX_BROADCAST_RELAY_PAUSED,         /* milliseconds, for slow workers */
    NGX_BROADCAST_DOORBELLS,            /* heard by the relay */

    NGX_BROADCAST_LOST_CONNECT,         /* sessions of the relay: not made */
    NGX_BROADCAST_LOST_STANDBY,         /* the server was a standby */
    NGX_BROADCAST_LOST_CLOSED,          /* broke, or was ended */
    NGX_BROADCAST_LOST_SILENT,          /* did not answer in time */
    NGX_BROADCAST_LOST_BEHIND,          /* the database was put back */
    NGX_BROADCAST_LOST_ERROR,           /* a statement of its own failed */

    NGX_BROADCAST_COUNTERS
} ngx_broadcast_counter_e;

typedef enum {
    NGX_BROADCAST_PUBLISH_TO_SOCKET = 0,    /* microseconds */
    NGX_BROADCAST_COMMIT_TO_SOCKET,
    NGX_BROADCAST_FUNCTION_TIME,            /* + event kind */
    NGX_BROADCAST_HISTOGRAMS = NGX_BROADCAST_FUNCTION_TIME + 7
} ngx_broadcast_histogram_e;

/* upper bounds in microseconds: 100, 250, 500, 1000, 2500 to 10 s; then +Inf */
#define NGX_BROADCAST_BUCKETS   16

/* gauges of the node, the last writer's word counts */

typedef enum {
    NGX_BROADCAST_DB_OFF = 0,
    NGX_BROADCAST_DB_DOWN,
    NGX_BROADCAST_DB_UP,
    NGX_BROADCAST_DB_SCHEMA
} ngx_broadcast_db_state_e;

typedef enum {
    NGX_BROADCAST_RELAY_OFF = 0,
    NGX_BROADCAST_RELAY_LEADER,
    NGX_BROADCAST_RELAY_FOLLOWER,
    NGX_BROADCAST_RELAY_LISTEN
} ngx_broadcast_relay_state_e;

typedef enum {
    NGX_BROADCAST_LISTENS_UNKNOWN = 0,
    NGX_BROADCAST_LISTENS_YES,
    NGX_BROADCAST_LISTENS_NO                /* what it sent itself did not come
                                               back: only the poll serves */
} ngx_broadcast_listens_e;

typedef enum {
    NGX_BROADCAST_POOLER_UNKNOWN = 0,
    NGX_BROADCAST_POOLER_NONE,
    NGX_BROADCAST_POOLER_SESSION,           /* one that keeps sessions */
    NGX_BROADCAST_POOLER_TRANSACTION        /* one that moves them */
} ngx_broadcast_pooler_e;

typedef enum {
    NGX_BROADCAST_GAUGE_DB_STATE = 0,
    NGX_BROADCAST_GAUGE_RELAY_STATE,
    NGX_BROADCAST_GAUGE_RELAY_LAG,          /* microseconds */
    NGX_BROADCAST_GAUGE_RELAY_SLOT,         /* its holder's slot + 1, or 0 */
    NGX_BROADCAST_GAUGE_RELAY_DUE,          /* 1: something was staged */
    NGX_BROADCAST_GAUGE_RELAY_BEGUN,        /* 1: the relay cursor was set */
    NGX_BROADCAST_GAUGE_RELAY_MARK_POS,     /* of a row that was read, or 0 */
    NGX_BROADCAST_GAUGE_RELAY_MARK,         /* the random mark of that row */
    NGX_BROADCAST_GAUGE_RELAY_SYSTEM,       /* the cluster it was read from, */
    NGX_BROADCAST_GAUGE_RELAY_TIMELINE,     /* and its timeline; 0: unknown */
    NGX_BROADCAST_GAUGE_LISTENED,           /* 1: raw NOTIFY was heard before */
    NGX_BROADCAST_GAUGE_SETTLE_SLOT,
    NGX_BROADCAST_GAUGE_SETTLE_DUE,
    NGX_BROADCAST_GAUGE_BINDINGS,           /* version of the bindings */
    NGX_BROADCAST_GAUGE_REPLACED,           /* 1: a reload made another zone */
    NGX_BROADCAST_GAUGE_CUT_OFF,            /* 1 + how often the node was not
                                               heard of for its lease */
    NGX_BROADCAST_GAUGE_BEAT,               /* the server's clock, ms, at the
                                               last beat that was answered */

    /* of the relay's session; times are monotonic milliseconds, 0: none */

    NGX_BROADCAST_GAUGE_DB_SINCE,           /* it runs since */
    NGX_BROADCAST_GAUGE_DB_HEARD,           /* its last answer */
    NGX_BROADCAST_GAUGE_DB_SILENT,          /* the server says nothing, not
                                               even to others, since */
    NGX_BROADCAST_GAUGE_DB_FAILURES,        /* tries since it was lost */
    NGX_BROADCAST_GAUGE_DB_RETRY,           /* the next one */
    NGX_BROADCAST_GAUGE_DB_LISTENS,         /* NGX_BROADCAST_LISTENS_… */
    NGX_BROADCAST_GAUGE_DB_POOLER,          /* NGX_BROADCAST_POOLER_… */

    NGX_BROADCAST_GAUGE_WAL,                /* 1: what is sent goes through
                                               the WAL */
    NGX_BROADCAST_GAUGE_WAL_BEHIND,         /* bytes that its slot keeps, at
                                               who leads */
    NGX_BROADCAST_GAUGES
} ngx_broadcast_gauge_e;

typedef struct {
    uint64_t                bucket[NGX_BROADCAST_BUCKETS];
    uint64_t                count;
    uint64_t                sum;            /* microseconds */
} ngx_broadcast_histogram_t;


void ngx_broadcast_stats_add(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t counter, uint64_t n);
uint64_t ngx_broadcast_stats_sum(ngx_broadcast_zone_t *zone,
    ngx_uint_t counter);

void ngx_broadcast_stats_observe(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t histogram, uint64_t usec);
/* n of that bucket, or of none: beyond the last */
void ngx_broadcast_stats_observe_all(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot, ngx_uint_t histogram, ngx_uint_t bucket, uint64_t sum,
    ngx_uint_t n);
void ngx_broadcast_stats_histogram(ngx_broadcast_zone_t *zone,
    ngx_uint_t histogram, ngx_broadcast_histogram_t *out);
extern const uint64_t  ngx_broadcast_stats_bounds[NGX_BROADCAST_BUCKETS];

/* calls by event kind and outcome (label `outcome`) */
#define NGX_BROADCAST_OUTCOME_OK       0
#define NGX_BROADCAST_OUTCOME_ERROR    1
#define NGX_BROADCAST_OUTCOME_TIMEOUT  2
#define NGX_BROADCAST_OUTCOME_REFUSED  3    /* queue full or breaker open */
#define NGX_BROADCAST_OUTCOMES         4

void ngx_broadcast_stats_call(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t event, ngx_uint_t outcome);
uint64_t ngx_broadcast_stats_calls(ngx_broadcast_zone_t *zone,
    ngx_uint_t event, ngx_uint_t outcome);

/* pool connections of one slot by state: idle, busy, connecting */
#define NGX_BROADCAST_POOL_STATES  3
void ngx_broadcast_stats_pool(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t n[NGX_BROADCAST_POOL_STATES]);
void ngx_broadcast_stats_pools(ngx_broadcast_zone_t *zone,
    ngx_uint_t n[NGX_BROADCAST_POOL_STATES]);        /* living slots */

/* connections of one slot that wait for another socket; of living slots */
void ngx_broadcast_stats_away(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t n);
ngx_uint_t ngx_broadcast_stats_aways(ngx_broadcast_zone_t *zone);

/* streams of functions that one slot's worker runs; of living slots */
void ngx_broadcast_stats_streams(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t n);
ngx_uint_t ngx_broadcast_stats_running(ngx_broadcast_zone_t *zone);

void ngx_broadcast_stats_set(ngx_broadcast_zone_t *zone, ngx_uint_t gauge,
    uint64_t value);
uint64_t ngx_broadcast_stats_get(ngx_broadcast_zone_t *zone,
    ngx_uint_t gauge);


#endif /* _NGX_BROADCAST_STATS_H_INCLUDED_ */
