
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_peer.h"
#include "proto/ngx_broadcast_hub_json.h"
#include "proto/ngx_broadcast_hub_msgpack.h"
#include "proto/ngx_broadcast_recode.h"


ngx_int_t
ngx_broadcast_encoding_next(ngx_broadcast_conn_t *bc, u_char **pos,
    u_char *last, ngx_str_t *record, const char **error)
{
    size_t     limit;
    ngx_int_t  rc;

    limit = bc->limits->message_size;

    if (bc->protocol == NGX_BROADCAST_HUB_MSGPACK) {
        rc = ngx_broadcast_hub_msgpack_next(pos, last, limit, record);

        if (rc == NGX_ERROR) {
            *error = "the length of a message is no VarInt of 31 bits";
        }

        return rc;
    }

    rc = ngx_broadcast_hub_json_next(pos, last, record);

    if (rc == NGX_AGAIN && (size_t) (last - *pos) > limit) {
        return NGX_BUSY;
    }

    return rc;
}


ngx_int_t
ngx_broadcast_encoding_parse(ngx_broadcast_conn_t *bc,
    const ngx_str_t *record, ngx_pool_t *pool, ngx_broadcast_message_t *m,
    const char **error)
{
    ngx_int_t  rc;

    if (bc->protocol != NGX_BROADCAST_HUB_MSGPACK) {
        return ngx_broadcast_hub_json_parse(record, pool, m, error);
    }

    rc = ngx_broadcast_hub_msgpack_parse(record, m, error);

    if (rc == NGX_OK
        && ngx_broadcast_recode_message(m, NGX_BROADCAST_HUB_JSON, pool, m)
           != NGX_OK)
    {
        *error = "no memory for a message";
        return NGX_ERROR;
    }

    return rc;
}
