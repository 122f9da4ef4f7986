
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_handshake.c
 *        src/proto/ngx_broadcast_hub_json.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_handshake.h"

#include "tap.h"


#define RS  "\x1e"

#define BROKEN  "{\"error\":\"An unexpected error occurred during connection " \
                "handshake.\"}" RS


typedef struct {
    const char  *in;
    ngx_uint_t   msgpack;
    ngx_uint_t   binary;
    int64_t      max_version;
    const char  *want;          /* the reply */
    const char  *name;
} row_t;


static row_t  rows[] = {

    /* what the official client sends, signalr.md A5 */

    { "{\"protocol\":\"json\",\"version\":1}" RS, 0, 1, 1, "{}" RS,
      "JSON, version 1" },
    { "{\"protocol\":\"messagepack\",\"version\":1}" RS, 1, 1, 1, "{}" RS,
      "MessagePack where it is served" },
    { "{\"protocol\":\"json\",\"version\":2}" RS, 0, 1, 2, "{}" RS,
      "version 2 where it is served" },

    /* other ways to write it */

    { "{\"version\":1,\"protocol\":\"json\"}" RS, 0, 1, 1, "{}" RS,
      "order is free" },
    { "{\"protocol\":\"JSON\",\"version\":1}" RS, 0, 1, 1, "{}" RS,
      "the protocol's name ignores case" },
    { "{\"protocol\":\"\\u006ason\",\"version\":1}" RS, 0, 1, 1, "{}" RS,
      "and may have escapes" },
    { "{ \"protocol\" : \"json\" ,\n\"version\" : 1 }\r\n" RS, 0, 1, 1,
      "{}" RS, "blanks are nothing" },
    { "{\"protocol\":\"json\",\"version\":1,\"x\":[{}]}" RS, 0, 1, 1, "{}" RS,
      "unknown properties are skipped" },
    { "{\"protocol\":\"x\",\"protocol\":\"json\",\"version\":1}" RS, 0, 1, 1,
      "{}" RS, "of a repeated property the last counts" },

    /* the reference server's refusals, signalr.md 3.2 */

    { "{\"protocol\":\"foo\",\"version\":1}" RS, 1, 1, 1,
      "{\"error\":\"The protocol 'foo' is not supported.\"}" RS,
      "unknown protocol" },
    { "{\"protocol\":\"messagepack\",\"version\":1}" RS, 0, 1, 1,
      "{\"error\":\"The protocol 'messagepack' is not supported.\"}" RS,
      "MessagePack where it is not served" },
    { "{\"protocol\":\"a\\\"\\u001eb\",\"version\":1}" RS, 1, 1, 1,
      "{\"error\":\"The protocol 'a\\\"\\u001eb' is not supported.\"}" RS,
      "a name with a quote and a separator cannot break the answer" },
    { "{\"protocol\":\"\",\"version\":1}" RS, 0, 1, 1,
      "{\"error\":\"The protocol '' is not supported.\"}" RS, "empty name" },
    { "{\"protocol\":\"json\",\"version\":2}" RS, 0, 1, 1,
      "{\"error\":\"The server does not support version 2 of the 'json' "
      "protocol.\"}" RS, "version 2 where it is not served" },
    { "{\"protocol\":\"json\",\"version\":0}" RS, 0, 1, 2,
      "{\"error\":\"The server does not support version 0 of the 'json' "
      "protocol.\"}" RS, "version 0" },
    { "{\"protocol\":\"Json\",\"version\":-7}" RS, 0, 1, 2,
      "{\"error\":\"The server does not support version -7 of the 'Json' "
      "protocol.\"}" RS, "a negative version; the name as it came" },
    { "{\"protocol\":\"foo\",\"version\":9}" RS, 0, 1, 2,
      "{\"error\":\"The protocol 'foo' is not supported.\"}" RS,
      "the protocol is looked at before the version" },
    { "{\"protocol\":\"messagepack\",\"version\":1}" RS, 1, 0, 1,
      "{\"error\":\"Cannot use the 'messagepack' protocol on the current "
      "transport. The transport does not support 'Binary' transfer format.\"}"
      RS, "MessagePack on a text transport" },

    /* malformed */

    { "{\"protocol\":\"json\"}" RS, 0, 1, 1, BROKEN, "no version" },
    { "{\"version\":1}" RS, 0, 1, 1, BROKEN, "no protocol" },
    { "{\"protocol\":\"json\",\"version\":\"1\"}" RS, 0, 1, 1, BROKEN,
      "version as a string" },
    { "{\"protocol\":\"json\",\"version\":1.5}" RS, 0, 1, 1, BROKEN,
      "version as a fraction" },
    { "{\"protocol\":\"json\",\"version\":9999999999}" RS, 0, 1, 1, BROKEN,
      "version beyond 32 bits" },
    { "{\"protocol\":1,\"version\":1}" RS, 0, 1, 1, BROKEN,
      "protocol as a number" },
    { "{\"protocol\":null,\"version\":1}" RS, 0, 1, 1, BROKEN,
      "protocol as null" },
    { "{}" RS, 0, 1, 1, BROKEN, "a response in place of a request" },
    { "{\"type\":6}" RS, 0, 1, 1, BROKEN, "a ping in place of a handshake" },
    { "[]" RS, 0, 1, 1, BROKEN, "an array" },
    { RS, 0, 1, 1, BROKEN, "an empty record" },
    { "\x02\x91\x06" RS, 0, 1, 1, BROKEN, "MessagePack without a handshake" },
    { "{\"protocol\":\"json\",\"version\":1}x" RS, 0, 1, 1, BROKEN,
      "a byte too many" },
    { "{\"protocol\":\"json\",\"version\":1" RS, 0, 1, 1, BROKEN,
      "cut short" },
    { "{\"protocol\":\"\xff\",\"version\":1}" RS, 0, 1, 1, BROKEN,
      "no UTF-8, so it could not be said again" },

    { NULL, 0, 0, 0, NULL, NULL }
};


static void
test_rows(void)
{
    row_t                      *row;
    u_char                     *b, *copy, *pos, *p;
    size_t                      n, len;
    ngx_int_t                   rc;
    ngx_uint_t                  early;
    ngx_broadcast_handshake_t   h;

    for (row = rows; row->name; row++) {

        len = strlen(row->in);
        early = 0;
        rc = NGX_AGAIN;
        pos = NULL;
        copy = NULL;

        /* as it grows byte by byte; nothing may be decided before its end */

        for (n = 0; n <= len; n++) {
            free(copy);
            copy = malloc(n ? n : 1);
            memcpy(copy, row->in, n);

            memset(&h, 0, sizeof(h));
            h.limit = 200;
            h.max_version = row->max_version;
            h.msgpack = row->msgpack;
            h.binary = row->binary;

            pos = copy;
            rc = ngx_broadcast_handshake_parse(&h, &pos, copy + n);

            if (n < len && (rc != NGX_AGAIN || pos != copy)) {
                early = 1;
            }
        }

        ok(!early, "nothing is said before the separator");

        n = ngx_broadcast_handshake_reply_len(&h);
        b = malloc(n);
        p = ngx_broadcast_handshake_reply_write(b, &h);

        is_mem(b, p - b, row->want, strlen(row->want), row->name);

        ok((size_t) (p - b) == n
           && (rc == NGX_OK) == (strcmp(row->want, "{}" RS) == 0)
           && (rc == NGX_ERROR || pos == copy + len),
           "its length, its code and its end");

        free(b);
        free(copy);
    }
}


static void
test_limits(void)
{
    size_t                     n;
    u_char                    *pos, b[64];
    ngx_broadcast_handshake_t  h;
    static u_char              two[] = "{\"protocol\":\"json\",\"version\":1}"
                                       RS "{\"type\":6}" RS;

    memset(&h, 0, sizeof(h));
    h.limit = 200;
    h.max_version = 1;

    pos = two;

    ok(ngx_broadcast_handshake_parse(&h, &pos, two + sizeof(two) - 1) == NGX_OK
       && pos == two + 32, "what follows the handshake is left where it is");

    /* 31 bytes without the separator */

    h.limit = 31;
    pos = two;

    is_int(ngx_broadcast_handshake_parse(&h, &pos, two + sizeof(two) - 1),
           NGX_OK, "a handshake of the limit");

    h.limit = 30;
    pos = two;

    ok(ngx_broadcast_handshake_parse(&h, &pos, two + sizeof(two) - 1)
       == NGX_ERROR && h.status == NGX_BROADCAST_HANDSHAKE_CANCELED,
       "one byte longer");

    pos = two;

    is_int(ngx_broadcast_handshake_parse(&h, &pos, two + 30), NGX_AGAIN,
           "the limit without a separator may still end");

    pos = two;

    is_int(ngx_broadcast_handshake_parse(&h, &pos, two + 31), NGX_ERROR,
           "a byte more cannot");

    n = ngx_broadcast_handshake_reply_write(b, &h) - b;
    is_mem(b, n, "{\"error\":\"Handshake was canceled.\"}" RS, 36,
           "the reference server's answer to what is too long or too late");

    is_mem(NGX_BROADCAST_HANDSHAKE_OK, sizeof(NGX_BROADCAST_HANDSHAKE_OK) - 1,
           "\x7b\x7d\x1e", 3, "success is three bytes");
}


int
main(void)
{
    test_rows();
    test_limits();

    return done();
}
