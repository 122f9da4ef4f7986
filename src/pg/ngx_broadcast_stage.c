
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay.h"
#include "pg/ngx_broadcast_stage_local.h"


/*
 * Senders of this worker wait in one line.  One statement is under way at a
 * time; it takes along all who wait when it starts, up to a bound, and is one
 * transaction.  A sender's records are never divided.
 *
 *   WAITING  --statement sent-->  GROUPED  --committed-->  NUMBERING
 *      |    ^                       |   |                     |
 *      |    +--- a pause --- LATER <----+                     |
 *      |                            |                         |
 *      +-- too late: NOT_SENT       +-- too late: UNKNOWN     +-- UNNUMBERED
 *
 * LATER are repeats of a request with a key whose first has no end or no number
 * yet: they ask again (stage_once).
 *
 * NUMBERING is for those that want the number: the last of their records has
 * a random mark, by which they know it when it comes out of the log.  That may
 * be before the answer of the database, so the marks stand from the start.
 */

static void ngx_broadcast_stage_timeout(ngx_event_t *ev);
static void ngx_broadcast_stage_cancel(ngx_broadcast_call_t *call);
static void ngx_broadcast_stage_next(ngx_event_t *ev);
static ngx_uint_t ngx_broadcast_stage_collect(void);
static void ngx_broadcast_stage_done(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static ngx_uint_t ngx_broadcast_stage_failed(PGresult *result);
static ngx_uint_t ngx_broadcast_stage_divide(PGresult *result);


ngx_broadcast_stage_t  ngx_broadcast_stage;


void
ngx_broadcast_stage_init(ngx_log_t *log)
{
    ngx_broadcast_stage_t      *stage = &ngx_broadcast_stage;
    ngx_broadcast_zone_info_t   info;

    ngx_memzero(stage, sizeof(ngx_broadcast_stage_t));

    ngx_queue_init(&stage->waiting);
    ngx_queue_init(&stage->group);
    ngx_broadcast_sender_init();

    stage->log = log;
    stage->next.handler = ngx_broadcast_stage_next;
    stage->next.data = stage;
    stage->next.log = log;

    ngx_broadcast_zone_info(ngx_broadcast_bus.zone, &info);

    /* the log takes nothing that would throw out more than half of it */

    stage->fits = info.log_bytes / 2;
}


ngx_int_t
ngx_broadcast_stage_send(ngx_str_t *hub, ngx_broadcast_record_t *recs,
    ngx_uint_t n, ngx_uint_t want, ngx_str_t *key, ngx_broadcast_sent_t *sent,
    ngx_broadcast_sent_pt handler, const void *data, size_t size,
    ngx_broadcast_call_t **call)
{
    ngx_uint_t               i;
    ngx_broadcast_stage_t   *stage = &ngx_broadcast_stage;
    ngx_broadcast_sender_t  *sender;

    sent->status = NGX_BROADCAST_NOT_SENT;

    for (i = 0; i < n; i++) {
        if (ngx_broadcast_record_size(&recs[i]) > stage->fits) {
            sent->status = NGX_BROADCAST_NOT_FIT;
            return NGX_BUSY;
        }
    }

    if (ngx_broadcast_pg_pool_away()) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_DATABASE, 1);
        return NGX_DECLINED;
    }

    if (stage->nwaiting >= ngx_broadcast_pg.conf->queue
        || stage->bytes >= NGX_BROADCAST_STAGE_QUEUE
        || size > NGX_BROADCAST_CALL_DATA)
    {
        return NGX_BUSY;
    }

    sender = ngx_broadcast_sender_create(hub, recs, n);
    if (sender == NULL) {
        return NGX_BUSY;
    }

    sender->want = want;
    sender->handler = handler;
    sender->call.cancel = ngx_broadcast_stage_cancel;
    sender->timer.handler = ngx_broadcast_stage_timeout;
    sender->later.handler = ngx_broadcast_stage_later;

    if (size) {
        ngx_memcpy(sender->call.data, data, size);
    }

    if ((key && ngx_broadcast_sender_key(sender, key) != NGX_OK)
        || ((key || want == NGX_BROADCAST_NUMBERED)
            && ngx_broadcast_sender_mark(sender) != NGX_OK))
    {
        ngx_destroy_pool(sender->pool);
        return NGX_BUSY;
    }

    ngx_broadcast_stage_wait(sender, 0);

    /* not cancelable: an exiting worker keeps what it has taken */

    ngx_add_timer(&sender->timer, ngx_broadcast_pg.conf->timeout);

    /* whoever else sends in this turn of the event loop comes along */

    ngx_broadcast_stage_post();

    if (call) {
        *call = &sender->call;
    }

    return NGX_AGAIN;
}


/* into the line; 1: at its head */

void
ngx_broadcast_stage_wait(ngx_broadcast_sender_t *sender, ngx_uint_t head)
{
    ngx_broadcast_stage_t  *stage = &ngx_broadcast_stage;

    sender->state = NGX_BROADCAST_SENDER_WAITING;

    if (head) {
        ngx_queue_insert_head(&stage->waiting, &sender->queue);

    } else {
        ngx_queue_insert_tail(&stage->waiting, &sender->queue);
    }

    stage->nwaiting++;
    stage->bytes += sender->bytes;
}


static void
ngx_broadcast_stage_timeout(ngx_event_t *ev)
{
    ngx_broadcast_sender_t  *sender = ev->data;

    switch (sender->state) {

    case NGX_BROADCAST_SENDER_WAITING:
        ngx_queue_remove(&sender->queue);
        ngx_broadcast_stage.nwaiting--;
        ngx_broadcast_stage.bytes -= sender->bytes;

        /* fall through */

    case NGX_BROADCAST_SENDER_LATER:

        ngx_broadcast_sender_tell(sender,
                      ngx_broadcast_stage_told(sender, NGX_BROADCAST_NOT_SENT));
        ngx_broadcast_sender_free(sender);
        return;

    case NGX_BROADCAST_SENDER_GROUPED:

        if (ngx_broadcast_pg_pool_withdraw(&ngx_broadcast_stage.query)
            == NGX_OK)
        {
            /* no connection took it: the whole group knows where it is */

            ngx_broadcast_stage_done(&ngx_broadcast_stage.query,
                                     NGX_BROADCAST_PG_UNSENT, NULL);
            return;
        }

        ngx_broadcast_sender_tell(sender,
                  ngx_broadcast_stage_told(sender, NGX_BROADCAST_SENT_UNKNOWN));
        return;

    default:
        ngx_broadcast_sender_tell(sender, NGX_BROADCAST_SENT_UNNUMBERED);
        ngx_broadcast_sender_free(sender);
        return;
    }
}


static void
ngx_broadcast_stage_cancel(ngx_broadcast_call_t *call)
{
    ngx_broadcast_sender_t  *sender = (ngx_broadcast_sender_t *) call;

    /* what was taken is sent all the same, only nobody is told */

    sender->finished = 1;

    if (sender->state == NGX_BROADCAST_SENDER_NUMBERING
        || sender->state == NGX_BROADCAST_SENDER_LATER)
    {
        ngx_broadcast_sender_free(sender);
    }
}


void
ngx_broadcast_stage_seen(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_sender_t  *sender;

    sender = ngx_broadcast_sender_find(rec->mark);

    if (sender == NULL) {
        return;
    }

    sender->sent.position = rec->position;

    if (sender->state == NGX_BROADCAST_SENDER_NUMBERING) {
        ngx_broadcast_sender_tell(sender, NGX_BROADCAST_SENT);
        ngx_broadcast_sender_free(sender);
    }
}


void
ngx_broadcast_stage_post(void)
{
    ngx_broadcast_stage_t  *stage = &ngx_broadcast_stage;

    if (!stage->busy && !stage->next.posted
        && !ngx_queue_empty(&stage->waiting))
    {
        ngx_post_event(&stage->next, &ngx_posted_events);
    }
}


static void
ngx_broadcast_stage_next(ngx_event_t *ev)
{
    ngx_int_t               rc;
    ngx_uint_t              rows;
    ngx_broadcast_stage_t  *stage = &ngx_broadcast_stage;

    if (stage->busy || ngx_queue_empty(&stage->waiting)) {
        return;
    }

    rows = ngx_broadcast_stage_collect();

    stage->busy = 1;
    stage->pool = ngx_create_pool(4096, stage->log);

    rc = stage->pool ? ngx_broadcast_stage_texts(rows) : NGX_ERROR;

    if (rc == NGX_OK) {
        stage->query.statement = stage->keys ? NGX_BROADCAST_PG_STAGE_ONCE
                                             : NGX_BROADCAST_PG_STAGE;
        stage->query.nparams = stage->keys ? NGX_BROADCAST_STAGE_ONCE_PARAMS
                                           : NGX_BROADCAST_STAGE_PARAMS;
        stage->query.done = ngx_broadcast_stage_done;

        rc = ngx_broadcast_pg_pool_send(&stage->query, 1);
    }

    if (rc != NGX_OK) {
        ngx_broadcast_stage_done(&stage->query, NGX_BROADCAST_PG_UNSENT,
                                 NULL);
    }
}


/* moves senders from the line into the group; returns their records */

static ngx_uint_t
ngx_broadcast_stage_collect(void)
{
    size_t                   bytes;
    ngx_uint_t               rows;
    ngx_queue_t             *q;
    ngx_broadcast_stage_t   *stage = &ngx_broadcast_stage;
    ngx_broadcast_sender_t  *sender;

    rows = 0;
    bytes = 0;
    stage->keys = 0;

    while (!ngx_queue_empty(&stage->waiting)) {
        q = ngx_queue_head(&stage->waiting);
        sender = ngx_queue_data(q, ngx_broadcast_sender_t, queue);

        if (rows && (sender->alone
                     || (sender->key.len
                         && stage->keys == NGX_BROADCAST_STAGE_KEYS)
                     || rows + sender->n > NGX_BROADCAST_STAGE_ROWS
                     || bytes + sender->bytes > NGX_BROADCAST_STAGE_BYTES))
        {
            break;
        }

        ngx_queue_remove(q);
        stage->nwaiting--;
        stage->bytes -= sender->bytes;

        ngx_queue_insert_tail(&stage->group, q);
        sender->state = NGX_BROADCAST_SENDER_GROUPED;
        stage->keys += sender->key.len ? 1 : 0;

        rows += sender->n;
        bytes += sender->bytes;

        if (sender->alone) {
            break;
        }
    }

    return rows;
}


static void
ngx_broadcast_stage_done(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    ngx_uint_t               told, divide;
    ngx_queue_t              group, *q;
    ngx_broadcast_stage_t   *stage = &ngx_broadcast_stage;
    ngx_broadcast_sender_t  *sender;

    if (stage->pool) {
        ngx_destroy_pool(stage->pool);
        stage->pool = NULL;
    }

    divide = 0;

    switch (status) {

    case NGX_BROADCAST_PG_OK:
        told = NGX_BROADCAST_SENT;

        if (stage->keys) {
            ngx_broadcast_stage_repeats(result);
        }

        ngx_broadcast_relay_nudge();
        break;

    case NGX_BROADCAST_PG_FAILED:
        told = NGX_BROADCAST_NOT_SENT;
        divide = ngx_broadcast_stage_failed(result);
        break;

    case NGX_BROADCAST_PG_AWAY:
        told = NGX_BROADCAST_SENT_UNKNOWN;
        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
        break;

    default:
        told = NGX_BROADCAST_NOT_SENT;
    }

    /* senders may send again from their handlers: the group is taken off */

    ngx_queue_init(&group);

    if (!ngx_queue_empty(&stage->group)) {
        ngx_queue_add(&group, &stage->group);
        ngx_queue_init(&stage->group);
    }

    while (!ngx_queue_empty(&group)) {

        /* those of a divided group go back to the head: the last one first */

        q = divide ? ngx_queue_last(&group) : ngx_queue_head(&group);
        sender = ngx_queue_data(q, ngx_broadcast_sender_t, queue);
        ngx_queue_remove(q);

        if (divide) {
            sender->alone = 1;
            ngx_broadcast_stage_wait(sender, 1);
            continue;
        }

        if (sender->repeat && status == NGX_BROADCAST_PG_OK
            && ngx_broadcast_stage_again(sender))
        {
            continue;
        }

        if (!sender->finished && status == NGX_BROADCAST_PG_OK
            && !sender->repeat && sender->want == NGX_BROADCAST_NUMBERED
            && sender->sent.position.epoch == 0)
        {
            sender->state = NGX_BROADCAST_SENDER_NUMBERING;
            continue;
        }

        /* seen in the log: committed, whatever became of the answer */

        ngx_broadcast_sender_tell(sender, sender->sent.position.epoch
                                          ? NGX_BROADCAST_SENT
                                          : ngx_broadcast_stage_told(sender,
                                                                     told));
        ngx_broadcast_sender_free(sender);
    }

    stage->busy = 0;
    ngx_broadcast_stage_post();
}


/* 1: the group is to be sent again, each sender for itself */

static ngx_uint_t
ngx_broadcast_stage_failed(PGresult *result)
{
    ngx_str_t               state;
    ngx_broadcast_stage_t  *stage = &ngx_broadcast_stage;

    ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);

    if (stage->logged != ngx_time()) {
        stage->logged = ngx_time();
        state = ngx_broadcast_pg_sqlstate(result);

        ngx_log_error(NGX_LOG_ERR, stage->log, 0,
                      "broadcast: the database did not take a message, "
                      "SQLSTATE %V", &state);
    }

    return ngx_queue_head(&stage->group) != ngx_queue_last(&stage->group)
           && ngx_broadcast_stage_divide(result);
}


/* 1: the fault may be in one sender's data, the others are innocent */

static ngx_uint_t
ngx_broadcast_stage_divide(PGresult *result)
{
    ngx_str_t  state;

    state = ngx_broadcast_pg_sqlstate(result);

    if (state.len != 5) {
        return 0;
    }

    return ngx_memcmp(state.data, "22", 2) == 0     /* data exception */
           || ngx_memcmp(state.data, "23", 2) == 0  /* constraint */
           || ngx_memcmp(state.data, "54", 2) == 0  /* limit */
           || ngx_memcmp(state.data, "P0", 2) == 0; /* raised */
}
