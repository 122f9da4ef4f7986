
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_hub_msgpack.h"

#include "base/ngx_broadcast_msgpack.h"


/* the elements of a record that are still to be read */

typedef struct {
    u_char                    *pos;
    u_char                    *last;
    uint32_t                   left;
    const char                *error;      /* static sentence after ERROR */
    ngx_broadcast_message_t   *message;
    unsigned                   deep:1;     /* after ERROR: it is the depth */
} ngx_broadcast_hub_msgpack_t;


static ngx_int_t ngx_broadcast_hub_msgpack_body(
    ngx_broadcast_hub_msgpack_t *ctx);
static ngx_int_t ngx_broadcast_hub_msgpack_invocation(
    ngx_broadcast_hub_msgpack_t *ctx);
static ngx_int_t ngx_broadcast_hub_msgpack_completion(
    ngx_broadcast_hub_msgpack_t *ctx);
static ngx_int_t ngx_broadcast_hub_msgpack_close(
    ngx_broadcast_hub_msgpack_t *ctx);
static ngx_int_t ngx_broadcast_hub_msgpack_head(
    ngx_broadcast_hub_msgpack_t *ctx);
static ngx_int_t ngx_broadcast_hub_msgpack_element(
    ngx_broadcast_hub_msgpack_t *ctx, ngx_str_t *span,
    ngx_broadcast_msgpack_t *v);
static ngx_int_t ngx_broadcast_hub_msgpack_int(
    ngx_broadcast_hub_msgpack_t *ctx, int64_t *n, const char *error);
static ngx_int_t ngx_broadcast_hub_msgpack_string(
    ngx_broadcast_hub_msgpack_t *ctx, ngx_str_t *string, const char *error);
static ngx_int_t ngx_broadcast_hub_msgpack_strings(ngx_str_t *span,
    ngx_uint_t *count);
static ngx_int_t ngx_broadcast_hub_msgpack_fail(
    ngx_broadcast_hub_msgpack_t *ctx, const char *error);


ngx_int_t
ngx_broadcast_hub_msgpack_next(u_char **pos, u_char *last, size_t limit,
    ngx_str_t *record)
{
    u_char      c, *p;
    uint64_t    len;
    ngx_uint_t  shift;

    if (*pos == last) {
        return NGX_DONE;
    }

    p = *pos;
    len = 0;
    shift = 0;

    do {
        if (p == last) {
            return NGX_AGAIN;
        }

        c = *p++;
        len |= (uint64_t) (c & 0x7f) << shift;
        shift += 7;

        if (len > NGX_MAX_INT32_VALUE
            || ((c & 0x80)
                && shift == 7 * NGX_BROADCAST_HUB_MSGPACK_PREFIX))
        {
            return NGX_ERROR;
        }

    } while (c & 0x80);

    if (len > limit) {
        return NGX_BUSY;
    }

    if ((size_t) (last - p) < len) {
        return NGX_AGAIN;
    }

    record->data = p;
    record->len = (size_t) len;

    *pos = p + len;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_hub_msgpack_parse(const ngx_str_t *record,
    ngx_broadcast_message_t *m, const char **error)
{
    int64_t                       type;
    ngx_int_t                     rc;
    ngx_str_t                     span;
    ngx_broadcast_msgpack_t       v;
    ngx_broadcast_hub_msgpack_t   ctx;

    ngx_memzero(m, sizeof(ngx_broadcast_message_t));

    m->encoding = NGX_BROADCAST_HUB_MSGPACK;

    ctx.pos = record->data;
    ctx.last = record->data + record->len;
    ctx.error = NULL;
    ctx.message = m;
    ctx.deep = 0;

    if (ngx_broadcast_msgpack_next(&ctx.pos, ctx.last, &v) != NGX_OK
        || v.type != NGX_BROADCAST_MSGPACK_ARRAY)
    {
        *error = "Expected an array.";
        return NGX_ERROR;
    }

    ctx.left = v.count;

    rc = ngx_broadcast_hub_msgpack_int(&ctx, &type,
                                       "Expected the message type to be an "
                                       "integer.");

    if (rc == NGX_OK) {

        if (type < NGX_BROADCAST_MESSAGE_INVOCATION
            || type > NGX_BROADCAST_MESSAGE_SEQUENCE)
        {
            rc = NGX_DECLINED;

        } else {
            m->type = (ngx_broadcast_message_type_e) type;
            rc = ngx_broadcast_hub_msgpack_body(&ctx);
        }
    }

    /* elements of a later version */

    while (rc != NGX_ERROR && ctx.left) {

        if (ngx_broadcast_hub_msgpack_element(&ctx, &span, &v) != NGX_OK) {
            rc = NGX_ERROR;
        }
    }

    if (rc != NGX_ERROR && ctx.pos != ctx.last) {
        rc = ngx_broadcast_hub_msgpack_fail(&ctx, "Something follows the "
                                                  "array of a message.");
    }

    *error = ctx.error;

    return rc;
}


static ngx_int_t
ngx_broadcast_hub_msgpack_body(ngx_broadcast_hub_msgpack_t *ctx)
{
    ngx_broadcast_message_t  *m;
    ngx_broadcast_msgpack_t   v;

    m = ctx->message;

    if (ngx_broadcast_message_counted(m)
        && ngx_broadcast_hub_msgpack_head(ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_INVOCATION:
        return ngx_broadcast_hub_msgpack_invocation(ctx);

    case NGX_BROADCAST_MESSAGE_STREAM_ITEM:
        m->has_value = 1;
        return ngx_broadcast_hub_msgpack_element(ctx, &m->value, &v);

    case NGX_BROADCAST_MESSAGE_COMPLETION:
        return ngx_broadcast_hub_msgpack_completion(ctx);

    case NGX_BROADCAST_MESSAGE_CLOSE:
        return ngx_broadcast_hub_msgpack_close(ctx);

    case NGX_BROADCAST_MESSAGE_ACK:
    case NGX_BROADCAST_MESSAGE_SEQUENCE:
        return ngx_broadcast_hub_msgpack_int(ctx, &m->sequence,
                                             "Expected the sequence id to be "
                                             "an integer.");

    default:
        return NGX_OK;
    }
}


/* headers, which nobody reads and which are only checked, and the id */

static ngx_int_t
ngx_broadcast_hub_msgpack_head(ngx_broadcast_hub_msgpack_t *ctx)
{
    ngx_str_t                 span;
    ngx_uint_t                count;
    ngx_broadcast_message_t  *m;
    ngx_broadcast_msgpack_t   v;

    m = ctx->message;

    if (ngx_broadcast_hub_msgpack_element(ctx, &span, &v) != NGX_OK) {
        return NGX_ERROR;
    }

    if (v.type != NGX_BROADCAST_MSGPACK_NIL
        && (v.type != NGX_BROADCAST_MSGPACK_MAP
            || ngx_broadcast_hub_msgpack_strings(&span, &count) != NGX_OK))
    {
        return ngx_broadcast_hub_msgpack_fail(ctx, "Expected the headers to "
                                                   "be a map of strings.");
    }

    if (ngx_broadcast_hub_msgpack_string(ctx, &m->id,
                                         "Expected the invocation id to be a "
                                         "string.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (m->id.len == 0 && m->type != NGX_BROADCAST_MESSAGE_INVOCATION) {
        return ngx_broadcast_hub_msgpack_fail(ctx, "The invocation id is "
                                                   "missing.");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_msgpack_invocation(ngx_broadcast_hub_msgpack_t *ctx)
{
    ngx_str_t                 span;
    ngx_broadcast_message_t  *m;
    ngx_broadcast_msgpack_t   v;

    m = ctx->message;

    if (ngx_broadcast_hub_msgpack_string(ctx, &m->target,
                                         "Expected the target to be a string.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (m->target.len == 0) {
        return ngx_broadcast_hub_msgpack_fail(ctx, "The target is missing.");
    }

    if (ngx_broadcast_hub_msgpack_element(ctx, &m->arguments, &v) != NGX_OK) {

        /* an error of the one invocation, if its caller waits for an answer */

        if (!ctx->deep || m->id.len == 0
            || ngx_broadcast_msgpack_pass(&ctx->pos, ctx->last) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ctx->error = NULL;
        m->deep = 1;

    } else if (v.type != NGX_BROADCAST_MSGPACK_ARRAY) {
        return ngx_broadcast_hub_msgpack_fail(ctx, "Expected the arguments to "
                                                   "be an array.");
    }

    /* JavaScript leaves the stream ids out where there are none */

    if (ctx->left == 0) {
        return NGX_OK;
    }

    if (ngx_broadcast_hub_msgpack_element(ctx, &span, &v) != NGX_OK) {
        return NGX_ERROR;
    }

    if (v.type == NGX_BROADCAST_MSGPACK_NIL) {
        return NGX_OK;
    }

    if (v.type != NGX_BROADCAST_MSGPACK_ARRAY
        || ngx_broadcast_hub_msgpack_strings(&span, &m->nstreams) != NGX_OK)
    {
        return ngx_broadcast_hub_msgpack_fail(ctx, "Expected the stream ids "
                                                   "to be an array of "
                                                   "strings.");
    }

    if (m->nstreams) {
        m->streams = span;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_msgpack_completion(ngx_broadcast_hub_msgpack_t *ctx)
{
    int64_t                   kind;
    ngx_broadcast_message_t  *m;
    ngx_broadcast_msgpack_t   v;

    m = ctx->message;

    if (ngx_broadcast_hub_msgpack_int(ctx, &kind, "Expected the kind of a "
                                                  "result to be an integer.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (kind) {

    case 1:
        if (ngx_broadcast_hub_msgpack_string(ctx, &m->error,
                                             "Expected the error to be a "
                                             "string.")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        m->has_error = (m->error.data != NULL);
        return NGX_OK;

    case 2:
        return NGX_OK;

    case 3:
        m->has_value = 1;
        return ngx_broadcast_hub_msgpack_element(ctx, &m->value, &v);

    default:
        return ngx_broadcast_hub_msgpack_fail(ctx, "The kind of a result is "
                                                   "not known.");
    }
}


static ngx_int_t
ngx_broadcast_hub_msgpack_close(ngx_broadcast_hub_msgpack_t *ctx)
{
    ngx_str_t                 span;
    ngx_broadcast_message_t  *m;
    ngx_broadcast_msgpack_t   v;

    m = ctx->message;

    if (ngx_broadcast_hub_msgpack_string(ctx, &m->error,
                                         "Expected the error to be a string.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    m->has_error = (m->error.data != NULL);

    if (ctx->left == 0) {
        return NGX_OK;
    }

    if (ngx_broadcast_hub_msgpack_element(ctx, &span, &v) != NGX_OK) {
        return NGX_ERROR;
    }

    if (v.type > NGX_BROADCAST_MSGPACK_TRUE) {
        return ngx_broadcast_hub_msgpack_fail(ctx, "Expected whether to "
                                              "reconnect to be a boolean.");
    }

    m->allow_reconnect = (v.type == NGX_BROADCAST_MSGPACK_TRUE);

    return NGX_OK;
}


/* the next element, checked with all that is in it; v is its head */

static ngx_int_t
ngx_broadcast_hub_msgpack_element(ngx_broadcast_hub_msgpack_t *ctx,
    ngx_str_t *span, ngx_broadcast_msgpack_t *v)
{
    u_char     *p;
    ngx_int_t   rc;

    if (ctx->left == 0) {
        return ngx_broadcast_hub_msgpack_fail(ctx, "A message has too few "
                                                   "elements.");
    }

    ctx->left--;

    rc = ngx_broadcast_msgpack_check(&ctx->pos, ctx->last, span, &ctx->error);

    if (rc != NGX_OK) {
        ctx->deep = (rc == NGX_DECLINED);
        return NGX_ERROR;
    }

    p = span->data;

    return ngx_broadcast_msgpack_next(&p, ctx->last, v);
}


static ngx_int_t
ngx_broadcast_hub_msgpack_int(ngx_broadcast_hub_msgpack_t *ctx, int64_t *n,
    const char *error)
{
    ngx_str_t                span;
    ngx_broadcast_msgpack_t  v;

    if (ngx_broadcast_hub_msgpack_element(ctx, &span, &v) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_msgpack_int64(&v, n) != NGX_OK) {
        return ngx_broadcast_hub_msgpack_fail(ctx, error);
    }

    return NGX_OK;
}


/* nil is an empty string without data */

static ngx_int_t
ngx_broadcast_hub_msgpack_string(ngx_broadcast_hub_msgpack_t *ctx,
    ngx_str_t *string, const char *error)
{
    ngx_str_t                span;
    ngx_broadcast_msgpack_t  v;

    if (ngx_broadcast_hub_msgpack_element(ctx, &span, &v) != NGX_OK) {
        return NGX_ERROR;
    }

    if (v.type == NGX_BROADCAST_MSGPACK_NIL) {
        ngx_str_null(string);
        return NGX_OK;
    }

    if (v.type != NGX_BROADCAST_MSGPACK_STR) {
        return ngx_broadcast_hub_msgpack_fail(ctx, error);
    }

    *string = v.bytes;

    if (v.bytes.len && memchr(v.bytes.data, '\0', v.bytes.len)) {
        ctx->message->nul = 1;
    }

    return NGX_OK;
}


/* whether a checked array or map holds strings alone, and how many entries */

static ngx_int_t
ngx_broadcast_hub_msgpack_strings(ngx_str_t *span, ngx_uint_t *count)
{
    u_char                   *p, *last;
    ngx_broadcast_msgpack_t   v;

    p = span->data;
    last = p + span->len;

    if (ngx_broadcast_msgpack_next(&p, last, &v) != NGX_OK) {
        return NGX_ERROR;
    }

    *count = v.count;

    while (p < last) {

        if (ngx_broadcast_msgpack_next(&p, last, &v) != NGX_OK
            || v.type != NGX_BROADCAST_MSGPACK_STR)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_msgpack_fail(ngx_broadcast_hub_msgpack_t *ctx,
    const char *error)
{
    ctx->error = error;

    return NGX_ERROR;
}
