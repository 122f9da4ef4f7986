
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_call.h"


/*
 * Parameters of a statement are made where they are sent from: the first is the
 * call's context, the others are arguments, decoded as the method's letters
 * say, or the event that a bound function takes.
 *
 * A decoded string is never longer than its JSON, and the rest that a VARIADIC
 * one takes is one stretch of the text, with brackets around it.
 */

#define NGX_BROADCAST_ARGUMENTS_RAW  4096   /* kept beside, to call again */


static ngx_uint_t ngx_broadcast_arguments_whole(
    ngx_broadcast_arguments_t *a);
static size_t ngx_broadcast_arguments_event_size(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w);
static u_char *ngx_broadcast_arguments_head(u_char *p,
    ngx_broadcast_conn_t *bc, ngx_broadcast_wanted_t *w);
static u_char *ngx_broadcast_arguments_event(u_char *p,
    ngx_broadcast_conn_t *bc, ngx_broadcast_wanted_t *w);
static u_char *ngx_broadcast_arguments_known(u_char *p,
    ngx_broadcast_conn_t *bc);
static u_char *ngx_broadcast_arguments_rest(u_char *p,
    ngx_broadcast_arguments_t *a, ngx_uint_t i, const char **param);
static u_char *ngx_broadcast_arguments_one(u_char *p, u_char letter,
    ngx_broadcast_scan_value_t *v, const char **param);


#define ngx_broadcast_arguments_copy(p, text)                                 \
    ngx_cpymem(p, text, sizeof(text) - 1)


ngx_int_t
ngx_broadcast_arguments_parse(ngx_broadcast_arguments_t *a, ngx_str_t *text)
{
    ngx_int_t                    rc;
    ngx_broadcast_scan_t         s;
    ngx_broadcast_scan_value_t   rest, *v;

    a->n = 0;
    a->end = text->data;

    ngx_broadcast_scan_init(&s, text);

    if (ngx_broadcast_scan_open(&s, '[') != NGX_OK) {
        return NGX_ERROR;
    }

    for ( ;; ) {
        v = a->n < NGX_BROADCAST_METHOD_ARGS ? &a->v[a->n] : &rest;

        rc = ngx_broadcast_scan_element(&s, v);

        if (rc != NGX_OK) {
            return rc == NGX_DONE ? NGX_OK : NGX_ERROR;
        }

        /* of what stands beyond, its faults are the last one's */

        if (v == &rest && (v->nul || v->lone)) {
            a->v[NGX_BROADCAST_METHOD_ARGS - 1].nul = 1;
        }

        a->n++;
        a->end = v->text.data + v->text.len;
    }
}


ngx_int_t
ngx_broadcast_arguments_call(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w, ngx_broadcast_arguments_t *a,
    ngx_broadcast_method_t *method, uint64_t serial,
    ngx_broadcast_method_call_t **made)
{
    u_char                       *p;
    size_t                        size, event;
    ngx_uint_t                    i, n, raw;
    ngx_broadcast_method_call_t  *call;

    event = ngx_broadcast_arguments_event_size(bc, w);
    raw = w->arguments.len <= NGX_BROADCAST_ARGUMENTS_RAW;

    n = method->message ? 1 : method->count;

    size = event + (method->message ? event : n) + w->arguments.len + 2
           + (raw ? w->arguments.len : 0);

    call = ngx_broadcast_method_prepare(method, n + 1, size);
    if (call == NULL) {
        return NGX_ERROR;
    }

    *made = call;

    p = call->text;
    call->context = (char *) p;
    call->params[0] = method->context ? call->context : NULL;

    *p++ = '{';
    p = ngx_broadcast_arguments_head(p, bc, w);
    p = ngx_sprintf(p, ",\"done\":\"%uL.%uL\"",
                    (uint64_t) ngx_broadcast_bus.owner, serial);
    p = ngx_broadcast_arguments_known(p, bc);
    *p++ = '}';
    *p++ = '\0';

    if (method->message) {
        call->params[1] = (char *) p;
        p = ngx_broadcast_arguments_whole(a)
            ? ngx_broadcast_arguments_event(p, bc, w)
            : NULL;
    }

    for (i = 0; i < method->count && p; i++) {

        if (method->rest && i == method->count - 1 && w->nstreams == 0) {
            p = ngx_broadcast_arguments_rest(p, a, i, &call->params[i + 1]);
            continue;
        }

        p = ngx_broadcast_arguments_one(p, method->params.data[i], &a->v[i],
                                        &call->params[i + 1]);
    }

    if (p == NULL) {
        ngx_broadcast_method_discard(call);
        return NGX_DECLINED;
    }

    if (raw) {
        call->raw.data = p;
        call->raw.len = w->arguments.len;
        ngx_memcpy(p, w->arguments.data, w->arguments.len);
    }

    return NGX_OK;
}


/* 0: one of them holds what jsonb, and so the event, has no text for */

static ngx_uint_t
ngx_broadcast_arguments_whole(ngx_broadcast_arguments_t *a)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_min(a->n, NGX_BROADCAST_METHOD_ARGS); i++) {
        if (a->v[i].nul || a->v[i].lone) {
            return 0;
        }
    }

    return 1;
}


/* at most, of a context without its arguments, or of an event without them */

static size_t
ngx_broadcast_arguments_event_size(ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w)
{
    size_t     size;
    ngx_str_t  user;

    size = sizeof("{\"kind\":\"message\",\"hub\":,\"connectionId\":,"
                  "\"userId\":null,\"target\":,\"invocationId\":,"
                  "\"stream\":true,\"arguments\":,\"done\":\".\"}")
           + 2 * NGX_INT64_LEN
           + ngx_broadcast_scan_quoted_len(&bc->hub->name)
           + ngx_broadcast_scan_quoted_len(&bc->id)
           + ngx_broadcast_scan_quoted_len(&w->target)
           + ngx_broadcast_scan_quoted_len(&w->id);

    if (bc->user) {
        user.len = bc->user->len;
        user.data = bc->user->data;
        size += ngx_broadcast_scan_quoted_len(&user);
    }

    if (bc->event) {
        size += 1 + bc->event->len;
    }

    return size;
}


static u_char *
ngx_broadcast_arguments_head(u_char *p, ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w)
{
    ngx_str_t  user;

    p = ngx_broadcast_arguments_copy(p, "\"hub\":");
    p = ngx_broadcast_scan_quoted_write(p, &bc->hub->name);

    p = ngx_broadcast_arguments_copy(p, ",\"connectionId\":");
    p = ngx_broadcast_scan_quoted_write(p, &bc->id);

    p = ngx_broadcast_arguments_copy(p, ",\"userId\":");

    if (bc->user) {
        user.len = bc->user->len;
        user.data = bc->user->data;
        p = ngx_broadcast_scan_quoted_write(p, &user);

    } else {
        p = ngx_broadcast_arguments_copy(p, "null");
    }

    p = ngx_broadcast_arguments_copy(p, ",\"target\":");
    p = ngx_broadcast_scan_quoted_write(p, &w->target);

    if (w->id.len) {
        p = ngx_broadcast_arguments_copy(p, ",\"invocationId\":");
        p = ngx_broadcast_scan_quoted_write(p, &w->id);
    }

    return p;
}


static u_char *
ngx_broadcast_arguments_event(u_char *p, ngx_broadcast_conn_t *bc,
    ngx_broadcast_wanted_t *w)
{
    p = ngx_broadcast_arguments_copy(p, "{\"kind\":\"message\",");
    p = ngx_broadcast_arguments_head(p, bc, w);

    p = ngx_broadcast_arguments_copy(p, ",\"arguments\":");
    p = ngx_cpymem(p, w->arguments.data, w->arguments.len);

    if (w->stream) {
        p = ngx_broadcast_arguments_copy(p, ",\"stream\":true");
    }

    p = ngx_broadcast_arguments_known(p, bc);
    *p++ = '}';
    *p++ = '\0';

    return p;
}


/* claims and query, where they are not in the connection's row */

static u_char *
ngx_broadcast_arguments_known(u_char *p, ngx_broadcast_conn_t *bc)
{
    if (bc->event && bc->event->len) {
        *p++ = ',';
        p = ngx_cpymem(p, ngx_broadcast_frame_data(bc->event),
                       bc->event->len);
    }

    return p;
}


/* all from the i-th on, as one array */

static u_char *
ngx_broadcast_arguments_rest(u_char *p, ngx_broadcast_arguments_t *a,
    ngx_uint_t i, const char **param)
{
    u_char      *first;
    ngx_uint_t   k;

    *param = (char *) p;
    *p++ = '[';

    if (i < a->n) {

        for (k = i; k < ngx_min(a->n, NGX_BROADCAST_METHOD_ARGS); k++) {
            if (a->v[k].nul || a->v[k].lone) {
                return NULL;
            }
        }

        first = a->v[i].text.data;
        p = ngx_cpymem(p, first, a->end - first);
    }

    *p++ = ']';
    *p++ = '\0';

    return p;
}


/* NULL: it is not of the kind, or holds what PostgreSQL has no text for */

static u_char *
ngx_broadcast_arguments_one(u_char *p, u_char letter,
    ngx_broadcast_scan_value_t *v, const char **param)
{
    if (v->type == NGX_BROADCAST_SCAN_NULL) {
        *param = NULL;
        return p;
    }

    if (v->nul || v->lone) {
        return NULL;
    }

    *param = (char *) p;

    if (letter == 'j') {
        p = ngx_cpymem(p, v->text.data, v->text.len);

    } else {

        switch (v->type) {

        case NGX_BROADCAST_SCAN_STRING:
            p += ngx_broadcast_scan_decode(v, p);
            break;

        case NGX_BROADCAST_SCAN_ARRAY:
        case NGX_BROADCAST_SCAN_OBJECT:
            return NULL;

        default:
            p = ngx_cpymem(p, v->text.data, v->text.len);
        }
    }

    *p++ = '\0';

    return p;
}
