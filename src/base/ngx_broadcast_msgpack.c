
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "base/ngx_broadcast_msgpack.h"

#include "base/ngx_broadcast_utf8.h"


/* what the bytes from 0xc4 on begin: 0xc0 to 0xc3 are values of their own */

typedef struct {
    u_char                       type;      /* ngx_broadcast_msgpack_type_e  */
    u_char                       size;      /* bytes of a number or a length */
    u_char                       fixed;     /* length that needs no bytes    */
} ngx_broadcast_msgpack_head_t;


/* an array or a map that was opened; pairs count twice */

typedef struct {
    uint64_t                     left;
    ngx_uint_t                   map;
} ngx_broadcast_msgpack_level_t;


static void ngx_broadcast_msgpack_number(ngx_broadcast_msgpack_t *v,
    u_char *p, u_char first);
static const char *ngx_broadcast_msgpack_wrong(ngx_broadcast_msgpack_t *v,
    ngx_uint_t key);
static int ngx_broadcast_msgpack_write(void *data, const char *bytes,
    size_t len);


static const ngx_broadcast_msgpack_head_t  ngx_broadcast_msgpack_heads[] = {
    { NGX_BROADCAST_MSGPACK_BIN, 1, 0 },                       /* 0xc4 */
    { NGX_BROADCAST_MSGPACK_BIN, 2, 0 },
    { NGX_BROADCAST_MSGPACK_BIN, 4, 0 },
    { NGX_BROADCAST_MSGPACK_EXT, 1, 0 },                       /* 0xc7 */
    { NGX_BROADCAST_MSGPACK_EXT, 2, 0 },
    { NGX_BROADCAST_MSGPACK_EXT, 4, 0 },
    { NGX_BROADCAST_MSGPACK_FLOAT, 4, 0 },                     /* 0xca */
    { NGX_BROADCAST_MSGPACK_FLOAT, 8, 0 },
    { NGX_BROADCAST_MSGPACK_UINT, 1, 0 },                      /* 0xcc */
    { NGX_BROADCAST_MSGPACK_UINT, 2, 0 },
    { NGX_BROADCAST_MSGPACK_UINT, 4, 0 },
    { NGX_BROADCAST_MSGPACK_UINT, 8, 0 },
    { NGX_BROADCAST_MSGPACK_INT, 1, 0 },                       /* 0xd0 */
    { NGX_BROADCAST_MSGPACK_INT, 2, 0 },
    { NGX_BROADCAST_MSGPACK_INT, 4, 0 },
    { NGX_BROADCAST_MSGPACK_INT, 8, 0 },
    { NGX_BROADCAST_MSGPACK_EXT, 0, 1 },                       /* 0xd4 */
    { NGX_BROADCAST_MSGPACK_EXT, 0, 2 },
    { NGX_BROADCAST_MSGPACK_EXT, 0, 4 },
    { NGX_BROADCAST_MSGPACK_EXT, 0, 8 },
    { NGX_BROADCAST_MSGPACK_EXT, 0, 16 },
    { NGX_BROADCAST_MSGPACK_STR, 1, 0 },                       /* 0xd9 */
    { NGX_BROADCAST_MSGPACK_STR, 2, 0 },
    { NGX_BROADCAST_MSGPACK_STR, 4, 0 },
    { NGX_BROADCAST_MSGPACK_ARRAY, 2, 0 },                     /* 0xdc */
    { NGX_BROADCAST_MSGPACK_ARRAY, 4, 0 },
    { NGX_BROADCAST_MSGPACK_MAP, 2, 0 },                       /* 0xde */
    { NGX_BROADCAST_MSGPACK_MAP, 4, 0 }
};


ngx_int_t
ngx_broadcast_msgpack_next(u_char **pos, u_char *last,
    ngx_broadcast_msgpack_t *v)
{
    u_char                               c, *p;
    size_t                               len, i;
    const ngx_broadcast_msgpack_head_t  *head;

    ngx_memzero(v, sizeof(ngx_broadcast_msgpack_t));

    p = *pos;

    if (p == last) {
        return NGX_AGAIN;
    }

    c = *p++;
    len = 0;

    if (c < 0x80) {
        v->type = NGX_BROADCAST_MSGPACK_UINT;
        v->u = c;

    } else if (c < 0x90) {
        v->type = NGX_BROADCAST_MSGPACK_MAP;
        v->count = c & 0x0f;

    } else if (c < 0xa0) {
        v->type = NGX_BROADCAST_MSGPACK_ARRAY;
        v->count = c & 0x0f;

    } else if (c < 0xc0) {
        v->type = NGX_BROADCAST_MSGPACK_STR;
        len = c & 0x1f;

    } else if (c >= 0xe0) {
        v->type = NGX_BROADCAST_MSGPACK_INT;
        v->i = (int8_t) c;

    } else if (c < 0xc4) {

        if (c == 0xc1) {
            return NGX_ERROR;
        }

        v->type = (c == 0xc0) ? NGX_BROADCAST_MSGPACK_NIL
                  : (c == 0xc2) ? NGX_BROADCAST_MSGPACK_FALSE
                  : NGX_BROADCAST_MSGPACK_TRUE;

    } else {
        head = &ngx_broadcast_msgpack_heads[c - 0xc4];

        v->type = head->type;

        if (last - p < head->size) {
            return NGX_AGAIN;
        }

        if (v->type == NGX_BROADCAST_MSGPACK_FLOAT
            || v->type == NGX_BROADCAST_MSGPACK_UINT
            || v->type == NGX_BROADCAST_MSGPACK_INT)
        {
            ngx_broadcast_msgpack_number(v, p, c);

        } else {
            len = head->fixed;

            for (i = 0; i < head->size; i++) {
                len = (len << 8) | p[i];
            }
        }

        p += head->size;

        if (v->type >= NGX_BROADCAST_MSGPACK_ARRAY) {
            v->count = (uint32_t) len;
            len = 0;
        }
    }

    if (v->type == NGX_BROADCAST_MSGPACK_EXT) {

        if (p == last) {
            return NGX_AGAIN;
        }

        v->ext = (int8_t) *p++;
    }

    if ((size_t) (last - p) < len) {
        return NGX_AGAIN;
    }

    v->bytes.data = p;
    v->bytes.len = len;

    *pos = p + len;

    return NGX_OK;
}


/* big-endian numbers; all bytes are there */

static void
ngx_broadcast_msgpack_number(ngx_broadcast_msgpack_t *v, u_char *p,
    u_char first)
{
    float       f;
    uint32_t    u;
    uint64_t    n;
    ngx_uint_t  i, size;

    size = ngx_broadcast_msgpack_heads[first - 0xc4].size;
    n = 0;

    for (i = 0; i < size; i++) {
        n = (n << 8) | p[i];
    }

    if (v->type == NGX_BROADCAST_MSGPACK_FLOAT) {

        if (size == 8) {
            ngx_memcpy(&v->d, &n, 8);
            return;
        }

        u = (uint32_t) n;
        ngx_memcpy(&f, &u, 4);
        v->d = f;

        return;
    }

    if (v->type == NGX_BROADCAST_MSGPACK_INT) {

        switch (size) {
        case 1:
            v->i = (int8_t) n;
            break;
        case 2:
            v->i = (int16_t) n;
            break;
        case 4:
            v->i = (int32_t) n;
            break;
        default:
            v->i = (int64_t) n;
        }

        if (v->i < 0) {
            return;
        }

        v->type = NGX_BROADCAST_MSGPACK_UINT;
        n = (uint64_t) v->i;
    }

    v->i = 0;
    v->u = n;
}


ngx_int_t
ngx_broadcast_msgpack_check(u_char **pos, u_char *last, ngx_str_t *span,
    const char **error)
{
    u_char                         *p;
    ngx_int_t                       rc;
    ngx_uint_t                      depth, key;
    ngx_broadcast_msgpack_t         v;
    ngx_broadcast_msgpack_level_t   levels[NGX_BROADCAST_MSGPACK_DEPTH];

    p = *pos;
    depth = 0;

    do {
        rc = ngx_broadcast_msgpack_next(&p, last, &v);

        if (rc != NGX_OK) {
            *error = (rc == NGX_AGAIN) ? "MessagePack value ends too early"
                                       : "MessagePack value has the byte 0xc1";
            return NGX_ERROR;
        }

        key = 0;

        if (depth) {
            key = levels[depth - 1].map && !(levels[depth - 1].left & 1);
            levels[depth - 1].left--;
        }

        *error = ngx_broadcast_msgpack_wrong(&v, key);

        if (*error) {
            return NGX_ERROR;
        }

        if (v.type >= NGX_BROADCAST_MSGPACK_ARRAY) {

            if (depth == NGX_BROADCAST_MSGPACK_DEPTH) {
                *error = "MessagePack value is nested deeper than 64 levels";
                return NGX_DECLINED;
            }

            levels[depth].map = (v.type == NGX_BROADCAST_MSGPACK_MAP);
            levels[depth].left = (uint64_t) v.count << levels[depth].map;
            depth++;
        }

        while (depth && levels[depth - 1].left == 0) {
            depth--;
        }

    } while (depth);

    span->data = *pos;
    span->len = p - *pos;

    *pos = p;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_msgpack_pass(u_char **pos, u_char *last)
{
    u_char                   *p;
    uint64_t                  left;
    ngx_broadcast_msgpack_t   v;

    p = *pos;

    /* each head takes a byte at least and adds less than 2^33 */

    for (left = 1; left; left--) {

        if (ngx_broadcast_msgpack_next(&p, last, &v) != NGX_OK) {
            return NGX_ERROR;
        }

        if (v.type >= NGX_BROADCAST_MSGPACK_ARRAY) {
            left += (uint64_t) v.count << (v.type == NGX_BROADCAST_MSGPACK_MAP);
        }
    }

    *pos = p;

    return NGX_OK;
}


static const char *
ngx_broadcast_msgpack_wrong(ngx_broadcast_msgpack_t *v, ngx_uint_t key)
{
    switch (v->type) {

    case NGX_BROADCAST_MSGPACK_STR:

        if (!ngx_broadcast_utf8_valid(&v->bytes)) {
            return "MessagePack string is not UTF-8";
        }

        return NULL;

    case NGX_BROADCAST_MSGPACK_UINT:
    case NGX_BROADCAST_MSGPACK_INT:
        return NULL;

    default:
        return key ? "MessagePack map has a key that is neither a string nor "
                     "an integer"
                   : NULL;
    }
}


ngx_int_t
ngx_broadcast_msgpack_int64(const ngx_broadcast_msgpack_t *v, int64_t *n)
{
    if (v->type == NGX_BROADCAST_MSGPACK_INT) {
        *n = v->i;
        return NGX_OK;
    }

    if (v->type == NGX_BROADCAST_MSGPACK_UINT && v->u <= (uint64_t) INT64_MAX) {
        *n = (int64_t) v->u;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


void
ngx_broadcast_msgpack_packer(msgpack_packer *pk, ngx_broadcast_buf_t *b)
{
    msgpack_packer_init(pk, b, ngx_broadcast_msgpack_write);
}


static int
ngx_broadcast_msgpack_write(void *data, const char *bytes, size_t len)
{
    ngx_broadcast_buf_append(data, (const u_char *) bytes, len);

    return 0;
}
