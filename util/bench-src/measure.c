
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <stdio.h>

#include "load.h"


#define LOAD_WARM_UP    8               /* messages; looks at the memory */
#define LOAD_IDLE_PART  5               /* 1/5 of the clients, then all */
#define LOAD_NATS_WRITE 256             /* messages: some 32 KB */


static void load_full_speed(const char *name, int publishers, int batch,
    int ms);
static void load_publish_until(uint64_t end, int batch, uint32_t *held);
static double load_cpu_per(load_sample_t *before, load_sample_t *after,
    double n);
static double load_softirq_per(load_sample_t *before, load_sample_t *after,
    double n);
static void load_storm_rounds(const char *name);


/*
 * What a server allocates once, at its first client or message, is done; and
 * when it is first asked for its status, by whichever worker.
 */

void
load_warm_up(void)
{
    int            n;
    load_result_t  result;
    load_sample_t  sample;

    n = (conf.clients < conf.inflight) ? conf.clients : conf.inflight;

    load_clients_open(0, n);
    load_publishers_open(1);
    load_phase_begin(n);

    for (int i = 0; i < LOAD_WARM_UP; i++) {
        load_publish(1);
        load_phase_drain();
    }

    load_phase_end(&result);
    load_publishers_close();
    load_clients_close();

    for (int i = 0; i < LOAD_WARM_UP; i++) {
        load_sample_memory(&sample);
    }

    load_wait_quiet();
}


/* What a client of this kind takes up, and that it has what is sent. */

void
load_spread_idle(void)
{
    load_result_t  result;

    load_warm_up();
    load_connect_and_idle();

    load_publishers_open(1);
    load_phase_begin(conf.clients);

    for (int i = 0; i < LOAD_WARM_UP; i++) {
        load_publish(1);
        load_phase_drain();
    }

    load_phase_end(&result);
    load_publishers_close();
    load_clients_close();
}


/*
 * Two points of the memory's line, so that what a server keeps for the busiest
 * moment of connecting is in both and falls out.
 */

void
load_connect_and_idle(void)
{
    int            part;
    double         n;
    uint64_t       start, middle, end;
    load_sample_t  s0, s1, s2, s3;

    part = conf.clients / LOAD_IDLE_PART;

    load_sample_cpu(&s0);
    start = load_now();

    load_clients_open(0, part);

    middle = load_now();
    load_wait_quiet();
    load_sample_cpu(&s1);
    load_sample_memory(&s1);

    load_sample_cpu(&s2);
    middle = load_now() - middle;

    load_clients_open(part, conf.clients);

    end = load_now();
    load_wait_quiet();
    load_sample_cpu(&s3);
    load_sample_memory(&s3);

    printf("\"connect\":{\"cpu_us\":%.3f,\"per_second\":%.0f},\n",
           (s1.cpu_us - s0.cpu_us + s3.cpu_us - s2.cpu_us) / conf.clients,
           conf.clients * 1e9 / (end - start - middle));

    n = conf.clients - part;

    printf("\"%s\":{\"anon\":%.1f,\"shmem\":%.1f,\"zone\":%.1f},\n",
           conf.sse ? "idle_sse" : "idle", (s3.anon - s1.anon) / n, (s3.shmem - s1.shmem) / n,
           (s3.zone - s1.zone) / n);
}


/* One message at a time: the next waits until all clients have the last. */

void
load_paced(void)
{
    double         n;
    uint32_t       late, due;
    uint64_t       start, end, now, next;
    load_result_t  result;
    load_sample_t  before, after;

    load_publishers_open(1);
    load_phase_begin(conf.clients);
    load_wait_quiet();

    late = 0;
    due = 0;
    load_sample_cpu(&before);
    start = load_now();
    end = start + conf.paced_ms * 1000000ull;

    for ( ;; ) {
        now = load_now();

        if (now >= end) {
            break;
        }

        if (now >= start + due * 1000000000ull / conf.rate) {
            due++;

            if (load_phase_outstanding() > 0 || !load_publish(1)) {
                late++;
            }
        }

        next = start + due * 1000000000ull / conf.rate;
        now = load_now();

        load_turn(next > now ? (int) ((next - now) / 1000000 + 1) : 0);

        load_clients_ping();
    }

    load_phase_drain();
    load_sample_cpu(&after);

    load_phase_end(&result);
    load_publishers_close();

    n = result.deliveries;

    printf("\"paced\":{\"messages\":%u,\"late\":%u,\"cpu_us\":%.4f,"
           "\"softirq_us\":%.4f,\"p50_ms\":%.3f,\"p99_ms\":%.3f},\n",
           result.messages, late, load_cpu_per(&before, &after, n),
           load_softirq_per(&before, &after, n), result.last.p50_ms,
           result.last.p99_ms);
}


/*
 * A publisher of NATS waits for no answer, so its messages leave together, as
 * many as its client libraries let become one write.
 */

void
load_saturated(void)
{
    load_full_speed("saturated", conf.publishers,
                    conf.nats ? LOAD_NATS_WRITE : 1, conf.saturated_ms);
}


void
load_batched(void)
{
    load_full_speed("batched", conf.batchers, conf.batch, conf.batched_ms);
}


static void
load_full_speed(const char *name, int publishers, int batch, int ms)
{
    double         n;
    uint32_t       held;
    uint64_t       start, end;
    load_result_t  result;
    load_sample_t  before, after;

    load_publishers_open(publishers);
    load_phase_begin(conf.clients);
    load_wait_quiet();

    held = 0;
    load_sample_cpu(&before);
    start = load_now();

    load_publish_until(start + ms * 1000000ull, batch, &held);
    load_phase_drain();

    end = load_now();
    load_sample_cpu(&after);

    load_phase_end(&result);
    load_publishers_close();

    n = result.deliveries;

    printf("\"%s\":{\"messages\":%u,\"held\":%u,\"cpu_us\":%.4f,"
           "\"softirq_us\":%.4f,\"per_second\":%.0f},\n",
           name, result.messages, held, load_cpu_per(&before, &after, n),
           load_softirq_per(&before, &after, n), n * 1e9 / (end - start));
}


void
load_storms(void)
{
    load_storm_rounds("storms");
}


/*
 * What a client costs that needs two requests on two connections, whoever
 * answers them: a POST that nginx answers by itself before the plain WebSocket
 * of a server that has no negotiation.
 */

void
load_hops(void)
{
    conf.hopping = 1;
    load_storm_rounds("hops");
    conf.hopping = 0;
}


/* A connection of the first request serves the next client, too. */

void
load_hops_kept(void)
{
    conf.hopping = 1;
    conf.keeping = 1;
    load_storm_rounds("kept");
    conf.hopping = 0;
    conf.keeping = 0;
}


void
load_direct(void)
{
    conf.direct = 1;
    load_storm_rounds("direct");
    conf.direct = 0;
}


/*
 * Closing is outside the clock; a round begins when the servers are done with
 * the one before.
 */

static void
load_storm_rounds(const char *name)
{
    uint64_t       start, end;
    load_sample_t  before, after;

    printf("\"%s\":[", name);

    for (int i = 0; i < conf.storms; i++) {
        load_clients_close();
        load_wait_quiet();

        load_sample_cpu(&before);
        start = load_now();

        load_clients_open(0, conf.clients);

        end = load_now();
        load_wait_quiet();
        load_sample_cpu(&after);

        printf("%s{\"cpu_us\":%.3f,\"per_second\":%.0f}", i ? "," : "",
               (after.cpu_us - before.cpu_us) / conf.clients,
               conf.clients * 1e9 / (end - start));
    }

    printf("],\n");
    load_clients_close();
}


/*
 * The window is far above what batching needs; it only keeps a server that
 * answers its publishers at once from running into limits that this machine's
 * clients set, not the server.
 */

static void
load_publish_until(uint64_t end, int batch, uint32_t *held)
{
    int  sent;

    while (load_now() < end) {

        sent = 0;

        while (load_phase_outstanding() < conf.window && load_publish(batch)) {
            sent++;
        }

        if (sent == 0 && load_phase_outstanding() >= conf.window) {
            ++*held;
        }

        load_turn(100);
        load_clients_ping();
    }
}


static double
load_cpu_per(load_sample_t *before, load_sample_t *after, double n)
{
    return (after->cpu_us - before->cpu_us) / n;
}


static double
load_softirq_per(load_sample_t *before, load_sample_t *after, double n)
{
    return (after->softirq_us - before->softirq_us) / n;
}
