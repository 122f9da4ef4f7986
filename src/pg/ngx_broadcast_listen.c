
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_buf.h"
#include "base/ngx_broadcast_json.h"
#include "base/ngx_broadcast_msgpack.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_relay_local.h"


/*
 * Raw NOTIFY, at most once: straight to this node's log, without a number.
 */


static void ngx_broadcast_listen_publish(ngx_broadcast_pg_listen_t *listen,
    ngx_str_t *payload);
static ngx_uint_t ngx_broadcast_listen_is_json(ngx_str_t *payload);
static void ngx_broadcast_listen_line(ngx_str_t *json);


void
ngx_broadcast_listen_notify(const char *channel, const char *payload)
{
    ngx_str_t                   text;
    ngx_uint_t                  i;
    ngx_array_t                *array = ngx_broadcast_pg.conf->listen;
    ngx_broadcast_pg_listen_t  *listen;

    if (array == NULL) {
        return;
    }

    text.data = (u_char *) payload;
    text.len = ngx_strlen(payload);

    listen = array->elts;

    for (i = 0; i < array->nelts; i++) {
        if (listen[i].channel.len == ngx_strlen(channel)
            && ngx_memcmp(listen[i].channel.data, channel,
                          listen[i].channel.len) == 0)
        {
            ngx_broadcast_listen_publish(&listen[i], &text);
        }
    }
}


static void
ngx_broadcast_listen_publish(ngx_broadcast_pg_listen_t *listen,
    ngx_str_t *payload)
{
    ngx_pool_t              *pool;
    ngx_broadcast_buf_t      buf;
    ngx_broadcast_record_t   rec;

    pool = ngx_create_pool(1024, ngx_broadcast_pg.log);
    if (pool == NULL) {
        return;
    }

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    ngx_broadcast_buf_init(&buf, pool, payload->len + 64);
    ngx_broadcast_buf_char(&buf, '[');

    if (ngx_broadcast_listen_is_json(payload)) {
        ngx_broadcast_buf_str(&buf, payload);

    } else {
        ngx_broadcast_buf_json(&buf, payload);
    }

    ngx_broadcast_buf_char(&buf, ']');

    if (ngx_broadcast_buf_done(&buf, &rec.arguments) == NGX_OK
        && ngx_broadcast_hub_index(&listen->hub, &rec.hub) == NGX_OK)
    {
        ngx_broadcast_listen_line(&rec.arguments);

        rec.type = NGX_BROADCAST_REC_MESSAGE;
        rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
        rec.source = NGX_BROADCAST_SRC_NOTIFY;
        rec.target = listen->target;

        if (listen->group.len) {
            rec.scope = NGX_BROADCAST_GROUP;
            rec.name = listen->group;
        }

        (void) ngx_broadcast_publish(&rec, 1);
    }

    ngx_destroy_pool(pool);
}


/*
 * What MessagePack would have no words for, with the array of arguments around
 * it, is a string like any other text.
 */

static ngx_uint_t
ngx_broadcast_listen_is_json(ngx_str_t *payload)
{
    json_t      *value;
    const char  *error;

    if (ngx_broadcast_json_levels(payload) >= NGX_BROADCAST_MSGPACK_DEPTH) {
        return 0;
    }

    value = ngx_broadcast_json_parse(payload, NGX_BROADCAST_JSON_REALS,
                                     &error);
    if (value == NULL) {
        return 0;
    }

    json_decref(value);

    return 1;
}


/* line breaks are between tokens here, and would end a line of an event */

static void
ngx_broadcast_listen_line(ngx_str_t *json)
{
    size_t  i;

    for (i = 0; i < json->len; i++) {
        if (json->data[i] == LF || json->data[i] == CR) {
            json->data[i] = ' ';
        }
    }
}


void
ngx_broadcast_listen_begun(void)
{
    ngx_uint_t                  i, k;
    ngx_array_t                *array = ngx_broadcast_pg.conf->listen;
    ngx_broadcast_record_t      rec;
    ngx_broadcast_pg_listen_t  *listen;

    if (array == NULL || array->nelts == 0) {
        return;
    }

    if (!ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_LISTENED)) {
        ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_LISTENED, 1);
        return;
    }

    listen = array->elts;

    for (i = 0; i < array->nelts; i++) {

        for (k = 0; k < i; k++) {
            if (listen[k].hub.len == listen[i].hub.len
                && ngx_memcmp(listen[k].hub.data, listen[i].hub.data,
                              listen[i].hub.len) == 0)
            {
                break;
            }
        }

        ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

        rec.type = NGX_BROADCAST_REC_GAP;
        rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
        rec.source = NGX_BROADCAST_SRC_NOTIFY;

        if (k == i
            && ngx_broadcast_hub_index(&listen[i].hub, &rec.hub) == NGX_OK)
        {
            (void) ngx_broadcast_publish(&rec, 1);
        }
    }
}
