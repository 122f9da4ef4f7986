
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_stream_local.h"


/* The transaction of a stream, from its BEGIN to its COMMIT. */


/*
 * Batches grow while they are answered quickly, so that a slow function's rows
 * flow one by one; a batch fits into the memory of one, whatever its rows are.
 */

#define NGX_BROADCAST_STREAM_BATCH  64      /* rows, at most */
#define NGX_BROADCAST_STREAM_BYTES  32768   /* of a batch, by the one before */
#define NGX_BROADCAST_STREAM_QUICK  10      /* ms */
#define NGX_BROADCAST_STREAM_SLOW   20


static ngx_int_t ngx_broadcast_stream_reset(ngx_broadcast_rows_t *rows);
static void ngx_broadcast_stream_fetch(ngx_broadcast_rows_t *rows);
static void ngx_broadcast_stream_batch(ngx_broadcast_rows_t *rows);
static void ngx_broadcast_stream_commit(ngx_broadcast_rows_t *rows);
static ngx_uint_t ngx_broadcast_stream_next_batch(ngx_broadcast_rows_t *rows);


/* the pid: behind a pooler it is known from BEGIN to the end alone */

static const char  ngx_broadcast_stream_context[] =
    "SELECT pg_catalog.set_config('broadcast.call', $1, true),"
    " pg_catalog.pg_backend_pid(), pg_catalog.current_setting('role')";

/* `before` may have set another, and the function one for the session */

static const char  ngx_broadcast_stream_role[] =
    "SELECT pg_catalog.set_config('role', $1, false)";

static const char  ngx_broadcast_stream_done[] =
    "SELECT CASE WHEN pg_catalog.current_setting('broadcast.staged', true)"
    " OPERATOR(pg_catalog.=) '1' THEN broadcast.done($1) ELSE false END";


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

    /* of an earlier transaction: another session has it by now, perhaps */

    seat->pid[0] = '\0';

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


/* what the caller's role need not be allowed is the session's to call */

static ngx_int_t
ngx_broadcast_stream_reset(ngx_broadcast_rows_t *rows)
{
    ngx_broadcast_seat_t  *seat = rows->seat;

    seat->values[0] = seat->role;

    return ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_ROLE,
                                   ngx_broadcast_stream_role, 1,
                                   seat->values);
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

        /* broadcast.fetch() takes the caller's role for the rows */

        if (ngx_broadcast_stream_reset(rows) == NGX_OK) {
            ngx_broadcast_stream_fetch(rows);
        }

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

    if (ngx_broadcast_stream_reset(rows) != NGX_OK) {
        return;
    }

    if (ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_DONE,
                                ngx_broadcast_stream_done, 1, rows->in.params)
        == NGX_OK)
    {
        (void) ngx_broadcast_seat_send(seat, NGX_BROADCAST_SEAT_COMMIT,
                                       "COMMIT", 0, NULL);
    }
}
