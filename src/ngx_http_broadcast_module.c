
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "ngx_http_broadcast_conf.h"
#include "bus/ngx_broadcast_bus.h"
#include "bus/ngx_broadcast_heir.h"
#include "conn/ngx_broadcast_fanout.h"
#include "http/ngx_http_broadcast_endpoint.h"
#include "http/ngx_http_broadcast_mask.h"


static ngx_int_t ngx_http_broadcast_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_broadcast_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_broadcast_phase(ngx_conf_t *cf, ngx_uint_t phase,
    ngx_http_handler_pt handler, ngx_uint_t first);

static ngx_int_t ngx_http_broadcast_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_broadcast_init_process(ngx_cycle_t *cycle);
static void ngx_http_broadcast_exit_process(ngx_cycle_t *cycle);
static ngx_http_broadcast_main_conf_t *ngx_http_broadcast_cycle_conf(
    ngx_cycle_t *cycle);


#define NGX_HTTP_BROADCAST_ANY_CONF                                           \
    (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF)

#define ngx_http_broadcast_limit(member)                                      \
    offsetof(ngx_http_broadcast_loc_conf_t, limits.member)


static ngx_command_t  ngx_http_broadcast_commands[] = {

    { ngx_string("broadcast_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_broadcast_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE123,
      ngx_http_broadcast_key,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_database"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_broadcast_database,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_listen"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_broadcast_listen,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_ephemeral"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_broadcast_ephemeral,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_source"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_broadcast_source,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_drain"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_broadcast_drain,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_negotiate"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_broadcast_set_negotiate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_hub"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_broadcast_set_hub,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_events"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_broadcast_set_events,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_publish"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_broadcast_set_publish,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_function"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_broadcast_set_function,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

#if (NGX_BROADCAST_DEBUG)

    { ngx_string("broadcast_echo"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_broadcast_set_echo,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

#endif

    { ngx_string("broadcast_auth"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_HTTP_LMT_CONF|NGX_CONF_TAKE12,
      ngx_http_broadcast_set_auth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_after"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LMT_CONF|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_after,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_transports"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_broadcast_set_transports,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_keepalive"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      ngx_http_broadcast_limit(keepalive),
      NULL },

    { ngx_string("broadcast_client_timeout"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      ngx_http_broadcast_limit(client_timeout),
      NULL },

    { ngx_string("broadcast_handshake_timeout"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      ngx_http_broadcast_limit(handshake_timeout),
      NULL },

    { ngx_string("broadcast_message_size"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_size,
      NGX_HTTP_LOC_CONF_OFFSET,
      ngx_http_broadcast_limit(message_size),
      NULL },

    { ngx_string("broadcast_queue"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE1,
      ngx_http_broadcast_set_size,
      NGX_HTTP_LOC_CONF_OFFSET,
      ngx_http_broadcast_limit(queue),
      NULL },

    { ngx_string("broadcast_rate"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE12,
      ngx_http_broadcast_set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_deflate"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE123,
      ngx_http_broadcast_set_deflate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_connections"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_TAKE12,
      ngx_http_broadcast_set_connections,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("broadcast_origin"),
      NGX_HTTP_BROADCAST_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_broadcast_set_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_broadcast_module_ctx = {
    ngx_http_broadcast_preconfiguration,   /* preconfiguration */
    ngx_http_broadcast_postconfiguration,  /* postconfiguration */

    ngx_http_broadcast_create_main_conf,   /* create main configuration */
    ngx_http_broadcast_init_main_conf,     /* init main configuration */

    ngx_http_broadcast_create_srv_conf,    /* create server configuration */
    ngx_http_broadcast_merge_srv_conf,     /* merge server configuration */

    ngx_http_broadcast_create_loc_conf,    /* create location configuration */
    ngx_http_broadcast_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_broadcast_module = {
    NGX_MODULE_V1,
    &ngx_http_broadcast_module_ctx,        /* module context */
    ngx_http_broadcast_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_broadcast_init_module,        /* init module */
    ngx_http_broadcast_init_process,       /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_broadcast_exit_process,       /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_broadcast_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_broadcast_add_variables(cf);
}


static ngx_int_t
ngx_http_broadcast_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_broadcast_main_conf_t  *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_broadcast_module);

    if (bmcf->shm_zone == NULL) {
        return NGX_OK;
    }

    /*
     * log modules come after the one that masks what they read, and that one
     * after who wants to know the token
     */

    if (ngx_http_broadcast_phase(cf, NGX_HTTP_LOG_PHASE,
                                 ngx_http_broadcast_mask_log_handler, 1)
        != NGX_OK
        || ngx_http_broadcast_phase(cf, NGX_HTTP_LOG_PHASE,
                                    ngx_http_broadcast_after_handler, 1)
           != NGX_OK
        || ngx_http_broadcast_phase(cf, NGX_HTTP_POST_READ_PHASE,
                                    ngx_http_broadcast_mask_error_handler, 0)
           != NGX_OK
        || ngx_http_broadcast_phase(cf, NGX_HTTP_PREACCESS_PHASE,
                                    ngx_http_broadcast_origin_handler, 0)
           != NGX_OK
        || ngx_http_broadcast_phase(cf, NGX_HTTP_ACCESS_PHASE,
                                    ngx_http_broadcast_auth_handler, 0)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_phase(ngx_conf_t *cf, ngx_uint_t phase,
    ngx_http_handler_pt handler, ngx_uint_t first)
{
    ngx_array_t                *handlers;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    handlers = &cmcf->phases[phase].handlers;

    h = ngx_array_push(handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    if (first) {
        h = handlers->elts;
        ngx_memmove(h + 1, h,
                    (handlers->nelts - 1) * sizeof(ngx_http_handler_pt));
    }

    *h = handler;

    return NGX_OK;
}


/* NULL: there is no http block, or none of ours in it */

static ngx_http_broadcast_main_conf_t *
ngx_http_broadcast_cycle_conf(ngx_cycle_t *cycle)
{
    ngx_http_broadcast_main_conf_t  *bmcf;

    bmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_broadcast_module);

    return (bmcf && bmcf->shm_zone) ? bmcf : NULL;
}


/* an error here would end the master */

static ngx_int_t
ngx_http_broadcast_init_module(ngx_cycle_t *cycle)
{
    ngx_log_t                       *log;
    ngx_msec_t                       limit;
    ngx_core_conf_t                 *ccf;
    ngx_http_broadcast_main_conf_t  *bmcf;

    bmcf = ngx_http_broadcast_cycle_conf(cycle);

    ngx_broadcast_heir_open(cycle, bmcf ? bmcf->zone : NULL);

    if (bmcf == NULL) {
        return NGX_OK;
    }

    /* known only now: worker_shutdown_timeout may stand behind http {} */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (ccf->shutdown_timeout && bmcf->drain) {

        limit = (ccf->shutdown_timeout > 1000) ? ccf->shutdown_timeout - 1000
                                               : 1;

        if (bmcf->drain > limit) {

            if (bmcf->drain_given) {

                /* "nginx -t" says it even if error_log does not take it */

                log = (cycle->log->log_level < NGX_LOG_WARN)
                      ? cycle->old_cycle->log : cycle->log;

                ngx_log_error(NGX_LOG_WARN, log, 0,
                              "\"broadcast_drain\" of %Mms is longer than "
                              "\"worker_shutdown_timeout\" less a second, "
                              "%Mms are taken", bmcf->drain, limit);
            }

            bmcf->drain = limit;
        }
    }

    ngx_broadcast_wake_open(cycle);

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_init_process(ngx_cycle_t *cycle)
{
    ngx_http_broadcast_main_conf_t  *bmcf;

    /* cache manager and loader have no clients and read no log */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    bmcf = ngx_http_broadcast_cycle_conf(cycle);

    if (bmcf == NULL) {
        return NGX_OK;
    }

    ngx_broadcast_conn_set_drain(bmcf->drain);

    ngx_broadcast_bus_start(cycle, bmcf->zone, ngx_broadcast_fanout_record,
                            ngx_broadcast_fanout_overrun);

    ngx_broadcast_pg_start(cycle, &bmcf->pg);

    ngx_http_broadcast_health_start(bmcf->health, cycle->log);

    return ngx_broadcast_conn_start(cycle);
}


static void
ngx_http_broadcast_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_broadcast_main_conf_t  *bmcf;

    if (ngx_broadcast_bus.zone == NULL) {
        return;
    }

    bmcf = ngx_http_broadcast_cycle_conf(cycle);

    if (bmcf) {
        ngx_http_broadcast_health_stop(bmcf->health);
    }

    ngx_broadcast_conn_stop(cycle);
    ngx_broadcast_pg_stop(cycle);
    ngx_broadcast_bus_stop(cycle);
}
