
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/shm/ngx_broadcast_zone.c src/shm/ngx_broadcast_hash.c
 *        src/shm/ngx_broadcast_table.c
 *        src/shm/ngx_broadcast_cells.c src/shm/ngx_broadcast_hub.c
 *        src/shm/ngx_broadcast_record.c src/shm/ngx_broadcast_log.c
 *        src/shm/ngx_broadcast_log_read.c src/shm/ngx_broadcast_registry.c
 *        src/shm/ngx_broadcast_claim.c src/shm/ngx_broadcast_slot_wake.c
 *        src/shm/ngx_broadcast_rows.c src/shm/ngx_broadcast_member.c
 *        src/shm/ngx_broadcast_slot.c src/shm/ngx_broadcast_stats.c
 *        src/shm/ngx_broadcast_rule.c src/shm/ngx_broadcast_rules.c
 *        src/shm/ngx_broadcast_rebuild.c src/shm/ngx_broadcast_check.c
 *        src/shm/ngx_broadcast_check_names.c
 *        nginx:core/ngx_slab.c nginx:core/ngx_shmtx.c
 */


#include "zone.h"

#include <sys/time.h>


#define SIZE   (1024 * 1024)
#define LATER  4000000000U


static void facts(void);
static void debts(void);
static void moves(void);
static void limits(void);
static void bounds(void);
static void walks(void);
static void model(void);
static void tampered(void);
static void rebuilt(void);


int
main(void)
{
    facts();
    debts();
    moves();
    limits();
    bounds();
    walks();
    model();
    tampered();
    rebuilt();

    return done();
}


static ngx_uint_t
state(ngx_broadcast_zone_t *zone, const char *id)
{
    ngx_str_t                 s;
    ngx_broadcast_row_info_t  info;

    s = tap_str(id);

    return ngx_broadcast_registry_find(zone, &s, &info) == NGX_OK
           ? info.state : NGX_BROADCAST_ROW_FREE;
}


static ngx_int_t
join(ngx_broadcast_zone_t *zone, ngx_broadcast_row_t row, const char *id,
    const char *group)
{
    ngx_str_t  i, g;

    i = tap_str(id);
    g = tap_str(group);

    return ngx_broadcast_registry_join(zone, row, &i, &g);
}


static ngx_int_t
leave(ngx_broadcast_zone_t *zone, ngx_broadcast_row_t row, const char *id,
    const char *group)
{
    ngx_str_t  i, g;

    i = tap_str(id);
    g = tap_str(group);

    return ngx_broadcast_registry_leave(zone, row, &i, &g);
}


/* as its owner, whoever that is */

static void
release(ngx_broadcast_zone_t *zone, ngx_broadcast_row_t row, const char *id)
{
    ngx_str_t                 i;
    ngx_broadcast_row_info_t  info;

    i = tap_str(id);

    if (ngx_broadcast_registry_find(zone, &i, &info) == NGX_OK) {
        (void) ngx_broadcast_registry_release(zone, row, &i, info.owner, 0);
    }
}


static ngx_uint_t
users(ngx_broadcast_zone_t *zone, ngx_uint_t hub, const char *user)
{
    ngx_str_t  s;

    s = tap_str(user);

    return ngx_broadcast_registry_user(zone, hub, &s);
}


static ngx_uint_t
groups(ngx_broadcast_zone_t *zone, ngx_uint_t hub, const char *group)
{
    ngx_str_t  s;

    s = tap_str(group);

    return ngx_broadcast_registry_group(zone, hub, &s);
}


static void
facts(void)
{
    u_char                     copy[NGX_BROADCAST_CONN_ID_MAX];
    ngx_str_t                  id;
    ngx_uint_t                 chat, news;
    ngx_broadcast_row_t        a, b, c;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_hub_info_t   hub;
    ngx_broadcast_row_info_t   info;

    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 0);

    is_int(sizeof(ngx_broadcast_conn_row_t), 96, "a row takes 96 bytes");

    is_int(zone_claim(zone, 1, chat, "a", "ann", 0, 1, &a), NGX_OK, "claimed");
    is_int(zone_claim(zone, 1, chat, "a", "bob", 0, 1, NULL), NGX_DECLINED,
           "an id in use is declined");
    is_int(zone_claim(zone, 1, chat, "b", "ann", 0, LATER, &b), NGX_OK,
           "the same user once more");
    is_int(zone_claim(zone, 1, news, "c", "ann", 0, LATER, &c), NGX_OK,
           "the same user in another hub");
    is_int(zone_claim(zone, 1, 7, "d", "ann", 0, LATER, NULL), NGX_DECLINED,
           "a hub that is not there is declined");

    is_int(users(zone, chat, "ann"), 2, "the user has two connections");
    is_int(users(zone, news, "ann"), 1, "and one in the other hub");
    is_int(users(zone, chat, "bob"), 0, "somebody else has none");

    is_int(join(zone, a, "a", "g"), NGX_OK, "joins");
    is_int(join(zone, a, "a", "g"), NGX_OK, "joins again: nothing happens");
    is_int(join(zone, b, "b", "g"), NGX_OK, "the other joins");
    is_int(join(zone, b, "a", "g"), NGX_DECLINED,
           "a row that has become another's is declined");
    is_int(groups(zone, chat, "g"), 2, "the group has two members");
    is_int(groups(zone, news, "g"), 0, "not in the other hub");

    ngx_broadcast_hub_info(zone, chat, &hub);
    ok(hub.connections[NGX_BROADCAST_SSE] == 2 && hub.users == 1
       && hub.groups == 1,
       "the hub counts connections, users and groups");

    is_int(leave(zone, a, "a", "other"), NGX_OK, "leaves a group it is not in");
    is_int(leave(zone, a, "a", "g"), NGX_OK, "leaves");
    is_int(groups(zone, chat, "g"), 1, "one member is left");

    id = tap_str("b");
    ngx_broadcast_registry_owe(zone, b, &id, NGX_BROADCAST_OWED_ROW);

    ngx_broadcast_registry_find(zone, &id, &info);
    ok(!info.stateful, "a connection goes with its socket");

    ngx_broadcast_registry_stateful(zone, b, &id);
    ngx_broadcast_registry_find(zone, &id, &info);
    ok(info.stateful, "unless it is said to outlive it");

    release(zone, b, "b");
    is_int(state(zone, "b"), NGX_BROADCAST_ROW_UNSETTLED,
           "a row with an event owed waits to be settled");
    is_int(groups(zone, chat, "g"), 0, "it has left its groups");
    is_int(users(zone, chat, "ann"), 1, "and is no connection any more");

    is_int(ngx_broadcast_registry_find(zone, &id, &info), NGX_OK, "found");
    ok(info.user_len == 3 && memcmp(info.user, "ann", 3) == 0,
       "but its user is still known");

    is_int(zone_claim(zone, 1, chat, "b", "ann", 0, LATER, NULL),
           NGX_DECLINED, "its id is not to be had");

    ngx_broadcast_registry_settled(zone, &id);
    is_int(state(zone, "b"), NGX_BROADCAST_ROW_GONE,
           "settled, it is a tombstone");
    is_int(zone_claim(zone, 1, chat, "b", "ann", 0, LATER, NULL),
           NGX_DECLINED, "its id is still not to be had");

    release(zone, a, "a");
    is_int(state(zone, "a"), NGX_BROADCAST_ROW_GONE,
           "a row with nothing owed becomes a tombstone at once");

    ngx_broadcast_registry_expire(zone, ngx_time());
    is_int(state(zone, "a"), NGX_BROADCAST_ROW_FREE,
           "a tombstone whose time has come is freed");
    is_int(state(zone, "b"), NGX_BROADCAST_ROW_GONE,
           "one whose time has not is not");
    is_int(state(zone, "c"), NGX_BROADCAST_ROW_LIVE, "nor a connection");

    ngx_broadcast_registry_sweep(zone, 1);
    is_int(state(zone, "c"), NGX_BROADCAST_ROW_GONE,
           "a sweep ends what its owner had");

    memset(copy, 'i', sizeof(copy));
    id.data = copy;
    id.len = sizeof(copy);
    is_int(ngx_broadcast_registry_find(zone, &id, &info), NGX_DECLINED,
           "an id of 48 bytes is looked for");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* what is owed for a connection that came while the database was away */

static void
debts(void)
{
    ngx_str_t                  id, why;
    ngx_uint_t                 chat, i;
    ngx_broadcast_row_t        a, b, c;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_row_info_t   info;

    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);

    (void) zone_claim(zone, 1, chat, "a", "", 0, LATER, &a);
    (void) zone_claim(zone, 1, chat, "b", "", 0, LATER, &b);
    (void) zone_claim(zone, 1, chat, "c", "", 0, LATER, &c);

    ngx_broadcast_stats_set(zone, NGX_BROADCAST_GAUGE_DB_STATE,
                            NGX_BROADCAST_DB_DOWN);

    id = tap_str("a");
    ngx_broadcast_registry_owe(zone, a, &id, NGX_BROADCAST_OWED_BACK);
    (void) ngx_broadcast_registry_release(zone, a, &id, 1,
                                          NGX_BROADCAST_REASON_CLIENT);
    is_int(state(zone, "a"), NGX_BROADCAST_ROW_GONE,
           "came and ended while the database was away: nothing is owed");

    id = tap_str("b");
    ngx_broadcast_registry_owe(zone, b, &id, NGX_BROADCAST_OWED_BACK);
    id = tap_str("c");
    ngx_broadcast_registry_owe(zone, c, &id, NGX_BROADCAST_OWED_BACK);

    ngx_broadcast_stats_set(zone, NGX_BROADCAST_GAUGE_DB_STATE,
                            NGX_BROADCAST_DB_UP);

    id = tap_str("b");
    why = tap_str("it does not read, and what it does not read is in the way");
    (void) ngx_broadcast_registry_release_why(zone, b, &id, 1,
                                              NGX_BROADCAST_REASON_SLOW, &why);
    is_int(state(zone, "b"), NGX_BROADCAST_ROW_UNSETTLED,
           "ended when it was back: an event is owed");

    (void) ngx_broadcast_registry_find(zone, &id, &info);
    is_int(info.reason, NGX_BROADCAST_REASON_SLOW, "it is known why");
    ok(info.why_len == why.len
       && memcmp(info.why, why.data, why.len) == 0, "in the words of who knew");
    ok(zone_right(zone), "which have their place in the zone");
    is_int(info.tries, 0, "nobody has tried to settle it");

    for (i = 0; i < 300; i++) {
        (void) ngx_broadcast_registry_tried(zone, &id);
    }

    is_int(ngx_broadcast_registry_tried(zone, &id), 255,
           "failures are counted, as far as a byte goes");

    ngx_broadcast_registry_sweep(zone, 1);
    id = tap_str("c");
    (void) ngx_broadcast_registry_find(zone, &id, &info);
    ok(info.state == NGX_BROADCAST_ROW_UNSETTLED
       && info.reason == NGX_BROADCAST_REASON_WORKER,
       "the sweep of a dead worker says so");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* slot numbers are the lowest byte of an owner word: 1 and 2 are slots */

static void
moves(void)
{
    ngx_str_t                  id;
    ngx_uint_t                 chat;
    ngx_broadcast_row_t        a, n;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_owner_t      from;
    ngx_broadcast_row_info_t   info;

    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);

    zone->slot[1].owner = 0x101;
    zone->slot[2].owner = 0x102;

    (void) zone_claim(zone, 0x101, chat, "a", "ann", 0, LATER, &a);
    (void) zone_claim(zone, 0, chat, "n", "", 0, LATER, &n);
    (void) join(zone, a, "a", "g");

    id = tap_str("a");

    is_int(ngx_broadcast_registry_move(zone, a, &id, 0x102, &from), NGX_OK,
           "a connection moves to another owner");
    is_int(from, 0x101, "it was the first one's");
    is_int(ngx_broadcast_registry_find(zone, &id, &info), NGX_OK, "found");
    is_int(info.owner, 0x102, "it is the second one's now");
    ok(zone->slot[1].connections == 0 && zone->slot[2].connections == 1,
       "the slots count it so");
    ok(users(zone, chat, "ann") == 1 && groups(zone, chat, "g") == 1,
       "user and group go with it");

    is_int(ngx_broadcast_registry_release(zone, a, &id, 0x101, 0), NGX_BUSY,
           "who has lost it does not release it");
    is_int(state(zone, "a"), NGX_BROADCAST_ROW_LIVE, "it lives on");

    ngx_broadcast_registry_sweep(zone, 0x101);
    is_int(state(zone, "a"), NGX_BROADCAST_ROW_LIVE,
           "nor does a sweep of what the first one had");

    is_int(ngx_broadcast_registry_move(zone, a, &id, 0x102, &from), NGX_OK,
           "a move to its owner is none");
    is_int(from, 0x102, "it was its own before");
    is_int(zone->slot[2].connections, 1, "and is counted once");

    is_int(ngx_broadcast_registry_move(zone, n, &id, 0x102, &from),
           NGX_DECLINED, "a row that is another's is declined");

    is_int(ngx_broadcast_registry_release(zone, a, &id, 0x102, 0), NGX_OK,
           "its owner releases it");
    is_int(state(zone, "a"), NGX_BROADCAST_ROW_GONE, "it is gone");
    is_int(ngx_broadcast_registry_move(zone, a, &id, 0x101, &from),
           NGX_DECLINED, "what has ended does not move");
    is_int(ngx_broadcast_registry_release(zone, a, &id, 0x102, 0), NGX_DECLINED,
           "and is not released again");

    id = tap_str("n");
    is_int(ngx_broadcast_registry_release(zone, n, &id, 0x101, 0), NGX_OK,
           "the row of a worker without a slot is released with one");

    (void) zone_claim(zone, 0, chat, "o", "", 0, LATER, &n);
    id = tap_str("o");
    ngx_broadcast_registry_adopt(zone, n, &id, 0x102);
    ngx_broadcast_registry_adopt(zone, n, &id, 0x101);
    is_int(ngx_broadcast_registry_find(zone, &id, &info), NGX_OK, "another");
    is_int(info.owner, 0x102, "is adopted, once");
    ok(zone->slot[1].connections == 0 && zone->slot[2].connections == 1,
       "and counted so");
    ngx_broadcast_registry_sweep(zone, 0x102);
    ok(state(zone, "o") != NGX_BROADCAST_ROW_LIVE,
       "and goes with whom it was adopted by");

    zone->slot[1].owner = 0;
    zone->slot[2].owner = 0;

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
limits(void)
{
    ngx_uint_t                hub;
    ngx_broadcast_zone_t     *zone;
    ngx_broadcast_claim_t     in;
    ngx_broadcast_claimed_t   out, first;
    ngx_broadcast_record_t    rec;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);

    ngx_memzero(&in, sizeof(in));
    in.hub = hub;
    in.limit = 2;
    in.key = 77;
    in.expires = LATER;

    in.id = tap_str("a");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &first), NGX_OK, "one");

    rec = zone_record(hub, "[]", 2);
    ngx_broadcast_log_append(zone, &rec, 1);

    in.id = tap_str("b");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_OK, "two");

    ok(first.position.seq == 0 && out.position.seq == 1
       && first.position.epoch == zone->epoch && first.log == rec.log
       && out.log == zone->head,
       "a claim tells where hub and log stand at its moment");

    in.id = tap_str("c");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_BUSY,
           "a third of the same key is beyond the limit");

    in.key = 78;
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_OK,
           "one of another key is not");

    in.key = 0;
    in.limit = 4;
    in.id = tap_str("d");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_OK,
           "without a key the hub's connections count");
    in.id = tap_str("e");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_BUSY,
           "up to the limit");

    release(zone, first.row, "a");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_OK,
           "one that ended makes room");

    in.key = 77;
    in.limit = 2;
    in.id = tap_str("f");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_OK,
           "in its key, too");

    in.key = 79;
    in.hub_limit = 6;
    in.id = tap_str("g");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_OK,
           "a hub may have a limit beside its keys'");
    in.key = 80;
    in.id = tap_str("h");
    is_int(ngx_broadcast_registry_claim(zone, 1, &in, &out), NGX_BUSY,
           "which holds for every key");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* full: of connections, of tombstones, of names */

static void
bounds(void)
{
    char                       id[32], group[4097];
    ngx_str_t                  i, g;
    ngx_int_t                  rc;
    ngx_uint_t                 hub, n, full;
    ngx_broadcast_row_t        row, *rows;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_zone_info_t  info;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);
    rows = malloc((zone->rows.n + 1) * sizeof(ngx_broadcast_row_t));
    rc = NGX_OK;

    for (n = 0; n < zone->rows.n + 10; n++) {
        *ngx_sprintf((u_char *) id, "id%ui", n) = '\0';
        rc = zone_claim(zone, 1, hub, id, "u", 0, n < 5 ? 1 : LATER, &row);

        if (rc != NGX_OK) {
            break;
        }

        rows[n] = row;
    }

    full = n;

    is_int(rc, NGX_ABORT, "a table full of connections refuses another");
    is_int(full, zone->rows.n, "when each row is one");

    ngx_broadcast_zone_info(zone, &info);
    ok(info.rows_used == full && info.rows == full && info.used <= info.size,
       "the zone tells it");

    for (n = 0; n < full; n++) {
        *ngx_sprintf((u_char *) id, "id%ui", n) = '\0';
        release(zone, rows[n], id);
    }

    for (n = 0; n < 6; n++) {
        *ngx_sprintf((u_char *) id, "new%ui", n) = '\0';
        rc = zone_claim(zone, 1, hub, id, "u", 0, LATER, &rows[n]);

        if (rc != NGX_OK) {
            break;
        }
    }

    is_int(rc, NGX_ABORT, "a table full of tombstones refuses");
    is_int(n, 5, "after those whose time had come were used");

    memset(group, 'g', sizeof(group));
    g.data = (u_char *) group;
    i = tap_str("new0");

    g.len = 4097;
    is_int(ngx_broadcast_registry_join(zone, rows[0], &i, &g), NGX_BUSY,
           "a group's name of 4097 bytes is refused");

    g.len = 4096;

    for (n = 0; n < zone->cells.n; n++) {
        ngx_sprintf((u_char *) group, "%ui.", n);
        rc = ngx_broadcast_registry_join(zone, rows[0], &i, &g);

        if (rc != NGX_OK) {
            break;
        }
    }

    is_int(rc, NGX_BUSY, "a full arena refuses a group");
    ok(n * 74 <= zone->cells.n && (n + 1) * 74 > zone->cells.n - 10,
       "when a name of 4096 bytes does not fit");

    ok(zone_right(zone), "the zone is right");

    release(zone, rows[0], "new0");
    is_int(zone->members.spare, zone->members.high,
           "all memberships are given back");
    ok(zone_right(zone), "the zone is right when full no more");

    free(rows);
    zone_free(zone);
}


static void
walks(void)
{
    char                       id[32];
    ngx_uint_t                 chat, news, n, found, calls;
    ngx_broadcast_row_t        row, next;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_row_info_t   info[10];

    zone = zone_make(4 * SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 0);

    for (n = 0; n < 3000; n++) {
        *ngx_sprintf((u_char *) id, "id%ui", n) = '\0';
        zone_claim(zone, 1, n % 100 ? news : chat, id, "u", 0, LATER, &row);
    }

    next = 0;
    found = 0;
    calls = 0;

    do {
        n = ngx_broadcast_registry_walk(zone, NGX_BROADCAST_ROW_LIVE, chat,
                                        &next, info, 10);
        found += n;
    } while (next && ++calls < 100);

    is_int(found, 30, "a walk finds the rows of a hub");
    ok(calls >= 2, "in pieces");

    next = 0;
    is_int(ngx_broadcast_registry_walk(zone, NGX_BROADCAST_ROW_GONE,
                                       NGX_BROADCAST_HUB_NONE, &next, info,
                                       10),
           0, "none is of a state that none has");
    ok(next != 0, "and the walk says that there is more to look at");

    zone_free(zone);
}


/* against a model of arrays that only knows what has been said above */

#define ROWS    60
#define NAMES   12
#define OWNERS  3

typedef struct {
    ngx_uint_t           state;
    ngx_uint_t           owner;
    ngx_uint_t           user;
    ngx_uint_t           hub;
    ngx_uint_t           owed;
    uint32_t             expires;
    ngx_broadcast_row_t  row;
    ngx_uint_t           in[NAMES];
} model_t;

static model_t     rows[ROWS];
static char        ids[ROWS][16];
static char        names[NAMES][200];


static void
model_end(model_t *m)
{
    m->state = m->owed ? NGX_BROADCAST_ROW_UNSETTLED : NGX_BROADCAST_ROW_GONE;
    ngx_memzero(m->in, sizeof(m->in));
}


static ngx_uint_t
model_wrong(ngx_broadcast_zone_t *zone)
{
    ngx_uint_t                 i, h, n, u, g, c, wrong, nu, ng;
    ngx_broadcast_hub_info_t   hub;

    wrong = 0;

    for (i = 0; i < ROWS; i++) {
        wrong += (state(zone, ids[i]) != rows[i].state);
    }

    for (h = 0; h < 2; h++) {

        nu = ng = 0;

        for (n = 0; n < NAMES; n++) {
            u = g = 0;

            for (i = 0; i < ROWS; i++) {
                if (rows[i].state == NGX_BROADCAST_ROW_LIVE
                    && rows[i].hub == h)
                {
                    u += (rows[i].user == n);
                    g += rows[i].in[n];
                }
            }

            wrong += (users(zone, h, names[n]) != u);
            wrong += (groups(zone, h, names[n]) != g);
            nu += (u != 0);
            ng += (g != 0);
        }

        c = 0;

        for (i = 0; i < ROWS; i++) {
            c += (rows[i].state == NGX_BROADCAST_ROW_LIVE && rows[i].hub == h);
        }

        ngx_broadcast_hub_info(zone, h, &hub);
        wrong += (hub.users != nu) + (hub.groups != ng)
                 + (hub.connections[NGX_BROADCAST_SSE] != c);
    }

    return wrong;
}


static void
model(void)
{
    model_t               *m;
    time_t                 now;
    ngx_str_t              id;
    ngx_int_t              rc, want;
    ngx_uint_t             i, n, step, wrong, owner;
    ngx_broadcast_zone_t  *zone;
    ngx_broadcast_owner_t  from;

    zone = zone_make(SIZE);
    (void) zone_hub(zone, "chat", 0);
    (void) zone_hub(zone, "news", 0);

    srandom(20240501);

    for (i = 0; i < ROWS; i++) {
        *ngx_sprintf((u_char *) ids[i], "id%ui", i) = '\0';
    }

    for (i = 0; i < NAMES; i++) {
        memset(names[i], 'a' + i, 1 + i * 16);
    }

    now = ngx_time();
    wrong = 0;

    for (step = 0; step < 60000 && wrong == 0; step++) {

        i = random() % ROWS;
        n = random() % NAMES;
        m = &rows[i];
        id = tap_str(ids[i]);

        switch (random() % 13) {

        case 0: case 1: case 2:
            owner = 200 + random() % OWNERS;
            want = m->state == NGX_BROADCAST_ROW_FREE ? NGX_OK : NGX_DECLINED;

            if (want == NGX_OK) {
                m->state = NGX_BROADCAST_ROW_LIVE;
                m->owner = owner;
                m->user = n;
                m->hub = random() % 2;
                m->owed = 0;
                m->expires = random() % 2 ? (uint32_t) now - 1 : LATER;
            }

            rc = zone_claim(zone, owner, m->hub, ids[i], names[n], n % 3,
                            m->expires, want == NGX_OK ? &m->row : NULL);
            wrong += (rc != want);
            break;

        case 3: case 4: case 5:
            want = m->state == NGX_BROADCAST_ROW_LIVE ? NGX_OK : NGX_DECLINED;
            wrong += (join(zone, m->row, ids[i], names[n]) != want);

            if (want == NGX_OK) {
                m->in[n] = 1;
            }

            break;

        case 6:
            want = m->state == NGX_BROADCAST_ROW_LIVE ? NGX_OK : NGX_DECLINED;
            wrong += (leave(zone, m->row, ids[i], n ? names[n] : "") != want);

            if (want == NGX_OK) {
                if (n) {
                    m->in[n] = 0;

                } else {
                    ngx_memzero(m->in, sizeof(m->in));
                }
            }

            break;

        case 7:
            ngx_broadcast_registry_owe(zone, m->row, &id,
                                       NGX_BROADCAST_OWED_ROW);
            m->owed |= (m->state == NGX_BROADCAST_ROW_LIVE);
            break;

        case 8:
            release(zone, m->row, ids[i]);

            if (m->state == NGX_BROADCAST_ROW_LIVE) {
                model_end(m);
            }

            break;

        case 9:
            ngx_broadcast_registry_settled(zone, &id);

            if (m->state == NGX_BROADCAST_ROW_UNSETTLED) {
                m->state = m->expires <= (uint32_t) now
                           ? NGX_BROADCAST_ROW_FREE : NGX_BROADCAST_ROW_GONE;
            }

            break;

        case 12:
            owner = 200 + random() % OWNERS;
            want = m->state == NGX_BROADCAST_ROW_LIVE ? NGX_OK : NGX_DECLINED;
            from = m->owner;

            wrong += (ngx_broadcast_registry_move(zone, m->row, &id, owner,
                                                  &from)
                      != want);
            wrong += (from != m->owner);

            if (want == NGX_OK) {
                m->owner = owner;
            }

            break;

        case 10:
            if (random() % 20) {
                break;
            }

            owner = 200 + random() % OWNERS;
            ngx_broadcast_registry_sweep(zone, owner);

            for (i = 0; i < ROWS; i++) {
                if (rows[i].state == NGX_BROADCAST_ROW_LIVE
                    && rows[i].owner == owner)
                {
                    model_end(&rows[i]);
                }
            }

            break;

        default:
            if (random() % 4) {
                break;
            }

            /* all tombstones, from wherever the hint stands */

            ngx_broadcast_registry_expire(zone, random() % 40 ? now : LATER);
            ngx_broadcast_registry_expire(zone, now);

            for (i = 0; i < ROWS; i++) {
                n = state(zone, ids[i]);

                if (rows[i].state == NGX_BROADCAST_ROW_GONE
                    && (rows[i].expires <= (uint32_t) now || n == 0))
                {
                    rows[i].state = NGX_BROADCAST_ROW_FREE;
                }
            }
        }

        if (step % 40 == 0) {
            wrong += model_wrong(zone);
            wrong += !zone_right(zone);
        }

        /* the lock's next owner rebuilds, and nothing is to change by it */

        if (step % 1000 == 0) {
            zone->dirty = 1;
            wrong += model_wrong(zone);
            wrong += !zone_right(zone);
        }
    }

    if (wrong) {
        fprintf(stderr, "at step %lu\n", (unsigned long) step);
    }

    is_int(wrong, 0, "60000 random operations agree with the model");

    ngx_broadcast_registry_sweep(zone, 200);
    ngx_broadcast_registry_sweep(zone, 201);
    ngx_broadcast_registry_sweep(zone, 202);

    for (i = 0; i < ROWS; i++) {
        id = tap_str(ids[i]);
        ngx_broadcast_registry_settled(zone, &id);
    }

    ngx_broadcast_registry_expire(zone, (time_t) LATER + 1);
    ngx_broadcast_registry_expire(zone, (time_t) LATER + 1);

    ok(zone->rows.spare == zone->rows.high
       && zone->cells.spare == zone->cells.high
       && zone->members.spare == zone->members.high,
       "when all have gone nothing is in use");
    ok(zone_right(zone), "the zone is right");

    zone_free(zone);
}


/* the check finds what is wrong: one word at a time */

static void
tampered(void)
{
    u_char                   flip, buf[256];
    size_t                   i;
    ngx_int_t                rc;
    ngx_uint_t               hub, ids;
    ngx_broadcast_row_t      row;
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_record_t   rec;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);

    zone_claim(zone, 1, hub, "a", "ann", 5, 1, &row);
    join(zone, row, "a", "g");
    zone_claim(zone, 1, hub, "b", "bob", 5, LATER, &row);
    release(zone, row, "b");
    zone_claim(zone, 1, hub, "c", "bob", 5, 1, &row);
    release(zone, row, "c");
    ngx_broadcast_registry_expire(zone, 2);

    rec = zone_record(hub, "[]", 2);
    ngx_broadcast_log_append(zone, &rec, 1);

    struct {
        void        *word;
        const char  *what;
    } words[] = {
        { &ngx_broadcast_conn(zone, 1)->state, "a row's state" },
        { &ngx_broadcast_conn(zone, 1)->next, "a chain by id" },
        { &ngx_broadcast_conn(zone, 1)->user, "a row's user" },
        { &ngx_broadcast_conn(zone, 1)->members, "a row's memberships" },
        { ngx_broadcast_conn(zone, 1)->id, "a row's id" },
        { &zone->rows.free, "the list of free rows" },
        { &zone->rows.spare, "the number of free rows" },
        { &zone->tombstones, "the number of tombstones" },
        { &zone->unsettled, "the number of unsettled rows" },
        { &ngx_broadcast_member(zone, 1)->row, "a membership's row" },
        { &ngx_broadcast_member(zone, 1)->group, "a membership's group" },
        { &ngx_broadcast_member(zone, 1)->chain, "a chain of memberships" },
        { &ngx_broadcast_cell(zone, 1)->refs, "a name's references" },
        { &ngx_broadcast_cell(zone, 1)->u.first.live, "a name's count" },
        { &ngx_broadcast_cell(zone, 1)->u.first.hash, "a name's hash" },
        { ngx_broadcast_cell(zone, 1)->u.first.text, "a name" },
        { &zone->cells.free, "the list of free cells" },
        { &zone->cells.spare, "the number of free cells" },
        { &ngx_broadcast_hub_row(zone, 1)->users, "a hub's users" },
        { &ngx_broadcast_hub_row(zone, 1)->groups, "a hub's groups" },
        { &ngx_broadcast_hub_row(zone, 1)->connections[1],
          "a hub's connections" },
        { &ngx_broadcast_hub_row(zone, 1)->place[1].seq,
          "a hub's position" },
        { &ngx_broadcast_hub_row(zone, 1)->place[1].last,
          "a hub's newest message" },
        { &zone->applied, "the applied offset" },
        { &zone->number, "the newest number" },
        { &zone->head, "the head of the log" },
        { &zone->tail, "the tail of the log" },
        { ((u_char *) zone + zone->ring), "a record" },
        { &zone->map[1], "the map of living slots" },
        { &zone->slot[3].state, "a slot's state" }
    };

    ok(zone_right(zone), "the zone is right before it is tampered with");

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {

        /* another id may belong into the same chain: not each of them does */

        ids = (words[i].word == ngx_broadcast_conn(zone, 1)->id) ? 32 : 1;

        do {
            flip = (u_char) (ids == 1 ? 3 : ids);

            *(u_char *) words[i].word ^= flip;

            rc = ngx_broadcast_zone_check(zone, buf, sizeof(buf));

            *(u_char *) words[i].word ^= flip;

        } while (rc == NGX_OK && --ids);

        ok(rc == NGX_ERROR && buf[0] != '\0', words[i].what);
    }

    ok(zone_right(zone), "the zone is right again");
    zone_free(zone);
}


static ngx_uint_t
usec(void)
{
    struct timeval  tv;

    gettimeofday(&tv, NULL);

    return tv.tv_sec * 1000000 + tv.tv_usec;
}


/* the one long hold: all of a zone of 64m in use */

static void
rebuilt(void)
{
    char                       id[32], user[32];
    ngx_uint_t                 hub, n, start, took;
    ngx_broadcast_row_t        row;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_zone_info_t  info;

    zone = zone_make(64 * SIZE);
    hub = zone_hub(zone, "chat", 0);

    for (n = 0; /* void */ ; n++) {
        *ngx_sprintf((u_char *) id, "connection-%ui", n) = '\0';
        *ngx_sprintf((u_char *) user, "user-%ui", n) = '\0';

        if (zone_claim(zone, 1, hub, id, user, 0, LATER, &row) != NGX_OK) {
            break;
        }

        join(zone, row, id, n % 2 ? "odd" : "even");
        join(zone, row, id, user);
    }

    start = usec();
    zone->dirty = 1;
    ngx_broadcast_zone_info(zone, &info);
    took = usec() - start;

    printf("# rebuild with %lu connections, a full zone of 64m: %lu us\n",
           (unsigned long) n, (unsigned long) took);

    is_int(info.rows_used, n, "all rows are in use");
    ok(took < 1500000, "a rebuild takes less than 1.5 s");
    ok(zone_right(zone), "the zone is right");

    zone_free(zone);
}
