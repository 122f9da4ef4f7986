
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay_local.h"
#include "pg/ngx_broadcast_stage_local.h"


/*
 * Requests with a key.  The database keeps it in the transaction of the
 * records, so the first may have been anybody's, anywhere, and may have ended
 * in any way: what a repeat is told is what stands there.  It waits for nobody:
 * while the first is under way, or has no number yet, the repeat is told so and
 * asks again, some times a second, until its own time is over.
 */

#define NGX_BROADCAST_STAGE_PAUSE       10      /* ms: doubled each time */
#define NGX_BROADCAST_STAGE_PAUSE_MAX   200
#define NGX_BROADCAST_STAGE_KEEP        "1000"  /* rows, at once */


static void ngx_broadcast_stage_repeat(ngx_broadcast_sender_t *sender,
    PGresult *result, int row);
static ngx_uint_t ngx_broadcast_stage_twin(ngx_broadcast_sender_t *sender);
static void ngx_broadcast_relay_kept(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


static ngx_broadcast_pg_query_t  ngx_broadcast_relay_keeper;
static ngx_uint_t                ngx_broadcast_relay_keeping;


/* rows of n, state, epoch, seq, in the order of n */

void
ngx_broadcast_stage_repeats(PGresult *result)
{
    int                      row;
    ngx_int_t                n;
    ngx_queue_t             *q;
    ngx_broadcast_stage_t   *stage = &ngx_broadcast_stage;
    ngx_broadcast_sender_t  *sender;

    n = 0;
    row = 0;

    for (q = ngx_queue_head(&stage->group);
         q != ngx_queue_sentinel(&stage->group);
         q = ngx_queue_next(q))
    {
        n++;

        sender = ngx_queue_data(q, ngx_broadcast_sender_t, queue);
        sender->repeat = NGX_BROADCAST_REPEAT_NO;

        if (row < PQntuples(result)
            && ngx_broadcast_pg_number(result, row, 0) == n)
        {
            ngx_broadcast_stage_repeat(sender, result, row);
            row++;
        }
    }
}


static void
ngx_broadcast_stage_repeat(ngx_broadcast_sender_t *sender, PGresult *result,
    int row)
{
    switch (ngx_broadcast_pg_value(result, row, 1).data[0]) {

    case 'b':
        sender->repeat = NGX_BROADCAST_REPEAT_BUSY;
        return;

    case 'o':
        sender->repeat = NGX_BROADCAST_REPEAT_OTHER;
        return;

    default:
        sender->repeat = NGX_BROADCAST_REPEAT_KEPT;
    }

    if (sender->want != NGX_BROADCAST_NUMBERED) {
        return;
    }

    if (ngx_broadcast_pg_number(result, row, 3)) {
        sender->sent.position.epoch = ngx_broadcast_pg_number(result, row, 2);
        sender->sent.position.seq = ngx_broadcast_pg_number(result, row, 3);

    } else if (!PQgetisnull(result, row, 3)) {

        /* 0: it will not be known any more */

        sender->want = NGX_BROADCAST_KEPT;
    }
}


ngx_uint_t
ngx_broadcast_stage_again(ngx_broadcast_sender_t *sender)
{
    if (sender->finished
        || sender->repeat == NGX_BROADCAST_REPEAT_OTHER
        || (sender->repeat == NGX_BROADCAST_REPEAT_KEPT
            && (sender->want != NGX_BROADCAST_NUMBERED
                || sender->sent.position.epoch)))
    {
        return 0;
    }

    sender->state = NGX_BROADCAST_SENDER_LATER;

    sender->pause = sender->pause
                    ? ngx_min(sender->pause * 2, NGX_BROADCAST_STAGE_PAUSE_MAX)
                    : NGX_BROADCAST_STAGE_PAUSE;

    ngx_add_timer(&sender->later, sender->pause);

    return 1;
}


void
ngx_broadcast_stage_later(ngx_event_t *ev)
{
    ngx_broadcast_sender_t  *sender = ev->data;

    ngx_broadcast_stage_wait(sender, 0);
    ngx_broadcast_stage_post();
}


/* of a repeat more is known than what became of its own statement */

ngx_uint_t
ngx_broadcast_stage_told(ngx_broadcast_sender_t *sender, ngx_uint_t told)
{
    switch (sender->repeat) {

    case NGX_BROADCAST_REPEAT_OTHER:
        return NGX_BROADCAST_SENT_OTHER;

    case NGX_BROADCAST_REPEAT_KEPT:
        return sender->want == NGX_BROADCAST_NUMBERED
               ? NGX_BROADCAST_SENT_UNNUMBERED : NGX_BROADCAST_SENT;

    case NGX_BROADCAST_REPEAT_BUSY:
        return NGX_BROADCAST_SENT_BUSY;

    default:
        return told == NGX_BROADCAST_NOT_SENT
               && ngx_broadcast_stage_twin(sender)
               ? NGX_BROADCAST_SENT_BUSY : told;
    }
}


/* 1: one with the same key, of this worker, has an end that is not known yet */

static ngx_uint_t
ngx_broadcast_stage_twin(ngx_broadcast_sender_t *sender)
{
    ngx_queue_t             *q;
    ngx_broadcast_stage_t   *stage = &ngx_broadcast_stage;
    ngx_broadcast_sender_t  *other;

    if (sender->key.len == 0) {
        return 0;
    }

    for (q = ngx_queue_head(&stage->group);
         q != ngx_queue_sentinel(&stage->group);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_broadcast_sender_t, queue);

        if (other != sender
            && other->key.len == sender->key.len
            && other->hub.len == sender->hub.len
            && ngx_memcmp(other->key.data, sender->key.data, sender->key.len)
               == 0
            && ngx_memcmp(other->hub.data, sender->hub.data, sender->hub.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_broadcast_relay_keep(void)
{
    ngx_broadcast_pg_query_t  *query = &ngx_broadcast_relay_keeper;

    if (ngx_broadcast_relay_keeping) {
        return;
    }

    query->statement = NGX_BROADCAST_PG_TEXT;
    query->text = "SELECT broadcast.idempotency_keep($1::int)";
    query->nparams = 1;
    query->params[0] = NGX_BROADCAST_STAGE_KEEP;
    query->done = ngx_broadcast_relay_kept;

    if (ngx_broadcast_pg_pool_send(query, 0) == NGX_OK) {
        ngx_broadcast_relay_keeping = 1;
    }
}


/* as many as were asked for: there are more */

static void
ngx_broadcast_relay_kept(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_str_t  state;

    ngx_broadcast_relay_keeping = 0;

    if (status == NGX_BROADCAST_PG_OK) {

        if (ngx_broadcast_relay.leader
            && ngx_broadcast_pg_number(result, 0, 0)
               == ngx_atoi((u_char *) NGX_BROADCAST_STAGE_KEEP,
                           sizeof(NGX_BROADCAST_STAGE_KEEP) - 1))
        {
            ngx_broadcast_relay_keep();
        }

    } else if (status == NGX_BROADCAST_PG_FAILED) {
        state = ngx_broadcast_pg_sqlstate(result);

        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: broadcast.idempotency_keep() failed, "
                      "SQLSTATE %V", &state);
    }
}
