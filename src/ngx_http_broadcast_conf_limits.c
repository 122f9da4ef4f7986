
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Limits, transports and origins: settings of any level. */


#include "ngx_http_broadcast_conf.h"
#include "proto/ngx_broadcast_extension.h"


/* what frames and the log can hold, proto/ngx_broadcast_ws.h */
#define NGX_HTTP_BROADCAST_SIZE_MAX  0x7fffffff


static char *ngx_http_broadcast_origin_regex(ngx_conf_t *cf,
    ngx_http_broadcast_origins_t *origins, ngx_str_t *value);


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


/* on|off [min_length=size] [window=bits] */

char *
ngx_http_broadcast_set_deflate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_loc_conf_t *blcf = conf;

    ssize_t      n;
    ngx_str_t   *value, text;
    ngx_uint_t   i, on, min, window;

    ngx_http_broadcast_needs_zone(cf);

    if (blcf->limits.deflate != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    on = (ngx_strcmp(value[1].data, "on") == 0);
    min = 0;
    window = 0;

    if (!on && ngx_strcmp(value[1].data, "off") != 0) {
        return ngx_http_broadcast_bad(cf, &value[1], "it must be on or off");
    }

    blcf->limits.deflate = on ? NGX_BROADCAST_WINDOW_MAX : 0;
    blcf->limits.deflate_min = NGX_HTTP_BROADCAST_DEFLATE_MIN;

    for (i = 2; i < cf->args->nelts; i++) {

        if (!on) {
            return ngx_http_broadcast_bad(cf, &value[i], "it is off");
        }

        if (!min
            && ngx_http_broadcast_option(&value[i], "min_length", &text))
        {
            min = 1;
            n = ngx_parse_size(&text);

            if (n == NGX_ERROR || n > NGX_HTTP_BROADCAST_SIZE_MAX) {
                return ngx_http_broadcast_bad(cf, &value[i],
                                              "it must be a size");
            }

            blcf->limits.deflate_min = n;
            continue;
        }

        if (!window
            && ngx_http_broadcast_option(&value[i], "window", &text))
        {
            window = 1;
            n = ngx_atoi(text.data, text.len);

            if (n < NGX_BROADCAST_WINDOW_MIN || n > NGX_BROADCAST_WINDOW_MAX) {
                return ngx_http_broadcast_bad(cf, &value[i],
                         "it must be 9 to 15: zlib cannot keep to less");
            }

            blcf->limits.deflate = n;
            continue;
        }

        return ngx_http_broadcast_bad(cf, &value[i],
                                      "it is no parameter, or given twice");
    }

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
            || ngx_strlchr(key.data, key.data + key.len, '$') == NULL))
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
