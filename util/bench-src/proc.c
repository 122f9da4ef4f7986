
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "load.h"


#define LOAD_QUIET_STEP_MS   50
#define LOAD_QUIET_STEPS     200
#define LOAD_QUIET_US        500.0


static double load_task_cpu(pid_t pid, const char *tid);
static double load_database_cpu(void);
static double load_softirq_cpu(void);
static void load_process_memory(pid_t pid, load_sample_t *s);
static double load_kernel_memory(void);


void
load_sample_cpu(load_sample_t *s)
{
    int  i;

    s->cpu_us = 0;

    for (i = 0; i < conf.npids; i++) {
        s->cpu_us += load_process_cpu(conf.pids[i]);
    }

    s->database_us = conf.database ? load_database_cpu() : 0;
    s->softirq_us = load_softirq_cpu();
}


void
load_sample_memory(load_sample_t *s)
{
    int  i;

    s->anon = 0;
    s->shmem = 0;

    for (i = 0; i < conf.npids; i++) {
        load_process_memory(conf.pids[i], s);
    }

    s->zone = (conf.status != NULL) ? load_zone_used() : 0;
    s->kernel = load_kernel_memory();
}


/*
 * A server that has closed, freed and timed out what it had to uses less than
 * LOAD_QUIET_US in a step, twice running.
 */

void
load_wait_quiet(void)
{
    int            i, calm;
    uint64_t       end;
    load_sample_t  before, after;

    calm = 0;
    load_sample_cpu(&before);

    for (i = 0; i < LOAD_QUIET_STEPS && calm < 2; i++) {

        end = load_now() + LOAD_QUIET_STEP_MS * 1000000ull;

        while (load_now() < end) {
            load_turn(LOAD_QUIET_STEP_MS);
        }

        load_sample_cpu(&after);

        if (after.cpu_us - before.cpu_us < LOAD_QUIET_US) {
            calm++;

        } else {
            calm = 0;
        }

        before = after;
    }
}


double
load_own_cpu(void)
{
    struct rusage  u;

    if (getrusage(RUSAGE_SELF, &u) == -1) {
        return 0;
    }

    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6
           + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}


double
load_process_cpu(pid_t pid)
{
    char            path[64];
    DIR            *dir;
    double          us;
    struct dirent  *de;

    snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);

    dir = opendir(path);
    if (dir == NULL) {
        load_fail("server process %d is gone", (int) pid);
    }

    us = 0;

    while ((de = readdir(dir)) != NULL) {
        if (de->d_name[0] != '.') {
            us += load_task_cpu(pid, de->d_name);
        }
    }

    closedir(dir);

    return us;
}


/* The processes of the database come and go; who goes between takes it along. */

static double
load_database_cpu(void)
{
    int      pid;
    char     path[64];
    FILE    *f;
    double   us;

    us = load_process_cpu(conf.database);

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
             (int) conf.database, (int) conf.database);

    f = fopen(path, "r");
    if (f == NULL) {
        load_fail("database process %d is gone", (int) conf.database);
    }

    while (fscanf(f, "%d", &pid) == 1) {
        snprintf(path, sizeof(path), "%d", pid);
        us += load_task_cpu(pid, path);
    }

    fclose(f);

    return us;
}


/*
 * The first number of schedstat is what utime + stime of stat are scaled
 * from, in nanoseconds instead of ticks of 10 ms.
 */

static double
load_task_cpu(pid_t pid, const char *tid)
{
    char                path[320], line[1024], *p;
    FILE               *f;
    unsigned long       utime, stime;
    unsigned long long  ns;

    snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int) pid, tid);

    f = fopen(path, "r");
    if (f != NULL) {
        if (fscanf(f, "%llu", &ns) == 1) {
            fclose(f);
            return ns / 1e3;
        }

        fclose(f);
    }

    snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", (int) pid, tid);

    f = fopen(path, "r");
    if (f == NULL) {
        return 0;
    }

    p = fgets(line, sizeof(line), f);
    fclose(f);

    p = (p == NULL) ? NULL : strrchr(line, ')');

    if (p == NULL
        || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                  &utime, &stime) != 2)
    {
        return 0;
    }

    return (utime + stime) * 1e6 / sysconf(_SC_CLK_TCK);
}


/*
 * The receiving half of a send() over loopback runs in the sender's context,
 * so it is counted; only what the kernel puts off to ksoftirqd is not.
 */

static double
load_softirq_cpu(void)
{
    int             i;
    DIR            *dir;
    char            path[320], name[32];
    FILE           *f;
    double          us;
    struct dirent  *de;
    static int      n = -1;
    static pid_t    pids[256];

    if (n == -1) {
        n = 0;

        dir = opendir("/proc");
        if (dir == NULL) {
            return 0;
        }

        while ((de = readdir(dir)) != NULL && n < 256) {
            snprintf(path, sizeof(path), "/proc/%s/comm", de->d_name);

            f = fopen(path, "r");
            if (f == NULL) {
                continue;
            }

            if (fgets(name, sizeof(name), f) != NULL
                && strncmp(name, "ksoftirqd/", 10) == 0)
            {
                pids[n++] = atoi(de->d_name);
            }

            fclose(f);
        }

        closedir(dir);
    }

    us = 0;

    for (i = 0; i < n; i++) {
        us += load_process_cpu(pids[i]);
    }

    return us;
}


static void
load_process_memory(pid_t pid, load_sample_t *s)
{
    char           path[64], line[256];
    FILE          *f;
    unsigned long  kb;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        load_fail("cannot read %s: %s", path, strerror(errno));
    }

    while (fgets(line, sizeof(line), f) != NULL) {

        if (sscanf(line, "Pss_Anon: %lu kB", &kb) == 1) {
            s->anon += kb * 1024.0;

        } else if (sscanf(line, "Pss_Shmem: %lu kB", &kb) == 1) {
            s->shmem += kb * 1024.0;
        }
    }

    fclose(f);
}


/* {"zone":{"size":…,"used":…}}, asked over a connection of its own */


/* What the kernel has of small objects: sockets, files, watches of epoll. */

static double
load_kernel_memory(void)
{
    char           line[256];
    FILE          *f;
    double         bytes;
    unsigned long  kb;

    f = fopen("/proc/meminfo", "r");
    if (f == NULL) {
        return 0;
    }

    bytes = 0;

    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "Slab: %lu kB", &kb) == 1) {
            bytes = kb * 1024.0;
        }
    }

    fclose(f);

    return bytes;
}
