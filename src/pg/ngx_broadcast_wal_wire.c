
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/ngx_broadcast_utf8.h"
#include "pg/ngx_broadcast_pgoutput.h"
#include "pg/ngx_broadcast_wal_local.h"


/*
 * The COPY of the replication connection is read from its socket, behind
 * libpq's back.  That knows whole messages only, whatever their size, and reads
 * for as long as the server is quick enough: one of hundreds of megabytes,
 * which any role may write to the WAL, would be kept whole twice, and hold up
 * this worker to its end.  Here a turn of the event loop takes a slice.
 *
 *     type(1)  length(4)  body            PostgreSQL's manual, 55.7; the length
 *                                         counts itself
 *
 * What does not fit into the buffer is taken (TAKE) to where it stays, checked
 * as it comes, if it may be for us; all else is passed over (SKIP).
 *
 * libpq has connected, and will close.  Of the query it is not told, so to it
 * the connection is idle, and is again when the server has refused: then the
 * next query is libpq's.
 */

#define NGX_BROADCAST_WAL_FRAME   5         /* bytes before the body */
#define NGX_BROADCAST_WAL_BEGIN   64        /* of a large body, to know it by:
                                               what is before our content is
                                               shorter */


static size_t ngx_broadcast_wal_wire_pending(ngx_broadcast_pg_conn_t *conn);
static ngx_int_t ngx_broadcast_wal_wire_input(ngx_broadcast_pg_conn_t *conn,
    size_t *left);
static ngx_int_t ngx_broadcast_wal_wire_recv(ngx_broadcast_pg_conn_t *conn,
    u_char *buf, size_t size, size_t *got);
static ngx_int_t ngx_broadcast_wal_wire_error(ngx_broadcast_pg_conn_t *conn,
    SSL *ssl, int n);
static ngx_int_t ngx_broadcast_wal_wire_frames(void);
static ngx_int_t ngx_broadcast_wal_wire_large(size_t len);
static ngx_int_t ngx_broadcast_wal_wire_rest(u_char *p, size_t size);
static ngx_int_t ngx_broadcast_wal_wire_taken(void);
static void ngx_broadcast_wal_wire_drop(void);


void
ngx_broadcast_wal_wire_clear(void)
{
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    ngx_broadcast_wal_wire_drop();

    if (wire->buf) {
        ngx_free(wire->buf);
    }

    ngx_memzero(wire, sizeof(ngx_broadcast_wal_wire_t));
}


ngx_int_t
ngx_broadcast_wal_wire_start(ngx_broadcast_pg_conn_t *conn, const char *query)
{
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    ngx_broadcast_wal_wire_clear();

    wire->buf = ngx_alloc(NGX_BROADCAST_WAL_BUFFER, ngx_broadcast_pg.log);
    if (wire->buf == NULL) {
        return NGX_ERROR;
    }

    wire->pos = wire->buf;
    wire->last = wire->buf;

    conn->raw = 1;
    conn->output = ngx_broadcast_wal_wire_output;

    return ngx_broadcast_wal_wire_put(conn, 'Q', (u_char *) query,
                                      ngx_strlen(query) + 1);
}


ngx_int_t
ngx_broadcast_wal_wire_put(ngx_broadcast_pg_conn_t *conn, u_char type,
    u_char *data, size_t size)
{
    u_char                    *p;
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    if (wire->out_pos == wire->out_last) {
        wire->out_pos = 0;
        wire->out_last = 0;
    }

    if (sizeof(wire->out) - wire->out_last < NGX_BROADCAST_WAL_FRAME + size) {
        return NGX_BUSY;
    }

    p = &wire->out[wire->out_last];

    *p++ = type;
    *p++ = (u_char) ((size + 4) >> 24);
    *p++ = (u_char) ((size + 4) >> 16);
    *p++ = (u_char) ((size + 4) >> 8);
    *p++ = (u_char) (size + 4);

    ngx_memcpy(p, data, size);

    wire->out_last += NGX_BROADCAST_WAL_FRAME + size;

    return ngx_broadcast_pg_conn_flush(conn);
}


int
ngx_broadcast_wal_wire_output(ngx_broadcast_pg_conn_t *conn)
{
    int                        n;
    SSL                       *ssl;
    size_t                     size;
    u_char                    *p;
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    while (wire->out_pos < wire->out_last) {
        p = &wire->out[wire->out_pos];
        size = wire->out_last - wire->out_pos;

        if (PQsslInUse(conn->pg)) {
            ssl = PQsslStruct(conn->pg, "OpenSSL");
            ERR_clear_error();
            n = SSL_write(ssl, p, (int) size);

        } else {
            ssl = NULL;
            n = (int) send(PQsocket(conn->pg), p, size, MSG_NOSIGNAL);
        }

        if (n <= 0) {
            return ngx_broadcast_wal_wire_error(conn, ssl, n) == NGX_AGAIN
                   ? 1 : -1;
        }

        wire->out_pos += n;
    }

    return 0;
}


/*
 * NGX_OK: all that was there, or a slice, and there is an event for more;
 * NGX_AGAIN: no room for more, or the connection is dropped.
 */

ngx_int_t
ngx_broadcast_wal_wire_read(ngx_broadcast_pg_conn_t *conn)
{
    size_t                left;
    ngx_int_t             rc;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    left = NGX_BROADCAST_WAL_SLICE;

    for ( ;; ) {

        rc = ngx_broadcast_wal_wire_frames();

        if (conn->broken || rc == NGX_DONE) {
            return conn->broken ? NGX_AGAIN : NGX_OK;
        }

        if (rc == NGX_BUSY) {
            wal->paused = 1;

            if (conn->timer.timer_set) {
                ngx_del_timer(&conn->timer);
            }

            return NGX_AGAIN;
        }

        if (rc != NGX_OK) {
            ngx_broadcast_pg_conn_drop(conn, "the server speaks another "
                                             "protocol, or memory is short");
            return NGX_AGAIN;
        }

        if (left == 0) {

            /* no event tells of what OpenSSL has, of one record at most */

            left = ngx_broadcast_wal_wire_pending(conn);

            if (left == 0) {
                break;
            }
        }

        rc = ngx_broadcast_wal_wire_input(conn, &left);

        if (rc == NGX_AGAIN) {
            break;
        }

        if (rc != NGX_OK) {
            return NGX_AGAIN;
        }
    }

    ngx_add_timer(&conn->timer, NGX_BROADCAST_WAL_TIMEOUT);

    return NGX_OK;
}


static size_t
ngx_broadcast_wal_wire_pending(ngx_broadcast_pg_conn_t *conn)
{
    if (!PQsslInUse(conn->pg)) {
        return 0;
    }

    return SSL_pending(PQsslStruct(conn->pg, "OpenSSL"));
}


static ngx_int_t
ngx_broadcast_wal_wire_input(ngx_broadcast_pg_conn_t *conn, size_t *left)
{
    u_char                    *p;
    size_t                     size, got;
    ngx_int_t                  rc;
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    /* frames() has left nothing of what is larger, and of others a part */

    size = wire->last - wire->pos;

    if (wire->pos != wire->buf) {
        ngx_memmove(wire->buf, wire->pos, size);
        wire->pos = wire->buf;
        wire->last = wire->buf + size;
    }

    p = wire->last;
    size = NGX_BROADCAST_WAL_BUFFER - size;

    if (wire->text.data) {
        p = wire->text.data + wire->text.len;
        size = wire->rest;
    }

    got = 0;
    rc = ngx_broadcast_wal_wire_recv(conn, p, ngx_min(size, *left), &got);

    if (rc != NGX_OK) {
        return rc;
    }

    *left -= got;

    if (wire->text.data) {
        return ngx_broadcast_wal_wire_rest(p, got);
    }

    wire->last += got;

    return NGX_OK;
}


/* NGX_ERROR: the connection is dropped */

static ngx_int_t
ngx_broadcast_wal_wire_recv(ngx_broadcast_pg_conn_t *conn, u_char *buf,
    size_t size, size_t *got)
{
    int         n;
    SSL        *ssl;
    ngx_int_t   rc;

    if (PQsslInUse(conn->pg)) {
        ssl = PQsslStruct(conn->pg, "OpenSSL");
        ERR_clear_error();
        n = SSL_read(ssl, buf, (int) size);

    } else {
        ssl = NULL;
        n = (int) recv(PQsocket(conn->pg), buf, size, 0);
    }

    if (n > 0) {
        *got = n;
        return NGX_OK;
    }

    rc = ngx_broadcast_wal_wire_error(conn, ssl, n);

    if (rc != NGX_AGAIN) {
        ngx_broadcast_pg_conn_drop(conn, "the connection broke");
    }

    return rc;
}


static ngx_int_t
ngx_broadcast_wal_wire_error(ngx_broadcast_pg_conn_t *conn, SSL *ssl, int n)
{
    int  error;

    if (ssl) {
        error = SSL_get_error(ssl, n);
        ERR_clear_error();

        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE
               ? NGX_AGAIN : NGX_ERROR;
    }

    return n < 0 && (ngx_socket_errno == NGX_EAGAIN
                     || ngx_socket_errno == NGX_EINTR)
           ? NGX_AGAIN : NGX_ERROR;
}


/*
 * NGX_OK: more is needed; NGX_BUSY: there is no room; NGX_DONE: the query is
 * over, and the connection libpq's again; NGX_ERROR: another protocol, or no
 * memory.
 */

static ngx_int_t
ngx_broadcast_wal_wire_frames(void)
{
    u_char                    *p;
    size_t                     size, len;
    ngx_int_t                  rc;
    ngx_broadcast_wal_t       *wal = &ngx_broadcast_wal;
    ngx_broadcast_wal_wire_t  *wire = &wal->wire;

    while (!wal->conn.broken) {

        size = wire->last - wire->pos;

        if (wire->rest) {
            size = ngx_min(size, wire->rest);

            if (size == 0) {
                return NGX_OK;
            }

            p = wire->pos;
            wire->pos += size;

            if (wire->text.data) {
                ngx_memcpy(wire->text.data + wire->text.len, p, size);
                p = wire->text.data + wire->text.len;
            }

            if (ngx_broadcast_wal_wire_rest(p, size) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (wal->state == NGX_BROADCAST_WAL_READING
            && ngx_broadcast_wal_batch_full())
        {
            return NGX_BUSY;
        }

        if (size < NGX_BROADCAST_WAL_FRAME) {
            return NGX_OK;
        }

        p = wire->pos;

        len = (size_t) p[1] << 24 | p[2] << 16 | p[3] << 8 | p[4];

        if (len < 4) {
            return NGX_ERROR;
        }

        len -= 4;

        if (len > NGX_BROADCAST_WAL_BUFFER - NGX_BROADCAST_WAL_FRAME) {

            if (size < NGX_BROADCAST_WAL_FRAME + NGX_BROADCAST_WAL_BEGIN) {
                return NGX_OK;
            }

            if (ngx_broadcast_wal_wire_large(len) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (size - NGX_BROADCAST_WAL_FRAME < len) {
            return NGX_OK;
        }

        wire->pos += NGX_BROADCAST_WAL_FRAME + len;

        rc = ngx_broadcast_wal_heard(p[0], p + NGX_BROADCAST_WAL_FRAME, len);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* of a body of that length, a part of which is there */

static ngx_int_t
ngx_broadcast_wal_wire_large(size_t len)
{
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_broadcast_pgoutput_t   said;
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    p = wire->pos + NGX_BROADCAST_WAL_FRAME;

    if (wire->pos[0] != 'd') {
        return NGX_ERROR;
    }

    rc = ngx_broadcast_pgoutput_begin(p, NGX_BROADCAST_WAL_BEGIN, len, &said);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    wire->rest = len;
    wire->pos = p;

    if (rc != NGX_OK || !ngx_broadcast_wal_ours(&said)) {
        return NGX_OK;
    }

    wire->rest = len - (said.content.data - p);
    wire->pos = said.content.data;

    if (said.content.len != wire->rest) {
        return NGX_ERROR;
    }

    if (said.content.len > NGX_BROADCAST_WAL_LARGEST) {
        ngx_broadcast_wal_batch_left_out(1);
        return NGX_OK;
    }

    wire->text.len = 0;
    wire->text.data = ngx_alloc(said.content.len, ngx_broadcast_pg.log);
    if (wire->text.data == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_utf8_init(&wire->utf8);

    return NGX_OK;
}


/* so much more of what is taken, where it belongs, or of what is not */

static ngx_int_t
ngx_broadcast_wal_wire_rest(u_char *p, size_t size)
{
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    wire->rest -= size;

    if (wire->text.data == NULL) {
        return NGX_OK;
    }

    wire->text.len += size;

    if (memchr(p, '\0', size)
        || ngx_broadcast_utf8_feed(&wire->utf8, p, size) != NGX_OK)
    {
        ngx_broadcast_wal_wire_drop();
        ngx_broadcast_wal_batch_left_out(1);
        return NGX_OK;
    }

    return wire->rest ? NGX_OK : ngx_broadcast_wal_wire_taken();
}


static ngx_int_t
ngx_broadcast_wal_wire_taken(void)
{
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    if (ngx_broadcast_utf8_finish(&wire->utf8) != NGX_OK) {
        ngx_broadcast_wal_wire_drop();
        ngx_broadcast_wal_batch_left_out(1);
        return NGX_OK;
    }

    if (ngx_broadcast_wal_batch_give(&wire->text) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_null(&wire->text);

    return NGX_OK;
}


static void
ngx_broadcast_wal_wire_drop(void)
{
    ngx_broadcast_wal_wire_t  *wire = &ngx_broadcast_wal.wire;

    if (wire->text.data) {
        ngx_free(wire->text.data);
        ngx_str_null(&wire->text);
    }
}
