
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ZONE_LAYOUT_H_INCLUDED_
#define _NGX_BROADCAST_ZONE_LAYOUT_H_INCLUDED_


#include "shm/ngx_broadcast_zone.h"
#include "shm/ngx_broadcast_hub.h"
#include "shm/ngx_broadcast_slot.h"
#include "shm/ngx_broadcast_lease.h"
#include "shm/ngx_broadcast_note.h"
#include "shm/ngx_broadcast_stats.h"
#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_rule.h"

#include <pthread.h>


/*
 * The layout of the zone; for shm/ only.
 *
 *   header   words of the whole zone, the lock, leases, slots
 *   stats    a block a slot, and one more for workers without a slot
 *   hubs     hub rows and the heads of their hash chains
 *   bindings two tables, one of them current
 *   rows     connections, and the heads of the chains by id
 *   members  memberships, and the heads of the chains by row and group
 *   rules    groups that the connections of a user join, and the heads of the
 *            chains by user
 *   cells    names of users, groups and keys, and the heads of their chains
 *   ring     the log
 *
 * Indices of hubs, rows, members, rules and cells in links are 1-based, so
 * that a fresh mapping, all zero, is a set of empty chains and costs no memory
 * until it is used.  No pointer is kept in the zone.
 *
 * Two kinds of words.  *Source* words say what is; they are written in an
 * order that makes one store the step from the old state to the new one.
 * *Derived* words (marked "d") only make it quick: hash chains, free lists,
 * counts.  A process may die between any two stores.  The kernel then marks
 * the robust lock, the next process to take it is told, and makes all derived
 * words anew from the source words (ngx_broadcast_rebuild.c).  `dirty` is set
 * around changes of derived words and makes whoever finds it do the same.
 */

#define NGX_BROADCAST_MAGIC       0x7473616364616f72ULL
#define NGX_BROADCAST_LAYOUT      5

#define NGX_BROADCAST_LINE        64    /* bytes of a cache line */

#define NGX_BROADCAST_CELL_FIRST  36    /* bytes of text in a first cell */
#define NGX_BROADCAST_CELL_NEXT   56    /* and in each that follows */

/* memberships that are taken off, and rows looked at, under one lock hold */
#define NGX_BROADCAST_PIECE       64
#define NGX_BROADCAST_SCAN        256


/* names: what a chain of cells is the name of */

#define NGX_BROADCAST_NAME_USER   0
#define NGX_BROADCAST_NAME_GROUP  1
#define NGX_BROADCAST_NAME_KEY    2
#define NGX_BROADCAST_NAME_WHY    3     /* of an UNSETTLED row */


/*
 * A place where a worker may die.  One stands after each store of a critical
 * section, under a name of its own.  In a debug build a test can kill the
 * process there; in any other it is no instruction, but the compiler may not
 * carry a store over it, join two stores, or leave one out.  That order is
 * what the recovery relies on.
 */

#if (NGX_BROADCAST_DEBUG)

#define ngx_broadcast_store(name)                                             \
    do {                                                                      \
        __atomic_signal_fence(__ATOMIC_SEQ_CST);                              \
        if (ngx_broadcast_stop_hook) {                                        \
            ngx_broadcast_stop_hook(#name);                                   \
        }                                                                     \
    } while (0)

extern void (*ngx_broadcast_stop_hook)(const char *name);

#else

#define ngx_broadcast_store(name)  __atomic_signal_fence(__ATOMIC_SEQ_CST)

#endif


typedef struct {
    pthread_mutex_t           life;         /* held by the living owner */
    uint64_t                  owner;        /* 0 in a free slot */
    uint32_t                  state;        /* FREE -> LIVE -> DEAD -> FREE */
    uint32_t                  generation;
    uint64_t                  pid;
    uint32_t                  exiting;
    uint32_t                  connections;  /* d */
    uint64_t                  pool[NGX_BROADCAST_POOL_STATES];
    uint64_t                  away;         /* connections without a socket */
    uint64_t                  streams;      /* of functions, that run */
    uint64_t                  read;         /* offset: the owner has read so
                                               far; written without the lock */
    uint64_t                  turns;        /* of its reader: it lives */
    uint64_t                  done;         /* offset: the owner has carried
                                               out what stands before it */
    uint64_t                  changes;      /* of groups of its connections */
    uint64_t                  told;         /* of these the database knows */
    uint64_t                  begun;        /* calls of `connected` */
    uint64_t                  ended;        /* of these have an answer */

    /* alone in its line: written by every publisher and by the owner */
    uint32_t                  woken __attribute__((aligned(64)));
} __attribute__((aligned(64))) ngx_broadcast_slot_t;

#define NGX_BROADCAST_SLOT_FREE   0
#define NGX_BROADCAST_SLOT_LIVE   1
#define NGX_BROADCAST_SLOT_DEAD   2


typedef struct {
    uint64_t                  owner;
    uint64_t                  until;        /* milliseconds, monotonic */
} ngx_broadcast_lease_t;


typedef struct {
    uint64_t                  epoch;
    uint64_t                  seq;
    uint64_t                  floor;        /* messages up to this seq are not
                                               in the log any more */
    uint64_t                  last;         /* offset of the newest message, 0
                                               if there is none */
} ngx_broadcast_place_t;


typedef struct {
    u_char                    name[128];
    uint32_t                  len;
    uint32_t                  durable;

    /* two, of which `current` is valid: four words change in one store */
    ngx_broadcast_place_t     place[2];
    uint32_t                  current;

    uint32_t                  next;         /* d: chain by name */

    /* where the append that is under way stands, valid if `serial` is its */
    uint64_t                  serial;
    ngx_broadcast_place_t     pending;

    uint32_t                  connections[NGX_BROADCAST_TRANSPORTS];  /* d */
    uint32_t                  users;        /* d */
    uint32_t                  groups;       /* d */
    uint64_t                  published[NGX_BROADCAST_SOURCES];

    /* slots whose workers have connections of the hub; without the lock */
    uint64_t                  watched[NGX_BROADCAST_SLOTS / 64];

    /* alone: counted without the lock */
    uint64_t                  delivered[NGX_BROADCAST_TRANSPORTS]
                                  __attribute__((aligned(64)));
} ngx_broadcast_hub_t;


/*
 * A connection.  `state` is stored last when a row is made, and is the first
 * to change when it ends.
 */

typedef struct {
    uint64_t                  owner;
    uint32_t                  state;
    uint32_t                  next;         /* d: chain by id, or free list */
    uint32_t                  user;         /* first cell, 0: none */
    uint32_t                  key;          /* first cell, 0: none; when it
                                               has ended: of the words why */
    uint32_t                  members;      /* d: memberships of the row */
    uint32_t                  expires;      /* seconds, wall clock */
    uint32_t                  connected;    /* seconds, wall clock */
    uint16_t                  hub;
    uint8_t                   transport;
    uint8_t                   plain;
    uint8_t                   owed;
    uint8_t                   reason;
    uint8_t                   tries;        /* of settling */
    uint8_t                   stateful;
    uint8_t                   counted;      /* its end, while it is LIVE */
    uint8_t                   id_len;
    u_char                    id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_conn_row_t;


/*
 * A membership.  `row` is stored last when it is made, and cleared first when
 * it ends; one whose row is not LIVE is none.
 */

typedef struct {
    uint32_t                  row;          /* 0: free */
    uint32_t                  group;        /* first cell */
    uint32_t                  next;         /* d: of the row, or free list */
    uint32_t                  prev;         /* d: of the row */
    uint32_t                  chain;        /* d: by row and group */
} ngx_broadcast_member_t;


/*
 * A rule.  `user` is stored last when it is made, and cleared first when it
 * ends.
 */

typedef struct {
    uint64_t                  updated;      /* in the order of rules_order */
    uint32_t                  user;         /* first cell, 0: free */
    uint32_t                  group;        /* first cell */
    uint32_t                  expires;      /* seconds, wall clock */
    uint32_t                  lasting;      /* made without a ttl */
    uint32_t                  next;         /* d: chain by user, or free */
    uint32_t                  unused;
} ngx_broadcast_rule_row_t;


/*
 * A name is a chain of cells.  It exists while a row, a membership or a rule
 * refers to it; so nothing of it is source but text, length, kind and hub,
 * which do not change from the first reference to the last.
 *
 *   first  +------+------+------+-------+------+-----+-----+------+----------+
 *          | next | refs | live | chain | hash | hub | len | kind | 36 bytes |
 *   next   +------+------+------+-------+------+-----+-----+------+----------+
 *          | next | refs |                                        | 56 bytes
 *          +------+------+----------------------------------------+----------+
 */

typedef struct {
    uint32_t                  next;         /* of the name, d: of the free */
    uint32_t                  refs;         /* d: 0 in a free cell */

    union {
        struct {
            uint32_t          live;         /* d: references by LIVE rows */
            uint32_t          chain;        /* d: by hub, kind and text */
            uint32_t          hash;
            uint16_t          hub;
            uint16_t          len;
            uint8_t           kind;
            uint8_t           unused[3];
            u_char            text[NGX_BROADCAST_CELL_FIRST];
        } first;

        u_char                text[NGX_BROADCAST_CELL_NEXT];
    } u;
} ngx_broadcast_cell_t;


/* header of a record in the log; the strings follow in this order */

typedef struct {
    uint32_t                  size;         /* of all, a multiple of 8 */
    uint8_t                   type;
    uint8_t                   scope;
    uint8_t                   flags;
    uint8_t                   source;
    uint64_t                  offset;       /* of this record */
    uint64_t                  number;       /* 1, 2, 3 … of the zone */
    uint64_t                  epoch;
    uint64_t                  seq;
    uint64_t                  prev;         /* offset of the hub's message
                                               before it, if that is seq - 1 */
    uint64_t                  relay;
    uint64_t                  mark;
    uint64_t                  time;
    uint32_t                  hub;
    uint16_t                  name_len;
    uint16_t                  group_len;
    uint32_t                  target_len;
    uint32_t                  arguments_len;
    uint32_t                  excluded_len;
    uint32_t                  ttl;          /* JOIN of a user */
    uint32_t                  packed_len;
    uint32_t                  unused;
} ngx_broadcast_header_t;


typedef struct {
    uint64_t                  counter[NGX_BROADCAST_COUNTERS];
    ngx_broadcast_histogram_t histogram[NGX_BROADCAST_HISTOGRAMS];
    uint64_t                  calls[8][NGX_BROADCAST_OUTCOMES];
} __attribute__((aligned(64))) ngx_broadcast_stats_t;


/*
 * The heads of the chains that a table has room for are `mask` + 1, of which
 * `used` are in use: as many as there were entries at once, so that memory is
 * touched as clients come and not at random (ngx_broadcast_table.c).
 */

typedef struct {
    uint64_t                  at;
    uint64_t                  heads;
    uint32_t                  n;
    uint32_t                  mask;
    uint32_t                  high;         /* entries from here on were never
                                               used; stored before the use */
    uint32_t                  free;         /* d: list */
    uint32_t                  spare;        /* d: length of the free list */
    uint32_t                  used;         /* heads, 2 at least */
} ngx_broadcast_table_t;

#define NGX_BROADCAST_HEADS_FIRST  2


struct ngx_broadcast_zone_s {
    uint64_t                  magic;        /* stored last at creation */
    uint32_t                  layout;
    uint32_t                  sizes;        /* of the structures above */
    uint64_t                  size;         /* of the whole zone */
    uint64_t                  block;        /* of what starts here */
    uint64_t                  created;
    uint64_t                  epoch;        /* of ephemeral hubs */
    uint64_t                  seed[2];      /* of the hashes */
    u_char                    secret[32];

    ngx_broadcast_table_t     hubs;         /* high = how many there are */
    ngx_broadcast_table_t     rows;
    ngx_broadcast_table_t     members;
    ngx_broadcast_table_t     rules;
    ngx_broadcast_table_t     cells;

    uint64_t                  stats;        /* offset */
    uint64_t                  gauge[NGX_BROADCAST_GAUGES];

    uint64_t                  bindings;     /* offset of two tables */
    uint64_t                  bindings_size;        /* of one */
    uint64_t                  bindings_current;     /* 0: none yet, else the
                                               table is its lowest bit */

    uint64_t                  ring;         /* offset */
    uint64_t                  ring_size;    /* a multiple of 8 */

    /* the lock and what it guards */

    pthread_mutex_t           lock __attribute__((aligned(64)));
    uint32_t                  dirty;
    uint32_t                  expire_next;  /* a hint */
    uint64_t                  rebuilds;
    uint64_t                  number;       /* d: newest record's */
    uint64_t                  applied;      /* the records before this offset
                                               have moved hub places, relay
                                               cursor and numbers */
    uint64_t                  relay;
    uint64_t                  rules_order;  /* counts updates of rules */
    uint64_t                  rules_loaded; /* records of durable hubs up to
                                               this `relay` change no rules */
    uint64_t                  rules_refused;
    uint32_t                  rules_next;   /* a hint */
    uint32_t                  unused;
    u_char                    note[NGX_BROADCAST_NOTES]
                                  [NGX_BROADCAST_NOTE_SIZE];
    uint32_t                  tombstones;   /* d */
    uint32_t                  unsettled;    /* d */
    ngx_broadcast_lease_t     lease[NGX_BROADCAST_LEASES];

    /* read without the lock; offsets never go back, never wrap */

    uint64_t                  head __attribute__((aligned(64)));
    uint64_t                  tail __attribute__((aligned(64)));
    uint64_t                  map[NGX_BROADCAST_SLOTS / 64]  /* d: the LIVE */
                                  __attribute__((aligned(64)));
    uint64_t                  watched[NGX_BROADCAST_SLOTS / 64];  /* all hubs */

    ngx_broadcast_slot_t      slot[NGX_BROADCAST_SLOTS];
};


#define ngx_broadcast_entry(zone, type, table, i)                             \
    ((type *) ((u_char *) (zone) + (zone)->table.at) + (i) - 1)

#define ngx_broadcast_hub_row(zone, i)                                        \
    ngx_broadcast_entry(zone, ngx_broadcast_hub_t, hubs, i)
#define ngx_broadcast_conn(zone, i)                                           \
    ngx_broadcast_entry(zone, ngx_broadcast_conn_row_t, rows, i)
#define ngx_broadcast_member(zone, i)                                         \
    ngx_broadcast_entry(zone, ngx_broadcast_member_t, members, i)
#define ngx_broadcast_rule(zone, i)                                           \
    ngx_broadcast_entry(zone, ngx_broadcast_rule_row_t, rules, i)
#define ngx_broadcast_cell(zone, i)                                           \
    ngx_broadcast_entry(zone, ngx_broadcast_cell_t, cells, i)

#define ngx_broadcast_head(zone, table, hash)                                 \
    ((uint32_t *) ((u_char *) (zone) + (zone)->table.heads)                   \
     + ngx_broadcast_chain(&(zone)->table, (uint32_t) (hash)))

/* the head of a hash, by number */
uint32_t ngx_broadcast_chain(ngx_broadcast_table_t *table, uint32_t hash);

/* one head more if there are as many entries; `dirty` is set */
void ngx_broadcast_table_grow_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_table_t *table);


/*
 * The zone's only lock.  lock() repairs what a dead owner left.  It cannot
 * fail otherwise: the mutex is made by zone_open and never destroyed.
 */
void ngx_broadcast_zone_lock(ngx_broadcast_zone_t *zone);
void ngx_broadcast_zone_unlock(ngx_broadcast_zone_t *zone);

/* around every change of derived words */
void ngx_broadcast_zone_dirty_locked(ngx_broadcast_zone_t *zone);
void ngx_broadcast_zone_clean_locked(ngx_broadcast_zone_t *zone);

/* makes all derived words anew: the one long hold, O(zone) */
void ngx_broadcast_rebuild_locked(ngx_broadcast_zone_t *zone);

/* an entry that is free, 0 if there is none; the derived half of it */
#define ngx_broadcast_table_left(table)                                       \
    ((table)->spare + ((table)->n - (table)->high))

/* ngx_broadcast_hash() of the two tables that have no number as their tag */

#define ngx_broadcast_id_hash(zone, id)                                       \
    ngx_broadcast_hash(zone, (uint64_t) -1, (id)->data, (id)->len)
#define ngx_broadcast_hub_hash(zone, name)                                    \
    ngx_broadcast_hash(zone, (uint64_t) -2, (name)->data, (name)->len)


/*
 * Names, all under the lock.  find: first cell or 0.  need: how many cells a
 * text of this length takes.  take: finds or makes it and refers to it, the
 * caller has checked that there are cells enough; refer: once more; `live`
 * counts it for existence, too.  drop gives both back.  hub is the hub's index.
 */
uint32_t ngx_broadcast_name_find_locked(ngx_broadcast_zone_t *zone,
    ngx_uint_t kind, ngx_uint_t hub, ngx_str_t *text);
ngx_uint_t ngx_broadcast_name_need(size_t len);
uint32_t ngx_broadcast_name_take_locked(ngx_broadcast_zone_t *zone,
    ngx_uint_t kind, ngx_uint_t hub, ngx_str_t *text);
void ngx_broadcast_name_refer_locked(ngx_broadcast_zone_t *zone,
    uint32_t name);
void ngx_broadcast_name_live_locked(ngx_broadcast_zone_t *zone, uint32_t name);
void ngx_broadcast_name_dead_locked(ngx_broadcast_zone_t *zone, uint32_t name);
void ngx_broadcast_name_drop_locked(ngx_broadcast_zone_t *zone, uint32_t name);
size_t ngx_broadcast_name_copy_locked(ngx_broadcast_zone_t *zone,
    uint32_t name, u_char *p, size_t size);

/* for rebuild and check: hash as the name's chain has it */
uint32_t ngx_broadcast_name_hash(ngx_broadcast_zone_t *zone, ngx_uint_t kind,
    ngx_uint_t hub, ngx_str_t *text);


uint32_t ngx_broadcast_member_hash(uint32_t row, uint32_t group);

/*
 * Makes a membership of a row that is not in the group, whose name was taken;
 * the caller has looked that there is room and has set `dirty`.
 */
void ngx_broadcast_member_make_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    uint32_t group);

/* membership of a row in the group of that first cell, 0: none */
uint32_t ngx_broadcast_member_find_locked(ngx_broadcast_zone_t *zone,
    uint32_t row, uint32_t group);

/* puts a membership into the chains of its row and of row and group */
void ngx_broadcast_member_link_locked(ngx_broadcast_zone_t *zone,
    uint32_t member);

/* takes off at most n memberships of the row; 1 if there are more */
ngx_uint_t ngx_broadcast_member_strip_locked(ngx_broadcast_zone_t *zone,
    uint32_t row, ngx_uint_t n);

uint32_t ngx_broadcast_rule_hash(uint32_t user);
uint32_t ngx_broadcast_rule_find_locked(ngx_broadcast_zone_t *zone,
    uint32_t user, uint32_t group);

/* ends the rule that the link leads to; `dirty` is set */
void ngx_broadcast_rule_free_locked(ngx_broadcast_zone_t *zone,
    uint32_t *link);

/*
 * The groups that a connection of the user joins: how many memberships they
 * are, and joining them in the critical section in which its row was made.
 */
ngx_uint_t ngx_broadcast_rule_count_locked(ngx_broadcast_zone_t *zone,
    uint32_t user, uint32_t now);
void ngx_broadcast_rule_join_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    uint32_t user, uint32_t now);

/* 1 if there is room for the rules of records that are not the relay's */
ngx_uint_t ngx_broadcast_rule_room_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n);

/* changes the rules as a JOIN or LEAVE in the log says; may be repeated */
void ngx_broadcast_rule_apply_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_header_t *h);

/* a row of this index, LIVE and with this id; or NULL */
ngx_broadcast_conn_row_t *ngx_broadcast_row_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id);


/* what is known of a row that is not FREE */
void ngx_broadcast_row_info_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    ngx_broadcast_row_info_t *info);

/* by id, in any state but FREE; 0 if there is none */
uint32_t ngx_broadcast_row_find_locked(ngx_broadcast_zone_t *zone,
    ngx_str_t *id);

/* counts a connection more (n is 1) or less (-1) wherever it is counted */
void ngx_broadcast_row_count_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_conn_row_t *conn, ngx_int_t n);

/* ends a LIVE row; 1: only a piece of its memberships was taken off, again */
ngx_uint_t ngx_broadcast_row_end_locked(ngx_broadcast_zone_t *zone,
    uint32_t row, ngx_uint_t reason);


/* ring: bytes at an offset, which may go over the ring's end */
void ngx_broadcast_ring_put(ngx_broadcast_zone_t *zone, uint64_t offset,
    const void *p, size_t len);
void ngx_broadcast_ring_get(ngx_broadcast_zone_t *zone, uint64_t offset,
    void *p, size_t len);

/* applies the records between `applied` and `head`; may be repeated */
void ngx_broadcast_log_apply_locked(ngx_broadcast_zone_t *zone);

/* if an owner of a LIVE slot died: DEAD from now on */
void ngx_broadcast_slot_probe_locked(ngx_broadcast_zone_t *zone,
    ngx_uint_t slot);
ngx_uint_t ngx_broadcast_slot_alive_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_owner_t owner);

#endif /* _NGX_BROADCAST_ZONE_LAYOUT_H_INCLUDED_ */
