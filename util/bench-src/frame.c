
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"


#define LOAD_SEPARATOR     0x1e              /* ends a SignalR message */


static void load_client_data(load_client_t *c, u_char *p, size_t len);


/* One whole frame from a server (never masked), or 0 for more bytes. */

size_t
load_client_frame(load_client_t *c, u_char *buf, size_t len)
{
    size_t    head;
    uint64_t  size;

    if (len < 2) {
        return 0;
    }

    head = 2;
    size = buf[1] & 0x7f;

    if (size == 126) {
        head = 4;

        if (len < head) {
            return 0;
        }

        size = (buf[2] << 8) | buf[3];

    } else if (size == 127) {
        head = 10;

        if (len < head) {
            return 0;
        }

        size = 0;

        for (int i = 2; i < 10; i++) {
            size = (size << 8) | buf[i];
        }
    }

    if (size > LOAD_MAX_FRAME || (buf[1] & 0x80) || (buf[0] & 0xf0) != 0x80) {
        load_fail("client %d: a frame begins with %02x %02x", c->number,
                  buf[0], buf[1]);
    }

    if (len < head + size) {
        return 0;
    }

    switch (buf[0] & 0x0f) {

    case 1:
        load_client_data(c, buf + head, size);
        break;

    case 9:
        load_client_send(c, 10, buf + head, size);
        break;

    case 10:
        break;

    case 8:
        load_fail("client %d: close frame %d", c->number,
                  size < 2 ? 1005 : (buf[head] << 8) | buf[head + 1]);

    default:
        load_fail("client %d: opcode %d", c->number, buf[0] & 0x0f);
    }

    return head + size;
}


/*
 * A published body begins with #, eight digits, #; a frame may carry several
 * messages, and what a server wraps around them holds no number sign.
 */

static void
load_client_data(load_client_t *c, u_char *p, size_t len)
{
    u_char  *end;

    end = p + len;

    if (conf.signalr && (len == 0 || end[-1] != LOAD_SEPARATOR)) {
        load_fail("client %d: a frame ends within a message", c->number);
    }

    if (c->state == LOAD_HANDSHAKE) {

        if (len < 3 || memcmp(p, "{}\x1e", 3) != 0) {
            load_fail("client %d: the handshake was refused", c->number);
        }

        load_client_opened(c);
    }

    while (end - p >= 10 && (p = memchr(p, '#', end - p - 9)) != NULL) {

        load_client_number(c, p);
        p += 10;
    }
}


/* p has ten bytes at least */

void
load_client_number(load_client_t *c, u_char *p)
{
    uint32_t  seq;

    seq = 0;

    for (int i = 1; i <= 8; i++) {
        seq = seq * 10 + (p[i] - '0');
    }

    if (p[0] != '#' || p[9] != '#') {
        load_fail("client %d: a message is broken", c->number);
    }

    load_phase_received(c->number, &c->count, &c->order, seq);
}


void
load_client_send(load_client_t *c, int opcode, const void *data, size_t len)
{
    u_char  frame[6 + 125];

    static const u_char  mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

    if (len > 125) {
        load_fail("client %d: a control frame of %zu bytes", c->number, len);
    }

    frame[0] = 0x80 | opcode;
    frame[1] = 0x80 | len;
    memcpy(frame + 2, mask, 4);

    for (size_t i = 0; i < len; i++) {
        frame[6 + i] = ((const u_char *) data)[i] ^ mask[i & 3];
    }

    if (send(c->io.fd, frame, 6 + len, MSG_NOSIGNAL) != (ssize_t) (6 + len)) {
        load_fail("client %d: send() failed: %s", c->number, strerror(errno));
    }
}
