
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Who is there and who is in which group, signalr.md 8.3: questions, and the
 * commands that need an answer to one first.
 */


#include "http/ngx_http_broadcast_api.h"
#include "shm/ngx_broadcast_rule.h"


static ngx_int_t ngx_http_broadcast_api_look(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_api_found_pt found);
static ngx_int_t ngx_http_broadcast_api_asked(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence);
static ngx_uint_t ngx_http_broadcast_api_here(ngx_http_broadcast_api_t *api);
static ngx_int_t ngx_http_broadcast_api_told(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t found);
static ngx_int_t ngx_http_broadcast_api_end(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t found);
static ngx_int_t ngx_http_broadcast_api_add(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t found);


ngx_int_t
ngx_http_broadcast_api_row(ngx_http_broadcast_api_t *api,
    ngx_broadcast_row_info_t *row)
{
    ngx_uint_t  index;

    if (ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub, &index)
        != NGX_OK
        || api->connection.len > NGX_BROADCAST_CONN_ID_MAX
        || ngx_broadcast_registry_find(ngx_broadcast_bus.zone,
                                       &api->connection, row)
           != NGX_OK
        || row->hub != index
        || row->state != NGX_BROADCAST_ROW_LIVE)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_broadcast_api_cluster(ngx_http_broadcast_api_t *api)
{
    return ngx_broadcast_pg_enabled()
           && ngx_broadcast_hub_durable(&api->hub);
}


/*
 * What is here is known at once and for sure.  Who is not may be at another
 * node, which the database knows.
 */

static ngx_int_t
ngx_http_broadcast_api_look(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_api_found_pt found)
{
    ngx_int_t                     rc;
    ngx_broadcast_presence_ask_t  ask;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_broadcast_api_here(api)) {
        return found(r, api, 1);
    }

    if (!ngx_http_broadcast_api_cluster(api)
        || (api->connection.data
            && ngx_http_broadcast_connection_id(&api->connection) != NGX_OK))
    {
        return found(r, api, 0);
    }

    ngx_memzero(&ask, sizeof(ngx_broadcast_presence_ask_t));

    ask.hub = api->hub;
    ask.connection = api->connection;
    ask.user = api->user;
    ask.elsewhere = 1;
    ask.max = 1;

    if (api->group.data && api->connection.data == NULL) {
        ask.groups = &api->group;
        ask.ngroups = 1;
        ask.member = 1;
    }

    api->found = found;

    return ngx_http_broadcast_presence(r, &ask, ngx_http_broadcast_api_asked);
}


static ngx_int_t
ngx_http_broadcast_api_asked(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence)
{
    ngx_http_broadcast_api_t  *api;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;

    return api->found(r, api, presence->n != 0);
}


/* what the path names; a user is in a group by a rule, or by a connection */

static ngx_uint_t
ngx_http_broadcast_api_here(ngx_http_broadcast_api_t *api)
{
    ngx_uint_t                hub;
    ngx_broadcast_zone_t     *zone;
    ngx_broadcast_row_info_t  row;

    zone = ngx_broadcast_bus.zone;

    if (api->connection.data) {
        return ngx_http_broadcast_api_row(api, &row) == NGX_OK;
    }

    if (ngx_broadcast_hub_find(zone, &api->hub, &hub) != NGX_OK) {
        return 0;
    }

    switch (api->what) {

    case NGX_HTTP_BROADCAST_API_USER_GROUP:
        return ngx_broadcast_rule_find(zone, hub, &api->user, &api->group,
                                       NULL)
               || ngx_broadcast_registry_user_in_group(zone, hub, &api->user,
                                                       &api->group);

    case NGX_HTTP_BROADCAST_API_GROUP:
        return ngx_broadcast_registry_group(zone, hub, &api->group) != 0;

    default: /* NGX_HTTP_BROADCAST_API_USER */
        return ngx_broadcast_registry_user(zone, hub, &api->user) != 0;
    }
}


ngx_int_t
ngx_http_broadcast_api_exists(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    return ngx_http_broadcast_api_look(r, api, ngx_http_broadcast_api_told);
}


static ngx_int_t
ngx_http_broadcast_api_told(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t found)
{
    ngx_str_t  none = ngx_null_string;

    if (found) {
        return ngx_http_broadcast_answer(r, api->status, NULL, &none);
    }

    switch (api->what) {

    case NGX_HTTP_BROADCAST_API_GROUP:
        return ngx_http_broadcast_api_missing(r, "Warning.Group.NotExisted",
                                              "The group does not exist.");

    case NGX_HTTP_BROADCAST_API_USER_GROUP:
        return ngx_http_broadcast_api_missing(r, "Info.User.NotInGroup",
                                              "The user is not in the group.");

    case NGX_HTTP_BROADCAST_API_USER:
        return ngx_http_broadcast_api_missing(r, "Warning.User.NotExisted",
                                              "The user does not exist.");

    default:
        return ngx_http_broadcast_api_missing(r,
                                       "Warning.Connection.NotExisted",
                                       "The connection does not exist.");
    }
}


ngx_int_t
ngx_http_broadcast_api_delete(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    return ngx_http_broadcast_api_look(r, api, ngx_http_broadcast_api_end);
}


static ngx_int_t
ngx_http_broadcast_api_end(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t found)
{
    if (!found) {
        return ngx_http_broadcast_api_told(r, api, 0);
    }

    return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_CLOSE);
}


ngx_int_t
ngx_http_broadcast_api_join(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    return ngx_http_broadcast_api_look(r, api, ngx_http_broadcast_api_add);
}


static ngx_int_t
ngx_http_broadcast_api_add(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t found)
{
    if (!found) {
        return ngx_http_broadcast_api_missing(r,
                                       "Error.Connection.NotExisted",
                                       "The connection does not exist.");
    }

    return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_JOIN);
}


/* of a group, or of all where the path names none */

ngx_int_t
ngx_http_broadcast_api_leave(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_LEAVE);
}


/*
 * A rule of the user, signalr.md 8.3: without a ttl it lasts, with 0 only the
 * connections that are there join.
 */

ngx_int_t
ngx_http_broadcast_api_rule(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    ngx_int_t  rc, ttl;
    ngx_str_t  text;

    rc = ngx_http_broadcast_arg(r, "ttl", &text);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->ttl = NGX_BROADCAST_TTL_NONE;

    if (rc == NGX_OK || rc == NGX_ABORT) {

        ttl = (rc == NGX_OK) ? ngx_atoi(text.data, text.len) : NGX_ERROR;

        if (ttl < 0 || ttl > NGX_MAX_INT32_VALUE) {
            return ngx_http_broadcast_api_bad(r, "ttl",
                                      "It must be a number of seconds, 0 or "
                                      "more.");
        }

        api->ttl = ttl ? (uint32_t) ttl : NGX_BROADCAST_TTL_PRESENT;
    }

    return ngx_http_broadcast_api_command(r, api, NGX_BROADCAST_REC_JOIN);
}
