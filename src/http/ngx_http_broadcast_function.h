
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_FUNCTION_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_FUNCTION_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


#define NGX_HTTP_BROADCAST_ROLE_MAX  128    /* bytes of a binding's role */


typedef struct {
    ngx_str_t                 name;
    ngx_str_t                 path;        /* decoded, behind the name */
} ngx_http_broadcast_function_t;


/*
 * The answer {"status","headers","body"} of an SQL function, text of a jsonb;
 * empty: SQL null.  Returns what a content handler returns.
 */
ngx_int_t ngx_http_broadcast_function_answer(ngx_http_request_t *r,
    ngx_str_t *value);


#endif /* _NGX_HTTP_BROADCAST_FUNCTION_H_INCLUDED_ */
