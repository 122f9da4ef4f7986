
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * A ring of messages in memory that the processes of the floor share: a lock
 * for who adds, a position for each who reads, an eventfd to wake each.  Who
 * adds to a full ring waits for the last reader and reads on meanwhile, so two
 * who wait for each other do not wait for ever.
 */


#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor.h"


#define FLOOR_SLOTS  4096
#define FLOOR_BODY   1016


typedef struct {
    int                 group;
    uint32_t            len;
    char                body[FLOOR_BODY];
} floor_slot_t;


typedef struct {
    uint64_t            next;       /* to read, atomic */
    char                apart[56];  /* a cache line for each */
} floor_reader_t;


typedef struct {
    pthread_mutex_t     lock;
    uint64_t            last;       /* one behind, atomic */
    floor_reader_t      readers[FLOOR_PROCESSES];
    floor_slot_t        slots[FLOOR_SLOTS];
} floor_log_t;


static int floor_listen(int port);
static void floor_share(void);
static void floor_read_on(floor_handler_pt handler);
static int floor_full(void);


static int           processes;
static int           process;       /* this one's number */
static int           bells[FLOOR_PROCESSES];
static floor_log_t  *shared;


/*
 * All sockets listen before there is a second process, so none has clients for
 * another that was late.  The others end with the first.
 */

int
floor_start(int port, int n)
{
    int    i, s[FLOOR_PROCESSES];
    pid_t  pid;

    processes = n;

    for (i = 0; i < processes; i++) {
        s[i] = floor_listen(port);
    }

    if (processes > 1) {
        floor_share();
    }

    for (i = 1; i < processes && process == 0; i++) {
        pid = fork();

        if (pid == -1) {
            floor_die("fork");
        }

        if (pid == 0) {
            process = i;
            (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        }
    }

    for (i = 0; i < processes; i++) {
        if (i != process) {
            close(s[i]);
        }
    }

    return s[process];
}


static int
floor_listen(int port)
{
    int                 s, on;
    struct sockaddr_in  sin;

    s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    on = 1;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (s == -1
        || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || (processes > 1
            && setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1)
        || bind(s, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(s, 511) == -1)
    {
        floor_die("listen");
    }

    return s;
}


static void
floor_share(void)
{
    pthread_mutexattr_t  attr;

    shared = mmap(NULL, sizeof(floor_log_t), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED) {
        floor_die("mmap");
    }

    if (pthread_mutexattr_init(&attr) != 0
        || pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) != 0
        || pthread_mutex_init(&shared->lock, &attr) != 0)
    {
        floor_die("pthread_mutex_init");
    }

    for (int i = 0; i < processes; i++) {
        bells[i] = eventfd(0, EFD_NONBLOCK);

        if (bells[i] == -1) {
            floor_die("eventfd");
        }
    }
}


int
floor_bell(void)
{
    return bells[process];
}


void
floor_add(int group, const char *body, size_t len, floor_handler_pt handler)
{
    floor_slot_t    *slot;
    const uint64_t   one = 1;

    if (len > FLOOR_BODY) {
        floor_die("a message is too long");
    }

    pthread_mutex_lock(&shared->lock);

    while (floor_full()) {
        pthread_mutex_unlock(&shared->lock);

        floor_read_on(handler);
        sched_yield();

        pthread_mutex_lock(&shared->lock);
    }

    slot = &shared->slots[shared->last % FLOOR_SLOTS];
    slot->group = group;
    slot->len = len;
    memcpy(slot->body, body, len);

    __atomic_store_n(&shared->last, shared->last + 1, __ATOMIC_RELEASE);

    pthread_mutex_unlock(&shared->lock);

    for (int i = 0; i < processes; i++) {
        if (i != process && write(bells[i], &one, sizeof(one)) == -1) {
            floor_die("write");
        }
    }

    floor_read_on(handler);
}


/* The bell is silent before the log is read, so none rings in vain. */

void
floor_heed(floor_handler_pt handler)
{
    uint64_t  n;

    if (read(bells[process], &n, sizeof(n)) == sizeof(n)) {
        floor_read_on(handler);
    }
}


static void
floor_read_on(floor_handler_pt handler)
{
    uint64_t       *next;
    floor_slot_t   *slot;

    next = &shared->readers[process].next;

    while (*next < __atomic_load_n(&shared->last, __ATOMIC_ACQUIRE)) {
        slot = &shared->slots[*next % FLOOR_SLOTS];
        handler(slot->group, slot->body, slot->len);
        __atomic_store_n(next, *next + 1, __ATOMIC_RELEASE);
    }
}


static int
floor_full(void)
{
    uint64_t  next;

    for (int i = 0; i < processes; i++) {
        next = __atomic_load_n(&shared->readers[i].next, __ATOMIC_ACQUIRE);

        if (shared->last - next == FLOOR_SLOTS) {
            return 1;
        }
    }

    return 0;
}
