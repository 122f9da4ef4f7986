
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/base/ngx_broadcast_msgpack.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c -lmsgpackc */


#include "base/ngx_broadcast_msgpack.h"

#include "tap.h"


static ngx_pool_t  *pool;


/* reads one value in memory of exactly its size */

static ngx_int_t
next(const char *bytes, size_t len, ngx_broadcast_msgpack_t *v, size_t *used)
{
    u_char     *copy, *pos;
    ngx_int_t   rc;

    copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);
    pos = copy;

    rc = ngx_broadcast_msgpack_next(&pos, copy + len, v);

    *used = pos - copy;
    free(copy);

    return rc;
}


static const char *
checked(const char *bytes, size_t len)
{
    u_char      *copy, *pos;
    ngx_int_t    rc;
    ngx_str_t    span;
    const char  *error;

    copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);
    pos = copy;
    error = NULL;

    rc = ngx_broadcast_msgpack_check(&pos, copy + len, &span, &error);

    if (rc == NGX_OK) {
        error = (pos == copy + len && span.len == len && span.data == copy)
                ? "whole" : "part";
    }

    free(copy);

    return error ? error : "(no sentence)";
}


/* every integer that is a border of a form, in all forms that can hold it */

static void
test_integers(void)
{
    size_t                    i, used;
    int64_t                   n;
    ngx_uint_t                right;
    ngx_broadcast_msgpack_t   v;
    static struct {
        const char  *bytes;
        size_t       len;
        int64_t      n;
    } rows[] = {
        { "\x00", 1, 0 },
        { "\x7f", 1, 127 },
        { "\xff", 1, -1 },
        { "\xe0", 1, -32 },
        { "\xcc\x07", 2, 7 },
        { "\xcc\xff", 2, 255 },
        { "\xcd\xff\xff", 3, 65535 },
        { "\xce\xff\xff\xff\xff", 5, 4294967295LL },
        { "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX },
        { "\xd0\x07", 2, 7 },
        { "\xd0\x80", 2, -128 },
        { "\xd1\x80\x00", 3, -32768 },
        { "\xd1\x00\x07", 3, 7 },
        { "\xd2\x80\x00\x00\x00", 5, -2147483648LL },
        { "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, INT64_MIN },
        { "\xd3\x00\x00\x00\x00\x00\x00\x00\x07", 9, 7 },
    };

    for (i = 0, right = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        right += next(rows[i].bytes, rows[i].len, &v, &used) == NGX_OK
                 && used == rows[i].len
                 && ngx_broadcast_msgpack_int64(&v, &n) == NGX_OK
                 && n == rows[i].n;
    }

    is_int(right, sizeof(rows) / sizeof(rows[0]),
           "integers are read from every form");

    next("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, &v, &used);

    ok(v.type == NGX_BROADCAST_MSGPACK_UINT && v.u == UINT64_MAX,
       "the greatest of 64 bits is read");
    ok(ngx_broadcast_msgpack_int64(&v, &n) == NGX_DECLINED,
       "and is none of 63 bits");

    next("\xd0\x07", 2, &v, &used);
    ok(v.type == NGX_BROADCAST_MSGPACK_UINT && v.u == 7,
       "a positive number in a signed form is unsigned all the same");
}


static void
test_forms(void)
{
    size_t                    i, j, used;
    ngx_uint_t                right;
    ngx_broadcast_msgpack_t   v;
    static struct {
        const char                    *bytes;
        size_t                         len;
        ngx_broadcast_msgpack_type_e   type;
        size_t                         n;         /* bytes or elements */
    } rows[] = {
        { "\xc0", 1, NGX_BROADCAST_MSGPACK_NIL, 0 },
        { "\xc2", 1, NGX_BROADCAST_MSGPACK_FALSE, 0 },
        { "\xc3", 1, NGX_BROADCAST_MSGPACK_TRUE, 0 },
        { "\xa0", 1, NGX_BROADCAST_MSGPACK_STR, 0 },
        { "\xa3" "abc", 4, NGX_BROADCAST_MSGPACK_STR, 3 },
        { "\xd9\x03" "abc", 5, NGX_BROADCAST_MSGPACK_STR, 3 },
        { "\xda\x00\x03" "abc", 6, NGX_BROADCAST_MSGPACK_STR, 3 },
        { "\xdb\x00\x00\x00\x03" "abc", 8, NGX_BROADCAST_MSGPACK_STR, 3 },
        { "\xc4\x02" "ab", 4, NGX_BROADCAST_MSGPACK_BIN, 2 },
        { "\xc5\x00\x02" "ab", 5, NGX_BROADCAST_MSGPACK_BIN, 2 },
        { "\xc6\x00\x00\x00\x02" "ab", 7, NGX_BROADCAST_MSGPACK_BIN, 2 },
        { "\xd4\x05" "a", 3, NGX_BROADCAST_MSGPACK_EXT, 1 },
        { "\xd5\x05" "ab", 4, NGX_BROADCAST_MSGPACK_EXT, 2 },
        { "\xd6\xff" "abcd", 6, NGX_BROADCAST_MSGPACK_EXT, 4 },
        { "\xd7\xff" "abcdefgh", 10, NGX_BROADCAST_MSGPACK_EXT, 8 },
        { "\xd8\x05" "abcdefghabcdefgh", 18, NGX_BROADCAST_MSGPACK_EXT, 16 },
        { "\xc7\x03\x05" "abc", 6, NGX_BROADCAST_MSGPACK_EXT, 3 },
        { "\xc8\x00\x03\x05" "abc", 7, NGX_BROADCAST_MSGPACK_EXT, 3 },
        { "\xc9\x00\x00\x00\x03\x05" "abc", 9, NGX_BROADCAST_MSGPACK_EXT, 3 },
        { "\xca\x3f\x80\x00\x00", 5, NGX_BROADCAST_MSGPACK_FLOAT, 0 },
        { "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", 9,
          NGX_BROADCAST_MSGPACK_FLOAT, 0 },
        { "\x95", 1, NGX_BROADCAST_MSGPACK_ARRAY, 5 },
        { "\xdc\x01\x00", 3, NGX_BROADCAST_MSGPACK_ARRAY, 256 },
        { "\xdd\x00\x01\x00\x00", 5, NGX_BROADCAST_MSGPACK_ARRAY, 65536 },
        { "\x82", 1, NGX_BROADCAST_MSGPACK_MAP, 2 },
        { "\xde\x01\x00", 3, NGX_BROADCAST_MSGPACK_MAP, 256 },
        { "\xdf\xff\xff\xff\xff", 5, NGX_BROADCAST_MSGPACK_MAP, 4294967295U },
    };

    for (i = 0, right = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        right += next(rows[i].bytes, rows[i].len, &v, &used) == NGX_OK
                 && used == rows[i].len
                 && v.type == rows[i].type
                 && rows[i].n == (v.type >= NGX_BROADCAST_MSGPACK_ARRAY
                                  ? v.count : v.bytes.len)
                 && (v.type != NGX_BROADCAST_MSGPACK_FLOAT || v.d == 1.0);
    }

    is_int(right, sizeof(rows) / sizeof(rows[0]), "every form is read");

    for (i = 0, right = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

        for (j = 0; j < rows[i].len; j++) {

            if (next(rows[i].bytes, j, &v, &used) != NGX_AGAIN || used) {
                break;
            }
        }

        right += (j == rows[i].len);
    }

    is_int(right, sizeof(rows) / sizeof(rows[0]),
           "none of them is read before its last byte is there");

    ok(next("\xc1", 1, &v, &used) == NGX_ERROR, "0xc1 is nothing");

    next("\xd6\xff" "abcd", 6, &v, &used);
    is_int(v.ext, -1, "types of extensions have a sign");
}


static void
test_check(void)
{
    size_t  i;
    char    deep[66];
    static struct {
        const char  *bytes;
        size_t       len;
        const char  *want;
        const char  *name;
    } rows[] = {
        { "\x92\x01\x81\xa1" "a\x90", 6, "whole",
          "a value with all that is in it is one span" },
        { "\x91\x01\x02", 3, "part", "what stands behind is left" },
        { "\x80", 1, "whole", "an empty map" },
        { "", 0, "MessagePack value ends too early", "nothing" },
        { "\x92\x01", 2, "MessagePack value ends too early",
          "an array that lacks an element" },
        { "\x81\xa1" "a", 3, "MessagePack value ends too early",
          "a map that lacks a value" },
        { "\xdd\xff\xff\xff\xff", 5, "MessagePack value ends too early",
          "four billion elements that are not there" },
        { "\xdf\xff\xff\xff\xff\x01", 6, "MessagePack value ends too early",
          "four billion pairs that are not there" },
        { "\x91\xc1", 2, "MessagePack value has the byte 0xc1",
          "0xc1 inside" },
        { "\xa2\xc3\x28", 3, "MessagePack string is not UTF-8",
          "a string that is not UTF-8" },
        { "\xa3\xed\xa0\x80", 4, "MessagePack string is not UTF-8",
          "a surrogate in UTF-8" },
        { "\xa3" "a\0b", 4, "whole", "U+0000 is a character" },
        { "\x81\x05\xa1" "x", 4, "whole", "an integer as key" },
        { "\x81\xc0\x01", 3, "MessagePack map has a key that is neither a "
          "string nor an integer", "nil as key" },
        { "\x81\x90\x01", 3, "MessagePack map has a key that is neither a "
          "string nor an integer", "an array as key" },
        { "\x81\xa1" "a\xc4\x02\xff\xfe", 7, "whole",
          "bytes as value, which are no text" },
        { "\x82\xa1" "a\x01\xa1" "a\x02", 7, "whole",
          "a key that comes twice" },
        { "\x82\xa1" "a\x90\xc3\x01", 6, "MessagePack map has a key that is "
          "neither a string nor an integer",
          "a key is one also behind an empty array" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_str_t  got = tap_str(checked(rows[i].bytes, rows[i].len));

        is_str(&got, rows[i].want, rows[i].name);
    }

    memset(deep, 0x91, 64);
    deep[63] = (char) 0x90;

    ok(strcmp(checked(deep, 64), "whole") == 0, "64 levels are read");

    deep[63] = (char) 0x91;
    deep[64] = (char) 0x90;

    ok(strcmp(checked(deep, 65),
              "MessagePack value is nested deeper than 64 levels") == 0,
       "65 are not");

    deep[64] = 0x01;

    ok(strcmp(checked(deep, 65), "whole") == 0,
       "a number in the 64th level is no level");
}


/* our walk and msgpack-c's unpacker see the same ends */

static void
test_unpacker(void)
{
    size_t                i, off, len;
    u_char               *pos;
    char                  bytes[64];
    ngx_str_t             span;
    ngx_uint_t            seed, ours, theirs, both, differ;
    const char           *error;
    msgpack_unpacked      result;

    /* few heads, mostly small, so that many are whole values */

    static const char     heads[] = "\x00\x7f\xff\xc0\xc2\xc3\x90\x91\x92\x93"
                                    "\x80\x81\x82\xa0\xa1\xa2\xcc\xcd\xd0\xd1"
                                    "\xca\xcb\xd4\xd5\xc4\xc7\xd9\xdc\xde";

    seed = 1;
    both = 0;
    differ = 0;

    for (i = 0; i < 20000; i++) {

        for (off = 0; off < sizeof(bytes); off++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            bytes[off] = (seed >> 33) % 4
                         ? heads[(seed >> 40) % (sizeof(heads) - 1)]
                         : (char) ((seed >> 40) % 3);
        }

        pos = (u_char *) bytes;
        ours = (ngx_broadcast_msgpack_check(&pos, (u_char *) bytes
                                                  + sizeof(bytes),
                                            &span, &error)
                == NGX_OK);
        len = ours ? span.len : 0;

        msgpack_unpacked_init(&result);
        off = 0;
        theirs = (msgpack_unpack_next(&result, bytes, sizeof(bytes), &off)
                  > 0);
        msgpack_unpacked_destroy(&result);

        both += (ours && theirs);

        /* theirs takes any key and any string, but no deep nesting */

        differ += (ours && theirs && len != off);
    }

    ok(both > 5000, "thousands of random values are whole");
    is_int(differ, 0, "msgpack-c's unpacker ends all of them where we do");
}


static void
test_packer(void)
{
    ngx_str_t             text;
    msgpack_packer        pk;
    ngx_broadcast_buf_t   b;

    ngx_broadcast_buf_init(&b, pool, 1);
    ngx_broadcast_msgpack_packer(&pk, &b);

    msgpack_pack_array(&pk, 3);
    msgpack_pack_int64(&pk, 300);
    msgpack_pack_str(&pk, 2);
    msgpack_pack_str_body(&pk, "ab", 2);
    msgpack_pack_int64(&pk, -33);

    ngx_broadcast_buf_done(&b, &text);

    is_mem(text.data, text.len, "\x93\xcd\x01\x2c\xa2" "ab\xd0\xdf", 9,
           "the packer writes to a buffer that grows, shortest forms");
}


int
main(void)
{
    pool = ngx_create_pool(1024, &ngx_stub_log);

    test_integers();
    test_forms();
    test_check();
    test_unpacker();
    test_packer();

    ngx_destroy_pool(pool);

    return done();
}
