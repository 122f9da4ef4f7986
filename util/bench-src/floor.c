
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * The floor: what a broadcast costs when there is nothing but the kernel.
 * One thread, one epoll set, one send() for each client and message, a frame
 * made once.  No queue, no timer, no limit, no log; a client that cannot take
 * a frame is waited for.  The HTTP that it reads is what the load generator
 * writes.
 *
 * "floor PORT processes=N" is the same in so many processes, each with the
 * clients that the kernel hands it: the process that has read a message tells
 * the others, and each sends to its own.
 *
 * "floor PORT lose" and "floor PORT twice" do what they say with one frame of
 * a thousand: the load generator's own test, which must fail such a run.
 */


#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor.h"


#define FLOOR_EVENTS   512
#define FLOOR_BUFFER   131072
#define FLOOR_FAULT    1000          /* frames from one fault to the next */
#define FLOOR_GROUPS   10001         /* 0: who has named none */

#define FLOOR_LOSE     1
#define FLOOR_TWICE    2

/* a message is as long as those of the hub's clients */

#define FLOOR_BEFORE   "{\"type\":1,\"target\":\"message\",\"arguments\":[\""
#define FLOOR_BEHIND   "\"]}\x1e"


typedef struct floor_group_s  floor_group_t;

typedef struct {
    int             fd;
    int             place;  /* in the group; -1: a publisher, or nothing */
    floor_group_t  *group;
    int             ends;   /* its last request was said to be so */
    size_t          len;
    char           *held;   /* owned: a request's beginning, or NULL */
} floor_conn_t;


struct floor_group_s {
    int             n;
    int             room;
    floor_conn_t  **subscribers;
};


static void floor_options(int argc, char **argv);
static void floor_watch(int fd, void *data);
static void floor_accept(int s);
static void floor_read(floor_conn_t *c);
static size_t floor_request(floor_conn_t *c, char *buf, size_t len);
static void floor_hop(floor_conn_t *c, char *head, char *end);
static floor_group_t *floor_group(char *head);
static void floor_upgrade(floor_conn_t *c, char *head);
static void floor_publish(floor_group_t *group, const char *body, size_t len);
static void floor_logged(int group, const char *body, size_t len);
static void floor_broadcast(floor_group_t *group, const char *body, size_t len);
static void floor_close(floor_conn_t *c);


static int             ep;
static int             fault;
static int             nframes;
static int             processes = 1;
static floor_group_t   groups[FLOOR_GROUPS];
static char            buffer[FLOOR_BUFFER + 1];


int
main(int argc, char **argv)
{
    int                 i, n, s;
    struct rlimit       limit;
    struct epoll_event  events[FLOOR_EVENTS];

    floor_options(argc, argv);

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }

    s = floor_start(atoi(argv[1]), processes);
    ep = epoll_create1(0);

    if (ep == -1) {
        floor_die("epoll_create1");
    }

    floor_watch(s, NULL);

    if (processes > 1) {
        floor_watch(floor_bell(), groups);
    }

    for ( ;; ) {
        n = epoll_wait(ep, events, FLOOR_EVENTS, -1);

        for (i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                floor_accept(s);

            } else if (events[i].data.ptr == groups) {
                floor_heed(floor_logged);

            } else {
                floor_read(events[i].data.ptr);
            }
        }
    }
}


static void
floor_options(int argc, char **argv)
{
    if (argc == 3 && strncmp(argv[2], "processes=", 10) == 0) {
        processes = atoi(argv[2] + 10);

    } else if (argc == 3) {
        fault = (strcmp(argv[2], "lose") == 0) ? FLOOR_LOSE : FLOOR_TWICE;
    }

    if (argc < 2 || argc > 3 || processes < 1 || processes > FLOOR_PROCESSES) {
        fprintf(stderr, "usage: floor PORT [processes=N|lose|twice]\n");
        exit(2);
    }
}


static void
floor_watch(int fd, void *data)
{
    struct epoll_event  ev;

    ev.events = EPOLLIN;
    ev.data.ptr = data;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
        floor_die("epoll_ctl");
    }
}


static void
floor_accept(int s)
{
    int                 fd, on;
    floor_conn_t       *c;
    struct epoll_event  ev;

    fd = accept4(s, NULL, NULL, SOCK_NONBLOCK);

    if (fd == -1) {
        return;
    }

    c = calloc(1, sizeof(floor_conn_t));

    if (c == NULL) {
        floor_die("calloc");
    }

    c->fd = fd;
    c->place = -1;

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    ev.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    ev.data.ptr = c;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
        floor_die("epoll_ctl");
    }
}


static void
floor_read(floor_conn_t *c)
{
    size_t   used, len, n;
    ssize_t  got;

    for ( ;; ) {

        if (c->len) {
            memcpy(buffer, c->held, c->len);
        }

        got = recv(c->fd, buffer + c->len, FLOOR_BUFFER - c->len, 0);

        if (got == -1 && errno == EAGAIN) {
            return;
        }

        if (got <= 0) {
            floor_close(c);
            return;
        }

        if (c->place != -1) {
            if (buffer[0] == (char) 0x81) {
                floor_answer_hello(c->fd);
            }

            continue;
        }

        len = c->len + got;
        buffer[len] = '\0';
        used = 0;

        while (used < len && (n = floor_request(c, buffer + used, len - used)))
        {
            used += n;
        }

        if (c->ends) {
            floor_close(c);
            return;
        }

        c->len = len - used;
        if (c->len) {
            c->held = realloc(c->held, c->len);

            if (c->held == NULL) {
                floor_die("realloc");
            }

            memcpy(c->held, buffer + used, c->len);
        }
    }
}


/* One whole request, or 0 for more bytes. */

static size_t
floor_request(floor_conn_t *c, char *buf, size_t len)
{
    char    *end, *p;
    size_t   body;

    static const char  answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    end = strstr(buf, "\r\n\r\n");

    if (end == NULL) {
        return 0;
    }

    end += 4;

    if (buf[0] == 'G') {
        floor_upgrade(c, buf);
        return end - buf;
    }

    p = strstr(buf, "Content-Length: ");
    body = (p != NULL && p < end) ? strtoul(p + 16, NULL, 10) : 0;

    if (len < end - buf + body) {
        return 0;
    }

    if (strncmp(buf, "POST /hop ", 10) == 0) {
        floor_hop(c, buf, end);
        return end - buf + body;
    }

    floor_publish(floor_group(buf), end, body);
    floor_send(c->fd, answer, sizeof(answer) - 1);

    return end - buf + body;
}


/* the end follows where it is asked for */

static void
floor_hop(floor_conn_t *c, char *head, char *end)
{
    char  *close;

    floor_answer_hop(c->fd);

    close = strstr(head, "\r\nConnection: close\r\n");
    c->ends = (close != NULL && close < end);
}


/* "?group=N" in the request line: those who said the same have it, only they */

static floor_group_t *
floor_group(char *head)
{
    char           *p;
    unsigned long   n;

    n = 0;
    p = strstr(head, "?group=");

    if (p != NULL && p < strchr(head, '\r')) {
        n = 1 + strtoul(p + 7, NULL, 10);
    }

    if (n >= FLOOR_GROUPS) {
        floor_die("group");
    }

    return &groups[n];
}


static void
floor_upgrade(floor_conn_t *c, char *head)
{
    char           *key;
    floor_group_t  *group;

    key = strstr(head, "Sec-WebSocket-Key: ");

    if (key == NULL) {
        return;
    }

    floor_answer_upgrade(c->fd, key + 19);

    group = floor_group(head);

    if (group->n == group->room) {
        group->room += group->room ? 1024 : 16;
        group->subscribers = realloc(group->subscribers,
                                     group->room * sizeof(floor_conn_t *));

        if (group->subscribers == NULL) {
            floor_die("realloc");
        }
    }

    c->group = group;
    c->place = group->n;
    group->subscribers[group->n++] = c;
}


static void
floor_publish(floor_group_t *group, const char *body, size_t len)
{
    if (processes == 1) {
        floor_broadcast(group, body, len);
        return;
    }

    floor_add(group - groups, body, len, floor_logged);
}


static void
floor_logged(int group, const char *body, size_t len)
{
    floor_broadcast(&groups[group], body, len);
}


static void
floor_broadcast(floor_group_t *group, const char *body, size_t len)
{
    int          i;
    char        *p;
    size_t       size;
    static char  frame[4 + 65535];

    size = sizeof(FLOOR_BEFORE) - 1 + len + sizeof(FLOOR_BEHIND) - 1;

    if (size > 65535) {
        return;
    }

    p = frame;
    *p++ = (char) 0x81;

    if (size < 126) {
        *p++ = size;

    } else {
        *p++ = 126;
        *p++ = size >> 8;
        *p++ = size & 0xff;
    }

    p = mempcpy(p, FLOOR_BEFORE, sizeof(FLOOR_BEFORE) - 1);
    p = mempcpy(p, body, len);
    p = mempcpy(p, FLOOR_BEHIND, sizeof(FLOOR_BEHIND) - 1);

    size = p - frame;

    for (i = 0; i < group->n; i++) {

        if (fault && ++nframes % FLOOR_FAULT == 0) {

            if (fault == FLOOR_LOSE) {
                continue;
            }

            floor_send(group->subscribers[i]->fd, frame, size);
        }

        floor_send(group->subscribers[i]->fd, frame, size);
    }
}


static void
floor_close(floor_conn_t *c)
{
    floor_group_t  *group;

    group = c->group;

    if (c->place != -1) {
        group->subscribers[c->place] = group->subscribers[--group->n];
        group->subscribers[c->place]->place = c->place;
    }

    close(c->fd);
    free(c->held);
    free(c);
}


void
floor_die(const char *what)
{
    perror(what);
    exit(1);
}
