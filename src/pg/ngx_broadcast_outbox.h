
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_OUTBOX_H_INCLUDED_
#define _NGX_BROADCAST_OUTBOX_H_INCLUDED_


#include "pg/ngx_broadcast_call.h"


/*
 * The publishers' door.  It asks the hub's kind: ephemeral goes to the bus
 * now; durable is staged in the database (grouped per worker: what comes
 * while an INSERT is under way goes with the next one) and enters the bus by
 * the relay.  Group and close commands take the same door.
 */

/* 1 if the hub (lower case) is durable by this configuration */
ngx_uint_t ngx_broadcast_hub_durable(ngx_str_t *hub);

/*
 * The same of a hub of the zone; but a worker that exits goes by what the
 * workers of a newer configuration have written there.
 */
ngx_uint_t ngx_broadcast_hub_kind(ngx_uint_t hub);

/* finds or makes the hub's row with its kind; NGX_BUSY when full */
ngx_int_t ngx_broadcast_hub_index(ngx_str_t *hub, ngx_uint_t *index);


/* records of one request or one text: each is some hundred bytes */

#define NGX_BROADCAST_BATCH_MAX  10000


typedef enum {
    NGX_BROADCAST_KEPT = 0,         /* answer when it is committed */
    NGX_BROADCAST_NUMBERED          /* answer when its number is known */
} ngx_broadcast_want_e;

typedef enum {
    NGX_BROADCAST_SENT = 0,         /* done; position is that of the last
                                       record, epoch 0 if not known yet */
    NGX_BROADCAST_SENT_UNNUMBERED,  /* committed, number late (202) */
    NGX_BROADCAST_NOT_SENT,         /* surely nothing was kept (503) */
    NGX_BROADCAST_SENT_UNKNOWN,     /* connection broke in COMMIT (500) */
    NGX_BROADCAST_NOT_FIT,          /* does not fit (507) */
    NGX_BROADCAST_SENT_BUSY,        /* one with its key is under way (409) */
    NGX_BROADCAST_SENT_OTHER        /* its key was for something else (422) */
} ngx_broadcast_sent_e;

typedef struct {
    ngx_uint_t                status;       /* NGX_BROADCAST_SENT… */
    ngx_uint_t                count;
    ngx_broadcast_position_t  position;
} ngx_broadcast_sent_t;

typedef void (*ngx_broadcast_sent_pt)(ngx_broadcast_sent_t *sent, void *data);


/*
 * Sends n records of one hub, all or none.  The strings are copied.  key: NULL,
 * or what tells a repeat from the first: a durable hub keeps them once an hour,
 * and the repeat is told what the first was; in others it means nothing.
 *
 * NGX_OK: done, *sent is filled and the handler is not called.  NGX_AGAIN:
 * the handler will be called once from the event loop (*call valid until
 * then, cancel as any call; a record that is cancelled may still be kept).
 * NGX_BUSY: does not fit or queue full; NGX_DECLINED: database away: in both
 * nothing was kept and *sent says which.
 */
ngx_int_t ngx_broadcast_outbox_send(ngx_broadcast_record_t *recs,
    ngx_uint_t n, ngx_uint_t want, ngx_str_t *key, ngx_broadcast_sent_t *sent,
    ngx_broadcast_sent_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call);

/*
 * Fan-out tells the door each record with a mark as it passes in this
 * worker's reader: publishers that wait for their number get it.
 */
void ngx_broadcast_outbox_seen(ngx_broadcast_record_t *rec);


#endif /* _NGX_BROADCAST_OUTBOX_H_INCLUDED_ */
