
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* from JSON to MessagePack, token by token; for ngx_broadcast_recode*.c only */

#ifndef _NGX_BROADCAST_RECODE_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_RECODE_LOCAL_H_INCLUDED_


#include "proto/ngx_broadcast_recode.h"

#include "base/ngx_broadcast_msgpack.h"


typedef struct {
    u_char               *pos;       /* borrowed from the text */
    u_char               *last;
    ngx_pool_t           *pool;
    ngx_broadcast_buf_t   buf;
    msgpack_packer        pk;
} ngx_broadcast_recode_t;


/* elements or pairs of each array and object, in the order they are opened */
ngx_int_t ngx_broadcast_recode_count(const ngx_str_t *json,
    ngx_array_t *counts);

/* packs what begins at pos: a string, a number, or a literal */
ngx_int_t ngx_broadcast_recode_token(ngx_broadcast_recode_t *ctx);

/* the string that begins at pos, decoded, and pos behind it */
ngx_int_t ngx_broadcast_recode_string(ngx_broadcast_recode_t *ctx,
    ngx_str_t *string);

/* from an opening quote to behind the closing one; NULL: there is none */
u_char *ngx_broadcast_recode_quote(u_char *p, u_char *last,
    ngx_uint_t *escaped);


#endif /* _NGX_BROADCAST_RECODE_LOCAL_H_INCLUDED_ */
