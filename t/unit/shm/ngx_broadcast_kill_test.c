
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
 *        src/shm/ngx_broadcast_lease.c src/shm/ngx_broadcast_binding.c
 *        src/shm/ngx_broadcast_rule.c src/shm/ngx_broadcast_rules.c
 *        src/shm/ngx_broadcast_rebuild.c src/shm/ngx_broadcast_check.c
 *        src/shm/ngx_broadcast_check_names.c
 *        nginx:core/ngx_slab.c nginx:core/ngx_shmtx.c
 *        -DNGX_BROADCAST_DEBUG=1
 */


#include "zone.h"

#include <glob.h>
#include <sys/prctl.h>


/*
 * A process is killed after every single store of every critical section.
 *
 * Each act below is done once to its end, which counts the stores it comes
 * by; then, from the same zone, once for each of them by a process that kills
 * itself there.  Another process must then find every invariant of the zone,
 * and the state before the act or the one after it, nothing else.
 *
 * All of it twice: by a child of this process that nobody reaps, and by one
 * whose parent has died before, as workers of a dead master.
 */

#define SIZE    (1024 * 1024)
#define NOW     1000                /* milliseconds, for leases */
#define LATER   4000000000U         /* seconds, for tombstones */

#define LONG    "a name that takes more than one cell of the arena, and " \
                "then some more, so that there is a third one as well, too"

/* how the act may be looked at */

#define STEPS   1                   /* of several steps: any of them */
#define ONCE    2                   /* doing it again does something more */
#define OWN     4                   /* it is about the process that does it */


/* memory kept aside would have to be copied at each fork() */

const char *
__asan_default_options(void)
{
    return "quarantine_size_mb=1";
}


typedef struct {
    const char  *name;
    void       (*prepare)(void);
    void       (*act)(void);
    int          flags;
} act_t;


typedef struct {
    uint64_t     hits;
    uint64_t     met[512];          /* by number of the store's name */
} shared_t;


static void die_at(const char *name);
static pid_t start(void (*act)(void), uint64_t at, int orphan);
static int wait_dead(pid_t pid);
static void reap(pid_t pid);


/*
 * Every named store.  The test fails if the source has another one, or has
 * one no more, or if no act comes by it.
 */

static const char  *stores[] = {
    "binding_bound", "binding_hub", "binding_name", "binding_role",
    "binding_len", "binding_over", "binding_current",
    "hub_name", "hub_len", "hub_durable", "hub_current", "hub_epoch",
    "hub_high", "hub_next", "hub_head", "hub_kind", "place_epoch", "place_seq",
    "place_floor", "place_last", "place_current", "lease_renewed",
    "lease_nobody", "lease_until", "lease_owner", "lease_dropped",
    "append_head", "evict_floor", "evict_tail", "append_header",
    "append_string", "pending_place", "pending_serial", "pending_move",
    "apply_place", "apply_move", "apply_current", "apply_relay",
    "apply_published", "apply_number", "apply_applied", "set_relay",
    "member_free", "member_spare", "member_high", "join_group", "join_row",
    "link_prev", "link_next", "link_back", "link_members", "link_chain",
    "link_head", "leave_row", "leave_next", "leave_members", "leave_prev",
    "leave_chain", "leave_free_next", "leave_free", "leave_spare", "name_refs",
    "name_hash", "name_live", "name_kind", "name_hub", "name_len", "name_text",
    "name_next", "name_more", "name_chain", "name_head", "cell_free",
    "cell_spare", "cell_high", "cell_next", "cell_refs", "count_live",
    "count_users", "count_groups", "drop_refs", "drop_chain", "drop_cell",
    "drop_next", "drop_free", "drop_spare", "grow_empty", "grow_out",
    "grow_next", "grow_head", "grow_used", "rebuild_rebuilds",
    "rebuild_heads", "rebuild_free", "rebuild_spare", "rebuild_hub_next",
    "rebuild_hub_head", "rebuild_hub_serial", "rebuild_hub_users",
    "rebuild_hub_groups", "rebuild_hub_connections", "rebuild_slot",
    "rebuild_map", "rebuild_cell", "rebuild_tombstones", "rebuild_unsettled",
    "rebuild_row_members", "rebuild_row_next", "rebuild_row_free",
    "rebuild_row_spare", "rebuild_id_next", "rebuild_id_head",
    "rebuild_row_key", "rebuild_connections", "rebuild_slot_connections",
    "rebuild_count_unsettled", "rebuild_row_user", "rebuild_count_tombstones",
    "rebuild_name_live", "rebuild_name_chain", "rebuild_name_head",
    "rebuild_name_more", "rebuild_name_refs", "rebuild_member_row",
    "rebuild_member_next", "rebuild_member_free", "rebuild_member_spare",
    "rebuild_cell_next", "rebuild_cell_free", "rebuild_cell_spare",
    "claim_user", "claim_key", "claim_owner", "claim_members", "claim_expires",
    "claim_connected", "claim_hub", "claim_transport", "claim_plain",
    "claim_owed", "claim_reason", "claim_tries", "claim_stateful",
    "claim_counted", "claim_id_len", "claim_id", "claim_state",
    "claim_next", "claim_head", "row_free", "row_spare", "row_high",
    "count_hub", "count_slot", "move_owner", "adopt_owner", "owe_owed",
    "stateful_set", "counted_set",
    "end_reason", "end_state", "end_key", "end_unsettled", "end_user",
    "end_tombstones", "why_key", "tried_tries",
    "settled_state", "settled_user", "settled_key", "settled_unsettled",
    "settled_tombstones",
    "free_state", "free_chain", "free_next", "free_list", "free_spare",
    "free_tombstones", "expire_wrap", "expire_next", "slot_generation",
    "slot_owner", "slot_pid", "slot_exiting", "slot_connections", "slot_pool",
    "slot_away", "slot_streams", "slot_watched_all", "slot_watched",
    "slot_read", "slot_done", "slot_told", "slot_woken", "slot_state",
    "release_state", "release_owner", "release_life", "life_dead",
    "life_consistent", "life_taken", "map_set",
    "map_clear", "probe_state", "probe_life", "reap_state", "reap_owner",
    "lock_dirty", "lock_consistent", "dirty_set", "dirty_before_clear",
    "dirty_clear", "rule_refused", "rule_group", "rule_order", "rule_updated",
    "rule_expires", "rule_lasting", "rule_user", "rule_next", "rule_head",
    "rule_free", "rule_spare", "rule_high", "rule_off", "rule_off_link",
    "rule_off_next", "rule_off_free", "rule_off_spare", "rule_loaded",
    "rule_expire_wrap", "rule_expire_next", "rebuild_rule_link",
    "rebuild_rule_head", "rebuild_rule_next", "rebuild_rule_free",
    "rebuild_rule_spare"
};

#define STORES  (sizeof(stores) / sizeof(stores[0]))


static ngx_broadcast_zone_t   *zone;
static u_char                 *snapshot;
static shared_t               *shared;
static uint64_t                kill_at;

static ngx_uint_t              chat, news;
static ngx_uint_t              slot;
static ngx_broadcast_owner_t   owner;       /* this process */
static ngx_broadcast_owner_t   other;       /* too, in a second slot */
static ngx_broadcast_owner_t   dead;        /* a process that died */
static ngx_broadcast_row_t     row[16];
static uint64_t                mark;        /* the log's head before the act */


static void
die_at(const char *name)
{
    size_t  i;

    if (kill_at) {
        if (++shared->hits == kill_at) {
            kill(getpid(), SIGKILL);
        }

        return;
    }

    shared->hits++;

    for (i = 0; i < STORES; i++) {
        if (strcmp(stores[i], name) == 0) {
            shared->met[i]++;
            return;
        }
    }
}


/* --- what the zone says, as text ----------------------------------------- */

static const char  *ids[] = { "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7" };
static const char  *names[] = { "n0", "n1", "n2", "n3", "n4", LONG };


static u_char *
dump_rules(u_char *p, u_char *last)
{
    size_t      i, k;
    time_t      expires;
    ngx_str_t   u, g;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        u = tap_str(names[i]);

        for (k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
            g = tap_str(names[k]);
            expires = 0;

            if (ngx_broadcast_rule_find(zone, chat, &u, &g, &expires)) {
                p = ngx_slprintf(p, last, "rule %uz %uz %T\n", i, k,
                                 expires);
            }
        }
    }

    /* refusals: what is applied once more may be counted once more */

    return ngx_slprintf(p, last, "rules %uD refused %d loaded %uL\n",
                        zone->rules.high - zone->rules.spare,
                        zone->rules_refused != 0,
                        zone->rules_loaded);
}


static u_char *
dump_log(u_char *p, u_char *last)
{
    size_t                   len;
    u_char                  *pos;
    uint64_t                 cursor;
    ngx_broadcast_record_t   rec;

    static u_char            buf[SIZE];

    cursor = mark;

    if (ngx_broadcast_log_read(zone, &cursor, buf, SIZE, &len) == NGX_OK) {
        for (pos = buf;
             ngx_broadcast_log_next(&pos, buf + len, &rec) == NGX_OK;
             /* void */ )
        {
            p = ngx_slprintf(p, last, "rec %ui %ui %uL-%uL %uL %uz %c\n",
                             rec.type, rec.hub, rec.position.epoch,
                             rec.position.seq, rec.relay, rec.arguments.len,
                             rec.arguments.len ? rec.arguments.data[0] : '-');
        }
    }

    return ngx_slprintf(p, last, "relay %uL number %uL\n",
                        ngx_broadcast_log_relay(zone), zone->number);
}


static void
dump(char *text, size_t size)
{
    u_char                     *p, *last;
    size_t                      i;
    ngx_str_t                   s, t;
    ngx_uint_t                  n;
    ngx_broadcast_hub_info_t    hub;
    ngx_broadcast_row_info_t    info;
    ngx_broadcast_slot_info_t   slots[NGX_BROADCAST_SLOTS];

    p = (u_char *) text;
    last = p + size - 1;

    for (n = 0; n < ngx_broadcast_hub_count(zone); n++) {
        ngx_broadcast_hub_info(zone, n, &hub);
        p = ngx_slprintf(p, last, "hub %*s %ui %uL-%uL c%ui u%ui g%ui\n",
                         hub.len, hub.name, hub.durable, hub.position.epoch,
                         hub.position.seq,
                         hub.connections[NGX_BROADCAST_SSE], hub.users,
                         hub.groups);
    }

    for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        s = tap_str(ids[i]);

        if (ngx_broadcast_registry_find(zone, &s, &info) == NGX_OK) {
            p = ngx_slprintf(p, last, "row %V %ui hub%ui %uL %*s %*s\n", &s,
                             info.state, info.hub,
                             info.state == NGX_BROADCAST_ROW_LIVE ? info.owner
                                                                  : 0,
                             info.user_len, info.user, info.why_len,
                             info.why);
        }
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        s = tap_str(names[i]);
        p = ngx_slprintf(p, last, "name %uz user %ui group %ui\n", i,
                         ngx_broadcast_registry_user(zone, chat, &s),
                         ngx_broadcast_registry_group(zone, chat, &s));

        t = tap_str("chat");
        p = ngx_slprintf(p, last, "bound %ui\n",
                         ngx_broadcast_binding_find(zone,
                                                    NGX_BROADCAST_ON_MESSAGE,
                                                    &t, &s, NULL));
    }

    for (i = 0; i < NGX_BROADCAST_LEASES; i++) {
        p = ngx_slprintf(p, last, "lease %uL\n",
                         zone->lease[i].until > NOW
                         && ngx_broadcast_slot_alive(zone,
                                                     zone->lease[i].owner)
                         ? zone->lease[i].owner : 0);
    }

    p = ngx_slprintf(p, last, "slots %ui ready %ui\n",
                     ngx_broadcast_slot_list(zone, slots,
                                             NGX_BROADCAST_SLOTS),
                     ngx_broadcast_binding_ready(zone));

    p = dump_rules(p, last);

    *dump_log(p, last) = '\0';
}


/* --- processes ----------------------------------------------------------- */

/* kills itself at the store of that number, or counts them with 0 */

static void
child(void (*act)(void), uint64_t at)
{
    alarm(30);

    kill_at = at;
    shared->hits = 0;
    ngx_broadcast_stop_hook = die_at;

    act();

    _exit(0);
}


static pid_t
start(void (*act)(void), uint64_t at, int orphan)
{
    int    fd[2];
    pid_t  pid, master;

    if (!orphan) {
        pid = fork();

        if (pid == 0) {
            child(act, at);
        }

        return pid;
    }

    if (pipe(fd) == -1) {
        exit(1);
    }

    master = fork();

    if (master == 0) {
        master = getpid();
        pid = fork();

        if (pid == 0) {
            while (getppid() == master) {
                sched_yield();
            }

            child(act, at);
        }

        _exit(write(fd[1], &pid, sizeof(pid)) != sizeof(pid));
    }

    waitpid(master, NULL, 0);

    if (read(fd[0], &pid, sizeof(pid)) != sizeof(pid)) {
        exit(1);
    }

    close(fd[0]);
    close(fd[1]);

    return pid;
}


/* 1 if it was killed; it stays a zombie */

static int
wait_dead(pid_t pid)
{
    siginfo_t  info;

    ngx_memzero(&info, sizeof(info));

    if (waitid(P_PID, pid, &info, WEXITED|WNOWAIT) == -1) {
        return 0;
    }

    return info.si_code == CLD_KILLED && info.si_status == SIGKILL;
}


static void
reap(pid_t pid)
{
    waitpid(pid, NULL, 0);
}


/* a process that does it and dies; for what there was before */

static void
by_another(void (*act)(void))
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        alarm(30);
        act();
        kill(getpid(), SIGKILL);
    }

    waitpid(pid, NULL, 0);
}


/* --- acts ---------------------------------------------------------------- */

static void
claim(const char *id, const char *user, uint64_t key, uint32_t expires)
{
    ngx_uint_t  n;

    n = id[1] - '0';

    (void) zone_claim(zone, owner, chat, id, user, key, expires, &row[n]);
}


static void
with(const char *id, const char *group,
    ngx_int_t (*how)(ngx_broadcast_zone_t *, ngx_broadcast_row_t,
                     ngx_str_t *, ngx_str_t *))
{
    ngx_str_t  i, g;

    i = tap_str(id);
    g = tap_str(group);

    (void) how(zone, row[id[1] - '0'], &i, &g);
}

#define join(id, group)   with(id, group, ngx_broadcast_registry_join)
#define leave(id, group)  with(id, group, ngx_broadcast_registry_leave)


static void
release(const char *id)
{
    ngx_str_t  s;

    s = tap_str(id);
    (void) ngx_broadcast_registry_release(zone, row[id[1] - '0'], &s, owner, 0);
}


static void
release_why(const char *id)
{
    ngx_str_t  s, why;

    s = tap_str(id);
    why = tap_str(LONG);
    (void) ngx_broadcast_registry_release_why(zone, row[id[1] - '0'], &s,
                                              owner, 0, &why);
}


static void
owe(const char *id)
{
    ngx_str_t  s;

    s = tap_str(id);
    ngx_broadcast_registry_owe(zone, row[id[1] - '0'], &s,
                               NGX_BROADCAST_OWED_ROW);
}


static void
counted(const char *id)
{
    ngx_str_t  s;

    s = tap_str(id);
    ngx_broadcast_registry_counted(zone, row[id[1] - '0'], &s);
}


static void
stateful(const char *id)
{
    ngx_str_t  s;

    s = tap_str(id);
    ngx_broadcast_registry_stateful(zone, row[id[1] - '0'], &s);
}


static void
settled(const char *id)
{
    ngx_str_t  s;

    s = tap_str(id);
    ngx_broadcast_registry_settled(zone, &s);
}


static void
tried(const char *id)
{
    ngx_str_t  s;

    s = tap_str(id);
    (void) ngx_broadcast_registry_tried(zone, &s);
}


static void
fill(size_t len, ngx_uint_t n)
{
    char                    *text;
    ngx_broadcast_record_t   rec;

    text = malloc(len);
    memset(text, 'f', len);

    while (n--) {
        rec = zone_record(n % 2 ? chat : news, text, len);
        (void) ngx_broadcast_log_append(zone, &rec, 1);
    }

    free(text);
}


static void
nothing(void)
{
}


static void
append_three(void)
{
    ngx_broadcast_record_t  rec[3];

    rec[0] = zone_record(chat, "[1]", 3);
    rec[1] = zone_record(news, "{2}", 3);
    rec[2] = zone_record(chat, "(3)", 3);
    rec[0].target = tap_str("t");
    rec[1].relay = 5;
    rec[2].relay = 9;

    (void) ngx_broadcast_log_append(zone, rec, 3);
}


/* the ring is full, and the next record goes over its end */

static void
full_ring(void)
{
    fill(3000, 200);
    fill((size_t) (zone->ring_size - zone->head % zone->ring_size) - 200, 1);
}


static void
append_wrap(void)
{
    char                     text[9000];
    ngx_broadcast_record_t   rec[2];

    memset(text, 'w', sizeof(text));

    rec[0] = zone_record(chat, text, sizeof(text));
    rec[1] = zone_record(news, text, sizeof(text));

    (void) ngx_broadcast_log_append(zone, rec, 2);
}


static void
append_epoch(void)
{
    ngx_broadcast_record_t  rec[3];

    rec[0] = zone_record(chat, "[1]", 3);
    rec[0].type = NGX_BROADCAST_REC_EPOCH;
    rec[0].flags = NGX_BROADCAST_REC_NUMBERED;
    rec[0].position.epoch = 44;
    rec[0].position.seq = 7;
    rec[1] = rec[0];
    rec[1].type = NGX_BROADCAST_REC_MESSAGE;
    rec[1].position.seq = 8;
    rec[2] = zone_record(news, "[1]", 3);
    rec[2].type = NGX_BROADCAST_REC_JOIN;
    rec[2].flags = NGX_BROADCAST_REC_UNNUMBERED;

    (void) ngx_broadcast_log_append(zone, rec, 3);
}


static void
claim_fresh(void)
{
    claim("c1", LONG, 7, LATER);
}


static void
some_rows(void)
{
    claim("c1", LONG, 7, LATER);
    claim("c2", "n1", 7, LATER);
    claim("c3", LONG, 8, LATER);
    join("c1", "n1");
    join("c1", LONG);
    join("c1", "n2");
    join("c2", "n1");
    join("c3", "n3");
}


static void
used_rows(void)
{
    some_rows();
    claim("c4", "n4", 9, 1);
    claim("c5", LONG, 0, 1);
    join("c4", "n4");
    join("c5", LONG);
    release("c4");
    release("c5");
    ngx_broadcast_registry_expire(zone, 2);
    ngx_broadcast_registry_expire(zone, 2);
    fill(3000, 5);
}


/* another worker asks for a connection of this one */

static void
two_workers(void)
{
    ngx_uint_t  second;

    used_rows();
    (void) ngx_broadcast_slot_claim(zone, &second, &other);
}


static void
move_one(void)
{
    ngx_str_t              s;
    ngx_broadcast_owner_t  from;

    s = tap_str("c1");
    (void) ngx_broadcast_registry_move(zone, row[1], &s, other, &from);
}


/* a row that was made without a slot */

static void
row_of_nobody(void)
{
    ngx_broadcast_owner_t  had;

    used_rows();

    had = owner;
    owner = 0;
    claim("c6", "n0", 0, LATER);
    owner = had;
}


static void
adopt_one(void)
{
    ngx_str_t  s;

    s = tap_str("c6");
    ngx_broadcast_registry_adopt(zone, row[6], &s, owner);
}


static void claim_used(void)    { claim("c6", LONG, 7, LATER); }
static void claim_other(void)   { claim("c6", "n3", 99, LATER); }
static void claim_nobody(void)  { claim("c6", "", 0, LATER); }
static void release_one(void)   { release("c1"); }
static void release_two(void)   { release("c2"); }
static void release_words(void) { release_why("c1"); }
static void owe_one(void)       { owe("c1"); }
static void stateful_one(void)  { stateful("c1"); }
static void counted_one(void)   { counted("c1"); }
static void join_new(void)      { join("c2", LONG LONG); join("c2", "n0"); }
static void join_first(void)    { join("c2", "n4"); }
static void join_known(void)    { join("c2", LONG); }
static void leave_first(void)   { leave("c1", "n1"); }
static void leave_middle(void)  { leave("c1", LONG); }
static void leave_last(void)    { leave("c1", "n2"); }
static void leave_all(void)     { leave("c1", ""); }
static void settle_one(void)    { settled("c1"); }
static void try_one(void)       { tried("c1"); }


static void
owed_rows(void)
{
    used_rows();
    owe("c1");
}


static void
unsettled_rows(void)
{
    owed_rows();
    release("c1");
}


static void
unsettled_why(void)
{
    owed_rows();
    release_why("c1");
}


static void
unsettled_overdue(void)
{
    used_rows();
    claim("c7", "n0", 0, 1);
    owe("c7");
    release("c7");
}




static void
overdue_row(void)
{
    used_rows();
    claim("c7", "n0", 0, 1);
    release("c7");
}


static void
expire(void)
{
    ngx_broadcast_registry_expire(zone, 2);
    ngx_broadcast_registry_expire(zone, 2);
}


static void
settle_overdue(void)
{
    settled("c7");
    expire();
}


static void
many_groups(void)
{
    char        name[16];
    ngx_uint_t  i;

    claim("c1", "n1", 0, LATER);

    for (i = 0; i < 70; i++) {
        *ngx_sprintf((u_char *) name, "m%ui", i) = '\0';
        join("c1", name);
    }
}


static void
take_slot(void)
{
    ngx_uint_t             i;
    ngx_broadcast_owner_t  who;

    (void) ngx_broadcast_slot_claim(zone, &i, &who);
}


static void
work_and_leave(void)
{
    ngx_uint_t  i;

    if (ngx_broadcast_slot_claim(zone, &i, &owner) == NGX_OK) {
        claim("c6", "n0", 0, LATER);
        ngx_broadcast_slot_release(zone, i);
    }
}


static void
work(void)
{
    ngx_uint_t  i;

    (void) ngx_broadcast_slot_claim(zone, &i, &owner);

    claim("c6", "n0", 0, LATER);
    claim("c7", "n0", 3, LATER);
    join("c6", LONG);
    owe("c7");
}


static void
dead_worker(void)
{
    used_rows();
    by_another(work);
    dead = zone->slot[1].owner;
}


/* found dead, not yet swept */

static void
probed_worker(void)
{
    dead_worker();
    (void) ngx_broadcast_slot_alive(zone, dead);
}


static void probe(void) { (void) ngx_broadcast_slot_alive(zone, dead); }
static void reap_slots(void) { (void) ngx_broadcast_slot_reap(zone); }
static void sweep(void) { ngx_broadcast_registry_sweep(zone, dead); }


static void
take_lease(void)
{
    (void) ngx_broadcast_lease_take(zone, NGX_BROADCAST_LEASE_RELAY, owner,
                                    NOW, 500);
}


static void
take_lease_dead(void)
{
    (void) ngx_broadcast_lease_take(zone, NGX_BROADCAST_LEASE_RELAY, dead,
                                    NOW, 500);
}


static void
lease_of_dead(void)
{
    dead_worker();
    take_lease_dead();
}


/* of a process that lives, but has not renewed it */

static void
lease_overdue(void)
{
    ngx_uint_t  second;

    (void) ngx_broadcast_slot_claim(zone, &second, &other);
    (void) ngx_broadcast_lease_take(zone, NGX_BROADCAST_LEASE_RELAY, other,
                                    1, 2);
}


static void
drop_lease(void)
{
    ngx_broadcast_lease_drop(zone, NGX_BROADCAST_LEASE_RELAY, owner);
}


static void
new_hub(void)
{
    (void) zone_hub(zone, "another", 1);
}


static void
set_position(void)
{
    ngx_broadcast_position_t  p;

    p.epoch = 5;
    p.seq = 500;
    ngx_broadcast_hub_set_position(zone, chat, &p);
}


static void
durable_hub(void)
{
    ngx_broadcast_hub_set_durable(zone, chat, 1);
    set_position();
}


static void
set_ephemeral(void)
{
    ngx_broadcast_hub_set_durable(zone, chat, 0);
}


static void set_relay(void) { ngx_broadcast_log_set_relay(zone, 77); }


static void
bound_to(const char *first, const char *second)
{
    ngx_broadcast_binding_t  b[2];

    ngx_memzero(b, sizeof(b));

    b[0].event = b[1].event = NGX_BROADCAST_ON_MESSAGE;
    b[0].hub = tap_str("chat");
    b[0].name = tap_str(first);
    b[0].role = tap_str("x");
    b[1].name = tap_str(second);

    ngx_broadcast_binding_replace(zone, b, 2);
}


static void bind_before(void) { bound_to("n0", "n1"); }
static void bind_after(void)  { bound_to("n2", LONG); }


/* an owner of the lock that died in the middle: the act is the rebuild */

static void
die_in_release(void)
{
    kill_at = 30;
    shared->hits = 0;
    ngx_broadcast_stop_hook = die_at;

    release("c1");
}


static void
abandoned_lock(void)
{
    unsettled_overdue();
    overdue_row();
    dead_worker();
    by_another(die_in_release);
}


static void
die_in_append(void)
{
    kill_at = 18;
    shared->hits = 0;
    ngx_broadcast_stop_hook = die_at;

    append_three();
}


static void
abandoned_append(void)
{
    some_rows();
    by_another(die_in_append);
}


static void
change(ngx_uint_t type, const char *user, const char *group, uint32_t ttl,
    uint64_t relay)
{
    ngx_broadcast_record_t  rec[2];

    rec[0] = zone_record(chat, "[1]", 3);
    rec[1] = zone_record(chat, "", 0);
    rec[0].relay = relay;
    rec[1].type = type;
    rec[1].scope = NGX_BROADCAST_USER;
    rec[1].time = (uint64_t) LATER * 1000000;
    rec[1].name = tap_str(user);
    rec[1].group = tap_str(group);
    rec[1].ttl = ttl;
    rec[1].relay = relay ? relay + 1 : 0;

    (void) ngx_broadcast_log_append(zone, rec, 2);
}

#define rule_on(user, group, ttl)                                             \
    change(NGX_BROADCAST_REC_JOIN, user, group, ttl, 0)
#define rule_off(user, group)                                                 \
    change(NGX_BROADCAST_REC_LEAVE, user, group, 0, 0)


static void
set_rule(const char *user, const char *group, time_t expires)
{
    ngx_broadcast_rule_t  rule;

    ngx_memzero(&rule, sizeof(rule));

    rule.hub = chat;
    rule.user = tap_str(user);
    rule.group = tap_str(group);
    rule.expires = expires;

    (void) ngx_broadcast_rule_set(zone, &rule);
}


static void
some_rules(void)
{
    some_rows();
    rule_on("n1", LONG, 0);
    rule_on("n1", "n2", 1000);
    rule_on("n1", "n3", 1000);
    rule_on(LONG, "n1", 0);
}


static void
used_rules(void)
{
    some_rules();
    rule_on("n4", "n4", 1000);
    rule_on("n3", "n4", 1000);
    rule_off("n4", "");
    rule_off("n3", "n4");
    fill(3000, 5);
}


static void
overdue_rules(void)
{
    used_rules();
    set_rule("n0", "n0", 1);
    set_rule("n1", "n4", 1);
}


/* the next one makes the oldest go */

static void
hundred_rules(void)
{
    char        name[16];
    ngx_uint_t  i;

    set_rule("n1", "n0", LATER);
    rule_on("n1", "n1", 0);
    rule_on("n1", "n2", 0);

    for (i = 0; i < 98; i++) {
        *ngx_sprintf((u_char *) name, "m%ui", i) = '\0';
        rule_on("n1", name, 0);
    }
}


static void
full_rules(void)
{
    char        name[16];
    ngx_uint_t  i;

    for (i = 0; i < zone->rules.n; i++) {
        *ngx_sprintf((u_char *) name, "m%ui", i) = '\0';
        set_rule(name, "n0", LATER);
    }
}


static void
durable_rules(void)
{
    used_rules();
    ngx_broadcast_hub_set_durable(zone, chat, 1);
}


static void rule_first(void)   { rule_on("n0", LONG LONG, 1000); }
static void rule_new(void)     { rule_on("n1", "n4", 1000); }
static void rule_known(void)   { rule_on("n1", "n2", 0); }
static void rule_many(void)    { rule_on("n1", LONG, 0); }
static void rule_present(void) { rule_on("n1", "n2", 0xffffffff); }
static void rule_gone(void)    { rule_off("n1", "n2"); }
static void rules_gone(void)   { rule_off("n1", ""); }
static void rule_set(void)     { set_rule("n1", "n4", LATER); }
static void rule_loaded(void)  { ngx_broadcast_rule_loaded(zone, 77); }


static void
rule_relayed(void)
{
    change(NGX_BROADCAST_REC_JOIN, "n1", "n1", 1000, 5);
}


static void
rules_expire(void)
{
    ngx_broadcast_rule_expire(zone, 2);
    ngx_broadcast_rule_expire(zone, 2);
}


static void
rules_clear(void)
{
    ngx_uint_t  next;

    next = 0;

    do {
        ngx_broadcast_rule_clear(zone, &next);
    } while (next);
}


/* the row of a dead worker may be in some of its groups only */

static void claim_rules(void)  { claim("c6", "n1", 7, LATER); }


static void
die_in_rule(void)
{
    kill_at = 40;
    shared->hits = 0;
    ngx_broadcast_stop_hook = die_at;

    rules_gone();
}


static void
abandoned_rules(void)
{
    used_rules();
    by_another(die_in_rule);
}


static void
take_lock(void)
{
    ngx_broadcast_zone_lock(zone);
    ngx_broadcast_zone_unlock(zone);
}


static const act_t  acts[] = {
    { "append", nothing, append_three, ONCE },
    { "append that wraps and evicts", full_ring, append_wrap, ONCE },
    { "append of a new epoch", some_rows, append_epoch, ONCE },
    { "claim in a fresh zone", nothing, claim_fresh, 0 },
    { "claim for a known user and key", used_rows, claim_used, 0 },
    { "claim for a new user and key", used_rows, claim_other, 0 },
    { "claim without a user", used_rows, claim_nobody, 0 },
    { "owe", used_rows, owe_one, 0 },
    { "stateful", used_rows, stateful_one, 0 },
    { "counted", used_rows, counted_one, 0 },
    { "release", used_rows, release_one, 0 },
    { "move", two_workers, move_one, 0 },
    { "adoption", row_of_nobody, adopt_one, 0 },
    { "release of a key's other connection", used_rows, release_two, 0 },
    { "release of an owed row", owed_rows, release_one, 0 },
    { "release from many groups", many_groups, release_one, STEPS },
    /* a death between the end and its words leaves none */
    { "release of an owed row, with words", owed_rows, release_words,
      STEPS|ONCE },
    { "settle", unsettled_rows, settle_one, 0 },
    { "settle of a row with words", unsettled_why, settle_one, 0 },
    { "settling that failed", unsettled_rows, try_one, 0 },
    { "settle of an overdue row", unsettled_overdue, settle_overdue, STEPS },
    { "expire", overdue_row, expire, 0 },
    { "join of the first group", some_rows, join_first, 0 },
    { "join of new groups", used_rows, join_new, STEPS },
    { "join of a known group", used_rows, join_known, 0 },
    { "leave of the first group", used_rows, leave_first, 0 },
    { "leave of the group in the middle", used_rows, leave_middle, 0 },
    { "leave of the last group", used_rows, leave_last, 0 },
    { "leave of all groups", used_rows, leave_all, STEPS },
    { "slot claim", nothing, take_slot, OWN },
    { "slot claim over a dead one", dead_worker, take_slot, STEPS|OWN },
    { "slot release", used_rows, work_and_leave, STEPS|OWN },
    { "probe of a dead slot", dead_worker, probe, 0 },
    { "reap of a dead slot", dead_worker, reap_slots, STEPS },
    { "sweep", probed_worker, sweep, STEPS },
    { "lease take", nothing, take_lease, 0 },
    { "lease take from a dead one", lease_of_dead, take_lease, 0 },
    { "lease take of an overdue one", lease_overdue, take_lease, 0 },
    { "lease renewal", take_lease, take_lease, 0 },
    { "lease drop", take_lease, drop_lease, 0 },
    { "hub get", some_rows, new_hub, 0 },
    { "set position", append_three, set_position, 0 },
    { "set ephemeral", durable_hub, set_ephemeral, STEPS },
    { "set relay", nothing, set_relay, 0 },
    { "binding replace, the first", nothing, bind_after, 0 },
    { "binding replace", bind_before, bind_after, 0 },
    { "record of the first rule", nothing, rule_first, ONCE },
    { "record of a new rule", used_rules, rule_new, ONCE },
    { "record of a rule that is there", used_rules, rule_known, ONCE },
    { "record of no rule any more", used_rules, rule_present, ONCE },
    { "record of one rule too many", hundred_rules, rule_many, ONCE },
    { "record that ends a rule", used_rules, rule_gone, ONCE },
    { "record that ends all rules", used_rules, rules_gone, ONCE },
    { "relayed record of a rule without room", full_rules, rule_relayed, 0 },
    { "claim with rules", used_rules, claim_rules, STEPS|ONCE },
    { "rule set", used_rules, rule_set, 0 },
    { "rules loaded", used_rules, rule_loaded, 0 },
    { "rules expire", overdue_rules, rules_expire, STEPS },
    { "rules clear", durable_rules, rules_clear, STEPS },
    { "rebuild after a change of rules", abandoned_rules, take_lock, STEPS },
    { "rebuild after a release", abandoned_lock, take_lock, STEPS },
    { "rebuild after an append", abandoned_append, take_lock, STEPS }
};

#define ACTS  (sizeof(acts) / sizeof(acts[0]))


/* --- the test ------------------------------------------------------------ */

static void
restore(void)
{
    memcpy(zone, snapshot, zone->block);
}


/* a kill at store k; 1 if all is as it must be */

static int
killed_right(const act_t *act, uint64_t k, int orphan, const char *before,
    const char *after)
{
    pid_t  pid;
    int    right, undone;

    static char  text[16384];

    restore();

    pid = start(act->act, k, orphan);

    if (!wait_dead(pid)) {
        fprintf(stderr, "%s: not killed at store %lu\n", act->name,
                (unsigned long) k);
        reap(pid);
        return 0;
    }

    right = zone_right(zone);

    dump(text, sizeof(text));

    undone = (strcmp(text, before) == 0);

    if (!(act->flags & STEPS) && !undone && strcmp(text, after) != 0) {
        fprintf(stderr, "neither before nor after:\n%s-- before:\n%s"
                "-- after:\n%s", text, before, after);
        right = 0;
    }

    /* whoever comes next can do it, while the dead one is still a zombie */

    if (act->flags & OWN) {
        reap(start(act->act, (uint64_t) -1, 0));

    } else {
        act->act();
    }

    right &= zone_right(zone);

    dump(text, sizeof(text));

    if ((!(act->flags & ONCE) || undone) && strcmp(text, after) != 0) {
        fprintf(stderr, "not the end when done again:\n%s-- after:\n%s", text,
                after);
        right = 0;
    }

    reap(pid);

    if (!right) {
        fprintf(stderr, "%s: after the kill at store %lu%s\n", act->name,
                (unsigned long) k, orphan ? ", master dead" : "");
    }

    return right;
}


static uint64_t
try_act(const act_t *act)
{
    pid_t     pid;
    char      name[128];
    uint64_t  n, k, wrong;
    int       orphan;

    static char  before[16384], after[16384];

    zone = zone_make(SIZE);
    chat = zone_hub(zone, "chat", 0);
    news = zone_hub(zone, "news", 0);

    if (ngx_broadcast_slot_claim(zone, &slot, &owner) != NGX_OK) {
        exit(1);
    }

    act->prepare();
    mark = zone->head;

    memcpy(snapshot, zone, zone->block);

    dump(before, sizeof(before));
    restore();

    pid = start(act->act, 0, 0);
    waitpid(pid, NULL, 0);
    n = shared->hits;

    wrong = !zone_right(zone);
    dump(after, sizeof(after));

    for (orphan = 0; orphan < 2; orphan++) {
        for (k = 1; k <= n && wrong < 3; k++) {
            wrong += !killed_right(act, k, orphan, before, after);
        }
    }

    *ngx_sprintf((u_char *) name, "%s: killed at each of %uL stores",
                 act->name, n) = '\0';

    ok(wrong == 0 && n > 0, name);

    restore();

    /* a mutex of ours must not go with the zone */

    if (other) {
        ngx_broadcast_slot_release(zone, ngx_broadcast_owner_slot(other));
        other = 0;
    }

    ngx_broadcast_slot_release(zone, slot);

    zone_free(zone);

    return n;
}


/* the table against the source, both ways */

static void
names_right(void)
{
    char      line[1024], *p, *end;
    FILE     *f;
    glob_t    g;
    size_t    i, n;
    int       unknown, twice;

    static int  found[STORES];

    unknown = twice = 0;

    if (glob("src/shm/*.c", 0, NULL, &g) != 0) {
        ok(0, "the source is there to be compared with");
        return;
    }

    for (n = 0; n < g.gl_pathc; n++) {

        f = fopen(g.gl_pathv[n], "r");

        while (f && fgets(line, sizeof(line), f)) {

            p = strstr(line, "ngx_broadcast_store(");
            if (p == NULL) {
                continue;
            }

            p += strlen("ngx_broadcast_store(");
            end = strchr(p, ')');

            if (end == NULL) {
                unknown++;
                continue;
            }

            *end = '\0';

            for (i = 0; i < STORES && strcmp(stores[i], p) != 0; i++) {
                /* void */
            }

            if (i == STORES) {
                fprintf(stderr, "not in the table: %s\n", p);
                unknown++;
                continue;
            }

            if (found[i]++) {
                fprintf(stderr, "twice in the source: %s\n", p);
                twice++;
            }
        }

        if (f) {
            fclose(f);
        }
    }

    globfree(&g);

    is_int(unknown, 0, "every named store of the source is in the table");
    is_int(twice, 0, "every name stands at one store");

    for (i = 0, n = 0; i < STORES; i++) {
        if (!found[i]) {
            fprintf(stderr, "not in the source: %s\n", stores[i]);
            n++;
        }
    }

    is_int(n, 0, "every name of the table is in the source");
}


int
main(void)
{
    size_t    i;
    uint64_t  n, missed;

    prctl(PR_SET_CHILD_SUBREAPER, 1);

    snapshot = malloc(SIZE);
    shared = mmap(NULL, sizeof(shared_t), PROT_READ|PROT_WRITE,
                  MAP_ANON|MAP_SHARED, -1, 0);

    names_right();

    n = 0;

    for (i = 0; i < ACTS; i++) {
        n += try_act(&acts[i]);
    }

    missed = 0;

    for (i = 0; i < STORES; i++) {
        if (shared->met[i] == 0) {
            fprintf(stderr, "no act comes by: %s\n", stores[i]);
            missed++;
        }
    }

    is_int(missed, 0, "every named store was died at");

    printf("# %lu kills at %lu named stores\n", (unsigned long) (2 * n),
           (unsigned long) STORES);

    free(snapshot);

    return done();
}
