
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_FRAME_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_FRAME_LOCAL_H_INCLUDED_


#include "conn/ngx_broadcast_conn.h"


/* The inside of frames: for those who encode them. */


/*
 * A frame around len bytes, which the caller writes at *p; opcode is of a
 * WebSocket, NGX_BROADCAST_WS_TEXT or _BINARY.
 */
ngx_broadcast_frame_t *ngx_broadcast_frame_open(ngx_uint_t framing,
    ngx_uint_t opcode, size_t len, u_char **p);

/* of plain subscribers; the id may be empty */
ngx_broadcast_frame_t *ngx_broadcast_frame_plain(ngx_uint_t framing,
    ngx_str_t *id, ngx_str_t *target, ngx_str_t *arguments);

/* text of a position in buf, of NGX_BROADCAST_POSITION_LEN bytes; or empty */
void ngx_broadcast_frame_id(ngx_str_t *id, u_char *buf,
    ngx_broadcast_position_t *position);

/*
 * For text that is written before its framed length is known: valid until the
 * next call.  NULL: no memory.
 */
u_char *ngx_broadcast_frame_scratch(size_t len);

void ngx_broadcast_frame_recode_free(void);


#endif /* _NGX_BROADCAST_FRAME_LOCAL_H_INCLUDED_ */
