
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_CONN_H_INCLUDED_
#define _NGX_BROADCAST_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "bus/ngx_broadcast_bus.h"
#include "proto/ngx_broadcast_message.h"
#include "shm/ngx_broadcast_registry.h"
#include "conn/ngx_broadcast_outq.h"
#include "conn/ngx_broadcast_fanout.h"


/*
 * The transport-neutral connection, owned by this worker.
 *
 *   state       may receive                       leaves to
 *   NEW         -                                 HANDSHAKE, ACTIVE (plain),
 *                                                 CLOSED
 *   HANDSHAKE   handshake record, timeout         ACTIVE, CLOSING
 *   ACTIVE      messages, pings, records          CLOSING; CLOSED
 *   CLOSING     flush done, timeout               CLOSED
 *   CLOSED      nothing; freed by a posted event  -
 */

typedef enum {
    NGX_BROADCAST_NEW = 0,
    NGX_BROADCAST_HANDSHAKE,
    NGX_BROADCAST_ACTIVE,
    NGX_BROADCAST_CLOSING,
    NGX_BROADCAST_CLOSED
} ngx_broadcast_conn_state_e;

/*
 * What is spoken on it: NGX_BROADCAST_HUB_JSON, also before the handshake,
 * NGX_BROADCAST_HUB_MSGPACK, or
 */

#define NGX_BROADCAST_PLAIN      2          /* broadcast_events */
#define NGX_BROADCAST_ECHO       3          /* broadcast_echo, debug builds */
#define NGX_BROADCAST_PROTOCOLS  4

/* one of SignalR's: with a handshake, hub pings and a hub Close */
#define ngx_broadcast_is_hub(protocol)  ((protocol) < NGX_BROADCAST_PLAIN)

/* how an encoded message is framed: one frame a form, shared by all */

typedef enum {
    NGX_BROADCAST_FRAME_WS = 0,     /* WebSocket frame, text or binary */
    NGX_BROADCAST_FRAME_SSE,        /* event-stream lines (HTTP/1.0, h2, h3) */
    NGX_BROADCAST_FRAME_SSE_CHUNK,  /* the same in a chunk (HTTP/1.1) */
    NGX_BROADCAST_FRAME_BYTES,      /* bare records (long poll) */
    NGX_BROADCAST_FRAMES
} ngx_broadcast_framing_e;

/* why it ends: counter, close code, hub Close */

typedef enum {
    NGX_BROADCAST_END_CLIENT = 0,   /* client closed or went away */
    NGX_BROADCAST_END_SLOW,         /* 1013, hub Close + allowReconnect */
    NGX_BROADCAST_END_RATE,
    NGX_BROADCAST_END_TIMEOUT,      /* no sign of life / handshake */
    NGX_BROADCAST_END_PROTOCOL,     /* bad frame or record: code, reason */
    NGX_BROADCAST_END_OVERRUN,      /* allowReconnect */
    NGX_BROADCAST_END_DRAIN,        /* 1012, allowReconnect */
    NGX_BROADCAST_END_COMMAND,      /* API, SQL, action: reason,
                                       allowReconnect */
    NGX_BROADCAST_END_EXPIRED,      /* token ran out (SSE) */
    NGX_BROADCAST_END_SEQUENCE,     /* bad numbers of a stateful client */
    NGX_BROADCAST_END_ERROR,        /* of ours: 1011 */
    NGX_BROADCAST_END_LOST          /* its socket broke without a word */
} ngx_broadcast_end_e;


/* limits of the location that accepted it; borrowed from the cycle's conf */

typedef struct {
    ngx_msec_t              keepalive;      /* these three are above 0 */
    ngx_msec_t              client_timeout;
    ngx_msec_t              handshake_timeout;
    size_t                  message_size;   /* bytes, as the queue */
    size_t                  queue;
    ngx_uint_t              rate;           /* messages/s * 1000, 0 = off */
    ngx_uint_t              burst;
    ngx_uint_t              deflate;        /* bits of the window, 0 = off */
    size_t                  deflate_min;    /* bytes: no less is compressed */
} ngx_broadcast_limits_t;


typedef struct ngx_broadcast_transport_s  ngx_broadcast_transport_t;


/* the second call that goes up: implemented by transport/ */

struct ngx_broadcast_transport_s {
    ngx_uint_t              type;           /* NGX_BROADCAST_WEBSOCKET, … */

    /*
     * Writes what is queued (ngx_broadcast_outq_chain/…_sent), all it can in
     * one send_chain().  NGX_OK all sent, NGX_AGAIN (write event armed),
     * NGX_ERROR socket is dead (conn calls nothing but destroy after it).
     */
    ngx_int_t             (*send)(ngx_broadcast_conn_t *bc);

    /*
     * CLOSING: what has to be said was queued; write it, then end the
     * transport politely (close handshake, last chunk, lingering), bounded in
     * time, then call ngx_broadcast_conn_closed().
     */
    void                  (*close)(ngx_broadcast_conn_t *bc);

    /* at once, without a word; does not call back */
    void                  (*destroy)(ngx_broadcast_conn_t *bc);

    /* ngx_broadcast_conn_paused() is over: read what waits */
    void                  (*resume)(ngx_broadcast_conn_t *bc);

    /*
     * The connection goes on in another worker, or with another request: ends
     * what waits here, as politely as it can in this call, and forgets bc.
     * Takes nothing out of the queue.  NULL: this transport never moves.
     */
    void                  (*leave)(ngx_broadcast_conn_t *bc);
};


/* what http/ knows when it opens a connection; all strings are copied */

typedef struct {
    ngx_str_t                 id;           /* connection id, 22 or 48 */
    ngx_str_t                 hub;          /* lower case */
    ngx_uint_t                protocol;     /* PLAIN, or HUB_JSON = handshake
                                               still to come */
    ngx_uint_t                framing;
    ngx_str_t                 user;
    ngx_str_t                 address;      /* text, for the log */
    ngx_array_t              *groups;       /* of ngx_str_t: joined at once */
    ngx_array_t              *may_join;     /* of ngx_str_t: groups of the
                                               token, to join and to send to;
                                               NULL = none */
    ngx_uint_t                roles;        /* NGX_BROADCAST_MAY_… */
    ngx_array_t              *role_groups;  /* of ngx_str_t: join.{g}, send.{g},
                                               with or without "broadcast." */
    time_t                    ticket_expires;   /* tombstone beyond then */
    time_t                    token_expires;    /* 0 = none; the connection
                                                   is ended then: given for
                                                   SSE, for WebSocket only
                                                   with coae */
    ngx_uint_t                handshake;    /* seconds that it may take, 0 =
                                               by limits */
    ngx_broadcast_position_t  resume;       /* epoch 0 and no such number if
                                               it did not parse */
    ngx_str_t                 requested;    /* its text, for the gap event;
                                               empty: from now on */
    ngx_str_t                 suffix;       /* the end of that: what it leaves
                                               out; may be empty */
    ngx_uint_t                has_resume;   /* a hub's client is told its
                                               position then */
    ngx_uint_t                limit;        /* broadcast_connections */
    uint64_t                  key;
    ngx_uint_t                hub_limit;    /* beside a key's */
    ngx_uint_t                functions;    /* 0: location says nofunctions */
    ngx_uint_t                stateful;     /* negotiate granted a stateful
                                               reconnect */
    ngx_str_t                 event;        /* members of an event: claims,
                                               query, headers, remoteAddress
                                               as JSON without braces; may be
                                               empty */
    ngx_broadcast_limits_t   *limits;       /* borrowed from the cycle */
} ngx_broadcast_open_t;

#define NGX_BROADCAST_MAY_JOIN   0x01       /* role broadcast.join: any group */
#define NGX_BROADCAST_MAY_SEND   0x02       /* role broadcast.send: anywhere */


/*
 * Claims the registry row, joins groups, makes the connection (one piece of
 * memory, and what it owns).  NGX_OK with *bc; NGX_DECLINED id was used
 * (404/409); NGX_BUSY limit or zone full (503); NGX_ERROR.
 * The transport is attached after that; until ngx_broadcast_conn_attach()
 * queued frames wait.
 */
ngx_int_t ngx_broadcast_conn_open(ngx_broadcast_open_t *in, ngx_log_t *log,
    ngx_broadcast_conn_t **bc);

/*
 * data is the transport's own state, owned by the transport.  Starts the
 * handshake timer or, if plain, makes it ACTIVE (resume, `connected`).
 */
void ngx_broadcast_conn_attach(ngx_broadcast_conn_t *bc,
    ngx_broadcast_transport_t *transport, void *data);

void *ngx_broadcast_conn_transport_data(ngx_broadcast_conn_t *bc);

/*
 * The descriptor of an attached transport, if frames may go there as they are:
 * no TLS, no request that counts what it sent, no write event that has to be
 * taken back.  While nothing waits, a single frame is then written past the
 * transport's send().  -1: from now on not; in any case before it is closed.
 */
void ngx_broadcast_conn_bare(ngx_broadcast_conn_t *bc, ngx_socket_t fd);

/*
 * permessage-deflate was negotiated, with a window of 2^bits for what is sent;
 * called before the first frame can be.
 */
void ngx_broadcast_conn_set_deflate(ngx_broadcast_conn_t *bc,
    ngx_uint_t bits);

/*
 * Long polling: a request came to carry what is queued (data is its own), and
 * it is over.  Without one for NGX_BROADCAST_POLL_GAP the connection ends.
 * poll() may end bc.
 */
#define NGX_BROADCAST_POLL_GAP  15000       /* ms, signalr.md 2.4 */

void ngx_broadcast_conn_poll(ngx_broadcast_conn_t *bc, void *data);
void ngx_broadcast_conn_polled(ngx_broadcast_conn_t *bc);

/* from now on another token counts, 0: none */
void ngx_broadcast_conn_expire(ngx_broadcast_conn_t *bc, time_t expires);

/* why it ends, while it is CLOSING: NGX_BROADCAST_END_… */
ngx_uint_t ngx_broadcast_conn_why(ngx_broadcast_conn_t *bc);

/* accessors for transport and http */
ngx_str_t *ngx_broadcast_conn_id(ngx_broadcast_conn_t *bc);
ngx_uint_t ngx_broadcast_conn_state(ngx_broadcast_conn_t *bc);
ngx_uint_t ngx_broadcast_conn_protocol(ngx_broadcast_conn_t *bc);
ngx_broadcast_limits_t *ngx_broadcast_conn_limits(ngx_broadcast_conn_t *bc);


/*
 * Bytes or a message from the client (WebSocket: one whole message; SSE: the
 * body of a POST, by an INPUT record or directly).  May close bc: look it up
 * again, or return.  Any bytes count as a sign of life.
 */
void ngx_broadcast_conn_input(ngx_broadcast_conn_t *bc, ngx_str_t *bytes);

#if (NGX_BROADCAST_DEBUG)

/* a whole message of a connection that speaks ECHO goes back as it came */
void ngx_broadcast_conn_echo(ngx_broadcast_conn_t *bc, ngx_str_t *bytes,
    ngx_uint_t binary);

#endif

/* sign of life without a message: pong, empty frame */
void ngx_broadcast_conn_alive(ngx_broadcast_conn_t *bc);

/*
 * Ends it: queues what the protocol has to say (hub Close, WebSocket close
 * frame by code), state CLOSING, transport->close.  reason is copied; for
 * END_PROTOCOL code is the WebSocket close code (0 = by `end`).
 */
void ngx_broadcast_conn_end(ngx_broadcast_conn_t *bc, ngx_uint_t end,
    ngx_uint_t code, ngx_str_t *reason);

/*
 * The transport is gone (peer closed, socket error, polite close finished):
 * index, queue, row, timers, `disconnected`, one info line; bc is freed by a
 * posted event and must not be touched again.  The transport has freed or
 * frees its own things.
 */
void ngx_broadcast_conn_closed(ngx_broadcast_conn_t *bc, ngx_uint_t end);

/*
 * The socket is gone without a word of the peer's (end of file, reset).  A
 * stateful connection waits for another one, all others are closed; either
 * way bc must not be touched again.
 */
void ngx_broadcast_conn_lost(ngx_broadcast_conn_t *bc);

/* 1 if another socket may take it over */
ngx_uint_t ngx_broadcast_conn_stateful(ngx_broadcast_conn_t *bc);

/*
 * In place of ngx_broadcast_conn_attach(): another socket takes over the
 * connection of that id, whose old one, if it has one, is destroyed.  NULL:
 * there is none here that can be taken over.  deflate is the new socket's, as
 * of ngx_broadcast_conn_set_deflate(); expires is the token's, as in
 * ngx_broadcast_open_t.
 */
ngx_broadcast_conn_t *ngx_broadcast_conn_reattach(ngx_str_t *id,
    ngx_broadcast_transport_t *transport, void *data, ngx_uint_t deflate,
    time_t expires);

/* raw control frame of the transport (pong, close), in front of nothing:
   takes its place behind what is queued; copied */
ngx_int_t ngx_broadcast_conn_control(ngx_broadcast_conn_t *bc, u_char *bytes,
    size_t len);


/* the socket takes bytes again (write event); may end bc */
void ngx_broadcast_conn_writable(ngx_broadcast_conn_t *bc);

/* 1 while a call is under way and nothing more should be read for bc */
ngx_uint_t ngx_broadcast_conn_paused(ngx_broadcast_conn_t *bc);


/* worker life: start after bus and pg have their conf, stop before them */

ngx_int_t ngx_broadcast_conn_start(ngx_cycle_t *cycle);
void ngx_broadcast_conn_stop(ngx_cycle_t *cycle);

/*
 * When the worker is asked to exit, its clients are ended at an even pace over
 * `drain` ms; 0: they are kept until they leave.  The worker stays as long as
 * it has clients.  Set from the configuration before start (30 s otherwise);
 * start makes the sentinel that sees the sign.
 */
void ngx_broadcast_conn_set_drain(ngx_msec_t drain);


#endif /* _NGX_BROADCAST_CONN_H_INCLUDED_ */
