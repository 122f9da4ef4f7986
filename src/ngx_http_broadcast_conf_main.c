
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Directives of the http and server levels, and what holds for all of it. */


#include "ngx_http_broadcast_conf.h"


#define NGX_HTTP_BROADCAST_KEY_FILE  (256 * 1024)   /* bytes of a key file */
#define NGX_HTTP_BROADCAST_POOL      4
#define NGX_HTTP_BROADCAST_TIMEOUT   10000          /* ms */
#define NGX_HTTP_BROADCAST_CALLS     1024
#define NGX_HTTP_BROADCAST_STREAMS   2

#define NGX_HTTP_BROADCAST_STREAM_TIMEOUT  300000   /* ms */

#define NGX_HTTP_BROADCAST_DRAIN     30000          /* ms */


static ngx_int_t ngx_http_broadcast_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_broadcast_file(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *content);


void *
ngx_http_broadcast_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_broadcast_main_conf_t  *bmcf;

    bmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_broadcast_main_conf_t));
    if (bmcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     bmcf->shm_zone = NULL;
     *     bmcf->zone = NULL;
     *     bmcf->pg.conninfo = { 0, NULL };
     *     bmcf->pg.listen = NULL;
     *     bmcf->pg.ephemeral = NULL;
     *     bmcf->needs = { 0, NULL };
     */

    bmcf->source = NGX_CONF_UNSET_UINT;
    bmcf->drain = NGX_CONF_UNSET_MSEC;

    bmcf->pg.pool = NGX_HTTP_BROADCAST_POOL;
    bmcf->pg.timeout = NGX_HTTP_BROADCAST_TIMEOUT;
    bmcf->pg.queue = NGX_HTTP_BROADCAST_CALLS;
    bmcf->pg.streams = NGX_HTTP_BROADCAST_STREAMS;
    bmcf->pg.stream_timeout = NGX_HTTP_BROADCAST_STREAM_TIMEOUT;

    return bmcf;
}


char *
ngx_http_broadcast_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_broadcast_main_conf_t *bmcf = conf;

    ngx_str_t                       err;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_broadcast_loc_conf_t  *blcf;

    if (bmcf->shm_zone == NULL) {

        if (bmcf->needs.len == 0) {
            return NGX_CONF_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" requires \"broadcast_zone\" in the http block, "
                      "in %V:%ui",
                      &bmcf->needs, &bmcf->needs_file, bmcf->needs_line);
        return NGX_CONF_ERROR;
    }

    ngx_broadcast_json_init();

    ngx_conf_init_uint_value(bmcf->source, 0);

    if (bmcf->drain == NGX_CONF_UNSET_MSEC) {
        bmcf->drain = NGX_HTTP_BROADCAST_DRAIN;

    } else {
        bmcf->drain_given = 1;
    }

    blcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_broadcast_module);

    bmcf->pg.message_size = (blcf->limits.message_size == NGX_CONF_UNSET_SIZE)
                            ? NGX_HTTP_BROADCAST_MESSAGE_SIZE
                            : blcf->limits.message_size;

    if (bmcf->pg.conninfo.len == 0) {

        if (bmcf->pg.listen) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                     "\"broadcast_listen\" requires \"broadcast_database\"");
            return NGX_CONF_ERROR;
        }

        if (bmcf->source) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                     "\"broadcast_source wal\" requires "
                     "\"broadcast_database\"");
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    bmcf->pg.resolver = clcf->resolver;

    if (ngx_broadcast_pg_check_conf(cf, &bmcf->pg, &err) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"broadcast_database\": bad conninfo: %V", &err);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


void *
ngx_http_broadcast_create_srv_conf(ngx_conf_t *cf)
{
    /* all zero: no keys, no hub location, no key of tickets */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_broadcast_srv_conf_t));
}


char *
ngx_http_broadcast_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_broadcast_srv_conf_t *prev = parent;
    ngx_http_broadcast_srv_conf_t *conf = child;

    if (conf->keys == NULL) {
        conf->keys = prev->keys;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_main_conf_t *bmcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (bmcf->shm_zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return ngx_http_broadcast_bad(cf, &value[1], "the name is empty");
    }

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        return ngx_http_broadcast_bad(cf, &value[2], "it is no size");
    }

    if (size < NGX_BROADCAST_ZONE_MIN) {
        return ngx_http_broadcast_bad(cf, &value[2],
                                      "it is too small, the minimum is 1m");
    }

    bmcf->shm_zone = ngx_shared_memory_add(cf, &value[1], size,
                                           &ngx_http_broadcast_module);
    if (bmcf->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    bmcf->shm_zone->init = ngx_http_broadcast_zone_init;
    bmcf->shm_zone->data = bmcf;

    return NGX_CONF_OK;
}


/* the same memory after a reload: whatever an older generation uses stays */

static ngx_int_t
ngx_http_broadcast_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_broadcast_main_conf_t *bmcf = shm_zone->data;

    const char  *err;

    if (ngx_broadcast_zone_open((ngx_slab_pool_t *) shm_zone->shm.addr,
                                shm_zone->shm.size, &bmcf->zone, &err)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "\"broadcast_zone\" \"%V\": %s",
                      &shm_zone->shm.name, err);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* configuration time: blocking is allowed */

static ngx_int_t
ngx_http_broadcast_file(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *content)
{
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_str_t        name;
    ngx_err_t        err;
    ngx_file_info_t  fi;

    name.len = path->len;
    name.data = ngx_pnalloc(cf->pool, path->len + 1);

    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(name.data, path->data, path->len + 1);

    if (name.len == 0
        || ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK)
    {
        (void) ngx_http_broadcast_bad(cf, path, "no file is named");
        return NGX_ERROR;
    }

    fd = ngx_open_file(name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"broadcast_key\": cannot open \"%V\"", &name);
        return NGX_ERROR;
    }

    n = NGX_ERROR;
    err = 0;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        err = ngx_errno;

    } else if (!ngx_is_file(&fi)
               || ngx_file_size(&fi) > NGX_HTTP_BROADCAST_KEY_FILE)
    {
        err = NGX_EISDIR;

    } else {
        content->data = ngx_pnalloc(cf->pool, ngx_file_size(&fi) + 1);

        if (content->data) {
            n = ngx_read_fd(fd, content->data, ngx_file_size(&fi));
            err = (n == -1) ? ngx_errno : 0;
        }
    }

    (void) ngx_close_file(fd);

    if (n < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           "\"broadcast_key\": cannot read \"%V\"", &name);
        return NGX_ERROR;
    }

    content->len = n;

    return NGX_OK;
}


/* the value of a secret is in no message */

char *
ngx_http_broadcast_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_srv_conf_t *bscf = conf;

    ngx_str_t   *value, source, content, kid, alg;
    ngx_uint_t   i, jwks, file;
    const char  *err;

    ngx_http_broadcast_needs_zone(cf);

    value = cf->args->elts;

    ngx_str_null(&kid);
    ngx_str_null(&alg);

    for (i = 2; i < cf->args->nelts; i++) {

        if (!kid.len && ngx_http_broadcast_option(&value[i], "kid", &kid)
            && kid.len)
        {
            continue;
        }

        if (!alg.len && ngx_http_broadcast_option(&value[i], "alg", &alg)
            && alg.len)
        {
            continue;
        }

        return ngx_http_broadcast_bad(cf, &value[i],
                           "it is no parameter, or given twice, or empty");
    }

    if (bscf->keys == NULL) {
        bscf->keys = ngx_broadcast_keys_create(cf->pool);
        if (bscf->keys == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    file = ngx_http_broadcast_option(&value[1], "file", &source);
    jwks = ngx_http_broadcast_option(&value[1], "jwks", &source);

    if (!file && !jwks) {
        err = ngx_broadcast_key_add_secret(bscf->keys, &value[1], &kid, &alg);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"broadcast_key\" of %uz bytes: %s",
                               value[1].len, err);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    file = !jwks;
    source.data = value[1].data + 5;
    source.len = value[1].len - 5;

    if (ngx_http_broadcast_file(cf, &source, &content) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    err = file ? ngx_broadcast_key_add_file(bscf->keys, &content, &kid, &alg)
               : ngx_broadcast_key_add_jwks(bscf->keys, &content, &kid, &alg);

    ngx_explicit_memzero(content.data, content.len);

    if (err) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"broadcast_key\" \"%V\": %s", &value[1], err);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_drain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_main_conf_t *bmcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    ngx_http_broadcast_needs_zone(cf);

    if (bmcf->drain != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        bmcf->drain = 0;
        return NGX_CONF_OK;
    }

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR || n == 0) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it must be a time above 0, or off");
    }

    bmcf->drain = n;

    return NGX_CONF_OK;
}
