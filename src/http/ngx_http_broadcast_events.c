
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Plain subscribers: EventSource and plain WebSocket. */


#include "http/ngx_http_broadcast.h"


#define NGX_HTTP_BROADCAST_NOT_ACCEPTABLE  406


static ngx_int_t ngx_http_broadcast_events_groups(ngx_http_request_t *r,
    ngx_broadcast_open_t *in, ngx_uint_t *answered);
static ngx_int_t ngx_http_broadcast_events_roles(ngx_http_request_t *r,
    ngx_broadcast_open_t *in);
static ngx_int_t ngx_http_broadcast_events_position(ngx_http_request_t *r,
    ngx_broadcast_open_t *in);
static ngx_uint_t ngx_http_broadcast_events_accept(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_events_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc, refuse;
    ngx_uint_t                      answered, transport;
    ngx_broadcast_open_t           *in;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (r->method != NGX_HTTP_GET) {
        return ngx_http_broadcast_not_allowed(r, "GET, OPTIONS");
    }

    rc = ngx_http_broadcast_path_hub(r);

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return ngx_http_broadcast_text(r, NGX_HTTP_NOT_FOUND,
                              "The path must end in the name of a hub.");

    case NGX_ABORT:
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                       "The hub is no good name.");

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    rc = ngx_http_broadcast_client(r, &ctx->hub, blcf->anonymous, &answered);

    if (answered) {
        return rc;
    }

    transport = ngx_http_broadcast_transport(r, &refuse);

    if (refuse != NGX_OK) {
        return refuse;
    }

    if (transport == NGX_BROADCAST_LONGPOLL) {

        if (!ngx_http_broadcast_events_accept(r)) {
            return ngx_http_broadcast_text(r,
                        NGX_HTTP_BROADCAST_NOT_ACCEPTABLE,
                        "This is an event stream: Accept: text/event-stream");
        }

        transport = NGX_BROADCAST_SSE;
    }

    if (!(ngx_http_broadcast_transports(r, ctx) & (1 << transport))) {
        return ngx_http_broadcast_transport_off(r, transport);
    }

    in = ngx_pcalloc(r->pool, sizeof(ngx_broadcast_open_t));

    if (in == NULL || ngx_http_broadcast_new_id(r, &in->id) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    in->protocol = NGX_BROADCAST_PLAIN;

    rc = ngx_http_broadcast_events_groups(r, in, &answered);

    if (answered) {
        return rc;
    }

    if (ngx_http_broadcast_events_roles(r, in) != NGX_OK
        || ngx_http_broadcast_events_position(r, in) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_connect(r, in, transport);
}


/* curl and the like say that they take anything, or nothing at all */

static ngx_uint_t
ngx_http_broadcast_events_accept(ngx_http_request_t *r)
{
    ngx_str_t        *value;
    ngx_table_elt_t  *h;

    h = ngx_http_broadcast_header_in(r, "accept");

    if (h == NULL) {
        return 1;
    }

    value = &h->value;

    return ngx_strlcasestrn(value->data, value->data + value->len,
                            (u_char *) "*/*", 2)
           || ngx_strlcasestrn(value->data, value->data + value->len,
                               (u_char *) "text/*", 5);
}


/*
 * ?group=a&group=b.  A token must allow each of them; where none is needed
 * and none was given any group may be named.
 */

static ngx_int_t
ngx_http_broadcast_events_groups(ngx_http_request_t *r,
    ngx_broadcast_open_t *in, ngx_uint_t *answered)
{
    ngx_int_t                  rc;
    ngx_str_t                 *group;
    ngx_uint_t                 i;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    *answered = 1;

    rc = ngx_http_broadcast_args(r, "group", &in->groups);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_ABORT) {
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                       "The group is no good name.");
    }

    group = in->groups->elts;

    for (i = 0; i < in->groups->nelts; i++) {

        if (ngx_broadcast_group_name(&group[i]) != NGX_OK) {
            return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                           "The group is no good name.");
        }

        if (ctx->jwt
            && !ngx_broadcast_jwt_may(ctx->jwt, "broadcast.join", &group[i]))
        {
            ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);

            return ngx_http_broadcast_text(r, NGX_HTTP_FORBIDDEN,
                                   "The token does not allow this group.");
        }
    }

    *answered = 0;

    return NGX_OK;
}


/* what frames of a plain WebSocket may do */

static ngx_int_t
ngx_http_broadcast_events_roles(ngx_http_request_t *r,
    ngx_broadcast_open_t *in)
{
    size_t                     i;
    json_t                    *claim, *role;
    ngx_str_t                  text, *t;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ctx->jwt == NULL) {
        in->roles = NGX_BROADCAST_MAY_JOIN;
        return NGX_OK;
    }

    in->may_join = ngx_broadcast_jwt_groups(r->pool, ctx->jwt);

    in->role_groups = ngx_array_create(r->pool, 4, sizeof(ngx_str_t));

    if (in->may_join == NULL || in->role_groups == NULL) {
        return NGX_ERROR;
    }

    claim = json_object_get(ctx->jwt->claims, "role");

    for (i = 0; /* void */ ; i++) {

        if (json_is_array(claim)) {
            role = json_array_get(claim, i);

        } else {
            role = (i == 0) ? claim : NULL;
        }

        if (role == NULL) {
            return NGX_OK;
        }

        if (!json_is_string(role)) {
            continue;
        }

        ngx_broadcast_json_text(role, &text);

        if (text.len <= sizeof("broadcast.join.") - 1
            || (ngx_strncmp(text.data, "broadcast.join.", 15) != 0
                && ngx_strncmp(text.data, "broadcast.send.", 15) != 0))
        {
            continue;
        }

        t = ngx_array_push(in->role_groups);
        if (t == NULL) {
            return NGX_ERROR;
        }

        *t = text;
    }
}


/* the header is newer than the query: EventSource reconnects to one URL */

static ngx_int_t
ngx_http_broadcast_events_position(ngx_http_request_t *r,
    ngx_broadcast_open_t *in)
{
    ngx_table_elt_t  *h;

    h = ngx_http_broadcast_header_in(r, "last-event-id");

    if (h) {
        ngx_http_broadcast_resume(in, &h->value);
        return NGX_OK;
    }

    return ngx_http_broadcast_resume_arg(r, "last_event_id", in);
}
