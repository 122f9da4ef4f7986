
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_afar.h"
#include "bus/ngx_broadcast_bus.h"
#include "conn/ngx_broadcast_invoke.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_presence.h"


static void ngx_broadcast_afar_sent(ngx_broadcast_sent_t *sent, void *data);
static void ngx_broadcast_afar_looked(ngx_broadcast_presence_t *presence,
    void *data);


ngx_int_t
ngx_broadcast_afar_send(ngx_broadcast_record_t *rec, uint64_t serial)
{
    u_char                *p;
    ngx_int_t              rc;
    ngx_broadcast_sent_t   sent;

    /* PostgreSQL has no text with U+0000; only a client's error may hold it */

    p = ngx_strlchr(rec->arguments.data,
                    rec->arguments.data + rec->arguments.len, '\0');
    if (p) {
        rec->arguments.len = p - rec->arguments.data;
    }

    rc = ngx_broadcast_outbox_send(rec, 1, NGX_BROADCAST_KEPT, NULL, &sent,
                                   ngx_broadcast_afar_sent, &serial,
                                   sizeof(serial), NULL);

    switch (rc) {

    case NGX_OK:
    case NGX_AGAIN:
        return NGX_OK;

    case NGX_BUSY:
        return sent.status == NGX_BROADCAST_NOT_FIT ? NGX_DECLINED : NGX_BUSY;

    default:
        return NGX_ABORT;
    }
}


static void
ngx_broadcast_afar_sent(ngx_broadcast_sent_t *sent, void *data)
{
    uint64_t *serial = data;

    switch (sent->status) {

    case NGX_BROADCAST_SENT:
    case NGX_BROADCAST_SENT_UNNUMBERED:
        return;

    case NGX_BROADCAST_NOT_SENT:
        ngx_broadcast_invoke_unsent(*serial, NGX_BROADCAST_INVOKE_AWAY);
        return;

    default:
        ngx_broadcast_invoke_unsent(*serial, NGX_BROADCAST_INVOKE_UNKNOWN);
        return;
    }
}


ngx_int_t
ngx_broadcast_afar_look(ngx_uint_t hub, ngx_str_t *connection,
    uint64_t serial)
{
    ngx_broadcast_hub_info_t      info;
    ngx_broadcast_presence_ask_t  ask;

    ngx_broadcast_hub_info(ngx_broadcast_bus.zone, hub, &info);

    ngx_memzero(&ask, sizeof(ngx_broadcast_presence_ask_t));

    ask.hub.data = info.name;
    ask.hub.len = info.len;
    ask.connection = *connection;
    ask.elsewhere = 1;
    ask.max = 1;

    return ngx_broadcast_presence(&ask, ngx_broadcast_afar_looked, &serial,
                                  sizeof(serial), NULL);
}


/* a database that does not answer has not said that nobody is there */

static void
ngx_broadcast_afar_looked(ngx_broadcast_presence_t *presence, void *data)
{
    uint64_t *serial = data;

    ngx_broadcast_invoke_looked(*serial,
                                presence->status != NGX_BROADCAST_CALL_OK
                                || presence->n);
}
