
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_host.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_pg_lookup.h"


#define NGX_BROADCAST_PG_LOOKUP_TIME  4000  /* ms: less than a connect's */


typedef struct {
    ngx_broadcast_pg_lookup_t  *lookup;     /* borrowed: it holds this one */
    ngx_resolver_ctx_t         *ctx;        /* owned while it is looked up */
    ngx_array_t                 addrs;      /* of ngx_str_t */
} ngx_broadcast_pg_lookup_name_t;


struct ngx_broadcast_pg_lookup_s {
    ngx_pool_t                     *pool;   /* owned, holds all of it */
    ngx_broadcast_pg_lookup_pt      done;
    void                           *data;   /* the owner's */
    ngx_uint_t                      tries;
    ngx_broadcast_pg_lookup_name_t *names;  /* one a host */
    ngx_uint_t                      left;   /* names to come */
    ngx_event_t                     end;    /* posted when none is left */
    u_char                          why[256];
};


static ngx_int_t ngx_broadcast_pg_lookup_ask(
    ngx_broadcast_pg_lookup_t *lookup, ngx_uint_t i);
static void ngx_broadcast_pg_lookup_answer(ngx_resolver_ctx_t *ctx);
static ngx_int_t ngx_broadcast_pg_lookup_keep(
    ngx_broadcast_pg_lookup_name_t *name, ngx_resolver_ctx_t *ctx);
static void ngx_broadcast_pg_lookup_end(ngx_event_t *ev);
static ngx_int_t ngx_broadcast_pg_lookup_hosts(
    ngx_broadcast_pg_lookup_t *lookup, ngx_array_t *hosts);


ngx_uint_t
ngx_broadcast_pg_lookup_needed(void)
{
    ngx_broadcast_pg_conf_t  *conf = ngx_broadcast_pg.conf;

    return conf->names && conf->resolver;
}


ngx_broadcast_pg_lookup_t *
ngx_broadcast_pg_lookup(ngx_uint_t tries, ngx_broadcast_pg_lookup_pt done,
    void *data)
{
    ngx_pool_t                 *pool;
    ngx_uint_t                  i, n;
    ngx_broadcast_pg_host_t    *host;
    ngx_broadcast_pg_lookup_t  *lookup;

    pool = ngx_create_pool(2048, ngx_broadcast_pg.log);
    if (pool == NULL) {
        return NULL;
    }

    host = ngx_broadcast_pg.conf->hosts->elts;
    n = ngx_broadcast_pg.conf->hosts->nelts;

    lookup = ngx_pcalloc(pool, sizeof(ngx_broadcast_pg_lookup_t));
    if (lookup == NULL) {
        goto failed;
    }

    lookup->names = ngx_pcalloc(pool, n
                                * sizeof(ngx_broadcast_pg_lookup_name_t));
    if (lookup->names == NULL) {
        goto failed;
    }

    lookup->pool = pool;
    lookup->done = done;
    lookup->data = data;
    lookup->tries = tries;

    lookup->end.handler = ngx_broadcast_pg_lookup_end;
    lookup->end.data = lookup;
    lookup->end.log = ngx_broadcast_pg.log;

    /* one more: what is answered at once must not end it */

    lookup->left = 1;

    for (i = 0; i < n; i++) {
        if (host[i].name && ngx_broadcast_pg_lookup_ask(lookup, i) != NGX_OK) {
            ngx_broadcast_pg_lookup_free(lookup);
            return NULL;
        }
    }

    if (--lookup->left == 0) {
        ngx_post_event(&lookup->end, &ngx_posted_events);
    }

    return lookup;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


static ngx_int_t
ngx_broadcast_pg_lookup_ask(ngx_broadcast_pg_lookup_t *lookup, ngx_uint_t i)
{
    ngx_resolver_ctx_t              *ctx;
    ngx_broadcast_pg_host_t         *host;
    ngx_broadcast_pg_lookup_name_t  *name;

    host = ngx_broadcast_pg.conf->hosts->elts;
    name = &lookup->names[i];

    name->lookup = lookup;

    if (ngx_array_init(&name->addrs, lookup->pool, 4, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx = ngx_resolve_start(ngx_broadcast_pg.conf->resolver, NULL);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    /* `resolver off`: as if the name was not found */

    if (ctx == NGX_NO_RESOLVER) {
        ngx_cpystrn(lookup->why, (u_char *) "no resolver is given",
                    sizeof(lookup->why));
        return NGX_OK;
    }

    ctx->name = host[i].host;
    ctx->handler = ngx_broadcast_pg_lookup_answer;
    ctx->data = name;
    ctx->timeout = NGX_BROADCAST_PG_LOOKUP_TIME;
    ctx->cancelable = 1;

    name->ctx = ctx;
    lookup->left++;

    /* on an error it has been freed */

    if (ngx_resolve_name(ctx) != NGX_OK) {
        name->ctx = NULL;
        lookup->left--;
        ngx_cpystrn(lookup->why, (u_char *) "the resolver does not work",
                    sizeof(lookup->why));
    }

    return NGX_OK;
}


/* may be called from ngx_resolve_name() itself */

static void
ngx_broadcast_pg_lookup_answer(ngx_resolver_ctx_t *ctx)
{
    ngx_broadcast_pg_lookup_t       *lookup;
    ngx_broadcast_pg_lookup_name_t  *name = ctx->data;

    lookup = name->lookup;

    if (ctx->state
        || ngx_broadcast_pg_lookup_keep(name, ctx) != NGX_OK)
    {
        (void) ngx_snprintf(lookup->why, sizeof(lookup->why) - 1,
                            "its host \"%V\" could not be looked up (%s)%Z",
                            &ctx->name, ctx->state
                                ? ngx_resolver_strerror(ctx->state)
                                : "no memory");
        lookup->why[sizeof(lookup->why) - 1] = '\0';
    }

    name->ctx = NULL;
    ngx_resolve_name_done(ctx);

    if (--lookup->left == 0) {
        ngx_post_event(&lookup->end, &ngx_posted_events);
    }
}


/* without their ports, which are the conninfo's */

static ngx_int_t
ngx_broadcast_pg_lookup_keep(ngx_broadcast_pg_lookup_name_t *name,
    ngx_resolver_ctx_t *ctx)
{
    ngx_str_t   *addr;
    ngx_uint_t   i;

    for (i = 0; i < ctx->naddrs; i++) {
        addr = ngx_array_push(&name->addrs);
        if (addr == NULL) {
            return NGX_ERROR;
        }

        addr->data = ngx_pnalloc(name->lookup->pool, NGX_SOCKADDR_STRLEN);
        if (addr->data == NULL) {
            name->addrs.nelts--;
            return NGX_ERROR;
        }

        addr->len = ngx_sock_ntop(ctx->addrs[i].sockaddr,
                                  ctx->addrs[i].socklen, addr->data,
                                  NGX_SOCKADDR_STRLEN, 0);
    }

    return NGX_OK;
}


static void
ngx_broadcast_pg_lookup_end(ngx_event_t *ev)
{
    ngx_broadcast_pg_lookup_t  *lookup = ev->data;

    ngx_str_t    conninfo;
    ngx_array_t  hosts;

    if (ngx_array_init(&hosts, lookup->pool, 4,
                       sizeof(ngx_broadcast_pg_host_t)) != NGX_OK
        || ngx_broadcast_pg_lookup_hosts(lookup, &hosts) != NGX_OK)
    {
        lookup->done(lookup->data, NULL, "no memory");
        return;
    }

    if (hosts.nelts) {

        if (ngx_broadcast_pg_host_conninfo(lookup->pool,
                                           &ngx_broadcast_pg.conf->options,
                                           &hosts,
                                           lookup->tries % hosts.nelts,
                                           &conninfo)
            != NGX_OK)
        {
            lookup->done(lookup->data, NULL, "no memory");
            return;
        }

        lookup->done(lookup->data, (char *) conninfo.data, NULL);
        return;
    }

    /* nothing is known of any of them, from now or from the start */

    if (ngx_broadcast_pg.conf->resolved.len) {
        lookup->done(lookup->data, ngx_broadcast_pg_conninfo(lookup->tries),
                     NULL);
        return;
    }

    lookup->done(lookup->data, NULL, lookup->why[0]
                                     ? (char *) lookup->why
                                     : "its host has no address");
}


static ngx_int_t
ngx_broadcast_pg_lookup_hosts(ngx_broadcast_pg_lookup_t *lookup,
    ngx_array_t *hosts)
{
    ngx_str_t                       *addr;
    ngx_uint_t                       i, k, n;
    ngx_broadcast_pg_host_t         *host;
    ngx_broadcast_pg_lookup_name_t  *name;

    host = ngx_broadcast_pg.conf->hosts->elts;
    n = ngx_broadcast_pg.conf->hosts->nelts;

    for (i = 0; i < n; i++) {

        if (!host[i].name) {
            if (ngx_broadcast_pg_host_add(hosts, lookup->pool, &host[i],
                                          &host[i].addr)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        name = &lookup->names[i];
        addr = name->addrs.elts;

        for (k = 0; k < name->addrs.nelts; k++) {
            if (ngx_broadcast_pg_host_add(hosts, lookup->pool, &host[i],
                                          &addr[k])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


void
ngx_broadcast_pg_lookup_free(ngx_broadcast_pg_lookup_t *lookup)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_broadcast_pg.conf->hosts->nelts; i++) {
        if (lookup->names[i].ctx) {
            ngx_resolve_name_done(lookup->names[i].ctx);
        }
    }

    if (lookup->end.posted) {
        ngx_delete_posted_event(&lookup->end);
    }

    ngx_destroy_pool(lookup->pool);
}
