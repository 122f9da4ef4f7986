
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_method_local.h"


/* what is known of an invocation while the rows of its name are looked at */

typedef struct {
    ngx_str_t                  *hub;
    ngx_uint_t                  nargs;
    ngx_uint_t                  nstreams;

    ngx_broadcast_method_t     *bound;
    ngx_broadcast_method_t     *exact;
    ngx_broadcast_method_t     *rest;
    ngx_broadcast_method_t     *streams;    /* the count fits, they do not */
    ngx_broadcast_method_t     *nearest;
} ngx_broadcast_method_look_t;


static uint32_t ngx_broadcast_method_hash(ngx_str_t *name);
static ngx_uint_t ngx_broadcast_method_is(ngx_broadcast_method_t *m,
    ngx_str_t *hub, ngx_str_t *name);
static void ngx_broadcast_method_look(ngx_broadcast_method_look_t *look,
    ngx_broadcast_method_t *m);
static void ngx_broadcast_method_near(ngx_broadcast_method_look_t *look,
    ngx_broadcast_method_t *m, ngx_uint_t n);
static ngx_uint_t ngx_broadcast_methods_asks(ngx_str_t *statement);
static ngx_int_t ngx_broadcast_methods_copy(ngx_pool_t *pool, ngx_str_t *text);


ngx_broadcast_methods_t  *ngx_broadcast_methods;


ngx_uint_t
ngx_broadcast_method_find(ngx_str_t *hub, ngx_str_t *name, ngx_uint_t nargs,
    ngx_uint_t nstreams, ngx_broadcast_method_t **method)
{
    ngx_broadcast_method_t       *m;
    ngx_broadcast_methods_t      *methods = ngx_broadcast_methods;
    ngx_broadcast_method_look_t   look;

    *method = NULL;

    if (methods == NULL) {
        return NGX_BROADCAST_METHOD_UNREAD;
    }

    ngx_memzero(&look, sizeof(ngx_broadcast_method_look_t));

    look.hub = hub;
    look.nargs = nargs;
    look.nstreams = nstreams;

    m = methods->names[ngx_broadcast_method_hash(name)
                       % NGX_BROADCAST_METHOD_BUCKETS];

    for ( /* void */ ; m; m = m->next) {
        if (ngx_broadcast_method_is(m, hub, name)) {
            ngx_broadcast_method_look(&look, m);
        }
    }

    m = look.bound ? look.bound
                   : look.exact ? look.exact : look.rest;

    if (m) {
        *method = m;

        return m->ambiguous ? NGX_BROADCAST_METHOD_AMBIGUOUS
                            : NGX_BROADCAST_METHOD_FOUND;
    }

    if (look.streams) {
        *method = look.streams;
        return NGX_BROADCAST_METHOD_STREAMS;
    }

    if (look.nearest) {
        *method = look.nearest;
        return NGX_BROADCAST_METHOD_COUNT;
    }

    for (m = methods->any; m; m = m->next) {
        if (ngx_broadcast_method_is(m, hub, NULL)) {
            ngx_broadcast_method_look(&look, m);
        }
    }

    *method = look.bound;

    return look.bound ? NGX_BROADCAST_METHOD_FOUND
                      : NGX_BROADCAST_METHOD_NONE;
}


static uint32_t
ngx_broadcast_method_hash(ngx_str_t *name)
{
    size_t      i;
    ngx_uint_t  key;

    key = 0;

    for (i = 0; i < name->len; i++) {
        key = ngx_hash(key, ngx_tolower(name->data[i]));
    }

    return (uint32_t) key;
}


/* name NULL: of any, which m is then, too */

static ngx_uint_t
ngx_broadcast_method_is(ngx_broadcast_method_t *m, ngx_str_t *hub,
    ngx_str_t *name)
{
    if (m->hub.len
        && (m->hub.len != hub->len
            || ngx_memcmp(m->hub.data, hub->data, hub->len) != 0))
    {
        return 0;
    }

    return name == NULL
           || (m->name.len == name->len
               && ngx_strncasecmp(m->name.data, name->data, name->len) == 0);
}


static void
ngx_broadcast_method_look(ngx_broadcast_method_look_t *look,
    ngx_broadcast_method_t *m)
{
    ngx_uint_t  n;

    if (m->message) {

        /* the first row of the hub's own, else the first of any hub's */

        if (look->bound == NULL || (m->hub.len && look->bound->hub.len == 0)) {
            look->bound = m;
        }

        return;
    }

    n = look->nargs + look->nstreams;

    if (m->count == n || (m->rest && look->nstreams == 0 && n >= m->count - 1))
    {
        if (look->nstreams > m->arrays) {

            if (look->streams == NULL) {
                look->streams = m;
            }

        } else if (m->rest) {

            /* the most parameters of its own, if several take the rest */

            if (look->rest == NULL || m->count > look->rest->count) {
                look->rest = m;
            }

        } else if (look->exact == NULL) {
            look->exact = m;
        }

        return;
    }

    /* the arguments fit, but what is sent beside them does not */

    if (look->nstreams > m->arrays && look->nargs <= m->count
        && m->count - look->nargs <= m->arrays && look->streams == NULL)
    {
        look->streams = m;
    }

    ngx_broadcast_method_near(look, m, n);
}


/* the next count above what was given, else the greatest below */

static void
ngx_broadcast_method_near(ngx_broadcast_method_look_t *look,
    ngx_broadcast_method_t *m, ngx_uint_t n)
{
    ngx_broadcast_method_t  *near = look->nearest;

    if (near == NULL
        || (m->count > n && (near->count < n || m->count < near->count))
        || (m->count < n && near->count < n && m->count > near->count))
    {
        look->nearest = m;
    }
}


ngx_broadcast_methods_t *
ngx_broadcast_methods_create(ngx_uint_t n, ngx_log_t *log)
{
    ngx_pool_t               *pool;
    ngx_broadcast_methods_t  *methods;

    pool = ngx_create_pool(16384, log);
    if (pool == NULL) {
        return NULL;
    }

    methods = ngx_pcalloc(pool, sizeof(ngx_broadcast_methods_t));

    if (methods) {
        methods->methods = ngx_palloc(pool, ngx_max(n, 1)
                                          * sizeof(ngx_broadcast_method_t));
    }

    if (methods == NULL || methods->methods == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    methods->pool = pool;
    methods->refs = 1;

    return methods;
}


ngx_int_t
ngx_broadcast_methods_add(ngx_broadcast_methods_t *methods,
    ngx_broadcast_method_t *method)
{
    ngx_broadcast_method_t  *m, **link;

    m = &methods->methods[methods->n];

    *m = *method;

    m->methods = methods;
    m->text = NULL;
    m->next = NULL;

    if (ngx_broadcast_methods_copy(methods->pool, &m->hub) != NGX_OK
        || ngx_broadcast_methods_copy(methods->pool, &m->name) != NGX_OK
        || ngx_broadcast_methods_copy(methods->pool, &m->function) != NGX_OK
        || ngx_broadcast_methods_copy(methods->pool, &m->params) != NGX_OK
        || ngx_broadcast_methods_copy(methods->pool, &m->shape) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    /* a row that is ambiguous is never called, and has no statement */

    if (m->statement.len == 0 && !m->ambiguous) {
        return NGX_DECLINED;
    }

    if (m->stream || m->ambiguous) {

        if (ngx_broadcast_methods_copy(methods->pool, &m->statement) != NGX_OK)
        {
            return NGX_DECLINED;
        }

    } else {
        m->text = ngx_broadcast_pg_text_get(&m->statement, methods->pool->log);
        if (m->text == NULL) {
            return NGX_DECLINED;
        }

        m->statement = m->text->text;
    }

    m->context = ngx_broadcast_methods_asks(&m->statement);

    methods->n++;

    link = m->name.len
           ? &methods->names[ngx_broadcast_method_hash(&m->name)
                             % NGX_BROADCAST_METHOD_BUCKETS]
           : &methods->any;

    while (*link) {
        link = &(*link)->next;
    }

    *link = m;

    return NGX_OK;
}


/* for the context, its first parameter: words that look so may be others */

static ngx_uint_t
ngx_broadcast_methods_asks(ngx_str_t *statement)
{
    u_char  *p;

    for (p = statement->data; ; p += 2) {
        p = (u_char *) ngx_strstr(p, "$1");

        if (p == NULL) {
            return 0;
        }

        if (p[2] < '0' || p[2] > '9') {
            return 1;
        }
    }
}


static ngx_int_t
ngx_broadcast_methods_copy(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char  *p;

    p = ngx_pnalloc(pool, text->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (text->len) {
        ngx_memcpy(p, text->data, text->len);
    }

    p[text->len] = '\0';
    text->data = p;

    return NGX_OK;
}


void
ngx_broadcast_methods_put(ngx_broadcast_methods_t *methods)
{
    ngx_uint_t  i;

    if (--methods->refs) {
        return;
    }

    for (i = 0; i < methods->n; i++) {
        if (methods->methods[i].text) {
            ngx_broadcast_pg_text_put(methods->methods[i].text);
        }
    }

    ngx_destroy_pool(methods->pool);
}
