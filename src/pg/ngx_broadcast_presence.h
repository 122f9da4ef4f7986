
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PRESENCE_H_INCLUDED_
#define _NGX_BROADCAST_PRESENCE_H_INCLUDED_


#include "pg/ngx_broadcast_call.h"


/* connections of the whole cluster, as broadcast.connections has them */

typedef struct {
    ngx_str_t                  hub;         /* lower case */
    ngx_str_t                  connection;  /* empty: any */
    ngx_str_t                  user;        /* empty: any */
    ngx_str_t                  after;       /* ids behind this one */
    ngx_uint_t                 elsewhere;   /* 1: none of this node's */
    ngx_uint_t                 max;
} ngx_broadcast_presence_ask_t;


typedef struct {
    ngx_str_t                  id;
    ngx_str_t                  user;        /* empty: none */
    ngx_str_t                  transport;   /* empty: not known */
    ngx_str_t                  connected;   /* ISO 8601, UTC */
} ngx_broadcast_present_t;


typedef struct {
    ngx_uint_t                 status;      /* NGX_BROADCAST_CALL_… */
    ngx_uint_t                 n;
    ngx_broadcast_present_t   *rows;        /* borrowed until return, in the
                                               order of their ids */
} ngx_broadcast_presence_t;

typedef void (*ngx_broadcast_presence_pt)(ngx_broadcast_presence_t *presence,
    void *data);


/* returns and calls as ngx_broadcast_call() does */
ngx_int_t ngx_broadcast_presence(ngx_broadcast_presence_ask_t *ask,
    ngx_broadcast_presence_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call);


#endif /* _NGX_BROADCAST_PRESENCE_H_INCLUDED_ */
