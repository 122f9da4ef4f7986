
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The JSON hub protocol of SignalR (HubProtocol.md, "JSON encoding").  A
 * record is one JSON object and the separator 0x1E.
 */

#ifndef _NGX_BROADCAST_HUB_JSON_H_INCLUDED_
#define _NGX_BROADCAST_HUB_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_message.h"


#define NGX_BROADCAST_HUB_JSON_SEPARATOR  0x1e


/*
 * The next record of a buffer, without its separator, *pos behind it.
 * OK; DONE when *pos == last; AGAIN: what is left has no separator yet, *pos
 * stays.
 */
ngx_int_t ngx_broadcast_hub_json_next(u_char **pos, u_char *last,
    ngx_str_t *record);

/*
 * Parses one record.  Order of properties is free, unknown ones are ignored, of
 * a repeated one the last counts; null stands for a missing optional one.
 *
 * OK        *m is filled
 * DECLINED  a type that nobody knows: to be ignored
 * ERROR     *error is a static sentence, the detail that may follow
 *           NGX_BROADCAST_HUB_JSON_CLOSE_ERROR in a Close; the connection ends
 *
 * The pool takes decoded strings that had escapes; nothing else is allocated.
 */
ngx_int_t ngx_broadcast_hub_json_parse(const ngx_str_t *record,
    ngx_pool_t *pool, ngx_broadcast_message_t *m, const char **error);

#define NGX_BROADCAST_HUB_JSON_CLOSE_ERROR "Connection closed with an error."

/*
 * Walks m->streams: *pos is NULL at first; OK with an id, DONE at the end,
 * ERROR if the pool fails.
 */
ngx_int_t ngx_broadcast_hub_json_stream(const ngx_broadcast_message_t *m,
    u_char **pos, ngx_pool_t *pool, ngx_str_t *id);

/*
 * A whole record with its separator, in the reference server's order of
 * properties.  Raw values must be JSON that was checked; strings valid UTF-8.
 */
size_t ngx_broadcast_hub_json_len(const ngx_broadcast_message_t *m);
u_char *ngx_broadcast_hub_json_write(u_char *dst,
    const ngx_broadcast_message_t *m);


#endif /* _NGX_BROADCAST_HUB_JSON_H_INCLUDED_ */
