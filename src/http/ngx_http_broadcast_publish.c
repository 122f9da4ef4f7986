
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast_message.h"


static void ngx_http_broadcast_publish_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_publish(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_publish_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent);


ngx_int_t
ngx_http_broadcast_publish_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_broadcast_ctx_t  *ctx;

    ctx = ngx_http_broadcast_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->json = 1;

    if (r->method != NGX_HTTP_POST) {
        return ngx_http_broadcast_not_allowed(r, "POST, OPTIONS");
    }

    rc = ngx_http_broadcast_path_hub(r);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_broadcast_error(r, NGX_HTTP_NOT_FOUND, "NotFound",
                                        "The path must end in the name of a "
                                        "hub.", NULL);
    }

    if (rc == NGX_ABORT) {
        return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                        "The hub is no good name.", NULL);
    }

    return ngx_http_broadcast_read_send(r, ngx_http_broadcast_publish_body);
}


static void
ngx_http_broadcast_publish_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_broadcast_publish(r));
}


static ngx_int_t
ngx_http_broadcast_publish(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_broadcast_ctx_t       *ctx;
    ngx_http_broadcast_batch_t      batch;
    ngx_http_broadcast_loc_conf_t  *blcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    ngx_memzero(&batch, sizeof(ngx_http_broadcast_batch_t));

    batch.r = r;
    batch.bare = 1;
    batch.target = blcf->target;
    batch.scope.source = NGX_BROADCAST_SRC_PUBLISH;

    if (ngx_http_broadcast_arg(r, "target", &batch.target) == NGX_ABORT) {
        return ngx_http_broadcast_error(r, NGX_HTTP_BAD_REQUEST, "BadRequest",
                                        "The target is not well encoded.",
                                        NULL);
    }

    if (batch.target.len == 0) {
        batch.target = blcf->target;
    }

    rc = ngx_http_broadcast_scope_args(&batch);

    if (rc == NGX_OK) {
        rc = ngx_http_broadcast_batch(&batch);
    }

    if (rc != NGX_OK) {
        return ngx_http_broadcast_batch_refused(&batch, rc);
    }

    return ngx_http_broadcast_send_to(r, &ctx->hub, &batch.records,
                                      NGX_BROADCAST_NUMBERED,
                                      ngx_http_broadcast_publish_sent);
}


static ngx_int_t
ngx_http_broadcast_publish_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent)
{
    return ngx_http_broadcast_sent(r, sent, NGX_HTTP_OK);
}
