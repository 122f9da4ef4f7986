
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* broadcast_negotiate: parameters that may hold variables. */


#include "ngx_http_broadcast_conf.h"
#include "http/ngx_http_broadcast_endpoint.h"


static char *ngx_http_broadcast_negotiate_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg);
static char *ngx_http_broadcast_claim_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text);
static void ngx_http_broadcast_encoded(ngx_str_t *text,
    ngx_http_broadcast_value_t *value);


char *
ngx_http_broadcast_set_negotiate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    char                            *rv;
    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_broadcast_negotiate_t  *ng;

    rv = ngx_http_broadcast_set_handler(cf, blcf,
                                        NGX_HTTP_BROADCAST_NEGOTIATE);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    ng = ngx_pcalloc(cf->pool, sizeof(ngx_http_broadcast_negotiate_t));
    if (ng == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&ng->claims, cf->pool, 2,
                       sizeof(ngx_http_broadcast_claim_t))
        != NGX_OK
        || ngx_array_init(&ng->endpoints, cf->pool, 2,
                          sizeof(ngx_http_broadcast_endpoint_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    blcf->negotiate = ng;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_broadcast_negotiate_option(cf, ng, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (ng->hub == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"broadcast_negotiate\" needs \"hub=\"");
        return NGX_CONF_ERROR;
    }

    if (ng->ttl == 0) {
        ng->ttl = 3600;
    }

    return ngx_http_broadcast_endpoints(cf, ng);
}


static char *
ngx_http_broadcast_negotiate_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg)
{
    ngx_str_t  text, hub;

    if (ngx_http_broadcast_option(arg, "hub", &text)) {

        ngx_str_null(&hub);

        if (ngx_strlchr(text.data, text.data + text.len, '$') == NULL
            && ngx_http_broadcast_hub_option(cf, arg, &text, &hub)
               != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        return ngx_http_broadcast_value(cf, arg, &text, &ng->hub);
    }

    if (ngx_http_broadcast_option(arg, "user", &text)) {
        return ngx_http_broadcast_value(cf, arg, &text, &ng->user);
    }

    if (ngx_http_broadcast_option(arg, "url", &text)) {
        return ngx_http_broadcast_url_option(cf, ng, arg, &text);
    }

    if (ngx_http_broadcast_option(arg, "weight", &text)) {
        return ngx_http_broadcast_weight_option(cf, ng, arg, &text);
    }

    if (ngx_http_broadcast_option(arg, "health", &text)) {
        return ngx_http_broadcast_health_option(cf, ng, arg, &text);
    }

    if (ngx_http_broadcast_option(arg, "groups", &text)) {
        return ngx_http_broadcast_value(cf, arg, &text, &ng->groups);
    }

    if (ngx_http_broadcast_option(arg, "claim", &text)) {
        return ngx_http_broadcast_claim_option(cf, ng, arg, &text);
    }

    if (ngx_http_broadcast_option(arg, "ttl", &text)) {

        if (ng->ttl) {
            return ngx_http_broadcast_bad(cf, arg, "it is duplicate");
        }

        ng->ttl = ngx_parse_time(&text, 1);

        if (ng->ttl == (time_t) NGX_ERROR || ng->ttl == 0) {
            return ngx_http_broadcast_bad(cf, arg,
                                          "it must be a time of 1s or more");
        }

        return NGX_CONF_OK;
    }

    if (ngx_http_broadcast_option(arg, "function", &text)) {

        if (ng->function.len) {
            return ngx_http_broadcast_bad(cf, arg, "it is duplicate");
        }

        if (text.len == 0) {
            return ngx_http_broadcast_bad(cf, arg, "it is empty");
        }

        ng->function = text;

        return NGX_CONF_OK;
    }

    return ngx_http_broadcast_bad(cf, arg, "it is no parameter");
}


static char *
ngx_http_broadcast_claim_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text)
{
    u_char                      *p;
    ngx_str_t                    v;
    ngx_http_broadcast_claim_t  *claim;

    p = ngx_strlchr(text->data, text->data + text->len, ':');

    if (p == NULL || p == text->data) {
        return ngx_http_broadcast_bad(cf, arg, "it must be name:value");
    }

    claim = ngx_array_push(&ng->claims);
    if (claim == NULL) {
        return NGX_CONF_ERROR;
    }

    claim->value = NULL;
    claim->name.len = p - text->data;
    claim->name.data = ngx_pnalloc(cf->pool, claim->name.len + 1);

    if (claim->name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(claim->name.data, text->data, claim->name.len + 1);

    v.data = p + 1;
    v.len = text->data + text->len - v.data;

    return ngx_http_broadcast_value(cf, arg, &v, &claim->value);
}


char *
ngx_http_broadcast_value(ngx_conf_t *cf, ngx_str_t *arg, ngx_str_t *text,
    ngx_http_broadcast_value_t **value)
{
    ngx_http_broadcast_value_t        *v;
    ngx_http_compile_complex_value_t   ccv;

    if (*value) {
        return ngx_http_broadcast_bad(cf, arg, "it is duplicate");
    }

    if (text->len == 0) {
        return ngx_http_broadcast_bad(cf, arg, "it is empty");
    }

    v = ngx_pcalloc(cf->pool, sizeof(ngx_http_broadcast_value_t));
    if (v == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_broadcast_encoded(text, v);

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = &v->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    *value = v;

    return NGX_CONF_OK;
}


/* $arg_name or ${cookie_name} and nothing beside it */

static void
ngx_http_broadcast_encoded(ngx_str_t *text, ngx_http_broadcast_value_t *value)
{
    u_char  *p, *last;

    p = text->data;
    last = p + text->len;

    if (p == last || *p++ != '$') {
        return;
    }

    if (p < last && *p == '{') {
        if (last[-1] != '}') {
            return;
        }

        p++;
        last--;
    }

    if (last - p > 4 && ngx_strncasecmp(p, (u_char *) "arg_", 4) == 0) {
        value->where = NGX_BROADCAST_IN_QUERY;
        p += 4;

    } else if (last - p > 7
               && ngx_strncasecmp(p, (u_char *) "cookie_", 7) == 0)
    {
        value->where = NGX_BROADCAST_IN_PATH;
        p += 7;

    } else {
        return;
    }

    for ( /* void */ ; p < last; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (*p >= '0' && *p <= '9') || *p == '_'))
        {
            return;
        }
    }

    value->encoded = 1;
}
