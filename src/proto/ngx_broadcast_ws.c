
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_ws.h"
#include "proto/ngx_broadcast_deflate.h"


#define NGX_BROADCAST_WS_RSV       0x70
#define NGX_BROADCAST_WS_OPCODE    0x0f
#define NGX_BROADCAST_WS_CONTROL   0x08    /* bit of all control opcodes */
#define NGX_BROADCAST_WS_MASK      0x80
#define NGX_BROADCAST_WS_LEN       0x7f

#define NGX_BROADCAST_WS_MASK_AT   10      /* where in header[] it is kept */
#define NGX_BROADCAST_WS_KEEP_MIN  256     /* first allocation */


static void ngx_broadcast_ws_release(ngx_broadcast_ws_parser_t *p);
static ngx_int_t ngx_broadcast_ws_fail(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev, ngx_uint_t code, const char *error);
static ngx_int_t ngx_broadcast_ws_read_header(ngx_broadcast_ws_parser_t *p,
    u_char **pos, u_char *last, ngx_broadcast_ws_event_t *ev);
static size_t ngx_broadcast_ws_need(ngx_broadcast_ws_parser_t *p);
static size_t ngx_broadcast_ws_most(ngx_broadcast_ws_parser_t *p);
static ngx_int_t ngx_broadcast_ws_check_start(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev);
static ngx_int_t ngx_broadcast_ws_begin(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev);
static ngx_int_t ngx_broadcast_ws_read_data(ngx_broadcast_ws_parser_t *p,
    u_char **pos, u_char *last, ngx_broadcast_ws_event_t *ev);
static ngx_int_t ngx_broadcast_ws_read_control(ngx_broadcast_ws_parser_t *p,
    u_char **pos, u_char *last, ngx_broadcast_ws_event_t *ev);
static ngx_int_t ngx_broadcast_ws_closing(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev);
static size_t ngx_broadcast_ws_take(ngx_broadcast_ws_parser_t *p, u_char **pos,
    u_char *last);
static ngx_int_t ngx_broadcast_ws_keep(ngx_broadcast_ws_parser_t *p,
    u_char *data, size_t len);


void
ngx_broadcast_ws_init(ngx_broadcast_ws_parser_t *p, size_t limit,
    ngx_uint_t deflate)
{
    ngx_memzero(p, sizeof(ngx_broadcast_ws_parser_t));

    p->limit = (uint32_t) ngx_min(limit, NGX_MAX_INT32_VALUE);
    p->deflate = deflate ? 1 : 0;
}


void
ngx_broadcast_ws_reset(ngx_broadcast_ws_parser_t *p)
{
    ngx_broadcast_ws_release(p);
    ngx_broadcast_ws_init(p, p->limit, p->deflate);
}


/*
 * have < header's length  -->  header comes
 * payload                 -->  rest bytes of payload are to come
 * opcode                  -->  a message is begun, of used bytes so far
 */

ngx_int_t
ngx_broadcast_ws_feed(ngx_broadcast_ws_parser_t *p, u_char **pos,
    u_char *last, ngx_broadcast_ws_event_t *ev)
{
    ngx_int_t  rc;

    ngx_memzero(ev, sizeof(ngx_broadcast_ws_event_t));

    if (p->yielded) {
        p->yielded = 0;
        p->control = 0;

        if (p->opcode == 0 || p->closed) {
            ngx_broadcast_ws_release(p);
        }
    }

    do {
        if (p->closed) {
            *pos = last;
            return NGX_AGAIN;
        }

        if (!p->payload) {
            rc = ngx_broadcast_ws_read_header(p, pos, last, ev);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        if (p->header[0] & NGX_BROADCAST_WS_CONTROL) {
            rc = ngx_broadcast_ws_read_control(p, pos, last, ev);

        } else {
            rc = ngx_broadcast_ws_read_data(p, pos, last, ev);
        }

    } while (rc == NGX_DONE);

    return rc;
}


static void
ngx_broadcast_ws_release(ngx_broadcast_ws_parser_t *p)
{
    free(p->message);

    p->message = NULL;
    p->size = 0;
    p->used = 0;
    p->control = 0;
}


static ngx_int_t
ngx_broadcast_ws_fail(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev, ngx_uint_t code, const char *error)
{
    ngx_broadcast_ws_release(p);

    p->closed = 1;

    ngx_memzero(ev, sizeof(ngx_broadcast_ws_event_t));

    ev->close_code = code;
    ev->error = error;

    return NGX_ERROR;
}


/* OK: the header is complete and allowed */

static ngx_int_t
ngx_broadcast_ws_read_header(ngx_broadcast_ws_parser_t *p, u_char **pos,
    u_char *last, ngx_broadcast_ws_event_t *ev)
{
    while (p->have < ngx_broadcast_ws_need(p)) {

        if (*pos == last) {
            return NGX_AGAIN;
        }

        p->header[p->have++] = *(*pos)++;

        if (p->have == 2 && ngx_broadcast_ws_check_start(p, ev) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_broadcast_ws_begin(p, ev);
}


/* bytes of the header, as far as it is known */

static size_t
ngx_broadcast_ws_need(ngx_broadcast_ws_parser_t *p)
{
    if (p->have < 2) {
        return 2;
    }

    switch (p->header[1] & NGX_BROADCAST_WS_LEN) {

    case 127:
        return 2 + 8 + 4;

    case 126:
        return 2 + 2 + 4;

    default:
        return 2 + 4;
    }
}


/* what the first two bytes tell, before any more is awaited */

static ngx_int_t
ngx_broadcast_ws_check_start(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev)
{
    u_char       reserved;
    ngx_uint_t   opcode;
    const char  *error;

    opcode = p->header[0] & NGX_BROADCAST_WS_OPCODE;
    reserved = p->header[0] & NGX_BROADCAST_WS_RSV;

    /*
     * RFC 7692 section 6: RSV1 marks the first frame of a deflated message,
     * never a continuation and never a control frame.
     */

    if (p->deflate
        && (opcode == NGX_BROADCAST_WS_TEXT
            || opcode == NGX_BROADCAST_WS_BINARY))
    {
        reserved &= ~NGX_BROADCAST_WS_RSV1;
    }

    if (reserved) {
        error = "frame with a reserved bit";
        goto invalid;
    }

    if (!(p->header[1] & NGX_BROADCAST_WS_MASK)) {
        error = "frame without a mask";
        goto invalid;
    }

    switch (opcode) {

    case NGX_BROADCAST_WS_CONTINUATION:

        if (p->opcode == 0) {
            error = "continuation of no message";
            goto invalid;
        }

        return NGX_OK;

    case NGX_BROADCAST_WS_TEXT:
    case NGX_BROADCAST_WS_BINARY:

        if (p->opcode) {
            error = "message begun inside another";
            goto invalid;
        }

        return NGX_OK;

    case NGX_BROADCAST_WS_CLOSE:
    case NGX_BROADCAST_WS_PING:
    case NGX_BROADCAST_WS_PONG:

        if (!(p->header[0] & NGX_BROADCAST_WS_FIN)) {
            error = "control frame in fragments";
            goto invalid;
        }

        if ((p->header[1] & NGX_BROADCAST_WS_LEN)
            > NGX_BROADCAST_WS_CONTROL_MAX)
        {
            error = "control frame above 125 bytes";
            goto invalid;
        }

        return NGX_OK;

    default:
        error = "frame with a reserved opcode";
        goto invalid;
    }

invalid:

    return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_PROTOCOL_ERROR,
                                 error);
}


/* the header is complete: length, mask, and the beginning of a message */

static ngx_int_t
ngx_broadcast_ws_begin(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev)
{
    uint64_t     len;
    ngx_uint_t   i, opcode;
    const char  *error;

    len = p->header[1] & NGX_BROADCAST_WS_LEN;

    if (len == 126) {
        len = ((uint64_t) p->header[2] << 8) | p->header[3];

        if (len < 126) {
            error = "length not in its shortest form";
            goto invalid;
        }

    } else if (len == 127) {
        len = 0;

        for (i = 0; i < 8; i++) {
            len = (len << 8) | p->header[2 + i];
        }

        if (len >> 63) {
            error = "length with its top bit set";
            goto invalid;
        }

        if (len <= 0xffff) {
            error = "length not in its shortest form";
            goto invalid;
        }
    }

    opcode = p->header[0] & NGX_BROADCAST_WS_OPCODE;

    if (!(opcode & NGX_BROADCAST_WS_CONTROL)) {

        if (opcode != NGX_BROADCAST_WS_CONTINUATION) {
            p->opcode = (u_char) opcode;
            p->deflated = (p->header[0] & NGX_BROADCAST_WS_RSV1) ? 1 : 0;
            ngx_broadcast_utf8_init(&p->utf8);
        }

        if (len > ngx_broadcast_ws_most(p) - p->used) {
            return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_TOO_BIG,
                                         "message too big");
        }
    }

    ngx_memmove(&p->header[NGX_BROADCAST_WS_MASK_AT], &p->header[p->have - 4],
                4);

    p->rest = (uint32_t) len;
    p->payload = 1;

    return NGX_OK;

invalid:

    return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_PROTOCOL_ERROR,
                                 error);
}


/* bytes that the frames of the message may have */

static size_t
ngx_broadcast_ws_most(ngx_broadcast_ws_parser_t *p)
{
    size_t  limit;

    limit = p->limit;

    if (p->deflated) {
        limit += ngx_broadcast_deflate_slack(limit);
    }

    return limit;
}


/* DONE: the frame is over, the message is not */

static ngx_int_t
ngx_broadcast_ws_read_data(ngx_broadcast_ws_parser_t *p, u_char **pos,
    u_char *last, ngx_broadcast_ws_event_t *ev)
{
    u_char      *data;
    size_t       len;
    ngx_uint_t   fin, text;

    data = *pos;
    len = ngx_broadcast_ws_take(p, pos, last);

    fin = p->header[0] & NGX_BROADCAST_WS_FIN;
    text = (p->opcode == NGX_BROADCAST_WS_TEXT && !p->deflated);

    if (text && ngx_broadcast_utf8_feed(&p->utf8, data, len) != NGX_OK) {
        goto invalid;
    }

    if (p->rest || !fin || p->used) {

        if (ngx_broadcast_ws_keep(p, data, len) != NGX_OK) {
            return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_SERVER_ERROR,
                                         "no memory for a message");
        }

        p->used += len;

        if (p->rest) {
            return NGX_AGAIN;
        }

        p->payload = 0;
        p->have = 0;

        if (!fin) {
            return NGX_DONE;
        }

        data = p->message;
        len = p->used;
    }

    if (text && ngx_broadcast_utf8_finish(&p->utf8) != NGX_OK) {
        goto invalid;
    }

    ev->type = p->opcode;
    ev->deflated = p->deflated;
    ev->payload.data = data;
    ev->payload.len = len;

    p->payload = 0;
    p->have = 0;
    p->opcode = 0;
    p->used = 0;
    p->yielded = 1;

    return NGX_OK;

invalid:

    return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_INVALID_DATA,
                                 "text is not UTF-8");
}


static ngx_int_t
ngx_broadcast_ws_read_control(ngx_broadcast_ws_parser_t *p, u_char **pos,
    u_char *last, ngx_broadcast_ws_event_t *ev)
{
    u_char  *data;
    size_t   len;

    data = *pos;
    len = ngx_broadcast_ws_take(p, pos, last);

    if (p->rest || p->control) {

        if (ngx_broadcast_ws_keep(p, data, len) != NGX_OK) {
            return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_SERVER_ERROR,
                                         "no memory for a control frame");
        }

        p->control += len;

        if (p->rest) {
            return NGX_AGAIN;
        }

        data = p->message + p->used;
        len = p->control;
    }

    ev->type = p->header[0] & NGX_BROADCAST_WS_OPCODE;
    ev->payload.data = data;
    ev->payload.len = len;

    p->payload = 0;
    p->have = 0;
    p->yielded = 1;

    if (ev->type == NGX_BROADCAST_WS_CLOSE) {
        return ngx_broadcast_ws_closing(p, ev);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_ws_closing(ngx_broadcast_ws_parser_t *p,
    ngx_broadcast_ws_event_t *ev)
{
    u_char  *data;
    size_t   len;

    data = ev->payload.data;
    len = ev->payload.len;

    p->closed = 1;

    if (len == 0) {
        ev->code = NGX_BROADCAST_WS_NO_STATUS;
        return NGX_OK;
    }

    if (len == 1) {
        return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_PROTOCOL_ERROR,
                                     "close frame with half a code");
    }

    ev->code = (data[0] << 8) | data[1];
    ev->payload.data += 2;
    ev->payload.len -= 2;

    if (!ngx_broadcast_ws_code_valid(ev->code)) {
        return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_PROTOCOL_ERROR,
                                     "close frame with an invalid code");
    }

    if (!ngx_broadcast_utf8_valid(&ev->payload)) {
        return ngx_broadcast_ws_fail(p, ev, NGX_BROADCAST_WS_INVALID_DATA,
                                     "close reason is not UTF-8");
    }

    return NGX_OK;
}


/*
 * Takes what the frame has in the input and unmasks it there.  The mask is kept
 * turned to where the next byte will need it.
 */

static size_t
ngx_broadcast_ws_take(ngx_broadcast_ws_parser_t *p, u_char **pos, u_char *last)
{
    u_char      *data, *mask, turned[4];
    size_t       len, n;
    uint32_t     half;
    uint64_t     wide, word;
    ngx_uint_t   i;

    data = *pos;
    len = ngx_min((size_t) (last - data), p->rest);
    mask = &p->header[NGX_BROADCAST_WS_MASK_AT];

    ngx_memcpy(&half, mask, 4);
    wide = ((uint64_t) half << 32) | half;

    for (n = len; n >= 8; n -= 8) {
        ngx_memcpy(&word, data, 8);
        word ^= wide;
        data = ngx_cpymem(data, &word, 8);
    }

    for (i = 0; i < n; i++) {
        data[i] ^= mask[i & 3];
    }

    for (i = 0; i < 4; i++) {
        turned[i] = mask[(i + n) & 3];
    }

    ngx_memcpy(mask, turned, 4);

    p->rest -= len;
    *pos += len;

    return len;
}


/*
 * Appends bytes behind what is kept.  The buffer doubles as bytes come, and
 * never gets larger than the message may become.
 */

static ngx_int_t
ngx_broadcast_ws_keep(ngx_broadcast_ws_parser_t *p, u_char *data, size_t len)
{
    u_char  *message;
    size_t   kept, need, size;

    if (len == 0) {
        return NGX_OK;
    }

    kept = (size_t) p->used + p->control;
    need = kept + len;

    if (need > p->size) {
        size = ngx_max(2 * (size_t) p->size, need);
        size = ngx_max(size, NGX_BROADCAST_WS_KEEP_MIN);

        if (p->header[0] & NGX_BROADCAST_WS_FIN) {
            size = ngx_min(size, need + p->rest);

        } else {
            size = ngx_min(size, ngx_max(need, ngx_broadcast_ws_most(p)));
        }

        message = malloc(size);
        if (message == NULL) {
            return NGX_ERROR;
        }

        if (kept) {
            ngx_memcpy(message, p->message, kept);
        }

        free(p->message);

        p->message = message;
        p->size = (uint32_t) size;
    }

    ngx_memcpy(p->message + kept, data, len);

    return NGX_OK;
}
