
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * broadcast_negotiate: the application's half of the first hop, signalr.md
 * 7.1.  It answers with the hub's URL and a token for it, which is signed
 * here; nobody remembers it.
 */


#include "http/ngx_http_broadcast_negotiate.h"
#include "proto/ngx_broadcast_negotiate.h"


typedef struct {
    ngx_str_t                 hub;
    ngx_str_t                 user;
    ngx_array_t              *groups;      /* of ngx_str_t */
    json_t                   *claims;      /* an object, owned by r->pool */
} ngx_http_broadcast_identity_t;


static ngx_int_t ngx_http_broadcast_negotiate_identity(ngx_http_request_t *r,
    ngx_http_broadcast_identity_t *who);
static ngx_int_t ngx_http_broadcast_negotiate_groups(ngx_array_t *groups,
    ngx_str_t *text);
static ngx_int_t ngx_http_broadcast_negotiate_claim(json_t *claims,
    ngx_str_t *name, ngx_str_t *text);
static ngx_int_t ngx_http_broadcast_negotiate_ask(ngx_http_request_t *r,
    ngx_http_broadcast_identity_t *who, ngx_str_t *function);
static ngx_int_t ngx_http_broadcast_negotiate_called(ngx_http_request_t *r,
    ngx_broadcast_call_result_t *result);
static ngx_int_t ngx_http_broadcast_negotiate_take(
    ngx_http_broadcast_identity_t *who, json_t *answer);
static ngx_int_t ngx_http_broadcast_negotiate_answer(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_negotiate_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_identity_t  *who;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD|NGX_HTTP_POST))) {
        return ngx_http_broadcast_not_allowed(r, "GET, POST, OPTIONS");
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_broadcast_header_text(r, "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    who = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_identity_t));
    if (who == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->data = who;

    rc = ngx_http_broadcast_negotiate_identity(r, who);

    if (rc == NGX_ABORT) {
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                             "Hub, user, group or claim is no good name.");
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (blcf->negotiate->function.len) {
        return ngx_http_broadcast_negotiate_ask(r, who,
                                                &blcf->negotiate->function);
    }

    return ngx_http_broadcast_negotiate_answer(r);
}


static ngx_int_t
ngx_http_broadcast_negotiate_identity(ngx_http_request_t *r,
    ngx_http_broadcast_identity_t *who)
{
    u_char                           *p;
    ngx_int_t                         rc;
    ngx_str_t                         text;
    ngx_uint_t                        i;
    ngx_http_broadcast_ctx_t         *ctx;
    ngx_http_broadcast_claim_t       *claim;
    ngx_http_broadcast_negotiate_t   *ng;
    ngx_http_broadcast_loc_conf_t    *blcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);
    ng = blcf->negotiate;

    rc = ngx_http_broadcast_negotiate_value(r, ng->hub, &text);

    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_pnalloc(r->pool, NGX_BROADCAST_HUB_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_hub_name(&text, p) != NGX_OK) {
        return NGX_ABORT;
    }

    who->hub.data = p;
    who->hub.len = text.len;
    ctx->hub = who->hub;

    rc = ngx_http_broadcast_negotiate_value(r, ng->user, &who->user);

    if (rc != NGX_OK) {
        return rc;
    }

    if (who->user.len && ngx_broadcast_user_id(&who->user) != NGX_OK) {
        return NGX_ABORT;
    }

    who->groups = ngx_array_create(r->pool, 4, sizeof(ngx_str_t));
    who->claims = json_object();

    if (who->groups == NULL || who->claims == NULL
        || ngx_broadcast_json_own(r->pool, who->claims) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_broadcast_negotiate_value(r, ng->groups, &text);

    if (rc == NGX_OK) {
        rc = ngx_http_broadcast_negotiate_groups(who->groups, &text);
    }

    claim = ng->claims.elts;

    for (i = 0; rc == NGX_OK && i < ng->claims.nelts; i++) {

        rc = ngx_http_broadcast_negotiate_value(r, claim[i].value, &text);

        if (rc == NGX_OK && text.len) {
            rc = ngx_http_broadcast_negotiate_claim(who->claims,
                                                    &claim[i].name, &text);
        }
    }

    return rc;
}


/* names joined by commas, white space around them does not count */

static ngx_int_t
ngx_http_broadcast_negotiate_groups(ngx_array_t *groups, ngx_str_t *text)
{
    u_char     *p, *last, *end;
    ngx_str_t   group, *g;

    p = text->data;
    last = p + text->len;

    while (p < last) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        group.data = p;
        group.len = end - p;

        while (group.len && group.data[0] == ' ') {
            group.data++;
            group.len--;
        }

        while (group.len && group.data[group.len - 1] == ' ') {
            group.len--;
        }

        p = end + 1;

        if (group.len == 0) {
            continue;
        }

        if (ngx_broadcast_group_name(&group) != NGX_OK) {
            return NGX_ABORT;
        }

        g = ngx_array_push(groups);
        if (g == NULL) {
            return NGX_ERROR;
        }

        *g = group;
    }

    return NGX_OK;
}


/* a name that was given before becomes a list */

static ngx_int_t
ngx_http_broadcast_negotiate_claim(json_t *claims, ngx_str_t *name,
    ngx_str_t *text)
{
    int      rc;
    json_t  *value, *old, *list;

    value = ngx_broadcast_json_new(text);

    if (value == NULL) {
        return NGX_ABORT;
    }

    old = json_object_get(claims, (char *) name->data);

    if (old == NULL) {
        rc = json_object_set_new(claims, (char *) name->data, value);

    } else if (json_is_array(old)) {
        rc = json_array_append_new(old, value);

    } else {
        list = json_pack("[O,o]", old, value);
        rc = json_object_set_new(claims, (char *) name->data, list);
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_broadcast_negotiate_ask(ngx_http_request_t *r,
    ngx_http_broadcast_identity_t *who, ngx_str_t *function)
{
    ngx_str_t            event;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, r->pool, 1024);

    ngx_broadcast_buf_literal(&b, "{\"kind\":\"connect\",\"function\":");
    ngx_broadcast_buf_json(&b, function);
    ngx_broadcast_buf_literal(&b, ",\"hub\":");
    ngx_broadcast_buf_json(&b, &who->hub);
    ngx_broadcast_buf_literal(&b, ",\"userId\":");

    if (who->user.len) {
        ngx_broadcast_buf_json(&b, &who->user);

    } else {
        ngx_broadcast_buf_literal(&b, "null");
    }

    ngx_broadcast_buf_char(&b, ',');
    ngx_http_broadcast_describe(r, &b);
    ngx_broadcast_buf_char(&b, '}');

    if (ngx_broadcast_buf_done(&b, &event) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_call(r, NGX_BROADCAST_ON_CONNECT, function,
                                   &event,
                                   ngx_http_broadcast_negotiate_called);
}


static ngx_int_t
ngx_http_broadcast_negotiate_called(ngx_http_request_t *r,
    ngx_broadcast_call_result_t *result)
{
    json_t                    *answer;
    ngx_int_t                  rc;
    ngx_str_t                  text;
    const char                *error;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (result->status == NGX_BROADCAST_CALL_FAILED) {

        if (result->unauthorized) {
            return ngx_http_broadcast_no_role(r);
        }

        return ngx_http_broadcast_text(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "The negotiate function failed.");
    }

    if (result->status != NGX_BROADCAST_CALL_OK) {
        return ngx_http_broadcast_unavailable(r,
                             "The negotiate function could not be asked.");
    }

    if (result->value.len == 0) {
        return ngx_http_broadcast_negotiate_answer(r);
    }

    answer = ngx_broadcast_json_parse(&result->value, 0, &error);

    if (answer == NULL || ngx_broadcast_json_own(r->pool, answer) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (json_object_get(answer, "refuse")) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_FUNCTION, 1);

        (void) ngx_broadcast_json_str(answer, "refuse", &text);

        return ngx_http_broadcast_answer(r, NGX_HTTP_FORBIDDEN, "text/plain",
                                         &text);
    }

    rc = ngx_http_broadcast_negotiate_take(ctx->data, answer);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "negotiate function gave a bad user, group or claim");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_negotiate_answer(r);
}


/* {"userId","groups","claims"}: they win over the directive's */

static ngx_int_t
ngx_http_broadcast_negotiate_take(ngx_http_broadcast_identity_t *who,
    json_t *answer)
{
    size_t      i;
    json_t     *list, *value;
    ngx_str_t   text, *g;

    if (ngx_broadcast_json_str(answer, "userId", &text) == NGX_OK) {

        if (text.len && ngx_broadcast_user_id(&text) != NGX_OK) {
            return NGX_ERROR;
        }

        who->user = text;
    }

    list = json_object_get(answer, "groups");

    if (json_is_array(list)) {

        json_array_foreach(list, i, value) {

            if (!json_is_string(value)) {
                return NGX_ERROR;
            }

            ngx_broadcast_json_text(value, &text);

            g = ngx_array_push(who->groups);

            if (g == NULL || ngx_broadcast_group_name(&text) != NGX_OK) {
                return NGX_ERROR;
            }

            *g = text;
        }
    }

    list = json_object_get(answer, "claims");

    if (json_is_object(list) && json_object_update(who->claims, list) != 0) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_negotiate_answer(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_str_t                        body;
    const char                      *error;
    ngx_http_broadcast_ctx_t        *ctx;
    ngx_broadcast_jwt_mint_t         mint;
    ngx_broadcast_negotiate_t        n;
    ngx_http_broadcast_identity_t   *who;
    ngx_http_broadcast_loc_conf_t   *blcf;
    ngx_http_broadcast_srv_conf_t   *bscf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    who = ctx->data;
    ctx->user = who->user;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);
    bscf = ngx_http_get_module_srv_conf(r, ngx_http_broadcast_module);

    ngx_memzero(&n, sizeof(ngx_broadcast_negotiate_t));
    ngx_memzero(&mint, sizeof(ngx_broadcast_jwt_mint_t));

    rc = ngx_http_broadcast_negotiate_url(r, &who->hub, &n.url, &mint.aud);

    if (rc == NGX_ABORT) {
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                       "The URL is empty or not well encoded.");
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mint.user = who->user;
    mint.groups = who->groups->nelts ? who->groups : NULL;
    mint.claims = who->claims;
    mint.now = ngx_time();
    mint.ttl = blcf->negotiate->ttl;

    rc = ngx_broadcast_jwt_mint(r->pool, bscf->keys, &mint, &n.access_token,
                                &error);

    if (rc == NGX_DECLINED || rc == NGX_BUSY) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "no token was made: %s", error);

        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST, error);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.len = ngx_broadcast_negotiate_len(&n);
    body.data = ngx_pnalloc(r->pool, body.len);

    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_broadcast_negotiate_write(body.data, &n);

    return ngx_http_broadcast_json(r, NGX_HTTP_OK, &body);
}
