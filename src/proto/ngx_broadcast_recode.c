
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_recode_local.h"
#include "proto/ngx_broadcast_scan.h"


/* digits of a float64 that can decide its value, and its exponent */

#define NGX_BROADCAST_RECODE_NUMBER  1100


typedef ngx_int_t (*ngx_broadcast_recode_pt)(const ngx_str_t *from,
    ngx_pool_t *pool, ngx_str_t *to);


static ngx_int_t ngx_broadcast_recode_str(ngx_broadcast_recode_t *ctx);
static ngx_int_t ngx_broadcast_recode_literal(ngx_broadcast_recode_t *ctx,
    size_t len);
static ngx_int_t ngx_broadcast_recode_number(ngx_broadcast_recode_t *ctx);
static ngx_int_t ngx_broadcast_recode_uint64(ngx_str_t *text, uint64_t *n);
static ngx_int_t ngx_broadcast_recode_double(ngx_broadcast_recode_t *ctx,
    ngx_str_t *text);


ngx_int_t
ngx_broadcast_recode_message(const ngx_broadcast_message_t *m,
    ngx_broadcast_hub_protocol_e encoding, ngx_pool_t *pool,
    ngx_broadcast_message_t *to)
{
    ngx_broadcast_recode_pt  recode;

    if (to != m) {
        *to = *m;
    }

    if (to->encoding == encoding) {
        return NGX_OK;
    }

    to->encoding = encoding;

    recode = (encoding == NGX_BROADCAST_HUB_MSGPACK)
             ? ngx_broadcast_recode_pack : ngx_broadcast_recode_text;

    if ((to->arguments.len
         && recode(&to->arguments, pool, &to->arguments) != NGX_OK)
        || (to->streams.len
            && recode(&to->streams, pool, &to->streams) != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (!to->has_value) {
        return NGX_OK;
    }

    if (to->shape.len && encoding == NGX_BROADCAST_HUB_MSGPACK) {
        return ngx_broadcast_recode_shaped(&to->value, &to->shape, pool,
                                           &to->value);
    }

    return recode(&to->value, pool, &to->value);
}


/*
 * The head of an array tells how many elements follow, and the shortest form
 * of the head depends on it: a first walk counts them, in the order in which
 * arrays and objects are opened.
 */

ngx_int_t
ngx_broadcast_recode_pack(const ngx_str_t *json, ngx_pool_t *pool,
    ngx_str_t *packed)
{
    uint32_t                *count;
    ngx_uint_t               n;
    ngx_array_t              counts;
    ngx_broadcast_recode_t   ctx;

    if (ngx_array_init(&counts, pool, 8, sizeof(uint32_t)) != NGX_OK
        || ngx_broadcast_recode_count(json, &counts) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx.pos = json->data;
    ctx.last = json->data + json->len;
    ctx.pool = pool;

    ngx_broadcast_buf_init(&ctx.buf, pool, json->len);
    ngx_broadcast_msgpack_packer(&ctx.pk, &ctx.buf);

    count = counts.elts;
    n = 0;

    while (ctx.pos < ctx.last) {

        switch (*ctx.pos) {

        case '[':
        case '{':

            if (n == counts.nelts) {
                return NGX_ERROR;
            }

            if (*ctx.pos == '[') {
                msgpack_pack_array(&ctx.pk, count[n++]);

            } else {
                msgpack_pack_map(&ctx.pk, count[n++]);
            }

            ctx.pos++;
            break;

        case ']':
        case '}':
        case ',':
        case ':':
        case ' ':
        case '\t':
        case CR:
        case LF:
            ctx.pos++;
            break;

        default:
            if (ngx_broadcast_recode_token(&ctx) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return ngx_broadcast_buf_done(&ctx.buf, packed);
}


/* elements or pairs: the commas, and one more where there is anything */

ngx_int_t
ngx_broadcast_recode_count(const ngx_str_t *json, ngx_array_t *counts)
{
    u_char      *p, *last;
    uint32_t    *count;
    ngx_uint_t   depth, escaped, open[NGX_BROADCAST_SCAN_DEPTH];

    p = json->data;
    last = p + json->len;
    depth = 0;

    while (p < last) {

        switch (*p) {

        case ' ':
        case '\t':
        case CR:
        case LF:
        case ':':
            p++;
            continue;

        case ']':
        case '}':

            if (depth == 0) {
                return NGX_ERROR;
            }

            depth--;
            p++;
            continue;
        }

        if (depth) {
            count = (uint32_t *) counts->elts + open[depth - 1];

            if (*p == ',') {
                (*count)++;
                p++;
                continue;
            }

            if (*count == 0) {
                *count = 1;
            }
        }

        if (*p == '[' || *p == '{') {

            if (depth == NGX_BROADCAST_SCAN_DEPTH) {
                return NGX_ERROR;
            }

            open[depth++] = counts->nelts;

            count = ngx_array_push(counts);
            if (count == NULL) {
                return NGX_ERROR;
            }

            *count = 0;
        }

        p = (*p == '"') ? ngx_broadcast_recode_quote(p, last, &escaped)
                        : p + 1;

        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    return depth ? NGX_ERROR : NGX_OK;
}


/* from an opening quote to behind the closing one; NULL: there is none */

u_char *
ngx_broadcast_recode_quote(u_char *p, u_char *last, ngx_uint_t *escaped)
{
    *escaped = 0;

    for (p++; p < last; p++) {

        if (*p == '"') {
            return p + 1;
        }

        if (*p == '\\') {
            *escaped = 1;
            p++;
        }
    }

    return NULL;
}


ngx_int_t
ngx_broadcast_recode_token(ngx_broadcast_recode_t *ctx)
{
    switch (*ctx->pos) {

    case '"':
        return ngx_broadcast_recode_str(ctx);

    case 'n':
        msgpack_pack_nil(&ctx->pk);
        return ngx_broadcast_recode_literal(ctx, sizeof("null") - 1);

    case 't':
        msgpack_pack_true(&ctx->pk);
        return ngx_broadcast_recode_literal(ctx, sizeof("true") - 1);

    case 'f':
        msgpack_pack_false(&ctx->pk);
        return ngx_broadcast_recode_literal(ctx, sizeof("false") - 1);

    default:
        return ngx_broadcast_recode_number(ctx);
    }
}


static ngx_int_t
ngx_broadcast_recode_literal(ngx_broadcast_recode_t *ctx, size_t len)
{
    if ((size_t) (ctx->last - ctx->pos) < len) {
        return NGX_ERROR;
    }

    ctx->pos += len;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_recode_string(ngx_broadcast_recode_t *ctx, ngx_str_t *string)
{
    u_char                      *end;
    ngx_uint_t                   escaped;
    ngx_broadcast_scan_value_t   v;

    end = ngx_broadcast_recode_quote(ctx->pos, ctx->last, &escaped);

    if (end == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&v, sizeof(ngx_broadcast_scan_value_t));

    v.type = NGX_BROADCAST_SCAN_STRING;
    v.text.data = ctx->pos;
    v.text.len = end - ctx->pos;
    v.escaped = escaped;

    ctx->pos = end;

    return ngx_broadcast_scan_string(&v, ctx->pool, string);
}


static ngx_int_t
ngx_broadcast_recode_str(ngx_broadcast_recode_t *ctx)
{
    ngx_str_t  string;

    if (ngx_broadcast_recode_string(ctx, &string) != NGX_OK) {
        return NGX_ERROR;
    }

    msgpack_pack_str(&ctx->pk, string.len);
    msgpack_pack_str_body(&ctx->pk, string.data, string.len);

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_recode_number(ngx_broadcast_recode_t *ctx)
{
    u_char                       c, *p;
    int64_t                      i;
    uint64_t                     u;
    ngx_str_t                    text;
    ngx_broadcast_scan_value_t   v;

    for (p = ctx->pos; p < ctx->last; p++) {
        c = *p;

        if ((c < '0' || c > '9') && c != '-' && c != '+' && c != '.'
            && c != 'e' && c != 'E')
        {
            break;
        }
    }

    if (p == ctx->pos) {
        return NGX_ERROR;
    }

    text.data = ctx->pos;
    text.len = p - ctx->pos;

    ctx->pos = p;

    ngx_memzero(&v, sizeof(ngx_broadcast_scan_value_t));

    v.type = NGX_BROADCAST_SCAN_NUMBER;
    v.text = text;

    if (ngx_broadcast_scan_int64(&v, &i) == NGX_OK) {
        msgpack_pack_int64(&ctx->pk, i);
        return NGX_OK;
    }

    if (ngx_broadcast_recode_uint64(&text, &u) == NGX_OK) {
        msgpack_pack_uint64(&ctx->pk, u);
        return NGX_OK;
    }

    return ngx_broadcast_recode_double(ctx, &text);
}


static ngx_int_t
ngx_broadcast_recode_uint64(ngx_str_t *text, uint64_t *n)
{
    size_t    i;
    uint64_t  digit;

    *n = 0;

    for (i = 0; i < text->len; i++) {

        if (text->data[i] < '0' || text->data[i] > '9') {
            return NGX_DECLINED;
        }

        digit = text->data[i] - '0';

        if (*n > (UINT64_MAX - digit) / 10) {
            return NGX_DECLINED;
        }

        *n = *n * 10 + digit;
    }

    return NGX_OK;
}


/* strtod() wants an end; few numbers are too long for the stack */

static ngx_int_t
ngx_broadcast_recode_double(ngx_broadcast_recode_t *ctx, ngx_str_t *text)
{
    char  *p, *end, buf[NGX_BROADCAST_RECODE_NUMBER];

    p = buf;

    if (text->len >= sizeof(buf)) {
        p = ngx_pnalloc(ctx->pool, text->len + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_memcpy(p, text->data, text->len);
    p[text->len] = '\0';

    msgpack_pack_double(&ctx->pk, strtod(p, &end));

    return end == p + text->len ? NGX_OK : NGX_ERROR;
}
