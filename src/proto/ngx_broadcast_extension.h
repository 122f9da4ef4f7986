
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Sec-WebSocket-Extensions (RFC 6455 section 9.1) and what permessage-deflate
 * has in it (RFC 7692 section 7.1), the server's side.
 */

#ifndef _NGX_BROADCAST_EXTENSION_H_INCLUDED_
#define _NGX_BROADCAST_EXTENSION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* windows are 2^bits bytes; zlib makes no raw deflate with one of 2^8 */

#define NGX_BROADCAST_WINDOW_MIN  9
#define NGX_BROADCAST_WINDOW_MAX  15

#define NGX_BROADCAST_EXTENSION_ANSWER                                        \
    (sizeof("permessage-deflate; server_no_context_takeover; "                \
            "client_no_context_takeover; server_max_window_bits=15; "         \
            "client_max_window_bits=15") - 1)


/* zeroed but for window; then fed with the header's values in their order */

typedef struct {
    ngx_uint_t                window;     /* in: the most bits that we take, 0:
                                             no offer is accepted */
    ngx_uint_t                server;     /* bits of what we send, 0: nothing
                                             was accepted */
    ngx_uint_t                client;     /* bits that the client is asked for,
                                             0: not named in the answer */
    ngx_uint_t                named;      /* server's bits are in the answer */
} ngx_broadcast_extension_t;


/*
 * The first offer that can be accepted is; one of permessage-deflate with a
 * parameter that is unknown, given twice or has no good value is declined, and
 * so is any other extension.  NGX_ERROR: the value is not what the grammar of
 * the RFC allows, and the handshake must fail.  An empty one says nothing.
 */
ngx_int_t ngx_broadcast_extension_offers(ngx_broadcast_extension_t *e,
    ngx_str_t *value);

/* the answer's value, at most NGX_BROADCAST_EXTENSION_ANSWER bytes */
size_t ngx_broadcast_extension_answer(u_char *dst,
    ngx_broadcast_extension_t *e);


#endif /* _NGX_BROADCAST_EXTENSION_H_INCLUDED_ */
