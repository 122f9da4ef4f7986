
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_FUNCTION_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_FUNCTION_H_INCLUDED_


#include "http/ngx_http_broadcast.h"
#include "proto/ngx_broadcast_scan.h"


#define NGX_HTTP_BROADCAST_ROLE_MAX  128    /* bytes of a binding's role */


typedef struct {
    ngx_str_t                 name;
    ngx_str_t                 path;        /* decoded, behind the name */
    ngx_str_t                 role;        /* that its binding needs, and the
                                              token has */
} ngx_http_broadcast_function_t;


/* the members of an answer that are nginx's to send */

typedef struct {
    ngx_uint_t                  status;
    const char                 *type;
    ngx_str_t                   body;
    ngx_broadcast_scan_value_t  headers;
    ngx_array_t                 fields;    /* of ngx_keyval_t, checked */
    ngx_uint_t                  shaped;    /* it has one of the members */
    const char                 *wrong;     /* why it was declined */
} ngx_http_broadcast_reply_t;


/*
 * The answer {"status","headers","body"} of an SQL function, text of a jsonb;
 * empty: SQL null.  Returns what a content handler returns.
 */
ngx_int_t ngx_http_broadcast_function_answer(ngx_http_request_t *r,
    ngx_str_t *value);


/* ngx_http_broadcast_function_header.c */

/*
 * Checks reply->headers, against the body too, and takes them into
 * reply->fields and type: NGX_OK, NGX_DECLINED with reply->wrong, NGX_ERROR:
 * no memory.
 */
ngx_int_t ngx_http_broadcast_reply_headers(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply);

/* makes reply->fields headers of the response; NGX_ERROR: no memory */
ngx_int_t ngx_http_broadcast_reply_send(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply);


#endif /* _NGX_HTTP_BROADCAST_FUNCTION_H_INCLUDED_ */
