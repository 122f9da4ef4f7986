
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_rows.h"
#include "conn/ngx_broadcast_rows_local.h"
#include "base/ngx_broadcast_buf.h"


/* The database's side of a stream of rows: what this worker began. */


#define NGX_BROADCAST_ROWS_LOOK   1000      /* ms: is the connection there */
#define NGX_BROADCAST_ROWS_ERROR                                              \
    "An error occurred on the server while streaming results."


/* a stream that this worker runs; bytes stand behind */

typedef struct ngx_broadcast_flow_s  ngx_broadcast_flow_t;

struct ngx_broadcast_flow_s {
    ngx_broadcast_flow_t       *next;       /* owned */
    uint64_t                    serial;
    ngx_uint_t                  hub;
    ngx_str_t                   connection;
    ngx_str_t                   id;         /* of the invocation */
    ngx_str_t                   target;
    int64_t                     credit;     /* bytes that may be sent to another
                                               worker */
    ngx_msec_t                  deadline;   /* of waiting for DONE */
    unsigned                    message:1;  /* a bound function */
    unsigned                    ended:1;    /* DONE has to come yet */
    unsigned                    done:1;     /* DONE has come */
};


static ngx_broadcast_flow_t **ngx_broadcast_rows_find(uint64_t serial);
static void ngx_broadcast_rows_remove(ngx_broadcast_flow_t **link);
static ngx_int_t ngx_broadcast_rows_item(uint64_t serial, ngx_str_t *item);
static ngx_int_t ngx_broadcast_rows_afar(ngx_broadcast_flow_t *flow,
    ngx_str_t *item);
static void ngx_broadcast_rows_end(uint64_t serial,
    ngx_broadcast_stream_end_t *end);
static ngx_int_t ngx_broadcast_rows_error(ngx_broadcast_flow_t *flow,
    ngx_broadcast_stream_end_t *end, ngx_pool_t *pool, ngx_str_t *error);
static void ngx_broadcast_rows_complete(ngx_broadcast_flow_t **link,
    ngx_str_t *error);
static void ngx_broadcast_rows_handler(ngx_event_t *ev);


static ngx_broadcast_flow_t  *ngx_broadcast_flows;
static ngx_event_t            ngx_broadcast_rows_event;


void
ngx_broadcast_rows_start(ngx_log_t *log)
{
    ngx_broadcast_flows = NULL;

    ngx_memzero(&ngx_broadcast_rows_event, sizeof(ngx_event_t));

    ngx_broadcast_rows_event.handler = ngx_broadcast_rows_handler;
    ngx_broadcast_rows_event.data = &ngx_broadcast_rows_event;
    ngx_broadcast_rows_event.log = log;
    ngx_broadcast_rows_event.cancelable = 1;
}


void
ngx_broadcast_rows_stopped(void)
{
    if (ngx_broadcast_rows_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_rows_event);
    }

    while (ngx_broadcast_flows) {
        ngx_broadcast_stream_cancel(ngx_broadcast_flows->serial);
        ngx_broadcast_rows_remove(&ngx_broadcast_flows);
    }
}


ngx_int_t
ngx_broadcast_rows_open(ngx_broadcast_conn_t *bc, ngx_str_t *id,
    ngx_str_t *target, ngx_uint_t message, ngx_broadcast_stream_in_t *in)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_broadcast_flow_t    *flow;
    ngx_broadcast_under_t  **link;

    link = ngx_broadcast_under_find(&bc->invocation->streams, id);

    if (link == NULL) {
        return NGX_ERROR;
    }

    flow = ngx_calloc(sizeof(ngx_broadcast_flow_t) + bc->id.len + id->len
                      + target->len, ngx_broadcast_bus.log);
    if (flow == NULL) {
        return NGX_ERROR;
    }

    in->item = ngx_broadcast_rows_item;
    in->end = ngx_broadcast_rows_end;

    rc = ngx_broadcast_stream_open(in);

    if (rc != NGX_OK) {
        ngx_free(flow);
        return rc;
    }

    p = (u_char *) (flow + 1);

    flow->connection.data = p;
    flow->connection.len = bc->id.len;
    p = ngx_cpymem(p, bc->id.data, bc->id.len);

    flow->id.data = p;
    flow->id.len = id->len;
    p = ngx_cpymem(p, id->data, id->len);

    flow->target.data = p;
    flow->target.len = target->len;
    ngx_memcpy(p, target->data, target->len);

    flow->serial = in->serial;
    flow->hub = bc->hub->index;
    flow->message = message ? 1 : 0;

    flow->next = ngx_broadcast_flows;
    ngx_broadcast_flows = flow;

    (*link)->source = ngx_broadcast_rows_self();
    (*link)->serial = in->serial;

    if (!ngx_broadcast_rows_event.timer_set) {
        ngx_add_timer(&ngx_broadcast_rows_event, NGX_BROADCAST_ROWS_LOOK);
    }

    return NGX_OK;
}


static ngx_broadcast_flow_t **
ngx_broadcast_rows_find(uint64_t serial)
{
    ngx_broadcast_flow_t  **link;

    for (link = &ngx_broadcast_flows; *link; link = &(*link)->next) {

        if ((*link)->serial == serial) {
            return link;
        }
    }

    return NULL;
}


static void
ngx_broadcast_rows_remove(ngx_broadcast_flow_t **link)
{
    ngx_broadcast_flow_t  *flow;

    flow = *link;
    *link = flow->next;

    ngx_free(flow);
}


void
ngx_broadcast_rows_cancel(uint64_t serial)
{
    ngx_broadcast_flow_t  **link;

    ngx_broadcast_stream_cancel(serial);

    link = ngx_broadcast_rows_find(serial);

    if (link) {
        ngx_broadcast_rows_remove(link);
    }
}


static ngx_int_t
ngx_broadcast_rows_item(uint64_t serial, ngx_str_t *item)
{
    ngx_broadcast_conn_t    *bc;
    ngx_broadcast_flow_t   **link;
    ngx_broadcast_under_t   *under;

    link = ngx_broadcast_rows_find(serial);

    if (link == NULL) {
        ngx_broadcast_stream_cancel(serial);
        return NGX_AGAIN;
    }

    bc = ngx_broadcast_index_find(&(*link)->connection);

    if (bc == NULL) {
        return ngx_broadcast_rows_afar(*link, item);
    }

    under = ngx_broadcast_rows_under(bc, ngx_broadcast_rows_self(), serial);

    if (under == NULL) {
        ngx_broadcast_rows_cancel(serial);
        return NGX_AGAIN;
    }

    /* one that is about to be closed cancels it then */

    if (bc->verdict || !ngx_broadcast_rows_fits(bc, item->len)) {
        ngx_broadcast_rows_wait(bc, under);
        return NGX_AGAIN;
    }

    ngx_broadcast_rows_queue(bc, under, item);

    return NGX_OK;
}


/* the connection is another worker's, or on its way there */

static ngx_int_t
ngx_broadcast_rows_afar(ngx_broadcast_flow_t *flow, ngx_str_t *item)
{
    ngx_broadcast_record_t  rec;

    if (flow->credit <= 0) {
        return NGX_AGAIN;
    }

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_ITEM;
    rec.hub = flow->hub;
    rec.name = flow->connection;
    rec.group = flow->id;
    rec.arguments = *item;

    flow->credit -= item->len + 1;

    if (ngx_broadcast_rows_publish(&rec, ngx_broadcast_rows_self(),
                                   flow->serial, flow->credit <= 0)
        != NGX_OK)
    {
        /* an item that the log cannot hold */

        ngx_broadcast_rows_give_up(flow->serial);
        return NGX_AGAIN;
    }

    return NGX_OK;
}


/* ends it with an error, where its connection is */

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


void
ngx_broadcast_rows_flow(ngx_broadcast_record_t *rec)
{
    uint64_t                serial;
    ngx_broadcast_flow_t  **link;
    ngx_broadcast_owner_t   owner;

    if (ngx_broadcast_rows_name(&rec->target, &owner, &serial, NULL) != NGX_OK
        || owner != ngx_broadcast_rows_self())
    {
        return;
    }

    link = ngx_broadcast_rows_find(serial);

    if (link == NULL || (*link)->connection.len != rec->name.len
        || ngx_memcmp((*link)->connection.data, rec->name.data, rec->name.len)
           != 0)
    {
        return;
    }

    if (rec->arguments.len == 0) {
        ngx_broadcast_rows_cancel(serial);
        return;
    }

    (*link)->credit = ngx_atoi(rec->arguments.data, rec->arguments.len);

    ngx_broadcast_stream_resume(serial);
}


void
ngx_broadcast_rows_overrun(void)
{
    ngx_broadcast_flow_t  *flow;

    for (flow = ngx_broadcast_flows; flow; flow = flow->next) {
        flow->credit = NGX_BROADCAST_ROWS_BYTES;
        ngx_broadcast_stream_resume(flow->serial);
    }
}


static void
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

    ngx_broadcast_buf_init(&b, pool, 256 + flow->target.len
                                     + end->message.len + end->name.len);

    if (end->denied && !end->begun) {
        ngx_broadcast_buf_literal(&b, "Failed to invoke '");
        ngx_broadcast_buf_str(&b, &flow->target);
        ngx_broadcast_buf_literal(&b, "' because user is unauthorized");

        return ngx_broadcast_buf_done(&b, error);
    }

    if (end->binding && !end->begun) {
        ngx_broadcast_buf_literal(&b, "Failed to invoke '");
        ngx_broadcast_buf_str(&b, &flow->target);
        ngx_broadcast_buf_literal(&b, "' due to an error on the server. "
            "InvalidDataException: Error binding arguments. Make sure that "
            "the types of the provided values match the types of the hub "
            "method being invoked.");

        return ngx_broadcast_buf_done(&b, error);
    }

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


static void
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


/* connections that are gone everywhere, and DONE that does not come */

static void
ngx_broadcast_rows_handler(ngx_event_t *ev)
{
    ngx_broadcast_flow_t      *flow, **link;
    ngx_broadcast_row_info_t   row;

    link = &ngx_broadcast_flows;

    while (*link) {
        flow = *link;

        if (ngx_broadcast_index_find(&flow->connection) == NULL
            && (ngx_broadcast_registry_find(ngx_broadcast_bus.zone,
                                            &flow->connection, &row)
                != NGX_OK
                || row.state != NGX_BROADCAST_ROW_LIVE))
        {
            ngx_broadcast_stream_cancel(flow->serial);
            ngx_broadcast_rows_remove(link);
            continue;
        }

        if (flow->ended
            && (ngx_msec_int_t) (flow->deadline - ngx_current_msec) <= 0)
        {
            ngx_broadcast_rows_complete(link, NULL);
            continue;
        }

        link = &flow->next;
    }

    if (ngx_broadcast_flows) {
        ngx_add_timer(ev, NGX_BROADCAST_ROWS_LOOK);
    }
}
