
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast_function.h"
#include "proto/ngx_broadcast_scan.h"


typedef struct {
    ngx_uint_t                  status;
    const char                 *type;
    ngx_str_t                   body;
    ngx_broadcast_scan_value_t  headers;
    ngx_uint_t                  shaped;    /* it has one of the members */
} ngx_http_broadcast_reply_t;


static ngx_int_t ngx_http_broadcast_reply_parse(ngx_http_request_t *r,
    ngx_str_t *value, ngx_http_broadcast_reply_t *reply);
static ngx_int_t ngx_http_broadcast_reply_body(ngx_http_request_t *r,
    ngx_broadcast_scan_value_t *value, ngx_http_broadcast_reply_t *reply);
static ngx_int_t ngx_http_broadcast_reply_headers(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply);
static ngx_int_t ngx_http_broadcast_reply_header(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply, ngx_str_t *name,
    ngx_broadcast_scan_value_t *value);
static ngx_uint_t ngx_http_broadcast_reply_good(ngx_str_t *name,
    ngx_str_t *value);


ngx_int_t
ngx_http_broadcast_function_answer(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_int_t                    rc;
    ngx_http_broadcast_reply_t   reply;

    ngx_memzero(&reply, sizeof(ngx_http_broadcast_reply_t));

    reply.status = value->len ? NGX_HTTP_OK : NGX_HTTP_NO_CONTENT;

    rc = NGX_OK;

    if (value->len) {
        rc = ngx_http_broadcast_reply_parse(r, value, &reply);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_broadcast_reply_headers(r, &reply);
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "http function gave a bad status, header or body");

        return ngx_http_broadcast_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "InternalServerError",
                                        "The function failed.", NULL);
    }

    if (rc != NGX_OK) {
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
    int64_t                     status;
    ngx_int_t                   rc;
    ngx_broadcast_scan_t        s;
    ngx_broadcast_scan_value_t  key, v;

    ngx_broadcast_scan_init(&s, value);

    if (ngx_broadcast_scan_open(&s, '{') == NGX_OK) {

        while ((rc = ngx_broadcast_scan_member(&s, &key, &v)) == NGX_OK) {

            if (ngx_broadcast_scan_is(&key, "status")) {

                if (ngx_broadcast_scan_int64(&v, &status) != NGX_OK
                    || status < 200 || status > 599)
                {
                    return NGX_DECLINED;
                }

                reply->status = (ngx_uint_t) status;

            } else if (ngx_broadcast_scan_is(&key, "headers")) {
                reply->headers = v;

            } else if (ngx_broadcast_scan_is(&key, "body")) {

                if (ngx_http_broadcast_reply_body(r, &v, reply) != NGX_OK) {
                    return NGX_ERROR;
                }

            } else {
                continue;
            }

            reply->shaped = 1;
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


static ngx_int_t
ngx_http_broadcast_reply_headers(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply)
{
    ngx_int_t                   rc;
    ngx_str_t                   name;
    ngx_broadcast_scan_t        s, list;
    ngx_broadcast_scan_value_t  key, v, item;

    if (reply->headers.text.len == 0
        || reply->headers.type == NGX_BROADCAST_SCAN_NULL)
    {
        return NGX_OK;
    }

    ngx_broadcast_scan_init(&s, &reply->headers.text);

    if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) {
        return NGX_DECLINED;
    }

    while ((rc = ngx_broadcast_scan_member(&s, &key, &v)) == NGX_OK) {

        name.data = ngx_pnalloc(r->pool, key.text.len);
        if (name.data == NULL) {
            return NGX_ERROR;
        }

        name.len = ngx_broadcast_scan_decode(&key, name.data);
        name.data[name.len] = '\0';

        if (v.type != NGX_BROADCAST_SCAN_ARRAY) {
            rc = ngx_http_broadcast_reply_header(r, reply, &name, &v);
            if (rc != NGX_OK) {
                return rc;
            }

            continue;
        }

        /* several of one name: Set-Cookie */

        ngx_broadcast_scan_init(&list, &v.text);
        (void) ngx_broadcast_scan_open(&list, '[');

        while (ngx_broadcast_scan_element(&list, &item) == NGX_OK) {
            rc = ngx_http_broadcast_reply_header(r, reply, &name, &item);
            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    return (rc == NGX_DONE) ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_broadcast_reply_header(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply, ngx_str_t *name,
    ngx_broadcast_scan_value_t *value)
{
    size_t      i;
    ngx_str_t   text;

    /* these are nginx's to say */

    static const char  *ours[] = {
        "content-length", "transfer-encoding", "connection", "keep-alive",
        "upgrade", "trailer", "date", "server"
    };

    if (value->type == NGX_BROADCAST_SCAN_NULL) {
        return NGX_OK;
    }

    text.data = ngx_pnalloc(r->pool, value->text.len + 1);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    if (value->type == NGX_BROADCAST_SCAN_STRING) {
        text.len = ngx_broadcast_scan_decode(value, text.data);

    } else {
        text.len = value->text.len;
        ngx_memcpy(text.data, value->text.data, text.len);
    }

    text.data[text.len] = '\0';

    if (!ngx_http_broadcast_reply_good(name, &text)) {
        return NGX_DECLINED;
    }

    for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (ngx_strcasecmp(name->data, (u_char *) ours[i]) == 0) {
            return NGX_OK;
        }
    }

    if (ngx_strcasecmp(name->data, (u_char *) "content-type") == 0) {
        reply->type = (char *) text.data;
        return NGX_OK;
    }

    return ngx_http_broadcast_header(r, (char *) name->data, &text);
}


/* a token, and no control characters: nobody writes a second header here */

static ngx_uint_t
ngx_http_broadcast_reply_good(ngx_str_t *name, ngx_str_t *value)
{
    u_char  c;
    size_t  i;

    if (name->len == 0) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
              || (c >= 'a' && c <= 'z')
              || ngx_strchr("!#$%&'*+-.^_`|~", c))
            || c == '\0')
        {
            return 0;
        }
    }

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return 0;
        }
    }

    return 1;
}
