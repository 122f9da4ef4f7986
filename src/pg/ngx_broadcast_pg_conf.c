
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg.h"
#include "pg/ngx_broadcast_pg_host.h"

#include <libpq-fe.h>


/*
 * libpq looks up names by getaddrinfo(), which would stop a worker.  So all
 * names are looked up here, at start, and workers are given hostaddr; with a
 * `resolver` they look them up anew for each connection (pg_lookup).
 *
 * libpq tries one address after another, but stays with one that swallows
 * packets until our own time is over.  So there is a conninfo beginning with
 * each of them, and who has failed takes the next.
 */


static ngx_int_t ngx_broadcast_pg_resolve(ngx_conf_t *cf,
    ngx_broadcast_pg_conf_t *conf, PQconninfoOption *options, ngx_str_t *err);
static ngx_int_t ngx_broadcast_pg_options(ngx_conf_t *cf,
    PQconninfoOption *options, ngx_str_t *text);
static ngx_int_t ngx_broadcast_pg_hosts(ngx_conf_t *cf,
    PQconninfoOption *options, ngx_array_t *hosts);
static ngx_int_t ngx_broadcast_pg_addresses(ngx_conf_t *cf,
    ngx_broadcast_pg_conf_t *conf, ngx_array_t *hosts);
static ngx_int_t ngx_broadcast_pg_named(ngx_conf_t *cf,
    ngx_broadcast_pg_conf_t *conf, ngx_broadcast_pg_host_t *host,
    ngx_array_t *hosts);
static ngx_str_t ngx_broadcast_pg_given(PQconninfoOption *options,
    const char *name);
static ngx_str_t ngx_broadcast_pg_copy(ngx_conf_t *cf, ngx_str_t *text);
static ngx_uint_t ngx_broadcast_pg_element(ngx_str_t *list, ngx_uint_t n,
    ngx_str_t *element);
static ngx_int_t ngx_broadcast_pg_sentence(ngx_conf_t *cf, const char *text,
    ngx_str_t *err);


/*
 * Written where the operator has said nothing else.  GSSAPI would read
 * credential files and ask name servers in the middle of connecting.
 */

static const char  *ngx_broadcast_pg_defaults[][2] = {
    { "gssencmode", "disable" },
    { "fallback_application_name", "nginx-broadcast" },
    { "keepalives_idle", "15" },
    { "keepalives_interval", "5" },
    { "keepalives_count", "3" },
    { "tcp_user_timeout", "15000" },
    { NULL, NULL }
};


ngx_int_t
ngx_broadcast_pg_check_conf(ngx_conf_t *cf, ngx_broadcast_pg_conf_t *conf,
    ngx_str_t *err)
{
    char              *message;
    ngx_int_t          rc;
    PQconninfoOption  *options;

    ngx_str_null(&conf->resolved);

    message = NULL;
    options = PQconninfoParse((char *) conf->conninfo.data, &message);

    if (options == NULL) {
        rc = ngx_broadcast_pg_sentence(cf, message ? message : "no memory",
                                       err);
        PQfreemem(message);
        return rc;
    }

    rc = ngx_broadcast_pg_resolve(cf, conf, options, err);

    PQconninfoFree(options);

    return rc;
}


static ngx_int_t
ngx_broadcast_pg_resolve(ngx_conf_t *cf, ngx_broadcast_pg_conf_t *conf,
    PQconninfoOption *options, ngx_str_t *err)
{
    ngx_str_t    *resolved;
    ngx_uint_t    i, n;
    ngx_array_t   hosts;

    if (ngx_broadcast_pg_given(options, "service").len) {
        ngx_str_set(err, "\"service\" cannot be used, its file would be read"
                         " by workers: name the host itself");
        return NGX_ERROR;
    }

    if (ngx_broadcast_pg_given(options, "replication").len) {
        ngx_str_set(err, "\"replication\" cannot be used");
        return NGX_ERROR;
    }

    conf->hosts = ngx_array_create(cf->pool, 4,
                                   sizeof(ngx_broadcast_pg_host_t));

    if (conf->hosts == NULL
        || ngx_array_init(&hosts, cf->pool, 4,
                          sizeof(ngx_broadcast_pg_host_t)) != NGX_OK
        || ngx_broadcast_pg_hosts(cf, options, conf->hosts) != NGX_OK
        || ngx_broadcast_pg_options(cf, options, &conf->options) != NGX_OK
        || ngx_broadcast_pg_addresses(cf, conf, &hosts) != NGX_OK)
    {
        goto failed;
    }

    if (hosts.nelts == 0 && conf->hosts->nelts) {

        /* no address now: workers are told that there is none */

        return NGX_OK;
    }

    n = ngx_max(hosts.nelts, 1);

    conf->resolutions = ngx_array_create(cf->pool, n, sizeof(ngx_str_t));
    if (conf->resolutions == NULL) {
        goto failed;
    }

    for (i = 0; i < n; i++) {
        resolved = ngx_array_push(conf->resolutions);

        if (resolved == NULL
            || ngx_broadcast_pg_host_conninfo(cf->pool, &conf->options,
                                              &hosts, i, resolved)
               != NGX_OK)
        {
            goto failed;
        }
    }

    resolved = conf->resolutions->elts;
    conf->resolved = resolved[0];

    return NGX_OK;

failed:

    ngx_str_set(err, "no memory");

    return NGX_ERROR;
}


/* the options as they were given, but for the hosts, and defaults */

static ngx_int_t
ngx_broadcast_pg_options(ngx_conf_t *cf, PQconninfoOption *options,
    ngx_str_t *text)
{
    ngx_str_t             value;
    ngx_uint_t            i;
    PQconninfoOption     *opt;
    ngx_broadcast_buf_t   buf;

    ngx_broadcast_buf_init(&buf, cf->pool, 1024);

    for (opt = options; opt->keyword; opt++) {

        value = ngx_broadcast_pg_given(options, opt->keyword);

        if (value.len == 0
            || ngx_strcmp(opt->keyword, "client_encoding") == 0
            || ngx_strcmp(opt->keyword, "host") == 0
            || ngx_strcmp(opt->keyword, "hostaddr") == 0)
        {
            continue;
        }

        /* without a host it is that of the default one */

        if (ngx_strcmp(opt->keyword, "port") == 0
            && (ngx_broadcast_pg_given(options, "host").len
                || ngx_broadcast_pg_given(options, "hostaddr").len))
        {
            continue;
        }

        ngx_broadcast_pg_option(&buf, opt->keyword, &value);
    }

    for (i = 0; ngx_broadcast_pg_defaults[i][0]; i++) {

        if (ngx_broadcast_pg_given(options, ngx_broadcast_pg_defaults[i][0])
            .len)
        {
            continue;
        }

        value.data = (u_char *) ngx_broadcast_pg_defaults[i][1];
        value.len = ngx_strlen(value.data);
        ngx_broadcast_pg_option(&buf, ngx_broadcast_pg_defaults[i][0],
                                &value);
    }

    ngx_str_set(&value, "UTF8");
    ngx_broadcast_pg_option(&buf, "client_encoding", &value);

    return ngx_broadcast_buf_done(&buf, text);
}


/* the hosts in their order, as they were given; none if none is given */

static ngx_int_t
ngx_broadcast_pg_hosts(ngx_conf_t *cf, PQconninfoOption *options,
    ngx_array_t *hosts)
{
    ngx_str_t                 names, addrs, ports, addr;
    ngx_uint_t                i;
    ngx_addr_t                literal;
    ngx_broadcast_pg_host_t   host;

    names = ngx_broadcast_pg_given(options, "host");
    addrs = ngx_broadcast_pg_given(options, "hostaddr");
    ports = ngx_broadcast_pg_given(options, "port");

    for (i = 0; ngx_broadcast_pg_element(addrs.len ? &addrs : &names, i, &addr);
         i++)
    {
        ngx_memzero(&host, sizeof(ngx_broadcast_pg_host_t));

        (void) ngx_broadcast_pg_element(&names, i, &host.host);

        if (!ngx_broadcast_pg_element(&ports, i, &host.port)) {
            (void) ngx_broadcast_pg_element(&ports, 0, &host.port);
        }

        host.host = ngx_broadcast_pg_copy(cf, &host.host);
        host.port = ngx_broadcast_pg_copy(cf, &host.port);

        /* without hostaddr: a socket's folder, an address, or a name */

        if (addrs.len == 0) {

            if (host.host.len == 0 || host.host.data[0] == '/'
                || host.host.data[0] == '@')
            {
                ngx_str_null(&addr);

            } else if (ngx_parse_addr(cf->pool, &literal, addr.data, addr.len)
                       != NGX_OK)
            {
                host.name = 1;
                ngx_str_null(&addr);
            }
        }

        if (ngx_broadcast_pg_host_add(hosts, cf->pool, &host, &addr)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_pg_addresses(ngx_conf_t *cf, ngx_broadcast_pg_conf_t *conf,
    ngx_array_t *hosts)
{
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_broadcast_pg_host_t  *host;

    host = conf->hosts->elts;

    for (i = 0; i < conf->hosts->nelts; i++) {

        if (host[i].name) {
            conf->names = 1;
            rc = ngx_broadcast_pg_named(cf, conf, &host[i], hosts);

        } else {
            rc = ngx_broadcast_pg_host_add(hosts, cf->pool, &host[i],
                                           &host[i].addr);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a name with all the addresses that it has now */

static ngx_int_t
ngx_broadcast_pg_named(ngx_conf_t *cf, ngx_broadcast_pg_conf_t *conf,
    ngx_broadcast_pg_host_t *host, ngx_array_t *hosts)
{
    ngx_str_t    addr;
    ngx_url_t    u;
    ngx_uint_t   i;
    u_char       text[NGX_SOCKADDR_STRLEN];

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = host->host;
    u.host.len = host->host.len;
    u.host.data = ngx_pnalloc(cf->pool, host->host.len + 1);

    if (u.host.data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(u.host.data, host->host.data, host->host.len + 1);

    if (ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "host \"%V\" of \"broadcast_database\" was not "
                           "found: it is %s",
                           &host->host, conf->resolver
                               ? "looked up again for each connection"
                               : "left out until the next reload");
        return NGX_OK;
    }

    for (i = 0; i < u.naddrs; i++) {
        addr.data = text;
        addr.len = ngx_sock_ntop(u.addrs[i].sockaddr, u.addrs[i].socklen,
                                 text, NGX_SOCKADDR_STRLEN, 0);

        if (ngx_broadcast_pg_host_add(hosts, cf->pool, host, &addr)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_str_t
ngx_broadcast_pg_given(PQconninfoOption *options, const char *name)
{
    ngx_str_t          value;
    PQconninfoOption  *opt;

    ngx_str_null(&value);

    for (opt = options; opt->keyword; opt++) {
        if (ngx_strcmp(opt->keyword, name) == 0 && opt->val) {
            value.data = (u_char *) opt->val;
            value.len = ngx_strlen(opt->val);
            break;
        }
    }

    return value;
}


/* libpq frees what it parsed; empty if there is no memory */

static ngx_str_t
ngx_broadcast_pg_copy(ngx_conf_t *cf, ngx_str_t *text)
{
    ngx_str_t  copy;

    copy.data = ngx_pstrdup(cf->pool, text);
    copy.len = copy.data ? text->len : 0;

    return copy;
}


/* the n-th of a list with commas; 0 and an empty text if it is shorter */

static ngx_uint_t
ngx_broadcast_pg_element(ngx_str_t *list, ngx_uint_t n, ngx_str_t *element)
{
    u_char  *p, *start, *last;

    ngx_str_null(element);

    start = list->data;
    last = list->data + list->len;

    if (list->len == 0) {
        return 0;
    }

    for (p = start; ; p++) {

        if (p < last && *p != ',') {
            continue;
        }

        if (n-- == 0) {
            element->data = start;
            element->len = p - start;
            return 1;
        }

        if (p == last) {
            return 0;
        }

        start = p + 1;
    }
}


/*
 * libpq quotes what it did not understand, and that may be a password with a
 * blank in it: only the name of an unknown option is let through.
 */

static ngx_int_t
ngx_broadcast_pg_sentence(ngx_conf_t *cf, const char *text, ngx_str_t *err)
{
    size_t       len;
    u_char      *p;
    ngx_uint_t   quoted, show;

    len = ngx_strlen(text);

    while (len && text[len - 1] == '\n') {
        len--;
    }

    p = ngx_pnalloc(cf->pool, len + 1);
    if (p == NULL) {
        ngx_str_set(err, "no memory");
        return NGX_ERROR;
    }

    show = ngx_strncmp(text, "invalid connection option", 25) == 0;
    quoted = 0;

    err->data = p;

    for ( /* void */ ; len; text++, len--) {

        if (*text == '"') {
            quoted = !quoted;
            *p++ = '"';

        } else if (!quoted || show) {
            *p++ = *text;

        } else if (p[-1] == '"') {
            *p++ = '*';
        }
    }

    err->len = p - err->data;

    return NGX_ERROR;
}
