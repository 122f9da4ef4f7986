
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The SignalR endpoint, signalr.md 1.4 and 2.1:
 *
 *     POST    …/negotiate      ids and transports
 *     GET     …?id=            WebSocket, event stream, long poll
 *     GET     …                WebSocket without negotiation
 *     POST    …?id=            messages of a client that cannot send else
 *     DELETE  …?id=            end of a long-polling connection
 *
 * Negotiate remembers nothing: the connection token proves itself.
 */


#include "http/ngx_http_broadcast_hub.h"
#include "transport/ngx_http_broadcast_transport.h"


#define NGX_HTTP_BROADCAST_POLL  90000     /* ms, signalr.md 2.4 */


static ngx_int_t ngx_http_broadcast_hub_name(ngx_http_request_t *r,
    ngx_uint_t *answered);
static ngx_int_t ngx_http_broadcast_hub_get(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_hub_poll(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id);
static ngx_int_t ngx_http_broadcast_hub_delete(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_hub_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_str_t                       rest;
    ngx_uint_t                      encoded, answered, negotiate;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    negotiate = r->uri.len >= sizeof("/negotiate") - 1
                && ngx_strncmp(r->uri.data + r->uri.len
                               - (sizeof("/negotiate") - 1), "/negotiate",
                               sizeof("/negotiate") - 1)
                   == 0;

    if (!negotiate
        && ngx_http_broadcast_below(r, &rest, &encoded) == NGX_OK
        && rest.len && !(rest.len == 1 && rest.data[0] == '/'))
    {
        return ngx_http_broadcast_text(r, NGX_HTTP_NOT_FOUND, "Not Found");
    }

    if (negotiate ? r->method != NGX_HTTP_POST
                  : !(r->method & (NGX_HTTP_GET|NGX_HTTP_POST
                                   |NGX_HTTP_DELETE)))
    {
        return ngx_http_broadcast_not_allowed(r, negotiate ? "POST, OPTIONS"
                                              : "GET, POST, DELETE, OPTIONS");
    }

    rc = ngx_http_broadcast_hub_name(r, &answered);

    if (answered) {
        return rc;
    }

    rc = ngx_http_broadcast_client(r, &ctx->hub, blcf->anonymous, &answered);

    if (answered) {
        return rc;
    }

    if (negotiate) {
        return ngx_http_broadcast_hub_negotiate(r);
    }

    switch (r->method) {

    case NGX_HTTP_GET:
        return ngx_http_broadcast_hub_get(r);

    case NGX_HTTP_POST:
        return ngx_http_broadcast_hub_post(r);

    default:
        return ngx_http_broadcast_hub_delete(r);
    }
}


/* the location's hub, else the one "hub" of the query, signalr.md 7.1 */

static ngx_int_t
ngx_http_broadcast_hub_name(ngx_http_request_t *r, ngx_uint_t *answered)
{
    u_char                         *p;
    ngx_int_t                       rc;
    ngx_str_t                       name;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    *answered = 0;

    if (blcf->hub.len) {
        ctx->hub = blcf->hub;
        return NGX_OK;
    }

    *answered = 1;

    if (ngx_broadcast_query_count(&r->args, "hub") != 1) {
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                       "The query must name one hub.");
    }

    rc = ngx_http_broadcast_arg(r, "hub", &name);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_pnalloc(r->pool, NGX_BROADCAST_HUB_MAX);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK || ngx_broadcast_hub_name(&name, p) != NGX_OK) {
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                       "The hub is no good name.");
    }

    ctx->hub.data = p;
    ctx->hub.len = name.len;

    *answered = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_hub_get(ngx_http_request_t *r)
{
    ngx_int_t                       rc, refuse;
    ngx_uint_t                      answered, transport;
    ngx_broadcast_open_t           *in;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_hub_id_t     id;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    transport = ngx_http_broadcast_transport(r, &refuse);

    if (refuse != NGX_OK) {
        return refuse;
    }

    in = ngx_pcalloc(r->pool, sizeof(ngx_broadcast_open_t));
    if (in == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (transport == NGX_BROADCAST_WEBSOCKET
        && ngx_broadcast_query_count(&r->args, "id") == 0)
    {
        /* no negotiation, signalr.md 1.8 */

        if (ngx_http_broadcast_new_id(r, &in->id) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else {

        rc = ngx_http_broadcast_hub_id(r, &id, &answered);

        if (answered) {
            return rc;
        }

        if (id.row.state == NGX_BROADCAST_ROW_LIVE) {

            if (id.row.transport != transport) {
                return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                  "Cannot change transports mid-connection");
            }

            if (transport == NGX_BROADCAST_LONGPOLL) {
                return ngx_http_broadcast_hub_poll(r, &id);
            }

            if (id.row.stateful) {
                return ngx_http_broadcast_again(r, &id.id, &id.row);
            }

            return ngx_http_broadcast_in_use(r, &id.id);
        }

        in->id = id.id;
        in->stateful = (transport == NGX_BROADCAST_WEBSOCKET) && id.stateful;
        in->ticket_expires = id.expires;
    }

    if (!(ngx_http_broadcast_transports(r, ctx) & (1 << transport))) {
        return ngx_http_broadcast_transport_off(r, transport);
    }

    in->protocol = (blcf->kind == NGX_HTTP_BROADCAST_ECHO)
                   ? NGX_BROADCAST_ECHO : NGX_BROADCAST_HUB_JSON;

    if (ctx->jwt) {
        in->groups = ngx_broadcast_jwt_groups(r->pool, ctx->jwt);
        if (in->groups == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ngx_http_broadcast_resume_arg(r, "position", in) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_connect(r, in, transport);
}


static ngx_int_t
ngx_http_broadcast_hub_poll(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id)
{
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_loc_conf_t  *blcf;
    ngx_http_broadcast_longpoll_t   lp;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    lp.id = id->id;
    lp.row = &id->row;
    lp.limits = &blcf->limits;
    lp.expires = 0;
    lp.hold = NGX_HTTP_BROADCAST_POLL;

    if (ctx->jwt) {

        /* as long as polls are let in */

        lp.expires = ctx->jwt->exp + NGX_BROADCAST_JWT_LEEWAY;

        if (ctx->jwt->poll) {
            lp.hold = ngx_min(lp.hold, ctx->jwt->poll * 1000);
        }
    }

    return ngx_http_broadcast_longpoll(r, &lp);
}


/* its owner is told; what it wanted to say is for nobody any more */

static ngx_int_t
ngx_http_broadcast_hub_delete(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_str_t                    none = ngx_null_string;
    ngx_uint_t                   answered;
    ngx_broadcast_record_t       rec;
    ngx_http_broadcast_hub_id_t  id;

    rc = ngx_http_broadcast_hub_id(r, &id, &answered);

    if (answered) {
        return rc;
    }

    if (id.row.state != NGX_BROADCAST_ROW_LIVE) {
        return ngx_http_broadcast_hub_no_connection(r);
    }

    if (id.row.transport != NGX_BROADCAST_LONGPOLL) {
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
            "Cannot terminate this connection using the DELETE endpoint.");
    }

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_DELETE;
    rec.scope = NGX_BROADCAST_CONNECTION;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec.source = NGX_BROADCAST_SRC_CLIENT;
    rec.hub = id.row.hub;
    rec.name = id.id;

    if (ngx_broadcast_publish(&rec, 1) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_answer(r, NGX_HTTP_ACCEPTED, "text/plain",
                                     &none);
}
