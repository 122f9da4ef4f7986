
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Values of access_token in a text: where they are, and the text without them.
 *
 * A value ends at '&', at the quote that ends a member of an error line, or
 * before the protocol of a request line.
 */


#include "http/ngx_http_broadcast_mask.h"


#define NGX_HTTP_BROADCAST_MASK_NAME  "access_token"

/* with each of its characters percent-encoded */
#define NGX_HTTP_BROADCAST_MASK_ENCODED                                       \
    ((ngx_int_t) (3 * (sizeof(NGX_HTTP_BROADCAST_MASK_NAME) - 1)))

/* a shorter token is not looked for inside of other texts */
#define NGX_HTTP_BROADCAST_MASK_MIN   8


static ngx_uint_t ngx_http_broadcast_mask_key(u_char **pos, u_char *last);
static u_char *ngx_http_broadcast_mask_end(u_char *start, u_char *last);
static u_char *ngx_http_broadcast_mask_find(u_char *p, u_char *last,
    ngx_str_t *what);


/*
 * 1 if at *pos stands the name, percent-encoded or not, and '='; *pos is then
 * behind it.
 */

static ngx_uint_t
ngx_http_broadcast_mask_key(u_char **pos, u_char *last)
{
    u_char     *p, c;
    ngx_int_t   n;
    ngx_uint_t  i;

    p = *pos;

    for (i = 0; i < sizeof(NGX_HTTP_BROADCAST_MASK_NAME) - 1; i++) {

        if (p == last) {
            return 0;
        }

        c = *p++;

        if (c == '%' && last - p >= 2) {
            n = ngx_hextoi(p, 2);
            if (n == NGX_ERROR) {
                return 0;
            }

            c = (u_char) n;
            p += 2;
        }

        if (ngx_tolower(c) != (u_char) NGX_HTTP_BROADCAST_MASK_NAME[i]) {
            return 0;
        }
    }

    if (p == last || *p != '=') {
        return 0;
    }

    *pos = p + 1;

    return 1;
}


/* a name may begin at p */

static ngx_inline ngx_uint_t
ngx_http_broadcast_mask_begins(u_char *p, u_char *start)
{
    return p == start || p[-1] == '?' || p[-1] == '&' || p[-1] == '"'
           || p[-1] == '#';
}


/*
 * NGX_OK with the next value, *pos behind it; NGX_DONE: there is none.  Where
 * there is no '=' there is no value: most texts are done with one memchr().
 */

ngx_int_t
ngx_http_broadcast_mask_next(u_char **pos, u_char *start, u_char *last,
    ngx_str_t *value)
{
    u_char  *p, *equal, *first;

    for (p = *pos; p < last; p = equal + 1) {

        equal = memchr(p, '=', last - p);
        if (equal == NULL) {
            break;
        }

        first = *pos;

        /* the name ends with an "n" or "%6e" */

        if (equal == first
            || (ngx_tolower(equal[-1]) != 'n'
                && ngx_tolower(equal[-1]) != 'e'))
        {
            continue;
        }

        if (equal - first > NGX_HTTP_BROADCAST_MASK_ENCODED) {
            first = equal - NGX_HTTP_BROADCAST_MASK_ENCODED;
        }

        p = equal;

        while (p > first && !ngx_http_broadcast_mask_begins(p, start)) {
            p--;
        }

        if (!ngx_http_broadcast_mask_begins(p, start)
            || !ngx_http_broadcast_mask_key(&p, last))
        {
            continue;
        }

        value->data = p;
        value->len = ngx_http_broadcast_mask_end(p, last) - p;
        *pos = p + value->len;

        return NGX_OK;
    }

    return NGX_DONE;
}


/* by memchr(): tokens are long, and most of them end with the text */

static u_char *
ngx_http_broadcast_mask_end(u_char *start, u_char *last)
{
    u_char  *p, *end;

    end = memchr(start, '&', last - start);
    if (end == NULL) {
        end = last;
    }

    p = start;

    while ((p = memchr(p, '"', end - p)) != NULL) {

        if (p + 1 == last || p[1] == ',') {
            end = p;
            break;
        }

        p++;
    }

    p = start;

    while ((p = memchr(p, ' ', end - p)) != NULL) {

        if (last - p > 5 && ngx_strncmp(p + 1, "HTTP/", 5) == 0) {
            end = p;
            break;
        }

        p++;
    }

    return end;
}


/*
 * From the first value of src on, which stands before pos.  Never longer than
 * it was, so dst may be src; returns the new end.
 */

u_char *
ngx_http_broadcast_mask_write(u_char *dst, u_char *src, u_char *last,
    u_char *pos, ngx_str_t *value)
{
    size_t   n;
    u_char  *copied;

    copied = src;

    do {
        dst = ngx_movemem(dst, copied, value->data - copied);

        n = ngx_min(value->len, 3);
        ngx_memset(dst, '*', n);
        dst += n;

        copied = pos;

    } while (ngx_http_broadcast_mask_next(&pos, src, last, value) == NGX_OK);

    return ngx_movemem(dst, copied, last - copied);
}


ngx_int_t
ngx_http_broadcast_mask(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char     *p, *pos, *last;
    ngx_str_t   value;

    pos = text->data;

    if (pos == NULL) {
        return NGX_OK;
    }

    last = pos + text->len;

    if (ngx_http_broadcast_mask_next(&pos, pos, last, &value) != NGX_OK) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, text->len);
    if (p == NULL) {
        text->len = 0;
        return NGX_ERROR;
    }

    text->len = ngx_http_broadcast_mask_write(p, text->data, last, pos, &value)
                - p;
    text->data = p;

    return NGX_OK;
}


/* a part of what has one value, or none; the value may begin in it */

void
ngx_http_broadcast_mask_part(ngx_http_request_t *r, ngx_str_t *text,
    ngx_array_t *values)
{
    u_char     *p, *last;
    size_t      n, stars;
    ngx_str_t  *v;

    if (values->nelts == 0 || text->len == 0) {
        return;
    }

    v = values->elts;
    last = text->data + text->len;

    if (v->data < text->data || v->data >= last) {
        return;
    }

    p = ngx_pnalloc(r->pool, text->len);
    if (p == NULL) {
        text->len = 0;
        return;
    }

    n = ngx_min(v->len, (size_t) (last - v->data));
    stars = ngx_min(n, 3);

    last = ngx_cpymem(p, text->data, v->data - text->data);
    ngx_memset(last, '*', stars);
    last = ngx_cpymem(last + stars, v->data + n,
                      text->data + text->len - v->data - n);

    text->data = p;
    text->len = last - p;
}


/* adds the values in text, as they stand and decoded */

void
ngx_http_broadcast_mask_values(ngx_http_request_t *r, ngx_str_t *text,
    ngx_array_t *values)
{
    u_char     *p;
    ngx_str_t   value, *v;

    p = text->data;

    if (p == NULL) {
        return;
    }

    while (ngx_http_broadcast_mask_next(&p, text->data,
                                        text->data + text->len, &value)
           == NGX_OK)
    {
        if (value.len == 0) {
            continue;
        }

        v = ngx_array_push(values);
        if (v == NULL) {
            return;
        }

        *v = value;

        if (memchr(value.data, '%', value.len) == NULL) {
            continue;
        }

        if (ngx_broadcast_unescape(r->pool, &value, &value,
                                   NGX_BROADCAST_IN_QUERY)
            != NGX_OK)
        {
            continue;
        }

        v = ngx_array_push(values);
        if (v == NULL) {
            return;
        }

        *v = value;
    }
}


/* masks text that holds one of the values, wherever it came from */

void
ngx_http_broadcast_mask_value(ngx_http_request_t *r, ngx_str_t *text,
    ngx_array_t *values)
{
    u_char      *p, *last, *found, *dst;
    ngx_str_t   *v;
    ngx_uint_t   i;

    v = values->elts;

    for (i = 0; i < values->nelts; i++) {

        if (v[i].len > text->len) {
            continue;
        }

        if (v[i].len == text->len) {
            if (ngx_memcmp(v[i].data, text->data, text->len) == 0) {
                ngx_str_set(text, "***");
                return;
            }

            continue;
        }

        if (v[i].len < NGX_HTTP_BROADCAST_MASK_MIN) {
            continue;
        }

        p = text->data;
        last = p + text->len;

        if (ngx_http_broadcast_mask_find(p, last, &v[i]) == NULL) {
            continue;
        }

        dst = ngx_pnalloc(r->pool, text->len);
        if (dst == NULL) {
            text->len = 0;
            return;
        }

        text->data = dst;

        while ((found = ngx_http_broadcast_mask_find(p, last, &v[i]))
               != NULL)
        {
            dst = ngx_cpymem(dst, p, found - p);
            dst = ngx_cpymem(dst, "***", 3);
            p = found + v[i].len;
        }

        dst = ngx_cpymem(dst, p, last - p);
        text->len = dst - text->data;
    }

    (void) ngx_http_broadcast_mask(r->pool, text);
}


/* the first place of what in p..last, or NULL */

static u_char *
ngx_http_broadcast_mask_find(u_char *p, u_char *last, ngx_str_t *what)
{
    if (what->len == 0) {
        return NULL;
    }

    for ( /* void */ ; (size_t) (last - p) >= what->len; p++) {
        if (*p == *what->data
            && ngx_memcmp(p, what->data, what->len) == 0)
        {
            return p;
        }
    }

    return NULL;
}
