
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_scan_local.h"

#include "base/ngx_broadcast_utf8.h"


static size_t ngx_broadcast_scan_char(u_char **pos, u_char *last,
    u_char dst[4]);
static ngx_uint_t ngx_broadcast_scan_compare(
    const ngx_broadcast_scan_value_t *v, const char *string, ngx_uint_t fold);
static size_t ngx_broadcast_scan_quote(u_char **pos, u_char *last,
    u_char dst[6]);


ngx_int_t
ngx_broadcast_scan_pass(ngx_broadcast_scan_t *s, ngx_broadcast_scan_value_t *v)
{
    u_char      c, *p;
    ngx_uint_t  depth, string;

    /* at s->pos is the bracket that is one too many */

    depth = NGX_BROADCAST_SCAN_DEPTH;
    string = 0;

    for (p = s->pos; p < s->last && depth; p++) {
        c = *p;

        if (string) {

            if (c == '"') {
                string = 0;

            } else if (c == '\\' && p + 1 < s->last) {
                p++;
            }

        } else if (c == '"') {
            string = 1;

        } else if (c == '[' || c == '{') {
            depth++;
            v->levels = ngx_max(v->levels, depth);

        } else if (c == ']' || c == '}') {
            depth--;
        }
    }

    s->pos = p;

    if (depth) {
        s->error = "JSON text ends too early";
        return NGX_ERROR;
    }

    s->error = NULL;
    s->deep = 0;

    v->text.len = p - v->text.data;
    v->type = (*v->text.data == '{') ? NGX_BROADCAST_SCAN_OBJECT
                                     : NGX_BROADCAST_SCAN_ARRAY;

    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_scan_is(const ngx_broadcast_scan_value_t *v, const char *string)
{
    return ngx_broadcast_scan_compare(v, string, 0);
}


ngx_uint_t
ngx_broadcast_scan_is_nocase(const ngx_broadcast_scan_value_t *v,
    const char *string)
{
    return ngx_broadcast_scan_compare(v, string, 1);
}


size_t
ngx_broadcast_scan_decode(const ngx_broadcast_scan_value_t *v, u_char *dst)
{
    u_char  *p, *last, *start;

    start = dst;
    p = v->text.data + 1;
    last = v->text.data + v->text.len - 1;

    if (!v->escaped) {
        ngx_memcpy(dst, p, last - p);
        return last - p;
    }

    while (p < last) {
        dst += ngx_broadcast_scan_char(&p, last, dst);
    }

    return dst - start;
}


ngx_int_t
ngx_broadcast_scan_string(const ngx_broadcast_scan_value_t *v,
    ngx_pool_t *pool, ngx_str_t *string)
{
    u_char  *p;

    if (!v->escaped) {
        string->data = v->text.data + 1;
        string->len = v->text.len - 2;
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, v->text.len - 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    string->data = p;
    string->len = ngx_broadcast_scan_decode(v, p);

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_scan_int64(const ngx_broadcast_scan_value_t *v, int64_t *n)
{
    u_char      c;
    size_t      i;
    uint64_t    value, limit;
    ngx_uint_t  negative;

    if (v->type != NGX_BROADCAST_SCAN_NUMBER) {
        return NGX_DECLINED;
    }

    negative = (v->text.data[0] == '-');
    limit = (uint64_t) INT64_MAX + negative;
    value = 0;

    for (i = negative; i < v->text.len; i++) {
        c = v->text.data[i];

        if (c < '0' || c > '9') {
            return NGX_DECLINED;
        }

        if (value > (limit - (c - '0')) / 10) {
            return NGX_DECLINED;
        }

        value = value * 10 + (c - '0');
    }

    if (!negative) {
        *n = (int64_t) value;

    } else if (value == 0) {
        *n = 0;

    } else {
        /* the least number has no positive counterpart */
        *n = -(int64_t) (value - 1) - 1;
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_scan_one_line(ngx_str_t *text, ngx_pool_t *pool)
{
    u_char  *p;

    if (!ngx_broadcast_scan_compact_needed(text)) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, text->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_broadcast_scan_compact(p, text);
    text->data = p;

    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_scan_compact_needed(const ngx_str_t *text)
{
    if (text->len == 0) {
        return 0;
    }

    return memchr(text->data, LF, text->len) != NULL
           || memchr(text->data, CR, text->len) != NULL;
}


size_t
ngx_broadcast_scan_compact(u_char *dst, const ngx_str_t *text)
{
    u_char      c, *p, *last, *start;
    ngx_uint_t  string;

    start = dst;
    p = text->data;
    last = text->len ? p + text->len : p;
    string = 0;

    while (p < last) {
        c = *p++;

        if (string) {
            if (c == '\\' && p < last) {
                *dst++ = c;
                c = *p++;

            } else if (c == '"') {
                string = 0;
            }

        } else if (c == '"') {
            string = 1;

        } else if (c == ' ' || c == '\t' || c == CR || c == LF) {
            continue;
        }

        *dst++ = c;
    }

    return dst - start;
}


size_t
ngx_broadcast_scan_quoted_len(const ngx_str_t *src)
{
    u_char   c[6], *p, *run, *last;
    size_t   len;

    len = sizeof("\"\"") - 1;
    p = src->data;
    last = src->len ? p + src->len : p;

    for ( ;; ) {
        run = ngx_broadcast_scan_run(p, last);

        len += run - p;
        p = run;

        if (p == last) {
            return len;
        }

        len += ngx_broadcast_scan_quote(&p, last, c);
    }
}


u_char *
ngx_broadcast_scan_quoted_write(u_char *dst, const ngx_str_t *src)
{
    u_char  *p, *run, *last;

    p = src->data;
    last = src->len ? p + src->len : p;

    *dst++ = '"';

    for ( ;; ) {
        run = ngx_broadcast_scan_run(p, last);

        if (run != p) {
            dst = ngx_cpymem(dst, p, run - p);
            p = run;
        }

        if (p == last) {
            break;
        }

        dst += ngx_broadcast_scan_quote(&p, last, dst);
    }

    *dst++ = '"';

    return dst;
}


/*
 * Decodes the next byte or escape of a checked string; dst gets at most as many
 * bytes as are read.
 */

static size_t
ngx_broadcast_scan_char(u_char **pos, u_char *last, u_char dst[4])
{
    u_char     c, *p;
    ngx_int_t  code, low;

    p = *pos;

    if (*p != '\\') {
        dst[0] = *p;
        *pos = p + 1;
        return 1;
    }

    c = p[1];
    *pos = p + 2;

    switch (c) {

    case 'b':
        dst[0] = '\b';
        return 1;

    case 'f':
        dst[0] = '\f';
        return 1;

    case 'n':
        dst[0] = '\n';
        return 1;

    case 'r':
        dst[0] = '\r';
        return 1;

    case 't':
        dst[0] = '\t';
        return 1;

    case 'u':
        break;

    default:
        dst[0] = c;
        return 1;
    }

    code = ngx_hextoi(p + 2, 4);
    *pos = p + 6;

    if (code >= 0xd800 && code <= 0xdfff) {
        low = NGX_ERROR;

        if (code < 0xdc00 && last - p >= 12 && p[6] == '\\' && p[7] == 'u') {
            low = ngx_hextoi(p + 8, 4);
        }

        if (low >= 0xdc00 && low <= 0xdfff) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            *pos = p + 12;

        } else {
            code = 0xfffd;
        }
    }

    if (code < 0x80) {
        dst[0] = (u_char) code;
        return 1;
    }

    if (code < 0x800) {
        dst[0] = (u_char) (0xc0 | (code >> 6));
        dst[1] = (u_char) (0x80 | (code & 0x3f));
        return 2;
    }

    if (code < 0x10000) {
        dst[0] = (u_char) (0xe0 | (code >> 12));
        dst[1] = (u_char) (0x80 | ((code >> 6) & 0x3f));
        dst[2] = (u_char) (0x80 | (code & 0x3f));
        return 3;
    }

    dst[0] = (u_char) (0xf0 | (code >> 18));
    dst[1] = (u_char) (0x80 | ((code >> 12) & 0x3f));
    dst[2] = (u_char) (0x80 | ((code >> 6) & 0x3f));
    dst[3] = (u_char) (0x80 | (code & 0x3f));

    return 4;
}


static ngx_uint_t
ngx_broadcast_scan_compare(const ngx_broadcast_scan_value_t *v,
    const char *string, ngx_uint_t fold)
{
    u_char        one, two, c[4], *p, *last;
    size_t        i, n;
    const u_char  *q, *end;

    if (v->type != NGX_BROADCAST_SCAN_STRING) {
        return 0;
    }

    p = v->text.data + 1;
    last = v->text.data + v->text.len - 1;
    q = (const u_char *) string;
    end = q + ngx_strlen(string);

    if (!v->escaped && !fold) {
        return last - p == end - q && ngx_memcmp(p, q, last - p) == 0;
    }

    while (p < last) {
        n = ngx_broadcast_scan_char(&p, last, c);

        for (i = 0; i < n; i++) {
            if (q == end) {
                return 0;
            }

            one = fold ? ngx_tolower(c[i]) : c[i];
            two = fold ? ngx_tolower(*q) : *q;

            if (one != two) {
                return 0;
            }

            q++;
        }
    }

    return q == end;
}


/* the next character as it stands between quotes; returns the bytes */

static size_t
ngx_broadcast_scan_quote(u_char **pos, u_char *last, u_char dst[6])
{
    u_char         c, *p;
    size_t         n;
    static u_char  hex[] = "0123456789abcdef";
    static u_char  replacement[] = "\xef\xbf\xbd";
    static u_char  letters[] = "btn\0fr";         /* from 0x08 on, 0x0b has
                                                     no letter */

    p = *pos;
    c = *p;
    *pos = p + 1;

    if (c >= 0x80) {
        n = ngx_broadcast_utf8_char(p, last);

        if (n == 0) {
            ngx_memcpy(dst, replacement, 3);
            return 3;
        }

        ngx_memcpy(dst, p, n);
        *pos = p + n;

        return n;
    }

    if (c == '"' || c == '\\') {
        dst[0] = '\\';
        dst[1] = c;
        return 2;
    }

    if (c >= 0x20 && c != 0x7f) {
        dst[0] = c;
        return 1;
    }

    dst[0] = '\\';

    if (c >= 0x08 && c <= 0x0d && letters[c - 0x08]) {
        dst[1] = letters[c - 0x08];
        return 2;
    }

    dst[1] = 'u';
    dst[2] = '0';
    dst[3] = '0';
    dst[4] = hex[c >> 4];
    dst[5] = hex[c & 0xf];

    return 6;
}
