
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_H_INCLUDED_
#define _NGX_BROADCAST_PG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "bus/ngx_broadcast_bus.h"


/*
 * Everything that talks to PostgreSQL in this worker.  The configuration is
 * borrowed from the cycle; without a database (conf->conninfo.len == 0) only
 * the ephemeral half of the outbox works and state is `off`.
 */

typedef struct {
    ngx_str_t               channel;    /* NOTIFY channel */
    ngx_str_t               hub;        /* lower case */
    ngx_str_t               target;
    ngx_str_t               group;      /* may be empty */
} ngx_broadcast_pg_listen_t;


typedef struct {
    ngx_str_t               conninfo;   /* as given, zero terminated; empty:
                                           no database */
    ngx_str_t               resolved;   /* conninfo with `hostaddr` for names
                                           that were resolved at start;
                                           empty: there is no address */
    ngx_array_t            *resolutions;    /* of ngx_str_t: resolved, and the
                                           same beginning with each other of
                                           its addresses */
    ngx_str_t               options;    /* of conninfo, without hosts */
    ngx_array_t            *hosts;      /* of ngx_broadcast_pg_host_t, as they
                                           were given */
    ngx_uint_t              names;      /* 1: one of them is a name */
    ngx_resolver_t         *resolver;   /* of the http block; NULL: none, names
                                           are looked up at start only */
    ngx_uint_t              pool;       /* connections a worker */
    ngx_msec_t              timeout;    /* of a call */
    ngx_uint_t              queue;      /* calls that may wait */
    ngx_uint_t              streams;    /* connections a worker for streams */
    ngx_msec_t              stream_timeout;     /* of a whole stream */
    ngx_str_t               role_claim;     /* zero terminated; empty: as
                                               the module's own role */
    ngx_str_t               role_default;   /* zero terminated; empty: none */

    ngx_array_t            *listen;     /* of ngx_broadcast_pg_listen_t */
    ngx_array_t            *ephemeral;  /* of ngx_str_t, lower case; "*" */

    ngx_str_t               slot;           /* of broadcast_source wal, zero
                                               terminated; empty: outbox */
    ngx_str_t               publication;    /* the same */

    size_t                  message_size;   /* http level */
} ngx_broadcast_pg_conf_t;


/*
 * Configuration time (may block): parses the conninfo with PQconninfoParse,
 * resolves host names into conf->resolved.  On NGX_ERROR *err is a sentence
 * in conf's pool.  A name that does not resolve now is not an error: warning,
 * and each reconnect of a worker goes without it until the next reload, or
 * looks it up again where conf->resolver is given.
 */
ngx_int_t ngx_broadcast_pg_check_conf(ngx_conf_t *cf,
    ngx_broadcast_pg_conf_t *conf, ngx_str_t *err);

/* init_process and exit_process; never fail for what can happen at run time */
void ngx_broadcast_pg_start(ngx_cycle_t *cycle, ngx_broadcast_pg_conf_t *conf);
void ngx_broadcast_pg_stop(ngx_cycle_t *cycle);

/* 1 if a database is configured */
ngx_uint_t ngx_broadcast_pg_enabled(void);

/* of a call, where there is a database; as long it may run on unheard */
ngx_msec_t ngx_broadcast_pg_timeout(void);

/* NGX_BROADCAST_DB_…, of the node */
ngx_uint_t ngx_broadcast_pg_state(void);

/* 1 if bindings and positions were read, or there is no database */
ngx_uint_t ngx_broadcast_pg_ready(void);


#endif /* _NGX_BROADCAST_PG_H_INCLUDED_ */
