
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* A request as SQL functions see it: members of an event. */


#include "http/ngx_http_broadcast_mask.h"


/* query keys that are looked at: finding repeated ones costs their square */

#define NGX_HTTP_BROADCAST_KEYS_MAX  256


typedef struct {
    ngx_str_t                 key;
    ngx_str_t                 value;
    ngx_uint_t                done;
} ngx_http_broadcast_pair_t;


static void ngx_http_broadcast_describe_claims(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b);
static void ngx_http_broadcast_describe_query(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b);
static void ngx_http_broadcast_describe_pairs(ngx_broadcast_buf_t *b,
    ngx_http_broadcast_pair_t *pairs, ngx_uint_t n, ngx_uint_t comma);
static ngx_int_t ngx_http_broadcast_describe_text(ngx_http_request_t *r,
    ngx_str_t *text);
static void ngx_http_broadcast_describe_headers(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b);


void
ngx_http_broadcast_describe(ngx_http_request_t *r, ngx_broadcast_buf_t *b)
{
    ngx_broadcast_buf_literal(b, "\"claims\":");
    ngx_http_broadcast_describe_claims(r, b);

    ngx_broadcast_buf_literal(b, ",\"query\":{");
    ngx_http_broadcast_describe_query(r, b);

    ngx_broadcast_buf_literal(b, "},\"headers\":{");
    ngx_http_broadcast_describe_headers(r, b);

    ngx_broadcast_buf_literal(b, "},\"remoteAddress\":");
    ngx_broadcast_buf_json(b, &r->connection->addr_text);
}


static void
ngx_http_broadcast_describe_claims(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b)
{
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

    if (ctx == NULL || ctx->jwt == NULL) {
        ngx_broadcast_buf_literal(b, "{}");
        return;
    }

    ngx_broadcast_buf_str(b, &ctx->jwt->payload);
}


/*
 * Undoes the encoding.  U+0000, which jsonb cannot hold, becomes what the
 * buffer writes for a byte that is not UTF-8: U+FFFD.
 */

static ngx_int_t
ngx_http_broadcast_describe_text(ngx_http_request_t *r, ngx_str_t *text)
{
    size_t     i;
    ngx_int_t  rc;

    rc = ngx_broadcast_unescape(r->pool, text, text, NGX_BROADCAST_IN_QUERY);

    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; i < text->len; i++) {
        if (text->data[i] == '\0') {
            text->data[i] = 0xff;
        }
    }

    return NGX_OK;
}


static void
ngx_http_broadcast_describe_query(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b)
{
    ngx_str_t                   args, key, value;
    ngx_uint_t                  i, n;
    ngx_http_broadcast_pair_t  *pairs;

    if (r->args.len == 0) {
        return;
    }

    pairs = ngx_palloc(r->pool, NGX_HTTP_BROADCAST_KEYS_MAX
                                * sizeof(ngx_http_broadcast_pair_t));
    if (pairs == NULL) {
        b->failed = 1;
        return;
    }

    n = 0;
    args = r->args;

    while (n < NGX_HTTP_BROADCAST_KEYS_MAX
           && ngx_broadcast_query_next(&args, &key, &value) == NGX_OK)
    {
        /* a pair whose encoding is broken is left out */

        if (ngx_broadcast_query_key(&key, "access_token")
            || ngx_http_broadcast_describe_text(r, &key) != NGX_OK
            || ngx_http_broadcast_describe_text(r, &value) != NGX_OK)
        {
            continue;
        }

        pairs[n].key = key;
        pairs[n].value = value;
        pairs[n].done = 0;
        n++;
    }

    for (i = 0; i < n; i++) {
        if (!pairs[i].done) {
            ngx_http_broadcast_describe_pairs(b, &pairs[i], n - i, i > 0);
        }
    }

    (void) ngx_pfree(r->pool, pairs);
}


/* the first pair, its value an array if the key comes again */

static void
ngx_http_broadcast_describe_pairs(ngx_broadcast_buf_t *b,
    ngx_http_broadcast_pair_t *pairs, ngx_uint_t n, ngx_uint_t comma)
{
    ngx_str_t   *key;
    ngx_uint_t   i, more;

    more = 0;
    key = &pairs[0].key;

    for (i = 1; i < n; i++) {
        if (pairs[i].key.len == key->len
            && ngx_memcmp(pairs[i].key.data, key->data, key->len) == 0)
        {
            pairs[i].done = 1;
            more = 1;
        }
    }

    if (comma) {
        ngx_broadcast_buf_char(b, ',');
    }

    ngx_broadcast_buf_json(b, key);
    ngx_broadcast_buf_char(b, ':');

    if (!more) {
        ngx_broadcast_buf_json(b, &pairs[0].value);
        return;
    }

    ngx_broadcast_buf_char(b, '[');
    ngx_broadcast_buf_json(b, &pairs[0].value);

    for (i = 1; i < n; i++) {
        if (pairs[i].key.len == key->len
            && ngx_memcmp(pairs[i].key.data, key->data, key->len) == 0)
        {
            ngx_broadcast_buf_char(b, ',');
            ngx_broadcast_buf_json(b, &pairs[i].value);
        }
    }

    ngx_broadcast_buf_char(b, ']');
}


static void
ngx_http_broadcast_describe_headers(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b)
{
    ngx_str_t         name, value;
    ngx_uint_t        i, comma;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    comma = 0;
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        name.data = h[i].lowcase_key;
        name.len = h[i].key.len;
        value = h[i].value;

        if (name.data == NULL
            || (name.len == 13
                && ngx_memcmp(name.data, "authorization", 13) == 0))
        {
            continue;
        }

        /* a Referer may have the token in its query */

        if (ngx_http_broadcast_mask(r->pool, &value) != NGX_OK) {
            b->failed = 1;
            return;
        }

        if (comma) {
            ngx_broadcast_buf_char(b, ',');
        }

        ngx_broadcast_buf_json(b, &name);
        ngx_broadcast_buf_char(b, ':');
        ngx_broadcast_buf_json(b, &value);

        comma = 1;
    }
}
