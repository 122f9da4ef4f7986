
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_registry.h"
#include "pg/ngx_broadcast_backoff.h"
#include "pg/ngx_broadcast_call.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_settle.h"


/*
 * A walk goes over the UNSETTLED rows and calls for as many as may be in
 * flight; each answer goes on with it.  A call that may be repeated after any
 * break, by any worker, and the event comes once:
 *
 *     row known to be in the database    it is deleted; without it nothing is
 *                                        done
 *     perhaps there, or still coming     a tombstone is inserted; with one that
 *                                        was there nothing is done.  A
 *                                        `connected` that is under way is
 *                                        waited for, one that comes later finds
 *                                        the tombstone
 *
 * dispatch() catches what functions raise, and the server's statement_timeout.
 * What it cannot catch is tried three times and then done without the
 * functions, which are named in broadcast.function_error.  Failures of the
 * server's say nothing about the functions: the row is tried again until it
 * succeeds.  A row that failed waits, the others go on; when too many wait, or
 * the database is away, the walk pauses, longer each time.
 */

#define NGX_BROADCAST_SETTLE_CALLS   8      /* in flight */
#define NGX_BROADCAST_SETTLE_LATER   64     /* rows that failed and wait */
#define NGX_BROADCAST_SETTLE_DELAY   1000   /* ms: they wait so long */
#define NGX_BROADCAST_SETTLE_TRIES   3
#define NGX_BROADCAST_SETTLE_PIECES  64     /* of the registry in one turn, the
                                               next goes on with a tick */


typedef struct {
    size_t                      len;        /* 0: free */
    ngx_uint_t                  last;       /* 1: without the functions */
    u_char                      id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_settle_call_t;


typedef struct {
    size_t                      len;        /* 0: free */
    ngx_msec_t                  due;        /* when it is tried again */
    u_char                      sqlstate[5];
    u_char                      id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_settle_later_t;


typedef struct {
    ngx_uint_t                    running;
    ngx_broadcast_settle_call_t   calls[NGX_BROADCAST_SETTLE_CALLS];
    ngx_uint_t                    n;        /* of them in flight */
    ngx_broadcast_settle_later_t  later[NGX_BROADCAST_SETTLE_LATER];
    ngx_broadcast_row_t           next;     /* of the walk */
    ngx_uint_t                    again;    /* rows behind the walk's back */
    ngx_uint_t                    walking;
    ngx_msec_t                    until;    /* 0, or when the pause ends */
    ngx_uint_t                    pausing;
    ngx_broadcast_backoff_t       backoff;
} ngx_broadcast_settle_t;


static void ngx_broadcast_settle_walk(void);
static ngx_uint_t ngx_broadcast_settle_busy(ngx_broadcast_row_info_t *row);
static ngx_int_t ngx_broadcast_settle_row(ngx_broadcast_row_info_t *row);
static ngx_broadcast_settle_call_t *ngx_broadcast_settle_find(u_char *id,
    size_t len);
static ngx_broadcast_settle_later_t *ngx_broadcast_settle_later(u_char *id,
    size_t len);
static void ngx_broadcast_settle_done(ngx_broadcast_call_result_t *result,
    void *data);
static void ngx_broadcast_settle_failed(ngx_broadcast_settle_call_t *key,
    ngx_broadcast_call_result_t *result);
static ngx_uint_t ngx_broadcast_settle_deep(ngx_str_t *sqlstate);
static void ngx_broadcast_settle_pause(void);


static ngx_broadcast_settle_t  ngx_broadcast_settle;


/* SQLSTATE classes that are the server's condition, not a function's fault */

static const u_char  ngx_broadcast_settle_passing[] = "08254053555758XX";


void
ngx_broadcast_settle_nudge(void)
{
    ngx_uint_t  slot;

    if (ngx_broadcast_bus.zone == NULL) {
        return;
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_SETTLE_DUE, 1);

    slot = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_SETTLE_SLOT);

    if (slot) {

        /* to this worker, too: not from inside of who ends a connection */

        ngx_broadcast_wake(slot - 1);
    }
}


void
ngx_broadcast_settle_start(void)
{
    ngx_broadcast_settle_t  *settle = &ngx_broadcast_settle;

    if (settle->running) {
        return;
    }

    /* calls of an earlier term may still be in flight: they stay */

    settle->running = 1;
    settle->walking = 0;
    settle->pausing = 0;
    ngx_memzero(settle->later, sizeof(settle->later));

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_SETTLE_SLOT,
                            ngx_broadcast_bus.slot + 1);

    ngx_broadcast_settle_walk();
}


void
ngx_broadcast_settle_stop(void)
{
    ngx_broadcast_settle.running = 0;
}


void
ngx_broadcast_settle_woken(void)
{
    if (ngx_broadcast_settle.running
        && ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_SETTLE_DUE))
    {
        ngx_broadcast_settle_walk();
    }
}


void
ngx_broadcast_settle_tick(void)
{
    ngx_broadcast_settle_t  *settle = &ngx_broadcast_settle;

    if (!settle->running) {
        return;
    }

    if (settle->pausing
        && (ngx_msec_int_t) (ngx_current_msec - settle->until) >= 0)
    {
        settle->pausing = 0;
    }

    /* rows of dead workers come without a nudge */

    ngx_broadcast_settle_walk();
}


static void
ngx_broadcast_settle_walk(void)
{
    ngx_uint_t                 n, pieces, calls;
    ngx_broadcast_settle_t    *settle = &ngx_broadcast_settle;
    ngx_broadcast_row_info_t   row;

    if (!settle->running || settle->pausing) {
        return;
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_SETTLE_DUE, 0);

    if (!settle->walking) {
        settle->walking = 1;
        settle->next = 0;
        settle->again = 0;

    } else {

        /* what comes to be behind the walk is found by one more */

        settle->again = 1;
    }

    calls = ngx_min(NGX_BROADCAST_SETTLE_CALLS, ngx_broadcast_pg_pool_spare());

    for (pieces = 0;
         settle->n < calls
         && pieces < NGX_BROADCAST_SETTLE_PIECES;
         pieces++)
    {

        n = ngx_broadcast_registry_walk(ngx_broadcast_bus.zone,
                                        NGX_BROADCAST_ROW_UNSETTLED,
                                        NGX_BROADCAST_HUB_NONE,
                                        &settle->next, &row, 1);

        if (n && !ngx_broadcast_settle_busy(&row)
            && ngx_broadcast_settle_row(&row) != NGX_OK)
        {
            ngx_broadcast_settle_pause();
            return;
        }

        if (settle->next == 0) {

            if (!settle->again) {
                settle->walking = 0;
                return;
            }

            settle->again = 0;
        }
    }
}


/* 1: its call is in flight, or not due yet */

static ngx_uint_t
ngx_broadcast_settle_busy(ngx_broadcast_row_info_t *row)
{
    ngx_broadcast_settle_later_t  *later;

    if (ngx_broadcast_settle_find(row->id, row->id_len)) {
        return 1;
    }

    later = ngx_broadcast_settle_later(row->id, row->id_len);

    return later && (ngx_msec_int_t) (ngx_current_msec - later->due) < 0;
}


static ngx_int_t
ngx_broadcast_settle_row(ngx_broadcast_row_info_t *row)
{
    ngx_int_t                      rc;
    ngx_str_t                      id, hub, event, state;
    ngx_pool_t                    *pool;
    ngx_broadcast_settle_call_t   *call, key;
    ngx_broadcast_settle_later_t  *later;

    id.data = row->id;
    id.len = row->id_len;

    if (!ngx_broadcast_pg.enabled) {

        /* a reload took the database away: nobody is owed anything */

        ngx_broadcast_registry_settled(ngx_broadcast_bus.zone, &id);
        return NGX_OK;
    }

    call = ngx_broadcast_settle_find(NULL, 0);
    if (call == NULL) {
        return NGX_ERROR;
    }

    pool = ngx_create_pool(1024, ngx_broadcast_pg.log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&key, sizeof(ngx_broadcast_settle_call_t));

    key.last = (row->tries >= NGX_BROADCAST_SETTLE_TRIES);

    ngx_str_set(&state, NGX_BROADCAST_PG_CANCELED);

    later = ngx_broadcast_settle_later(row->id, row->id_len);

    if (later) {
        state.data = later->sqlstate;
    }

    rc = ngx_broadcast_settle_event(pool, row, key.last ? &state : NULL,
                                    &event);

    if (rc == NGX_OK) {
        key.len = row->id_len;
        ngx_memcpy(key.id, row->id, row->id_len);

        /* its number tells hubs apart as well as its name */

        hub.data = (u_char *) &row->hub;
        hub.len = sizeof(row->hub);

        rc = ngx_broadcast_call(NGX_BROADCAST_ON_DISCONNECTED, &hub, &event,
                                ngx_broadcast_settle_done, &key, sizeof(key),
                                NULL);
    }

    ngx_destroy_pool(pool);

    if (rc == NGX_OK) {
        *call = key;
        ngx_broadcast_settle.n++;
    }

    return rc;
}


/* the call for this id; with len 0 a free place; NULL: there is none */

static ngx_broadcast_settle_call_t *
ngx_broadcast_settle_find(u_char *id, size_t len)
{
    ngx_uint_t                    i;
    ngx_broadcast_settle_call_t  *call;

    for (i = 0; i < NGX_BROADCAST_SETTLE_CALLS; i++) {
        call = &ngx_broadcast_settle.calls[i];

        if (call->len == len
            && (len == 0 || ngx_memcmp(call->id, id, len) == 0))
        {
            return call;
        }
    }

    return NULL;
}


/* as find */

static ngx_broadcast_settle_later_t *
ngx_broadcast_settle_later(u_char *id, size_t len)
{
    ngx_uint_t                     i;
    ngx_broadcast_settle_later_t  *later;

    for (i = 0; i < NGX_BROADCAST_SETTLE_LATER; i++) {
        later = &ngx_broadcast_settle.later[i];

        if (later->len == len
            && (len == 0 || ngx_memcmp(later->id, id, len) == 0))
        {
            return later;
        }
    }

    return NULL;
}


static void
ngx_broadcast_settle_done(ngx_broadcast_call_result_t *result, void *data)
{
    ngx_str_t                      id;
    ngx_broadcast_settle_t        *settle = &ngx_broadcast_settle;
    ngx_broadcast_settle_call_t   *key = data, *call;
    ngx_broadcast_settle_later_t  *later;

    call = ngx_broadcast_settle_find(key->id, key->len);

    if (call) {
        call->len = 0;
        settle->n--;
    }

    if (result->status == NGX_BROADCAST_CALL_AWAY) {
        ngx_broadcast_settle_pause();
        return;
    }

    if (result->status != NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_settle_failed(key, result);

    } else {
        ngx_broadcast_backoff_init(&settle->backoff);

        later = ngx_broadcast_settle_later(key->id, key->len);

        if (later) {
            later->len = 0;
        }

        if (key->last) {
            ngx_broadcast_count(NGX_BROADCAST_DB_ABANDONED, 1);
        }

        id.data = key->id;
        id.len = key->len;

        ngx_broadcast_registry_settled(ngx_broadcast_bus.zone, &id);
    }

    if (settle->walking) {
        ngx_broadcast_settle_walk();
    }
}


static void
ngx_broadcast_settle_failed(ngx_broadcast_settle_call_t *key,
    ngx_broadcast_call_result_t *result)
{
    ngx_str_t                      id;
    ngx_uint_t                     tries;
    ngx_broadcast_settle_later_t  *later;

    id.data = key->id;
    id.len = key->len;
    tries = 0;

    if (ngx_broadcast_settle_deep(&result->sqlstate)) {
        tries = ngx_broadcast_registry_tried(ngx_broadcast_bus.zone, &id);
    }

    if (result->sqlstate.len) {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: \"disconnected\" failed, SQLSTATE %V, %s",
                      &result->sqlstate,
                      tries < NGX_BROADCAST_SETTLE_TRIES
                      ? "it is tried again"
                      : "its functions are given up, see "
                        "broadcast.function_error");
    }

    later = ngx_broadcast_settle_later(key->id, key->len);

    if (later == NULL) {
        later = ngx_broadcast_settle_later(NULL, 0);
    }

    if (later == NULL) {
        ngx_broadcast_settle_pause();
        return;
    }

    later->len = key->len;
    ngx_memcpy(later->id, key->id, key->len);

    later->due = ngx_current_msec;

    if (tries < NGX_BROADCAST_SETTLE_TRIES) {
        later->due += NGX_BROADCAST_SETTLE_DELAY;
    }

    ngx_memcpy(later->sqlstate, NGX_BROADCAST_PG_CANCELED,
               sizeof(later->sqlstate));

    if (result->sqlstate.len == sizeof(later->sqlstate)) {
        ngx_memcpy(later->sqlstate, result->sqlstate.data,
                   sizeof(later->sqlstate));
    }
}


/* 1: it may be the functions'; unanswered says nothing about them */

static ngx_uint_t
ngx_broadcast_settle_deep(ngx_str_t *sqlstate)
{
    const u_char  *p;

    if (sqlstate->len != 5) {
        return 0;
    }

    if (ngx_memcmp(sqlstate->data, NGX_BROADCAST_PG_CANCELED, 5) == 0) {
        return 1;
    }

    for (p = ngx_broadcast_settle_passing; *p; p += 2) {
        if (ngx_memcmp(sqlstate->data, p, 2) == 0) {
            return 0;
        }
    }

    return 1;
}


/* the walk begins anew when the pause is over, with the tick */

static void
ngx_broadcast_settle_pause(void)
{
    ngx_broadcast_settle_t  *settle = &ngx_broadcast_settle;

    settle->walking = 0;

    if (!settle->pausing) {
        settle->pausing = 1;
        settle->until = ngx_current_msec
                        + ngx_broadcast_backoff(&settle->backoff);
    }
}
