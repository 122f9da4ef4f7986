
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* What the floor writes, and what it answers who connects. */


#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "floor.h"


#define FLOOR_GUID  "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


void
floor_send(int fd, const char *p, size_t len)
{
    ssize_t        n;
    struct pollfd  pfd;

    for ( ;; ) {
        n = send(fd, p, len, MSG_NOSIGNAL);

        if (n == (ssize_t) len) {
            return;
        }

        if (n == -1 && errno != EAGAIN) {
            return;             /* epoll tells of its end */
        }

        if (n > 0) {
            p += n;
            len -= n;
        }

        pfd.fd = fd;
        pfd.events = POLLOUT;
        (void) poll(&pfd, 1, 1000);
    }
}


void
floor_answer_upgrade(int fd, const char *key)
{
    int            n;
    char           input[128], answer[256];
    unsigned char  digest[EVP_MAX_MD_SIZE], text[64];

    n = snprintf(input, sizeof(input), "%.24s" FLOOR_GUID, key);

    if (!EVP_Digest(input, n, digest, NULL, EVP_sha1(), NULL)) {
        floor_die("EVP_Digest");
    }

    EVP_EncodeBlock(text, digest, 20);

    n = snprintf(answer, sizeof(answer),
                 "HTTP/1.1 101 Switching Protocols\r\n"
                 "Upgrade: websocket\r\n"
                 "Connection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n\r\n", text);

    floor_send(fd, answer, n);
}


void
floor_answer_hop(int fd)
{
    static const char  answer[] =
        "HTTP/1.1 200 OK\r\n"
        "Server: floor\r\n"
        "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 342\r\n"
        "Connection: keep-alive\r\n"
        "\r\n"
        "{\"negotiateVersion\":1,\"connectionId\":\"AAAAAAAAAAAAAAAAAAAAAA\","
        "\"connectionToken\":"
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"availableTransports\":["
        "{\"transport\":\"WebSockets\","
        "\"transferFormats\":[\"Text\",\"Binary\"]},"
        "{\"transport\":\"ServerSentEvents\","
        "\"transferFormats\":[\"Text\"]},"
        "{\"transport\":\"LongPolling\","
        "\"transferFormats\":[\"Text\",\"Binary\"]}]}";

    floor_send(fd, answer, sizeof(answer) - 1);
}


void
floor_answer_hello(int fd)
{
    static const char  answer[] = "\x81\x03{}\x1e";

    floor_send(fd, answer, sizeof(answer) - 1);
}
