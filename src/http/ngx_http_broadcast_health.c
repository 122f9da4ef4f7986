
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * broadcast_negotiate … health=: each worker sends "HEAD /api/health" to each
 * endpoint, signalr.md 8.2, and reads no more than the status line:
 *
 *     timer -> connect -> (TLS) -> request -> status -> timer
 *
 * Any step may fail or take too long.  Two failures one behind another keep
 * clients away, one success brings them back.  A host of several addresses is
 * asked at one of them, at the next one after a failure.
 */


#include "http/ngx_http_broadcast_endpoint.h"


#define NGX_HTTP_BROADCAST_HEALTH_TIMEOUT  5000     /* ms, or the interval */


static void ngx_http_broadcast_health_timer(ngx_event_t *ev);
static void ngx_http_broadcast_health_begin(ngx_http_broadcast_health_t *h);
static void ngx_http_broadcast_health_event(ngx_event_t *ev);
static ngx_int_t ngx_http_broadcast_health_connected(ngx_connection_t *c);
#if (NGX_HTTP_SSL)
static void ngx_http_broadcast_health_tls(ngx_http_broadcast_health_t *h);
static void ngx_http_broadcast_health_handshaked(ngx_connection_t *c);
#endif
static void ngx_http_broadcast_health_exchange(
    ngx_http_broadcast_health_t *h);
static void ngx_http_broadcast_health_done(ngx_http_broadcast_health_t *h,
    const char *reason);
static void ngx_http_broadcast_health_wait(ngx_http_broadcast_health_t *h);
static void ngx_http_broadcast_health_close(ngx_http_broadcast_health_t *h);


/* Workers begin at different moments, and no two of them keep step. */

void
ngx_http_broadcast_health_start(ngx_array_t *health, ngx_log_t *log)
{
    ngx_uint_t                     i;
    ngx_http_broadcast_health_t   *h, **hp;

    if (health == NULL) {
        return;
    }

    hp = health->elts;

    for (i = 0; i < health->nelts; i++) {
        h = hp[i];

        h->timer.handler = ngx_http_broadcast_health_timer;
        h->timer.data = h;
        h->timer.log = log;
        h->timer.cancelable = 1;

        h->peer.get = ngx_event_get_peer;
        h->peer.log = log;
        h->peer.log_error = NGX_ERROR_INFO;

        ngx_add_timer(&h->timer, 1 + ngx_random() % h->interval);
    }
}


void
ngx_http_broadcast_health_stop(ngx_array_t *health)
{
    ngx_uint_t                     i;
    ngx_http_broadcast_health_t  **hp;

    if (health == NULL) {
        return;
    }

    hp = health->elts;

    for (i = 0; i < health->nelts; i++) {

        if (hp[i]->timer.timer_set) {
            ngx_del_timer(&hp[i]->timer);
        }

        ngx_http_broadcast_health_close(hp[i]);
    }
}


static void
ngx_http_broadcast_health_timer(ngx_event_t *ev)
{
    ngx_http_broadcast_health_t  *h;

    h = ev->data;

    if (h->peer.connection) {
        ngx_http_broadcast_health_done(h, "it did not answer in time");
        return;
    }

    /* whoever is asked to exit has no new clients to send anywhere */

    if (!ngx_exiting) {
        ngx_http_broadcast_health_begin(h);
    }
}


static void
ngx_http_broadcast_health_begin(ngx_http_broadcast_health_t *h)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    h->peer.sockaddr = h->addrs[h->addr].sockaddr;
    h->peer.socklen = h->addrs[h->addr].socklen;
    h->peer.name = &h->addrs[h->addr].name;

    h->connected = 0;
    h->sent = 0;
    h->got = 0;

    rc = ngx_event_connect_peer(&h->peer);

    if (rc == NGX_ERROR) {

        /* no connection is free here: that says nothing of the endpoint */

        ngx_http_broadcast_health_wait(h);
        return;
    }

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_broadcast_health_done(h, "it takes no connection");
        return;
    }

    c = h->peer.connection;

    c->data = h;
    c->read->handler = ngx_http_broadcast_health_event;
    c->write->handler = ngx_http_broadcast_health_event;

    c->pool = ngx_create_pool(512, h->peer.log);

    if (c->pool == NULL) {
        ngx_http_broadcast_health_close(h);
        ngx_http_broadcast_health_wait(h);
        return;
    }

    ngx_add_timer(&h->timer, ngx_min(h->interval,
                                     NGX_HTTP_BROADCAST_HEALTH_TIMEOUT));

    if (rc == NGX_OK) {
        ngx_http_broadcast_health_event(c->write);
    }
}


static void
ngx_http_broadcast_health_event(ngx_event_t *ev)
{
    ngx_connection_t             *c;
    ngx_http_broadcast_health_t  *h;

    c = ev->data;
    h = c->data;

    if (c->close) {
        ngx_http_broadcast_health_done(h, "the worker ends");
        return;
    }

    if (!h->connected) {

        if (ngx_http_broadcast_health_connected(c) != NGX_OK) {
            ngx_http_broadcast_health_done(h, "it takes no connection");
            return;
        }

        h->connected = 1;

#if (NGX_HTTP_SSL)
        if (h->ssl) {
            ngx_http_broadcast_health_tls(h);
            return;
        }
#endif
    }

    ngx_http_broadcast_health_exchange(h);
}


static ngx_int_t
ngx_http_broadcast_health_connected(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    return err ? NGX_ERROR : NGX_OK;
}


#if (NGX_HTTP_SSL)

/*
 * The certificate is not checked, as proxy_pass does not by default: nothing
 * is told to the peer, and clients check it themselves.
 */

static void
ngx_http_broadcast_health_tls(ngx_http_broadcast_health_t *h)
{
    ngx_connection_t  *c;

    c = h->peer.connection;

    if (ngx_ssl_create_connection(h->ssl, c, NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK)
    {
        ngx_http_broadcast_health_done(h, "TLS could not be begun");
        return;
    }

#ifdef SSL_CTRL_SET_TLSEXT_HOSTNAME
    if (h->name.len) {
        (void) SSL_set_tlsext_host_name(c->ssl->connection,
                                        (char *) h->name.data);
    }
#endif

    if (ngx_ssl_handshake(c) == NGX_AGAIN) {
        c->ssl->handler = ngx_http_broadcast_health_handshaked;
        return;
    }

    ngx_http_broadcast_health_handshaked(c);
}


static void
ngx_http_broadcast_health_handshaked(ngx_connection_t *c)
{
    ngx_http_broadcast_health_t  *h;

    h = c->data;

    if (!c->ssl->handshaked) {
        ngx_http_broadcast_health_done(h, "the TLS handshake failed");
        return;
    }

    c->read->handler = ngx_http_broadcast_health_event;
    c->write->handler = ngx_http_broadcast_health_event;

    ngx_http_broadcast_health_exchange(h);
}

#endif


static void
ngx_http_broadcast_health_exchange(ngx_http_broadcast_health_t *h)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = h->peer.connection;

    while (h->sent < h->request.len) {

        n = c->send(c, h->request.data + h->sent, h->request.len - h->sent);

        if (n == NGX_AGAIN) {
            goto again;
        }

        if (n <= 0) {
            ngx_http_broadcast_health_done(h, "it took no request");
            return;
        }

        h->sent += n;
    }

    while (h->got < NGX_HTTP_BROADCAST_STATUS_LINE) {

        n = c->recv(c, h->answer + h->got,
                    NGX_HTTP_BROADCAST_STATUS_LINE - h->got);

        if (n == NGX_AGAIN) {
            goto again;
        }

        if (n <= 0) {
            ngx_http_broadcast_health_done(h, "it gave no answer");
            return;
        }

        h->got += n;
    }

    if (ngx_strncmp(h->answer, "HTTP/1.", 7) != 0 || h->answer[9] != '2') {
        ngx_http_broadcast_health_done(h, "its status is not 2xx");
        return;
    }

    ngx_http_broadcast_health_done(h, NULL);

    return;

again:

    if (ngx_handle_write_event(c->write, 0) != NGX_OK
        || ngx_handle_read_event(c->read, 0) != NGX_OK)
    {
        ngx_http_broadcast_health_done(h, "its socket cannot be watched");
    }
}


/* reason: NULL if all is well; h has no connection afterwards */

static void
ngx_http_broadcast_health_done(ngx_http_broadcast_health_t *h,
    const char *reason)
{
    ngx_http_broadcast_health_close(h);

    if (reason == NULL) {

        if (h->down) {
            ngx_log_error(NGX_LOG_NOTICE, h->peer.log, 0,
                          "endpoint \"%V\" is up again", &h->url);
        }

        h->down = 0;
        h->failures = 0;

    } else {
        h->failures++;
        h->addr = (h->addr + 1) % h->naddrs;

        ngx_log_error(NGX_LOG_INFO, h->peer.log, 0,
                      "health request to \"%V\" failed: %s", &h->url, reason);

        if (h->failures >= NGX_HTTP_BROADCAST_FAILURES && !h->down) {
            h->down = 1;

            ngx_log_error(NGX_LOG_WARN, h->peer.log, 0,
                          "endpoint \"%V\" is down: %s", &h->url, reason);
        }
    }

    ngx_http_broadcast_health_wait(h);
}


/* between 0.9 and 1.1 times the interval */

static void
ngx_http_broadcast_health_wait(ngx_http_broadcast_health_t *h)
{
    ngx_msec_t  wait;

    wait = h->interval - h->interval / 10 + ngx_random() % (h->interval / 5);

    ngx_add_timer(&h->timer, wait);
}


static void
ngx_http_broadcast_health_close(ngx_http_broadcast_health_t *h)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = h->peer.connection;

    if (c == NULL) {
        return;
    }

    h->peer.connection = NULL;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
        (void) ngx_ssl_shutdown(c);
    }
#endif

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}
