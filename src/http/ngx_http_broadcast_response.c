
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast.h"


static ngx_int_t ngx_http_broadcast_retry_after(ngx_http_request_t *r);


ngx_int_t
ngx_http_broadcast_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
    h->lowcase_key = ngx_pnalloc(r->pool, h->key.len);
    ngx_broadcast_header_single(h);

    if (h->lowcase_key == NULL) {
        h->hash = 0;
        return NGX_ERROR;
    }

    ngx_strlow(h->lowcase_key, h->key.data, h->key.len);

    return NGX_OK;
}


ngx_int_t
ngx_http_broadcast_header_text(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_str_t  text;

    text.data = (u_char *) value;
    text.len = ngx_strlen(value);

    return ngx_http_broadcast_header(r, name, &text);
}


ngx_int_t
ngx_http_broadcast_answer(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    const char   *semicolon;
    ngx_chain_t   out;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;

    if (status == NGX_HTTP_NOT_MODIFIED) {

        /* this would be the length of what was not modified */

        r->headers_out.content_length_n = -1;
    }

    if (type) {
        r->headers_out.content_type.data = (u_char *) type;
        r->headers_out.content_type.len = ngx_strlen(type);
        r->headers_out.content_type_lowcase = NULL;

        /* without parameters: where they begin nginx adds no charset */

        semicolon = ngx_strchr(type, ';');

        r->headers_out.content_type_len =
            semicolon ? (size_t) (semicolon - type)
                      : r->headers_out.content_type.len;
    }

    if (status == NGX_HTTP_NO_CONTENT || body->len == 0) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_broadcast_text(ngx_http_request_t *r, ngx_uint_t status,
    const char *text)
{
    ngx_str_t  body;

    body.data = (u_char *) text;
    body.len = ngx_strlen(text);

    return ngx_http_broadcast_answer(r, status, "text/plain", &body);
}


ngx_int_t
ngx_http_broadcast_json(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body)
{
    return ngx_http_broadcast_answer(r, status, "application/json", body);
}


ngx_int_t
ngx_http_broadcast_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *message, ngx_str_t *target)
{
    ngx_str_t            text;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, r->pool, 256);

    text.data = (u_char *) code;
    text.len = ngx_strlen(code);

    ngx_broadcast_buf_literal(&b, "{\"code\":");
    ngx_broadcast_buf_json(&b, &text);

    text.data = (u_char *) message;
    text.len = ngx_strlen(message);

    ngx_broadcast_buf_literal(&b, ",\"message\":");
    ngx_broadcast_buf_json(&b, &text);

    ngx_broadcast_buf_literal(&b, ",\"target\":");

    if (target && target->len) {
        ngx_broadcast_buf_json(&b, target);

    } else {
        ngx_broadcast_buf_literal(&b, "null");
    }

    ngx_broadcast_buf_char(&b, '}');

    if (ngx_broadcast_buf_done(&b, &text) != NGX_OK
        || ngx_http_broadcast_header_text(r, "x-ms-error-code", code)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_json(r, status, &text);
}


ngx_int_t
ngx_http_broadcast_not_allowed(ngx_http_request_t *r, const char *allow)
{
    ngx_str_t                  none;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);

    if (ctx == NULL
        || ngx_http_broadcast_header_text(r, "Allow", allow) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method == NGX_HTTP_OPTIONS) {
        ngx_str_null(&none);
        return ngx_http_broadcast_answer(r, NGX_HTTP_NO_CONTENT, NULL, &none);
    }

    if (ctx->json) {
        return ngx_http_broadcast_error(r, NGX_HTTP_NOT_ALLOWED,
                                        "MethodNotAllowed",
                                        "The method is not allowed here.",
                                        &r->method_name);
    }

    return ngx_http_broadcast_text(r, NGX_HTTP_NOT_ALLOWED,
                                   "Method not allowed");
}


static ngx_int_t
ngx_http_broadcast_retry_after(ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t   value;

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%ui", (ngx_uint_t) NGX_HTTP_BROADCAST_RETRY)
                - p;

    return ngx_http_broadcast_header(r, "Retry-After", &value);
}


ngx_int_t
ngx_http_broadcast_retry(ngx_http_request_t *r, const char *message)
{
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);

    if (ctx == NULL || ngx_http_broadcast_retry_after(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->json) {
        return ngx_http_broadcast_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                        "ServiceUnavailable", message, NULL);
    }

    return ngx_http_broadcast_text(r, NGX_HTTP_SERVICE_UNAVAILABLE, message);
}


ngx_int_t
ngx_http_broadcast_unavailable(ngx_http_request_t *r, const char *message)
{
    ngx_broadcast_count(NGX_BROADCAST_REFUSED_DATABASE, 1);

    return ngx_http_broadcast_retry(r, message);
}


ngx_int_t
ngx_http_broadcast_unauthorized(ngx_http_request_t *r)
{
    ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);

    return ngx_http_broadcast_no_role(r);
}


ngx_int_t
ngx_http_broadcast_no_role(ngx_http_request_t *r)
{
    ngx_str_t                  none = ngx_null_string;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);

    if (ctx == NULL
        || ngx_http_broadcast_header_text(r, "WWW-Authenticate", "Bearer")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->json) {
        return ngx_http_broadcast_error(r, NGX_HTTP_UNAUTHORIZED,
                                        "Unauthorized",
                                        "A valid token is required.", NULL);
    }

    /* SignalR clients show the body if there is one, else the reason phrase */

    return ngx_http_broadcast_answer(r, NGX_HTTP_UNAUTHORIZED, "text/plain",
                                     &none);
}
