
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * NATS's client protocol: lines, and behind MSG's a body.  Publishers speak it
 * over TCP.  Subscribers do over a WebSocket, whose frames mean nothing to it:
 * one may hold many messages, and a message may be in two.
 */


#include <stdio.h>
#include <string.h>

#include "client.h"


#define LOAD_NATS_LINE     8192

#define LOAD_NATS_SUBJECT  "bench"

/* what is answered with PONG is done with all that came before it */

#define LOAD_NATS_CONNECT                                                     \
    "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n"
#define LOAD_NATS_SUB      "SUB " LOAD_NATS_SUBJECT " 1\r\n"
#define LOAD_NATS_PING     "PING\r\n"
#define LOAD_NATS_PONG     "PONG\r\n"


static size_t load_nats_head(load_client_t *c, u_char *p, size_t len);
static size_t load_nats_operation(load_client_t *c, u_char *p, size_t len);
static size_t load_nats_message(load_client_t *c, u_char *line, u_char *body,
    size_t len);


/*
 * At the front of buf there may be bytes without frames, from the last time.
 * The others lose theirs; what is left is put together again at the end.
 */

size_t
load_client_nats(load_client_t *c, u_char *buf, size_t len)
{
    size_t   n;
    u_char  *p, *plain, *raw, *last;

    plain = buf + c->nplain;
    raw = plain;
    last = buf + len;

    while (raw < last) {

        if (c->left == 0) {
            n = load_nats_head(c, raw, last - raw);

            if (n == 0) {
                break;
            }

            raw += n;
            continue;
        }

        n = last - raw;

        if (n > c->left) {
            n = c->left;
        }

        memmove(plain, raw, n);

        plain += n;
        raw += n;
        c->left -= n;
    }

    p = buf;

    while (p < plain && (n = load_nats_operation(c, p, plain - p))) {
        p += n;
    }

    c->nplain = plain - p;
    memmove(raw - c->nplain, p, c->nplain);

    return raw - c->nplain - buf;
}


/* of a frame; 0: for more bytes */

static size_t
load_nats_head(load_client_t *c, u_char *p, size_t len)
{
    size_t    head;
    uint64_t  size;

    if (len < 2) {
        return 0;
    }

    size = p[1] & 0x7f;
    head = (size == 127) ? 10 : (size == 126) ? 4 : 2;

    if (len < head) {
        return 0;
    }

    if (head > 2) {
        size = 0;

        for (size_t i = 2; i < head; i++) {
            size = (size << 8) | p[i];
        }
    }

    /* data, in one frame or more: NATS never compresses, masks or pings here */

    if ((p[0] & 0x70) || (p[0] & 0x0f) > 2 || (p[1] & 0x80)) {
        load_fail("client %d: a frame begins with %02x %02x", c->number, p[0],
                  p[1]);
    }

    c->left = size;

    return head;
}


static size_t
load_nats_operation(load_client_t *c, u_char *p, size_t len)
{
    size_t   line;
    u_char  *end;

    end = memchr(p, '\n', len);

    if (end == NULL) {
        if (len > LOAD_NATS_LINE) {
            load_fail("client %d: a line has no end", c->number);
        }

        return 0;
    }

    line = end + 1 - p;

    if (line > 4 && memcmp(p, "MSG ", 4) == 0) {
        return load_nats_message(c, p, p + line, len - line);
    }

    if (line > 5 && memcmp(p, "INFO ", 5) == 0) {

        if (c->state == LOAD_HANDSHAKE) {
            load_client_send(c, 2, LOAD_NATS_CONNECT LOAD_NATS_SUB
                             LOAD_NATS_PING, sizeof(LOAD_NATS_CONNECT
                             LOAD_NATS_SUB LOAD_NATS_PING) - 1);
        }

        return line;
    }

    if (line > 4 && memcmp(p, "PING", 4) == 0) {
        load_client_send(c, 2, LOAD_NATS_PONG, sizeof(LOAD_NATS_PONG) - 1);
        return line;
    }

    if (line > 4 && memcmp(p, "PONG", 4) == 0) {

        if (c->state == LOAD_HANDSHAKE) {
            load_client_opened(c);
        }

        return line;
    }

    load_fail("client %d: NATS said %.*s", c->number, (int) line, p);
}


/* MSG subject sid size, then as many bytes and an end of line */

static size_t
load_nats_message(load_client_t *c, u_char *line, u_char *body, size_t len)
{
    int      size, digit;
    u_char  *p;

    size = 0;
    digit = 1;

    for (p = body - 3; p > line && *p >= '0' && *p <= '9'; p--) {
        size += digit * (*p - '0');
        digit *= 10;
    }

    if (size != conf.size || *p != ' ') {
        load_fail("client %d: a message of %d bytes", c->number, size);
    }

    if (len < (size_t) size + 2) {
        return 0;
    }

    if (body[size] != '\r' || body[size + 1] != '\n') {
        load_fail("client %d: a message has no end", c->number);
    }

    load_client_number(c, body);

    return body + size + 2 - line;
}


char *
load_nats_publish(char *p)
{
    return p + sprintf(p, "PUB " LOAD_NATS_SUBJECT " %d\r\n", conf.size);
}


/* what a publisher answers to a line, or NULL */

const char *
load_nats_answer(const char *line, int *ready)
{
    if (strncmp(line, "INFO ", 5) == 0) {
        return LOAD_NATS_CONNECT LOAD_NATS_PING;
    }

    if (strncmp(line, "PING", 4) == 0) {
        return LOAD_NATS_PONG;
    }

    if (strncmp(line, "PONG", 4) != 0) {
        load_fail("publisher: NATS said %.*s", (int) strcspn(line, "\r\n"),
                  line);
    }

    *ready = 1;

    return NULL;
}
