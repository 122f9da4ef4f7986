
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_buf.h"
#include "base/ngx_broadcast_utf8.h"


#define NGX_BROADCAST_BUF_MIN  64


void
ngx_broadcast_buf_init(ngx_broadcast_buf_t *b, ngx_pool_t *pool, size_t size)
{
    size = ngx_max(size, NGX_BROADCAST_BUF_MIN);

    b->pool = pool;
    b->start = ngx_pnalloc(pool, size);
    b->failed = (b->start == NULL);
    b->last = b->start;
    b->end = b->failed ? NULL : b->start + size;
}


u_char *
ngx_broadcast_buf_reserve(ngx_broadcast_buf_t *b, size_t len)
{
    size_t   used, size;
    u_char  *start;

    if (b->failed) {
        return NULL;
    }

    if (len <= (size_t) (b->end - b->last)) {
        return b->last;
    }

    used = b->last - b->start;

    if (len > NGX_MAX_SIZE_T_VALUE / 4 - used) {
        b->failed = 1;
        return NULL;
    }

    size = ngx_max((size_t) (b->end - b->start) * 2, used + len);

    start = ngx_pnalloc(b->pool, size);
    if (start == NULL) {
        b->failed = 1;
        return NULL;
    }

    ngx_memcpy(start, b->start, used);

    /* a large block goes back at once, a small one stays with the pool */

    (void) ngx_pfree(b->pool, b->start);

    b->start = start;
    b->last = start + used;
    b->end = start + size;

    return b->last;
}


void
ngx_broadcast_buf_char(ngx_broadcast_buf_t *b, u_char c)
{
    if (ngx_broadcast_buf_reserve(b, 1)) {
        *b->last++ = c;
    }
}


void
ngx_broadcast_buf_append(ngx_broadcast_buf_t *b, const u_char *data,
    size_t len)
{
    if (len && ngx_broadcast_buf_reserve(b, len)) {
        b->last = ngx_cpymem(b->last, data, len);
    }
}


void
ngx_broadcast_buf_str(ngx_broadcast_buf_t *b, ngx_str_t *text)
{
    ngx_broadcast_buf_append(b, text->data, text->len);
}


void
ngx_broadcast_buf_uint(ngx_broadcast_buf_t *b, uint64_t n)
{
    if (ngx_broadcast_buf_reserve(b, NGX_INT64_LEN)) {
        b->last = ngx_sprintf(b->last, "%uL", n);
    }
}


void
ngx_broadcast_buf_int(ngx_broadcast_buf_t *b, int64_t n)
{
    if (n >= 0) {
        ngx_broadcast_buf_uint(b, n);
        return;
    }

    ngx_broadcast_buf_char(b, '-');
    ngx_broadcast_buf_uint(b, 0 - (uint64_t) n);
}


void
ngx_broadcast_buf_json(ngx_broadcast_buf_t *b, ngx_str_t *text)
{
    ngx_broadcast_buf_char(b, '"');
    ngx_broadcast_buf_json_bare(b, text);
    ngx_broadcast_buf_char(b, '"');
}


static void
ngx_broadcast_buf_escape(ngx_broadcast_buf_t *b, u_char c)
{
    static const u_char  hex[] = "0123456789abcdef";

    u_char  escaped[6];

    escaped[0] = '\\';

    switch (c) {

    case '"':
    case '\\':
        escaped[1] = c;
        break;

    case '\b':
        escaped[1] = 'b';
        break;

    case '\f':
        escaped[1] = 'f';
        break;

    case '\n':
        escaped[1] = 'n';
        break;

    case '\r':
        escaped[1] = 'r';
        break;

    case '\t':
        escaped[1] = 't';
        break;

    default:
        escaped[1] = 'u';
        escaped[2] = '0';
        escaped[3] = '0';
        escaped[4] = hex[c >> 4];
        escaped[5] = hex[c & 0x0f];

        ngx_broadcast_buf_append(b, escaped, 6);
        return;
    }

    ngx_broadcast_buf_append(b, escaped, 2);
}


void
ngx_broadcast_buf_json_bare(ngx_broadcast_buf_t *b, ngx_str_t *text)
{
    u_char  *p, *end, *plain;
    size_t   len;

    if (text->len == 0) {
        return;
    }

    p = text->data;
    end = p + text->len;
    plain = p;

    while (p < end && !b->failed) {

        if (*p >= 0x80) {
            len = ngx_broadcast_utf8_char(p, end);

            if (len) {
                p += len;
                continue;
            }

            ngx_broadcast_buf_append(b, plain, p - plain);
            ngx_broadcast_buf_literal(b, "\xef\xbf\xbd");

            plain = ++p;
            continue;
        }

        if (*p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7f) {
            p++;
            continue;
        }

        ngx_broadcast_buf_append(b, plain, p - plain);
        ngx_broadcast_buf_escape(b, *p);

        plain = ++p;
    }

    ngx_broadcast_buf_append(b, plain, p - plain);
}


ngx_int_t
ngx_broadcast_buf_done(ngx_broadcast_buf_t *b, ngx_str_t *text)
{
    if (b->failed) {
        ngx_str_null(text);
        return NGX_ERROR;
    }

    text->data = b->start;
    text->len = b->last - b->start;

    return NGX_OK;
}
