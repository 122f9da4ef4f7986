
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_hub_json.h"

#include "proto/ngx_broadcast_scan.h"


#define NGX_BROADCAST_HUB_JSON_HEADERS          \
    "Expected 'headers' to be an object of strings."
#define NGX_BROADCAST_HUB_JSON_STREAMS          \
    "Expected 'streamIds' to be an array of strings."


/* what the properties of a record are, before its type is known */

typedef struct {
    ngx_broadcast_message_t     *message;
    ngx_pool_t                  *pool;
    int64_t                      type;
    ngx_str_t                    item;
    ngx_str_t                    result;
    const char                  *wrong;    /* first property of wrong type */

    unsigned                     has_type:1;
    unsigned                     has_sequence:1;
} ngx_broadcast_hub_json_ctx_t;


typedef ngx_int_t (*ngx_broadcast_hub_json_pt)(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);


typedef struct {
    const char                  *name;
    ngx_broadcast_hub_json_pt    handler;
    const char                  *wrong;
} ngx_broadcast_hub_json_property_t;


static ngx_int_t ngx_broadcast_hub_json_member(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *key, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_property(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *key,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_complete(
    ngx_broadcast_hub_json_ctx_t *ctx, const char **error);
static ngx_int_t ngx_broadcast_hub_json_string(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v,
    ngx_str_t *string);
static ngx_int_t ngx_broadcast_hub_json_type(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_id(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_target(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_arguments(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_streams(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_headers(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_item(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_result(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_error(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_reconnect(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);
static ngx_int_t ngx_broadcast_hub_json_sequence(
    ngx_broadcast_hub_json_ctx_t *ctx, ngx_broadcast_scan_value_t *v);


static ngx_broadcast_hub_json_property_t
    ngx_broadcast_hub_json_properties[] =
{
    { "type",
      ngx_broadcast_hub_json_type,
      "Expected 'type' to be of type Number." },

    { "invocationId",
      ngx_broadcast_hub_json_id,
      "Expected 'invocationId' to be of type String." },

    { "target",
      ngx_broadcast_hub_json_target,
      "Expected 'target' to be of type String." },

    { "arguments",
      ngx_broadcast_hub_json_arguments,
      "Expected 'arguments' to be of type Array." },

    { "streamIds",
      ngx_broadcast_hub_json_streams,
      NGX_BROADCAST_HUB_JSON_STREAMS },

    { "headers",
      ngx_broadcast_hub_json_headers,
      NGX_BROADCAST_HUB_JSON_HEADERS },

    { "item",
      ngx_broadcast_hub_json_item,
      NULL },

    { "result",
      ngx_broadcast_hub_json_result,
      NULL },

    { "error",
      ngx_broadcast_hub_json_error,
      "Expected 'error' to be of type String." },

    { "allowReconnect",
      ngx_broadcast_hub_json_reconnect,
      "Expected 'allowReconnect' to be of type Boolean." },

    { "sequenceId",
      ngx_broadcast_hub_json_sequence,
      "Expected 'sequenceId' to be of type Number." },

    { NULL, NULL, NULL }
};


ngx_int_t
ngx_broadcast_hub_json_next(u_char **pos, u_char *last, ngx_str_t *record)
{
    u_char  *p;

    if (*pos == last) {
        return NGX_DONE;
    }

    p = memchr(*pos, NGX_BROADCAST_HUB_JSON_SEPARATOR, last - *pos);

    if (p == NULL) {
        return NGX_AGAIN;
    }

    record->data = *pos;
    record->len = p - *pos;

    *pos = p + 1;

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_hub_json_parse(const ngx_str_t *record, ngx_pool_t *pool,
    ngx_broadcast_message_t *m, const char **error)
{
    ngx_int_t                     rc;
    ngx_broadcast_scan_t          s;
    ngx_broadcast_scan_value_t    key, value;
    ngx_broadcast_hub_json_ctx_t  ctx;

    ngx_memzero(m, sizeof(ngx_broadcast_message_t));
    ngx_memzero(&ctx, sizeof(ngx_broadcast_hub_json_ctx_t));

    m->encoding = NGX_BROADCAST_HUB_JSON;

    ctx.message = m;
    ctx.pool = pool;

    ngx_broadcast_scan_init(&s, record);

    if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) {
        *error = "Expected a JSON Object.";
        return NGX_ERROR;
    }

    while ((rc = ngx_broadcast_hub_json_member(&s, &key, &value)) == NGX_OK) {

        if (ngx_broadcast_hub_json_property(&ctx, &key, &value) != NGX_OK) {
            *error = "no memory for a message";
            return NGX_ERROR;
        }
    }

    if (rc == NGX_ERROR || ngx_broadcast_scan_end(&s) != NGX_OK) {
        *error = s.error;
        return NGX_ERROR;
    }

    return ngx_broadcast_hub_json_complete(&ctx, error);
}


ngx_int_t
ngx_broadcast_hub_json_stream(const ngx_broadcast_message_t *m, u_char **pos,
    ngx_pool_t *pool, ngx_str_t *id)
{
    ngx_int_t                   rc;
    ngx_broadcast_scan_t        s;
    ngx_broadcast_scan_value_t  value;

    ngx_broadcast_scan_init(&s, &m->streams);

    if (*pos) {
        s.pos = *pos;

    } else if (ngx_broadcast_scan_open(&s, '[') != NGX_OK) {
        return NGX_DONE;
    }

    rc = ngx_broadcast_scan_element(&s, &value);

    *pos = s.pos;

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_broadcast_scan_string(&value, pool, id);
}


/*
 * Arguments that are nested too deeply are an error of the one invocation, if
 * its caller waits for an answer: the id may stand behind them.
 */

static ngx_int_t
ngx_broadcast_hub_json_member(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *key, ngx_broadcast_scan_value_t *v)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_scan_member(s, key, v);

    if (rc == NGX_ERROR && s->deep && ngx_broadcast_scan_is(key, "arguments")) {
        return ngx_broadcast_scan_pass(s, v);
    }

    return rc;
}


/* ERROR only without memory */

static ngx_int_t
ngx_broadcast_hub_json_property(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *key, ngx_broadcast_scan_value_t *v)
{
    ngx_int_t                           rc;
    ngx_broadcast_hub_json_property_t  *prop;

    for (prop = ngx_broadcast_hub_json_properties; prop->name; prop++) {

        if (!ngx_broadcast_scan_is(key, prop->name)) {
            continue;
        }

        rc = prop->handler(ctx, v);

        if (rc == NGX_DECLINED) {

            if (ctx->wrong == NULL) {
                ctx->wrong = prop->wrong;
            }

            return NGX_OK;
        }

        return rc;
    }

    return NGX_OK;
}


/*
 * What the type demands.  A type that nobody knows is ignored whatever its
 * properties are: a later protocol may give them another meaning.
 */

static ngx_int_t
ngx_broadcast_hub_json_complete(ngx_broadcast_hub_json_ctx_t *ctx,
    const char **error)
{
    ngx_broadcast_message_t  *m;

    m = ctx->message;

    if (!ctx->has_type) {
        *error = ctx->wrong ? ctx->wrong : "Missing required property 'type'.";
        return NGX_ERROR;
    }

    if (ctx->type < NGX_BROADCAST_MESSAGE_INVOCATION
        || ctx->type > NGX_BROADCAST_MESSAGE_SEQUENCE)
    {
        return NGX_DECLINED;
    }

    if (ctx->wrong) {
        *error = ctx->wrong;
        return NGX_ERROR;
    }

    m->type = (ngx_broadcast_message_type_e) ctx->type;

    if (m->id.len == 0
        && m->type >= NGX_BROADCAST_MESSAGE_STREAM_ITEM
        && m->type <= NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION)
    {
        *error = "Missing required property 'invocationId'.";
        return NGX_ERROR;
    }

    switch (m->type) {

    case NGX_BROADCAST_MESSAGE_INVOCATION:
    case NGX_BROADCAST_MESSAGE_STREAM_INVOCATION:

        if (m->target.len == 0) {
            *error = "Missing required property 'target'.";
            return NGX_ERROR;
        }

        if (m->deep) {

            if (m->id.len == 0) {
                *error = NGX_BROADCAST_SCAN_TOO_DEEP;
                return NGX_ERROR;
            }

            break;
        }

        if (m->arguments.len == 0) {
            *error = "Missing required property 'arguments'.";
            return NGX_ERROR;
        }

        break;

    case NGX_BROADCAST_MESSAGE_STREAM_ITEM:

        if (ctx->item.len == 0) {
            *error = "Missing required property 'item'.";
            return NGX_ERROR;
        }

        m->value = ctx->item;
        m->has_value = 1;
        break;

    case NGX_BROADCAST_MESSAGE_COMPLETION:

        if (ctx->result.len && m->has_error) {
            *error = "The 'result' and 'error' properties are mutually "
                     "exclusive.";
            return NGX_ERROR;
        }

        m->value = ctx->result;
        m->has_value = (ctx->result.len != 0);
        break;

    case NGX_BROADCAST_MESSAGE_ACK:
    case NGX_BROADCAST_MESSAGE_SEQUENCE:

        if (!ctx->has_sequence) {
            *error = "Missing required property 'sequenceId'.";
            return NGX_ERROR;
        }

        break;

    default:
        break;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_json_string(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v, ngx_str_t *string)
{
    if (v->type == NGX_BROADCAST_SCAN_NULL) {
        ngx_str_null(string);
        return NGX_OK;
    }

    if (v->type != NGX_BROADCAST_SCAN_STRING) {
        return NGX_DECLINED;
    }

    if (v->nul) {
        ctx->message->nul = 1;
    }

    return ngx_broadcast_scan_string(v, ctx->pool, string);
}


static ngx_int_t
ngx_broadcast_hub_json_type(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ctx->has_type = (ngx_broadcast_scan_int64(v, &ctx->type) == NGX_OK);

    return ctx->has_type ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_broadcast_hub_json_id(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    return ngx_broadcast_hub_json_string(ctx, v, &ctx->message->id);
}


static ngx_int_t
ngx_broadcast_hub_json_target(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    return ngx_broadcast_hub_json_string(ctx, v, &ctx->message->target);
}


static ngx_int_t
ngx_broadcast_hub_json_arguments(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ngx_broadcast_message_t  *m;

    if (v->type != NGX_BROADCAST_SCAN_ARRAY) {
        return NGX_DECLINED;
    }

    m = ctx->message;

    m->deep = (v->levels > NGX_BROADCAST_SCAN_DEPTH);

    if (m->deep) {
        ngx_str_null(&m->arguments);

    } else {
        m->arguments = v->text;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_json_streams(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ngx_broadcast_scan_t        s;
    ngx_broadcast_message_t    *m;
    ngx_broadcast_scan_value_t  id;

    m = ctx->message;

    ngx_str_null(&m->streams);
    m->nstreams = 0;

    if (v->type == NGX_BROADCAST_SCAN_NULL) {
        return NGX_OK;
    }

    ngx_broadcast_scan_init(&s, &v->text);

    if (ngx_broadcast_scan_open(&s, '[') != NGX_OK) {
        return NGX_DECLINED;
    }

    while (ngx_broadcast_scan_element(&s, &id) == NGX_OK) {

        if (id.type != NGX_BROADCAST_SCAN_STRING) {
            return NGX_DECLINED;
        }

        m->nstreams++;
    }

    if (m->nstreams) {
        m->streams = v->text;
    }

    return NGX_OK;
}


/* nobody reads them, so they are only checked */

static ngx_int_t
ngx_broadcast_hub_json_headers(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ngx_broadcast_scan_t        s;
    ngx_broadcast_scan_value_t  name, value;

    if (v->type == NGX_BROADCAST_SCAN_NULL) {
        return NGX_OK;
    }

    ngx_broadcast_scan_init(&s, &v->text);

    if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) {
        return NGX_DECLINED;
    }

    while (ngx_broadcast_scan_member(&s, &name, &value) == NGX_OK) {

        if (value.type != NGX_BROADCAST_SCAN_STRING) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_json_item(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ctx->item = v->text;

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_json_result(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ctx->result = v->text;

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_hub_json_error(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ctx->message->has_error = (v->type == NGX_BROADCAST_SCAN_STRING);

    return ngx_broadcast_hub_json_string(ctx, v, &ctx->message->error);
}


static ngx_int_t
ngx_broadcast_hub_json_reconnect(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ctx->message->allow_reconnect = (v->type == NGX_BROADCAST_SCAN_TRUE);

    return (v->type <= NGX_BROADCAST_SCAN_TRUE) ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_broadcast_hub_json_sequence(ngx_broadcast_hub_json_ctx_t *ctx,
    ngx_broadcast_scan_value_t *v)
{
    ctx->has_sequence = (ngx_broadcast_scan_int64(v, &ctx->message->sequence)
                         == NGX_OK);

    return ctx->has_sequence ? NGX_OK : NGX_DECLINED;
}
