
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "commit.h"


/*
 * The floor: one session that LISTENs, and at each bell reads the rows behind
 * its cursor.  Ids are drawn before they are committed, so a row may come behind
 * one with a higher id; the cursor stands below the lowest id that is missing,
 * and what is read twice for it is known by its id.
 */


#define COMMIT_MAX_ROWS  (1 << 20)


static void commit_listen_handler(load_io_t *io, uint32_t events);
static void commit_listen_read(void);
static void commit_listen_row(uint64_t id, const char *message);
static void commit_listen_exec(const char *sql);


static load_io_t   io;
static PGconn     *pg;
static uint64_t    cursor;                  /* all up to it were seen */
static u_char      seen[COMMIT_MAX_ROWS];   /* by id */


void
commit_listen_open(void)
{
    char  sql[128];

    pg = PQconnectdb(commit_conf.conninfo);

    if (PQstatus(pg) != CONNECTION_OK) {
        load_fail("listener: %s", PQerrorMessage(pg));
    }

    snprintf(sql, sizeof(sql), "LISTEN %s", commit_conf.channel);
    commit_listen_exec(sql);

    /* by the index, whatever is not yet known of the table's size */

    commit_listen_exec("SET enable_seqscan = off");
    commit_listen_exec("SET enable_bitmapscan = off");
    commit_listen_exec("SET plan_cache_mode = force_generic_plan");

    if (PQresultStatus(PQprepare(pg, "r", commit_conf.select, 1, NULL))
        != PGRES_COMMAND_OK)
    {
        load_fail("listener: %s", PQerrorMessage(pg));
    }

    io.fd = PQsocket(pg);
    io.handler = commit_listen_handler;

    load_watch(&io, EPOLLIN, 0);
}


static void
commit_listen_handler(load_io_t *ev, uint32_t events)
{
    int        bells;
    PGnotify  *notify;

    (void) ev;
    (void) events;

    if (!PQconsumeInput(pg)) {
        load_fail("listener: %s", PQerrorMessage(pg));
    }

    /* a bell may come along with the rows: it is for later ones */

    for ( ;; ) {
        bells = 0;

        while ((notify = PQnotifies(pg)) != NULL) {
            PQfreemem(notify);
            bells++;
        }

        if (bells == 0) {
            return;
        }

        commit_listen_read();
    }
}


static void
commit_listen_read(void)
{
    int          n;
    char         text[32];
    PGresult    *result;
    const char  *params[1];

    snprintf(text, sizeof(text), "%lu", (unsigned long) cursor);
    params[0] = text;

    result = PQexecPrepared(pg, "r", 1, params, NULL, NULL, 0);

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        load_fail("listener: %s", PQerrorMessage(pg));
    }

    n = PQntuples(result);

    for (int i = 0; i < n; i++) {
        commit_listen_row(strtoul(PQgetvalue(result, i, 0), NULL, 10),
                          PQgetvalue(result, i, 1));
    }

    PQclear(result);
}


static void
commit_listen_row(uint64_t id, const char *message)
{
    const char       *p;
    static uint32_t   count;
    static uint64_t   order;

    if (id == 0 || id >= COMMIT_MAX_ROWS) {
        load_fail("listener: row %lu", (unsigned long) id);
    }

    if (seen[id]) {
        return;
    }

    seen[id] = 1;

    while (cursor + 1 < COMMIT_MAX_ROWS && seen[cursor + 1]) {
        cursor++;
    }

    p = strchr(message, '#');

    if (p == NULL) {
        load_fail("listener: a row without a number");
    }

    load_phase_received(0, &count, &order, strtoul(p + 1, NULL, 10));
}


static void
commit_listen_exec(const char *sql)
{
    PGresult  *result;

    result = PQexec(pg, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        load_fail("listener: %s", PQerrorMessage(pg));
    }

    PQclear(result);
}
