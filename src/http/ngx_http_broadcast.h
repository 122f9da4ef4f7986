
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "base/ngx_broadcast_buf.h"
#include "base/ngx_broadcast_id.h"
#include "base/ngx_broadcast_json.h"
#include "base/ngx_broadcast_name.h"
#include "base/ngx_broadcast_utf8.h"
#include "proto/ngx_broadcast_scan.h"
#include "token/ngx_broadcast_key.h"
#include "token/ngx_broadcast_jws.h"
#include "token/ngx_broadcast_jwt.h"
#include "token/ngx_broadcast_ticket.h"
#include "token/ngx_broadcast_verified.h"
#include "shm/ngx_broadcast_progress.h"
#include "shm/ngx_broadcast_zone.h"
#include "shm/ngx_broadcast_record.h"
#include "pg/ngx_broadcast_pg.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_presence.h"
#include "conn/ngx_broadcast_conn.h"
#include "base/ngx_broadcast_compat.h"


/* which handler serves a location: two of them in one are refused */

typedef enum {
    NGX_HTTP_BROADCAST_NONE = 0,
    NGX_HTTP_BROADCAST_NEGOTIATE,
    NGX_HTTP_BROADCAST_HUB,
    NGX_HTTP_BROADCAST_EVENTS,
    NGX_HTTP_BROADCAST_PUBLISH,
    NGX_HTTP_BROADCAST_API,
    NGX_HTTP_BROADCAST_FUNCTION,
    NGX_HTTP_BROADCAST_STATUS,
    NGX_HTTP_BROADCAST_ECHO                /* debug builds: a hub's transports
                                              without a protocol */
} ngx_http_broadcast_kind_e;


/* words of broadcast_transports, a bit each */

#define NGX_HTTP_BROADCAST_WEBSOCKET  (1 << NGX_BROADCAST_WEBSOCKET)
#define NGX_HTTP_BROADCAST_SSE        (1 << NGX_BROADCAST_SSE)
#define NGX_HTTP_BROADCAST_LONGPOLL   (1 << NGX_BROADCAST_LONGPOLL)


#define NGX_HTTP_BROADCAST_AUTH_OFF       0
#define NGX_HTTP_BROADCAST_AUTH_ON        1
#define NGX_HTTP_BROADCAST_AUTH_OPTIONAL  2

#define NGX_HTTP_BROADCAST_STATUS_AUTO        0
#define NGX_HTTP_BROADCAST_STATUS_HTML        1
#define NGX_HTTP_BROADCAST_STATUS_JSON        2
#define NGX_HTTP_BROADCAST_STATUS_PROMETHEUS  3

#define NGX_HTTP_BROADCAST_MESSAGE_SIZE  (1024 * 1024)   /* default */
#define NGX_HTTP_BROADCAST_DEFLATE_MIN   128             /* the same, bytes */

#define NGX_HTTP_BROADCAST_VERSION  "0.1.0"

/* bytes of the name that broadcast_after gives */

#define NGX_HTTP_BROADCAST_AFTER_MAX  128

/* seconds in Retry-After where the database is away */

#define NGX_HTTP_BROADCAST_RETRY  1


typedef struct {
    ngx_shm_zone_t            *shm_zone;
    ngx_broadcast_zone_t      *zone;       /* shared memory, set when mapped */

    ngx_broadcast_pg_conf_t    pg;         /* no database: conninfo is empty */

    ngx_uint_t                 source;     /* 1: broadcast_source wal */
    ngx_array_t               *health;     /* of pointers to
                                              ngx_http_broadcast_health_t,
                                              NULL: none */
    ngx_msec_t                 drain;      /* 0: off */
    ngx_uint_t                 drain_given;

    ngx_str_t                  needs;      /* first directive that needs the
                                              zone, and where it stands */
    ngx_str_t                  needs_file;
    ngx_uint_t                 needs_line;
} ngx_http_broadcast_main_conf_t;


typedef struct {
    ngx_broadcast_keys_t      *keys;       /* NULL: none at this level */
    ngx_str_t                  client;     /* first hub location that a
                                              negotiate may point to */
    u_char                     ticket[NGX_BROADCAST_TICKET_KEY];
    ngx_uint_t                 ticket_made;    /* by each worker, when needed */
} ngx_http_broadcast_srv_conf_t;


typedef struct {
    ngx_http_complex_value_t   value;
    ngx_uint_t                 encoded;    /* one $arg_… or $cookie_… alone:
                                              percent-decoded ... */
    ngx_uint_t                 where;      /* ... as NGX_BROADCAST_IN_… */
} ngx_http_broadcast_value_t;


typedef struct {
    ngx_str_t                    name;     /* of claim=name:value */
    ngx_http_broadcast_value_t  *value;
} ngx_http_broadcast_claim_t;


typedef struct {
    ngx_http_broadcast_value_t  *hub;
    ngx_http_broadcast_value_t  *user;
    ngx_http_broadcast_value_t  *groups;   /* names joined by ',' */
    ngx_array_t                  endpoints;    /* of
                                              ngx_http_broadcast_endpoint_t */
    ngx_msec_t                   health;   /* 0: endpoints are not asked */
    ngx_array_t                  claims;   /* of ngx_http_broadcast_claim_t */
    ngx_str_t                    function;
    time_t                       ttl;      /* seconds */
} ngx_http_broadcast_negotiate_t;


typedef struct {
    ngx_uint_t                 limit;
    ngx_str_t                  text;       /* of key=, empty: per hub */
    ngx_http_complex_value_t  *key;        /* NULL: per hub */
} ngx_http_broadcast_cap_t;


typedef struct {
    ngx_uint_t                 any;        /* "*" was given */
    ngx_array_t                values;     /* of ngx_str_t */
    ngx_array_t               *regex;      /* of ngx_regex_elt_t, or NULL */
} ngx_http_broadcast_origins_t;


typedef struct {
    ngx_uint_t                 kind;       /* NGX_HTTP_BROADCAST_… */

    ngx_str_t                  hub;        /* fixed, lower case, or empty */
    ngx_str_t                  target;     /* publish: default target */
    unsigned                   anonymous:1;
    unsigned                   nofunctions:1;
    unsigned                   open:1;     /* broadcast_api open */
    ngx_uint_t                 format;     /* broadcast_status */
    ngx_http_broadcast_negotiate_t  *negotiate;

    ngx_uint_t                 auth;
    ngx_str_t                  role;       /* of broadcast_auth, or empty */
    ngx_str_t                  after;      /* function, empty: off; without
                                              data: not given */

    ngx_uint_t                 transports;
    off_t                      body_max;   /* client_max_body_size, 0: none */
    ngx_broadcast_limits_t     limits;
    ngx_array_t               *caps;       /* of ngx_http_broadcast_cap_t */
    ngx_http_broadcast_origins_t    *origins;
} ngx_http_broadcast_loc_conf_t;


/* the token of a request, looked for once */

typedef enum {
    NGX_HTTP_BROADCAST_TOKEN_UNSEEN = 0,
    NGX_HTTP_BROADCAST_TOKEN_NONE,
    NGX_HTTP_BROADCAST_TOKEN_GOOD,
    NGX_HTTP_BROADCAST_TOKEN_BAD,
    NGX_HTTP_BROADCAST_TOKEN_LONG
} ngx_http_broadcast_token_e;


typedef struct ngx_http_broadcast_ctx_s  ngx_http_broadcast_ctx_t;

typedef void (*ngx_http_broadcast_body_pt)(ngx_http_request_t *r);
typedef ngx_int_t (*ngx_http_broadcast_sent_pt)(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent);
typedef ngx_int_t (*ngx_http_broadcast_called_pt)(ngx_http_request_t *r,
    ngx_broadcast_call_result_t *result);
typedef ngx_int_t (*ngx_http_broadcast_present_pt)(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence);
typedef ngx_int_t (*ngx_http_broadcast_ready_pt)(ngx_http_request_t *r);


/* lives in the request's pool and dies with the request */

struct ngx_http_broadcast_ctx_s {
    ngx_uint_t                 token;      /* NGX_HTTP_BROADCAST_TOKEN_… */
    ngx_broadcast_jwt_t       *jwt;        /* set when it is good */

    ngx_str_t                  hub;        /* lower case, for variables */
    ngx_str_t                  id;         /* connection id, for variables */
    ngx_str_t                  user;       /* the token's, or a function's */

    ngx_str_t                  body;       /* owned by r->pool */
    size_t                     body_size;  /* allocated */
    size_t                     body_limit;
    ngx_http_broadcast_body_pt body_handler;

    ngx_broadcast_call_t      *call;       /* under way: cancelled with r */
    ngx_broadcast_record_t    *recs;       /* of a send that waits */
    ngx_uint_t                 nrecs;
    ngx_uint_t                 want;
    ngx_str_t                  key;        /* Idempotency-Key, or empty */
    ngx_http_broadcast_sent_pt     sent;
    ngx_http_broadcast_called_pt   called;
    ngx_http_broadcast_present_pt  present;
    ngx_http_broadcast_ready_pt    ready;
    ngx_event_t                wait;       /* looks for the database, or goes
                                              on in another turn */
    ngx_msec_t                 deadline;
    uint64_t                   offset;     /* of the log: until all workers
                                              are there; 0: until the database
                                              knows what is untold */
    ngx_broadcast_untold_t     untold;
    unsigned                   body_ours:1; /* taken as it comes */
    unsigned                   json:1;     /* errors of this request are JSON */

    void                      *data;       /* the handler's own */
};


extern ngx_module_t  ngx_http_broadcast_module;


/* ngx_http_broadcast_request.c: what a request says */

/* NULL: no memory */
ngx_http_broadcast_ctx_t *ngx_http_broadcast_ctx(ngx_http_request_t *r);

/*
 * The path behind the location's name.  NGX_OK; *encoded tells whether rest
 * still has its percent-encoding, so that a "%2F" in a segment stays apart
 * from a "/" (it cannot be kept where nginx has normalized or rewritten the
 * path).  NGX_DECLINED: the location has no name to be below of.
 */
ngx_int_t ngx_http_broadcast_below(ngx_http_request_t *r, ngx_str_t *rest,
    ngx_uint_t *encoded);

/*
 * Value of the query's first key of that name, decoded: NGX_OK, NGX_DECLINED:
 * not there; NGX_ABORT: broken encoding; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_broadcast_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* all of them, as an array of ngx_str_t; NGX_OK also when there are none */
ngx_int_t ngx_http_broadcast_args(ngx_http_request_t *r, const char *name,
    ngx_array_t **values);

/* first header of the name (lower case), or NULL */
ngx_table_elt_t *ngx_http_broadcast_header_in(ngx_http_request_t *r,
    const char *name);

/*
 * The hub of a request: the location's own, else the one segment below it.
 * It is put into ctx.  NGX_OK; NGX_DECLINED: no such path (404); NGX_ABORT:
 * no good name (400); NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_broadcast_path_hub(ngx_http_request_t *r);

/* content types, parameters ignored */
ngx_uint_t ngx_http_broadcast_content_type(ngx_http_request_t *r,
    const char *type);


/* ngx_http_broadcast_body.c */

/*
 * Reads the body into ctx->body, at most the location's message size, then
 * calls the handler, which finalizes the request.  Returns what a content
 * handler returns; 413 was answered.
 */
ngx_int_t ngx_http_broadcast_read_body(ngx_http_request_t *r,
    ngx_http_broadcast_body_pt handler);


/* ngx_http_broadcast_describe.c */

/*
 * Members of an event for a function: "claims":…,"query":…,"headers":…,
 * "remoteAddress":… without braces.  Neither the token nor Authorization is
 * in them.
 */
void ngx_http_broadcast_describe(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b);


/* ngx_http_broadcast_response.c: answers; each is a content handler's return */

ngx_int_t ngx_http_broadcast_answer(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_str_t *body);
ngx_int_t ngx_http_broadcast_text(ngx_http_request_t *r, ngx_uint_t status,
    const char *text);
ngx_int_t ngx_http_broadcast_json(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body);

/*
 * {"code","message","target"}; target may be NULL.  code is sent in
 * x-ms-error-code too.
 */
ngx_int_t ngx_http_broadcast_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *message, ngx_str_t *target);

/* 405 with Allow, as text or JSON by ctx->json; OPTIONS itself is 204 */
ngx_int_t ngx_http_broadcast_not_allowed(ngx_http_request_t *r,
    const char *allow);

/* 503 with Retry-After, as text or JSON by ctx->json */
ngx_int_t ngx_http_broadcast_retry(ngx_http_request_t *r,
    const char *message);

/* the same, counted as refused for the database's sake */
ngx_int_t ngx_http_broadcast_unavailable(ngx_http_request_t *r,
    const char *message);

/* 401 with WWW-Authenticate and, unless ctx->json, an empty body */
ngx_int_t ngx_http_broadcast_unauthorized(ngx_http_request_t *r);
/* the same for a caller that has no role: pg/ has counted it */
ngx_int_t ngx_http_broadcast_no_role(ngx_http_request_t *r);

ngx_int_t ngx_http_broadcast_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);
ngx_int_t ngx_http_broadcast_header_text(ngx_http_request_t *r,
    const char *name, const char *value);


/* ngx_http_broadcast_auth.c */

/*
 * Looks for a token and checks it, once a request; the result is in
 * ctx->token and ctx->jwt.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_broadcast_token(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t **ctx);

/*
 * NGX_OK: the token is good for the hub (NULL: for any), or there is none and
 * `anonymous`.  Otherwise the request was answered (401, 413) and the return
 * is the handler's.  *answered tells.
 */
ngx_int_t ngx_http_broadcast_client(ngx_http_request_t *r, ngx_str_t *hub,
    ngx_uint_t anonymous, ngx_uint_t *answered);

ngx_int_t ngx_http_broadcast_auth_handler(ngx_http_request_t *r);


/* ngx_http_broadcast_after.c: first of the log phase */

ngx_int_t ngx_http_broadcast_after_handler(ngx_http_request_t *r);


/* ngx_http_broadcast_origin.c */

ngx_int_t ngx_http_broadcast_origin_handler(ngx_http_request_t *r);


/* ngx_http_broadcast_wait.c: what a request waits for */

/*
 * The request waits, the handler returns NGX_DONE; if its client goes away it
 * is ended meanwhile, with the cleanups that were added to it.
 */
void ngx_http_broadcast_suspend(ngx_http_request_t *r);

/*
 * What it waited for has come: finalizes it with rc, NGX_DONE if it waits
 * again.  It may be gone afterwards.
 */
void ngx_http_broadcast_continue(ngx_http_request_t *r, ngx_int_t rc);

/*
 * ngx_broadcast_outbox_send() for a request: `sent` is called now or later,
 * and its return finalizes.  recs and what they point to are in r->pool.
 * Returns what a content handler returns.
 */
ngx_int_t ngx_http_broadcast_send(ngx_http_request_t *r,
    ngx_broadcast_record_t *recs, ngx_uint_t n, ngx_uint_t want,
    ngx_http_broadcast_sent_pt sent);

/*
 * ngx_broadcast_call() for a request.  Where it is refused at once the answer
 * is 503.
 */
ngx_int_t ngx_http_broadcast_call(ngx_http_request_t *r, ngx_uint_t kind,
    ngx_str_t *name, ngx_str_t *event, ngx_http_broadcast_called_pt called);

/*
 * ngx_broadcast_presence() for a request: `present` is called if the database
 * has answered, otherwise the answer is 503.
 */
ngx_int_t ngx_http_broadcast_presence(ngx_http_request_t *r,
    ngx_broadcast_presence_ask_t *ask, ngx_http_broadcast_present_pt present);

/*
 * Calls ready() as soon as bindings and positions were read, 503 if the
 * database's time-out is over before.
 */
ngx_int_t ngx_http_broadcast_when_ready(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready);

/*
 * Calls ready() after the other events of this turn: who has a long way to go
 * stops here.
 */
ngx_int_t ngx_http_broadcast_next_turn(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready);

/*
 * Calls ready() as soon as the workers of this node have carried out what
 * stands in the log now; or have told the database of the connections that
 * they have, and of their groups.  After two seconds in any case.
 */
ngx_int_t ngx_http_broadcast_when_done(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready);
ngx_int_t ngx_http_broadcast_when_told(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready);

/*
 * NGX_OK: something may be published; NGX_DONE: workers have much of the log to
 * read, ready() is called when they have, or after half a second.
 */
ngx_int_t ngx_http_broadcast_when_read(ngx_http_request_t *r,
    ngx_http_broadcast_ready_pt ready);


/* ngx_http_broadcast_connect.c */

/*
 * Opens a connection for the request: waits for the database where functions
 * may be bound, asks a `connect` function, claims the row and hands the
 * request to the transport.  `in` lives in r->pool and has what the handler
 * knows; user, groups and event come from the request here.
 */
ngx_int_t ngx_http_broadcast_connect(ngx_http_request_t *r,
    ngx_broadcast_open_t *in, ngx_uint_t transport);

/*
 * A random id, in ctx too, for a connection that was not negotiated; NGX_ERROR:
 * no memory, or no random bytes.
 */
ngx_int_t ngx_http_broadcast_new_id(ngx_http_request_t *r, ngx_str_t *id);


/* ngx_http_broadcast_transports.c */

/* NGX_BROADCAST_WEBSOCKET, _SSE or _LONGPOLL; else a status in *refuse */
ngx_uint_t ngx_http_broadcast_transport(ngx_http_request_t *r,
    ngx_int_t *refuse);

/* 404 of a transport that location or token switch off */
ngx_int_t ngx_http_broadcast_transport_off(ngx_http_request_t *r,
    ngx_uint_t transport);

/* transports that location and token allow */
ngx_uint_t ngx_http_broadcast_transports(ngx_http_request_t *r,
    ngx_http_broadcast_ctx_t *ctx);


/* ngx_http_broadcast_resume.c */

/* a position that a client asks for, borrowed */
void ngx_http_broadcast_resume(ngx_broadcast_open_t *in,
    ngx_str_t *position);

/* the same from the query, if it is there; NGX_ERROR: no memory */
ngx_int_t ngx_http_broadcast_resume_arg(ngx_http_request_t *r,
    const char *name, ngx_broadcast_open_t *in);


/* content handlers */

ngx_int_t ngx_http_broadcast_negotiate_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_broadcast_hub_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_broadcast_events_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_broadcast_publish_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_broadcast_api_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_broadcast_function_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_broadcast_status_handler(ngx_http_request_t *r);


/* ngx_http_broadcast_ticket.c: the server's key for connection tokens */

/* NGX_BROADCAST_TICKET_KEY bytes; NULL: it could not be made */
u_char *ngx_http_broadcast_ticket(ngx_http_request_t *r);

/*
 * ngx_broadcast_ticket_verify() for the request's hub with all keys of the
 * server; NGX_ERROR: a key could not be made
 */
ngx_int_t ngx_http_broadcast_ticket_verify(ngx_http_request_t *r,
    ngx_str_t *token, ngx_str_t *user, time_t *expires);


#endif /* _NGX_HTTP_BROADCAST_H_INCLUDED_ */
