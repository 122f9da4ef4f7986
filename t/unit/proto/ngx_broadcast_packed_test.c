
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_packed.c
 *        src/proto/ngx_broadcast_hub_json.c
 *        src/proto/ngx_broadcast_hub_msgpack.c
 *        src/proto/ngx_broadcast_recode.c
 *        src/proto/ngx_broadcast_recode_shape.c
 *        src/proto/ngx_broadcast_recode_text.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_msgpack.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_packed.h"

#include "tap.h"


#define RS  "\x1e"

/* {"type":1,"target":"t","arguments":[1]}, and the same in MessagePack */

#define JSON     "\xc4\x28{\"type\":1,\"target\":\"t\",\"arguments\":[1]}" RS
#define MSGPACK  "\xc4\x0a\x09\x96\x01\x80\xc0\xa1t\x91\x01\x90"

#define WHOLE    "The bytes of a protocol must be one whole invocation."


typedef ngx_int_t (*packed_pt)(const ngx_str_t *body, ngx_pool_t *pool,
    ngx_broadcast_packed_t *p, const char **error);

typedef struct {
    const char  *body;
    size_t       len;
    const char  *want;
    const char  *name;
} row_t;

#define ROW(body, want, name)  { body, sizeof(body) - 1, want, name }


static ngx_pool_t  *pool;


/* "target arguments bytes of packed", or the error */

static void
rows(packed_pt packed, const row_t *row, size_t n)
{
    u_char                   *copy;
    ngx_int_t                 rc;
    ngx_str_t                 body, got;
    const char               *error;
    static char               text[256];
    ngx_broadcast_packed_t    p;

    for ( /* void */ ; n; n--, row++) {
        copy = malloc(row->len ? row->len : 1);
        memcpy(copy, row->body, row->len);

        body.data = copy;
        body.len = row->len;
        error = NULL;

        rc = packed(&body, pool, &p, &error);

        if (rc == NGX_OK) {
            snprintf(text, sizeof(text), "%.*s %.*s %d",
                     (int) p.target.len, p.target.data,
                     (int) p.arguments.len, p.arguments.data,
                     (int) p.packed.len);
            got = tap_str(text);

        } else {
            got = tap_str(error ? error : "(no sentence)");
        }

        is_str(&got, row->want, row->name);
        free(copy);
    }
}


static void
test_message(void)
{
    static const row_t  table[] = {
        ROW("\x82\xa6target\xa1t\xa9" "arguments\x92\x01\xa1" "a",
            "t [1,\"a\"] 4", "target and arguments"),
        ROW("\x82\xa9" "Arguments\x90\xa6Target\xa1t", "t [] 1",
            "in Pascal case and another order"),
        ROW("\x81\xa6target\xa1t", "t [] 1", "without arguments"),
        ROW("\x82\xa6target\xa1t\xa9" "arguments\xc0", "t [] 1",
            "with nil for arguments"),
        ROW("\x83\xa6target\xa1" "a\x07\xa1x\xa6target\xa1" "b", "b [] 1",
            "the last of two targets, other keys are ignored"),
        ROW("\x82\xa6target\xa1t\xa9" "arguments\x91\xc4\x01\x07",
            "t [\"Bw==\"] 4", "bytes are base64 in JSON"),

        ROW("", "MessagePack value ends too early", "nothing"),
        ROW("\x80", "\"target\" is required.", "an empty map"),
        ROW("\x90", "The body must be a map.", "an array"),
        ROW("\x81\xa6target\x01", "\"target\" must be a string.",
            "a target that is an integer"),
        ROW("\x82\xa6target\xa1t\xa9" "arguments\x80",
            "\"arguments\" must be an array.", "arguments that are a map"),
        ROW("\x81\xa6target\xa1t\x00", "something follows the MessagePack "
            "value", "bytes behind it"),
        ROW("\x82\xa6target\xa1t", "MessagePack value ends too early",
            "a pair that is missing"),
        ROW("\x81\xa6target\xa1\xff", "MessagePack string is not UTF-8",
            "a target that is not UTF-8"),
        ROW("{\"target\":\"t\"}", "something follows the MessagePack value",
            "JSON"),
    };

    rows(ngx_broadcast_packed_message, table,
         sizeof(table) / sizeof(table[0]));
}


static void
test_encoded(void)
{
    static const row_t  table[] = {
        ROW("\x82\xa4json" JSON "\xabmessagepack" MSGPACK, "t [1] 2",
            "an invocation in both protocols"),
        ROW("\x81\xa4json" JSON, "t [1] 0", "in JSON alone"),
        ROW("\x81\xabmessagepack" MSGPACK, "t [1] 2",
            "in MessagePack alone: JSON is made of it"),
        ROW("\x82\xa4" "JSON" JSON "\xa5other\xc4\x01x", "t [1] 0",
            "the name in capitals, another protocol is ignored"),
        ROW("\x81\xabmessagepack\xc4\x0a\x0a\x96\x01\x80\xc0\xa1t\x91\x01\x90",
            WHOLE, "a length that is too great"),
        ROW("\x81\xabmessagepack\xc4\x0b\x0a\x95\x01\x80\xa1" "9\xa1t\x91\xa1"
            "a", "t [\"a\"] 3", "an id is left out, five elements will do"),

        ROW("\x80", "An invocation for \"json\" or \"messagepack\" is "
            "required.", "an empty map"),
        ROW("\x81\xa5other\xc4\x01x", "An invocation for \"json\" or "
            "\"messagepack\" is required.", "another protocol alone"),
        ROW("\x90", "The body must be a map.", "an array"),
        ROW("\x81\xa4json\xa1x", WHOLE, "a string in place of bytes"),
        ROW("\x81\xa4json\xc4\x00", WHOLE, "no bytes"),
        ROW("\x81\xa4json\xc4\x0b{\"type\":6}" RS, WHOLE, "a ping"),
        ROW("\x81\xa4json\xc4\x0a{\"type\":6}", WHOLE, "no separator"),
        ROW("\x81\xa4json\xc4\x29{\"type\":1,\"target\":\"t\",\"arguments\":"
            "[1]}" RS "x", WHOLE, "something behind the separator"),
        ROW("\x81\xa4json\xc4\x02x" RS, WHOLE, "what is no JSON"),
        ROW("\x81\xabmessagepack\xc4\x03\x02\x91\x06", WHOLE,
            "a ping in MessagePack"),
        ROW("\x81\xabmessagepack\xc4\x0b\x09\x96\x01\x80\xc0\xa1t\x91\x01\x90"
            "x", WHOLE, "something behind the invocation"),
        ROW("\x81\xabmessagepack\xc4\x09\x96\x01\x80\xc0\xa1t\x91\x01\x90",
            WHOLE, "no length"),
        ROW("\x82\xa4json" JSON "\xabmessagepack\xc4\x0a\x09\x96\x01\x80\xc0"
            "\xa1u\x91\x01\x90", "The invocations for the protocols have not "
            "one target.", "two targets"),
    };

    rows(ngx_broadcast_packed_encoded, table,
         sizeof(table) / sizeof(table[0]));
}


int
main(void)
{
    pool = ngx_create_pool(1024, &ngx_stub_log);

    test_message();
    test_encoded();

    ngx_destroy_pool(pool);

    return done();
}
