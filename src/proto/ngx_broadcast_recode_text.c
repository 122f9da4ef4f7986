
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_recode.h"

#include "base/ngx_broadcast_msgpack.h"

#include <math.h>


#define NGX_BROADCAST_RECODE_DAY     86400

/* JavaScript's dates, in seconds to both sides of 1970 */

#define NGX_BROADCAST_RECODE_DATES   INT64_C(8640000000000)

#define NGX_BROADCAST_RECODE_FLOAT   32      /* "-1.2345678901234567e-308" */
#define NGX_BROADCAST_RECODE_TIME    48


/* an array or a map that was opened; pairs count twice */

typedef struct {
    uint64_t     left;
    ngx_uint_t   map;
    ngx_uint_t   first;
} ngx_broadcast_recode_level_t;


static ngx_uint_t ngx_broadcast_recode_between(ngx_broadcast_buf_t *b,
    ngx_broadcast_recode_level_t *level);
static void ngx_broadcast_recode_value(ngx_broadcast_buf_t *b,
    ngx_broadcast_msgpack_t *v);
static void ngx_broadcast_recode_float(ngx_broadcast_buf_t *b, double d);
static void ngx_broadcast_recode_base64(ngx_broadcast_buf_t *b,
    ngx_str_t *bytes);
static ngx_int_t ngx_broadcast_recode_time(ngx_broadcast_buf_t *b,
    ngx_broadcast_msgpack_t *v);
static int64_t ngx_broadcast_recode_date(int64_t days, ngx_uint_t *month,
    ngx_uint_t *day);


ngx_int_t
ngx_broadcast_recode_text(const ngx_str_t *packed, ngx_pool_t *pool,
    ngx_str_t *json)
{
    u_char                        *p, *last;
    ngx_uint_t                     depth, key;
    ngx_broadcast_buf_t            b;
    ngx_broadcast_msgpack_t        v;
    ngx_broadcast_recode_level_t   levels[NGX_BROADCAST_MSGPACK_DEPTH];

    ngx_broadcast_buf_init(&b, pool, packed->len + packed->len / 2);

    p = packed->data;
    last = p + packed->len;
    depth = 0;

    do {
        if (ngx_broadcast_msgpack_next(&p, last, &v) != NGX_OK) {
            return NGX_ERROR;
        }

        key = depth && ngx_broadcast_recode_between(&b, &levels[depth - 1]);

        if (!key || v.type == NGX_BROADCAST_MSGPACK_STR) {
            ngx_broadcast_recode_value(&b, &v);

        } else if (v.type == NGX_BROADCAST_MSGPACK_UINT
                   || v.type == NGX_BROADCAST_MSGPACK_INT)
        {
            ngx_broadcast_buf_char(&b, '"');
            ngx_broadcast_recode_value(&b, &v);
            ngx_broadcast_buf_char(&b, '"');

        } else {
            return NGX_ERROR;
        }

        if (v.type >= NGX_BROADCAST_MSGPACK_ARRAY) {

            if (depth == NGX_BROADCAST_MSGPACK_DEPTH) {
                return NGX_ERROR;
            }

            levels[depth].map = (v.type == NGX_BROADCAST_MSGPACK_MAP);
            levels[depth].left = (uint64_t) v.count << levels[depth].map;
            levels[depth].first = 1;
            depth++;
        }

        while (depth && levels[depth - 1].left == 0) {
            depth--;
            ngx_broadcast_buf_char(&b, levels[depth].map ? '}' : ']');
        }

    } while (depth && !b.failed);

    return ngx_broadcast_buf_done(&b, json);
}


/* writes what stands before the next element; 1 if that is a name */

static ngx_uint_t
ngx_broadcast_recode_between(ngx_broadcast_buf_t *b,
    ngx_broadcast_recode_level_t *level)
{
    ngx_uint_t  key;

    key = level->map && !(level->left & 1);

    if (level->map && !key) {
        ngx_broadcast_buf_char(b, ':');

    } else if (!level->first) {
        ngx_broadcast_buf_char(b, ',');
    }

    level->first = 0;
    level->left--;

    return key;
}


/* of an array or a map the bracket */

static void
ngx_broadcast_recode_value(ngx_broadcast_buf_t *b, ngx_broadcast_msgpack_t *v)
{
    switch (v->type) {

    case NGX_BROADCAST_MSGPACK_NIL:
        ngx_broadcast_buf_literal(b, "null");
        break;

    case NGX_BROADCAST_MSGPACK_FALSE:
        ngx_broadcast_buf_literal(b, "false");
        break;

    case NGX_BROADCAST_MSGPACK_TRUE:
        ngx_broadcast_buf_literal(b, "true");
        break;

    case NGX_BROADCAST_MSGPACK_UINT:
        ngx_broadcast_buf_uint(b, v->u);
        break;

    case NGX_BROADCAST_MSGPACK_INT:
        ngx_broadcast_buf_int(b, v->i);
        break;

    case NGX_BROADCAST_MSGPACK_FLOAT:
        ngx_broadcast_recode_float(b, v->d);
        break;

    case NGX_BROADCAST_MSGPACK_STR:
        ngx_broadcast_buf_json(b, &v->bytes);
        break;

    case NGX_BROADCAST_MSGPACK_EXT:

        if (ngx_broadcast_recode_time(b, v) == NGX_OK) {
            break;
        }

        /* fall through */

    case NGX_BROADCAST_MSGPACK_BIN:
        ngx_broadcast_recode_base64(b, &v->bytes);
        break;

    case NGX_BROADCAST_MSGPACK_ARRAY:
        ngx_broadcast_buf_char(b, '[');
        break;

    case NGX_BROADCAST_MSGPACK_MAP:
        ngx_broadcast_buf_char(b, '{');
        break;
    }
}


/* fifteen digits are exact in the one direction, seventeen in the other */

static void
ngx_broadcast_recode_float(ngx_broadcast_buf_t *b, double d)
{
    int   n, digits;
    char  text[NGX_BROADCAST_RECODE_FLOAT];

    if (!isfinite(d)) {
        ngx_broadcast_buf_literal(b, "null");
        return;
    }

    digits = 15;

    do {
        n = snprintf(text, sizeof(text), "%.*g", digits, d);
    } while (strtod(text, NULL) != d && ++digits <= 17);

    ngx_broadcast_buf_append(b, (u_char *) text, n);
}


static void
ngx_broadcast_recode_base64(ngx_broadcast_buf_t *b, ngx_str_t *bytes)
{
    ngx_str_t  text;

    ngx_broadcast_buf_char(b, '"');

    text.data = ngx_broadcast_buf_reserve(b, ngx_base64_encoded_length(
                                                                  bytes->len));
    if (text.data) {
        ngx_encode_base64(&text, bytes);
        b->last += text.len;
    }

    ngx_broadcast_buf_char(b, '"');
}


/* NGX_DECLINED: no timestamp */

static ngx_int_t
ngx_broadcast_recode_time(ngx_broadcast_buf_t *b, ngx_broadcast_msgpack_t *v)
{
    u_char             *p, text[NGX_BROADCAST_RECODE_TIME];
    int64_t             days, seconds, year;
    ngx_uint_t          month, day;
    msgpack_object      object;
    msgpack_timestamp   ts;

    object.type = MSGPACK_OBJECT_EXT;
    object.via.ext.type = v->ext;
    object.via.ext.size = (uint32_t) v->bytes.len;
    object.via.ext.ptr = (const char *) v->bytes.data;

    if (!msgpack_object_to_timestamp(&object, &ts)) {
        return NGX_DECLINED;
    }

    if (ts.tv_sec > NGX_BROADCAST_RECODE_DATES
        || ts.tv_sec < -NGX_BROADCAST_RECODE_DATES
        || ts.tv_nsec > 999999999)
    {
        ngx_broadcast_buf_literal(b, "null");
        return NGX_OK;
    }

    days = ts.tv_sec / NGX_BROADCAST_RECODE_DAY;
    seconds = ts.tv_sec % NGX_BROADCAST_RECODE_DAY;

    if (seconds < 0) {
        seconds += NGX_BROADCAST_RECODE_DAY;
        days--;
    }

    year = ngx_broadcast_recode_date(days, &month, &day);

    p = text;
    *p++ = '"';

    if (year >= 0 && year <= 9999) {
        p = ngx_sprintf(p, "%04L", year);

    } else {
        *p++ = year < 0 ? '-' : '+';
        p = ngx_sprintf(p, "%06L", year < 0 ? -year : year);
    }

    p = ngx_sprintf(p, "-%02ui-%02uiT%02L:%02L:%02L", month, day,
                    seconds / 3600, seconds / 60 % 60, seconds % 60);

    if (ts.tv_nsec % 1000000 == 0) {
        p = ngx_sprintf(p, ".%03uD", ts.tv_nsec / 1000000);

    } else {
        p = ngx_sprintf(p, ".%09uD", ts.tv_nsec);
    }

    p = ngx_cpymem(p, "Z\"", 2);

    ngx_broadcast_buf_append(b, text, p - text);

    return NGX_OK;
}


/*
 * The Gregorian date of a day counted from 1970, for years before and behind
 * what gmtime() has to know.  A year here begins in March, so that the leap
 * day is its last; 400 of them are 146097 days, and the count starts at the
 * first of March of the year 0, 719468 days before.
 */

static int64_t
ngx_broadcast_recode_date(int64_t days, ngx_uint_t *month, ngx_uint_t *day)
{
    int64_t  era, n, year, m;

    days += 719468;

    era = (days >= 0 ? days : days - 146096) / 146097;
    n = days - era * 146097;

    year = (n - n / 1460 + n / 36524 - n / 146096) / 365;
    n -= 365 * year + year / 4 - year / 100;
    m = (5 * n + 2) / 153;

    *day = n - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;

    return year + era * 400 + (*month <= 2);
}
