
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_deflate.h"
#include "proto/ngx_broadcast_extension.h"

#include <zlib.h>


#define NGX_BROADCAST_DEFLATE_KEEP   65536  /* buffers up to this are kept */
#define NGX_BROADCAST_DEFLATE_FIRST  4096   /* bytes of an inflate buffer */

#define NGX_BROADCAST_DEFLATE_WINDOWS                                         \
    (NGX_BROADCAST_WINDOW_MAX - NGX_BROADCAST_WINDOW_MIN + 1)


/* bytes that are used again by each call */

typedef struct {
    u_char                   *data;       /* owned */
    size_t                    size;
} ngx_broadcast_room_t;


static z_stream *ngx_broadcast_deflate_stream(ngx_uint_t bits);
static ngx_int_t ngx_broadcast_inflate_run(z_stream *s, size_t limit,
    ngx_uint_t tail);
static ngx_int_t ngx_broadcast_inflate_room(z_stream *s, size_t size,
    size_t limit);
static ngx_int_t ngx_broadcast_room(ngx_broadcast_room_t *room, size_t size,
    size_t used);
static void ngx_broadcast_room_free(ngx_broadcast_room_t *room);


/* of an empty stored block, which is not sent, RFC 7692 section 7.2.1 */

static u_char  ngx_broadcast_deflate_tail[] = { 0x00, 0x00, 0xff, 0xff };

static z_stream             *ngx_broadcast_deflates
                                 [NGX_BROADCAST_DEFLATE_WINDOWS];
static z_stream             *ngx_broadcast_inflates;
static ngx_broadcast_room_t  ngx_broadcast_deflate_out;
static ngx_broadcast_room_t  ngx_broadcast_inflate_out;


ngx_int_t
ngx_broadcast_deflate(ngx_uint_t bits, ngx_str_t *in, ngx_str_t *out)
{
    size_t     size;
    z_stream  *s;

    if (in->len < 2 || in->len > NGX_MAX_INT32_VALUE) {
        return NGX_DECLINED;
    }

    s = ngx_broadcast_deflate_stream(bits);

    /* with less room than the message had it cannot get longer */

    size = in->len - 1 + sizeof(ngx_broadcast_deflate_tail);

    if (s == NULL
        || ngx_broadcast_room(&ngx_broadcast_deflate_out, size, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    s->next_in = in->data;
    s->avail_in = (uInt) in->len;
    s->next_out = ngx_broadcast_deflate_out.data;
    s->avail_out = (uInt) size;

    if (deflate(s, Z_SYNC_FLUSH) != Z_OK || s->avail_out == 0) {
        return NGX_DECLINED;
    }

    out->data = ngx_broadcast_deflate_out.data;
    out->len = size - s->avail_out - sizeof(ngx_broadcast_deflate_tail);

    return NGX_OK;
}


static z_stream *
ngx_broadcast_deflate_stream(ngx_uint_t bits)
{
    z_stream  **s;

    s = &ngx_broadcast_deflates[bits - NGX_BROADCAST_WINDOW_MIN];

    if (*s) {
        return (deflateReset(*s) == Z_OK) ? *s : NULL;
    }

    *s = calloc(1, sizeof(z_stream));

    if (*s
        && deflateInit2(*s, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -(int) bits, 8,
                        Z_DEFAULT_STRATEGY)
           != Z_OK)
    {
        free(*s);
        *s = NULL;
    }

    return *s;
}


ngx_int_t
ngx_broadcast_inflate(ngx_str_t *in, size_t limit, ngx_str_t *out)
{
    size_t      size;
    z_stream   *s;
    ngx_int_t   rc;

    s = ngx_broadcast_inflates;

    if (s == NULL) {
        s = calloc(1, sizeof(z_stream));

        if (s == NULL || inflateInit2(s, -MAX_WBITS) != Z_OK) {
            free(s);
            return NGX_ERROR;
        }

        ngx_broadcast_inflates = s;

    } else if (inflateReset(s) != Z_OK) {
        return NGX_ERROR;
    }

    s->next_out = ngx_broadcast_inflate_out.data;

    size = ngx_max(4 * in->len, NGX_BROADCAST_DEFLATE_FIRST);

    if (ngx_broadcast_inflate_room(s, size, limit) != NGX_OK) {
        return NGX_ERROR;
    }

    s->next_in = in->data;
    s->avail_in = (uInt) in->len;

    rc = ngx_broadcast_inflate_run(s, limit, 0);

    if (rc == NGX_AGAIN) {
        s->next_in = ngx_broadcast_deflate_tail;
        s->avail_in = sizeof(ngx_broadcast_deflate_tail);

        rc = ngx_broadcast_inflate_run(s, limit, 1);
    }

    out->data = ngx_broadcast_inflate_out.data;
    out->len = s->next_out - ngx_broadcast_inflate_out.data;

    /* the end of the data may come with the byte that was too many */

    return (rc == NGX_OK && out->len > limit) ? NGX_BUSY : rc;
}


/*
 * Until the input is eaten.  NGX_AGAIN: the tail must follow.  NGX_OK: the
 * message is whole, which it is between two blocks, or behind a last one
 * (section 7.2.3.4: those may be in a message, and others behind them).
 */

static ngx_int_t
ngx_broadcast_inflate_run(z_stream *s, size_t limit, ngx_uint_t tail)
{
    int        zrc;
    size_t     size;
    ngx_int_t  rc;

    for ( ;; ) {
        zrc = inflate(s, Z_SYNC_FLUSH);

        switch (zrc) {

        case Z_STREAM_END:

            if (s->avail_in == 0) {
                return NGX_OK;
            }

            if (inflateReset(s) != Z_OK) {
                return NGX_ERROR;
            }

            continue;

        case Z_OK:
        case Z_BUF_ERROR:
            break;

        case Z_MEM_ERROR:
            return NGX_ERROR;

        default:
            return NGX_DECLINED;
        }

        if (s->avail_out == 0) {
            size = 2 * (size_t) (s->next_out - ngx_broadcast_inflate_out.data);

            rc = ngx_broadcast_inflate_room(s, size, limit);

            if (rc != NGX_OK) {
                return rc;
            }

            continue;
        }

        if (s->avail_in == 0) {
            break;
        }

        if (zrc == Z_BUF_ERROR) {
            return NGX_DECLINED;
        }
    }

    if (!tail) {
        return NGX_AGAIN;
    }

    /* zlib.h: 128 is set behind the end of a block */

    return (s->data_type & 128) ? NGX_OK : NGX_DECLINED;
}


/*
 * Room for `size` bytes of output in all, at most for the limit and one more:
 * when that is used, too, the message is too big (NGX_BUSY).
 */

static ngx_int_t
ngx_broadcast_inflate_room(z_stream *s, size_t size, size_t limit)
{
    size_t                 used;
    ngx_broadcast_room_t  *room;

    room = &ngx_broadcast_inflate_out;
    used = s->next_out - room->data;

    if (used > limit) {
        return NGX_BUSY;
    }

    size = ngx_min(size, limit + 1);

    if (ngx_broadcast_room(room, size, used) != NGX_OK) {
        return NGX_ERROR;
    }

    s->next_out = room->data + used;
    s->avail_out = (uInt) (ngx_min(room->size, limit + 1) - used);

    return NGX_OK;
}


/* at least `size` bytes, of which `used` are kept */

static ngx_int_t
ngx_broadcast_room(ngx_broadcast_room_t *room, size_t size, size_t used)
{
    u_char  *data;

    if (used == 0
        && room->size > NGX_BROADCAST_DEFLATE_KEEP
        && size <= NGX_BROADCAST_DEFLATE_KEEP)
    {
        ngx_broadcast_room_free(room);
    }

    if (size <= room->size) {
        return NGX_OK;
    }

    if (used == 0) {
        ngx_broadcast_room_free(room);
    }

    data = realloc(room->data, size);
    if (data == NULL) {
        return NGX_ERROR;
    }

    room->data = data;
    room->size = size;

    return NGX_OK;
}


static void
ngx_broadcast_room_free(ngx_broadcast_room_t *room)
{
    free(room->data);

    room->data = NULL;
    room->size = 0;
}


void
ngx_broadcast_deflate_stop(void)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_DEFLATE_WINDOWS; i++) {

        if (ngx_broadcast_deflates[i]) {
            (void) deflateEnd(ngx_broadcast_deflates[i]);
            free(ngx_broadcast_deflates[i]);
            ngx_broadcast_deflates[i] = NULL;
        }
    }

    if (ngx_broadcast_inflates) {
        (void) inflateEnd(ngx_broadcast_inflates);
        free(ngx_broadcast_inflates);
        ngx_broadcast_inflates = NULL;
    }

    ngx_broadcast_room_free(&ngx_broadcast_deflate_out);
    ngx_broadcast_room_free(&ngx_broadcast_inflate_out);
}
