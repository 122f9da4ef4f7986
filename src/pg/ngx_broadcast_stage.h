
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_STAGE_H_INCLUDED_
#define _NGX_BROADCAST_STAGE_H_INCLUDED_


#include "pg/ngx_broadcast_outbox.h"


/* the durable half of the outbox */

/* once, at start */
void ngx_broadcast_stage_init(ngx_log_t *log);

/*
 * As ngx_broadcast_outbox_send(), for a hub that is durable and whose name
 * this is; never NGX_OK.
 */
ngx_int_t ngx_broadcast_stage_send(ngx_str_t *hub,
    ngx_broadcast_record_t *recs, ngx_uint_t n, ngx_uint_t want,
    ngx_str_t *key, ngx_broadcast_sent_t *sent, ngx_broadcast_sent_pt handler,
    const void *data, size_t size, ngx_broadcast_call_t **call);

/* a record with a mark has come out of the log */
void ngx_broadcast_stage_seen(ngx_broadcast_record_t *rec);


#endif /* _NGX_BROADCAST_STAGE_H_INCLUDED_ */
