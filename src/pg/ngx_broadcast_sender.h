
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
    NGX_BROADCAST_SENDER_NUMBERING
} ngx_broadcast_sender_state_e;


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
} ngx_broadcast_sender_t;


/* once, at start */
void ngx_broadcast_sender_init(void);

/* with copies of all strings; NULL: no memory */
ngx_broadcast_sender_t *ngx_broadcast_sender_create(ngx_str_t *hub,
    ngx_broadcast_record_t *recs, ngx_uint_t n);

/* gives its last record a mark, by which it is found; NGX_ERROR: no chance */
ngx_int_t ngx_broadcast_sender_mark(ngx_broadcast_sender_t *sender);
ngx_broadcast_sender_t *ngx_broadcast_sender_find(uint64_t mark);

/* tells the caller, unless he was told or has cancelled; it is not freed */
void ngx_broadcast_sender_tell(ngx_broadcast_sender_t *sender,
    ngx_uint_t status);
/* it must not stand in a queue any more */
void ngx_broadcast_sender_free(ngx_broadcast_sender_t *sender);


#endif /* _NGX_BROADCAST_SENDER_H_INCLUDED_ */
