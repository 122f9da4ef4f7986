
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_host.h"


#define NGX_BROADCAST_PG_LIST   8192        /* bytes of a list of them */


static void ngx_broadcast_pg_list(ngx_broadcast_buf_t *buf, const char *name,
    ngx_array_t *hosts, ngx_uint_t first, size_t member);


ngx_int_t
ngx_broadcast_pg_host_add(ngx_array_t *hosts, ngx_pool_t *pool,
    ngx_broadcast_pg_host_t *host, ngx_str_t *addr)
{
    ngx_broadcast_pg_host_t  *h;

    if (hosts->nelts == NGX_BROADCAST_PG_HOSTS) {
        return NGX_OK;
    }

    h = ngx_array_push(hosts);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = *host;
    h->addr.len = addr->len;
    h->addr.data = ngx_pnalloc(pool, addr->len + 1);

    if (h->addr.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(h->addr.data, addr->data, addr->len + 1);

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_pg_host_conninfo(ngx_pool_t *pool, ngx_str_t *options,
    ngx_array_t *hosts, ngx_uint_t first, ngx_str_t *conninfo)
{
    ngx_broadcast_buf_t  buf;

    ngx_broadcast_buf_init(&buf, pool, 1024);
    ngx_broadcast_buf_append(&buf, options->data, options->len);

    if (hosts->nelts) {
        ngx_broadcast_pg_list(&buf, "host", hosts, first,
                              offsetof(ngx_broadcast_pg_host_t, host));
        ngx_broadcast_pg_list(&buf, "hostaddr", hosts, first,
                              offsetof(ngx_broadcast_pg_host_t, addr));
        ngx_broadcast_pg_list(&buf, "port", hosts, first,
                              offsetof(ngx_broadcast_pg_host_t, port));
    }

    ngx_broadcast_buf_char(&buf, '\0');

    if (ngx_broadcast_buf_done(&buf, conninfo) != NGX_OK) {
        return NGX_ERROR;
    }

    conninfo->len--;

    return NGX_OK;
}


/* one member of all hosts, the first one first, the others around behind it */

static void
ngx_broadcast_pg_list(ngx_broadcast_buf_t *buf, const char *name,
    ngx_array_t *hosts, ngx_uint_t first, size_t member)
{
    u_char               *p;
    size_t                len;
    ngx_str_t            *text, value;
    ngx_uint_t            i;
    u_char                list[NGX_BROADCAST_PG_LIST];

    p = list;
    len = 0;

    for (i = 0; i < hosts->nelts; i++) {
        text = (ngx_str_t *) ((u_char *) hosts->elts + member
                              + (first + i) % hosts->nelts * hosts->size);

        len += text->len;

        if (i) {
            p = ngx_slprintf(p, list + sizeof(list), ",");
        }

        p = ngx_slprintf(p, list + sizeof(list), "%V", text);
    }

    /* nothing but commas is the same as nothing */

    if (len) {
        value.data = list;
        value.len = p - list;
        ngx_broadcast_pg_option(buf, name, &value);
    }
}


void
ngx_broadcast_pg_option(ngx_broadcast_buf_t *buf, const char *name,
    ngx_str_t *value)
{
    u_char  *p, *last;

    ngx_broadcast_buf_append(buf, (u_char *) name, ngx_strlen(name));
    ngx_broadcast_buf_literal(buf, "='");

    last = value->data + value->len;

    for (p = value->data; p < last; p++) {
        if (*p == '\'' || *p == '\\') {
            ngx_broadcast_buf_char(buf, '\\');
        }

        ngx_broadcast_buf_char(buf, *p);
    }

    ngx_broadcast_buf_literal(buf, "' ");
}
