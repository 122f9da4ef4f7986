
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_bus.h"
#include "bus/ngx_broadcast_heir.h"

#include <sys/mman.h>


/*
 * The page is a memfd without a name in any file system, left open over
 * exec(): the new binary finds it among its descriptors by what /proc calls
 * it, maps it and closes it, so only a master's own one is inherited.
 */

#define NGX_BROADCAST_HEIR_NAME   "nginx-broadcast-heir"
#define NGX_BROADCAST_HEIR_SIZE   4096
#define NGX_BROADCAST_HEIR_FRESH  2500      /* ms: beats are a second apart */


typedef struct {
    ngx_atomic_t                older;
    ngx_atomic_t                newer;
} ngx_broadcast_heir_page_t;


static ngx_broadcast_heir_page_t *ngx_broadcast_heir_make(ngx_log_t *log);
static ngx_broadcast_heir_page_t *ngx_broadcast_heir_find(ngx_log_t *log);
static ngx_broadcast_heir_page_t *ngx_broadcast_heir_map(int fd,
    ngx_log_t *log);
static ngx_uint_t ngx_broadcast_heir_fresh(ngx_atomic_t *beat);


/* owned by the master, mapped in its workers as well; NULL: there is none */

static ngx_broadcast_heir_page_t  *ngx_broadcast_heir_mine;
static ngx_broadcast_heir_page_t  *ngx_broadcast_heir_from;
static ngx_uint_t                  ngx_broadcast_heir_made;

static ngx_broadcast_zone_t       *ngx_broadcast_heir_zone;  /* current */


void
ngx_broadcast_heir_open(ngx_cycle_t *cycle, ngx_broadcast_zone_t *zone)
{
    if (ngx_test_config) {
        return;
    }

    /* it is mapped until the cycle that had it is taken apart, after this */

    if (ngx_broadcast_heir_zone && ngx_broadcast_heir_zone != zone) {
        ngx_broadcast_stats_set(ngx_broadcast_heir_zone,
                                NGX_BROADCAST_GAUGE_REPLACED, 1);
    }

    ngx_broadcast_heir_zone = zone;

    if (!ngx_broadcast_heir_made) {
        ngx_broadcast_heir_made = 1;
        ngx_broadcast_heir_from = ngx_broadcast_heir_find(cycle->log);
        ngx_broadcast_heir_mine = ngx_broadcast_heir_make(cycle->log);
    }
}


static ngx_broadcast_heir_page_t *
ngx_broadcast_heir_make(ngx_log_t *log)
{
    int                         fd;
    ngx_broadcast_heir_page_t  *page;

    page = NULL;

    fd = memfd_create(NGX_BROADCAST_HEIR_NAME, 0);

    if (fd != -1 && ftruncate(fd, NGX_BROADCAST_HEIR_SIZE) == 0) {
        page = ngx_broadcast_heir_map(fd, log);
    }

    if (page == NULL) {
        ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                      "broadcast: clients of ephemeral hubs will not be told "
                      "of a binary upgrade");

        if (fd != -1) {
            (void) close(fd);
        }
    }

    return page;
}


static ngx_broadcast_heir_page_t *
ngx_broadcast_heir_find(ngx_log_t *log)
{
    int                         fd;
    DIR                        *dir;
    char                        name[sizeof("/proc/self/fd/") + 255];
    char                        link[128];
    ssize_t                     n;
    struct dirent              *entry;
    ngx_broadcast_heir_page_t  *page;

    page = NULL;

    dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return NULL;
    }

    while (page == NULL && (entry = readdir(dir)) != NULL) {

        (void) ngx_sprintf((u_char *) name, "/proc/self/fd/%s%Z",
                           entry->d_name);

        n = readlink(name, link, sizeof(link));

        if (n < (ssize_t) sizeof("/memfd:" NGX_BROADCAST_HEIR_NAME) - 1
            || ngx_memcmp(link, "/memfd:" NGX_BROADCAST_HEIR_NAME,
                          sizeof("/memfd:" NGX_BROADCAST_HEIR_NAME) - 1)
               != 0)
        {
            continue;
        }

        fd = ngx_atoi((u_char *) entry->d_name, ngx_strlen(entry->d_name));

        page = ngx_broadcast_heir_map(fd, log);
        (void) close(fd);
    }

    (void) closedir(dir);

    return page;
}


static ngx_broadcast_heir_page_t *
ngx_broadcast_heir_map(int fd, ngx_log_t *log)
{
    void  *p;

    p = mmap(NULL, NGX_BROADCAST_HEIR_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED,
             fd, 0);

    return p == MAP_FAILED ? NULL : p;
}


void
ngx_broadcast_heir_beat(void)
{
    ngx_msec_t  beat;

    /* others that stay write theirs over it within a second */

    beat = ngx_exiting ? 0 : ngx_current_msec;

    if (ngx_broadcast_heir_mine) {
        ngx_broadcast_heir_mine->older = beat;
    }

    if (ngx_broadcast_heir_from) {
        ngx_broadcast_heir_from->newer = beat;
    }
}


ngx_uint_t
ngx_broadcast_heir_took(void)
{
    if (ngx_broadcast_stats_get(ngx_broadcast_bus.zone,
                                NGX_BROADCAST_GAUGE_REPLACED))
    {
        return 1;
    }

    if (ngx_broadcast_heir_mine
        && ngx_broadcast_heir_fresh(&ngx_broadcast_heir_mine->newer))
    {
        return 1;
    }

    /* the way back: the second master ends, and the first one goes on */

    return ngx_exiting
           && ngx_broadcast_heir_from
           && ngx_broadcast_heir_fresh(&ngx_broadcast_heir_from->older);
}


static ngx_uint_t
ngx_broadcast_heir_fresh(ngx_atomic_t *beat)
{
    ngx_atomic_uint_t  at = *beat;

    return at && ngx_current_msec - at < NGX_BROADCAST_HEIR_FRESH;
}
