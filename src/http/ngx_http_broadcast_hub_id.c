
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The id that a client of a hub names in ?id=.
 *
 * Two bits of a negotiated one tell what was agreed: with negotiate version 0
 * the token is the public id too, with version 1 the public id is its first 22
 * characters; and a stateful reconnect may have been granted.
 */


#include "http/ngx_http_broadcast_hub.h"


#define NGX_HTTP_BROADCAST_NO_CONNECTION  "No Connection with that ID"


static ngx_int_t ngx_http_broadcast_hub_token(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id, ngx_uint_t *answered);
static ngx_int_t ngx_http_broadcast_hub_other(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id);


/*
 * The connection token of the request, proved: by the row of the connection
 * that it has opened, else by the request's own hub and user.
 */

ngx_int_t
ngx_http_broadcast_hub_id(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id, ngx_uint_t *answered)
{
    ngx_int_t                  rc;
    ngx_http_broadcast_ctx_t  *ctx;

    rc = ngx_http_broadcast_hub_token(r, id, answered);

    if (*answered) {
        return rc;
    }

    *answered = 1;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    ctx->id = id->id;

    if (ngx_broadcast_registry_find(ngx_broadcast_bus.zone, &id->id, &id->row)
        != NGX_OK)
    {
        id->row.state = NGX_BROADCAST_ROW_FREE;
    }

    rc = ngx_http_broadcast_ticket_verify(r, &id->token, &ctx->user,
                                          &id->expires);
    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (id->row.state == NGX_BROADCAST_ROW_FREE) {

        if (rc != NGX_OK) {
            return ngx_http_broadcast_hub_no_connection(r);
        }

        *answered = 0;
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_broadcast_hub_other(r, id);
    }

    if (id->row.state != NGX_BROADCAST_ROW_LIVE) {
        return ngx_http_broadcast_hub_no_connection(r);
    }

    *answered = 0;

    return NGX_OK;
}


/* token, public id and what is agreed by it, of ?id=; nothing is proved */

static ngx_int_t
ngx_http_broadcast_hub_token(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id, ngx_uint_t *answered)
{
    u_char     raw[NGX_BROADCAST_ID_BYTES];
    ngx_int_t  rc;

    *answered = 1;

    rc = ngx_http_broadcast_arg(r, "id", &id->token);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED || (rc == NGX_OK && id->token.len == 0)) {
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                                       "Connection ID required");
    }

    if (rc == NGX_ABORT
        || ngx_broadcast_ticket_read(&id->token, raw, &id->expires) != NGX_OK)
    {
        return ngx_http_broadcast_hub_no_connection(r);
    }

    id->id = id->token;

    id->stateful = (raw[NGX_BROADCAST_ID_BYTES - 1]
                    & NGX_HTTP_BROADCAST_ID_STATEFUL) ? 1 : 0;

    if (!(raw[NGX_BROADCAST_ID_BYTES - 1] & NGX_HTTP_BROADCAST_ID_WHOLE)) {
        id->id.data = ngx_pnalloc(r->pool, NGX_BROADCAST_ID_LEN);
        if (id->id.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        id->id.len = ngx_broadcast_base64url(id->id.data, raw,
                                             NGX_BROADCAST_ID_BYTES);
    }

    *answered = 0;

    return NGX_OK;
}


/*
 * A connection that is not this user's: 403 for who knows its token, which is a
 * secret; for all others there is none.
 */

static ngx_int_t
ngx_http_broadcast_hub_other(ngx_http_request_t *r,
    ngx_http_broadcast_hub_id_t *id)
{
    ngx_int_t  rc;
    ngx_str_t  user;

    user.data = id->row.user;
    user.len = id->row.user_len;

    rc = ngx_http_broadcast_ticket_verify(r, &id->token, &user, &id->expires);

    if ((rc != NGX_OK && rc != NGX_BUSY)
        || id->row.state != NGX_BROADCAST_ROW_LIVE)
    {
        return ngx_http_broadcast_hub_no_connection(r);
    }

    ngx_broadcast_count(NGX_BROADCAST_REFUSED_TOKEN, 1);

    return ngx_http_broadcast_text(r, NGX_HTTP_FORBIDDEN,
                                   "The connection is another user's.");
}


/* the id was claimed before: 409 while its connection lives, then 404 */

ngx_int_t
ngx_http_broadcast_in_use(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_str_t                 none = ngx_null_string;
    ngx_broadcast_row_info_t  row;

    if (ngx_broadcast_registry_find(ngx_broadcast_bus.zone, id, &row) == NGX_OK
        && row.state == NGX_BROADCAST_ROW_LIVE)
    {
        return ngx_http_broadcast_answer(r, NGX_HTTP_CONFLICT, "text/plain",
                                         &none);
    }

    return ngx_http_broadcast_hub_no_connection(r);
}


ngx_int_t
ngx_http_broadcast_hub_no_connection(ngx_http_request_t *r)
{
    return ngx_http_broadcast_text(r, NGX_HTTP_NOT_FOUND,
                                   NGX_HTTP_BROADCAST_NO_CONNECTION);
}
