
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_SCAN_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_SCAN_LOCAL_H_INCLUDED_


#include "proto/ngx_broadcast_scan.h"


/* for proto/ngx_broadcast_scan*.c only */


/* stands between quotes as it is */

static ngx_inline ngx_uint_t
ngx_broadcast_scan_plain(u_char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}


/*
 * The first byte that is not plain, or last.  Most text is: eight bytes are
 * looked at together.  A byte's highest bit tells of it; a subtraction may
 * borrow from the byte above one that is not plain, never from one above plain
 * ones, so the word as a whole is told right.
 */

static ngx_inline u_char *
ngx_broadcast_scan_run(u_char *p, u_char *last)
{
    uint64_t  w, quote, slash, del;

    const uint64_t  ones = 0x0101010101010101ull;

    /* one often follows another */

    if (p == last || !ngx_broadcast_scan_plain(*p)) {
        return p;
    }

    while (last - p >= 8) {
        ngx_memcpy(&w, p, 8);

        quote = w ^ (ones * '"');
        slash = w ^ (ones * '\\');
        del = w ^ (ones * 0x7f);

        if ((w | (w - ones * 0x20) | (quote - ones) | (slash - ones)
             | (del - ones))
            & (ones * 0x80))
        {
            break;
        }

        p += 8;
    }

    while (p < last && ngx_broadcast_scan_plain(*p)) {
        p++;
    }

    return p;
}


#endif /* _NGX_BROADCAST_SCAN_LOCAL_H_INCLUDED_ */
