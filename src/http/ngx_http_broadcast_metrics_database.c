
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Metrics: the database, the relay, and the functions that are called. */


#include "http/ngx_http_broadcast_metrics.h"


static const char  *ngx_http_broadcast_kinds[NGX_BROADCAST_EVENTS] = {
    "connect", "connected", "disconnected", "message", "http", "timer", "after"
};

static const char  *ngx_http_broadcast_outcomes[NGX_BROADCAST_OUTCOMES] = {
    "ok", "error", "timeout", "refused"
};

static const char  *ngx_http_broadcast_pools[NGX_BROADCAST_POOL_STATES] = {
    "idle", "busy", "connecting"
};


void
ngx_http_broadcast_metric_up(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, "");
    ngx_http_broadcast_count(b, ngx_strcmp(st->state, "up") == 0);
}


void
ngx_http_broadcast_metric_connected(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    if (st->session) {
        ngx_http_broadcast_sample(b, m, " ");
        ngx_http_broadcast_status_seconds(b, st->connected * 1000);
        ngx_broadcast_buf_char(b, LF);
    }
}


void
ngx_http_broadcast_metric_heard(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    if (st->session) {
        ngx_http_broadcast_sample(b, m, " ");
        ngx_http_broadcast_status_seconds(b, st->heard * 1000);
        ngx_broadcast_buf_char(b, LF);
    }
}


void
ngx_http_broadcast_metric_pooler(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_uint_t  i;

    static const char  *poolers[] = { "none", "session", "transaction" };

    for (i = 0; i < 3; i++) {
        ngx_http_broadcast_sample(b, m, "");
        ngx_http_broadcast_label_text(b, '{', "mode", poolers[i]);
        ngx_broadcast_buf_char(b, '}');
        ngx_http_broadcast_count(b, st->pooler
                                    == NGX_BROADCAST_POOLER_NONE + i);
    }
}


void
ngx_http_broadcast_metric_listening(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, "");
    ngx_http_broadcast_count(b, st->listens == NGX_BROADCAST_LISTENS_YES);
}


void
ngx_http_broadcast_metric_leader(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, "");
    ngx_http_broadcast_count(b, ngx_strcmp(st->relay, "leader") == 0);
}


void
ngx_http_broadcast_metric_lag(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, " ");
    ngx_http_broadcast_status_seconds(b, st->lag);
    ngx_broadcast_buf_char(b, LF);
}


void
ngx_http_broadcast_metric_pool(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_POOL_STATES; i++) {
        ngx_http_broadcast_sample(b, m, "");
        ngx_http_broadcast_label_text(b, '{', "state",
                                      ngx_http_broadcast_pools[i]);
        ngx_broadcast_buf_char(b, '}');
        ngx_http_broadcast_count(b, st->pool[i]);
    }
}


void
ngx_http_broadcast_metric_calls(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_uint_t  i, n;

    for (i = 0; i < NGX_BROADCAST_EVENTS; i++) {
        for (n = 0; n < NGX_BROADCAST_OUTCOMES; n++) {
            ngx_http_broadcast_sample(b, m, "");
            ngx_http_broadcast_label_text(b, '{', "kind",
                                          ngx_http_broadcast_kinds[i]);
            ngx_http_broadcast_label_text(b, ',', "outcome",
                                          ngx_http_broadcast_outcomes[n]);
            ngx_broadcast_buf_char(b, '}');
            ngx_http_broadcast_count(b,
                    ngx_broadcast_stats_calls(ngx_broadcast_bus.zone, i, n));
        }
    }
}


void
ngx_http_broadcast_metric_functions(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_EVENTS; i++) {
        ngx_http_broadcast_buckets(b, m, NGX_BROADCAST_FUNCTION_TIME + i,
                                   ngx_http_broadcast_kinds[i]);
    }
}
