
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
static ngx_uint_t ngx_http_broadcast_describe_wanted(ngx_table_elt_t *h);
static ngx_int_t ngx_http_broadcast_describe_joined(ngx_http_request_t *r,
    ngx_table_elt_t **headers, ngx_uint_t n, ngx_str_t *value);


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
    ngx_str_t                       args, key, value;
    ngx_uint_t                      i, n, hub;
    ngx_http_broadcast_pair_t      *pairs;
    ngx_http_broadcast_loc_conf_t  *blcf;

    if (r->args.len == 0) {
        return;
    }

    pairs = ngx_palloc(r->pool, NGX_HTTP_BROADCAST_KEYS_MAX
                                * sizeof(ngx_http_broadcast_pair_t));
    if (pairs == NULL) {
        b->failed = 1;
        return;
    }

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);
    hub = (blcf->kind == NGX_HTTP_BROADCAST_HUB);

    n = 0;
    args = r->args;

    while (n < NGX_HTTP_BROADCAST_KEYS_MAX
           && ngx_broadcast_query_next(&args, &key, &value) == NGX_OK)
    {
        /*
         * Whoever has a connection's token can speak for it: events, which
         * are kept in a table, do not tell it.  A pair whose encoding is
         * broken is left out.
         */

        if (ngx_broadcast_query_key(&key, "access_token")
            || (hub && ngx_broadcast_query_key(&key, "id"))
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


/* several of one name are one value, as RFC 9110 and 6265 join them */

static void
ngx_http_broadcast_describe_headers(ngx_http_request_t *r,
    ngx_broadcast_buf_t *b)
{
    ngx_str_t         name, value;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, **headers;

    n = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        n += part->nelts;
    }

    headers = ngx_palloc(r->pool, (n + 1) * sizeof(ngx_table_elt_t *));
    if (headers == NULL) {
        b->failed = 1;
        return;
    }

    n = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_broadcast_describe_wanted(&h[i])) {
                headers[n++] = &h[i];
            }
        }
    }

    for (i = 0; i < n; i++) {

        if (headers[i] == NULL) {
            continue;
        }

        name.data = headers[i]->lowcase_key;
        name.len = headers[i]->key.len;

        if (ngx_http_broadcast_describe_joined(r, &headers[i], n - i, &value)
            != NGX_OK)
        {
            b->failed = 1;
            return;
        }

        if (i) {
            ngx_broadcast_buf_char(b, ',');
        }

        ngx_broadcast_buf_json(b, &name);
        ngx_broadcast_buf_char(b, ':');
        ngx_broadcast_buf_json(b, &value);
    }
}


static ngx_uint_t
ngx_http_broadcast_describe_wanted(ngx_table_elt_t *h)
{
    return h->lowcase_key
           && !(h->key.len == 13
                && ngx_memcmp(h->lowcase_key, "authorization", 13) == 0);
}


/*
 * The values of the first header and of those of its name behind it, which
 * are taken out.  Comparing all with all is bounded as with query keys: of
 * more headers than that, jsonb keeps the last of a name.
 */

static ngx_int_t
ngx_http_broadcast_describe_joined(ngx_http_request_t *r,
    ngx_table_elt_t **headers, ngx_uint_t n, ngx_str_t *value)
{
    u_char           *p;
    size_t            len;
    ngx_str_t         more;
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    h = headers[0];
    *value = h->value;

    /* a Referer may have the token in its query */

    if (ngx_http_broadcast_mask(r->pool, value) != NGX_OK) {
        return NGX_ERROR;
    }

    n = ngx_min(n, NGX_HTTP_BROADCAST_KEYS_MAX);

    for (i = 1; i < n; i++) {

        if (headers[i] == NULL
            || headers[i]->key.len != h->key.len
            || ngx_memcmp(headers[i]->lowcase_key, h->lowcase_key, h->key.len)
               != 0)
        {
            continue;
        }

        more = headers[i]->value;
        headers[i] = NULL;

        if (ngx_http_broadcast_mask(r->pool, &more) != NGX_OK) {
            return NGX_ERROR;
        }

        len = value->len + 2 + more.len;

        p = ngx_pnalloc(r->pool, len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_sprintf(p, "%V%s%V", value,
                           (h->key.len == 6
                            && ngx_memcmp(h->lowcase_key, "cookie", 6) == 0)
                           ? "; " : ", ", &more);

        value->data = p;
        value->len = len;
    }

    return NGX_OK;
}
