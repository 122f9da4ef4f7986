
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Messages that a publisher over REST has in MessagePack (signalr.md 8.1).
 */

#ifndef _NGX_BROADCAST_PACKED_H_INCLUDED_
#define _NGX_BROADCAST_PACKED_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_str_t    target;
    ngx_str_t    arguments;    /* JSON array */
    ngx_str_t    packed;       /* the same in MessagePack; len 0: only JSON
                                  was given */
} ngx_broadcast_packed_t;


/*
 * Both: strings are borrowed from the body or owned by the pool; what is
 * there in one encoding only is written anew in JSON, never in MessagePack.
 * NGX_DECLINED: *error is a static sentence; NGX_ERROR: no memory.
 */

/*
 * application/x-msgpack: a map with target and arguments.  The case of the two
 * names does not count, others are ignored, of a repeated one the last counts;
 * without arguments, or with nil, there are none.
 */
ngx_int_t ngx_broadcast_packed_message(const ngx_str_t *body,
    ngx_pool_t *pool, ngx_broadcast_packed_t *p, const char **error);

/*
 * application/octet-stream, as the .NET SDK sends it: a map from the name of a
 * protocol, "json" or "messagepack", to the bytes (bin) of one whole invocation
 * in it; other protocols are ignored.  Headers, an invocation id and stream
 * ids are not handed on.
 */
ngx_int_t ngx_broadcast_packed_encoded(const ngx_str_t *body,
    ngx_pool_t *pool, ngx_broadcast_packed_t *p, const char **error);


#endif /* _NGX_BROADCAST_PACKED_H_INCLUDED_ */
