
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_STREAM_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_STREAM_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_stream.h"
#include "pg/ngx_broadcast_pg_conn.h"
#include "pg/ngx_broadcast_pg_reset.h"


/*
 * The inside of streams: for ngx_broadcast_stream*.c only.
 *
 * A seat is a connection set apart; a stream takes one for its transaction.
 * A stream that is cancelled lets go of its seat at once, and the seat takes
 * the next one when it is surely in no transaction and no cancel is on its
 * way to it.
 *
 *   CLOSED --> CONNECTING --> IDLE --> OPEN --> ENDING --> IDLE
 *                 (setup)            (stream)   COMMIT or ROLLBACK
 */

typedef struct ngx_broadcast_seat_s  ngx_broadcast_seat_t;
typedef struct ngx_broadcast_rows_s  ngx_broadcast_rows_t;


/* one stream: a piece of memory with all of its texts */

struct ngx_broadcast_rows_s {
    ngx_queue_t                 queue;      /* of those that wait, or of those
                                               that have a seat */
    ngx_broadcast_stream_in_t   in;         /* texts stand behind */
    ngx_broadcast_seat_t       *seat;       /* NULL: it waits for one */
    char                       *portal;     /* owned, of a refcursor */

    PGresult                   *result;     /* owned: a batch that is given */
    int                         row;        /* the next of it */
    ngx_uint_t                  asked;      /* rows of the FETCH */
    ngx_msec_t                  since;      /* of the FETCH */
    ngx_msec_t                  took;       /* how long the last one was */
    ngx_uint_t                  begun;      /* a row was taken */
    ngx_event_t                 timer;      /* of the whole stream */
};


/* the queries of a transaction, in their order */

typedef enum {
    NGX_BROADCAST_SEAT_BEGIN = 0,
    NGX_BROADCAST_SEAT_CONTEXT,
    NGX_BROADCAST_SEAT_BEFORE,
    NGX_BROADCAST_SEAT_DECLARE,
    NGX_BROADCAST_SEAT_FETCH,
    NGX_BROADCAST_SEAT_ROLE,
    NGX_BROADCAST_SEAT_DONE,
    NGX_BROADCAST_SEAT_COMMIT,
    NGX_BROADCAST_SEAT_ROLLBACK,
    NGX_BROADCAST_SEAT_RESET,               /* behind it */
    NGX_BROADCAST_SEAT_SETUP,
    NGX_BROADCAST_SEAT_QUERIES
} ngx_broadcast_seat_query_e;


struct ngx_broadcast_seat_s {
    ngx_broadcast_pg_conn_t     conn;
    ngx_broadcast_pg_query_t    queries[NGX_BROADCAST_SEAT_QUERIES];
    ngx_uint_t                  pending;    /* of them, in flight */
    ngx_broadcast_rows_t       *rows;       /* whose transaction it is, or
                                               NULL: nobody's any more */
    ngx_event_t                 wake;       /* posted: resume */
    ngx_event_t                 timer;      /* idle for long; or the query still
                                               runs after a cancel */

    ngx_broadcast_pg_query_t    cancel;     /* of the pool */
    char                        pid[16];    /* of the backend; empty: not known
                                               yet */
    char                        role[256];  /* of the session */
    char                        fetch[64];  /* text of the FETCH */
    char                        count[16];  /* rows of it */
    const char                 *values[2];

    unsigned                    up:1;       /* set up: takes streams */
    unsigned                    busy:1;     /* in a transaction */
    unsigned                    failed:1;   /* which has failed */
    unsigned                    ending:1;   /* COMMIT or ROLLBACK was sent */
    unsigned                    staged:1;   /* it has staged something */
    unsigned                    cancelling:1;   /* a cancel is on its way */
};


/* of this worker */

typedef struct {
    ngx_broadcast_pg_conf_t    *conf;       /* borrowed from the cycle */
    ngx_log_t                  *log;
    ngx_broadcast_seat_t       *seats;      /* owned */
    ngx_uint_t                  n;
    ngx_queue_t                 waiting;
    ngx_queue_t                 running;
    ngx_uint_t                  count;      /* in both */
    ngx_uint_t                  failed;     /* the last connect did */
    ngx_msec_t                  since;      /* when */
    ngx_uint_t                  tries;
    ngx_event_t                 work;       /* posted: hand out seats */
    char                        setup[512];
    char                        reset[512 + NGX_BROADCAST_PG_RESET_ROOM];
} ngx_broadcast_stream_t;

extern ngx_broadcast_stream_t  ngx_broadcast_stream;


/* ngx_broadcast_stream_open.c */

ngx_int_t ngx_broadcast_seat_init(void);
void ngx_broadcast_seat_done(void);

/* who waits gets a seat, from the event loop */
void ngx_broadcast_seat_post(void);

/* the answer to what it asks for first */
void ngx_broadcast_seat_set_up(ngx_broadcast_seat_t *seat, ngx_uint_t status,
    PGresult *result);


/* ngx_broadcast_stream_seat.c */

/* NGX_ERROR: the connection is broken; its end follows from the event loop */
ngx_int_t ngx_broadcast_seat_send(ngx_broadcast_seat_t *seat,
    ngx_uint_t which, const char *text, ngx_uint_t n, const char **values);

/* nobody wants the transaction any more: what runs is cancelled */
void ngx_broadcast_seat_give_up(ngx_broadcast_seat_t *seat);

/* the first error of a transaction: its stream ends */
void ngx_broadcast_seat_fail(ngx_broadcast_seat_t *seat, ngx_uint_t status,
    PGresult *result);

/* the transaction is over, or the connection */
void ngx_broadcast_seat_settle(ngx_broadcast_seat_t *seat);

/* events of a seat: a stream goes on; idle for long, or not yet cancelled */
void ngx_broadcast_seat_wake(ngx_event_t *ev);
void ngx_broadcast_seat_timer(ngx_event_t *ev);


/* ngx_broadcast_stream_run.c */

/* the stream has a seat, which is up and idle */
void ngx_broadcast_stream_run(ngx_broadcast_seat_t *seat,
    ngx_broadcast_rows_t *rows);

/* a query of its transaction has ended well */
void ngx_broadcast_stream_step(ngx_broadcast_seat_t *seat, ngx_uint_t which,
    PGresult *result);

/* all that were in flight have, and the transaction goes on */
void ngx_broadcast_stream_go(ngx_broadcast_seat_t *seat);


/* ngx_broadcast_stream.c */

/* ends it: its handler is called, it is freed, its seat is nobody's */
void ngx_broadcast_stream_finish(ngx_broadcast_rows_t *rows,
    ngx_uint_t status, PGresult *result);


#endif /* _NGX_BROADCAST_STREAM_LOCAL_H_INCLUDED_ */
