
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Server-Sent Events (WHATWG HTML 9.2), and the chunk framing that an event
 * stream of our own needs over HTTP/1.1 (RFC 9112 section 7.1).
 *
 * Everywhere in this room: x_len() says how many bytes x_write() will write,
 * x_write() returns the end.
 */

#ifndef _NGX_BROADCAST_SSE_H_INCLUDED_
#define _NGX_BROADCAST_SSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* first bytes of a stream: makes the browser fire "open" at once */
#define NGX_BROADCAST_SSE_OPEN       ":\r\n"

#define NGX_BROADCAST_SSE_CHUNK_MAX  18    /* bytes of a chunk's head */
#define NGX_BROADCAST_SSE_CHUNK_END  "\r\n"
#define NGX_BROADCAST_SSE_LAST_CHUNK "0\r\n\r\n"


/*
 * SignalR: "data: ", payload, CR LF CR LF, as the reference server writes it.
 * A payload with line breaks (LF, CR LF, lone CR) becomes one data line for
 * each piece; browsers join them by LF.  The payload is one or several whole
 * hub messages with their record separators.
 */
size_t ngx_broadcast_sse_data_len(const ngx_str_t *payload);
u_char *ngx_broadcast_sse_data_write(u_char *dst, const ngx_str_t *payload);

/*
 * Plain subscribers: "id:", "event:" and "data:" lines ended by LF.  An empty
 * id or event leaves its line out.  With an empty event and NULL data it is a
 * keep-alive that only moves the position (browsers dispatch nothing).
 * id and event should hold no CR, LF or NUL: field_ok() tells, and no name of
 * a target has one.  One that came nevertheless is written as a space.
 */
ngx_uint_t ngx_broadcast_sse_field_ok(const ngx_str_t *field);
size_t ngx_broadcast_sse_event_len(const ngx_str_t *id, const ngx_str_t *event,
    const ngx_str_t *data);
u_char *ngx_broadcast_sse_event_write(u_char *dst, const ngx_str_t *id,
    const ngx_str_t *event, const ngx_str_t *data);

/*
 * Hex size and CR LF of a chunk with len bytes; CHUNK_END goes behind these.
 * Returns the bytes written; 0 for len 0, which would end the stream.
 */
size_t ngx_broadcast_sse_chunk_len(size_t len);
size_t ngx_broadcast_sse_chunk(u_char *dst, size_t len);


#endif /* _NGX_BROADCAST_SSE_H_INCLUDED_ */
