
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_STREAM_H_INCLUDED_
#define _NGX_BROADCAST_STREAM_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"


/*
 * A set of rows that flows out of a function: a transaction of its own, on one
 * of this worker's connections that are set apart for it (conf->streams).
 *
 *   BEGIN, context, before   DECLARE   FETCH 1, 2, 4 …   done, COMMIT
 *                                        |     ^
 *                                      item()  resume()
 *
 * A row is given one at a time, and the next FETCH is sent when all of the one
 * before were taken: so the function makes no more than a batch ahead.  It is
 * known by its serial, which the caller has chosen and which no other call or
 * stream of this worker has; nobody's address is kept.
 */

typedef enum {
    NGX_BROADCAST_STREAM_OK = 0,    /* committed */
    NGX_BROADCAST_STREAM_FAILED,    /* SQL error: surely rolled back */
    NGX_BROADCAST_STREAM_TIMEOUT,   /* of a FETCH, or of the whole */
    NGX_BROADCAST_STREAM_AWAY       /* the connection broke, or did not come */
} ngx_broadcast_stream_status_e;


typedef struct {
    ngx_uint_t              status;
    ngx_uint_t              staged;     /* 1: a DONE record of this serial
                                           comes by the log, behind what the
                                           function sent */
    ngx_uint_t              begun;      /* 1: a row was given before */

    /* of an SQL error; borrowed until return */

    ngx_str_t               sqlstate;
    ngx_str_t               message;    /* primary, in one line */
    ngx_str_t               name;       /* DATATYPE of a RAISE */
    ngx_uint_t              raised;     /* 1: meant for the caller */
    ngx_uint_t              binding;    /* 1: an argument is not of its type */
    ngx_uint_t              denied;     /* 1: the caller may not call it */
} ngx_broadcast_stream_end_t;


/*
 * A row: the text of an item (JSON), borrowed until return.  NGX_OK: taken;
 * NGX_AGAIN: not now, it is given again after resume().  May cancel.
 */
typedef ngx_int_t (*ngx_broadcast_stream_item_pt)(uint64_t serial,
    ngx_str_t *item);

/* once, unless it was cancelled; nothing is called for the serial after it */
typedef void (*ngx_broadcast_stream_end_pt)(uint64_t serial,
    ngx_broadcast_stream_end_t *end);


/* PostgreSQL's functions have 100 arguments at most */
#define NGX_BROADCAST_STREAM_PARAMS  101

typedef struct {
    uint64_t                        serial;
    ngx_str_t                       function;   /* for the log; may be empty */
    ngx_str_t                       shape;      /* of the items, for whoever
                                                   takes them; may be empty */

    const char                     *statement;  /* zero terminated: a SELECT of
                                           one column of text, an item a row;
                                           with cursor: one row, the name of a
                                           portal */
    ngx_uint_t                      cursor;
    const char                     *before; /* NULL, or run behind BEGIN: it
                                           takes $1 alone (sets the role) */

    ngx_uint_t                      nparams;    /* 1 to STREAM_PARAMS */
    const char                    **params;     /* text, zero terminated; NULL:
                                           SQL null; the first is the call's
                                           context */

    ngx_broadcast_stream_item_pt    item;
    ngx_broadcast_stream_end_pt     end;
} ngx_broadcast_stream_in_t;


/*
 * Everything in `in` is copied; item and end are called from the event loop,
 * never from in here.  NGX_BUSY: as many as may be are running (counted);
 * NGX_DECLINED: the database is away (or streams=0: counted as the first);
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_stream_open(ngx_broadcast_stream_in_t *in);

/* goes on with a stream whose item was not taken; unknown ones are ignored */
void ngx_broadcast_stream_resume(uint64_t serial);

/*
 * Neither item nor end is called any more.  A query that runs is cancelled
 * over another connection, the transaction is rolled back.
 */
void ngx_broadcast_stream_cancel(uint64_t serial);


/* worker life; for pg/ only */

void ngx_broadcast_stream_start(ngx_broadcast_pg_conf_t *conf,
    ngx_log_t *log);
void ngx_broadcast_stream_stop(void);


#endif /* _NGX_BROADCAST_STREAM_H_INCLUDED_ */
