
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_filter_local.h"


static ngx_int_t ngx_broadcast_parser_string(ngx_broadcast_parser_t *p);


ngx_int_t
ngx_broadcast_parser_wrong(ngx_broadcast_parser_t *p, const char *error)
{
    u_char  *c;

    p->filter->error = error;
    p->filter->place = 1;

    for (c = p->start; c < p->at; c++) {
        if ((*c & 0xc0) != 0x80) {
            p->filter->place++;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_broadcast_parser_next(ngx_broadcast_parser_t *p)
{
    u_char  c;

    while (p->pos < p->last
           && (*p->pos == ' ' || *p->pos == '\t' || *p->pos == CR
               || *p->pos == LF))
    {
        p->pos++;
    }

    p->at = p->pos;
    p->text.data = p->pos;
    p->text.len = 0;

    if (p->pos == p->last) {
        p->type = NGX_BROADCAST_TOKEN_END;
        return NGX_OK;
    }

    c = *p->pos;

    if (c == '\'') {
        return ngx_broadcast_parser_string(p);
    }

    if (c == '(' || c == ')' || c == ',') {
        p->type = NGX_BROADCAST_TOKEN_SIGN;
        p->pos++;
        p->text.len = 1;
        return NGX_OK;
    }

    while (p->pos < p->last
           && ((*p->pos >= 'a' && *p->pos <= 'z')
               || (*p->pos >= 'A' && *p->pos <= 'Z')))
    {
        p->pos++;
    }

    if (p->pos == p->at) {
        return ngx_broadcast_parser_wrong(p, "this character was not "
                                          "expected");
    }

    p->type = NGX_BROADCAST_TOKEN_WORD;
    p->text.len = p->pos - p->at;

    return NGX_OK;
}


/* from quote to quote; two of them in it are one */

static ngx_int_t
ngx_broadcast_parser_string(ngx_broadcast_parser_t *p)
{
    u_char      *s, *d;
    ngx_uint_t   quotes;

    quotes = 0;

    for (s = p->pos + 1; s < p->last; s++) {

        if (*s != '\'') {
            continue;
        }

        if (s + 1 == p->last || s[1] != '\'') {
            break;
        }

        quotes++;
        s++;
    }

    if (s == p->last) {
        return ngx_broadcast_parser_wrong(p, "this string has no end");
    }

    p->type = NGX_BROADCAST_TOKEN_STRING;
    p->text.data = p->pos + 1;
    p->text.len = s - p->text.data;
    p->pos = s + 1;

    if (quotes == 0) {
        return NGX_OK;
    }

    d = ngx_pnalloc(p->pool, p->text.len);
    if (d == NULL) {
        return NGX_ERROR;
    }

    s = p->text.data;
    p->text.data = d;

    while (s < p->pos - 1) {
        s += (*s == '\'') ? 1 : 0;
        *d++ = *s++;
    }

    p->text.len -= quotes;

    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_parser_is(ngx_broadcast_parser_t *p, const char *word)
{
    return p->type == NGX_BROADCAST_TOKEN_WORD
           && p->text.len == ngx_strlen(word)
           && ngx_strncasecmp(p->text.data, (u_char *) word, p->text.len)
              == 0;
}


ngx_int_t
ngx_broadcast_parser_sign(ngx_broadcast_parser_t *p, u_char c,
    const char *error)
{
    if (p->type != NGX_BROADCAST_TOKEN_SIGN || p->text.data[0] != c) {
        return ngx_broadcast_parser_wrong(p, error);
    }

    return ngx_broadcast_parser_next(p);
}


ngx_int_t
ngx_broadcast_parser_put(ngx_broadcast_parser_t *p, ngx_uint_t op,
    ngx_str_t *text)
{
    ngx_broadcast_filter_term_t  *term;

    if (p->filter->nterms == NGX_BROADCAST_FILTER_TERMS) {
        return ngx_broadcast_parser_wrong(p, "it has more than 64 terms");
    }

    term = &p->filter->terms[p->filter->nterms++];

    term->op = op;
    term->group = 0;

    if (text) {
        term->text = *text;

    } else {
        ngx_str_null(&term->text);
    }

    return NGX_OK;
}
