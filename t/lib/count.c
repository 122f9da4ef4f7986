
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Preloaded into nginx by t/lib/Broadcast/Counted.pm: counts allocations in a
 * page that the test has mapped, too.  Under callgrind it has its counts
 * written where the event loop is about to wait, when the page asks for it.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef WITH_CALLGRIND
#include <valgrind/callgrind.h>
#endif


typedef struct {
    volatile unsigned long  allocations;
    volatile unsigned long  asked;          /* by the test */
    volatile unsigned long  done;
} page_t;


extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);


static page_t   none;
static page_t  *page = &none;


__attribute__((constructor)) static void
count_open(void)
{
    int    fd;
    void  *p;

    fd = open(getenv("COUNT_PAGE"), O_RDWR);
    p = mmap(NULL, sizeof(page_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);

    if (p != MAP_FAILED) {
        page = p;
    }
}


void *
malloc(size_t size)
{
    page->allocations++;
    return __libc_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    page->allocations++;
    return __libc_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    page->allocations++;
    return __libc_realloc(p, size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    page->allocations++;
    *p = __libc_memalign(alignment, size);
    return *p ? 0 : ENOMEM;
}


int
epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
    static int  (*real)(int, struct epoll_event *, int, int);

    if (real == NULL) {
        real = dlsym(RTLD_NEXT, "epoll_wait");
    }

    if (page->asked != page->done) {
#ifdef WITH_CALLGRIND
        CALLGRIND_DUMP_STATS;
#endif
        page->done = page->asked;
    }

    return real(fd, events, n, timeout);
}
