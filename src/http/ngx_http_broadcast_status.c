
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "http/ngx_http_broadcast_status.h"


static ngx_int_t ngx_http_broadcast_status_collect(ngx_http_request_t *r,
    ngx_http_broadcast_status_t *st);
static ngx_uint_t ngx_http_broadcast_status_format(ngx_http_request_t *r);
static ngx_uint_t ngx_http_broadcast_status_accepts(ngx_http_request_t *r,
    const char *type);
static void ngx_http_broadcast_status_json(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);
static void ngx_http_broadcast_status_endpoints(
    ngx_http_broadcast_status_t *st, ngx_broadcast_buf_t *b);
static void ngx_http_broadcast_status_hub(ngx_broadcast_buf_t *b,
    ngx_broadcast_hub_info_t *hub);


ngx_str_t  ngx_http_broadcast_transport_names[NGX_BROADCAST_TRANSPORTS] = {
    ngx_string("websocket"),
    ngx_string("sse"),
    ngx_string("longpoll")
};


const char  *ngx_http_broadcast_closed[] = {
    "slow", "rate", "timeout", "protocol", "overrun", "drain", "normal",
    "server", "error", "worker", NULL
};

const char  *ngx_http_broadcast_refused[] = {
    "token", "origin", "limit", "full", "size", "database", "function",
    "invocation", "stream", "role", NULL
};


static const char  *ngx_http_broadcast_db_states[] = {
    "off", "down", "up", "schema"
};

static const char  *ngx_http_broadcast_relay_states[] = {
    "off", "leader", "follower", "listen"
};

ngx_int_t
ngx_http_broadcast_status_handler(ngx_http_request_t *r)
{
    ngx_str_t                     body;
    const char                   *type;
    ngx_broadcast_buf_t           b;
    ngx_http_broadcast_status_t  *st;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_broadcast_not_allowed(r, "GET, HEAD, OPTIONS");
    }

    st = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_status_t));

    if (st == NULL || ngx_http_broadcast_status_collect(r, st) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_broadcast_buf_init(&b, r->pool, 4096);

    switch (ngx_http_broadcast_status_format(r)) {

    case NGX_HTTP_BROADCAST_STATUS_JSON:
        ngx_http_broadcast_status_json(st, &b);
        type = "application/json";
        break;

    case NGX_HTTP_BROADCAST_STATUS_PROMETHEUS:
        ngx_http_broadcast_status_prometheus(st, &b);
        type = "text/plain; version=0.0.4; charset=utf-8";
        break;

    case NGX_HTTP_BROADCAST_STATUS_HTML:
        ngx_http_broadcast_status_html(st, &b);
        type = "text/html; charset=utf-8";
        break;

    default:
        return ngx_http_broadcast_text(r, NGX_HTTP_BAD_REQUEST,
                            "format must be html, json or prometheus.");
    }

    if (ngx_broadcast_buf_done(&b, &body) != NGX_OK
        || ngx_http_broadcast_header_text(r, "Cache-Control", "no-store")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_answer(r, NGX_HTTP_OK, type, &body);
}


/* the directive's word, else ?format=, else Accept; AUTO: a foreign word */

static ngx_uint_t
ngx_http_broadcast_status_format(ngx_http_request_t *r)
{
    ngx_str_t                       word;
    ngx_http_broadcast_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_broadcast_module);

    if (blcf->format != NGX_HTTP_BROADCAST_STATUS_AUTO) {
        return blcf->format;
    }

    if (ngx_http_broadcast_arg(r, "format", &word) != NGX_DECLINED) {

        if (word.len == 4 && ngx_strncmp(word.data, "html", 4) == 0) {
            return NGX_HTTP_BROADCAST_STATUS_HTML;
        }

        if (word.len == 4 && ngx_strncmp(word.data, "json", 4) == 0) {
            return NGX_HTTP_BROADCAST_STATUS_JSON;
        }

        if (word.len == 10 && ngx_strncmp(word.data, "prometheus", 10) == 0) {
            return NGX_HTTP_BROADCAST_STATUS_PROMETHEUS;
        }

        return NGX_HTTP_BROADCAST_STATUS_AUTO;
    }

    if (ngx_http_broadcast_status_accepts(r, "application/openmetrics-text")) {
        return NGX_HTTP_BROADCAST_STATUS_PROMETHEUS;
    }

    if (ngx_http_broadcast_status_accepts(r, "application/json")) {
        return NGX_HTTP_BROADCAST_STATUS_JSON;
    }

    if (ngx_http_broadcast_status_accepts(r, "text/html")) {
        return NGX_HTTP_BROADCAST_STATUS_HTML;
    }

    if (ngx_http_broadcast_status_accepts(r, "text/plain")) {
        return NGX_HTTP_BROADCAST_STATUS_PROMETHEUS;
    }

    return NGX_HTTP_BROADCAST_STATUS_JSON;
}


static ngx_uint_t
ngx_http_broadcast_status_accepts(ngx_http_request_t *r, const char *type)
{
    ngx_table_elt_t  *h;

    h = ngx_http_broadcast_header_in(r, "accept");

    return h
           && ngx_strlcasestrn(h->value.data, h->value.data + h->value.len,
                               (u_char *) type, ngx_strlen(type) - 1);
}


static ngx_int_t
ngx_http_broadcast_status_collect(ngx_http_request_t *r,
    ngx_http_broadcast_status_t *st)
{
    ngx_uint_t                       i, state, relay;
    ngx_broadcast_zone_t            *zone;
    ngx_http_broadcast_main_conf_t  *bmcf;

    zone = ngx_broadcast_bus.zone;
    bmcf = ngx_http_get_module_main_conf(r, ngx_http_broadcast_module);

    if (bmcf->health) {
        st->health = bmcf->health->elts;
        st->nhealth = bmcf->health->nelts;
    }

    ngx_broadcast_zone_info(zone, &st->zone);

    st->workers = ngx_palloc(r->pool, NGX_BROADCAST_SLOTS
                                      * sizeof(ngx_broadcast_slot_info_t));
    if (st->workers == NULL) {
        return NGX_ERROR;
    }

    st->nworkers = ngx_broadcast_slot_list(zone, st->workers,
                                           NGX_BROADCAST_SLOTS);

    st->nhubs = ngx_broadcast_hub_count(zone);

    st->hubs = ngx_palloc(r->pool, (st->nhubs + 1)
                                   * sizeof(ngx_broadcast_hub_info_t));
    if (st->hubs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < st->nhubs; i++) {
        ngx_broadcast_hub_info(zone, i, &st->hubs[i]);
    }

    for (i = 0; i < NGX_BROADCAST_COUNTERS; i++) {
        st->counter[i] = ngx_broadcast_stats_sum(zone, i);
    }

    for (i = 0; i < NGX_BROADCAST_EVENTS; i++) {
        st->calls += ngx_broadcast_stats_calls(zone, i,
                                               NGX_BROADCAST_OUTCOME_REFUSED);
    }

    ngx_broadcast_stats_pools(zone, st->pool);
    st->away = ngx_broadcast_stats_aways(zone);
    st->streams = ngx_broadcast_stats_running(zone);
    st->unsettled = st->zone.unsettled;

    state = NGX_BROADCAST_DB_OFF;
    relay = NGX_BROADCAST_RELAY_OFF;

    if (ngx_broadcast_pg_enabled()) {
        state = ngx_broadcast_pg_state();
        relay = ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_RELAY_STATE);
        st->lag = ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_RELAY_LAG);
        st->wal = ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_WAL);
        st->behind = ngx_broadcast_stats_get(zone,
                                             NGX_BROADCAST_GAUGE_WAL_BEHIND);

        ngx_http_broadcast_status_session(st);
    }

    st->state = ngx_http_broadcast_db_states[ngx_min(state, 3)];
    st->relay = ngx_http_broadcast_relay_states[ngx_min(relay, 3)];

#if (NGX_BROADCAST_DEBUG)
    if (ngx_broadcast_zone_check(zone, st->check, sizeof(st->check))
        != NGX_OK)
    {
        st->check[sizeof(st->check) - 1] = '\0';
        st->check_len = ngx_strlen(st->check);
    }
#endif

    return NGX_OK;
}


void
ngx_http_broadcast_status_seconds(ngx_broadcast_buf_t *b, uint64_t usec)
{
    u_char  text[NGX_INT64_LEN + 8], *p;

    p = ngx_sprintf(text, "%uL.%06uL", usec / 1000000, usec % 1000000);

    ngx_broadcast_buf_append(b, text, p - text);
}


static void
ngx_http_broadcast_status_json(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b)
{
    uint64_t    *n;
    ngx_uint_t   i;
#if (NGX_BROADCAST_DEBUG)
    ngx_str_t    text;
#endif

    n = st->counter;

    ngx_broadcast_buf_literal(b, "{\"version\":\""
                              NGX_HTTP_BROADCAST_VERSION "\"");

    ngx_http_broadcast_status_member(b, ",\"uptime\":",
                                ngx_max(ngx_time() - st->zone.created, 0));
    ngx_http_broadcast_status_member(b, ",\"zone\":{\"size\":",
                                     st->zone.size);
    ngx_http_broadcast_status_member(b, ",\"used\":", st->zone.used);
    ngx_http_broadcast_status_member(b, ",\"rules\":", st->zone.rules_used);
    ngx_http_broadcast_status_member(b, "},\"log\":{\"bytes\":",
                                     st->zone.log_bytes);
    ngx_http_broadcast_status_member(b, ",\"head\":", st->zone.log_head);
    ngx_http_broadcast_status_member(b, ",\"tail\":", st->zone.log_tail);
    ngx_http_broadcast_status_member(b, ",\"overruns\":",
                                     st->zone.log_overruns);
    ngx_broadcast_buf_literal(b, "},\"workers\":[");

    for (i = 0; i < st->nworkers; i++) {

        if (i) {
            ngx_broadcast_buf_char(b, ',');
        }

        ngx_http_broadcast_status_member(b, "{\"pid\":", st->workers[i].pid);
        ngx_http_broadcast_status_member(b, ",\"connections\":",
                                         st->workers[i].connections);
        ngx_broadcast_buf_char(b, '}');
    }

    ngx_http_broadcast_status_member(b, "],\"unplaced_workers\":",
                                     n[NGX_BROADCAST_UNPLACED]);
    ngx_broadcast_buf_literal(b, ",\"hubs\":{");

    for (i = 0; i < st->nhubs; i++) {

        if (i) {
            ngx_broadcast_buf_char(b, ',');
        }

        ngx_http_broadcast_status_hub(b, &st->hubs[i]);
    }

    ngx_http_broadcast_status_member(b, "},\"opened\":",
                                     n[NGX_BROADCAST_OPENED]);
    ngx_broadcast_buf_literal(b, ",\"closed\":");
    ngx_http_broadcast_status_reasons(b, ngx_http_broadcast_closed,
                                      &n[NGX_BROADCAST_CLOSED_SLOW]);
    ngx_broadcast_buf_literal(b, ",\"refused\":");
    ngx_http_broadcast_status_reasons(b, ngx_http_broadcast_refused,
                                      &n[NGX_BROADCAST_REFUSED_TOKEN]);

    ngx_http_broadcast_status_member(b, ",\"stateful\":{\"reconnects\":",
                                     n[NGX_BROADCAST_RECONNECTS]);
    ngx_http_broadcast_status_member(b, ",\"away\":", st->away);

    ngx_http_broadcast_status_member(b, "},\"resumes\":{\"asked\":",
                                     n[NGX_BROADCAST_RESUMES]);
    ngx_http_broadcast_status_member(b, ",\"reads\":",
                                     n[NGX_BROADCAST_RESUME_READS]);
    ngx_http_broadcast_status_member(b, ",\"gaps\":", n[NGX_BROADCAST_GAPS]);

    ngx_http_broadcast_status_database(st, b);

    if (st->nhealth) {
        ngx_http_broadcast_status_endpoints(st, b);
    }

#if (NGX_BROADCAST_DEBUG)
    text.data = st->check;
    text.len = st->check_len;

    ngx_broadcast_buf_literal(b, ",\"check\":");

    if (text.len) {
        ngx_broadcast_buf_json(b, &text);

    } else {
        ngx_broadcast_buf_literal(b, "\"ok\"");
    }
#endif

    ngx_broadcast_buf_literal(b, "}\n");
}


void
ngx_http_broadcast_status_reasons(ngx_broadcast_buf_t *b, const char **reason,
    uint64_t *n)
{
    ngx_uint_t  i;

    for (i = 0; reason[i]; i++) {
        ngx_broadcast_buf_char(b, i ? ',' : '{');
        ngx_broadcast_buf_char(b, '"');
        ngx_broadcast_buf_append(b, (u_char *) reason[i],
                                 ngx_strlen(reason[i]));
        ngx_http_broadcast_status_member(b, "\":", n[i]);
    }

    ngx_broadcast_buf_char(b, '}');
}


static void
ngx_http_broadcast_status_endpoints(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b)
{
    ngx_uint_t  i;

    ngx_broadcast_buf_literal(b, ",\"endpoints\":{");

    for (i = 0; i < st->nhealth; i++) {

        if (i) {
            ngx_broadcast_buf_char(b, ',');
        }

        ngx_broadcast_buf_json(b, &st->health[i]->url);

        if (st->health[i]->down) {
            ngx_broadcast_buf_literal(b, ":{\"up\":false}");

        } else {
            ngx_broadcast_buf_literal(b, ":{\"up\":true}");
        }
    }

    ngx_broadcast_buf_char(b, '}');
}


static void
ngx_http_broadcast_status_hub(ngx_broadcast_buf_t *b,
    ngx_broadcast_hub_info_t *hub)
{
    u_char      position[NGX_BROADCAST_POSITION_LEN];
    uint64_t    published, delivered;
    ngx_str_t   name;
    ngx_uint_t  i;

    name.data = hub->name;
    name.len = hub->len;

    ngx_broadcast_buf_json(b, &name);
    ngx_broadcast_buf_literal(b, ":{\"connections\":{");

    delivered = 0;

    for (i = 0; i < NGX_BROADCAST_TRANSPORTS; i++) {

        if (i) {
            ngx_broadcast_buf_char(b, ',');
        }

        ngx_broadcast_buf_json(b, &ngx_http_broadcast_transport_names[i]);
        ngx_broadcast_buf_char(b, ':');
        ngx_broadcast_buf_uint(b, hub->connections[i]);

        delivered += hub->delivered[i];
    }

    published = 0;

    for (i = 0; i < NGX_BROADCAST_SOURCES; i++) {
        published += hub->published[i];
    }

    ngx_http_broadcast_status_member(b, "},\"users\":", hub->users);
    ngx_http_broadcast_status_member(b, ",\"groups\":", hub->groups);
    ngx_http_broadcast_status_member(b, ",\"published\":", published);
    ngx_http_broadcast_status_member(b, ",\"delivered\":", delivered);

    if (hub->durable) {
        ngx_broadcast_buf_literal(b, ",\"durable\":true,\"position\":");

    } else {
        ngx_broadcast_buf_literal(b, ",\"durable\":false,\"position\":");
    }

    if (hub->position.epoch) {
        ngx_broadcast_buf_char(b, '"');
        ngx_broadcast_buf_append(b, position,
                  ngx_broadcast_position_print(position, &hub->position)
                  - position);
        ngx_broadcast_buf_literal(b, "\"}");

    } else {
        ngx_broadcast_buf_literal(b, "null}");
    }
}
