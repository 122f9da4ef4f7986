
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_json.h"
#include "base/ngx_broadcast_utf8.h"
#include "pg/ngx_broadcast_failed_local.h"
#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_local.h"


#define NGX_BROADCAST_FAILED_PLACES  64     /* functions that are told apart */
#define NGX_BROADCAST_FAILED_LINES   16     /* a second, of all functions */
#define NGX_BROADCAST_FAILED_ROWS    10     /* a second */
#define NGX_BROADCAST_FAILED_NAME    256    /* bytes of a name in the log */
#define NGX_BROADCAST_FAILED_TEXT    512    /* of a message or hint there */
#define NGX_BROADCAST_FAILED_FIELD   8192   /* of a field in the row */


/* what was not told of an error, by kind, function and SQLSTATE */

typedef struct {
    uint32_t                hash;           /* 0: free */
    time_t                  logged;
    ngx_uint_t              unlogged;       /* since then */
    ngx_uint_t              unwritten;      /* since the last row */
} ngx_broadcast_failed_place_t;


static json_t *ngx_broadcast_failed_event(ngx_broadcast_failed_t *failed);
static ngx_broadcast_failed_place_t *ngx_broadcast_failed_place(
    ngx_broadcast_failed_t *failed, ngx_broadcast_failed_error_t *e,
    ngx_uint_t level);
static ngx_uint_t ngx_broadcast_failed_due(
    ngx_broadcast_failed_place_t *place);
static ngx_uint_t ngx_broadcast_failed_level(ngx_broadcast_failed_t *failed,
    PGresult *result);
static void ngx_broadcast_failed_log(ngx_uint_t level,
    ngx_broadcast_failed_t *failed, ngx_broadcast_failed_error_t *e,
    ngx_broadcast_failed_place_t *place);
static u_char *ngx_broadcast_failed_line(u_char *p, u_char *last,
    const char *before, ngx_str_t *text, size_t max);
static ngx_int_t ngx_broadcast_failed_row(ngx_broadcast_failed_t *failed,
    ngx_broadcast_failed_error_t *e, ngx_uint_t count);
static char *ngx_broadcast_failed_text(ngx_broadcast_job_t *job,
    ngx_str_t *text);
static void ngx_broadcast_failed_written(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);
static size_t ngx_broadcast_failed_cut(ngx_str_t *text, size_t max);


/* as they are told to whoever reads the log, and in the rows */

static ngx_str_t  ngx_broadcast_failed_kinds[NGX_BROADCAST_EVENTS] = {
    ngx_string("connect"),
    ngx_string("connected"),
    ngx_string("disconnected"),
    ngx_string("message"),
    ngx_string("http"),
    ngx_string("timer"),
    ngx_string("after")
};


static ngx_broadcast_failed_place_t
    ngx_broadcast_failed_places[NGX_BROADCAST_FAILED_PLACES];

static time_t      ngx_broadcast_failed_second;
static ngx_uint_t  ngx_broadcast_failed_lines;      /* in this second */
static ngx_uint_t  ngx_broadcast_failed_rows;


void
ngx_broadcast_failed_init(void)
{
    ngx_memzero(ngx_broadcast_failed_places,
                sizeof(ngx_broadcast_failed_places));

    ngx_broadcast_failed_second = 0;
}


void
ngx_broadcast_call_failed(ngx_broadcast_failed_t *failed, PGresult *result)
{
    json_t                        *event;
    ngx_uint_t                     level, refused;
    ngx_broadcast_failed_place_t  *place;
    ngx_broadcast_failed_error_t   e;

    refused = ngx_broadcast_pg_unauthorized(result);

    if (refused) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_ROLE, 1);
    }

    event = NULL;

    ngx_broadcast_failed_read(failed, result, &e);

    /* an event may be large, and errors many: not read for nothing */

    if (e.function.len == 0) {
        event = ngx_broadcast_failed_event(failed);
        e.function = failed->function;
    }

    level = ngx_broadcast_failed_level(failed, result);
    place = ngx_broadcast_failed_place(failed, &e, level);

    if (event == NULL && ngx_broadcast_failed_due(place)) {
        event = ngx_broadcast_failed_event(failed);
    }

    ngx_broadcast_failed_log(level, failed, &e, place);

    if (refused && level == NGX_LOG_INFO) {

        /* who has no token must not push errors out of the table */

    } else if (ngx_broadcast_failed_rows < NGX_BROADCAST_FAILED_ROWS
               && ngx_broadcast_failed_row(failed, &e, place->unwritten + 1)
                  == NGX_OK)
    {
        ngx_broadcast_failed_rows++;
        place->unwritten = 0;

    } else {
        place->unwritten++;
        ngx_broadcast_count(NGX_BROADCAST_ERRORS_DROPPED, 1);
    }

    json_decref(event);
}


ngx_uint_t
ngx_broadcast_call_errors(ngx_uint_t kind, ngx_str_t *answer)
{
    size_t                         i;
    json_t                        *value, *error;
    const char                    *why;
    ngx_broadcast_failed_t         failed;
    ngx_broadcast_failed_error_t   e;

    static u_char  errors[] = "{\"errors\":";

    if (answer->len < sizeof(errors) - 1
        || ngx_memcmp(answer->data, errors, sizeof(errors) - 1) != 0)
    {
        return 0;
    }

    value = ngx_broadcast_json_parse(answer, 0, &why);

    json_array_foreach(json_object_get(value, "errors"), i, error) {

        ngx_memzero(&failed, sizeof(ngx_broadcast_failed_t));
        ngx_memzero(&e, sizeof(ngx_broadcast_failed_error_t));

        failed.kind = kind;

        (void) ngx_broadcast_json_str(error, "function", &e.function);
        (void) ngx_broadcast_json_str(error, "sqlstate", &e.sqlstate);
        (void) ngx_broadcast_json_str(error, "message", &e.message);
        (void) ngx_broadcast_json_str(error, "hint", &e.hint);

        if (json_is_true(json_object_get(error, "unauthorized"))) {
            ngx_broadcast_count(NGX_BROADCAST_REFUSED_ROLE, 1);
        }

        ngx_broadcast_failed_log(NGX_LOG_ERR, &failed, &e,
                                 ngx_broadcast_failed_place(&failed, &e,
                                                            NGX_LOG_ERR));
    }

    json_decref(value);

    return 1;
}


/* what the event tells, where the caller did not; owned by the caller */

static json_t *
ngx_broadcast_failed_event(ngx_broadcast_failed_t *failed)
{
    json_t      *event;
    const char  *why;

    if (failed->event.len == 0) {
        return NULL;
    }

    event = ngx_broadcast_json_parse(&failed->event, NGX_BROADCAST_JSON_REALS,
                                     &why);

    if (failed->hub.len == 0) {
        (void) ngx_broadcast_json_str(event, "hub", &failed->hub);
    }

    if (failed->connection.len == 0) {
        (void) ngx_broadcast_json_str(event, "connectionId",
                                      &failed->connection);
    }

    if (failed->name.len == 0
        && ngx_broadcast_json_str(event, "target", &failed->name) != NGX_OK)
    {
        (void) ngx_broadcast_json_str(event, "name", &failed->name);
    }

    if (failed->function.len == 0) {

        /* named by the operator */

        (void) ngx_broadcast_json_str(event, "function", &failed->function);
    }

    return event;
}


/* two errors of one place take it from each other: no more than that */

static ngx_broadcast_failed_place_t *
ngx_broadcast_failed_place(ngx_broadcast_failed_t *failed,
    ngx_broadcast_failed_error_t *e, ngx_uint_t level)
{
    uint32_t                       hash;
    ngx_str_t                     *key;
    ngx_broadcast_failed_place_t  *place;

    if (ngx_broadcast_failed_second != ngx_time()) {
        ngx_broadcast_failed_second = ngx_time();
        ngx_broadcast_failed_lines = 0;
        ngx_broadcast_failed_rows = 0;
    }

    key = e->function.len ? &e->function : &failed->name;

    hash = ngx_crc32_long(key->data, key->len)
           ^ ngx_murmur_hash2(e->sqlstate.data, e->sqlstate.len);
    hash += (uint32_t) (failed->kind * 16 + level);
    hash = hash ? hash : 1;

    place = &ngx_broadcast_failed_places[hash % NGX_BROADCAST_FAILED_PLACES];

    if (place->hash != hash) {
        ngx_memzero(place, sizeof(ngx_broadcast_failed_place_t));
        place->hash = hash;
    }

    return place;
}


/* 1: a line or a row is to be written */

static ngx_uint_t
ngx_broadcast_failed_due(ngx_broadcast_failed_place_t *place)
{
    return ngx_broadcast_failed_rows < NGX_BROADCAST_FAILED_ROWS
           || (place->logged != ngx_time()
               && ngx_broadcast_failed_lines < NGX_BROADCAST_FAILED_LINES);
}


/* what a message function says to its caller is its caller's fault */

static ngx_uint_t
ngx_broadcast_failed_level(ngx_broadcast_failed_t *failed, PGresult *result)
{
    const char  *why;

    if (ngx_broadcast_pg_unauthorized(result)) {
        why = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);

        return ngx_strcmp(why, "claim") == 0 ? NGX_LOG_INFO : NGX_LOG_ERR;
    }

    if (failed->kind == NGX_BROADCAST_ON_MESSAGE && result
        && ngx_broadcast_pg_raised(result))
    {
        return NGX_LOG_INFO;
    }

    return NGX_LOG_ERR;
}


static void
ngx_broadcast_failed_log(ngx_uint_t level, ngx_broadcast_failed_t *failed,
    ngx_broadcast_failed_error_t *e, ngx_broadcast_failed_place_t *place)
{
    u_char  *p, *last, buf[2048];

    if (place->logged == ngx_time()
        || ngx_broadcast_failed_lines == NGX_BROADCAST_FAILED_LINES)
    {
        place->unlogged++;
        return;
    }

    place->logged = ngx_time();
    ngx_broadcast_failed_lines++;

    p = buf;
    last = buf + sizeof(buf);

    p = ngx_slprintf(p, last, "\"%V\" function",
                     &ngx_broadcast_failed_kinds[failed->kind]);

    if (e->function.len) {
        p = ngx_broadcast_failed_line(p, last, " ", &e->function,
                                      NGX_BROADCAST_FAILED_NAME);

    } else {
        p = ngx_broadcast_failed_line(p, last, " for ", &failed->name,
                                      NGX_BROADCAST_FAILED_NAME);
    }

    p = ngx_broadcast_failed_line(p, last, " failed: ", &e->message,
                                  NGX_BROADCAST_FAILED_TEXT);

    if (e->sqlstate.len) {
        p = ngx_slprintf(p, last, " (%V)", &e->sqlstate);
    }

    p = ngx_broadcast_failed_line(p, last, ", hint: ", &e->hint,
                                  NGX_BROADCAST_FAILED_TEXT);
    p = ngx_broadcast_failed_line(p, last, ", hub: ", &failed->hub,
                                  NGX_BROADCAST_FAILED_NAME);

    if (place->unlogged) {
        p = ngx_slprintf(p, last, ", and %ui more since the last line",
                         place->unlogged);
        place->unlogged = 0;
    }

    ngx_log_error(level, ngx_broadcast_pg.log, 0, "broadcast: %*s",
                  (size_t) (p - buf), buf);
}


/* nothing if there is no text; what it says stays in one line */

static u_char *
ngx_broadcast_failed_line(u_char *p, u_char *last, const char *before,
    ngx_str_t *text, size_t max)
{
    u_char  c;
    size_t  i, n;

    if (text->len == 0) {
        return p;
    }

    p = ngx_slprintf(p, last, "%s", before);

    n = ngx_broadcast_failed_cut(text, max);

    for (i = 0; i < n && p < last; i++) {
        c = text->data[i];
        *p++ = (c < ' ' || c == 0x7f) ? ' ' : c;
    }

    return p;
}


static ngx_int_t
ngx_broadcast_failed_row(ngx_broadcast_failed_t *failed,
    ngx_broadcast_failed_error_t *e, ngx_uint_t count)
{
    ngx_uint_t            i;
    const char          **params;
    ngx_broadcast_job_t  *job;

    ngx_str_t  *fields[] = {
        &ngx_broadcast_failed_kinds[failed->kind], &e->function,
        &failed->name, &failed->hub, &failed->connection, &e->sqlstate,
        &e->message, &e->detail, &e->hint, &e->context
    };

    job = ngx_broadcast_job_create(sizeof(ngx_broadcast_job_t),
                                   ngx_broadcast_failed_written, NULL, 0);
    if (job == NULL) {
        return NGX_ERROR;
    }

    params = job->query.params;

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {

        if (fields[i]->len == 0) {
            continue;
        }

        params[i] = ngx_broadcast_failed_text(job, fields[i]);

        if (params[i] == NULL) {
            ngx_broadcast_job_destroy(job);
            return NGX_ERROR;
        }
    }

    params[i] = ngx_broadcast_job_number(job, count);

    if (params[i] == NULL) {
        ngx_broadcast_job_destroy(job);
        return NGX_ERROR;
    }

    job->query.statement = NGX_BROADCAST_PG_ERROR_ADD;
    job->query.nparams = i + 1;

    return ngx_broadcast_job_start(job, 1, NULL);
}


static char *
ngx_broadcast_failed_text(ngx_broadcast_job_t *job, ngx_str_t *text)
{
    ngx_str_t  cut;

    cut.data = text->data;
    cut.len = ngx_broadcast_failed_cut(text, NGX_BROADCAST_FAILED_FIELD);

    return ngx_broadcast_job_text(job, &cut);
}


static void
ngx_broadcast_failed_written(ngx_broadcast_job_t *job, ngx_uint_t status,
    PGresult *result)
{
    if (status != NGX_BROADCAST_CALL_OK) {
        ngx_broadcast_count(NGX_BROADCAST_ERRORS_DROPPED, 1);
    }
}


/* at most max bytes, and no part of a character */

static size_t
ngx_broadcast_failed_cut(ngx_str_t *text, size_t max)
{
    size_t  n;

    if (text->len <= max) {
        return text->len;
    }

    for (n = max; n && (text->data[n] & 0xc0) == 0x80; n--) { /* void */ }

    return n;
}
