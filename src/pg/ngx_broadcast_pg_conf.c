
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_buf.h"
#include "pg/ngx_broadcast_pg.h"

#include <libpq-fe.h>


/*
 * libpq looks up names by getaddrinfo(), which would stop a worker.  So all
 * names are looked up here, once, and workers are given hostaddr; `host`
 * stays beside it, TLS compares the certificate with it.
 *
 * libpq tries one address after another, but stays with one that swallows
 * packets until our own time is over.  So there is a conninfo beginning with
 * each of them, and who has failed takes the next.
 */

typedef struct {
    ngx_str_t                   host;
    ngx_str_t                   addr;       /* empty: a socket's folder */
    ngx_str_t                   port;
} ngx_broadcast_pg_host_t;


#define NGX_BROADCAST_PG_HOSTS  16
#define NGX_BROADCAST_PG_LIST   8192        /* bytes of a list of them */


static ngx_int_t ngx_broadcast_pg_resolve(ngx_conf_t *cf,
    ngx_broadcast_pg_conf_t *conf, PQconninfoOption *options, ngx_str_t *err);
static ngx_int_t ngx_broadcast_pg_hosts(ngx_conf_t *cf,
    PQconninfoOption *options, ngx_array_t *hosts);
static ngx_int_t ngx_broadcast_pg_write(ngx_conf_t *cf,
    PQconninfoOption *options, ngx_array_t *hosts, ngx_uint_t first,
    ngx_str_t *resolved);
static ngx_int_t ngx_broadcast_pg_host(ngx_conf_t *cf, ngx_array_t *hosts,
    ngx_str_t *host, ngx_str_t *port);
static ngx_int_t ngx_broadcast_pg_host_add(ngx_conf_t *cf, ngx_array_t *hosts,
    ngx_str_t *host, ngx_str_t *addr, ngx_str_t *port);
static void ngx_broadcast_pg_list(ngx_broadcast_buf_t *buf, const char *name,
    ngx_array_t *hosts, ngx_uint_t first, size_t member);
static void ngx_broadcast_pg_option(ngx_broadcast_buf_t *buf,
    const char *name, ngx_str_t *value);
static ngx_str_t ngx_broadcast_pg_given(PQconninfoOption *options,
    const char *name);
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

    if (ngx_array_init(&hosts, cf->pool, 4, sizeof(ngx_broadcast_pg_host_t))
        != NGX_OK
        || ngx_broadcast_pg_hosts(cf, options, &hosts) != NGX_OK)
    {
        goto failed;
    }

    if (hosts.nelts == 0 && ngx_broadcast_pg_given(options, "host").len) {

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
            || ngx_broadcast_pg_write(cf, options, &hosts, i, resolved)
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


/* the hosts in their order, each with its address; none if none is given */

static ngx_int_t
ngx_broadcast_pg_hosts(ngx_conf_t *cf, PQconninfoOption *options,
    ngx_array_t *hosts)
{
    ngx_str_t    names, addrs, ports, name, addr, port;
    ngx_uint_t   i;

    names = ngx_broadcast_pg_given(options, "host");
    addrs = ngx_broadcast_pg_given(options, "hostaddr");
    ports = ngx_broadcast_pg_given(options, "port");

    for (i = 0; ngx_broadcast_pg_element(addrs.len ? &addrs : &names, i, &addr);
         i++)
    {
        (void) ngx_broadcast_pg_element(&names, i, &name);

        if (!ngx_broadcast_pg_element(&ports, i, &port)) {
            (void) ngx_broadcast_pg_element(&ports, 0, &port);
        }

        if (addrs.len) {
            if (ngx_broadcast_pg_host_add(cf, hosts, &name, &addr, &port)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

        } else if (ngx_broadcast_pg_host(cf, hosts, &name, &port) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* the options as they were given, but for what was resolved, and defaults */

static ngx_int_t
ngx_broadcast_pg_write(ngx_conf_t *cf, PQconninfoOption *options,
    ngx_array_t *hosts, ngx_uint_t first, ngx_str_t *resolved)
{
    ngx_str_t             value;
    ngx_uint_t            i;
    PQconninfoOption     *opt;
    ngx_broadcast_buf_t   buf;

    ngx_broadcast_buf_init(&buf, cf->pool, 1024);

    for (opt = options; opt->keyword; opt++) {

        value = ngx_broadcast_pg_given(options, opt->keyword);

        if (value.len == 0
            || ngx_strcmp(opt->keyword, "client_encoding") == 0)
        {
            continue;
        }

        if (hosts->nelts && (ngx_strcmp(opt->keyword, "host") == 0
                             || ngx_strcmp(opt->keyword, "hostaddr") == 0
                             || ngx_strcmp(opt->keyword, "port") == 0))
        {
            continue;
        }

        ngx_broadcast_pg_option(&buf, opt->keyword, &value);
    }

    if (hosts->nelts) {
        ngx_broadcast_pg_list(&buf, "host", hosts, first,
                              offsetof(ngx_broadcast_pg_host_t, host));
        ngx_broadcast_pg_list(&buf, "hostaddr", hosts, first,
                              offsetof(ngx_broadcast_pg_host_t, addr));
        ngx_broadcast_pg_list(&buf, "port", hosts, first,
                              offsetof(ngx_broadcast_pg_host_t, port));
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
    ngx_broadcast_buf_char(&buf, '\0');

    if (ngx_broadcast_buf_done(&buf, resolved) != NGX_OK) {
        return NGX_ERROR;
    }

    resolved->len--;

    return NGX_OK;
}


/* one host: a socket folder, an address, or a name with all its addresses */

static ngx_int_t
ngx_broadcast_pg_host(ngx_conf_t *cf, ngx_array_t *hosts, ngx_str_t *host,
    ngx_str_t *port)
{
    ngx_str_t    addr;
    ngx_url_t    u;
    ngx_addr_t   literal;
    ngx_uint_t   i;
    u_char       text[NGX_SOCKADDR_STRLEN];

    if (host->len == 0 || host->data[0] == '/' || host->data[0] == '@') {
        ngx_str_set(&addr, "");
        return ngx_broadcast_pg_host_add(cf, hosts, host, &addr, port);
    }

    if (ngx_parse_addr(cf->pool, &literal, host->data, host->len) == NGX_OK) {
        return ngx_broadcast_pg_host_add(cf, hosts, host, host, port);
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *host;
    u.host.len = host->len;
    u.host.data = ngx_pnalloc(cf->pool, host->len + 1);

    if (u.host.data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(u.host.data, host->data, host->len + 1);

    if (ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "host \"%V\" of \"broadcast_database\" was not "
                           "found: it is left out until the next reload",
                           host);
        return NGX_OK;
    }

    for (i = 0; i < u.naddrs; i++) {
        addr.data = text;
        addr.len = ngx_sock_ntop(u.addrs[i].sockaddr, u.addrs[i].socklen,
                                 text, NGX_SOCKADDR_STRLEN, 0);

        if (ngx_broadcast_pg_host_add(cf, hosts, host, &addr, port)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_pg_host_add(ngx_conf_t *cf, ngx_array_t *hosts,
    ngx_str_t *host, ngx_str_t *addr, ngx_str_t *port)
{
    ngx_broadcast_pg_host_t  *h;

    if (hosts->nelts == NGX_BROADCAST_PG_HOSTS) {
        return NGX_OK;
    }

    h = ngx_array_push(hosts);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->host = *host;
    h->port = *port;
    h->addr.len = addr->len;
    h->addr.data = ngx_pnalloc(cf->pool, addr->len + 1);

    if (h->addr.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(h->addr.data, addr->data, addr->len + 1);

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


static void
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
