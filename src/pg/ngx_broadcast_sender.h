
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_SENDER_H_INCLUDED_
#define _NGX_BROADCAST_SENDER_H_INCLUDED_


#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_outbox.h"


/* one publish into a durable hub; for ngx_broadcast_stage.c only */

typedef enum {
    NGX_BROADCAST_SENDER_WAITING = 0,
    NGX_BROADCAST_SENDER_GROUPED,
    NGX_BROADCAST_SENDER_LATER,
    NGX_BROADCAST_SENDER_NUMBERING
} ngx_broadcast_sender_state_e;


/* what the database has said of a request with a key, if it was no first */

typedef enum {
    NGX_BROADCAST_REPEAT_NO = 0,
    NGX_BROADCAST_REPEAT_BUSY,      /* the first is under way */
    NGX_BROADCAST_REPEAT_KEPT,      /* it is committed */
    NGX_BROADCAST_REPEAT_OTHER      /* it was something else */
} ngx_broadcast_repeat_e;

#define NGX_BROADCAST_DIGEST_LEN  40


typedef struct {
    ngx_broadcast_call_t        call;
    ngx_rbtree_node_t           node;       /* key: the mark; 0: not in it */
    ngx_queue_t                 queue;      /* waiting, or of the group */
    ngx_pool_t                 *pool;       /* owned, holds all of it */
    ngx_event_t                 timer;
    ngx_broadcast_sent_pt       handler;
    ngx_broadcast_sent_t        sent;
    ngx_str_t                   hub;
    ngx_broadcast_record_t     *recs;
    ngx_uint_t                  n;
    size_t                      bytes;
    ngx_uint_t                  state;
    ngx_uint_t                  alone;      /* 1: not in one statement with
                                               others, one of them failed */
    ngx_uint_t                  finished;   /* 1: told, or cancelled */

    /* with a key only */

    ngx_str_t                   key;        /* empty: none */
    u_char                      digest[NGX_BROADCAST_DIGEST_LEN];
    ngx_uint_t                  want;
    ngx_uint_t                  repeat;     /* NGX_BROADCAST_REPEAT_… */
    ngx_event_t                 later;      /* asks the database again */
    ngx_msec_t                  pause;
} ngx_broadcast_sender_t;


/* once, at start */
void ngx_broadcast_sender_init(void);

/* with copies of all strings; NULL: no memory */
ngx_broadcast_sender_t *ngx_broadcast_sender_create(ngx_str_t *hub,
    ngx_broadcast_record_t *recs, ngx_uint_t n);

/* a key, and what its records are; NGX_ERROR: no memory */
ngx_int_t ngx_broadcast_sender_key(ngx_broadcast_sender_t *sender,
    ngx_str_t *key);

/* gives its last record a mark, by which it is found; NGX_ERROR: no chance */
ngx_int_t ngx_broadcast_sender_mark(ngx_broadcast_sender_t *sender);
ngx_broadcast_sender_t *ngx_broadcast_sender_find(uint64_t mark);

/* tells the caller, unless he was told or has cancelled; it is not freed */
void ngx_broadcast_sender_tell(ngx_broadcast_sender_t *sender,
    ngx_uint_t status);
/* it must not stand in a queue any more */
void ngx_broadcast_sender_free(ngx_broadcast_sender_t *sender);


#endif /* _NGX_BROADCAST_SENDER_H_INCLUDED_ */
