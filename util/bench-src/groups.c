
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * What a message to one group costs, and whether that depends on how many
 * clients there are: messages to a tenth of the groups, with their clients
 * alone, and again when all others are there, too; then to all groups.
 */


#include <stdio.h>

#include "load.h"


#define LOAD_GROUPS_PART  10


static void load_groups_run(const char *name, int clients, int lines);
static void load_groups_publish(uint64_t end, int lines);


void
load_groups(void)
{
    int   part;
    char  name[32];

    part = conf.clients / LOAD_GROUPS_PART;

    load_clients_open(0, part);
    load_groups_run("groups_few", part, 1);

    load_clients_open(part, conf.clients);
    load_groups_run("groups_part", part, 1);
    load_groups_run("groups_all", conf.clients, 1);

    for (int i = 0; i < conf.nlines; i++) {
        snprintf(name, sizeof(name), "groups_%d_lines", conf.lines[i]);
        load_groups_run(name, conf.clients, conf.lines[i]);
    }

    load_wait_quiet();
    load_clients_close();
}


/*
 * To the groups of so many clients.  Some messages before the clock starts:
 * what is allocated once, is.
 */

static void
load_groups_run(const char *name, int clients, int lines)
{
    double         us;
    uint64_t       start;
    load_result_t  result;
    load_sample_t  before, after;

    load_phase_groups(clients / conf.members);
    load_publishers_open(lines > 1 ? conf.batchers : conf.publishers);

    load_phase_begin(conf.members);
    load_groups_publish(load_now() + conf.groups_ms * 1000000ull / 4, lines);
    load_phase_end(&result);

    load_phase_begin(conf.members);
    load_wait_quiet();

    load_sample_cpu(&before);
    start = load_now();

    load_groups_publish(start + conf.groups_ms * 1000000ull, lines);

    us = (load_now() - start) / 1e3;
    load_sample_cpu(&after);

    load_phase_end(&result);
    load_publishers_close();

    printf("\"%s\":{\"groups\":%d,\"messages\":%u,\"cpu_us\":%.3f,"
           "\"per_second\":%.0f},\n", name, clients / conf.members,
           result.messages, (after.cpu_us - before.cpu_us) / result.messages,
           result.messages * 1e6 / us);
}


/*
 * As fast as they are answered, until all is where it is to be.  Two requests
 * of many messages are under way at most, if that is more than the window.
 */

static void
load_groups_publish(uint64_t end, int lines)
{
    int  window;

    window = conf.window > 2 * lines ? conf.window : 2 * lines;

    while (load_now() < end) {

        while (load_phase_outstanding() < window && load_publish(lines)) {
            /* void */
        }

        load_turn(100);
        load_clients_ping();
    }

    load_phase_drain();
}
