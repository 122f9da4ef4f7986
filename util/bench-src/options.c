
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "load.h"
#include "options.h"


#define OPTIONS_MAX   64


static int options_add(struct option *names, const option_t **places, int n,
    const option_t *table);
static void options_set(const option_t *o, char *value);
static void options_list(option_list_t *list, char *value);


static option_list_t  pids = { conf.pids, &conf.npids, LOAD_MAX_PIDS };

static const option_t  common[] = {
    { "port",        OPTION_INT,  &conf.port },
    { "unix",        OPTION_TEXT, &conf.socket },
    { "path",        OPTION_TEXT, &conf.path },
    { "publish",     OPTION_TEXT, &conf.publish },
    { "publishers",  OPTION_INT,  &conf.publishers },
    { "pids",        OPTION_LIST, &pids },
    { "database",    OPTION_INT,  &conf.database },
    { "clients",     OPTION_INT,  &conf.clients },
    { "size",        OPTION_INT,  &conf.size },
    { "inflight",    OPTION_INT,  &conf.inflight },
    { "signalr",     OPTION_FLAG, &conf.signalr },
    { "tokens",      OPTION_TEXT, &conf.tokens },
    { NULL,          OPTION_FLAG, NULL }
};


void
options_read(int argc, char **argv, const option_t *own, const char *usage)
{
    int              ch, n;
    struct option    names[OPTIONS_MAX + 1];
    const option_t  *places[OPTIONS_MAX];

    n = options_add(names, places, 0, common);
    n = options_add(names, places, n, own);

    memset(&names[n], 0, sizeof(struct option));

    while ((ch = getopt_long(argc, argv, "", names, NULL)) != -1) {

        if (ch < OPTIONS_MAX || ch >= OPTIONS_MAX + n) {
            options_wrong(usage);
        }

        options_set(places[ch - OPTIONS_MAX], optarg);
    }

    if (optind != argc) {
        options_wrong(usage);
    }
}


/* getopt's own answers, '?' and ':', are below OPTIONS_MAX */

static int
options_add(struct option *names, const option_t **places, int n,
    const option_t *table)
{
    for ( /* void */ ; table->name && n < OPTIONS_MAX; table++) {

        names[n].name = table->name;
        names[n].has_arg = (table->kind == OPTION_FLAG) ? no_argument
                                                        : required_argument;
        names[n].flag = NULL;
        names[n].val = OPTIONS_MAX + n;

        places[n++] = table;
    }

    return n;
}


static void
options_set(const option_t *o, char *value)
{
    switch (o->kind) {

    case OPTION_FLAG:
        *(int *) o->value = 1;
        break;

    case OPTION_INT:
        *(int *) o->value = atoi(value);
        break;

    case OPTION_TEXT:
        *(const char **) o->value = value;
        break;

    case OPTION_LIST:
        options_list(o->value, value);
        break;
    }
}


static void
options_list(option_list_t *list, char *value)
{
    for (char *p = strtok(value, ","); p; p = strtok(NULL, ",")) {
        if (*list->n < list->max && atoi(p) > 0) {
            list->numbers[(*list->n)++] = atoi(p);
        }
    }
}


void
options_wrong(const char *usage)
{
    fputs(usage, stderr);
    exit(2);
}


void
options_descriptors(int needed)
{
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return;
    }

    limit.rlim_cur = limit.rlim_max;
    (void) setrlimit(RLIMIT_NOFILE, &limit);

    if (limit.rlim_max < (rlim_t) needed) {
        load_fail("%d descriptors are needed, the hard limit is %lu: raise "
                  "ulimit -Hn", needed, (unsigned long) limit.rlim_max);
    }
}
