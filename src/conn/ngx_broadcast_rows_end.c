
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_call.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_rows_local.h"
#include "base/ngx_broadcast_buf.h"


/* How a stream of rows ends: its one Completion, wherever its client is. */


static ngx_int_t ngx_broadcast_rows_error(ngx_broadcast_flow_t *flow,
    ngx_broadcast_stream_end_t *end, ngx_pool_t *pool, ngx_str_t *error);


void
ngx_broadcast_rows_end(uint64_t serial, ngx_broadcast_stream_end_t *end)
{
    ngx_str_t               error;
    ngx_pool_t             *pool;
    ngx_broadcast_flow_t  **link;

    link = ngx_broadcast_rows_find(serial);

    if (link == NULL) {
        return;
    }

    if (end->status == NGX_BROADCAST_STREAM_OK) {

        if (!end->staged || (*link)->done) {
            ngx_broadcast_rows_complete(link, NULL);
            return;
        }

        /* what it sent comes by the log, and DONE behind that */

        (*link)->ended = 1;
        (*link)->deadline = ngx_current_msec + ngx_broadcast_pg_timeout();

        return;
    }

    ngx_str_set(&error, NGX_BROADCAST_ROWS_ERROR);

    pool = ngx_create_pool(1024, ngx_broadcast_bus.log);

    if (pool == NULL
        || ngx_broadcast_rows_error(*link, end, pool, &error) != NGX_OK)
    {
        ngx_str_set(&error, NGX_BROADCAST_ROWS_ERROR);
    }

    ngx_broadcast_rows_complete(link, &error);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


/* signalr.md 4.6; the rest is between us and the database */

static ngx_int_t
ngx_broadcast_rows_error(ngx_broadcast_flow_t *flow,
    ngx_broadcast_stream_end_t *end, ngx_pool_t *pool, ngx_str_t *error)
{
    ngx_broadcast_buf_t  b;

    if (!end->begun && (end->denied || end->binding)) {
        return ngx_broadcast_refusal_text(pool,
                                      end->denied
                                      ? NGX_BROADCAST_REFUSAL_UNAUTHORIZED
                                      : NGX_BROADCAST_REFUSAL_BINDING,
                                      &flow->target, 0, 0, error);
    }

    ngx_broadcast_buf_init(&b, pool, 128 + end->message.len + end->name.len);

    if (end->raised && flow->message) {
        ngx_broadcast_buf_str(&b, &end->message);
        return ngx_broadcast_buf_done(&b, error);
    }

    ngx_broadcast_buf_literal(&b, NGX_BROADCAST_ROWS_ERROR);

    if (end->raised) {
        ngx_broadcast_buf_char(&b, ' ');

        if (end->name.len) {
            ngx_broadcast_buf_str(&b, &end->name);

        } else {
            ngx_broadcast_buf_literal(&b, "HubException");
        }

        ngx_broadcast_buf_literal(&b, ": ");
        ngx_broadcast_buf_str(&b, &end->message);
    }

    return ngx_broadcast_buf_done(&b, error);
}


ngx_uint_t
ngx_broadcast_rows_done(ngx_str_t *connection, uint64_t serial)
{
    ngx_broadcast_flow_t  **link;

    link = ngx_broadcast_rows_find(serial);

    if (link == NULL || (*link)->connection.len != connection->len
        || ngx_memcmp((*link)->connection.data, connection->data,
                      connection->len)
           != 0)
    {
        return 0;
    }

    (*link)->done = 1;

    if ((*link)->ended) {
        ngx_broadcast_rows_complete(link, NULL);
    }

    return 1;
}


void
ngx_broadcast_rows_complete(ngx_broadcast_flow_t **link, ngx_str_t *error)
{
    ngx_broadcast_conn_t    *bc;
    ngx_broadcast_flow_t    *flow;
    ngx_broadcast_under_t   *under;
    ngx_broadcast_record_t   rec;

    flow = *link;
    *link = flow->next;

    bc = ngx_broadcast_index_find(&flow->connection);

    if (bc) {
        under = ngx_broadcast_rows_under(bc, ngx_broadcast_rows_self(),
                                         flow->serial);
        if (under) {
            under->source = 0;
            (void) ngx_broadcast_invocation_end(bc, &flow->id, error);
        }

    } else {
        ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

        rec.type = NGX_BROADCAST_REC_COMPLETE;
        rec.hub = flow->hub;
        rec.name = flow->connection;
        rec.group = flow->id;

        if (error) {
            rec.arguments = *error;
        }

        (void) ngx_broadcast_rows_publish(&rec, ngx_broadcast_rows_self(),
                                          flow->serial, 0);
    }

    ngx_free(flow);
}


void
ngx_broadcast_rows_give_up(uint64_t serial)
{
    ngx_str_t               error;
    ngx_broadcast_flow_t  **link;

    ngx_broadcast_stream_cancel(serial);

    link = ngx_broadcast_rows_find(serial);

    if (link) {
        ngx_str_set(&error, NGX_BROADCAST_ROWS_ERROR);
        ngx_broadcast_rows_complete(link, &error);
    }
}
