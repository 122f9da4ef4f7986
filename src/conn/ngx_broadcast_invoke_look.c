
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_invoke_local.h"
#include "conn/ngx_broadcast_afar.h"
#include "conn/ngx_broadcast_fanout.h"


/*
 * An answer that is sent comes by the log.  What makes that no answer is sent,
 * the death of the owner above all, is found by looking: every LOOK ms the
 * registry is asked whether the connection is still there.  Of other nodes the
 * database is asked, one question at a time and for each once a second.
 */

#define NGX_BROADCAST_INVOKE_AFAR   1000    /* ms */

/* the answer may be committed, and not read here yet, when the row is gone */
#define NGX_BROADCAST_INVOKE_GONES  2


static void ngx_broadcast_invoke_look(ngx_broadcast_invoke_t *invoke);
static void ngx_broadcast_invoke_look_here(ngx_broadcast_invoke_t *invoke);
static void ngx_broadcast_invoke_look_afar(void);


static ngx_uint_t  ngx_broadcast_invoke_looking;    /* 1: at the database */


void
ngx_broadcast_invoke_handler(ngx_event_t *ev)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_INVOKES && ngx_broadcast_invoke_count; i++) {

        if (ngx_broadcast_invokes[i]) {
            ngx_broadcast_invoke_look(ngx_broadcast_invokes[i]);
        }
    }

    ngx_broadcast_invoke_look_afar();

    if (ngx_broadcast_invoke_count && !ev->timer_set) {
        ngx_add_timer(ev, NGX_BROADCAST_INVOKE_LOOK);
    }
}


static void
ngx_broadcast_invoke_look(ngx_broadcast_invoke_t *invoke)
{
    if ((ngx_msec_int_t) (invoke->deadline - ngx_current_msec) <= 0) {
        ngx_broadcast_invoke_forget(invoke);
        ngx_broadcast_invoke_end(invoke, NGX_BROADCAST_INVOKE_TIMEOUT, NULL);
        return;
    }

    if (!invoke->afar) {
        ngx_broadcast_invoke_look_here(invoke);
    }
}


static void
ngx_broadcast_invoke_look_here(ngx_broadcast_invoke_t *invoke)
{
    ngx_str_t                 connection;
    ngx_broadcast_row_info_t  row;

    connection.data = invoke->connection;
    connection.len = invoke->len;

    /* dead owners are swept once a second; who waits need not wait for that */

    if (ngx_broadcast_registry_find(ngx_broadcast_bus.zone, &connection, &row)
        != NGX_OK
        || row.state != NGX_BROADCAST_ROW_LIVE
        || (row.owner
            && !ngx_broadcast_slot_alive(ngx_broadcast_bus.zone, row.owner)))
    {
        /* its last word may stand in the log, and not be read yet */

        if (invoke->head == 0) {
            invoke->head = ngx_broadcast_log_head(ngx_broadcast_bus.zone);
        }

        if (ngx_broadcast_fanout_matched() >= invoke->head) {
            ngx_broadcast_invoke_end(invoke, NGX_BROADCAST_INVOKE_GONE, NULL);
            return;
        }

        ngx_broadcast_reader_post();
    }
}


/* for the question that has waited longest, if its time has come */

static void
ngx_broadcast_invoke_look_afar(void)
{
    ngx_str_t                connection;
    ngx_uint_t               i;
    ngx_broadcast_invoke_t  *invoke, *oldest;

    if (ngx_broadcast_invoke_looking || ngx_broadcast_invoke_count == 0) {
        return;
    }

    oldest = NULL;

    for (i = 0; i < NGX_BROADCAST_INVOKES; i++) {
        invoke = ngx_broadcast_invokes[i];

        if (invoke && invoke->afar
            && ngx_current_msec - invoke->looked >= NGX_BROADCAST_INVOKE_AFAR
            && (oldest == NULL
                || (ngx_msec_int_t) (invoke->looked - oldest->looked) < 0))
        {
            oldest = invoke;
        }
    }

    if (oldest == NULL) {
        return;
    }

    connection.data = oldest->connection;
    connection.len = oldest->len;

    oldest->looked = ngx_current_msec;

    if (ngx_broadcast_afar_look(oldest->hub, &connection, oldest->serial)
        == NGX_OK)
    {
        ngx_broadcast_invoke_looking = 1;
    }
}


void
ngx_broadcast_invoke_looked(uint64_t serial, ngx_uint_t here)
{
    ngx_broadcast_invoke_t  *invoke;

    ngx_broadcast_invoke_looking = 0;

    invoke = ngx_broadcast_invoke_find(serial);

    if (invoke) {
        invoke->gone = here ? 0 : invoke->gone + 1;

        if (invoke->gone == NGX_BROADCAST_INVOKE_GONES) {
            ngx_broadcast_invoke_end(invoke, NGX_BROADCAST_INVOKE_GONE, NULL);
        }
    }

    ngx_broadcast_invoke_look_afar();
}
