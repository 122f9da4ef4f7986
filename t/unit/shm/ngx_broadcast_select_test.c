
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
 *        src/shm/ngx_broadcast_rebuild.c src/shm/ngx_broadcast_check.c
 *        src/shm/ngx_broadcast_check_names.c src/shm/ngx_broadcast_select.c
 *        src/shm/ngx_broadcast_rule.c src/shm/ngx_broadcast_rules.c
 *        nginx:core/ngx_slab.c nginx:core/ngx_shmtx.c
 */


#include "zone.h"

#include "shm/ngx_broadcast_select.h"


#define SIZE   (4 * 1024 * 1024)
#define LATER  4000000000U
#define MANY   3000


static void rows(void);
static void pages(void);
static void names(void);


static ngx_broadcast_selected_t    found[64];
static ngx_broadcast_group_info_t  info[16];


int
main(void)
{
    rows();
    pages();
    names();

    return done();
}


static void
join(ngx_broadcast_zone_t *zone, ngx_broadcast_row_t row, const char *id,
    ngx_str_t *group)
{
    ngx_str_t  i;

    i = tap_str(id);

    if (ngx_broadcast_registry_join(zone, row, &i, group) != NGX_OK) {
        fprintf(stderr, "%s cannot join\n", id);
        exit(1);
    }
}


/* the ids of all that is selected, n at a time, each followed by its mask */

static void
all_is(ngx_broadcast_zone_t *zone, ngx_broadcast_select_t *select,
    ngx_uint_t n, const char *want, const char *name)
{
    u_char               *p, text[4096];
    ngx_str_t             got;
    ngx_uint_t            i, k;
    ngx_broadcast_row_t   next;

    p = text;
    next = 0;

    do {
        k = ngx_broadcast_select_rows(zone, select, &next, found, n);

        for (i = 0; i < k && p < text + 4000; i++) {
            p = ngx_cpymem(p, found[i].info.id, found[i].info.id_len);
            p = ngx_sprintf(p, "%uD ", found[i].groups);
        }

    } while (next);

    got.data = text;
    got.len = p - text;

    is_str(&got, want, name);
}


static void
rows(void)
{
    ngx_str_t                g[3];
    ngx_uint_t               chat, news, n;
    ngx_broadcast_row_t      a, b, c, d;
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_select_t   select;

    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 0);

    zone_claim(zone, 1, chat, "a", "ann", 0, LATER, &a);
    zone_claim(zone, 1, chat, "b", "bob", 0, LATER, &b);
    zone_claim(zone, 1, news, "c", "ann", 0, LATER, &c);
    zone_claim(zone, 2, chat, "d", "ann", 0, LATER, &d);
    zone_claim(zone, 2, chat, "e", "", 0, LATER, NULL);

    g[0] = tap_str("x");
    g[1] = tap_str("nobody is in it");
    g[2] = tap_str("y");

    join(zone, a, "a", &g[0]);
    join(zone, a, "a", &g[2]);
    join(zone, d, "d", &g[2]);
    join(zone, c, "c", &g[0]);

    ngx_memzero(&select, sizeof(select));
    select.hub = chat;

    for (n = 1; n < 6; n++) {
        all_is(zone, &select, n, "a0 b0 d0 e0 ",
               "all of a hub, in pieces of any size");
    }

    select.groups = g;
    select.ngroups = 3;

    all_is(zone, &select, 64, "a5 b0 d4 e0 ",
           "which groups each is in is told by bits");

    select.user = tap_str("ann");
    all_is(zone, &select, 1, "a5 d4 ",
           "those of a user, in this hub alone");

    select.user = tap_str("eve");
    all_is(zone, &select, 1, "",
           "a user that there is not has none");

    select.user.len = 0;
    select.member = 1;
    all_is(zone, &select, 1, "a5 ",
           "members of the first group");

    select.groups = &g[1];
    select.ngroups = 1;
    all_is(zone, &select, 1, "",
           "a group that there is not has none");

    ngx_broadcast_registry_sweep(zone, 1);

    select.member = 0;
    all_is(zone, &select, 1, "d0 e0 ",
           "what has ended is not there");

    zone_free(zone);
}


static ngx_uint_t
number(ngx_broadcast_selected_t *row)
{
    ngx_int_t  n;

    n = ngx_atoi(row->info.id + 2, row->info.id_len - 2);

    return n == NGX_ERROR ? MANY : (ngx_uint_t) n;
}


/* every second one stays, the others go, and new ones come, between pages */

static void
pages(void)
{
    u_char                   seen[MANY];
    char                     id[32];
    ngx_str_t                text;
    ngx_uint_t               hub, i, k, n, calls, empty, twice, missed;
    ngx_broadcast_row_t      next, row[MANY];
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_select_t   select;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);

    ngx_memzero(seen, sizeof(seen));
    ngx_memzero(&select, sizeof(select));
    select.hub = hub;

    for (i = 0; i < MANY; i++) {
        *ngx_sprintf((u_char *) id, "id%ui", i) = '\0';
        zone_claim(zone, 1, hub, id, "", 0, 1, &row[i]);
    }

    next = 0;
    calls = 0;
    n = 0;
    twice = 0;

    do {
        k = ngx_broadcast_select_rows(zone, &select, &next, found, 16);
        calls++;

        for (i = 0; i < k; i++) {
            if (number(&found[i]) < MANY) {
                twice += seen[number(&found[i])]++;
            }
        }

        for (i = 0; i < 32 && n < MANY; i += 2, n += 2) {
            *ngx_sprintf((u_char *) id, "id%ui", n) = '\0';
            text = tap_str(id);
            (void) ngx_broadcast_registry_release(zone, row[n], &text, 1, 0);

            *ngx_sprintf((u_char *) id, "new%ui", n) = '\0';
            zone_claim(zone, 1, hub, id, "", 0, 1, NULL);
        }

        ngx_broadcast_registry_expire(zone, ngx_time());

    } while (next);

    missed = 0;

    for (i = 1; i < MANY; i += 2) {
        missed += !seen[i];
    }

    is_int(missed, 0, "who stays is not missed, whoever comes and goes");
    is_int(twice, 0, "and nobody comes twice");
    ok(zone_right(zone), "the zone is right");

    /* nobody fits: a call ends all the same */

    select.user = tap_str("new0");
    zone_claim(zone, 1, hub, "last", "new0", 0, LATER, NULL);
    text = tap_str("last");

    next = 0;
    empty = 0;

    do {
        k = ngx_broadcast_select_rows(zone, &select, &next, found, 16);
        empty += (k == 0 && next != 0);
    } while (k == 0 && next);

    ok(empty > 1, "a call looks at a bounded piece, and may find nothing");
    is_int(k, 1, "one who is far behind is found");

    zone_free(zone);
}


static void
names(void)
{
    char                    name[32];
    u_char                  liar[92];
    uint32_t                next, one;
    uint16_t                two;
    ngx_str_t               g, text;
    ngx_uint_t              hub, other, i, k, n, pieces, right;
    ngx_broadcast_row_t     row, far;
    ngx_broadcast_zone_t   *zone;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);
    other = zone_hub(zone, "news", 0);

    zone_claim(zone, 1, hub, "a", "a user with a name of several cells", 0,
               LATER, &row);
    zone_claim(zone, 1, other, "b", "", 0, LATER, &far);

    next = 0;
    is_int(ngx_broadcast_select_groups(zone, hub, &next, info, 16), 0,
           "a hub without groups");

    /*
     * The text of a second cell that looks like the first of another name: a
     * live group of this hub, whose hash is that of nothing.
     */

    memset(liar, 'x', sizeof(liar));
    one = 1;
    two = 4;

    memcpy(liar + 36, &one, 4);
    memset(liar + 40, 0, 10);
    memcpy(liar + 50, &two, 2);
    liar[52] = NGX_BROADCAST_NAME_GROUP;

    g.data = liar;
    g.len = sizeof(liar);
    join(zone, row, "a", &g);

    g = tap_str("elsewhere");
    join(zone, far, "b", &g);

    next = 0;
    is_int(ngx_broadcast_select_groups(zone, hub, &next, info, 16), 1,
           "text that looks like a group is none, other hubs' are not told");
    ok(info[0].len == sizeof(liar)
       && memcmp(info[0].name, liar, sizeof(liar)) == 0
       && info[0].connections == 1,
       "a long name comes whole, with its connections");

    for (i = 0; i < MANY; i++) {
        *ngx_sprintf((u_char *) name, "group%ui", i) = '\0';
        g = tap_str(name);
        join(zone, row, "a", &g);
    }

    next = 0;
    n = 0;
    pieces = 0;
    right = 1;

    do {
        k = ngx_broadcast_select_groups(zone, hub, &next, info, 16);
        n += k;
        pieces++;

        for (i = 1; i < k; i++) {
            right = right && info[i].cell > info[i - 1].cell;
        }

    } while (next);

    is_int(n, MANY + 1, "all groups, in pieces");
    ok(pieces > MANY / 16 && right, "in the order of their places");

    text = tap_str("a");
    (void) ngx_broadcast_registry_release(zone, row, &text, 1, 0);

    next = 0;

    do {
        k = ngx_broadcast_select_groups(zone, hub, &next, info, 16);
    } while (k == 0 && next);

    is_int(k, 0, "a group without connections is none");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}
