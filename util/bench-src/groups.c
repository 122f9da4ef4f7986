
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * What a message to one group costs, and whether that depends on how many
 * others there are: a tenth of the groups, with their clients, then all.
 */


#include <stdio.h>

#include "load.h"


#define LOAD_GROUPS_PART  10


static void load_groups_run(const char *name, int clients);
static void load_groups_publish(uint64_t end);


void
load_groups(void)
{
    int  part;

    part = conf.clients / LOAD_GROUPS_PART;

    load_clients_open(0, part);
    load_groups_run("groups_few", part);

    load_clients_open(part, conf.clients);
    load_groups_run("groups_all", conf.clients);

    load_wait_quiet();
    load_clients_close();
}


/* Some messages before the clock starts: what is allocated once, is. */

static void
load_groups_run(const char *name, int clients)
{
    double         us;
    uint64_t       start;
    load_result_t  result;
    load_sample_t  before, after;

    load_phase_groups(clients / conf.members);
    load_publishers_open(conf.publishers);

    load_phase_begin(conf.members);
    load_groups_publish(load_now() + conf.groups_ms * 1000000ull / 4);
    load_phase_end(&result);

    load_phase_begin(conf.members);
    load_wait_quiet();

    load_sample_cpu(&before);
    start = load_now();

    load_groups_publish(start + conf.groups_ms * 1000000ull);

    us = (load_now() - start) / 1e3;
    load_sample_cpu(&after);

    load_phase_end(&result);
    load_publishers_close();

    printf("\"%s\":{\"groups\":%d,\"messages\":%u,\"cpu_us\":%.3f,"
           "\"per_second\":%.0f},\n", name, clients / conf.members,
           result.messages, (after.cpu_us - before.cpu_us) / result.messages,
           result.messages * 1e6 / us);
}


/* As fast as they are answered, until all is where it is to be. */

static void
load_groups_publish(uint64_t end)
{
    while (load_now() < end) {

        while (load_phase_outstanding() < conf.window && load_publish(1)) {
            /* void */
        }

        load_turn(100);
        load_clients_ping();
    }

    load_phase_drain();
}
