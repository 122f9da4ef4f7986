
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_binding.h"
#include "pg/ngx_broadcast_backoff.h"
#include "pg/ngx_broadcast_call.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_timer.h"


/*
 * A look asks which timers are due first and in how many milliseconds, by the
 * server's clock alone.  Those that are due are called, each by a call of its
 * own, and the next look is when the next one is due, or when a call ended.
 *
 *   start, changed --> LOOK --+--> call, call, …  --> done --> LOOK
 *                       ^     |
 *                       +-----+  at the next due time, at most 3 s
 *
 * A tick that fails is over, the database sees to that.  A call that ran
 * nothing (another session holds the timer, or the way there broke) has its
 * timer wait, longer each time, and no other.
 */

#define NGX_BROADCAST_TIMER_CALLS   8       /* in flight, at most */
#define NGX_BROADCAST_TIMER_PLACES  32      /* and of those that wait */
#define NGX_BROADCAST_TIMER_ROWS    "64"    /* of a look: more than PLACES */
#define NGX_BROADCAST_TIMER_LOOK    3000    /* ms, what nobody told */
#define NGX_BROADCAST_TIMER_AGAIN   500     /* ms, when the pool refused */


typedef struct {
    int64_t                     id;         /* 0: free */
    ngx_broadcast_call_t       *call;       /* in flight, borrowed from it;
                                               NULL: it waits */
    ngx_msec_t                  until;      /* when it may be called again */
    ngx_broadcast_backoff_t     backoff;
} ngx_broadcast_timer_place_t;


typedef struct {
    ngx_uint_t                   running;
    ngx_uint_t                   looking;   /* 1: the answer is due */
    ngx_uint_t                   again;     /* 1: another look behind it */
    ngx_broadcast_pg_query_t     look;
    ngx_event_t                  due;
    ngx_uint_t                   n;         /* calls in flight */
    ngx_broadcast_timer_place_t  places[NGX_BROADCAST_TIMER_PLACES];
} ngx_broadcast_timer_t;


static void ngx_broadcast_timer_look(void);
static void ngx_broadcast_timer_looked(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static ngx_msec_t ngx_broadcast_timer_rows(PGresult *result);
static ngx_uint_t ngx_broadcast_timer_limit(void);
static ngx_int_t ngx_broadcast_timer_call(int64_t id);
static void ngx_broadcast_timer_done(ngx_broadcast_call_result_t *result,
    void *data);
static ngx_uint_t ngx_broadcast_timer_ran(ngx_broadcast_call_result_t *result,
    int64_t id);
static ngx_broadcast_timer_place_t *ngx_broadcast_timer_place(int64_t id);
static ngx_broadcast_timer_place_t *ngx_broadcast_timer_free(void);
static void ngx_broadcast_timer_arm(ngx_msec_t wait);
static void ngx_broadcast_timer_due(ngx_event_t *ev);


static ngx_broadcast_timer_t  ngx_broadcast_timer;


void
ngx_broadcast_timer_start(void)
{
    ngx_uint_t                    i;
    ngx_broadcast_timer_t        *timer = &ngx_broadcast_timer;
    ngx_broadcast_timer_place_t  *place;

    if (timer->running) {
        return;
    }

    timer->running = 1;

    timer->due.handler = ngx_broadcast_timer_due;
    timer->due.data = timer;
    timer->due.log = ngx_broadcast_pg.log;
    timer->due.cancelable = 1;

    /* calls of an earlier term may still be in flight: they stay */

    for (i = 0; i < NGX_BROADCAST_TIMER_PLACES; i++) {
        place = &timer->places[i];

        if (place->call == NULL) {
            place->id = 0;
        }
    }

    ngx_broadcast_timer_look();
}


void
ngx_broadcast_timer_stop(void)
{
    ngx_uint_t                    i;
    ngx_broadcast_timer_t        *timer = &ngx_broadcast_timer;
    ngx_broadcast_timer_place_t  *place;

    timer->running = 0;

    if (timer->due.timer_set) {
        ngx_del_timer(&timer->due);
    }

    if (!ngx_exiting && !ngx_broadcast_pg.stopping) {
        return;
    }

    for (i = 0; i < NGX_BROADCAST_TIMER_PLACES; i++) {
        place = &timer->places[i];

        if (place->call) {
            ngx_broadcast_call_cancel(place->call);
            place->call = NULL;
            timer->n--;
        }
    }
}


void
ngx_broadcast_timer_changed(void)
{
    ngx_broadcast_timer_look();
}


/* no call at all where no timer is bound */

static void
ngx_broadcast_timer_look(void)
{
    ngx_broadcast_timer_t     *timer = &ngx_broadcast_timer;
    ngx_broadcast_pg_query_t  *query = &timer->look;

    if (!timer->running
        || !ngx_broadcast_binding_find(ngx_broadcast_bus.zone,
                                       NGX_BROADCAST_ON_TIMER,
                                       NULL, NULL, NULL))
    {
        return;
    }

    if (timer->looking) {
        timer->again = 1;
        return;
    }

    query->statement = NGX_BROADCAST_PG_TIMERS;
    query->nparams = 1;
    query->params[0] = NGX_BROADCAST_TIMER_ROWS;
    query->done = ngx_broadcast_timer_looked;

    if (ngx_broadcast_pg_pool_send(query, 1) != NGX_OK) {
        ngx_broadcast_timer_arm(NGX_BROADCAST_TIMER_AGAIN);
        return;
    }

    timer->looking = 1;
    timer->again = 0;
}


static void
ngx_broadcast_timer_looked(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_str_t               state;
    ngx_msec_t              wait;
    ngx_broadcast_timer_t  *timer = &ngx_broadcast_timer;

    timer->looking = 0;

    if (!timer->running) {
        return;
    }

    if (status == NGX_BROADCAST_PG_OK) {
        wait = ngx_broadcast_timer_rows(result);

    } else {
        wait = NGX_BROADCAST_TIMER_AGAIN;
    }

    if (status == NGX_BROADCAST_PG_FAILED) {
        state = ngx_broadcast_pg_sqlstate(result);
        wait = NGX_BROADCAST_TIMER_LOOK;

        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: broadcast.timers() failed, SQLSTATE %V",
                      &state);
    }

    ngx_broadcast_timer_arm(wait);

    if (timer->again && status == NGX_BROADCAST_PG_OK) {
        ngx_broadcast_timer_look();
    }
}


/* calls what is due; how long there is nothing more to do */

static ngx_msec_t
ngx_broadcast_timer_rows(PGresult *result)
{
    int                           i, n;
    int64_t                       id, left;
    ngx_msec_t                    wait;
    ngx_broadcast_timer_place_t  *place;

    n = PQntuples(result);
    wait = NGX_BROADCAST_TIMER_LOOK;

    for (i = 0; i < n; i++) {
        id = ngx_broadcast_pg_number(result, i, 0);
        left = ngx_broadcast_pg_number(result, i, 1);

        if (left > 0) {
            return ngx_min(wait, (ngx_msec_t) left);
        }

        place = ngx_broadcast_timer_place(id);

        if (place && place->call) {
            continue;
        }

        if (place
            && (ngx_msec_int_t) (place->until - ngx_current_msec) > 0)
        {
            wait = ngx_min(wait, place->until - ngx_current_msec);
            continue;
        }

        /* the most overdue first; the end of a call makes the next look */

        if (ngx_broadcast_timer.n >= ngx_broadcast_timer_limit()) {
            return wait;
        }

        if (ngx_broadcast_timer_call(id) != NGX_OK) {
            return NGX_BROADCAST_TIMER_AGAIN;
        }
    }

    return wait;
}


/*
 * A connection is left to quick queries and one to the calls of clients, if
 * there are as many: timers that run long hold up each other at most.
 */

static ngx_uint_t
ngx_broadcast_timer_limit(void)
{
    ngx_uint_t  pool = ngx_broadcast_pg.conf->pool;

    return pool > 3 ? ngx_min(pool - 2, NGX_BROADCAST_TIMER_CALLS) : 1;
}


static ngx_int_t
ngx_broadcast_timer_call(int64_t id)
{
    u_char                        text[64];
    ngx_int_t                     rc;
    ngx_str_t                     name, event;
    ngx_broadcast_call_t         *call;
    ngx_broadcast_timer_place_t  *place;

    place = ngx_broadcast_timer_place(id);

    if (place == NULL) {
        place = ngx_broadcast_timer_free();
    }

    event.data = text;
    event.len = ngx_sprintf(text, "{\"kind\":\"timer\",\"id\":%L}", id) - text;

    name.data = (u_char *) &id;
    name.len = sizeof(id);

    rc = ngx_broadcast_call(NGX_BROADCAST_ON_TIMER, &name, &event,
                            ngx_broadcast_timer_done, &id, sizeof(id), &call);

    if (rc == NGX_OK) {
        place->id = id;
        place->call = call;
        ngx_broadcast_timer.n++;
    }

    return rc;
}


static void
ngx_broadcast_timer_done(ngx_broadcast_call_result_t *result, void *data)
{
    int64_t                      *id = data;
    ngx_broadcast_timer_place_t  *place;

    place = ngx_broadcast_timer_place(*id);

    if (place && place->call) {
        place->call = NULL;
        ngx_broadcast_timer.n--;

        if (ngx_broadcast_timer_ran(result, *id)) {
            place->id = 0;

        } else {
            place->until = ngx_current_msec
                           + ngx_broadcast_backoff(&place->backoff);
        }
    }

    ngx_broadcast_timer_look();
}


/* 0: it is as due as it was */

static ngx_uint_t
ngx_broadcast_timer_ran(ngx_broadcast_call_result_t *result, int64_t id)
{
    static u_char  busy[] = "{\"busy\":";

    if (result->status == NGX_BROADCAST_CALL_FAILED) {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: the timer %L of broadcast.timer_state "
                      "could not be run, SQLSTATE %V, it is tried again",
                      id, &result->sqlstate);
    }

    return result->status == NGX_BROADCAST_CALL_OK
           && (result->value.len < sizeof(busy) - 1
               || ngx_memcmp(result->value.data, busy, sizeof(busy) - 1) != 0);
}


static ngx_broadcast_timer_place_t *
ngx_broadcast_timer_place(int64_t id)
{
    ngx_uint_t              i;
    ngx_broadcast_timer_t  *timer = &ngx_broadcast_timer;

    for (i = 0; i < NGX_BROADCAST_TIMER_PLACES; i++) {
        if (timer->places[i].id == id) {
            return &timer->places[i];
        }
    }

    return NULL;
}


/*
 * A free place, else that of the one which waits the shortest.  There are more
 * places than calls, so one of them is not in flight.
 */

static ngx_broadcast_timer_place_t *
ngx_broadcast_timer_free(void)
{
    ngx_uint_t                    i;
    ngx_broadcast_timer_t        *timer = &ngx_broadcast_timer;
    ngx_broadcast_timer_place_t  *place, *best;

    best = NULL;

    for (i = 0; i < NGX_BROADCAST_TIMER_PLACES; i++) {
        place = &timer->places[i];

        if (place->call) {
            continue;
        }

        if (place->id == 0) {
            best = place;
            break;
        }

        if (best == NULL
            || (ngx_msec_int_t) (place->until - best->until) < 0)
        {
            best = place;
        }
    }

    ngx_broadcast_backoff_init(&best->backoff);

    return best;
}


static void
ngx_broadcast_timer_arm(ngx_msec_t wait)
{
    ngx_add_timer(&ngx_broadcast_timer.due, wait);
}


static void
ngx_broadcast_timer_due(ngx_event_t *ev)
{
    ngx_broadcast_timer_look();
}
