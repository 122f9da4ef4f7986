
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "options.h"


static void load_spread(void);
static void load_options(int argc, char **argv);
static int load_lines_wrong(void);


load_conf_t  conf = {
    .path = "/",
    .publish = "/publish",
    .clients = 1000,
    .size = 100,
    .rate = 20,
    .publishers = 32,
    .batchers = 8,
    .inflight = 32,
    .window = 1000,
    .patience = 10,
    .depth = 4,
    .open_rate = 1000
};


static const char  usage[] =
    "usage: load --port N --path PATH --publish PATH --pids N,N...\n"
    "            [--clients N] [--size N] [--inflight N]\n"
    "            [--signalr] [--tokens FILE] [--status PATH]\n"
    "            [--rate N --paced MS]\n"
    "            [--publishers N --window N --saturated MS]\n"
    "            [--batch N --batchers N --batched MS]\n"
    "            [--nats PORT] [--patience SECONDS]\n"
    "            [--storms N [--hop PATH [--greet]]]\n"
    "            [--target METHOD --database PID [--unix PATH] [--calls MS]\n"
    "             [--depth N] [--open MS] [--open-rate N]], then none of the others\n"
    "            [--sse], then nothing but the idle clients of an event stream\n"
    "            [--groups MS --members N --to TEXT [--join TEXT]\n"
    "             [--lines N,N...]], the same: a group's number is behind TEXT,\n"
    "             behind both paths; also with so many messages a request\n"
    "            [--many N [--idle MS]], the same: N messages to clients of many\n"
    "             processes, after a silence\n"
    "            [--bystander MS --other PATH --strangers N], the same: the last\n"
    "             process has the last N clients, who open PATH\n"
    "Prints one JSON object; \"error\" is not null in a failed run.\n";


static option_list_t  lines = { conf.lines, &conf.nlines, LOAD_MAX_LINES };

static const option_t  options[] = {
    { "status",       OPTION_TEXT,  &conf.status },
    { "rate",         OPTION_INT,   &conf.rate },
    { "paced",        OPTION_INT,   &conf.paced_ms },
    { "window",       OPTION_INT,   &conf.window },
    { "saturated",    OPTION_INT,   &conf.saturated_ms },
    { "batch",        OPTION_INT,   &conf.batch },
    { "batchers",     OPTION_INT,   &conf.batchers },
    { "batched",      OPTION_INT,   &conf.batched_ms },
    { "nats",         OPTION_INT,   &conf.nats },
    { "patience",     OPTION_INT,   &conf.patience },
    { "storms",       OPTION_INT,   &conf.storms },
    { "hop",          OPTION_TEXT,  &conf.hop },
    { "greet",        OPTION_FLAG,  &conf.greet },
    { "target",       OPTION_TEXT,  &conf.target },
    { "calls",        OPTION_INT,   &conf.calls_ms },
    { "depth",        OPTION_INT,   &conf.depth },
    { "open",         OPTION_INT,   &conf.open_ms },
    { "open-rate",    OPTION_INT,   &conf.open_rate },
    { "sse",          OPTION_FLAG,  &conf.sse },
    { "groups",       OPTION_INT,   &conf.groups_ms },
    { "members",      OPTION_INT,   &conf.members },
    { "lines",        OPTION_LIST,  &lines },
    { "to",           OPTION_TEXT,  &conf.to },
    { "join",         OPTION_TEXT,  &conf.join },
    { "many",         OPTION_INT,   &conf.many },
    { "idle",         OPTION_INT,   &conf.idle_ms },
    { "bystander",    OPTION_INT,   &conf.bystander_ms },
    { "other",        OPTION_TEXT,  &conf.other },
    { "strangers",    OPTION_INT,   &conf.strangers },
    { NULL,           OPTION_FLAG,  NULL }
};


int
main(int argc, char **argv)
{
    load_options(argc, argv);

    signal(SIGPIPE, SIG_IGN);

    printf("{");

    options_descriptors(conf.many ? 0 : conf.clients + conf.publishers + 64);
    load_loop_init();

    if (!conf.many) {
        load_clients_init();
    }

    if (conf.many) {
        load_many();

    } else if (conf.bystander_ms) {
        load_bystander();

    } else if (conf.groups_ms) {
        load_groups();

    } else if (conf.sse) {
        load_spread_idle();

    } else if (conf.target == NULL) {
        load_spread();
    }

    if (conf.calls_ms) {
        load_calls();
    }

    if (conf.open_ms) {
        load_calls_at_rate();
    }

    printf("\"error\":null}\n");

    return 0;
}


static void
load_spread(void)
{
    load_warm_up();
    load_connect_and_idle();

    if (conf.paced_ms) {
        load_paced();
    }

    if (conf.saturated_ms) {
        load_saturated();
    }

    if (conf.batched_ms && conf.batch) {
        load_batched();
    }

    if (conf.storms) {
        load_storms();
    }

    if (conf.storms && conf.hop) {
        load_hops();
        load_hops_kept();
    }

    if (conf.storms && conf.signalr) {
        load_direct();
    }
}


static void
load_options(int argc, char **argv)
{
    options_read(argc, argv, options, usage);

    if (conf.port <= 0 || conf.clients < 10 || conf.rate < 1
        || conf.size < 10 || conf.size > 65536 || conf.inflight < 1
        || conf.publishers < 1 || conf.publishers > LOAD_MAX_PUBLISHERS
        || conf.batch < 0 || conf.batch > LOAD_MAX_BATCH
        || conf.batchers < 1 || conf.batchers > LOAD_MAX_PUBLISHERS
        || conf.window < 1 || conf.depth < 1 || conf.open_rate < 1
        || conf.patience < 1
        || (conf.groups_ms
            && (conf.members < 1 || conf.to == NULL
                || conf.clients % (conf.members * 10)
                || conf.clients / conf.members > LOAD_MAX_GROUPS))
        || load_lines_wrong()
        || (conf.bystander_ms
            && (conf.other == NULL || conf.strangers < 1 || conf.batch < 1
                || conf.strangers >= conf.clients || conf.npids < 3
                || conf.status == NULL))
        || conf.npids == 0)
    {
        options_wrong(usage);
    }
}


static int
load_lines_wrong(void)
{
    for (int i = 0; i < conf.nlines; i++) {
        if (conf.lines[i] < 2 || conf.lines[i] > LOAD_MAX_BATCH) {
            return 1;
        }
    }

    return 0;
}
