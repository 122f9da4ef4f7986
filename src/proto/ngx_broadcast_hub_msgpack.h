
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The MessagePack hub protocol of SignalR (HubProtocol.md, "MessagePack
 * encoding"; signalr.md section 5).  A record is its length as a VarInt and
 * one array, whose first element is the type.
 */

#ifndef _NGX_BROADCAST_HUB_MSGPACK_H_INCLUDED_
#define _NGX_BROADCAST_HUB_MSGPACK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_message.h"


/* bytes of the longest length, 2147483647 */

#define NGX_BROADCAST_HUB_MSGPACK_PREFIX  5


/*
 * The next record of a buffer, without its length, *pos behind it.
 *
 * OK
 * DONE   *pos == last
 * AGAIN  not all of it is there, *pos stays
 * BUSY   it is, or will be, longer than limit: seen from its length
 * ERROR  its length is none: more than 5 bytes, or above 2147483647
 */
ngx_int_t ngx_broadcast_hub_msgpack_next(u_char **pos, u_char *last,
    size_t limit, ngx_str_t *record);

/*
 * Parses one record.  More elements than the type has are checked and
 * ignored; nil stands for a missing optional one.  Raw values are spans of
 * the record, m->encoding is NGX_BROADCAST_HUB_MSGPACK.  Nothing is
 * allocated.
 *
 * OK        *m is filled
 * DECLINED  a type that nobody knows: to be ignored
 * ERROR     *error is a static sentence; the connection ends
 */
ngx_int_t ngx_broadcast_hub_msgpack_parse(const ngx_str_t *record,
    ngx_broadcast_message_t *m, const char **error);

/*
 * A whole record with its length, as the reference server writes it: no
 * headers, invocations of six elements.  m->encoding is
 * NGX_BROADCAST_HUB_MSGPACK; strings are valid UTF-8.
 */
size_t ngx_broadcast_hub_msgpack_len(const ngx_broadcast_message_t *m);
u_char *ngx_broadcast_hub_msgpack_write(u_char *dst,
    const ngx_broadcast_message_t *m);


#endif /* _NGX_BROADCAST_HUB_MSGPACK_H_INCLUDED_ */
