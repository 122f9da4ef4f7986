
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client.h"


/*
 * Clients that invoke a hub method, which gives back its argument.  Every
 * answer is compared with what it must be, byte by byte: it is this module's
 * spelling of a Completion.
 *
 * In a closed loop a client's next invocation is sent when one was answered.
 * In an open one each has a moment that was drawn before, at random, and is
 * sent then, whatever is still under way; its time counts from that moment,
 * so a server that stands still is not asked more kindly for it.
 */


#define LOAD_CALL_TEXT      256         /* of one invocation, unmasked */
#define LOAD_CALL_FRAME     (LOAD_CALL_TEXT + 8)
#define LOAD_CALL_BUFFER    65536
#define LOAD_CALL_WINDOW    1024        /* of one client, open loop */
#define LOAD_CALL_BATCH     16          /* frames in one send() */
#define LOAD_CALL_DEEP      4           /* every fourth client has several */
#define LOAD_CALL_WARM_NS   500000000ull
#define LOAD_CALL_DRAIN_NS  10000000000ull

#define LOAD_CALL_ID        8           /* digits of an invocation's number */


typedef struct {
    uint32_t    sent;
    uint32_t    answered;
    uint64_t   *due;                    /* owned; open loop: by number */
} load_caller_t;


static void load_calls_open(void);
static void load_calls_answered(load_io_t *io, uint32_t events);
static size_t load_calls_frame(load_client_t *c, u_char *p, size_t len);
static void load_calls_completion(load_client_t *c, u_char *p, size_t len);
static void load_calls_send(load_client_t *c, unsigned n);
static void load_calls_drain(void);
static void load_calls_id(u_char *p, uint32_t n);
static uint64_t load_calls_draw(uint64_t from);
static void load_calls_timer(load_io_t *io, uint32_t events);
static int load_calls_compare(const void *one, const void *two);


static load_caller_t  *callers;
static int             more;            /* closed loop: answers bring calls */
static uint64_t        sent, answered;
static double         *times;           /* open loop: of each call, us */
static size_t          ntimes;
static load_io_t       timer;
static u_char          request[LOAD_CALL_TEXT];
static size_t          request_len, request_text;
static u_char          answer[LOAD_CALL_TEXT];
static size_t          answer_len, answer_text;
static u_char          buffer[LOAD_CALL_BUFFER];

static const u_char    mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
static const char      id_head[] = "{\"type\":1,\"invocationId\":\"";
static const char      answer_head[] = "{\"type\":3,\"invocationId\":\"";
static const char      ping[] = "{\"type\":6}";


void
load_calls(void)
{
    double         own, seconds, n;
    uint64_t       start, end;
    load_sample_t  before, after;

    load_calls_open();

    more = 1;
    end = load_now() + LOAD_CALL_WARM_NS;

    for (int i = 0; i < conf.clients; i++) {
        load_calls_send(load_client(i), i % LOAD_CALL_DEEP ? 1 : conf.depth);
    }

    while (load_now() < end) {
        load_turn(100);
    }

    load_sample_cpu(&before);
    own = load_own_cpu();
    start = load_now();
    n = answered;
    end = start + conf.calls_ms * 1000000ull;

    while (load_now() < end) {
        load_turn(100);
    }

    seconds = (load_now() - start) / 1e9;
    load_sample_cpu(&after);
    own = load_own_cpu() - own;
    n = answered - n;

    more = 0;
    load_calls_drain();

    if (n == 0) {
        load_fail("no invocation was answered");
    }

    printf("\"calls\":{\"answered\":%.0f,\"per_second\":%.0f,"
           "\"server_us\":%.3f,\"database_us\":%.3f,\"load_us\":%.3f},\n",
           n, n / seconds, (after.cpu_us - before.cpu_us) / n,
           (after.database_us - before.database_us) / n, own / n);
}


void
load_calls_at_rate(void)
{
    int              i;
    uint64_t         start, end, due, now;
    load_caller_t   *caller;

    load_calls_open();

    ntimes = 0;
    times = calloc(2 * (size_t) conf.open_rate * (conf.open_ms / 1000 + 1),
                   sizeof(double));

    if (times == NULL) {
        load_fail("no memory");
    }

    for (i = 0; i < conf.clients; i++) {
        callers[i].due = calloc(LOAD_CALL_WINDOW, sizeof(uint64_t));

        if (callers[i].due == NULL) {
            load_fail("no memory");
        }
    }

    start = load_now();
    end = start + conf.open_ms * 1000000ull;
    due = load_calls_draw(start);
    i = 0;

    while (due < end) {
        now = load_now();

        if (due > now) {
            struct itimerspec  at = {
                .it_value.tv_sec = due / 1000000000,
                .it_value.tv_nsec = due % 1000000000
            };

            (void) timerfd_settime(timer.fd, TFD_TIMER_ABSTIME, &at, NULL);
            load_turn(1000);
            continue;
        }

        caller = &callers[i];

        if (caller->sent - caller->answered == LOAD_CALL_WINDOW) {
            load_fail("client %d: %d calls are under way", i,
                      LOAD_CALL_WINDOW);
        }

        caller->due[caller->sent % LOAD_CALL_WINDOW] = due;
        load_calls_send(load_client(i), 1);

        i = (i + 1) % conf.clients;
        due = load_calls_draw(due);
    }

    load_calls_drain();

    if (ntimes == 0) {
        load_fail("no invocation was answered");
    }

    qsort(times, ntimes, sizeof(double), load_calls_compare);

    printf("\"open\":{\"answered\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"max_us\":%.1f},\n", ntimes, times[ntimes / 2],
           times[(ntimes - 1) * 99 / 100], times[ntimes - 1]);

    free(times);

    for (i = 0; i < conf.clients; i++) {
        free(callers[i].due);
        callers[i].due = NULL;
    }
}


/* Once, all clients; the text is made ready but for its digits. */

static void
load_calls_open(void)
{
    int  n;

    if (callers != NULL) {
        return;
    }

    callers = calloc(conf.clients, sizeof(load_caller_t));

    n = snprintf((char *) request, sizeof(request),
                 "%s%08d\",\"target\":\"%s\",\"arguments\":[\"number ",
                 id_head, 0, conf.target);
    request_text = n;
    n += snprintf((char *) request + n, sizeof(request) - n,
                  "%08d\"]}\x1e", 0);
    request_len = n;

    n = snprintf((char *) answer, sizeof(answer),
                 "%s%08d\",\"result\":\"number ", answer_head, 0);
    answer_text = n;
    n += snprintf((char *) answer + n, sizeof(answer) - n, "%08d\"}", 0);
    answer_len = n;

    /* longer ones would need a length of two bytes */

    if (callers == NULL || request_len > 125) {
        load_fail("the method's name is too long");
    }

    load_clients_open(0, conf.clients);

    for (int i = 0; i < conf.clients; i++) {
        load_client(i)->io.handler = load_calls_answered;
    }

    timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    timer.handler = load_calls_timer;

    if (timer.fd == -1) {
        load_fail("timerfd_create() failed: %s", strerror(errno));
    }

    load_watch(&timer, EPOLLIN, 0);
}


static void
load_calls_answered(load_io_t *io, uint32_t events)
{
    size_t           used, len, n;
    ssize_t          got;
    uint32_t         before;
    load_client_t   *c;
    load_caller_t   *caller;

    (void) events;

    c = (load_client_t *) io;
    caller = &callers[c->number];
    before = caller->answered;

    if (c->nheld) {
        memcpy(buffer, c->held, c->nheld);
    }

    got = recv(io->fd, buffer + c->nheld, LOAD_CALL_BUFFER - c->nheld, 0);

    if (got == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (got <= 0) {
        load_fail("client %d: the server closed the connection (%s)",
                  c->number, got ? strerror(errno) : "EOF");
    }

    len = c->nheld + got;
    used = 0;

    while (used < len) {
        n = load_calls_frame(c, buffer + used, len - used);

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

    if (more && caller->answered != before) {
        load_calls_send(c, caller->answered - before);
    }
}


/* the frames that carry answers here, all others as everywhere */

static size_t
load_calls_frame(load_client_t *c, u_char *p, size_t len)
{
    u_char  *end, *record;
    size_t   head, size;

    if (len < 4 || p[0] != 0x81 || p[1] > 126) {
        return load_client_frame(c, p, len);
    }

    head = (p[1] == 126) ? 4 : 2;
    size = (p[1] == 126) ? (size_t) (p[2] << 8 | p[3]) : p[1];

    if (len < head + size) {
        return 0;
    }

    record = p + head;
    end = record + size;

    while (record < end) {
        p = memchr(record, 0x1e, end - record);

        if (p == NULL) {
            load_fail("client %d: a frame ends within a message", c->number);
        }

        load_calls_completion(c, record, p - record);
        record = p + 1;
    }

    return head + size;
}


static void
load_calls_completion(load_client_t *c, u_char *p, size_t len)
{
    load_caller_t  *caller;

    if (len == sizeof(ping) - 1 && memcmp(p, ping, len) == 0) {
        return;
    }

    caller = &callers[c->number];

    if (caller->answered == caller->sent) {
        load_fail("client %d: an answer nobody asked for", c->number);
    }

    load_calls_id(answer + sizeof(answer_head) - 1, caller->answered);
    load_calls_id(answer + answer_text, caller->answered);

    if (len != answer_len || memcmp(p, answer, len) != 0) {
        load_fail("client %d: not the answer of its turn: %.*s", c->number,
                  (int) (len < 300 ? len : 300), p);
    }

    if (caller->due != NULL) {
        times[ntimes++] = (load_now()
                           - caller->due[caller->answered % LOAD_CALL_WINDOW])
                          / 1e3;
    }

    caller->answered++;
    answered++;
}


/* A frame each, as clients send them, in as few system calls as can be. */

static void
load_calls_send(load_client_t *c, unsigned n)
{
    u_char          frames[LOAD_CALL_BATCH * LOAD_CALL_FRAME], *p;
    unsigned        i;
    load_caller_t  *caller;

    caller = &callers[c->number];

    while (n) {
        p = frames;

        for (i = 0; n && i < LOAD_CALL_BATCH; i++, n--) {

            load_calls_id(request + sizeof(id_head) - 1, caller->sent);
            load_calls_id(request + request_text, caller->sent);

            *p++ = 0x81;
            *p++ = 0x80 | request_len;
            memcpy(p, mask, 4);
            p += 4;

            for (size_t k = 0; k < request_len; k++) {
                p[k] = request[k] ^ mask[k & 3];
            }

            p += request_len;
            caller->sent++;
            sent++;
        }

        if (send(c->io.fd, frames, p - frames, MSG_NOSIGNAL) != p - frames) {
            load_fail("client %d: send() failed: %s", c->number,
                      strerror(errno));
        }
    }
}


static void
load_calls_drain(void)
{
    uint64_t  end;

    end = load_now() + LOAD_CALL_DRAIN_NS;

    while (answered < sent) {
        load_turn(100);

        if (load_now() > end) {
            load_fail("lost: %.0f of %.0f answers", (double) (sent - answered),
                      (double) sent);
        }
    }
}


static void
load_calls_id(u_char *p, uint32_t n)
{
    for (int i = LOAD_CALL_ID - 1; i >= 0; i--) {
        p[i] = '0' + n % 10;
        n /= 10;
    }
}


/* the moments of a Poisson process, as those of pgbench -R */

static uint64_t
load_calls_draw(uint64_t from)
{
    static unsigned short  seed[3] = { 1, 2, 3 };

    return from - (uint64_t) (log(1.0 - erand48(seed)) * 1e9
                              / conf.open_rate);
}


static void
load_calls_timer(load_io_t *io, uint32_t events)
{
    uint64_t  n;

    (void) events;

    if (read(io->fd, &n, sizeof(n)) != sizeof(n)) {
        return;
    }
}


static int
load_calls_compare(const void *one, const void *two)
{
    double  a, b;

    a = *(const double *) one;
    b = *(const double *) two;

    return (a > b) - (a < b);
}
