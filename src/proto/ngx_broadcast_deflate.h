
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * What permessage-deflate does to a message (RFC 7692 section 7.2), without
 * context takeover on either side: so a stream belongs to the process, not to a
 * connection.  Streams are made when they are first needed.
 */

#ifndef _NGX_BROADCAST_DEFLATE_H_INCLUDED_
#define _NGX_BROADCAST_DEFLATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * A message may be a little longer deflated than it is: what frames may
 * announce beyond the limit of a message.
 */
#define ngx_broadcast_deflate_slack(limit)  ((limit) / 64 + 64)


/*
 * Compresses with a window of 2^bits bytes, 9 to 15.  out is borrowed until the
 * next call.  NGX_DECLINED: it gets no shorter by it; NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_deflate(ngx_uint_t bits, ngx_str_t *in,
    ngx_str_t *out);

/*
 * The message of a payload; out is borrowed until the next call.  NGX_BUSY: it
 * has more than `limit` bytes, no more than which are allocated; NGX_DECLINED:
 * it is no deflate data, or breaks off; NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_inflate(ngx_str_t *in, size_t limit, ngx_str_t *out);

/* gives streams and buffers back */
void ngx_broadcast_deflate_stop(void);


#endif /* _NGX_BROADCAST_DEFLATE_H_INCLUDED_ */
