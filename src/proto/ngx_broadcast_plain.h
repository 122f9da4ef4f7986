
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * What plain subscribers read and write: frames of a plain WebSocket, and the
 * gap event of both plain transports.
 */

#ifndef _NGX_BROADCAST_PLAIN_H_INCLUDED_
#define _NGX_BROADCAST_PLAIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_BROADCAST_PLAIN_GAP  "broadcast.gap"


/*
 * A frame to the client: {"id","target","arguments"}.  An empty id is left out
 * (raw notifications have none); with an empty target the frame is {"id"}
 * alone, which only moves the position.  arguments: a checked JSON array.
 */
size_t ngx_broadcast_plain_len(const ngx_str_t *id, const ngx_str_t *target,
    const ngx_str_t *arguments);
u_char *ngx_broadcast_plain_write(u_char *dst, const ngx_str_t *id,
    const ngx_str_t *target, const ngx_str_t *arguments);

/*
 * {"requested":"e-1","oldest":"e-7"}; an empty position is null.  It is the
 * data of the event "broadcast.gap" in an event stream; in brackets (array set)
 * it is the arguments of the WebSocket frame and the SignalR invocation of that
 * target.
 */
size_t ngx_broadcast_plain_gap_len(const ngx_str_t *requested,
    const ngx_str_t *oldest, ngx_uint_t array);
u_char *ngx_broadcast_plain_gap_write(u_char *dst, const ngx_str_t *requested,
    const ngx_str_t *oldest, ngx_uint_t array);

/* {"error":text} */
size_t ngx_broadcast_plain_error_len(const ngx_str_t *text);
u_char *ngx_broadcast_plain_error_write(u_char *dst, const ngx_str_t *text);

/* {"id","count"}, the answer to lines; an empty id is left out */
size_t ngx_broadcast_plain_sent_len(const ngx_str_t *id, ngx_uint_t count);
u_char *ngx_broadcast_plain_sent_write(u_char *dst, const ngx_str_t *id,
    ngx_uint_t count);


typedef enum {
    NGX_BROADCAST_PLAIN_MESSAGE = 1,    /* {"target","arguments"} */
    NGX_BROADCAST_PLAIN_JOIN,           /* {"join":group} */
    NGX_BROADCAST_PLAIN_LEAVE,          /* {"leave":group} */
    NGX_BROADCAST_PLAIN_SEND            /* {"send":group,"target",...} */
} ngx_broadcast_plain_type_e;


/* strings are borrowed from the input, or from the pool if they had escapes */

typedef struct {
    ngx_broadcast_plain_type_e  type;
    ngx_str_t                   group;      /* SEND: "*" is everybody */
    ngx_str_t                   target;
    ngx_str_t                   arguments;  /* raw array; "[]" if left out */
    ngx_uint_t                  line;       /* ERROR, of several lines: which
                                               one, from 1; else 0 */
} ngx_broadcast_plain_frame_t;


/*
 * Parses a client's text message.  ERROR: *error is a static sentence for an
 * {"error"} frame; the connection stays.  AGAIN: it is lines (ndjson): more
 * than one object, or a SEND with a line break behind it; nothing of it is
 * taken, and each line is to be parsed by itself.
 */
ngx_int_t ngx_broadcast_plain_parse(const ngx_str_t *text, ngx_pool_t *pool,
    ngx_broadcast_plain_frame_t *f, const char **error);

/*
 * The next line with anything in it, without its line break, borrowed from
 * the text, which is moved behind it; *n counts all lines.  DONE: no more.
 */
ngx_int_t ngx_broadcast_plain_line(ngx_str_t *text, ngx_str_t *line,
    ngx_uint_t *n);


#endif /* _NGX_BROADCAST_PLAIN_H_INCLUDED_ */
