
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commit.h"
#include "options.h"


#define COMMIT_WARM_MS      300
#define COMMIT_WARM_RATE    200
#define COMMIT_FLUSHES      101
#define COMMIT_PAGE         8192


static void commit_options(int argc, char **argv);
static void commit_flush(void);
static void commit_warm_up(void);
static void commit_at_rate(int rate, int ms);
static void commit_closed(int ms);
static void commit_posts(int ms);
static void commit_begin(void);
static void commit_write(commit_written_t *written, int rate, int ms);
static double commit_end(load_result_t *result, uint64_t since);
static void commit_print(load_result_t *result);
static void commit_print_times(const char *name, load_times_t *times);
static int commit_compare(const void *one, const void *two);


load_conf_t  conf = {
    .path = "/",
    .publish = "/publish",
    .clients = 1,
    .size = 100,
    .publishers = 32,
    .inflight = 32,
    .patience = 10
};

commit_conf_t  commit_conf = {
    .writers = 8
};


static const char  usage[] =
    "usage: commit --conninfo TEXT --sql TEXT [--set TEXT] | --post\n"
    "              [--writers N]\n"
    "              [--select TEXT --channel NAME | --nobody |\n"
    "               --port N --unix PATH --path PATH --pids N,N...\n"
    "               --clients N [--signalr] [--tokens FILE] [--inflight N]]\n"
    "              [--database PID] [--size N]\n"
    "              [--rates N,N... --open MS] [--closed MS]\n"
    "              [--publish PATH --publishers N --posts MS]\n"
    "       commit --flush FOLDER\n"
    "Prints one JSON object; \"error\" is not null in a failed run.\n";


static option_list_t  rates = {
    commit_conf.rates, &commit_conf.nrates, COMMIT_MAX_RATES
};

static const option_t  options[] = {
    { "conninfo",   OPTION_TEXT,  &commit_conf.conninfo },
    { "sql",        OPTION_TEXT,  &commit_conf.sql },
    { "set",        OPTION_TEXT,  &commit_conf.set },
    { "select",     OPTION_TEXT,  &commit_conf.select },
    { "channel",    OPTION_TEXT,  &commit_conf.channel },
    { "nobody",     OPTION_FLAG,  &commit_conf.nobody },
    { "post",       OPTION_FLAG,  &commit_conf.post },
    { "writers",    OPTION_INT,   &commit_conf.writers },
    { "rates",      OPTION_LIST,  &rates },
    { "open",       OPTION_INT,   &commit_conf.open_ms },
    { "closed",     OPTION_INT,   &commit_conf.closed_ms },
    { "posts",      OPTION_INT,   &commit_conf.posts_ms },
    { "flush",      OPTION_TEXT,  &commit_conf.flush },
    { NULL,         OPTION_FLAG,  NULL }
};


int
main(int argc, char **argv)
{
    commit_options(argc, argv);

    signal(SIGPIPE, SIG_IGN);

    printf("{");

    if (commit_conf.flush) {
        commit_flush();
        printf("\"error\":null}\n");
        return 0;
    }

    options_descriptors(conf.clients + conf.publishers + 64);
    load_loop_init();

    if (commit_conf.select) {
        commit_listen_open();

    } else if (!commit_conf.nobody) {
        load_clients_init();
        load_clients_open(0, conf.clients);
    }

    commit_writers_open();

    commit_warm_up();

    for (int i = 0; i < commit_conf.nrates; i++) {
        commit_at_rate(commit_conf.rates[i], commit_conf.open_ms);
    }

    if (commit_conf.closed_ms) {
        commit_closed(commit_conf.closed_ms);
    }

    if (commit_conf.posts_ms) {
        commit_posts(commit_conf.posts_ms);
    }

    printf("\"error\":null}\n");

    return 0;
}


static void
commit_options(int argc, char **argv)
{
    options_read(argc, argv, options, usage);

    if (commit_conf.flush) {
        return;
    }

    if ((!commit_conf.post
         && (commit_conf.conninfo == NULL || commit_conf.sql == NULL))
        || (commit_conf.post && commit_conf.closed_ms)
        || commit_conf.writers < 1 || commit_conf.writers > COMMIT_MAX_WRITERS
        || (commit_conf.select == NULL) != (commit_conf.channel == NULL)
        || (commit_conf.nrates && commit_conf.open_ms < 1)
        || conf.clients < 1 || conf.inflight < 1
        || conf.size < 10 || conf.size > 65536
        || conf.publishers < 1 || conf.publishers > LOAD_MAX_PUBLISHERS)
    {
        options_wrong(usage);
    }

    if (commit_conf.select || commit_conf.nobody) {
        conf.clients = 0;
    }
}


/* What it costs that a page is on the disk, as PostgreSQL has it there. */

static void
commit_flush(void)
{
    int          fd;
    char         path[4096];
    double       us[COMMIT_FLUSHES];
    uint64_t     start;
    static char  page[COMMIT_PAGE];

    snprintf(path, sizeof(path), "%s/flush", commit_conf.flush);

    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd == -1) {
        load_fail("cannot write %s: %s", path, strerror(errno));
    }

    for (int i = 0; i < COMMIT_FLUSHES; i++) {
        page[0] = i;
        start = load_now();

        if (pwrite(fd, page, COMMIT_PAGE, 0) != COMMIT_PAGE
            || fdatasync(fd) == -1)
        {
            load_fail("cannot write %s: %s", path, strerror(errno));
        }

        us[i] = (load_now() - start) / 1e3;
    }

    close(fd);
    unlink(path);

    qsort(us, COMMIT_FLUSHES, sizeof(double), commit_compare);

    printf("\"flush_us\":%.1f,\n", us[COMMIT_FLUSHES / 2]);
}


/* Sessions prepare on first use, and functions keep plans of theirs. */

static void
commit_warm_up(void)
{
    load_result_t     result;
    commit_written_t  written;

    commit_begin();
    commit_write(&written, COMMIT_WARM_RATE, COMMIT_WARM_MS);
    (void) commit_end(&result, load_now());
}


static void
commit_at_rate(int rate, int ms)
{
    load_result_t     result;
    commit_written_t  written;

    commit_begin();
    commit_write(&written, rate, ms);
    (void) commit_end(&result, load_now());

    printf("\"at_%d\":{\"commits\":%u,\"late_p99_ms\":%.3f,"
           "\"commit_p50_ms\":%.3f,\"commit_p99_ms\":%.3f",
           rate, written.commits, written.late_p99_ms, written.commit_p50_ms,
           written.commit_p99_ms);
    commit_print(&result);
}


/*
 * A rate that the way to the clients does not keep up with is no sustained one:
 * how long the last of them came behind the last commit is told, and CPU is that
 * until then.
 */

static void
commit_closed(int ms)
{
    double            own, behind;
    load_result_t     result;
    load_sample_t     before, after;
    commit_written_t  written;

    load_sample_cpu(&before);
    own = load_own_cpu();

    commit_begin();
    commit_write(&written, 0, ms);
    behind = commit_end(&result, load_now());

    load_sample_cpu(&after);
    own = load_own_cpu() - own;

    printf("\"closed\":{\"commits\":%u,\"per_second\":%.1f,"
           "\"commit_p50_ms\":%.3f,\"commit_p99_ms\":%.3f,"
           "\"behind_ms\":%.3f,\"server_us\":%.2f,\"database_us\":%.2f,"
           "\"load_us\":%.2f",
           written.commits, written.commits / written.seconds,
           written.commit_p50_ms, written.commit_p99_ms, behind,
           (after.cpu_us - before.cpu_us) / written.commits,
           (after.database_us - before.database_us) / written.commits,
           own / written.commits);
    commit_print(&result);
}


/* HTTP publishers: each posts its next message when the last is answered. */

static void
commit_posts(int ms)
{
    double         seconds;
    uint64_t       start, end;
    load_result_t  result;
    load_sample_t  before, after;

    load_publishers_open(conf.publishers);
    load_sample_cpu(&before);

    commit_begin();
    start = load_now();
    end = start + ms * 1000000ull;

    while (load_now() < end) {

        while (load_publish(1)) {
            /* void */
        }

        load_turn(10);
        load_clients_ping();
    }

    (void) commit_end(&result, load_now());
    seconds = (load_now() - start) / 1e9;
    load_sample_cpu(&after);
    load_publishers_close();

    printf("\"posts\":{\"commits\":%u,\"per_second\":%.1f,"
           "\"server_us\":%.2f,\"database_us\":%.2f",
           result.messages, result.messages / seconds,
           (after.cpu_us - before.cpu_us) / result.messages,
           (after.database_us - before.database_us) / result.messages);
    commit_print(&result);
}


static void
commit_begin(void)
{
    load_phase_begin(conf.clients ? conf.clients : 1);
}


static void
commit_write(commit_written_t *written, int rate, int ms)
{
    commit_writers_start(rate, ms);

    while (commit_writers_busy()) {
        load_turn(10);
        load_clients_ping();
    }

    commit_writers_join(written);
}


/* returns how long the last message came behind the moment, ms */

static double
commit_end(load_result_t *result, uint64_t since)
{
    double  behind;

    memset(result, 0, sizeof(load_result_t));

    if (commit_conf.nobody) {
        return 0;
    }

    load_phase_drain();
    behind = (load_now() - since) / 1e6;
    load_phase_end(result);

    return behind;
}


static void
commit_print(load_result_t *result)
{
    if (result->messages) {
        commit_print_times("first", &result->first);
        commit_print_times("half", &result->half);
        commit_print_times("last", &result->last);
    }

    printf("},\n");
}


static void
commit_print_times(const char *name, load_times_t *times)
{
    printf(",\"%s\":{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}", name,
           times->p50_ms, times->p99_ms, times->max_ms);
}


static int
commit_compare(const void *one, const void *two)
{
    double  a, b;

    a = *(const double *) one;
    b = *(const double *) two;

    return (a > b) - (a < b);
}
