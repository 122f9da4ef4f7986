
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_RELAY_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_RELAY_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_backoff.h"
#include "pg/ngx_broadcast_pg_conn.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_relay.h"


/*
 * One session a node, not from the pool: it LISTENs and holds the advisory
 * lock.
 *
 *   CLOSED -> CONNECTING -> SETUP -> RUNNING
 *     ^                       |         |
 *     |                       +-> NO_SCHEMA (only raw NOTIFY; asks again)
 *     +---- lost, again after a back-off -----------------------------+
 */

typedef enum {
    NGX_BROADCAST_RELAY_CLOSED = 0,
    NGX_BROADCAST_RELAY_SETUP,
    NGX_BROADCAST_RELAY_NO_SCHEMA,
    NGX_BROADCAST_RELAY_RUNNING
} ngx_broadcast_relay_phase_e;


#define NGX_BROADCAST_RELAY_SCHEMA    5       /* least version */
#define NGX_BROADCAST_RELAY_ROWS      500     /* a batch */
#define NGX_BROADCAST_RELAY_RULES     1000    /* a page: FETCH says it, too */
#define NGX_BROADCAST_RELAY_RECORDS   64      /* one append to the log */
#define NGX_BROADCAST_RELAY_PAUSE     2       /* ms, for slow workers */
#define NGX_BROADCAST_RELAY_POLL      1000    /* ms, the doorbell's backup */
#define NGX_BROADCAST_RELAY_QUICK     2       /* ms, a poll while there is what
                                                 nobody rings for */
#define NGX_BROADCAST_RELAY_PROMISE   1000    /* ms, that it goes on so */
#define NGX_BROADCAST_RELAY_WINDOW    100     /* ms, of what follows */
#define NGX_BROADCAST_RELAY_RINGS     20      /* promised from so many rings */
#define NGX_BROADCAST_RELAY_FINDS     10      /* until turns find so seldom */
#define NGX_BROADCAST_RELAY_SELDOM    3       /* in so many windows running */
#define NGX_BROADCAST_RELAY_COURT     100     /* ms, tries for the lock of
                                                 one that has just died */
#define NGX_BROADCAST_RELAY_YIELD     3000    /* ms, none by who is exiting */
#define NGX_BROADCAST_RELAY_BEAT      3000    /* ms, of node_beat(), a fifth
                                                 of the lease at most */
#define NGX_BROADCAST_RELAY_SWEEP     100     /* connections, at once */
#define NGX_BROADCAST_RELAY_UPKEEP    3000    /* ms, of upkeep() */
#define NGX_BROADCAST_RELAY_UPKEEP_SAY  900000  /* ms, between two lines about
                                                   its failure */
#define NGX_BROADCAST_RELAY_CONNECT   5000    /* ms, at most */
#define NGX_BROADCAST_RELAY_PATIENCE  12000   /* ms, above the statement's */
#define NGX_BROADCAST_RELAY_PROBE     30000   /* ms, are NOTIFYs heard? */
#define NGX_BROADCAST_RELAY_KEEP      5000    /* ms, of idempotency_keep() */
#define NGX_BROADCAST_RELAY_ECHO      2500    /* ms, for such a one */
#define NGX_BROADCAST_RELAY_SAY       5000    /* ms, between two lines about
                                                 different failures */
#define NGX_BROADCAST_RELAY_SAY_AGAIN 60000   /* ms, about the same one */


typedef enum {
    NGX_BROADCAST_LOAD_NOTHING = 0,
    NGX_BROADCAST_LOAD_ALL,                 /* places and rules */
    NGX_BROADCAST_LOAD_RULES
} ngx_broadcast_relay_load_e;


typedef struct {
    ngx_broadcast_pg_conn_t     conn;
    ngx_uint_t                  running;    /* 1: this worker has the lease */
    ngx_uint_t                  phase;
    ngx_uint_t                  tries;      /* to connect, that failed */
    ngx_uint_t                  failures;   /* of them, since it ran */
    ngx_uint_t                  lost_as;    /* 0, or the counter of the reason
                                               for which it is dropped */
    ngx_msec_t                  said;       /* last line about a failure */
    u_char                      said_why[256];
    ngx_broadcast_backoff_t     backoff;
    ngx_event_t                 timer;      /* poll, or the next connect */

    /* setting up: one query at a time */

    ngx_broadcast_pg_query_t    query;
    ngx_uint_t                  step;
    ngx_uint_t                  channel;    /* of the LISTENs */
    char                        text[256];  /* of a LISTEN */
    ngx_uint_t                  load;       /* what is read anew */
    ngx_uint_t                  anew;       /* 1: the history shall begin
                                               anew, 2: it has */
    ngx_uint_t                  stranger;   /* 1: another server than before */
    uint64_t                    system;     /* which one it is ... */
    uint64_t                    timeline;   /* ... and its timeline */
    uint64_t                    head;       /* of the history, in a new zone */
    uint64_t                    rules_head; /* the same, for the rules */

    /* running */

    uint64_t                    cursor;     /* pos of what was read last */
    ngx_uint_t                  leader;
    ngx_uint_t                  joint;      /* 1: the schema has
                                               sequence_read() */
    ngx_msec_t                  courted;    /* lock tried for since */
    ngx_msec_t                  beat;       /* last */
    ngx_msec_t                  lease;      /* of a node, 0: not known yet */
    uint64_t                    clock;      /* the server's, ms, at the last
                                               answer to a beat; 0: none */
    ngx_msec_t                  answered;   /* when that came */
    ngx_msec_t                  unbroken;   /* answers and clock since */
    uint64_t                    version;    /* of the bindings in the zone */

    ngx_broadcast_pg_query_t    lock;
    ngx_broadcast_pg_query_t    beats;
    ngx_broadcast_pg_query_t    about;
    ngx_broadcast_pg_query_t    unseat;
    ngx_broadcast_pg_query_t    look;
    ngx_broadcast_pg_query_t    bindings;
    ngx_broadcast_pg_query_t    sequence;
    ngx_broadcast_pg_query_t    read;
    char                        cursor_text[NGX_INT64_LEN + 2];
    char                        mark_pos_text[NGX_INT64_LEN + 2];
    char                        mark_text[NGX_INT64_LEN + 2];
    char                        node[128];
    char                        unseat_lease[NGX_INT_T_LEN + 1];
    char                        about_session[NGX_INT64_LEN + 2];
    char                        about_pool[NGX_INT64_LEN + 2];

    ngx_broadcast_pg_conn_t     knock;      /* is the server there? */
    ngx_msec_t                  knocked;    /* since */
    ngx_uint_t                  opened;     /* 1: it was */

    ngx_broadcast_pg_query_t    probe;
    ngx_msec_t                  probed;     /* sent, or heard; 0: never */
    ngx_uint_t                  probing;    /* 1: not heard yet */

    ngx_uint_t                  turning;    /* 1: the answer to read is due */
    ngx_uint_t                  due;        /* 1: another turn behind it */
    ngx_uint_t                  looking;    /* 1: look at head and bindings */
    ngx_uint_t                  numbered;   /* rows that sequence() moved */

    ngx_msec_t                  kept;       /* idempotency_keep() ran */

    /* relay_bell.c */

    ngx_event_t                 quick;      /* a poll before the timer */
    ngx_msec_t                  soon;       /* to it; 0: none */
    ngx_uint_t                  rung;       /* 1: somebody rang for what the
                                               next turn finds */
    ngx_uint_t                  asked;      /* 1: the same of this turn */
    ngx_uint_t                  unrung;     /* turns that found something and
                                               were not, nor rung for since */
    ngx_msec_t                  window;     /* began */
    ngx_uint_t                  rings;      /* in it, of adaptive senders */
    ngx_uint_t                  finds;      /* turns in it that found rows */
    ngx_uint_t                  seldom;     /* windows running with few */
    ngx_msec_t                  promised;   /* polls are, until; 0: not */
    ngx_broadcast_pg_query_t    promise;
    char                        promise_text[NGX_INT_T_LEN + 1];

    /* what was read and is not in the log yet */

    PGresult                   *rows;       /* owned; NULL: nothing */
    int                         row;        /* the next one of them */
    size_t                      piece;      /* bytes in one append; one record
                                               may have more, alone */
    ngx_event_t                 pause;      /* some workers are slow */
    ngx_msec_t                  paused;     /* since; 0: not now */
} ngx_broadcast_relay_t;

extern ngx_broadcast_relay_t  ngx_broadcast_relay;


/* relay.c */

/* sends; if that fails the session is dropped, done is not called */
void ngx_broadcast_relay_send(ngx_broadcast_pg_query_t *query,
    ngx_uint_t statement, const char *text, ngx_broadcast_pg_done_pt done);

/*
 * 1 if the query went well.  Else the session is dropped, unless it is lost
 * already, and the caller returns.
 */
ngx_uint_t ngx_broadcast_relay_good(ngx_uint_t status, PGresult *result,
    const char *what);

/* the session is dropped; as: NGX_BROADCAST_LOST_… */
void ngx_broadcast_relay_drop(ngx_uint_t as, const char *why);

/* the node's state; a change is logged with its reason, NULL for UP */
void ngx_broadcast_relay_state(ngx_uint_t state, const u_char *why);


/* relay_setup.c */

/* a new session: sets it up, step by step, then runs it */
void ngx_broadcast_relay_set_up(void);
/* the session had no schema: is it there now? */
void ngx_broadcast_relay_ask_again(void);


/* relay_about.c */

/* the session runs; it is lost, for relay->conn.error */
void ngx_broadcast_relay_about_begun(void);
void ngx_broadcast_relay_about_lost(void);
/* it will be tried again in so many milliseconds */
void ngx_broadcast_relay_about_retry(ngx_msec_t wait);

/*
 * Tells the database how this session is connected, for its doctor(), and
 * learns whether a pooler is between.
 */
void ngx_broadcast_relay_about(void);

/* is what is NOTIFYed heard? with each poll; and it was */
void ngx_broadcast_relay_probe(void);
void ngx_broadcast_relay_probed(void);


/* relay_silence.c */

/* with the relay */
void ngx_broadcast_relay_silence_start(void);
void ngx_broadcast_relay_silence_stop(void);

/* has the server anything to say? with each poll */
void ngx_broadcast_relay_silence(void);
/* since when the session heard nothing, ms */
ngx_msec_t ngx_broadcast_relay_quiet(void);


/* relay_bind.c */

extern const char  ngx_broadcast_relay_bindings_text[];

/* puts the bindings that were read into the zone */
void ngx_broadcast_relay_bind(PGresult *result);


/* relay_rules.c */

extern const char  ngx_broadcast_relay_rules_text[];

void ngx_broadcast_relay_rules_begin(void);
/* 1: a page of NGX_BROADCAST_RELAY_RULES, ask for the next one */
ngx_uint_t ngx_broadcast_relay_rules_page(PGresult *result);
void ngx_broadcast_relay_rules_end(void);


/* relay_turn.c */

/* the session is set up */
void ngx_broadcast_relay_run(void);
/* numbers, if this is the leader, and reads; again if it is at it already */
void ngx_broadcast_relay_turn(void);
/* the timer, while running */
void ngx_broadcast_relay_poll(void);


/* relay_judge.c */

/*
 * A beat was answered: the lease of nodes in ms, and the server's clock in ms.
 * After a whole lease without a break: the leader ends the connections of
 * lost nodes, a follower the session of a leader that stands still.
 */
void ngx_broadcast_relay_judge(ngx_msec_t lease, uint64_t clock);


/* stage_once.c */

/* the leader: what stands of requests with a key, and since when */
void ngx_broadcast_relay_keep(void);


/* relay_bell.c */

/* a doorbell was heard, of a sender that may be told not to ring if adaptive */
void ngx_broadcast_relay_bell(ngx_uint_t adaptive);
/* this relay leads from now on; the session is no more */
void ngx_broadcast_relay_bell_lead(void);
void ngx_broadcast_relay_bell_stop(void);
/* a turn begins; it has ended, all that it found is in the log */
void ngx_broadcast_relay_bell_turn(void);
void ngx_broadcast_relay_bell_turned(void);
void ngx_broadcast_relay_bell_poll(ngx_event_t *ev);


/* relay_upkeep.c */

/* the leader, with each poll: parts of the history are made and dropped */
void ngx_broadcast_relay_upkeep(void);


/* relay_deliver.c */

/*
 * relay->rows, of NGX_BROADCAST_PG_READ, into the log at the pace of the
 * slowest worker; moves the cursor.  relay_delivered() follows, perhaps at
 * once; the rows are freed before.
 */
void ngx_broadcast_relay_deliver(void);
void ngx_broadcast_relay_delivered(void);   /* relay_turn.c */
void ngx_broadcast_relay_pause_over(ngx_event_t *ev);
/* the session is no more: what is not in the log is read again by the next */
void ngx_broadcast_relay_undelivered(void);


/* listen.c */

/* a notification of a channel of broadcast_listen */
void ngx_broadcast_listen_notify(const char *channel, const char *payload);
/* all channels are listened to: what came before, since when, is unknown */
void ngx_broadcast_listen_begun(void);


#endif /* _NGX_BROADCAST_RELAY_LOCAL_H_INCLUDED_ */
