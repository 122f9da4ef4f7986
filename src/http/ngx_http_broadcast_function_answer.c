
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast_function.h"


static ngx_int_t ngx_http_broadcast_reply_parse(ngx_http_request_t *r,
    ngx_str_t *value, ngx_http_broadcast_reply_t *reply);
static ngx_int_t ngx_http_broadcast_reply_member(ngx_http_request_t *r,
    ngx_broadcast_scan_value_t *key, ngx_broadcast_scan_value_t *value,
    ngx_http_broadcast_reply_t *reply);
static ngx_int_t ngx_http_broadcast_reply_body(ngx_http_request_t *r,
    ngx_broadcast_scan_value_t *value, ngx_http_broadcast_reply_t *reply);
static ngx_int_t ngx_http_broadcast_reply_binary(ngx_http_request_t *r,
    ngx_broadcast_scan_value_t *value, ngx_http_broadcast_reply_t *reply);


/*
 * Nothing is sent, and no header set, before all was found good: what comes
 * instead of a bad answer has nothing of it.
 */

ngx_int_t
ngx_http_broadcast_function_answer(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_int_t                       rc;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_reply_t      reply;
    ngx_http_broadcast_function_t  *fn;

    ngx_memzero(&reply, sizeof(ngx_http_broadcast_reply_t));

    reply.status = value->len ? NGX_HTTP_OK : NGX_HTTP_NO_CONTENT;

    rc = ngx_array_init(&reply.fields, r->pool, 4, sizeof(ngx_keyval_t));

    if (rc == NGX_OK && value->len) {
        rc = ngx_http_broadcast_reply_parse(r, value, &reply);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_broadcast_reply_headers(r, &reply);
    }

    if (rc == NGX_DECLINED) {
        ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
        fn = ctx->data;

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "broadcast: \"http\" function for %V gave a bad "
                      "answer: %s", &fn->name, reply.wrong);

        return ngx_http_broadcast_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "InternalServerError",
                                        "The function failed.", NULL);
    }

    if (rc != NGX_OK || ngx_http_broadcast_reply_send(r, &reply) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_answer(r, reply.status, reply.type,
                                     &reply.body);
}


/* NGX_OK, NGX_DECLINED: not of the shape, NGX_ERROR: no memory */

static ngx_int_t
ngx_http_broadcast_reply_parse(ngx_http_request_t *r, ngx_str_t *value,
    ngx_http_broadcast_reply_t *reply)
{
    ngx_int_t                   rc;
    ngx_broadcast_scan_t        s;
    ngx_broadcast_scan_value_t  key, v;

    reply->wrong = "it is nested too deeply";

    ngx_broadcast_scan_init(&s, value);

    if (ngx_broadcast_scan_open(&s, '{') == NGX_OK) {

        while ((rc = ngx_broadcast_scan_member(&s, &key, &v)) == NGX_OK) {

            rc = ngx_http_broadcast_reply_member(r, &key, &v, reply);
            if (rc != NGX_OK) {
                return rc;
            }
        }

        if (rc != NGX_DONE) {
            return NGX_DECLINED;
        }
    }

    if (reply->shaped) {
        return NGX_OK;
    }

    /* a bare value is the body; JSON's null is no answer, as SQL's is */

    if (ngx_broadcast_scan_document(value, &v, NULL) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (v.type == NGX_BROADCAST_SCAN_NULL) {
        reply->status = NGX_HTTP_NO_CONTENT;
        return NGX_OK;
    }

    return ngx_http_broadcast_reply_body(r, &v, reply);
}


static ngx_int_t
ngx_http_broadcast_reply_member(ngx_http_request_t *r,
    ngx_broadcast_scan_value_t *key, ngx_broadcast_scan_value_t *value,
    ngx_http_broadcast_reply_t *reply)
{
    int64_t    status;
    ngx_int_t  rc;

    rc = NGX_OK;

    if (ngx_broadcast_scan_is(key, "status")) {

        /* null is a status that is not given */

        if (value->type != NGX_BROADCAST_SCAN_NULL) {

            if (ngx_broadcast_scan_int64(value, &status) != NGX_OK
                || status < 200 || status > 599)
            {
                reply->wrong = "\"status\" is no number from 200 to 599";
                return NGX_DECLINED;
            }

            reply->status = (ngx_uint_t) status;
        }

    } else if (ngx_broadcast_scan_is(key, "headers")) {
        reply->headers = *value;

    } else if (ngx_broadcast_scan_is(key, "body")) {
        rc = ngx_http_broadcast_reply_body(r, value, reply);

    } else if (ngx_broadcast_scan_is(key, "bodyBase64")) {
        rc = ngx_http_broadcast_reply_binary(r, value, reply);

    } else {
        return NGX_OK;
    }

    reply->shaped = 1;

    return rc;
}


/* a string is sent as it is, anything else as JSON; copied */

static ngx_int_t
ngx_http_broadcast_reply_body(ngx_http_request_t *r,
    ngx_broadcast_scan_value_t *value, ngx_http_broadcast_reply_t *reply)
{
    ngx_str_t  *body;

    body = &reply->body;

    ngx_str_null(body);

    if (value->type == NGX_BROADCAST_SCAN_NULL) {
        return NGX_OK;
    }

    body->data = ngx_pnalloc(r->pool, value->text.len);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    if (value->type == NGX_BROADCAST_SCAN_STRING) {
        body->len = ngx_broadcast_scan_decode(value, body->data);
        reply->type = "text/plain; charset=utf-8";
        return NGX_OK;
    }

    body->len = value->text.len;
    ngx_memcpy(body->data, value->text.data, body->len);
    reply->type = "application/json";

    return NGX_OK;
}


/*
 * What encode(bytea, 'base64') gives has line feeds.  In a jsonb it comes
 * behind "body", so it is what counts if there are both.
 */

static ngx_int_t
ngx_http_broadcast_reply_binary(ngx_http_request_t *r,
    ngx_broadcast_scan_value_t *value, ngx_http_broadcast_reply_t *reply)
{
    u_char     *p, *last, *dst;
    ngx_str_t   text;

    if (value->type == NGX_BROADCAST_SCAN_NULL) {
        return NGX_OK;
    }

    reply->wrong = "\"bodyBase64\" is not in base64";

    if (value->type != NGX_BROADCAST_SCAN_STRING) {
        return NGX_DECLINED;
    }

    text.data = ngx_pnalloc(r->pool, value->text.len);
    reply->body.data = ngx_pnalloc(r->pool, value->text.len);

    if (text.data == NULL || reply->body.data == NULL) {
        return NGX_ERROR;
    }

    last = text.data + ngx_broadcast_scan_decode(value, text.data);
    dst = text.data;

    for (p = text.data; p < last; p++) {
        if (*p != LF && *p != CR) {
            *dst++ = *p;
        }
    }

    text.len = dst - text.data;

    /* it would take anything behind the first '=' */

    p = ngx_strlchr(text.data, dst, '=');

    if (text.len % 4 || (p && (dst - p > 2 || dst[-1] != '='))
        || ngx_decode_base64(&reply->body, &text) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    reply->type = "application/octet-stream";

    return NGX_OK;
}
