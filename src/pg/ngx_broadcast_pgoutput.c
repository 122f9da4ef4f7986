
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pgoutput.h"


#define NGX_BROADCAST_PGOUTPUT_DATA       25    /* bytes before the message */
#define NGX_BROADCAST_PGOUTPUT_KEEPALIVE_LEN  18

/* from 1970 to 2000, where PostgreSQL's time begins, in microseconds */
#define NGX_BROADCAST_PGOUTPUT_EPOCH      946684800000000ULL


static ngx_int_t ngx_broadcast_pgoutput_message(u_char *p, u_char *last,
    size_t more, ngx_broadcast_pgoutput_t *out);
static uint32_t ngx_broadcast_pgoutput_4(u_char *p);
static uint64_t ngx_broadcast_pgoutput_8(u_char *p);
static u_char *ngx_broadcast_pgoutput_write(u_char *p, uint64_t n);


ngx_int_t
ngx_broadcast_pgoutput_parse(u_char *data, size_t len,
    ngx_broadcast_pgoutput_t *out)
{
    u_char  *p, *last;

    ngx_memzero(out, sizeof(ngx_broadcast_pgoutput_t));

    if (len == 0) {
        return NGX_ERROR;
    }

    if (data[0] == 'k') {

        if (len < NGX_BROADCAST_PGOUTPUT_KEEPALIVE_LEN) {
            return NGX_ERROR;
        }

        out->type = NGX_BROADCAST_PGOUTPUT_KEEPALIVE;
        out->lsn = ngx_broadcast_pgoutput_8(&data[1]);
        out->reply = data[17] != 0;

        return NGX_OK;
    }

    if (data[0] != 'w' || len <= NGX_BROADCAST_PGOUTPUT_DATA) {
        return NGX_ERROR;
    }

    p = &data[NGX_BROADCAST_PGOUTPUT_DATA];
    last = &data[len];

    switch (*p++) {

    case 'B':

        if (last - p < 20) {
            return NGX_ERROR;
        }

        out->type = NGX_BROADCAST_PGOUTPUT_BEGIN;
        out->lsn = ngx_broadcast_pgoutput_8(p);
        out->xid = ngx_broadcast_pgoutput_4(&p[16]);

        return NGX_OK;

    case 'C':

        if (last - p < 25) {
            return NGX_ERROR;
        }

        out->type = NGX_BROADCAST_PGOUTPUT_COMMIT;
        out->lsn = ngx_broadcast_pgoutput_8(&p[9]);

        return NGX_OK;

    case 'M':
        return ngx_broadcast_pgoutput_message(p, last, 0, out);

    default:
        return NGX_OK;
    }
}


ngx_int_t
ngx_broadcast_pgoutput_begin(u_char *data, size_t here, size_t len,
    ngx_broadcast_pgoutput_t *out)
{
    u_char  *p, *end, *last;

    ngx_memzero(out, sizeof(ngx_broadcast_pgoutput_t));

    if (here <= NGX_BROADCAST_PGOUTPUT_DATA || data[0] != 'w') {
        return NGX_ERROR;
    }

    p = &data[NGX_BROADCAST_PGOUTPUT_DATA];
    last = &data[here];

    if (*p++ != 'M' || last - p < 9) {
        return NGX_DECLINED;
    }

    end = ngx_strlchr(p + 9, last, '\0');

    if (end == NULL || last - end < 5) {
        return NGX_DECLINED;
    }

    return ngx_broadcast_pgoutput_message(p, last, len - here, out);
}


void
ngx_broadcast_pgoutput_error(u_char *data, size_t len, ngx_str_t *state,
    ngx_str_t *message)
{
    u_char  *p, *end, *last;

    ngx_str_null(state);
    ngx_str_null(message);

    last = data + len;

    for (p = data; p < last && *p; p = end + 1) {

        end = ngx_strlchr(p, last, '\0');

        if (end == NULL) {
            return;
        }

        if (*p == 'C') {
            state->data = p + 1;
            state->len = end - p - 1;

        } else if (*p == 'M') {
            message->data = p + 1;
            message->len = end - p - 1;
        }
    }
}


/* more: bytes of it behind last */

static ngx_int_t
ngx_broadcast_pgoutput_message(u_char *p, u_char *last, size_t more,
    ngx_broadcast_pgoutput_t *out)
{
    u_char    *end;
    uint32_t   len;

    if (last - p < 9) {
        return NGX_ERROR;
    }

    out->type = NGX_BROADCAST_PGOUTPUT_MESSAGE;
    out->transactional = p[0] & 1;
    out->lsn = ngx_broadcast_pgoutput_8(&p[1]);

    p += 9;

    end = ngx_strlchr(p, last, '\0');

    if (end == NULL || last - end < 5) {
        return NGX_ERROR;
    }

    out->prefix.data = p;
    out->prefix.len = end - p;

    p = end + 1;

    len = ngx_broadcast_pgoutput_4(p);

    p += 4;

    if ((size_t) (last - p) + more < len || len < more) {
        return NGX_ERROR;
    }

    out->content.data = p;
    out->content.len = len;

    return NGX_OK;
}


void
ngx_broadcast_pgoutput_status(u_char *dst, uint64_t received,
    uint64_t confirmed, uint64_t now, ngx_uint_t reply)
{
    *dst++ = 'r';

    dst = ngx_broadcast_pgoutput_write(dst, received);
    dst = ngx_broadcast_pgoutput_write(dst, confirmed);
    dst = ngx_broadcast_pgoutput_write(dst, confirmed);
    dst = ngx_broadcast_pgoutput_write(dst,
                                       now - NGX_BROADCAST_PGOUTPUT_EPOCH);

    *dst = (u_char) reply;
}


static uint32_t
ngx_broadcast_pgoutput_4(u_char *p)
{
    return (uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}


static uint64_t
ngx_broadcast_pgoutput_8(u_char *p)
{
    return (uint64_t) ngx_broadcast_pgoutput_4(p) << 32
           | ngx_broadcast_pgoutput_4(&p[4]);
}


static u_char *
ngx_broadcast_pgoutput_write(u_char *p, uint64_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < 8; i++) {
        *p++ = (u_char) (n >> (56 - 8 * i));
    }

    return p;
}
