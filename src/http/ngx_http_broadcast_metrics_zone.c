
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Metrics: hubs, their connections, and the zone that holds them. */


#include "http/ngx_http_broadcast_metrics.h"


static const char  *ngx_http_broadcast_sources[NGX_BROADCAST_SOURCES] = {
    "sql", "rest", "publish", "client", "function", "notify"
};


void
ngx_http_broadcast_metric_connections(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_str_t   *name;
    ngx_uint_t   i, t;

    for (i = 0; i < st->nhubs; i++) {
        for (t = 0; t < NGX_BROADCAST_TRANSPORTS; t++) {
            name = &ngx_http_broadcast_transport_names[t];

            ngx_http_broadcast_sample(b, m, "");
            ngx_http_broadcast_label(b, '{', "hub", st->hubs[i].name,
                                     st->hubs[i].len);
            ngx_http_broadcast_label(b, ',', "transport", name->data,
                                     name->len);
            ngx_broadcast_buf_char(b, '}');
            ngx_http_broadcast_count(b, st->hubs[i].connections[t]);
        }
    }
}


void
ngx_http_broadcast_metric_published(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_uint_t  i, s;

    for (i = 0; i < st->nhubs; i++) {
        for (s = 0; s < NGX_BROADCAST_SOURCES; s++) {
            ngx_http_broadcast_sample(b, m, "");
            ngx_http_broadcast_label(b, '{', "hub", st->hubs[i].name,
                                     st->hubs[i].len);
            ngx_http_broadcast_label_text(b, ',', "source",
                                          ngx_http_broadcast_sources[s]);
            ngx_broadcast_buf_char(b, '}');
            ngx_http_broadcast_count(b, st->hubs[i].published[s]);
        }
    }
}


void
ngx_http_broadcast_metric_deliveries(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_str_t   *name;
    ngx_uint_t   i, t;

    for (i = 0; i < st->nhubs; i++) {
        for (t = 0; t < NGX_BROADCAST_TRANSPORTS; t++) {
            name = &ngx_http_broadcast_transport_names[t];

            ngx_http_broadcast_sample(b, m, "");
            ngx_http_broadcast_label(b, '{', "hub", st->hubs[i].name,
                                     st->hubs[i].len);
            ngx_http_broadcast_label(b, ',', "transport", name->data,
                                     name->len);
            ngx_broadcast_buf_char(b, '}');
            ngx_http_broadcast_count(b, st->hubs[i].delivered[t]);
        }
    }
}


void
ngx_http_broadcast_metric_sent(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_str_t   *name;
    ngx_uint_t   t;

    for (t = 0; t < NGX_BROADCAST_TRANSPORTS; t++) {
        name = &ngx_http_broadcast_transport_names[t];

        ngx_http_broadcast_sample(b, m, "");
        ngx_http_broadcast_label(b, '{', "transport", name->data, name->len);
        ngx_broadcast_buf_char(b, '}');
        ngx_http_broadcast_count(b,
                       st->counter[NGX_BROADCAST_SENT_BYTES_WEBSOCKET + t]);
    }
}


void
ngx_http_broadcast_metric_zone(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, "{state=\"used\"}");
    ngx_http_broadcast_count(b, st->zone.used);

    ngx_http_broadcast_sample(b, m, "{state=\"free\"}");
    ngx_http_broadcast_count(b, st->zone.size - st->zone.used);
}


void
ngx_http_broadcast_metric_rules(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, "{state=\"used\"}");
    ngx_http_broadcast_count(b, st->zone.rules_used);

    ngx_http_broadcast_sample(b, m, "{state=\"free\"}");
    ngx_http_broadcast_count(b, st->zone.rules - st->zone.rules_used);
}


void
ngx_http_broadcast_metric_workers(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    u_char      slot[NGX_INT_T_LEN];
    ngx_uint_t  i;

    /* by slot: a pid would be a new series after each reload */

    for (i = 0; i < st->nworkers; i++) {
        ngx_http_broadcast_sample(b, m, "");
        ngx_http_broadcast_label(b, '{', "worker", slot,
                                 ngx_sprintf(slot, "%ui", st->workers[i].slot)
                                 - slot);
        ngx_broadcast_buf_char(b, '}');
        ngx_http_broadcast_count(b, st->workers[i].connections);
    }
}


void
ngx_http_broadcast_metric_endpoints(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < st->nhealth; i++) {
        ngx_http_broadcast_sample(b, m, "");
        ngx_http_broadcast_label(b, '{', "url", st->health[i]->url.data,
                                 st->health[i]->url.len);
        ngx_broadcast_buf_char(b, '}');
        ngx_http_broadcast_count(b, !st->health[i]->down);
    }
}
