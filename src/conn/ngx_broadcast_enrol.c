
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "base/ngx_broadcast_buf.h"
#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_keep.h"
#include "conn/ngx_broadcast_move.h"
#include "pg/ngx_broadcast_backoff.h"
#include "pg/ngx_broadcast_presence.h"


/*
 * A connection stands in the queue once.  One statement is under way at a
 * time, for some of its head; after an answer the next follows at once, after
 * a failure later, and later again.  It may be repeated: a row that is there is
 * left as it is, and none is made for a connection that has ended.
 *
 * A connection does not change its worker while a statement about it is under
 * way.
 */

#define NGX_BROADCAST_ENROL_MAX    128      /* connections of a statement */
#define NGX_BROADCAST_ENROL_BYTES  262144   /* one more begins the next */


typedef struct {
    size_t                      len;
    u_char                      id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_enrol_id_t;


static void ngx_broadcast_enrol_doubt(void);
static ngx_int_t ngx_broadcast_enrol_send(void);
static ngx_uint_t ngx_broadcast_enrol_compose(ngx_broadcast_buf_t *b);
static void ngx_broadcast_enrol_sent(ngx_uint_t n);
static void ngx_broadcast_enrol_later(void);
static void ngx_broadcast_enrol_done(ngx_broadcast_call_result_t *result,
    void *data);
static void ngx_broadcast_enrol_answer(ngx_broadcast_enrol_id_t *key,
    ngx_broadcast_call_result_t *result, ngx_uint_t refused);


static ngx_queue_t               ngx_broadcast_enrols;
static ngx_broadcast_enrol_id_t  ngx_broadcast_enrol_ids[
                                                      NGX_BROADCAST_ENROL_MAX];
static ngx_uint_t                ngx_broadcast_enrol_n;     /* under way */
static ngx_uint_t                ngx_broadcast_enrol_max;   /* of the next */
static ngx_uint_t                ngx_broadcast_enrol_waits;
static ngx_msec_t                ngx_broadcast_enrol_due;
static ngx_broadcast_backoff_t   ngx_broadcast_enrol_backoff;
static uint64_t                  ngx_broadcast_enrol_cut_off;


void
ngx_broadcast_enrol_start(void)
{
    ngx_queue_init(&ngx_broadcast_enrols);

    ngx_broadcast_enrol_n = 0;
    ngx_broadcast_enrol_max = NGX_BROADCAST_ENROL_MAX;
    ngx_broadcast_enrol_waits = 0;
    ngx_broadcast_backoff_init(&ngx_broadcast_enrol_backoff);

    ngx_broadcast_enrol_cut_off = ngx_broadcast_presence_cut_off();
}


void
ngx_broadcast_enrol(ngx_broadcast_conn_t *bc)
{
    if (!bc->lacks) {
        bc->lacks = 1;
        ngx_queue_insert_tail(&ngx_broadcast_enrols, &bc->enrol);
    }
}


void
ngx_broadcast_enrol_known(ngx_broadcast_conn_t *bc)
{
    bc->rowed = 1;

    ngx_broadcast_registry_owe(ngx_broadcast_bus.zone, bc->row, &bc->id,
                               NGX_BROADCAST_OWED_ROW);

    /* claims and query are in the row */

    if (bc->event) {
        ngx_broadcast_frame_free(bc->event);
        bc->event = NULL;
    }
}


uint64_t
ngx_broadcast_enrol_heard(ngx_broadcast_conn_t *bc)
{
    return bc->lacks ? 0 : ngx_broadcast_enrol_cut_off;
}


/* workers notice a cut-off at different times, and are answered at others */

void
ngx_broadcast_enrol_arrived(ngx_broadcast_conn_t *bc, uint64_t heard)
{
    if (bc->rowed
        && (heard == 0 || heard != ngx_broadcast_enrol_cut_off))
    {
        ngx_broadcast_enrol(bc);
    }
}


void
ngx_broadcast_enrol_remove(ngx_broadcast_conn_t *bc)
{
    if (bc->lacks) {
        bc->lacks = 0;
        ngx_queue_remove(&bc->enrol);
    }
}


void
ngx_broadcast_enrol_look(void)
{
    uint64_t  cut_off;

    if (!ngx_broadcast_pg_enabled()) {
        return;
    }

    cut_off = ngx_broadcast_presence_cut_off();

    if (cut_off != ngx_broadcast_enrol_cut_off) {

        /* a new node was not heard of before, and nobody has judged it */

        if (cut_off > 1) {
            ngx_broadcast_enrol_doubt();
        }

        ngx_broadcast_enrol_cut_off = cut_off;
    }

    if (ngx_broadcast_enrol_n
        || ngx_queue_empty(&ngx_broadcast_enrols)
        || ngx_broadcast_pg_state() != NGX_BROADCAST_DB_UP)
    {
        return;
    }

    if (ngx_broadcast_enrol_waits
        && (ngx_msec_int_t) (ngx_current_msec - ngx_broadcast_enrol_due) < 0)
    {
        return;
    }

    ngx_broadcast_enrol_waits = 0;

    if (ngx_broadcast_enrol_send() != NGX_OK) {
        ngx_broadcast_enrol_later();
    }
}


/* the rows of all that have one are to be looked for */

static void
ngx_broadcast_enrol_doubt(void)
{
    ngx_broadcast_conn_t  *bc;

    for (bc = ngx_broadcast_conn_next(NULL);
         bc;
         bc = ngx_broadcast_conn_next(bc))
    {
        if (bc->rowed) {
            ngx_broadcast_enrol(bc);
        }
    }
}


static ngx_int_t
ngx_broadcast_enrol_send(void)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_uint_t            n;
    ngx_pool_t           *pool;
    ngx_broadcast_buf_t   b;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_broadcast_bus.log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_buf_init(&b, pool, 4096);

    n = ngx_broadcast_enrol_compose(&b);

    rc = ngx_broadcast_buf_done(&b, &text);

    if (rc == NGX_OK) {
        rc = ngx_broadcast_presence_enrol(&text, ngx_broadcast_enrol_done,
                                          NULL, 0, NULL);
    }

    ngx_destroy_pool(pool);

    if (rc == NGX_OK) {
        ngx_broadcast_enrol_sent(n);
    }

    return rc;
}


/*
 * Returns how many, from the head of the queue.  Owed before the row is made:
 * a worker that dies behind it has outlived the outage.
 */

static ngx_uint_t
ngx_broadcast_enrol_compose(ngx_broadcast_buf_t *b)
{
    ngx_uint_t             n;
    ngx_queue_t           *q;
    ngx_broadcast_conn_t  *bc;

    n = 0;
    ngx_broadcast_buf_char(b, '[');

    for (q = ngx_queue_head(&ngx_broadcast_enrols);
         q != ngx_queue_sentinel(&ngx_broadcast_enrols)
         && n < ngx_broadcast_enrol_max
         && ngx_broadcast_buf_len(b) < NGX_BROADCAST_ENROL_BYTES;
         q = ngx_queue_next(q), n++)
    {
        bc = ngx_queue_data(q, ngx_broadcast_conn_t, enrol);

        if (n) {
            ngx_broadcast_buf_char(b, ',');
        }

        if (bc->rowed) {
            ngx_broadcast_buf_literal(b, "{\"known\":true,\"connectionId\":");
            ngx_broadcast_buf_json(b, &bc->id);
            ngx_broadcast_buf_char(b, '}');
            continue;
        }

        ngx_broadcast_registry_owe(ngx_broadcast_bus.zone, bc->row, &bc->id,
                                   NGX_BROADCAST_OWED_MAYBE);

        ngx_broadcast_function_event(b, bc);

        ngx_broadcast_buf_literal(b, ",\"age\":");
        ngx_broadcast_buf_uint(b, (ngx_current_msec - bc->since) / 1000);
        ngx_broadcast_buf_char(b, '}');
    }

    ngx_broadcast_buf_char(b, ']');

    return n;
}


static void
ngx_broadcast_enrol_sent(ngx_uint_t n)
{
    ngx_uint_t                 i;
    ngx_queue_t               *q;
    ngx_broadcast_conn_t      *bc;
    ngx_broadcast_enrol_id_t  *key;

    ngx_broadcast_enrol_n = n;

    for (i = 0; i < n; i++) {
        q = ngx_queue_head(&ngx_broadcast_enrols);
        bc = ngx_queue_data(q, ngx_broadcast_conn_t, enrol);

        ngx_broadcast_enrol_remove(bc);
        bc->asking = 1;

        key = &ngx_broadcast_enrol_ids[i];

        key->len = bc->id.len;
        ngx_memcpy(key->id, bc->id.data, bc->id.len);
    }
}


static void
ngx_broadcast_enrol_later(void)
{
    ngx_broadcast_enrol_waits = 1;
    ngx_broadcast_enrol_due = ngx_current_msec
                         + ngx_broadcast_backoff(&ngx_broadcast_enrol_backoff);
}


/*
 * What the database cannot take (class 22: a character that its encoding has
 * not) is found by saying each connection alone, and so is one whose
 * `connected` still holds its row.
 */

static void
ngx_broadcast_enrol_done(ngx_broadcast_call_result_t *result, void *data)
{
    ngx_uint_t  i, n, refused;

    n = ngx_broadcast_enrol_n;

    refused = result->status == NGX_BROADCAST_CALL_FAILED
              && result->sqlstate.len == 5
              && ngx_memcmp(result->sqlstate.data, "22", 2) == 0;

    if (result->status == NGX_BROADCAST_CALL_FAILED
        && ngx_broadcast_enrol_backoff.last != NGX_BROADCAST_BACKOFF_MAX)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_bus.log, 0,
                      "broadcast: connections were not kept: SQLSTATE %V",
                      &result->sqlstate);
    }

    for (i = 0; i < n; i++) {
        ngx_broadcast_enrol_answer(&ngx_broadcast_enrol_ids[i], result,
                                   refused && n == 1);
    }

    ngx_broadcast_enrol_n = 0;

    if (result->status == NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_backoff_init(&ngx_broadcast_enrol_backoff);
        ngx_broadcast_enrol_max = ngx_min(ngx_broadcast_enrol_max * 2,
                                          NGX_BROADCAST_ENROL_MAX);

    } else {
        ngx_broadcast_enrol_max = 1;

        if (!refused) {
            ngx_broadcast_enrol_later();
        }
    }

    ngx_broadcast_enrol_look();
}


static void
ngx_broadcast_enrol_answer(ngx_broadcast_enrol_id_t *key,
    ngx_broadcast_call_result_t *result, ngx_uint_t refused)
{
    ngx_str_t              id;
    ngx_uint_t             said;
    ngx_broadcast_conn_t  *bc;

    id.data = key->id;
    id.len = key->len;

    bc = ngx_broadcast_index_find(&id);

    if (bc == NULL || !bc->asking) {
        return;
    }

    bc->asking = 0;

    if (result->status == NGX_BROADCAST_CALL_OK) {
        said = bc->rowed;
        ngx_broadcast_enrol_known(bc);

        if (ngx_broadcast_keep_among(&result->value, &id)) {

            /* others have called its `disconnected`: it has to come anew */

            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_DRAIN, NULL);

        } else if (!said) {
            ngx_broadcast_keep_begin(bc);
            ngx_broadcast_keep_connected(bc, bc->groups != NULL);
        }

    } else if (!refused) {
        ngx_broadcast_enrol(bc);

    } else if (bc->event) {

        /* once more, without what came with the request */

        ngx_broadcast_frame_free(bc->event);
        bc->event = NULL;

        ngx_broadcast_enrol(bc);
    }

    if (bc->moving) {
        (void) ngx_broadcast_move_go(bc);
    }
}
