
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef BENCH_COMMIT_H
#define BENCH_COMMIT_H


#include "load.h"


#define COMMIT_MAX_WRITERS  64
#define COMMIT_MAX_RATES    8
#define COMMIT_TEXT         65536


typedef struct {
    const char    *conninfo;
    const char    *set;             /* what each session begins with, or NULL */
    const char    *sql;             /* what is committed; $1 is the message */
    const char    *select;          /* rows behind id $1: id, message; NULL:
                                       nobody listens, clients are told */
    const char    *channel;         /* what is listened to */
    const char    *flush;           /* a folder on the disk of the database */
    int            nobody;          /* neither listener nor clients */
    int            post;            /* over HTTP, there is no database */
    int            writers;
    int            rates[COMMIT_MAX_RATES];     /* commits a second */
    int            nrates;
    int            open_ms;         /* of each rate */
    int            closed_ms;
    int            posts_ms;
} commit_conf_t;


typedef struct {
    uint32_t       commits;
    double         seconds;         /* until the last one was answered */
    double         late_p99_ms;     /* open loop: sent behind their moments */
    double         commit_p50_ms;   /* until it was answered */
    double         commit_p99_ms;
} commit_written_t;


extern commit_conf_t  commit_conf;


/* commit_writer.c: sessions that commit, a thread each */

void commit_writers_open(void);
void commit_writers_start(int rate, int ms);    /* rate 0: closed loop */
int commit_writers_busy(void);
void commit_writers_join(commit_written_t *written);


/* commit_post.c: what they do instead where there is no database */

int commit_post_open(void);
void commit_post(int fd, uint32_t seq);         /* returns with the answer */


/* commit_listen.c: the floor, a session that listens and reads rows */

void commit_listen_open(void);


#endif /* BENCH_COMMIT_H */
