
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "commit.h"


/*
 * What a session does without the database: it posts the message over HTTP, on
 * a connection of its own that stays, and waits for the answer.
 */


#define COMMIT_ANSWER  4096


static size_t commit_post_request(char *request, size_t room, uint32_t seq);
static void commit_post_send(int fd, const char *request, size_t len);
static void commit_post_answer(int fd);


int
commit_post_open(void)
{
    int                 fd;
    struct sockaddr_un  sun;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;

    if (fd == -1 || conf.socket == NULL
        || strlen(conf.socket) >= sizeof(sun.sun_path))
    {
        load_fail("writers post over a Unix socket");
    }

    strcpy(sun.sun_path, conf.socket);

    if (connect(fd, (struct sockaddr *) &sun, sizeof(sun)) == -1) {
        load_fail("connect() failed: %s", strerror(errno));
    }

    return fd;
}


void
commit_post(int fd, uint32_t seq)
{
    size_t  len;
    char    request[COMMIT_TEXT];

    len = commit_post_request(request, sizeof(request), seq);

    load_phase_sent(seq);

    commit_post_send(fd, request, len);
    commit_post_answer(fd);
}


static size_t
commit_post_request(char *request, size_t room, uint32_t seq)
{
    int     i;
    size_t  n;

    n = snprintf(request, room,
                 "POST %s HTTP/1.1\r\n"
                 "Host: 127.0.0.1:%d\r\n"
                 "Content-Type: text/plain\r\n"
                 "Content-Length: %d\r\n\r\n",
                 conf.publish, conf.port, conf.size);

    if (n + conf.size >= room) {
        load_fail("no room for a message of %d bytes", conf.size);
    }

    n += sprintf(request + n, "#%08u#", seq);

    for (i = 10; i < conf.size; i++) {
        request[n++] = 'a' + (i + seq) % 26;
    }

    return n;
}


static void
commit_post_send(int fd, const char *request, size_t len)
{
    ssize_t  n;

    while (len) {
        n = send(fd, request, len, MSG_NOSIGNAL);

        if (n == -1) {
            load_fail("writer: send() failed: %s", strerror(errno));
        }

        request += n;
        len -= n;
    }
}


static void
commit_post_answer(int fd)
{
    char     answer[COMMIT_ANSWER], *end, *length;
    size_t   len, size;
    ssize_t  n;

    len = 0;

    for ( ;; ) {
        n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);

        if (n <= 0) {
            load_fail("writer: no answer to a message");
        }

        len += n;
        answer[len] = '\0';

        end = strstr(answer, "\r\n\r\n");

        if (end == NULL) {
            continue;
        }

        if (strncmp(answer, "HTTP/1.1 20", 11) != 0) {
            load_fail("writer: a message was answered with %.32s", answer);
        }

        length = strcasestr(answer, "\r\nContent-Length:");
        size = length ? strtoul(length + 17, NULL, 10) : 0;

        if (len >= (size_t) (end + 4 - answer) + size) {
            return;
        }
    }
}
