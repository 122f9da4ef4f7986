
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "load.h"


#define LOAD_EVENTS  512


static int  load_ep = -1;


uint64_t
load_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


void
load_loop_init(void)
{
    load_ep = epoll_create1(EPOLL_CLOEXEC);

    if (load_ep == -1) {
        load_fail("epoll_create1() failed: %s", strerror(errno));
    }
}


void
load_watch(load_io_t *io, uint32_t events, int modify)
{
    struct epoll_event  ev;

    memset(&ev, 0, sizeof(ev));
    ev.events = events;
    ev.data.ptr = io;

    if (epoll_ctl(load_ep, modify ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, io->fd, &ev)
        == -1)
    {
        load_fail("epoll_ctl() failed: %s", strerror(errno));
    }
}


void
load_unwatch(load_io_t *io)
{
    if (epoll_ctl(load_ep, EPOLL_CTL_DEL, io->fd, NULL) == -1) {
        load_fail("epoll_ctl() failed: %s", strerror(errno));
    }
}


/*
 * A handler may close its own descriptor, never another's, so an event that
 * was already fetched always finds the object it was fetched for.
 */

void
load_turn(int timeout_ms)
{
    int                        i, n;
    load_io_t                 *io;
    static struct epoll_event  events[LOAD_EVENTS];

    n = epoll_wait(load_ep, events, LOAD_EVENTS, timeout_ms);

    if (n == -1 && errno != EINTR) {
        load_fail("epoll_wait() failed: %s", strerror(errno));
    }

    for (i = 0; i < n; i++) {
        io = events[i].data.ptr;

        if (io->fd != -1) {
            io->handler(io, events[i].events);
        }
    }
}


/* A failed run is one JSON object too: the driver shows the sentence. */

void
load_fail(const char *fmt, ...)
{
    char     text[512];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    for (char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\' || (unsigned char) *p < 0x20) {
            *p = ' ';
        }
    }

    /* what stands of the result already is closed by the error */
    printf("\"error\":\"%s\"}\n", text);
    fflush(stdout);

    _exit(1);
}
