
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast_metrics.h"


static void ngx_http_broadcast_metric_counter(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
static void ngx_http_broadcast_metric_number(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
static void ngx_http_broadcast_metric_seconds(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
static void ngx_http_broadcast_metric_reasons(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m);
static void ngx_http_broadcast_metric_histogram(
    ngx_http_broadcast_status_t *st, ngx_broadcast_buf_t *b,
    const ngx_http_broadcast_metric_t *m);


static const ngx_http_broadcast_metric_t  ngx_http_broadcast_metrics[] = {

    { "connections", "gauge", "Connections now.",
      ngx_http_broadcast_metric_connections, 0 },

    { "published_total", "counter", "Messages that entered the log.",
      ngx_http_broadcast_metric_published, 0 },

    { "deliveries_total", "counter", "Messages given to sockets.",
      ngx_http_broadcast_metric_deliveries, 0 },

    { "sent_bytes_total", "counter", "Bytes given to sockets.",
      ngx_http_broadcast_metric_sent, 0 },

    { "opened_total", "counter", "Connections opened.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_OPENED },

    { "closed_total", "counter", "Connections closed, by reason.",
      ngx_http_broadcast_metric_reasons, NGX_BROADCAST_CLOSED_SLOW },

    { "refused_total", "counter", "Requests and messages refused, by reason.",
      ngx_http_broadcast_metric_reasons, NGX_BROADCAST_REFUSED_TOKEN },

    { "reconnects_total", "counter",
      "Sockets that took a stateful connection over.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_RECONNECTS },

    { "resumes_total", "counter", "Positions that clients named.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_RESUMES },

    { "resume_reads_total", "counter", "Reads of the history for them.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_RESUME_READS },

    { "gaps_total", "counter", "Clients told of something missed.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_GAPS },

    { "away_connections", "gauge",
      "Stateful connections that wait for another socket.",
      ngx_http_broadcast_metric_number,
      offsetof(ngx_http_broadcast_status_t, away) },

    { "zone_bytes", "gauge", "Bytes of the shared memory zone.",
      ngx_http_broadcast_metric_zone, 0 },

    { "user_groups", "gauge", "Groups of users that the zone keeps.",
      ngx_http_broadcast_metric_rules, 0 },

    { "log_overruns_total", "counter", "Workers that fell off the log.",
      ngx_http_broadcast_metric_number,
      offsetof(ngx_http_broadcast_status_t, zone.log_overruns) },

    { "frames_encoded_total", "counter",
      "Messages encoded: each once a worker, protocol and framing.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_FRAMES_ENCODED },

    { "frames_deflated_total", "counter",
      "Frames compressed: each once a worker, protocol and window size.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_FRAMES_DEFLATED },

    { "worker_connections", "gauge", "Connections of a worker.",
      ngx_http_broadcast_metric_workers, 0 },

    { "unplaced_workers_total", "counter",
      "Workers that began when all places of the zone were taken.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_UNPLACED },

    { "publish_to_socket_seconds", "histogram",
      "From the publish to the socket.",
      ngx_http_broadcast_metric_histogram, NGX_BROADCAST_PUBLISH_TO_SOCKET },

    { "commit_to_socket_seconds", "histogram",
      "From the sender's statement in the database to the socket.",
      ngx_http_broadcast_metric_histogram, NGX_BROADCAST_COMMIT_TO_SOCKET },

    { "database_up", "gauge", "1 if the database can be used.",
      ngx_http_broadcast_metric_up, 0 },

    { "database_reconnects_total", "counter",
      "Connections to the database that were made again.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_DB_RECONNECTS },

    { "database_lost_total", "counter",
      "Sessions of the relay that were lost or not made, by reason.",
      ngx_http_broadcast_metric_reasons, NGX_BROADCAST_LOST_CONNECT },

    { "database_failures", "gauge",
      "Tries to connect that failed since the relay's session was lost.",
      ngx_http_broadcast_metric_number,
      offsetof(ngx_http_broadcast_status_t, failures) },

    { "database_connected_seconds", "gauge",
      "Since when the relay's session runs; none without one.",
      ngx_http_broadcast_metric_connected, 0 },

    { "database_heard_seconds", "gauge",
      "Since when the relay's session has not answered; none without one.",
      ngx_http_broadcast_metric_heard, 0 },

    { "database_pooler", "gauge", "1 for the kind of pooler that is between.",
      ngx_http_broadcast_metric_pooler, 0 },

    { "relay_listening", "gauge",
      "1 if a NOTIFY that the relay sends to itself comes.",
      ngx_http_broadcast_metric_listening, 0 },

    { "relay_doorbells_total", "counter", "Rings that the relay heard.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_DOORBELLS },

    { "relay_leader", "gauge", "1 if this node numbers the messages.",
      ngx_http_broadcast_metric_leader, 0 },

    { "relay_lag_seconds", "gauge", "Age of the newest batch when read.",
      ngx_http_broadcast_metric_lag, 0 },

    { "relay_paced_seconds_total", "counter",
      "Time that the relay waited for workers which had much to read.",
      ngx_http_broadcast_metric_seconds, NGX_BROADCAST_RELAY_PAUSED },

    { "source_wal", "gauge", "1 if what is sent goes through the WAL.",
      ngx_http_broadcast_metric_number,
      offsetof(ngx_http_broadcast_status_t, wal) },

    { "wal_behind_bytes", "gauge",
      "What the server keeps of the WAL for the replication slot.",
      ngx_http_broadcast_metric_number,
      offsetof(ngx_http_broadcast_status_t, behind) },

    { "wal_left_out_total", "counter",
      "Messages in the WAL that were not sent by the schema.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_WAL_LEFT_OUT },

    { "pool_connections", "gauge", "Connections to the database, by state.",
      ngx_http_broadcast_metric_pool, 0 },

    { "function_calls_total", "counter", "Calls of functions.",
      ngx_http_broadcast_metric_calls, 0 },

    { "function_errors_dropped_total", "counter",
      "Errors without a row of their own in broadcast.function_error.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_ERRORS_DROPPED },

    { "methods_left_out_total", "counter",
      "Rows of broadcast.methods() for which there was no room.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_METHODS_OVER },

    { "disconnected_waiting", "gauge",
      "Connections that ended and whose disconnected is still to be called.",
      ngx_http_broadcast_metric_number,
      offsetof(ngx_http_broadcast_status_t, unsettled) },

    { "disconnected_abandoned_total", "counter",
      "Ends of connections settled without their functions, which failed.",
      ngx_http_broadcast_metric_counter, NGX_BROADCAST_DB_ABANDONED },

    { "function_seconds", "histogram", "Time of a function call.",
      ngx_http_broadcast_metric_functions, 0 },

    { "streams", "gauge", "Streams of functions that run.",
      ngx_http_broadcast_metric_number,
      offsetof(ngx_http_broadcast_status_t, streams) },

    { "endpoint_up", "gauge", "1 if clients are sent to this endpoint.",
      ngx_http_broadcast_metric_endpoints, 0 },

    { NULL, NULL, NULL, NULL, 0 }
};


void
ngx_http_broadcast_status_prometheus(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b)
{
    const ngx_http_broadcast_metric_t  *m;

    for (m = ngx_http_broadcast_metrics; m->name; m++) {

        ngx_broadcast_buf_literal(b, "# HELP ");
        ngx_http_broadcast_sample(b, m, " ");
        ngx_broadcast_buf_append(b, (u_char *) m->help, ngx_strlen(m->help));
        ngx_broadcast_buf_literal(b, "\n# TYPE ");
        ngx_http_broadcast_sample(b, m, " ");
        ngx_broadcast_buf_append(b, (u_char *) m->type, ngx_strlen(m->type));
        ngx_broadcast_buf_char(b, LF);

        m->write(st, b, m);
    }
}


void
ngx_http_broadcast_sample(ngx_broadcast_buf_t *b,
    const ngx_http_broadcast_metric_t *m, const char *suffix)
{
    ngx_broadcast_buf_literal(b, "nginx_broadcast_");
    ngx_broadcast_buf_append(b, (u_char *) m->name, ngx_strlen(m->name));
    ngx_broadcast_buf_append(b, (u_char *) suffix, ngx_strlen(suffix));
}


/* values are ours or hub names: nothing in them needs an escape */

void
ngx_http_broadcast_label(ngx_broadcast_buf_t *b, u_char before,
    const char *name, u_char *value, size_t len)
{
    ngx_broadcast_buf_char(b, before);
    ngx_broadcast_buf_append(b, (u_char *) name, ngx_strlen(name));
    ngx_broadcast_buf_literal(b, "=\"");
    ngx_broadcast_buf_append(b, value, len);
    ngx_broadcast_buf_char(b, '"');
}


void
ngx_http_broadcast_count(ngx_broadcast_buf_t *b, uint64_t n)
{
    ngx_broadcast_buf_char(b, ' ');
    ngx_broadcast_buf_uint(b, n);
    ngx_broadcast_buf_char(b, LF);
}


static void
ngx_http_broadcast_metric_counter(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, "");
    ngx_http_broadcast_count(b, st->counter[m->data]);
}


/* data is where in the status an uint64_t stands */

static void
ngx_http_broadcast_metric_number(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, "");
    ngx_http_broadcast_count(b, *(uint64_t *) ((u_char *) st + m->data));
}


/* a counter of milliseconds */

static void
ngx_http_broadcast_metric_seconds(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_sample(b, m, " ");
    ngx_http_broadcast_status_seconds(b, st->counter[m->data] * 1000);
    ngx_broadcast_buf_char(b, LF);
}


/* data is the first of the counters, in the order of the words */

static void
ngx_http_broadcast_metric_reasons(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    const char  **reason;
    ngx_uint_t    i;

    reason = (m->data == NGX_BROADCAST_CLOSED_SLOW) ? ngx_http_broadcast_closed
           : (m->data == NGX_BROADCAST_LOST_CONNECT) ? ngx_http_broadcast_lost
                                               : ngx_http_broadcast_refused;

    for (i = 0; reason[i]; i++) {
        ngx_http_broadcast_sample(b, m, "");
        ngx_http_broadcast_label_text(b, '{', "reason", reason[i]);
        ngx_broadcast_buf_char(b, '}');
        ngx_http_broadcast_count(b, st->counter[m->data + i]);
    }
}


static void
ngx_http_broadcast_metric_histogram(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b, const ngx_http_broadcast_metric_t *m)
{
    ngx_http_broadcast_buckets(b, m, m->data, NULL);
}


void
ngx_http_broadcast_buckets(ngx_broadcast_buf_t *b,
    const ngx_http_broadcast_metric_t *m, ngx_uint_t histogram,
    const char *kind)
{
    u_char                      before;
    uint64_t                    n;
    ngx_uint_t                  i;
    ngx_broadcast_histogram_t   h;

    ngx_broadcast_stats_histogram(ngx_broadcast_bus.zone, histogram, &h);

    n = 0;
    before = '{';

    for (i = 0; i <= NGX_BROADCAST_BUCKETS; i++) {

        ngx_http_broadcast_sample(b, m, "_bucket");

        if (kind) {
            ngx_http_broadcast_label_text(b, '{', "kind", kind);
            before = ',';
        }

        ngx_broadcast_buf_char(b, before);
        ngx_broadcast_buf_literal(b, "le=\"");

        if (i < NGX_BROADCAST_BUCKETS) {
            n += h.bucket[i];
            ngx_http_broadcast_status_seconds(b,
                                              ngx_broadcast_stats_bounds[i]);

        } else {

            /* counters move while they are read: never below a bucket */

            n = ngx_max(n, h.count);
            ngx_broadcast_buf_literal(b, "+Inf");
        }

        ngx_broadcast_buf_literal(b, "\"}");
        ngx_http_broadcast_count(b, n);
    }

    ngx_http_broadcast_sample(b, m, "_sum");

    if (kind) {
        ngx_http_broadcast_label_text(b, '{', "kind", kind);
        ngx_broadcast_buf_char(b, '}');
    }

    ngx_broadcast_buf_char(b, ' ');
    ngx_http_broadcast_status_seconds(b, h.sum);
    ngx_broadcast_buf_char(b, LF);

    ngx_http_broadcast_sample(b, m, "_count");

    if (kind) {
        ngx_http_broadcast_label_text(b, '{', "kind", kind);
        ngx_broadcast_buf_char(b, '}');
    }

    ngx_http_broadcast_count(b, n);
}
