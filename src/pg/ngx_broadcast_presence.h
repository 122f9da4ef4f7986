
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PRESENCE_H_INCLUDED_
#define _NGX_BROADCAST_PRESENCE_H_INCLUDED_


#include "pg/ngx_broadcast_call.h"


/*
 * Connections of the whole cluster, as broadcast.connections has them, and the
 * groups they are in, of broadcast.connection_group.
 */

#define NGX_BROADCAST_GROUP_KEY  32         /* hexadecimal digits */

typedef struct {
    ngx_str_t                  hub;         /* lower case */
    ngx_str_t                  connection;  /* empty: any; with groups: it is
                                               not looked at */
    ngx_str_t                  user;        /* empty: any; with groups: only if
                                               member is set */
    ngx_str_t                  after;       /* ids behind this one */
    ngx_uint_t                 elsewhere;   /* 1: none of this node's */
    ngx_uint_t                 max;
    ngx_str_t                 *groups;      /* asked about, borrowed */
    ngx_uint_t                 ngroups;     /* at most 32 */
    ngx_uint_t                 member;      /* 1: members of groups[0] alone */
    ngx_uint_t                 names;       /* 1: the groups of the hub, after
                                               is a key */
} ngx_broadcast_presence_ask_t;


typedef struct {
    ngx_str_t                  id;
    ngx_str_t                  user;        /* empty: none */
    ngx_str_t                  transport;   /* empty: not known */
    ngx_str_t                  connected;   /* ISO 8601, UTC */
    uint32_t                   groups;      /* bit i: is in groups[i] */
} ngx_broadcast_present_t;


typedef struct {
    ngx_str_t                  name;
    ngx_str_t                  key;         /* NGX_BROADCAST_GROUP_KEY digits */
    ngx_uint_t                 connections;
} ngx_broadcast_present_group_t;


/* rows or groups are borrowed until return, in the order of ids and keys */

typedef struct {
    ngx_uint_t                       status;    /* …_CALL_OK, or why not */
    ngx_uint_t                       n;
    ngx_broadcast_present_t         *rows;
    ngx_broadcast_present_group_t   *groups;
} ngx_broadcast_presence_t;

typedef void (*ngx_broadcast_presence_pt)(ngx_broadcast_presence_t *presence,
    void *data);


/* returns and calls as ngx_broadcast_call() does */
ngx_int_t ngx_broadcast_presence(ngx_broadcast_presence_ask_t *ask,
    ngx_broadcast_presence_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call);

/*
 * Says in which groups connections of this node are, all of them, in JSON that
 * is copied: {"id":["group"]}.  The result's value is ids joined by ',' that
 * have to be said once more.  Returns and calls as ngx_broadcast_call() does.
 */
ngx_int_t ngx_broadcast_presence_keep(ngx_str_t *groups,
    ngx_broadcast_call_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call);

/*
 * Says that connections of this node are live, in a JSON array of events that
 * is copied: their rows are made where there are none.  An event with "known"
 * makes none, its row was there.  The result's value is ids joined by ',' that
 * have ended for the database.  Returns and calls as ngx_broadcast_call() does.
 */
ngx_int_t ngx_broadcast_presence_enrol(ngx_str_t *events,
    ngx_broadcast_call_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call);

/*
 * Changes when others may have ended connections of this node; 0 until it was
 * heard of for the first time.
 */
uint64_t ngx_broadcast_presence_cut_off(void);


#endif /* _NGX_BROADCAST_PRESENCE_H_INCLUDED_ */
