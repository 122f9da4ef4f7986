
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"


#define LOAD_ANSWER   8192
#define LOAD_HEAD     1024
#define LOAD_AROUND   80             /* of a message, beside its body */
#define LOAD_REQUEST  1048576

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT  24
#endif


typedef struct {
    load_io_t   io;
    int         number;
    int         connected;
    int         busy;           /* an answer is due, or the rest is to leave */
    int         sent;           /* messages in the last request */
    char       *rest;           /* owned: of a request, or NULL */
    size_t      nrest;
    size_t      len;
    char        answer[LOAD_ANSWER + 1];
} load_publisher_t;


static char *load_publish_requests(char *request, size_t *len,
    load_publisher_t *p, int n);
static char *load_publish_head(char *body, size_t len, int n, uint32_t seq);
static char *load_publish_message(char *p, uint32_t seq);
static char *load_publish_line(char *p, uint32_t seq);
static char *load_publish_body(char *p, uint32_t seq);
static void load_publisher_send(load_publisher_t *p, const char *data,
    size_t len);
static void load_publisher_rest(load_publisher_t *p);
static int load_socket_unix(void);
static void load_publisher_handler(load_io_t *io, uint32_t events);
static void load_publisher_lines(load_publisher_t *p);
static int load_answer_complete(load_publisher_t *p);


static load_publisher_t  *publishers;
static int                npublishers;


void
load_publishers_open(int n)
{
    int  waiting;

    publishers = calloc(n, sizeof(load_publisher_t));
    npublishers = n;

    if (publishers == NULL) {
        load_fail("no memory");
    }

    for (int i = 0; i < n; i++) {
        publishers[i].number = i;
        publishers[i].io.fd = load_socket(-1);
        publishers[i].io.handler = load_publisher_handler;

        load_watch(&publishers[i].io, EPOLLIN | EPOLLOUT, 0);
    }

    for (int turn = 0; turn < 500; turn++) {
        waiting = 0;

        for (int i = 0; i < n; i++) {
            waiting += !publishers[i].connected;
        }

        if (waiting == 0) {
            return;
        }

        load_turn(10);
    }

    load_fail("publishers cannot connect to port %d", conf.port);
}


void
load_publishers_close(void)
{
    for (int i = 0; i < npublishers; i++) {
        close(publishers[i].io.fd);
        free(publishers[i].rest);
    }

    free(publishers);

    publishers = NULL;
    npublishers = 0;
}


/*
 * One publisher posts one message, or n of them as lines of one request, and
 * waits for the answer.  NATS has none: who wrote is free again.
 */

int
load_publish(int n)
{
    char              *data;
    size_t             len;
    load_publisher_t  *p;

    static int         last;
    static char        request[LOAD_REQUEST];

    p = NULL;

    for (int i = 0; i < npublishers; i++) {
        last = (last + 1) % npublishers;

        if (!publishers[last].busy) {
            p = &publishers[last];
            break;
        }
    }

    if (p == NULL) {
        return 0;
    }

    data = load_publish_requests(request, &len, p, n);

    if (!conf.nats) {
        p->busy = 1;
        p->len = 0;
    }

    load_publisher_send(p, data, len);

    return p->sent;
}


/*
 * n messages, or as many as there is room for.  What stands before them tells
 * how long they are: it is written behind them, where room was left for it.
 */

static char *
load_publish_requests(char *request, size_t *len, load_publisher_t *p, int n)
{
    int        i, room;
    char      *end, *body;
    uint32_t   seq;

    room = (LOAD_REQUEST - LOAD_HEAD) / (conf.size + LOAD_AROUND);

    if (n > room) {
        n = room;
    }

    p->sent = n;

    body = request + LOAD_HEAD;
    end = body;
    seq = 0;

    for (i = 0; i < n; i++) {
        seq = load_phase_next(p->number);
        end = (n > 1 && !conf.nats) ? load_publish_line(end, seq)
                                    : load_publish_message(end, seq);
    }

    if (!conf.nats) {
        body = load_publish_head(body, end - body, n, seq);
    }

    *len = end - body;

    return body;
}


/* ends where the body begins; one message alone has its group in the URL */

static char *
load_publish_head(char *body, size_t len, int n, uint32_t seq)
{
    int   size;
    char  head[LOAD_HEAD], group[64];

    group[0] = '\0';

    if (conf.members && n == 1) {
        snprintf(group, sizeof(group), "%s%d", conf.to, load_phase_group(seq));
    }

    size = snprintf(head, sizeof(head),
                    "POST %s%s HTTP/1.1\r\n"
                    "Host: 127.0.0.1:%d\r\n"
                    "Content-Type: %s\r\n"
                    "Content-Length: %zu\r\n\r\n",
                    conf.publish, group, conf.port,
                    n > 1 ? "application/x-ndjson" : "text/plain", len);

    return memcpy(body - size, head, size);
}


static char *
load_publish_message(char *p, uint32_t seq)
{
    if (!conf.nats) {
        return load_publish_body(p, seq);
    }

    p = load_publish_body(load_nats_publish(p), seq);

    *p++ = '\r';
    *p++ = '\n';

    return p;
}


/* of application/x-ndjson */

static char *
load_publish_line(char *p, uint32_t seq)
{
    if (conf.members) {
        p += sprintf(p, "{\"target\":\"message\",\"group\":\"%d\","
                     "\"arguments\":[", load_phase_group(seq));
    }

    *p++ = '"';
    p = load_publish_body(p, seq);
    *p++ = '"';

    if (conf.members) {
        *p++ = ']';
        *p++ = '}';
    }

    *p++ = '\n';

    return p;
}


static char *
load_publish_body(char *p, uint32_t seq)
{
    int  i;

    i = sprintf(p, "#%08u#", seq);

    for ( /* void */ ; i < conf.size; i++) {
        p[i] = 'a' + (i + seq) % 26;
    }

    return p + conf.size;
}


/* What the socket does not take leaves later; until then no more is given. */

static void
load_publisher_send(load_publisher_t *p, const char *data, size_t len)
{
    ssize_t  n;

    n = p->rest ? 0 : send(p->io.fd, data, len, MSG_NOSIGNAL);

    if (n == -1 && errno == EAGAIN) {
        n = 0;
    }

    if (n == -1) {
        load_fail("publisher: send() failed: %s", strerror(errno));
    }

    if ((size_t) n == len) {
        return;
    }

    p->rest = realloc(p->rest, p->nrest + len - n);

    if (p->rest == NULL) {
        load_fail("no memory");
    }

    memcpy(p->rest + p->nrest, data + n, len - n);
    p->nrest += len - n;

    p->busy = 1;
    load_watch(&p->io, EPOLLIN | EPOLLOUT, 1);
}


static void
load_publisher_rest(load_publisher_t *p)
{
    ssize_t  n;

    n = send(p->io.fd, p->rest, p->nrest, MSG_NOSIGNAL);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n == -1) {
        load_fail("publisher: send() failed: %s", strerror(errno));
    }

    p->nrest -= n;
    memmove(p->rest, p->rest + n, p->nrest);

    if (p->nrest) {
        return;
    }

    free(p->rest);
    p->rest = NULL;

    p->busy = !conf.nats;
    load_watch(&p->io, EPOLLIN, 1);
}


int
load_publishers_busy(void)
{
    int  n;

    n = 0;

    for (int i = 0; i < npublishers; i++) {
        n += publishers[i].busy;
    }

    return n;
}


int
load_socket(int client)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    if (conf.socket != NULL) {
        return load_socket_unix();
    }

    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        load_fail("socket() failed: %s", strerror(errno));
    }

    on = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;

    if (client >= LOAD_PER_ADDRESS) {
        (void) setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
                          sizeof(on));

        sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK
                                    + client / LOAD_PER_ADDRESS);

        if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
            load_fail("bind() failed: %s", strerror(errno));
        }
    }

    sin.sin_port = htons(client == -1 && conf.nats ? conf.nats : conf.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        && errno != EINPROGRESS)
    {
        load_fail("connect() failed: %s", strerror(errno));
    }

    return fd;
}


/*
 * A connect to a Unix socket is done at once, or the server's backlog is full.
 */

static int
load_socket_unix(void)
{
    int                 fd;
    struct sockaddr_un  sun;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;

    if (fd == -1 || strlen(conf.socket) >= sizeof(sun.sun_path)) {
        load_fail("socket() failed: %s", strerror(errno));
    }

    strcpy(sun.sun_path, conf.socket);

    if (connect(fd, (struct sockaddr *) &sun, sizeof(sun)) == -1) {
        load_fail("connect() failed: %s", strerror(errno));
    }

    return fd;
}


static void
load_publisher_handler(load_io_t *io, uint32_t events)
{
    ssize_t            n;
    load_publisher_t  *p;

    p = (load_publisher_t *) io;

    if (p->rest && (events & EPOLLOUT)) {
        load_publisher_rest(p);
        return;
    }

    if (!p->connected && (events & EPOLLOUT)) {
        p->connected = !conf.nats;      /* which speaks first */
        load_watch(io, EPOLLIN, 1);
        return;
    }

    n = recv(io->fd, p->answer + p->len, LOAD_ANSWER - p->len, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        load_fail("publisher: the server closed the connection");
    }

    p->len += n;
    p->answer[p->len] = '\0';

    if (conf.nats) {
        load_publisher_lines(p);

    } else if (load_answer_complete(p)) {
        p->busy = 0;
    }
}


/* of NATS, who asks now and then whether one is still there */

static void
load_publisher_lines(load_publisher_t *p)
{
    char        *line, *end;
    const char  *answer;

    line = p->answer;

    while ((end = strchr(line, '\n')) != NULL) {
        answer = load_nats_answer(line, &p->connected);

        if (answer) {
            load_publisher_send(p, answer, strlen(answer));
        }

        line = end + 1;
    }

    p->len -= line - p->answer;
    memmove(p->answer, line, p->len);
}


static int
load_answer_complete(load_publisher_t *p)
{
    char    *end, *length;
    size_t   body;

    end = strstr(p->answer, "\r\n\r\n");

    if (end == NULL) {
        if (p->len == LOAD_ANSWER) {
            load_fail("publisher: the answer is too long");
        }

        return 0;
    }

    if (p->answer[9] != '2') {
        *strchr(p->answer, '\r') = '\0';
        load_fail("publisher: answered %.60s", p->answer);
    }

    body = p->len - (end + 4 - p->answer);
    length = strcasestr(p->answer, "\r\nContent-Length:");

    if (length != NULL && length < end) {
        return body >= strtoul(length + 17, NULL, 10);
    }

    if (strcasestr(p->answer, "\r\nTransfer-Encoding: chunked") != NULL) {
        return body >= 5 && memcmp(p->answer + p->len - 5, "0\r\n\r\n", 5) == 0;
    }

    return 1;
}
