
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The SignalR handshake: the first record of a connection, JSON for every hub
 * protocol (HubProtocol.md, "Overview").
 */

#ifndef _NGX_BROADCAST_HANDSHAKE_H_INCLUDED_
#define _NGX_BROADCAST_HANDSHAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_message.h"


#define NGX_BROADCAST_HANDSHAKE_OK  "{}\x1e"


typedef enum {
    NGX_BROADCAST_HANDSHAKE_ACCEPTED = 0,
    NGX_BROADCAST_HANDSHAKE_PROTOCOL,     /* unknown, or not served */
    NGX_BROADCAST_HANDSHAKE_VERSION,
    NGX_BROADCAST_HANDSHAKE_FORMAT,       /* binary on a text transport */
    NGX_BROADCAST_HANDSHAKE_CANCELED,     /* too long, or too late */
    NGX_BROADCAST_HANDSHAKE_MALFORMED
} ngx_broadcast_handshake_status_e;


typedef struct {
    /* set by the caller */
    size_t                            limit;       /* bytes of the record */
    int64_t                           max_version; /* 1; 2 where stateful
                                                      reconnect is served */
    unsigned                          msgpack:1;   /* MessagePack is served */
    unsigned                          binary:1;    /* the transport can */

    /* result */
    ngx_broadcast_handshake_status_e  status;
    ngx_broadcast_hub_protocol_e      protocol;
    int64_t                           version;
    ngx_str_t                         name;        /* raw: escapes as they
                                                      came, without quotes;
                                                      borrowed from input */
} ngx_broadcast_handshake_t;


/*
 * OK     accepted; *pos is behind the separator, hub messages may follow
 * AGAIN  no separator yet; *pos stays, the caller keeps the bytes
 * ERROR  h->status says why; send the reply and close
 */
ngx_int_t ngx_broadcast_handshake_parse(ngx_broadcast_handshake_t *h,
    u_char **pos, u_char *last);

/*
 * The answer with its separator, for any status: callers set CANCELED
 * themselves when the time is over.  h->name is still read here.
 */
size_t ngx_broadcast_handshake_reply_len(const ngx_broadcast_handshake_t *h);
u_char *ngx_broadcast_handshake_reply_write(u_char *dst,
    const ngx_broadcast_handshake_t *h);


#endif /* _NGX_BROADCAST_HANDSHAKE_H_INCLUDED_ */
