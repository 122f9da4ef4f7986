
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_utf8.h"


/*
 * The second byte alone has a range of its own, RFC 3629 section 4:
 *
 *      C2..DF  80..BF                         E0      A0..BF
 *      F0      90..BF                         ED      80..9F
 *      F4      80..8F                         others  80..BF
 */

static ngx_int_t
ngx_broadcast_utf8_lead(ngx_broadcast_utf8_t *u, u_char c)
{
    u->low = 0x80;
    u->high = 0xbf;

    if (c < 0xc2 || c > 0xf4) {
        return NGX_ERROR;
    }

    if (c < 0xe0) {
        u->left = 1;
        return NGX_OK;
    }

    if (c < 0xf0) {
        u->left = 2;

        if (c == 0xe0) {
            u->low = 0xa0;

        } else if (c == 0xed) {
            u->high = 0x9f;
        }

        return NGX_OK;
    }

    u->left = 3;

    if (c == 0xf0) {
        u->low = 0x90;

    } else if (c == 0xf4) {
        u->high = 0x8f;
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_utf8_feed(ngx_broadcast_utf8_t *u, const u_char *p, size_t len)
{
    uint64_t       eight;
    const u_char  *end;

    if (len == 0) {
        return NGX_OK;
    }

    end = p + len;

    while (p < end) {

        if (u->left) {
            if (*p < u->low || *p > u->high) {
                return NGX_ERROR;
            }

            u->left--;
            u->low = 0x80;
            u->high = 0xbf;
            p++;
            continue;
        }

        /* most text is ASCII: eight bytes at once */

        while (end - p >= 8) {
            ngx_memcpy(&eight, p, 8);

            if (eight & 0x8080808080808080ULL) {
                break;
            }

            p += 8;
        }

        while (p < end && *p < 0x80) {
            p++;
        }

        if (p < end && ngx_broadcast_utf8_lead(u, *p++) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_utf8_finish(ngx_broadcast_utf8_t *u)
{
    return u->left ? NGX_ERROR : NGX_OK;
}


ngx_uint_t
ngx_broadcast_utf8_valid(ngx_str_t *text)
{
    ngx_broadcast_utf8_t  u;

    ngx_broadcast_utf8_init(&u);

    return ngx_broadcast_utf8_feed(&u, text->data, text->len) == NGX_OK
           && ngx_broadcast_utf8_finish(&u) == NGX_OK;
}


size_t
ngx_broadcast_utf8_char(const u_char *p, const u_char *end)
{
    size_t                len;
    ngx_broadcast_utf8_t  u;

    if (p == end) {
        return 0;
    }

    if (*p < 0x80) {
        return 1;
    }

    ngx_broadcast_utf8_init(&u);

    if (ngx_broadcast_utf8_lead(&u, *p) != NGX_OK) {
        return 0;
    }

    len = u.left + 1;

    if ((size_t) (end - p) < len
        || ngx_broadcast_utf8_feed(&u, p + 1, len - 1) != NGX_OK)
    {
        return 0;
    }

    return len;
}
