
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load.h"


static void load_spread(void);
static void load_options(int argc, char **argv);
static void load_pids(char *list);
static void load_descriptors(void);


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
    "            [--groups MS --members N --to TEXT [--join TEXT]], the same:\n"
    "             a group's number is behind TEXT, behind both paths\n"
    "            [--many N [--idle MS]], the same: N messages to clients of many\n"
    "             processes, after a silence\n"
    "            [--bystander MS --other PATH --strangers N], the same: the last\n"
    "             process has the last N clients, who open PATH\n"
    "Prints one JSON object; \"error\" is not null in a failed run.\n";


static const struct option  options[] = {
    { "port",        required_argument, NULL, 'p' },
    { "path",        required_argument, NULL, 'a' },
    { "publish",     required_argument, NULL, 'u' },
    { "pids",        required_argument, NULL, 'P' },
    { "clients",     required_argument, NULL, 'c' },
    { "size",        required_argument, NULL, 's' },
    { "inflight",    required_argument, NULL, 'i' },
    { "signalr",     no_argument,       NULL, 'S' },
    { "tokens",      required_argument, NULL, 't' },
    { "status",      required_argument, NULL, 'z' },
    { "rate",        required_argument, NULL, 'r' },
    { "paced",       required_argument, NULL, 'd' },
    { "publishers",  required_argument, NULL, 'n' },
    { "window",      required_argument, NULL, 'w' },
    { "saturated",   required_argument, NULL, 'D' },
    { "batch",       required_argument, NULL, 'b' },
    { "batchers",    required_argument, NULL, 'N' },
    { "batched",     required_argument, NULL, 'k' },
    { "nats",        required_argument, NULL, 'A' },
    { "patience",    required_argument, NULL, 'y' },
    { "storms",      required_argument, NULL, 'm' },
    { "hop",         required_argument, NULL, 'h' },
    { "greet",       no_argument,       NULL, 'g' },
    { "unix",        required_argument, NULL, 'x' },
    { "target",      required_argument, NULL, 'T' },
    { "database",    required_argument, NULL, 'B' },
    { "calls",       required_argument, NULL, 'C' },
    { "depth",       required_argument, NULL, 'e' },
    { "open",        required_argument, NULL, 'o' },
    { "open-rate",   required_argument, NULL, 'R' },
    { "sse",         no_argument,       NULL, 'E' },
    { "groups",      required_argument, NULL, 'G' },
    { "members",     required_argument, NULL, 'M' },
    { "to",          required_argument, NULL, 'O' },
    { "join",        required_argument, NULL, 'J' },
    { "many",        required_argument, NULL, 'Y' },
    { "idle",        required_argument, NULL, 'I' },
    { "bystander",   required_argument, NULL, 'W' },
    { "other",       required_argument, NULL, 'H' },
    { "strangers",   required_argument, NULL, 'X' },
    { NULL,          0,                 NULL, 0 }
};


int
main(int argc, char **argv)
{
    load_options(argc, argv);

    signal(SIGPIPE, SIG_IGN);

    printf("{");

    load_descriptors();
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
    int  ch;

    while ((ch = getopt_long(argc, argv, "", options, NULL)) != -1) {

        switch (ch) {
        case 'p': conf.port = atoi(optarg);          break;
        case 'a': conf.path = optarg;                break;
        case 'u': conf.publish = optarg;             break;
        case 'P': load_pids(optarg);                 break;
        case 'c': conf.clients = atoi(optarg);       break;
        case 's': conf.size = atoi(optarg);          break;
        case 'i': conf.inflight = atoi(optarg);      break;
        case 'S': conf.signalr = 1;                  break;
        case 't': conf.tokens = optarg;              break;
        case 'z': conf.status = optarg;              break;
        case 'r': conf.rate = atoi(optarg);          break;
        case 'd': conf.paced_ms = atoi(optarg);      break;
        case 'n': conf.publishers = atoi(optarg);    break;
        case 'w': conf.window = atoi(optarg);        break;
        case 'D': conf.saturated_ms = atoi(optarg);  break;
        case 'b': conf.batch = atoi(optarg);         break;
        case 'N': conf.batchers = atoi(optarg);      break;
        case 'k': conf.batched_ms = atoi(optarg);    break;
        case 'A': conf.nats = atoi(optarg);          break;
        case 'y': conf.patience = atoi(optarg);      break;
        case 'm': conf.storms = atoi(optarg);        break;
        case 'h': conf.hop = optarg;                 break;
        case 'g': conf.greet = 1;                    break;
        case 'x': conf.socket = optarg;              break;
        case 'T': conf.target = optarg;              break;
        case 'B': conf.database = atoi(optarg);      break;
        case 'C': conf.calls_ms = atoi(optarg);      break;
        case 'e': conf.depth = atoi(optarg);         break;
        case 'o': conf.open_ms = atoi(optarg);       break;
        case 'R': conf.open_rate = atoi(optarg);     break;
        case 'E': conf.sse = 1;                      break;
        case 'G': conf.groups_ms = atoi(optarg);     break;
        case 'M': conf.members = atoi(optarg);       break;
        case 'O': conf.to = optarg;                  break;
        case 'J': conf.join = optarg;                break;
        case 'Y': conf.many = atoi(optarg);          break;
        case 'I': conf.idle_ms = atoi(optarg);       break;
        case 'W': conf.bystander_ms = atoi(optarg);  break;
        case 'H': conf.other = optarg;               break;
        case 'X': conf.strangers = atoi(optarg);     break;

        default:
            fputs(usage, stderr);
            exit(2);
        }
    }

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
        || (conf.bystander_ms
            && (conf.other == NULL || conf.strangers < 1 || conf.batch < 1
                || conf.strangers >= conf.clients || conf.npids < 3
                || conf.status == NULL))
        || conf.npids == 0 || optind != argc)
    {
        fputs(usage, stderr);
        exit(2);
    }
}


static void
load_pids(char *list)
{
    for (char *p = strtok(list, ","); p; p = strtok(NULL, ",")) {
        if (conf.npids < LOAD_MAX_PIDS) {
            conf.pids[conf.npids++] = atoi(p);
        }
    }
}


static void
load_descriptors(void)
{
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return;
    }

    limit.rlim_cur = limit.rlim_max;
    (void) setrlimit(RLIMIT_NOFILE, &limit);

    if (!conf.many
        && limit.rlim_max < (rlim_t) conf.clients + conf.publishers + 64)
    {
        load_fail("%d clients need more descriptors than the hard limit of "
                  "%lu: raise ulimit -Hn", conf.clients,
                  (unsigned long) limit.rlim_max);
    }
}
