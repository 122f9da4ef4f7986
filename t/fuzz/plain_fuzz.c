
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_plain.c src/proto/ngx_broadcast_sse.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_name.c src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_plain.h"
#include "proto/ngx_broadcast_scan.h"
#include "proto/ngx_broadcast_sse.h"

#include "ngx_stub.h"


static void
check(u_char *b, u_char *end, size_t len)
{
    ngx_str_t                   text;
    ngx_broadcast_scan_value_t  v;

    text.data = b;
    text.len = len;

    if ((size_t) (end - b) != len
        || ngx_broadcast_scan_document(&text, &v, NULL) != NGX_OK
        || v.type != NGX_BROADCAST_SCAN_OBJECT)
    {
        abort();
    }

    free(b);
}


/* the lines of an event: one id, one event, then data, then an empty one */

static void
check_event(ngx_str_t *id, ngx_broadcast_plain_frame_t *f)
{
    u_char  *b, *p, *end, *lf;
    size_t   len;

    len = ngx_broadcast_sse_event_len(id, &f->target, &f->arguments);
    b = malloc(len);
    end = ngx_broadcast_sse_event_write(b, id, &f->target, &f->arguments);

    if ((size_t) (end - b) != len) {
        abort();
    }

    for (p = b; p < end; p = lf + 1) {
        lf = memchr(p, LF, end - p);

        if (lf == NULL
            || memchr(p, CR, lf - p)
            || (lf == p && lf + 1 != end)
            || (lf != p && memcmp(p, "id: ", 4) && memcmp(p, "event: ", 7)
                && memcmp(p, "data: ", 6)))
        {
            abort();
        }
    }

    free(b);
}


/* no line breaks are left in a line, so none of them is lines */

static void
check_lines(ngx_str_t text, ngx_pool_t *pool)
{
    u_char                       *end;
    ngx_str_t                     line;
    ngx_uint_t                    n;
    const char                   *error;
    ngx_broadcast_plain_frame_t   f;

    n = 0;
    end = text.data + text.len;

    while (ngx_broadcast_plain_line(&text, &line, &n) == NGX_OK) {

        if (line.len == 0
            || line.data + line.len > end
            || text.data + text.len != end
            || memchr(line.data, LF, line.len)
            || ngx_broadcast_plain_parse(&line, pool, &f, &error) == NGX_AGAIN
            || f.line)
        {
            abort();
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                       *b;
    size_t                        len;
    ngx_int_t                     rc;
    ngx_str_t                     text, id, sentence;
    ngx_pool_t                   *pool;
    const char                   *error;
    ngx_broadcast_plain_frame_t   f;

    pool = ngx_create_pool(1024, &ngx_stub_log);

    text.data = malloc(size ? size : 1);
    text.len = size;
    memcpy(text.data, data, size);

    error = NULL;
    rc = ngx_broadcast_plain_parse(&text, pool, &f, &error);

    if ((rc == NGX_ERROR) != (error != NULL)) {
        abort();
    }

    if (rc == NGX_ERROR) {
        sentence.data = (u_char *) error;
        sentence.len = strlen(error);

        len = ngx_broadcast_plain_error_len(&sentence);
        b = malloc(len);
        check(b, ngx_broadcast_plain_error_write(b, &sentence), len);

    } else if (rc == NGX_AGAIN) {
        check_lines(text, pool);

    } else {
        ngx_str_set(&id, "e1-7");

        len = ngx_broadcast_plain_len(&id, &f.target, &f.arguments);
        b = malloc(len);
        check(b, ngx_broadcast_plain_write(b, &id, &f.target, &f.arguments),
              len);

        check_event(&id, &f);
    }

    /* a position that a client made up is said back in a gap */

    len = ngx_broadcast_plain_gap_len(&text, &text, 0);
    b = malloc(len);
    check(b, ngx_broadcast_plain_gap_write(b, &text, &text, 0), len);

    free(text.data);
    ngx_destroy_pool(pool);

    return 0;
}
