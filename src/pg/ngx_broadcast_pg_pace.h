
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_PACE_H_INCLUDED_
#define _NGX_BROADCAST_PG_PACE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * What this worker knows of how long a function takes.  What is sent behind a
 * call waits for it and is carried out though its caller may have given up by
 * then.  So calls share a connection only if their functions are known to be
 * prompt: the first run of each tells, and one that was late (or is, while it
 * runs) has to be prompt some times in a row, since it may depend on its
 * arguments, or on a lock.  A fair one took little more, as any may while the
 * machine is busy: it may go behind prompt ones, but nothing behind it.  So may
 * one that took longer, once, if it was trusted before, as soon as that is
 * over: what a machine or a lock did once is no reason to let it wait among
 * those that are slow.  A second time is, until it is trusted again.
 */

#define NGX_BROADCAST_PG_PROMPT  10         /* ms, at most */
#define NGX_BROADCAST_PG_FAIR    100        /* ms, at most */
#define NGX_BROADCAST_PG_TRUST   8          /* prompt runs behind a late one */

typedef struct {
    uint32_t                    hash;       /* of kind and name; 0: of none */
    uint32_t                    owes;       /* prompt runs; 0: it is trusted */
    uint32_t                    last;       /* ms; of none: many */
    uint32_t                    credit;     /* 1: it was trusted since it was
                                               slow last */
} ngx_broadcast_pg_pace_t;


/* how often a function came to be fair: then calls that wait may go on */
extern ngx_uint_t  ngx_broadcast_pg_pace_learned;


/* nothing is known yet */
void ngx_broadcast_pg_pace_init(ngx_broadcast_pg_pace_t *pace);

/*
 * Of a function that dispatch() calls: what there is to tell it by, a kind and
 * a hub's or its own name, or NULL.  Valid for the life of the process; one
 * that is crowded out is of another function then.
 */
ngx_broadcast_pg_pace_t *ngx_broadcast_pg_pace_get(ngx_uint_t kind,
    ngx_str_t *name);

/* a run has taken so many ms; ended 0: it does by now */
void ngx_broadcast_pg_pace_took(ngx_broadcast_pg_pace_t *pace,
    ngx_msec_t took, ngx_uint_t ended);


#endif /* _NGX_BROADCAST_PG_PACE_H_INCLUDED_ */
