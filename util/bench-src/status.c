
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "load.h"


#define LOAD_STATUS  65536


static void load_status(char *buf);


double
load_zone_used(void)
{
    char  buf[LOAD_STATUS], *p;

    load_status(buf);

    p = strstr(buf, "\"zone\"");
    p = (p == NULL) ? NULL : strstr(p, "\"used\"");
    p = (p == NULL) ? NULL : strchr(p, ':');

    if (p == NULL) {
        load_fail("%s tells no zone.used", conf.status);
    }

    return strtod(p + 1, NULL);
}


/* {"pid":4711,"connections":3}, of "workers" */

int
load_worker_clients(pid_t pid)
{
    char  buf[LOAD_STATUS], key[64], *p;

    load_status(buf);

    snprintf(key, sizeof(key), "{\"pid\":%d,\"connections\":", (int) pid);

    p = strstr(buf, key);

    if (p == NULL) {
        load_fail("%s tells nothing of worker %d", conf.status, (int) pid);
    }

    return atoi(p + strlen(key));
}


/* One process answers for all. */

static void
load_status(char *buf)
{
    int                 fd;
    size_t              len;
    ssize_t             n;
    struct timeval      tv;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(conf.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    tv.tv_sec = 5;
    tv.tv_usec = 0;

    len = snprintf(buf, LOAD_STATUS, "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n"
                   "Accept: application/json\r\n\r\n", conf.status);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == -1
        || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || send(fd, buf, len, MSG_NOSIGNAL) != (ssize_t) len)
    {
        load_fail("cannot ask %s: %s", conf.status, strerror(errno));
    }

    len = 0;

    while (len < LOAD_STATUS - 1
           && (n = recv(fd, buf + len, LOAD_STATUS - 1 - len, 0)) > 0)
    {
        len += n;
    }

    close(fd);
    buf[len] = '\0';
}
