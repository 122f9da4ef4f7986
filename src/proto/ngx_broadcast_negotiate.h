
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Answers to SignalR's negotiate request (TransportProtocols.md).
 */

#ifndef _NGX_BROADCAST_NEGOTIATE_H_INCLUDED_
#define _NGX_BROADCAST_NEGOTIATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* transports; clients try them in this order */

#define NGX_BROADCAST_NEGOTIATE_WEBSOCKET  0x01
#define NGX_BROADCAST_NEGOTIATE_SSE        0x02
#define NGX_BROADCAST_NEGOTIATE_LONGPOLL   0x04


/*
 * Which of three documents is written is seen from what is set: error, else
 * url, else id.
 */

typedef struct {
    ngx_str_t    error;          /* alone: {"error"} */

    ngx_str_t    url;            /* redirect: {"url","accessToken"} */
    ngx_str_t    access_token;   /* len 0: left out */

    ngx_uint_t   version;        /* 0 or 1 */
    ngx_str_t    id;             /* connectionId */
    ngx_str_t    token;          /* connectionToken, with version 1 */
    ngx_uint_t   transports;     /* bits above */
    unsigned     binary:1;       /* "Binary" is offered beside "Text" on
                                    transports that can: only where MessagePack
                                    is served, since a client that wants it
                                    then gets a proper error before it
                                    connects */
    unsigned     stateful:1;     /* the client asked and it is granted */

    u_char       text[112];      /* room for error, see version() */
} ngx_broadcast_negotiate_t;


/*
 * Reads the value of the query's negotiateVersion (NULL: absent) into
 * n->version; what is above 1 is answered as 1.  ERROR sets n->error: the
 * document is to be sent, with status 200.
 */
ngx_int_t ngx_broadcast_negotiate_version(ngx_broadcast_negotiate_t *n,
    const ngx_str_t *value);

size_t ngx_broadcast_negotiate_len(const ngx_broadcast_negotiate_t *n);
u_char *ngx_broadcast_negotiate_write(u_char *dst,
    const ngx_broadcast_negotiate_t *n);


#endif /* _NGX_BROADCAST_NEGOTIATE_H_INCLUDED_ */
