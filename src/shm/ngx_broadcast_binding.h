
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_BINDING_H_INCLUDED_
#define _NGX_BROADCAST_BINDING_H_INCLUDED_


#include "shm/ngx_broadcast_hub.h"


/*
 * Which events have a function: read from the database by the relay, kept in
 * the zone, so that reloads and new workers have them and no call is made for
 * an event that nobody bound.  The table is replaced whole.  With more
 * bindings than rows it says "maybe" to everything.
 */

typedef enum {
    NGX_BROADCAST_ON_CONNECT = 0,
    NGX_BROADCAST_ON_CONNECTED,
    NGX_BROADCAST_ON_DISCONNECTED,
    NGX_BROADCAST_ON_MESSAGE,
    NGX_BROADCAST_ON_HTTP,
    NGX_BROADCAST_ON_TIMER,
    NGX_BROADCAST_ON_AFTER,
    NGX_BROADCAST_EVENTS
} ngx_broadcast_event_e;

typedef struct {
    ngx_uint_t              event;          /* NGX_BROADCAST_ON_… */
    ngx_str_t               hub;            /* empty: any */
    ngx_str_t               name;           /* of message or http, empty: any */
    ngx_str_t               role;           /* http: role needed, or empty */
} ngx_broadcast_binding_t;


/* NGX_DECLINED: there is no room for them all, or a name is too long */
ngx_int_t ngx_broadcast_binding_replace(ngx_broadcast_zone_t *zone,
    ngx_broadcast_binding_t *bindings, ngx_uint_t n);

/* 1 after the first replace: hubs with a database wait for it */
ngx_uint_t ngx_broadcast_binding_ready(ngx_broadcast_zone_t *zone);

/*
 * 1 if a function may be bound for it.  hub and name may be NULL (any).
 * Message names compare without case.  role, if not NULL, gets a copy of the
 * binding's role in the caller's 128 bytes.
 */
ngx_uint_t ngx_broadcast_binding_find(ngx_broadcast_zone_t *zone,
    ngx_uint_t event, ngx_str_t *hub, ngx_str_t *name, ngx_str_t *role);


#endif /* _NGX_BROADCAST_BINDING_H_INCLUDED_ */
