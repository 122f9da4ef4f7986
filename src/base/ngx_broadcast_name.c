
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_name.h"
#include "base/ngx_broadcast_utf8.h"


static ngx_uint_t ngx_broadcast_is_space(const u_char *p, size_t len);
static ngx_int_t ngx_broadcast_hex(const u_char *p, const u_char *end);


ngx_int_t
ngx_broadcast_hub_name(ngx_str_t *name, u_char *lower)
{
    size_t      i;
    u_char      c;
    ngx_uint_t  letter;

    if (name->len == 0 || name->len > NGX_BROADCAST_HUB_MAX) {
        return NGX_ERROR;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];
        letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (letter) {
            continue;
        }

        if (i == 0) {
            return NGX_ERROR;
        }

        if ((c < '0' || c > '9') && (c == 0 || strchr("_`,.[]", c) == NULL)) {
            return NGX_ERROR;
        }
    }

    if (lower) {
        ngx_strlow(lower, name->data, name->len);
    }

    return NGX_OK;
}


/* The white space of Unicode, as .NET's IsNullOrWhiteSpace() knows it. */

static ngx_uint_t
ngx_broadcast_is_space(const u_char *p, size_t len)
{
    if (len == 1) {
        return *p == ' ' || (*p >= 0x09 && *p <= 0x0d);
    }

    if (len == 2) {
        return p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0);
    }

    if (len == 3) {
        return ngx_memcmp(p, "\xe1\x9a\x80", 3) == 0            /* U+1680    */
               || (p[0] == 0xe2 && p[1] == 0x80
                   && (p[2] <= 0x8a                      /* U+2000 to 200A   */
                       || p[2] == 0xa8                   /* U+2028           */
                       || p[2] == 0xa9                   /* U+2029           */
                       || p[2] == 0xaf))                 /* U+202F           */
               || ngx_memcmp(p, "\xe2\x81\x9f", 3) == 0         /* U+205F    */
               || ngx_memcmp(p, "\xe3\x80\x80", 3) == 0;        /* U+3000    */
    }

    return 0;
}


ngx_int_t
ngx_broadcast_group_name(ngx_str_t *name)
{
    u_char      *p, *end;
    size_t       len;
    ngx_uint_t   chars, blank;

    if (name->len == 0 || name->len > NGX_BROADCAST_GROUP_BYTES) {
        return NGX_ERROR;
    }

    p = name->data;
    end = p + name->len;
    blank = 1;

    for (chars = 0; p < end; chars++) {
        len = ngx_broadcast_utf8_char(p, end);

        if (len == 0 || *p == '\0' || chars == NGX_BROADCAST_GROUP_MAX) {
            return NGX_ERROR;
        }

        if (blank && !ngx_broadcast_is_space(p, len)) {
            blank = 0;
        }

        p += len;
    }

    return blank ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_broadcast_user_id(ngx_str_t *user)
{
    size_t  i;

    if (user->len == 0 || user->len > NGX_BROADCAST_USER_MAX) {
        return NGX_ERROR;
    }

    for (i = 0; i < user->len; i++) {
        if (user->data[i] < 0x20 || user->data[i] == 0x7f) {
            return NGX_ERROR;
        }
    }

    return ngx_broadcast_utf8_valid(user) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_broadcast_target(ngx_str_t *target)
{
    u_char  c;
    size_t  i;

    if (target->len == 0 || target->len > NGX_BROADCAST_TARGET_MAX) {
        return NGX_ERROR;
    }

    for (i = 0; i < target->len; i++) {
        c = target->data[i];

        if (c == CR || c == LF || c == '\0') {
            return NGX_ERROR;
        }
    }

    return ngx_broadcast_utf8_valid(target) ? NGX_OK : NGX_ERROR;
}


/* The byte that "%XX" at p means, or NGX_ERROR. */

static ngx_int_t
ngx_broadcast_hex(const u_char *p, const u_char *end)
{
    if (end - p < 3) {
        return NGX_ERROR;
    }

    return ngx_hextoi((u_char *) p + 1, 2);
}


ngx_int_t
ngx_broadcast_unescape(ngx_pool_t *pool, ngx_str_t *src, ngx_str_t *dst,
    ngx_uint_t where)
{
    u_char      *p, *d, *out, *end;
    ngx_int_t    c;

    if (src->len == 0) {
        *dst = *src;
        return NGX_OK;
    }

    p = src->data;
    end = p + src->len;

    if (memchr(p, '%', src->len) == NULL
        && (where != NGX_BROADCAST_IN_QUERY
            || memchr(p, '+', src->len) == NULL))
    {
        *dst = *src;
        return NGX_OK;
    }

    out = ngx_pnalloc(pool, src->len);
    if (out == NULL) {
        return NGX_ERROR;
    }

    d = out;

    while (p < end) {

        if (*p == '%') {
            c = ngx_broadcast_hex(p, end);
            if (c == NGX_ERROR) {
                return NGX_DECLINED;
            }

            *d++ = (u_char) c;
            p += 3;
            continue;
        }

        if (*p == '+' && where == NGX_BROADCAST_IN_QUERY) {
            *d++ = ' ';
            p++;
            continue;
        }

        *d++ = *p++;
    }

    dst->data = out;
    dst->len = d - out;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_query_next(ngx_str_t *args, ngx_str_t *key, ngx_str_t *value)
{
    u_char  *p, *end, *eq;

    while (args->len && *args->data == '&') {
        args->data++;
        args->len--;
    }

    if (args->len == 0) {
        return NGX_DONE;
    }

    p = args->data;
    end = memchr(p, '&', args->len);

    if (end == NULL) {
        end = p + args->len;
    }

    eq = memchr(p, '=', end - p);

    key->data = p;
    key->len = (eq ? eq : end) - p;

    value->data = eq ? eq + 1 : end;
    value->len = end - value->data;

    args->len -= end - p;
    args->data = end;

    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_query_key(ngx_str_t *key, const char *name)
{
    u_char      *p, *end;
    ngx_int_t    c;

    p = key->data;
    end = p + key->len;

    for ( /* void */ ; *name; name++) {

        if (p == end) {
            return 0;
        }

        c = *p;

        if (c == '%') {
            c = ngx_broadcast_hex(p, end);
            p += (c == NGX_ERROR) ? 1 : 3;

        } else {
            p++;
        }

        if (c == NGX_ERROR || ngx_tolower(c) != (u_char) *name) {
            return 0;
        }
    }

    return p == end;
}


ngx_int_t
ngx_broadcast_query_get(ngx_str_t *args, const char *name, ngx_str_t *value)
{
    ngx_str_t  rest, key;

    rest = *args;

    while (ngx_broadcast_query_next(&rest, &key, value) == NGX_OK) {
        if (ngx_broadcast_query_key(&key, name)) {
            return NGX_OK;
        }
    }

    ngx_str_null(value);

    return NGX_DECLINED;
}


ngx_uint_t
ngx_broadcast_query_count(ngx_str_t *args, const char *name)
{
    ngx_str_t   rest, key, value;
    ngx_uint_t  n;

    n = 0;
    rest = *args;

    while (ngx_broadcast_query_next(&rest, &key, &value) == NGX_OK) {
        n += ngx_broadcast_query_key(&key, name);
    }

    return n;
}
