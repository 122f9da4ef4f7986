
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_HUB_H_INCLUDED_
#define _NGX_BROADCAST_HUB_H_INCLUDED_


#include "shm/ngx_broadcast_zone.h"


/*
 * Hub rows: a fixed table, never freed (names come from configuration, from
 * tokens and from the database, so they are few).  A hub is known by its
 * index.  Names are lower case and checked by the caller.
 */

#define NGX_BROADCAST_HUB_NONE   ((ngx_uint_t) -1)

#define NGX_BROADCAST_WEBSOCKET  0
#define NGX_BROADCAST_SSE        1
#define NGX_BROADCAST_LONGPOLL   2
#define NGX_BROADCAST_TRANSPORTS 3

/* where a message came from: label `source` of published_total */

#define NGX_BROADCAST_SRC_SQL       0
#define NGX_BROADCAST_SRC_REST      1
#define NGX_BROADCAST_SRC_PUBLISH   2
#define NGX_BROADCAST_SRC_CLIENT    3
#define NGX_BROADCAST_SRC_FUNCTION  4
#define NGX_BROADCAST_SRC_NOTIFY    5
#define NGX_BROADCAST_SOURCES       6

#define NGX_BROADCAST_EPOCH_LEN  16     /* hexadecimal digits, no more */


typedef struct {
    uint64_t                epoch;      /* 0: no number given yet */
    uint64_t                seq;        /* of the newest message */
} ngx_broadcast_position_t;


typedef struct {
    u_char                    name[128];
    size_t                    len;
    ngx_uint_t                durable;
    ngx_broadcast_position_t  position;
    ngx_uint_t                connections[NGX_BROADCAST_TRANSPORTS];
    ngx_uint_t                users;
    ngx_uint_t                groups;
    uint64_t                  published[NGX_BROADCAST_SOURCES];
    uint64_t                  delivered[NGX_BROADCAST_TRANSPORTS];
} ngx_broadcast_hub_info_t;


/*
 * Finds or makes the row of a hub.  An ephemeral hub's epoch is the zone's
 * random one and its seq starts at 0; a durable hub has epoch 0 until the
 * relay sets it.  NGX_BUSY when the table is full (counted).
 */
ngx_int_t ngx_broadcast_hub_get(ngx_broadcast_zone_t *zone, ngx_str_t *name,
    ngx_uint_t durable, ngx_uint_t *hub);

/* finds only; NGX_DECLINED if there is none */
ngx_int_t ngx_broadcast_hub_find(ngx_broadcast_zone_t *zone, ngx_str_t *name,
    ngx_uint_t *hub);

/*
 * A new configuration's word on the hub's kind.  One that becomes ephemeral
 * has a new epoch: the numbers it gives are not the database's.  One that
 * becomes durable keeps its own until the relay comes with the database's.
 */
void ngx_broadcast_hub_set_durable(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_uint_t durable);

ngx_uint_t ngx_broadcast_hub_count(ngx_broadcast_zone_t *zone);
void ngx_broadcast_hub_info(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_broadcast_hub_info_t *info);

/* newest position, consistent (both words of one moment) */
void ngx_broadcast_hub_position(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_broadcast_position_t *position);

/* the relay's: position of a durable hub as read from the database */
void ngx_broadcast_hub_set_position(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_broadcast_position_t *position);

/* atomic, no lock */
void ngx_broadcast_hub_delivered(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_uint_t transport, ngx_uint_t n);

/*
 * `epoch-seq` in text: epoch in lower-case hexadecimal, seq in decimal.
 * print needs NGX_BROADCAST_POSITION_LEN bytes and returns the end; parse is
 * strict: NGX_ERROR for anything else.  Neither touches the zone.
 */
#define NGX_BROADCAST_POSITION_LEN                                            \
    (NGX_BROADCAST_EPOCH_LEN + 1 + NGX_INT64_LEN)

u_char *ngx_broadcast_position_print(u_char *p,
    ngx_broadcast_position_t *position);
ngx_int_t ngx_broadcast_position_parse(ngx_str_t *text,
    ngx_broadcast_position_t *position);

/*
 * The same of a text that may have a suffix, from a "." on: what the database
 * saw beyond the number.  Borrowed from the text, empty if there is none; only
 * its characters and its length are checked.
 */
#define NGX_BROADCAST_SUFFIX_LEN  1001

ngx_int_t ngx_broadcast_position_split(ngx_str_t *text,
    ngx_broadcast_position_t *position, ngx_str_t *suffix);


#endif /* _NGX_BROADCAST_HUB_H_INCLUDED_ */
