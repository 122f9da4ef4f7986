
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * WebSocket (RFC 6455), the server's side, as a pure codec: bytes in, events
 * out.  The parser eats everything it is given; what is incomplete it keeps
 * itself, so readers may share one buffer between all connections.  A message
 * that lies whole in the input is yielded where it lies, unmasked in place;
 * memory is taken only while a message or control frame is incomplete, grows
 * with the bytes that came (never to the announced length at once), and is
 * freed with the next feed behind the message, or by reset.
 */

#ifndef _NGX_BROADCAST_WS_H_INCLUDED_
#define _NGX_BROADCAST_WS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_utf8.h"


/* opcodes, RFC 6455 section 5.2 */

#define NGX_BROADCAST_WS_CONTINUATION    0x0
#define NGX_BROADCAST_WS_TEXT            0x1
#define NGX_BROADCAST_WS_BINARY          0x2
#define NGX_BROADCAST_WS_CLOSE           0x8
#define NGX_BROADCAST_WS_PING            0x9
#define NGX_BROADCAST_WS_PONG            0xa

/* bits beside the opcode; RSV1 (a deflated message) may be given with one */

#define NGX_BROADCAST_WS_FIN             0x80
#define NGX_BROADCAST_WS_RSV1            0x40

/* close codes, section 7.4.1 and the IANA registry */

#define NGX_BROADCAST_WS_NORMAL          1000
#define NGX_BROADCAST_WS_GOING_AWAY      1001
#define NGX_BROADCAST_WS_PROTOCOL_ERROR  1002
#define NGX_BROADCAST_WS_NO_STATUS       1005    /* never on the wire */
#define NGX_BROADCAST_WS_INVALID_DATA    1007
#define NGX_BROADCAST_WS_POLICY          1008
#define NGX_BROADCAST_WS_TOO_BIG         1009
#define NGX_BROADCAST_WS_SERVER_ERROR    1011
#define NGX_BROADCAST_WS_RESTART         1012
#define NGX_BROADCAST_WS_TRY_LATER       1013

#define NGX_BROADCAST_WS_CONTROL_MAX     125     /* payload, at most */
#define NGX_BROADCAST_WS_HEADER_MAX      10      /* server's, without a mask */
#define NGX_BROADCAST_WS_ACCEPT_LEN      28


/*
 * One per connection, filled by init; 48 bytes on 64-bit machines.  Sizes
 * are 32 bits: the largest message limit is 2 GB - 1.
 */

typedef struct {
    u_char               *message;    /* owned: what came of an incomplete
                                         message, behind it what came of an
                                         incomplete control frame */
    uint32_t              size;       /* bytes allocated */
    uint32_t              used;       /* bytes of the message */
    uint32_t              rest;       /* payload bytes the frame still lacks */
    uint32_t              limit;      /* bytes of the largest message */
    ngx_broadcast_utf8_t  utf8;       /* over the text message */
    u_char                header[14]; /* of the current frame */
    u_char                have;       /* header bytes that came */
    u_char                control;    /* control payload bytes kept */
    u_char                opcode;     /* of the message begun; 0: none */
    unsigned              payload:1;  /* header complete, payload awaited */
    unsigned              deflate:1;  /* RSV1 allowed: permessage-deflate */
    unsigned              deflated:1; /* the message begun has RSV1 */
    unsigned              yielded:1;  /* free message with the next feed */
    unsigned              closed:1;   /* nothing is read any more */
} ngx_broadcast_ws_parser_t;


typedef struct {
    ngx_uint_t            type;       /* opcode, never CONTINUATION */
    ngx_str_t             payload;    /* borrowed from the input or the parser
                                         until the next feed or reset; the
                                         reason of a CLOSE */
    ngx_uint_t            code;       /* CLOSE: received code, or 1005 */
    unsigned              deflated:1; /* TEXT, BINARY: still compressed, and
                                         UTF-8 and the limit yet to be checked
                                         by whoever inflates it */
    ngx_uint_t            close_code; /* NGX_ERROR: what to close with */
    const char           *error;      /* NGX_ERROR: static sentence */
} ngx_broadcast_ws_event_t;


/*
 * limit: bytes of the largest message, checked against what frames announce; a
 * deflated message may have ngx_broadcast_deflate_slack() more.
 * deflate: permessage-deflate was negotiated; then RSV1 is allowed on the first
 * frame of a data message, and reported.
 */
void ngx_broadcast_ws_init(ngx_broadcast_ws_parser_t *p, size_t limit,
    ngx_uint_t deflate);

/* frees what the parser owns; it can be fed again as after init */
void ngx_broadcast_ws_reset(ngx_broadcast_ws_parser_t *p);

/*
 * Reads on at *pos and moves it; the bytes are changed (unmasked).
 *
 * OK     an event; call again, also if *pos == last
 * AGAIN  everything is eaten, *pos == last
 * ERROR  ev->close_code and ev->error; the connection is to be closed, what
 *        comes after is eaten and ignored (AGAIN), as it is after a CLOSE
 *
 * An empty input only frees what the last event held.
 */
ngx_int_t ngx_broadcast_ws_feed(ngx_broadcast_ws_parser_t *p, u_char **pos,
    u_char *last, ngx_broadcast_ws_event_t *ev);

/* writes 2, 4 or 10 bytes */
size_t ngx_broadcast_ws_header_len(uint64_t len);
size_t ngx_broadcast_ws_header(u_char *dst, ngx_uint_t opcode, ngx_uint_t fin,
    uint64_t len);

/*
 * A whole close frame, at most 127 bytes, returns how many.  With code 0 or
 * 1005 it is empty, as an answer to a close without code.  A longer reason is
 * cut between characters; NULL is none.
 */
size_t ngx_broadcast_ws_close(u_char *dst, ngx_uint_t code,
    const ngx_str_t *reason);

/* may a peer send this code (section 7.4) */
ngx_uint_t ngx_broadcast_ws_code_valid(ngx_uint_t code);

/*
 * Sec-WebSocket-Accept, NGX_BROADCAST_WS_ACCEPT_LEN bytes; with dst NULL the
 * key is only checked.  DECLINED if it is not base64 of 16 bytes.
 */
ngx_int_t ngx_broadcast_ws_accept(const ngx_str_t *key, u_char *dst);


#endif /* _NGX_BROADCAST_WS_H_INCLUDED_ */
