
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_RULE_H_INCLUDED_
#define _NGX_BROADCAST_RULE_H_INCLUDED_


#include "base/ngx_broadcast_name.h"
#include "shm/ngx_broadcast_record.h"


/*
 * A rule: until it expires, each connection of the user in the hub joins the
 * group when it connects.  JOIN and LEAVE records with the scope USER change
 * the rules when they are appended, under the same lock hold: so a connect has
 * a group either by the rule, or by the record, which then lies behind the log
 * head of its claim (ngx_broadcast_claimed_t).
 *
 * A user has at most 100 rules that were made without a ttl, and 1000 with
 * one; those that were updated last are kept.
 */

#define NGX_BROADCAST_RULES_LASTING  100
#define NGX_BROADCAST_RULES_TIMED    1000

#define NGX_BROADCAST_RULE_LASTS     31536000   /* seconds, without a ttl */


typedef struct {
    ngx_uint_t                hub;          /* index */
    ngx_str_t                 user;         /* 1..NGX_BROADCAST_USER_MAX */
    ngx_str_t                 group;        /* 1..NGX_BROADCAST_GROUP_BYTES */
    time_t                    expires;      /* wall clock, seconds */
    ngx_uint_t                lasting;      /* made without a ttl */
} ngx_broadcast_rule_t;


/*
 * For the relay, which reads them from the database; everybody else sends
 * records.  NGX_OK; NGX_BUSY: no room in the zone, counted.
 */
ngx_int_t ngx_broadcast_rule_set(ngx_broadcast_zone_t *zone,
    ngx_broadcast_rule_t *rule);

/*
 * Before and after the relay sets what the database has.  clear: takes a
 * bounded piece of the rules of durable hubs off, from *next on; *next is 0 at
 * the end.  loaded: records up to this place in the database's order have no
 * effect on them any more.
 */
void ngx_broadcast_rule_clear(ngx_broadcast_zone_t *zone, ngx_uint_t *next);
void ngx_broadcast_rule_loaded(ngx_broadcast_zone_t *zone, uint64_t relay);

/* 1 if there is such a rule, and when it expires unless that is NULL */
ngx_uint_t ngx_broadcast_rule_find(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_str_t *user, ngx_str_t *group, time_t *expires);

/* takes off rules whose time has come: a bounded piece per call */
void ngx_broadcast_rule_expire(ngx_broadcast_zone_t *zone, time_t now);


#endif /* _NGX_BROADCAST_RULE_H_INCLUDED_ */
