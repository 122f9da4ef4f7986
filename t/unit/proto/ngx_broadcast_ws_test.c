
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_ws.c src/proto/ngx_broadcast_ws_frame.c
 *        src/base/ngx_broadcast_utf8.c nginx:core/ngx_sha1.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_ws.h"

#include "tap.h"


/*
 * A row's input is a sequence of frames, each "first byte, payload", masked
 * here with a mask that differs from frame to frame, and of raw bytes:
 *
 *     81"Hello"    81[48656c6c6f]    81{70000}    raw(8180)
 *
 * {n} is n letters a.  The events wanted are written the same way:
 *
 *     T"text" B[hex] P"ping" Q"pong" C1000"reason" E1002    (T{n} if long)
 *
 * and "*" behind T or B says that RSV1 was reported.
 */

typedef struct {
    const char  *name;
    const char  *in;
    const char  *want;
    size_t       limit;      /* 0: a megabyte */
    ngx_uint_t   deflate;
} row_t;


#define INPUT   300000
#define EVENTS  4096


static row_t  rows[] = {

    /* one frame, one message; lengths in all three forms */

    { "RFC 5.7: a single masked Hello",
      "raw(818537fa213d7f9f4d5158)", "T\"Hello\"", 0, 0 },
    { "empty text", "81\"\"", "T\"\"", 0, 0 },
    { "empty binary", "82\"\"", "B\"\"", 0, 0 },
    { "binary is not looked at", "82[00ff80c0]", "B[00ff80c0]", 0, 0 },
    { "125 bytes, the most of the short form", "81{125}", "T{125}", 0, 0 },
    { "126 bytes, the least of the middle form", "81{126}", "T{126}", 0, 0 },
    { "127 bytes", "81{127}", "T{127}", 0, 0 },
    { "128 bytes", "82{128}", "B{128}", 0, 0 },
    { "65535 bytes, the most of the middle form", "81{65535}", "T{65535}",
      0, 0 },
    { "65536 bytes, the least of the long form", "81{65536}", "T{65536}",
      0, 0 },
    { "65537 bytes of binary", "82{65537}", "B{65537}", 0, 0 },
    { "two messages", "81\"a\" 81\"b\"", "T\"a\" T\"b\"", 0, 0 },
    { "empty messages in a row", "81\"\" 82\"\" 81\"\"",
      "T\"\" B\"\" T\"\"", 0, 0 },
    { "a mask of zeros", "raw(818200000000)raw(6869)", "T\"hi\"", 0, 0 },
    { "a mask longer than the payload", "raw(8181ffffffff9e)", "T\"a\"",
      0, 0 },
    { "nine bytes: the mask goes on behind the first eight", "81\"123456789\"",
      "T\"123456789\"", 0, 0 },

    /* the length forms, RFC 5.2: shortest only, top bit clear */

    { "middle form of 0", "raw(81fe000001020304)", "E1002", 0, 0 },
    { "middle form of 125", "raw(81fe007d01020304)", "E1002", 0, 0 },
    { "long form of 0", "raw(82ff000000000000000001020304)", "E1002", 0, 0 },
    { "long form of 126", "raw(82ff000000000000007e01020304)", "E1002", 0, 0 },
    { "long form of 65535", "raw(82ff000000000000ffff01020304)", "E1002",
      0, 0 },
    { "length with the top bit", "raw(82ff800000000000000001020304)", "E1002",
      0, 0 },
    { "length of 2^64-1", "raw(82ffffffffffffffffff01020304)", "E1002", 0, 0 },
    { "length of 2^40 is refused when it is announced",
      "raw(82ff000001000000000001020304)", "E1009", 0, 0 },
    { "length of 2^63-1", "raw(82ff7fffffffffffffff01020304)", "E1009", 0, 0 },
    { "length of 2^32+1 is not one byte",
      "raw(82ff000000010000000101020304)", "E1009", 0, 0 },

    /* the mask, RFC 5.1 */

    { "text without a mask", "raw(810548656c6c6f)", "E1002", 0, 0 },
    { "empty text without a mask", "raw(8100)", "E1002", 0, 0 },
    { "ping without a mask", "raw(8900)", "E1002", 0, 0 },
    { "close without a mask", "raw(880203e8)", "E1002", 0, 0 },
    { "second message without a mask", "81\"a\" raw(810161)", "T\"a\" E1002",
      0, 0 },

    /* reserved bits, RFC 5.2: nothing was negotiated */

    { "RSV3", "91\"a\"", "E1002", 0, 0 },
    { "RSV2", "a1\"a\"", "E1002", 0, 0 },
    { "RSV2 and 3", "b1\"a\"", "E1002", 0, 0 },
    { "RSV1", "c1\"a\"", "E1002", 0, 0 },
    { "RSV1 and 3", "d1\"a\"", "E1002", 0, 0 },
    { "RSV1 and 2", "e1\"a\"", "E1002", 0, 0 },
    { "all RSV", "f1\"a\"", "E1002", 0, 0 },
    { "RSV1 on a binary", "c2\"a\"", "E1002", 0, 0 },
    { "RSV1 on a ping", "c9\"a\"", "E1002", 0, 0 },
    { "RSV1 on a close", "c8[03e8]", "E1002", 0, 0 },
    { "RSV1 on a continuation", "01\"a\" c0\"b\"", "E1002", 0, 0 },
    { "a message before a reserved bit is delivered", "81\"a\" b1\"b\"",
      "T\"a\" E1002", 0, 0 },
    { "what follows a reserved bit is not", "b1\"a\" 81\"b\"", "E1002", 0, 0 },

    /* RSV1 with permessage-deflate, RFC 7692 section 6 */

    { "RSV1 on a text is reported", "c1[cb48cdc9c907]", "T*[cb48cdc9c907]",
      0, 1 },
    { "RSV1 on a binary is reported", "c2\"a\"", "B*\"a\"", 0, 1 },
    { "deflated text is not UTF-8 yet", "c1[ff]", "T*[ff]", 0, 1 },
    { "a text without RSV1 beside it is checked", "c1[ff] 81[ff]",
      "T*[ff] E1007", 0, 1 },
    { "RSV1 counts for the whole message", "41[ff] 80[fe]", "T*[fffe]", 0, 1 },
    { "the next message starts without it", "41[ff] 80[fe] 82\"x\"",
      "T*[fffe] B\"x\"", 0, 1 },
    { "RSV1 on a continuation stays wrong", "41\"a\" c0\"b\"", "E1002", 0, 1 },
    { "RSV1 on a ping stays wrong", "c9\"\"", "E1002", 0, 1 },
    { "RSV2 stays wrong", "a1\"a\"", "E1002", 0, 1 },
    { "RSV1 and 3 stay wrong", "d1\"a\"", "E1002", 0, 1 },

    /* opcodes */

    { "opcode 3", "83\"\"", "E1002", 0, 0 },
    { "opcode 4", "84\"a\"", "E1002", 0, 0 },
    { "opcode 5", "85\"a\"", "E1002", 0, 0 },
    { "opcode 6", "86\"a\"", "E1002", 0, 0 },
    { "opcode 7", "87\"a\"", "E1002", 0, 0 },
    { "opcode b", "8b\"\"", "E1002", 0, 0 },
    { "opcode c", "8c\"a\"", "E1002", 0, 0 },
    { "opcode d", "8d\"a\"", "E1002", 0, 0 },
    { "opcode e", "8e\"a\"", "E1002", 0, 0 },
    { "opcode f", "8f\"a\"", "E1002", 0, 0 },
    { "opcode 3 behind a message", "81\"a\" 83\"b\" 89\"\"", "T\"a\" E1002",
      0, 0 },

    /* control frames, RFC 5.5 */

    { "empty ping", "89\"\"", "P\"\"", 0, 0 },
    { "ping with a payload", "89\"hello\"", "P\"hello\"", 0, 0 },
    { "ping with bytes", "89[00fffefdfcfb00ff]", "P[00fffefdfcfb00ff]", 0, 0 },
    { "ping of 125 bytes", "89{125}", "P{125}", 0, 0 },
    { "ping of 126 bytes", "89{126}", "E1002", 0, 0 },
    { "ping in the long form is refused by two bytes", "raw(89ff)", "E1002",
      0, 0 },
    { "pong nobody asked for", "8a\"\"", "Q\"\"", 0, 0 },
    { "pong with a payload", "8a\"x\"", "Q\"x\"", 0, 0 },
    { "pong of 126 bytes", "8a{126}", "E1002", 0, 0 },
    { "ten pings", "89\"0\" 89\"1\" 89\"2\" 89\"3\" 89\"4\" 89\"5\" 89\"6\" "
      "89\"7\" 89\"8\" 89\"9\"", "P\"0\" P\"1\" P\"2\" P\"3\" P\"4\" P\"5\" "
      "P\"6\" P\"7\" P\"8\" P\"9\"", 0, 0 },
    { "ping in fragments", "09\"a\" 80\"b\"", "E1002", 0, 0 },
    { "pong in fragments", "0a\"a\" 80\"b\"", "E1002", 0, 0 },
    { "close in fragments", "08[03e8]", "E1002", 0, 0 },
    { "close of 126 bytes", "88{126}", "E1002", 0, 0 },

    /* fragmentation, RFC 5.4 */

    { "RFC 5.7: Hel, lo", "01\"Hel\" 80\"lo\"", "T\"Hello\"", 0, 0 },
    { "binary in three", "02[00] 00[ff] 80[80]", "B[00ff80]", 0, 0 },
    { "empty first fragment", "01\"\" 80\"a\"", "T\"a\"", 0, 0 },
    { "empty middle fragment", "01\"a\" 00\"\" 80\"b\"", "T\"ab\"", 0, 0 },
    { "empty last fragment", "01\"a\" 80\"\"", "T\"a\"", 0, 0 },
    { "all fragments empty", "01\"\" 00\"\" 80\"\"", "T\"\"", 0, 0 },
    { "a byte a fragment", "01\"1\" 00\"2\" 00\"3\" 00\"4\" 00\"5\" 00\"6\" "
      "00\"7\" 00\"8\" 80\"9\"", "T\"123456789\"", 0, 0 },
    { "fragments above the first allocation", "01{200} 00{200} 80{200}",
      "T{600}", 0, 0 },
    { "a ping between fragments", "01\"a\" 89\"p\" 80\"b\"", "P\"p\" T\"ab\"",
      0, 0 },
    { "an empty ping between fragments", "01\"a\" 89\"\" 80\"b\"",
      "P\"\" T\"ab\"", 0, 0 },
    { "a ping of 125 bytes between fragments", "01\"a\" 89{125} 80\"b\"",
      "P{125} T\"ab\"", 0, 0 },
    { "pings between all fragments", "01\"a\" 89\"1\" 00\"b\" 89\"2\" 8a\"3\" "
      "80\"c\" 89\"4\"", "P\"1\" P\"2\" Q\"3\" T\"abc\" P\"4\"", 0, 0 },
    { "a ping before the first kept byte", "01\"\" 89\"ping\" 80\"a\"",
      "P\"ping\" T\"a\"", 0, 0 },
    { "continuation of nothing", "80\"a\"", "E1002", 0, 0 },
    { "open continuation of nothing", "00\"a\" 80\"b\"", "E1002", 0, 0 },
    { "continuation behind a whole message", "81\"a\" 80\"b\"", "T\"a\" E1002",
      0, 0 },
    { "text inside a message", "01\"a\" 81\"b\"", "E1002", 0, 0 },
    { "binary inside a message", "01\"a\" 82\"b\"", "E1002", 0, 0 },
    { "new fragment inside a message", "01\"a\" 01\"b\" 80\"c\"", "E1002",
      0, 0 },
    { "text inside an empty begun message", "01\"\" 81\"b\"", "E1002", 0, 0 },
    { "close inside a message ends it", "01\"a\" 88[03e8] 80\"b\"", "C1000\"\"",
      0, 0 },
    { "two fragmented messages", "01\"a\" 80\"b\" 02\"c\" 80\"d\"",
      "T\"ab\" B\"cd\"", 0, 0 },
    { "whole message behind a fragmented one", "01\"a\" 80\"b\" 81\"c\"",
      "T\"ab\" T\"c\"", 0, 0 },

    /* UTF-8, RFC 8.1: over the message, at the first wrong byte */

    { "two, three and four bytes", "81[c3a9e282acf09f9880]",
      "T[c3a9e282acf09f9880]", 0, 0 },
    { "U+0000", "81[00]", "T[00]", 0, 0 },
    { "U+10FFFF", "81[f48fbfbf]", "T[f48fbfbf]", 0, 0 },
    { "U+FFFE and U+FFFF are characters too", "81[efbfbeefbfbf]",
      "T[efbfbeefbfbf]", 0, 0 },
    { "a byte order mark is text", "81[efbbbf61]", "T[efbbbf61]", 0, 0 },
    { "a character over two fragments", "01[e2] 80[82ac]", "T[e282ac]", 0, 0 },
    { "a character over four fragments", "01[f0] 00[9f] 00[98] 80[80]",
      "T[f09f9880]", 0, 0 },
    { "a character over a ping", "01[e282] 89\"p\" 80[ac]",
      "P\"p\" T[e282ac]", 0, 0 },
    { "a character over an empty fragment", "01[c3] 00\"\" 80[a9]", "T[c3a9]",
      0, 0 },
    { "ends inside a character", "81[e282]", "E1007", 0, 0 },
    { "ends inside a character after fragments", "01[61] 80[c3]", "E1007",
      0, 0 },
    { "ends inside a character by an empty fragment", "01[c3] 80\"\"", "E1007",
      0, 0 },
    { "lone continuation byte", "81[80]", "E1007", 0, 0 },
    { "overlong slash", "81[c0af]", "E1007", 0, 0 },
    { "overlong in three", "81[e08080]", "E1007", 0, 0 },
    { "overlong in four", "81[f0808080]", "E1007", 0, 0 },
    { "surrogate", "81[eda080]", "E1007", 0, 0 },
    { "above U+10FFFF", "81[f4908080]", "E1007", 0, 0 },
    { "byte f5", "81[f5]", "E1007", 0, 0 },
    { "byte fe", "81[6162fe]", "E1007", 0, 0 },
    { "byte ff behind eight good ones", "81[6161616161616161ff]", "E1007", 0,
      0 },
    { "wrong in the first fragment: no need to wait for the last", "01[ff]",
      "E1007", 0, 0 },
    { "wrong second byte comes with the next fragment", "01[e2] 00[28]",
      "E1007", 0, 0 },
    { "a good message does not help the next", "81[c3a9] 81[c3]",
      "T[c3a9] E1007", 0, 0 },
    { "state of one text does not leak into the next",
      "01[c3] 80[a9] 81[61]", "T[c3a9] T\"a\"", 0, 0 },

    /* close, RFC 5.5.1 and 7.4 */

    { "close without a code", "88\"\"", "C1005\"\"", 0, 0 },
    { "close with half a code", "88[03]", "E1002", 0, 0 },
    { "close 1000", "88[03e8]", "C1000\"\"", 0, 0 },
    { "close with a reason", "88[03e8627965]", "C1000\"bye\"", 0, 0 },
    { "close with the longest reason",
      "88[03e8"
      "6161616161616161616161616161616161616161616161616161616161616161"
      "6161616161616161616161616161616161616161616161616161616161616161"
      "6161616161616161616161616161616161616161616161616161616161616161"
      "616161616161616161616161616161616161616161616161616161]",
      "C1000{123}", 0, 0 },
    { "close 1001", "88[03e9]", "C1001\"\"", 0, 0 },
    { "close 1002", "88[03ea]", "C1002\"\"", 0, 0 },
    { "close 1003", "88[03eb]", "C1003\"\"", 0, 0 },
    { "close 1007", "88[03ef]", "C1007\"\"", 0, 0 },
    { "close 1008", "88[03f0]", "C1008\"\"", 0, 0 },
    { "close 1009", "88[03f1]", "C1009\"\"", 0, 0 },
    { "close 1010", "88[03f2]", "C1010\"\"", 0, 0 },
    { "close 1011", "88[03f3]", "C1011\"\"", 0, 0 },
    { "close 1012, registered later", "88[03f4]", "C1012\"\"", 0, 0 },
    { "close 1013, registered later", "88[03f5]", "C1013\"\"", 0, 0 },
    { "close 1014, registered later", "88[03f6]", "C1014\"\"", 0, 0 },
    { "close 3000", "88[0bb8]", "C3000\"\"", 0, 0 },
    { "close 3999", "88[0f9f]", "C3999\"\"", 0, 0 },
    { "close 4000", "88[0fa0]", "C4000\"\"", 0, 0 },
    { "close 4999", "88[1387]", "C4999\"\"", 0, 0 },
    { "close 0", "88[0000]", "E1002", 0, 0 },
    { "close 999", "88[03e7]", "E1002", 0, 0 },
    { "close 1004", "88[03ec]", "E1002", 0, 0 },
    { "close 1005 is never on the wire", "88[03ed]", "E1002", 0, 0 },
    { "close 1006 is never on the wire", "88[03ee]", "E1002", 0, 0 },
    { "close 1015 is never on the wire", "88[03f7]", "E1002", 0, 0 },
    { "close 1016", "88[03f8]", "E1002", 0, 0 },
    { "close 1100", "88[044c]", "E1002", 0, 0 },
    { "close 2000", "88[07d0]", "E1002", 0, 0 },
    { "close 2999", "88[0bb7]", "E1002", 0, 0 },
    { "close 5000", "88[1388]", "E1002", 0, 0 },
    { "close 65535", "88[ffff]", "E1002", 0, 0 },
    { "close with a reason that is not UTF-8", "88[03e8ff]", "E1007", 0, 0 },
    { "close with a reason cut inside a character", "88[03e8e282]", "E1007",
      0, 0 },
    { "close with a code and a reason both wrong: the code first",
      "88[03edff]", "E1002", 0, 0 },
    { "nothing is read behind a close", "88[03e8] 81\"a\" 89\"b\"",
      "C1000\"\"", 0, 0 },
    { "not even what is wrong", "88[03e8] raw(ffffffff)", "C1000\"\"", 0, 0 },
    { "a second close is not read", "88[03e8] 88[03e9]", "C1000\"\"", 0, 0 },

    /* the message limit */

    { "a message of the limit", "81{10}", "T{10}", 10, 0 },
    { "one byte more", "81{11}", "E1009", 10, 0 },
    { "fragments of the limit", "01{5} 80{5}", "T{10}", 10, 0 },
    { "fragments of one byte more", "01{5} 80{6}", "E1009", 10, 0 },
    { "an empty fragment at the limit", "01{10} 00\"\" 80\"\"", "T{10}", 10,
      0 },
    { "an endless message of small fragments",
      "01{4} 00{4} 00{4} 00{4} 00{4}", "E1009", 10, 0 },
    { "each message has the limit of its own", "81{10} 81{10} 02{10} 80\"\"",
      "T{10} T{10} B{10}", 10, 0 },
    { "control frames are not bound by it", "89{100}", "P{100}", 10, 0 },
    { "a ping inside a full message", "01{10} 89{125} 80\"\"",
      "P{125} T{10}", 10, 0 },
    { "a form that is too long is the first fault", "raw(81fe000a01020304)",
      "E1002", 5, 0 },

    { NULL, NULL, NULL, 0, 0 }
};


static u_char  input[INPUT];
static char    got[EVENTS];
static size_t  used;


static int
hex(const char *p)
{
    return (int) ngx_hextoi((u_char *) p, 2);
}


/* the payload at p into dst; behind it */

static const char *
payload(const char *p, u_char *dst, size_t *len)
{
    size_t  n;

    n = 0;

    switch (*p++) {

    case '"':
        while (*p != '"') {
            dst[n++] = *p++;
        }

        break;

    case '{':
        n = (size_t) atol(p);
        memset(dst, 'a', n);
        p = strchr(p, '}');
        break;

    default:
        while (*p != ']' && *p != ')') {
            dst[n++] = (u_char) hex(p);
            p += 2;
        }

        break;
    }

    *len = n;

    return p + 1;
}


static size_t
build(const char *p)
{
    u_char          *dst;
    size_t           i, len;
    ngx_uint_t       frame;
    static u_char    data[INPUT];
    static u_char    mask[4];

    dst = input;

    for (frame = 1; *p; frame++) {

        if (*p == ' ') {
            p++;
            continue;
        }

        if (ngx_strncmp(p, "raw(", 4) == 0) {
            p = payload(p + 3, data, &len);
            dst = ngx_cpymem(dst, data, len);
            continue;
        }

        *dst++ = (u_char) hex(p);
        p = payload(p + 2, data, &len);

        if (len <= 125) {
            *dst++ = (u_char) (0x80 | len);

        } else if (len <= 65535) {
            *dst++ = 0xfe;
            *dst++ = (u_char) (len >> 8);
            *dst++ = (u_char) len;

        } else {
            *dst++ = 0xff;

            for (i = 0; i < 8; i++) {
                *dst++ = (u_char) ((uint64_t) len >> (56 - 8 * i));
            }
        }

        for (i = 0; i < 4; i++) {
            mask[i] = (u_char) (frame * 37 + i * 71);
            *dst++ = mask[i];
        }

        for (i = 0; i < len; i++) {
            *dst++ = data[i] ^ mask[i % 4];
        }
    }

    return dst - input;
}


static void
note(ngx_int_t rc, ngx_broadcast_ws_event_t *ev)
{
    u_char      *p;
    size_t       i, len;
    ngx_uint_t   text, letters;

    if (used) {
        used += sprintf(got + used, " ");
    }

    if (rc == NGX_ERROR) {
        used += sprintf(got + used, "E%d", (int) ev->close_code);

        if (ev->error == NULL || ev->payload.len) {
            used += sprintf(got + used, "(no sentence)");
        }

        return;
    }

    switch (ev->type) {
    case NGX_BROADCAST_WS_TEXT:
        used += sprintf(got + used, "T");
        break;
    case NGX_BROADCAST_WS_BINARY:
        used += sprintf(got + used, "B");
        break;
    case NGX_BROADCAST_WS_PING:
        used += sprintf(got + used, "P");
        break;
    case NGX_BROADCAST_WS_PONG:
        used += sprintf(got + used, "Q");
        break;
    case NGX_BROADCAST_WS_CLOSE:
        used += sprintf(got + used, "C%d", (int) ev->code);
        break;
    default:
        used += sprintf(got + used, "?");
    }

    if (ev->deflated) {
        used += sprintf(got + used, "*");
    }

    p = ev->payload.data;
    len = ev->payload.len;
    text = 1;
    letters = 1;

    for (i = 0; i < len; i++) {
        if (p[i] != 'a') {
            letters = 0;
        }

        if (p[i] < 0x20 || p[i] >= 0x7f) {
            text = 0;
        }
    }

    if (letters && len > 1) {
        used += sprintf(got + used, "{%d}", (int) len);

    } else if (text) {
        used += sprintf(got + used, "\"%.*s\"", (int) len, p);

    } else {
        used += sprintf(got + used, "[");

        for (i = 0; i < len && i < 100; i++) {
            used += sprintf(got + used, "%02x", p[i]);
        }

        used += sprintf(got + used, "]");
    }
}


/*
 * One piece, in memory of exactly its size, so that a byte read or unmasked
 * beyond it is found.
 */

static void
feed(ngx_broadcast_ws_parser_t *p, u_char *data, size_t len)
{
    u_char                    *copy, *pos;
    ngx_int_t                  rc;
    ngx_broadcast_ws_event_t   ev;

    copy = malloc(len ? len : 1);
    memcpy(copy, data, len);

    pos = copy;

    do {
        rc = ngx_broadcast_ws_feed(p, &pos, copy + len, &ev);

        if (rc != NGX_AGAIN) {
            note(rc, &ev);
        }

    } while (rc != NGX_AGAIN && used < EVENTS / 2);

    if (pos != copy + len) {
        used += sprintf(got + used, " (not all eaten)");
    }

    free(copy);
}


/* fed whole if first >= len, else in pieces of first bytes or cut once there */

static int
same(row_t *row, size_t len, size_t first, ngx_uint_t once)
{
    size_t                     n, at;
    ngx_broadcast_ws_parser_t  p;

    used = 0;
    got[0] = '\0';

    ngx_broadcast_ws_init(&p, row->limit ? row->limit : 1048576,
                          row->deflate);

    for (at = 0; at < len; at += n) {
        n = ngx_min(first, len - at);

        if (once && at) {
            n = len - at;
        }

        feed(&p, input + at, n);
    }

    if (p.opcode == 0 && p.message) {
        used += sprintf(got + used, " (memory kept)");
    }

    ngx_broadcast_ws_reset(&p);

    return strcmp(got, row->want) == 0;
}


static void
test_row(row_t *row)
{
    size_t       len, at, step;
    const char  *how;

    len = build(row->in);
    how = "at once";

    if (!same(row, len, len, 0)) {
        goto failed;
    }

    how = "one byte at a time";

    if (!same(row, len, 1, 0)) {
        goto failed;
    }

    how = "in two pieces";
    step = len < 2000 ? 1 : len / 97;

    for (at = 1; at < len; at += step) {
        if (!same(row, len, at, 1)) {
            goto failed;
        }
    }

    ok(1, row->name);
    return;

failed:

    ok(0, row->name);
    fprintf(stderr, "%s: got  %s\n want %s\n", how, got, row->want);
}


static void
test_memory(void)
{
    u_char                     *pos;
    size_t                      i, n, size;
    ngx_int_t                   rc;
    ngx_uint_t                  moved;
    ngx_broadcast_ws_event_t    ev;
    ngx_broadcast_ws_parser_t   p;

    ok(sizeof(p) <= 64, "an idle connection's parser has at most 64 bytes");

    ngx_broadcast_ws_init(&p, 1048576, 0);

    n = build("81\"Hello\"");
    pos = input;
    rc = ngx_broadcast_ws_feed(&p, &pos, input + n, &ev);

    ok(rc == NGX_OK && ev.payload.data == input + 6,
       "a whole message is yielded where it lies");
    ok(p.message == NULL, "and took no memory");

    n = build("81{100} 01{100}");
    pos = input;
    (void) ngx_broadcast_ws_feed(&p, &pos, input + n, &ev);
    (void) ngx_broadcast_ws_feed(&p, &pos, input + n, &ev);

    ok(p.message != NULL, "a begun message is kept");

    ngx_broadcast_ws_reset(&p);

    ok(p.message == NULL && p.used == 0 && p.opcode == 0 && p.limit == 1048576,
       "reset frees it and keeps the limit");

    /*
     * A client that announces much and sends ten bytes must not hold as much
     * of ours.
     */

    (void) build("82{250000}");
    pos = input;

    rc = ngx_broadcast_ws_feed(&p, &pos, input + 24, &ev);

    ok(rc == NGX_AGAIN && p.size <= 1024,
       "ten bytes of an announced 250000 take less than a kilobyte");

    ngx_broadcast_ws_reset(&p);

    /* a frame in ten pieces ends in a buffer of its own size */

    n = build("81{1000}");

    for (i = 0; i < n; i += 100) {
        pos = input + i;
        rc = ngx_broadcast_ws_feed(&p, &pos, input + ngx_min(i + 100, n), &ev);
    }

    ok(rc == NGX_OK && ev.payload.len == 1000 && p.size == 1000,
       "the buffer of a frame never gets longer than the frame");

    pos = input;
    rc = ngx_broadcast_ws_feed(&p, &pos, input, &ev);

    ok(rc == NGX_AGAIN && p.message == NULL,
       "an empty feed frees what the event held");

    /* what a message may be longer by for being deflated comes in bytes */

    ngx_broadcast_ws_init(&p, 65536, 1);

    n = build("42{65536}");
    pos = input;
    (void) ngx_broadcast_ws_feed(&p, &pos, input + n, &ev);

    size = p.size;
    moved = 0;

    for (i = 0; i < 100; i++) {
        n = build("00\"a\"");
        pos = input;
        rc = ngx_broadcast_ws_feed(&p, &pos, input + n, &ev);

        moved += (p.size != size);
        size = p.size;
    }

    ok(rc == NGX_AGAIN && p.used == 65636 && moved == 1,
       "a large message is not moved for each small frame behind its limit");

    ngx_broadcast_ws_reset(&p);

    /* a limit above what the parser counts in */

    ngx_broadcast_ws_init(&p, (size_t) -1, 0);

    ok(p.limit == NGX_MAX_INT32_VALUE, "a limit above 2 GB is 2 GB");
}


/*
 * The sanitizer's malloc() fails above 8 MB, so a long message does: the client
 * is told that it is our fault, and nothing leaks.
 */

const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=8";
}


static void
test_no_memory(void)
{
    u_char                     *pos, *data;
    size_t                      i;
    ngx_int_t                   rc;
    ngx_broadcast_ws_event_t    ev;
    ngx_broadcast_ws_parser_t   p;
    static u_char               head[] = { 0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0,
                                           0, 0, 0, 0 };

    ngx_broadcast_ws_init(&p, 64 * 1024 * 1024, 0);

    data = calloc(1, 1024 * 1024);
    pos = head;
    rc = ngx_broadcast_ws_feed(&p, &pos, head + sizeof(head), &ev);

    for (i = 0; i < 16 && rc == NGX_AGAIN; i++) {
        pos = data;
        rc = ngx_broadcast_ws_feed(&p, &pos, data + 1024 * 1024 - 1, &ev);
    }

    ok(rc == NGX_ERROR && ev.close_code == NGX_BROADCAST_WS_SERVER_ERROR
       && p.message == NULL, "without memory it is closed with 1011");

    free(data);
}


static void
test_header(void)
{
    u_char      b[16];
    size_t      i;
    static struct {
        uint64_t     len;
        size_t       size;
        const char  *want;
        const char  *name;
    } lens[] = {
        { 0, 2, "\x81\x00", "header of 0 bytes" },
        { 125, 2, "\x81\x7d", "header of 125 bytes" },
        { 126, 4, "\x81\x7e\x00\x7e", "header of 126 bytes" },
        { 65535, 4, "\x81\x7e\xff\xff", "header of 65535 bytes" },
        { 65536, 10, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
          "header of 65536 bytes" },
        { 0x123456789aULL, 10, "\x81\x7f\x00\x00\x00\x12\x34\x56\x78\x9a",
          "header of more than 32 bits" }
    };

    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        ok(ngx_broadcast_ws_header_len(lens[i].len) == lens[i].size
           && ngx_broadcast_ws_header(b, NGX_BROADCAST_WS_TEXT, 1, lens[i].len)
              == lens[i].size
           && memcmp(b, lens[i].want, lens[i].size) == 0, lens[i].name);
    }

    ngx_broadcast_ws_header(b, NGX_BROADCAST_WS_BINARY, 0, 1);
    is_int(b[0], 0x02, "a frame that is not the last has no FIN");

    ngx_broadcast_ws_header(b, NGX_BROADCAST_WS_TEXT|NGX_BROADCAST_WS_RSV1, 1,
                            1);
    is_int(b[0], 0xc1, "a deflated message has RSV1");
}


static void
test_close(void)
{
    u_char     b[130];
    size_t     n;
    ngx_str_t  reason;
    u_char     text[200];

    n = ngx_broadcast_ws_close(b, 1000, NULL);
    is_mem(b, n, "\x88\x02\x03\xe8", 4, "close without a reason");

    reason = tap_str("going");
    n = ngx_broadcast_ws_close(b, 1001, &reason);
    is_mem(b, n, "\x88\x07\x03\xe9going", 9, "close with a reason");

    n = ngx_broadcast_ws_close(b, 1005, &reason);
    is_mem(b, n, "\x88\x00", 2, "1005 is answered by an empty close");

    n = ngx_broadcast_ws_close(b, 0, NULL);
    is_mem(b, n, "\x88\x00", 2, "and so is 0");

    /* 62 times two bytes: byte 123 stands inside the last character */

    for (n = 0; n < 62; n++) {
        text[2 * n] = 0xc3;
        text[2 * n + 1] = 0xa9;
    }

    reason.data = text;
    reason.len = 124;
    n = ngx_broadcast_ws_close(b, 1011, &reason);

    ok(n == 2 + 2 + 122 && b[1] == 124 && b[n - 1] == 0xa9,
       "a long reason is cut between characters");

    memset(text, 'a', sizeof(text));
    reason.len = sizeof(text);

    is_int(ngx_broadcast_ws_close(b, 1011, &reason), 127,
           "the longest close frame has 127 bytes");
}


static void
test_accept(void)
{
    u_char      b[NGX_BROADCAST_WS_ACCEPT_LEN];
    size_t      i;
    ngx_str_t   key;
    static struct {
        const char  *key;
        const char  *name;
    } wrong[] = {
        { "", "an empty key is refused" },
        { "dGhlIHNhbXBsZSBub25jZQ", "a key without its padding is refused" },
        { "dGhlIHNhbXBsZSBub25jZQ=", "a key with half of it is refused" },
        { "dGhlIHNhbXBsZSBub25j", "a key of 15 bytes is refused" },
        { "dGhlIHNhbXBsZSBub25jZTE=", "a key of 17 bytes is refused" },
        { "dGhlIHNhbXBsZSBub25jZTEy", "a key of 18 bytes is refused" },
        { "dGhlIHNhbXBsZSBub25j!Q==", "a key that is not base64 is refused" },
        { "dGhlIHNhbXBsZSBub25j-_==", "base64url is not base64" },
        { "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
          "two keys are refused" }
    };

    key = tap_str("dGhlIHNhbXBsZSBub25jZQ==");

    is_int(ngx_broadcast_ws_accept(&key, b), NGX_OK, "RFC 1.3's key is good");
    is_mem(b, sizeof(b), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28,
           "and gives RFC 1.3's answer");
    is_int(ngx_broadcast_ws_accept(&key, NULL), NGX_OK,
           "and is good where nobody wants the answer");

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        key = tap_str(wrong[i].key);
        is_int(ngx_broadcast_ws_accept(&key, b), NGX_DECLINED, wrong[i].name);
        is_int(ngx_broadcast_ws_accept(&key, NULL), NGX_DECLINED,
               wrong[i].name);
    }
}


int
main(void)
{
    row_t  *row;

    for (row = rows; row->name; row++) {
        test_row(row);
    }

    test_memory();
    test_no_memory();
    test_header();
    test_close();
    test_accept();

    return done();
}
