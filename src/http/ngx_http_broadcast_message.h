
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_MESSAGE_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_MESSAGE_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


/* ngx_http_broadcast_message.c: bodies that become records */

typedef struct {
    ngx_http_request_t        *r;
    ngx_broadcast_record_t     scope;      /* all but target and arguments */
    ngx_str_t                  target;     /* where a message names none */
    ngx_uint_t                 bare;       /* the body is one argument, not a
                                              message; a line that is one may
                                              say whom it is for */
    ngx_array_t                records;    /* out: ngx_broadcast_record_t */
    const char                *error;      /* out: a sentence */
    ngx_uint_t                 line;       /* out: of the error, 0: none */
} ngx_http_broadcast_batch_t;

/* 1 if the body is a message in MessagePack, signalr.md 8.1 */
ngx_uint_t ngx_http_broadcast_packed_type(ngx_http_request_t *r);

/*
 * Makes records of ctx->body.  NGX_OK; NGX_DECLINED: error and line say why
 * it is 400; NGX_BUSY: too many messages (413); NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_broadcast_batch(ngx_http_broadcast_batch_t *batch);

/*
 * Puts one more record, made of a JSON message, into batch->records, which
 * stands; with bare, what is no message is one argument.  Returns the same.
 */
ngx_int_t ngx_http_broadcast_batch_message(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *text, ngx_uint_t bare);


/* ngx_http_broadcast_scope.c: whom a publisher's messages are for */

#define NGX_HTTP_BROADCAST_SCOPES  3       /* group, user, connection */

/*
 * batch->scope by one of the arguments group, user and connection, or none of
 * them.  NGX_OK; NGX_DECLINED: error says why it is 400; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_broadcast_scope_args(ngx_http_broadcast_batch_t *batch);

/* which of a line's members this is, or NGX_HTTP_BROADCAST_SCOPES: none */
ngx_uint_t ngx_http_broadcast_scope_key(ngx_broadcast_scan_value_t *key);

/*
 * A record's scope by the values of such members, by their numbers, null where
 * there is none.  Returns as scope_args().
 */
ngx_int_t ngx_http_broadcast_scope_line(ngx_http_broadcast_batch_t *batch,
    ngx_broadcast_scan_value_t *values, ngx_broadcast_record_t *rec);


/* ngx_http_broadcast_send.c: what publish and the API have in common */

/* the answer where a batch is refused: 400 with error and line, 413, 500 */
ngx_int_t ngx_http_broadcast_batch_refused(ngx_http_broadcast_batch_t *batch,
    ngx_int_t rc);

/* sends the records to the hub, which they need not name */
ngx_int_t ngx_http_broadcast_send_to(ngx_http_request_t *r, ngx_str_t *hub,
    ngx_array_t *records, ngx_uint_t want, ngx_http_broadcast_sent_pt sent);

/*
 * Reads the body of a send, as ngx_http_broadcast_read_body() does, the
 * Idempotency-Key of the request into its ctx first; 400 if that is none.
 */
ngx_int_t ngx_http_broadcast_read_send(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler);

/*
 * The answer where they were sent: {"id","count"} with that status; {"count"}
 * with 202 where the number is late; else that of the next function.
 */
ngx_int_t ngx_http_broadcast_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent, ngx_uint_t status);

/*
 * The answer where nothing was sent, or nobody knows: 503, 500, 507; or a
 * repeat cannot be told what the first was: 409, 422.
 */
ngx_int_t ngx_http_broadcast_not_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent);

/* NGX_OK or NGX_ERROR: can it be a connection's id at all */
ngx_int_t ngx_http_broadcast_connection_id(ngx_str_t *id);


#endif /* _NGX_HTTP_BROADCAST_MESSAGE_H_INCLUDED_ */
