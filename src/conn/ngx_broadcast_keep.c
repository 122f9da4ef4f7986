
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_keep.h"
#include "conn/ngx_broadcast_move.h"
#include "pg/ngx_broadcast_backoff.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_presence.h"
#include "shm/ngx_broadcast_progress.h"


/*
 * A connection whose groups changed stands in a queue once, however much has
 * changed; a statement says for many of them in which groups they are now, all
 * of them.  One statement is under way at a time, so what is said later is
 * newer, whoever made the change: a record, the client itself, a rule that was
 * read late.  What was not heard is said again, until it is.
 *
 * A connection does not change its worker while a statement about it is under
 * way: what the other one says would have no order with it.
 */

#define NGX_BROADCAST_KEEP_MAX    128       /* connections of a statement */
#define NGX_BROADCAST_KEEP_BYTES  262144    /* one more begins the next */
#define NGX_BROADCAST_KEEP_DELAY  20        /* ms, in which changes gather */
#define NGX_BROADCAST_KEEP_AGAIN  250       /* ms, while a row is locked */
#define NGX_BROADCAST_KEEP_MARGIN 1000      /* ms, as timers are not exact */


typedef struct {
    size_t                      len;
    u_char                      id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_keep_id_t;


static void ngx_broadcast_keep_queue(ngx_broadcast_conn_t *bc);
static void ngx_broadcast_keep_timer(ngx_msec_t delay);
static void ngx_broadcast_keep_told(uint64_t changes);
static void ngx_broadcast_keep_handler(ngx_event_t *ev);
static ngx_uint_t ngx_broadcast_keep_compose(ngx_broadcast_buf_t *b);
static void ngx_broadcast_keep_sent(ngx_uint_t n);
static void ngx_broadcast_keep_done(ngx_broadcast_call_result_t *result,
    void *data);
static ngx_uint_t ngx_broadcast_keep_refused(
    ngx_broadcast_call_result_t *result);
static void ngx_broadcast_keep_release(ngx_broadcast_keep_id_t *key,
    ngx_broadcast_call_result_t *result, ngx_uint_t refused);


static ngx_queue_t              ngx_broadcast_keeps;    /* changed */
static ngx_broadcast_keep_id_t  ngx_broadcast_keep_ids[NGX_BROADCAST_KEEP_MAX];
static ngx_uint_t               ngx_broadcast_keep_n;   /* under way */
static ngx_uint_t               ngx_broadcast_keep_max; /* of the next */
static uint64_t                 ngx_broadcast_keep_changes; /* all up to this
                                                are in the statement under way,
                                                0: not all */
static ngx_broadcast_backoff_t  ngx_broadcast_keep_backoff;
static ngx_event_t              ngx_broadcast_keep_event;
static ngx_connection_t         ngx_broadcast_keep_dumb;


void
ngx_broadcast_keep_start(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_broadcast_keeps);

    ngx_broadcast_keep_n = 0;
    ngx_broadcast_keep_max = NGX_BROADCAST_KEEP_MAX;
    ngx_broadcast_backoff_init(&ngx_broadcast_keep_backoff);

    ngx_broadcast_keep_dumb.fd = (ngx_socket_t) -1;

    ngx_memzero(&ngx_broadcast_keep_event, sizeof(ngx_event_t));

    /* the groups of clients that are about to go hold no worker */

    ngx_broadcast_keep_event.handler = ngx_broadcast_keep_handler;
    ngx_broadcast_keep_event.data = &ngx_broadcast_keep_dumb;
    ngx_broadcast_keep_event.log = cycle->log;
    ngx_broadcast_keep_event.cancelable = 1;
}


void
ngx_broadcast_keep_stop(void)
{
    if (ngx_broadcast_keep_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_keep_event);
    }
}


void
ngx_broadcast_keep_groups(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
    ngx_str_t                name;
    ngx_broadcast_joined_t  *joined;

    ngx_broadcast_buf_char(b, '[');

    for (joined = bc->groups; joined; joined = joined->next) {
        name.len = joined->group->len;
        name.data = joined->group->data;

        ngx_broadcast_buf_json(b, &name);

        if (joined->next) {
            ngx_broadcast_buf_char(b, ',');
        }
    }

    ngx_broadcast_buf_char(b, ']');
}


void
ngx_broadcast_keep_begin(ngx_broadcast_conn_t *bc)
{
    if (ngx_broadcast_hub_durable(&bc->hub->name)) {
        bc->kept = 1;
    }
}


void
ngx_broadcast_keep_connected(ngx_broadcast_conn_t *bc, ngx_uint_t failed)
{
    if (!bc->kept || !bc->indexed) {
        return;
    }

    if (failed) {
        bc->changed = 1;
    }

    if (bc->changed) {
        ngx_broadcast_keep_queue(bc);
    }
}


void
ngx_broadcast_keep_changed(ngx_broadcast_conn_t *bc)
{
    if (!bc->kept || bc->changed) {
        return;
    }

    bc->changed = 1;

    /* before there is a row nobody would hear it */

    if (bc->task && bc->task->kind == NGX_BROADCAST_ON_CONNECTED) {
        return;
    }

    ngx_broadcast_keep_queue(bc);
}


static void
ngx_broadcast_keep_queue(ngx_broadcast_conn_t *bc)
{
    if (bc->waits) {
        return;
    }

    bc->waits = 1;
    ngx_queue_insert_tail(&ngx_broadcast_keeps, &bc->keep);

    ngx_broadcast_progress_changed(ngx_broadcast_bus.zone,
                                   ngx_broadcast_bus.slot);

    if (ngx_broadcast_keep_n == 0) {
        ngx_broadcast_keep_timer(NGX_BROADCAST_KEEP_DELAY);
    }
}


static void
ngx_broadcast_keep_timer(ngx_msec_t delay)
{
    if (!ngx_broadcast_keep_event.timer_set) {
        ngx_add_timer(&ngx_broadcast_keep_event, delay);
    }
}


/*
 * Who asks the database about groups waits for what this worker has to say.
 * Where none stands in the queue, all is said, or those whom it was about are
 * gone.
 */

static void
ngx_broadcast_keep_told(uint64_t changes)
{
    if (ngx_queue_empty(&ngx_broadcast_keeps)) {
        changes = ngx_broadcast_progress_changes(ngx_broadcast_bus.zone,
                                                 ngx_broadcast_bus.slot);
    }

    if (changes) {
        ngx_broadcast_progress_told(ngx_broadcast_bus.zone,
                                    ngx_broadcast_bus.slot, changes);
    }
}


void
ngx_broadcast_keep_remove(ngx_broadcast_conn_t *bc)
{
    bc->kept = 0;

    if (bc->waits) {
        bc->waits = 0;
        ngx_queue_remove(&bc->keep);
    }
}


ngx_uint_t
ngx_broadcast_keep_state(ngx_broadcast_conn_t *bc)
{
    return (bc->kept ? NGX_BROADCAST_KEEP_KEPT : 0)
           |(bc->changed ? NGX_BROADCAST_KEEP_CHANGED : 0)
           |(bc->rowed ? NGX_BROADCAST_KEEP_ROWED : 0);
}


void
ngx_broadcast_keep_set_state(ngx_broadcast_conn_t *bc, ngx_uint_t state)
{
    bc->kept = (state & NGX_BROADCAST_KEEP_KEPT) ? 1 : 0;
    bc->rowed = (state & NGX_BROADCAST_KEEP_ROWED) ? 1 : 0;

    if (!bc->rowed && bc->functions && bc->state == NGX_BROADCAST_ACTIVE) {
        ngx_broadcast_enrol(bc);
    }

    if (state & NGX_BROADCAST_KEEP_CHANGED) {
        ngx_broadcast_keep_changed(bc);
    }
}


static void
ngx_broadcast_keep_handler(ngx_event_t *ev)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_uint_t            n;
    ngx_pool_t           *pool;
    ngx_broadcast_buf_t   b;

    if (ngx_broadcast_keep_n) {
        return;
    }

    if (ngx_queue_empty(&ngx_broadcast_keeps)) {
        ngx_broadcast_keep_told(0);
        return;
    }

    rc = NGX_ERROR;
    n = 0;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_broadcast_bus.log);

    if (pool) {
        ngx_broadcast_buf_init(&b, pool, 4096);
        n = ngx_broadcast_keep_compose(&b);

        if (ngx_broadcast_buf_done(&b, &text) == NGX_OK) {
            rc = ngx_broadcast_presence_keep(&text, ngx_broadcast_keep_done,
                                             NULL, 0, NULL);
        }

        ngx_destroy_pool(pool);
    }

    if (rc != NGX_OK) {
        ngx_broadcast_keep_timer(
                           ngx_broadcast_backoff(&ngx_broadcast_keep_backoff));
        return;
    }

    ngx_broadcast_keep_sent(n);
}


/* returns how many, from the head of the queue */

static ngx_uint_t
ngx_broadcast_keep_compose(ngx_broadcast_buf_t *b)
{
    ngx_uint_t             n;
    ngx_queue_t           *q;
    ngx_broadcast_conn_t  *bc;

    n = 0;
    ngx_broadcast_buf_char(b, '{');

    for (q = ngx_queue_head(&ngx_broadcast_keeps);
         q != ngx_queue_sentinel(&ngx_broadcast_keeps)
         && n < ngx_broadcast_keep_max
         && ngx_broadcast_buf_len(b) < NGX_BROADCAST_KEEP_BYTES;
         q = ngx_queue_next(q), n++)
    {
        bc = ngx_queue_data(q, ngx_broadcast_conn_t, keep);

        if (n) {
            ngx_broadcast_buf_char(b, ',');
        }

        ngx_broadcast_buf_json(b, &bc->id);
        ngx_broadcast_buf_char(b, ':');
        ngx_broadcast_keep_groups(b, bc);
    }

    ngx_broadcast_buf_char(b, '}');

    return n;
}


static void
ngx_broadcast_keep_sent(ngx_uint_t n)
{
    ngx_uint_t                i;
    ngx_queue_t              *q;
    ngx_broadcast_conn_t     *bc;
    ngx_broadcast_keep_id_t  *key;

    ngx_broadcast_keep_n = n;

    for (i = 0; i < n; i++) {
        q = ngx_queue_head(&ngx_broadcast_keeps);
        bc = ngx_queue_data(q, ngx_broadcast_conn_t, keep);

        ngx_queue_remove(q);
        bc->waits = 0;
        bc->changed = 0;
        bc->keeping = 1;

        key = &ngx_broadcast_keep_ids[i];

        key->len = bc->id.len;
        ngx_memcpy(key->id, bc->id.data, bc->id.len);
    }

    ngx_broadcast_keep_changes = 0;

    if (ngx_queue_empty(&ngx_broadcast_keeps)) {
        ngx_broadcast_keep_changes =
                       ngx_broadcast_progress_changes(ngx_broadcast_bus.zone,
                                                      ngx_broadcast_bus.slot);
    }
}


static void
ngx_broadcast_keep_done(ngx_broadcast_call_result_t *result, void *data)
{
    ngx_uint_t  i, n, refused;
    ngx_msec_t  delay;

    n = ngx_broadcast_keep_n;
    refused = ngx_broadcast_keep_refused(result);

    for (i = 0; i < n; i++) {
        ngx_broadcast_keep_release(&ngx_broadcast_keep_ids[i], result,
                                   refused && n == 1);
    }

    ngx_broadcast_keep_n = 0;

    switch (result->status) {

    case NGX_BROADCAST_CALL_OK:
        ngx_broadcast_backoff_init(&ngx_broadcast_keep_backoff);
        delay = (n < ngx_broadcast_keep_max) ? NGX_BROADCAST_KEEP_DELAY : 0;

        if (result->value.len) {
            delay = NGX_BROADCAST_KEEP_AGAIN;
        }

        ngx_broadcast_keep_told(ngx_broadcast_keep_changes);

        ngx_broadcast_keep_max = ngx_min(ngx_broadcast_keep_max * 2,
                                         NGX_BROADCAST_KEEP_MAX);
        break;

    case NGX_BROADCAST_CALL_FAILED:
        delay = refused ? 0
                        : ngx_broadcast_backoff(&ngx_broadcast_keep_backoff);
        break;

    default:

        /* it may still be running, and must not be the last to end */

        delay = ngx_broadcast_pg_timeout() + NGX_BROADCAST_KEEP_MARGIN;
    }

    if (refused) {
        ngx_broadcast_keep_max = 1;
    }

    if (ngx_queue_empty(&ngx_broadcast_keeps)) {
        ngx_broadcast_keep_told(0);
        return;
    }

    ngx_broadcast_keep_timer(delay);
}


/*
 * 1: the database cannot take one of the names, by its encoding.  Then each
 * connection is said alone, and the one that it is about no more: the others
 * must not wait for it.
 */

static ngx_uint_t
ngx_broadcast_keep_refused(ngx_broadcast_call_result_t *result)
{
    if (result->status != NGX_BROADCAST_CALL_FAILED) {
        return 0;
    }

    if (ngx_broadcast_keep_backoff.last != NGX_BROADCAST_BACKOFF_MAX) {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_bus.log, 0,
                      "broadcast: groups of connections were not kept: "
                      "%V (%V)", &result->message, &result->sqlstate);
    }

    return result->sqlstate.len == 5
           && ngx_memcmp(result->sqlstate.data, "22", 2) == 0;
}


static void
ngx_broadcast_keep_release(ngx_broadcast_keep_id_t *key,
    ngx_broadcast_call_result_t *result, ngx_uint_t refused)
{
    ngx_str_t              id;
    ngx_broadcast_conn_t  *bc;

    id.data = key->id;
    id.len = key->len;

    bc = ngx_broadcast_index_find(&id);

    if (bc == NULL || !bc->keeping) {
        return;
    }

    bc->keeping = 0;

    if (refused) {
        ngx_broadcast_keep_remove(bc);

    } else if (result->status != NGX_BROADCAST_CALL_OK
               || ngx_broadcast_keep_among(&result->value, &id))
    {
        ngx_broadcast_keep_changed(bc);
    }

    if (bc->moving) {
        (void) ngx_broadcast_move_go(bc);
    }
}


/* ids have no commas */

ngx_uint_t
ngx_broadcast_keep_among(ngx_str_t *ids, ngx_str_t *id)
{
    u_char  *p, *last, *end;

    last = ids->data + ids->len;

    for (p = ids->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) == id->len
            && ngx_memcmp(p, id->data, id->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
