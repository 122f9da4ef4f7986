
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast_message.h"
#include "proto/ngx_broadcast_packed.h"
#include "proto/ngx_broadcast_plain.h"


/* the members of a message as they came; a type of NULL is as good as none */

typedef struct {
    ngx_broadcast_scan_value_t  target;
    ngx_broadcast_scan_value_t  arguments;
    ngx_broadcast_scan_value_t  scope[NGX_HTTP_BROADCAST_SCOPES];
    ngx_str_t                   text;       /* of the object */
    ngx_uint_t                  levels;
    ngx_uint_t                  found;      /* a target, of whatever type */
} ngx_http_broadcast_members_t;


static ngx_int_t ngx_http_broadcast_batch_lines(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *body);
static ngx_int_t ngx_http_broadcast_batch_members(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *text,
    ngx_http_broadcast_members_t *m);
static ngx_int_t ngx_http_broadcast_batch_object(
    ngx_http_broadcast_batch_t *batch, ngx_http_broadcast_members_t *m);
static ngx_int_t ngx_http_broadcast_batch_packed(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *body);
static ngx_int_t ngx_http_broadcast_batch_text(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *text);
static ngx_int_t ngx_http_broadcast_batch_bare(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *text);
static ngx_int_t ngx_http_broadcast_batch_argument(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *text, ngx_uint_t levels);
static ngx_int_t ngx_http_broadcast_batch_push(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *target,
    ngx_str_t *arguments);
static ngx_int_t ngx_http_broadcast_refuse(ngx_http_broadcast_batch_t *batch,
    const char *error);


ngx_int_t
ngx_http_broadcast_batch(ngx_http_broadcast_batch_t *batch)
{
    ngx_str_t                  *body;
    ngx_http_request_t         *r;
    ngx_http_broadcast_ctx_t   *ctx;

    r = batch->r;
    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    body = &ctx->body;

    batch->error = NULL;
    batch->line = 0;

    if (ngx_array_init(&batch->records, r->pool, 1,
                       sizeof(ngx_broadcast_record_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_broadcast_content_type(r, "application/x-ndjson")) {
        return ngx_http_broadcast_batch_lines(batch, body);
    }

    if (!batch->bare) {

        if (body->len == 0) {
            return ngx_http_broadcast_refuse(batch,
                                     "Message in request body is required.");
        }

        if (ngx_http_broadcast_packed_type(r)) {
            return ngx_http_broadcast_batch_packed(batch, body);
        }

        return ngx_http_broadcast_batch_message(batch, body, 0);
    }

    if (ngx_http_broadcast_content_type(r, "application/json")) {
        return ngx_http_broadcast_batch_bare(batch, body);
    }

    return ngx_http_broadcast_batch_text(batch, body);
}


static ngx_int_t
ngx_http_broadcast_refuse(ngx_http_broadcast_batch_t *batch,
    const char *error)
{
    batch->error = error;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_broadcast_batch_lines(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *body)
{
    ngx_int_t  rc;
    ngx_str_t  rest, line;

    rest = *body;

    while (ngx_broadcast_plain_line(&rest, &line, &batch->line) == NGX_OK) {

        if (batch->records.nelts == NGX_BROADCAST_BATCH_MAX) {
            return NGX_BUSY;
        }

        rc = ngx_http_broadcast_batch_message(batch, &line, 1);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    batch->line = 0;

    if (batch->records.nelts == 0) {
        return ngx_http_broadcast_refuse(batch,
                                     "Message in request body is required.");
    }

    return NGX_OK;
}


/*
 * {"target","arguments"}; .NET's SDK writes the names in Pascal case.  With
 * bare, what is no object with a target is one argument.
 */

ngx_int_t
ngx_http_broadcast_batch_message(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *text, ngx_uint_t bare)
{
    ngx_int_t                      rc;
    ngx_http_broadcast_members_t   m;

    rc = ngx_http_broadcast_batch_members(batch, text, &m);

    if (rc == NGX_DONE) {

        if (bare) {
            return ngx_http_broadcast_batch_bare(batch, text);
        }

        return ngx_http_broadcast_refuse(batch,
                                     "The body must be a JSON object.");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (m.found) {
        return ngx_http_broadcast_batch_object(batch, &m);
    }

    if (bare) {
        return ngx_http_broadcast_batch_argument(batch, &m.text, m.levels);
    }

    return ngx_http_broadcast_refuse(batch, "\"target\" is required.");
}


/* NGX_OK; NGX_DONE: it is no object; NGX_DECLINED */

static ngx_int_t
ngx_http_broadcast_batch_members(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *text, ngx_http_broadcast_members_t *m)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_broadcast_scan_t        s;
    ngx_broadcast_scan_value_t  key, value;

    ngx_memzero(m, sizeof(ngx_http_broadcast_members_t));

    ngx_broadcast_scan_init(&s, text);

    if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) {
        return NGX_DONE;
    }

    m->text.data = s.pos - 1;

    while ((rc = ngx_broadcast_scan_member(&s, &key, &value)) == NGX_OK) {

        m->levels = ngx_max(m->levels, value.levels);

        if (ngx_broadcast_scan_is_nocase(&key, "target")) {
            m->target = value;
            m->found = 1;

        } else if (ngx_broadcast_scan_is_nocase(&key, "arguments")) {
            m->arguments = value;

        } else {
            i = ngx_http_broadcast_scope_key(&key);

            if (i < NGX_HTTP_BROADCAST_SCOPES) {
                m->scope[i] = value;
            }
        }
    }

    m->text.len = s.pos - m->text.data;
    m->levels++;

    if (rc == NGX_DONE) {
        rc = ngx_broadcast_scan_end(&s);
    }

    if (rc != NGX_OK) {
        return ngx_http_broadcast_refuse(batch,
                                     s.error ? s.error : "broken JSON");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_batch_object(ngx_http_broadcast_batch_t *batch,
    ngx_http_broadcast_members_t *m)
{
    ngx_int_t                rc;
    ngx_str_t                target, arguments;
    ngx_broadcast_record_t  *rec;

    if (m->target.type != NGX_BROADCAST_SCAN_STRING) {
        return ngx_http_broadcast_refuse(batch,
                                     "\"target\" must be a string.");
    }

    if (ngx_broadcast_scan_string(&m->target, batch->r->pool, &target)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (m->arguments.type) {

    case NGX_BROADCAST_SCAN_NULL:
        ngx_str_set(&arguments, "[]");
        break;

    case NGX_BROADCAST_SCAN_ARRAY:
        arguments = m->arguments.text;
        break;

    default:
        return ngx_http_broadcast_refuse(batch,
                                     "\"arguments\" must be an array.");
    }

    rc = ngx_http_broadcast_batch_push(batch, &target, &arguments);

    if (rc != NGX_OK || batch->line == 0) {
        return rc;
    }

    rec = batch->records.elts;
    rec += batch->records.nelts - 1;

    return ngx_http_broadcast_scope_line(batch, m->scope, rec);
}


ngx_uint_t
ngx_http_broadcast_packed_type(ngx_http_request_t *r)
{
    return ngx_http_broadcast_content_type(r, "application/x-msgpack")
           || ngx_http_broadcast_content_type(r, "application/octet-stream");
}


static ngx_int_t
ngx_http_broadcast_batch_packed(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *body)
{
    ngx_int_t                rc;
    ngx_broadcast_packed_t   p;
    ngx_broadcast_record_t  *rec;

    rc = ngx_http_broadcast_content_type(batch->r, "application/x-msgpack")
         ? ngx_broadcast_packed_message(body, batch->r->pool, &p,
                                        &batch->error)
         : ngx_broadcast_packed_encoded(body, batch->r->pool, &p,
                                        &batch->error);

    if (rc == NGX_OK) {
        rc = ngx_http_broadcast_batch_push(batch, &p.target, &p.arguments);
    }

    if (rc == NGX_OK) {
        rec = batch->records.elts;
        rec->packed = p.packed;
    }

    return rc;
}


static ngx_int_t
ngx_http_broadcast_batch_bare(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *text)
{
    const char                  *error;
    ngx_broadcast_scan_value_t   value;

    if (ngx_broadcast_scan_document(text, &value, &error) != NGX_OK) {
        return ngx_http_broadcast_refuse(batch, error);
    }

    return ngx_http_broadcast_batch_argument(batch, &value.text,
                                             value.levels);
}


static ngx_int_t
ngx_http_broadcast_batch_argument(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *text, ngx_uint_t levels)
{
    u_char     *p;
    ngx_str_t   arguments;

    /* the array of arguments is a level, too */

    if (levels >= NGX_BROADCAST_SCAN_DEPTH) {
        return ngx_http_broadcast_refuse(batch, "JSON text is nested deeper "
                                         "than 63 levels");
    }

    p = ngx_pnalloc(batch->r->pool, text->len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    arguments.data = p;

    *p++ = '[';
    p = ngx_cpymem(p, text->data, text->len);
    *p++ = ']';

    arguments.len = p - arguments.data;

    return ngx_http_broadcast_batch_push(batch, &batch->target, &arguments);
}


static ngx_int_t
ngx_http_broadcast_batch_text(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *text)
{
    u_char     *p;
    ngx_str_t   arguments;

    if (!ngx_broadcast_utf8_valid(text)) {
        return ngx_http_broadcast_refuse(batch, "The body is not UTF-8.");
    }

    p = ngx_pnalloc(batch->r->pool,
                    ngx_broadcast_scan_quoted_len(text) + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    arguments.data = p;

    *p++ = '[';
    p = ngx_broadcast_scan_quoted_write(p, text);
    *p++ = ']';

    arguments.len = p - arguments.data;

    return ngx_http_broadcast_batch_push(batch, &batch->target, &arguments);
}


static ngx_int_t
ngx_http_broadcast_batch_push(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *target, ngx_str_t *arguments)
{
    struct timeval           tv;
    ngx_broadcast_record_t  *rec;

    if (ngx_broadcast_target(target) != NGX_OK) {
        return ngx_http_broadcast_refuse(batch, "The target is no good name: "
                                         "1 to 1024 bytes of UTF-8 without "
                                         "line breaks.");
    }

    rec = ngx_array_push(&batch->records);
    if (rec == NULL) {
        return NGX_ERROR;
    }

    *rec = batch->scope;

    rec->type = NGX_BROADCAST_REC_MESSAGE;
    rec->target = *target;
    rec->arguments = *arguments;

    if (ngx_broadcast_scan_one_line(&rec->arguments, batch->r->pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_gettimeofday(&tv);
    rec->time = (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;

    return NGX_OK;
}
