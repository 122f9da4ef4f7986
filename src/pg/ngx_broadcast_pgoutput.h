
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PGOUTPUT_H_INCLUDED_
#define _NGX_BROADCAST_PGOUTPUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * What a logical replication connection says in its COPY stream, as far as the
 * relay wants to know: PostgreSQL's manual, 55.4 "Streaming Replication
 * Protocol" and 55.9 "Logical Replication Message Formats", protocol 1.
 *
 *     w  start(8)  end(8)  time(8)  a message of pgoutput
 *     k  end(8)  time(8)  reply(1)
 *
 *     B  commit(8)  time(8)  xid(4)
 *     M  flags(1)  lsn(8)  prefix\0  length(4)  bytes
 *     C  flags(1)  commit(8)  end(8)  time(8)
 *
 * Pure: bytes in, one value out, nothing is copied.
 */

typedef enum {
    NGX_BROADCAST_PGOUTPUT_OTHER = 0,       /* a row, a relation, a type, ... */
    NGX_BROADCAST_PGOUTPUT_KEEPALIVE,
    NGX_BROADCAST_PGOUTPUT_BEGIN,
    NGX_BROADCAST_PGOUTPUT_COMMIT,
    NGX_BROADCAST_PGOUTPUT_MESSAGE
} ngx_broadcast_pgoutput_type_e;


typedef struct {
    ngx_uint_t                  type;
    uint64_t                    lsn;        /* _BEGIN: of its commit record;
                                               _COMMIT: behind it; _KEEPALIVE:
                                               all up to it was sent;
                                               _MESSAGE: of its record */
    uint32_t                    xid;        /* _BEGIN */
    ngx_uint_t                  reply;      /* _KEEPALIVE: an answer is due */
    ngx_uint_t                  transactional;      /* _MESSAGE */
    ngx_str_t                   prefix;     /* _MESSAGE: borrowed from the
                                               input, as the content */
    ngx_str_t                   content;
} ngx_broadcast_pgoutput_t;


/* NGX_ERROR: this is not of that protocol */
ngx_int_t ngx_broadcast_pgoutput_parse(u_char *data, size_t len,
    ngx_broadcast_pgoutput_t *out);

/*
 * Of one of len bytes, of which no more than `here` are there: what stands
 * before a message's content, which goes on behind.  NGX_DECLINED: it is none,
 * or its prefix is as long.
 */
ngx_int_t ngx_broadcast_pgoutput_begin(u_char *data, size_t here, size_t len,
    ngx_broadcast_pgoutput_t *out);

/* fields of an ErrorResponse, 55.8: borrowed, or empty */
void ngx_broadcast_pgoutput_error(u_char *data, size_t len, ngx_str_t *state,
    ngx_str_t *message);


/* of a standby status update: r, thrice a position, time, an answer is due */

#define NGX_BROADCAST_PGOUTPUT_STATUS  34

/*
 * received: what came; confirmed: what the server need not keep for this slot.
 * now: microseconds since 1970.  reply: a keepalive shall follow.
 */
void ngx_broadcast_pgoutput_status(u_char *dst, uint64_t received,
    uint64_t confirmed, uint64_t now, ngx_uint_t reply);


#endif /* _NGX_BROADCAST_PGOUTPUT_H_INCLUDED_ */
