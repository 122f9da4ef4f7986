
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_hub_json.c
 *        src/proto/ngx_broadcast_hub_json_write.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_hub_json.h"

#include "tap.h"


#define RS  "\x1e"


static ngx_pool_t  *pool;


/*
 * What was parsed, in one line: type, then what is there of
 * id= target= args= streams=count value= error= reconnect seq= nul deep
 */

static const char *
told(const ngx_broadcast_message_t *m)
{
    size_t        n;
    static char   text[1024];

#define PART(name, s)                                                         \
    n += sprintf(text + n, " " name "=%.*s", (int) (s).len, (s).data)

    n = sprintf(text, "%d", (int) m->type);

    if (m->id.len) {
        PART("id", m->id);
    }

    if (m->target.len) {
        PART("target", m->target);
    }

    if (m->arguments.len) {
        PART("args", m->arguments);
    }

    if (m->nstreams) {
        n += sprintf(text + n, " streams=%d", (int) m->nstreams);
    }

    if (m->has_value) {
        PART("value", m->value);
    }

    if (m->has_error) {
        PART("error", m->error);
    }

    if (m->allow_reconnect) {
        n += sprintf(text + n, " reconnect");
    }

    if (m->sequence) {
        n += sprintf(text + n, " seq=%lld", (long long) m->sequence);
    }

    if (m->nul) {
        n += sprintf(text + n, " nul");
    }

    if (m->deep) {
        n += sprintf(text + n, " deep");
    }

    return text;
}


/* parses a record in memory of exactly its size */

static const char *
parsed(const char *record, size_t len)
{
    u_char                   *copy;
    ngx_int_t                 rc;
    ngx_str_t                 s;
    const char               *text, *error;
    ngx_broadcast_message_t   m;

    copy = malloc(len ? len : 1);
    memcpy(copy, record, len);

    s.data = copy;
    s.len = len;
    error = NULL;

    rc = ngx_broadcast_hub_json_parse(&s, pool, &m, &error);

    text = (rc == NGX_OK) ? told(&m)
           : (rc == NGX_DECLINED) ? "ignored"
           : error ? error : "(no sentence)";

    free(copy);

    return text;
}


/* what the JavaScript client writes, byte for byte: signalr.md 4.3 */

static void
test_client(void)
{
    size_t      i;
    u_char     *pos, *last;
    ngx_str_t   record;
    static struct {
        const char  *in;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "{\"target\":\"Echo\",\"arguments\":[\"hi\"],\"invocationId\":\"0\","
          "\"type\":1}" RS, "1 id=0 target=Echo args=[\"hi\"]",
          "invoke: type comes last" },
        { "{\"target\":\"Fire\",\"arguments\":[1,{\"a\":2}],\"type\":1}" RS,
          "1 target=Fire args=[1,{\"a\":2}]", "send: no id" },
        { "{\"target\":\"Count\",\"arguments\":[3],\"invocationId\":\"1\","
          "\"type\":4}" RS, "4 id=1 target=Count args=[3]", "stream" },
        { "{\"invocationId\":\"1\",\"type\":5}" RS, "5 id=1",
          "dispose of a stream" },
        { "{\"target\":\"Up\",\"arguments\":[5],\"streamIds\":[\"2\"],"
          "\"type\":1}" RS, "1 target=Up args=[5] streams=1",
          "send with an upload stream" },
        { "{\"invocationId\":\"2\",\"item\":\"x\",\"type\":2}" RS,
          "2 id=2 value=\"x\"", "upload item" },
        { "{\"invocationId\":\"2\",\"type\":3}" RS, "3 id=2", "upload end" },
        { "{\"error\":\"Error: boom\",\"invocationId\":\"2\",\"type\":3}" RS,
          "3 id=2 error=Error: boom", "upload failed" },
        { "{\"invocationId\":\"s1\",\"result\":3,\"type\":3}" RS,
          "3 id=s1 value=3", "client result" },
        { "{\"type\":6}" RS, "6", "ping" },
        { "{\"type\":7}" RS, "7", "close" },
        { "{\"type\":8,\"sequenceId\":2}" RS, "8 seq=2", "ack" },
        { "{\"type\":9,\"sequenceId\":1}" RS, "9 seq=1", "sequence" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pos = (u_char *) rows[i].in;
        last = pos + strlen(rows[i].in);

        ok(ngx_broadcast_hub_json_next(&pos, last, &record) == NGX_OK
           && pos == last
           && strcmp(parsed((char *) record.data, record.len), rows[i].want)
              == 0, rows[i].name);
    }
}


static void
test_rules(void)
{
    size_t  i;
    static struct {
        const char  *in;
        const char  *want;
        const char  *name;
    } rows[] = {

        /* order, repetition, unknown names */

        { "{\"arguments\":[],\"type\":1,\"target\":\"a\"}",
          "1 target=a args=[]", "any order" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],\"x\":{\"type\":7}}",
          "1 target=a args=[]", "an unknown property is ignored" },
        { "{\"type\":1,\"target\":\"a\",\"target\":\"b\",\"arguments\":[]}",
          "1 target=b args=[]", "of a repeated property the last counts" },
        { "{\"type\":7,\"type\":6}", "6", "of the type too" },
        { "{\"Type\":6}", "Missing required property 'type'.",
          "case of names counts" },
        { "{\"t\\u0079pe\":6}", "6", "a name may be written with escapes" },
        { " {\n\t\"type\" : 6 }\r\n", "6", "blanks are nothing" },

        /* spans as they came */

        { "{\"type\":1,\"target\":\"a\",\"arguments\":[ 1.0, "
          "123456789012345678901234567890 ,\"\\u0000\\ud800\" ]}",
          "1 target=a args=[ 1.0, 123456789012345678901234567890 ,"
          "\"\\u0000\\ud800\" ]",
          "arguments are the bytes that came, big numbers and all" },
        { "{\"type\":3,\"invocationId\":\"0\",\"result\":null}",
          "3 id=0 value=null", "a null result is a result" },
        { "{\"type\":2,\"invocationId\":\"0\",\"item\":null}",
          "2 id=0 value=null", "a null item is an item" },
        { "{\"type\":2,\"invocationId\":\"0\",\"item\":1,\"result\":2}",
          "2 id=0 value=1", "an item does not look at a result" },
        { "{\"type\":3,\"invocationId\":\"0\",\"item\":1}", "3 id=0",
          "nor a completion at an item" },

        /* strings with escapes are decoded */

        { "{\"type\":1,\"target\":\"\\u0045cho\\n\",\"arguments\":[]}",
          "1 target=Echo\n args=[]", "a target with escapes" },
        { "{\"type\":5,\"invocationId\":\"\\\"\"}", "5 id=\"",
          "an id with a quote" },
        { "{\"type\":5,\"invocationId\":\"a\\u0000\"}", "5 id=a nul",
          "an id with U+0000 is told" },
        { "{\"type\":6,\"x\":\"\\u0000\"}", "6",
          "U+0000 in what nobody reads is not" },

        /* required */

        { "{}", "Missing required property 'type'.", "no type" },
        { "{\"type\":1,\"arguments\":[]}",
          "Missing required property 'target'.", "no target" },
        { "{\"type\":1,\"target\":\"\",\"arguments\":[]}",
          "Missing required property 'target'.", "an empty target is none" },
        { "{\"type\":1,\"target\":null,\"arguments\":[]}",
          "Missing required property 'target'.", "a null target is none" },
        { "{\"type\":1,\"target\":\"a\"}",
          "Missing required property 'arguments'.", "no arguments" },
        { "{\"type\":4,\"target\":\"a\",\"arguments\":[]}",
          "Missing required property 'invocationId'.",
          "a stream invocation needs an id" },
        { "{\"type\":2,\"item\":1}",
          "Missing required property 'invocationId'.", "an item needs an id" },
        { "{\"type\":2,\"invocationId\":\"1\"}",
          "Missing required property 'item'.", "and the item" },
        { "{\"type\":3,\"result\":1}",
          "Missing required property 'invocationId'.",
          "a completion needs an id" },
        { "{\"type\":5}", "Missing required property 'invocationId'.",
          "a cancelation needs an id" },
        { "{\"type\":5,\"invocationId\":\"\"}",
          "Missing required property 'invocationId'.", "an empty id is none" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],"
          "\"invocationId\":\"\"}", "1 target=a args=[]",
          "with an empty id nobody waits for an answer" },
        { "{\"type\":8}", "Missing required property 'sequenceId'.",
          "an ack needs its number" },
        { "{\"type\":3,\"invocationId\":\"0\",\"result\":1,\"error\":\"x\"}",
          "The 'result' and 'error' properties are mutually exclusive.",
          "result and error" },
        { "{\"type\":3,\"invocationId\":\"0\",\"result\":null,\"error\":\"\"}",
          "The 'result' and 'error' properties are mutually exclusive.",
          "even where both are next to nothing" },
        { "{\"type\":3,\"invocationId\":\"0\",\"error\":\"\"}",
          "3 id=0 error=", "an empty error is one" },

        /* types of properties */

        { "{\"type\":\"1\"}", "Expected 'type' to be of type Number.",
          "type as a string" },
        { "{\"type\":1.5}", "Expected 'type' to be of type Number.",
          "type as a fraction" },
        { "{\"type\":null}", "Expected 'type' to be of type Number.",
          "type as null" },
        { "{\"type\":99999999999999999999}",
          "Expected 'type' to be of type Number.", "type beyond 64 bits" },
        { "{\"type\":1,\"target\":5,\"arguments\":[]}",
          "Expected 'target' to be of type String.", "target as a number" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":{}}",
          "Expected 'arguments' to be of type Array.", "arguments as object" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":null}",
          "Expected 'arguments' to be of type Array.", "arguments as null" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],\"invocationId\":0}",
          "Expected 'invocationId' to be of type String.", "id as a number" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],"
          "\"invocationId\":null}", "1 target=a args=[]",
          "a null id is none: some clients write it" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],\"streamIds\":null}",
          "1 target=a args=[]", "so are null stream ids" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],\"streamIds\":[]}",
          "1 target=a args=[]", "and empty ones" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],\"streamIds\":[1]}",
          "Expected 'streamIds' to be an array of strings.",
          "a stream id as a number" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],\"streamIds\":\"1\"}",
          "Expected 'streamIds' to be an array of strings.",
          "stream ids as a string" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],"
          "\"headers\":{\"a\":\"b\"}}", "1 target=a args=[]",
          "headers are allowed" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],\"headers\":[]}",
          "Expected 'headers' to be an object of strings.",
          "headers as an array" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":[],"
          "\"headers\":{\"a\":1}}",
          "Expected 'headers' to be an object of strings.",
          "a header as a number" },
        { "{\"type\":7,\"error\":5}", "Expected 'error' to be of type String.",
          "error as a number" },
        { "{\"type\":3,\"invocationId\":\"0\",\"error\":null,\"result\":1}",
          "3 id=0 value=1", "a null error is none" },
        { "{\"type\":7,\"error\":\"x\",\"allowReconnect\":true}",
          "7 error=x reconnect", "close with all it may have" },
        { "{\"type\":7,\"allowReconnect\":\"true\"}",
          "Expected 'allowReconnect' to be of type Boolean.",
          "allowReconnect as a string" },
        { "{\"type\":8,\"sequenceId\":\"2\"}",
          "Expected 'sequenceId' to be of type Number.",
          "sequenceId as a string" },

        /* types that nobody knows */

        { "{\"type\":0}", "ignored", "type 0" },
        { "{\"type\":-1}", "ignored", "type -1" },
        { "{\"type\":10}", "ignored", "type 10, of upstreams" },
        { "{\"type\":42,\"target\":5}", "ignored",
          "of an unknown type the properties may be anything" },

        /* no record at all */

        { "", "Expected a JSON Object.", "an empty record" },
        { "[]", "Expected a JSON Object.", "an array" },
        { "6", "Expected a JSON Object.", "a number" },
        { "{\"type\":6", "JSON text ends too early", "a record cut short" },
        { "{\"type\":6}}", "something follows the JSON text",
          "a byte too many" },
        { "{\"type\":6}{\"type\":6}", "something follows the JSON text",
          "two objects without a separator" },
        { "{\"type\":6,\"x\":\"\xff\"}", "JSON string is not UTF-8",
          "no UTF-8, even where nobody reads it" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        is_mem(parsed(rows[i].in, strlen(rows[i].in)),
               strlen(parsed(rows[i].in, strlen(rows[i].in))),
               rows[i].want, strlen(rows[i].want), rows[i].name);
    }
}


/* arguments in so many arrays, in place of %s of a record */

static const char *
nested(const char *format, int levels)
{
    static char  arguments[4096], record[8192];

    memset(arguments, '[', levels);
    memset(arguments + levels, ']', levels);
    arguments[2 * levels] = '\0';

    sprintf(record, format, arguments);

    return parsed(record, strlen(record));
}


static void
test_deep(void)
{
    size_t  i;
    static struct {
        const char  *format;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "{\"arguments\":%s,\"target\":\"a\",\"invocationId\":\"7\","
          "\"type\":1}", "1 id=7 target=a deep",
          "65 levels are an error of the invocation" },
        { "{\"type\":4,\"invocationId\":\"7\",\"target\":\"a\","
          "\"arguments\":[%s]}", "4 id=7 target=a deep",
          "of a stream, too, and where all else comes first" },
        { "{\"type\":1,\"invocationId\":\"7\",\"target\":\"a\","
          "\"arguments\":[\"[\\\"[\",%s,\"]\\\\\",{\"]\":1}],"
          "\"streamIds\":[\"8\"]}", "1 id=7 target=a streams=1 deep",
          "brackets in strings are none" },
        { "{\"type\":1,\"invocationId\":\"7\",\"target\":\"a\","
          "\"arguments\":%s,\"arguments\":[1]}", "1 id=7 target=a args=[1]",
          "of repeated arguments the last count" },
        { "{\"type\":1,\"target\":\"a\",\"arguments\":%s}",
          "JSON text is nested deeper than 64 levels",
          "without an id nobody could be told" },
        { "{\"type\":3,\"invocationId\":\"7\",\"result\":%s}",
          "JSON text is nested deeper than 64 levels", "a result is none" },
        { "{\"type\":1,\"invocationId\":\"7\",\"target\":\"a\","
          "\"x\":%s,\"arguments\":[]}",
          "JSON text is nested deeper than 64 levels",
          "nor is what nobody reads" },
        { "{\"type\":1,\"invocationId\":\"7\",\"target\":\"a\","
          "\"arguments\":[%s}", "JSON text ends too early",
          "the record must be whole" },
        { "{\"type\":1,\"invocationId\":\"7\",\"target\":\"a\","
          "\"arguments\":%s x}",
          "JSON text lacks a comma or a closing bracket",
          "and what follows must be right" },
        { "{\"type\":1,\"invocationId\":\"7\",\"target\":\"a\","
          "\"arguments\":{\"a\":%s}}",
          "Expected 'arguments' to be of type Array.",
          "an object is no array at any depth" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_str_t  got = tap_str(nested(rows[i].format, 65));

        is_str(&got, rows[i].want, rows[i].name);
    }

    ok(strstr(nested("{\"arguments\":%s,\"target\":\"a\","
                     "\"invocationId\":\"7\",\"type\":1}", 64), "args=[[")
       != NULL, "64 levels are arguments");
    ok(strcmp(nested(rows[0].format, 2000), rows[0].want) == 0,
       "2000 are as 65");
}


static void
test_records(void)
{
    u_char     *pos, *last, *before;
    ngx_str_t   record;

    pos = (u_char *) "{\"type\":6}" RS RS "{\"type\":7}";
    last = pos + 22;

    ok(ngx_broadcast_hub_json_next(&pos, last, &record) == NGX_OK
       && record.len == 10, "first record, without its separator");
    ok(ngx_broadcast_hub_json_next(&pos, last, &record) == NGX_OK
       && record.len == 0, "an empty record between two separators");

    before = pos;

    ok(ngx_broadcast_hub_json_next(&pos, last, &record) == NGX_AGAIN
       && pos == before, "a record without separator waits for the rest");

    pos = last;

    is_int(ngx_broadcast_hub_json_next(&pos, last, &record), NGX_DONE,
           "nothing is left");

    pos = NULL;

    is_int(ngx_broadcast_hub_json_next(&pos, NULL, &record), NGX_DONE,
           "nothing was there");
}


static void
test_streams(void)
{
    u_char                   *pos;
    ngx_str_t                 record, id;
    const char               *error;
    ngx_broadcast_message_t   m;

    record = tap_str("{\"type\":1,\"target\":\"a\",\"arguments\":[],"
                     "\"streamIds\":[ \"1\" , \"\\u0032\" ]}");

    ngx_broadcast_hub_json_parse(&record, pool, &m, &error);
    pos = NULL;

    is_int(ngx_broadcast_hub_json_stream(&m, &pos, pool, &id), NGX_OK,
           "first stream");
    is_str(&id, "1", "its id");
    is_int(ngx_broadcast_hub_json_stream(&m, &pos, pool, &id), NGX_OK,
           "second stream");
    is_str(&id, "2", "its id, decoded");
    is_int(ngx_broadcast_hub_json_stream(&m, &pos, pool, &id), NGX_DONE,
           "no third");

    ngx_str_null(&m.streams);
    pos = NULL;

    is_int(ngx_broadcast_hub_json_stream(&m, &pos, pool, &id), NGX_DONE,
           "a message without streams has none");
}


/* what the reference server writes, byte for byte: signalr.md 4.4 */

static void
test_write(void)
{
    size_t                    i, n;
    u_char                   *b, *p;
    ngx_str_t                 record;
    const char               *error;
    ngx_broadcast_message_t   m, again;
    static struct {
        ngx_broadcast_message_type_e   type;
        const char                    *id;
        const char                    *target;
        const char                    *arguments;
        const char                    *streams;
        const char                    *value;
        const char                    *error;
        int64_t                        sequence;
        ngx_uint_t                     reconnect;
        const char                    *want;
        const char                    *name;
    } rows[] = {
        { 1, NULL, "newMessage", "[\"bob\",\"hello\"]", NULL, NULL, NULL, 0, 0,
          "{\"type\":1,\"target\":\"newMessage\",\"arguments\":[\"bob\","
          "\"hello\"]}" RS, "invocation" },
        { 1, "r1", "Add", "[1,2]", NULL, NULL, NULL, 0, 0,
          "{\"type\":1,\"invocationId\":\"r1\",\"target\":\"Add\","
          "\"arguments\":[1,2]}" RS, "invocation that wants a result" },
        { 1, NULL, "Up", "[]", "[\"2\"]", NULL, NULL, 0, 0,
          "{\"type\":1,\"target\":\"Up\",\"arguments\":[],\"streamIds\":"
          "[\"2\"]}" RS, "invocation with a stream" },
        { 2, "1", NULL, NULL, NULL, "{\"n\":1}", NULL, 0, 0,
          "{\"type\":2,\"invocationId\":\"1\",\"item\":{\"n\":1}}" RS,
          "stream item" },
        { 3, "0", NULL, NULL, NULL, "42", NULL, 0, 0,
          "{\"type\":3,\"invocationId\":\"0\",\"result\":42}" RS,
          "completion with a result" },
        { 3, "0", NULL, NULL, NULL, "null", NULL, 0, 0,
          "{\"type\":3,\"invocationId\":\"0\",\"result\":null}" RS,
          "completion with a null result" },
        { 3, "1", NULL, NULL, NULL, NULL, NULL, 0, 0,
          "{\"type\":3,\"invocationId\":\"1\"}" RS,
          "completion of a stream" },
        { 3, "0", NULL, NULL, NULL, NULL, "Unknown hub method 'Foo'", 0, 0,
          "{\"type\":3,\"invocationId\":\"0\",\"error\":\"Unknown hub method "
          "'Foo'\"}" RS, "completion with an error" },
        { 3, "a\"\x1e", NULL, NULL, NULL, NULL, "no \"\x1e", 0, 0,
          "{\"type\":3,\"invocationId\":\"a\\\"\\u001e\",\"error\":"
          "\"no \\\"\\u001e\"}" RS,
          "an id and an error cannot end the record" },
        { 4, "1", "S", "[1]", NULL, NULL, NULL, 0, 0,
          "{\"type\":4,\"invocationId\":\"1\",\"target\":\"S\","
          "\"arguments\":[1]}" RS, "stream invocation" },
        { 5, "1", NULL, NULL, NULL, NULL, NULL, 0, 0,
          "{\"type\":5,\"invocationId\":\"1\"}" RS, "cancelation" },
        { 6, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0,
          "{\"type\":6}" RS, "ping" },
        { 7, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0,
          "{\"type\":7}" RS, "close" },
        { 7, NULL, NULL, NULL, NULL, NULL, NGX_BROADCAST_HUB_JSON_CLOSE_ERROR,
          0, 0, "{\"type\":7,\"error\":\"Connection closed with an error.\"}"
          RS, "close with an error" },
        { 7, NULL, NULL, NULL, NULL, NULL, "bye", 0, 1,
          "{\"type\":7,\"error\":\"bye\",\"allowReconnect\":true}" RS,
          "close with an error, reconnect allowed" },
        { 7, NULL, NULL, NULL, NULL, NULL, NULL, 0, 1,
          "{\"type\":7,\"allowReconnect\":true}" RS,
          "close, reconnect allowed" },
        { 8, NULL, NULL, NULL, NULL, NULL, NULL, 2, 0,
          "{\"type\":8,\"sequenceId\":2}" RS, "ack" },
        { 9, NULL, NULL, NULL, NULL, NULL, NULL, INT64_MAX, 0,
          "{\"type\":9,\"sequenceId\":9223372036854775807}" RS, "sequence" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(&m, 0, sizeof(m));

        m.type = rows[i].type;
        m.id = tap_str(rows[i].id ? rows[i].id : "");
        m.target = tap_str(rows[i].target ? rows[i].target : "");
        m.arguments = tap_str(rows[i].arguments ? rows[i].arguments : "");
        m.streams = tap_str(rows[i].streams ? rows[i].streams : "");
        m.value = tap_str(rows[i].value ? rows[i].value : "");
        m.error = tap_str(rows[i].error ? rows[i].error : "");
        m.has_value = (rows[i].value != NULL);
        m.has_error = (rows[i].error != NULL);
        m.allow_reconnect = rows[i].reconnect;
        m.sequence = rows[i].sequence;

        n = ngx_broadcast_hub_json_len(&m);
        b = malloc(n);
        p = ngx_broadcast_hub_json_write(b, &m);

        is_mem(b, p - b, rows[i].want, strlen(rows[i].want), rows[i].name);
        is_int(p - b, n, "of the length that was said");

        record.data = b;
        record.len = n - 1;

        ok(ngx_broadcast_hub_json_parse(&record, pool, &again, &error)
           == NGX_OK && again.type == m.type && again.id.len == m.id.len
           && again.error.len == m.error.len, "and parsed again");

        free(b);
    }
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_client();
    test_rules();
    test_deep();
    test_records();
    test_streams();
    test_write();

    ngx_destroy_pool(pool);

    return done();
}
