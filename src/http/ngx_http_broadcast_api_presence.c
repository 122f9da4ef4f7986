
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Who is there and who is in which group, signalr.md 8.3: questions, and the
 * commands that need an answer to one first.
 */


#include "http/ngx_http_broadcast_api.h"


static ngx_int_t ngx_http_broadcast_api_look(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_api_found_pt found);
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


/* looks for the path's connection, else its user, else its group */

static ngx_int_t
ngx_http_broadcast_api_look(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_api_found_pt found)
{
    ngx_uint_t                n, index;
    ngx_broadcast_row_info_t  row;

    n = 0;

    if (api->connection.data) {
        n = (ngx_http_broadcast_api_row(api, &row) == NGX_OK);

    } else if (ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub,
                                      &index)
               == NGX_OK)
    {
        n = api->user.data
            ? ngx_broadcast_registry_user(ngx_broadcast_bus.zone, index,
                                          &api->user)
            : ngx_broadcast_registry_group(ngx_broadcast_bus.zone, index,
                                           &api->group);
    }

    return found(r, api, n != 0);
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
