
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_REGISTRY_H_INCLUDED_
#define _NGX_BROADCAST_REGISTRY_H_INCLUDED_


#include "base/ngx_broadcast_name.h"
#include "shm/ngx_broadcast_slot.h"
#include "shm/ngx_broadcast_hub.h"


/*
 * A row a connection:
 *
 *   FREE -> LIVE -> GONE -> FREE           no event owed
 *   FREE -> LIVE -> UNSETTLED -> GONE -> FREE    `disconnected` owed
 *
 * GONE is a tombstone: until `expires` the id cannot be claimed again.  The
 * row of a dead worker is turned by the sweep as its owner would have done.
 * Whether an event is owed is looked at when the row ends.
 */

typedef enum {
    NGX_BROADCAST_ROW_FREE = 0,
    NGX_BROADCAST_ROW_LIVE,
    NGX_BROADCAST_ROW_UNSETTLED,
    NGX_BROADCAST_ROW_GONE
} ngx_broadcast_row_state_e;

#define NGX_BROADCAST_CONN_ID_MAX   48


/* is `disconnected` owed when it ends, and what proves that it came once */

typedef enum {
    NGX_BROADCAST_OWED_NOT = 0,
    NGX_BROADCAST_OWED_BACK,            /* if the database is there then: it
                                           was away when the connection came */
    NGX_BROADCAST_OWED_MAYBE,           /* the database may have no row of it:
                                           a tombstone there is the proof */
    NGX_BROADCAST_OWED_ROW              /* it has: the row is the proof */
} ngx_broadcast_owed_e;


/* why it ended, for the event; texts: pg/settle */

typedef enum {
    NGX_BROADCAST_REASON_CLIENT = 0,    /* it said so: no error */
    NGX_BROADCAST_REASON_LOST,          /* its socket broke without a word */
    NGX_BROADCAST_REASON_SLOW,
    NGX_BROADCAST_REASON_RATE,
    NGX_BROADCAST_REASON_TIMEOUT,
    NGX_BROADCAST_REASON_PROTOCOL,
    NGX_BROADCAST_REASON_OVERRUN,
    NGX_BROADCAST_REASON_DRAIN,
    NGX_BROADCAST_REASON_COMMAND,
    NGX_BROADCAST_REASON_EXPIRED,
    NGX_BROADCAST_REASON_ERROR,
    NGX_BROADCAST_REASON_WORKER,        /* its worker died */
    NGX_BROADCAST_REASONS
} ngx_broadcast_reason_e;

#define NGX_BROADCAST_WHY_MAX  255

typedef uint32_t  ngx_broadcast_row_t;          /* index of a row */


typedef struct {
    ngx_str_t                 id;           /* 1..48 bytes */
    ngx_uint_t                hub;
    ngx_uint_t                transport;
    ngx_str_t                 user;         /* may be empty */
    time_t                    expires;      /* of the tombstone, seconds */
    ngx_uint_t                plain;        /* no hub protocol */
    ngx_uint_t                limit;        /* connections of this hub (and of
                                               key), 0 = no limit */
    uint64_t                  key;          /* hash of key=, 0 = hub alone */
    ngx_uint_t                hub_limit;    /* beside a key's: connections of
                                               the hub, 0 = no limit */
} ngx_broadcast_claim_t;


typedef struct {
    ngx_broadcast_row_t       row;
    ngx_broadcast_position_t  position;     /* hub's, when the row was made */
    uint64_t                  log;          /* log's head at that moment: only
                                               later records are for it */
} ngx_broadcast_claimed_t;


typedef struct {
    ngx_broadcast_row_t       row;
    ngx_uint_t                state;
    ngx_broadcast_owner_t     owner;
    ngx_uint_t                hub;
    ngx_uint_t                transport;
    ngx_uint_t                plain;
    ngx_uint_t                stateful;     /* another WebSocket may take it
                                               over, signalr.md 6 */
    ngx_uint_t                owed;         /* NGX_BROADCAST_OWED_… */
    ngx_uint_t                reason;       /* NGX_BROADCAST_REASON_… */
    ngx_uint_t                tries;        /* of settling, that failed */
    time_t                    connected;    /* wall clock, seconds */
    size_t                    id_len;
    size_t                    user_len;
    size_t                    why_len;      /* words, beside reason */
    u_char                    why[NGX_BROADCAST_WHY_MAX];
    u_char                    id[NGX_BROADCAST_CONN_ID_MAX];
    u_char                    user[NGX_BROADCAST_USER_MAX];
} ngx_broadcast_row_info_t;


/*
 * Claims a row for a connection of this owner; it is in the groups that the
 * rules of its user name at that moment (ngx_broadcast_rule.h), which
 * ngx_broadcast_registry_groups() tells.  NGX_OK; NGX_DECLINED: the id
 * is in use or was used (404 or 409 by the looked-up state); NGX_BUSY: the
 * limit is reached; NGX_ABORT: the zone has no room (both 503, counted by the
 * caller).
 */
ngx_int_t ngx_broadcast_registry_claim(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner, ngx_broadcast_claim_t *in,
    ngx_broadcast_claimed_t *out);

/* from now on NGX_BROADCAST_OWED_… is true of the row, if it is LIVE */
void ngx_broadcast_registry_owe(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_uint_t owed);

/* from now on the row's connection outlives its socket */
void ngx_broadcast_registry_stateful(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id);

/*
 * The end of the row's connection stands in the counters already, though the
 * row is LIVE for a while: last words are to be fetched, or a call is under
 * way.  Where it does not, an end for NGX_BROADCAST_REASON_WORKER is counted
 * with that end.
 */
void ngx_broadcast_registry_counted(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id);

/*
 * The connection of this owner ended, for NGX_BROADCAST_REASON_…: leaves
 * groups; UNSETTLED if an event is owed.  NGX_OK; NGX_DECLINED: there is no
 * such row, or it has ended; NGX_BUSY: it is another owner's by now, and was
 * left alone.
 */
ngx_int_t ngx_broadcast_registry_release(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t owner,
    ngx_uint_t reason);

/*
 * The same, with the words of whoever ended it, WHY_MAX bytes at most; they are
 * kept for the event if there is room.
 */
ngx_int_t ngx_broadcast_registry_release_why(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t owner,
    ngx_uint_t reason, ngx_str_t *why);

/*
 * Another worker takes the connection: the row is its from now on, *from (out)
 * tells whose it was.  NGX_OK also if it was its before; NGX_DECLINED: it has
 * ended.
 */
ngx_int_t ngx_broadcast_registry_move(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t to,
    ngx_broadcast_owner_t *from);

/* its worker has a slot by now: a row that is nobody's becomes its own */
void ngx_broadcast_registry_adopt(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_broadcast_owner_t owner);

/* the event was settled: the row becomes a tombstone, or free */
void ngx_broadcast_registry_settled(ngx_broadcast_zone_t *zone,
    ngx_str_t *id);

/* or settling has failed once more: how often that makes, at most 255 */
ngx_uint_t ngx_broadcast_registry_tried(ngx_broadcast_zone_t *zone,
    ngx_str_t *id);

/* NGX_OK or NGX_DECLINED */
ngx_int_t ngx_broadcast_registry_find(ngx_broadcast_zone_t *zone,
    ngx_str_t *id, ngx_broadcast_row_info_t *info);

/* membership; NGX_DECLINED if there is no such row, NGX_BUSY if full */
ngx_int_t ngx_broadcast_registry_join(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_str_t *group);
ngx_int_t ngx_broadcast_registry_leave(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_str_t *group);

/*
 * The groups that a LIVE row is in, in pieces: fills at most n of groups, their
 * text in buf, of which NGX_BROADCAST_GROUP_BYTES must be there at least.
 * Returns how many; *next is where to go on, 0 at the end.  For the row's
 * owner: it alone changes what the row is in.
 */
ngx_uint_t ngx_broadcast_registry_groups(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, uint32_t *next, ngx_str_t *groups,
    ngx_uint_t n, u_char *buf, size_t size);

/* 1 if a connection of the user is in the group now; rules are not asked */
ngx_uint_t ngx_broadcast_registry_user_in_group(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_str_t *user, ngx_str_t *group);

/* existence: connections now */
ngx_uint_t ngx_broadcast_registry_user(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_str_t *user);
ngx_uint_t ngx_broadcast_registry_group(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_str_t *group);

/*
 * Walks rows from *next on: fills at most n with rows of the state (and of
 * the hub unless NGX_BROADCAST_HUB_NONE); returns how many, *next is where to
 * go on, 0 at the end.  A bounded piece per call, the lock is not kept.
 */
ngx_uint_t ngx_broadcast_registry_walk(ngx_broadcast_zone_t *zone,
    ngx_uint_t state, ngx_uint_t hub, ngx_broadcast_row_t *next,
    ngx_broadcast_row_info_t *info, ngx_uint_t n);

/*
 * Releases all rows of a dead or leaving owner, in pieces: the lock is given
 * back between them.  Repeatable, any process may do it.
 */
void ngx_broadcast_registry_sweep(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner);

/* frees tombstones whose time has come: a bounded piece per call */
void ngx_broadcast_registry_expire(ngx_broadcast_zone_t *zone, time_t now);


#endif /* _NGX_BROADCAST_REGISTRY_H_INCLUDED_ */
