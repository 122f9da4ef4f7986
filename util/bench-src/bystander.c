
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * What passes a worker that has no client of the hub.  The last process has the
 * clients of another hub, all others have the publishers and the clients: they
 * share a listening socket, and who shall get none is stopped (SIGSTOP) while
 * the others connect.
 */


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "load.h"


static void load_bystander_place(pid_t bystander);
static void load_signal(pid_t pid, int signo);
static uint32_t load_bystander_publish(uint64_t start, uint64_t end);


void
load_bystander(void)
{
    double         us, by_us, all_us;
    pid_t          bystander;
    uint32_t       late;
    uint64_t       start;
    load_result_t  result;
    load_sample_t  before, after;

    bystander = conf.pids[conf.npids - 1];

    load_bystander_place(bystander);

    load_phase_begin(conf.clients - conf.strangers);
    load_wait_quiet();

    load_sample_cpu(&before);
    by_us = load_process_cpu(bystander);
    start = load_now();

    late = load_bystander_publish(start,
                                  start + conf.bystander_ms * 1000000ull);
    load_phase_drain();

    us = (load_now() - start) / 1e3;
    by_us = load_process_cpu(bystander) - by_us;
    load_sample_cpu(&after);
    all_us = after.cpu_us - before.cpu_us;

    load_phase_end(&result);
    load_publishers_close();
    load_wait_quiet();
    load_clients_close();

    printf("\"bystander\":{\"messages\":%u,\"late\":%u,\"per_second\":%.0f,"
           "\"percent\":%.3f,\"others_percent\":%.3f},\n",
           result.messages, late, result.messages * 1e6 / us,
           by_us * 100 / us, (all_us - by_us) * 100 / us);
}


/*
 * A connection of a publisher is made before a worker has accepted it: each of
 * them posts a message, and has its answer, while the bystander is stopped.
 * Where clients are is told by the status page.
 */

static void
load_bystander_place(pid_t bystander)
{
    int             n, there;
    const char     *path;
    load_result_t   result;

    n = conf.clients - conf.strangers;
    path = conf.path;

    for (int i = 1; i < conf.npids - 1; i++) {
        load_signal(conf.pids[i], SIGSTOP);
    }

    conf.path = conf.other;
    load_clients_open(n, conf.clients);
    conf.path = path;

    for (int i = 1; i < conf.npids - 1; i++) {
        load_signal(conf.pids[i], SIGCONT);
    }

    load_signal(bystander, SIGSTOP);

    load_clients_open(0, n);
    load_publishers_open(conf.batchers);
    load_phase_begin(n);

    while (load_publish(1)) {
        /* void */
    }

    load_phase_drain();
    load_phase_end(&result);

    load_signal(bystander, SIGCONT);
    load_wait_quiet();

    there = load_worker_clients(bystander);

    if (there != conf.strangers) {
        load_fail("the bystander has %d clients in place of %d", there,
                  conf.strangers);
    }
}


static void
load_signal(pid_t pid, int signo)
{
    if (kill(pid, signo) == -1) {
        load_fail("kill(%d, %d) failed: %s", (int) pid, signo, strerror(errno));
    }
}


/* Requests of a batch each, at even times; who is late makes up for it. */

static uint32_t
load_bystander_publish(uint64_t start, uint64_t end)
{
    uint32_t  late;
    uint64_t  due, now;

    late = 0;
    due = 0;

    while ((now = load_now()) < end) {

        while (due * conf.batch * 1000000000ull / conf.rate <= now - start) {

            if (!load_publish(conf.batch)) {
                late++;
                break;
            }

            due++;
        }

        load_turn(1);
    }

    return late;
}
