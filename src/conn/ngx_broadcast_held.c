
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "pg/ngx_broadcast_outbox.h"


/*
 * Plain WebSockets publish to ephemeral hubs without anybody between.  Who
 * sends much would push slow workers off the log's tail: so nothing is read
 * from it while a living worker has much to read.  They go on in the order in
 * which they came here, and each is asked for by its id, for it may have ended.
 */

#define NGX_BROADCAST_HELD_PAUSE  2     /* ms */


typedef struct {
    ngx_queue_t                 queue;
    ngx_uint_t                  len;
    u_char                      id[1];
} ngx_broadcast_held_t;


static void ngx_broadcast_held_over(ngx_event_t *ev);


static ngx_queue_t       ngx_broadcast_helds;
static ngx_event_t       ngx_broadcast_held_event;
static ngx_connection_t  ngx_broadcast_held_dumb;


void
ngx_broadcast_held_init(ngx_log_t *log)
{
    ngx_queue_init(&ngx_broadcast_helds);

    ngx_memzero(&ngx_broadcast_held_event, sizeof(ngx_event_t));

    ngx_broadcast_held_dumb.fd = (ngx_socket_t) -1;

    ngx_broadcast_held_event.handler = ngx_broadcast_held_over;
    ngx_broadcast_held_event.data = &ngx_broadcast_held_dumb;
    ngx_broadcast_held_event.log = log;
    ngx_broadcast_held_event.cancelable = 1;
}


void
ngx_broadcast_held_stop(void)
{
    ngx_queue_t           *q;
    ngx_broadcast_held_t  *held;

    if (ngx_broadcast_held_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_held_event);
    }

    while (!ngx_queue_empty(&ngx_broadcast_helds)) {
        q = ngx_queue_head(&ngx_broadcast_helds);
        ngx_queue_remove(q);

        held = ngx_queue_data(q, ngx_broadcast_held_t, queue);
        ngx_free(held);
    }
}


ngx_uint_t
ngx_broadcast_held(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_held_t  *held;

    if (bc->held) {
        return 1;
    }

    if (bc->protocol != NGX_BROADCAST_PLAIN || !ngx_broadcast_pace()
        || ngx_broadcast_hub_kind(bc->hub->index))
    {
        return 0;
    }

    held = ngx_alloc(sizeof(ngx_broadcast_held_t) + bc->id.len,
                     ngx_broadcast_bus.log);
    if (held == NULL) {
        return 0;
    }

    held->len = bc->id.len;
    ngx_memcpy(held->id, bc->id.data, bc->id.len);

    ngx_queue_insert_tail(&ngx_broadcast_helds, &held->queue);
    bc->held = 1;

    if (!ngx_broadcast_held_event.timer_set) {
        ngx_add_timer(&ngx_broadcast_held_event, NGX_BROADCAST_HELD_PAUSE);
    }

    return 1;
}


/* one that is held again meanwhile stands behind the others */

static void
ngx_broadcast_held_over(ngx_event_t *ev)
{
    ngx_str_t              id;
    ngx_queue_t           *q;
    ngx_broadcast_conn_t  *bc;
    ngx_broadcast_held_t  *held;

    while (!ngx_queue_empty(&ngx_broadcast_helds)) {

        if (ngx_broadcast_pace()) {
            if (!ev->timer_set) {
                ngx_add_timer(ev, NGX_BROADCAST_HELD_PAUSE);
            }

            return;
        }

        q = ngx_queue_head(&ngx_broadcast_helds);
        ngx_queue_remove(q);

        held = ngx_queue_data(q, ngx_broadcast_held_t, queue);

        id.data = held->id;
        id.len = held->len;

        bc = ngx_broadcast_index_find(&id);
        ngx_free(held);

        if (bc && bc->held) {
            bc->held = 0;
            ngx_broadcast_inbound_run(bc);
        }
    }
}
