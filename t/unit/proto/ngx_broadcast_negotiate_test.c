
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_negotiate.c
 *        src/proto/ngx_broadcast_scan_text.c src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_negotiate.h"

#include "tap.h"


#define ALL                                                                   \
    (NGX_BROADCAST_NEGOTIATE_WEBSOCKET|NGX_BROADCAST_NEGOTIATE_SSE            \
     |NGX_BROADCAST_NEGOTIATE_LONGPOLL)


static void
is_document(const ngx_broadcast_negotiate_t *n, const char *want,
    const char *name)
{
    size_t   len;
    u_char  *b, *p;

    len = ngx_broadcast_negotiate_len(n);
    b = malloc(len);
    p = ngx_broadcast_negotiate_write(b, n);

    is_mem(b, p - b, want, strlen(want), name);
    is_int(p - b, len, "of the length that was said");

    free(b);
}


static void
test_documents(void)
{
    ngx_broadcast_negotiate_t  n;

    memset(&n, 0, sizeof(n));

    n.version = 1;
    n.id = tap_str("jUdYl2qO5rE0cQpvWbGmTA");
    n.token = tap_str("0cXy6mXtWw1PZ7i6mJ8XJg");
    n.transports = ALL;
    n.binary = 1;

    is_document(&n, "{\"negotiateVersion\":1,\"connectionId\":"
                "\"jUdYl2qO5rE0cQpvWbGmTA\",\"connectionToken\":"
                "\"0cXy6mXtWw1PZ7i6mJ8XJg\",\"availableTransports\":["
                "{\"transport\":\"WebSockets\",\"transferFormats\":"
                "[\"Text\",\"Binary\"]},"
                "{\"transport\":\"ServerSentEvents\",\"transferFormats\":"
                "[\"Text\"]},"
                "{\"transport\":\"LongPolling\",\"transferFormats\":"
                "[\"Text\",\"Binary\"]}]}",
                "the reference server's standard list, signalr.md 1.3");

    n.binary = 0;
    n.stateful = 1;
    n.transports = NGX_BROADCAST_NEGOTIATE_WEBSOCKET
                   |NGX_BROADCAST_NEGOTIATE_LONGPOLL;

    is_document(&n, "{\"negotiateVersion\":1,\"connectionId\":"
                "\"jUdYl2qO5rE0cQpvWbGmTA\",\"connectionToken\":"
                "\"0cXy6mXtWw1PZ7i6mJ8XJg\",\"useStatefulReconnect\":true,"
                "\"availableTransports\":["
                "{\"transport\":\"WebSockets\",\"transferFormats\":[\"Text\"]},"
                "{\"transport\":\"LongPolling\",\"transferFormats\":"
                "[\"Text\"]}]}",
                "two transports, text alone, stateful reconnect");

    n.version = 0;
    n.stateful = 0;
    n.transports = NGX_BROADCAST_NEGOTIATE_SSE;

    is_document(&n, "{\"negotiateVersion\":0,\"connectionId\":"
                "\"jUdYl2qO5rE0cQpvWbGmTA\",\"availableTransports\":["
                "{\"transport\":\"ServerSentEvents\",\"transferFormats\":"
                "[\"Text\"]}]}", "version 0 has no connectionToken");

    n.transports = 0;

    is_document(&n, "{\"negotiateVersion\":0,\"connectionId\":"
                "\"jUdYl2qO5rE0cQpvWbGmTA\",\"availableTransports\":[]}",
                "no transport is an empty list");

    n.url = tap_str("https://h:8443/client/?hub=chat&x=\"");
    n.access_token = tap_str("eyJ.a-_.b");

    is_document(&n, "{\"url\":\"https://h:8443/client/?hub=chat&x=\\\"\","
                "\"accessToken\":\"eyJ.a-_.b\"}",
                "a redirect has nothing else");

    ngx_str_null(&n.access_token);

    is_document(&n, "{\"url\":\"https://h:8443/client/?hub=chat&x=\\\"\"}",
                "a redirect without a token");

    n.error = tap_str("no \"entry\"");

    is_document(&n, "{\"error\":\"no \\\"entry\\\"\"}",
                "an error is alone, whatever else is set");
}


static void
test_versions(void)
{
    size_t                      i;
    ngx_int_t                   rc;
    ngx_str_t                   value;
    ngx_broadcast_negotiate_t   n;
    static struct {
        const char  *value;
        int          version;     /* -1: error */
        const char  *error;
        const char  *name;
    } rows[] = {
        { "0", 0, NULL, "0" },
        { "1", 1, NULL, "1" },
        { "2", 1, NULL, "2 is answered as 1" },
        { "99", 1, NULL, "so is 99" },
        { "2147483647", 1, NULL, "the greatest integer" },
        { "+1", 1, NULL, "a plus sign" },
        { "01", 1, NULL, "a leading zero" },
        { "00000000000001", 1, NULL, "many leading zeros" },
        { "-0", 0, NULL, "minus nothing" },
        { "", -1, "non-integer protocol version.", "empty" },
        { "abc", -1, "non-integer protocol version.", "a word" },
        { "1.0", -1, "non-integer protocol version.", "a fraction" },
        { "1x", -1, "non-integer protocol version.", "a digit and more" },
        { "-", -1, "non-integer protocol version.", "a sign alone" },
        { "+-1", -1, "non-integer protocol version.", "two signs" },
        { "2147483648", -1, "non-integer protocol version.",
          "beyond 32 bits" },
        { "99999999999999999999", -1, "non-integer protocol version.",
          "beyond 64 bits" },
        { "-2147483649", -1, "non-integer protocol version.",
          "below 32 bits" },
        { "-1", -1, "requested version '-1', but the server does not support "
          "this version.", "below the least" },
        { "-2147483648", -1, "requested version '-2147483648', but the server "
          "does not support this version.", "far below the least" },
    };

    memset(&n, 0, sizeof(n));
    n.version = 7;

    ok(ngx_broadcast_negotiate_version(&n, NULL) == NGX_OK && n.version == 0,
       "absent: version 0");

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(&n, 0, sizeof(n));
        value = tap_str(rows[i].value);

        rc = ngx_broadcast_negotiate_version(&n, &value);

        if (rows[i].version >= 0) {
            ok(rc == NGX_OK && (int) n.version == rows[i].version
               && n.error.len == 0, rows[i].name);
            continue;
        }

        ok(rc == NGX_ERROR && n.error.len > strlen(rows[i].error)
           && memcmp(n.error.data + n.error.len - strlen(rows[i].error),
                     rows[i].error, strlen(rows[i].error)) == 0,
           rows[i].name);
    }

    is_document(&n, "{\"error\":\"The client requested version '-2147483648', "
                "but the server does not support this version.\"}",
                "the longest error as a document");
}


int
main(void)
{
    test_documents();
    test_versions();

    return done();
}
