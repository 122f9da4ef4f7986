
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_binding.h"
#include "pg/ngx_broadcast_relay_local.h"
#include "pg/ngx_broadcast_timer.h"


const char  ngx_broadcast_relay_bindings_text[] =
    "SELECT one.version, b.kind, b.hub, b.event, b.role"
    " FROM (SELECT broadcast.bindings_version() AS version OFFSET 0) one"
    " LEFT JOIN broadcast.bindings() b ON true";


/* rows of version, kind, hub, event, role; all but the first may be null */

void
ngx_broadcast_relay_bind(PGresult *result)
{
    int                        i, n;
    ngx_str_t                  kind;
    ngx_uint_t                 k, event;
    ngx_array_t                bindings;
    ngx_pool_t                *pool;
    ngx_broadcast_binding_t   *b;

    static const char  *kinds[] = {      /* of ngx_broadcast_event_e */
        "connect", "connected", "disconnected", "message", "http", "timer",
        "after"
    };

    n = PQntuples(result);

    pool = ngx_create_pool(4096, ngx_broadcast_pg.log);
    if (pool == NULL) {
        return;
    }

    if (ngx_array_init(&bindings, pool, n,
                       sizeof(ngx_broadcast_binding_t)) != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return;
    }

    for (i = 0; i < n; i++) {

        if (PQgetisnull(result, i, 1)) {
            continue;
        }

        kind = ngx_broadcast_pg_value(result, i, 1);
        event = NGX_BROADCAST_EVENTS;

        for (k = 0; k < NGX_BROADCAST_EVENTS; k++) {
            if (ngx_strcmp(kind.data, kinds[k]) == 0) {
                event = k;
            }
        }

        b = event < NGX_BROADCAST_EVENTS ? ngx_array_push(&bindings) : NULL;

        if (b == NULL) {
            continue;
        }

        b->event = event;
        b->hub = ngx_broadcast_pg_value(result, i, 2);
        b->name = ngx_broadcast_pg_value(result, i, 3);
        b->role = ngx_broadcast_pg_value(result, i, 4);
    }

    if (ngx_broadcast_binding_replace(ngx_broadcast_bus.zone, bindings.elts,
                                      bindings.nelts)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_broadcast_pg.log, 0,
                      "broadcast: %ui bindings do not fit into the zone: "
                      "every event is asked about, and http functions with "
                      "a role answer 401 to all; make \"broadcast_zone\" "
                      "larger", bindings.nelts);
    }

    ngx_broadcast_relay.version = ngx_broadcast_pg_number(result, 0, 0);

    /* behind the bindings: workers read the methods anew when it changes */

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_BINDINGS,
                            ngx_broadcast_relay.version);

    ngx_destroy_pool(pool);

    ngx_broadcast_timer_changed();
}
