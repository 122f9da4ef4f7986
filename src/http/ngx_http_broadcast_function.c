
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* HTTP-triggered functions: …/functions/{name}[/rest] */


#include "http/ngx_http_broadcast_function.h"


static ngx_int_t ngx_http_broadcast_function_path(ngx_http_request_t *r,
    ngx_http_broadcast_function_t *fn);
static ngx_int_t ngx_http_broadcast_function_ready(ngx_http_request_t *r);
static void ngx_http_broadcast_function_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_function_ask(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_function_event_body(
    ngx_http_request_t *r, ngx_broadcast_buf_t *b);
static ngx_uint_t ngx_http_broadcast_function_json(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_function_called(ngx_http_request_t *r,
    ngx_broadcast_call_result_t *result);


ngx_int_t
ngx_http_broadcast_function_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_uint_t                      answered;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_function_t  *fn;

    ctx = ngx_http_broadcast_ctx(r);
    fn = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_function_t));

    if (ctx == NULL || fn == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->json = 1;
    ctx->data = fn;

    /* a bad token is refused also where none is needed */

    rc = ngx_http_broadcast_client(r, NULL, 1, &answered);

    if (answered) {
        return rc;
    }

    switch (ngx_http_broadcast_function_path(r, fn)) {

    case NGX_OK:
        return ngx_http_broadcast_when_ready(r,
                                         ngx_http_broadcast_function_ready);

    case NGX_DECLINED:
        return ngx_http_broadcast_error(r, NGX_HTTP_NOT_FOUND, "NotFound",
                                        "No function is named.", NULL);

    case NGX_ABORT:
        return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                        "The path is no text.", NULL);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


/* NGX_OK, NGX_DECLINED: no name, NGX_ABORT: no text, NGX_ERROR */

static ngx_int_t
ngx_http_broadcast_function_path(ngx_http_request_t *r,
    ngx_http_broadcast_function_t *fn)
{
    u_char      *p, *last;
    ngx_int_t    rc;
    ngx_str_t    rest;
    ngx_uint_t   encoded;

    rc = ngx_http_broadcast_below(r, &rest, &encoded);

    if (rc == NGX_OK) {

        p = rest.data;
        last = p + rest.len;

        if (p < last && *p == '/') {
            p++;
        }

        fn->name.data = p;

        while (p < last && *p != '/') {
            p++;
        }

        fn->name.len = p - fn->name.data;

        if (p < last) {
            p++;
        }

        fn->path.data = p;
        fn->path.len = last - p;

        if (encoded) {
            rc = ngx_broadcast_unescape(r->pool, &fn->name, &fn->name,
                                        NGX_BROADCAST_IN_PATH);
            if (rc == NGX_OK) {
                rc = ngx_broadcast_unescape(r->pool, &fn->path, &fn->path,
                                            NGX_BROADCAST_IN_PATH);
            }
        }
    }

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_ABORT : rc;
    }

    if (fn->name.len == 0) {
        return NGX_DECLINED;
    }

    /* what jsonb cannot hold */

    if (!ngx_broadcast_utf8_valid(&fn->path)
        || !ngx_broadcast_utf8_valid(&fn->name)
        || ngx_strlchr(fn->path.data, fn->path.data + fn->path.len, '\0')
        || ngx_strlchr(fn->name.data, fn->name.data + fn->name.len, '\0'))
    {
        return NGX_ABORT;
    }

    return NGX_OK;
}


/* bindings are known: is there one, and may this client call it */

static ngx_int_t
ngx_http_broadcast_function_ready(ngx_http_request_t *r)
{
    u_char                          text[NGX_HTTP_BROADCAST_ROLE_MAX];
    ngx_str_t                       role;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_function_t  *fn;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    fn = ctx->data;

    role.data = text;
    role.len = 0;

    if (!ngx_broadcast_pg_enabled()
        || !ngx_broadcast_binding_find(ngx_broadcast_bus.zone,
                                       NGX_BROADCAST_ON_HTTP, NULL, &fn->name,
                                       &role))
    {
        return ngx_http_broadcast_error(r, NGX_HTTP_NOT_FOUND, "NotFound",
                                        "No function of this name is bound.",
                                        &fn->name);
    }

    if (role.len) {

        if (ctx->jwt == NULL) {
            return ngx_http_broadcast_unauthorized(r);
        }

        if (!ngx_broadcast_jwt_has_role(ctx->jwt, &role)) {
            ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);

            return ngx_http_broadcast_error(r, NGX_HTTP_FORBIDDEN,
                                            "Forbidden", "The token has not "
                                            "the role that is needed.", NULL);
        }

        /* the database may know another binding by now: it compares */

        fn->role.data = ngx_pstrdup(r->pool, &role);
        if (fn->role.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        fn->role.len = role.len;
    }

    return ngx_http_broadcast_read_body(r, ngx_http_broadcast_function_body);
}


static void
ngx_http_broadcast_function_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_function_ask(r));
}


static ngx_int_t
ngx_http_broadcast_function_ask(ngx_http_request_t *r)
{
    ngx_str_t                       event;
    ngx_broadcast_buf_t             b;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_function_t  *fn;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    fn = ctx->data;

    ngx_broadcast_buf_init(&b, r->pool, 1024 + ctx->body.len);

    ngx_broadcast_buf_literal(&b, "{\"kind\":\"http\",\"name\":");
    ngx_broadcast_buf_json(&b, &fn->name);
    ngx_broadcast_buf_literal(&b, ",\"method\":");
    ngx_broadcast_buf_json(&b, &r->method_name);
    ngx_broadcast_buf_literal(&b, ",\"path\":");
    ngx_broadcast_buf_json(&b, &fn->path);

    if (fn->role.len) {
        ngx_broadcast_buf_literal(&b, ",\"role\":");
        ngx_broadcast_buf_json(&b, &fn->role);
    }

    ngx_broadcast_buf_literal(&b, ",\"userId\":");

    if (ctx->user.len) {
        ngx_broadcast_buf_json(&b, &ctx->user);

    } else {
        ngx_broadcast_buf_literal(&b, "null");
    }

    ngx_broadcast_buf_char(&b, ',');

    if (ngx_http_broadcast_function_event_body(r, &b) != NGX_OK) {
        return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                        "The body is no JSON.", NULL);
    }

    ngx_broadcast_buf_char(&b, ',');
    ngx_http_broadcast_describe(r, &b);
    ngx_broadcast_buf_char(&b, '}');

    if (ngx_broadcast_buf_done(&b, &event) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_call(r, NGX_BROADCAST_ON_HTTP, &fn->name, &event,
                                   ngx_http_broadcast_function_called);
}


/*
 * JSON as it is, other text as a string; what jsonb cannot hold (binary,
 * U+0000, lone surrogates) in base64.  NGX_DECLINED: broken JSON.
 */

static ngx_int_t
ngx_http_broadcast_function_event_body(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b)
{
    u_char                      *p;
    ngx_str_t                   *body, text;
    ngx_uint_t                   binary;
    ngx_http_broadcast_ctx_t    *ctx;
    ngx_broadcast_scan_value_t   value;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    body = &ctx->body;

    if (body->len == 0) {
        ngx_broadcast_buf_literal(b, "\"body\":null");
        return NGX_OK;
    }

    if (ngx_http_broadcast_function_json(r)) {

        if (ngx_broadcast_scan_document(body, &value, NULL) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (!value.nul && !value.lone) {
            ngx_broadcast_buf_literal(b, "\"body\":");
            ngx_broadcast_buf_str(b, &value.text);
            return NGX_OK;
        }

        binary = 1;

    } else {
        binary = !ngx_broadcast_utf8_valid(body)
                 || ngx_strlchr(body->data, body->data + body->len, '\0');
    }

    if (!binary) {
        ngx_broadcast_buf_literal(b, "\"body\":");
        ngx_broadcast_buf_json(b, body);
        return NGX_OK;
    }

    ngx_broadcast_buf_literal(b, "\"bodyBase64\":\"");

    p = ngx_broadcast_buf_reserve(b, ngx_base64_encoded_length(body->len));

    if (p) {
        text.data = p;
        ngx_encode_base64(&text, body);
        b->last += text.len;
    }

    ngx_broadcast_buf_char(b, '"');

    return NGX_OK;
}


/* application/json, or a type with the suffix of RFC 6839, section 3.1 */

static ngx_uint_t
ngx_http_broadcast_function_json(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    if (ngx_http_broadcast_content_type(r, "application/json")) {
        return 1;
    }

    type = &r->headers_in.content_type->value;
    last = type->data + type->len;

    for (p = type->data; p < last && *p != ';' && *p != ' '; p++) {
        /* void */
    }

    return p - type->data > 5
           && ngx_strncasecmp(p - 5, (u_char *) "+json", 5) == 0;
}


static ngx_int_t
ngx_http_broadcast_function_called(ngx_http_request_t *r,
    ngx_broadcast_call_result_t *result)
{
    switch (result->status) {

    case NGX_BROADCAST_CALL_OK:
        return ngx_http_broadcast_function_answer(r, &result->value);

    case NGX_BROADCAST_CALL_FAILED:
        if (result->unauthorized) {
            return ngx_http_broadcast_no_role(r);
        }

        return ngx_http_broadcast_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "InternalServerError",
                                        "The function failed.", NULL);

    case NGX_BROADCAST_CALL_TIMEOUT:
        return ngx_http_broadcast_error(r, NGX_HTTP_GATEWAY_TIME_OUT,
                                        "GatewayTimeout",
                                        "The function took too long.", NULL);

    default:
        return ngx_http_broadcast_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "Unknown", "The connection to the "
                                        "database broke during the call.",
                                        NULL);
    }
}
