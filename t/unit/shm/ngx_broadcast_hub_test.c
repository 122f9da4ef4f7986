
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
 *        src/shm/ngx_broadcast_check_names.c src/shm/ngx_broadcast_binding.c
 *        src/shm/ngx_broadcast_position.c
 *        nginx:core/ngx_slab.c nginx:core/ngx_shmtx.c
 */


#include "zone.h"


#define SIZE  (1024 * 1024)


static void zones(void);
static void hubs(void);
static void texts(void);
static void suffixes(void);
static void bindings(void);
static void counters(void);


int
main(void)
{
    zones();
    hubs();
    texts();
    suffixes();
    bindings();
    counters();

    return done();
}


static void
zones(void)
{
    u_char                     *p;
    const char                 *err;
    ngx_slab_pool_t            *pool;
    ngx_broadcast_zone_t       *zone, *again;
    ngx_broadcast_zone_info_t   info;

    zone = zone_make(64 * SIZE);

    ngx_broadcast_zone_info(zone, &info);

    is_int(info.size, 64 * SIZE, "a zone of 64m");
    is_int(info.log_bytes, 16 * SIZE, "has a log of 16m");
    ok(info.rows > 150000, "and room for 150000 connections and more");
    is_int(zone->hubs.n, 1024, "and for 1024 hubs");

    printf("# 64m: %lu rows\n", (unsigned long) info.rows);

    p = (u_char *) zone;

    for (pool = (ngx_slab_pool_t *) p; pool->addr != p; /* void */ ) {
        p = (u_char *) ((uintptr_t) (p - 1) & ~(uintptr_t) 4095);
        pool = (ngx_slab_pool_t *) p;
    }

    is_int(ngx_broadcast_zone_open(pool, 64 * SIZE, &again, &err), NGX_OK,
           "opened again");
    ok(again == zone, "it is the same");

    zone->layout++;
    is_int(ngx_broadcast_zone_open(pool, 64 * SIZE, &again, &err), NGX_ERROR,
           "another build's layout is refused");
    ok(strstr(err, "another build") != NULL, "with a sentence");
    zone->layout--;

    zone->sizes++;
    is_int(ngx_broadcast_zone_open(pool, 64 * SIZE, &again, &err), NGX_ERROR,
           "other sizes of structures are refused");
    zone->sizes--;

    zone_free(zone);

    zone = zone_make(SIZE);
    ngx_broadcast_zone_info(zone, &info);

    printf("# 1m: %lu rows\n", (unsigned long) info.rows);

    is_int(zone->hubs.n, 64, "a zone of 1m has room for 64 hubs");
    is_int(info.log_bytes, SIZE / 4, "a log of 256k");
    ok(info.rows > 900, "and 900 connections");
    ok(memcmp(ngx_broadcast_zone_secret(zone), (u_char[32]) { 0 }, 32) != 0,
       "its secret is not nothing");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
hubs(void)
{
    char                        name[16];
    ngx_str_t                   s;
    uint64_t                    epoch, cursor;
    ngx_uint_t                  a, b, n, wrong;
    ngx_broadcast_zone_t       *zone;
    ngx_broadcast_record_t      rec[3];
    ngx_broadcast_hub_info_t    info;
    ngx_broadcast_position_t    p;

    zone = zone_make(SIZE);

    s = tap_str("chat");
    is_int(ngx_broadcast_hub_find(zone, &s, &a), NGX_DECLINED,
           "a hub is not there before somebody wants it");

    a = zone_hub(zone, "chat", 0);
    b = zone_hub(zone, "orders", 1);

    ok(a == 0 && b == 1, "hubs are numbered as they come");
    is_int(zone_hub(zone, "chat", 1), a, "the same name is the same hub");
    is_int(ngx_broadcast_hub_find(zone, &s, &n), NGX_OK, "it is found");
    is_int(n, a, "under its number");
    is_int(ngx_broadcast_hub_count(zone), 2, "there are two");

    ngx_broadcast_hub_info(zone, a, &info);
    ok(info.len == 4 && memcmp(info.name, "chat", 4) == 0 && !info.durable,
       "a hub tells its name and that it is ephemeral");
    ngx_broadcast_hub_info(zone, b, &info);
    ok(info.durable, "or durable");

    rec[0] = zone_record(a, "[1]", 3);
    rec[1] = rec[0];
    rec[1].source = NGX_BROADCAST_SRC_SQL;
    rec[2] = rec[0];
    rec[2].type = NGX_BROADCAST_REC_JOIN;
    ngx_broadcast_log_append(zone, rec, 3);
    ngx_broadcast_hub_delivered(zone, a, NGX_BROADCAST_SSE, 7);
    ngx_broadcast_hub_delivered(zone, a, NGX_BROADCAST_SSE, 2);
    ngx_broadcast_hub_delivered(zone, 99, NGX_BROADCAST_SSE, 2);

    ngx_broadcast_hub_info(zone, a, &info);
    ok(info.published[NGX_BROADCAST_SRC_REST] == 1
       && info.published[NGX_BROADCAST_SRC_SQL] == 1,
       "messages are counted by source, commands are not");
    is_int(info.delivered[NGX_BROADCAST_SSE], 9, "deliveries are summed");

    ngx_broadcast_hub_position(zone, a, &p);
    ok(p.epoch == zone->epoch && p.seq == 3, "the position is the newest's");

    ngx_broadcast_hub_set_durable(zone, a, 1);
    ngx_broadcast_hub_info(zone, a, &info);
    ok(info.durable, "a hub may become durable");
    ok(info.position.epoch == zone->epoch && info.position.seq == 3,
       "its position stays until the database's comes");

    p.epoch = 77;
    p.seq = 9;
    ngx_broadcast_hub_set_position(zone, a, &p);

    ngx_broadcast_hub_set_durable(zone, a, 0);
    ngx_broadcast_hub_info(zone, a, &info);
    epoch = info.position.epoch;
    ok(!info.durable && info.position.seq == 0, "or ephemeral");
    ok(epoch && epoch != 77 && epoch != zone->epoch,
       "with an epoch that was never before");
    is_int(ngx_broadcast_log_seek(zone, a, &p, &cursor), NGX_DECLINED,
           "numbers of the database are no longer its own");

    ngx_broadcast_hub_set_durable(zone, a, 0);
    ngx_broadcast_hub_info(zone, a, &info);
    ok(info.position.epoch == epoch, "told again, nothing changes");

    rec[0] = zone_record(a, "[1]", 3);
    ngx_broadcast_log_append(zone, rec, 1);
    ngx_broadcast_hub_position(zone, a, &p);
    ok(p.epoch == epoch && p.seq == 1, "it counts from 1");

    ngx_broadcast_hub_set_durable(zone, a, 1);
    ngx_broadcast_hub_set_durable(zone, a, 0);
    ngx_broadcast_hub_info(zone, a, &info);
    ok(info.position.epoch != epoch, "the next time it is another epoch");

    memset(name, 'x', sizeof(name));
    wrong = 0;

    for (n = 2; n < 64; n++) {
        *ngx_sprintf((u_char *) name, "hub%ui", n) = '\0';
        wrong += (zone_hub(zone, name, 0) != n);
    }

    is_int(wrong, 0, "64 hubs are made");
    s = tap_str("more");
    is_int(ngx_broadcast_hub_get(zone, &s, 0, &n), NGX_BUSY, "no more");

    for (n = 2; n < 64; n++) {
        *ngx_sprintf((u_char *) name, "hub%ui", n) = '\0';
        s = tap_str(name);
        wrong += (ngx_broadcast_hub_find(zone, &s, &a) != NGX_OK || a != n);
    }

    is_int(wrong, 0, "all are found");
    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static ngx_int_t
parse(const char *text, uint64_t epoch, uint64_t seq)
{
    ngx_str_t                 s;
    ngx_broadcast_position_t  p;

    s = tap_str(text);
    p.epoch = p.seq = 0;

    if (ngx_broadcast_position_parse(&s, &p) != NGX_OK) {
        return NGX_ERROR;
    }

    return (p.epoch == epoch && p.seq == seq) ? NGX_OK : NGX_DECLINED;
}


static void
texts(void)
{
    size_t                    i;
    u_char                    buf[NGX_BROADCAST_POSITION_LEN], *last;
    ngx_broadcast_position_t  p;

    static const char  *bad[] = {
        "", "-", "1-", "-1", "1", "1-1-", "1--1", "+1-1", "1-+1", " 1-1",
        "1-1 ", "A-1", "g-1", "0x1-1", "01-1", "1-01", "00-0", "1-a",
        "10000000000000000-1", "1-18446744073709551616", "1_1", "1-1\n",
        "1-99999999999999999999"
    };

    p.epoch = (uint64_t) -1;
    p.seq = (uint64_t) -1;
    last = ngx_broadcast_position_print(buf, &p);
    is_mem(buf, last - buf, "ffffffffffffffff-18446744073709551615", 37,
           "the largest position in text");
    ok((size_t) (last - buf) <= sizeof(buf), "fits the buffer for it");
    is_int(parse("ffffffffffffffff-18446744073709551615", p.epoch, p.seq),
           NGX_OK, "and is parsed back");

    p.epoch = 0x7f3a;
    p.seq = 412;
    last = ngx_broadcast_position_print(buf, &p);
    is_mem(buf, last - buf, "7f3a-412", 8, "a position in text");
    is_int(parse("7f3a-412", 0x7f3a, 412), NGX_OK, "is parsed back");
    is_int(parse("0-0", 0, 0), NGX_OK, "zero is a position");
    is_int(parse("a-10", 10, 10), NGX_OK, "hexadecimal, then decimal");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is_int(parse(bad[i], 0, 0), NGX_ERROR, "no position");
    }
}


static void
suffixes(void)
{
    size_t                    i;
    u_char                    text[NGX_BROADCAST_SUFFIX_LEN + 8];
    ngx_str_t                 s, suffix;
    ngx_broadcast_position_t  p;

    static const char  *bad[] = {
        "", ".", "a-1.", "a-1..g", "a-1..1A", "a-1..1 ", "a-1..1\"", "a.-1",
        ".a-1", "a-01..1"
    };

    s = tap_str("a-10..1f_2.3~9_1-b");
    is_int(ngx_broadcast_position_split(&s, &p, &suffix), NGX_OK,
           "a position with a suffix");
    ok(p.epoch == 10 && p.seq == 10, "is the position");
    is_mem(suffix.data, suffix.len, "..1f_2.3~9_1-b", 14, "and the suffix");

    s = tap_str("a-10");
    is_int(ngx_broadcast_position_split(&s, &p, &suffix), NGX_OK,
           "a position without one");
    is_int(suffix.len, 0, "has an empty one");

    memset(text, '1', sizeof(text));
    ngx_memcpy(text, "a-1..", 5);

    s.data = text;
    s.len = NGX_BROADCAST_SUFFIX_LEN + 3;
    is_int(ngx_broadcast_position_split(&s, &p, &suffix), NGX_OK,
           "one may be so long");
    s.len++;
    is_int(ngx_broadcast_position_split(&s, &p, &suffix), NGX_ERROR,
           "and not longer");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s = tap_str(bad[i]);
        is_int(ngx_broadcast_position_split(&s, &p, &suffix), NGX_ERROR,
               "no position with a suffix");
    }
}


static ngx_uint_t
bound(ngx_broadcast_zone_t *zone, ngx_uint_t event, const char *hub,
    const char *name, ngx_str_t *role)
{
    ngx_str_t  h, n;

    if (hub) {
        h = tap_str(hub);
    }

    if (name) {
        n = tap_str(name);
    }

    return ngx_broadcast_binding_find(zone, event, hub ? &h : NULL,
                                      name ? &n : NULL, role);
}


static void
bindings(void)
{
    u_char                    buf[128];
    ngx_str_t                 role;
    ngx_uint_t                i;
    ngx_broadcast_zone_t     *zone;
    ngx_broadcast_binding_t   b[4], *many;

    zone = zone_make(SIZE);

    ok(!ngx_broadcast_binding_ready(zone), "bindings are not known at first");
    ok(!bound(zone, NGX_BROADCAST_ON_HTTP, NULL, "x", NULL), "nothing bound");

    ngx_memzero(b, sizeof(b));
    b[0].event = NGX_BROADCAST_ON_CONNECT;
    b[0].hub = tap_str("chat");
    b[1].event = NGX_BROADCAST_ON_MESSAGE;
    b[1].name = tap_str("SendMessage");
    b[2].event = NGX_BROADCAST_ON_HTTP;
    b[2].name = tap_str("order");
    b[2].role = tap_str("admin");
    b[3].event = NGX_BROADCAST_ON_DISCONNECTED;

    ngx_broadcast_binding_replace(zone, b, 4);

    role.data = buf;
    role.len = 99;

    ok(ngx_broadcast_binding_ready(zone), "then they are");
    ok(bound(zone, NGX_BROADCAST_ON_CONNECT, "chat", NULL, NULL),
       "bound for its hub");
    ok(!bound(zone, NGX_BROADCAST_ON_CONNECT, "news", NULL, NULL),
       "not for another");
    ok(bound(zone, NGX_BROADCAST_ON_CONNECT, NULL, NULL, NULL),
       "bound somewhere");
    ok(!bound(zone, NGX_BROADCAST_ON_CONNECTED, "chat", NULL, NULL),
       "not for another event");
    ok(bound(zone, NGX_BROADCAST_ON_DISCONNECTED, "any", NULL, NULL),
       "without a hub it is bound for all");
    ok(bound(zone, NGX_BROADCAST_ON_MESSAGE, "chat", "sendmessage", NULL),
       "names of messages compare without case");
    ok(!bound(zone, NGX_BROADCAST_ON_MESSAGE, "chat", "send", NULL),
       "but whole");
    ok(bound(zone, NGX_BROADCAST_ON_HTTP, NULL, "order", &role),
       "bound for http");
    is_str(&role, "admin", "with the role that it needs");
    ok(!bound(zone, NGX_BROADCAST_ON_HTTP, NULL, "other", &role),
       "not for another name");
    is_int(role.len, 0, "then there is no role");

    ngx_broadcast_binding_replace(zone, b, 1);
    ok(!bound(zone, NGX_BROADCAST_ON_HTTP, NULL, "order", NULL),
       "the table is replaced whole");

    ngx_broadcast_binding_replace(zone, NULL, 0);
    ok(!bound(zone, NGX_BROADCAST_ON_CONNECT, "chat", NULL, NULL)
       && ngx_broadcast_binding_ready(zone), "also by nothing");

    many = calloc(1000, sizeof(ngx_broadcast_binding_t));

    for (i = 0; i < 1000; i++) {
        many[i].name = tap_str("a name of some length");
    }

    ok(ngx_broadcast_binding_replace(zone, many, 1000) == NGX_DECLINED,
       "more than there is room for are told");
    ok(bound(zone, NGX_BROADCAST_ON_TIMER, "x", "y", &role)
       && role.len == 0,
       "with more than there is room for everything may be bound");

    ok(ngx_broadcast_binding_replace(zone, b, 4) == NGX_OK,
       "and that there is room again");
    ok(!bound(zone, NGX_BROADCAST_ON_TIMER, "x", "y", NULL),
       "until there are fewer");

    free(many);
    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
counters(void)
{
    ngx_uint_t                  slot, n[NGX_BROADCAST_POOL_STATES];
    ngx_broadcast_zone_t       *zone;
    ngx_broadcast_owner_t       owner;
    ngx_broadcast_histogram_t   h;

    zone = zone_make(SIZE);

    ngx_broadcast_stats_add(NULL, 0, NGX_BROADCAST_WAKES, 1);
    ngx_broadcast_stats_add(zone, 0, NGX_BROADCAST_WAKES, 5);
    ngx_broadcast_stats_add(zone, 127, NGX_BROADCAST_WAKES, 6);
    ngx_broadcast_stats_add(zone, NGX_BROADCAST_NO_SLOT, NGX_BROADCAST_WAKES,
                            7);
    ngx_broadcast_stats_add(zone, 3, NGX_BROADCAST_OVERRUNS, 1);
    is_int(ngx_broadcast_stats_sum(zone, NGX_BROADCAST_WAKES), 18,
           "a counter is the sum over all workers, also one without a slot");

    ngx_broadcast_stats_observe(zone, 1, 0, 100);
    ngx_broadcast_stats_observe(zone, 2, 0, 101);
    ngx_broadcast_stats_observe(zone, 2, 0, 10000001);
    ngx_broadcast_stats_histogram(zone, 0, &h);
    ok(h.count == 3 && h.sum == 10000202 && h.bucket[0] == 1
       && h.bucket[1] == 1 && h.bucket[15] == 0,
       "a histogram has its bounds as the last of a bucket");

    ngx_broadcast_stats_observe_all(zone, 1, 0, 1, 800, 4);
    ngx_broadcast_stats_observe_all(zone, 1, 0, NGX_BROADCAST_BUCKETS, 1, 1);
    ngx_broadcast_stats_histogram(zone, 0, &h);
    ok(h.count == 8 && h.sum == 10001003 && h.bucket[0] == 1
       && h.bucket[1] == 5 && h.bucket[15] == 0,
       "several of one bucket are as many observations");

    ngx_broadcast_stats_call(zone, 0, 2, NGX_BROADCAST_OUTCOME_TIMEOUT);
    ngx_broadcast_stats_call(zone, 9, 2, NGX_BROADCAST_OUTCOME_TIMEOUT);
    is_int(ngx_broadcast_stats_calls(zone, 2, NGX_BROADCAST_OUTCOME_TIMEOUT),
           2, "calls are counted by event and outcome");

    ngx_broadcast_slot_claim(zone, &slot, &owner);
    n[0] = 1;
    n[1] = 2;
    n[2] = 3;
    ngx_broadcast_stats_pool(zone, slot, n);
    ngx_broadcast_stats_pool(zone, slot + 1, n);
    ngx_broadcast_stats_pools(zone, n);
    ok(n[0] == 1 && n[1] == 2 && n[2] == 3,
       "pools are those of living workers");
    ngx_broadcast_slot_release(zone, slot);
    ngx_broadcast_stats_pools(zone, n);
    is_int(n[1], 0, "not of one that has gone");

    ngx_broadcast_stats_set(zone, NGX_BROADCAST_GAUGE_DB_STATE, 9);
    is_int(ngx_broadcast_stats_get(zone, NGX_BROADCAST_GAUGE_DB_STATE), 9,
           "a gauge is what was set");

    zone_free(zone);
}
