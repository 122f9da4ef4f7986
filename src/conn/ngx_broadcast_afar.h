
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_AFAR_H_INCLUDED_
#define _NGX_BROADCAST_AFAR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "shm/ngx_broadcast_record.h"


/*
 * Questions to clients of other nodes and their answers: both travel through
 * the publishers' door of a durable hub, and reach the log of every node.
 */

/*
 * Sends INVOKE, FORGET or ANSWER; the strings are copied.  If it is not kept
 * ngx_broadcast_invoke_unsent() is told with the serial, unless that is 0.
 *
 * NGX_OK: on its way; NGX_DECLINED: it does not fit into the log; NGX_BUSY:
 * too much waits for the database; NGX_ABORT: the database is away.
 */
ngx_int_t ngx_broadcast_afar_send(ngx_broadcast_record_t *rec,
    uint64_t serial);

/*
 * Asks the database whether another node has the connection; NGX_OK:
 * ngx_broadcast_invoke_looked() will be called once, from the event loop.
 */
ngx_int_t ngx_broadcast_afar_look(ngx_uint_t hub, ngx_str_t *connection,
    uint64_t serial);


#endif /* _NGX_BROADCAST_AFAR_H_INCLUDED_ */
