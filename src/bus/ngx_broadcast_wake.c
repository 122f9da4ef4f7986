
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_wake.h"
#include "shm/ngx_broadcast_slot.h"

#include <sys/eventfd.h>


/*
 * Private to the process, but equal in all: a number is index of a slot.  A
 * reload must not make new ones, or old and new workers would ring at each
 * other's closed doors.  A binary upgrade starts from nothing, with a zone of
 * its own.
 */

static int                ngx_broadcast_wake_fd[NGX_BROADCAST_SLOTS];
static ngx_uint_t         ngx_broadcast_wake_made;

static ngx_connection_t  *ngx_broadcast_wake_connection;


void
ngx_broadcast_wake_open(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    if (ngx_broadcast_wake_made || ngx_test_config) {
        return;
    }

    ngx_broadcast_wake_made = 1;

    for (i = 0; i < NGX_BROADCAST_SLOTS; i++) {

        ngx_broadcast_wake_fd[i] = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (ngx_broadcast_wake_fd[i] == -1) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                          "broadcast: eventfd() failed, some workers look "
                          "for messages once a second only");
            break;
        }
    }

    for ( /* void */ ; i < NGX_BROADCAST_SLOTS; i++) {
        ngx_broadcast_wake_fd[i] = -1;
    }
}


ngx_int_t
ngx_broadcast_wake_listen(ngx_cycle_t *cycle, ngx_uint_t slot,
    ngx_event_handler_pt handler)
{
    int                fd;
    ngx_int_t          flags;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    fd = ngx_broadcast_wake_made ? ngx_broadcast_wake_fd[slot] : -1;

    if (fd == -1) {
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->pool = NULL;

    rev = c->read;
    rev->log = cycle->log;
    rev->handler = handler;

    /* neither closed at a shutdown's time-out nor reported as left open */

    rev->channel = 1;
    c->write->channel = 1;

    flags = (ngx_event_flags & NGX_USE_CLEAR_EVENT) ? NGX_CLEAR_EVENT
                                                    : NGX_LEVEL_EVENT;

    if (ngx_add_event(rev, NGX_READ_EVENT, flags) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;

        return NGX_ERROR;
    }

    ngx_broadcast_wake_connection = c;

    return NGX_OK;
}


/* the descriptor is everybody's: out of this event loop, but not closed */

void
ngx_broadcast_wake_unlisten(void)
{
    ngx_connection_t  *c;

    c = ngx_broadcast_wake_connection;

    if (c == NULL) {
        return;
    }

    ngx_broadcast_wake_connection = NULL;

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    c->read->closed = 1;
    c->write->closed = 1;
    c->read->channel = 0;
    c->write->channel = 0;

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
}


void
ngx_broadcast_wake_seen(ngx_event_t *ev)
{
    uint64_t           count;
    ngx_connection_t  *c;

    if (ngx_event_flags & NGX_USE_CLEAR_EVENT) {
        return;
    }

    c = ev->data;

    if (read(c->fd, &count, sizeof(count)) == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, ev->log, ngx_errno,
                      "broadcast: read() of an eventfd failed");
    }
}


/*
 * With edge triggering nobody reads the counter; it would take a ring every
 * nanosecond for five centuries to fill it.
 */

void
ngx_broadcast_wake_ring(ngx_uint_t slot, ngx_log_t *log)
{
    uint64_t  one;

    if (!ngx_broadcast_wake_made || ngx_broadcast_wake_fd[slot] == -1) {
        return;
    }

    one = 1;

    if (write(ngx_broadcast_wake_fd[slot], &one, sizeof(one)) == -1
        && ngx_errno != NGX_EAGAIN)
    {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "broadcast: write() to an eventfd failed");
    }
}
