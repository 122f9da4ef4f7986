
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_sse.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_sse.h"

#include "tap.h"


#define T(text)  { sizeof(text) - 1, (u_char *) text }


static void
test_data(void)
{
    size_t      i, n;
    u_char     *b, *p;
    static struct {
        ngx_str_t    payload;
        const char  *want;
        const char  *name;
    } rows[] = {
        { T("{}\x1e"), "data: {}\x1e\r\n\r\n",
          "the handshake's answer, as the reference server writes it" },
        { T("{\"type\":6}\x1e"), "data: {\"type\":6}\x1e\r\n\r\n", "a ping" },
        { T("{\"type\":6}\x1e{\"type\":7}\x1e"),
          "data: {\"type\":6}\x1e{\"type\":7}\x1e\r\n\r\n",
          "two messages in one event" },
        { T("{\n\"type\":6}\x1e"), "data: {\r\ndata: \"type\":6}\x1e\r\n\r\n",
          "a line feed splits the event's data, not the event" },
        { T("{\r\n\"type\":6}\x1e"), "data: {\r\ndata: \"type\":6}\x1e\r\n\r\n",
          "of CR LF the CR goes too" },
        { T("{\r\"type\":6}\x1e"), "data: {\r\ndata: \"type\":6}\x1e\r\n\r\n",
          "a lone CR is a line break to browsers, so it is to us" },
        { T("a\n\nb"), "data: a\r\ndata: \r\ndata: b\r\n\r\n",
          "an empty line does not end the event" },
        { T("a\n"), "data: a\r\ndata: \r\n\r\n", "nor does one at the end" },
        { T("a\r\r\nb"), "data: a\r\ndata: \r\ndata: b\r\n\r\n",
          "CR CR LF are two breaks" },
        { T("a\r"), "data: a\r\ndata: \r\n\r\n", "CR as the last byte" },
        { T(""), "data: \r\n\r\n", "nothing" },
        { ngx_null_string, "data: \r\n\r\n", "a null string" },
        { T("id: 7\nevent: x"), "data: id: 7\r\ndata: event: x\r\n\r\n",
          "a payload cannot forge another field" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        n = ngx_broadcast_sse_data_len(&rows[i].payload);
        b = malloc(n);
        p = ngx_broadcast_sse_data_write(b, &rows[i].payload);

        is_mem(b, p - b, rows[i].want, strlen(rows[i].want), rows[i].name);
        is_int(p - b, n, "of the length that was said");

        free(b);
    }

    is_mem(NGX_BROADCAST_SSE_OPEN, sizeof(NGX_BROADCAST_SSE_OPEN) - 1,
           "\x3a\x0d\x0a", 3, "a stream opens with a comment");
}


static void
test_event(void)
{
    size_t      i, n;
    u_char     *b, *p;
    static struct {
        ngx_str_t    id;
        ngx_str_t    event;
        ngx_str_t    data;
        ngx_uint_t   no_data;
        const char  *want;
        const char  *name;
    } rows[] = {
        { T("e1-10"), T("newMessage"), T("[{\"a\":1}]"), 0,
          "id: e1-10\nevent: newMessage\ndata: [{\"a\":1}]\n\n",
          "id, target and arguments" },
        { T(""), T("message"), T("[1]"), 0, "event: message\ndata: [1]\n\n",
          "a raw notification has no id" },
        { T("e1-10"), T(""), T("[1]"), 0, "id: e1-10\ndata: [1]\n\n",
          "no event name" },
        { T("e1-11"), T(""), T(""), 1, "id: e1-11\n\n",
          "a keep-alive has an id alone" },
        { T("e1-12"), T("x"), T("[1,\n2]"), 0,
          "id: e1-12\nevent: x\ndata: [1,\ndata: 2]\n\n",
          "a line break between tokens is another data line" },
        { T("e1-13"), T("a\nid: e9-9"), T("[]"), 0,
          "id: e1-13\nevent: a id: e9-9\ndata: []\n\n",
          "a target with a line break cannot forge an id" },
        { T("e1-14"), T("a\r\n\r\ndata: x"), T("[]"), 0,
          "id: e1-14\nevent: a    data: x\ndata: []\n\n",
          "nor end the event" },
        { T("e1\n-15"), T("\0"), T("[]"), 0,
          "id: e1 -15\nevent:  \ndata: []\n\n",
          "an id with NUL or a break is written with spaces" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        n = ngx_broadcast_sse_event_len(&rows[i].id, &rows[i].event,
                                        rows[i].no_data ? NULL : &rows[i].data);
        b = malloc(n);
        p = ngx_broadcast_sse_event_write(b, &rows[i].id, &rows[i].event,
                                          rows[i].no_data ? NULL
                                                          : &rows[i].data);

        is_mem(b, p - b, rows[i].want, strlen(rows[i].want), rows[i].name);
        is_int(p - b, n, "of the length that was said");

        free(b);
    }

    ok(ngx_broadcast_sse_field_ok(&rows[0].event), "a word is a good field");
    ok(ngx_broadcast_sse_field_ok(&rows[1].id), "so is none");
    ok(!ngx_broadcast_sse_field_ok(&rows[5].event), "one with LF is not");
    ok(!ngx_broadcast_sse_field_ok(&rows[6].event), "one with CR is not");
    ok(!ngx_broadcast_sse_field_ok(&rows[7].event), "one with NUL is not");
}


static void
test_chunk(void)
{
    size_t      i, n;
    u_char      b[NGX_BROADCAST_SSE_CHUNK_MAX];
    static struct {
        size_t       len;
        const char  *want;
        const char  *name;
    } rows[] = {
        { 1, "1\r\n", "one byte" },
        { 15, "f\r\n", "15 bytes, one digit" },
        { 16, "10\r\n", "16 bytes, two digits" },
        { 0xabcd, "abcd\r\n", "no leading zeros" },
        { 1048576, "100000\r\n", "a megabyte" },
        { (size_t) -1, "ffffffffffffffff\r\n", "the greatest" },
        { 0, "", "no chunk of 0 bytes: it would end the stream" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        n = ngx_broadcast_sse_chunk(b, rows[i].len);

        is_mem(b, n, rows[i].want, strlen(rows[i].want), rows[i].name);
        is_int(n, ngx_broadcast_sse_chunk_len(rows[i].len),
               "of the length that was said");
    }
}


int
main(void)
{
    test_data();
    test_event();
    test_chunk();

    return done();
}
