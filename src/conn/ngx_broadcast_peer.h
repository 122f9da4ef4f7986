
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PEER_H_INCLUDED_
#define _NGX_BROADCAST_PEER_H_INCLUDED_


#include "base/ngx_broadcast_buf.h"
#include "conn/ngx_broadcast_conn.h"
#include "conn/ngx_broadcast_sequence.h"
#include "proto/ngx_broadcast_plain.h"


/* The inside of a connection: for this room only. */


/* a link of a hash table: what is looked up begins with it */

typedef struct ngx_broadcast_node_s  ngx_broadcast_node_t;

struct ngx_broadcast_node_s {
    ngx_broadcast_node_t     *next;
    uint32_t                  hash;
};


/* a hub as this worker sees it; made with its first connection, kept */

typedef struct ngx_broadcast_local_s  ngx_broadcast_local_t;

struct ngx_broadcast_local_s {
    ngx_uint_t                index;
    ngx_str_t                 name;         /* bytes stand behind */
    ngx_broadcast_conn_t    **conns;        /* owned: its connections, in any
                                               order */
    uint32_t                  count;        /* of them */
    uint32_t                  room;         /* for them in conns */
    ngx_broadcast_position_t  position;     /* everything up to here was queued
                                               to the connections here */
    uint64_t                  log;          /* records before it do not move
                                               the position back */
    ngx_uint_t                delivered[NGX_BROADCAST_TRANSPORTS];
    uint64_t                  bytes[NGX_BROADCAST_TRANSPORTS];
    ngx_uint_t                dirty;        /* both are to be accounted */
    ngx_broadcast_local_t    *next;         /* of those */
};


/* a user or a group of a hub, while it has a connection here */

typedef struct {
    ngx_broadcast_node_t      node;
    ngx_queue_t               conns;        /* conn.same, or member.link */
    uint32_t                  hub;
    uint32_t                  len;
    u_char                    data[1];
} ngx_broadcast_label_t;


/* a connection in a group */

typedef struct ngx_broadcast_joined_s  ngx_broadcast_joined_t;

struct ngx_broadcast_joined_s {
    ngx_queue_t               link;         /* of the label */
    ngx_broadcast_joined_t   *next;         /* of the connection */
    ngx_broadcast_label_t    *group;        /* borrowed, outlives this */
    ngx_broadcast_conn_t     *conn;         /* borrowed, outlives this */
};


/* what a plain WebSocket may do: made only where there is something */

typedef struct {
    ngx_uint_t                roles;        /* NGX_BROADCAST_MAY_… */
    ngx_uint_t                ngroups;
    ngx_uint_t                nroles;
    ngx_str_t                 names[1];     /* groups, then roles; the bytes
                                               stand behind */
} ngx_broadcast_rights_t;


/* bytes that came and could not be taken yet; the bytes stand behind */

typedef struct {
    size_t                    len;
    size_t                    size;
    size_t                    pos;          /* taken of it */
    size_t                    partial;      /* bytes behind that are known to
                                               have no end of a record */
} ngx_broadcast_input_t;

#define ngx_broadcast_input_data(in)  ((u_char *) ((in) + 1))


/* the call of a function that is under way: one a connection */

typedef struct {
    uint64_t                  serial;       /* an answer to another call is
                                               not for this one */
    ngx_uint_t                kind;         /* NGX_BROADCAST_ON_… */
    ngx_uint_t                nstreams;     /* upload streams in arguments */
    ngx_str_t                 id;           /* invocationId */
    ngx_str_t                 target;
    ngx_str_t                 arguments;    /* while the catalogue is asked */
    ngx_str_t                 uploads;

    struct ngx_broadcast_conn_s  *conn;     /* borrowed: its own */
    ngx_broadcast_frame_t    *frame;        /* owned, or NULL: Completion that
                                               waits for DONE */
    ngx_queue_t               queue;        /* of those */
    ngx_msec_t                held;         /* since */

    unsigned                  stream:1;     /* a StreamInvocation */
    unsigned                  open:1;       /* and its stream is */
    unsigned                  asked:1;      /* the catalogue was */
    unsigned                  done:1;       /* DONE has come */
} ngx_broadcast_task_t;


/* a resume under way: live messages are held until the replay is through */

typedef struct {
    ngx_broadcast_outq_t      held;
    ngx_broadcast_outq_t      early;        /* of the time of waiting: what
                                               takes no number */
    ngx_broadcast_position_t  after;        /* replayed up to here */
    ngx_broadcast_position_t  upto;
    ngx_broadcast_position_t  skip;         /* live messages up to here were
                                               replayed, or known before;
                                               epoch 0: none */
    ngx_msec_t                deadline;     /* of waiting for a position, or
                                               for the database */
    ngx_msec_t                again;        /* away: when it is asked again */
    ngx_msec_t                delay;        /* and how long after that */
    ngx_str_t                 requested;    /* for the gap event; bytes stand
                                               behind */
    ngx_str_t                 suffix;       /* its end: what the position
                                               leaves out; may be empty */
    u_char                   *place;        /* room for a position with it */
    ngx_uint_t                page;         /* rows to ask for */
    ngx_uint_t                rows;         /* taken of those */
    size_t                    bytes;        /* queued for them */
    unsigned                  begun:1;      /* bc gets what is live */
    unsigned                  unheard:1;    /* the client is not ready yet */
    unsigned                  fresh:1;      /* from now on: all is there */
    unsigned                  waiting:1;    /* hub's position is not known */
    unsigned                  none:1;       /* nothing was ever sent to it */
    unsigned                  checked:1;    /* after was compared with upto */
    unsigned                  asked:1;      /* history is being read */
    unsigned                  away:1;       /* it could not be */
    unsigned                  unsettled:1;  /* what the suffix leaves out has
                                               no number yet */
    unsigned                  settled:1;    /* it has */
    unsigned                  moved:1;      /* upto was, meanwhile */
    unsigned                  kept:1;       /* something without a number is
                                               held */
    unsigned                  changed:1;    /* its groups have */
    unsigned                  through:1;    /* nothing is held any more; kept
                                               for what is to be skipped */
    unsigned                  ahead:1;      /* the client knows more than this
                                               node, or says so */
} ngx_broadcast_resume_t;


/*
 * What a delivery looks at stands in the first two lines of the cache, where
 * every connection begins with one: between two deliveries the kernel uses all
 * of the cache, and each line of it that has to come from far costs as much as
 * fifty instructions.
 */

struct ngx_broadcast_conn_s {
    ngx_queue_t                 flush;
    uint64_t                    start;      /* offset in the log: only later
                                               records are for it */

    unsigned                    state:3;    /* ngx_broadcast_conn_state_e */
    unsigned                    protocol:2;
    unsigned                    framing:3;
    unsigned                    type:2;     /* transport */
    unsigned                    deflate:4;  /* bits of the window, or 0 */
    unsigned                    end:4;      /* why it is CLOSING */
    unsigned                    verdict:4;  /* end + 1, given while lists were
                                               walked; executed by the flush */
    unsigned                    live:1;     /* gets messages */
    unsigned                    blocked:1;  /* the socket takes nothing now */
    unsigned                    listed:1;   /* in the flush list */
    unsigned                    functions:1;
    unsigned                    indexed:1;  /* in the index */
    unsigned                    claimed:1;  /* the registry row is ours */
    unsigned                    inside:1;   /* conn_input() is at work */
    unsigned                    idle:1;     /* long polling, and no request */
    unsigned                    moving:1;   /* another worker has the row and
                                               waits for the state */
    unsigned                    granted:1;  /* it may speak version 2 */
    unsigned                    kept:1;     /* the database has its groups */
    unsigned                    changed:1;  /* it has others by now */
    unsigned                    waits:1;    /* in the list of those */
    unsigned                    keeping:1;  /* it is being told */
    unsigned                    held:1;     /* what it sends waits for workers
                                               that have much to read */
    unsigned                    rowed:1;    /* the database has its row */
    unsigned                    lacks:1;    /* in the list of those to enrol */
    unsigned                    asking:1;   /* its row is being made, or looked
                                               for */
    unsigned                    tells:1;    /* told is there: made with
                                               ?position= */
    unsigned                    excluded:1; /* from the record that is being
                                               fanned out */

    ngx_broadcast_outq_t        outq;
    ngx_broadcast_resume_t     *resume;     /* owned, or NULL */
    ngx_broadcast_sequence_t   *sequence;   /* owned; NULL: the connection
                                               goes with its socket */
    ngx_broadcast_local_t      *hub;        /* borrowed, never freed */
    struct ngx_broadcast_invocation_s  *invocation;  /* owned, or NULL */
    ngx_msec_t                  sent;       /* last time something was queued */
    ngx_socket_t                bare;       /* the transport's, or -1 */

    /* the third line */

    ngx_broadcast_row_t         row;
    ngx_broadcast_node_t        node;       /* by id */
    ngx_msec_t                  progress;   /* while it is blocked: last time
                                               that the socket took anything */
    ngx_broadcast_transport_t  *transport;  /* static, NULL until attached */
    void                       *data;       /* the transport's */
    union {
        ngx_broadcast_rights_t    *rights;  /* owned, or NULL: PLAIN */
        ngx_broadcast_position_t  *told;    /* owned, or NULL: of a hub's, the
                                               last position that its client
                                               was told */
    };

    ngx_queue_t                 same;       /* of the user */
    ngx_queue_t                 wheel;
    ngx_queue_t                 keep;
    ngx_queue_t                 enrol;

    ngx_broadcast_label_t      *user;       /* counted by its list, or NULL */
    ngx_broadcast_joined_t     *groups;     /* owned */
    ngx_broadcast_limits_t     *limits;     /* borrowed from the cycle */

    ngx_broadcast_input_t      *input;      /* owned, or NULL */
    ngx_broadcast_task_t       *task;       /* owned, or NULL */
    ngx_broadcast_frame_t      *event;      /* owned until the database has
                                               them: members of the event */
    ngx_broadcast_frame_t      *reason;     /* counted: of a verdict */

    ngx_msec_t                  received;   /* last sign of life */
    ngx_msec_t                  pinged;     /* last ping */
    ngx_msec_t                  since;      /* of the state */
    ngx_msec_t                  polled;     /* idle since */
    ngx_msec_t                  counted;    /* token bucket of broadcast_rate */
    ngx_uint_t                  excess;
    time_t                      expires;    /* of the token, 0: never */

    ngx_str_t                   id;         /* bytes in text */

    uint32_t                    place;      /* in conns of the hub */
    uint16_t                    code;       /* of END_PROTOCOL */
    uint8_t                     address;    /* bytes behind the id in text */
    uint8_t                     handshake;  /* seconds that it may take, 0: the
                                               location's */
    u_char                      text[1];    /* id, address */
};


/* fan-out: what is done with each connection of a scope */

typedef void (*ngx_broadcast_each_pt)(ngx_broadcast_conn_t *bc, void *data);

/*
 * Calls each() for the connections of the record's scope that were there when
 * it was appended.  each() may change groups of its connection, but neither
 * end nor free one: who must go is condemned, and goes with the flush.
 *
 * only, here and below: the one connection that the record is for, which all
 * others had; or NULL.
 */

void ngx_broadcast_fanout_each(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only, ngx_broadcast_each_pt each, void *data);

/*
 * A record that says that messages are missing, or that another epoch has
 * begun: plain clients are told, others condemned, to come again.
 */

void ngx_broadcast_fanout_gap(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only);
void ngx_broadcast_fanout_epoch(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only);

/* fan-out: pointers queued since the sockets were last written */

extern ngx_uint_t  ngx_broadcast_fanout_turn;

/* fan-out: a socket of the type took bytes, and with them n messages */

void ngx_broadcast_fanout_delivered(ngx_broadcast_local_t *hub,
    ngx_uint_t type, size_t bytes, ngx_uint_t n);

/*
 * The latency of a message that the socket took, added up for the turn as far
 * as it is in one bucket.  The clock is looked at anew behind stale(), and for
 * some short writes of the list at a time: the event loop's time is too coarse
 * and too old.
 */

void ngx_broadcast_fanout_observe(ngx_broadcast_frame_t *frame);
void ngx_broadcast_fanout_stale(void);

/* brings the lines of bc that a delivery needs into the cache; any address */

#define NGX_BROADCAST_CONN_LINE  64         /* bytes */

#define ngx_broadcast_conn_near(bc)                                           \
    do {                                                                      \
        __builtin_prefetch((u_char *) (bc), 1);                               \
        __builtin_prefetch((u_char *) (bc) + NGX_BROADCAST_CONN_LINE, 1);     \
    } while (0)


/* conn: the one function that changes states */

void ngx_broadcast_conn_turn(ngx_broadcast_conn_t *bc, ngx_uint_t state);

/* the peer's socket, as far as it takes bytes; may end bc */
void ngx_broadcast_conn_flush(ngx_broadcast_conn_t *bc);

/* the form of a frame that goes to bc, borrowed from the frame */
ngx_broadcast_frame_t *ngx_broadcast_conn_form(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame);

/*
 * Queues a frame (the caller keeps its reference) and asks for a flush.  Runs
 * while lists are walked: it ends nothing, a verdict at most.
 */
void ngx_broadcast_conn_queue(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame);

/* the same, and gives the reference up; NULL (no memory) is a verdict */
void ngx_broadcast_conn_queue_new(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame);

/* a handshake's answer or the text of a plain WebSocket frame */
void ngx_broadcast_conn_queue_text(ngx_broadcast_conn_t *bc, ngx_str_t *text);

/*
 * A hub message, encoded for the protocol and the framing of bc, which is not
 * plain.  Everything that m borrows may go after the call.
 */
void ngx_broadcast_conn_queue_message(ngx_broadcast_conn_t *bc,
    const ngx_broadcast_message_t *m);

/* the same for hub records of the JSON protocol, one or several whole ones */
void ngx_broadcast_conn_queue_records(ngx_broadcast_conn_t *bc,
    ngx_str_t *text);

/* end it as soon as no list is walked; reason is counted here, or NULL */
void ngx_broadcast_conn_condemn(ngx_broadcast_conn_t *bc, ngx_uint_t end,
    ngx_broadcast_frame_t *reason);

/*
 * A connection that came from another worker with its row, which is this
 * worker's now: state and all that belongs to it are set by the caller.  What
 * comes of `in`: id, hub, protocol, framing, user, address, token_expires,
 * functions, limits.  NULL: no memory.
 */
ngx_broadcast_conn_t *ngx_broadcast_conn_adopt(ngx_broadcast_open_t *in,
    ngx_uint_t type, ngx_uint_t hub, ngx_broadcast_claimed_t *claimed);

/* it lives on in another worker: out of all lists here, and freed later */
void ngx_broadcast_conn_moved(ngx_broadcast_conn_t *bc);

/* out of the index, and the registry's row given back: once */
void ngx_broadcast_conn_leave(ngx_broadcast_conn_t *bc);

/* its memory and all that it owns; of one that nobody has seen yet */
void ngx_broadcast_conn_free(ngx_broadcast_conn_t *bc);

/* frees what was closed, at exit */
void ngx_broadcast_conn_bury_all(void);

/* the next connection of this worker behind bc (NULL: the first), or NULL */
ngx_broadcast_conn_t *ngx_broadcast_conn_next(ngx_broadcast_conn_t *bc);


/*
 * Ends: queues the last words of a protocol (hub Close, handshake error, close
 * frame) for bc->end and the state that it was in; counts; names the cause for
 * the log.
 */
void ngx_broadcast_end_words(ngx_broadcast_conn_t *bc, ngx_uint_t was,
    ngx_uint_t code, ngx_str_t *reason);
void ngx_broadcast_end_count(ngx_uint_t end);
ngx_uint_t ngx_broadcast_end_reason(ngx_uint_t end);
/* the words of who ended it, of bc->reason, or empty */
void ngx_broadcast_end_why(ngx_broadcast_conn_t *bc, ngx_str_t *why);
const char *ngx_broadcast_end_name(ngx_uint_t end);


/* worker: a piece of the drain, if one is under way */
void ngx_broadcast_worker_drain(void);
/* the same: who would get nothing any more is sent away */
void ngx_broadcast_worker_bequeath(void);
/* ms: as many as given, or those that an exiting worker has left, 0 is none */
ngx_msec_t ngx_broadcast_worker_patience(ngx_msec_t patience);


/* wheel: one timer for all connections of the worker */

void ngx_broadcast_wheel_init(ngx_log_t *log);
void ngx_broadcast_wheel_set(ngx_broadcast_conn_t *bc);
void ngx_broadcast_wheel_remove(ngx_broadcast_conn_t *bc);
void ngx_broadcast_wheel_stop(void);

/* one that stands in the wheel: also those that are CLOSING; or NULL */
ngx_broadcast_conn_t *ngx_broadcast_wheel_first(void);

/* from now on the timer holds the exiting worker */
void ngx_broadcast_wheel_hold(void);


/* function: connected and message */

/* ACTIVE was reached: calls `connected` where there is a database */
void ngx_broadcast_function_connected(ngx_broadcast_conn_t *bc);

void ngx_broadcast_function_free(ngx_broadcast_conn_t *bc);

/* the members that an event tells of bc as it connects; the brace left open */
void ngx_broadcast_function_event(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);

/*
 * bc has ended while its `connected` is under way, whose answer gives the row
 * back: until then it is LIVE, and nobody else may end it.
 */
void ngx_broadcast_function_defer(ngx_broadcast_conn_t *bc,
    ngx_uint_t reason, ngx_str_t *why);

/* 1 if the id is of such a one */
ngx_uint_t ngx_broadcast_function_deferred(ngx_str_t *id);

/*
 * The row of a connection that ended, for NGX_BROADCAST_REASON_…, and in the
 * words of who ended it, if there are any; `disconnected` follows where owed.
 * If another worker waits for that connection it is told.
 */
void ngx_broadcast_function_release(ngx_uint_t hub, ngx_broadcast_row_t row,
    ngx_str_t *id, ngx_uint_t reason, ngx_str_t *why);


/* encoding: what comes from a hub's client, by the protocol of bc */

/*
 * The next record of the bytes that came.  OK; AGAIN: not all of it is there;
 * BUSY: it is longer than broadcast_message_size; ERROR: the bytes are none,
 * *error is a static sentence.
 */
ngx_int_t ngx_broadcast_encoding_next(ngx_broadcast_conn_t *bc, u_char **pos,
    u_char *last, ngx_str_t *record, const char **error);

/*
 * As ngx_broadcast_hub_json_parse() for both protocols: raw values are JSON
 * behind it, as functions and other clients want them.
 */
ngx_int_t ngx_broadcast_encoding_parse(ngx_broadcast_conn_t *bc,
    const ngx_str_t *record, ngx_pool_t *pool, ngx_broadcast_message_t *m,
    const char **error);


/* inbound: pools and buffers of the worker's inbound side */

/* goes on with what waits in bc->input; may end bc */
void ngx_broadcast_inbound_run(ngx_broadcast_conn_t *bc);
void ngx_broadcast_inbound_stop(void);

/*
 * 1: what the client says would go straight into the log, in which workers have
 * much to read yet; it is taken later, by ngx_broadcast_inbound_run().
 */
ngx_uint_t ngx_broadcast_held(ngx_broadcast_conn_t *bc);
void ngx_broadcast_held_init(ngx_log_t *log);
void ngx_broadcast_held_stop(void);

/*
 * Answers an invocation: a Completion with result (raw JSON) or error, or the
 * error frame of a plain WebSocket; nothing where nothing is wanted.
 */
void ngx_broadcast_inbound_answer(ngx_broadcast_conn_t *bc, ngx_str_t *id,
    ngx_str_t *result, ngx_str_t *error);

/* why the message function was not called, as such an answer */
void ngx_broadcast_inbound_refuse(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *id, ngx_str_t *target, ngx_int_t rc);

/* broadcast_rate: NGX_BUSY when it is exceeded */
ngx_int_t ngx_broadcast_inbound_rate(ngx_broadcast_conn_t *bc);

/* one text message of a plain WebSocket; may set bc->task or end bc */
void ngx_broadcast_plain_input(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *text);
ngx_int_t ngx_broadcast_plain_rights(ngx_broadcast_conn_t *bc,
    ngx_broadcast_open_t *in);
void ngx_broadcast_plain_refuse(ngx_broadcast_conn_t *bc, const char *text);

/* the same with the number of the line, unless that is 0 */
void ngx_broadcast_plain_refuse_line(ngx_broadcast_conn_t *bc,
    ngx_uint_t line, const char *text);

/* 1: a role of that verb ("join.", "send."), or the group, is the token's */
ngx_uint_t ngx_broadcast_plain_may(ngx_broadcast_conn_t *bc, ngx_uint_t role,
    const char *verb, ngx_str_t *group);

/* publishes one {"send"}, or a text of them, one a line: all or none */
void ngx_broadcast_plain_send(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_plain_frame_t *f);
void ngx_broadcast_plain_lines(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *text);


/* resume */

ngx_int_t ngx_broadcast_resume_open(ngx_broadcast_conn_t *bc,
    ngx_broadcast_open_t *in, ngx_broadcast_claimed_t *claimed);

/* bc gets messages from now on: ACTIVE */
void ngx_broadcast_resume_begin(ngx_broadcast_conn_t *bc);

/* a message came from a client with a sequence */
void ngx_broadcast_resume_heard(ngx_broadcast_conn_t *bc);

/* goes on if it can; called when the queue has room, and by the wheel */
void ngx_broadcast_resume_run(ngx_broadcast_conn_t *bc);

/*
 * Fan-out: 1 if the live frame was held or is not for it; rec is NULL where
 * there is none.
 */
ngx_uint_t ngx_broadcast_resume_hold(ngx_broadcast_conn_t *bc,
    ngx_broadcast_frame_t *frame, ngx_broadcast_record_t *rec);

/* everything up to here was queued to bc; epoch 0: that is not known */
void ngx_broadcast_resume_position(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *position);

/* a keep-alive of one that is told its position: tells it if it moved */
void ngx_broadcast_resume_alive(ngx_broadcast_conn_t *bc);

void ngx_broadcast_resume_free(ngx_broadcast_conn_t *bc);

/* a part of ngx_broadcast_state.c */
void ngx_broadcast_resume_put(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
struct ngx_broadcast_state_in_s;
ngx_int_t ngx_broadcast_resume_get(struct ngx_broadcast_state_in_s *in,
    ngx_broadcast_conn_t *bc);


#endif /* _NGX_BROADCAST_PEER_H_INCLUDED_ */
