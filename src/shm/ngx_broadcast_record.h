
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_RECORD_H_INCLUDED_
#define _NGX_BROADCAST_RECORD_H_INCLUDED_


#include "shm/ngx_broadcast_hub.h"


/*
 * A record is everything that may cross from one worker to others.  In the
 * log it is a header of fixed size and the strings behind it; in a process
 * its strings are borrowed: from the publisher until publish returns, or from
 * the reader's batch until the record hook returns.
 */

/*
 * The numbers up to EPOCH, and those from INVOKE to DONE, stand in
 * broadcast.message, too.
 */

typedef enum {
    NGX_BROADCAST_REC_MESSAGE = 1,  /* scope, name, target, arguments, excl. */
    NGX_BROADCAST_REC_JOIN,         /* scope user|connection, name, group */
    NGX_BROADCAST_REC_LEAVE,        /* as above; empty group: all groups */
    NGX_BROADCAST_REC_CLOSE,        /* scope, name, arguments = reason, excl. */
    NGX_BROADCAST_REC_GAP,          /* plain subscribers of the hub: gap */
    NGX_BROADCAST_REC_EPOCH,        /* the hub has a new epoch: all are told */
    NGX_BROADCAST_REC_INPUT,        /* connection name: arguments = its bytes,
                                       group = who waits, as of TAKEN */
    NGX_BROADCAST_REC_DELETE,       /* connection name: its client ended it */
    NGX_BROADCAST_REC_COMPLETION,   /* connection name: arguments = hub records
                                       of the JSON protocol, whatever protocol
                                       the connection speaks */
    NGX_BROADCAST_REC_MOVE,         /* connection name: its row has another
                                       owner, who wants its state */
    NGX_BROADCAST_REC_STATE,        /* connection name: arguments = its state,
                                       for the owner that they name */
    NGX_BROADCAST_REC_INVOKE = 12,  /* connection name is asked: group = id of
                                       the invocation, target, arguments */
    NGX_BROADCAST_REC_FORGET,       /* connection name: nobody waits for the
                                       answer to group any more */
    NGX_BROADCAST_REC_ANSWER,       /* for whoever made the id in group:
                                       target = what became of it, arguments =
                                       result (JSON) or error text */
    NGX_BROADCAST_REC_ITEM,         /* connection name: group = id of its
                                       stream, arguments = item (JSON) */
    NGX_BROADCAST_REC_COMPLETE,     /* the same: arguments = error text, or
                                       empty: the stream ended well */
    NGX_BROADCAST_REC_DONE,         /* connection name: arguments = the call
                                       whose records stand before this one */
    NGX_BROADCAST_REC_FLOW,         /* connection name: target = the stream that
                                       a worker runs for it, arguments = how
                                       many bytes more it takes, or empty: it is
                                       cancelled */
    NGX_BROADCAST_REC_TAKEN         /* for the worker whose owner word group
                                       begins with: arguments = not empty if
                                       the INPUT of that group was taken */
} ngx_broadcast_record_type_e;

typedef enum {
    NGX_BROADCAST_ALL = 0,
    NGX_BROADCAST_GROUP,
    NGX_BROADCAST_USER,
    NGX_BROADCAST_CONNECTION
} ngx_broadcast_scope_e;

/*
 * What a JOIN of a user does beside adding the connections that are there:
 * it makes a rule for so many seconds, for a year (no ttl), or none.
 */

#define NGX_BROADCAST_TTL_NONE       0
#define NGX_BROADCAST_TTL_PRESENT    0xffffffff

/* flags */

#define NGX_BROADCAST_REC_NUMBERED   0x01   /* position is the database's */
#define NGX_BROADCAST_REC_UNNUMBERED 0x02   /* takes no number: raw NOTIFY,
                                               INPUT and other commands */

#define NGX_BROADCAST_REC_NO_RULE    0x04   /* JOIN of a user, for connections
                                               that are there: there is a rule
                                               already */

typedef struct {
    ngx_uint_t                type;
    ngx_uint_t                scope;
    ngx_uint_t                flags;
    ngx_uint_t                source;       /* NGX_BROADCAST_SRC_… */
    ngx_uint_t                hub;          /* index */
    ngx_broadcast_position_t  position;     /* out, or in with NUMBERED */
    uint64_t                  relay;        /* in: position in the database's
                                               one order over all hubs, 0 =
                                               not from the relay */
    uint64_t                  mark;         /* publisher's random mark, or 0 */
    uint64_t                  time;         /* microseconds, wall clock, of the
                                               publish or of the commit */
    uint64_t                  log;          /* out: offset in the log */
    uint32_t                  ttl;          /* JOIN of a user: seconds, or
                                               NGX_BROADCAST_TTL_… */
    ngx_str_t                 name;         /* group, user or connection id */
    ngx_str_t                 group;        /* JOIN, LEAVE; of a MESSAGE to a
                                               group: a second one, whose
                                               members get it, too */
    ngx_str_t                 target;
    ngx_str_t                 arguments;    /* JSON array as it came */
    ngx_str_t                 excluded;     /* connection ids joined by ',' */
    ngx_str_t                 packed;       /* MESSAGE, INVOKE: arguments in
                                               MessagePack where they were
                                               published so, for clients that
                                               speak it; not kept by the
                                               database */
} ngx_broadcast_record_t;


/* bytes that the record takes in the log */
size_t ngx_broadcast_record_size(ngx_broadcast_record_t *rec);

/* 1 if the connection id is among rec->excluded */
ngx_uint_t ngx_broadcast_record_excludes(ngx_broadcast_record_t *rec,
    ngx_str_t *id);


#endif /* _NGX_BROADCAST_RECORD_H_INCLUDED_ */
