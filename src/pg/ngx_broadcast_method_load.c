
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_method_local.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"


/*
 * The catalogue is read by one query at a time, or only its version is asked
 * for.  Who asks is told by a question that was sent behind it, at the latest
 * after the time that a call may take, also if one before it stands still;
 * calls meanwhile go by the old one.
 * Clients may ask as often as they like for what does not exist: they wait for
 * each other, so that there are few questions, and fewer while all is as it
 * was.  Nobody waits longer than a change may take anyway.
 */

#define NGX_BROADCAST_METHOD_ASK    100     /* ms between two questions */
#define NGX_BROADCAST_METHOD_SAME   10      /* so many in a row found nothing:
                                               the pause grows */
#define NGX_BROADCAST_METHOD_PAUSE  1000    /* ms, the longest one */
#define NGX_BROADCAST_METHOD_QUIET  5000    /* ms without one: as at first */
#define NGX_BROADCAST_METHOD_AGAIN  1000    /* ms: after one that failed */


typedef struct {
    ngx_queue_t                     queue;
    ngx_msec_t                      until;
    ngx_broadcast_method_asked_pt   handler;
    uint64_t                        data[NGX_BROADCAST_CALL_DATA / 8];
} ngx_broadcast_method_waiter_t;


typedef struct {
    ngx_broadcast_pg_query_t        query;
    ngx_uint_t                      busy;   /* query is the pool's */
    uint64_t                        seen;   /* version in the zone, when it was
                                               read or tried last */
    ngx_msec_t                      asked;  /* last question, by a call */
    ngx_uint_t                      same;   /* in a row that found no change */
    ngx_msec_t                      failed; /* last failure, 0: none since */
    ngx_uint_t                      logged; /* that it fails */
    ngx_queue_t                     asking; /* whose question is under way */
    ngx_queue_t                     waiters;    /* for the next one */
    ngx_uint_t                      nwaiters;   /* in both, each in the order
                                                   of their times */
    ngx_event_t                     timer;  /* of who has waited longest */
    ngx_event_t                     next;   /* until the next one */
    ngx_log_t                      *log;
} ngx_broadcast_method_load_t;


static void ngx_broadcast_method_enter(ngx_str_t *claim, ngx_str_t *role);
static void ngx_broadcast_method_soon(void);
static ngx_msec_t ngx_broadcast_method_pause(void);
static void ngx_broadcast_method_next(ngx_event_t *ev);
static ngx_int_t ngx_broadcast_method_send(const char *text,
    ngx_broadcast_pg_done_pt done);
static void ngx_broadcast_method_versioned(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static ngx_int_t ngx_broadcast_method_read(void);
static void ngx_broadcast_method_was_read(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_method_failed(ngx_uint_t status, PGresult *result);
static void ngx_broadcast_method_tell(ngx_uint_t status);
static void ngx_broadcast_method_end(ngx_queue_t *told, ngx_uint_t status);
static void ngx_broadcast_method_watch(void);
static void ngx_broadcast_method_timeout(ngx_event_t *ev);
static ngx_msec_int_t ngx_broadcast_method_left(ngx_queue_t *queue);


static const char  ngx_broadcast_method_version_text[] =
    "SELECT broadcast.bindings_version()";

/* in one statement: the version is that of the rows; it is made once for all */

static const char  ngx_broadcast_method_read_text[] =
    "SELECT one.version, m.hub, m.name, m.form, m.function,"
    " m.count, m.rest, m.arrays, m.params, m.stream, m.cursor, m.shape,"
    " m.ambiguous, m.statement, m.plain"
    " FROM (SELECT broadcast.bindings_version() AS version OFFSET 0) one"
    " LEFT JOIN broadcast.methods($1::text, $2::text) m ON true";


static ngx_broadcast_method_load_t  ngx_broadcast_method_load;

/* claim and role are of 63 bytes at most, each may be doubled */

static u_char  ngx_broadcast_method_before_text[320];


void
ngx_broadcast_method_start(ngx_log_t *log)
{
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    ngx_memzero(load, sizeof(ngx_broadcast_method_load_t));

    ngx_queue_init(&load->asking);
    ngx_queue_init(&load->waiters);
    load->log = log;
    load->asked = ngx_current_msec - NGX_BROADCAST_METHOD_ASK;

    load->next.handler = ngx_broadcast_method_next;
    load->next.data = load;
    load->next.log = log;
    load->next.cancelable = 1;

    load->timer.handler = ngx_broadcast_method_timeout;
    load->timer.data = load;
    load->timer.log = log;
    load->timer.cancelable = 1;

    ngx_broadcast_method_enter(&ngx_broadcast_pg.conf->role_claim,
                               &ngx_broadcast_pg.conf->role_default);

    ngx_broadcast_method_calls_start(log);
}


static void
ngx_broadcast_method_enter(ngx_str_t *claim, ngx_str_t *role)
{
    u_char      *p, *last;
    size_t       i, k;
    ngx_str_t   *word;

    p = ngx_broadcast_method_before_text;
    last = p + sizeof(ngx_broadcast_method_before_text) - 1;

    p = ngx_slprintf(p, last, "SELECT broadcast.enter($1");

    for (k = 0; k < 2; k++) {
        word = k ? role : claim;

        if (word->len == 0) {
            p = ngx_slprintf(p, last, ", NULL");
            continue;
        }

        p = ngx_slprintf(p, last, ", '");

        for (i = 0; i < word->len; i++) {
            p = ngx_slprintf(p, last, word->data[i] == '\'' ? "''" : "%*s",
                             (size_t) 1, &word->data[i]);
        }

        p = ngx_slprintf(p, last, "'");
    }

    p = ngx_slprintf(p, last, ")");
    *p = '\0';
}


const char *
ngx_broadcast_method_before(void)
{
    return ngx_broadcast_pg.conf->role_claim.len
           ? (const char *) ngx_broadcast_method_before_text : NULL;
}


void
ngx_broadcast_method_stop(void)
{
    ngx_queue_t                  *q;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    if (load->log == NULL) {
        return;
    }

    if (load->timer.timer_set) {
        ngx_del_timer(&load->timer);
    }

    if (load->next.timer_set) {
        ngx_del_timer(&load->next);
    }

    ngx_queue_add(&load->waiters, &load->asking);

    while (!ngx_queue_empty(&load->waiters)) {
        q = ngx_queue_head(&load->waiters);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_broadcast_method_waiter_t, queue));
    }

    ngx_broadcast_method_calls_stop();

    if (ngx_broadcast_methods) {
        ngx_broadcast_methods_put(ngx_broadcast_methods);
        ngx_broadcast_methods = NULL;
    }
}


void
ngx_broadcast_method_tick(void)
{
    uint64_t                      version;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    if (load->busy || !ngx_broadcast_binding_ready(ngx_broadcast_bus.zone)) {
        return;
    }

    version = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_BINDINGS);

    /*
     * A call may have had it read before the relay saw the change: what the
     * zone says counts when it changes.
     */

    if (ngx_broadcast_methods
        && (version == load->seen || version == ngx_broadcast_methods->version))
    {
        load->seen = version;
        return;
    }

    if (load->failed
        && ngx_current_msec - load->failed < NGX_BROADCAST_METHOD_AGAIN)
    {
        return;
    }

    if (ngx_broadcast_method_read() == NGX_OK) {
        load->seen = version;
    }
}


ngx_int_t
ngx_broadcast_method_ask(ngx_broadcast_method_asked_pt handler,
    const void *data, size_t size)
{
    ngx_broadcast_method_load_t    *load = &ngx_broadcast_method_load;
    ngx_broadcast_method_waiter_t  *waiter;

    if (!ngx_broadcast_pg.enabled || size > NGX_BROADCAST_CALL_DATA) {
        return NGX_DECLINED;
    }

    if (load->nwaiters >= ngx_broadcast_pg.conf->queue) {
        return NGX_BUSY;
    }

    if (ngx_broadcast_pg_pool_away()) {
        return NGX_DECLINED;
    }

    waiter = ngx_alloc(sizeof(ngx_broadcast_method_waiter_t), load->log);
    if (waiter == NULL) {
        return NGX_DECLINED;
    }

    waiter->until = ngx_current_msec + ngx_broadcast_pg.conf->timeout;
    waiter->handler = handler;
    ngx_memcpy(waiter->data, data, size);

    load->nwaiters++;

    /* the first reading is new enough for everybody */

    if (load->busy && ngx_broadcast_methods == NULL) {
        ngx_queue_insert_tail(&load->asking, &waiter->queue);

    } else {
        ngx_queue_insert_tail(&load->waiters, &waiter->queue);
        ngx_broadcast_method_soon();
    }

    ngx_broadcast_method_watch();

    return NGX_OK;
}


/* the next question, if somebody waits for it and none is under way */

static void
ngx_broadcast_method_soon(void)
{
    ngx_msec_int_t                left;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    if (load->busy || load->next.timer_set || ngx_queue_empty(&load->waiters))
    {
        return;
    }

    left = (ngx_msec_int_t) (load->asked + ngx_broadcast_method_pause()
                             - ngx_current_msec);

    ngx_add_timer(&load->next, (ngx_msec_t) ngx_max(left, 0));
}


static ngx_msec_t
ngx_broadcast_method_pause(void)
{
    ngx_msec_t                    pause;
    ngx_uint_t                    i;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    if (ngx_current_msec - load->asked > NGX_BROADCAST_METHOD_QUIET) {
        load->same = 0;
    }

    pause = NGX_BROADCAST_METHOD_ASK;

    for (i = NGX_BROADCAST_METHOD_SAME;
         i < load->same && pause < NGX_BROADCAST_METHOD_PAUSE;
         i++)
    {
        pause = ngx_min(2 * pause, NGX_BROADCAST_METHOD_PAUSE);
    }

    return pause;
}


static void
ngx_broadcast_method_next(ngx_event_t *ev)
{
    ngx_int_t                     rc;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    if (load->busy) {
        return;
    }

    load->asked = ngx_current_msec;

    if (!ngx_queue_empty(&load->waiters)) {
        ngx_queue_add(&load->asking, &load->waiters);
        ngx_queue_init(&load->waiters);
    }

    rc = ngx_broadcast_methods
         ? ngx_broadcast_method_send(ngx_broadcast_method_version_text,
                                     ngx_broadcast_method_versioned)
         : ngx_broadcast_method_read();

    if (rc != NGX_OK) {
        ngx_broadcast_method_tell(NGX_BROADCAST_CALL_AWAY);
    }
}


static ngx_int_t
ngx_broadcast_method_send(const char *text, ngx_broadcast_pg_done_pt done)
{
    ngx_int_t                     rc;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    load->query.statement = NGX_BROADCAST_PG_TEXT;
    load->query.text = text;
    load->query.done = done;
    load->query.data = load;

    rc = ngx_broadcast_pg_pool_send(&load->query, 1);

    load->busy = (rc == NGX_OK);

    return rc;
}


static void
ngx_broadcast_method_versioned(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    uint64_t                      version;
    ngx_broadcast_method_load_t  *load = query->data;

    load->busy = 0;

    if (ngx_broadcast_pg.stopping) {
        return;
    }

    if (status != NGX_BROADCAST_PG_OK) {
        ngx_broadcast_method_failed(status, result);
        return;
    }

    version = ngx_broadcast_pg_number(result, 0, 0);

    if (version == ngx_broadcast_methods->version) {
        load->same++;

    } else {
        load->same = 0;

        if (ngx_broadcast_method_read() == NGX_OK) {
            return;
        }
    }

    ngx_broadcast_method_tell(NGX_BROADCAST_CALL_OK);
}


static ngx_int_t
ngx_broadcast_method_read(void)
{
    ngx_broadcast_pg_conf_t   *conf = ngx_broadcast_pg.conf;
    ngx_broadcast_pg_query_t  *query = &ngx_broadcast_method_load.query;

    query->nparams = 2;
    query->params[0] = conf->role_claim.len
                       ? (const char *) conf->role_claim.data : NULL;
    query->params[1] = conf->role_default.len
                       ? (const char *) conf->role_default.data : NULL;

    return ngx_broadcast_method_send(ngx_broadcast_method_read_text,
                                     ngx_broadcast_method_was_read);
}


static void
ngx_broadcast_method_was_read(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_broadcast_method_load_t  *load = query->data;

    load->busy = 0;
    query->nparams = 0;

    if (ngx_broadcast_pg.stopping) {
        return;
    }

    if (status != NGX_BROADCAST_PG_OK) {
        ngx_broadcast_method_failed(status, result);
        return;
    }

    load->failed = 0;
    load->logged = 0;

    ngx_broadcast_method_take(result);
    ngx_broadcast_method_tell(NGX_BROADCAST_CALL_OK);
}


static void
ngx_broadcast_method_failed(ngx_uint_t status, PGresult *result)
{
    ngx_str_t                     state, message;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    load->failed = ngx_current_msec ? ngx_current_msec : 1;

    if (status == NGX_BROADCAST_PG_FAILED && !load->logged) {
        load->logged = 1;

        state = ngx_broadcast_pg_sqlstate(result);
        message = ngx_broadcast_pg_message(result);

        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);

        ngx_log_error(NGX_LOG_ERR, load->log, 0,
                      "broadcast: broadcast.methods() was not read: %V (%V)",
                      &message, &state);
    }

    ngx_broadcast_method_tell(status == NGX_BROADCAST_PG_FAILED
                              ? NGX_BROADCAST_CALL_FAILED
                              : NGX_BROADCAST_CALL_AWAY);
}


/* whoever waits for the question that is over */

static void
ngx_broadcast_method_tell(ngx_uint_t status)
{
    ngx_queue_t                   told;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    ngx_queue_init(&told);

    if (!ngx_queue_empty(&load->asking)) {
        ngx_queue_add(&told, &load->asking);
        ngx_queue_init(&load->asking);
    }

    ngx_broadcast_method_end(&told, status);
    ngx_broadcast_method_soon();
}


static void
ngx_broadcast_method_end(ngx_queue_t *told, ngx_uint_t status)
{
    ngx_queue_t                    *q;
    ngx_broadcast_method_waiter_t  *waiter;

    while (!ngx_queue_empty(told)) {
        q = ngx_queue_head(told);
        waiter = ngx_queue_data(q, ngx_broadcast_method_waiter_t, queue);
        ngx_queue_remove(q);
        ngx_broadcast_method_load.nwaiters--;

        waiter->handler(status, waiter->data);

        ngx_free(waiter);
    }

    ngx_broadcast_method_watch();
}


static void
ngx_broadcast_method_watch(void)
{
    ngx_msec_int_t                left;
    ngx_broadcast_method_load_t  *load = &ngx_broadcast_method_load;

    if (load->nwaiters == 0) {

        if (load->timer.timer_set) {
            ngx_del_timer(&load->timer);
        }

        return;
    }

    /* where nginx keeps one that is set, it is a little early */

    left = ngx_min(ngx_broadcast_method_left(&load->asking),
                   ngx_broadcast_method_left(&load->waiters));

    ngx_add_timer(&load->timer, (ngx_msec_t) ngx_max(left, 1));
}


/* a question that stands still, or who waits behind it for one of his own */

static void
ngx_broadcast_method_timeout(ngx_event_t *ev)
{
    ngx_uint_t    i;
    ngx_queue_t  *q, told;
    ngx_queue_t  *queues[] = { &ngx_broadcast_method_load.asking,
                               &ngx_broadcast_method_load.waiters };

    ngx_queue_init(&told);

    for (i = 0; i < 2; i++) {
        while (ngx_broadcast_method_left(queues[i]) <= 0) {
            q = ngx_queue_head(queues[i]);
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&told, q);
        }
    }

    ngx_broadcast_method_end(&told, NGX_BROADCAST_CALL_TIMEOUT);
}


/* ms, of the first one; of none: the longest time */

static ngx_msec_int_t
ngx_broadcast_method_left(ngx_queue_t *queue)
{
    ngx_broadcast_method_waiter_t  *waiter;

    if (ngx_queue_empty(queue)) {
        return NGX_MAX_INT32_VALUE;
    }

    waiter = ngx_queue_data(ngx_queue_head(queue),
                            ngx_broadcast_method_waiter_t, queue);

    return (ngx_msec_int_t) (waiter->until - ngx_current_msec);
}
