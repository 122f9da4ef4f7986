
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_CONF_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_CONF_H_INCLUDED_


#include "http/ngx_http_broadcast.h"


/*
 * Setters return NGX_CONF_OK, NGX_CONF_ERROR after an [emerg] of their own, or
 * a sentence that nginx puts behind the directive's name.
 */

/* values of a directive that are name=value; value is borrowed from cf */
ngx_uint_t ngx_http_broadcast_option(ngx_str_t *arg, const char *name,
    ngx_str_t *value);

char *ngx_http_broadcast_bad(ngx_conf_t *cf, ngx_str_t *value,
    const char *reason);

/* remembers the first directive that cannot be without the zone */
void ngx_http_broadcast_needs_zone(ngx_conf_t *cf);

/* http level: ngx_http_broadcast_conf_main.c, _conf_database.c */

char *ngx_http_broadcast_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_broadcast_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_broadcast_database(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_listen(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_ephemeral(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_source(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_drain(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void *ngx_http_broadcast_create_main_conf(ngx_conf_t *cf);
char *ngx_http_broadcast_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_broadcast_create_srv_conf(ngx_conf_t *cf);
char *ngx_http_broadcast_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);

/* handlers: ngx_http_broadcast_conf_loc.c, _conf_negotiate.c */

char *ngx_http_broadcast_set_negotiate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_hub(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_events(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_publish(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_function(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_echo(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* arg is name=text, text may hold variables */
char *ngx_http_broadcast_value(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_str_t *text, ngx_http_broadcast_value_t **value);

/* of broadcast_negotiate: ngx_http_broadcast_conf_endpoint.c */

char *ngx_http_broadcast_url_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text);
char *ngx_http_broadcast_weight_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text);
char *ngx_http_broadcast_health_option(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng, ngx_str_t *arg, ngx_str_t *text);
char *ngx_http_broadcast_endpoints(ngx_conf_t *cf,
    ngx_http_broadcast_negotiate_t *ng);

/* gives the location its one handler */
char *ngx_http_broadcast_set_handler(ngx_conf_t *cf,
    ngx_http_broadcast_loc_conf_t *blcf, ngx_uint_t kind);

/* arg is hub=name: *hub is the name in lower case */
char *ngx_http_broadcast_hub_option(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_str_t *name, ngx_str_t *hub);

/* the handler of a kind */
ngx_http_handler_pt ngx_http_broadcast_handler(ngx_uint_t kind);

/* settings: ngx_http_broadcast_conf.c, _conf_limits.c */

char *ngx_http_broadcast_set_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_after(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_transports(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_time(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_deflate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_broadcast_set_origin(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void *ngx_http_broadcast_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_broadcast_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

/* ngx_http_broadcast_variables.c */

ngx_int_t ngx_http_broadcast_add_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_BROADCAST_CONF_H_INCLUDED_ */
