
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_WAL_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_WAL_LOCAL_H_INCLUDED_


#include "base/ngx_broadcast_utf8.h"
#include "pg/ngx_broadcast_pgoutput.h"
#include "pg/ngx_broadcast_relay_local.h"
#include "pg/ngx_broadcast_wal.h"


/*
 * Two connections: the relay's session, where broadcast.wal_plan() says what
 * is to be done and where messages are numbered, and one of the replication
 * protocol, which this draws:
 *
 *   CLOSED -> CONNECTING -> SETTING -> IDLE -> STARTING -> READING
 *                                      |  ^
 *                                      v  |
 *                                    CREATING
 *
 * It is lost at any time, and made again after a back-off, if the plan still
 * says so.  The slot keeps what is not confirmed, the cursor in the database
 * tells what was numbered already: so nothing is missed and nothing repeated.
 *
 * Messages go into one batch while the other one is being numbered.  Where
 * both are full nothing is read: the server waits.
 */

typedef enum {
    NGX_BROADCAST_WAL_CLOSED = 0,
    NGX_BROADCAST_WAL_CONNECTING,
    NGX_BROADCAST_WAL_SETTING,
    NGX_BROADCAST_WAL_IDLE,
    NGX_BROADCAST_WAL_CREATING,
    NGX_BROADCAST_WAL_STARTING,
    NGX_BROADCAST_WAL_READING
} ngx_broadcast_wal_state_e;


/* what broadcast.wal_plan() says, by its first column */

typedef enum {
    NGX_BROADCAST_WAL_OUTBOX = 0,           /* nothing is to be read */
    NGX_BROADCAST_WAL_REFUSED,              /* the same, against the wish */
    NGX_BROADCAST_WAL_CREATE,               /* make the slot */
    NGX_BROADCAST_WAL_READ,
    NGX_BROADCAST_WAL_DRAIN,                /* read what is left */
    NGX_BROADCAST_WAL_DROP,
    NGX_BROADCAST_WAL_AGAIN,                /* ask once more, now */
    NGX_BROADCAST_WAL_PLANS
} ngx_broadcast_wal_plan_e;


#define NGX_BROADCAST_WAL_PREFIX     "broadcast"
#define NGX_BROADCAST_WAL_BEAT       "beat"     /* of wal_beat() */

#define NGX_BROADCAST_WAL_MESSAGES   500        /* a batch */
#define NGX_BROADCAST_WAL_BYTES      (4 * 1024 * 1024)
#define NGX_BROADCAST_WAL_HEAD       65         /* least bytes of a message */
#define NGX_BROADCAST_WAL_LARGEST    (16 * 1024 * 1024)     /* most, the same
                                                   in wal_emit() */
#define NGX_BROADCAST_WAL_TIMEOUT    12000      /* ms without a word: we ask
                                                   for one each second */
#define NGX_BROADCAST_WAL_BUSY       100        /* ms, until the slot is asked
                                                   for again */
#define NGX_BROADCAST_WAL_GRACE      1000       /* ms, for who reads the slot
                                                   to go by itself */
#define NGX_BROADCAST_WAL_IDLE_BYTES 8192       /* of WAL without a message */
#define NGX_BROADCAST_WAL_IDLE_TIME  10000      /* ms, the same */
#define NGX_BROADCAST_WAL_VISIBLE    5          /* ms, for a commit to be seen
                                                   by others; then longer */
#define NGX_BROADCAST_WAL_NAME       64         /* of a slot, with its zero */
#define NGX_BROADCAST_WAL_BUFFER     65536      /* larger messages are taken,
                                                   or passed over, in parts */
#define NGX_BROADCAST_WAL_SLICE      262144     /* bytes, that a turn reads */


typedef struct {
    uint64_t                    commit;     /* of its transaction */
    ngx_uint_t                  n;          /* in it, from 1 */
    uint32_t                    xid;
    ngx_str_t                   text;       /* of the batch's pool */
} ngx_broadcast_wal_message_t;


typedef struct {
    ngx_pool_t                  *pool;      /* owned; NULL: it is empty */
    ngx_broadcast_wal_message_t *messages;  /* of pool */
    ngx_uint_t                   n;
    size_t                       bytes;
    uint64_t                     upto;      /* all that was committed before is
                                               in it, or was before it */
} ngx_broadcast_wal_batch_t;


/* what comes from the socket while the connection is not libpq's */

typedef struct {
    u_char                     *buf;        /* owned, _BUFFER bytes, or NULL */
    u_char                     *pos;
    u_char                     *last;
    size_t                      rest;       /* of a large message, still to
                                               come */
    ngx_str_t                   text;       /* owned: what came of one that
                                               may be ours; NULL: it is passed
                                               over */
    ngx_broadcast_utf8_t        utf8;       /* of text */
    u_char                      out[640];   /* a query, or some of a status */
    size_t                      out_pos;
    size_t                      out_last;
} ngx_broadcast_wal_wire_t;


typedef struct {
    ngx_uint_t                  leading;

    /* the plan */

    ngx_uint_t                  planned;    /* 1: it was told once */
    ngx_uint_t                  plan;
    ngx_uint_t                  gate;       /* 1: what is staged came behind
                                               what is not read yet */
    ngx_broadcast_pg_query_t    planner;
    ngx_broadcast_pg_query_t    dropper;
    char                        slot[NGX_BROADCAST_WAL_NAME];
    char                        publication[NGX_BROADCAST_WAL_NAME];
    char                        pid[NGX_INT64_LEN + 1];
    char                        created[24];    /* where a new slot begins;
                                                   empty: none was made */
    u_char                      said[256];  /* logged last */
    u_char                      noted[256];     /* the same, a warning */

    /* the connection */

    ngx_broadcast_pg_conn_t     conn;
    ngx_uint_t                  state;
    ngx_uint_t                  tries;
    ngx_broadcast_backoff_t     backoff;
    ngx_event_t                 timer;      /* the next try */
    ngx_msec_t                  busy;       /* the slot is another's, since */
    ngx_broadcast_wal_wire_t    wire;
    ngx_uint_t                  paused;     /* 1: both batches are full */

    /* what is read */

    uint64_t                    commit;     /* of the transaction that comes,
                                               0: none does */
    uint32_t                    xid;
    ngx_uint_t                  n;          /* messages of it, so far */
    uint64_t                    received;
    uint64_t                    numbered;   /* all before is numbered */
    uint64_t                    recorded;   /* the database knows; what is
                                               confirmed is not beyond it */
    ngx_msec_t                  recorded_at;

    ngx_broadcast_wal_batch_t   batch[2];
    ngx_broadcast_wal_batch_t  *coming;
    ngx_broadcast_wal_batch_t  *going;      /* the other one */

    /* the numbering of the one that is going */

    ngx_broadcast_pg_query_t    query;
    ngx_uint_t                  stale;      /* 1: its answer is of a batch that
                                               was forgotten */
    ngx_pool_t                 *texts;      /* owned, of its parameters */
    ngx_uint_t                  first;      /* what is numbered of it ... */
    ngx_uint_t                  count;      /* ... and what is asked now */
    ngx_uint_t                  most;       /* messages a statement: less
                                               after an error in one of them */
    ngx_event_t                 again;
    ngx_msec_t                  pause;
    uint64_t                    sent;       /* how far, as it was asked */
    char                        upto[24];
    time_t                      logged;     /* a message left out */
} ngx_broadcast_wal_t;

extern ngx_broadcast_wal_t  ngx_broadcast_wal;


/* wal.c */

/* asks for the plan, now or behind the answer that is due */
void ngx_broadcast_wal_ask(void);
/* what hinders, or NULL: logged when it is another than before */
void ngx_broadcast_wal_say(const char *what);


/* wal_read.c */

/* connects, if it is time for that; goes on as the plan says */
void ngx_broadcast_wal_open(void);
/* IDLE: does what the plan says */
void ngx_broadcast_wal_next(void);
void ngx_broadcast_wal_close(void);
/* tells the server how far it may forget; reply: asks whether it is there */
void ngx_broadcast_wal_confirm(ngx_uint_t reply);
/*
 * A whole frame of the wire.  NGX_DONE: the connection is libpq's again;
 * NGX_ERROR: it is none that is known, or no memory.
 */
ngx_int_t ngx_broadcast_wal_heard(u_char type, u_char *data, size_t len);
/* 1: it may be of our schema; counted in its transaction then */
ngx_uint_t ngx_broadcast_wal_ours(ngx_broadcast_pgoutput_t *said);


/* wal_wire.c */

/* sends the query; from now on what comes goes to wire_read() */
ngx_int_t ngx_broadcast_wal_wire_start(ngx_broadcast_pg_conn_t *conn,
    const char *query);
/* NGX_BUSY: no room, what was put before is not sent; NGX_ERROR: broken */
ngx_int_t ngx_broadcast_wal_wire_put(ngx_broadcast_pg_conn_t *conn,
    u_char type, u_char *data, size_t size);
int ngx_broadcast_wal_wire_output(ngx_broadcast_pg_conn_t *conn);
ngx_int_t ngx_broadcast_wal_wire_read(ngx_broadcast_pg_conn_t *conn);
/* the connection is gone, or libpq's */
void ngx_broadcast_wal_wire_clear(void);


/* wal_batch.c */

void ngx_broadcast_wal_batch_init(void);
/* forgets what is not numbered: it will come again */
void ngx_broadcast_wal_batch_clear(void);
/* 1: no message may be added */
ngx_uint_t ngx_broadcast_wal_batch_full(void);
/* a message of the transaction that comes: copied, if it may be ours */
ngx_int_t ngx_broadcast_wal_batch_add(ngx_str_t *content);
/* the same, checked; its bytes, of ngx_alloc(), are the batch's on NGX_OK */
ngx_int_t ngx_broadcast_wal_batch_give(ngx_str_t *text);
/* so many that were not sent by the schema */
void ngx_broadcast_wal_batch_left_out(ngx_uint_t n);
/* a transaction is over, or the server has sent all up to there */
void ngx_broadcast_wal_batch_upto(uint64_t lsn);
/* something may be numbered: asks the relay for a turn */
void ngx_broadcast_wal_batch_ready(void);


#endif /* _NGX_BROADCAST_WAL_LOCAL_H_INCLUDED_ */
