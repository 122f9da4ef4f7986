
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What the status says about the database and the relay's session. */


#include "http/ngx_http_broadcast_status.h"


static void ngx_http_broadcast_status_source(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);
static void ngx_http_broadcast_status_relay(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b);
static void ngx_http_broadcast_status_text(ngx_broadcast_buf_t *b,
    const u_char *text);


/* in the order of NGX_BROADCAST_LOST_… */

const char  *ngx_http_broadcast_lost[] = {
    "connect", "standby", "closed", "silent", "behind", "error", NULL
};


/* other workers write these words: now may be a moment before them */

void
ngx_http_broadcast_status_session(ngx_http_broadcast_status_t *st)
{
    uint64_t               now, since, heard, retry;
    ngx_broadcast_zone_t  *zone = ngx_broadcast_bus.zone;

    now = ngx_current_msec;

    since = ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_DB_SINCE);
    heard = ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_DB_HEARD);
    retry = ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_DB_RETRY);

    if (since) {
        st->session = 1;
        st->connected = now > since ? now - since : 0;
        st->heard = now > heard ? now - heard : 0;

    } else if (retry) {
        st->retry = retry > now ? retry - now : 1;
    }

    st->failures = ngx_broadcast_stats_get(zone,
                                           NGX_BROADCAST_GAUGE_DB_FAILURES);
    st->listens = ngx_broadcast_stats_get(zone,
                                          NGX_BROADCAST_GAUGE_DB_LISTENS);
    st->pooler = ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_DB_POOLER);

    ngx_broadcast_note_get(zone, NGX_BROADCAST_NOTE_SERVER, st->server);
    ngx_broadcast_note_get(zone, NGX_BROADCAST_NOTE_REASON, st->reason);
    ngx_broadcast_note_get(zone, NGX_BROADCAST_NOTE_SOURCE, st->hinders);
}


void
ngx_http_broadcast_status_database(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b)
{
    uint64_t   *n;
    ngx_str_t   text;

    n = st->counter;

    text.data = (u_char *) st->state;
    text.len = ngx_strlen(st->state);

    ngx_broadcast_buf_literal(b, "},\"database\":{\"state\":");
    ngx_broadcast_buf_json(b, &text);

    text.data = (u_char *) st->relay;
    text.len = ngx_strlen(st->relay);

    ngx_broadcast_buf_literal(b, ",\"relay\":");
    ngx_broadcast_buf_json(b, &text);

    ngx_broadcast_buf_literal(b, ",\"lag_seconds\":");
    ngx_http_broadcast_status_seconds(b, st->lag);

    ngx_http_broadcast_status_source(st, b);

    ngx_http_broadcast_status_member(b, ",\"reconnects\":",
                                     n[NGX_BROADCAST_DB_RECONNECTS]);
    ngx_http_broadcast_status_member(b, ",\"calls\":",
                                     n[NGX_BROADCAST_DB_CALLS]);
    ngx_http_broadcast_status_member(b, ",\"errors\":",
                                     n[NGX_BROADCAST_DB_ERRORS]);
    ngx_http_broadcast_status_member(b, ",\"calls_refused\":", st->calls);
    ngx_http_broadcast_status_member(b, ",\"streams\":", st->streams);
    ngx_http_broadcast_status_member(b, ",\"streams_refused\":",
                                     n[NGX_BROADCAST_REFUSED_STREAM]);
    ngx_http_broadcast_status_member(b, ",\"errors_dropped\":",
                                     n[NGX_BROADCAST_ERRORS_DROPPED]);
    ngx_http_broadcast_status_member(b, ",\"methods_left_out\":",
                                     n[NGX_BROADCAST_METHODS_OVER]);
    ngx_http_broadcast_status_member(b, ",\"unsettled\":", st->unsettled);
    ngx_http_broadcast_status_member(b, ",\"abandoned\":",
                                     n[NGX_BROADCAST_DB_ABANDONED]);
    ngx_broadcast_buf_literal(b, ",\"paced_seconds\":");
    ngx_http_broadcast_status_seconds(b, n[NGX_BROADCAST_RELAY_PAUSED] * 1000);

    ngx_http_broadcast_status_relay(st, b);
    ngx_broadcast_buf_char(b, '}');
}


/* the way of what is sent, to the relay */

static void
ngx_http_broadcast_status_source(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b)
{
    ngx_broadcast_buf_literal(b, ",\"source\":");
    ngx_http_broadcast_status_text(b, (u_char *) (st->wal ? "wal" : "outbox"));

    ngx_broadcast_buf_literal(b, ",\"source_error\":");
    ngx_http_broadcast_status_text(b, st->hinders[0] ? st->hinders : NULL);

    ngx_http_broadcast_status_member(b, ",\"wal_behind\":", st->behind);
    ngx_http_broadcast_status_member(b, ",\"wal_left_out\":",
                                     st->counter[NGX_BROADCAST_WAL_LEFT_OUT]);
}


/* how the relay's session fares */

static void
ngx_http_broadcast_status_relay(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b)
{
    static const char  *listens[] = { "null", "true", "false" };

    static const char  *poolers[] = {
        "null", "\"none\"", "\"session\"", "\"transaction\""
    };

    ngx_http_broadcast_status_member(b, ",\"doorbells\":",
                                     st->counter[NGX_BROADCAST_DOORBELLS]);

    ngx_broadcast_buf_literal(b, ",\"server\":");
    ngx_http_broadcast_status_text(b, st->session ? st->server : NULL);

    ngx_broadcast_buf_literal(b, ",\"connected_seconds\":");

    if (st->session) {
        ngx_http_broadcast_status_seconds(b, st->connected * 1000);
        ngx_broadcast_buf_literal(b, ",\"heard_seconds\":");
        ngx_http_broadcast_status_seconds(b, st->heard * 1000);

    } else {
        ngx_broadcast_buf_literal(b, "null,\"heard_seconds\":null");
    }

    ngx_broadcast_buf_literal(b, ",\"listening\":");
    ngx_broadcast_buf_append(b, (u_char *) listens[st->listens],
                             ngx_strlen(listens[st->listens]));

    ngx_broadcast_buf_literal(b, ",\"pooler\":");
    ngx_broadcast_buf_append(b, (u_char *) poolers[st->pooler],
                             ngx_strlen(poolers[st->pooler]));

    ngx_broadcast_buf_literal(b, ",\"reason\":");
    ngx_http_broadcast_status_text(b, st->reason);

    ngx_http_broadcast_status_member(b, ",\"failures\":", st->failures);

    ngx_broadcast_buf_literal(b, ",\"retry_seconds\":");

    if (st->retry) {
        ngx_http_broadcast_status_seconds(b, st->retry * 1000);

    } else {
        ngx_broadcast_buf_literal(b, "null");
    }

    ngx_broadcast_buf_literal(b, ",\"lost\":");
    ngx_http_broadcast_status_reasons(b, ngx_http_broadcast_lost,
                                   &st->counter[NGX_BROADCAST_LOST_CONNECT]);
}


/* null if there is none */

static void
ngx_http_broadcast_status_text(ngx_broadcast_buf_t *b, const u_char *text)
{
    ngx_str_t  value;

    if (text == NULL || text[0] == '\0') {
        ngx_broadcast_buf_literal(b, "null");
        return;
    }

    value.data = (u_char *) text;
    value.len = ngx_strlen(text);

    ngx_broadcast_buf_json(b, &value);
}
