
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_buf.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_settle.h"


static void ngx_broadcast_settle_member(ngx_broadcast_buf_t *buf,
    const char *name, u_char *data, size_t len);


/* of ngx_broadcast_reason_e */

static const char  *ngx_broadcast_settle_reasons[NGX_BROADCAST_REASONS] = {
    NULL,
    "connection lost",
    "too slow",
    "rate exceeded",
    "timed out",
    "protocol error",
    "log overrun",
    "drained",
    "closed by the server",
    "token expired",
    "internal error",
    "worker lost"
};


ngx_int_t
ngx_broadcast_settle_event(ngx_pool_t *pool, ngx_broadcast_row_info_t *row,
    ngx_str_t *failed, ngx_str_t *event)
{
    u_char                    *why;
    size_t                     len;
    const char                *reason;
    ngx_broadcast_buf_t        buf;
    ngx_broadcast_hub_info_t   hub;

    ngx_broadcast_hub_info(ngx_broadcast_bus.zone, row->hub, &hub);

    ngx_broadcast_buf_init(&buf, pool, 512);

    ngx_broadcast_buf_literal(&buf, "{\"kind\":\"disconnected\"");

    ngx_broadcast_settle_member(&buf, "connectionId", row->id, row->id_len);
    ngx_broadcast_settle_member(&buf, "hub", hub.name, hub.len);
    ngx_broadcast_settle_member(&buf, "userId", row->user, row->user_len);

    reason = ngx_broadcast_settle_reasons[ngx_min(row->reason,
                                                NGX_BROADCAST_REASONS - 1)];

    why = (u_char *) reason;
    len = reason ? ngx_strlen(reason) : 0;

    if (row->why_len) {
        why = row->why;
        len = row->why_len;
    }

    ngx_broadcast_settle_member(&buf, "error", why, len);

    if (row->owed != NGX_BROADCAST_OWED_ROW) {
        ngx_broadcast_buf_literal(&buf, ",\"owed\":true");
    }

    if (failed) {
        ngx_broadcast_settle_member(&buf, "failed", failed->data, failed->len);
    }

    ngx_broadcast_buf_char(&buf, '}');

    return ngx_broadcast_buf_done(&buf, event);
}


/* an empty one is null */

static void
ngx_broadcast_settle_member(ngx_broadcast_buf_t *buf, const char *name,
    u_char *data, size_t len)
{
    ngx_str_t  text;

    ngx_broadcast_buf_literal(buf, ",\"");
    ngx_broadcast_buf_append(buf, (u_char *) name, ngx_strlen(name));
    ngx_broadcast_buf_literal(buf, "\":");

    if (len == 0) {
        ngx_broadcast_buf_literal(buf, "null");
        return;
    }

    text.data = data;
    text.len = len;

    ngx_broadcast_buf_json(buf, &text);
}
