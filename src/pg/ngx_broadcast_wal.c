
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_note.h"
#include "pg/ngx_broadcast_wal_local.h"


/*
 * What is to be done is said by broadcast.wal_plan(), which keeps it in the
 * database, where it outlives this relay: it is asked when this one begins to
 * lead, when something has come about, and once a second.
 */


static void ngx_broadcast_wal_planned(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_wal_take(PGresult *result);
static void ngx_broadcast_wal_note(const char *what);
static void ngx_broadcast_wal_hinders(void);
static void ngx_broadcast_wal_act(void);
static void ngx_broadcast_wal_drop(void);
static void ngx_broadcast_wal_dropped(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);


static const char  ngx_broadcast_wal_plan_text[] =
    "SELECT p.what, p.slot, p.publication, p.gate, p.said, p.note, p.behind"
    " FROM broadcast.wal_plan($1::text, $2::text, $3::text, $4::text) p";

/* by the module's own role: the right is that of who logs in */

static const char  ngx_broadcast_wal_drop_text[] =
    "SELECT pg_catalog.pg_drop_replication_slot(s.slot_name)"
    " FROM pg_catalog.pg_replication_slots s"
    " WHERE s.slot_name OPERATOR(pg_catalog.=) $1::name"
    " AND s.active_pid IS NULL";

static const char  *ngx_broadcast_wal_plans[NGX_BROADCAST_WAL_PLANS] = {
    "outbox", "refused", "create", "read", "drain", "drop", "again"
};


ngx_broadcast_wal_t  ngx_broadcast_wal;


void
ngx_broadcast_wal_start(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    ngx_broadcast_wal_stop();

    wal->leading = 1;
    wal->planned = 0;
    wal->plan = NGX_BROADCAST_WAL_OUTBOX;
    wal->gate = 0;
    wal->tries = 0;
    wal->created[0] = '\0';
    wal->said[0] = '\0';
    wal->noted[0] = '\0';
    wal->planner.data = NULL;
    wal->dropper.data = NULL;

    ngx_broadcast_backoff_init(&wal->backoff);
    ngx_broadcast_wal_batch_init();
    ngx_broadcast_wal_ask();
}


void
ngx_broadcast_wal_stop(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (!wal->leading) {
        return;
    }

    wal->leading = 0;

    ngx_broadcast_wal_close();

    ngx_broadcast_wal_say(NULL);

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_WAL_BEHIND, 0);
}


void
ngx_broadcast_wal_poll(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->planned && wal->plan == NGX_BROADCAST_WAL_OUTBOX
        && ngx_broadcast_pg.conf->slot.len == 0
        && !ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_WAL))
    {
        /* nobody but who leads changes that, or somebody by hand */

        return;
    }

    if (wal->state == NGX_BROADCAST_WAL_READING) {
        ngx_broadcast_backoff_init(&wal->backoff);
        ngx_broadcast_wal_confirm(1);
    }

    ngx_broadcast_wal_ask();
}


void
ngx_broadcast_wal_ask(void)
{
    ngx_broadcast_wal_t      *wal = &ngx_broadcast_wal;
    ngx_broadcast_pg_conf_t  *conf = ngx_broadcast_pg.conf;

    if (!wal->leading || wal->planner.data) {
        return;
    }

    wal->planner.data = wal;
    wal->planner.nparams = 4;
    wal->planner.params[0] = ngx_broadcast_pg_text(&conf->slot);
    wal->planner.params[1] = ngx_broadcast_pg_text(&conf->publication);
    wal->planner.params[2] = wal->created[0] ? wal->created : NULL;
    wal->planner.params[3] = wal->said[0] ? (char *) wal->said : NULL;

    ngx_broadcast_relay_send(&wal->planner, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_wal_plan_text,
                             ngx_broadcast_wal_planned);
}


static void
ngx_broadcast_wal_planned(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    u_char                why[256];
    ngx_str_t             message;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    query->data = NULL;

    if (!wal->leading || status == NGX_BROADCAST_PG_AWAY) {
        return;
    }

    if (status == NGX_BROADCAST_PG_OK) {
        ngx_broadcast_wal_take(result);

    } else {

        /* a role without the right, say: what is staged goes on */

        message = ngx_broadcast_pg_message(result);
        (void) ngx_snprintf(why, sizeof(why), "broadcast.wal_plan(): %V%Z",
                            &message);
        why[sizeof(why) - 1] = '\0';

        ngx_broadcast_wal_say((char *) why);
        ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);
    }

    ngx_broadcast_wal_act();

    if (!wal->planned) {
        wal->planned = 1;
        ngx_broadcast_relay_turn();
    }
}


/* a row of what, slot, publication, gate, said, note, behind */

static void
ngx_broadcast_wal_take(PGresult *result)
{
    ngx_uint_t            i, gate;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (PQntuples(result) != 1) {
        return;
    }

    for (i = 0; i < NGX_BROADCAST_WAL_PLANS; i++) {
        if (ngx_strcmp(PQgetvalue(result, 0, 0), ngx_broadcast_wal_plans[i])
            == 0)
        {
            wal->plan = i;
        }
    }

    ngx_cpystrn((u_char *) wal->slot, (u_char *) PQgetvalue(result, 0, 1),
                NGX_BROADCAST_WAL_NAME);
    ngx_cpystrn((u_char *) wal->publication,
                (u_char *) PQgetvalue(result, 0, 2), NGX_BROADCAST_WAL_NAME);

    if (wal->plan != NGX_BROADCAST_WAL_CREATE) {
        wal->created[0] = '\0';
    }

    gate = PQgetvalue(result, 0, 3)[0] == 't';

    if (wal->gate && !gate) {
        wal->gate = 0;
        ngx_broadcast_relay_turn();
    }

    wal->gate = gate;

    if (!PQgetisnull(result, 0, 4)) {
        ngx_broadcast_wal_say(PQgetvalue(result, 0, 4));
    }

    ngx_broadcast_wal_note(PQgetvalue(result, 0, 5));

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_WAL_BEHIND,
                            ngx_broadcast_pg_number(result, 0, 6));
}


static void
ngx_broadcast_wal_act(void)
{
    switch (ngx_broadcast_wal.plan) {

    case NGX_BROADCAST_WAL_CREATE:
    case NGX_BROADCAST_WAL_READ:
    case NGX_BROADCAST_WAL_DRAIN:
        ngx_broadcast_wal_open();
        ngx_broadcast_wal_next();
        return;

    case NGX_BROADCAST_WAL_DROP:
        ngx_broadcast_wal_close();
        ngx_broadcast_wal_drop();
        return;

    case NGX_BROADCAST_WAL_AGAIN:
        ngx_broadcast_wal_ask();
        return;

    default: /* NGX_BROADCAST_WAL_OUTBOX, NGX_BROADCAST_WAL_REFUSED */
        ngx_broadcast_wal_close();
    }
}


static void
ngx_broadcast_wal_drop(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->dropper.data) {
        return;
    }

    wal->dropper.data = wal;
    wal->dropper.nparams = 1;
    wal->dropper.params[0] = wal->slot;

    ngx_broadcast_relay_send(&wal->dropper, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_wal_drop_text,
                             ngx_broadcast_wal_dropped);
}


/* it may be that it is read still, until its reader has seen our end */

static void
ngx_broadcast_wal_dropped(ngx_broadcast_pg_query_t *query, ngx_uint_t status,
    PGresult *result)
{
    u_char     why[256];
    ngx_str_t  message;

    query->data = NULL;

    if (!ngx_broadcast_wal.leading) {
        return;
    }

    if (status == NGX_BROADCAST_PG_OK) {

        if (PQntuples(result)) {
            ngx_broadcast_wal_ask();
        }

        return;
    }

    if (status == NGX_BROADCAST_PG_FAILED) {
        message = ngx_broadcast_pg_message(result);
        (void) ngx_snprintf(why, sizeof(why), "cannot drop the slot: %V%Z",
                            &message);
        why[sizeof(why) - 1] = '\0';

        ngx_broadcast_wal_say((char *) why);
    }
}


static void
ngx_broadcast_wal_note(const char *what)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (ngx_strncmp(what, wal->noted, sizeof(wal->noted) - 1) == 0) {
        return;
    }

    ngx_cpystrn(wal->noted, (u_char *) what, sizeof(wal->noted));

    if (*what) {
        ngx_log_error(NGX_LOG_WARN, ngx_broadcast_pg.log, 0,
                      "broadcast: %s", wal->noted);
    }
}


/* for the status, whoever answers it */

static void
ngx_broadcast_wal_hinders(void)
{
    ngx_broadcast_note_set(ngx_broadcast_bus.zone, NGX_BROADCAST_NOTE_SOURCE,
                           ngx_broadcast_wal.said);
}


void
ngx_broadcast_wal_say(const char *what)
{
    u_char               *p, text[256];
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (what == NULL) {
        wal->said[0] = '\0';
        ngx_broadcast_wal_hinders();
        return;
    }

    ngx_cpystrn(text, (u_char *) what, sizeof(text));

    for (p = text; *p; p++) {
        if (*p < ' ' || *p == 0x7f) {
            *p = ' ';
        }
    }

    if (ngx_strcmp(text, wal->said) == 0) {
        return;
    }

    ngx_memcpy(wal->said, text, sizeof(wal->said));
    ngx_broadcast_wal_hinders();

    ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                  "broadcast: \"broadcast_source wal\": %s", text);
}
