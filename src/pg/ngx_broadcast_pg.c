
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_md5.h>

#include "shm/ngx_broadcast_binding.h"
#include "shm/ngx_broadcast_lease.h"
#include "pg/ngx_broadcast_failed.h"
#include "pg/ngx_broadcast_method.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay.h"
#include "pg/ngx_broadcast_settle.h"
#include "pg/ngx_broadcast_stage.h"
#include "pg/ngx_broadcast_stream.h"
#include "pg/ngx_broadcast_timer.h"


static void ngx_broadcast_pg_name(ngx_cycle_t *cycle);
static void ngx_broadcast_pg_hubs(void);
static void ngx_broadcast_pg_tick(ngx_event_t *ev);
static ngx_uint_t ngx_broadcast_pg_lease(ngx_uint_t lease);
static void ngx_broadcast_pg_leave(void);
static void ngx_broadcast_pg_nudged(void);


ngx_broadcast_pg_t  ngx_broadcast_pg;


void
ngx_broadcast_pg_start(ngx_cycle_t *cycle, ngx_broadcast_pg_conf_t *conf)
{
    ngx_broadcast_pg_t  *pg = &ngx_broadcast_pg;

    ngx_memzero(pg, sizeof(ngx_broadcast_pg_t));

    if (ngx_broadcast_bus.zone == NULL) {
        return;
    }

    pg->conf = conf;
    pg->log = cycle->log;
    pg->enabled = conf->conninfo.len ? 1 : 0;

    if (pg->enabled) {
        ngx_broadcast_pg_name(cycle);
        ngx_broadcast_pg_pool_init(conf, cycle->log);
        ngx_broadcast_failed_init();
        ngx_broadcast_stage_init(cycle->log);
        ngx_broadcast_stream_start(conf, cycle->log);
        ngx_broadcast_method_start(cycle->log);

    } else {
        ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_DB_STATE,
                                NGX_BROADCAST_DB_OFF);
        ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_STATE,
                                NGX_BROADCAST_RELAY_OFF);
    }

    ngx_broadcast_pg_hubs();

    ngx_broadcast_bus_nudged(ngx_broadcast_pg_nudged);

    pg->tick.handler = ngx_broadcast_pg_tick;
    pg->tick.data = pg;
    pg->tick.log = cycle->log;
    pg->tick.cancelable = 1;

    /* soon, but from the event loop */

    ngx_add_timer(&pg->tick, 1);
}


void
ngx_broadcast_pg_stop(ngx_cycle_t *cycle)
{
    ngx_broadcast_pg_t  *pg = &ngx_broadcast_pg;

    if (pg->conf == NULL) {
        return;
    }

    pg->stopping = 1;

    ngx_broadcast_bus_nudged(NULL);

    if (pg->tick.timer_set) {
        ngx_del_timer(&pg->tick);
    }

    ngx_broadcast_pg_leave();

    if (pg->enabled) {
        ngx_broadcast_pg_pool_done();
        ngx_broadcast_method_stop();
        ngx_broadcast_stream_stop();
    }
}


const char *
ngx_broadcast_pg_conninfo(ngx_uint_t tries)
{
    ngx_str_t    *resolved;
    ngx_array_t  *all = ngx_broadcast_pg.conf->resolutions;

    if (ngx_broadcast_pg.conf->resolved.len == 0) {
        return NULL;
    }

    resolved = all->elts;

    return (char *) resolved[tries % all->nelts].data;
}


ngx_msec_t
ngx_broadcast_pg_timeout(void)
{
    return ngx_broadcast_pg.conf->timeout;
}


ngx_uint_t
ngx_broadcast_pg_enabled(void)
{
    return ngx_broadcast_pg.enabled;
}


ngx_uint_t
ngx_broadcast_pg_state(void)
{
    ngx_uint_t  state;

    if (!ngx_broadcast_pg.enabled) {
        return NGX_BROADCAST_DB_OFF;
    }

    state = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_DB_STATE);

    if (state != NGX_BROADCAST_DB_OFF) {
        return state;
    }

    /* of a new zone's relay: none yet, or it has read what clients wait for */

    return ngx_broadcast_binding_ready(ngx_broadcast_bus.zone)
           ? NGX_BROADCAST_DB_UP : NGX_BROADCAST_DB_DOWN;
}


ngx_uint_t
ngx_broadcast_pg_ready(void)
{
    return !ngx_broadcast_pg.enabled
           || ngx_broadcast_binding_ready(ngx_broadcast_bus.zone);
}


/*
 * The host's name, and what tells this zone from those of other servers on
 * the host and from the one before a restart: the rows in
 * broadcast.connections of that one are not this one's.
 */

static void
ngx_broadcast_pg_name(ngx_cycle_t *cycle)
{
    size_t               len;
    u_char              *p, hash[16];
    ngx_md5_t            md5;
    ngx_broadcast_pg_t  *pg = &ngx_broadcast_pg;

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, "node", 4);
    ngx_md5_update(&md5, ngx_broadcast_zone_secret(ngx_broadcast_bus.zone),
                   32);
    ngx_md5_final(hash, &md5);

    len = ngx_min(cycle->hostname.len, sizeof(pg->name) - 14);

    p = ngx_cpymem(pg->name, cycle->hostname.data, len);
    *p++ = '-';
    p = ngx_hex_dump(p, hash, 6);

    pg->node.data = pg->name;
    pg->node.len = p - pg->name;
}


/* hubs that were there before a reload may be of the other kind now */

static void
ngx_broadcast_pg_hubs(void)
{
    ngx_str_t                 name;
    ngx_uint_t                i, n;
    ngx_broadcast_hub_info_t  info;

    n = ngx_broadcast_hub_count(ngx_broadcast_bus.zone);

    for (i = 0; i < n; i++) {
        ngx_broadcast_hub_info(ngx_broadcast_bus.zone, i, &info);

        name.data = info.name;
        name.len = info.len;

        ngx_broadcast_hub_set_durable(ngx_broadcast_bus.zone, i,
                                      ngx_broadcast_hub_durable(&name));
    }
}


/* four times a second: who relays and who settles, and is it this worker? */

static void
ngx_broadcast_pg_tick(ngx_event_t *ev)
{
    ngx_broadcast_pg_t  *pg = &ngx_broadcast_pg;

    if (ngx_exiting) {

        /*
         * The others go on at once; what was begun here is ended here.  Where
         * all are exiting, of a zone that was replaced, in a master that makes
         * room for another, or for good, the clients that are left are theirs.
         */

        if (!pg->leaving
            || ngx_broadcast_slot_staying(ngx_broadcast_bus.zone))
        {
            pg->leaving = 1;

            ngx_broadcast_pg_leave();
            ngx_add_timer(ev, NGX_BROADCAST_PG_TICK);
            return;
        }
    }

    if (pg->enabled) {
        ngx_broadcast_pg_pool_tick();
        ngx_broadcast_method_tick();

        if (ngx_broadcast_pg_lease(NGX_BROADCAST_LEASE_RELAY)) {
            ngx_broadcast_relay_start();

        } else {
            ngx_broadcast_relay_stop();
        }
    }

    if (ngx_broadcast_pg_lease(NGX_BROADCAST_LEASE_SETTLE)) {
        ngx_broadcast_settle_start();
        ngx_broadcast_settle_tick();

    } else {
        ngx_broadcast_settle_stop();
    }

    ngx_add_timer(ev, NGX_BROADCAST_PG_TICK);
}


static ngx_uint_t
ngx_broadcast_pg_lease(ngx_uint_t lease)
{
    if (ngx_broadcast_bus.slot == NGX_BROADCAST_NO_SLOT) {
        return 0;
    }

    return ngx_broadcast_lease_take(ngx_broadcast_bus.zone, lease,
                                    ngx_broadcast_bus.owner, ngx_current_msec,
                                    NGX_BROADCAST_PG_TERM)
           == NGX_OK;
}


static void
ngx_broadcast_pg_leave(void)
{
    ngx_broadcast_relay_stop();
    ngx_broadcast_timer_stop();
    ngx_broadcast_settle_stop();

    ngx_broadcast_lease_drop(ngx_broadcast_bus.zone,
                             NGX_BROADCAST_LEASE_RELAY,
                             ngx_broadcast_bus.owner);
    ngx_broadcast_lease_drop(ngx_broadcast_bus.zone,
                             NGX_BROADCAST_LEASE_SETTLE,
                             ngx_broadcast_bus.owner);
}


/* this worker was woken: by a record, or because one of these is due */

static void
ngx_broadcast_pg_nudged(void)
{
    ngx_broadcast_relay_woken();
    ngx_broadcast_settle_woken();
}
