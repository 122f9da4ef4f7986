
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_scan_local.h"

#include "base/ngx_broadcast_utf8.h"


static void ngx_broadcast_scan_blank(ngx_broadcast_scan_t *s);
static ngx_int_t ngx_broadcast_scan_fail(ngx_broadcast_scan_t *s,
    const char *error);
static ngx_int_t ngx_broadcast_scan_scalar(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_scan_key(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_scan_text(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_scan_escape(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_scan_number(ngx_broadcast_scan_t *s);
static ngx_int_t ngx_broadcast_scan_digits(ngx_broadcast_scan_t *s);
static ngx_int_t ngx_broadcast_scan_literal(ngx_broadcast_scan_t *s,
    const char *literal, size_t len);
static ngx_int_t ngx_broadcast_scan_step(ngx_broadcast_scan_t *s,
    u_char bracket);


void
ngx_broadcast_scan_init(ngx_broadcast_scan_t *s, const ngx_str_t *text)
{
    s->pos = text->data;
    s->last = text->len ? text->data + text->len : text->data;
    s->error = NULL;
    s->first = 0;
    s->deep = 0;
}


/*
 * The open brackets are a stack of bits, 1 for an object, the innermost
 * lowest: this is where the depth limit comes from.
 *
 *                 [ ->  first_element --value--> after
 *   value  -->    { ->  first_key ----key-----> value
 *                 scalar, ], } -> after; done at depth 0
 *   after  -->    , ->  key in an object, value in an array
 */

ngx_int_t
ngx_broadcast_scan_value(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v)
{
    u_char      c, *start;
    uint64_t    stack;
    ngx_uint_t  depth;
    enum {
        sw_value = 0,
        sw_first_element,
        sw_first_key,
        sw_key,
        sw_after
    } state;

    ngx_broadcast_scan_blank(s);

    ngx_memzero(v, sizeof(ngx_broadcast_scan_value_t));

    start = s->pos;
    v->text.data = start;
    stack = 0;
    depth = 0;
    state = sw_value;

    do {
        ngx_broadcast_scan_blank(s);

        if (s->pos == s->last) {
            return ngx_broadcast_scan_fail(s, "JSON text ends too early");
        }

        c = *s->pos;

        if ((state == sw_first_element && c == ']')
            || (state == sw_first_key && c == '}')
            || (state == sw_after && c == ((stack & 1) ? '}' : ']')))
        {
            s->pos++;
            stack >>= 1;
            depth--;
            state = sw_after;
            continue;
        }

        switch (state) {

        case sw_value:
        case sw_first_element:

            if (c != '[' && c != '{') {
                if (ngx_broadcast_scan_scalar(s, v) != NGX_OK) {
                    return NGX_ERROR;
                }

                state = sw_after;
                break;
            }

            if (depth == NGX_BROADCAST_SCAN_DEPTH) {
                s->deep = 1;
                return ngx_broadcast_scan_fail(s, NGX_BROADCAST_SCAN_TOO_DEEP);
            }

            s->pos++;
            stack = (stack << 1) | (c == '{');
            depth++;
            v->levels = ngx_max(v->levels, depth);
            state = (c == '{') ? sw_first_key : sw_first_element;
            break;

        case sw_first_key:
        case sw_key:

            if (ngx_broadcast_scan_key(s, v) != NGX_OK) {
                return NGX_ERROR;
            }

            state = sw_value;
            break;

        case sw_after:

            if (c != ',') {
                return ngx_broadcast_scan_fail(s, "JSON text lacks a comma or "
                                                  "a closing bracket");
            }

            s->pos++;
            state = (stack & 1) ? sw_key : sw_value;
            break;
        }

    } while (depth || state != sw_after);

    v->text.len = s->pos - start;

    /* what is inside has left its own type */

    if (*start == '{') {
        v->type = NGX_BROADCAST_SCAN_OBJECT;

    } else if (*start == '[') {
        v->type = NGX_BROADCAST_SCAN_ARRAY;
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_scan_end(ngx_broadcast_scan_t *s)
{
    ngx_broadcast_scan_blank(s);

    if (s->pos != s->last) {
        return ngx_broadcast_scan_fail(s, "something follows the JSON text");
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_scan_document(const ngx_str_t *text,
    ngx_broadcast_scan_value_t *v, const char **error)
{
    ngx_broadcast_scan_t  s;

    ngx_broadcast_scan_init(&s, text);

    if (ngx_broadcast_scan_value(&s, v) != NGX_OK
        || ngx_broadcast_scan_end(&s) != NGX_OK)
    {
        if (error) {
            *error = s.error;
        }

        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_scan_open(ngx_broadcast_scan_t *s, u_char bracket)
{
    ngx_broadcast_scan_blank(s);

    if (s->pos == s->last || *s->pos != bracket) {
        return NGX_DECLINED;
    }

    s->pos++;
    s->first = 1;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_scan_member(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *key, ngx_broadcast_scan_value_t *v)
{
    u_char     *start;
    ngx_int_t   rc;

    rc = ngx_broadcast_scan_step(s, '}');

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(key, sizeof(ngx_broadcast_scan_value_t));

    start = s->pos;

    if (ngx_broadcast_scan_key(s, key) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the key ends where its blanks and the colon begin */

    key->type = NGX_BROADCAST_SCAN_STRING;
    key->text.data = start;

    return ngx_broadcast_scan_value(s, v);
}


ngx_int_t
ngx_broadcast_scan_element(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_scan_step(s, ']');

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_broadcast_scan_value(s, v);
}


static void
ngx_broadcast_scan_blank(ngx_broadcast_scan_t *s)
{
    u_char  *p;

    for (p = s->pos; p < s->last; p++) {
        if (*p != ' ' && *p != '\t' && *p != CR && *p != LF) {
            break;
        }
    }

    s->pos = p;
}


static ngx_int_t
ngx_broadcast_scan_fail(ngx_broadcast_scan_t *s, const char *error)
{
    s->error = error;

    return NGX_ERROR;
}


/* at s->pos is a byte, not white space and no opening bracket */

static ngx_int_t
ngx_broadcast_scan_scalar(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v)
{
    switch (*s->pos) {

    case '"':
        v->type = NGX_BROADCAST_SCAN_STRING;
        return ngx_broadcast_scan_text(s, v);

    case 't':
        v->type = NGX_BROADCAST_SCAN_TRUE;
        return ngx_broadcast_scan_literal(s, "true", sizeof("true") - 1);

    case 'f':
        v->type = NGX_BROADCAST_SCAN_FALSE;
        return ngx_broadcast_scan_literal(s, "false", sizeof("false") - 1);

    case 'n':
        v->type = NGX_BROADCAST_SCAN_NULL;
        return ngx_broadcast_scan_literal(s, "null", sizeof("null") - 1);

    default:
        v->type = NGX_BROADCAST_SCAN_NUMBER;
        return ngx_broadcast_scan_number(s);
    }
}


/* a name and its colon; the length of the name goes to v->text.len */

static ngx_int_t
ngx_broadcast_scan_key(ngx_broadcast_scan_t *s, ngx_broadcast_scan_value_t *v)
{
    u_char  *start;

    start = s->pos;

    if (*s->pos != '"') {
        return ngx_broadcast_scan_fail(s, "JSON text lacks a name in quotes");
    }

    if (ngx_broadcast_scan_text(s, v) != NGX_OK) {
        return NGX_ERROR;
    }

    v->text.len = s->pos - start;

    ngx_broadcast_scan_blank(s);

    if (s->pos == s->last || *s->pos != ':') {
        return ngx_broadcast_scan_fail(s, "JSON text lacks a colon");
    }

    s->pos++;

    return NGX_OK;
}


/* a string from its opening to behind its closing quote */

static ngx_int_t
ngx_broadcast_scan_text(ngx_broadcast_scan_t *s, ngx_broadcast_scan_value_t *v)
{
    u_char  *p;
    size_t   n;

    s->pos++;

    for ( ;; ) {

        p = ngx_broadcast_scan_run(s->pos, s->last);

        s->pos = p;

        if (p == s->last) {
            return ngx_broadcast_scan_fail(s, "JSON string does not end");
        }

        if (*p == '"') {
            s->pos++;
            return NGX_OK;
        }

        if (*p == '\\') {
            if (ngx_broadcast_scan_escape(s, v) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (*p < 0x20) {
            return ngx_broadcast_scan_fail(s, "JSON string has a control "
                                              "character");
        }

        if (*p == 0x7f) {
            s->pos++;
            continue;
        }

        n = ngx_broadcast_utf8_char(p, s->last);

        if (n == 0) {
            return ngx_broadcast_scan_fail(s, "JSON string is not UTF-8");
        }

        s->pos += n;
    }
}


static ngx_int_t
ngx_broadcast_scan_escape(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v)
{
    u_char     *p;
    ngx_int_t   code, low;

    v->escaped = 1;

    p = s->pos + 1;

    if (p == s->last) {
        return ngx_broadcast_scan_fail(s, "JSON string does not end");
    }

    switch (*p++) {

    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        s->pos = p;
        return NGX_OK;

    case 'u':
        break;

    default:
        return ngx_broadcast_scan_fail(s, "JSON string has an unknown escape");
    }

    code = (s->last - p < 4) ? NGX_ERROR : ngx_hextoi(p, 4);

    if (code == NGX_ERROR) {
        return ngx_broadcast_scan_fail(s, "JSON string has \\u without four "
                                          "hexadecimal digits");
    }

    p += 4;
    s->pos = p;

    if (code == 0) {
        v->nul = 1;
    }

    if (code < 0xd800 || code > 0xdfff) {
        return NGX_OK;
    }

    if (code < 0xdc00 && s->last - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        low = ngx_hextoi(p + 2, 4);

        if (low >= 0xdc00 && low <= 0xdfff) {
            s->pos = p + 6;
            return NGX_OK;
        }
    }

    v->lone = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_scan_number(ngx_broadcast_scan_t *s)
{
    if (*s->pos == '-') {
        s->pos++;
    }

    if (s->pos < s->last && *s->pos == '0') {
        s->pos++;

    } else if (ngx_broadcast_scan_digits(s) != NGX_OK) {
        return NGX_ERROR;
    }

    if (s->pos < s->last && *s->pos == '.') {
        s->pos++;

        if (ngx_broadcast_scan_digits(s) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (s->pos < s->last && (*s->pos == 'e' || *s->pos == 'E')) {
        s->pos++;

        if (s->pos < s->last && (*s->pos == '+' || *s->pos == '-')) {
            s->pos++;
        }

        return ngx_broadcast_scan_digits(s);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_scan_digits(ngx_broadcast_scan_t *s)
{
    u_char  *start;

    start = s->pos;

    while (s->pos < s->last && *s->pos >= '0' && *s->pos <= '9') {
        s->pos++;
    }

    if (s->pos == start) {
        return ngx_broadcast_scan_fail(s, "JSON text has an invalid value");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_scan_literal(ngx_broadcast_scan_t *s, const char *literal,
    size_t len)
{
    if ((size_t) (s->last - s->pos) < len
        || ngx_memcmp(s->pos, literal, len) != 0)
    {
        return ngx_broadcast_scan_fail(s, "JSON text has an invalid value");
    }

    s->pos += len;

    return NGX_OK;
}


/* to the next member or element: OK, DONE behind the bracket, ERROR */

static ngx_int_t
ngx_broadcast_scan_step(ngx_broadcast_scan_t *s, u_char bracket)
{
    ngx_broadcast_scan_blank(s);

    if (s->pos == s->last) {
        return ngx_broadcast_scan_fail(s, "JSON text ends too early");
    }

    if (*s->pos == bracket) {
        s->pos++;
        return NGX_DONE;
    }

    if (s->first) {
        s->first = 0;
        return NGX_OK;
    }

    if (*s->pos != ',') {
        return ngx_broadcast_scan_fail(s, "JSON text lacks a comma or a "
                                          "closing bracket");
    }

    s->pos++;

    ngx_broadcast_scan_blank(s);

    if (s->pos == s->last) {
        return ngx_broadcast_scan_fail(s, "JSON text ends too early");
    }

    return NGX_OK;
}
