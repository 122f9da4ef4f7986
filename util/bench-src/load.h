
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define LOAD_MAX_PIDS       64
#define LOAD_MAX_PUBLISHERS 1024
#define LOAD_MAX_GROUPS     10000
#define LOAD_MAX_BATCH      10000
#define LOAD_MAX_LINES      4

/*
 * With the default range of ports one source address is good for some 28,000,
 * and connect() looks for a free one among half of them first.
 */
#define LOAD_PER_ADDRESS    10000


typedef struct {
    int            port;
    int            nats;            /* NATS's port for publishers, then
                                       subscribers speak its protocol, too;
                                       or 0 */
    const char    *socket;          /* or a Unix one */
    const char    *path;            /* what a subscriber opens */
    const char    *publish;         /* what a publisher posts to */
    const char    *status;          /* our status page, or NULL */
    const char    *tokens;          /* file, one client token a line, or NULL */
    int            signalr;         /* negotiate + WebSocket + handshake */
    int            sse;             /* an event stream */
    const char    *hop;             /* what a client posts to first while two
                                       hops are measured, or NULL */
    int            hopping;         /* they are */
    int            greet;           /* then all say a hub's handshake, too */
    int            keeping;         /* over connections that are kept */
    int            direct;          /* no negotiate */
    int            clients;
    int            first;           /* the number of the first of them */
    int            size;            /* bytes of a published body */
    int            rate;            /* paced: messages a second */
    int            paced_ms;
    int            publishers;
    int            saturated_ms;
    int            batch;           /* messages a request, or 0 */
    int            batchers;        /* publishers of such requests */
    int            batched_ms;
    int            storms;          /* rounds of connecting all clients */
    int            inflight;        /* connects under way at once */
    int            window;          /* messages under way at once */
    int            patience;        /* seconds without a delivery: it is lost */
    int            members;         /* of a group, or 0: there are none */
    const char    *join;            /* what a path has before the group's */
    const char    *to;              /* number: a subscriber's, a publisher's */
    int            groups_ms;
    int            lines[LOAD_MAX_LINES];       /* messages a request, in turn */
    int            nlines;
    int            many;            /* broadcasts, one after the other */
    int            idle_ms;         /* before them */
    const char    *other;           /* another hub's path, and its clients: */
    int            strangers;       /* so many, the last ones */
    int            bystander_ms;
    const char    *target;          /* the method that is invoked, or NULL */
    int            calls_ms;        /* closed loop */
    int            depth;           /* invocations under way, some clients' */
    int            open_ms;         /* open loop */
    int            open_rate;       /* invocations a second */
    pid_t          database;        /* its children work for us; 0: none */
    pid_t          pids[LOAD_MAX_PIDS];
    int            npids;
} load_conf_t;


/* every descriptor in the epoll set is one of these, placed first */

typedef struct load_io_s  load_io_t;

struct load_io_s {
    int            fd;              /* -1: closed */
    void         (*handler)(load_io_t *io, uint32_t events);
};


typedef struct {
    double         cpu_us;          /* all server processes, since they began */
    double         database_us;     /* the database's processes */
    double         softirq_us;      /* kernel threads that may work for them */
    double         anon;            /* bytes, proportional, private memory */
    double         shmem;           /* bytes, proportional, touched zones */
    double         zone;            /* bytes in use as the status page says */
    double         kernel;          /* bytes of the whole machine's kernel */
} load_sample_t;


typedef struct {
    double         p50_ms;
    double         p99_ms;
    double         max_ms;
} load_times_t;


typedef struct {
    uint32_t       messages;
    double         deliveries;
    load_times_t   first;           /* publish to the first client, */
    load_times_t   half;            /* to half of them, */
    load_times_t   last;            /* to all */
} load_result_t;


extern load_conf_t  conf;


/* loop.c: one epoll set, the clock, the way out */

uint64_t load_now(void);            /* nanoseconds, monotonic */
void load_loop_init(void);
void load_watch(load_io_t *io, uint32_t events, int modify);
void load_unwatch(load_io_t *io);    /* before another has its descriptor */
void load_turn(int timeout_ms);     /* waits once, runs the handlers */
void load_fail(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));


/* client.c: the subscribers */

void load_clients_init(void);
void load_clients_open(int from, int to);       /* returns when all are open */
void load_clients_close(void);
void load_clients_ping(void);                   /* SignalR pings that are due */
void load_clients_check(int members);   /* after a phase: loss and order, in
                                           each group of so many clients */


/* publisher.c: keep-alive HTTP publishers, or NATS's */

void load_publishers_open(int n);
void load_publishers_close(void);
int load_publish(int n);            /* n messages, at most, in one request;
                                       how many, 0: no publisher is free */
int load_publishers_busy(void);
int load_socket(int client);        /* non-blocking connect; -1 cannot be */


/* phase.c: what is under way, and what of it has arrived */

void load_phase_begin(int subscribers);         /* of each message */
void load_phase_groups(int n);
uint32_t load_phase_next(int publisher);        /* the next sequence number,
                                                   from any thread */
void load_phase_sent(uint32_t seq);     /* its time begins anew */
uint32_t load_phase_published(void);
uint32_t load_phase_published_to(int group);
int load_phase_group(uint32_t seq);
void load_phase_received(int client, uint32_t *count, uint64_t *order,
    uint32_t seq);
double load_phase_outstanding(void);            /* messages, may be broken */
void load_phase_drain(void);        /* until all has arrived; fails on loss */
void load_phase_end(load_result_t *result);


/* measure.c: the measurements, each prints its part of the result */

void load_warm_up(void);
void load_connect_and_idle(void);
void load_paced(void);
void load_saturated(void);
void load_batched(void);
void load_storms(void);
void load_hops(void);               /* the same, in two requests for all, */
void load_hops_kept(void);          /* the first over few connections, */
void load_direct(void);             /* without negotiate */
void load_spread_idle(void);        /* of idle clients alone, of any kind */


/* groups.c: messages to groups, of all clients and of a tenth of them */

void load_groups(void);


/* nats.c: NATS's protocol, on a publisher's connection */

char *load_nats_publish(char *p);   /* what stands before a body */
const char *load_nats_answer(const char *line, int *ready);


/* many.c: idle clients in processes of their own */

void load_many(void);


/* status.c: what our status page says */

double load_zone_used(void);                    /* bytes */
int load_worker_clients(pid_t pid);


/* bystander.c: what a worker does for a hub that it has no clients of */

void load_bystander(void);


/* call.c: clients that invoke a method; both print their part */

void load_calls(void);              /* as fast as answers come */
void load_calls_at_rate(void);      /* at moments of their own */


/* proc.c: what the servers used */

void load_sample_cpu(load_sample_t *s);
void load_sample_memory(load_sample_t *s);
void load_wait_quiet(void);         /* until the servers do nothing */
double load_process_cpu(pid_t pid); /* microseconds, since it began */
double load_own_cpu(void);          /* microseconds, since it began */


#endif /* BENCH_LOAD_H */
