
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_stream_local.h"


/*
 * Batches grow while they are answered quickly, so that a slow function's rows
 * flow one by one; a batch fits into the memory of one, whatever its rows are.
 */

#define NGX_BROADCAST_STREAM_BATCH  64      /* rows, at most */
#define NGX_BROADCAST_STREAM_BYTES  32768   /* of a batch, by the one before */
#define NGX_BROADCAST_STREAM_QUICK  10      /* ms */
#define NGX_BROADCAST_STREAM_SLOW   20

#define NGX_BROADCAST_STREAM_CURSOR                                           \
    "DECLARE broadcast_rows NO SCROLL CURSOR FOR "


static ngx_broadcast_rows_t *ngx_broadcast_stream_make(
    ngx_broadcast_stream_in_t *in);
static u_char *ngx_broadcast_stream_text(u_char *p, const char *text,
    const char **copy);
static ngx_broadcast_rows_t *ngx_broadcast_stream_find(uint64_t serial);
static void ngx_broadcast_stream_count(void);
static void ngx_broadcast_stream_fetch(ngx_broadcast_rows_t *rows);
static void ngx_broadcast_stream_batch(ngx_broadcast_rows_t *rows);
static void ngx_broadcast_stream_commit(ngx_broadcast_rows_t *rows);
static ngx_uint_t ngx_broadcast_stream_next_batch(ngx_broadcast_rows_t *rows);
static void ngx_broadcast_stream_error(ngx_broadcast_stream_end_t *end,
    PGresult *result);
static void ngx_broadcast_stream_timeout(ngx_event_t *ev);
static void ngx_broadcast_stream_leave(ngx_broadcast_rows_t *rows);


ngx_broadcast_stream_t  ngx_broadcast_stream;


/* the pid: behind a pooler it is known from BEGIN to the end alone */

static const char  ngx_broadcast_stream_context[] =
    "SELECT pg_catalog.set_config('broadcast.call', $1, true),"
    " pg_catalog.pg_backend_pid(), pg_catalog.current_setting('role')";

/* `before` may have set another, until the end of the transaction */

static const char  ngx_broadcast_stream_role[] =
    "SELECT pg_catalog.set_config('role', $1, true)";

static const char  ngx_broadcast_stream_done[] =
    "SELECT CASE WHEN pg_catalog.current_setting('broadcast.staged', true)"
    " = '1' THEN broadcast.done($1) ELSE false END";


void
ngx_broadcast_stream_start(ngx_broadcast_pg_conf_t *conf, ngx_log_t *log)
{
    ngx_memzero(&ngx_broadcast_stream, sizeof(ngx_broadcast_stream_t));

    ngx_queue_init(&ngx_broadcast_stream.waiting);
    ngx_queue_init(&ngx_broadcast_stream.running);

    ngx_broadcast_stream.conf = conf;
    ngx_broadcast_stream.log = log;

    (void) ngx_broadcast_seat_init();
}


void
ngx_broadcast_stream_stop(void)
{
    ngx_queue_t  *q;

    if (ngx_broadcast_stream.conf == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_broadcast_stream.waiting)) {
        q = ngx_queue_head(&ngx_broadcast_stream.waiting);
        ngx_broadcast_stream_leave(ngx_queue_data(q, ngx_broadcast_rows_t,
                                                  queue));
    }

    while (!ngx_queue_empty(&ngx_broadcast_stream.running)) {
        q = ngx_queue_head(&ngx_broadcast_stream.running);
        ngx_broadcast_stream_leave(ngx_queue_data(q, ngx_broadcast_rows_t,
                                                  queue));
    }

    ngx_broadcast_seat_done();

    ngx_broadcast_stream.conf = NULL;
}


ngx_int_t
ngx_broadcast_stream_open(ngx_broadcast_stream_in_t *in)
{
    ngx_broadcast_rows_t    *rows;
    ngx_broadcast_stream_t  *stream = &ngx_broadcast_stream;

    if (!ngx_broadcast_pg.enabled) {
        return NGX_DECLINED;
    }

    if (stream->count >= stream->n) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_STREAM, 1);
        return NGX_BUSY;
    }

    if (ngx_broadcast_pg_pool_away()
        || (stream->failed && ngx_current_msec - stream->since < 1000))
    {
        return NGX_DECLINED;
    }

    rows = ngx_broadcast_stream_make(in);
    if (rows == NULL) {
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&stream->waiting, &rows->queue);
    stream->count++;

    /* not cancelable: an exiting worker waits for it */

    ngx_add_timer(&rows->timer, stream->conf->stream_timeout);

    ngx_broadcast_stream_count();
    ngx_broadcast_seat_post();

    return NGX_OK;
}


static ngx_broadcast_rows_t *
ngx_broadcast_stream_make(ngx_broadcast_stream_in_t *in)
{
    size_t                 len;
    u_char                *p;
    ngx_uint_t             i;
    ngx_broadcast_rows_t  *rows;

    if (in->nparams == 0 || in->nparams > NGX_BROADCAST_STREAM_PARAMS) {
        return NULL;
    }

    len = ngx_strlen(in->statement) + sizeof(NGX_BROADCAST_STREAM_CURSOR);

    if (in->before) {
        len += ngx_strlen(in->before) + 1;
    }

    for (i = 0; i < in->nparams; i++) {
        len += in->params[i] ? ngx_strlen(in->params[i]) + 1 : 0;
    }

    rows = ngx_calloc(sizeof(ngx_broadcast_rows_t)
                      + in->nparams * sizeof(char *) + len,
                      ngx_broadcast_stream.log);
    if (rows == NULL) {
        return NULL;
    }

    rows->in = *in;
    rows->in.params = (const char **) (rows + 1);

    p = (u_char *) (rows->in.params + in->nparams);

    rows->in.statement = (char *) p;

    if (!in->cursor) {
        p = ngx_cpymem(p, NGX_BROADCAST_STREAM_CURSOR,
                       sizeof(NGX_BROADCAST_STREAM_CURSOR) - 1);
    }

    p = ngx_broadcast_stream_text(p, in->statement, NULL);
    p = ngx_broadcast_stream_text(p, in->before, &rows->in.before);

    for (i = 0; i < in->nparams; i++) {
        p = ngx_broadcast_stream_text(p, in->params[i], &rows->in.params[i]);
    }

    rows->timer.handler = ngx_broadcast_stream_timeout;
    rows->timer.data = rows;
    rows->timer.log = ngx_broadcast_stream.log;

    return rows;
}


static u_char *
ngx_broadcast_stream_text(u_char *p, const char *text, const char **copy)
{
    if (copy) {
        *copy = text ? (char *) p : NULL;
    }

    if (text) {
        p = ngx_cpymem(p, text, ngx_strlen(text) + 1);
    }

    return p;
}


static ngx_broadcast_rows_t *
ngx_broadcast_stream_find(uint64_t serial)
{
    ngx_uint_t             i;
    ngx_queue_t           *q, *list;
    ngx_broadcast_rows_t  *rows;

    if (ngx_broadcast_stream.conf == NULL) {
        return NULL;
    }

    for (i = 0; i < 2; i++) {
        list = i ? &ngx_broadcast_stream.waiting
                 : &ngx_broadcast_stream.running;

        for (q = ngx_queue_head(list);
             q != ngx_queue_sentinel(list);
             q = ngx_queue_next(q))
        {
            rows = ngx_queue_data(q, ngx_broadcast_rows_t, queue);

            if (rows->in.serial == serial) {
                return rows;
            }
        }
    }

    return NULL;
}


static void
ngx_broadcast_stream_count(void)
{
    ngx_broadcast_stats_streams(ngx_broadcast_bus.zone, ngx_broadcast_bus.slot,
                                ngx_broadcast_stream.count);
}


void
ngx_broadcast_stream_resume(uint64_t serial)
{
    ngx_broadcast_rows_t  *rows;

    rows = ngx_broadcast_stream_find(serial);

    if (rows && rows->seat && rows->result && !rows->seat->wake.posted) {
        ngx_post_event(&rows->seat->wake, &ngx_posted_events);
    }
}


void
ngx_broadcast_stream_cancel(uint64_t serial)
{
    ngx_broadcast_seat_t  *seat;
    ngx_broadcast_rows_t  *rows;

    rows = ngx_broadcast_stream_find(serial);

    if (rows == NULL) {
        return;
    }

    seat = rows->seat;

    ngx_broadcast_stream_leave(rows);

    if (seat) {
        ngx_broadcast_seat_give_up(seat);
    }
}


/* the first FETCH is sent with what opens it: one way to the server and back */

void
ngx_broadcast_stream_run(ngx_broadcast_seat_t *seat,
    ngx_broadcast_rows_t *rows)
{
    ngx_int_t                   rc;
    ngx_broadcast_stream_in_t  *in;

    in = &rows->in;

    if (ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_BEGIN, "BEGIN", 0,
                                NULL)
        != NGX_OK)
    {
        /* nothing of it has left: another seat, or a new connection */

        return;
    }

    ngx_queue_remove(&rows->queue);
    ngx_queue_insert_tail(&ngx_broadcast_stream.running, &rows->queue);

    seat->busy = 1;
    seat->rows = rows;
    rows->seat = seat;

    rc = ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_CONTEXT,
                                 ngx_broadcast_stream_context, 1, in->params);

    if (rc == NGX_OK && in->before) {
        rc = ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_BEFORE,
                                     in->before, 1, in->params);
    }

    if (rc == NGX_OK) {
        rc = ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_DECLARE,
                                     in->statement, in->nparams, in->params);
    }

    rows->asked = 1;

    if (rc == NGX_OK && !in->cursor) {
        ngx_broadcast_stream_fetch(rows);
    }
}


static void
ngx_broadcast_stream_fetch(ngx_broadcast_rows_t *rows)
{
    const char            *text;
    ngx_uint_t             n;
    ngx_broadcast_seat_t  *seat;

    seat = rows->seat;
    rows->since = ngx_current_msec;

    if (rows->portal) {
        text = "SELECT f.item FROM broadcast.fetch($1::pg_catalog.refcursor,"
               " $2::pg_catalog.int4) f(item)";
        n = 2;

        (void) ngx_sprintf((u_char *) seat->count, "%ui%Z", rows->asked);
        seat->values[0] = rows->portal;
        seat->values[1] = seat->count;

    } else {
        (void) ngx_sprintf((u_char *) seat->fetch,
                           "FETCH FORWARD %ui FROM broadcast_rows%Z",
                           rows->asked);
        text = seat->fetch;
        n = 0;
    }

    (void) ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_FETCH, text, n,
                                   seat->values);
}


void
ngx_broadcast_stream_step(ngx_broadcast_seat_t *seat, ngx_uint_t which,
    PGresult *result)
{
    size_t                 len;
    ngx_str_t              name;
    ngx_broadcast_rows_t  *rows;

    rows = seat->rows;

    switch (which) {

    case NGX_BROADCAST_SEAT_CONTEXT:
        ngx_cpystrn((u_char *) seat->pid,
                    ngx_broadcast_pg_value(result, 0, 1).data,
                    sizeof(seat->pid));
        ngx_cpystrn((u_char *) seat->role,
                    ngx_broadcast_pg_value(result, 0, 2).data,
                    sizeof(seat->role));
        break;

    case NGX_BROADCAST_SEAT_DECLARE:

        if (rows == NULL || !rows->in.cursor || PQntuples(result) == 0
            || PQgetisnull(result, 0, 0))
        {
            break;
        }

        name = ngx_broadcast_pg_value(result, 0, 0);
        len = name.len + 1;

        rows->portal = ngx_alloc(len, ngx_broadcast_stream.log);

        if (rows->portal) {
            ngx_memcpy(rows->portal, name.data, len);
        }

        break;

    case NGX_BROADCAST_SEAT_FETCH:

        if (rows) {
            rows->result = result;
            rows->row = 0;
            rows->took = ngx_current_msec - rows->since;
            seat->conn.keep = 1;
        }

        break;

    case NGX_BROADCAST_SEAT_DONE:
        seat->staged = ngx_broadcast_pg_value(result, 0, 0).data[0] == 't';
        break;

    default:
        break;
    }
}


void
ngx_broadcast_stream_go(ngx_broadcast_seat_t *seat)
{
    ngx_broadcast_rows_t  *rows;

    rows = seat->rows;

    if (rows->result) {
        ngx_broadcast_stream_batch(rows);
        return;
    }

    /* a function that returned a cursor, or null in place of one */

    if (rows->portal) {
        ngx_broadcast_stream_fetch(rows);
        return;
    }

    ngx_broadcast_stream_commit(rows);
}


/* gives what was fetched, and asks for more when all of it was taken */

static void
ngx_broadcast_stream_batch(ngx_broadcast_rows_t *rows)
{
    int                    n;
    ngx_int_t              rc;
    ngx_str_t              item;
    ngx_broadcast_seat_t  *seat;

    seat = rows->seat;
    n = PQntuples(rows->result);

    while (rows->row < n) {

        if (PQgetisnull(rows->result, rows->row, 0)) {
            ngx_str_set(&item, "null");

        } else {
            item = ngx_broadcast_pg_value(rows->result, rows->row, 0);
        }

        rc = rows->in.item(rows->in.serial, &item);

        if (seat->rows != rows) {

            /* cancelled, and freed */

            return;
        }

        if (rc != NGX_OK) {
            return;
        }

        rows->begun = 1;
        rows->row++;
    }

    rows->row = 0;

    if ((ngx_uint_t) n < rows->asked) {
        PQclear(rows->result);
        rows->result = NULL;

        ngx_broadcast_stream_commit(rows);
        return;
    }

    rows->asked = ngx_broadcast_stream_next_batch(rows);

    PQclear(rows->result);
    rows->result = NULL;

    ngx_broadcast_stream_fetch(rows);
}


/* how many rows come next: by the time and the size of those that came */

static ngx_uint_t
ngx_broadcast_stream_next_batch(ngx_broadcast_rows_t *rows)
{
    int         i, n;
    size_t      bytes;
    ngx_uint_t  asked, fit;

    n = PQntuples(rows->result);
    bytes = 0;

    for (i = 0; i < n; i++) {
        bytes += PQgetlength(rows->result, i, 0);
    }

    asked = rows->asked;

    if (rows->took > NGX_BROADCAST_STREAM_SLOW) {
        asked = asked / 2;

    } else if (rows->took < NGX_BROADCAST_STREAM_QUICK) {
        asked = ngx_min(asked * 2, NGX_BROADCAST_STREAM_BATCH);
    }

    fit = NGX_BROADCAST_STREAM_BYTES / (bytes / n + 1);

    return ngx_max(ngx_min(asked, fit), 1);
}


/* a DONE record of what was staged is the last thing that it stages */

static void
ngx_broadcast_stream_commit(ngx_broadcast_rows_t *rows)
{
    ngx_broadcast_seat_t  *seat;

    seat = rows->seat;
    seat->ending = 1;

    if (rows->in.before) {
        seat->values[0] = seat->role;

        if (ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_ROLE,
                                    ngx_broadcast_stream_role, 1, seat->values)
            != NGX_OK)
        {
            return;
        }
    }

    if (ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_DONE,
                                ngx_broadcast_stream_done, 1, rows->in.params)
        == NGX_OK)
    {
        (void) ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_COMMIT,
                                       "COMMIT", 0, NULL);
    }
}


void
ngx_broadcast_stream_finish(ngx_broadcast_rows_t *rows, ngx_uint_t status,
    PGresult *result)
{
    uint64_t                     serial;
    ngx_broadcast_stream_end_t   end;
    ngx_broadcast_stream_end_pt  handler;

    ngx_memzero(&end, sizeof(ngx_broadcast_stream_end_t));

    end.status = status;
    end.begun = rows->begun;
    end.staged = status == NGX_BROADCAST_STREAM_OK && rows->seat->staged;

    if (result) {
        ngx_broadcast_stream_error(&end, result);
    }

    serial = rows->in.serial;
    handler = rows->in.end;

    ngx_broadcast_stream_leave(rows);

    if (!ngx_broadcast_pg.stopping) {
        handler(serial, &end);
    }
}


static void
ngx_broadcast_stream_error(ngx_broadcast_stream_end_t *end, PGresult *result)
{
    char  *text;

    end->sqlstate = ngx_broadcast_pg_sqlstate(result);
    end->message = ngx_broadcast_pg_message(result);
    end->raised = ngx_broadcast_pg_raised(result);

    text = PQresultErrorField(result, PG_DIAG_DATATYPE_NAME);

    if (text) {
        end->name.data = (u_char *) text;
        end->name.len = ngx_strlen(text);
    }

    /* the function that converts arguments is the innermost of the context */

    text = PQresultErrorField(result, PG_DIAG_CONTEXT);

    if (text) {
        end->binding = ngx_strnstr((u_char *) text, " broadcast.argument(",
                                   strcspn(text, "\n"))
                       != NULL;
    }
}


static void
ngx_broadcast_stream_timeout(ngx_event_t *ev)
{
    ngx_broadcast_rows_t  *rows = ev->data;

    ngx_broadcast_seat_t  *seat;

    seat = rows->seat;

    ngx_broadcast_stream_finish(rows, NGX_BROADCAST_STREAM_TIMEOUT, NULL);

    if (seat) {
        ngx_broadcast_seat_give_up(seat);
    }
}


/* takes it from its seat and frees it */

static void
ngx_broadcast_stream_leave(ngx_broadcast_rows_t *rows)
{
    ngx_queue_remove(&rows->queue);
    ngx_broadcast_stream.count--;

    if (rows->seat) {
        rows->seat->rows = NULL;
    }

    if (rows->timer.timer_set) {
        ngx_del_timer(&rows->timer);
    }

    if (rows->result) {
        PQclear(rows->result);
    }

    if (rows->portal) {
        ngx_free(rows->portal);
    }

    ngx_free(rows);

    ngx_broadcast_stream_count();
}
