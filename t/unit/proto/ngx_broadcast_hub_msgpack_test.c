
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_hub_msgpack.c
 *        src/proto/ngx_broadcast_hub_msgpack_write.c
 *        src/proto/ngx_broadcast_recode.c
 *        src/proto/ngx_broadcast_recode_shape.c
 *        src/proto/ngx_broadcast_recode_text.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_msgpack.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_hub_msgpack.h"
#include "proto/ngx_broadcast_recode.h"

#include "tap.h"


#define LIMIT  65536


static ngx_pool_t  *pool;


/* "0a 95 01" as bytes, in memory of exactly their size, to be freed */

static ngx_str_t
bytes_of(const char *hex)
{
    u_char      *p;
    unsigned     c;
    ngx_str_t    bytes;

    bytes.data = malloc(strlen(hex) / 2 + 1);
    p = bytes.data;

    while (*hex) {

        if (*hex == ' ') {
            hex++;
            continue;
        }

        sscanf(hex, "%2x", &c);
        *p++ = (u_char) c;
        hex += 2;
    }

    bytes.len = p - bytes.data;
    bytes.data = realloc(bytes.data, bytes.len ? bytes.len : 1);

    return bytes;
}


/*
 * What was parsed, in one line, raw values as JSON: type, then what is there
 * of id= target= args= streams= value= error= reconnect seq= nul
 * deep
 */

static const char *
told(ngx_broadcast_message_t *m)
{
    size_t        n;
    static char   text[1024];

#define PART(name, s)                                                         \
    n += sprintf(text + n, " " name "=%.*s", (int) (s).len, (s).data)

    if (ngx_broadcast_recode_message(m, NGX_BROADCAST_HUB_JSON, pool, m)
        != NGX_OK)
    {
        return "(no JSON)";
    }

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
        PART("streams", m->streams);
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


/* one framed record */

static const char *
parsed(const char *hex)
{
    u_char                    *pos;
    ngx_int_t                  rc;
    ngx_str_t                  bytes, record;
    const char                *text, *error;
    ngx_broadcast_message_t    m;

    bytes = bytes_of(hex);
    pos = bytes.data;
    error = NULL;

    if (ngx_broadcast_hub_msgpack_next(&pos, bytes.data + bytes.len, LIMIT,
                                       &record)
        != NGX_OK
        || pos != bytes.data + bytes.len)
    {
        text = "(not one record)";

    } else {
        rc = ngx_broadcast_hub_msgpack_parse(&record, &m, &error);

        text = (rc == NGX_OK) ? told(&m)
               : (rc == NGX_DECLINED) ? (error ? error : "ignored")
               : error ? error : "(no sentence)";
    }

    free(bytes.data);

    return text;
}


/* the same without its length, which is put before it */

static const char *
body(const char *hex)
{
    char  framed[512];

    sprintf(framed, "%02x %s", (unsigned) (strlen(hex) + 1) / 3, hex);

    return parsed(framed);
}


/* signalr.md, A4, and what is beyond it */

static void
test_varint(void)
{
    size_t       i, j, right, split;
    u_char      *pos;
    ngx_int_t    rc;
    ngx_str_t    bytes, record;
    static struct {
        const char  *hex;
        size_t       len;
    } rows[] = {
        { "00", 0 }, { "01", 1 }, { "7f", 127 }, { "80 01", 128 },
        { "ff 01", 255 }, { "ff 7f", 16383 }, { "80 80 01", 16384 },
        { "ff ff 7f", 2097151 }, { "80 80 80 01", 2097152 },
        { "ff ff ff 7f", 268435455 }, { "ff ff ff ff 07", 2147483647 },
    };
    static const char  *wrong[] = {
        "80 80 80 80 08", "ff ff ff ff 0f", "ff ff ff ff 7f",
        "80 80 80 80 80", "80 80 80 80 80 00", "ff ff ff ff ff ff"
    };

    right = 0;
    split = 0;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bytes = bytes_of(rows[i].hex);

        /* its length is allowed, or is not by one byte */

        pos = bytes.data;
        rc = ngx_broadcast_hub_msgpack_next(&pos, bytes.data + bytes.len,
                                            rows[i].len, &record);

        if (rc == (rows[i].len ? NGX_AGAIN : NGX_OK)) {
            pos = bytes.data;
            rc = rows[i].len
                 ? ngx_broadcast_hub_msgpack_next(&pos, bytes.data + bytes.len,
                                                  rows[i].len - 1, &record)
                 : NGX_BUSY;
            right += (rc == NGX_BUSY && pos == bytes.data);
        }

        for (j = 1; j < bytes.len; j++) {
            pos = bytes.data;
            rc = ngx_broadcast_hub_msgpack_next(&pos, bytes.data + j, 0,
                                                &record);
            if (rc != NGX_AGAIN && rc != NGX_BUSY) {
                break;
            }
        }

        split += (j >= bytes.len);
        free(bytes.data);
    }

    is_int(right, sizeof(rows) / sizeof(rows[0]),
           "lengths of A4 are read, and the limit holds before the bytes come");
    is_int(split, sizeof(rows) / sizeof(rows[0]),
           "half a length is waited for");

    for (i = 0, right = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        bytes = bytes_of(wrong[i]);
        pos = bytes.data;

        right += (ngx_broadcast_hub_msgpack_next(&pos, bytes.data + bytes.len,
                                                 NGX_MAX_INT32_VALUE, &record)
                  == NGX_ERROR);
        free(bytes.data);
    }

    is_int(right, sizeof(wrong) / sizeof(wrong[0]),
           "a sixth byte, or more than 2147483647, is an error");
}


/* signalr.md 5.3 */

static void
test_examples(void)
{
    size_t  i;
    static struct {
        const char  *hex;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "02 91 06", "6", "ping" },
        { "03 92 07 c0", "7", "close by the client" },
        { "04 93 07 c0 c2", "7", "close by the server" },
        { "07 93 07 a3 62 79 65 c3", "7 error=bye reconnect",
          "close with an error, and come again" },
        { "0a 95 01 80 c0 a4 46 69 72 65 90", "1 target=Fire args=[]",
          "send" },
        { "0b 95 01 80 c0 a2 68 69 92 01 a1 61", "1 target=hi args=[1,\"a\"]",
          "an invocation of five elements" },
        { "0d 96 01 80 a1 37 a3 73 75 6d 92 02 03 90",
          "1 id=7 target=sum args=[2,3]", "one of six" },
        { "0b 96 01 80 c0 a2 55 70 90 91 a1 32",
          "1 target=Up args=[] streams=[\"2\"]", "an upload stream" },
        { "06 94 02 80 a1 32 01", "2 id=2 value=1", "a stream item" },
        { "06 94 03 80 a1 32 02", "3 id=2", "a completion without result" },
        { "09 95 03 80 a1 37 01 a2 6e 6f", "3 id=7 error=no",
          "one with an error" },
        { "07 95 03 80 a1 37 03 c3", "3 id=7 value=true",
          "one with a result" },
        { "09 95 04 80 a1 31 a1 53 91 01", "4 id=1 target=S args=[1]",
          "a stream invocation" },
        { "05 93 05 80 a1 30", "5 id=0", "cancel" },
        { "03 92 08 24", "8 seq=36", "ack" },
        { "03 92 09 13", "9 seq=19", "sequence" },
        { "1e 95 01 80 a1 30 a4 45 63 68 6f 91 83 a1 78 01 a1 62 c4 03 01 02 "
          "03 a1 64 d6 ff 38 6d 43 80",
          "1 id=0 target=Echo args=[{\"x\":1,\"b\":\"AQID\","
          "\"d\":\"2000-01-01T00:00:00.000Z\"}]", "bytes and a date" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_str_t  got = tap_str(parsed(rows[i].hex));

        is_str(&got, rows[i].want, rows[i].name);
    }
}


static void
test_shapes(void)
{
    size_t  i;
    static struct {
        const char  *hex;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "97 01 80 c0 a1 74 90 90 2a", "1 target=t args=[]",
          "a seventh element is ignored" },
        { "95 01 c0 c0 a1 74 90", "1 target=t args=[]", "headers may be nil" },
        { "95 01 81 a1 61 a1 62 c0 a1 74 90", "1 target=t args=[]",
          "headers are strings" },
        { "95 01 80 a0 a1 74 90", "1 target=t args=[]",
          "an empty id is none" },
        { "96 01 80 c0 a1 74 90 c0", "1 target=t args=[]",
          "stream ids may be nil" },
        { "dc 00 05 cd 00 01 de 00 00 d9 01 61 da 00 01 74 dd 00 00 00 01 "
          "d3 00 00 00 00 00 00 00 05", "1 id=a target=t args=[5]",
          "any form of array, integer, map and string" },
        { "93 06 01 02", "6", "a ping with more" },
        { "93 08 d2 00 00 00 05 00", "8 seq=5", "an ack with more" },
        { "94 07 a1 78 c2 01", "7 error=x", "a close with more" },
        { "95 03 80 a1 37 01 c0", "3 id=7", "an error that is nil is none" },
        { "95 03 80 a1 37 03 c0", "3 id=7 value=null",
          "a result that is nil is one" },
        { "94 02 80 a1 32 c0", "2 id=2 value=null", "an item that is nil" },
        { "95 01 80 c0 a2 00 74 90", "1 target= args=[] nul",
          "U+0000 in a target" },
        { "92 0a 01", "ignored", "type 10" },
        { "91 00", "ignored", "type 0" },
        { "92 d1 03 e8 90", "ignored", "type 1000" },
        { "91 ff", "ignored", "type -1" },
        { "92 0a 91", "MessagePack value ends too early",
          "what is ignored must be a whole value all the same" },

        { "90", "A message has too few elements.", "an empty array" },
        { "", "Expected an array.", "an empty message" },
        { "80", "Expected an array.", "a map" },
        { "06", "Expected an array.", "an integer" },
        { "91 a1 36", "Expected the message type to be an integer.",
          "a type that is a string" },
        { "91 cb 3f f0 00 00 00 00 00 00",
          "Expected the message type to be an integer.",
          "a type that is a float" },
        { "94 01 80 c0 a1 74", "A message has too few elements.",
          "an invocation of four elements" },
        { "95 01 90 c0 a1 74 90", "Expected the headers to be a map of "
          "strings.", "headers that are an array" },
        { "95 01 81 a1 61 01 c0 a1 74 90", "Expected the headers to be a map "
          "of strings.", "a header that is an integer" },
        { "95 01 81 01 a1 61 c0 a1 74 90", "Expected the headers to be a map "
          "of strings.", "a header's name that is an integer" },
        { "95 01 80 07 a1 74 90", "Expected the invocation id to be a string.",
          "an id that is an integer" },
        { "95 01 80 c0 c0 90", "The target is missing.", "a target of nil" },
        { "95 01 80 c0 a0 90", "The target is missing.", "an empty target" },
        { "95 01 80 c0 01 90", "Expected the target to be a string.",
          "a target that is an integer" },
        { "95 01 80 c0 a1 74 c0", "Expected the arguments to be an array.",
          "arguments of nil" },
        { "95 01 80 c0 a1 74 80", "Expected the arguments to be an array.",
          "arguments that are a map" },
        { "96 01 80 c0 a1 74 90 91 01", "Expected the stream ids to be an "
          "array of strings.", "a stream id that is an integer" },
        { "96 01 80 c0 a1 74 90 81 a1 61 a1 62", "Expected the stream ids to "
          "be an array of strings.", "stream ids that are a map" },
        { "95 04 80 c0 a1 53 90", "The invocation id is missing.",
          "a stream without id" },
        { "94 02 80 c0 01", "The invocation id is missing.",
          "an item without id" },
        { "93 02 80 a1 32", "A message has too few elements.",
          "an item without value" },
        { "93 05 80 a0", "The invocation id is missing.",
          "a cancel with an empty id" },
        { "94 03 80 a1 37 04", "The kind of a result is not known.",
          "a result of kind 4" },
        { "94 03 80 a1 37 00", "The kind of a result is not known.",
          "a result of kind 0" },
        { "94 03 80 a1 37 c0", "Expected the kind of a result to be an "
          "integer.", "a result of kind nil" },
        { "94 03 80 a1 37 03", "A message has too few elements.",
          "a result that is missing" },
        { "95 03 80 a1 37 01 05", "Expected the error to be a string.",
          "an error that is an integer" },
        { "91 07", "A message has too few elements.",
          "a close without error" },
        { "92 07 01", "Expected the error to be a string.",
          "a close whose error is an integer" },
        { "93 07 c0 01", "Expected whether to reconnect to be a boolean.",
          "whether to reconnect as an integer" },
        { "91 08", "A message has too few elements.", "an ack without id" },
        { "92 09 a1 31", "Expected the sequence id to be an integer.",
          "a sequence id that is a string" },
        { "95 01 80 c0 a1 74 91", "MessagePack value ends too early",
          "an argument that is missing" },
        { "95 01 80 c0 a1 74 91 a1 ff", "MessagePack string is not UTF-8",
          "an argument that is not UTF-8" },
        { "91 06 00", "Something follows the array of a message.",
          "bytes behind the array" },
        { "92 0a 01 00", "Something follows the array of a message.",
          "and behind one to be ignored" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_str_t  got = tap_str(body(rows[i].hex));

        is_str(&got, rows[i].want, rows[i].name);
    }
}


/* head, so many arrays in each other, tail */

static const char *
nested(const char *head, int levels, const char *tail)
{
    int    i;
    char  *p;

    static char  hex[512];

    p = hex + sprintf(hex, "%s", head);

    for (i = 1; i < levels; i++) {
        p += sprintf(p, " 91");
    }

    sprintf(p, " 90%s", tail);

    return body(hex);
}


static void
test_deep(void)
{
    size_t  i;
    static struct {
        const char  *head;
        const char  *tail;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "95 01 80 a1 37 a1 74", "", "1 id=7 target=t deep",
          "65 levels are an error of the invocation" },
        { "96 04 80 a1 37 a1 74", " 91 a1 38",
          "4 id=7 target=t streams=[\"8\"] deep",
          "of a stream, too, and the rest is read" },
        { "95 01 80 a1 37 a1 74 92 81 01", " 2a", "1 id=7 target=t deep",
          "maps and what is beside it are passed over" },
        { "95 01 80 c0 a1 74", "",
          "MessagePack value is nested deeper than 64 levels",
          "without an id nobody could be told" },
        { "95 03 80 a1 37 03", "",
          "MessagePack value is nested deeper than 64 levels",
          "a result is none" },
        { "95 01 80 a1 37 a1 74 92", "",
          "MessagePack value is nested deeper than 64 levels",
          "the message must be whole" },
        { "95 01 80 a1 37 a1 74", " 01",
          "Something follows the array of a message.",
          "and have nothing behind it" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_str_t  got = tap_str(nested(rows[i].head, 65, rows[i].tail));

        is_str(&got, rows[i].want, rows[i].name);
    }

    ok(strstr(nested("95 01 80 a1 37 a1 74", 64, ""), "args=[[") != NULL,
       "64 levels are arguments");
}


/* several messages that come one byte at a time, or all at once */

static void
test_stream(void)
{
    u_char     *pos, *last;
    ngx_int_t   rc;
    ngx_str_t   bytes, record;
    ngx_uint_t  n, whole;

    bytes = bytes_of("02 91 06 0a 95 01 80 c0 a4 46 69 72 65 90 02 91 06");

    pos = bytes.data;
    n = 0;

    while (ngx_broadcast_hub_msgpack_next(&pos, bytes.data + bytes.len, LIMIT,
                                          &record)
           == NGX_OK)
    {
        n++;
    }

    is_int(n, 3, "three messages in one piece");

    pos = bytes.data;
    whole = 0;

    for (last = bytes.data; last <= bytes.data + bytes.len; last++) {
        rc = ngx_broadcast_hub_msgpack_next(&pos, last, LIMIT, &record);

        if (rc == NGX_OK) {
            whole = whole * 100 + (last - bytes.data);
        }
    }

    is_int(whole, 31417, "and byte by byte, each at its last byte");

    free(bytes.data);
}


static void
is_written(ngx_broadcast_message_t *m, const char *hex, const char *name)
{
    u_char     *b, *p;
    size_t      len;
    ngx_str_t   want;

    m->encoding = NGX_BROADCAST_HUB_MSGPACK;

    want = bytes_of(hex);
    len = ngx_broadcast_hub_msgpack_len(m);
    b = malloc(len);
    p = ngx_broadcast_hub_msgpack_write(b, m);

    ok(p == b + len, "the length told is the length written:");
    is_mem(b, len, want.data, want.len, name);

    free(b);
    free(want.data);

    ngx_memzero(m, sizeof(ngx_broadcast_message_t));
}


static void
test_write(void)
{
    u_char                   *b, *p, *text;
    size_t                    len;
    ngx_broadcast_message_t   m;

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = NGX_BROADCAST_MESSAGE_PING;
    is_written(&m, "02 91 06", "ping");

    m.type = NGX_BROADCAST_MESSAGE_CLOSE;
    is_written(&m, "04 93 07 c0 c2", "close");

    m.type = NGX_BROADCAST_MESSAGE_CLOSE;
    ngx_str_set(&m.error, "bye");
    m.has_error = 1;
    m.allow_reconnect = 1;
    is_written(&m, "07 93 07 a3 62 79 65 c3", "close with an error");

    m.type = NGX_BROADCAST_MESSAGE_INVOCATION;
    ngx_str_set(&m.id, "7");
    ngx_str_set(&m.target, "sum");
    ngx_str_set(&m.arguments, "\x92\x02\x03");
    is_written(&m, "0d 96 01 80 a1 37 a3 73 75 6d 92 02 03 90",
               "an invocation with id, six elements");

    m.type = NGX_BROADCAST_MESSAGE_INVOCATION;
    ngx_str_set(&m.target, "hi");
    ngx_str_set(&m.arguments, "\x92\x01\xa1" "a");
    is_written(&m, "0c 96 01 80 c0 a2 68 69 92 01 a1 61 90",
               "one without id has six, too, as the reference server's");

    m.type = NGX_BROADCAST_MESSAGE_INVOCATION;
    ngx_str_set(&m.target, "Up");
    ngx_str_set(&m.arguments, "\x90");
    ngx_str_set(&m.streams, "\x91\xa1" "2");
    is_written(&m, "0b 96 01 80 c0 a2 55 70 90 91 a1 32", "stream ids");

    m.type = NGX_BROADCAST_MESSAGE_STREAM_INVOCATION;
    ngx_str_set(&m.id, "1");
    ngx_str_set(&m.target, "S");
    ngx_str_set(&m.arguments, "\x91\x01");
    is_written(&m, "0a 96 04 80 a1 31 a1 53 91 01 90", "a stream invocation");

    m.type = NGX_BROADCAST_MESSAGE_STREAM_ITEM;
    ngx_str_set(&m.id, "2");
    ngx_str_set(&m.value, "\x01");
    m.has_value = 1;
    is_written(&m, "06 94 02 80 a1 32 01", "a stream item");

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    ngx_str_set(&m.id, "2");
    is_written(&m, "06 94 03 80 a1 32 02", "a completion without result");

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    ngx_str_set(&m.id, "7");
    ngx_str_set(&m.error, "no");
    m.has_error = 1;
    is_written(&m, "09 95 03 80 a1 37 01 a2 6e 6f", "one with an error");

    m.type = NGX_BROADCAST_MESSAGE_COMPLETION;
    ngx_str_set(&m.id, "7");
    ngx_str_set(&m.value, "\xc3");
    m.has_value = 1;
    is_written(&m, "07 95 03 80 a1 37 03 c3", "one with a result");

    m.type = NGX_BROADCAST_MESSAGE_CANCEL_INVOCATION;
    ngx_str_set(&m.id, "0");
    is_written(&m, "05 93 05 80 a1 30", "cancel");

    m.type = NGX_BROADCAST_MESSAGE_ACK;
    m.sequence = 36;
    is_written(&m, "03 92 08 24", "ack");

    m.type = NGX_BROADCAST_MESSAGE_SEQUENCE;
    m.sequence = 19;
    is_written(&m, "03 92 09 13", "sequence");

    m.type = NGX_BROADCAST_MESSAGE_ACK;
    m.sequence = 4294967296;
    is_written(&m, "0b 92 08 cf 00 00 00 01 00 00 00 00",
               "a long sequence id");

    /* lengths of three bytes: 16384 is 80 80 01 */

    text = malloc(16384);
    memset(text, 'x', 16384);

    m.type = NGX_BROADCAST_MESSAGE_CLOSE;
    m.error.data = text;
    m.error.len = 16384 - 6;
    m.has_error = 1;

    len = ngx_broadcast_hub_msgpack_len(&m);
    b = malloc(len);
    p = ngx_broadcast_hub_msgpack_write(b, &m);

    ok(p == b + len && len == 16387
       && memcmp(b, "\x80\x80\x01\x93\x07\xda\x3f\xfa" "xxx", 11) == 0,
       "16384 bytes have a length of three");

    free(b);

    m.error.len--;

    len = ngx_broadcast_hub_msgpack_len(&m);
    b = malloc(len);
    p = ngx_broadcast_hub_msgpack_write(b, &m);

    ok(p == b + len && len == 16385
       && memcmp(b, "\xff\x7f\x93\x07\xda\x3f\xf9", 7) == 0,
       "16383 bytes one of two");

    free(b);
    free(text);
}


int
main(void)
{
    pool = ngx_create_pool(1024, &ngx_stub_log);

    test_varint();
    test_examples();
    test_shapes();
    test_deep();
    test_stream();
    test_write();

    ngx_destroy_pool(pool);

    return done();
}
