
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Settings of any level, and how locations inherit them. */


#include "ngx_http_broadcast_conf.h"


#define NGX_HTTP_BROADCAST_KEEPALIVE          15000     /* ms */
#define NGX_HTTP_BROADCAST_CLIENT_TIMEOUT     30000     /* ms */
#define NGX_HTTP_BROADCAST_HANDSHAKE_TIMEOUT  15000     /* ms */
#define NGX_HTTP_BROADCAST_QUEUE              (1024 * 1024)

/* what frames and the log can hold, proto/ngx_broadcast_ws.h */
#define NGX_HTTP_BROADCAST_SIZE_MAX           0x7fffffff


static char *ngx_http_broadcast_merge_kind(ngx_conf_t *cf,
    ngx_http_broadcast_loc_conf_t *prev, ngx_http_broadcast_loc_conf_t *conf);
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
ngx_http_broadcast_set_time(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_msec_t  *time;

    ngx_http_broadcast_needs_zone(cf);

    time = (ngx_msec_t *) (p + cmd->offset);

    if (*time != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR || n == 0) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it must be a time above 0");
    }

    *time = n;

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_set_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    size_t     *size;
    ssize_t     n;
    ngx_str_t  *value;

    ngx_http_broadcast_needs_zone(cf);

    size = (size_t *) (p + cmd->offset);

    if (*size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_parse_size(&value[1]);

    if (n == NGX_ERROR || n == 0 || n > NGX_HTTP_BROADCAST_SIZE_MAX) {
        return ngx_http_broadcast_bad(cf, &value[1],
                              "it must be a size above 0 and below 2048m");
    }

    *size = n;

    return NGX_CONF_OK;
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


char *
ngx_http_broadcast_set_transports(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i, bit;

    ngx_http_broadcast_needs_zone(cf);

    if (blcf->transports) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "websocket") == 0) {
            bit = NGX_HTTP_BROADCAST_WEBSOCKET;

        } else if (ngx_strcmp(value[i].data, "sse") == 0) {
            bit = NGX_HTTP_BROADCAST_SSE;

        } else if (ngx_strcmp(value[i].data, "longpoll") == 0) {
            bit = NGX_HTTP_BROADCAST_LONGPOLL;

        } else {
            return ngx_http_broadcast_bad(cf, &value[i],
                                "it must be websocket, sse or longpoll");
        }

        if (blcf->transports & bit) {
            return ngx_http_broadcast_bad(cf, &value[i], "it is duplicate");
        }

        blcf->transports |= bit;
    }

    return NGX_CONF_OK;
}


/* N/s [burst=N]; without burst a second's messages may come at once */

char *
ngx_http_broadcast_set_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    size_t      len;
    ngx_int_t   n;
    ngx_str_t  *value, burst;

    ngx_http_broadcast_needs_zone(cf);

    if (blcf->limits.rate != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    len = value[1].len;

    if (len < 3 || ngx_strcmp(value[1].data + len - 2, "/s") != 0) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it must be N/s, as in 10/s");
    }

    len -= 2;

    if (len > 1 && value[1].data[len - 1] == 'r') {
        len--;      /* as limit_req writes it */
    }

    n = ngx_atoi(value[1].data, len);

    if (n == NGX_ERROR || n == 0 || n > 1000000) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it must be 1/s to 1000000/s");
    }

    blcf->limits.rate = n * 1000;
    blcf->limits.burst = n;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (!ngx_http_broadcast_option(&value[2], "burst", &burst)) {
        return ngx_http_broadcast_bad(cf, &value[2], "it must be burst=N");
    }

    n = ngx_atoi(burst.data, burst.len);

    if (n == NGX_ERROR || n == 0 || n > 1000000) {
        return ngx_http_broadcast_bad(cf, &value[2],
                                      "burst must be 1 to 1000000");
    }

    blcf->limits.burst = n;

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_set_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    ngx_int_t                          n;
    ngx_str_t                         *value, key;
    ngx_uint_t                         i;
    ngx_http_broadcast_cap_t          *cap;
    ngx_http_compile_complex_value_t   ccv;

    ngx_http_broadcast_needs_zone(cf);

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n == 0) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it must be a number above 0");
    }

    ngx_str_null(&key);

    if (cf->args->nelts > 2
        && (!ngx_http_broadcast_option(&value[2], "key", &key)
            || key.len == 0))
    {
        return ngx_http_broadcast_bad(cf, &value[2],
                                      "it must be key=$variable");
    }

    if (blcf->caps == NULL) {
        blcf->caps = ngx_array_create(cf->pool, 2,
                                      sizeof(ngx_http_broadcast_cap_t));
        if (blcf->caps == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    cap = blcf->caps->elts;

    for (i = 0; i < blcf->caps->nelts; i++) {

        if (cap[i].text.len == key.len
            && ngx_strncmp(cap[i].text.data, key.data, key.len) == 0)
        {
            return "is duplicate";
        }

        if (cap[i].key && key.len) {
            return ngx_http_broadcast_bad(cf, &value[2],
                          "one level takes one key, a second one is here");
        }
    }

    cap = ngx_array_push(blcf->caps);
    if (cap == NULL) {
        return NGX_CONF_ERROR;
    }

    cap->limit = n;
    cap->text = key;
    cap->key = NULL;

    if (key.len == 0) {
        return NGX_CONF_OK;
    }

    cap->key = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (cap->key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &key;
    ccv.complex_value = cap->key;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_broadcast_origin_regex(ngx_conf_t *cf,
    ngx_http_broadcast_origins_t *origins, ngx_str_t *value)
{
#if (NGX_PCRE)
    u_char                err[NGX_MAX_CONF_ERRSTR];
    ngx_regex_elt_t      *re;
    ngx_regex_compile_t   rc;

    if (origins->regex == NULL) {
        origins->regex = ngx_array_create(cf->pool, 2,
                                          sizeof(ngx_regex_elt_t));
        if (origins->regex == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    re = ngx_array_push(origins->regex);
    if (re == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.data = value->data + 1;
    rc.pattern.len = value->len - 1;
    rc.pool = cf->pool;
    rc.options = NGX_REGEX_CASELESS;    /* scheme and host have no case */
    rc.err.data = err;
    rc.err.len = NGX_MAX_CONF_ERRSTR;

    if (rc.pattern.len == 0) {
        return ngx_http_broadcast_bad(cf, value, "the expression is empty");
    }

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"broadcast_origin\": bad value \"%V\": %V",
                           value, &rc.err);
        return NGX_CONF_ERROR;
    }

    re->regex = rc.regex;
    re->name = value->data;

    return NGX_CONF_OK;
#else
    return ngx_http_broadcast_bad(cf, value,
                                  "this nginx has no regular expressions");
#endif
}


char *
ngx_http_broadcast_set_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    ngx_str_t                     *value, *v, none;
    ngx_uint_t                     i, n;
    ngx_http_broadcast_origins_t  *origins;

    ngx_http_broadcast_needs_zone(cf);

    value = cf->args->elts;
    origins = blcf->origins;

    if (origins == NULL) {

        origins = ngx_pcalloc(cf->pool,
                              sizeof(ngx_http_broadcast_origins_t));

        if (origins == NULL
            || ngx_array_init(&origins->values, cf->pool, 4,
                              sizeof(ngx_str_t))
               != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        blcf->origins = origins;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len && value[i].data[0] == '~') {

            if (ngx_http_broadcast_origin_regex(cf, origins, &value[i])
                != NGX_CONF_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        v = origins->values.elts;

        for (n = 0; n < origins->values.nelts; n++) {
            if (v[n].len == value[i].len
                && ngx_strncasecmp(v[n].data, value[i].data, v[n].len) == 0)
            {
                return ngx_http_broadcast_bad(cf, &value[i],
                                              "it is duplicate");
            }
        }

        ngx_str_set(&none, "null");

        if (value[i].len == 1 && value[i].data[0] == '*') {
            origins->any = 1;

        } else if (ngx_strcmp(value[i].data, none.data) != 0
                   && (ngx_strstr(value[i].data, "://") == NULL
                       || value[i].data[value[i].len - 1] == '/'))
        {
            return ngx_http_broadcast_bad(cf, &value[i],
                   "it must be *, null, scheme://host[:port] or ~expression");
        }

        v = ngx_array_push(&origins->values);
        if (v == NULL) {
            return NGX_CONF_ERROR;
        }

        *v = value[i];
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

    return blcf;
}


char *
ngx_http_broadcast_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_broadcast_loc_conf_t *prev = parent;
    ngx_http_broadcast_loc_conf_t *conf = child;

    if (conf->auth == NGX_CONF_UNSET_UINT) {
        conf->auth = (prev->auth == NGX_CONF_UNSET_UINT)
                     ? NGX_HTTP_BROADCAST_AUTH_OFF : prev->auth;
        conf->role = prev->role;
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

    if (conf->caps == NULL) {
        conf->caps = prev->caps;
    }

    if (conf->origins == NULL) {
        conf->origins = prev->origins;
    }

    return ngx_http_broadcast_merge_kind(cf, prev, conf);
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

        if (conf->negotiate->url == NULL && bscf->client.len == 0) {
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
        "broadcast_status"
    };

    return names[kind];
}
