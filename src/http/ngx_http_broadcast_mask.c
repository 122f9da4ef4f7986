
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The value of access_token in logs.
 *
 * Access logs: a handler that is the first of the log phase points what the
 * log modules read to masked copies.  The request is over by then; where it
 * is not, because a subrequest is logged, nothing is touched that the main
 * request still reads.
 *
 * Error logs: the text that nginx has made is masked where it stands.
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
static ngx_int_t ngx_http_broadcast_mask_next(u_char **pos, u_char *start,
    u_char *last, ngx_str_t *value);
static u_char *ngx_http_broadcast_mask_end(u_char *start, u_char *last);
static u_char *ngx_http_broadcast_mask_write(u_char *dst, u_char *src,
    u_char *last, u_char *pos, ngx_str_t *value);
static void ngx_http_broadcast_mask_request(ngx_http_request_t *r,
    ngx_array_t *values);
static void ngx_http_broadcast_mask_part(ngx_http_request_t *r,
    ngx_str_t *text, ngx_array_t *values);
static ngx_uint_t ngx_http_broadcast_mask_inside(ngx_str_t *text,
    ngx_str_t *whole);
static void ngx_http_broadcast_mask_values(ngx_http_request_t *r,
    ngx_str_t *text, ngx_array_t *values);
static void ngx_http_broadcast_mask_headers(ngx_http_request_t *r,
    ngx_list_t *headers);
static void ngx_http_broadcast_mask_variables(ngx_http_request_t *r,
    ngx_array_t *values);
static void ngx_http_broadcast_mask_value(ngx_http_request_t *r,
    ngx_str_t *text, ngx_array_t *values);
static u_char *ngx_http_broadcast_mask_find(u_char *p, u_char *last,
    ngx_str_t *what);
static u_char *ngx_http_broadcast_mask_error(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);


/* nginx's own handler, the same for all requests of a process */
static ngx_http_log_handler_pt  ngx_http_broadcast_mask_error_next;


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

static ngx_int_t
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

static u_char *
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


ngx_int_t
ngx_http_broadcast_mask_log_handler(ngx_http_request_t *r)
{
    u_char           *p;
    ngx_array_t       values;
    ngx_table_elt_t  *h;

    if (r->request_line.data == NULL && r->request_start) {

        /* refused before its request line was complete */

        for (p = r->request_start; p < r->header_in->last; p++) {
            if (*p == CR || *p == LF) {
                break;
            }
        }

        r->request_line.data = r->request_start;
        r->request_line.len = p - r->request_start;
    }

    if (ngx_array_init(&values, r->pool, 4, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_broadcast_mask_request(r, &values);

    if (r->headers_in.referer) {
        ngx_http_broadcast_mask_values(r, &r->headers_in.referer->value,
                                       &values);
    }

    if (r == r->main) {
        ngx_http_broadcast_mask_headers(r, &r->headers_in.headers);
        ngx_http_broadcast_mask_headers(r, &r->headers_out.headers);

        if (r->upstream) {
            ngx_http_broadcast_mask_headers(r,
                                         &r->upstream->headers_in.headers);
        }

    } else if (r->headers_in.referer) {

        h = ngx_palloc(r->pool, sizeof(ngx_table_elt_t));

        if (h) {
            *h = *r->headers_in.referer;
            (void) ngx_http_broadcast_mask(r->pool, &h->value);
        }

        r->headers_in.referer = h;
    }

    if (values.nelts) {
        ngx_http_broadcast_mask_variables(r, &values);
    }

    return NGX_OK;
}


/*
 * The request line and its parts, which are looked for values once: of an
 * HTTP/1.x request that was not rewritten URI and arguments stand in the line.
 */

static void
ngx_http_broadcast_mask_request(ngx_http_request_t *r, ngx_array_t *values)
{
    ngx_uint_t  inside;

    ngx_http_broadcast_mask_values(r, &r->request_line, values);

    inside = ngx_http_broadcast_mask_inside(&r->unparsed_uri,
                                            &r->request_line)
             && ngx_http_broadcast_mask_inside(&r->args, &r->request_line);

    if (inside && values->nelts <= 1) {
        ngx_http_broadcast_mask_part(r, &r->args, values);
        ngx_http_broadcast_mask_part(r, &r->unparsed_uri, values);
        ngx_http_broadcast_mask_part(r, &r->request_line, values);
        return;
    }

    if (!inside) {
        ngx_http_broadcast_mask_values(r, &r->unparsed_uri, values);
        ngx_http_broadcast_mask_values(r, &r->args, values);
    }

    (void) ngx_http_broadcast_mask(r->pool, &r->request_line);
    (void) ngx_http_broadcast_mask(r->pool, &r->unparsed_uri);
    (void) ngx_http_broadcast_mask(r->pool, &r->args);
}


/* a part of what has one value, or none; the value may begin in it */

static void
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


static ngx_uint_t
ngx_http_broadcast_mask_inside(ngx_str_t *text, ngx_str_t *whole)
{
    return text->len == 0
           || (text->data >= whole->data
               && text->data + text->len <= whole->data + whole->len);
}


/* adds the values in text, as they stand and decoded */

static void
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


static void
ngx_http_broadcast_mask_headers(ngx_http_request_t *r, ngx_list_t *headers)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &headers->part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        (void) ngx_http_broadcast_mask(r->pool, &h[i].value);
    }
}


/*
 * Variables that were evaluated before ("set", "map", rewrites) keep their
 * values, so those that hold a token are replaced, in an array of this
 * request's own: subrequests share theirs with the main request.
 */

static void
ngx_http_broadcast_mask_variables(ngx_http_request_t *r, ngx_array_t *values)
{
    ngx_str_t                   text;
    ngx_uint_t                  i, n;
    ngx_http_variable_value_t  *vv;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    n = cmcf->variables.nelts;

    if (r->variables == NULL || n == 0) {
        return;
    }

    vv = ngx_palloc(r->pool, n * sizeof(ngx_http_variable_value_t));
    if (vv == NULL) {
        return;
    }

    ngx_memcpy(vv, r->variables, n * sizeof(ngx_http_variable_value_t));
    r->variables = vv;

    for (i = 0; i < n; i++) {

        if (!vv[i].valid || vv[i].not_found || vv[i].len == 0) {
            continue;
        }

        text.data = vv[i].data;
        text.len = vv[i].len;

        ngx_http_broadcast_mask_value(r, &text, values);

        vv[i].data = text.data;
        vv[i].len = text.len;
    }
}


/* masks text that holds one of the values, wherever it came from */

static void
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


ngx_int_t
ngx_http_broadcast_mask_error_handler(ngx_http_request_t *r)
{
    if (r->log_handler != ngx_http_broadcast_mask_error) {
        ngx_http_broadcast_mask_error_next = r->log_handler;
        r->log_handler = ngx_http_broadcast_mask_error;
    }

    return NGX_DECLINED;
}


/*
 * ngx_log_error_core() gives the rest of its NGX_MAX_ERROR_STR bytes; in front
 * of buf stands the message, which may have the query too (rewrite_log).
 */

static u_char *
ngx_http_broadcast_mask_error(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char     *p, *pos, *start;
    ngx_str_t   value;

    p = ngx_http_broadcast_mask_error_next(r, sr, buf, len);

    start = (len <= NGX_MAX_ERROR_STR) ? buf + len - NGX_MAX_ERROR_STR : buf;
    pos = start;

    if (ngx_http_broadcast_mask_next(&pos, start, p, &value) != NGX_OK) {
        return p;
    }

    return ngx_http_broadcast_mask_write(start, start, p, pos, &value);
}
