
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What a reading of the catalogue has: rows that become the methods. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_method_local.h"
#include "pg/ngx_broadcast_pg_conn.h"
#include "pg/ngx_broadcast_pg_local.h"


static ngx_uint_t ngx_broadcast_method_row(PGresult *result, int i,
    ngx_broadcast_method_t *m);
static void ngx_broadcast_method_over(ngx_broadcast_methods_t *methods);


void
ngx_broadcast_method_take(PGresult *result)
{
    int                       i, n;
    ngx_broadcast_method_t    m;
    ngx_broadcast_methods_t  *methods;

    n = PQntuples(result);

    methods = ngx_broadcast_methods_create(ngx_min(n,
                                                   NGX_BROADCAST_METHODS_MAX),
                                           ngx_broadcast_pg.log);
    if (methods == NULL) {
        return;
    }

    methods->version = ngx_broadcast_pg_number(result, 0, 0);

    for (i = 0; i < n; i++) {

        if (PQgetisnull(result, i, 3)) {
            continue;
        }

        if (methods->n == NGX_BROADCAST_METHODS_MAX
            || !ngx_broadcast_method_row(result, i, &m)
            || ngx_broadcast_methods_add(methods, &m) != NGX_OK)
        {
            methods->over++;
        }
    }

    if (methods->over) {
        ngx_broadcast_method_over(methods);
    }

    if (ngx_broadcast_methods) {
        ngx_broadcast_methods_put(ngx_broadcast_methods);
    }

    ngx_broadcast_methods = methods;
}


/* 0: it is none that could be called */

static ngx_uint_t
ngx_broadcast_method_row(PGresult *result, int i, ngx_broadcast_method_t *m)
{
    ngx_str_t  form;

    ngx_memzero(m, sizeof(ngx_broadcast_method_t));

    form = ngx_broadcast_pg_value(result, i, 3);

    m->hub = ngx_broadcast_pg_value(result, i, 1);
    m->name = ngx_broadcast_pg_value(result, i, 2);
    m->message = form.len == 7 && ngx_memcmp(form.data, "message", 7) == 0;
    m->function = ngx_broadcast_pg_value(result, i, 4);
    m->count = ngx_broadcast_pg_number(result, i, 5);
    m->rest = ngx_broadcast_pg_value(result, i, 6).data[0] == 't';
    m->arrays = ngx_broadcast_pg_number(result, i, 7);
    m->params = ngx_broadcast_pg_value(result, i, 8);
    m->stream = ngx_broadcast_pg_value(result, i, 9).data[0] == 't';
    m->cursor = ngx_broadcast_pg_value(result, i, 10).data[0] == 't';
    m->shape = ngx_broadcast_pg_value(result, i, 11);
    m->ambiguous = ngx_broadcast_pg_value(result, i, 12).data[0] == 't';
    m->statement = ngx_broadcast_pg_value(result, i, 13);
    m->plain = ngx_broadcast_pg_value(result, i, 14).data[0] == 't';

    if (m->message) {
        m->count = 0;
        m->arrays = 0;
        m->rest = 0;

        return 1;
    }

    return m->name.len
           && m->count <= NGX_BROADCAST_METHOD_ARGS
           && m->arrays <= m->count
           && (m->ambiguous || m->params.len == m->count)
           && (!m->rest || m->count);
}


static void
ngx_broadcast_method_over(ngx_broadcast_methods_t *methods)
{
    ngx_broadcast_count(NGX_BROADCAST_METHODS_OVER, methods->over);

    ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                  "broadcast: %ui methods of broadcast.methods() were left "
                  "out, %ui fit and at most %ui",
                  methods->over, methods->n,
                  (ngx_uint_t) NGX_BROADCAST_METHODS_MAX);
}
