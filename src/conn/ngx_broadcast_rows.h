
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ROWS_H_INCLUDED_
#define _NGX_BROADCAST_ROWS_H_INCLUDED_


#include "conn/ngx_broadcast_peer.h"
#include "pg/ngx_broadcast_stream.h"


/*
 * Rows of a function that returns a set, on their way to the client that asked
 * for them: items of its stream, which is open (conn/invocation) and ended by
 * exactly one Completion.  The database side stays with the worker that began
 * it, also when the connection moves.
 */

/*
 * Begins one for the open stream `id` of bc.  in: all but item and end; its
 * serial is what the context's "done" names.  shape: of the items, for
 * MessagePack, or empty.  What is returned is ngx_broadcast_stream_open()'s.
 */
ngx_int_t ngx_broadcast_rows_open(ngx_broadcast_conn_t *bc, ngx_str_t *id,
    ngx_str_t *target, ngx_broadcast_stream_in_t *in, ngx_str_t *shape);

/* a DONE record of this worker's: 1 if the serial is a stream's */
ngx_uint_t ngx_broadcast_rows_done(uint64_t serial);


#endif /* _NGX_BROADCAST_ROWS_H_INCLUDED_ */
