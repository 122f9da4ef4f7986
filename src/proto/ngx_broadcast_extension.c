
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_extension.h"


#define NGX_BROADCAST_EXTENSION_VALUE  8    /* no good value is longer */

/* parameters, RFC 7692 section 7.1 */

#define NGX_BROADCAST_SERVER_RESET     0x01
#define NGX_BROADCAST_CLIENT_RESET     0x02
#define NGX_BROADCAST_SERVER_WINDOW    0x04
#define NGX_BROADCAST_CLIENT_WINDOW    0x08


/* one extension of the list, as far as it was read */

typedef struct {
    ngx_str_t                 name;
    ngx_uint_t                seen;       /* parameters of ours */
    ngx_uint_t                bad;        /* not one that we could accept */
    ngx_uint_t                server;     /* bits, 0: not given */
    ngx_uint_t                client;     /* the same, or without a value */
} ngx_broadcast_offer_t;


static ngx_int_t ngx_broadcast_extension_one(ngx_broadcast_offer_t *o,
    u_char **pos, u_char *last);
static ngx_int_t ngx_broadcast_extension_value(u_char **pos, u_char *last,
    u_char *buf, size_t *len);
static void ngx_broadcast_extension_param(ngx_broadcast_offer_t *o,
    ngx_str_t *name, ngx_str_t *value);
static ngx_uint_t ngx_broadcast_extension_bits(ngx_str_t *value);
static void ngx_broadcast_extension_accept(ngx_broadcast_extension_t *e,
    ngx_broadcast_offer_t *o);
static void ngx_broadcast_extension_blanks(u_char **pos, u_char *last);
static size_t ngx_broadcast_extension_token(u_char **pos, u_char *last);
static ngx_uint_t ngx_broadcast_extension_char(u_char c);
static ngx_uint_t ngx_broadcast_extension_is(ngx_str_t *name,
    const char *text);


ngx_int_t
ngx_broadcast_extension_offers(ngx_broadcast_extension_t *e, ngx_str_t *value)
{
    u_char                 *p, *last;
    ngx_broadcast_offer_t   o;

    p = value->data;
    last = p + value->len;

    for ( ;; ) {

        /* lists of HTTP may have empty elements */

        ngx_broadcast_extension_blanks(&p, last);

        if (p == last) {
            return NGX_OK;
        }

        if (*p == ',') {
            p++;
            continue;
        }

        if (ngx_broadcast_extension_one(&o, &p, last) != NGX_OK
            || (p < last && *p != ','))
        {
            return NGX_ERROR;
        }

        if (e->window && e->server == 0 && !o.bad
            && ngx_broadcast_extension_is(&o.name, "permessage-deflate"))
        {
            ngx_broadcast_extension_accept(e, &o);
        }
    }
}


/* token *( ";" token [ "=" ( token | quoted-string ) ] ), blanks behind it */

static ngx_int_t
ngx_broadcast_extension_one(ngx_broadcast_offer_t *o, u_char **pos,
    u_char *last)
{
    u_char     buf[NGX_BROADCAST_EXTENSION_VALUE];
    ngx_str_t  name, value;

    ngx_memzero(o, sizeof(ngx_broadcast_offer_t));

    o->name.data = *pos;
    o->name.len = ngx_broadcast_extension_token(pos, last);

    if (o->name.len == 0) {
        return NGX_ERROR;
    }

    for ( ;; ) {
        ngx_broadcast_extension_blanks(pos, last);

        if (*pos == last || **pos != ';') {
            return NGX_OK;
        }

        (*pos)++;
        ngx_broadcast_extension_blanks(pos, last);

        name.data = *pos;
        name.len = ngx_broadcast_extension_token(pos, last);

        if (name.len == 0) {
            return NGX_ERROR;
        }

        ngx_broadcast_extension_blanks(pos, last);

        ngx_str_null(&value);

        if (*pos < last && **pos == '=') {
            (*pos)++;
            ngx_broadcast_extension_blanks(pos, last);

            value.data = buf;

            if (ngx_broadcast_extension_value(pos, last, buf, &value.len)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        ngx_broadcast_extension_param(o, &name, &value);
    }
}


/*
 * What a quoted string says must be a token, too.  *len counts on where buf is
 * full: no value of ours is that long.
 */

static ngx_int_t
ngx_broadcast_extension_value(u_char **pos, u_char *last, u_char *buf,
    size_t *len)
{
    u_char      c, *p;
    size_t      n;
    ngx_uint_t  quoted;

    p = *pos;
    n = 0;

    quoted = (p < last && *p == '"');

    if (quoted) {
        p++;
    }

    for ( /* void */ ; p < last; p++) {
        c = *p;

        if (quoted && c == '"') {
            break;
        }

        if (quoted && c == '\\') {
            p++;

            if (p == last) {
                return NGX_ERROR;
            }

            c = *p;
        }

        if (!ngx_broadcast_extension_char(c)) {

            if (quoted) {
                return NGX_ERROR;
            }

            break;
        }

        if (n < NGX_BROADCAST_EXTENSION_VALUE) {
            buf[n] = c;
        }

        n++;
    }

    if (quoted) {

        if (p == last) {
            return NGX_ERROR;
        }

        p++;
    }

    *pos = p;
    *len = n;

    return n ? NGX_OK : NGX_ERROR;
}


static void
ngx_broadcast_extension_param(ngx_broadcast_offer_t *o, ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_uint_t  param, bits;

    bits = 0;

    if (ngx_broadcast_extension_is(name, "server_no_context_takeover")) {
        param = NGX_BROADCAST_SERVER_RESET;
        o->bad |= (value->len != 0);

    } else if (ngx_broadcast_extension_is(name, "client_no_context_takeover")) {
        param = NGX_BROADCAST_CLIENT_RESET;
        o->bad |= (value->len != 0);

    } else if (ngx_broadcast_extension_is(name, "server_max_window_bits")) {
        param = NGX_BROADCAST_SERVER_WINDOW;
        bits = ngx_broadcast_extension_bits(value);

        /* 8 is a good value, but nothing that zlib could keep to */

        o->bad |= (bits < NGX_BROADCAST_WINDOW_MIN);
        o->server = bits;

    } else if (ngx_broadcast_extension_is(name, "client_max_window_bits")) {
        param = NGX_BROADCAST_CLIENT_WINDOW;

        if (value->len) {
            bits = ngx_broadcast_extension_bits(value);
            o->bad |= (bits == 0);
            o->client = bits;
        }

    } else {
        o->bad = 1;
        return;
    }

    if (o->seen & param) {
        o->bad = 1;
    }

    o->seen |= param;
}


/* 8 to 15 without leading zeros, else 0 */

static ngx_uint_t
ngx_broadcast_extension_bits(ngx_str_t *value)
{
    u_char  *p;

    p = value->data;

    if (value->len == 1 && (p[0] == '8' || p[0] == '9')) {
        return p[0] - '0';
    }

    if (value->len == 2 && p[0] == '1' && p[1] >= '0' && p[1] <= '5') {
        return 10 + (p[1] - '0');
    }

    return 0;
}


static void
ngx_broadcast_extension_accept(ngx_broadcast_extension_t *e,
    ngx_broadcast_offer_t *o)
{
    e->server = o->server ? ngx_min(o->server, e->window) : e->window;
    e->named = (o->server != 0 || e->server < NGX_BROADCAST_WINDOW_MAX);

    /* a client may be asked only if it has said that it can be */

    if (o->client) {
        e->client = ngx_min(o->client, e->window);

    } else if ((o->seen & NGX_BROADCAST_CLIENT_WINDOW)
               && e->window < NGX_BROADCAST_WINDOW_MAX)
    {
        e->client = e->window;
    }
}


static void
ngx_broadcast_extension_blanks(u_char **pos, u_char *last)
{
    while (*pos < last && (**pos == ' ' || **pos == '\t')) {
        (*pos)++;
    }
}


static size_t
ngx_broadcast_extension_token(u_char **pos, u_char *last)
{
    u_char  *start;

    start = *pos;

    while (*pos < last && ngx_broadcast_extension_char(**pos)) {
        (*pos)++;
    }

    return *pos - start;
}


/* RFC 2616 section 2.2: no separator, no control character */

static ngx_uint_t
ngx_broadcast_extension_char(u_char c)
{
    return c > 0x20 && c < 0x7f
           && ngx_strchr("()<>@,;:\\\"/[]?={}", c) == NULL;
}


static ngx_uint_t
ngx_broadcast_extension_is(ngx_str_t *name, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return name->len == len && ngx_memcmp(name->data, text, len) == 0;
}


size_t
ngx_broadcast_extension_answer(u_char *dst, ngx_broadcast_extension_t *e)
{
    u_char  *p;

    p = ngx_sprintf(dst, "permessage-deflate; server_no_context_takeover; "
                    "client_no_context_takeover");

    if (e->named) {
        p = ngx_sprintf(p, "; server_max_window_bits=%ui", e->server);
    }

    if (e->client) {
        p = ngx_sprintf(p, "; client_max_window_bits=%ui", e->client);
    }

    return p - dst;
}
