
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * More clients than a process may have descriptors: this process publishes and
 * measures, and has children that have the clients.
 *
 *        order: open a..b | expect a message | close
 *   parent ------------------------------------------> child, child, ...
 *          <------------------------------------------
 *                  done, and when
 *
 * One message is under way at a time, and each child fails the run if one of
 * its clients has not got it, or got it twice.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"


#define LOAD_MAX_CHILDREN  64
#define LOAD_SPARE         512      /* descriptors that are no client's */
#define LOAD_PER_CHILD     20000
#define LOAD_PART          5        /* 1/5 of the clients, then all */
#define LOAD_QUIET_MS      100      /* of load_wait_quiet(), at its end */


typedef enum {
    LOAD_ORDER_OPEN,
    LOAD_ORDER_EXPECT,              /* answered when it may be sent, */
    LOAD_ORDER_CLOSE
} load_order_e;


typedef struct {
    load_order_e   what;
    int            from;
    int            to;
} load_order_t;


typedef struct {
    load_io_t      io;
    int            clients;
    int            waiting;         /* an answer is due */
} load_child_t;


static void load_many_fork(void);
static void load_child_run(int fd);
static void load_child_handler(load_io_t *io, uint32_t events);
static void load_child_order(load_order_t *order);
static void load_child_answer(void);
static void load_order(load_order_e what, int from, int to);
static void load_wait(void);
static void load_parent_handler(load_io_t *io, uint32_t events);
static void load_many_connect(void);
static void load_many_idle(void);
static void load_many_broadcast(void);
static void load_many_disconnect(void);


static load_child_t   children[LOAD_MAX_CHILDREN];
static int            nchildren;
static uint64_t       last_done;    /* when the last child had it all */

static int            parent = -1;  /* a child's only */
static int            ordered;
static load_order_t   order;


void
load_many(void)
{
    load_many_fork();

    load_many_connect();
    load_many_idle();
    load_many_broadcast();
    load_many_disconnect();

    for (int i = 0; i < nchildren; i++) {
        close(children[i].io.fd);
    }

    /* so that their time is known as this one's */

    while (wait(NULL) > 0) {
        /* void */
    }
}


static void
load_many_fork(void)
{
    int            n, per, first, pair[2];
    pid_t          pid;
    struct rlimit  limit;

    per = LOAD_PER_CHILD;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0
        && limit.rlim_cur < (rlim_t) per + LOAD_SPARE)
    {
        per = (int) limit.rlim_cur - LOAD_SPARE;
    }

    if (per < 1 || (conf.clients + per - 1) / per > LOAD_MAX_CHILDREN) {
        load_fail("%d clients need more descriptors than %lu in each of %d "
                  "processes: raise ulimit -Hn", conf.clients,
                  (unsigned long) limit.rlim_cur, LOAD_MAX_CHILDREN);
    }

    n = (conf.clients + per - 1) / per;
    fflush(stdout);

    for (first = 0; nchildren < n; nchildren++) {

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) {
            load_fail("socketpair() failed: %s", strerror(errno));
        }

        children[nchildren].clients = (conf.clients - first) / (n - nchildren);

        pid = fork();

        if (pid == -1) {
            load_fail("fork() failed: %s", strerror(errno));
        }

        if (pid == 0) {
            close(pair[0]);

            conf.first = first;
            conf.clients = children[nchildren].clients;
            conf.inflight = (conf.inflight + n - 1) / n;

            load_child_run(pair[1]);
        }

        close(pair[1]);

        children[nchildren].io.fd = pair[0];
        children[nchildren].io.handler = load_parent_handler;
        load_watch(&children[nchildren].io, EPOLLIN, 0);

        first += children[nchildren].clients;
    }
}


/* A child ends with its parent, whose end of the pair is closed then. */

static void
load_child_run(int fd)
{
    static load_io_t  io;

    for (int i = 0; i < nchildren; i++) {
        close(children[i].io.fd);
    }

    load_loop_init();
    load_clients_init();

    parent = fd;
    io.fd = fd;
    io.handler = load_child_handler;
    load_watch(&io, EPOLLIN, 0);

    for ( ;; ) {
        load_turn(100);
        load_clients_ping();

        if (ordered) {
            ordered = 0;
            load_child_order(&order);
        }
    }
}


static void
load_child_handler(load_io_t *io, uint32_t events)
{
    (void) events;

    if (read(io->fd, &order, sizeof(order)) != sizeof(order)) {
        _exit(0);
    }

    ordered = 1;
}


static void
load_child_order(load_order_t *o)
{
    load_result_t  result;

    switch (o->what) {

    case LOAD_ORDER_OPEN:
        load_clients_open(o->from, o->to);
        break;

    case LOAD_ORDER_EXPECT:
        load_phase_begin(conf.clients);
        (void) load_phase_next(0);
        load_child_answer();

        load_phase_drain();
        load_phase_end(&result);
        break;

    case LOAD_ORDER_CLOSE:
        load_clients_close();
        break;
    }

    load_child_answer();
}


static void
load_child_answer(void)
{
    uint64_t  now;

    now = load_now();

    if (write(parent, &now, sizeof(now)) != sizeof(now)) {
        _exit(0);
    }
}


/* from and to are of 100,000: each child opens as much of what it has */

static void
load_order(load_order_e what, int from, int to)
{
    load_order_t   o;
    load_child_t  *c;

    for (int i = 0; i < nchildren; i++) {
        c = &children[i];

        o.what = what;
        o.from = (int) ((int64_t) c->clients * from / 100000);
        o.to = (int) ((int64_t) c->clients * to / 100000);

        if (write(c->io.fd, &o, sizeof(o)) != sizeof(o)) {
            load_fail("write() to a child failed: %s", strerror(errno));
        }

        c->waiting++;
    }
}


static void
load_wait(void)
{
    int  waiting;

    do {
        load_turn(100);

        waiting = 0;

        for (int i = 0; i < nchildren; i++) {
            waiting += children[i].waiting;
        }

    } while (waiting);
}


/* What went wrong in a child, it has printed. */

static void
load_parent_handler(load_io_t *io, uint32_t events)
{
    uint64_t  at;

    (void) events;

    if (read(io->fd, &at, sizeof(at)) != sizeof(at)) {
        _exit(1);
    }

    ((load_child_t *) io)->waiting--;

    if (at > last_done) {
        last_done = at;
    }
}


static void
load_many_connect(void)
{
    double         n;
    uint64_t       start, middle, end;
    load_sample_t  s0, s1, s2;

    load_wait_quiet();
    load_sample_cpu(&s0);
    start = load_now();

    load_order(LOAD_ORDER_OPEN, 0, 100000 / LOAD_PART);
    load_wait();

    middle = load_now();
    load_wait_quiet();
    load_sample_cpu(&s1);
    load_sample_memory(&s1);

    middle = load_now() - middle;

    load_order(LOAD_ORDER_OPEN, 100000 / LOAD_PART, 100000);
    load_wait();

    end = load_now();
    load_wait_quiet();
    load_sample_cpu(&s2);
    load_sample_memory(&s2);

    n = conf.clients * (1 - 1.0 / LOAD_PART);

    printf("\"many_connect\":{\"seconds\":%.3f,\"cpu_us\":%.3f,"
           "\"anon\":%.1f,\"shmem\":%.1f,\"zone\":%.1f,\"kernel\":%.1f},\n",
           (end - start - middle) / 1e9,
           (s2.cpu_us - s0.cpu_us) / conf.clients,
           (s2.anon - s1.anon) / n, (s2.shmem - s1.shmem) / n,
           (s2.zone - s1.zone) / n, (s2.kernel - s1.kernel) / n);
}


/* Pings and timers alone. */

static void
load_many_idle(void)
{
    uint64_t       start, end;
    load_sample_t  before, after;

    load_sample_cpu(&before);
    start = load_now();
    end = start + conf.idle_ms * 1000000ull;

    while (load_now() < end) {
        load_turn(100);
    }

    load_sample_cpu(&after);

    printf("\"many_idle\":{\"percent\":%.3f},\n",
           (after.cpu_us - before.cpu_us) * 1e5 / (load_now() - start));
}


static void
load_many_broadcast(void)
{
    double         ms, sum, max;
    uint64_t       at;
    load_sample_t  before, after;

    sum = 0;
    max = 0;

    load_publishers_open(1);
    load_wait_quiet();
    load_sample_cpu(&before);

    for (int i = 0; i < conf.many; i++) {

        load_order(LOAD_ORDER_EXPECT, 0, 0);
        load_wait();

        for (int k = 0; k < nchildren; k++) {
            children[k].waiting++;
        }

        last_done = 0;
        load_phase_begin(conf.clients);

        at = load_now();
        load_publish(1);
        load_wait();

        ms = (last_done - at) / 1e6;
        sum += ms;
        max = ms > max ? ms : max;

        while (load_publishers_busy()) {
            load_turn(100);
        }
    }

    load_wait_quiet();
    load_sample_cpu(&after);
    load_publishers_close();

    printf("\"many_broadcast\":{\"messages\":%d,\"cpu_us\":%.4f,"
           "\"mean_ms\":%.3f,\"max_ms\":%.3f},\n", conf.many,
           (after.cpu_us - before.cpu_us) / conf.clients / conf.many,
           sum / conf.many, max);
}


/* Until the servers are done with all of them. */

static void
load_many_disconnect(void)
{
    uint64_t       start, end;
    load_sample_t  before, after;

    load_sample_cpu(&before);
    start = load_now();

    load_order(LOAD_ORDER_CLOSE, 0, 0);
    load_wait();

    load_wait_quiet();
    end = load_now() - LOAD_QUIET_MS * 1000000ull;
    load_sample_cpu(&after);

    printf("\"many_disconnect\":{\"seconds\":%.3f,\"cpu_us\":%.3f},\n",
           (end - start) / 1e9, (after.cpu_us - before.cpu_us) / conf.clients);
}
