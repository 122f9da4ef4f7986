
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_API_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_API_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


/* what an operation of the REST API is about: the path without its verb */

typedef enum {
    NGX_HTTP_BROADCAST_API_NOTHING = 0,
    NGX_HTTP_BROADCAST_API_HEALTH,         /* health */
    NGX_HTTP_BROADCAST_API_HUB,            /* hubs/{hub} */
    NGX_HTTP_BROADCAST_API_CONNECTION,     /* …/connections/{c} */
    NGX_HTTP_BROADCAST_API_CONNECTION_GROUPS,  /* …/connections/{c}/groups */
    NGX_HTTP_BROADCAST_API_GROUP,          /* …/groups/{g} */
    NGX_HTTP_BROADCAST_API_USER,           /* …/users/{u} */
    NGX_HTTP_BROADCAST_API_MEMBER          /* …/groups/{g}/connections/{c},
                                              …/connections/{c}/groups/{g} */
} ngx_http_broadcast_api_what_e;

typedef enum {
    NGX_HTTP_BROADCAST_API_NO_VERB = 0,
    NGX_HTTP_BROADCAST_API_SEND,           /* :send */
    NGX_HTTP_BROADCAST_API_CLOSE,          /* :closeConnections */
    NGX_HTTP_BROADCAST_API_UNKNOWN
} ngx_http_broadcast_api_verb_e;


/* in r->pool; the strings are decoded */

typedef struct {
    ngx_uint_t                 what;
    ngx_uint_t                 verb;
    ngx_uint_t                 v1;         /* below v1/ */

    ngx_str_t                  hub;        /* lower case, with application */
    ngx_str_t                  connection;
    ngx_str_t                  group;
    ngx_str_t                  user;

    ngx_str_t                  excluded;   /* ids joined by ',' */
    ngx_str_t                  reason;
    ngx_uint_t                 status;     /* of the answer */
} ngx_http_broadcast_api_t;


/*
 * NGX_OK; NGX_DECLINED: no such path (404); NGX_ABORT: a bad name, *error is
 * the sentence; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_broadcast_api_parse(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error);

/* query: application, excluded, reason; returns as parse does */
ngx_int_t ngx_http_broadcast_api_query(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error);

/* the operation; a content handler's return */
ngx_int_t ngx_http_broadcast_api_run(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);


#endif /* _NGX_HTTP_BROADCAST_API_H_INCLUDED_ */
