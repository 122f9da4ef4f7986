
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/shm/ngx_broadcast_position.c src/shm/ngx_broadcast_record.c
 *        src/proto/ngx_broadcast_negotiate.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/token/ngx_broadcast_ticket.c src/token/ngx_broadcast_hmac.c
 *        src/http/ngx_http_broadcast_mask_text.c
 *        src/pg/ngx_broadcast_pg_array.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_id.c src/base/ngx_broadcast_name.c
 *        src/base/ngx_broadcast_utf8.c -lcrypto */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_name.h"
#include "http/ngx_http_broadcast_mask.h"
#include "pg/ngx_broadcast_pg_array.h"
#include "proto/ngx_broadcast_negotiate.h"
#include "proto/ngx_broadcast_scan.h"
#include "shm/ngx_broadcast_hub.h"
#include "shm/ngx_broadcast_record.h"
#include "token/ngx_broadcast_ticket.h"

#include "ngx_stub.h"


/*
 * Short texts that a request brings: the first byte says as what the rest is
 * read.
 */

static int
differ(ngx_str_t *one, ngx_str_t *two)
{
    return one->len != two->len
           || (one->len && memcmp(one->data, two->data, one->len) != 0);
}


/* one text for one position */

static void
position(ngx_str_t *text)
{
    u_char                     again[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t                  suffix, head;
    ngx_broadcast_position_t   p;

    if (ngx_broadcast_position_split(text, &p, &suffix) != NGX_OK) {
        return;
    }

    if (suffix.data + suffix.len != text->data + text->len) {
        abort();
    }

    head.data = again;
    head.len = ngx_broadcast_position_print(again, &p) - again;

    suffix.len = text->len - suffix.len;
    suffix.data = text->data;

    if (head.len > sizeof(again) || differ(&head, &suffix)) {
        abort();
    }
}


/* no value is left, and nothing grows; what is written twice stays */

static void
mask(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char                *pos, *p;
    ngx_str_t              value, once, twice;
    ngx_array_t            values;
    ngx_http_request_t     r;

    once = *text;

    if (ngx_http_broadcast_mask(pool, &once) != NGX_OK
        || once.len > text->len)
    {
        abort();
    }

    pos = once.data;

    while (ngx_http_broadcast_mask_next(&pos, once.data, once.data + once.len,
                                        &value)
           == NGX_OK)
    {
        if (value.len > 3) {
            abort();
        }

        for (p = value.data; p < value.data + value.len; p++) {
            if (*p != '*') {
                abort();
            }
        }
    }

    twice = once;

    if (ngx_http_broadcast_mask(pool, &twice) != NGX_OK
        || differ(&once, &twice))
    {
        abort();
    }

    ngx_memzero(&r, sizeof(r));
    r.pool = pool;

    (void) ngx_array_init(&values, pool, 1, sizeof(ngx_str_t));

    ngx_http_broadcast_mask_values(&r, text, &values);

    once = *text;
    ngx_http_broadcast_mask_value(&r, &once, &values);

    once = *text;
    ngx_http_broadcast_mask_part(&r, &once, &values);
}


static void
version(ngx_str_t *text)
{
    u_char                      *b, *end;
    size_t                       len;
    ngx_str_t                    answer;
    ngx_broadcast_negotiate_t    n;
    ngx_broadcast_scan_value_t   v;

    ngx_memzero(&n, sizeof(n));

    ngx_str_set(&n.id, "id");
    n.token = *text;
    n.transports = NGX_BROADCAST_NEGOTIATE_SSE;

    if ((ngx_broadcast_negotiate_version(&n, text) != NGX_OK)
        != (n.error.len != 0))
    {
        abort();
    }

    if (n.error.len == 0) {
        n.token = n.id;
    }

    len = ngx_broadcast_negotiate_len(&n);
    b = malloc(len);
    end = ngx_broadcast_negotiate_write(b, &n);

    answer.data = b;
    answer.len = len;

    if ((size_t) (end - b) != len
        || ngx_broadcast_scan_document(&answer, &v, NULL) != NGX_OK)
    {
        abort();
    }

    free(b);
}


/* nobody made it with this key */

static void
ticket(ngx_str_t *text)
{
    u_char     key[NGX_BROADCAST_TICKET_KEY], id[NGX_BROADCAST_ID_BYTES];
    time_t     expires;
    ngx_str_t  hub, user;

    ngx_memset(key, 7, sizeof(key));
    ngx_str_set(&hub, "chat");
    ngx_str_set(&user, "ann");

    (void) ngx_broadcast_ticket_read(text, id, &expires);

    if (ngx_broadcast_ticket_verify(text, key, &hub, &user, 1, id, &expires)
        != NGX_DECLINED)
    {
        abort();
    }
}


/* names are good or not, and stay so in lower case */

static void
names(ngx_str_t *text)
{
    u_char      lower[NGX_BROADCAST_HUB_MAX];
    ngx_str_t   hub;

    if (ngx_broadcast_hub_name(text, lower) == NGX_OK) {
        hub.data = lower;
        hub.len = text->len;

        if (ngx_broadcast_hub_name(&hub, NULL) != NGX_OK) {
            abort();
        }
    }

    (void) ngx_broadcast_group_name(text);
    (void) ngx_broadcast_user_id(text);
    (void) ngx_broadcast_target(text);
}


/* an id is in a list of ids if it is one of its pieces */

static void
excluded(ngx_str_t *text)
{
    u_char                  *p, *last, *comma;
    ngx_str_t                id;
    ngx_broadcast_record_t   rec;

    ngx_memzero(&rec, sizeof(rec));
    rec.excluded = *text;

    last = text->data + text->len;

    for (p = text->data; p < last; p = comma + 1) {
        comma = memchr(p, ',', last - p);

        if (comma == NULL) {
            comma = last;
        }

        id.data = p;
        id.len = comma - p;

        if (!ngx_broadcast_record_excludes(&rec, &id)) {
            abort();
        }

        if (comma < last) {
            id.len++;

            if (ngx_broadcast_record_excludes(&rec, &id)) {
                abort();
            }
        }
    }
}


/* {"…"} with as many quotes and backslashes as it takes, or none at all */

static void
array(ngx_pool_t *pool, ngx_str_t *text)
{
    char                      *made, *p;
    size_t                     len;
    ngx_broadcast_pg_array_t   a;

    ngx_broadcast_pg_array_init(&a, pool, 0);
    ngx_broadcast_pg_array_text(&a, text);

    made = ngx_broadcast_pg_array_done(&a);

    if (made == NULL) {
        if (memchr(text->data, 0, text->len) == NULL) {
            abort();
        }

        return;
    }

    len = 0;

    for (p = made + 2; *p != '"'; p++) {

        if (*p == '\\') {
            p++;
        }

        if (len == text->len || *p != (char) text->data[len++]) {
            abort();
        }
    }

    if (len != text->len || strcmp(p, "\"}") != 0) {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t    text;
    ngx_pool_t  *pool;

    if (size == 0) {
        return 0;
    }

    pool = ngx_create_pool(1024, &ngx_stub_log);

    text.len = size - 1;
    text.data = malloc(size);
    memcpy(text.data, data + 1, text.len);

    switch (data[0] % 8) {

    case 0:
        position(&text);
        break;

    case 1:
        version(&text);
        break;

    case 2:
        ticket(&text);
        break;

    case 3:
        names(&text);
        break;

    case 4:
        excluded(&text);
        break;

    case 5:
        array(pool, &text);
        break;

    default:
        mask(pool, &text);
    }

    free(text.data);
    ngx_destroy_pool(pool);

    return 0;
}
