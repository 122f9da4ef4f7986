
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_relay_local.h"


/*
 * When the leading relay looks though nobody rang.
 *
 * Rows that a turn finds unasked tell of senders that do not ring.  So it looks
 * again soon, then ever later: 2, 4, 8, ... ms, until the poll's second is as
 * near; and from the start with each turn that finds more.  Those that ring a
 * moment later are counted off again.
 *
 * Senders whose doorbell is `adaptive` are told not to ring: once they ring
 * often, the relay promises to look every 2 ms until some time, which stands in
 * a sequence of the database, and renews that as long as it finds much.
 *
 *   quiet  --many rings-->  promised  --few rows-->  taken back, quiet
 *
 * A sender looks at the promise before it commits, so what it sends may be
 * there only after the promise was taken back.  Then it is found by one of the
 * looks that follow each other ever later: as late again as its commit was
 * behind that moment, and some ms; never later than by the poll.
 *
 * A relay that dies takes back nothing: its promise is over by itself.  Who
 * leads next takes it back first, should the server's clock have been another.
 */


static void ngx_broadcast_relay_bell_late(void);
static void ngx_broadcast_relay_bell_next(ngx_msec_t step);
static void ngx_broadcast_relay_bell_window(void);
static void ngx_broadcast_relay_promise(ngx_msec_t time);
static void ngx_broadcast_relay_promise_made(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


static const char  ngx_broadcast_relay_promise_text[] =
    "SELECT broadcast.promise($1::int)";


void
ngx_broadcast_relay_bell(ngx_uint_t adaptive)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->rung = 1;

    ngx_broadcast_relay_bell_late();

    if (!adaptive) {
        return;
    }

    ngx_broadcast_relay_bell_window();

    if (++relay->rings >= NGX_BROADCAST_RELAY_RINGS && !relay->promised) {
        ngx_broadcast_relay_promise(NGX_BROADCAST_RELAY_PROMISE);
    }
}


void
ngx_broadcast_relay_bell_lead(void)
{
    ngx_broadcast_relay_promise(0);
}


void
ngx_broadcast_relay_bell_stop(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->soon = 0;
    relay->unrung = 0;
    relay->promised = 0;
    relay->promise.data = NULL;

    if (relay->quick.timer_set) {
        ngx_del_timer(&relay->quick);
    }
}


void
ngx_broadcast_relay_bell_turn(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->asked = relay->rung;
    relay->rung = 0;
}


void
ngx_broadcast_relay_bell_turned(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (!relay->leader) {
        return;
    }

    ngx_broadcast_relay_bell_window();

    if (relay->numbered) {
        relay->finds++;
    }

    if (relay->promised) {

        /* the window before this one told whether it is worth it */

        if (!relay->quick.timer_set) {
            ngx_broadcast_relay_bell_next(NGX_BROADCAST_RELAY_QUICK);
        }

        return;
    }

    if (relay->numbered && !relay->asked) {
        relay->unrung++;
        ngx_broadcast_relay_bell_next(NGX_BROADCAST_RELAY_QUICK);
    }
}


void
ngx_broadcast_relay_bell_poll(ngx_event_t *ev)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (!relay->leader || relay->phase != NGX_BROADCAST_RELAY_RUNNING) {
        return;
    }

    if (relay->promised) {
        ngx_broadcast_relay_turn();
        return;
    }

    if (relay->soon < NGX_BROADCAST_RELAY_POLL / 2) {
        ngx_broadcast_relay_bell_next(relay->soon * 2);

    } else {
        relay->unrung = 0;
    }

    ngx_broadcast_relay_turn();
}


/*
 * A ring may come behind the turn that has found what it was for, by chance:
 * then all of those were rung for, and looking on would find more by chance.
 */

static void
ngx_broadcast_relay_bell_late(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->unrung == 0 || --relay->unrung || relay->promised) {
        return;
    }

    if (relay->quick.timer_set) {
        ngx_del_timer(&relay->quick);
    }
}


static void
ngx_broadcast_relay_bell_next(ngx_msec_t step)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->soon = step;

    /* nginx leaves a timer as it is where the new moment is near the old one */

    if (relay->quick.timer_set) {
        ngx_del_timer(&relay->quick);
    }

    ngx_add_timer(&relay->quick, step);
}


/* what is counted in it begins anew; how it was decides about the promise */

static void
ngx_broadcast_relay_bell_window(void)
{
    ngx_uint_t              finds;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (ngx_current_msec - relay->window < NGX_BROADCAST_RELAY_WINDOW) {
        return;
    }

    finds = relay->finds;

    relay->window = ngx_current_msec;
    relay->rings = 0;
    relay->finds = 0;

    if (!relay->promised || relay->promise.data) {
        return;
    }

    /* on a busy machine there may be one such between others */

    relay->seldom = finds < NGX_BROADCAST_RELAY_FINDS ? relay->seldom + 1 : 0;

    if (relay->seldom == NGX_BROADCAST_RELAY_SELDOM) {
        relay->seldom = 0;
        ngx_broadcast_relay_promise(0);

    } else if ((ngx_msec_int_t) (relay->promised - ngx_current_msec)
               < NGX_BROADCAST_RELAY_PROMISE / 2)
    {
        ngx_broadcast_relay_promise(NGX_BROADCAST_RELAY_PROMISE);
    }
}


/*
 * It is kept from now on, and as long as it may stand in the database: it was
 * made there before the answer came.
 */

static void
ngx_broadcast_relay_promise(ngx_msec_t time)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->promise.data) {
        return;
    }

    if (time) {
        relay->promised = ngx_current_msec + time;

        /* the next look may be half a second away, and nobody rings for it */

        if (!relay->quick.timer_set
            || relay->soon != NGX_BROADCAST_RELAY_QUICK)
        {
            ngx_broadcast_relay_bell_next(NGX_BROADCAST_RELAY_QUICK);
        }
    }

    (void) ngx_sprintf((u_char *) relay->promise_text, "%M%Z", time);

    relay->promise.data = time ? relay->promise_text : (void *) relay;
    relay->promise.nparams = 1;
    relay->promise.params[0] = relay->promise_text;

    ngx_broadcast_relay_send(&relay->promise, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_relay_promise_text,
                             ngx_broadcast_relay_promise_made);
}


static void
ngx_broadcast_relay_promise_made(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_uint_t              back;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    /* without the right it is not tried again: all senders ring, as before */

    if (status != NGX_BROADCAST_PG_OK) {
        relay->promised = 0;
        return;
    }

    back = query->data == relay;
    query->data = NULL;

    if (!back) {
        relay->promised = ngx_current_msec + NGX_BROADCAST_RELAY_PROMISE;
        return;
    }

    /* who looked before it was taken back may commit from now on */

    relay->promised = 0;
    ngx_broadcast_relay_bell_next(NGX_BROADCAST_RELAY_QUICK);
}
