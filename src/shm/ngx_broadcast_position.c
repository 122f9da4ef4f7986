
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_hub.h"


u_char *
ngx_broadcast_position_print(u_char *p, ngx_broadcast_position_t *position)
{
    u_char      seq[NGX_INT64_LEN], *last;
    uint64_t    n;
    ngx_int_t   shift;

    static const u_char  hex[] = "0123456789abcdef";

    /* twice a message and more, and ngx_sprintf() is 480 instructions */

    for (shift = 60; shift && (position->epoch >> shift) == 0; shift -= 4) {
        /* void */
    }

    for ( /* void */ ; shift >= 0; shift -= 4) {
        *p++ = hex[(position->epoch >> shift) & 0xf];
    }

    *p++ = '-';

    last = seq + sizeof(seq);
    n = position->seq;

    do {
        *--last = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return ngx_cpymem(p, last, seq + sizeof(seq) - last);
}


/*
 * Strict: no sign, no blank, no leading zero but for zero itself, no upper
 * case, nothing behind.  One text for one position, or comparing texts would
 * tell another story than comparing positions.
 */

ngx_int_t
ngx_broadcast_position_parse(ngx_str_t *text,
    ngx_broadcast_position_t *position)
{
    u_char    *p, *last, *start, c;
    uint64_t   epoch, seq, digit;

    p = text->data;
    last = p + text->len;

    epoch = 0;

    for (start = p; p < last && *p != '-'; p++) {
        c = *p;

        if (c >= '0' && c <= '9') {
            digit = c - '0';

        } else if (c >= 'a' && c <= 'f') {
            digit = c - 'a' + 10;

        } else {
            return NGX_ERROR;
        }

        if (p - start == NGX_BROADCAST_EPOCH_LEN) {
            return NGX_ERROR;
        }

        epoch = epoch << 4 | digit;
    }

    if (p == start || p == last || (*start == '0' && p - start > 1)) {
        return NGX_ERROR;
    }

    seq = 0;

    for (start = ++p; p < last; p++) {
        c = *p;

        if (c < '0' || c > '9') {
            return NGX_ERROR;
        }

        digit = c - '0';

        if (seq > ((uint64_t) -1 - digit) / 10) {
            return NGX_ERROR;
        }

        seq = seq * 10 + digit;
    }

    if (p == start || (*start == '0' && p - start > 1)) {
        return NGX_ERROR;
    }

    position->epoch = epoch;
    position->seq = seq;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_position_split(ngx_str_t *text,
    ngx_broadcast_position_t *position, ngx_str_t *suffix)
{
    u_char     *p, *last, c;
    ngx_str_t   head;

    p = text->data;
    last = p + text->len;

    while (p < last && *p != '.') {
        p++;
    }

    head.data = text->data;
    head.len = p - text->data;

    suffix->data = p;
    suffix->len = last - p;

    if (suffix->len == 1 || suffix->len > NGX_BROADCAST_SUFFIX_LEN) {
        return NGX_ERROR;
    }

    for ( /* void */ ; p < last; p++) {
        c = *p;

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')
              || c == '.' || c == '-' || c == '_' || c == '~'))
        {
            return NGX_ERROR;
        }
    }

    return ngx_broadcast_position_parse(&head, position);
}
