
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * For the writers of this room, whose length and bytes come from one function:
 * with pos NULL nothing is written and len counts; else pos moves.
 */

#ifndef _NGX_BROADCAST_OUT_H_INCLUDED_
#define _NGX_BROADCAST_OUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_scan.h"


typedef struct {
    u_char  *pos;      /* borrowed from the caller: where the next byte goes */
    size_t   len;
} ngx_broadcast_out_t;


#define ngx_broadcast_out_literal(out, text)                                  \
    ngx_broadcast_out_mem(out, text, sizeof(text) - 1)


static ngx_inline void
ngx_broadcast_out_mem(ngx_broadcast_out_t *out, const void *data, size_t len)
{
    if (out->pos == NULL) {
        out->len += len;

    } else if (len) {
        out->pos = ngx_cpymem(out->pos, data, len);
    }
}


static ngx_inline void
ngx_broadcast_out_str(ngx_broadcast_out_t *out, const ngx_str_t *str)
{
    ngx_broadcast_out_mem(out, str->data, str->len);
}


/* as a JSON string */

static ngx_inline void
ngx_broadcast_out_quoted(ngx_broadcast_out_t *out, const ngx_str_t *str)
{
    if (out->pos) {
        out->pos = ngx_broadcast_scan_quoted_write(out->pos, str);

    } else {
        out->len += ngx_broadcast_scan_quoted_len(str);
    }
}


static ngx_inline void
ngx_broadcast_out_int(ngx_broadcast_out_t *out, int64_t n)
{
    u_char  buf[NGX_INT64_LEN];

    ngx_broadcast_out_mem(out, buf, ngx_sprintf(buf, "%L", n) - buf);
}


#endif /* _NGX_BROADCAST_OUT_H_INCLUDED_ */
