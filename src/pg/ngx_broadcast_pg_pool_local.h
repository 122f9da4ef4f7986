
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_POOL_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_PG_POOL_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_pg_reset.h"
#include "pg/ngx_broadcast_backoff.h"


/* the inside of the pool: for ngx_broadcast_pg_pool*.c only */

/* beside the urgencies: a slow one whose function takes little time */
#define NGX_BROADCAST_PG_KNOWN  3

#define NGX_BROADCAST_PG_DEPTH  8           /* queries on one connection */


typedef struct {
    ngx_broadcast_pg_conn_t     conn;
    ngx_broadcast_pg_query_t    setup;
    ngx_broadcast_pg_query_t    reset;
    ngx_msec_t                  clean;      /* when it was reset, or set up */
    ngx_uint_t                  up;         /* 1: set up, takes queries */
    ngx_uint_t                  used;       /* 1: functions ran on it since */
    ngx_uint_t                  resetting;  /* 1: reset is in flight */
    ngx_uint_t                  spare;      /* 1: a spare query is on it */
    ngx_uint_t                  alone;      /* 1: nothing goes behind what is
                                               on it */
} ngx_broadcast_pg_member_t;


typedef struct {
    ngx_broadcast_pg_conf_t    *conf;       /* borrowed from the cycle */
    ngx_log_t                  *log;        /* borrowed from the cycle */

    ngx_broadcast_pg_member_t  *members;    /* owned */
    ngx_uint_t                  n;

    ngx_queue_t                 quick;      /* of queries */
    ngx_queue_t                 known;      /* of functions that were prompt
                                               or fair when the query came */
    ngx_queue_t                 slow;       /* of all others */
    ngx_uint_t                  waiting;    /* in the three */
    ngx_queue_t                 spare;
    ngx_uint_t                  learned;    /* when slow was looked through */
    ngx_broadcast_pg_member_t  *emptied;    /* takes nothing but the next slow
                                               one; NULL: none has to */

    ngx_msec_t                  heard;      /* when anything was answered */

    ngx_uint_t                  failed;     /* the last connect did */
    ngx_uint_t                  tries;      /* that failed, ever */
    ngx_uint_t                  state;      /* gauge, at the last tick */
    ngx_broadcast_backoff_t     backoff;
    ngx_event_t                 retry;      /* the next try after a failure */
    ngx_event_t                 work;       /* posted: hand out, or refuse */

    char                        setup[384];
    char                        reset[384 + NGX_BROADCAST_PG_RESET_ROOM];
} ngx_broadcast_pg_pool_t;

extern ngx_broadcast_pg_pool_t  ngx_broadcast_pg_pool;


/* what waits, and what is there */

/* 1: the server says nothing, as far as this worker knows, too */
ngx_uint_t ngx_broadcast_pg_pool_silent(void);

/* connections that take queries; *connecting: those on their way there */
ngx_uint_t ngx_broadcast_pg_pool_count(ngx_uint_t *connecting);
void ngx_broadcast_pg_pool_gauge(void);


/* 1: the query's function is known to be prompt, or fair */
ngx_uint_t ngx_broadcast_pg_pool_known(ngx_broadcast_pg_query_t *query);

/*
 * Hands out what waits to connections that may take it.  *quick, *slow: there
 * are not enough of them for all that waits.
 */
void ngx_broadcast_pg_pool_hand(ngx_uint_t *quick, ngx_uint_t *slow);


/* takes back what functions left in sessions, for those that are due */
void ngx_broadcast_pg_pool_reset(void);


/* the life of a connection: one more is opened; the hooks of each */
void ngx_broadcast_pg_pool_open(ngx_uint_t quick);
void ngx_broadcast_pg_pool_retry(ngx_event_t *ev);
void ngx_broadcast_pg_pool_ready(ngx_broadcast_pg_conn_t *conn);
void ngx_broadcast_pg_pool_lost(ngx_broadcast_pg_conn_t *conn);
void ngx_broadcast_pg_pool_answered(ngx_broadcast_pg_conn_t *conn);


#endif /* _NGX_BROADCAST_PG_POOL_LOCAL_H_INCLUDED_ */
