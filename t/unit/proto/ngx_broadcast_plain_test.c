
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_plain.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_name.c src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_plain.h"

#include "tap.h"


#define SEND  "{\"send\":\"g\",\"target\":\"t\"}"


static ngx_pool_t  *pool;


/* the frame in one line, or the sentence */

static const char *
parsed(const char *in)
{
    size_t                        n;
    u_char                       *copy;
    ngx_int_t                     rc;
    ngx_str_t                     s;
    const char                   *error;
    ngx_broadcast_plain_frame_t   f;
    static char                   text[4096];
    static const char            *kinds[] = { "?", "message", "join", "leave",
                                              "send" };

    s.len = strlen(in);
    s.data = copy = malloc(s.len ? s.len : 1);
    memcpy(copy, in, s.len);

    error = "(no sentence)";

    rc = ngx_broadcast_plain_parse(&s, pool, &f, &error);

    if (rc != NGX_OK) {
        free(copy);

        if (rc == NGX_AGAIN) {
            return "lines";
        }

        if (f.line) {
            sprintf(text, "line %d: %s", (int) f.line, error);
            return text;
        }

        return error;
    }

    n = sprintf(text, "%s", kinds[f.type]);

    if (f.group.len) {
        n += sprintf(text + n, " group=%.*s", (int) f.group.len, f.group.data);
    }

    if (f.target.len) {
        sprintf(text + n, " target=%.*s args=%.*s", (int) f.target.len,
                f.target.data, (int) f.arguments.len, f.arguments.data);
    }

    free(copy);

    return text;
}


static void
test_client(void)
{
    size_t       i;
    const char  *got;
    static struct {
        const char  *in;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "{\"target\":\"t\",\"arguments\":[1]}", "message target=t args=[1]",
          "a message" },
        { "{\"arguments\":[1, 2],\"target\":\"t\"}",
          "message target=t args=[1, 2]", "in any order, arguments as bytes" },
        { "{\"target\":\"t\"}", "message target=t args=[]",
          "no arguments are none" },
        { "{\"target\":\"t\",\"arguments\":null}", "message target=t args=[]",
          "null arguments too" },
        { "{\"join\":\"g\"}", "join group=g", "join" },
        { "{\"leave\":\"g\"}", "leave group=g", "leave" },
        { "{\"send\":\"g\",\"target\":\"t\",\"arguments\":[]}",
          "send group=g target=t args=[]", "send to a group" },
        { "{\"send\":\"*\",\"target\":\"t\",\"arguments\":[]}",
          "send group=* target=t args=[]", "send to all" },
        { "{\"join\":\"\\u0067\\\"\"}", "join group=g\"",
          "a group with escapes" },
        { "{\"join\":\"g\",\"x\":1}", "join group=g",
          "an unknown member is ignored" },
        { "{\"join\":\"g\",\"target\":\"t\"}", "join group=g",
          "a join does not look at a target" },
        { "{\"join\":null,\"leave\":\"g\"}", "leave group=g",
          "a null member is none" },

        { "{}", "a frame has \"target\", \"join\", \"leave\" or \"send\"",
          "nothing" },
        { "{\"arguments\":[]}",
          "a frame has \"target\", \"join\", \"leave\" or \"send\"",
          "arguments alone" },
        { "{\"join\":\"g\",\"leave\":\"g\"}",
          "only one of \"join\", \"leave\" and \"send\" in a frame",
          "join and leave" },
        { "{\"send\":\"g\",\"join\":\"g\",\"target\":\"t\"}",
          "only one of \"join\", \"leave\" and \"send\" in a frame",
          "send and join" },
        { "{\"join\":1}", "a group is a string", "group as a number" },
        { "{\"leave\":[\"g\"]}", "a group is a string", "group as an array" },
        { "{\"join\":\"\"}", "a group has 1 to 1024 characters",
          "an empty group" },
        { "{\"join\":\"a\\u0000\"}", "a group has 1 to 1024 characters",
          "a group that the database cannot keep" },
        { "{\"send\":\"g\"}", "\"target\" is a string",
          "send without a target" },
        { "{\"target\":1}", "\"target\" is a string", "target as a number" },
        { "{\"target\":\"\"}", "\"target\" has 1 to 1024 bytes",
          "an empty target" },
        { "{\"target\":\"t\",\"arguments\":1}", "\"arguments\" is an array",
          "arguments as a number" },
        { "{\"target\":\"t\",\"arguments\":{}}", "\"arguments\" is an array",
          "arguments as an object" },
        { "[]", "a frame is a JSON object", "an array" },
        { "", "a frame is a JSON object", "no text" },
        { "hello", "a frame is a JSON object", "a word" },
        { "{\"join\":\"g\"", "JSON text ends too early", "cut short" },
        { "{\"join\":\"g\"}{}", "something follows the JSON text",
          "two frames in one message" },

        { SEND "\n" SEND, "lines", "two to be sent, one a line" },
        { SEND " \r\n" SEND "\r\n", "lines", "with other line breaks" },
        { SEND "\n", "lines", "one line, which has an end" },
        { SEND "\n\n x", "lines", "whatever is in the others" },
        { "{\"join\":\"g\"}\n" SEND, "lines", "a join and one to be sent" },
        { "{\"join\":\"g\"}\n", "join group=g",
          "a line break behind a join" },
        { "\n{\"send\":\"g\",\n\"target\":\"t\"} ",
          "send group=g target=t args=[]", "line breaks within are none" },
        { SEND " " SEND, "something follows the JSON text",
          "two in one line" },
        { "x\n" SEND, "line 1: a frame is a JSON object",
          "a first line that is no object" },
        { "{\"send\":\"g\"\n" SEND,
          "line 1: JSON text lacks a comma or a closing bracket",
          "a first line that breaks off" },
        { "{\"send\":x}\n" SEND, "line 1: JSON text has an invalid value",
          "a first line that is wrong" },
        { "{\"send\":x}\n", "JSON text has an invalid value", "only one line" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        got = parsed(rows[i].in);
        is_mem(got, strlen(got), rows[i].want, strlen(rows[i].want),
               rows[i].name);
    }
}


static void
test_lines(void)
{
    size_t       i, n;
    char         got[256];
    ngx_str_t    text, line;
    ngx_uint_t   number;
    static struct {
        const char  *in;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "a\nb", "1:a 2:b ", "two lines" },
        { "a\r\nb\r\n", "1:a 2:b ", "their ends are not theirs" },
        { "\n\na\n\r\nb\n", "3:a 5:b ", "empty ones are counted" },
        { "\n", "", "an empty one" },
        { "", "", "no text" },
        { "a\rb\n\r", "1:a\rb ", "a return alone ends nothing" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text = tap_str(rows[i].in);
        number = 0;
        n = 0;

        while (ngx_broadcast_plain_line(&text, &line, &number) == NGX_OK) {
            n += sprintf(got + n, "%d:%.*s ", (int) number, (int) line.len,
                         line.data);
        }

        is_mem(got, n, rows[i].want, strlen(rows[i].want), rows[i].name);
    }
}


static void
is_written(u_char *b, u_char *end, size_t len, const char *want,
    const char *name)
{
    is_mem(b, end - b, want, strlen(want), name);
    is_int(end - b, len, "of the length that was said");

    free(b);
}


static void
test_frames(void)
{
    size_t      i, len;
    u_char     *b;
    ngx_str_t   id, target, arguments;
    static struct {
        const char  *id;
        const char  *target;
        const char  *arguments;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "e1-10", "newMessage", "[{\"a\": 1}]",
          "{\"id\":\"e1-10\",\"target\":\"newMessage\",\"arguments\":"
          "[{\"a\": 1}]}", "a message; its arguments are the bytes that came" },
        { "", "t", "[]", "{\"target\":\"t\",\"arguments\":[]}",
          "a raw notification has no id" },
        { "e1-11", "", "", "{\"id\":\"e1-11\"}", "a position alone" },
        { "e1-12", "a\"\n", "[]",
          "{\"id\":\"e1-12\",\"target\":\"a\\\"\\n\",\"arguments\":[]}",
          "a target with what must be escaped" },
        { "e1-13", NGX_BROADCAST_PLAIN_GAP,
          "[{\"requested\":\"e1-2\",\"oldest\":\"e1-9\"}]",
          "{\"id\":\"e1-13\",\"target\":\"broadcast.gap\",\"arguments\":"
          "[{\"requested\":\"e1-2\",\"oldest\":\"e1-9\"}]}", "a gap" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        id = tap_str(rows[i].id);
        target = tap_str(rows[i].target);
        arguments = tap_str(rows[i].arguments);

        len = ngx_broadcast_plain_len(&id, &target, &arguments);
        b = malloc(len);

        is_written(b, ngx_broadcast_plain_write(b, &id, &target, &arguments),
                   len, rows[i].want, rows[i].name);
    }
}


static void
test_gaps(void)
{
    size_t      i, len;
    u_char     *b;
    ngx_str_t   requested, oldest;
    static struct {
        const char  *requested;
        const char  *oldest;
        ngx_uint_t   array;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "e1-2", "e1-9", 0, "{\"requested\":\"e1-2\",\"oldest\":\"e1-9\"}",
          "data of an event" },
        { "e1-2", "e1-9", 1, "[{\"requested\":\"e1-2\",\"oldest\":\"e1-9\"}]",
          "arguments of a frame" },
        { "", "e1-9", 0, "{\"requested\":null,\"oldest\":\"e1-9\"}",
          "nobody asked: requested is null" },
        { "e1-2", "", 1, "[{\"requested\":\"e1-2\",\"oldest\":null}]",
          "nothing is kept: oldest is null" },
        { "x\"\n", "", 0, "{\"requested\":\"x\\\"\\n\",\"oldest\":null}",
          "whatever a client sent as its position is said back safely" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        requested = tap_str(rows[i].requested);
        oldest = tap_str(rows[i].oldest);

        len = ngx_broadcast_plain_gap_len(&requested, &oldest, rows[i].array);
        b = malloc(len);

        is_written(b, ngx_broadcast_plain_gap_write(b, &requested, &oldest,
                                                    rows[i].array),
                   len, rows[i].want, rows[i].name);
    }

    requested = tap_str("a \"group\" is a string");
    len = ngx_broadcast_plain_error_len(&requested);
    b = malloc(len);

    is_written(b, ngx_broadcast_plain_error_write(b, &requested), len,
               "{\"error\":\"a \\\"group\\\" is a string\"}", "an error");
}


static void
test_sent(void)
{
    size_t     len;
    u_char    *b;
    ngx_str_t  id;

    id = tap_str("e1-7");
    len = ngx_broadcast_plain_sent_len(&id, 12);
    b = malloc(len);
    is_written(b, ngx_broadcast_plain_sent_write(b, &id, 12), len,
               "{\"id\":\"e1-7\",\"count\":12}", "the answer to lines");

    id = tap_str("");
    len = ngx_broadcast_plain_sent_len(&id, 1);
    b = malloc(len);
    is_written(b, ngx_broadcast_plain_sent_write(b, &id, 1), len,
               "{\"count\":1}", "without a number");
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_client();
    test_frames();
    test_gaps();
    test_lines();
    test_sent();

    ngx_destroy_pool(pool);

    return done();
}
