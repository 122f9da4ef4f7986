
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Directives that give a location its handler. */


#include "ngx_http_broadcast_conf.h"


static char *ngx_http_broadcast_flag(ngx_conf_t *cf, ngx_str_t *arg,
    const char *word, ngx_uint_t *seen);


ngx_http_handler_pt
ngx_http_broadcast_handler(ngx_uint_t kind)
{
    switch (kind) {

    case NGX_HTTP_BROADCAST_NEGOTIATE:
        return ngx_http_broadcast_negotiate_handler;

    case NGX_HTTP_BROADCAST_HUB:
    case NGX_HTTP_BROADCAST_ECHO:
        return ngx_http_broadcast_hub_handler;

    case NGX_HTTP_BROADCAST_EVENTS:
        return ngx_http_broadcast_events_handler;

    case NGX_HTTP_BROADCAST_PUBLISH:
        return ngx_http_broadcast_publish_handler;

    case NGX_HTTP_BROADCAST_API:
        return ngx_http_broadcast_api_handler;

    case NGX_HTTP_BROADCAST_FUNCTION:
        return ngx_http_broadcast_function_handler;

    case NGX_HTTP_BROADCAST_STATUS:
        return ngx_http_broadcast_status_handler;

    default:
        return NULL;
    }
}


char *
ngx_http_broadcast_set_handler(ngx_conf_t *cf,
    ngx_http_broadcast_loc_conf_t *blcf, ngx_uint_t kind)
{
    ngx_http_core_loc_conf_t  *clcf;

    ngx_http_broadcast_needs_zone(cf);

    if (blcf->kind == kind) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (blcf->kind || clcf->handler) {
        return "cannot stand beside another handler in one location";
    }

    blcf->kind = kind;
    clcf->handler = ngx_http_broadcast_handler(kind);

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_hub_option(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_str_t *name, ngx_str_t *hub)
{
    if (hub->len) {
        return ngx_http_broadcast_bad(cf, arg, "\"hub=\" is duplicate");
    }

    hub->data = ngx_pnalloc(cf->pool, name->len + 1);
    if (hub->data == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_broadcast_hub_name(name, hub->data) != NGX_OK) {
        return ngx_http_broadcast_bad(cf, arg, "it is no name of a hub");
    }

    hub->len = name->len;

    return NGX_CONF_OK;
}


static char *
ngx_http_broadcast_flag(ngx_conf_t *cf, ngx_str_t *arg, const char *word,
    ngx_uint_t *seen)
{
    if (ngx_strcmp(arg->data, word) != 0) {
        return ngx_http_broadcast_bad(cf, arg, "it is no parameter");
    }

    if (*seen) {
        return ngx_http_broadcast_bad(cf, arg, "it is duplicate");
    }

    *seen = 1;

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_set_hub(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    char                           *rv;
    ngx_str_t                      *value, name;
    ngx_uint_t                      i, anonymous, nofunctions;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_broadcast_srv_conf_t  *bscf;

    rv = ngx_http_broadcast_set_handler(cf, blcf, NGX_HTTP_BROADCAST_HUB);

    anonymous = 0;
    nofunctions = 0;
    value = cf->args->elts;

    for (i = 1; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {

        if (ngx_http_broadcast_option(&value[i], "hub", &name)) {
            rv = ngx_http_broadcast_hub_option(cf, &value[i], &name,
                                               &blcf->hub);

        } else if (ngx_strcmp(value[i].data, "nofunctions") == 0) {
            rv = ngx_http_broadcast_flag(cf, &value[i], "nofunctions",
                                         &nofunctions);
        } else {
            rv = ngx_http_broadcast_flag(cf, &value[i], "anonymous",
                                         &anonymous);
        }
    }

    blcf->anonymous = anonymous;
    blcf->nofunctions = nofunctions;

    /* where a negotiate of this server sends its clients */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    bscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_broadcast_module);

    if (bscf->client.len == 0 && blcf->hub.len == 0 && !anonymous
        && !clcf->named && !clcf->noname
#if (NGX_PCRE)
        && clcf->regex == NULL
#endif
       )
    {
        bscf->client = clcf->name;
    }

    return rv;
}


char *
ngx_http_broadcast_set_events(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    char        *rv;
    ngx_str_t   *value, name;
    ngx_uint_t   i, anonymous;

    rv = ngx_http_broadcast_set_handler(cf, blcf, NGX_HTTP_BROADCAST_EVENTS);

    anonymous = 0;
    value = cf->args->elts;

    for (i = 1; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {

        if (ngx_http_broadcast_option(&value[i], "hub", &name)) {
            rv = ngx_http_broadcast_hub_option(cf, &value[i], &name,
                                               &blcf->hub);
        } else {
            rv = ngx_http_broadcast_flag(cf, &value[i], "anonymous",
                                         &anonymous);
        }
    }

    blcf->anonymous = anonymous;

    return rv;
}


char *
ngx_http_broadcast_set_publish(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    char        *rv;
    ngx_str_t   *value, name;
    ngx_uint_t   i;

    rv = ngx_http_broadcast_set_handler(cf, blcf, NGX_HTTP_BROADCAST_PUBLISH);

    value = cf->args->elts;

    for (i = 1; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {

        if (ngx_http_broadcast_option(&value[i], "hub", &name)) {
            rv = ngx_http_broadcast_hub_option(cf, &value[i], &name,
                                               &blcf->hub);

        } else if (ngx_http_broadcast_option(&value[i], "target", &name)) {

            if (blcf->target.len) {
                return ngx_http_broadcast_bad(cf, &value[i],
                                              "\"target=\" is duplicate");
            }

            if (ngx_broadcast_target(&name) != NGX_OK) {
                return ngx_http_broadcast_bad(cf, &value[i],
                                              "it is no target");
            }

            blcf->target = name;

        } else {
            rv = ngx_http_broadcast_bad(cf, &value[i], "it is no parameter");
        }
    }

    if (blcf->target.len == 0) {
        ngx_str_set(&blcf->target, "message");
    }

    return rv;
}


char *
ngx_http_broadcast_set_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   open;

    rv = ngx_http_broadcast_set_handler(cf, blcf, NGX_HTTP_BROADCAST_API);

    if (rv != NGX_CONF_OK || cf->args->nelts == 1) {
        return rv;
    }

    open = 0;
    value = cf->args->elts;

    rv = ngx_http_broadcast_flag(cf, &value[1], "open", &open);
    blcf->open = open;

    return rv;
}


char *
ngx_http_broadcast_set_function(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    return ngx_http_broadcast_set_handler(cf, conf,
                                          NGX_HTTP_BROADCAST_FUNCTION);
}


char *
ngx_http_broadcast_set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    char       *rv;
    ngx_str_t  *value;

    rv = ngx_http_broadcast_set_handler(cf, blcf, NGX_HTTP_BROADCAST_STATUS);

    if (rv != NGX_CONF_OK || cf->args->nelts == 1) {
        return rv;
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "html") == 0) {
        blcf->format = NGX_HTTP_BROADCAST_STATUS_HTML;

    } else if (ngx_strcmp(value[1].data, "json") == 0) {
        blcf->format = NGX_HTTP_BROADCAST_STATUS_JSON;

    } else if (ngx_strcmp(value[1].data, "prometheus") == 0) {
        blcf->format = NGX_HTTP_BROADCAST_STATUS_PROMETHEUS;

    } else {
        return ngx_http_broadcast_bad(cf, &value[1],
                                  "it must be html, json or prometheus");
    }

    return NGX_CONF_OK;
}


#if (NGX_BROADCAST_DEBUG)

char *
ngx_http_broadcast_set_echo(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    ngx_str_set(&blcf->hub, "echo");
    blcf->anonymous = 1;
    blcf->nofunctions = 1;

    return ngx_http_broadcast_set_handler(cf, blcf, NGX_HTTP_BROADCAST_ECHO);
}

#endif
