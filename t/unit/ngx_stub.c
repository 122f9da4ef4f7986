
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_stub.h"


/*
 * What nginx's strings, pools, slabs and mutexes need of the rest of nginx,
 * so that they link into plain programs.  Weak: a program may link the real
 * one, or bring its own.
 */

#define ngx_weak  __attribute__((weak))


ngx_log_t                          ngx_stub_log;
ngx_uint_t                         ngx_stub_alerts;
char                               ngx_stub_line[2048];

static ngx_cycle_t                 ngx_stub_cycle;
static ngx_time_t                  ngx_stub_time;

ngx_weak volatile ngx_cycle_t     *ngx_cycle = &ngx_stub_cycle;
ngx_weak volatile ngx_time_t      *ngx_cached_time = &ngx_stub_time;
ngx_weak volatile ngx_msec_t       ngx_current_msec;
ngx_weak ngx_pid_t                 ngx_pid;
ngx_weak ngx_pid_t                 ngx_parent;
ngx_weak ngx_int_t                 ngx_ncpu = 2;


ngx_weak void
ngx_debug_point(void)
{
}


ngx_weak void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    u_char   *last;
    va_list   args;

    va_start(args, fmt);
    last = ngx_vslprintf((u_char *) ngx_stub_line,
                         (u_char *) ngx_stub_line + sizeof(ngx_stub_line) - 1,
                         fmt, args);
    va_end(args);

    *last = '\0';

    if (level <= NGX_LOG_ALERT) {
        ngx_stub_alerts++;
    }

    fprintf(stderr, "log %d: %s", (int) level, ngx_stub_line);

    if (err) {
        fprintf(stderr, " (%d: %s)", (int) err, strerror(err));
    }

    fputc('\n', stderr);
}


__attribute__((constructor)) static void
ngx_stub_init(void)
{
    ngx_uint_t  n;

    ngx_stub_log.log_level = NGX_LOG_INFO;
    ngx_stub_cycle.log = &ngx_stub_log;
    ngx_stub_time.sec = time(NULL);

    ngx_pid = getpid();
    ngx_pagesize = getpagesize();
    ngx_cacheline_size = NGX_CPU_CACHE_LINE;

    for (n = ngx_pagesize; n >>= 1; ngx_pagesize_shift++) { /* void */ }

    setvbuf(stdout, NULL, _IOLBF, 0);
}
