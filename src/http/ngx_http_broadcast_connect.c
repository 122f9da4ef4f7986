
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The last steps of a request that becomes a connection: bindings are known,
 * a `connect` function has agreed, a row is claimed, the transport takes the
 * request.
 */


#include "http/ngx_http_broadcast_hub.h"
#include "transport/ngx_http_broadcast_transport.h"


typedef struct {
    ngx_broadcast_open_t      *in;
    ngx_uint_t                 transport;
} ngx_http_broadcast_connect_t;


static void ngx_http_broadcast_connect_token(ngx_broadcast_jwt_t *jwt,
    ngx_broadcast_open_t *in, ngx_uint_t transport);
static ngx_int_t ngx_http_broadcast_connect_ready(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_connect_event(ngx_http_request_t *r,
    ngx_broadcast_open_t *in, ngx_str_t *event);
static ngx_int_t ngx_http_broadcast_connect_called(ngx_http_request_t *r,
    ngx_broadcast_call_result_t *result);
static ngx_int_t ngx_http_broadcast_connect_take(ngx_http_request_t *r,
    json_t *answer);
static ngx_int_t ngx_http_broadcast_connect_refuse(ngx_http_request_t *r,
    json_t *answer);
static ngx_int_t ngx_http_broadcast_connect_open(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_connect_caps(ngx_http_request_t *r,
    ngx_broadcast_open_t *in);
static ngx_int_t ngx_http_broadcast_connect_full(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_connect(ngx_http_request_t *r, ngx_broadcast_open_t *in,
    ngx_uint_t transport)
{
    ngx_broadcast_buf_t             b;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_connect_t   *cn;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    cn = ngx_palloc(r->pool, sizeof(ngx_http_broadcast_connect_t));
    if (cn == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cn->in = in;
    cn->transport = transport;
    ctx->data = cn;

    in->hub = ctx->hub;
    in->user = ctx->user;
    in->address = r->connection->addr_text;
    in->limits = &blcf->limits;
    in->functions = !blcf->nofunctions;

    switch (transport) {

    case NGX_BROADCAST_WEBSOCKET:
        in->framing = NGX_BROADCAST_FRAME_WS;
        break;

    case NGX_BROADCAST_SSE:
        in->framing = ngx_http_broadcast_sse_framing(r);
        break;

    default:
        in->framing = NGX_BROADCAST_FRAME_BYTES;
        break;
    }

    if (ctx->jwt) {
        ngx_http_broadcast_connect_token(ctx->jwt, in, transport);
    }

    /* nobody would read a description */

    if (!in->functions || !ngx_broadcast_pg_enabled()) {
        return ngx_http_broadcast_connect_open(r);
    }

    ngx_broadcast_buf_init(&b, r->pool, 1024);
    ngx_http_broadcast_describe(r, &b);

    if (ngx_broadcast_buf_done(&b, &in->event) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_when_ready(r, ngx_http_broadcast_connect_ready);
}


ngx_int_t
ngx_http_broadcast_new_id(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char                     raw[NGX_BROADCAST_ID_BYTES];
    ngx_http_broadcast_ctx_t  *ctx;

    id->data = ngx_pnalloc(r->pool, NGX_BROADCAST_ID_LEN);

    if (id->data == NULL
        || ngx_broadcast_id_random(raw, NGX_BROADCAST_ID_BYTES) != NGX_OK)
    {
        return NGX_ERROR;
    }

    id->len = ngx_broadcast_base64url(id->data, raw, NGX_BROADCAST_ID_BYTES);

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->id = *id;

    return NGX_OK;
}


/* until when the token lets it be, and what its roles are good for */

static void
ngx_http_broadcast_connect_token(ngx_broadcast_jwt_t *jwt,
    ngx_broadcast_open_t *in, ngx_uint_t transport)
{
    ngx_str_t  role;

    /*
     * A stream would not notice that its POSTs fail, signalr.md 7.5.  A
     * token that is good by its leeway alone has no more than that, nor
     * have polls, each of which shows it.
     */

    in->token_expires = jwt->exp;

    if (in->token_expires <= ngx_time()
        || transport == NGX_BROADCAST_LONGPOLL)
    {
        in->token_expires += NGX_BROADCAST_JWT_LEEWAY;
    }

    if (transport == NGX_BROADCAST_WEBSOCKET) {
        in->token_expires = jwt->close_at;
    }

    in->handshake = jwt->handshake;

    ngx_str_set(&role, "broadcast.join");
    if (ngx_broadcast_jwt_has_role(jwt, &role)) {
        in->roles |= NGX_BROADCAST_MAY_JOIN;
    }

    ngx_str_set(&role, "broadcast.send");
    if (ngx_broadcast_jwt_has_role(jwt, &role)) {
        in->roles |= NGX_BROADCAST_MAY_SEND;
    }
}


static ngx_int_t
ngx_http_broadcast_connect_ready(ngx_http_request_t *r)
{
    ngx_str_t                      event;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_http_broadcast_connect_t  *cn;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    cn = ctx->data;

    if (!ngx_broadcast_binding_find(ngx_broadcast_bus.zone,
                                    NGX_BROADCAST_ON_CONNECT, &ctx->hub, NULL,
                                    NULL))
    {
        return ngx_http_broadcast_connect_open(r);
    }

    if (ngx_http_broadcast_connect_event(r, cn->in, &event) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_call(r, NGX_BROADCAST_ON_CONNECT, &ctx->hub,
                                   &event, ngx_http_broadcast_connect_called);
}


static ngx_int_t
ngx_http_broadcast_connect_event(ngx_http_request_t *r,
    ngx_broadcast_open_t *in, ngx_str_t *event)
{
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, r->pool, in->event.len + 256);

    ngx_broadcast_buf_literal(&b, "{\"kind\":\"connect\",\"hub\":");
    ngx_broadcast_buf_json(&b, &in->hub);
    ngx_broadcast_buf_literal(&b, ",\"userId\":");

    if (in->user.len) {
        ngx_broadcast_buf_json(&b, &in->user);

    } else {
        ngx_broadcast_buf_literal(&b, "null");
    }

    ngx_broadcast_buf_char(&b, ',');
    ngx_broadcast_buf_str(&b, &in->event);
    ngx_broadcast_buf_char(&b, '}');

    return ngx_broadcast_buf_done(&b, event);
}


static ngx_int_t
ngx_http_broadcast_connect_called(ngx_http_request_t *r,
    ngx_broadcast_call_result_t *result)
{
    json_t      *answer;
    const char  *error;

    switch (result->status) {

    case NGX_BROADCAST_CALL_OK:
        break;

    case NGX_BROADCAST_CALL_FAILED:
        if (result->unauthorized) {
            return ngx_http_broadcast_no_role(r);
        }

        return ngx_http_broadcast_text(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "The connect function failed.");

    default:
        return ngx_http_broadcast_unavailable(r,
                               "The connect function could not be asked.");
    }

    if (result->value.len == 0) {
        return ngx_http_broadcast_connect_open(r);
    }

    answer = ngx_broadcast_json_parse(&result->value, 0, &error);

    if (answer == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_broadcast_json_own(r->pool, answer) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (json_object_get(answer, "refuse")) {
        return ngx_http_broadcast_connect_refuse(r, answer);
    }

    if (ngx_http_broadcast_connect_take(r, answer) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_connect_open(r);
}


/* {"refuse":reason}: 401 where a token might help, else 403 */

static ngx_int_t
ngx_http_broadcast_connect_refuse(ngx_http_request_t *r, json_t *answer)
{
    ngx_str_t                  reason;
    ngx_uint_t                 status;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    ngx_broadcast_count(NGX_BROADCAST_REFUSED_FUNCTION, 1);

    (void) ngx_broadcast_json_str(answer, "refuse", &reason);

    status = ctx->jwt ? NGX_HTTP_FORBIDDEN : NGX_HTTP_UNAUTHORIZED;

    if (status == NGX_HTTP_UNAUTHORIZED
        && ngx_http_broadcast_header_text(r, "WWW-Authenticate", "Bearer")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_answer(r, status, "text/plain", &reason);
}


/* {"groups":[…],"userId":…} */

static ngx_int_t
ngx_http_broadcast_connect_take(ngx_http_request_t *r, json_t *answer)
{
    size_t                         i;
    json_t                        *groups, *group;
    ngx_str_t                      text, *g;
    ngx_broadcast_open_t          *in;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_http_broadcast_connect_t  *cn;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    cn = ctx->data;
    in = cn->in;

    if (ngx_broadcast_json_str(answer, "userId", &text) == NGX_OK
        && text.len)
    {
        if (ngx_broadcast_user_id(&text) != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "connect function gave a user id that is none");
            return NGX_ERROR;
        }

        in->user = text;
        ctx->user = text;
    }

    groups = json_object_get(answer, "groups");

    if (!json_is_array(groups)) {
        return NGX_OK;
    }

    if (in->groups == NULL) {
        in->groups = ngx_array_create(r->pool, 4, sizeof(ngx_str_t));
        if (in->groups == NULL) {
            return NGX_ERROR;
        }
    }

    json_array_foreach(groups, i, group) {

        if (!json_is_string(group)) {
            continue;
        }

        ngx_broadcast_json_text(group, &text);

        if (ngx_broadcast_group_name(&text) != NGX_OK) {
            continue;
        }

        g = ngx_array_push(in->groups);
        if (g == NULL) {
            return NGX_ERROR;
        }

        *g = text;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_connect_open(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_broadcast_conn_t          *bc;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_http_broadcast_connect_t  *cn;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    cn = ctx->data;

    if (ngx_http_broadcast_connect_caps(r, cn->in) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_broadcast_conn_open(cn->in, ngx_cycle->log, &bc);

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return ngx_http_broadcast_in_use(r, &cn->in->id);

    case NGX_BUSY:
        return ngx_http_broadcast_connect_full(r);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (cn->transport) {

    case NGX_BROADCAST_WEBSOCKET:
        return ngx_http_broadcast_websocket(r, bc);

    case NGX_BROADCAST_SSE:
        return ngx_http_broadcast_sse(r, bc);

    default:
        return ngx_http_broadcast_longpoll_open(r, bc);
    }
}


/* the caps go with the claim of the row, which is the one place to count */

static ngx_int_t
ngx_http_broadcast_connect_caps(ngx_http_request_t *r,
    ngx_broadcast_open_t *in)
{
    ngx_str_t                       value;
    ngx_uint_t                      i;
    ngx_http_broadcast_cap_t       *cap;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (blcf->caps == NULL) {
        return NGX_OK;
    }

    cap = blcf->caps->elts;

    for (i = 0; i < blcf->caps->nelts; i++) {

        if (cap[i].key == NULL) {
            in->hub_limit = cap[i].limit;
            continue;
        }

        if (ngx_http_complex_value(r, cap[i].key, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        /* as in limit_conn, an empty value is not counted */

        if (value.len) {
            in->limit = cap[i].limit;
            in->key = ((uint64_t) ngx_murmur_hash2(value.data, value.len)
                       << 32)
                      | (ngx_crc32_long(value.data, value.len) | 1);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_connect_full(ngx_http_request_t *r)
{
    ngx_broadcast_count(NGX_BROADCAST_REFUSED_LIMIT, 1);

    return ngx_http_broadcast_text(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "Too many connections.");
}
