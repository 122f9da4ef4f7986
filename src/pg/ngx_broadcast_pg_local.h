
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_PG_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"


/* this worker's side of the database; for pg/ only */

typedef struct {
    ngx_broadcast_pg_conf_t    *conf;       /* borrowed from the cycle, NULL
                                               before start */
    ngx_log_t                  *log;        /* borrowed from the cycle */
    ngx_uint_t                  enabled;
    ngx_uint_t                  leaving;    /* 1: exiting, has left to others
                                               what they can do */
    ngx_uint_t                  stopping;   /* exit_process: no caller is told
                                               anything any more */
    ngx_str_t                   node;       /* this node's name */
    u_char                      name[128];
    ngx_event_t                 tick;
} ngx_broadcast_pg_t;

extern ngx_broadcast_pg_t  ngx_broadcast_pg;

/*
 * What to connect with, zero terminated; tries: how many have failed, each
 * next one begins with another address.  NULL: there is no address.
 */
const char *ngx_broadcast_pg_conninfo(ngx_uint_t tries);


/* a parameter out of the configuration: SQL null if it was not given */
#define ngx_broadcast_pg_text(str)                                            \
    ((str)->len ? (const char *) (str)->data : NULL)


#define NGX_BROADCAST_PG_TICK   250         /* ms: leases are renewed */
#define NGX_BROADCAST_PG_TERM   1000        /* ms: of a lease */


#define ngx_broadcast_gauge(gauge)                                            \
    ngx_broadcast_stats_get(ngx_broadcast_bus.zone, gauge)
#define ngx_broadcast_gauge_set(gauge, value)                                 \
    ngx_broadcast_stats_set(ngx_broadcast_bus.zone, gauge, value)


#endif /* _NGX_BROADCAST_PG_LOCAL_H_INCLUDED_ */
