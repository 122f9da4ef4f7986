
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_STAGE_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_STAGE_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_pg_conn.h"
#include "pg/ngx_broadcast_sender.h"
#include "pg/ngx_broadcast_stage.h"


#define NGX_BROADCAST_STAGE_ROWS    500                 /* a statement */
#define NGX_BROADCAST_STAGE_BYTES   (4 * 1024 * 1024)
#define NGX_BROADCAST_STAGE_KEYS    64                  /* locks */
#define NGX_BROADCAST_STAGE_QUEUE   (64 * 1024 * 1024)  /* bytes waiting */


typedef struct {
    ngx_log_t                  *log;        /* borrowed from the cycle */
    ngx_queue_t                 waiting;    /* of senders */
    ngx_uint_t                  nwaiting;
    size_t                      bytes;      /* of those waiting */
    ngx_event_t                 next;       /* posted: send the next group */

    ngx_queue_t                 group;      /* of senders, in flight */
    ngx_uint_t                  keys;       /* how many of them have one */
    ngx_uint_t                  busy;
    ngx_broadcast_pg_query_t    query;
    ngx_pool_t                 *pool;       /* owned, of the query's texts */

    time_t                      logged;     /* an error, once a second */
    size_t                      fits;       /* largest record for the log */
} ngx_broadcast_stage_t;

extern ngx_broadcast_stage_t  ngx_broadcast_stage;


#define NGX_BROADCAST_STAGE_PARAMS       11
#define NGX_BROADCAST_STAGE_ONCE_PARAMS  14


/* stage.c */

/* into the line of those who wait; head: 1: at its head */
void ngx_broadcast_stage_wait(ngx_broadcast_sender_t *sender, ngx_uint_t head);
/* the next statement, if none is under way */
void ngx_broadcast_stage_post(void);


/* stage_texts.c */

/* the parameters of the group's statement; NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_stage_texts(ngx_uint_t rows);


/* stage_once.c */

/* what the database said of those of the group that have a key */
void ngx_broadcast_stage_repeats(PGresult *result);
/* a repeat: 1 if it asks again, later; 0: it is to be told */
ngx_uint_t ngx_broadcast_stage_again(ngx_broadcast_sender_t *sender);
void ngx_broadcast_stage_later(ngx_event_t *ev);
/* what a sender is told, if told is what one without a key would be */
ngx_uint_t ngx_broadcast_stage_told(ngx_broadcast_sender_t *sender,
    ngx_uint_t told);


#endif /* _NGX_BROADCAST_STAGE_LOCAL_H_INCLUDED_ */
