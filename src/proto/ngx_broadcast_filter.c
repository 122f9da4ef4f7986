
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "base/ngx_broadcast_name.h"
#include "base/ngx_broadcast_utf8.h"
#include "proto/ngx_broadcast_filter.h"


typedef enum {
    NGX_BROADCAST_FILTER_AND = 0,
    NGX_BROADCAST_FILTER_OR,
    NGX_BROADCAST_FILTER_NOT,
    NGX_BROADCAST_FILTER_USER,              /* equals */
    NGX_BROADCAST_FILTER_USER_STARTS,
    NGX_BROADCAST_FILTER_USER_NULL,
    NGX_BROADCAST_FILTER_ID,
    NGX_BROADCAST_FILTER_ID_STARTS,
    NGX_BROADCAST_FILTER_ID_NULL,           /* never */
    NGX_BROADCAST_FILTER_MEMBER
} ngx_broadcast_filter_op_e;

/* the others stand behind the first of a field */

#define NGX_BROADCAST_FILTER_STARTS  1
#define NGX_BROADCAST_FILTER_NULL    2


typedef enum {
    NGX_BROADCAST_TOKEN_END = 0,
    NGX_BROADCAST_TOKEN_WORD,
    NGX_BROADCAST_TOKEN_STRING,
    NGX_BROADCAST_TOKEN_SIGN                /* ( ) , */
} ngx_broadcast_token_e;


typedef struct {
    ngx_broadcast_filter_t       *filter;
    ngx_pool_t                   *pool;
    u_char                       *start;
    u_char                       *pos;      /* behind the token */
    u_char                       *last;
    ngx_uint_t                    depth;

    ngx_uint_t                    type;     /* of the token at hand */
    u_char                       *at;       /* where it begins */
    ngx_str_t                     text;     /* of a string: decoded */
} ngx_broadcast_parser_t;


static ngx_int_t ngx_broadcast_parser_wrong(ngx_broadcast_parser_t *p,
    const char *error);
static ngx_int_t ngx_broadcast_parser_next(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_string(ngx_broadcast_parser_t *p);
static ngx_uint_t ngx_broadcast_parser_is(ngx_broadcast_parser_t *p,
    const char *word);
static ngx_int_t ngx_broadcast_parser_sign(ngx_broadcast_parser_t *p,
    u_char c, const char *error);
static ngx_int_t ngx_broadcast_parser_put(ngx_broadcast_parser_t *p,
    ngx_uint_t op, ngx_str_t *text);
static ngx_int_t ngx_broadcast_parser_or(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_and(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_not(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_inner(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_starts(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_field(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_value(ngx_broadcast_parser_t *p);
static ngx_int_t ngx_broadcast_parser_member(ngx_broadcast_parser_t *p,
    ngx_str_t *group, u_char *at);
static ngx_int_t ngx_broadcast_parser_equal(ngx_broadcast_parser_t *p,
    ngx_uint_t *not);
static ngx_int_t ngx_broadcast_parser_name(ngx_broadcast_parser_t *p,
    ngx_uint_t *op);


ngx_int_t
ngx_broadcast_filter_parse(ngx_broadcast_filter_t *filter, ngx_str_t *text,
    ngx_pool_t *pool)
{
    ngx_int_t               rc;
    ngx_broadcast_parser_t  p;

    ngx_memzero(&p, sizeof(ngx_broadcast_parser_t));

    filter->nterms = 0;
    filter->ngroups = 0;
    filter->error = NULL;
    filter->place = 0;

    p.filter = filter;
    p.pool = pool;
    p.start = text->data;
    p.pos = text->data;
    p.at = text->data;
    p.last = text->data + text->len;

    if (!ngx_broadcast_utf8_valid(text)) {
        return ngx_broadcast_parser_wrong(&p, "text in UTF-8 was expected");
    }

    rc = ngx_broadcast_parser_next(&p);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_or(&p);
    }

    if (rc == NGX_OK && p.type != NGX_BROADCAST_TOKEN_END) {
        rc = ngx_broadcast_parser_wrong(&p, "\"and\", \"or\" or the end was "
                                        "expected");
    }

    return rc;
}


/* the token at hand is not what may stand there */

static ngx_int_t
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


static ngx_int_t
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


static ngx_uint_t
ngx_broadcast_parser_is(ngx_broadcast_parser_t *p, const char *word)
{
    return p->type == NGX_BROADCAST_TOKEN_WORD
           && p->text.len == ngx_strlen(word)
           && ngx_strncasecmp(p->text.data, (u_char *) word, p->text.len)
              == 0;
}


static ngx_int_t
ngx_broadcast_parser_sign(ngx_broadcast_parser_t *p, u_char c,
    const char *error)
{
    if (p->type != NGX_BROADCAST_TOKEN_SIGN || p->text.data[0] != c) {
        return ngx_broadcast_parser_wrong(p, error);
    }

    return ngx_broadcast_parser_next(p);
}


static ngx_int_t
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


static ngx_int_t
ngx_broadcast_parser_or(ngx_broadcast_parser_t *p)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_parser_and(p);

    while (rc == NGX_OK && ngx_broadcast_parser_is(p, "or")) {

        rc = ngx_broadcast_parser_next(p);

        if (rc == NGX_OK) {
            rc = ngx_broadcast_parser_and(p);
        }

        if (rc == NGX_OK) {
            rc = ngx_broadcast_parser_put(p, NGX_BROADCAST_FILTER_OR, NULL);
        }
    }

    return rc;
}


static ngx_int_t
ngx_broadcast_parser_and(ngx_broadcast_parser_t *p)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_parser_not(p);

    while (rc == NGX_OK && ngx_broadcast_parser_is(p, "and")) {

        rc = ngx_broadcast_parser_next(p);

        if (rc == NGX_OK) {
            rc = ngx_broadcast_parser_not(p);
        }

        if (rc == NGX_OK) {
            rc = ngx_broadcast_parser_put(p, NGX_BROADCAST_FILTER_AND, NULL);
        }
    }

    return rc;
}


/* the one place where it goes deeper */

static ngx_int_t
ngx_broadcast_parser_not(ngx_broadcast_parser_t *p)
{
    ngx_int_t   rc;
    ngx_uint_t  not;

    if (p->type == NGX_BROADCAST_TOKEN_STRING) {
        return ngx_broadcast_parser_value(p);
    }

    not = ngx_broadcast_parser_is(p, "not");

    if (!not
        && (p->type != NGX_BROADCAST_TOKEN_SIGN || p->text.data[0] != '('))
    {
        return ngx_broadcast_parser_is(p, "startswith")
               ? ngx_broadcast_parser_starts(p)
               : ngx_broadcast_parser_field(p);
    }

    if (p->depth == NGX_BROADCAST_FILTER_DEPTH) {
        return ngx_broadcast_parser_wrong(p, "it is nested too deeply");
    }

    rc = ngx_broadcast_parser_next(p);

    if (rc != NGX_OK) {
        return rc;
    }

    p->depth++;

    if (not) {
        rc = ngx_broadcast_parser_not(p);

        if (rc == NGX_OK) {
            rc = ngx_broadcast_parser_put(p, NGX_BROADCAST_FILTER_NOT, NULL);
        }

    } else {
        rc = ngx_broadcast_parser_inner(p);
    }

    p->depth--;

    return rc;
}


static ngx_int_t
ngx_broadcast_parser_inner(ngx_broadcast_parser_t *p)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_parser_or(p);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_broadcast_parser_sign(p, ')', "\")\" was expected");
}


/* startswith(field,'text') */

static ngx_int_t
ngx_broadcast_parser_starts(ngx_broadcast_parser_t *p)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  op;

    op = 0;

    rc = ngx_broadcast_parser_next(p);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_sign(p, '(', "\"(\" was expected");
    }

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_name(p, &op);
    }

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_sign(p, ',', "\",\" was expected");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (p->type != NGX_BROADCAST_TOKEN_STRING) {
        return ngx_broadcast_parser_wrong(p, "a string in single quotes was "
                                          "expected");
    }

    text = p->text;

    rc = ngx_broadcast_parser_next(p);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_put(p, op + NGX_BROADCAST_FILTER_STARTS,
                                      &text);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_broadcast_parser_sign(p, ')', "\")\" was expected");
}


/* field eq 'text', field eq null */

static ngx_int_t
ngx_broadcast_parser_field(ngx_broadcast_parser_t *p)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  op, not;

    op = 0;
    not = 0;

    rc = ngx_broadcast_parser_name(p, &op);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_equal(p, &not);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    text = p->text;

    if (ngx_broadcast_parser_is(p, "null")) {
        op += NGX_BROADCAST_FILTER_NULL;

    } else if (p->type != NGX_BROADCAST_TOKEN_STRING) {
        return ngx_broadcast_parser_wrong(p, "a string in single quotes or "
                                          "null was expected");
    }

    rc = ngx_broadcast_parser_next(p);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_put(p, op, &text);
    }

    if (rc == NGX_OK && not) {
        rc = ngx_broadcast_parser_put(p, NGX_BROADCAST_FILTER_NOT, NULL);
    }

    return rc;
}


/* 'text' in groups, 'text' eq field */

static ngx_int_t
ngx_broadcast_parser_value(ngx_broadcast_parser_t *p)
{
    u_char      *at;
    ngx_int_t    rc;
    ngx_str_t    text;
    ngx_uint_t   op, not;

    at = p->at;
    text = p->text;
    op = 0;
    not = 0;

    rc = ngx_broadcast_parser_next(p);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_broadcast_parser_is(p, "in")) {
        return ngx_broadcast_parser_member(p, &text, at);
    }

    if (!ngx_broadcast_parser_is(p, "eq")
        && !ngx_broadcast_parser_is(p, "ne"))
    {
        return ngx_broadcast_parser_wrong(p, "\"in\", \"eq\" or \"ne\" was "
                                          "expected");
    }

    rc = ngx_broadcast_parser_equal(p, &not);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_name(p, &op);
    }

    if (rc == NGX_OK) {
        rc = ngx_broadcast_parser_put(p, op, &text);
    }

    if (rc == NGX_OK && not) {
        rc = ngx_broadcast_parser_put(p, NGX_BROADCAST_FILTER_NOT, NULL);
    }

    return rc;
}


/* at "in"; the group stood at `at` */

static ngx_int_t
ngx_broadcast_parser_member(ngx_broadcast_parser_t *p, ngx_str_t *group,
    u_char *at)
{
    ngx_int_t                rc;
    ngx_uint_t               i;
    ngx_broadcast_filter_t  *filter;

    rc = ngx_broadcast_parser_next(p);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!ngx_broadcast_parser_is(p, "groups")) {
        return ngx_broadcast_parser_wrong(p, "\"groups\" was expected");
    }

    rc = ngx_broadcast_parser_next(p);

    if (rc != NGX_OK) {
        return rc;
    }

    filter = p->filter;

    for (i = 0; i < filter->ngroups; i++) {
        if (filter->groups[i].len == group->len
            && ngx_memcmp(filter->groups[i].data, group->data, group->len)
               == 0)
        {
            break;
        }
    }

    if (i == filter->ngroups) {

        p->at = at;

        if (ngx_broadcast_group_name(group) != NGX_OK) {
            return ngx_broadcast_parser_wrong(p, "this is no name of a group");
        }

        if (i == NGX_BROADCAST_FILTER_GROUPS) {
            return ngx_broadcast_parser_wrong(p, "it names more than 32 "
                                              "groups");
        }

        filter->groups[filter->ngroups++] = *group;
    }

    rc = ngx_broadcast_parser_put(p, NGX_BROADCAST_FILTER_MEMBER, NULL);

    if (rc == NGX_OK) {
        filter->terms[filter->nterms - 1].group = i;
    }

    return rc;
}


static ngx_int_t
ngx_broadcast_parser_equal(ngx_broadcast_parser_t *p, ngx_uint_t *not)
{
    *not = ngx_broadcast_parser_is(p, "ne");

    if (!*not && !ngx_broadcast_parser_is(p, "eq")) {
        return ngx_broadcast_parser_wrong(p, "\"eq\" or \"ne\" was expected");
    }

    return ngx_broadcast_parser_next(p);
}


/* *op: that of the field's equality */

static ngx_int_t
ngx_broadcast_parser_name(ngx_broadcast_parser_t *p, ngx_uint_t *op)
{
    if (ngx_broadcast_parser_is(p, "userId")) {
        *op = NGX_BROADCAST_FILTER_USER;

    } else if (ngx_broadcast_parser_is(p, "connectionId")) {
        *op = NGX_BROADCAST_FILTER_ID;

    } else {
        return ngx_broadcast_parser_wrong(p, "userId, connectionId or a test "
                                          "of them was expected");
    }

    return ngx_broadcast_parser_next(p);
}


/* values are the bits of `stack`, the newest the lowest one */

ngx_uint_t
ngx_broadcast_filter_match(ngx_broadcast_filter_t *filter, ngx_str_t *id,
    ngx_str_t *user, uint32_t groups)
{
    uint64_t                      stack, top;
    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_broadcast_filter_term_t  *term;

    stack = 1;

    for (i = 0; i < filter->nterms; i++) {

        term = &filter->terms[i];
        top = 0;
        value = (term->op < NGX_BROADCAST_FILTER_ID) ? user : id;

        switch (term->op) {

        case NGX_BROADCAST_FILTER_AND:
            top = stack & (stack >> 1) & 1;
            stack >>= 2;
            break;

        case NGX_BROADCAST_FILTER_OR:
            top = (stack | (stack >> 1)) & 1;
            stack >>= 2;
            break;

        case NGX_BROADCAST_FILTER_NOT:
            top = ~stack & 1;
            stack >>= 1;
            break;

        case NGX_BROADCAST_FILTER_USER:
        case NGX_BROADCAST_FILTER_ID:
            top = value->len && value->len == term->text.len
                  && ngx_memcmp(value->data, term->text.data, value->len)
                     == 0;
            break;

        case NGX_BROADCAST_FILTER_USER_STARTS:
        case NGX_BROADCAST_FILTER_ID_STARTS:
            top = value->len && value->len >= term->text.len
                  && ngx_memcmp(value->data, term->text.data, term->text.len)
                     == 0;
            break;

        case NGX_BROADCAST_FILTER_USER_NULL:
            top = (user->len == 0);
            break;

        case NGX_BROADCAST_FILTER_MEMBER:
            top = (groups >> term->group) & 1;
            break;
        }

        stack = (stack << 1) | top;
    }

    return stack & 1;
}
