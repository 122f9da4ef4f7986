
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The status page as Prometheus text: one table, in metrics.c; its writers,
 * divided by what they tell of.  Each writes the lines of one metric.
 */

#ifndef _NGX_HTTP_BROADCAST_METRICS_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_METRICS_H_INCLUDED_


#include "http/ngx_http_broadcast_status.h"


typedef struct ngx_http_broadcast_metric_s  ngx_http_broadcast_metric_t;

typedef void (*ngx_http_broadcast_metric_pt)(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);

struct ngx_http_broadcast_metric_s {
    const char                    *name;   /* behind nginx_broadcast_ */
    const char                    *type;
    const char                    *help;
    ngx_http_broadcast_metric_pt   write;
    ngx_uint_t                     data;   /* counter, histogram, or offset */
};


/* what a line is made of: name, labels, value; metrics.c */

void ngx_http_broadcast_sample(ngx_broadcast_buf_t *b,
    const ngx_http_broadcast_metric_t *m, const char *suffix);
void ngx_http_broadcast_label(ngx_broadcast_buf_t *b, u_char before,
    const char *name, u_char *value, size_t len);
void ngx_http_broadcast_count(ngx_broadcast_buf_t *b, uint64_t n);

#define ngx_http_broadcast_label_text(b, before, name, text)                  \
    ngx_http_broadcast_label(b, before, name, (u_char *) text,                \
                             ngx_strlen(text))

/* a histogram, with the label `kind` unless that is NULL */
void ngx_http_broadcast_buckets(ngx_broadcast_buf_t *b,
    const ngx_http_broadcast_metric_t *m, ngx_uint_t histogram,
    const char *kind);

/* hubs, connections and the zone: metrics_zone.c */
void ngx_http_broadcast_metric_connections(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_published(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_deliveries(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_sent(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_zone(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_rules(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_workers(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_endpoints(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);

/* the database, its functions and the relay: metrics_database.c */
void ngx_http_broadcast_metric_up(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_connected(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_heard(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_pooler(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_listening(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_leader(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_lag(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_pool(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_calls(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
void ngx_http_broadcast_metric_functions(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);


#endif /* _NGX_HTTP_BROADCAST_METRICS_H_INCLUDED_ */
