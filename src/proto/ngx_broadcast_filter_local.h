
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_FILTER_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_FILTER_LOCAL_H_INCLUDED_


#include "proto/ngx_broadcast_filter.h"


/* what the files of the filter have in common; for them only */

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


/*
 * The next token is put at hand.  NGX_OK; NGX_DECLINED: there can be none of
 * that kind; NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_parser_next(ngx_broadcast_parser_t *p);

/* NGX_DECLINED: the token at hand is not what may stand there */
ngx_int_t ngx_broadcast_parser_wrong(ngx_broadcast_parser_t *p,
    const char *error);

/* 1 if it is that word */
ngx_uint_t ngx_broadcast_parser_is(ngx_broadcast_parser_t *p,
    const char *word);

/* goes on behind the sign, or is wrong */
ngx_int_t ngx_broadcast_parser_sign(ngx_broadcast_parser_t *p, u_char c,
    const char *error);

/* one more term, or too many */
ngx_int_t ngx_broadcast_parser_put(ngx_broadcast_parser_t *p, ngx_uint_t op,
    ngx_str_t *text);


#endif /* _NGX_BROADCAST_FILTER_LOCAL_H_INCLUDED_ */
