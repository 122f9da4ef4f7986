
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_stage.h"


/* the door itself; what needs libpq is behind ngx_broadcast_stage.h */


ngx_uint_t
ngx_broadcast_hub_durable(ngx_str_t *hub)
{
    ngx_str_t    *name;
    ngx_uint_t    i;
    ngx_array_t  *ephemeral;

    if (!ngx_broadcast_pg.enabled) {
        return 0;
    }

    ephemeral = ngx_broadcast_pg.conf->ephemeral;

    if (ephemeral == NULL) {
        return 1;
    }

    name = ephemeral->elts;

    for (i = 0; i < ephemeral->nelts; i++) {

        if (name[i].len == 1 && name[i].data[0] == '*') {
            return 0;
        }

        if (name[i].len == hub->len
            && ngx_memcmp(name[i].data, hub->data, hub->len) == 0)
        {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_broadcast_hub_kind(ngx_uint_t hub)
{
    ngx_str_t                 name;
    ngx_broadcast_hub_info_t  info;

    if (!ngx_broadcast_pg.enabled) {
        return 0;
    }

    ngx_broadcast_hub_info(ngx_broadcast_bus.zone, hub, &info);

    if (ngx_exiting) {
        return info.durable;
    }

    name.data = info.name;
    name.len = info.len;

    return ngx_broadcast_hub_durable(&name);
}


ngx_int_t
ngx_broadcast_hub_index(ngx_str_t *hub, ngx_uint_t *index)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_hub_get(ngx_broadcast_bus.zone, hub,
                               ngx_broadcast_hub_durable(hub), index);

    if (rc != NGX_OK) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_FULL, 1);
        ngx_broadcast_bus_full("a hub");
    }

    return rc;
}


ngx_int_t
ngx_broadcast_outbox_send(ngx_broadcast_record_t *recs, ngx_uint_t n,
    ngx_uint_t want, ngx_str_t *key, ngx_broadcast_sent_t *sent,
    ngx_broadcast_sent_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call)
{
    ngx_int_t                 rc;
    ngx_str_t                 hub;
    ngx_broadcast_hub_info_t  info;

    ngx_memzero(sent, sizeof(ngx_broadcast_sent_t));
    sent->count = n;

    if (ngx_broadcast_hub_kind(recs[0].hub)) {

        ngx_broadcast_hub_info(ngx_broadcast_bus.zone, recs[0].hub, &info);
        hub.data = info.name;
        hub.len = info.len;

        return ngx_broadcast_stage_send(&hub, recs, n, want, key, sent,
                                        handler, data, size, call);
    }

    rc = ngx_broadcast_publish(recs, n);

    if (rc != NGX_OK) {
        sent->status = NGX_BROADCAST_NOT_FIT;
        return NGX_BUSY;
    }

    sent->status = NGX_BROADCAST_SENT;
    sent->position = recs[n - 1].position;

    return NGX_OK;
}


void
ngx_broadcast_outbox_seen(ngx_broadcast_record_t *rec)
{
    if (rec->mark) {
        ngx_broadcast_stage_seen(rec);
    }
}
