
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/bus/ngx_broadcast_bus.c src/bus/ngx_broadcast_heir.c
 *        src/bus/ngx_broadcast_wake.c
 *        src/bus/ngx_broadcast_publish.c src/bus/ngx_broadcast_reader.c
 *        src/shm/ngx_broadcast_zone.c src/shm/ngx_broadcast_hash.c
 *        src/shm/ngx_broadcast_table.c
 *        src/shm/ngx_broadcast_cells.c src/shm/ngx_broadcast_hub.c
 *        src/shm/ngx_broadcast_record.c src/shm/ngx_broadcast_log.c
 *        src/shm/ngx_broadcast_log_read.c src/shm/ngx_broadcast_registry.c
 *        src/shm/ngx_broadcast_claim.c src/shm/ngx_broadcast_slot_wake.c
 *        src/shm/ngx_broadcast_rows.c src/shm/ngx_broadcast_member.c
 *        src/shm/ngx_broadcast_slot.c
 *        src/shm/ngx_broadcast_progress.c src/shm/ngx_broadcast_stats.c
 *        src/shm/ngx_broadcast_rule.c src/shm/ngx_broadcast_rules.c
 *        src/shm/ngx_broadcast_rebuild.c src/shm/ngx_broadcast_check.c
 *        src/shm/ngx_broadcast_check_names.c
 *        nginx:core/ngx_slab.c nginx:core/ngx_shmtx.c nginx:core/ngx_rbtree.c
 *        nginx:event/ngx_event_timer.c nginx:event/ngx_event_posted.c
 */


#include "shm/zone.h"

#include "bus/ngx_broadcast_bus.h"

#include <sys/epoll.h>


#define SIZE  (1024 * 1024)


/* --- as much of an event loop as the bus sees ---------------------------- */

ngx_uint_t                 ngx_event_flags;
ngx_event_actions_t        ngx_event_actions;
ngx_uint_t                 ngx_test_config;
__typeof__(ngx_exiting)    ngx_exiting;    /* another type in newer nginx */

static int                 loop_epoll = -1;
static int                 loop_fd = -1;        /* the one that is in it */
static ngx_uint_t          loop_connections;
static ngx_cycle_t         loop_cycle;

static ngx_connection_t    loop_connection;
static ngx_event_t         loop_read, loop_write;


ngx_connection_t *
ngx_get_connection(ngx_socket_t fd, ngx_log_t *log)
{
    ngx_memzero(&loop_connection, sizeof(loop_connection));
    ngx_memzero(&loop_read, sizeof(loop_read));
    ngx_memzero(&loop_write, sizeof(loop_write));

    loop_connection.fd = fd;
    loop_connection.log = log;
    loop_connection.read = &loop_read;
    loop_connection.write = &loop_write;
    loop_read.data = &loop_connection;
    loop_write.data = &loop_connection;
    loop_connections++;

    return &loop_connection;
}


void
ngx_free_connection(ngx_connection_t *c)
{
    loop_connections--;
}


static ngx_int_t
loop_add(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    struct epoll_event  ee;

    ngx_memzero(&ee, sizeof(ee));
    ee.events = EPOLLIN | ((ngx_event_flags & NGX_USE_CLEAR_EVENT) ? EPOLLET
                                                                   : 0);
    ee.data.ptr = ev;

    loop_fd = ((ngx_connection_t *) ev->data)->fd;
    ev->active = 1;

    return epoll_ctl(loop_epoll, EPOLL_CTL_ADD, loop_fd, &ee) ? NGX_ERROR
                                                              : NGX_OK;
}


static ngx_int_t
loop_del(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    struct epoll_event  ee;

    ev->active = 0;

    return epoll_ctl(loop_epoll, EPOLL_CTL_DEL,
                     ((ngx_connection_t *) ev->data)->fd, &ee);
}


/* one turn; waits at most so many milliseconds; 1 if the bus was rung */

static ngx_uint_t
turn(int ms)
{
    int                 n;
    ngx_event_t        *ev;
    struct epoll_event  ee;

    if (!ngx_queue_empty(&ngx_posted_next_events)) {
        ngx_event_move_posted_next(&loop_cycle);
        ms = 0;
    }

    n = epoll_wait(loop_epoll, &ee, 1, ms);

    if (n == 1) {
        ev = ee.data.ptr;
        ev->handler(ev);
    }

    ngx_event_expire_timers();
    ngx_event_process_posted(&loop_cycle, &ngx_posted_events);

    return n == 1;
}


static void
loop_start(ngx_uint_t flags)
{
    if (loop_epoll != -1) {
        close(loop_epoll);
    }

    loop_epoll = epoll_create1(EPOLL_CLOEXEC);

    ngx_event_flags = flags;
    ngx_event_actions.add = loop_add;
    ngx_event_actions.del = loop_del;

    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);
    ngx_event_timer_init(&ngx_stub_log);

    loop_cycle.log = &ngx_stub_log;
}


/* --- what stands above the bus ------------------------------------------- */

static ngx_broadcast_zone_t      *zone;
static ngx_uint_t                 chat, news;

static ngx_uint_t                 seen, seen_bytes, in_publish, wrong;
static ngx_uint_t                 stop_after, overruns, nudges;
static uint64_t                   last_seq;
static ngx_broadcast_record_t    *answer;


static ngx_int_t
hook(ngx_broadcast_record_t *rec)
{
    wrong += in_publish;

    if (rec->hub == chat) {
        wrong += (last_seq && rec->position.seq != last_seq + 1);
        last_seq = rec->position.seq;
    }

    seen++;
    seen_bytes += rec->arguments.len;

    if (answer) {
        ngx_broadcast_record_t  *rec = answer;

        answer = NULL;
        in_publish = 1;
        (void) ngx_broadcast_publish(rec, 1);
        in_publish = 0;
    }

    return (stop_after && seen % stop_after == 0) ? NGX_AGAIN : NGX_OK;
}


static void
overrun(void)
{
    overruns++;
    last_seq = 0;
}


static void
nudged(void)
{
    nudges++;
}


/* a worker that has clients of both hubs */

static void
start(void)
{
    ngx_broadcast_bus_start(&loop_cycle, zone, hook, overrun);
    ngx_broadcast_bus_watch(chat, 1);
    ngx_broadcast_bus_watch(news, 1);
    turn(0);
}


static void
begin(ngx_uint_t flags)
{
    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 0);

    seen = seen_bytes = wrong = stop_after = overruns = nudges = 0;
    last_seq = 0;

    loop_start(flags);
    start();
    nudges = 0;
}


static void
end(void)
{
    ngx_broadcast_bus_stop(&loop_cycle);
    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static ngx_int_t
publish(ngx_uint_t hub, const char *text, size_t len)
{
    ngx_int_t               rc;
    ngx_broadcast_record_t  rec;

    rec = zone_record(hub, text, len);

    in_publish = 1;
    rc = ngx_broadcast_publish(&rec, 1);
    in_publish = 0;

    wrong += (rc == NGX_OK && rec.time == 0);

    return rc;
}


/* another worker of the same zone, for as long as act() takes */

static void
another(void (*act)(void))
{
    int    status;
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        alarm(30);

        loop_start(NGX_USE_CLEAR_EVENT);
        ngx_broadcast_bus_start(&loop_cycle, zone, hook, overrun);
        act();
        ngx_broadcast_bus_stop(&loop_cycle);

        _exit(wrong != 0);
    }

    waitpid(pid, &status, 0);
    is_int(status, 0, "the other worker ends well");
}


/* --- tests --------------------------------------------------------------- */

static void
own(void)
{
    ngx_broadcast_record_t  rec;

    begin(NGX_USE_CLEAR_EVENT);

    is_int(publish(chat, "[1]", 3), NGX_OK, "published");
    is_int(seen, 0, "a worker's own record is not read inside publish");
    turn(0);
    is_int(seen, 1, "but in the same turn of the loop");

    rec = zone_record(chat, "[2]", 3);
    answer = &rec;
    publish(chat, "[1]", 3);
    turn(0);
    turn(0);
    is_int(seen, 3, "what the hook publishes is read after it");
    is_int(wrong, 0, "and not inside of it");

    is_int(publish(chat, "", (size_t) zone->ring_size), NGX_BUSY,
           "a record that cannot fit is refused");
    is_int(ngx_broadcast_stats_sum(zone, NGX_BROADCAST_REFUSED_FULL), 1,
           "and counted");
    turn(0);
    is_int(seen, 3, "and read by nobody");

    end();
}


static ngx_uint_t   others;

static void
other_event(ngx_event_t *ev)
{
    others++;
}


static void
yields(void)
{
    ngx_uint_t   i, turns;
    ngx_event_t  ev;

    begin(NGX_USE_CLEAR_EVENT);
    stop_after = 10;

    ngx_memzero(&ev, sizeof(ev));
    ev.handler = other_event;
    ev.log = &ngx_stub_log;

    for (i = 0; i < 100; i++) {
        publish(chat, "[1]", 3);
    }

    for (turns = 0; seen < 100 && turns < 50; turns++) {
        ngx_post_event(&ev, &ngx_posted_events);
        turn(0);
    }

    is_int(seen, 100, "a hook that has enough gets all records in the end");
    is_int(turns, 10, "as many in a turn as it wants");
    ok(others >= 10, "and other events run in between");
    is_int(wrong, 0, "in order, none twice");

    end();
}


static void
burst(void)
{
    ngx_uint_t  i;

    for (i = 0; i < 500; i++) {
        publish(chat, "[1]", 3);
    }
}


static void
rings(ngx_uint_t flags)
{
    begin(flags);

    another(burst);

    is_int(ngx_broadcast_stats_sum(zone, NGX_BROADCAST_WAKES), 1,
           "a burst of 500 records rings a worker once");

    ok(turn(5000), "which is woken");

    while (seen < 500 && (turn(0) || !ngx_queue_empty(&ngx_posted_next_events)))
    {
        /* void */
    }

    is_int(seen, 500, "and reads them all");

    ok(!turn(0), "then it is not woken again");

    another(burst);
    ok(turn(5000), "the next burst wakes it anew");

    while (seen < 1000 && !ngx_queue_empty(&ngx_posted_next_events)) {
        turn(0);
    }

    is_int(seen, 1000, "and it reads that, too");
    is_int(wrong, 0, "in order");

    end();
}


static void
nudge_it(void)
{
    ngx_broadcast_wake(0);
}


static void
woken(void)
{
    begin(NGX_USE_CLEAR_EVENT);
    ngx_broadcast_bus_nudged(nudged);

    another(nudge_it);

    ok(turn(5000), "a nudge wakes a worker without a record");
    is_int(nudges, 1, "and its hook is called");

    ngx_broadcast_wake(ngx_broadcast_bus.slot);
    is_int(nudges, 1, "a nudge of oneself not inside the call");
    turn(0);
    is_int(nudges, 2, "but in the same turn");

    ngx_broadcast_bus_nudged(NULL);
    end();
}


static void
publish_one(void)
{
    publish(chat, "[1]", 3);
}


/*
 * What the hook publishes needs no ring, but must not leave the worker marked
 * as woken either: the next publisher would not ring for it.
 */

static void
answered(void)
{
    ngx_broadcast_record_t  rec;

    begin(NGX_USE_CLEAR_EVENT);

    /* the descriptor may still be rung for its last owner */

    turn(0);

    rec = zone_record(chat, "[2]", 3);
    answer = &rec;
    publish(chat, "[1]", 3);

    while (turn(0) || !ngx_queue_empty(&ngx_posted_next_events)) {
        /* void */
    }

    is_int(seen, 2, "a record and the hook's answer to it are read");

    last_seq = 0;
    another(publish_one);

    ok(turn(5000), "the next publisher rings for this worker");
    is_int(seen, 3, "which reads at once");

    end();
}


static void
large(void)
{
    char  *text;

    begin(NGX_USE_CLEAR_EVENT);

    text = malloc(120000);
    memset(text, 'l', 120000);

    publish(chat, "[1]", 3);
    publish(chat, text, 120000);
    publish(chat, "[1]", 3);
    turn(0);
    turn(0);

    is_int(seen, 3, "a record larger than the buffer is read");
    is_int(seen_bytes, 120006, "as a whole");
    is_int(wrong, 0, "in its place");

    free(text);
    end();
}


static void
overrun_it(void)
{
    ngx_uint_t   i;
    static char  text[4000];

    for (i = 0; i < 200; i++) {
        publish(chat, text, sizeof(text));
    }
}


static void
left_behind(void)
{
    begin(NGX_USE_CLEAR_EVENT);

    another(overrun_it);
    ngx_stub_line[0] = '\0';

    turn(5000);

    while (!ngx_queue_empty(&ngx_posted_next_events)) {
        turn(0);
    }

    is_int(overruns, 1, "a worker that fell off the log is told once");
    is_int(ngx_broadcast_stats_sum(zone, NGX_BROADCAST_OVERRUNS), 1,
           "it is counted");
    ok(strstr(ngx_stub_line, "overwritten") != NULL, "and logged");
    ok(seen > 50 && seen < 70, "it goes on with what the log still has");

    publish(chat, "[1]", 3);
    turn(0);
    is_int(wrong, 0, "in order");
    is_int(ngx_stub_alerts, 0, "without an alert");

    end();
}


/* a wake-up that was lost: the record is there, nobody rang */

static void
tick(void)
{
    ngx_broadcast_record_t  rec;

    begin(NGX_USE_CLEAR_EVENT);

    /* the descriptor may still be rung for its last owner: to no harm */

    turn(0);

    rec = zone_record(chat, "[1]", 3);
    ngx_broadcast_log_append(zone, &rec, 1);

    turn(0);
    is_int(seen, 0, "a record nobody rang for is not seen");

    ngx_current_msec += 1000;
    turn(0);
    is_int(seen, 1, "until the next tick of the timer");

    ngx_current_msec += 1000;
    turn(0);
    ngx_current_msec += 1000;
    rec = zone_record(chat, "[1]", 3);
    ngx_broadcast_log_append(zone, &rec, 1);
    turn(0);
    is_int(seen, 2, "it ticks on");

    ok(ngx_event_no_timers_left() == NGX_OK,
       "and does not keep a worker from exiting");

    end();
}


/* a backlog that is not rung for, up to what one ring would have to be for */

static ngx_uint_t  fill_ring;

static void
fill(void)
{
    ngx_uint_t               n, size;
    ngx_broadcast_record_t   rec;
    static char              text[1000];

    rec = zone_record(chat, text, sizeof(text));
    size = ngx_broadcast_record_size(&rec);

    for (n = size; n <= zone->ring_size / 16; n += size) {
        publish(chat, text, sizeof(text));
    }

    if (fill_ring) {
        publish(chat, text, sizeof(text));
    }
}


static void
some(void)
{
    ngx_uint_t  i;

    for (i = 0; i < 50; i++) {
        publish(chat, "[1]", 3);
    }
}


static void
publish_marked(void)
{
    ngx_broadcast_record_t  rec;

    rec = zone_record(chat, "[1]", 3);
    rec.mark = 17;

    (void) ngx_broadcast_publish(&rec, 1);
}


static void
publish_command(void)
{
    ngx_broadcast_record_t  rec;

    rec = zone_record(news, "", 0);
    rec.type = NGX_BROADCAST_REC_CLOSE;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;

    (void) ngx_broadcast_publish(&rec, 1);
}


static void
publish_both(void)
{
    ngx_broadcast_record_t  recs[2];

    recs[0] = zone_record(chat, "[1]", 3);
    recs[1] = zone_record(news, "[1]", 3);

    (void) ngx_broadcast_publish(recs, 2);
}


static void
unwatched(void)
{
    ngx_uint_t  n;

    begin(NGX_USE_CLEAR_EVENT);
    while (turn(0)) { /* void */ }

    ngx_broadcast_bus_watch(chat, 0);

    another(some);
    ok(!turn(20), "no message of a hub without clients here wakes a worker");
    is_int(ngx_broadcast_stats_sum(zone, NGX_BROADCAST_WAKES), 0,
           "nor does it cost its publisher a ring");
    is_int(seen, 0, "and it was not read");

    publish(chat, "[1]", 3);
    turn(0);
    is_int(seen, 0, "the same of what this worker publishes");

    another(publish_command);
    ok(turn(5000), "a command wakes it");
    while (!ngx_queue_empty(&ngx_posted_next_events)) { turn(0); }
    is_int(seen, 52, "and all is read, in order");

    last_seq = 0;
    another(publish_marked);
    ok(turn(5000), "so does a message whose publisher waits for its number");

    n = seen;
    last_seq = 0;
    another(publish_both);
    ok(turn(5000), "and one beside a message of a hub that has clients");
    is_int(seen, n + 2, "which are read");

    n = seen;
    last_seq = 0;
    fill_ring = 0;
    another(fill);
    ok(!turn(20), "a sixteenth of the log waits");

    fill_ring = 1;
    another(fill);
    ok(turn(5000), "what is more wakes it");
    while (!ngx_queue_empty(&ngx_posted_next_events)) { turn(0); }
    ok(seen > n && overruns == 0, "before it would be overrun");

    n = seen;
    last_seq = 0;
    another(publish_one);
    ngx_broadcast_bus_watch(chat, 1);
    is_int(seen, n, "with its first client a worker does not read at once");
    turn(0);
    is_int(seen, n + 1, "but in the same turn, what nobody rang for");

    last_seq = 0;
    another(publish_one);
    ok(turn(5000), "from then on it is rung for");

    /* another worker gets the place */

    ngx_broadcast_bus_stop(&loop_cycle);
    ngx_broadcast_bus_start(&loop_cycle, zone, hook, overrun);
    while (turn(0)) { /* void */ }

    n = seen;
    another(publish_one);
    ok(!turn(20) && seen == n, "whoever takes its place begins with none");

    is_int(wrong, 0, "nothing was out of order");

    end();
}


static void
no_slot(void)
{
    ngx_uint_t             i, slot;
    ngx_broadcast_owner_t  owner;

    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 0);
    seen = wrong = 0;
    last_seq = 0;

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        (void) ngx_broadcast_slot_claim(zone, &slot, &owner);
    }

    loop_start(NGX_USE_CLEAR_EVENT);
    ngx_stub_line[0] = '\0';
    ngx_broadcast_bus_start(&loop_cycle, zone, hook, overrun);

    is_int(ngx_broadcast_bus.slot, NGX_BROADCAST_NO_SLOT,
           "a worker may be without a slot");
    ok(strstr(ngx_stub_line, "once a second") != NULL, "which is said");

    publish(chat, "[1]", 3);
    turn(0);
    is_int(seen, 1, "it reads its own records");

    publish_command();
    ngx_current_msec += 1000;
    turn(0);
    is_int(ngx_broadcast_stats_sum(zone, NGX_BROADCAST_WAKES), 127 + 1,
           "and rings for the others");

    ngx_broadcast_slot_release(zone, 5);
    ngx_current_msec += 1000;
    turn(0);
    is_int(ngx_broadcast_bus.slot, 5, "it takes one that becomes free");

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        if (i != 5) {
            ngx_broadcast_slot_release(zone, i);
        }
    }

    another(publish_one);
    ok(turn(5000), "and is rung for all from then on");
    is_int(seen, 3, "as it may have had clients before");

    end();
}


static void
again(void)
{
    int                     first;
    ngx_uint_t              i;
    ngx_broadcast_owner_t   owner;

    begin(NGX_USE_CLEAR_EVENT);
    first = loop_fd;
    owner = ngx_broadcast_bus.owner;

    ok(loop_read.channel && loop_connections == 1,
       "the descriptor is in the loop as a channel");

    ngx_broadcast_bus_stop(&loop_cycle);

    is_int(loop_connections, 0, "stopped, the connection is given back");
    ok(fcntl(first, F_GETFD) & FD_CLOEXEC, "its descriptor is not closed");
    ok(!ngx_broadcast_slot_alive(zone, owner), "the slot is free");
    ok(ngx_event_no_timers_left() == NGX_OK
       && ngx_event_timer_rbtree.root == ngx_event_timer_rbtree.sentinel,
       "no timer is left");
    is_int(publish(chat, "[1]", 3), NGX_BUSY, "nothing can be published");

    ngx_broadcast_wake_open(&loop_cycle);
    ngx_broadcast_bus_start(&loop_cycle, zone, hook, overrun);
    is_int(loop_fd, first, "started again, it is the same descriptor");

    publish(chat, "[1]", 3);
    turn(0);
    is_int(seen, 1, "and reads");

    for (i = 0; i < 3; i++) {
        ngx_broadcast_bus_stop(&loop_cycle);
    }

    zone_free(zone);

    ngx_broadcast_bus_start(&loop_cycle, NULL, hook, overrun);
    is_int(publish(chat, "[1]", 3), NGX_BUSY,
           "without a zone nothing can be published");
    ngx_broadcast_count(NGX_BROADCAST_WAKES, 1);
    ngx_broadcast_bus_stop(&loop_cycle);
}


/* --- replay -------------------------------------------------------------- */

static ngx_int_t
replayed(ngx_broadcast_record_t *rec, void *data)
{
    uint64_t  *next = data;

    wrong += (rec->position.seq != *next || rec->hub != chat);
    (*next)++;

    return NGX_OK;
}


static void
replay(void)
{
    ngx_int_t                  rc;
    uint64_t                   next, upto;
    ngx_uint_t                 i, calls;
    ngx_broadcast_position_t   after;
    static char                text[700];

    begin(NGX_USE_CLEAR_EVENT);

    for (i = 0; i < 90; i++) {
        publish(chat, text, sizeof(text));
        publish(news, text, sizeof(text));
    }

    ngx_broadcast_hub_position(zone, chat, &after);
    upto = after.seq;
    after.seq = 20;
    next = 21;
    calls = 0;

    do {
        rc = ngx_broadcast_replay(chat, &after, upto, 8, replayed, &next);
        calls++;

        if (calls == 2) {
            publish(chat, text, sizeof(text));
        }
    } while (rc == NGX_AGAIN && calls < 100);

    is_int(rc, NGX_OK, "a replay comes to its end");
    is_int((long long) next, 91, "with every message of the hub, up to the "
                                 "last that was asked for");
    is_int(calls, 9, "in pieces");
    is_int(wrong, 0, "in order and of no other hub");

    rc = ngx_broadcast_replay(chat, &after, upto, 8, replayed, &next);
    is_int(rc, NGX_OK, "a replay of nothing is right");

    after.seq = 5;
    next = 6;
    rc = ngx_broadcast_replay(chat, &after, upto, 8, replayed, &next);
    is_int(rc, NGX_AGAIN, "another begins");

    for (i = 0; i < 600; i++) {
        publish(news, text, sizeof(text));
    }

    rc = ngx_broadcast_replay(chat, &after, upto, 8, replayed, &next);
    is_int(rc, NGX_DECLINED, "and is told when the log ran away from it");

    after.epoch++;
    is_int(ngx_broadcast_replay(chat, &after, upto, 8, replayed, &next),
           NGX_DECLINED, "another epoch is declined");

    while (seen < 200) {
        turn(0);
    }

    end();
}


int
main(void)
{
    ngx_broadcast_wake_open(&loop_cycle);

    own();
    yields();
    rings(NGX_USE_CLEAR_EVENT);
    rings(NGX_USE_LEVEL_EVENT);
    woken();
    answered();
    large();
    left_behind();
    tick();
    unwatched();
    no_slot();
    again();
    replay();

    return done();
}
