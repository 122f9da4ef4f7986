
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The hub message of SignalR, independent of its encoding: hub protocols parse
 * into it and write from it.  HubProtocol.md names the fields.
 *
 * All strings are borrowed: from the input, or, where they had escapes, from
 * the pool given to the parser.
 */

#ifndef _NGX_BROADCAST_MESSAGE_H_INCLUDED_
#define _NGX_BROADCAST_MESSAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_BROADCAST_MESSAGE_NONE = 0,
    NGX_BROADCAST_MESSAGE_INVOCATION = 1,
    NGX_BROADCAST_MESSAGE_STREAM_ITEM = 2,
    NGX_BROADCAST_MESSAGE_COMPLETION = 3,
    NGX_BROADCAST_MESSAGE_STREAM_INVOCATION = 4,
    NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION = 5,
    NGX_BROADCAST_MESSAGE_PING = 6,
    NGX_BROADCAST_MESSAGE_CLOSE = 7,
    NGX_BROADCAST_MESSAGE_ACK = 8,
    NGX_BROADCAST_MESSAGE_SEQUENCE = 9
} ngx_broadcast_message_type_e;


/* hub protocols: the encoding of raw values, the protocol of a connection */

typedef enum {
    NGX_BROADCAST_HUB_JSON = 0,
    NGX_BROADCAST_HUB_MSGPACK
} ngx_broadcast_hub_protocol_e;


typedef struct {
    ngx_broadcast_message_type_e  type;
    ngx_broadcast_hub_protocol_e  encoding;   /* of arguments, value */

    ngx_str_t                     id;         /* invocationId; len 0: none */
    ngx_str_t                     target;     /* 1, 4 */
    ngx_str_t                     arguments;  /* 1, 4: raw array */
    ngx_str_t                     streams;    /* streamIds: raw array of
                                                 strings; len 0: none */
    ngx_uint_t                    nstreams;
    ngx_str_t                     value;      /* raw item (2), result (3) */
    ngx_str_t                     shape;      /* of value, to be packed: see
                                                 ngx_broadcast_recode.h; len
                                                 0: nothing special */
    ngx_str_t                     error;      /* 3, 7 */
    int64_t                       sequence;   /* sequenceId: 8, 9 */

    unsigned                      has_value:1;
    unsigned                      has_error:1;
    unsigned                      allow_reconnect:1;   /* 7 */
    unsigned                      nul:1;      /* id, target or error holds
                                                 U+0000, which PostgreSQL
                                                 cannot keep as text */
    unsigned                      deep:1;     /* 1, 4, with an id: arguments
                                                 are nested too deeply, and
                                                 are not here */
} ngx_broadcast_message_t;


/* what Sequence and Ack number: everything that one side says to the other */

#define ngx_broadcast_message_counted(m)                                      \
    ((m)->type >= NGX_BROADCAST_MESSAGE_INVOCATION                            \
     && (m)->type <= NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION)


#endif /* _NGX_BROADCAST_MESSAGE_H_INCLUDED_ */
