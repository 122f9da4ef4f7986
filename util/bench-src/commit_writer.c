
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <errno.h>
#include <libpq-fe.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commit.h"


/*
 * Sessions that commit one message each time, a thread each, so that neither
 * waits for another nor for those who receive.
 *
 * In a closed loop the next statement, a transaction of its own, follows the
 * answer to the last.  In an open one each session draws its moments at random;
 * those of all are then a Poisson process of the whole rate.  What the COMMIT
 * makes visible was sent before it; a message's time begins just before the
 * COMMIT is.  A session that is still busy at its moment is late, which is told.
 */


#define COMMIT_PATIENCE_NS  10000000000ull      /* behind the last moment */


typedef struct {
    PGconn            *pg;
    int                fd;          /* in its place, who posts */
    int                number;
    pthread_t          thread;
    int                rate;        /* of this session, thousandths a second */
    uint64_t           end;
    uint64_t           answered;    /* the last one */
    uint32_t           commits;
    unsigned short     seed[3];
    double            *late;        /* owned: of each commit, ms */
    double            *took;        /* owned: of each commit, ms */
    size_t             room;
    char               text[COMMIT_TEXT + 64];
} commit_writer_t;


static void *commit_writer_run(void *data);
static void commit_writer_open_loop(commit_writer_t *w);
static void commit_writer_closed_loop(commit_writer_t *w);
static void commit_writer_message(commit_writer_t *w, uint32_t seq);
static void commit_writer_exec(commit_writer_t *w, const char *sql);
static void commit_writer_answer(commit_writer_t *w, PGresult *result);
static void commit_writer_keep(commit_writer_t *w, double late, double took);
static void commit_sleep(uint64_t until);
static double commit_rank(double *values, size_t n, double rank);
static int commit_compare(const void *one, const void *two);


static commit_writer_t  writers[COMMIT_MAX_WRITERS];
static int              busy;
static uint64_t         started;


void
commit_writers_open(void)
{
    commit_writer_t  *w;

    for (int i = 0; i < commit_conf.writers; i++) {
        w = &writers[i];

        w->number = i;
        w->seed[0] = 17;
        w->seed[1] = 4;
        w->seed[2] = i;

        if (commit_conf.post) {
            w->fd = commit_post_open();
            continue;
        }

        w->pg = PQconnectdb(commit_conf.conninfo);

        if (PQstatus(w->pg) != CONNECTION_OK) {
            load_fail("writer: %s", PQerrorMessage(w->pg));
        }

        if (commit_conf.set) {
            commit_writer_exec(w, commit_conf.set);
        }

        commit_writer_answer(w, PQprepare(w->pg, "m", commit_conf.sql, 1,
                                          NULL));
    }
}


void
commit_writers_start(int rate, int ms)
{
    int               rc;
    commit_writer_t  *w;

    started = load_now();
    __atomic_store_n(&busy, commit_conf.writers, __ATOMIC_RELEASE);

    for (int i = 0; i < commit_conf.writers; i++) {
        w = &writers[i];

        w->rate = rate * 1000 / commit_conf.writers;
        w->end = started + ms * 1000000ull;
        w->commits = 0;
        w->answered = started;

        rc = pthread_create(&w->thread, NULL, commit_writer_run, w);

        if (rc != 0) {
            load_fail("pthread_create() failed: %s", strerror(rc));
        }
    }
}


int
commit_writers_busy(void)
{
    return __atomic_load_n(&busy, __ATOMIC_ACQUIRE) != 0;
}


void
commit_writers_join(commit_written_t *written)
{
    size_t            n;
    double           *late, *took;
    uint64_t          last;
    commit_writer_t  *w;

    n = 0;
    last = started;

    for (int i = 0; i < commit_conf.writers; i++) {
        w = &writers[i];

        (void) pthread_join(w->thread, NULL);

        n += w->commits;
        last = (w->answered > last) ? w->answered : last;
    }

    late = calloc(n + 1, sizeof(double));
    took = calloc(n + 1, sizeof(double));

    if (late == NULL || took == NULL || n == 0) {
        load_fail("nothing was committed");
    }

    n = 0;

    for (int i = 0; i < commit_conf.writers; i++) {
        w = &writers[i];

        memcpy(late + n, w->late, w->commits * sizeof(double));
        memcpy(took + n, w->took, w->commits * sizeof(double));
        n += w->commits;
    }

    written->commits = n;
    written->seconds = (last - started) / 1e9;
    written->late_p99_ms = commit_rank(late, n, 0.99);
    written->commit_p50_ms = commit_rank(took, n, 0.5);
    written->commit_p99_ms = commit_rank(took, n, 0.99);

    free(late);
    free(took);
}


static void *
commit_writer_run(void *data)
{
    commit_writer_t  *w = data;

    if (w->rate) {
        commit_writer_open_loop(w);

    } else {
        commit_writer_closed_loop(w);
    }

    (void) __atomic_sub_fetch(&busy, 1, __ATOMIC_RELEASE);

    return NULL;
}


static void
commit_writer_open_loop(commit_writer_t *w)
{
    uint32_t  seq;
    uint64_t  due, now, sent;

    due = load_now();

    for ( ;; ) {
        due -= (uint64_t) (log(1.0 - erand48(w->seed)) * 1e12 / w->rate);

        if (due >= w->end) {
            return;
        }

        commit_sleep(due);
        now = load_now();

        if (now > w->end + COMMIT_PATIENCE_NS) {
            load_fail("writer %d is %.1f s behind", w->number,
                      (now - due) / 1e9);
        }

        seq = load_phase_next(w->number);

        if (commit_conf.post) {
            sent = load_now();
            commit_post(w->fd, seq);

        } else {
            commit_writer_exec(w, "BEGIN");
            commit_writer_message(w, seq);

            sent = load_now();
            load_phase_sent(seq);

            commit_writer_exec(w, "COMMIT");
        }

        w->answered = load_now();
        commit_writer_keep(w, (now - due) / 1e6, (w->answered - sent) / 1e6);
    }
}


static void
commit_writer_closed_loop(commit_writer_t *w)
{
    uint64_t  now;

    now = load_now();

    while (now < w->end) {
        commit_writer_message(w, load_phase_next(w->number));

        w->answered = load_now();
        commit_writer_keep(w, 0, (w->answered - now) / 1e6);
        now = w->answered;
    }
}


/* the digits are those that all clients look for */

static void
commit_writer_message(commit_writer_t *w, uint32_t seq)
{
    int          n;
    const char  *params[1];

    n = snprintf(w->text, sizeof(w->text), "[\"#%08u#", seq);

    for (int i = 10; i < conf.size; i++) {
        w->text[n++] = 'a' + (i + seq) % 26;
    }

    memcpy(w->text + n, "\"]", sizeof("\"]"));
    params[0] = w->text;

    commit_writer_answer(w, PQexecPrepared(w->pg, "m", 1, params, NULL, NULL,
                                           0));
}


static void
commit_writer_exec(commit_writer_t *w, const char *sql)
{
    commit_writer_answer(w, PQexec(w->pg, sql));
}


static void
commit_writer_answer(commit_writer_t *w, PGresult *result)
{
    ExecStatusType  status;

    status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        load_fail("writer %d: %s", w->number, PQerrorMessage(w->pg));
    }

    PQclear(result);
}


static void
commit_writer_keep(commit_writer_t *w, double late, double took)
{
    if (w->commits == w->room) {
        w->room = w->room ? 2 * w->room : 1024;
        w->late = realloc(w->late, w->room * sizeof(double));
        w->took = realloc(w->took, w->room * sizeof(double));

        if (w->late == NULL || w->took == NULL) {
            load_fail("no memory");
        }
    }

    w->late[w->commits] = late;
    w->took[w->commits++] = took;
}


static void
commit_sleep(uint64_t until)
{
    struct timespec  ts;

    ts.tv_sec = until / 1000000000;
    ts.tv_nsec = until % 1000000000;

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)
           == EINTR)
    {
        /* void */
    }
}


static double
commit_rank(double *values, size_t n, double rank)
{
    qsort(values, n, sizeof(double), commit_compare);

    return values[(size_t) ((n - 1) * rank)];
}


static int
commit_compare(const void *one, const void *two)
{
    double  a, b;

    a = *(const double *) one;
    b = *(const double *) two;

    return (a > b) - (a < b);
}
