
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_INVOKE_H_INCLUDED_
#define _NGX_BROADCAST_INVOKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "shm/ngx_broadcast_record.h"


/*
 * Client results, signalr.md 4.8: the worker that asks.  An INVOKE record takes
 * the question through the log to the connection's owner, an ANSWER record
 * brings what the client said.  Its id names the worker that asks and the place
 * in its table, so nothing else has to be kept anywhere for the way back; the
 * owner takes an answer for ids only that are pending at the connection.
 *
 * If another node has the connection both travel through the database.  The id
 * says so, too, and the owner answers by the way that the question came.
 */

typedef enum {
    NGX_BROADCAST_INVOKE_RESULT = 0,    /* text: the result, JSON */
    NGX_BROADCAST_INVOKE_FAILED,        /* text: the client's error */
    NGX_BROADCAST_INVOKE_GONE,          /* the connection ended before */
    NGX_BROADCAST_INVOKE_BUSY,          /* too many are pending there */
    NGX_BROADCAST_INVOKE_LARGE,         /* the answer did not fit the log */
    NGX_BROADCAST_INVOKE_PLAIN,         /* it speaks no hub protocol */
    NGX_BROADCAST_INVOKE_EARLY,         /* it has not said which one */
    NGX_BROADCAST_INVOKE_STATUSES,      /* those above take the log */

    NGX_BROADCAST_INVOKE_TIMEOUT = NGX_BROADCAST_INVOKE_STATUSES,
    NGX_BROADCAST_INVOKE_MISSED,        /* this worker was overrun: unknown */
    NGX_BROADCAST_INVOKE_AWAY,          /* the database did not take it */
    NGX_BROADCAST_INVOKE_UNKNOWN        /* ... or did, which it did not say */
} ngx_broadcast_invoke_status_e;


typedef struct ngx_broadcast_invoke_s  ngx_broadcast_invoke_t;  /* opaque */

/* text is borrowed until the handler returns */
typedef void (*ngx_broadcast_invoke_pt)(ngx_uint_t status, ngx_str_t *text,
    void *data);


/*
 * Asks rec->name, a LIVE connection of rec->hub, or with afar one of another
 * node in a durable hub: target and arguments (JSON) are copied.  The handler
 * is called once, from the event loop, at the latest after timeout ms; *invoke
 * is valid until then.
 *
 * NGX_OK; NGX_BUSY: too many questions wait in this worker (counted), or too
 * much for the database; NGX_DECLINED: it does not fit into the log (507);
 * NGX_ABORT: the database is away; NGX_ERROR.
 */
ngx_int_t ngx_broadcast_invoke(ngx_broadcast_record_t *rec, ngx_uint_t afar,
    ngx_msec_t timeout, ngx_broadcast_invoke_pt handler, void *data,
    ngx_broadcast_invoke_t **invoke);

/* nobody waits any more: the handler will not be called */
void ngx_broadcast_invoke_cancel(ngx_broadcast_invoke_t *invoke);


/* fan-out: an ANSWER record, for whichever worker; this worker's overrun */
void ngx_broadcast_invoke_answer(ngx_broadcast_record_t *rec);
void ngx_broadcast_invoke_overrun(void);

/* the database: it has not kept a question; here: 0, nobody has its client */
void ngx_broadcast_invoke_unsent(uint64_t serial, ngx_uint_t status);
void ngx_broadcast_invoke_looked(uint64_t serial, ngx_uint_t here);

/*
 * The owner's side: sends an answer on its way.  text may be NULL.  It never
 * fails: what does not fit the log goes as LARGE, and what the database does
 * not take is lost, as if the client were silent.
 */
void ngx_broadcast_invoke_reply(ngx_uint_t hub, ngx_str_t *connection,
    ngx_str_t *id, ngx_uint_t status, ngx_str_t *text);

/* 0: the worker of this node that made the id is dead; any other id is 1 */
ngx_uint_t ngx_broadcast_invoke_awaited(ngx_str_t *id);

/* exit of the worker: who still waits died with its request */
void ngx_broadcast_invoke_stop(void);


#endif /* _NGX_BROADCAST_INVOKE_H_INCLUDED_ */
