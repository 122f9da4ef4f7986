
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_CONN_H_INCLUDED_
#define _NGX_BROADCAST_PG_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <libpq-fe.h>

#include "pg/ngx_broadcast_pg_lookup.h"
#include "pg/ngx_broadcast_pg_text.h"


/*
 * One connection to PostgreSQL on nginx's events, in pipeline mode: any
 * number of queries in flight, each with a Sync of its own, answered in
 * order.  It keeps no pool and no time limit of a single query.
 *
 *   CLOSED  --open-->  CONNECTING  --ready-->  OPEN
 *     ^                     |                   |
 *     +------- lost --------+------- lost ------+
 */

typedef enum {
    NGX_BROADCAST_PG_CLOSED = 0,
    NGX_BROADCAST_PG_CONNECTING,
    NGX_BROADCAST_PG_OPEN
} ngx_broadcast_pg_conn_state_e;


/* how a connection was lost */

typedef enum {
    NGX_BROADCAST_PG_FAULT_CONNECT = 0,     /* it was not made */
    NGX_BROADCAST_PG_FAULT_CLOSED,          /* it broke, or was ended */
    NGX_BROADCAST_PG_FAULT_SILENT           /* no answer in time */
} ngx_broadcast_pg_fault_e;


/* what became of a query */

typedef enum {
    NGX_BROADCAST_PG_OK = 0,        /* committed: ReadyForQuery was seen */
    NGX_BROADCAST_PG_FAILED,        /* an SQL error: surely rolled back */
    NGX_BROADCAST_PG_AWAY,          /* the connection broke after it was sent */
    NGX_BROADCAST_PG_UNSENT         /* it never left (the pool's word) */
} ngx_broadcast_pg_status_e;


/* statements that are prepared once on each connection that uses them */

typedef enum {
    NGX_BROADCAST_PG_TEXT = 0,      /* not prepared: the query's own text */
    NGX_BROADCAST_PG_METHOD,        /* prepared: the query's own text */
    NGX_BROADCAST_PG_STAGE,
    NGX_BROADCAST_PG_STAGE_ONCE,
    NGX_BROADCAST_PG_RING,
    NGX_BROADCAST_PG_DISPATCH,
    NGX_BROADCAST_PG_SWEEP,
    NGX_BROADCAST_PG_HISTORY,
    NGX_BROADCAST_PG_SEQUENCE,
    NGX_BROADCAST_PG_SEQUENCE_READ,
    NGX_BROADCAST_PG_SEQUENCE_WAL,
    NGX_BROADCAST_PG_READ,
    NGX_BROADCAST_PG_LOOK,
    NGX_BROADCAST_PG_PRESENT,
    NGX_BROADCAST_PG_MEMBERS,
    NGX_BROADCAST_PG_GROUPS,
    NGX_BROADCAST_PG_KEEP,
    NGX_BROADCAST_PG_TIMERS,
    NGX_BROADCAST_PG_ERROR_ADD,
    NGX_BROADCAST_PG_ENROL,
    NGX_BROADCAST_PG_STATEMENTS
} ngx_broadcast_pg_statement_e;

#define NGX_BROADCAST_PG_PARAMS  14

/* SQLSTATE of what was ended by statement_timeout or a cancel */
#define NGX_BROADCAST_PG_CANCELED  "57014"

/* PostgreSQL's functions have 100 arguments at most: those and one more */
#define NGX_BROADCAST_PG_VALUES  101


typedef struct ngx_broadcast_pg_conn_s   ngx_broadcast_pg_conn_t;
typedef struct ngx_broadcast_pg_query_s  ngx_broadcast_pg_query_t;

/*
 * Called once a query, with nothing else of the query in use: it may be freed
 * here.  result is borrowed until return, or kept (conn->keep) unless it came
 * with an error; NULL if away or unsent.
 */
typedef void (*ngx_broadcast_pg_done_pt)(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);

struct ngx_broadcast_pg_query_s {
    ngx_queue_t                 queue;      /* in flight, or waiting */
    ngx_uint_t                  statement;
    const char                 *text;       /* borrowed, of _TEXT */
    ngx_uint_t                  nparams;
    const char                 *params[NGX_BROADCAST_PG_PARAMS];
                                            /* text format, borrowed until it
                                               is sent; NULL: SQL null */
    const char                **values;     /* NULL, or any number of them in
                                               place of params: of type text */
    ngx_broadcast_pg_text_t    *prepare;    /* of _METHOD: borrowed until
                                               done */
    ngx_broadcast_pg_pace_t    *pace;       /* borrowed until done; NULL: not
                                               known */
    ngx_broadcast_pg_done_pt    done;
    void                       *data;       /* the owner's */

    /* private to the connection and the pool */

    PGresult                   *result;     /* owned until done */
    unsigned                    preparing:2;    /* answers to come before that
                                               to the query itself */
    unsigned                    failed:1;
    unsigned                    unclear:1;      /* it failed in a way that says
                                                   nothing of a commit */
    unsigned                    waiting:1;
    unsigned                    quick:1;
    unsigned                    spare:1;
};


struct ngx_broadcast_pg_conn_s {
    ngx_uint_t                  state;
    PGconn                     *pg;         /* owned; NULL while names are
                                               looked up */
    ngx_broadcast_pg_lookup_t  *lookup;     /* owned, or NULL */
    ngx_connection_t           *c;          /* owned; NULL: not registered */
    ngx_log_t                  *log;        /* borrowed from the cycle */

    ngx_queue_t                 flight;
    ngx_uint_t                  nflight;
    ngx_msec_t                  since;      /* when the first in flight began
                                               to be waited for */
    ngx_msec_t                  heard;      /* when something came last */
    uint32_t                    prepared;   /* bit a statement */
    uint32_t                   *texts;      /* owned, or NULL: which id of a
                                               text is prepared, by place; 0:
                                               none */
    ngx_uint_t                  ntexts;

    ngx_msec_t                  patience;   /* between two answers */
    ngx_event_t                 timer;      /* of connecting, of patience */
    ngx_event_t                 breaker;    /* posted: drop it */
    ngx_uint_t                  broken;     /* 1: nothing is sent any more */
    ngx_uint_t                  keep;       /* set to 1 by done: the result is
                                               its own, to be cleared by it */

    ngx_uint_t                  replication;    /* 1, set before open: for
                                               the replication protocol; no
                                               pipeline and no queries, all
                                               that comes is input's */
    ngx_int_t                 (*input)(ngx_broadcast_pg_conn_t *conn);
                                            /* of such a one: something came;
                                               NGX_AGAIN: no more of it, until
                                               resume() */
    ngx_uint_t                  raw;        /* 1: what comes is read by input,
                                               what goes is written by output,
                                               and libpq does neither */
    int                       (*output)(ngx_broadcast_pg_conn_t *conn);
                                            /* as PQflush() */

    void                      (*ready)(ngx_broadcast_pg_conn_t *conn);
    void                      (*lost)(ngx_broadcast_pg_conn_t *conn);
    void                      (*notify)(ngx_broadcast_pg_conn_t *conn,
                                        const char *channel,
                                        const char *payload);
    void                      (*answered)(ngx_broadcast_pg_conn_t *conn);
                                            /* behind each done; both these
                                               may be NULL */
    void                       *data;       /* the owner's */

    u_char                      error[256]; /* zero terminated, one line:
                                               why it was lost */
    ngx_uint_t                  fault;      /* the same in a word:
                                               NGX_BROADCAST_PG_FAULT_… */
};


/* once; the hooks and data are set by the owner afterwards */
void ngx_broadcast_pg_conn_init(ngx_broadcast_pg_conn_t *conn, ngx_log_t *log);

/*
 * Begins to connect to what broadcast_database names, which is looked up anew
 * where there is a resolver; ready() or lost() follows from the event loop.
 * tries: how many have failed, each next one begins with another address.
 * timeout: of looking up and connecting; patience: between two answers, both in
 * ms.  NGX_ERROR: failed at once, conn->error says why, no hook is called.
 */
ngx_int_t ngx_broadcast_pg_conn_start(ngx_broadcast_pg_conn_t *conn,
    ngx_uint_t tries, ngx_msec_t timeout, ngx_msec_t patience);

/*
 * Sends a query; done follows from the event loop, never from in here.
 * NGX_DECLINED: the connection is not open or found broken, and surely
 * nothing of the query was executed: done will not be called.
 */
ngx_int_t ngx_broadcast_pg_conn_send(ngx_broadcast_pg_conn_t *conn,
    ngx_broadcast_pg_query_t *query);

/* lost() follows from the event loop; may be called from any hook */
void ngx_broadcast_pg_conn_drop(ngx_broadcast_pg_conn_t *conn,
    const char *why);

/*
 * At once: queries in flight are AWAY, lost() is not called.  Not to be
 * called from done, ready or notify.
 */
void ngx_broadcast_pg_conn_close(ngx_broadcast_pg_conn_t *conn);


/* writes what libpq has for the server; NGX_ERROR: broken, drop it */
ngx_int_t ngx_broadcast_pg_conn_flush(ngx_broadcast_pg_conn_t *conn);

/* of a replication connection: input is called again, from the event loop */
void ngx_broadcast_pg_conn_resume(ngx_broadcast_pg_conn_t *conn);


/*
 * Puts the query into libpq's buffer, without a Sync, and prepares its
 * statement before if the connection has not; from then on it has.
 */
ngx_int_t ngx_broadcast_pg_statement_send(ngx_broadcast_pg_conn_t *conn,
    ngx_broadcast_pg_query_t *query);
/* it has not: preparing failed, or the server does not know it any more */
void ngx_broadcast_pg_statement_lost(ngx_broadcast_pg_conn_t *conn,
    ngx_broadcast_pg_query_t *query);

/* SQLSTATE of a failed result, empty if it has none; borrowed from result */
ngx_str_t ngx_broadcast_pg_sqlstate(PGresult *result);
/* 1: the statement was ended, by statement_timeout or a cancel */
ngx_uint_t ngx_broadcast_pg_canceled(PGresult *result);
/* its primary message, borrowed from result: it may quote a payload */
ngx_str_t ngx_broadcast_pg_message(PGresult *result);

/* 1: a RAISE in a function outside of the schema: meant for its caller */
ngx_uint_t ngx_broadcast_pg_raised(PGresult *result);

/* 1: the error says that the schema or a function of it is missing */
ngx_uint_t ngx_broadcast_pg_no_schema(PGresult *result);

/* a column as text, borrowed from result; empty for null */
ngx_str_t ngx_broadcast_pg_value(PGresult *result, int row, int column);
/* a column as a number; 0 for null */
int64_t ngx_broadcast_pg_number(PGresult *result, int row, int column);


#endif /* _NGX_BROADCAST_PG_CONN_H_INCLUDED_ */
