
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
 *        src/shm/ngx_broadcast_check_names.c src/shm/ngx_broadcast_lease.c
 *        nginx:core/ngx_slab.c nginx:core/ngx_shmtx.c
 */


#include "zone.h"

#include <signal.h>
#include <sys/prctl.h>


#define SIZE  (1024 * 1024)


static void zombies(void);
static void stopped(void);
static void flags(void);
static void many(void);
static void leases(void);


static ngx_broadcast_zone_t  *zone;
static ngx_uint_t             hub;


int
main(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    zombies();
    stopped();
    flags();
    many();
    leases();

    return done();
}


static void
fresh(void)
{
    zone = zone_make(SIZE);
    hub = zone_hub(zone, "chat", 0);
}


/* a worker with a slot and some connections that lives until it is killed */

static pid_t
worker(ngx_uint_t connections)
{
    int                      fd[2];
    char                     id[32], c;
    pid_t                    pid;
    ngx_uint_t               slot, i;
    ngx_broadcast_owner_t    owner;

    if (pipe(fd) == -1) {
        exit(1);
    }

    pid = fork();

    if (pid == 0) {
        alarm(60);

        if (ngx_broadcast_slot_claim(zone, &slot, &owner) != NGX_OK) {
            _exit(1);
        }

        for (i = 0; i < connections; i++) {
            *ngx_sprintf((u_char *) id, "%ui-%ui", owner, i) = '\0';
            (void) zone_claim(zone, owner, hub, id, "u", 0, 1, NULL);
        }

        if (write(fd[1], "", 1) == 1) {
            close(fd[1]);
        }

        for ( ;; ) {
            pause();
        }
    }

    if (read(fd[0], &c, 1) != 1) {
        exit(1);
    }

    close(fd[0]);
    close(fd[1]);

    return pid;
}


/* dead, and for all that kill(pid, 0) can tell alive */

static void
make_zombie(pid_t pid)
{
    siginfo_t  info;

    kill(pid, SIGKILL);
    (void) waitid(P_PID, pid, &info, WEXITED|WNOWAIT);
}


static ngx_uint_t
connections(void)
{
    ngx_broadcast_hub_info_t  info;

    ngx_broadcast_hub_info(zone, hub, &info);

    return info.connections[NGX_BROADCAST_SSE];
}


static void
zombies(void)
{
    pid_t                      pid[3];
    uint64_t                   changes;
    ngx_uint_t                 slot;
    ngx_broadcast_owner_t      owner, old;
    ngx_broadcast_slot_info_t  info[8];

    fresh();

    pid[0] = worker(100);
    pid[1] = worker(300);
    pid[2] = worker(5);

    is_int(ngx_broadcast_slot_list(zone, info, 8), 3, "three workers");
    ok(info[0].pid == pid[0] && info[1].pid == pid[1]
       && info[0].slot == 0 && info[2].slot == 2,
       "each with its process and its slot");
    is_int(info[1].connections, 300, "and its connections");
    is_int(connections(), 405, "the hub has all of them");

    old = info[1].owner;

    ok(ngx_broadcast_slot_alive(zone, old), "the second lives");

    make_zombie(pid[1]);

    is_int(kill(pid[1], 0), 0, "killed, it is still a process to the system");
    ok(!ngx_broadcast_slot_alive(zone, old), "but not to us");
    is_int(connections(), 405, "its connections are there until it is reaped");

    ok(ngx_broadcast_slot_next(zone, 0) == 2, "nobody wakes it any more");

    changes = ngx_broadcast_slot_changes(zone);

    is_int(ngx_broadcast_slot_reap(zone), 1, "one is reaped");
    ok(ngx_broadcast_slot_changes(zone) > changes, "which is to be seen");
    is_int(connections(), 105, "its connections are ended");
    is_int(ngx_broadcast_slot_reap(zone), 0, "a second time there is nothing");
    is_int(ngx_broadcast_slot_list(zone, info, 8), 2, "two workers");

    changes = ngx_broadcast_slot_changes(zone);

    is_int(ngx_broadcast_slot_claim(zone, &slot, &owner), NGX_OK,
           "a new worker finds a slot");
    ok(slot == 1 && owner != old, "the dead one's, as another owner");
    ok(ngx_broadcast_slot_changes(zone) > changes, "so is one that comes");
    changes = ngx_broadcast_slot_changes(zone);
    is_int(ngx_broadcast_slot_changes(zone), changes, "nothing else is");
    ok(!ngx_broadcast_slot_alive(zone, old), "the old owner stays dead");
    ok(ngx_broadcast_slot_alive(zone, owner), "the new one lives, it is us");

    make_zombie(pid[0]);
    make_zombie(pid[2]);

    ngx_broadcast_slot_release(zone, slot);

    is_int(ngx_broadcast_slot_claim(zone, &slot, &owner), NGX_OK,
           "a claim reaps by itself");
    is_int(connections(), 0, "what the dead had");
    is_int(slot, 0, "and takes the first free slot");

    ngx_broadcast_slot_release(zone, slot);
    ok(zone_right(zone), "the zone is right");

    waitpid(pid[0], NULL, 0);
    waitpid(pid[1], NULL, 0);
    waitpid(pid[2], NULL, 0);

    zone_free(zone);
}


/* a stopped worker is not a dead one */

static void
stopped(void)
{
    pid_t                      pid;
    siginfo_t                  info;
    ngx_broadcast_slot_info_t  list[1];

    fresh();

    pid = worker(7);
    kill(pid, SIGSTOP);
    (void) waitid(P_PID, pid, &info, WSTOPPED);

    is_int(ngx_broadcast_slot_reap(zone), 0, "a stopped worker is not reaped");
    is_int(ngx_broadcast_slot_list(zone, list, 1), 1, "it is listed");
    is_int(connections(), 7, "and keeps its connections");

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);

    is_int(ngx_broadcast_slot_reap(zone), 1, "killed, it is");

    zone_free(zone);
}


static void
flags(void)
{
    ngx_uint_t                 slot;
    ngx_broadcast_owner_t      owner;
    ngx_broadcast_slot_info_t  info[1];

    fresh();

    is_int(ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT),
           NGX_BROADCAST_NO_SLOT, "nobody is to be woken in a fresh zone");

    ngx_broadcast_slot_claim(zone, &slot, &owner);

    is_int(ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT), slot,
           "then one");
    is_int(ngx_broadcast_slot_next(zone, slot), NGX_BROADCAST_NO_SLOT,
           "and no other");

    is_int(ngx_broadcast_slot_arm(zone, slot), 1, "the first has to ring");
    is_int(ngx_broadcast_slot_arm(zone, slot), 0, "the second has not");
    ngx_broadcast_slot_disarm(zone, slot);
    is_int(ngx_broadcast_slot_arm(zone, slot), 1, "until it was heard");

    ngx_broadcast_slot_exiting(zone, slot);
    ngx_broadcast_slot_list(zone, info, 1);
    ok(info[0].exiting, "a worker that exits is listed so");

    ngx_broadcast_slot_release(zone, slot);
    ok(!ngx_broadcast_slot_alive(zone, owner), "released, it is nobody's");

    ngx_broadcast_slot_claim(zone, &slot, &owner);
    ngx_broadcast_slot_list(zone, info, 1);
    ok(!info[0].exiting, "its next owner is not exiting");
    ngx_broadcast_slot_release(zone, slot);

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


/* all 128, and one more */

static void
many(void)
{
    ngx_int_t              rc;
    ngx_uint_t             i, n, slot;
    ngx_broadcast_owner_t  owner;

    fresh();

    /* one process may hold as many as it likes */

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        rc = ngx_broadcast_slot_claim(zone, &slot, &owner);

        if (rc != NGX_OK || slot != i) {
            break;
        }
    }

    is_int(i, 128, "there are 128 slots");
    is_int(ngx_broadcast_slot_claim(zone, &slot, &owner), NGX_BUSY,
           "no more");

    n = 0;

    for (i = ngx_broadcast_slot_next(zone, NGX_BROADCAST_NO_SLOT);
         i != NGX_BROADCAST_NO_SLOT;
         i = ngx_broadcast_slot_next(zone, i))
    {
        n++;
    }

    is_int(n, 128, "all are to be woken");

    ngx_broadcast_slot_release(zone, 77);
    is_int(ngx_broadcast_slot_next(zone, 76), 78, "but one that was released");
    is_int(ngx_broadcast_slot_claim(zone, &slot, &owner), NGX_OK,
           "it can be had again");
    is_int(slot, 77, "the same");

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {
        ngx_broadcast_slot_release(zone, i);
    }

    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}


static ngx_int_t
take(ngx_broadcast_owner_t owner, uint64_t now)
{
    return ngx_broadcast_lease_take(zone, NGX_BROADCAST_LEASE_RELAY, owner,
                                    now, 3000);
}


static void
leases(void)
{
    pid_t                      pid;
    ngx_uint_t                 slot;
    ngx_broadcast_owner_t      us, other;
    ngx_broadcast_slot_info_t  info[2];

    fresh();

    ngx_broadcast_slot_claim(zone, &slot, &us);
    pid = worker(0);
    ngx_broadcast_slot_list(zone, info, 2);
    other = info[1].owner;

    is_int(take(0, 1000), NGX_DECLINED, "nobody cannot hold a lease");
    is_int(take(us, 1000), NGX_OK, "a free lease is taken");
    is_int(take(other, 2000), NGX_DECLINED, "another has to wait");
    is_int(ngx_broadcast_lease_take(zone, NGX_BROADCAST_LEASE_SETTLE, other,
                                    2000, 1),
           NGX_OK, "the other lease is another's to take");
    is_int(take(us, 3500), NGX_OK, "its holder renews it");
    is_int(take(other, 5000), NGX_DECLINED, "another has to wait again");
    is_int(take(other, 6500), NGX_OK, "one not renewed for its term is taken");
    is_int(take(us, 6600), NGX_DECLINED, "from its holder, who is told");

    ngx_broadcast_lease_drop(zone, NGX_BROADCAST_LEASE_RELAY, us);
    is_int(take(us, 6700), NGX_DECLINED, "who does not hold cannot drop");

    make_zombie(pid);
    is_int(take(us, 6800), NGX_OK, "a dead holder's is free at once");

    ngx_broadcast_lease_drop(zone, NGX_BROADCAST_LEASE_RELAY, us);
    is_int(zone->lease[NGX_BROADCAST_LEASE_RELAY].owner, 0, "dropped");

    waitpid(pid, NULL, 0);
    ngx_broadcast_slot_release(zone, slot);
    ok(zone_right(zone), "the zone is right");
    zone_free(zone);
}
