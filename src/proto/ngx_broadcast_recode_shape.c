
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_recode_local.h"
#include "proto/ngx_broadcast_scan.h"


/*
 * A value's shape is a span of the shape's text, empty where there is nothing
 * special.  While the text is walked the shapes of what is open stand in a
 * stack; that of the next value follows from the one on top and, in an object,
 * from the name before it.
 */

typedef struct {
    ngx_broadcast_recode_t    ctx;
    uint32_t                 *counts;
    ngx_uint_t                ncounts;
    ngx_uint_t                opened;
    ngx_uint_t                depth;
    ngx_uint_t                key;         /* 1: a string is a name now */
    ngx_str_t                 next;        /* shape of the next value */
    ngx_str_t                 shapes[NGX_BROADCAST_SCAN_DEPTH];
    u_char                    kinds[NGX_BROADCAST_SCAN_DEPTH];
} ngx_broadcast_shape_t;


#define NGX_BROADCAST_SHAPE_DAY  86400


static ngx_int_t ngx_broadcast_shape_open(ngx_broadcast_shape_t *s);
static ngx_int_t ngx_broadcast_shape_value(ngx_broadcast_shape_t *s);
static ngx_int_t ngx_broadcast_shape_key(ngx_broadcast_shape_t *s);
static void ngx_broadcast_shape_element(ngx_broadcast_shape_t *s);
static ngx_int_t ngx_broadcast_shape_member(ngx_broadcast_shape_t *s,
    ngx_str_t *key);
static ngx_uint_t ngx_broadcast_shape_is(ngx_str_t *shape, const char *word);
static ngx_int_t ngx_broadcast_shape_bytes(ngx_broadcast_shape_t *s,
    ngx_str_t *text);
static ngx_int_t ngx_broadcast_shape_time(ngx_broadcast_shape_t *s,
    ngx_str_t *text);
static u_char *ngx_broadcast_shape_number(u_char *p, u_char *last,
    ngx_uint_t digits, u_char behind, int64_t *n);
static u_char *ngx_broadcast_shape_zone(u_char *p, u_char *last,
    int64_t *seconds);
static int64_t ngx_broadcast_shape_days(int64_t year, int64_t month,
    int64_t day);


ngx_int_t
ngx_broadcast_recode_shaped(const ngx_str_t *json, const ngx_str_t *shape,
    ngx_pool_t *pool, ngx_str_t *packed)
{
    ngx_int_t                rc;
    ngx_array_t              counts;
    ngx_broadcast_shape_t    s;
    ngx_broadcast_recode_t  *ctx;

    if (ngx_array_init(&counts, pool, 8, sizeof(uint32_t)) != NGX_OK
        || ngx_broadcast_recode_count(json, &counts) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx = &s.ctx;

    ctx->pos = json->data;
    ctx->last = json->data + json->len;
    ctx->pool = pool;

    ngx_broadcast_buf_init(&ctx->buf, pool, json->len);
    ngx_broadcast_msgpack_packer(&ctx->pk, &ctx->buf);

    s.counts = counts.elts;
    s.ncounts = counts.nelts;
    s.opened = 0;
    s.depth = 0;
    s.key = 0;
    s.next = *shape;

    while (ctx->pos < ctx->last) {

        rc = NGX_OK;

        switch (*ctx->pos) {

        case '[':
        case '{':
            rc = ngx_broadcast_shape_open(&s);
            break;

        case ']':
        case '}':
            if (s.depth == 0) {
                return NGX_ERROR;
            }

            s.depth--;
            s.key = 0;
            ctx->pos++;
            break;

        case ',':
            if (s.depth == 0) {
                return NGX_ERROR;
            }

            s.key = s.kinds[s.depth - 1] == '{';

            if (!s.key) {
                ngx_broadcast_shape_element(&s);
            }

            ctx->pos++;
            break;

        case ':':
        case ' ':
        case '\t':
        case CR:
        case LF:
            ctx->pos++;
            break;

        default:
            rc = s.key ? ngx_broadcast_shape_key(&s)
                       : ngx_broadcast_shape_value(&s);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_broadcast_buf_done(&ctx->buf, packed);
}


static ngx_int_t
ngx_broadcast_shape_open(ngx_broadcast_shape_t *s)
{
    u_char                   kind;
    ngx_broadcast_recode_t  *ctx = &s->ctx;

    if (s->opened == s->ncounts || s->depth == NGX_BROADCAST_SCAN_DEPTH) {
        return NGX_ERROR;
    }

    kind = *ctx->pos++;

    if (kind == '[') {
        msgpack_pack_array(&ctx->pk, s->counts[s->opened++]);

    } else {
        msgpack_pack_map(&ctx->pk, s->counts[s->opened++]);
    }

    s->kinds[s->depth] = kind;
    s->shapes[s->depth] = s->next;
    s->depth++;

    s->key = kind == '{';

    if (!s->key) {
        ngx_broadcast_shape_element(s);
    }

    return NGX_OK;
}


/* the shape of the next element: the array's own says, in any dimension */

static void
ngx_broadcast_shape_element(ngx_broadcast_shape_t *s)
{
    ngx_str_t                   *shape;
    ngx_broadcast_scan_t         scan;
    ngx_broadcast_scan_value_t   v;

    shape = &s->shapes[s->depth - 1];

    s->next = *shape;

    if (shape->len == 0 || shape->data[0] == '"') {
        return;
    }

    ngx_broadcast_scan_init(&scan, shape);

    if (ngx_broadcast_scan_open(&scan, '[') == NGX_OK
        && ngx_broadcast_scan_element(&scan, &v) == NGX_OK)
    {
        s->next = v.text;
        return;
    }

    s->next.len = 0;
}


static ngx_int_t
ngx_broadcast_shape_key(ngx_broadcast_shape_t *s)
{
    u_char                  *pos;
    ngx_str_t                key;
    ngx_broadcast_recode_t  *ctx = &s->ctx;

    s->key = 0;
    s->next.len = 0;

    if (s->shapes[s->depth - 1].len) {
        pos = ctx->pos;

        if (*pos != '"'
            || ngx_broadcast_recode_string(ctx, &key) != NGX_OK
            || ngx_broadcast_shape_member(s, &key) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ctx->pos = pos;
    }

    return ngx_broadcast_recode_token(ctx);
}


static ngx_int_t
ngx_broadcast_shape_member(ngx_broadcast_shape_t *s, ngx_str_t *key)
{
    ngx_str_t                    name;
    ngx_broadcast_scan_t         scan;
    ngx_broadcast_scan_value_t   k, v;

    ngx_broadcast_scan_init(&scan, &s->shapes[s->depth - 1]);

    if (ngx_broadcast_scan_open(&scan, '{') != NGX_OK) {
        return NGX_OK;
    }

    while (ngx_broadcast_scan_member(&scan, &k, &v) == NGX_OK) {

        if (ngx_broadcast_scan_string(&k, s->ctx.pool, &name) != NGX_OK) {
            return NGX_ERROR;
        }

        if (name.len == key->len
            && ngx_memcmp(name.data, key->data, key->len) == 0)
        {
            s->next = v.text;
            return NGX_OK;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_shape_value(ngx_broadcast_shape_t *s)
{
    u_char                  *pos;
    ngx_int_t                rc;
    ngx_str_t                text;
    ngx_uint_t               bytes;
    ngx_broadcast_recode_t  *ctx = &s->ctx;

    if (*ctx->pos == '"' && s->next.len) {

        bytes = ngx_broadcast_shape_is(&s->next, "\"bytes\"");

        if (bytes || ngx_broadcast_shape_is(&s->next, "\"time\"")) {
            pos = ctx->pos;

            if (ngx_broadcast_recode_string(ctx, &text) != NGX_OK) {
                return NGX_ERROR;
            }

            rc = bytes ? ngx_broadcast_shape_bytes(s, &text)
                       : ngx_broadcast_shape_time(s, &text);

            if (rc != NGX_DECLINED) {
                return rc;
            }

            ctx->pos = pos;
        }
    }

    return ngx_broadcast_recode_token(ctx);
}


static ngx_uint_t
ngx_broadcast_shape_is(ngx_str_t *shape, const char *word)
{
    return shape->len == ngx_strlen(word)
           && ngx_memcmp(shape->data, word, shape->len) == 0;
}


static ngx_int_t
ngx_broadcast_shape_bytes(ngx_broadcast_shape_t *s, ngx_str_t *text)
{
    ngx_str_t  bytes;

    bytes.data = ngx_pnalloc(s->ctx.pool, ngx_base64_decoded_length(text->len)
                                          + 1);
    if (bytes.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_decode_base64(&bytes, text) != NGX_OK) {
        return NGX_DECLINED;
    }

    msgpack_pack_bin(&s->ctx.pk, bytes.len);
    msgpack_pack_bin_body(&s->ctx.pk, bytes.data, bytes.len);

    return NGX_OK;
}


/* YYYY-MM-DDThh:mm:ss[.fraction] and a zone, as to_json() writes it */

static ngx_int_t
ngx_broadcast_shape_time(ngx_broadcast_shape_t *s, ngx_str_t *text)
{
    u_char             *p, *last;
    int64_t             year, month, day, hour, minute, second, zone, nsec;
    int64_t             unit;
    msgpack_timestamp   ts;

    p = text->data;
    last = p + text->len;

    p = ngx_broadcast_shape_number(p, last, 4, '-', &year);
    p = ngx_broadcast_shape_number(p, last, 2, '-', &month);
    p = ngx_broadcast_shape_number(p, last, 2, 'T', &day);
    p = ngx_broadcast_shape_number(p, last, 2, ':', &hour);
    p = ngx_broadcast_shape_number(p, last, 2, ':', &minute);
    p = ngx_broadcast_shape_number(p, last, 2, '\0', &second);

    if (p == NULL || month < 1 || month > 12 || day < 1 || day > 31
        || hour > 24 || minute > 59 || second > 60)
    {
        return NGX_DECLINED;
    }

    nsec = 0;

    if (p < last && *p == '.') {
        unit = 100000000;

        for (p++; p < last && *p >= '0' && *p <= '9'; p++) {
            nsec += (*p - '0') * unit;
            unit /= 10;
        }
    }

    p = ngx_broadcast_shape_zone(p, last, &zone);

    if (p != last) {
        return NGX_DECLINED;
    }

    ts.tv_sec = ngx_broadcast_shape_days(year, month, day)
                * NGX_BROADCAST_SHAPE_DAY
                + hour * 3600 + minute * 60 + second - zone;
    ts.tv_nsec = (uint32_t) nsec;

    msgpack_pack_timestamp(&s->ctx.pk, &ts);

    return NGX_OK;
}


/* so many digits and the byte behind them; NULL stays NULL */

static u_char *
ngx_broadcast_shape_number(u_char *p, u_char *last, ngx_uint_t digits,
    u_char behind, int64_t *n)
{
    *n = 0;

    if (p == NULL) {
        return NULL;
    }

    for ( /* void */ ; digits; digits--, p++) {

        if (p == last || *p < '0' || *p > '9') {
            return NULL;
        }

        *n = *n * 10 + (*p - '0');
    }

    if (behind == '\0') {
        return p;
    }

    return p < last && *p == behind ? p + 1 : NULL;
}


/* Z, or +hh[:mm[:ss]]: seconds east of Greenwich; NULL: it is none */

static u_char *
ngx_broadcast_shape_zone(u_char *p, u_char *last, int64_t *seconds)
{
    u_char      sign;
    int64_t     n;
    ngx_uint_t  unit;

    *seconds = 0;

    if (p == last) {
        return NULL;
    }

    sign = *p++;

    if (sign == 'Z') {
        return p;
    }

    if (sign != '+' && sign != '-') {
        return NULL;
    }

    for (unit = 3600; ; unit /= 60) {

        p = ngx_broadcast_shape_number(p, last, 2, '\0', &n);

        if (p == NULL) {
            return NULL;
        }

        *seconds += n * unit;

        if (p == last || *p != ':' || unit == 1) {
            break;
        }

        p++;
    }

    if (sign == '-') {
        *seconds = -*seconds;
    }

    return p;
}


/* days from 1970: a year begins in March here, so that a leap day ends it */

static int64_t
ngx_broadcast_shape_days(int64_t year, int64_t month, int64_t day)
{
    if (month < 3) {
        year--;
        month += 12;
    }

    return year * 365 + year / 4 - year / 100 + year / 400
           + (153 * (month - 3) + 2) / 5 + day - 1 - 719468;
}
