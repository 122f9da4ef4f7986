
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_bus.h"
#include "bus/ngx_broadcast_heir.h"
#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_rule.h"


#define NGX_BROADCAST_BUS_INTERVAL  1000    /* milliseconds */


static void ngx_broadcast_bus_slot(ngx_cycle_t *cycle);
static void ngx_broadcast_bus_rung(ngx_event_t *ev);
static void ngx_broadcast_bus_tick(ngx_event_t *ev);


ngx_broadcast_bus_t      ngx_broadcast_bus = {
    NULL, NGX_BROADCAST_NO_SLOT, 0, NULL, NULL
};

static ngx_event_t       ngx_broadcast_bus_timer;
static ngx_connection_t  ngx_broadcast_bus_dummy;


/*
 * The slot comes first: from then on we are rung for, and the descriptor
 * remembers it.  The cursor is taken after that, so no record can fall
 * between.
 */

void
ngx_broadcast_bus_start(ngx_cycle_t *cycle, ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_pt hook, ngx_broadcast_overrun_pt overrun)
{
    ngx_event_t  *timer;

    ngx_broadcast_bus.zone = zone;
    ngx_broadcast_bus.slot = NGX_BROADCAST_NO_SLOT;
    ngx_broadcast_bus.owner = 0;
    ngx_broadcast_bus.log = cycle->log;

    if (zone == NULL) {
        return;
    }

#if (NGX_BROADCAST_DEBUG)
    ngx_broadcast_zone_die_at(getenv("BROADCAST_STOP"));
#endif

    ngx_broadcast_bus_slot(cycle);

    if (ngx_broadcast_bus.slot == NGX_BROADCAST_NO_SLOT) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "broadcast: all %ui places of workers are taken, this "
                      "worker looks for messages once a second only",
                      (ngx_uint_t) NGX_BROADCAST_SLOTS);

        ngx_broadcast_count(NGX_BROADCAST_UNPLACED, 1);
    }

    ngx_broadcast_reader_start(cycle, hook, overrun);
    ngx_broadcast_heir_beat();

    ngx_broadcast_bus_dummy.fd = (ngx_socket_t) -1;

    timer = &ngx_broadcast_bus_timer;

    ngx_memzero(timer, sizeof(ngx_event_t));

    timer->data = &ngx_broadcast_bus_dummy;
    timer->log = cycle->log;
    timer->handler = ngx_broadcast_bus_tick;
    timer->cancelable = 1;

    ngx_add_timer(timer, NGX_BROADCAST_BUS_INTERVAL);
}


static void
ngx_broadcast_bus_slot(ngx_cycle_t *cycle)
{
    ngx_uint_t             slot;
    ngx_broadcast_owner_t  owner;

    if (ngx_broadcast_slot_claim(ngx_broadcast_bus.zone, &slot, &owner)
        != NGX_OK)
    {
        return;
    }

    ngx_broadcast_bus.slot = slot;
    ngx_broadcast_bus.owner = owner;

    /* without it the timer has to do */

    (void) ngx_broadcast_wake_listen(cycle, slot, ngx_broadcast_bus_rung);
}


void
ngx_broadcast_bus_stop(ngx_cycle_t *cycle)
{
    if (ngx_broadcast_bus.zone == NULL) {
        return;
    }

    if (ngx_broadcast_bus_timer.timer_set) {
        ngx_del_timer(&ngx_broadcast_bus_timer);
    }

    ngx_broadcast_reader_stop();
    ngx_broadcast_wake_unlisten();

    if (ngx_broadcast_bus.slot != NGX_BROADCAST_NO_SLOT) {
        ngx_broadcast_slot_release(ngx_broadcast_bus.zone,
                                   ngx_broadcast_bus.slot);
    }

    ngx_broadcast_bus.zone = NULL;
    ngx_broadcast_bus.slot = NGX_BROADCAST_NO_SLOT;
    ngx_broadcast_bus.owner = 0;
}


static void
ngx_broadcast_bus_rung(ngx_event_t *ev)
{
    ngx_broadcast_wake_seen(ev);
    ngx_broadcast_reader_drain(ev);
}


/* covers a wake-up that was lost, and what others left when they died */

static void
ngx_broadcast_bus_tick(ngx_event_t *ev)
{
    ngx_uint_t  dead;

    if (ngx_broadcast_bus.slot == NGX_BROADCAST_NO_SLOT) {
        ngx_broadcast_bus_slot((ngx_cycle_t *) ngx_cycle);

        /* nobody remembers of which hubs it has clients */

        ngx_broadcast_bus_watch(NGX_BROADCAST_HUB_NONE, 1);
    }

    dead = ngx_broadcast_slot_reap(ngx_broadcast_bus.zone);

    if (dead) {
        ngx_log_error(NGX_LOG_NOTICE, ev->log, 0,
                      "broadcast: released what %ui dead worker(s) held",
                      dead);
    }

    ngx_broadcast_registry_expire(ngx_broadcast_bus.zone, ngx_time());
    ngx_broadcast_rule_expire(ngx_broadcast_bus.zone, ngx_time());

    if (!ngx_exiting) {
        ngx_broadcast_heir_beat();
    }

    if (ngx_broadcast_bus.slot != NGX_BROADCAST_NO_SLOT && ngx_exiting) {
        ngx_broadcast_slot_exiting(ngx_broadcast_bus.zone,
                                   ngx_broadcast_bus.slot);
    }

    ngx_add_timer(ev, NGX_BROADCAST_BUS_INTERVAL);

    ngx_broadcast_reader_drain(ev);
}


void
ngx_broadcast_bus_nudged(ngx_broadcast_nudge_pt hook)
{
    ngx_broadcast_bus.nudge = hook;
}


/* what was not rung for stands before the connection, and is read first */

void
ngx_broadcast_bus_watch(ngx_uint_t hub, ngx_uint_t on)
{
    if (ngx_broadcast_bus.zone == NULL) {
        return;
    }

    ngx_broadcast_slot_watch(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                             hub, on);
    if (on) {
        ngx_broadcast_reader_post();
    }
}


void
ngx_broadcast_wake(ngx_uint_t slot)
{
    if (ngx_broadcast_bus.zone == NULL || slot >= NGX_BROADCAST_SLOTS) {
        return;
    }

    if (slot == ngx_broadcast_bus.slot) {
        ngx_broadcast_reader_post();
        return;
    }

    if (ngx_broadcast_slot_arm(ngx_broadcast_bus.zone, slot)) {
        ngx_broadcast_wake_ring(slot, ngx_broadcast_bus.log);
        ngx_broadcast_count(NGX_BROADCAST_WAKES, 1);
    }
}
