
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_rows_local.h"


/* The database's side of a stream of rows: what this worker began. */


#define NGX_BROADCAST_ROWS_LOOK   1000      /* ms: is the connection there */


static void ngx_broadcast_rows_remove(ngx_broadcast_flow_t **link);
static ngx_int_t ngx_broadcast_rows_item(uint64_t serial, ngx_str_t *item);
static ngx_int_t ngx_broadcast_rows_afar(ngx_broadcast_flow_t *flow,
    ngx_str_t *item);
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

    if (ngx_broadcast_under_shape(*link, &in->shape) != NGX_OK) {
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


ngx_broadcast_flow_t **
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

    if (ngx_broadcast_rows_queue(bc, under, item) != NGX_OK) {

        /* it is nested too deeply for MessagePack */

        ngx_broadcast_rows_give_up(serial);
        return NGX_AGAIN;
    }

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
