
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_INVOCATION_H_INCLUDED_
#define _NGX_BROADCAST_INVOCATION_H_INCLUDED_


#include "conn/ngx_broadcast_call.h"
#include "conn/ngx_broadcast_peer.h"
#include "conn/ngx_broadcast_state.h"


/*
 * What is under way between a hub's client and the server, signalr.md 4.5 and
 * 4.8, made with the first of it and freed with the connection:
 *
 *   asked     ids of client results that the client has not answered yet
 *   streams   ids of streams that the client asked for and nobody has ended
 *   uploads   invocations whose upload streams are being collected
 *
 * Each is bounded.  Beyond it the new one is refused, and counted.
 */

#define NGX_BROADCAST_ASKED_MAX    64       /* a connection */
#define NGX_BROADCAST_STREAMS_MAX  64
#define NGX_BROADCAST_UPLOADS_MAX  64       /* upload streams of it */

/* the owner of a question that nobody took back may be stuck: ms */
#define NGX_BROADCAST_ASKED_TIME   600000


typedef struct ngx_broadcast_under_s  ngx_broadcast_under_t;

struct ngx_broadcast_under_s {
    ngx_broadcast_under_t      *next;       /* owned */
    ngx_msec_t                  since;
    ngx_broadcast_owner_t       source;     /* of a stream: the worker that runs
                                               it, 0: none does */
    uint64_t                    serial;     /* there */
    ngx_str_t                   shape;      /* of its items; owned, or empty */
    unsigned                    starved:1;  /* it may have more when the queue
                                               has become shorter */
    ngx_str_t                   id;         /* bytes stand behind */
};


/* one stream from the client: items joined by ',' */

typedef struct {
    ngx_str_t                   id;         /* bytes stand behind the upload */
    u_char                     *items;      /* owned, or NULL */
    size_t                      len;
    size_t                      size;
    unsigned                    complete:1;
} ngx_broadcast_collected_t;


typedef struct ngx_broadcast_upload_s  ngx_broadcast_upload_t;

struct ngx_broadcast_upload_s {
    ngx_broadcast_upload_t     *next;       /* owned */
    ngx_uint_t                  stream;     /* a StreamInvocation */
    ngx_str_t                   id;         /* bytes of these stand behind the
                                               last of streams */
    ngx_str_t                   target;
    ngx_str_t                   arguments;  /* JSON */
    size_t                      bytes;      /* of arguments and all items */
    ngx_uint_t                  left;       /* streams that go on */
    ngx_uint_t                  n;
    ngx_broadcast_collected_t   streams[1];
};


typedef struct ngx_broadcast_invocation_s  ngx_broadcast_invocation_t;

struct ngx_broadcast_invocation_s {
    ngx_broadcast_under_t      *asked;      /* owned */
    ngx_broadcast_under_t      *streams;    /* owned */
    ngx_broadcast_upload_t     *uploads;    /* owned */
    ngx_uint_t                  nasked;
    ngx_uint_t                  nstreams;
    ngx_uint_t                  nuploads;   /* upload streams */
    size_t                      bytes;      /* of all uploads: at most
                                               limits->message_size */
    ngx_uint_t                  starved;    /* 1: one of streams is */
};


/* of the connection, made if need be; NULL: no memory */
ngx_broadcast_invocation_t *ngx_broadcast_invocation_get(
    ngx_broadcast_conn_t *bc);

/* inbound: a message of types 1 to 5 from the client; may set bc->task */
void ngx_broadcast_invocation_message(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_message_t *m);

/* opens its stream, if it is one, and calls it, or answers why not */
void ngx_broadcast_invocation_call(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_wanted_t *w);

/* fan-out: INVOKE, FORGET, ITEM and COMPLETE for a connection that is ACTIVE */
void ngx_broadcast_invocation_record(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);

/*
 * Ends the client's stream: 1 if it was open, and then a Completion is said,
 * with an error unless that is NULL.
 */
ngx_uint_t ngx_broadcast_invocation_end(ngx_broadcast_conn_t *bc,
    ngx_str_t *id, ngx_str_t *error);

/* 1 if the id names something under way that will be completed */
ngx_uint_t ngx_broadcast_invocation_used(ngx_broadcast_conn_t *bc,
    ngx_str_t *id);

/*
 * A Completion with an error: head, name, tail, why, which may be NULL; and
 * that of an id that is used already (signalr.md 4.6).
 */
void ngx_broadcast_invocation_refuse(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_str_t *id, ngx_str_t *name, const char *head,
    const char *tail, ngx_str_t *why);
void ngx_broadcast_invocation_in_use(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_str_t *id, ngx_str_t *used);

#define NGX_BROADCAST_FAILED_TO_INVOKE  "Failed to invoke '"
#define NGX_BROADCAST_DUE_TO_AN_ERROR   "' due to an error on the server. "
#define NGX_BROADCAST_UNEXPECTED                                              \
    "An unexpected error occurred invoking '"
#define NGX_BROADCAST_HUB_EXCEPTION     "' on the server. HubException: "

extern ngx_str_t  ngx_broadcast_invocation_many;

/* the connection ends: who waits for its answers hears it */
void ngx_broadcast_invocation_leave(ngx_broadcast_conn_t *bc);

void ngx_broadcast_invocation_free(ngx_broadcast_conn_t *bc);


/*
 * A list of ids; push: NULL without memory; find: the link to it, or NULL.
 * shape: NGX_ERROR without memory.
 */

ngx_broadcast_under_t *ngx_broadcast_under_push(ngx_broadcast_under_t **list,
    ngx_str_t *id);
ngx_broadcast_under_t **ngx_broadcast_under_find(ngx_broadcast_under_t **list,
    ngx_str_t *id);
ngx_int_t ngx_broadcast_under_shape(ngx_broadcast_under_t *under,
    ngx_str_t *shape);
void ngx_broadcast_under_remove(ngx_broadcast_under_t **link);


/* ngx_broadcast_asked.c: client results */

/* asks the client by an INVOKE record, or answers why not */
void ngx_broadcast_asked_open(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);

/* nobody waits for it any more: 1 if it was pending */
ngx_uint_t ngx_broadcast_asked_forget(ngx_broadcast_conn_t *bc,
    ngx_str_t *id);

/* a Completion from the client: 1 if it is the answer to such a question */
ngx_uint_t ngx_broadcast_asked_answer(ngx_broadcast_conn_t *bc,
    ngx_broadcast_message_t *m);


/* ngx_broadcast_upload.c: streams from the client */

/*
 * Begins to collect for m, which has streams, or answers why not; asked: as
 * that of ngx_broadcast_wanted_t.
 */
void ngx_broadcast_upload_open(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m, ngx_uint_t asked);

/* an item or the end of one of them; an id that is unknown is ignored */
void ngx_broadcast_upload_item(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m);
void ngx_broadcast_upload_complete(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_message_t *m);

/* 1 if the id is an upload stream's, or an invocation's that waits for some */
ngx_uint_t ngx_broadcast_upload_used(ngx_broadcast_conn_t *bc, ngx_str_t *id);

/* the client cancels what waits for its streams: 1 if there was such a one */
ngx_uint_t ngx_broadcast_upload_cancel(ngx_broadcast_conn_t *bc,
    ngx_str_t *id);

/*
 * The pieces of one: made with room for the n ids of its streams, which are
 * bytes altogether and named in their order; then it is the connection's.
 * append: an item, or several joined by ','.  NULL, NGX_ERROR: no memory.
 */
ngx_broadcast_upload_t *ngx_broadcast_upload_new(ngx_str_t *id,
    ngx_str_t *target, ngx_str_t *arguments, ngx_uint_t n, size_t bytes);
void ngx_broadcast_upload_name(ngx_broadcast_upload_t *up, ngx_uint_t i,
    ngx_str_t *id);
ngx_int_t ngx_broadcast_upload_append(ngx_broadcast_upload_t *up,
    ngx_broadcast_collected_t *stream, ngx_str_t *item);
void ngx_broadcast_upload_add(ngx_broadcast_conn_t *bc,
    ngx_broadcast_upload_t *up);

void ngx_broadcast_upload_free(ngx_broadcast_upload_t *up);


/* ngx_broadcast_invocation_state.c: a part of ngx_broadcast_state.h */

void ngx_broadcast_invocation_put(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
ngx_int_t ngx_broadcast_invocation_got(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc);


#endif /* _NGX_BROADCAST_INVOCATION_H_INCLUDED_ */
