
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


#define SIZE   (1024 * 1024)
#define LATER  4000000000U

#define NONE   NGX_BROADCAST_TTL_NONE
#define NOW    NGX_BROADCAST_TTL_PRESENT


static ngx_broadcast_zone_t  *zone;
static ngx_uint_t             chat, news;


static ngx_int_t
record(ngx_uint_t type, ngx_uint_t hub, const char *user, const char *group,
    uint32_t ttl, uint64_t relay)
{
    ngx_broadcast_record_t  rec;

    rec = zone_record(hub, "", 0);

    rec.type = type;
    rec.scope = NGX_BROADCAST_USER;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec.time = (uint64_t) ngx_time() * 1000000;
    rec.name = tap_str(user);
    rec.group = tap_str(group);
    rec.ttl = ttl;
    rec.relay = relay;

    return ngx_broadcast_log_append(zone, &rec, 1);
}

#define join(user, group, ttl)                                                \
    record(NGX_BROADCAST_REC_JOIN, chat, user, group, ttl, 0)
#define leave(user, group)                                                    \
    record(NGX_BROADCAST_REC_LEAVE, chat, user, group, NONE, 0)


static ngx_uint_t
found(ngx_uint_t hub, const char *user, const char *group)
{
    ngx_str_t  u, g;

    u = tap_str(user);
    g = tap_str(group);

    return ngx_broadcast_rule_find(zone, hub, &u, &g, NULL);
}


static time_t
expires(const char *user, const char *group)
{
    time_t     at;
    ngx_str_t  u, g;

    at = 0;
    u = tap_str(user);
    g = tap_str(group);

    (void) ngx_broadcast_rule_find(zone, chat, &u, &g, &at);

    return at;
}


static ngx_uint_t
used(void)
{
    ngx_broadcast_zone_info_t  info;

    ngx_broadcast_zone_info(zone, &info);

    return info.rules_used;
}


static ngx_int_t
claim(const char *id, const char *user, ngx_broadcast_row_t *row)
{
    return zone_claim(zone, 1, chat, id, user, 0, 1, row);
}


/* the groups that a row is in, some at a time, as "a,b," */

static const char *
groups(ngx_broadcast_row_t row, const char *id)
{
    u_char      *p;
    uint32_t     next;
    ngx_str_t    s, group[2];
    ngx_uint_t   i, n;

    static u_char  buf[NGX_BROADCAST_GROUP_BYTES], text[16384];

    p = text;
    s = tap_str(id);
    next = 0;

    do {
        n = ngx_broadcast_registry_groups(zone, row, &s, &next, group, 2, buf,
                                          sizeof(buf));

        for (i = 0; i < n; i++) {
            p = ngx_sprintf(p, "%V,", &group[i]);
        }

    } while (next);

    *p = '\0';

    return (char *) text;
}


static void
is_groups(ngx_broadcast_row_t row, const char *id, const char *want,
    const char *name)
{
    ngx_str_t  s;

    s = tap_str(groups(row, id));
    is_str(&s, want, name);
}


static void
make(void)
{
    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 1);
}


static void
facts(void)
{
    time_t                   expiry;
    ngx_str_t                id, u, g;
    ngx_broadcast_row_t      row, second;
    ngx_broadcast_record_t   rec;

    make();

    is_int(used(), 0, "a fresh zone has no rule");

    is_int(join("ann", "a", 60), NGX_OK, "a join of a user is appended");
    ok(found(chat, "ann", "a"), "the record has made the rule");
    ok(!found(chat, "ann", "b") && !found(chat, "bob", "a")
       && !found(news, "ann", "a"),
       "of this user, group and hub alone");

    expiry = expires("ann", "a");
    ok(expiry >= ngx_time() + 59 && expiry <= ngx_time() + 61,
       "it expires after its ttl");

    join("ann", "b", NONE);
    expiry = expires("ann", "b");
    ok(expiry >= ngx_time() + 31535999 && expiry <= ngx_time() + 31536001,
       "without a ttl it lasts a year");

    join("ann", "c", NOW);
    ok(!found(chat, "ann", "c"), "a ttl of 0 makes none");

    claim("c1", "ann", &row);
    is_groups(row, "c1", "a,b,",
              "a new connection is in its groups");

    u = tap_str("ann");
    g = tap_str("a");
    is_int(ngx_broadcast_registry_group(zone, chat, &g), 1,
           "which counts for the group's existence");
    is_int(ngx_broadcast_registry_user_in_group(zone, chat, &u, &g), 1,
           "the user is in the group by a connection");

    id = tap_str("c1");
    ngx_broadcast_registry_leave(zone, row, &id, &g);
    is_int(ngx_broadcast_registry_user_in_group(zone, chat, &u, &g), 0,
           "and not any more when that has left");
    ok(found(chat, "ann", "a"), "the rule stays");

    join("ann", "a", NOW);
    ok(!found(chat, "ann", "a"), "a ttl of 0 ends a rule that was there");

    leave("ann", "b");
    ok(!found(chat, "ann", "b"), "a leave of the user ends the rule");
    is_groups(row, "c1", "b,",
              "and not the membership, its owner does");

    claim("c2", "ann", &second);
    is_groups(second, "c2", "",
              "a later connection joins nothing");

    join("ann", "a", 60);
    join("ann", "b", 60);
    join("bob", "a", 60);
    record(NGX_BROADCAST_REC_JOIN, news, "ann", "a", 60, 0);
    leave("ann", "");
    is_int(used(), 2, "a leave of all groups ends the user's rules");
    ok(found(chat, "bob", "a") && found(news, "ann", "a"),
       "and nobody else's");

    record(NGX_BROADCAST_REC_JOIN, chat, "", "a", 60, 0);
    is_int(used(), 2, "no user, no rule");

    rec = zone_record(chat, "", 0);
    rec.type = NGX_BROADCAST_REC_JOIN;
    rec.scope = NGX_BROADCAST_USER;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED|NGX_BROADCAST_REC_NO_RULE;
    rec.name = tap_str("bob");
    rec.group = tap_str("b");
    rec.ttl = NOW;
    ngx_broadcast_log_append(zone, &rec, 1);
    rec.group = tap_str("a");
    ngx_broadcast_log_append(zone, &rec, 1);
    ok(used() == 2 && found(chat, "bob", "a"),
       "a join for what is there already changes no rule");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
expiry(void)
{
    ngx_broadcast_row_t   row;
    ngx_broadcast_rule_t  rule;

    make();

    ngx_memzero(&rule, sizeof(rule));
    rule.hub = chat;
    rule.user = tap_str("ann");
    rule.group = tap_str("old");
    rule.expires = ngx_time();

    is_int(ngx_broadcast_rule_set(zone, &rule), NGX_OK, "set");
    join("ann", "new", 60);

    is_int(used(), 2, "a rule whose time has come is there until it is swept");
    ok(!found(chat, "ann", "old"), "but is not found");
    claim("c1", "ann", &row);
    is_groups(row, "c1", "new,",
              "and not joined");

    ngx_broadcast_rule_expire(zone, ngx_time());
    is_int(used(), 1, "the sweep takes it off");
    ok(found(chat, "ann", "new"), "and nothing else");

    ngx_broadcast_rule_expire(zone, LATER);
    is_int(used(), 0, "until their time has come, too");
    is_groups(row, "c1", "new,",
              "members stay members");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
limits(void)
{
    char                  name[32];
    ngx_str_t             u;
    ngx_uint_t            i;
    ngx_broadcast_row_t   row;

    zone = zone_make(16 * SIZE);
    chat = zone_hub(zone, "chat", 0);

    for (i = 0; i < 100; i++) {
        *ngx_sprintf((u_char *) name, "g%ui", i) = '\0';
        join("ann", name, NONE);
    }

    join("ann", "timed", 60);
    join("ann", "g0", NONE);
    is_int(used(), 101, "100 without a ttl, and one that has one");

    join("ann", "g100", NONE);
    is_int(used(), 101, "the 101st makes one go");
    ok(found(chat, "ann", "g0") && found(chat, "ann", "g100")
       && !found(chat, "ann", "g1"),
       "which is the one that was updated first");
    ok(found(chat, "ann", "timed"), "those with a ttl do not count there");

    join("ann", "timed", NONE);
    ok(found(chat, "ann", "timed") && !found(chat, "ann", "g2"),
       "unless they lose it");

    for (i = 0; i < 1001; i++) {
        *ngx_sprintf((u_char *) name, "t%ui", i) = '\0';
        join("ann", name, 600);
    }

    is_int(used(), 1100, "1000 with a ttl are kept");
    ok(!found(chat, "ann", "t0") && found(chat, "ann", "t1")
       && found(chat, "ann", "t1000"), "the newest");

    is_int(claim("c1", "ann", &row), NGX_OK, "a connection joins them all");
    is_int(zone->members.high, 1100, "which are so many memberships");

    u = tap_str("c1");
    (void) ngx_broadcast_registry_release(zone, row, &u, 1, 0);
    leave("ann", "");
    is_int(used(), 0, "and all go at once");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
full(void)
{
    char                     name[32];
    ngx_uint_t               i;
    uint64_t                 head;
    ngx_broadcast_row_t      row;
    ngx_broadcast_rule_t     rule;
    ngx_broadcast_record_t   rec[2];

    make();

    for (i = 0; /* void */ ; i++) {
        *ngx_sprintf((u_char *) name, "u%ui", i) = '\0';

        if (join(name, "g", 3600) != NGX_OK) {
            break;
        }
    }

    is_int(i, zone->rules.n, "as many rules as the zone has");
    head = ngx_broadcast_log_head(zone);

    is_int(join("one", "g", 60), NGX_ABORT, "one more is refused");
    is_int(ngx_broadcast_log_head(zone), head, "and nothing is appended");

    rec[0] = zone_record(chat, "[]", 2);
    rec[1] = rec[0];
    rec[1].type = NGX_BROADCAST_REC_JOIN;
    rec[1].scope = NGX_BROADCAST_USER;
    rec[1].name = tap_str("one");
    rec[1].group = tap_str("g");
    is_int(ngx_broadcast_log_append(zone, rec, 2), NGX_ABORT,
           "also what comes with it");
    is_int(ngx_broadcast_log_head(zone), head, "all or none");

    is_int(join("u0", "g", 60), NGX_OK, "one that is there can be updated");
    is_int(join("one", "g", NOW), NGX_OK, "present connections can join");

    is_int(record(NGX_BROADCAST_REC_JOIN, chat, "one", "g", 60, 7), NGX_DONE,
           "the relay's is appended without its rule");
    is_int(zone->rules_refused, 1, "which is counted");

    ngx_memzero(&rule, sizeof(rule));
    rule.hub = chat;
    rule.user = tap_str("u1");
    rule.group = tap_str("g");
    rule.expires = 1;
    is_int(ngx_broadcast_rule_set(zone, &rule), NGX_OK, "a rule of the past");
    is_int(join("one", "g", 60), NGX_OK, "makes room when it is wanted");

    /* memberships run out before rows do */

    for (i = 0; i < 150; i++) {
        *ngx_sprintf((u_char *) name, "u%ui", i + 2) = '\0';
        leave(name, "");
        *ngx_sprintf((u_char *) name, "h%ui", i) = '\0';
        join("one", name, 60);
    }

    for (i = 0; i < zone->rows.n; i++) {
        *ngx_sprintf((u_char *) name, "c%ui", i) = '\0';

        if (claim(name, "one", &row) != NGX_OK) {
            break;
        }
    }

    ok(i && i < zone->rows.n, "no room for the groups, no connection");
    is_int(claim("d", "two", &row), NGX_OK, "one that is in none is accepted");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* what the relay does with a zone that is new */

static void
load(void)
{
    ngx_uint_t            next, n;
    ngx_broadcast_rule_t  rule;

    make();

    join("ann", "a", 60);

    for (n = 0; n < 150; n++) {
        char  name[16];

        *ngx_sprintf((u_char *) name, "u%ui", n) = '\0';
        record(NGX_BROADCAST_REC_JOIN, news, name, "left over", 60, 0);
    }

    next = 0;
    n = 0;

    do {
        ngx_broadcast_rule_clear(zone, &next);
        n++;
    } while (next);

    ok(n > 1, "cleared in pieces");
    is_int(used(), 1, "rules of durable hubs go");
    ok(found(chat, "ann", "a"), "those of others stay");

    ngx_memzero(&rule, sizeof(rule));
    rule.hub = news;
    rule.user = tap_str("ann");
    rule.group = tap_str("a");
    rule.expires = ngx_time() + 60;
    ngx_broadcast_rule_set(zone, &rule);

    ngx_broadcast_rule_loaded(zone, 50);

    record(NGX_BROADCAST_REC_LEAVE, news, "ann", "a", 0, 50);
    ok(found(news, "ann", "a"), "a record that was known has no effect");

    record(NGX_BROADCAST_REC_LEAVE, chat, "ann", "a", 0, 51);
    ok(!found(chat, "ann", "a"), "but on a hub that is not durable");

    record(NGX_BROADCAST_REC_LEAVE, news, "ann", "a", 0, 52);
    ok(!found(news, "ann", "a"), "one behind it has");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* --- against a model ----------------------------------------------------- */

#define USERS   5
#define GROUPS  130
#define CONNS   12

typedef struct {
    uint64_t  updated;                  /* 0: no rule */
    int       lasting;
} model_t;

static model_t              rules[USERS][GROUPS];
static int                  in[CONNS][GROUPS];
static int                  user_of[CONNS];         /* -1: none */
static ngx_broadcast_row_t  row_of[CONNS];

static const char  *users[USERS] = {
    "ann", "bob", "a user whose name is longer than a cell of the arena is, "
    "so that it takes several", "c", "d"
};


static char *
group_name(ngx_uint_t g)
{
    static char  name[2][256];
    static int   i;

    i ^= 1;
    *ngx_sprintf((u_char *) name[i], g % 7 ? "g%ui"
                 : "a group with a long name, which is in more than one cell "
                   "and has a number: %ui", g)
        = '\0';

    return name[i];
}


static void
model_set(ngx_uint_t u, ngx_uint_t g, int lasting, uint64_t updated)
{
    ngx_uint_t  i, n, oldest;

    rules[u][g].updated = 0;

    for (i = 0, n = 0, oldest = GROUPS; i < GROUPS; i++) {
        if (rules[u][i].updated && rules[u][i].lasting == lasting) {
            n++;

            if (oldest == GROUPS
                || rules[u][i].updated < rules[u][oldest].updated)
            {
                oldest = i;
            }
        }
    }

    if (lasting && n == 100) {
        rules[u][oldest].updated = 0;
    }

    rules[u][g].updated = updated;
    rules[u][g].lasting = lasting;
}


static int
model_wrong(void)
{
    char        id[16];
    int         wrong;
    uint32_t    next;
    ngx_str_t   s, u, t, group;
    ngx_uint_t  c, i, n, g, want;

    static u_char  buf[NGX_BROADCAST_GROUP_BYTES];

    wrong = 0;
    n = 0;

    for (i = 0; i < USERS; i++) {
        u = tap_str(users[i]);

        for (g = 0; g < GROUPS; g++) {
            t = tap_str(group_name(g));
            n += rules[i][g].updated != 0;
            wrong += found(chat, users[i], (char *) t.data)
                     != (rules[i][g].updated != 0);

            for (want = 0, c = 0; c < CONNS; c++) {
                want |= (user_of[c] == (int) i && in[c][g]);
            }

            wrong += ngx_broadcast_registry_user_in_group(zone, chat, &u, &t)
                     != want;
        }
    }

    wrong += used() != n;

    for (c = 0; c < CONNS; c++) {

        if (user_of[c] < 0) {
            continue;
        }

        *ngx_sprintf((u_char *) id, "c%ui", c) = '\0';
        s = tap_str(id);
        next = 0;
        n = 0;

        do {
            i = ngx_broadcast_registry_groups(zone, row_of[c], &s, &next,
                                              &group, 1, buf, sizeof(buf));
            n += i;

            for (g = 0; i && g < GROUPS; g++) {
                t = tap_str(group_name(g));

                if (t.len == group.len
                    && memcmp(t.data, group.data, t.len) == 0)
                {
                    wrong += !in[c][g];
                }
            }

        } while (next);

        for (g = 0, want = 0; g < GROUPS; g++) {
            want += in[c][g];
        }

        wrong += n != want;
    }

    return wrong;
}


static void
model(void)
{
    int         wrong, u;
    char        id[16];
    uint64_t    step;
    ngx_str_t   s;
    ngx_uint_t  c, g, i;

    make();
    srandom(42);
    wrong = 0;

    for (c = 0; c < CONNS; c++) {
        user_of[c] = -1;
    }

    for (step = 1; step <= 12000 && !wrong; step++) {

        /* the first user has most of the groups */

        u = random() % 2 ? 0 : random() % USERS;
        g = random() % GROUPS;
        c = random() % CONNS;

        *ngx_sprintf((u_char *) id, "c%ui", c) = '\0';
        s = tap_str(id);

        switch (random() % 16) {

        case 0: case 1: case 2: case 3: case 4: case 5: case 6:
            wrong += join(users[u], group_name(g), NONE) != NGX_OK;
            model_set(u, g, 1, step);
            break;

        case 7: case 8:
            wrong += join(users[u], group_name(g), 600) != NGX_OK;
            model_set(u, g, 0, step);
            break;

        case 9:
            wrong += join(users[u], group_name(g), NOW) != NGX_OK;
            rules[u][g].updated = 0;
            break;

        case 10:
            wrong += leave(users[u], group_name(g)) != NGX_OK;
            rules[u][g].updated = 0;
            break;

        case 11:
            if (random() % 30 == 0) {
                wrong += leave(users[u], "") != NGX_OK;
                memset(rules[u], 0, sizeof(rules[u]));
            }

            break;

        case 12: case 13:
            if (user_of[c] < 0) {
                wrong += claim(id, users[u], &row_of[c]) != NGX_OK;
                user_of[c] = u;

                for (i = 0; i < GROUPS; i++) {
                    in[c][i] = rules[u][i].updated != 0;
                }

            } else {
                (void) ngx_broadcast_registry_release(zone, row_of[c], &s, 1,
                                                      0);
                ngx_broadcast_registry_expire(zone, LATER);
                ngx_broadcast_registry_expire(zone, LATER);
                user_of[c] = -1;
            }

            break;

        case 14:
            ngx_broadcast_rule_expire(zone, ngx_time());
            break;

        default:
            if (random() % 300 == 0) {
                ngx_broadcast_rule_expire(zone, LATER);
                ngx_broadcast_rule_expire(zone, LATER);
                memset(rules, 0, sizeof(rules));
            }
        }

        if (step % 50 == 0) {
            wrong += model_wrong();
            wrong += !zone_right(zone);
        }

        /* the lock's next owner rebuilds, and nothing is to change by it */

        if (step % 1000 == 0) {
            zone->dirty = 1;
            wrong += model_wrong();
            wrong += !zone_right(zone);
        }
    }

    if (wrong) {
        fprintf(stderr, "at step %lu\n", (unsigned long) step);
    }

    is_int(wrong, 0, "12000 random operations agree with the model");

    ngx_broadcast_registry_sweep(zone, 1);

    for (u = 0; u < USERS; u++) {
        leave(users[u], "");
    }

    ok(zone->rules.spare == zone->rules.high
       && zone->members.spare == zone->members.high
       && zone->cells.spare == zone->cells.high,
       "when all have gone nothing is in use");

    zone_free(zone);
}


/* the check finds what is wrong: one word at a time */

static void
tampered(void)
{
    u_char  buf[256];
    size_t  i;

    make();

    join("ann", "a", 60);
    join("bob", "b", NONE);
    join("carl", "c", NONE);
    leave("carl", "c");

    struct {
        void        *word;
        const char  *what;
    } words[] = {
        { &ngx_broadcast_rule(zone, 1)->user, "a rule's user" },
        { &ngx_broadcast_rule(zone, 1)->group, "a rule's group" },
        { &ngx_broadcast_rule(zone, 1)->next, "a chain of rules" },
        { &zone->rules_order, "the order of updates" },
        { &zone->rules.free, "the list of free rules" },
        { &zone->rules.spare, "the number of free rules" }
    };

    ok(zone_right(zone), "the zone is right before it is tampered with");

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {

        *(u_char *) words[i].word ^= 3;

        ok(ngx_broadcast_zone_check(zone, buf, sizeof(buf)) == NGX_ERROR
           && buf[0] != '\0',
           words[i].what);

        *(u_char *) words[i].word ^= 3;
    }

    ok(zone_right(zone), "the zone is right again");
    zone_free(zone);
}


int
main(void)
{
    facts();
    expiry();
    limits();
    full();
    load();
    model();
    tampered();

    return done();
}
