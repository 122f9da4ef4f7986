
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_plain.h"

#include "base/ngx_broadcast_name.h"
#include "proto/ngx_broadcast_out.h"
#include "proto/ngx_broadcast_scan.h"


/* the members of a frame as they came; a type of NULL is as good as none */

typedef struct {
    ngx_broadcast_scan_value_t  target;
    ngx_broadcast_scan_value_t  arguments;
    ngx_broadcast_scan_value_t  join;
    ngx_broadcast_scan_value_t  leave;
    ngx_broadcast_scan_value_t  send;
} ngx_broadcast_plain_members_t;


static void ngx_broadcast_plain_out(ngx_broadcast_out_t *out,
    const ngx_str_t *id, const ngx_str_t *target, const ngx_str_t *arguments);
static void ngx_broadcast_plain_gap_out(ngx_broadcast_out_t *out,
    const ngx_str_t *requested, const ngx_str_t *oldest, ngx_uint_t array);
static void ngx_broadcast_plain_sent_out(ngx_broadcast_out_t *out,
    const ngx_str_t *id, ngx_uint_t count);
static ngx_int_t ngx_broadcast_plain_read(const ngx_str_t *text,
    ngx_broadcast_plain_members_t *m, const char **error, u_char **wrong);
static ngx_uint_t ngx_broadcast_plain_where(const ngx_str_t *text, u_char *p);
static ngx_int_t ngx_broadcast_plain_group(ngx_broadcast_scan_value_t *v,
    ngx_pool_t *pool, ngx_broadcast_plain_frame_t *f, const char **error);
static ngx_int_t ngx_broadcast_plain_message(ngx_broadcast_plain_members_t *m,
    ngx_pool_t *pool, ngx_broadcast_plain_frame_t *f, const char **error);


size_t
ngx_broadcast_plain_len(const ngx_str_t *id, const ngx_str_t *target,
    const ngx_str_t *arguments)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_plain_out(&out, id, target, arguments);

    return out.len;
}


u_char *
ngx_broadcast_plain_write(u_char *dst, const ngx_str_t *id,
    const ngx_str_t *target, const ngx_str_t *arguments)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_plain_out(&out, id, target, arguments);

    return out.pos;
}


size_t
ngx_broadcast_plain_gap_len(const ngx_str_t *requested,
    const ngx_str_t *oldest, ngx_uint_t array)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_plain_gap_out(&out, requested, oldest, array);

    return out.len;
}


u_char *
ngx_broadcast_plain_gap_write(u_char *dst, const ngx_str_t *requested,
    const ngx_str_t *oldest, ngx_uint_t array)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_plain_gap_out(&out, requested, oldest, array);

    return out.pos;
}


size_t
ngx_broadcast_plain_error_len(const ngx_str_t *text)
{
    return sizeof("{\"error\":}") - 1 + ngx_broadcast_scan_quoted_len(text);
}


u_char *
ngx_broadcast_plain_error_write(u_char *dst, const ngx_str_t *text)
{
    dst = ngx_cpymem(dst, "{\"error\":", sizeof("{\"error\":") - 1);
    dst = ngx_broadcast_scan_quoted_write(dst, text);

    *dst++ = '}';

    return dst;
}


size_t
ngx_broadcast_plain_sent_len(const ngx_str_t *id, ngx_uint_t count)
{
    ngx_broadcast_out_t  out;

    out.pos = NULL;
    out.len = 0;

    ngx_broadcast_plain_sent_out(&out, id, count);

    return out.len;
}


u_char *
ngx_broadcast_plain_sent_write(u_char *dst, const ngx_str_t *id,
    ngx_uint_t count)
{
    ngx_broadcast_out_t  out;

    out.pos = dst;

    ngx_broadcast_plain_sent_out(&out, id, count);

    return out.pos;
}


ngx_int_t
ngx_broadcast_plain_parse(const ngx_str_t *text, ngx_pool_t *pool,
    ngx_broadcast_plain_frame_t *f, const char **error)
{
    u_char                         *wrong;
    ngx_int_t                       rc;
    ngx_uint_t                      kinds;
    ngx_broadcast_plain_members_t   m;

    ngx_memzero(f, sizeof(ngx_broadcast_plain_frame_t));

    rc = ngx_broadcast_plain_read(text, &m, error, &wrong);

    if (rc == NGX_ERROR) {
        f->line = ngx_broadcast_plain_where(text, wrong);
        return NGX_ERROR;
    }

    if (rc == NGX_AGAIN
        || (rc == NGX_DONE && m.send.type != NGX_BROADCAST_SCAN_NULL))
    {
        return NGX_AGAIN;
    }

    kinds = (m.join.type != NGX_BROADCAST_SCAN_NULL)
            + (m.leave.type != NGX_BROADCAST_SCAN_NULL)
            + (m.send.type != NGX_BROADCAST_SCAN_NULL);

    if (kinds > 1) {
        *error = "only one of \"join\", \"leave\" and \"send\" in a frame";
        return NGX_ERROR;
    }

    if (m.join.type != NGX_BROADCAST_SCAN_NULL) {
        f->type = NGX_BROADCAST_PLAIN_JOIN;
        return ngx_broadcast_plain_group(&m.join, pool, f, error);
    }

    if (m.leave.type != NGX_BROADCAST_SCAN_NULL) {
        f->type = NGX_BROADCAST_PLAIN_LEAVE;
        return ngx_broadcast_plain_group(&m.leave, pool, f, error);
    }

    if (m.send.type != NGX_BROADCAST_SCAN_NULL) {
        f->type = NGX_BROADCAST_PLAIN_SEND;

        if (ngx_broadcast_plain_group(&m.send, pool, f, error) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (m.target.type != NGX_BROADCAST_SCAN_NULL) {
        f->type = NGX_BROADCAST_PLAIN_MESSAGE;

    } else {
        *error = "a frame has \"target\", \"join\", \"leave\" or \"send\"";
        return NGX_ERROR;
    }

    return ngx_broadcast_plain_message(&m, pool, f, error);
}


static void
ngx_broadcast_plain_out(ngx_broadcast_out_t *out, const ngx_str_t *id,
    const ngx_str_t *target, const ngx_str_t *arguments)
{
    ngx_broadcast_out_literal(out, "{");

    if (id->len) {
        ngx_broadcast_out_literal(out, "\"id\":");
        ngx_broadcast_out_quoted(out, id);
    }

    if (target->len) {

        if (id->len) {
            ngx_broadcast_out_literal(out, ",");
        }

        ngx_broadcast_out_literal(out, "\"target\":");
        ngx_broadcast_out_quoted(out, target);
        ngx_broadcast_out_literal(out, ",\"arguments\":");
        ngx_broadcast_out_str(out, arguments);
    }

    ngx_broadcast_out_literal(out, "}");
}


static void
ngx_broadcast_plain_gap_out(ngx_broadcast_out_t *out,
    const ngx_str_t *requested, const ngx_str_t *oldest, ngx_uint_t array)
{
    if (array) {
        ngx_broadcast_out_literal(out, "[");
    }

    ngx_broadcast_out_literal(out, "{\"requested\":");

    if (requested->len) {
        ngx_broadcast_out_quoted(out, requested);

    } else {
        ngx_broadcast_out_literal(out, "null");
    }

    ngx_broadcast_out_literal(out, ",\"oldest\":");

    if (oldest->len) {
        ngx_broadcast_out_quoted(out, oldest);

    } else {
        ngx_broadcast_out_literal(out, "null");
    }

    ngx_broadcast_out_literal(out, "}");

    if (array) {
        ngx_broadcast_out_literal(out, "]");
    }
}


static void
ngx_broadcast_plain_sent_out(ngx_broadcast_out_t *out, const ngx_str_t *id,
    ngx_uint_t count)
{
    ngx_broadcast_out_literal(out, "{");

    if (id->len) {
        ngx_broadcast_out_literal(out, "\"id\":");
        ngx_broadcast_out_quoted(out, id);
        ngx_broadcast_out_literal(out, ",");
    }

    ngx_broadcast_out_literal(out, "\"count\":");
    ngx_broadcast_out_int(out, count);
    ngx_broadcast_out_literal(out, "}");
}


/*
 * OK: an object; DONE: one with a line break behind it; AGAIN: and more behind
 * that; ERROR: *wrong is the byte at which it ends to be JSON
 */

static ngx_int_t
ngx_broadcast_plain_read(const ngx_str_t *text,
    ngx_broadcast_plain_members_t *m, const char **error, u_char **wrong)
{
    u_char                      *p;
    ngx_int_t                    rc;
    ngx_uint_t                   lf;
    ngx_broadcast_scan_t         s;
    ngx_broadcast_scan_value_t   key, value;

    ngx_memzero(m, sizeof(ngx_broadcast_plain_members_t));

    ngx_broadcast_scan_init(&s, text);

    if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) {
        *error = "a frame is a JSON object";
        *wrong = s.pos;
        return NGX_ERROR;
    }

    while ((rc = ngx_broadcast_scan_member(&s, &key, &value)) == NGX_OK) {

        if (ngx_broadcast_scan_is(&key, "target")) {
            m->target = value;

        } else if (ngx_broadcast_scan_is(&key, "arguments")) {
            m->arguments = value;

        } else if (ngx_broadcast_scan_is(&key, "join")) {
            m->join = value;

        } else if (ngx_broadcast_scan_is(&key, "leave")) {
            m->leave = value;

        } else if (ngx_broadcast_scan_is(&key, "send")) {
            m->send = value;
        }
    }

    p = s.pos;

    if (rc != NGX_ERROR) {

        while (p < s.last && (*p == ' ' || *p == '\t' || *p == CR)) {
            p++;
        }

        lf = (p < s.last && *p == LF);

        if (ngx_broadcast_scan_end(&s) == NGX_OK) {
            return lf ? NGX_DONE : NGX_OK;
        }

        if (lf) {
            return NGX_AGAIN;
        }
    }

    *error = s.error;
    *wrong = s.pos;

    return NGX_ERROR;
}


/*
 * The line of a wrong byte, 0 if there is only one.  A line that breaks off is
 * found wrong at the first byte behind it: it is the one that is meant.
 */

static ngx_uint_t
ngx_broadcast_plain_where(const ngx_str_t *text, u_char *p)
{
    u_char      *q;
    ngx_uint_t   line;

    q = ngx_strlchr(text->data, text->data + text->len, LF);

    if (q == NULL || q + 1 == text->data + text->len) {
        return 0;
    }

    while (p > text->data
           && (p[-1] == ' ' || p[-1] == '\t' || p[-1] == CR || p[-1] == LF))
    {
        p--;
    }

    line = 1;

    for (q = text->data; q < p; q++) {
        line += (*q == LF);
    }

    return line;
}


ngx_int_t
ngx_broadcast_plain_line(ngx_str_t *text, ngx_str_t *line, ngx_uint_t *n)
{
    u_char  *p, *last, *end;

    p = text->data;
    last = p + text->len;

    while (p < last) {

        end = ngx_strlchr(p, last, LF);
        if (end == NULL) {
            end = last;
        }

        (*n)++;

        line->data = p;
        line->len = end - p;

        if (line->len && end[-1] == CR) {
            line->len--;
        }

        p = ngx_min(end + 1, last);

        if (line->len) {
            text->data = p;
            text->len = last - p;
            return NGX_OK;
        }
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_broadcast_plain_group(ngx_broadcast_scan_value_t *v, ngx_pool_t *pool,
    ngx_broadcast_plain_frame_t *f, const char **error)
{
    if (v->type != NGX_BROADCAST_SCAN_STRING) {
        *error = "a group is a string";
        return NGX_ERROR;
    }

    if (ngx_broadcast_scan_string(v, pool, &f->group) != NGX_OK) {
        *error = "no memory for a frame";
        return NGX_ERROR;
    }

    if (ngx_broadcast_group_name(&f->group) != NGX_OK) {
        *error = "a group has 1 to 1024 characters";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_plain_message(ngx_broadcast_plain_members_t *m,
    ngx_pool_t *pool, ngx_broadcast_plain_frame_t *f, const char **error)
{
    if (m->target.type != NGX_BROADCAST_SCAN_STRING) {
        *error = "\"target\" is a string";
        return NGX_ERROR;
    }

    if (ngx_broadcast_scan_string(&m->target, pool, &f->target) != NGX_OK) {
        *error = "no memory for a frame";
        return NGX_ERROR;
    }

    if (ngx_broadcast_target(&f->target) != NGX_OK) {
        *error = "\"target\" has 1 to 1024 bytes";
        return NGX_ERROR;
    }

    switch (m->arguments.type) {

    case NGX_BROADCAST_SCAN_NULL:
        ngx_str_set(&f->arguments, "[]");
        return NGX_OK;

    case NGX_BROADCAST_SCAN_ARRAY:
        f->arguments = m->arguments.text;
        return NGX_OK;

    default:
        *error = "\"arguments\" is an array";
        return NGX_ERROR;
    }
}
