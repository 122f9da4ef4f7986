
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_filter_local.h"


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
