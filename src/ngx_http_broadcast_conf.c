
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Settings of any level, and how locations inherit them. */


#include "ngx_http_broadcast_conf.h"


#define NGX_HTTP_BROADCAST_KEEPALIVE          15000     /* ms */
#define NGX_HTTP_BROADCAST_CLIENT_TIMEOUT     30000     /* ms */
#define NGX_HTTP_BROADCAST_HANDSHAKE_TIMEOUT  15000     /* ms */
#define NGX_HTTP_BROADCAST_QUEUE              (1024 * 1024)


static char *ngx_http_broadcast_merge_kind(ngx_conf_t *cf,
    ngx_http_broadcast_loc_conf_t *prev, ngx_http_broadcast_loc_conf_t *conf);
static void ngx_http_broadcast_merge_body(ngx_conf_t *cf,
    ngx_http_broadcast_loc_conf_t *conf);
static const char *ngx_http_broadcast_kind_name(ngx_uint_t kind);


ngx_uint_t
ngx_http_broadcast_option(ngx_str_t *arg, const char *name, ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(name);

    if (arg->len <= len || arg->data[len] != '='
        || ngx_strncmp(arg->data, name, len) != 0)
    {
        return 0;
    }

    value->data = arg->data + len + 1;
    value->len = arg->len - len - 1;

    return 1;
}


char *
ngx_http_broadcast_bad(ngx_conf_t *cf, ngx_str_t *value, const char *reason)
{
    ngx_str_t  *name;

    name = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": bad value \"%V\": %s",
                       name, value, reason);

    return NGX_CONF_ERROR;
}


void
ngx_http_broadcast_needs_zone(ngx_conf_t *cf)
{
    ngx_str_t                       *name;
    ngx_http_broadcast_main_conf_t  *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_broadcast_module);

    if (bmcf->needs.len == 0) {
        name = cf->args->elts;

        bmcf->needs = name[0];
        bmcf->needs_file = cf->conf_file->file.name;
        bmcf->needs_line = cf->conf_file->line;
    }
}


char *
ngx_http_broadcast_set_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    ngx_str_t  *value, role;

    ngx_http_broadcast_needs_zone(cf);

    if (blcf->auth != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        blcf->auth = NGX_HTTP_BROADCAST_AUTH_ON;

    } else if (ngx_strcmp(value[1].data, "optional") == 0) {
        blcf->auth = NGX_HTTP_BROADCAST_AUTH_OPTIONAL;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        blcf->auth = NGX_HTTP_BROADCAST_AUTH_OFF;

    } else {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it must be on, optional or off");
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (!ngx_http_broadcast_option(&value[2], "role", &role)
        || role.len == 0)
    {
        return ngx_http_broadcast_bad(cf, &value[2], "it must be role=name");
    }

    if (blcf->auth == NGX_HTTP_BROADCAST_AUTH_OFF) {
        return ngx_http_broadcast_bad(cf, &value[2],
                                      "no role is asked for where it is off");
    }

    blcf->role = role;

    return NGX_CONF_OK;
}


/* a name as broadcast.bind() has it, or off */

char *
ngx_http_broadcast_set_after(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    size_t      i;
    ngx_str_t  *name;

    ngx_http_broadcast_needs_zone(cf);

    if (blcf->after.data) {
        return "is duplicate";
    }

    name = cf->args->elts;
    name++;

    if (name->len == 0 || name->len > NGX_HTTP_BROADCAST_AFTER_MAX) {
        return ngx_http_broadcast_bad(cf, name,
                                      "it must have 1 to 128 bytes");
    }

    for (i = 0; i < name->len; i++) {
        if (name->data[i] < 0x20 || name->data[i] == 0x7f) {
            return ngx_http_broadcast_bad(cf, name,
                                          "it has a control character");
        }
    }

    if (!ngx_broadcast_utf8_valid(name)) {
        return ngx_http_broadcast_bad(cf, name, "it is no UTF-8");
    }

    blcf->after = *name;

    if (ngx_strcmp(name->data, "off") == 0) {
        blcf->after.len = 0;
    }

    return NGX_CONF_OK;
}


void *
ngx_http_broadcast_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_broadcast_loc_conf_t));
    if (blcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     blcf->kind = NGX_HTTP_BROADCAST_NONE;
     *     blcf->hub = { 0, NULL };
     *     blcf->target = { 0, NULL };
     *     blcf->negotiate = NULL;
     *     blcf->role = { 0, NULL };
     *     blcf->after = { 0, NULL };
     *     blcf->transports = 0;
     *     blcf->caps = NULL;
     *     blcf->origins = NULL;
     */

    blcf->auth = NGX_CONF_UNSET_UINT;

    blcf->limits.keepalive = NGX_CONF_UNSET_MSEC;
    blcf->limits.client_timeout = NGX_CONF_UNSET_MSEC;
    blcf->limits.handshake_timeout = NGX_CONF_UNSET_MSEC;
    blcf->limits.message_size = NGX_CONF_UNSET_SIZE;
    blcf->limits.queue = NGX_CONF_UNSET_SIZE;
    blcf->limits.rate = NGX_CONF_UNSET_UINT;
    blcf->limits.burst = NGX_CONF_UNSET_UINT;
    blcf->limits.deflate = NGX_CONF_UNSET_UINT;

    return blcf;
}


char *
ngx_http_broadcast_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_broadcast_loc_conf_t *prev = parent;
    ngx_http_broadcast_loc_conf_t *conf = child;

    char  *rv;

    if (conf->auth == NGX_CONF_UNSET_UINT) {
        conf->auth = (prev->auth == NGX_CONF_UNSET_UINT)
                     ? NGX_HTTP_BROADCAST_AUTH_OFF : prev->auth;
        conf->role = prev->role;
    }

    if (conf->after.data == NULL) {
        conf->after = prev->after;
    }

    if (conf->transports == 0) {
        conf->transports = prev->transports ? prev->transports
                           : (NGX_HTTP_BROADCAST_WEBSOCKET
                              |NGX_HTTP_BROADCAST_SSE
                              |NGX_HTTP_BROADCAST_LONGPOLL);
    }

    ngx_conf_merge_msec_value(conf->limits.keepalive,
                              prev->limits.keepalive,
                              NGX_HTTP_BROADCAST_KEEPALIVE);
    ngx_conf_merge_msec_value(conf->limits.client_timeout,
                              prev->limits.client_timeout,
                              NGX_HTTP_BROADCAST_CLIENT_TIMEOUT);
    ngx_conf_merge_msec_value(conf->limits.handshake_timeout,
                              prev->limits.handshake_timeout,
                              NGX_HTTP_BROADCAST_HANDSHAKE_TIMEOUT);
    ngx_conf_merge_size_value(conf->limits.message_size,
                              prev->limits.message_size,
                              NGX_HTTP_BROADCAST_MESSAGE_SIZE);
    ngx_conf_merge_size_value(conf->limits.queue, prev->limits.queue,
                              NGX_HTTP_BROADCAST_QUEUE);

    if (conf->limits.rate == NGX_CONF_UNSET_UINT) {
        ngx_conf_merge_uint_value(conf->limits.rate, prev->limits.rate, 0);
        ngx_conf_merge_uint_value(conf->limits.burst, prev->limits.burst, 0);
    }

    if (conf->limits.deflate == NGX_CONF_UNSET_UINT) {
        ngx_conf_merge_uint_value(conf->limits.deflate, prev->limits.deflate,
                                  0);
        conf->limits.deflate_min = prev->limits.deflate_min;
    }

    if (conf->caps == NULL) {
        conf->caps = prev->caps;
    }

    if (conf->origins == NULL) {
        conf->origins = prev->origins;
    }

    rv = ngx_http_broadcast_merge_kind(cf, prev, conf);

    if (rv == NGX_CONF_OK) {
        ngx_http_broadcast_merge_body(cf, conf);
    }

    return rv;
}


/*
 * The core refuses a long body before any handler runs, by a page that is
 * neither JSON nor readable from another origin.  Where bodies are read here
 * its limit is kept here, too.
 */

static void
ngx_http_broadcast_merge_body(ngx_conf_t *cf,
    ngx_http_broadcast_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    switch (conf->kind) {

    case NGX_HTTP_BROADCAST_HUB:
    case NGX_HTTP_BROADCAST_ECHO:
    case NGX_HTTP_BROADCAST_PUBLISH:
    case NGX_HTTP_BROADCAST_API:
    case NGX_HTTP_BROADCAST_FUNCTION:

        clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

        conf->body_max = clcf->client_max_body_size;
        clcf->client_max_body_size = 0;
        break;

    default:
        break;
    }
}


/*
 * "if" and "limit_except" blocks have their location's handler.  Elsewhere a
 * handler is not inherited, and is checked here against what is known only
 * when the location is complete.
 */

static char *
ngx_http_broadcast_merge_kind(ngx_conf_t *cf,
    ngx_http_broadcast_loc_conf_t *prev, ngx_http_broadcast_loc_conf_t *conf)
{
    const char                     *name;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_broadcast_srv_conf_t  *bscf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->kind == NGX_HTTP_BROADCAST_NONE) {

        if (clcf->noname && prev->kind && clcf->handler == NULL) {
            conf->kind = prev->kind;
            conf->hub = prev->hub;
            conf->target = prev->target;
            conf->anonymous = prev->anonymous;
            conf->nofunctions = prev->nofunctions;
            conf->open = prev->open;
            conf->format = prev->format;
            conf->negotiate = prev->negotiate;

            clcf->handler = ngx_http_broadcast_handler(conf->kind);
        }

        return NGX_CONF_OK;
    }

    name = ngx_http_broadcast_kind_name(conf->kind);

    if (clcf->handler != ngx_http_broadcast_handler(conf->kind)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" in location \"%V\": another directive gave "
                           "the location another handler", name, &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (conf->kind == NGX_HTTP_BROADCAST_NEGOTIATE) {

        bscf = ngx_http_conf_get_module_srv_conf(cf,
                                                 ngx_http_broadcast_module);

        if (!ngx_broadcast_keys_can_sign(bscf->keys)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%s\" in location \"%V\": the first "
                               "\"broadcast_key\" must be a secret, it signs",
                               name, &clcf->name);
            return NGX_CONF_ERROR;
        }

        if (conf->negotiate->endpoints.nelts == 0
            && bscf->client.len == 0)
        {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"%s\" in location \"%V\": the server has no "
                               "\"broadcast_hub\" location to point to, "
                               "\"/client\" is taken: give \"url=\"",
                               name, &clcf->name);
            ngx_str_set(&bscf->client, "/client");
        }

        return NGX_CONF_OK;
    }

    if (conf->hub.len || conf->kind == NGX_HTTP_BROADCAST_HUB
        || conf->kind == NGX_HTTP_BROADCAST_STATUS)
    {
        return NGX_CONF_OK;
    }

    if (clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
       )
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" in location \"%V\": it needs a location "
                           "given by a prefix%s", name, &clcf->name,
                           (conf->kind == NGX_HTTP_BROADCAST_API
                            || conf->kind == NGX_HTTP_BROADCAST_FUNCTION)
                           ? "" : ", or \"hub=\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static const char *
ngx_http_broadcast_kind_name(ngx_uint_t kind)
{
    static const char  *names[] = {
        "", "broadcast_negotiate", "broadcast_hub", "broadcast_events",
        "broadcast_publish", "broadcast_api", "broadcast_function",
        "broadcast_status", "broadcast_echo"
    };

    return names[kind];
}
