
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_packed.h"

#include "base/ngx_broadcast_msgpack.h"
#include "proto/ngx_broadcast_hub_json.h"
#include "proto/ngx_broadcast_hub_msgpack.h"
#include "proto/ngx_broadcast_recode.h"


/* the pairs of a map whose keys are strings */

typedef struct {
    u_char                   *pos;
    u_char                   *last;
    uint32_t                  left;
    ngx_str_t                 key;
    ngx_str_t                 span;        /* the value, whole */
    ngx_broadcast_msgpack_t   value;       /* its head */
} ngx_broadcast_packed_map_t;


static ngx_int_t ngx_broadcast_packed_open(const ngx_str_t *body,
    ngx_broadcast_packed_map_t *map, const char **error);
static ngx_int_t ngx_broadcast_packed_pair(ngx_broadcast_packed_map_t *map);
static ngx_uint_t ngx_broadcast_packed_is(ngx_str_t *key, const char *name);
static ngx_int_t ngx_broadcast_packed_json(ngx_str_t *bytes,
    ngx_pool_t *pool, ngx_broadcast_message_t *m);
static ngx_int_t ngx_broadcast_packed_msgpack(ngx_str_t *bytes,
    ngx_broadcast_message_t *m);
static ngx_int_t ngx_broadcast_packed_refuse(const char **error,
    const char *text);


static u_char  ngx_broadcast_packed_none[] = "\x90";     /* an empty array */


ngx_int_t
ngx_broadcast_packed_message(const ngx_str_t *body, ngx_pool_t *pool,
    ngx_broadcast_packed_t *p, const char **error)
{
    ngx_uint_t                   found;
    ngx_broadcast_packed_map_t   map;

    if (ngx_broadcast_packed_open(body, &map, error) != NGX_OK) {
        return NGX_DECLINED;
    }

    found = 0;

    p->packed.data = ngx_broadcast_packed_none;
    p->packed.len = sizeof(ngx_broadcast_packed_none) - 1;

    while (ngx_broadcast_packed_pair(&map) == NGX_OK) {

        if (ngx_broadcast_packed_is(&map.key, "target")) {

            if (map.value.type != NGX_BROADCAST_MSGPACK_STR) {
                return ngx_broadcast_packed_refuse(error,
                                              "\"target\" must be a string.");
            }

            p->target = map.value.bytes;
            found = 1;

        } else if (ngx_broadcast_packed_is(&map.key, "arguments")) {

            if (map.value.type == NGX_BROADCAST_MSGPACK_NIL) {
                continue;
            }

            if (map.value.type != NGX_BROADCAST_MSGPACK_ARRAY) {
                return ngx_broadcast_packed_refuse(error,
                                            "\"arguments\" must be an array.");
            }

            p->packed = map.span;
        }
    }

    if (!found) {
        return ngx_broadcast_packed_refuse(error, "\"target\" is required.");
    }

    return ngx_broadcast_recode_text(&p->packed, pool, &p->arguments);
}


ngx_int_t
ngx_broadcast_packed_encoded(const ngx_str_t *body, ngx_pool_t *pool,
    ngx_broadcast_packed_t *p, const char **error)
{
    ngx_int_t                    rc;
    ngx_broadcast_message_t     *m, text, packed;
    ngx_broadcast_packed_map_t   map;

    if (ngx_broadcast_packed_open(body, &map, error) != NGX_OK) {
        return NGX_DECLINED;
    }

    text.type = NGX_BROADCAST_MESSAGE_NONE;
    packed.type = NGX_BROADCAST_MESSAGE_NONE;

    while (ngx_broadcast_packed_pair(&map) == NGX_OK) {

        if (ngx_broadcast_packed_is(&map.key, "json")) {
            rc = (map.value.type == NGX_BROADCAST_MSGPACK_BIN)
                 ? ngx_broadcast_packed_json(&map.value.bytes, pool, &text)
                 : NGX_ERROR;
            m = &text;

        } else if (ngx_broadcast_packed_is(&map.key, "messagepack")) {
            rc = (map.value.type == NGX_BROADCAST_MSGPACK_BIN)
                 ? ngx_broadcast_packed_msgpack(&map.value.bytes, &packed)
                 : NGX_ERROR;
            m = &packed;

        } else {
            continue;
        }

        if (rc != NGX_OK || m->type != NGX_BROADCAST_MESSAGE_INVOCATION) {
            return ngx_broadcast_packed_refuse(error, "The bytes of a protocol "
                                               "must be one whole invocation.");
        }
    }

    ngx_memzero(p, sizeof(ngx_broadcast_packed_t));

    if (packed.type) {
        p->target = packed.target;
        p->packed = packed.arguments;
    }

    if (text.type == NGX_BROADCAST_MESSAGE_NONE) {

        if (packed.type == NGX_BROADCAST_MESSAGE_NONE) {
            return ngx_broadcast_packed_refuse(error, "An invocation for "
                                    "\"json\" or \"messagepack\" is required.");
        }

        return ngx_broadcast_recode_text(&p->packed, pool, &p->arguments);
    }

    if (packed.type
        && (packed.target.len != text.target.len
            || ngx_memcmp(packed.target.data, text.target.data,
                          text.target.len)
               != 0))
    {
        return ngx_broadcast_packed_refuse(error, "The invocations for the "
                                           "protocols have not one target.");
    }

    p->target = text.target;
    p->arguments = text.arguments;

    return NGX_OK;
}


/* checks the whole body, so that the walk over its pairs cannot fail */

static ngx_int_t
ngx_broadcast_packed_open(const ngx_str_t *body,
    ngx_broadcast_packed_map_t *map, const char **error)
{
    u_char                   *pos;
    ngx_str_t                 span;
    ngx_broadcast_msgpack_t   v;

    pos = body->data;
    map->last = pos + body->len;

    if (ngx_broadcast_msgpack_check(&pos, map->last, &span, error) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (pos != map->last) {
        return ngx_broadcast_packed_refuse(error, "something follows the "
                                                  "MessagePack value");
    }

    map->pos = body->data;

    if (ngx_broadcast_msgpack_next(&map->pos, map->last, &v) != NGX_OK
        || v.type != NGX_BROADCAST_MSGPACK_MAP)
    {
        return ngx_broadcast_packed_refuse(error, "The body must be a map.");
    }

    map->left = v.count;

    return NGX_OK;
}


/* OK, or DONE at the end; a key that is no string has no bytes */

static ngx_int_t
ngx_broadcast_packed_pair(ngx_broadcast_packed_map_t *map)
{
    u_char                   *pos;
    const char               *error;
    ngx_broadcast_msgpack_t   key;

    if (map->left == 0
        || ngx_broadcast_msgpack_next(&map->pos, map->last, &key) != NGX_OK
        || ngx_broadcast_msgpack_check(&map->pos, map->last, &map->span,
                                       &error)
           != NGX_OK)
    {
        return NGX_DONE;
    }

    map->left--;
    map->key = key.bytes;

    pos = map->span.data;

    return ngx_broadcast_msgpack_next(&pos, map->last, &map->value);
}


static ngx_uint_t
ngx_broadcast_packed_is(ngx_str_t *key, const char *name)
{
    return key->len == ngx_strlen(name)
           && ngx_strncasecmp(key->data, (u_char *) name, key->len) == 0;
}


static ngx_int_t
ngx_broadcast_packed_json(ngx_str_t *bytes, ngx_pool_t *pool,
    ngx_broadcast_message_t *m)
{
    u_char      *pos, *last;
    ngx_str_t    record;
    const char  *error;

    pos = bytes->data;
    last = pos + bytes->len;

    if (ngx_broadcast_hub_json_next(&pos, last, &record) != NGX_OK
        || pos != last)
    {
        return NGX_ERROR;
    }

    return ngx_broadcast_hub_json_parse(&record, pool, m, &error);
}


static ngx_int_t
ngx_broadcast_packed_msgpack(ngx_str_t *bytes, ngx_broadcast_message_t *m)
{
    u_char      *pos, *last;
    ngx_str_t    record;
    const char  *error;

    pos = bytes->data;
    last = pos + bytes->len;

    if (ngx_broadcast_hub_msgpack_next(&pos, last, bytes->len, &record)
        != NGX_OK
        || pos != last)
    {
        return NGX_ERROR;
    }

    return ngx_broadcast_hub_msgpack_parse(&record, m, &error);
}


static ngx_int_t
ngx_broadcast_packed_refuse(const char **error, const char *text)
{
    *error = text;

    return NGX_DECLINED;
}
