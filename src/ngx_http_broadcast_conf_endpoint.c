
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* broadcast_negotiate: url=, weight= and health=. */


#include "ngx_http_broadcast_conf.h"
#include "http/ngx_http_broadcast_endpoint.h"


#define NGX_HTTP_BROADCAST_WEIGHT_MAX  65535
#define NGX_HTTP_BROADCAST_HEALTH_MIN  100         /* ms */


static ngx_int_t ngx_http_broadcast_endpoint_health(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_http_broadcast_endpoint_t *ep);
static ngx_int_t ngx_http_broadcast_health_parse(ngx_conf_t *cf,
    ngx_http_broadcast_health_t *h, ngx_str_t *url, const char **reason);
static ngx_int_t ngx_http_broadcast_health_find(ngx_conf_t *cf,
    ngx_str_t *url, ngx_http_broadcast_health_t **health);
static ngx_int_t ngx_http_broadcast_health_request(ngx_conf_t *cf,
    ngx_http_broadcast_health_t *h, ngx_str_t *host);
static ngx_int_t ngx_http_broadcast_health_ssl(ngx_conf_t *cf,
    ngx_http_broadcast_health_t *h, const char **reason);


char *
ngx_http_broadcast_url_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text)
{
    ngx_http_broadcast_endpoint_t  *ep;

    ep = ngx_array_push(&ng->endpoints);
    if (ep == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(ep, sizeof(ngx_http_broadcast_endpoint_t));

    return ngx_http_broadcast_value(cf, arg, text, &ep->url);
}


char *
ngx_http_broadcast_weight_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text)
{
    ngx_int_t                       n;
    ngx_http_broadcast_endpoint_t  *ep;

    if (ng->endpoints.nelts == 0) {
        return ngx_http_broadcast_bad(cf, arg,
                                      "there is no \"url=\" before it");
    }

    ep = ng->endpoints.elts;
    ep += ng->endpoints.nelts - 1;

    if (ep->weight) {
        return ngx_http_broadcast_bad(cf, arg, "it is duplicate");
    }

    n = ngx_atoi(text->data, text->len);

    if (n == NGX_ERROR || n == 0 || n > NGX_HTTP_BROADCAST_WEIGHT_MAX) {
        return ngx_http_broadcast_bad(cf, arg,
                                      "it must be a number from 1 to 65535");
    }

    ep->weight = n;

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_health_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text)
{
    ngx_int_t  n;

    if (ng->health) {
        return ngx_http_broadcast_bad(cf, arg, "it is duplicate");
    }

    n = ngx_parse_time(text, 0);

    if (n == NGX_ERROR || n < NGX_HTTP_BROADCAST_HEALTH_MIN) {
        return ngx_http_broadcast_bad(cf, arg,
                                      "it must be a time of 100ms or more");
    }

    ng->health = n;

    return NGX_CONF_OK;
}


/* when the directive was read to its end: "health=" may stand anywhere */

char *
ngx_http_broadcast_endpoints(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng)
{
    ngx_uint_t                      i;
    ngx_http_broadcast_endpoint_t  *ep;

    ep = ng->endpoints.elts;

    if (ng->health && ng->endpoints.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"broadcast_negotiate\": bad value "
                           "\"health=%Mms\": there is no \"url=\" to ask",
                           ng->health);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < ng->endpoints.nelts; i++) {

        if (ep[i].weight == 0) {
            ep[i].weight = 1;
        }

        if (ng->health
            && ngx_http_broadcast_endpoint_health(cf, ng, &ep[i]) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_broadcast_endpoint_health(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_http_broadcast_endpoint_t *ep)
{
    ngx_str_t                    *url;
    const char                   *reason;
    ngx_http_broadcast_health_t   h;

    url = &ep->url->value.value;
    reason = "\"health=\" cannot ask an URL with variables";

    ngx_memzero(&h, sizeof(ngx_http_broadcast_health_t));

    if (ep->url->value.lengths
        || ngx_http_broadcast_health_parse(cf, &h, url, &reason) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"broadcast_negotiate\": bad value \"url=%V\": %s",
                           url, reason);
        return NGX_ERROR;
    }

    h.interval = ng->health;

    if (ngx_http_broadcast_health_find(cf, &h.url, &ep->health) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ep->health->interval == 0) {
        *ep->health = h;
    }

    /* of several locations the one that asks most often */

    ep->health->interval = ngx_min(ep->health->interval, h.interval);

    return NGX_OK;
}


/* the host is looked up here and now, as that of a "server" of an upstream */

static ngx_int_t
ngx_http_broadcast_health_parse(ngx_conf_t *cf,
    ngx_http_broadcast_health_t *h, ngx_str_t *url, const char **reason)
{
    u_char      *p, *last;
    ngx_url_t    u;
    ngx_str_t    host;
    ngx_uint_t   secure;

    secure = (url->len > 8
              && ngx_strncasecmp(url->data, (u_char *) "https://", 8) == 0);

    if (!secure
        && (url->len <= 7
            || ngx_strncasecmp(url->data, (u_char *) "http://", 7) != 0))
    {
        *reason = "\"health=\" needs one with http:// or https:// and a host";
        return NGX_ERROR;
    }

    last = url->data + url->len;
    host.data = url->data + (secure ? 8 : 7);

    for (p = host.data; p < last; p++) {
        if (*p == '/' || *p == '?' || *p == '#') {
            break;
        }
    }

    host.len = p - host.data;

    h->url.data = url->data;
    h->url.len = p - url->data;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = host;
    u.default_port = secure ? 443 : 80;

    if (ngx_strlchr(host.data, p, '@')
        || ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0)
    {
        *reason = u.err ? u.err : "it has no good host";
        return NGX_ERROR;
    }

    h->addrs = u.addrs;
    h->naddrs = u.naddrs;

    /* an address is no name for SNI, RFC 6066 section 3 */

    if (ngx_inet_addr(u.host.data, u.host.len) == INADDR_NONE
        && u.host.len && u.host.data[0] != '[')
    {
        h->name.len = u.host.len;
        h->name.data = ngx_pnalloc(cf->pool, u.host.len + 1);

        if (h->name.data == NULL) {
            *reason = "there is no memory";
            return NGX_ERROR;
        }

        ngx_cpystrn(h->name.data, u.host.data, u.host.len + 1);
    }

    *reason = "there is no memory";

    if (ngx_http_broadcast_health_request(cf, h, &host) != NGX_OK) {
        return NGX_ERROR;
    }

    return secure ? ngx_http_broadcast_health_ssl(cf, h, reason) : NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_health_request(ngx_conf_t *cf,
    ngx_http_broadcast_health_t *h, ngx_str_t *host)
{
    size_t  len;

    static const char  format[] = "HEAD /api/health HTTP/1.1" CRLF
                                  "Host: %V" CRLF
                                  "User-Agent: nginx-broadcast/"
                                  NGX_HTTP_BROADCAST_VERSION CRLF
                                  "Connection: close" CRLF CRLF;

    len = sizeof(format) + host->len;

    h->request.data = ngx_pnalloc(cf->pool, len);
    if (h->request.data == NULL) {
        return NGX_ERROR;
    }

    h->request.len = ngx_snprintf(h->request.data, len, format, host)
                     - h->request.data;

    return NGX_OK;
}


/* one for the URL, with an interval of 0 if it is new */

static ngx_int_t
ngx_http_broadcast_health_find(ngx_conf_t *cf, ngx_str_t *url,
    ngx_http_broadcast_health_t **health)
{
    ngx_uint_t                        i;
    ngx_http_broadcast_health_t     **hp;
    ngx_http_broadcast_main_conf_t   *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_broadcast_module);

    if (bmcf->health == NULL) {
        bmcf->health = ngx_array_create(cf->pool, 4,
                                      sizeof(ngx_http_broadcast_health_t *));
        if (bmcf->health == NULL) {
            return NGX_ERROR;
        }
    }

    hp = bmcf->health->elts;

    for (i = 0; i < bmcf->health->nelts; i++) {
        if (hp[i]->url.len == url->len
            && ngx_strncasecmp(hp[i]->url.data, url->data, url->len) == 0)
        {
            *health = hp[i];
            return NGX_OK;
        }
    }

    hp = ngx_array_push(bmcf->health);
    if (hp == NULL) {
        return NGX_ERROR;
    }

    *hp = ngx_pcalloc(cf->pool, sizeof(ngx_http_broadcast_health_t));
    *health = *hp;

    return *hp ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_broadcast_health_ssl(ngx_conf_t *cf, ngx_http_broadcast_health_t *h,
    const char **reason)
{
#if (NGX_HTTP_SSL)
    ngx_ssl_t           *ssl;
    ngx_pool_cleanup_t  *cln;

    ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (ssl == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    ssl->log = cf->log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL) != NGX_OK) {
        *reason = "TLS could not be set up";
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    h->ssl = ssl;

    return NGX_OK;
#else
    *reason = "this nginx has no TLS, \"health=\" cannot ask it";

    return NGX_ERROR;
#endif
}
