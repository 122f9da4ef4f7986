
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * broadcast_after: when a request of the location is over and was answered
 * with 2xx, the `after` function of that name is told.
 *
 * It is a handler of the log phase, which runs once a request, on every way
 * out of it, in the location that it ended in: behind internal redirects and
 * error_page, and not for subrequests.  The request is freed right behind it,
 * so the call gets a copy of the event, and nothing waits for its end.
 */


#include "http/ngx_http_broadcast.h"


static void ngx_http_broadcast_after_call(ngx_http_request_t *r,
    ngx_str_t *name, ngx_uint_t status);
static ngx_int_t ngx_http_broadcast_after_event(ngx_http_request_t *r,
    ngx_str_t *name, ngx_uint_t status, ngx_str_t *event);
static void ngx_http_broadcast_after_done(ngx_broadcast_call_result_t *result,
    void *data);
static ngx_uint_t ngx_http_broadcast_after_quiet(time_t *logged);


/* reads r->args, so before the handler that masks them */

ngx_int_t
ngx_http_broadcast_after_handler(ngx_http_request_t *r)
{
    ngx_uint_t                      status;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (blcf->after.len == 0 || r != r->main) {
        return NGX_OK;
    }

    /* what access logs call $status */

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status >= NGX_HTTP_OK && status < NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_broadcast_after_call(r, &blcf->after, status);
    }

    return NGX_OK;
}


/*
 * Until the bindings were read for the first time nobody knows whether there
 * is one: the database is asked.
 */

static void
ngx_http_broadcast_after_call(ngx_http_request_t *r, ngx_str_t *name,
    ngx_uint_t status)
{
    static time_t  logged;

    ngx_int_t              rc;
    ngx_str_t              event;
    ngx_broadcast_zone_t  *zone;

    zone = ngx_broadcast_bus.zone;

    if (!ngx_broadcast_pg_enabled()
        || (ngx_broadcast_binding_ready(zone)
            && !ngx_broadcast_binding_find(zone, NGX_BROADCAST_ON_AFTER, NULL,
                                           name, NULL)))
    {
        return;
    }

    if (ngx_http_broadcast_after_event(r, name, status, &event) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "broadcast: no memory to call the \"after\" function for "
                      "%V", name);
        return;
    }

    /* the name is the configuration's, which outlives its workers' calls */

    rc = ngx_broadcast_call(NGX_BROADCAST_ON_AFTER, name, &event,
                            ngx_http_broadcast_after_done, &name,
                            sizeof(ngx_str_t *), NULL);

    if (rc != NGX_OK && !ngx_http_broadcast_after_quiet(&logged)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "broadcast: \"after\" function for %V was not called: %s",
                      name,
                      rc == NGX_BUSY ? "too many calls wait"
                                     : "the database is away");
    }
}


/* claims are those of a client's token, as broadcast_auth takes it, or null */

static ngx_int_t
ngx_http_broadcast_after_event(ngx_http_request_t *r, ngx_str_t *name,
    ngx_uint_t status, ngx_str_t *event)
{
    off_t                      size;
    u_char                     number[NGX_OFF_T_LEN + NGX_INT_T_LEN + 32];
    ngx_str_t                  text;
    ngx_uint_t                 known;
    ngx_broadcast_buf_t        b;
    ngx_http_broadcast_ctx_t  *ctx;

    if (ngx_http_broadcast_token(r, &ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    known = (ctx->jwt && ngx_broadcast_jwt_is_client(ctx->jwt));

    /* nginx puts in what it has counted, where the client did not say it */

    size = ngx_max(r->headers_in.content_length_n, 0);

    text.data = number;
    text.len = ngx_sprintf(number, ",\"size\":%O,\"status\":%ui,", size,
                           status)
               - number;

    ngx_broadcast_buf_init(&b, r->pool, 1024);

    ngx_broadcast_buf_literal(&b, "{\"kind\":\"after\",\"name\":");
    ngx_broadcast_buf_json(&b, name);
    ngx_broadcast_buf_literal(&b, ",\"method\":");
    ngx_broadcast_buf_json(&b, &r->method_name);
    ngx_broadcast_buf_literal(&b, ",\"uri\":");
    ngx_broadcast_buf_json(&b, &r->uri);
    ngx_broadcast_buf_str(&b, &text);
    ngx_broadcast_buf_literal(&b, "\"userId\":");

    if (known && ctx->user.len) {
        ngx_broadcast_buf_json(&b, &ctx->user);

    } else {
        ngx_broadcast_buf_literal(&b, "null");
    }

    ngx_broadcast_buf_literal(&b, ",\"claims\":");

    if (known) {
        ngx_broadcast_buf_str(&b, &ctx->jwt->payload);

    } else {
        ngx_broadcast_buf_literal(&b, "null");
    }

    ngx_broadcast_buf_literal(&b, ",\"remoteAddress\":");
    ngx_broadcast_buf_json(&b, &r->connection->addr_text);
    ngx_broadcast_buf_char(&b, '}');

    return ngx_broadcast_buf_done(&b, event);
}


/* what the function raised, or that it took too long, was logged by pg */

static void
ngx_http_broadcast_after_done(ngx_broadcast_call_result_t *result, void *data)
{
    static time_t  logged;

    if (result->status == NGX_BROADCAST_CALL_AWAY
        && !ngx_http_broadcast_after_quiet(&logged))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "broadcast: the connection to the database broke "
                      "during a call of the \"after\" function for %V",
                      *(ngx_str_t **) data);
    }
}


/* 1: a line was written in this second; they are all counted */

static ngx_uint_t
ngx_http_broadcast_after_quiet(time_t *logged)
{
    if (*logged == ngx_time()) {
        return 1;
    }

    *logged = ngx_time();

    return 0;
}
