
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_post.h"
#include "base/ngx_broadcast_id.h"


/*
 *   INPUT   group: who waits       TAKEN   the same, arguments: "1", or empty
 *
 * Who has the connection answers.  Where nobody has it nobody does: then the
 * registry knows, which is asked when this worker reads its own INPUT, and some
 * times a second while a request waits.
 */

#define NGX_BROADCAST_POST_BUCKETS  64      /* a power of two */
#define NGX_BROADCAST_POST_LOOK     200     /* ms */
#define NGX_BROADCAST_POST_TIME     30000   /* ms */


/*
 * Whom to wake, the worker and its request: one that has no slot has no owner
 * word, and may get one meanwhile.
 */

typedef struct {
    ngx_broadcast_owner_t     owner;
    uint64_t                  random;
    uint64_t                  serial;
} ngx_broadcast_post_key_t;


static ngx_int_t ngx_broadcast_post_start(void);
static ngx_broadcast_post_t *ngx_broadcast_post_find(
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_post_end(ngx_broadcast_post_t *post, ngx_int_t rc);
static void ngx_broadcast_post_passed(ngx_broadcast_record_t *rec);
static void ngx_broadcast_post_answer(ngx_broadcast_record_t *rec,
    ngx_uint_t taken);
static ngx_uint_t ngx_broadcast_post_lives(ngx_str_t *connection);
static ngx_int_t ngx_broadcast_post_look(ngx_broadcast_post_t *post,
    uint64_t read);
static void ngx_broadcast_post_handler(ngx_event_t *ev);


static ngx_queue_t       ngx_broadcast_posts[NGX_BROADCAST_POST_BUCKETS];
static ngx_uint_t        ngx_broadcast_nposts;
static uint64_t          ngx_broadcast_post_serial;
static uint64_t          ngx_broadcast_post_random;     /* 0: not started */
static ngx_event_t       ngx_broadcast_post_event;
static ngx_connection_t  ngx_broadcast_post_dumb;


static ngx_int_t
ngx_broadcast_post_start(void)
{
    ngx_uint_t  i;

    if (ngx_broadcast_post_random) {
        return NGX_OK;
    }

    if (ngx_broadcast_id_random((u_char *) &ngx_broadcast_post_random,
                                sizeof(uint64_t))
        != NGX_OK)
    {
        ngx_broadcast_post_random = 0;
        return NGX_ERROR;
    }

    ngx_broadcast_post_random |= 1;

    for (i = 0; i < NGX_BROADCAST_POST_BUCKETS; i++) {
        ngx_queue_init(&ngx_broadcast_posts[i]);
    }

    ngx_memzero(&ngx_broadcast_post_event, sizeof(ngx_event_t));

    ngx_broadcast_post_dumb.fd = (ngx_socket_t) -1;

    /* not cancelable: requests hold a worker that exits */

    ngx_broadcast_post_event.handler = ngx_broadcast_post_handler;
    ngx_broadcast_post_event.data = &ngx_broadcast_post_dumb;
    ngx_broadcast_post_event.log = ngx_broadcast_bus.log;

    return NGX_OK;
}


void
ngx_broadcast_post_stop(void)
{
    if (ngx_broadcast_post_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_post_event);
    }

    ngx_broadcast_post_random = 0;
    ngx_broadcast_nposts = 0;
}


ngx_int_t
ngx_broadcast_post(ngx_broadcast_post_t *post, ngx_str_t *bytes)
{
    ngx_broadcast_record_t    rec;
    ngx_broadcast_post_key_t  key;

    if (ngx_broadcast_post_start() != NGX_OK) {
        return NGX_ERROR;
    }

    /* it may have ended while the body was read */

    if (!ngx_broadcast_post_lives(&post->connection)) {
        return NGX_DECLINED;
    }

    key.owner = ngx_broadcast_bus.owner;
    key.random = ngx_broadcast_post_random;
    key.serial = ++ngx_broadcast_post_serial;

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_INPUT;
    rec.scope = NGX_BROADCAST_CONNECTION;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec.source = NGX_BROADCAST_SRC_CLIENT;
    rec.hub = post->hub;
    rec.name = post->connection;
    rec.group.data = (u_char *) &key;
    rec.group.len = sizeof(ngx_broadcast_post_key_t);
    rec.arguments = *bytes;

    if (ngx_broadcast_publish(&rec, 1) != NGX_OK) {
        return NGX_BUSY;
    }

    post->serial = key.serial;
    post->head = 0;
    post->deadline = ngx_current_msec + NGX_BROADCAST_POST_TIME;

    ngx_queue_insert_tail(&ngx_broadcast_posts[post->serial
                                         & (NGX_BROADCAST_POST_BUCKETS - 1)],
                          &post->queue);

    if (ngx_broadcast_nposts++ == 0) {
        ngx_add_timer(&ngx_broadcast_post_event, NGX_BROADCAST_POST_LOOK);
    }

    return NGX_AGAIN;
}


void
ngx_broadcast_post_cancel(ngx_broadcast_post_t *post)
{
    if (post->serial == 0 || ngx_broadcast_post_random == 0) {
        return;
    }

    post->serial = 0;
    ngx_queue_remove(&post->queue);

    if (--ngx_broadcast_nposts == 0 && ngx_broadcast_post_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_post_event);
    }
}


static void
ngx_broadcast_post_end(ngx_broadcast_post_t *post, ngx_int_t rc)
{
    ngx_broadcast_post_cancel(post);

    post->handler(rc, post->data);
}


/* of this worker, and waiting; or NULL */

static ngx_broadcast_post_t *
ngx_broadcast_post_find(ngx_broadcast_record_t *rec)
{
    ngx_queue_t               *q, *bucket;
    ngx_broadcast_post_t      *post;
    ngx_broadcast_post_key_t   key;

    if (ngx_broadcast_nposts == 0 || rec->group.len != sizeof(key)) {
        return NULL;
    }

    ngx_memcpy(&key, rec->group.data, sizeof(key));

    if (key.random != ngx_broadcast_post_random) {
        return NULL;
    }

    bucket = &ngx_broadcast_posts[key.serial
                                  & (NGX_BROADCAST_POST_BUCKETS - 1)];

    for (q = ngx_queue_head(bucket); q != bucket; q = ngx_queue_next(q)) {
        post = ngx_queue_data(q, ngx_broadcast_post_t, queue);

        if (post->serial == key.serial) {
            return post;
        }
    }

    return NULL;
}


/*
 * Whoever has the connection answers, before it is done: that may end the row,
 * where others look.  What comes behind the end was not taken.
 */

void
ngx_broadcast_post_input(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *only)
{
    ngx_uint_t             taken;
    ngx_broadcast_conn_t  *bc;

    bc = ngx_broadcast_index_find(&rec->name);

    if (only && bc != only) {
        return;
    }

    if (bc == NULL && !ngx_broadcast_function_deferred(&rec->name)) {
        ngx_broadcast_post_passed(rec);
        return;
    }

    taken = (bc && bc->verdict == 0 && bc->state < NGX_BROADCAST_CLOSING);

    ngx_broadcast_post_answer(rec, taken);

    if (taken && rec->arguments.len) {
        ngx_broadcast_conn_input(bc, &rec->arguments);
    }
}


static void
ngx_broadcast_post_answer(ngx_broadcast_record_t *rec, ngx_uint_t taken)
{
    ngx_broadcast_post_t    *post;
    ngx_broadcast_record_t   answer;

    if (rec->group.len == 0) {
        return;
    }

    post = ngx_broadcast_post_find(rec);

    if (post) {
        ngx_broadcast_post_end(post, taken ? NGX_OK : NGX_DECLINED);
        return;
    }

    ngx_memzero(&answer, sizeof(ngx_broadcast_record_t));

    answer.type = NGX_BROADCAST_REC_TAKEN;
    answer.scope = NGX_BROADCAST_CONNECTION;
    answer.flags = NGX_BROADCAST_REC_UNNUMBERED;
    answer.source = NGX_BROADCAST_SRC_CLIENT;
    answer.hub = rec->hub;
    answer.group = rec->group;

    if (taken) {
        ngx_str_set(&answer.arguments, "1");
    }

    (void) ngx_broadcast_publish(&answer, 1);
}


static void
ngx_broadcast_post_passed(ngx_broadcast_record_t *rec)
{
    ngx_int_t              rc;
    ngx_broadcast_post_t  *post;

    post = ngx_broadcast_post_find(rec);

    if (post == NULL) {
        return;
    }

    rc = ngx_broadcast_post_look(post,
                                 rec->log + ngx_broadcast_record_size(rec));

    if (rc != NGX_AGAIN) {
        ngx_broadcast_post_end(post, rc);
    }
}


void
ngx_broadcast_post_told(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_post_t  *post;

    post = ngx_broadcast_post_find(rec);

    if (post) {
        ngx_broadcast_post_end(post, rec->arguments.len ? NGX_OK
                                                        : NGX_DECLINED);
    }
}


/*
 * Answers may be among what was missed.  Whose connection lives was taken or
 * will be, unless its worker was overrun as well, and ends it for that.
 */

void
ngx_broadcast_post_overrun(void)
{
    ngx_uint_t             i;
    ngx_queue_t           *bucket;
    ngx_broadcast_post_t  *post;

    for (i = 0; i < NGX_BROADCAST_POST_BUCKETS && ngx_broadcast_nposts; i++) {
        bucket = &ngx_broadcast_posts[i];

        while (!ngx_queue_empty(bucket)) {
            post = ngx_queue_data(ngx_queue_head(bucket), ngx_broadcast_post_t,
                                  queue);

            ngx_broadcast_post_end(post,
                                   ngx_broadcast_post_lives(&post->connection)
                                   ? NGX_OK : NGX_DECLINED);
        }
    }
}


/*
 * A dead worker is swept later than its clients see their sockets close, and
 * nobody reads what is sent to them then.
 */

static ngx_uint_t
ngx_broadcast_post_lives(ngx_str_t *connection)
{
    ngx_broadcast_row_info_t  row;

    return ngx_broadcast_registry_find(ngx_broadcast_bus.zone, connection,
                                       &row)
               == NGX_OK
           && row.state == NGX_BROADCAST_ROW_LIVE
           && (row.owner == 0
               || ngx_broadcast_slot_alive(ngx_broadcast_bus.zone,
                                           row.owner));
}


/* NGX_AGAIN: it has to wait; else what its handler is told */

static ngx_int_t
ngx_broadcast_post_look(ngx_broadcast_post_t *post, uint64_t read)
{
    if ((ngx_msec_int_t) (post->deadline - ngx_current_msec) <= 0) {
        return NGX_ABORT;
    }

    if (ngx_broadcast_post_lives(&post->connection)) {
        return NGX_AGAIN;
    }

    /* the answer may stand in the log, and not be read yet */

    if (post->head == 0) {
        post->head = ngx_broadcast_log_head(ngx_broadcast_bus.zone);
    }

    if (read >= post->head) {
        return NGX_DECLINED;
    }

    ngx_broadcast_reader_post();

    return NGX_AGAIN;
}


static void
ngx_broadcast_post_handler(ngx_event_t *ev)
{
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_queue_t           *q, *next, *bucket, due;
    ngx_broadcast_post_t  *post;

    ngx_queue_init(&due);

    for (i = 0; i < NGX_BROADCAST_POST_BUCKETS; i++) {
        bucket = &ngx_broadcast_posts[i];

        for (q = ngx_queue_head(bucket); q != bucket; q = next) {
            next = ngx_queue_next(q);
            post = ngx_queue_data(q, ngx_broadcast_post_t, queue);

            rc = ngx_broadcast_post_look(post, ngx_broadcast_fanout_matched());

            if (rc != NGX_AGAIN) {
                post->rc = rc;
                ngx_queue_remove(q);
                ngx_queue_insert_tail(&due, q);
            }
        }
    }

    /* the end of one request may be that of others: only the head is sure */

    while (!ngx_queue_empty(&due)) {
        post = ngx_queue_data(ngx_queue_head(&due), ngx_broadcast_post_t,
                              queue);

        ngx_broadcast_post_end(post, post->rc);
    }

    if (ngx_broadcast_nposts && !ev->timer_set) {
        ngx_add_timer(ev, NGX_BROADCAST_POST_LOOK);
    }
}
