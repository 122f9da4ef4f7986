
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"


#define LOAD_BUFFER        (2 * LOAD_MAX_FRAME)
#define LOAD_MAX_HEAD      8192
#define LOAD_OPEN_NS       30000000000ull
#define LOAD_OPEN_EACH_NS  2000000ull
#define LOAD_PING_NS       15000000000ull    /* protocol's keep-alive */


static void load_client_connect(load_client_t *c, load_state_e state);
static void load_client_handler(load_io_t *io, uint32_t events);
static size_t load_client_negotiated(load_client_t *c, char *buf, size_t len);
static size_t load_client_upgraded(load_client_t *c, char *buf, size_t len);
static int load_kept_take(load_client_t *c);
static void load_kept_close(void);


static load_client_t   *clients;
static int             *kept;       /* connections between two negotiates */
static int              nkept;
static int              opened;
static uint64_t         pings_since;
static uint64_t         pings;
static u_char           buffer[LOAD_BUFFER + 1];


void
load_clients_init(void)
{
    clients = calloc(conf.clients, sizeof(load_client_t));

    if (clients == NULL) {
        load_fail("no memory for %d clients", conf.clients);
    }

    for (int i = 0; i < conf.clients; i++) {
        clients[i].io.fd = -1;
        clients[i].number = conf.first + i;
    }

    kept = calloc(conf.inflight, sizeof(int));

    if (kept == NULL) {
        load_fail("no memory for %d connections", conf.inflight);
    }

    load_tokens_read();
}


void
load_clients_open(int from, int to)
{
    int       next, first;
    uint64_t  start, end;

    next = from;
    first = opened;
    start = load_now();
    end = start + LOAD_OPEN_NS + (to - from) * LOAD_OPEN_EACH_NS;

    while (opened - first < to - from) {

        while (next < to && next - from - (opened - first) < conf.inflight) {
            load_client_connect(&clients[next++],
                                (conf.signalr && !conf.direct) || conf.hopping
                                    ? LOAD_NEGOTIATE : LOAD_UPGRADE);
        }

        load_turn(100);

        if (load_now() > end) {
            load_fail("%d of %d clients connected after %d s",
                      opened - first, to - from,
                      (int) ((end - start) / 1000000000));
        }
    }

    pings_since = load_now();
    pings = 0;
}


void
load_clients_close(void)
{
    for (int i = 0; i < conf.clients; i++) {

        if (clients[i].io.fd == -1) {
            continue;
        }

        if (clients[i].count) {
            load_fail("client %d got %u messages behind the last one", i,
                      clients[i].count);
        }

        close(clients[i].io.fd);
        clients[i].io.fd = -1;

        free(clients[i].held);
        clients[i].held = NULL;
        clients[i].nheld = 0;
        clients[i].nplain = 0;
        clients[i].left = 0;
    }

    load_kept_close();
    opened = 0;
}


/* Spread over the interval, as those of strangers are. */

void
load_clients_ping(void)
{
    uint64_t              due;
    load_client_t        *c;
    static const char     ping[] = "{\"type\":6}\x1e";

    if (!conf.signalr || opened == 0) {
        return;
    }

    due = (uint64_t) ((double) (load_now() - pings_since) * conf.clients
                      / LOAD_PING_NS);

    while (pings < due) {
        c = &clients[pings++ % conf.clients];

        if (c->io.fd != -1 && c->state == LOAD_OPEN) {
            load_client_send(c, 1, ping, sizeof(ping) - 1);
        }
    }
}


/*
 * All clients of a group must have got the same messages in the same order;
 * that the order of the first one is right is checked as the messages come.
 */

void
load_clients_check(int members)
{
    int             first;
    uint32_t        published;
    load_client_t  *c;

    for (int i = 0; i < conf.clients; i++) {
        c = &clients[i];

        if (c->io.fd == -1) {
            continue;
        }

        first = i - i % members;
        published = load_phase_published_to(i / members);

        if (c->count != published) {
            load_fail("client %d got %u of %u messages", i, c->count,
                      published);
        }

        if (c->order != clients[first].order) {
            load_fail("client %d saw another order than client %d", i, first);
        }
    }

    for (int i = 0; i < conf.clients; i++) {
        clients[i].count = 0;
        clients[i].order = 0;
    }
}


static void
load_client_connect(load_client_t *c, load_state_e state)
{
    c->state = state;
    c->sent = 0;
    c->count = 0;
    c->order = 0;
    c->io.handler = load_client_handler;

    if (state != LOAD_NEGOTIATE || !load_kept_take(c)) {
        c->io.fd = load_socket(c->number);
    }

    load_watch(&c->io, EPOLLIN | EPOLLOUT, 0);
}


static void
load_client_handler(load_io_t *io, uint32_t events)
{
    size_t          used, len, n;
    ssize_t         got;
    load_client_t  *c;

    c = (load_client_t *) io;

    if ((events & EPOLLOUT) && !c->sent) {
        load_client_request(c);
        c->sent = 1;
        load_watch(&c->io, EPOLLIN, 1);
        return;
    }

    if (c->nheld) {
        memcpy(buffer, c->held, c->nheld);
    }

    got = recv(io->fd, buffer + c->nheld, LOAD_BUFFER - c->nheld, 0);

    if (got == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (got <= 0) {
        load_fail("client %d: the server closed the connection (%s) in state "
                  "%d", c->number, got ? strerror(errno) : "EOF", c->state);
    }

    len = c->nheld + got;
    buffer[len] = '\0';
    used = 0;

    while (used < len) {

        switch (c->state) {

        case LOAD_NEGOTIATE:
            if (load_client_negotiated(c, (char *) buffer, len)) {
                return;
            }
            n = 0;
            break;

        case LOAD_UPGRADE:
            n = load_client_upgraded(c, (char *) buffer, len);
            break;

        default:
            n = conf.sse  ? load_client_stream(c, buffer + used, len - used)
              : conf.nats ? load_client_nats(c, buffer + used, len - used)
                          : load_client_frame(c, buffer + used, len - used);
        }

        if (n == 0) {
            break;
        }

        used += n;
    }

    c->nheld = len - used;

    if (c->nheld) {
        c->held = realloc(c->held, c->nheld);

        if (c->held == NULL) {
            load_fail("no memory");
        }

        memcpy(c->held, buffer + used, c->nheld);
    }
}


/*
 * The second hop goes over a new connection: a browser's does, too.  That of
 * the first is closed, or kept for whoever comes next.
 */

static size_t
load_client_negotiated(load_client_t *c, char *buf, size_t len)
{
    char    *p, *body, *length;
    size_t   n;

    static const char  key[] = "\"connectionToken\":\"";

    body = strstr(buf, "\r\n\r\n");
    length = strcasestr(buf, "\r\nContent-Length: ");
    n = (body != NULL && length != NULL && length < body)
        ? body + 4 - buf + strtoul(length + 18, NULL, 10) : 0;

    if (n == 0 || len < n) {
        if (len > LOAD_MAX_HEAD || (len > 12 && memcmp(buf + 9, "200", 3))) {
            load_fail("negotiate answered %.60s", buf);
        }

        return 0;
    }

    p = strstr(body, key);

    if (p == NULL || len != n) {
        load_fail("negotiate answered %.60s", body + 4);
    }

    p += sizeof(key) - 1;
    n = strcspn(p, "\"");

    if (n >= sizeof(c->id)) {
        load_fail("the connection token has %zu bytes", n);
    }

    memcpy(c->id, p, n);
    c->id[n] = '\0';

    free(c->held);
    c->held = NULL;
    c->nheld = 0;

    if (conf.keeping) {
        load_unwatch(&c->io);
        kept[nkept++] = c->io.fd;

    } else {
        close(c->io.fd);
    }

    load_client_connect(c, LOAD_UPGRADE);

    return len;
}


/* There are no more than there are connects under way at once. */

static int
load_kept_take(load_client_t *c)
{
    if (nkept == 0) {
        return 0;
    }

    c->io.fd = kept[--nkept];

    return 1;
}


static void
load_kept_close(void)
{
    while (nkept) {
        close(kept[--nkept]);
    }
}


static size_t
load_client_upgraded(load_client_t *c, char *buf, size_t len)
{
    char  *end;

    static const char  hello[] = "{\"protocol\":\"json\",\"version\":1}\x1e";

    end = strstr(buf, "\r\n\r\n");

    if (end == NULL) {
        if (len > LOAD_MAX_HEAD) {
            load_fail("the answer to the upgrade has no end");
        }

        return 0;
    }

    *end = '\0';

    if (conf.sse && len > 12 && memcmp(buf + 9, "200", 3) == 0
        && strcasestr(buf, "\r\nContent-Type: text/event-stream") != NULL)
    {
        load_client_opened(c);

        return end + 4 - buf;
    }

    if (len < 13 || memcmp(buf + 9, "101", 3)
        || strstr(buf, LOAD_WS_ACCEPT) == NULL)
    {
        load_fail("the upgrade was answered %.60s", buf);
    }

    if (conf.signalr || (conf.hopping && conf.greet)) {
        c->state = LOAD_HANDSHAKE;
        load_client_send(c, 1, hello, sizeof(hello) - 1);

    } else if (conf.nats) {
        c->state = LOAD_HANDSHAKE;      /* it speaks first */

    } else {
        load_client_opened(c);
    }

    return end + 4 - buf;
}


void
load_client_opened(load_client_t *c)
{
    c->state = LOAD_OPEN;
    opened++;
}


load_client_t *
load_client(int number)
{
    return &clients[number];
}
