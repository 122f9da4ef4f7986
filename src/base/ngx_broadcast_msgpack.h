
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_MSGPACK_H_INCLUDED_
#define _NGX_BROADCAST_MSGPACK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <msgpack.h>

#include "base/ngx_broadcast_buf.h"


/*
 * MessagePack values (github.com/msgpack/msgpack, spec.md).  msgpack-c packs
 * them.  Reading is a walk over the bytes that came: msgpack-c's unpacker
 * allocates an array's elements from the count in its head, so five bytes of a
 * client could ask for a hundred gigabytes; a walk allocates nothing and finds
 * the elements missing.
 *
 * Decided here:
 *   - nesting deeper than 64 is refused, as in JSON;
 *   - a str must be valid UTF-8;
 *   - a key of a map is a str or an integer, as JavaScript's decoder wants it:
 *     it can be a name in JSON;
 *   - a key may come twice.
 */

#define NGX_BROADCAST_MSGPACK_DEPTH  64


typedef enum {
    NGX_BROADCAST_MSGPACK_NIL = 0,
    NGX_BROADCAST_MSGPACK_FALSE,
    NGX_BROADCAST_MSGPACK_TRUE,
    NGX_BROADCAST_MSGPACK_UINT,      /* >= 0, whatever its form              */
    NGX_BROADCAST_MSGPACK_INT,       /* < 0                                  */
    NGX_BROADCAST_MSGPACK_FLOAT,
    NGX_BROADCAST_MSGPACK_STR,
    NGX_BROADCAST_MSGPACK_BIN,
    NGX_BROADCAST_MSGPACK_EXT,
    NGX_BROADCAST_MSGPACK_ARRAY,
    NGX_BROADCAST_MSGPACK_MAP
} ngx_broadcast_msgpack_type_e;


typedef struct {
    ngx_broadcast_msgpack_type_e  type;
    int8_t                        ext;       /* type of an extension         */
    uint32_t                      count;     /* elements; pairs of a map     */
    ngx_str_t                     bytes;     /* of str, bin, ext: borrowed   */
    uint64_t                      u;         /* UINT                         */
    int64_t                       i;         /* INT                          */
    double                        d;         /* FLOAT, from 32 bits too      */
} ngx_broadcast_msgpack_t;


/*
 * The next value, *pos behind it; of an array or map the head alone, the
 * elements follow.  A str is not looked into.  NGX_AGAIN: last comes too early,
 * *pos stays; NGX_ERROR: 0xc1, which starts nothing.
 */
ngx_int_t ngx_broadcast_msgpack_next(u_char **pos, u_char *last,
    ngx_broadcast_msgpack_t *v);

/*
 * Checks a whole value with all that is in it: *span are its bytes, *pos is
 * behind it.  NGX_ERROR: *error is a static sentence; so it is with
 * NGX_DECLINED: it is nested too deeply.
 */
ngx_int_t ngx_broadcast_msgpack_check(u_char **pos, u_char *last,
    ngx_str_t *span, const char **error);

/*
 * Passes over a whole value of any depth, of which nothing but the ends of what
 * is in it is looked at.  NGX_ERROR: there is none, *pos stays.
 */
ngx_int_t ngx_broadcast_msgpack_pass(u_char **pos, u_char *last);

/* An integer of any form; NGX_DECLINED: v is none, or beyond 63 bits. */
ngx_int_t ngx_broadcast_msgpack_int64(const ngx_broadcast_msgpack_t *v,
    int64_t *n);

/*
 * msgpack-c's packer, writing to b, which remembers a failed allocation:
 * what msgpack_pack_...() returns needs no look.
 */
void ngx_broadcast_msgpack_packer(msgpack_packer *pk, ngx_broadcast_buf_t *b);


#endif /* _NGX_BROADCAST_MSGPACK_H_INCLUDED_ */
