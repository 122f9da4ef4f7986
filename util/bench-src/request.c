
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* What a client asks a server for, in the words of HTTP. */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"


static char  **tokens;
static int     ntokens;


void
load_client_request(load_client_t *c)
{
    int          n, id;
    char         request[4096], group[64], mark;
    const char  *token, *closing;

    token = ntokens ? tokens[c->number % ntokens] : NULL;
    mark = strchr(conf.path, '?') ? '&' : '?';
    id = conf.signalr && !conf.direct;
    closing = conf.keeping ? "" : "Connection: close\r\n";
    group[0] = '\0';

    if (conf.members && conf.join) {
        snprintf(group, sizeof(group), "%s%d", conf.join,
                 c->number / conf.members);
    }

    if (c->state == LOAD_NEGOTIATE && !conf.signalr) {

        n = snprintf(request, sizeof(request),
                     "POST %s HTTP/1.1\r\n"
                     "Host: 127.0.0.1:%d\r\n"
                     "Content-Length: 0\r\n"
                     "X-Requested-With: XMLHttpRequest\r\n"
                     "%s\r\n",
                     conf.hop, conf.port, closing);

    } else if (c->state == LOAD_NEGOTIATE) {

        n = (int) strcspn(conf.path, "?");

        n = snprintf(request, sizeof(request),
                     "POST %.*s/negotiate%s%cnegotiateVersion=1 HTTP/1.1\r\n"
                     "Host: 127.0.0.1:%d\r\n"
                     "Content-Length: 0\r\n"
                     "X-Requested-With: XMLHttpRequest\r\n"
                     "%s%s%s"
                     "%s\r\n",
                     n, conf.path, conf.path + n, mark, conf.port,
                     token ? "Authorization: Bearer " : "",
                     token ? token : "", token ? "\r\n" : "", closing);

    } else if (conf.sse) {

        n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\n"
                     "Host: 127.0.0.1:%d\r\n"
                     "Accept: text/event-stream\r\n\r\n",
                     conf.path, conf.port);

    } else {
        n = snprintf(request, sizeof(request),
                     "GET %s%s%s%s%s%s HTTP/1.1\r\n"
                     "Host: 127.0.0.1:%d\r\n"
                     "Connection: Upgrade\r\n"
                     "Upgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: " LOAD_WS_KEY "\r\n\r\n",
                     conf.path, group,
                     id ? (mark == '&' ? "&id=" : "?id=") : "",
                     id ? c->id : "",
                     token ? (id || mark == '&' ? "&access_token="
                                                : "?access_token=") : "",
                     token ? token : "", conf.port);
    }

    if (n >= (int) sizeof(request)) {
        load_fail("a token is too long");
    }

    if (send(c->io.fd, request, n, MSG_NOSIGNAL) != n) {
        load_fail("client %d: cannot connect to port %d: %s", c->number,
                  conf.port, strerror(errno));
    }
}


void
load_tokens_read(void)
{
    int      max;
    char    *line;
    FILE    *f;
    size_t   size;
    ssize_t  n;

    if (conf.tokens == NULL) {
        return;
    }

    f = fopen(conf.tokens, "r");
    max = conf.first + conf.clients;
    tokens = calloc(max, sizeof(char *));

    if (f == NULL || tokens == NULL) {
        load_fail("cannot read %s: %s", conf.tokens, strerror(errno));
    }

    line = NULL;
    size = 0;

    while (ntokens < max && (n = getline(&line, &size, f)) > 1) {
        line[n - 1] = '\0';
        tokens[ntokens++] = line;
        line = NULL;
        size = 0;
    }

    fclose(f);

    if (ntokens == 0) {
        load_fail("%s holds no token", conf.tokens);
    }
}
