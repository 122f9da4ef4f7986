
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_array.h"


static void ngx_broadcast_pg_array_comma(ngx_broadcast_pg_array_t *array);


void
ngx_broadcast_pg_array_init(ngx_broadcast_pg_array_t *array, ngx_pool_t *pool,
    size_t size)
{
    array->bad = 0;

    ngx_broadcast_buf_init(&array->buf, pool, size + 3);
    ngx_broadcast_buf_char(&array->buf, '{');
}


static void
ngx_broadcast_pg_array_comma(ngx_broadcast_pg_array_t *array)
{
    if (ngx_broadcast_buf_len(&array->buf) > 1) {
        ngx_broadcast_buf_char(&array->buf, ',');
    }
}


void
ngx_broadcast_pg_array_text(ngx_broadcast_pg_array_t *array, ngx_str_t *text)
{
    u_char  *p, *last, *dst;
    size_t   more;

    ngx_broadcast_pg_array_comma(array);

    last = text->data + text->len;
    more = 2;

    for (p = text->data; p < last; p++) {
        if (*p == '"' || *p == '\\') {
            more++;

        } else if (*p == '\0') {
            array->bad = 1;
            return;
        }
    }

    dst = ngx_broadcast_buf_reserve(&array->buf, text->len + more);
    if (dst == NULL) {
        return;
    }

    *dst++ = '"';

    for (p = text->data; p < last; p++) {
        if (*p == '"' || *p == '\\') {
            *dst++ = '\\';
        }

        *dst++ = *p;
    }

    *dst = '"';

    array->buf.last += text->len + more;
}


void
ngx_broadcast_pg_array_int(ngx_broadcast_pg_array_t *array, int64_t n)
{
    ngx_broadcast_pg_array_comma(array);
    ngx_broadcast_buf_int(&array->buf, n);
}


void
ngx_broadcast_pg_array_null(ngx_broadcast_pg_array_t *array)
{
    ngx_broadcast_pg_array_comma(array);
    ngx_broadcast_buf_literal(&array->buf, "NULL");
}


char *
ngx_broadcast_pg_array_done(ngx_broadcast_pg_array_t *array)
{
    ngx_str_t  text;

    ngx_broadcast_buf_char(&array->buf, '}');
    ngx_broadcast_buf_char(&array->buf, '\0');

    if (array->bad
        || ngx_broadcast_buf_done(&array->buf, &text) != NGX_OK)
    {
        return NULL;
    }

    return (char *) text.data;
}
