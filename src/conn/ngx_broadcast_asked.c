
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_rows.h"
#include "conn/ngx_broadcast_invoke.h"


/*
 * Client results, signalr.md 4.8: the connection that is asked.  Each id is
 * answered once: by the client, or with GONE when the connection ends, or not
 * at all, when whoever asked has taken it back.
 */


static void ngx_broadcast_asked_purge(ngx_broadcast_invocation_t *inv);


void
ngx_broadcast_asked_open(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    ngx_broadcast_message_t      m;
    ngx_broadcast_invocation_t  *inv;

    inv = ngx_broadcast_invocation_get(bc);

    if (inv && inv->nasked == NGX_BROADCAST_ASKED_MAX) {
        ngx_broadcast_asked_purge(inv);
    }

    if (inv == NULL
        || inv->nasked == NGX_BROADCAST_ASKED_MAX
        || ngx_broadcast_under_push(&inv->asked, &rec->group) == NULL)
    {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_INVOCATION, 1);
        ngx_broadcast_invoke_reply(rec->hub, &bc->id, &rec->group,
                                   NGX_BROADCAST_INVOKE_BUSY, NULL);
        return;
    }

    inv->nasked++;

    ngx_broadcast_frame_invocation(bc->protocol, rec, &m);
    m.id = rec->group;

    ngx_broadcast_conn_queue_message(bc, &m);
}


/* a worker that asked and was killed has taken nothing back */

static void
ngx_broadcast_asked_purge(ngx_broadcast_invocation_t *inv)
{
    ngx_broadcast_under_t  **link;

    link = &inv->asked;

    while (*link) {

        if (ngx_current_msec - (*link)->since < NGX_BROADCAST_ASKED_TIME
            && ngx_broadcast_invoke_awaited(&(*link)->id))
        {
            link = &(*link)->next;
            continue;
        }

        ngx_broadcast_under_remove(link);
        inv->nasked--;
    }
}


ngx_uint_t
ngx_broadcast_asked_forget(ngx_broadcast_conn_t *bc, ngx_str_t *id)
{
    ngx_broadcast_under_t  **link;

    if (bc->invocation == NULL) {
        return 0;
    }

    link = ngx_broadcast_under_find(&bc->invocation->asked, id);

    if (link == NULL) {
        return 0;
    }

    ngx_broadcast_under_remove(link);
    bc->invocation->nasked--;

    return 1;
}


ngx_uint_t
ngx_broadcast_asked_answer(ngx_broadcast_conn_t *bc,
    ngx_broadcast_message_t *m)
{
    ngx_str_t  null = ngx_string("null");

    if (!ngx_broadcast_asked_forget(bc, &m->id)) {
        return 0;
    }

    if (m->has_error) {
        ngx_broadcast_invoke_reply(bc->hub->index, &bc->id, &m->id,
                                   NGX_BROADCAST_INVOKE_FAILED, &m->error);

    } else {
        ngx_broadcast_invoke_reply(bc->hub->index, &bc->id, &m->id,
                                   NGX_BROADCAST_INVOKE_RESULT,
                                   m->has_value ? &m->value : &null);
    }

    return 1;
}


void
ngx_broadcast_invocation_leave(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_under_t  *under;

    if (bc->invocation == NULL) {
        return;
    }

    for (under = bc->invocation->asked; under; under = under->next) {
        ngx_broadcast_invoke_reply(bc->hub->index, &bc->id, &under->id,
                                   NGX_BROADCAST_INVOKE_GONE, NULL);
    }

    for (under = bc->invocation->streams; under; under = under->next) {
        ngx_broadcast_rows_stop(bc, under);
    }

    ngx_broadcast_invocation_free(bc);
}
