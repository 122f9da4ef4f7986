
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What publish and the REST API have in common behind their bodies. */


#include "http/ngx_http_broadcast_message.h"


#define NGX_HTTP_BROADCAST_KEY_MAX        255
#define NGX_HTTP_BROADCAST_UNPROCESSABLE  422


static ngx_uint_t ngx_http_broadcast_headers_in(ngx_http_request_t *r,
    const char *name);
static ngx_int_t ngx_http_broadcast_key_value(ngx_http_request_t *r,
    ngx_str_t *value, ngx_str_t *key);


ngx_int_t
ngx_http_broadcast_batch_refused(ngx_http_broadcast_batch_t *batch,
    ngx_int_t rc)
{
    u_char              *p;
    ngx_str_t            target;
    ngx_http_request_t  *r;

    r = batch->r;

    switch (rc) {

    case NGX_DECLINED:
        ngx_str_null(&target);

        if (batch->line) {
            p = ngx_pnalloc(r->pool, sizeof("line ") - 1 + NGX_INT_T_LEN);
            if (p == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            target.data = p;
            target.len = ngx_sprintf(p, "line %ui", batch->line) - p;
        }

        return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                        batch->error, &target);

    case NGX_BUSY:
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);

        return ngx_http_broadcast_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        "PayloadTooLarge",
                                        "Too many messages in one body.",
                                        NULL);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


ngx_int_t
ngx_http_broadcast_send_to(ngx_http_request_t *r, ngx_str_t *hub,
    ngx_array_t *records, ngx_uint_t want, ngx_http_broadcast_sent_pt sent)
{
    ngx_uint_t               i, index;
    ngx_broadcast_sent_t     result;
    ngx_broadcast_record_t  *rec;

    if (ngx_broadcast_hub_index(hub, &index) != NGX_OK) {
        ngx_memzero(&result, sizeof(ngx_broadcast_sent_t));
        result.status = NGX_BROADCAST_NOT_FIT;
        return ngx_http_broadcast_not_sent(r, &result);
    }

    rec = records->elts;

    for (i = 0; i < records->nelts; i++) {
        rec[i].hub = index;
    }

    return ngx_http_broadcast_send(r, rec, records->nelts, want, sent);
}


ngx_int_t
ngx_http_broadcast_sent(ngx_http_request_t *r, ngx_broadcast_sent_t *sent,
    ngx_uint_t status)
{
    u_char               position[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t            body;
    ngx_broadcast_buf_t  b;

    if (sent->status != NGX_BROADCAST_SENT
        && sent->status != NGX_BROADCAST_SENT_UNNUMBERED)
    {
        return ngx_http_broadcast_not_sent(r, sent);
    }

    ngx_broadcast_buf_init(&b, r->pool, 64);

    if (sent->status == NGX_BROADCAST_SENT && sent->position.epoch) {
        ngx_broadcast_buf_literal(&b, "{\"id\":\"");
        ngx_broadcast_buf_append(&b, position,
                  ngx_broadcast_position_print(position, &sent->position)
                  - position);
        ngx_broadcast_buf_literal(&b, "\",\"count\":");

    } else {
        status = NGX_HTTP_ACCEPTED;
        ngx_broadcast_buf_literal(&b, "{\"count\":");
    }

    ngx_broadcast_buf_uint(&b, sent->count);
    ngx_broadcast_buf_char(&b, '}');

    if (ngx_broadcast_buf_done(&b, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_json(r, status, &body);
}


ngx_int_t
ngx_http_broadcast_not_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent)
{
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->json = 1;

    switch (sent->status) {

    case NGX_BROADCAST_NOT_FIT:
        return ngx_http_broadcast_error(r, NGX_HTTP_INSUFFICIENT_STORAGE,
                                        "InsufficientStorage",
                                        "It does not fit into the zone.",
                                        NULL);

    case NGX_BROADCAST_SENT_BUSY:
        if (ngx_http_broadcast_header_text(r, "Retry-After", "1") != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_broadcast_error(r, NGX_HTTP_CONFLICT, "Conflict",
                                        "A request with this Idempotency-Key "
                                        "is under way.", NULL);

    case NGX_BROADCAST_SENT_OTHER:
        return ngx_http_broadcast_error(r, NGX_HTTP_BROADCAST_UNPROCESSABLE,
                                        "IdempotencyKeyReused",
                                        "This Idempotency-Key was used for "
                                        "another request.", NULL);

    case NGX_BROADCAST_NOT_SENT:
        return ngx_http_broadcast_unavailable(r, "The database is away, "
                                              "nothing was kept.");

    default:
        return ngx_http_broadcast_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "Unknown", "The connection to the "
                                        "database broke while it was kept.",
                                        NULL);
    }
}


/*
 * draft-ietf-httpapi-idempotency-key-header: a string of structured fields, in
 * quotes; what stands there without them is taken as it is.
 */

ngx_int_t
ngx_http_broadcast_read_send(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler)
{
    ngx_table_elt_t           *h;
    ngx_http_broadcast_ctx_t  *ctx;

    h = ngx_http_broadcast_header_in(r, "idempotency-key");

    if (h == NULL) {
        return ngx_http_broadcast_read_body(r, handler);
    }

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (ngx_http_broadcast_key_value(r, &h->value, &ctx->key)) {

    case NGX_OK:
        if (ngx_http_broadcast_headers_in(r, "idempotency-key") == 1) {
            return ngx_http_broadcast_read_body(r, handler);
        }

        break;

    case NGX_ERROR:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    default:
        break;
    }

    ctx->json = 1;

    return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                    "The Idempotency-Key must be given once "
                                    "and have 1 to 255 printable characters "
                                    "of ASCII.", NULL);
}


static ngx_uint_t
ngx_http_broadcast_headers_in(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;
    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash && h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                n++;
            }
        }
    }

    return n;
}


/* NGX_OK; NGX_DECLINED: it cannot be one; NGX_ERROR: no memory */

static ngx_int_t
ngx_http_broadcast_key_value(ngx_http_request_t *r, ngx_str_t *value,
    ngx_str_t *key)
{
    u_char      *p, *last, *dst;
    ngx_uint_t   quoted;

    dst = ngx_pnalloc(r->pool, value->len + 1);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    key->data = dst;

    p = value->data;
    last = p + value->len;

    quoted = p < last && *p == '"';

    if (quoted) {
        p++;

        if (p == last || *--last != '"') {
            return NGX_DECLINED;
        }
    }

    for ( /* void */ ; p < last; p++) {

        if (quoted && *p == '\\') {

            if (++p == last || (*p != '"' && *p != '\\')) {
                return NGX_DECLINED;
            }

        } else if (quoted && *p == '"') {
            return NGX_DECLINED;
        }

        if (*p < ' ' || *p > '~') {
            return NGX_DECLINED;
        }

        *dst++ = *p;
    }

    key->len = dst - key->data;

    return key->len >= 1 && key->len <= NGX_HTTP_BROADCAST_KEY_MAX
           ? NGX_OK : NGX_DECLINED;
}


/* ids are base64url; those of clients that negotiated version 0 are longer */

ngx_int_t
ngx_http_broadcast_connection_id(ngx_str_t *id)
{
    size_t  i;
    u_char  c;

    if (id->len == 0 || id->len > NGX_BROADCAST_CONN_ID_MAX) {
        return NGX_ERROR;
    }

    for (i = 0; i < id->len; i++) {
        c = id->data[i];

        if (c <= ' ' || c == ',' || c >= 0x7f) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
