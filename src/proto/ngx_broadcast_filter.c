
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "base/ngx_broadcast_name.h"
#include "base/ngx_broadcast_utf8.h"
#include "proto/ngx_broadcast_filter_local.h"


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
