
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_binding.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_relay_local.h"


/*
 * What a new session does before it runs, a query a step: settings, LISTEN on
 * all channels (first, so that nothing is missed behind what is read next),
 * the schema's version, places of the hubs, bindings.
 *
 *   BEGIN -> PLACES -+----------------------------------> COMMIT -> BINDINGS
 *     ^              |                                     ^  |
 *     |              +--> RULES -> FETCH, page by page ----+  |
 *     |       a new zone, a gap, or behind ANEW                 |
 *     +-------------------------- ANEW <----------------------+
 *
 * A new zone reads the rules of users, too, in one transaction with the places;
 * nobody connects before it has the bindings.  A database that does not reach
 * as far as it was read is asked to begin a new history, and has the rules of
 * then.  If the row behind the cursor has gone, aged out or because another
 * node asked for a new history, it may have changed rules: they are read anew.
 *
 * A server that took over without the last commits, and has given their numbers
 * to others since, is known by the mark of the row that was read last: it has
 * another one there.  What it numbered until then is passed over; the new
 * history behind it tells everybody.
 */

typedef enum {
    NGX_BROADCAST_STEP_SETTINGS = 0,
    NGX_BROADCAST_STEP_LISTEN,
    NGX_BROADCAST_STEP_VERSION,
    NGX_BROADCAST_STEP_BEGIN,
    NGX_BROADCAST_STEP_PLACES,
    NGX_BROADCAST_STEP_RULES,
    NGX_BROADCAST_STEP_FETCH,
    NGX_BROADCAST_STEP_COMMIT,
    NGX_BROADCAST_STEP_ANEW,
    NGX_BROADCAST_STEP_BINDINGS
} ngx_broadcast_relay_step_e;


static void ngx_broadcast_relay_step(void);
static void ngx_broadcast_relay_cursor(uint64_t cursor);
static void ngx_broadcast_relay_stepped(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_listen(void);
static void ngx_broadcast_relay_version(ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_places(PGresult *result);
static ngx_uint_t ngx_broadcast_relay_stranger(PGresult *result);
static void ngx_broadcast_relay_known(void);
static void ngx_broadcast_relay_begun(void);
static void ngx_broadcast_relay_place(ngx_str_t *name,
    ngx_broadcast_position_t *place);


/*
 * Settings of the server's side, for those of them that it has: a machine
 * that vanishes, or a process that is stopped, must not keep the lock.
 */

static const char  ngx_broadcast_relay_settings[] =
    "SELECT pg_catalog.pg_is_in_recovery(),"
    " (SELECT pg_catalog.count(pg_catalog.set_config(s.name, v.value, false))"
    " FROM (VALUES ('statement_timeout', '10s'),"
    " ('client_min_messages', 'error'),"
    " ('idle_in_transaction_session_timeout', '5s'),"
    " ('idle_session_timeout', '10s'),"
    " ('tcp_keepalives_idle', '3'),"
    " ('tcp_keepalives_interval', '2'),"
    " ('tcp_keepalives_count', '3'),"
    " ('tcp_user_timeout', '9000')) v(name, value)"
    " JOIN pg_catalog.pg_settings s USING (name))";

/* what an older schema has not, or a role was not granted, is done without */

static const char  ngx_broadcast_relay_version_text[] =
    "SELECT broadcast.schema_version(),"
    " pg_catalog.has_function_privilege(pg_catalog.to_regprocedure("
    "'broadcast.sequence_read(int)'), 'EXECUTE')";

/* both are of one moment: the functions are STABLE and share the snapshot */

static const char  ngx_broadcast_relay_places_text[] =
    "SELECT broadcast.head(), p.hub, p.epoch, p.seq,"
    " (SELECT r.pos FROM broadcast.read($1::bigint, 1) r),"
    " (SELECT r.mark FROM broadcast.read($2::bigint - 1, 1) r"
    " WHERE r.pos = $2::bigint), s.system, s.timeline"
    " FROM broadcast.server() s LEFT JOIN broadcast.positions() p ON true";

static const char  *ngx_broadcast_relay_channels[] = {
    "broadcast_doorbell",
    "broadcast_batch",
    "broadcast_bindings",
    "broadcast_probe",
    NULL
};

#define NGX_BROADCAST_RELAY_CHANNELS  4


void
ngx_broadcast_relay_set_up(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->phase = NGX_BROADCAST_RELAY_SETUP;
    relay->step = NGX_BROADCAST_STEP_SETTINGS;
    relay->channel = 0;

    ngx_broadcast_relay_step();
}


void
ngx_broadcast_relay_ask_again(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->phase = NGX_BROADCAST_RELAY_SETUP;
    relay->step = NGX_BROADCAST_STEP_VERSION;

    ngx_broadcast_relay_step();
}


static void
ngx_broadcast_relay_step(void)
{
    ngx_uint_t              statement;
    const char             *text;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    statement = NGX_BROADCAST_PG_TEXT;
    relay->query.nparams = 0;

    switch (relay->step) {

    case NGX_BROADCAST_STEP_SETTINGS:
        text = ngx_broadcast_relay_settings;
        break;

    case NGX_BROADCAST_STEP_LISTEN:
        ngx_broadcast_relay_listen();
        text = relay->text;
        break;

    case NGX_BROADCAST_STEP_VERSION:
        text = ngx_broadcast_relay_version_text;
        break;

    case NGX_BROADCAST_STEP_BEGIN:
        text = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        break;

    case NGX_BROADCAST_STEP_PLACES:
        text = ngx_broadcast_relay_places_text;
        ngx_broadcast_relay_cursor(ngx_broadcast_log_relay(
                                       ngx_broadcast_bus.zone));
        break;

    case NGX_BROADCAST_STEP_RULES:
        text = ngx_broadcast_relay_rules_text;
        break;

    case NGX_BROADCAST_STEP_FETCH:
        text = "FETCH 1000 FROM broadcast_rules";
        break;

    case NGX_BROADCAST_STEP_COMMIT:
        text = "COMMIT";
        break;

    case NGX_BROADCAST_STEP_ANEW:
        text = "SELECT broadcast.begin_anew($1::bigint, $2::bigint,"
               " $3::bigint)";
        ngx_broadcast_relay_cursor(relay->cursor);
        break;

    default: /* NGX_BROADCAST_STEP_BINDINGS */
        text = ngx_broadcast_relay_bindings_text;
        break;
    }

    ngx_broadcast_relay_send(&relay->query, statement, text,
                             ngx_broadcast_relay_stepped);
}


static void
ngx_broadcast_relay_cursor(uint64_t cursor)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    (void) ngx_sprintf((u_char *) relay->cursor_text, "%uL%Z", cursor);

    (void) ngx_sprintf((u_char *) relay->mark_pos_text, "%uL%Z", (uint64_t)
                       ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_MARK_POS));
    (void) ngx_sprintf((u_char *) relay->mark_text, "%uL%Z", (uint64_t)
                       ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_MARK));

    relay->query.nparams = relay->step == NGX_BROADCAST_STEP_ANEW ? 3 : 2;
    relay->query.params[0] = relay->cursor_text;
    relay->query.params[1] = relay->mark_pos_text;
    relay->query.params[2] = relay->stranger ? NULL : relay->mark_text;
}


static void
ngx_broadcast_relay_stepped(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_uint_t                channels;
    ngx_broadcast_relay_t    *relay = &ngx_broadcast_relay;
    ngx_broadcast_pg_conf_t  *conf = ngx_broadcast_pg.conf;

    if (relay->step == NGX_BROADCAST_STEP_VERSION
        && status != NGX_BROADCAST_PG_AWAY)
    {
        ngx_broadcast_relay_version(status, result);
        return;
    }

    if (!ngx_broadcast_relay_good(status, result, "setting up")) {
        return;
    }

    switch (relay->step) {

    case NGX_BROADCAST_STEP_SETTINGS:

        if (ngx_broadcast_pg_value(result, 0, 0).data[0] == 't') {
            ngx_broadcast_relay_drop(NGX_BROADCAST_LOST_STANDBY,
                                     "the server is a standby");
            return;
        }

        relay->step = NGX_BROADCAST_STEP_LISTEN;
        break;

    case NGX_BROADCAST_STEP_LISTEN:

        channels = NGX_BROADCAST_RELAY_CHANNELS
                   + (conf->listen ? conf->listen->nelts : 0);

        if (++relay->channel < channels) {
            break;
        }

        ngx_broadcast_listen_begun();

        relay->step = NGX_BROADCAST_STEP_VERSION;
        break;

    case NGX_BROADCAST_STEP_BEGIN:
        relay->step = relay->anew ? NGX_BROADCAST_STEP_RULES
                                  : NGX_BROADCAST_STEP_PLACES;
        break;

    case NGX_BROADCAST_STEP_PLACES:
        ngx_broadcast_relay_places(result);

        relay->step = relay->load ? NGX_BROADCAST_STEP_RULES
                                  : NGX_BROADCAST_STEP_COMMIT;
        break;

    case NGX_BROADCAST_STEP_RULES:
        ngx_broadcast_relay_rules_begin();
        relay->step = NGX_BROADCAST_STEP_FETCH;
        break;

    case NGX_BROADCAST_STEP_FETCH:

        if (ngx_broadcast_relay_rules_page(result)) {
            break;
        }

        ngx_broadcast_relay_rules_end();

        if (relay->load == NGX_BROADCAST_LOAD_ALL) {
            ngx_broadcast_relay_begun();
        }

        relay->step = NGX_BROADCAST_STEP_COMMIT;
        break;

    case NGX_BROADCAST_STEP_COMMIT:
        relay->step = relay->anew == 1 ? NGX_BROADCAST_STEP_ANEW
                                       : NGX_BROADCAST_STEP_BINDINGS;
        break;

    case NGX_BROADCAST_STEP_ANEW:
        relay->cursor = ngx_broadcast_pg_number(result, 0, 0);
        ngx_broadcast_log_set_relay(ngx_broadcast_bus.zone, relay->cursor);
        ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_MARK_POS, 0);
        ngx_broadcast_relay_known();

        relay->anew = 2;
        relay->step = NGX_BROADCAST_STEP_BEGIN;
        break;

    default: /* NGX_BROADCAST_STEP_BINDINGS */

        ngx_broadcast_relay_bind(result);

        relay->phase = NGX_BROADCAST_RELAY_RUNNING;

        ngx_broadcast_relay_run();
        return;
    }

    ngx_broadcast_relay_step();
}


static void
ngx_broadcast_relay_listen(void)
{
    char                       *name;
    ngx_str_t                   channel;
    ngx_broadcast_relay_t      *relay = &ngx_broadcast_relay;
    ngx_broadcast_pg_listen_t  *listen;

    if (relay->channel < NGX_BROADCAST_RELAY_CHANNELS) {
        channel.data = (u_char *) ngx_broadcast_relay_channels[relay->channel];
        channel.len = ngx_strlen(channel.data);

    } else {
        listen = ngx_broadcast_pg.conf->listen->elts;
        channel = listen[relay->channel - NGX_BROADCAST_RELAY_CHANNELS]
                  .channel;
    }

    name = PQescapeIdentifier(relay->conn.pg, (char *) channel.data,
                              channel.len);

    (void) ngx_snprintf((u_char *) relay->text, sizeof(relay->text) - 1,
                        "LISTEN %s%Z", name ? name : "broadcast_doorbell");

    PQfreemem(name);
}


static void
ngx_broadcast_relay_version(ngx_uint_t status, PGresult *result)
{
    u_char                    why[256];
    ngx_str_t                 message;
    ngx_broadcast_relay_t    *relay = &ngx_broadcast_relay;
    ngx_broadcast_pg_conf_t  *conf = ngx_broadcast_pg.conf;

    if (status == NGX_BROADCAST_PG_OK
        && ngx_broadcast_pg_number(result, 0, 0) >= NGX_BROADCAST_RELAY_SCHEMA)
    {
        relay->joint = PQgetvalue(result, 0, 1)[0] == 't';

        if (!relay->joint) {
            ngx_log_error(NGX_LOG_INFO, ngx_broadcast_pg.log, 0,
                          "broadcast: the schema has no sequence_read(), or "
                          "it is not granted: numbering and reading are two "
                          "statements");
        }

        relay->step = NGX_BROADCAST_STEP_BEGIN;
        relay->load = 0;
        relay->anew = 0;

        ngx_broadcast_relay_step();
        return;
    }

    if (status == NGX_BROADCAST_PG_OK) {
        ngx_cpystrn(why, (u_char *) "its version is too old", sizeof(why));

    } else {

        if (!ngx_broadcast_pg_no_schema(result)) {
            (void) ngx_broadcast_relay_good(status, result, "setting up");
            return;
        }

        message = ngx_broadcast_pg_message(result);
        (void) ngx_snprintf(why, sizeof(why) - 1, "%V%Z", &message);
        why[sizeof(why) - 1] = '\0';

        /*
         * Where there is no schema no function can be bound, so no connect
         * has to wait until bindings are read.
         */

        if (ngx_memcmp(ngx_broadcast_pg_sqlstate(result).data, "42501", 5) != 0
            && !ngx_broadcast_binding_ready(ngx_broadcast_bus.zone))
        {
            (void) ngx_broadcast_binding_replace(ngx_broadcast_bus.zone, NULL,
                                                 0);
        }
    }

    relay->phase = NGX_BROADCAST_RELAY_NO_SCHEMA;
    ngx_broadcast_backoff_init(&relay->backoff);
    ngx_broadcast_relay_about_begun();

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_STATE,
                            conf->listen && conf->listen->nelts
                                ? NGX_BROADCAST_RELAY_LISTEN
                                : NGX_BROADCAST_RELAY_OFF);

    ngx_broadcast_relay_state(NGX_BROADCAST_DB_SCHEMA, why);

    ngx_add_timer(&relay->timer, NGX_BROADCAST_RELAY_POLL);
}


/*
 * Rows of head, hub, epoch, seq, the row behind the cursor; hub to seq are null
 * where there is no hub, the last one if there is no such row.
 * A zone that has a cursor goes on behind it, a new one where the history ends
 * now.  If the database does not reach as far as the cursor, an older state of
 * it was put back.
 */

static void
ngx_broadcast_relay_places(PGresult *result)
{
    int                        i, n;
    uint64_t                   head;
    ngx_str_t                  name;
    ngx_broadcast_relay_t     *relay = &ngx_broadcast_relay;
    ngx_broadcast_position_t   place;

    head = ngx_broadcast_pg_number(result, 0, 0);
    relay->cursor = ngx_broadcast_log_relay(ngx_broadcast_bus.zone);
    relay->stranger = ngx_broadcast_relay_stranger(result);

    if (ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_BEGUN)) {

        if (relay->cursor > head) {
            relay->anew = 1;

            ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                          "broadcast: the database is behind what was read "
                          "from it before (%uL, now %uL), its hubs begin anew",
                          relay->cursor, head);

        } else if (relay->stranger
                   || (!PQgetisnull(result, 0, 5)
                       && (uint64_t) ngx_broadcast_pg_number(result, 0, 5)
                          != (uint64_t) ngx_broadcast_gauge(
                                            NGX_BROADCAST_GAUGE_RELAY_MARK)))
        {
            relay->anew = 1;

            ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                          "broadcast: the database is not the one that was "
                          "read before, or has lost what was (%uL, now %uL), "
                          "its hubs begin anew", relay->cursor, head);

        } else if (relay->cursor < head
                   && (uint64_t) ngx_broadcast_pg_number(result, 0, 4)
                      != relay->cursor + 1)
        {
            relay->load = NGX_BROADCAST_LOAD_RULES;
        }

        if (relay->anew != 1) {
            ngx_broadcast_relay_known();
        }

        return;
    }

    ngx_broadcast_relay_known();

    n = PQntuples(result);

    for (i = 0; i < n; i++) {

        if (PQgetisnull(result, i, 1)) {
            continue;
        }

        name = ngx_broadcast_pg_value(result, i, 1);
        place.epoch = ngx_broadcast_pg_number(result, i, 2);
        place.seq = ngx_broadcast_pg_number(result, i, 3);

        ngx_broadcast_relay_place(&name, &place);
    }

    relay->load = NGX_BROADCAST_LOAD_ALL;
    relay->head = head;
}


/*
 * 1: another cluster than before, or, where no row is left at the cursor that
 * would tell, another timeline of it.
 */

static ngx_uint_t
ngx_broadcast_relay_stranger(PGresult *result)
{
    uint64_t                system, timeline;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->system = ngx_broadcast_pg_number(result, 0, 6);
    relay->timeline = ngx_broadcast_pg_number(result, 0, 7);

    system = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_SYSTEM);
    timeline = ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_RELAY_TIMELINE);

    if (system && relay->system && system != relay->system) {
        return 1;
    }

    return timeline && relay->timeline && timeline != relay->timeline
           && PQgetisnull(result, 0, 5);
}


/* not before clients are told, if they are to be */

static void
ngx_broadcast_relay_known(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_SYSTEM, relay->system);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_TIMELINE,
                            relay->timeline);
}


/* positions and rules first: who comes between is told less, not too much */

static void
ngx_broadcast_relay_begun(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->cursor = relay->head;
    ngx_broadcast_log_set_relay(ngx_broadcast_bus.zone, relay->head);
    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_BEGUN, 1);
}


static void
ngx_broadcast_relay_place(ngx_str_t *name, ngx_broadcast_position_t *place)
{
    ngx_uint_t  hub;

    if (ngx_broadcast_hub_durable(name)
        && ngx_broadcast_hub_index(name, &hub) == NGX_OK)
    {
        ngx_broadcast_hub_set_position(ngx_broadcast_bus.zone, hub, place);
    }
}
