
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_stub.h"


/*
 * Checks for unit programs; one check is one fact, and its name says it.
 * A program ends with "return done();".  plan(n) before it is optional and
 * makes a program that stops early fail.
 */

static int  tap_run;
static int  tap_failed;
static int  tap_planned;


static inline void
plan(int n)
{
    tap_planned = n;
}


static inline int
ok(int right, const char *name)
{
    tap_run++;

    if (!right) {
        tap_failed++;
    }

    printf("%s %d - %s\n", right ? "ok" : "not ok", tap_run, name);

    return right;
}


static inline int
is_int(long long got, long long want, const char *name)
{
    if (!ok(got == want, name)) {
        fprintf(stderr, "got %lld, want %lld\n", got, want);
        return 0;
    }

    return 1;
}


static inline void
tap_bytes(const char *what, const void *data, size_t len)
{
    size_t         i;
    const u_char  *p;

    p = data;

    fprintf(stderr, "%s (%zu) \"", what, len);

    for (i = 0; i < len && i < 1000; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\') {
            fputc(p[i], stderr);

        } else {
            fprintf(stderr, "\\x%02x", p[i]);
        }
    }

    fprintf(stderr, "\"%s\n", (i < len) ? "..." : "");
}


static inline int
is_mem(const void *got, size_t len, const void *want, size_t want_len,
    const char *name)
{
    if (!ok(len == want_len && (len == 0 || memcmp(got, want, len) == 0),
            name))
    {
        tap_bytes("got ", got, len);
        tap_bytes("want", want, want_len);
        return 0;
    }

    return 1;
}


static inline int
is_str(ngx_str_t *got, const char *want, const char *name)
{
    return is_mem(got->data, got->len, want, strlen(want), name);
}


static inline ngx_str_t
tap_str(const char *text)
{
    ngx_str_t  s;

    s.data = (u_char *) text;
    s.len = strlen(text);

    return s;
}


static inline void
diag(const char *text)
{
    fprintf(stderr, "%s\n", text);
}


/* Instead of the first check: the whole program has nothing to do here. */

static inline int
skip_all(const char *reason)
{
    printf("1..0 # SKIP %s\n", reason);
    return 0;
}


/* The exit code. */

static inline int
done(void)
{
    is_int(ngx_stub_alerts, 0, "nothing was logged at [alert]");

    if (tap_planned && tap_planned != tap_run - 1) {
        fprintf(stderr, "planned %d, ran %d\n", tap_planned, tap_run - 1);
        tap_failed++;
    }

    printf("1..%d\n", tap_run);

    return tap_failed ? 1 : 0;
}


#endif /* _TAP_H_INCLUDED_ */
