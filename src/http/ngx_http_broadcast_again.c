
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Another WebSocket for a connection that outlives its socket, signalr.md
 * 6.4: the connection comes to this worker first, if it is another's.
 */


#include "http/ngx_http_broadcast_hub.h"
#include "conn/ngx_broadcast_move.h"
#include "transport/ngx_http_broadcast_transport.h"


typedef struct {
    ngx_http_request_t     *request;        /* borrowed: it frees this */
    ngx_broadcast_move_t   *move;           /* while it waits for it */
    ngx_str_t               id;
} ngx_http_broadcast_again_t;


static void ngx_http_broadcast_again_cleanup(void *data);
static void ngx_http_broadcast_again_moved(ngx_broadcast_conn_t *bc,
    ngx_int_t rc, void *data);
static ngx_int_t ngx_http_broadcast_again_answer(
    ngx_http_broadcast_again_t *again, ngx_broadcast_conn_t *bc,
    ngx_int_t rc);


ngx_int_t
ngx_http_broadcast_again(ngx_http_request_t *r, ngx_str_t *id,
    ngx_broadcast_row_info_t *row)
{
    ngx_int_t                       rc;
    ngx_http_cleanup_t             *cln;
    ngx_broadcast_conn_t           *bc;
    ngx_broadcast_move_in_t         in;
    ngx_http_broadcast_again_t     *again;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_broadcast_again_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    again = cln->data;

    again->request = r;
    again->move = NULL;
    again->id = *id;

    cln->handler = ngx_http_broadcast_again_cleanup;

    in.id = *id;
    in.row = row;
    in.limits = &blcf->limits;
    in.transport = NULL;
    in.handler = ngx_http_broadcast_again_moved;
    in.data = again;

    rc = ngx_broadcast_move(&in, &again->move, &bc);

    if (rc != NGX_AGAIN) {
        return ngx_http_broadcast_again_answer(again, bc, rc);
    }

    ngx_http_broadcast_suspend(r);

    return NGX_DONE;
}


static void
ngx_http_broadcast_again_cleanup(void *data)
{
    ngx_http_broadcast_again_t *again = data;

    if (again->move) {
        ngx_broadcast_move_cancel(again->move);
        again->move = NULL;
    }
}


static void
ngx_http_broadcast_again_moved(ngx_broadcast_conn_t *bc, ngx_int_t rc,
    void *data)
{
    ngx_http_broadcast_again_t *again = data;

    again->move = NULL;

    ngx_http_broadcast_continue(again->request,
                                ngx_http_broadcast_again_answer(again, bc,
                                                                rc));
}


static ngx_int_t
ngx_http_broadcast_again_answer(ngx_http_broadcast_again_t *again,
    ngx_broadcast_conn_t *bc, ngx_int_t rc)
{
    ngx_http_request_t        *r;
    ngx_http_broadcast_ctx_t  *ctx;

    r = again->request;

    switch (rc) {

    case NGX_OK:

        if (!ngx_broadcast_conn_stateful(bc)) {
            break;
        }

        ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);

        return ngx_http_broadcast_websocket_again(r, bc, ctx->jwt
                                                     ? ctx->jwt->close_at : 0);

    case NGX_DECLINED:
    case NGX_ABORT:
        break;

    case NGX_BUSY:
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_LIMIT, 1);

        return ngx_http_broadcast_text(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "Too many connections move.");

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* it has ended, or a newer socket has it */

    return ngx_http_broadcast_in_use(r, &again->id);
}
