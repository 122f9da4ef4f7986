
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"


#define LOAD_MAX_MESSAGES   (1 << 21)
#define LOAD_STEP           10000000    /* sequence numbers of one phase */
#define LOAD_DRAIN_MAX_NS   120000000000ull


typedef struct {
    uint64_t   at;              /* when it was written to the publisher */
    uint64_t   first;           /* when the first client had it */
    uint64_t   half;            /* when half of them had it */
    uint64_t   done;            /* when the last client had it */
    uint32_t   got;
    uint16_t   publisher;
    uint16_t   group;           /* whom it is for; 0 if there are none */
} load_message_t;


static void load_phase_times(load_times_t *times, double *latency, size_t n);
static int load_compare(const void *one, const void *two);


static uint32_t         phase;          /* in the digits of each message */
static int              subscribers;
static uint32_t         published;
static uint64_t         received;       /* by all clients together */
static int              ngroups = 1;
static uint32_t         sent_to[LOAD_MAX_GROUPS];
static uint32_t        *highest;            /* by group and publisher */
static load_message_t   messages[LOAD_MAX_MESSAGES];


void
load_phase_begin(int n)
{
    free(highest);
    highest = calloc((size_t) ngroups * LOAD_MAX_PUBLISHERS, sizeof(uint32_t));

    if (highest == NULL) {
        load_fail("no memory");
    }

    memset(sent_to, 0, sizeof(sent_to));
    memset(messages, 0, published * sizeof(load_message_t));

    phase = (phase + 1) % 9;
    subscribers = n;
    published = 0;
    received = 0;
}


/* The phases that follow send each message to one of n groups, at random. */

void
load_phase_groups(int n)
{
    ngroups = n;
}


uint32_t
load_phase_next(int publisher)
{
    uint32_t         n;
    load_message_t  *m;

    static uint64_t  state = 88172645463325252ull;

    n = __atomic_fetch_add(&published, 1, __ATOMIC_RELAXED);

    if (n >= LOAD_MAX_MESSAGES) {
        load_fail("more than %d messages in a phase", LOAD_MAX_MESSAGES);
    }

    m = &messages[n];
    m->at = load_now();
    m->publisher = publisher;

    if (ngroups > 1) {

        /* xorshift64, the same groups in each column */

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;

        m->group = state % ngroups;
        sent_to[m->group]++;
    }

    return phase * LOAD_STEP + n;
}


void
load_phase_sent(uint32_t seq)
{
    messages[seq - phase * LOAD_STEP].at = load_now();
}


uint32_t
load_phase_published(void)
{
    return published;
}


int
load_phase_group(uint32_t seq)
{
    return messages[seq - phase * LOAD_STEP].group;
}


uint32_t
load_phase_published_to(int group)
{
    return ngroups > 1 ? sent_to[group] : group ? 0 : published;
}


/*
 * Every client's messages are counted and hashed in order.  The first client's,
 * of each group, are looked at one by one: none twice, and none of a publisher
 * out of turn.
 */

void
load_phase_received(int client, uint32_t *count, uint64_t *order, uint32_t seq)
{
    uint32_t         n, *last;
    load_message_t  *m;

    n = seq - phase * LOAD_STEP;

    if (n >= published) {
        load_fail("client %d got message %u, which this phase never sent",
                  client, seq);
    }

    m = &messages[n];

    if ((client - conf.first) / subscribers != m->group) {
        load_fail("client %d got message %u, which was not for it", client, n);
    }

    if ((client - conf.first) % subscribers == 0) {
        last = &highest[m->group * LOAD_MAX_PUBLISHERS + m->publisher];

        if (n + 1 <= *last) {
            load_fail("client %d got message %u twice or out of turn", client,
                      n);
        }

        *last = n + 1;
    }

    ++*count;
    *order = (*order ^ (n + 1)) * 1099511628211ull;

    received++;

    m->got++;

    if (m->got == 1) {
        m->first = load_now();
    }

    if (m->got == (uint32_t) (subscribers + 1) / 2) {
        m->half = load_now();
    }

    if (m->got == (uint32_t) subscribers) {
        m->done = load_now();
    }
}


double
load_phase_outstanding(void)
{
    return published - (double) received / subscribers;
}


/*
 * 10,000 clients may have ten million deliveries to come: as long as some come,
 * none is called lost.
 */

void
load_phase_drain(void)
{
    uint64_t  now, end, last, seen;

    end = load_now() + LOAD_DRAIN_MAX_NS;
    last = load_now() + conf.patience * 1000000000ull;
    seen = received;

    while (received < (uint64_t) published * subscribers
           || load_publishers_busy())
    {
        load_turn(100);

        now = load_now();

        if (received != seen) {
            seen = received;
            last = now + conf.patience * 1000000000ull;
        }

        if (now > last || now > end) {
            load_fail("lost: %.0f of %.0f deliveries, and none for %d s",
                      (double) published * subscribers - received,
                      (double) published * subscribers,
                      (int) ((now - last) / 1000000000) + conf.patience);
        }
    }
}


void
load_phase_end(load_result_t *result)
{
    double    *latency;
    uint32_t   i;

    latency = calloc(published + 1, sizeof(double));

    if (latency == NULL || published == 0) {
        load_fail("no message was published");
    }

    result->messages = published;
    result->deliveries = received;

    for (i = 0; i < published; i++) {
        latency[i] = (messages[i].first - messages[i].at) / 1e6;
    }

    load_phase_times(&result->first, latency, published);

    for (i = 0; i < published; i++) {
        latency[i] = (messages[i].half - messages[i].at) / 1e6;
    }

    load_phase_times(&result->half, latency, published);

    for (i = 0; i < published; i++) {
        latency[i] = (messages[i].done - messages[i].at) / 1e6;
    }

    load_phase_times(&result->last, latency, published);

    free(latency);

    load_clients_check(subscribers);
}


static void
load_phase_times(load_times_t *times, double *latency, size_t n)
{
    qsort(latency, n, sizeof(double), load_compare);

    times->p50_ms = latency[n / 2];
    times->p99_ms = latency[(n - 1) * 99 / 100];
    times->max_ms = latency[n - 1];
}


static int
load_compare(const void *one, const void *two)
{
    double  a, b;

    a = *(const double *) one;
    b = *(const double *) two;

    return (a > b) - (a < b);
}
