
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_job.h"
#include "pg/ngx_broadcast_pg_pool.h"
#include "pg/ngx_broadcast_relay_local.h"
#include "pg/ngx_broadcast_row.h"
#include "pg/ngx_broadcast_timer.h"
#include "pg/ngx_broadcast_wal.h"


/*
 * A turn: the leader numbers what is committed, then everybody reads what is
 * numbered, behind the cursor.  Turns follow each other until one finds nothing
 * more; what asks for a turn meanwhile makes one more.
 *
 * sequence_read() gives back what it has numbered, which is committed once its
 * Sync is answered.  If that is what follows the cursor, place by place, it is
 * what read() would say.  Else it is left: something was numbered that was not
 * read here, by another session, or by one of ours whose answer did not come.
 * So it is if nothing was numbered.
 *
 *   SEQUENCE_READ -+-- follows the cursor --> deliver
 *                  +-- else --> READ -------> deliver
 *
 * Where the schema has no such function, sequence() and read() go out together,
 * each with a Sync of its own: what is read was committed before.
 */


static void ngx_broadcast_relay_court(void);
static void ngx_broadcast_relay_locked(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_beat(void);
static ngx_msec_t ngx_broadcast_relay_rhythm(void);
static void ngx_broadcast_relay_beaten(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_looked(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_bound(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_sequenced(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_was_numbered(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static ngx_uint_t ngx_broadcast_relay_follows(PGresult *result);
static void ngx_broadcast_relay_read(void);
static void ngx_broadcast_relay_was_read(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_relay_take(PGresult *result);
static ngx_msec_t ngx_broadcast_relay_pause(void);


static const char  ngx_broadcast_relay_lock_text[] =
    "SELECT pg_catalog.pg_try_advisory_lock("
    "pg_catalog.hashtext('broadcast.relay'))";

static const char  ngx_broadcast_relay_beat_text[] =
    "SELECT broadcast.node_beat($1::text), broadcast.node_lease(),"
    " (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint";


void
ngx_broadcast_relay_run(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->leader = 0;

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_STATE,
                            NGX_BROADCAST_RELAY_FOLLOWER);

    ngx_broadcast_relay_about_begun();
    ngx_broadcast_relay_beat();
    ngx_broadcast_relay_court();
    ngx_broadcast_relay_probe();
    ngx_broadcast_relay_turn();

    ngx_add_timer(&relay->timer, ngx_broadcast_relay_pause());
}


void
ngx_broadcast_relay_poll(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (!relay->leader) {
        ngx_broadcast_relay_court();
    }

    if (ngx_current_msec - relay->beat >= ngx_broadcast_relay_rhythm()) {
        ngx_broadcast_relay_beat();
    }

    if (relay->leader
        && ngx_current_msec - relay->kept >= NGX_BROADCAST_RELAY_KEEP)
    {
        relay->kept = ngx_current_msec;
        ngx_broadcast_relay_keep();
    }

    ngx_broadcast_relay_probe();
    ngx_broadcast_relay_silence();

    if (relay->leader) {
        ngx_broadcast_relay_upkeep();
        ngx_broadcast_wal_poll();
    }

    relay->looking = 1;
    ngx_broadcast_relay_turn();

    ngx_add_timer(&relay->timer, ngx_broadcast_relay_pause());
}


/*
 * With jitter, so that nodes do not poll in step.  A new follower asks for the
 * lock more often: whoever died may just be losing it.
 */

static ngx_msec_t
ngx_broadcast_relay_pause(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (!relay->leader
        && ngx_current_msec - relay->courted < NGX_BROADCAST_RELAY_POLL)
    {
        return NGX_BROADCAST_RELAY_COURT;
    }

    return ngx_min(NGX_BROADCAST_RELAY_POLL * 9 / 10
                   + (ngx_msec_t) ngx_random()
                     % (NGX_BROADCAST_RELAY_POLL / 10),
                   ngx_broadcast_relay_rhythm());
}


static void
ngx_broadcast_relay_court(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->lock.data) {
        return;
    }

    /* who is exiting leads only if nobody else wants to */

    if (ngx_exiting
        && ngx_current_msec - relay->courted < NGX_BROADCAST_RELAY_YIELD)
    {
        return;
    }

    relay->lock.data = relay;

    ngx_broadcast_relay_send(&relay->lock, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_relay_lock_text,
                             ngx_broadcast_relay_locked);
}


static void
ngx_broadcast_relay_locked(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    query->data = NULL;

    if (!ngx_broadcast_relay_good(status, result, "the relay's lock")
        || relay->leader
        || ngx_broadcast_pg_value(result, 0, 0).data[0] != 't')
    {
        return;
    }

    relay->leader = 1;

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_STATE,
                            NGX_BROADCAST_RELAY_LEADER);

    ngx_log_error(NGX_LOG_NOTICE, ngx_broadcast_pg.log, 0,
                  "broadcast: this node's relay leads");

    ngx_broadcast_timer_start();
    ngx_broadcast_relay_bell_lead();
    ngx_broadcast_wal_start();
    ngx_broadcast_relay_turn();
}


static void
ngx_broadcast_relay_beat(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->beat = ngx_current_msec;

    if (relay->beats.data) {
        return;
    }

    relay->beats.data = relay;
    relay->beats.nparams = 1;
    relay->beats.params[0] = relay->node;

    ngx_broadcast_relay_send(&relay->beats, NGX_BROADCAST_PG_TEXT,
                             ngx_broadcast_relay_beat_text,
                             ngx_broadcast_relay_beaten);

    ngx_broadcast_relay_about();
}


/* a lease that somebody has shortened is not to be missed */

static ngx_msec_t
ngx_broadcast_relay_rhythm(void)
{
    ngx_msec_t  lease = ngx_broadcast_relay.lease;

    return lease ? ngx_min(NGX_BROADCAST_RELAY_BEAT, lease / 5)
                 : NGX_BROADCAST_RELAY_BEAT;
}


static void
ngx_broadcast_relay_beaten(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    uint64_t    clock;
    ngx_msec_t  lease;

    query->data = NULL;

    if (!ngx_broadcast_relay_good(status, result, "broadcast.node_beat()")) {
        return;
    }

    lease = ngx_broadcast_pg_number(result, 0, 1);
    clock = ngx_broadcast_pg_number(result, 0, 2);

    /*
     * The server says it once, perhaps to a session that was lost meanwhile:
     * so this node looks itself how long it has not been answered.
     */

    if (ngx_broadcast_pg_value(result, 0, 0).data[0] == 't'
        || clock - ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_BEAT)
           > (uint64_t) lease - lease / 4)
    {
        ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_CUT_OFF,
                           ngx_broadcast_gauge(NGX_BROADCAST_GAUGE_CUT_OFF)
                           + 1);
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_BEAT, clock);

    /* it takes what is written: not every server that answers does */

    ngx_broadcast_backoff_init(&ngx_broadcast_relay.backoff);
    ngx_broadcast_relay_state(NGX_BROADCAST_DB_UP, NULL);

    ngx_broadcast_relay_judge(lease, clock);
}


void
ngx_broadcast_relay_turn(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (relay->phase != NGX_BROADCAST_RELAY_RUNNING) {
        return;
    }

    if (relay->turning) {
        relay->due = 1;
        return;
    }

    relay->turning = 1;
    relay->due = 0;
    relay->numbered = 0;

    ngx_broadcast_relay_bell_turn();

    /* cleared before the database is asked: what is staged later sets it */

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_DUE, 0);

    if (relay->looking && relay->look.data == NULL) {
        relay->looking = 0;
        relay->look.data = relay;

        ngx_broadcast_relay_send(&relay->look, NGX_BROADCAST_PG_LOOK, NULL,
                                 ngx_broadcast_relay_looked);
    }

    if (relay->leader && ngx_broadcast_wal_turn() == NGX_DECLINED) {
        relay->sequence.nparams = 1;
        relay->sequence.params[0] = "500";

        if (relay->joint) {
            ngx_broadcast_relay_send(&relay->sequence,
                                     NGX_BROADCAST_PG_SEQUENCE_READ, NULL,
                                     ngx_broadcast_relay_was_numbered);
            return;
        }

        ngx_broadcast_relay_send(&relay->sequence, NGX_BROADCAST_PG_SEQUENCE,
                                 NULL, ngx_broadcast_relay_sequenced);
    }

    ngx_broadcast_relay_read();
}


static void
ngx_broadcast_relay_looked(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    uint64_t                head;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    query->data = NULL;

    if (!ngx_broadcast_relay_good(status, result, "a look at the schema")) {
        return;
    }

    head = ngx_broadcast_pg_number(result, 0, 0);

    if (relay->cursor > head) {

        /* never waited for: a new session starts anew */

        ngx_broadcast_relay_drop(NGX_BROADCAST_LOST_BEHIND,
                                 "the database is behind what was read");
        return;
    }

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_WAL,
                            PQgetvalue(result, 0, 2)[0] == 't');

    if ((uint64_t) ngx_broadcast_pg_number(result, 0, 1) != relay->version
        && relay->bindings.data == NULL)
    {
        relay->bindings.data = relay;

        ngx_broadcast_relay_send(&relay->bindings, NGX_BROADCAST_PG_TEXT,
                                 ngx_broadcast_relay_bindings_text,
                                 ngx_broadcast_relay_bound);
    }
}


static void
ngx_broadcast_relay_bound(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    query->data = NULL;

    if (ngx_broadcast_relay_good(status, result, "broadcast.bindings()")) {
        ngx_broadcast_relay_bind(result);
    }
}


static void
ngx_broadcast_relay_sequenced(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    if (ngx_broadcast_relay_good(status, result, "broadcast.sequence()")) {
        ngx_broadcast_relay.numbered = ngx_broadcast_pg_number(result, 0, 0);
    }
}


static void
ngx_broadcast_relay_was_numbered(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    if (!ngx_broadcast_relay_good(status, result,
                                  "broadcast.sequence_read()"))
    {
        relay->turning = 0;
        return;
    }

    relay->numbered = PQntuples(result);

    /* a page of them */

    if (relay->numbered && !PQgetisnull(result, 0, 15)) {
        relay->numbered = ngx_broadcast_pg_number(result, 0, 15);
    }

    if (ngx_broadcast_relay_follows(result)) {
        ngx_broadcast_relay_take(result);
        return;
    }

    ngx_broadcast_relay_read();
}


/* nothing is between the cursor and these rows, nor between two of them */

static ngx_uint_t
ngx_broadcast_relay_follows(PGresult *result)
{
    int  i, n;

    n = PQntuples(result);

    for (i = 0; i < n; i++) {
        if ((uint64_t) ngx_broadcast_pg_number(result, i, 0)
            != ngx_broadcast_relay.cursor + 1 + i)
        {
            return 0;
        }
    }

    return n != 0;
}


static void
ngx_broadcast_relay_read(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    (void) ngx_sprintf((u_char *) relay->cursor_text, "%uL%Z", relay->cursor);

    relay->read.nparams = 2;
    relay->read.params[0] = relay->cursor_text;
    relay->read.params[1] = "500";

    ngx_broadcast_relay_send(&relay->read, NGX_BROADCAST_PG_READ, NULL,
                             ngx_broadcast_relay_was_read);
}


static void
ngx_broadcast_relay_was_read(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    if (!ngx_broadcast_relay_good(status, result, "broadcast.read()")) {
        ngx_broadcast_relay.turning = 0;
        return;
    }

    ngx_broadcast_relay_take(result);
}


/* rows behind the cursor, in its done: the log gets them */

static void
ngx_broadcast_relay_take(PGresult *result)
{
    int                     i, n;
    size_t                  bytes;
    uint64_t                now, time;
    ngx_uint_t              more;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    n = PQntuples(result);
    bytes = 0;

    for (i = 0; i < n; i++) {
        bytes += PQgetlength(result, i, 10) + PQgetlength(result, i, 11);
    }

    more = n == NGX_BROADCAST_RELAY_ROWS || bytes >= NGX_BROADCAST_ROW_PAGE
           || relay->numbered == NGX_BROADCAST_RELAY_ROWS
           || relay->numbered > (ngx_uint_t) n;

    if (more) {
        relay->due = 1;
    }

    now = ngx_broadcast_now();
    time = more && n ? (uint64_t) ngx_broadcast_pg_number(result, n - 1, 13)
                     : now;

    ngx_broadcast_gauge_set(NGX_BROADCAST_GAUGE_RELAY_LAG,
                            now > time ? now - time : 0);

    relay->conn.keep = 1;
    relay->rows = result;
    relay->row = 0;

    ngx_broadcast_relay_deliver();
}


void
ngx_broadcast_relay_delivered(void)
{
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    relay->turning = 0;

    ngx_broadcast_relay_bell_turned();

    if (relay->due) {
        ngx_broadcast_relay_turn();
    }
}
