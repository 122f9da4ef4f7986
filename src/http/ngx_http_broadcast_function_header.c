
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Headers that an SQL function gives its answer. */


#include "http/ngx_http_broadcast_function.h"


static ngx_int_t ngx_http_broadcast_reply_header(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply, ngx_str_t *name,
    ngx_broadcast_scan_value_t *value);
static ngx_int_t ngx_http_broadcast_reply_field(
    ngx_http_broadcast_reply_t *reply, ngx_str_t *name, ngx_str_t *text);
static ngx_uint_t ngx_http_broadcast_reply_among(ngx_str_t *name,
    const char *const *names);
static ngx_uint_t ngx_http_broadcast_reply_good(ngx_str_t *name,
    ngx_str_t *value);
static void ngx_http_broadcast_reply_known(ngx_http_request_t *r,
    ngx_table_elt_t *h);


ngx_int_t
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

    reply->wrong = "\"headers\" is no object";

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
    ngx_str_t  text;

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
        reply->wrong = "\"headers\" has what is no name or no value of one";
        return NGX_DECLINED;
    }

    return ngx_http_broadcast_reply_field(reply, name, &text);
}


/*
 * Where the message ends and how the connection goes on is not a function's to
 * say: RFC 9110 section 7.6.1, RFC 9112 section 6.  It may tell the length if
 * it is right.
 */

static ngx_int_t
ngx_http_broadcast_reply_field(ngx_http_broadcast_reply_t *reply,
    ngx_str_t *name, ngx_str_t *text)
{
    ngx_keyval_t  *field;

    static const char *const  refused[] = {
        "connection", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", NULL
    };

    static const char *const  ours[] = {
        "content-length", "date", "server", NULL
    };

    if (ngx_http_broadcast_reply_among(name, refused)) {
        reply->wrong = "\"headers\" has one of the connection";
        return NGX_DECLINED;
    }

    if (ngx_strcasecmp(name->data, (u_char *) "content-length") == 0
        && ngx_atosz(text->data, text->len) != (ssize_t) reply->body.len)
    {
        reply->wrong = "\"headers\" has a wrong length";
        return NGX_DECLINED;
    }

    if (ngx_http_broadcast_reply_among(name, ours)) {
        return NGX_OK;
    }

    if (ngx_strcasecmp(name->data, (u_char *) "content-type") == 0) {
        reply->type = (char *) text->data;
        return NGX_OK;
    }

    field = ngx_array_push(&reply->fields);
    if (field == NULL) {
        return NGX_ERROR;
    }

    field->key = *name;
    field->value = *text;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_broadcast_reply_among(ngx_str_t *name, const char *const *names)
{
    for ( /* void */ ; *names; names++) {
        if (ngx_strcasecmp(name->data, (u_char *) *names) == 0) {
            return 1;
        }
    }

    return 0;
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


ngx_int_t
ngx_http_broadcast_reply_send(ngx_http_request_t *r,
    ngx_http_broadcast_reply_t *reply)
{
    ngx_uint_t        i;
    ngx_keyval_t     *field;
    ngx_table_elt_t  *h;

    /*
     * If-None-Match and the like are nginx's to look at, where the request
     * only reads: what a function has done is done.
     */

    r->disable_not_modified = !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD));

    field = reply->fields.elts;

    for (i = 0; i < reply->fields.nelts; i++) {

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        h->hash = 1;
        h->key = field[i].key;
        h->value = field[i].value;
        ngx_broadcast_header_single(h);

        h->lowcase_key = ngx_pnalloc(r->pool, h->key.len);
        if (h->lowcase_key == NULL) {
            h->hash = 0;
            return NGX_ERROR;
        }

        ngx_strlow(h->lowcase_key, h->key.data, h->key.len);

        ngx_http_broadcast_reply_known(r, h);
    }

    return NGX_OK;
}


/* those that nginx's filters, and auth_request, look for in places of theirs */

static void
ngx_http_broadcast_reply_known(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    u_char  *name;

    name = h->key.data;

    if (ngx_strcasecmp(name, (u_char *) "etag") == 0) {
        r->headers_out.etag = h;

    } else if (ngx_strcasecmp(name, (u_char *) "last-modified") == 0) {
        r->headers_out.last_modified = h;
        r->headers_out.last_modified_time =
            ngx_parse_http_time(h->value.data, h->value.len);

    } else if (ngx_strcasecmp(name, (u_char *) "content-encoding") == 0) {
        r->headers_out.content_encoding = h;

    } else if (ngx_strcasecmp(name, (u_char *) "www-authenticate") == 0) {
        r->headers_out.www_authenticate = h;
    }
}
