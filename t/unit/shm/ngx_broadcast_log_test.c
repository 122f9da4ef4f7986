
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


#define SIZE  (1024 * 1024)

static u_char  buf[SIZE];
static char    text[SIZE];


static void numbers(void);
static void alignments(void);
static void refusals(void);
static void evicted(void);
static void positions(void);
static void relay(void);
static void cursors(void);
static void processes(ngx_uint_t polite);


int
main(void)
{
    numbers();
    alignments();
    refusals();
    evicted();
    positions();
    relay();
    cursors();
    processes(0);
    processes(1);

    return done();
}


/* publishes len bytes of a letter */

static ngx_int_t
append(ngx_broadcast_zone_t *zone, ngx_uint_t hub, size_t len, char letter,
    ngx_broadcast_record_t *out)
{
    ngx_int_t               rc;
    ngx_broadcast_record_t  rec;

    memset(text, letter, len);

    rec = zone_record(hub, text, len);
    rc = ngx_broadcast_log_append(zone, &rec, 1);

    if (out) {
        *out = rec;
    }

    return rc;
}


static void
numbers(void)
{
    size_t                      len;
    u_char                     *pos;
    uint64_t                    cursor;
    ngx_str_t                   id;
    ngx_uint_t                  chat, news;
    ngx_broadcast_zone_t       *zone;
    ngx_broadcast_record_t      rec[4], got;
    ngx_broadcast_zone_info_t   info;

    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 0);

    cursor = ngx_broadcast_log_head(zone);

    is_int(ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &len), NGX_AGAIN,
           "a fresh log has nothing to read");

    rec[0] = zone_record(chat, "[1]", 3);
    rec[1] = zone_record(news, "[2]", 3);
    rec[2] = zone_record(chat, "[3]", 3);
    rec[3] = zone_record(chat, "", 0);

    rec[2].name = tap_str("u");
    rec[2].group = tap_str("gr");
    rec[2].target = tap_str("tgt");
    rec[2].excluded = tap_str("aa,bb,cc");
    rec[2].packed = tap_str("\x91\x03");
    rec[2].scope = NGX_BROADCAST_USER;
    rec[2].mark = 77;
    rec[2].time = 99;

    rec[3].type = NGX_BROADCAST_REC_CLOSE;
    rec[3].flags = NGX_BROADCAST_REC_UNNUMBERED;

    is_int(ngx_broadcast_log_append(zone, rec, 4), NGX_OK,
           "four records are appended at once");

    ok(rec[0].position.seq == 1 && rec[1].position.seq == 1
       && rec[2].position.seq == 2,
       "each hub has its own numbers");

    ok(rec[0].position.epoch == zone->epoch && zone->epoch != 0,
       "the epoch of an ephemeral hub is the zone's");

    is_int(rec[3].position.seq, 2, "a command that takes no number tells "
                                   "the hub's newest");

    is_int(ngx_broadcast_log_read(zone, &cursor, buf, 100, &len), NGX_BUSY,
           "a buffer too small for the record is refused");
    is_int(len, ngx_broadcast_record_size(&rec[0]),
           "and the record's size is told");

    is_int(ngx_broadcast_log_read(zone, &cursor, buf, len, &len), NGX_OK,
           "a buffer for one record gets one record");
    is_int(len, ngx_broadcast_record_size(&rec[0]), "and not half of another");

    is_int(ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &len), NGX_OK,
           "the others are read in one batch");
    is_int(ngx_broadcast_log_read(zone, &cursor, buf + len, SIZE - len,
                                  &(size_t){0}),
           NGX_AGAIN, "then there is nothing new");

    pos = buf;

    is_int(ngx_broadcast_log_next(&pos, buf + len, &got), NGX_OK, "second");
    is_str(&got.arguments, "[2]", "second record's arguments");
    is_int(got.packed.len, 0, "which it has in JSON alone");

    is_int(ngx_broadcast_log_next(&pos, buf + len, &got), NGX_OK, "third");
    is_str(&got.name, "u", "name comes back");
    is_str(&got.group, "gr", "group comes back");
    is_str(&got.target, "tgt", "target comes back");
    is_str(&got.arguments, "[3]", "arguments come back");
    is_str(&got.excluded, "aa,bb,cc", "excluded ids come back");
    is_str(&got.packed, "\x91\x03", "arguments in MessagePack come back");
    ok(got.mark == 77 && got.time == 99 && got.hub == chat
       && got.scope == NGX_BROADCAST_USER && got.log == rec[2].log
       && got.position.seq == 2 && got.source == NGX_BROADCAST_SRC_REST,
       "numbers of the header come back");

    id = tap_str("bb");
    ok(ngx_broadcast_record_excludes(&got, &id), "an id in the middle of the "
                                                 "list is excluded");
    id = tap_str("b");
    ok(!ngx_broadcast_record_excludes(&got, &id), "a part of an id is not");
    id = tap_str("cc");
    ok(ngx_broadcast_record_excludes(&got, &id), "the last id is excluded");

    is_int(ngx_broadcast_log_next(&pos, buf + len, &got), NGX_OK, "fourth");
    ok(got.type == NGX_BROADCAST_REC_CLOSE && got.arguments.len == 0,
       "an empty record is a record");
    is_int(ngx_broadcast_log_next(&pos, buf + len, &got), NGX_DONE,
           "the batch ends");

    ngx_broadcast_zone_info(zone, &info);
    ok(info.log_head == 4 && info.log_tail == 1, "records are numbered");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* every length of a record against every place in the ring: both ends wrap */

static void
alignments(void)
{
    size_t                   len, n, i;
    u_char                  *pos;
    uint64_t                 cursor;
    ngx_uint_t               hub, wrong;
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_record_t   rec, got;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);

    /* a small ring: the rest of it stays unused */

    zone->ring_size = 1024;
    zone->head = zone->tail = zone->applied = 1024;

    wrong = 0;

    for (n = 0; n < 20000; n++) {

        len = n * 7 % 400;

        cursor = ngx_broadcast_log_head(zone);

        if (append(zone, hub, len, (char) ('a' + n % 26), &rec) != NGX_OK) {
            wrong++;
        }

        if (ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &i) != NGX_OK) {
            wrong++;
            continue;
        }

        pos = buf;

        if (ngx_broadcast_log_next(&pos, buf + i, &got) != NGX_OK
            || got.arguments.len != len
            || got.position.seq != n + 1
            || cursor != zone->head)
        {
            wrong++;
            continue;
        }

        for (i = 0; i < len; i++) {
            wrong += (got.arguments.data[i] != (u_char) ('a' + n % 26));
        }

        if (n % 97 == 0) {
            wrong += !zone_right(zone);
        }
    }

    is_int(wrong, 0, "20000 records of all lengths wrap at all places");
    ok(zone_right(zone), "and the zone is right at the end");

    zone_free(zone);
}


static void
refusals(void)
{
    size_t                   len;
    uint64_t                 head;
    ngx_uint_t               hub;
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_record_t   rec[2];

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);

    len = zone->ring_size / 2 - sizeof(ngx_broadcast_header_t);

    is_int(append(zone, hub, len, 'x', NULL), NGX_OK,
           "a message of half the ring fits");
    is_int(append(zone, hub, len + 1, 'x', NULL), NGX_BUSY,
           "a larger one is refused");
    is_int(append(zone, hub, len, 'x', NULL), NGX_OK, "older ones make room");
    is_int(append(zone, hub, len, 'x', NULL), NGX_OK, "and again");

    head = ngx_broadcast_log_head(zone);

    rec[0] = zone_record(hub, "[1]", 3);
    rec[1] = zone_record(hub, text, len);

    is_int(ngx_broadcast_log_append(zone, rec, 2), NGX_BUSY,
           "a batch that cannot fit is refused");
    ok(head == ngx_broadcast_log_head(zone), "all of it");

    rec[0].hub = 99;
    is_int(ngx_broadcast_log_append(zone, rec, 1), NGX_BUSY,
           "a hub that is not there is refused");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
evicted(void)
{
    uint64_t                   cursor, first;
    size_t                     len;
    u_char                    *pos;
    ngx_uint_t                 busy, quiet, n;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_record_t     rec, got;
    ngx_broadcast_position_t   p, oldest;

    zone = zone_make(SIZE);
    busy = zone_hub(zone, "busy", 0);
    quiet = zone_hub(zone, "quiet", 0);

    ngx_broadcast_log_oldest(zone, quiet, &oldest);
    is_int(oldest.epoch, 0, "an empty hub has no oldest position");

    first = ngx_broadcast_log_head(zone);

    append(zone, quiet, 10, 'q', NULL);

    for (n = 0; n < 100; n++) {
        append(zone, busy, 1000, 'b', NULL);
    }

    append(zone, quiet, 10, 'r', &rec);

    ngx_broadcast_log_oldest(zone, quiet, &oldest);
    ok(oldest.epoch == zone->epoch && oldest.seq == 1,
       "the oldest position is the first");

    p = rec.position;
    p.seq = 1;

    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_OK,
           "a position in the log is found");
    ok(cursor == rec.log, "and the record behind it, past another hub's");

    p.seq = 0;
    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_OK,
           "from the beginning is found while the log has it all");
    ok(cursor == first, "and it is the first record");

    p.seq = 2;
    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_OK,
           "the newest position is found");
    ok(cursor == ngx_broadcast_log_head(zone), "and nothing is behind it");

    p.seq = 3;
    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_DECLINED,
           "a position from the future is declined");

    p.seq = 1;
    p.epoch++;
    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_DECLINED,
           "another epoch is declined");
    p.epoch--;

    for (n = 0; n < 160; n++) {
        append(zone, busy, 1000, 'b', NULL);
    }

    ngx_broadcast_log_oldest(zone, quiet, &oldest);
    is_int(oldest.seq, 2, "the oldest moves when messages make room");

    p.seq = 0;
    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_DECLINED,
           "what was before it is declined");
    p.seq = 1;
    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_OK,
           "what is behind it is found");

    cursor = first;
    is_int(ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &len),
           NGX_DECLINED, "a reader whose place was overrun is told");
    ok(cursor == zone->tail, "and set to the oldest record");

    is_int(ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &len), NGX_OK,
           "from which it reads on");
    pos = buf;
    is_int(ngx_broadcast_log_next(&pos, buf + len, &got), NGX_OK,
           "a whole record");
    is_int(got.hub, busy, "of the hub that was to be expected");

    for (n = 0; n < 300; n++) {
        append(zone, busy, 1000, 'b', NULL);
    }

    ngx_broadcast_log_oldest(zone, quiet, &oldest);
    is_int(oldest.epoch, 0, "a hub all of whose messages made room has no "
                            "oldest");

    ngx_broadcast_hub_position(zone, quiet, &p);
    is_int(p.seq, 2, "but keeps its position");
    is_int(ngx_broadcast_log_seek(zone, quiet, &p, &cursor), NGX_OK,
           "from which a replay of nothing is right");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* what the relay says about a durable hub */

static void
positions(void)
{
    uint64_t                   cursor;
    ngx_uint_t                 hub;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_record_t     rec[2];
    ngx_broadcast_position_t   p, oldest;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "orders", 1);

    ngx_broadcast_hub_position(zone, hub, &p);
    ok(p.epoch == 0 && p.seq == 0, "a durable hub begins without an epoch");

    p.epoch = 7;
    p.seq = 100;
    ngx_broadcast_hub_set_position(zone, hub, &p);

    rec[0] = zone_record(hub, "[1]", 3);
    rec[0].flags = NGX_BROADCAST_REC_NUMBERED;
    rec[0].position.epoch = 7;
    rec[0].position.seq = 101;
    rec[1] = rec[0];
    rec[1].position.seq = 102;

    is_int(ngx_broadcast_log_append(zone, rec, 2), NGX_OK,
           "records bring their numbers");

    ngx_broadcast_hub_position(zone, hub, &p);
    ok(p.epoch == 7 && p.seq == 102, "the hub's position is theirs");

    ngx_broadcast_log_oldest(zone, hub, &oldest);
    is_int(oldest.seq, 101, "the oldest is the first that came");

    p.seq = 99;
    is_int(ngx_broadcast_log_seek(zone, hub, &p, &cursor), NGX_DECLINED,
           "what the database had before is not in the log");
    p.seq = 100;
    is_int(ngx_broadcast_log_seek(zone, hub, &p, &cursor), NGX_OK,
           "what came since is");

    p.seq = 50;
    ngx_broadcast_hub_set_position(zone, hub, &p);
    ngx_broadcast_hub_position(zone, hub, &p);
    is_int(p.seq, 102, "a position of the same epoch does not go back");

    rec[0].position.seq = 110;
    ngx_broadcast_log_append(zone, rec, 1);
    ngx_broadcast_log_oldest(zone, hub, &oldest);
    is_int(oldest.seq, 110, "behind a jump the log has nothing older");

    rec[0].position.seq = 105;
    ngx_broadcast_log_append(zone, rec, 1);
    ngx_broadcast_hub_position(zone, hub, &p);
    is_int(p.seq, 110, "a repeated number does not move the position");

    rec[0].type = NGX_BROADCAST_REC_EPOCH;
    rec[0].position.epoch = 8;
    rec[0].position.seq = 3;
    rec[1].position.epoch = 8;
    rec[1].position.seq = 4;
    ngx_broadcast_log_append(zone, rec, 2);

    ngx_broadcast_hub_position(zone, hub, &p);
    ok(p.epoch == 8 && p.seq == 4, "a new epoch takes the old one's place");
    ngx_broadcast_log_oldest(zone, hub, &oldest);
    is_int(oldest.seq, 4, "and the record that tells of it is no message");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
relay(void)
{
    ngx_uint_t               hub, i;
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_record_t   rec[5];

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "orders", 1);

    for (i = 0; i < 5; i++) {
        rec[i] = zone_record(hub, "[1]", 3);
        rec[i].flags = NGX_BROADCAST_REC_NUMBERED;
        rec[i].position.epoch = 7;
        rec[i].position.seq = i + 1;
        rec[i].relay = 10 + i;
    }

    is_int(ngx_broadcast_log_append(zone, rec, 3), NGX_OK,
           "the relay appends three");
    is_int(ngx_broadcast_log_relay(zone), 12, "its cursor moves along");

    is_int(ngx_broadcast_log_append(zone, rec, 5), NGX_OK,
           "a relay that took over appends them again, and two more");
    ok(rec[0].log == 0 && rec[2].log == 0 && rec[3].log && rec[4].log,
       "only the two are appended");
    is_int(zone->number, 5, "five records in all");
    is_int(ngx_broadcast_log_relay(zone), 14, "the cursor is the last's");

    is_int(ngx_broadcast_log_append(zone, rec, 5), NGX_OK,
           "once more, nothing new");
    is_int(zone->number, 5, "still five records");

    ngx_broadcast_log_set_relay(zone, 3);
    is_int(ngx_broadcast_log_relay(zone), 3, "it may be set to start anew");

    rec[0] = zone_record(hub, "[1]", 3);
    rec[0].flags = NGX_BROADCAST_REC_UNNUMBERED;
    ngx_broadcast_log_append(zone, rec, 1);
    is_int(zone->number, 6, "a record not from the relay is not skipped");

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static void
cursors(void)
{
    size_t                 len;
    uint64_t               cursor;
    ngx_uint_t             hub;
    ngx_broadcast_zone_t  *zone;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);
    append(zone, hub, 100, 'x', NULL);

    cursor = 0;
    is_int(ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &len),
           NGX_DECLINED, "a cursor before the log is told");

    cursor = ngx_broadcast_log_head(zone) + 8000;
    is_int(ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &len),
           NGX_DECLINED, "a cursor beyond the log is told");
    ok(cursor == zone->tail, "and set to the oldest record");

    zone_free(zone);
}


/*
 * Two processes append records whose payload is made from a seed, two read.
 * A reader checks every byte, and that it has each writer's records in order
 * and without a hole unless it was told of an overrun.  In the polite round
 * the writers wait for the readers, so nothing may be missed at all.
 */

#define APPENDS  10000

typedef struct {
    uint64_t  cursor[2];
    uint64_t  overruns;
    uint64_t  wrong;
    uint64_t  seen;
} told_t;


static void
writer(ngx_broadcast_zone_t *zone, ngx_uint_t hub, ngx_uint_t self,
    told_t *told, ngx_uint_t polite)
{
    uint32_t                 x;
    uint64_t                 least, other;
    size_t                   len, i;
    ngx_uint_t               n;
    ngx_broadcast_record_t   rec;

    for (n = 1; n <= APPENDS; n++) {

        x = (uint32_t) (self * 1000003 + n) * 2654435761u;
        len = 8 + x % 300;

        for (i = 0; i < len; i++) {
            x = x * 1664525 + 1013904223;
            text[i] = (char) (x >> 24);
        }

        for ( ;; ) {
            least = __atomic_load_n(&told->cursor[0], __ATOMIC_SEQ_CST);
            other = __atomic_load_n(&told->cursor[1], __ATOMIC_SEQ_CST);
            least = ngx_min(least, other);

            if (!polite
                || ngx_broadcast_log_head(zone) - least < zone->ring_size / 2)
            {
                break;
            }

            sched_yield();
        }

        rec = zone_record(hub, text, len);
        rec.mark = n;
        rec.time = self;

        if (ngx_broadcast_log_append(zone, &rec, 1) != NGX_OK) {
            _exit(2);
        }
    }

    _exit(0);
}


static uint64_t
payload_wrong(ngx_broadcast_record_t *rec)
{
    size_t    i;
    uint32_t  x;
    uint64_t  wrong;

    x = (uint32_t) (rec->time * 1000003 + rec->mark) * 2654435761u;

    if (rec->arguments.len != 8 + x % 300) {
        return 1;
    }

    wrong = 0;

    for (i = 0; i < rec->arguments.len; i++) {
        x = x * 1664525 + 1013904223;
        wrong += (rec->arguments.data[i] != (u_char) (x >> 24));
    }

    return wrong;
}


static void
reader(ngx_broadcast_zone_t *zone, told_t *told, ngx_uint_t self)
{
    size_t                   len;
    u_char                  *pos;
    uint64_t                 next[2], seen, wrong, overruns, last, cursor;
    ngx_int_t                rc;
    ngx_broadcast_record_t   rec;

    next[0] = next[1] = 1;
    seen = wrong = overruns = last = 0;
    cursor = told->cursor[self];

    while (last < 2 * APPENDS) {

        rc = ngx_broadcast_log_read(zone, &cursor, buf, 65536, &len);

        __atomic_store_n(&told->cursor[self], cursor, __ATOMIC_SEQ_CST);

        if (rc == NGX_AGAIN) {
            sched_yield();
            continue;
        }

        if (rc == NGX_DECLINED) {
            overruns++;
            next[0] = next[1] = 0;
            continue;
        }

        for (pos = buf;
             ngx_broadcast_log_next(&pos, buf + len, &rec) == NGX_OK;
             /* void */ )
        {
            wrong += (next[rec.time] && rec.mark != next[rec.time]);
            wrong += (rec.position.seq <= last);
            wrong += payload_wrong(&rec);

            next[rec.time] = rec.mark + 1;
            last = rec.position.seq;
            seen++;
        }
    }

    __atomic_fetch_add(&told->seen, seen, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&told->wrong, wrong, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&told->overruns, overruns, __ATOMIC_SEQ_CST);

    _exit(0);
}


static void
processes(ngx_uint_t polite)
{
    int                    status, bad;
    pid_t                  pid[4];
    told_t                *told;
    ngx_uint_t             hub, i;
    ngx_broadcast_zone_t  *zone;

    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);

    told = mmap(NULL, sizeof(told_t), PROT_READ|PROT_WRITE,
                MAP_ANON|MAP_SHARED, -1, 0);

    told->cursor[0] = told->cursor[1] = ngx_broadcast_log_head(zone);

    for (i = 0; i < 4; i++) {
        pid[i] = fork();

        if (pid[i] == 0) {
            alarm(60);

            if (i < 2) {
                reader(zone, told, i);
            }

            writer(zone, hub, i - 2, told, polite);
        }
    }

    bad = 0;

    for (i = 0; i < 4; i++) {
        waitpid(pid[i], &status, 0);
        bad += (status != 0);
    }

    is_int(bad, 0, "two writers and two readers come to the end");
    is_int((long long) told->wrong, 0,
           "no reader saw a wrong byte, a hole or another order");

    if (polite) {
        ok(told->seen == 4 * APPENDS && told->overruns == 0,
           "readers that are waited for miss nothing");

    } else {
        printf("# two readers: %lu of %d records, %lu overruns\n",
               (unsigned long) told->seen, 4 * APPENDS,
               (unsigned long) told->overruns);
    }

    is_int((long long) zone->number, 2 * APPENDS,
           "all records have their number");
    ok(zone_right(zone), "the zone is right");

    munmap(told, sizeof(told_t));
    zone_free(zone);
}
