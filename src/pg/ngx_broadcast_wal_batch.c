
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "base/ngx_broadcast_utf8.h"
#include "pg/ngx_broadcast_pg_array.h"
#include "pg/ngx_broadcast_wal_local.h"


/*
 * What came from the WAL is numbered over the relay's session, which holds the
 * lock: broadcast.sequence_wal() numbers and says in the same transaction how
 * far it came, so what comes once more is passed over.  It may take less than
 * it was given: a commit that others cannot see yet is waited for.
 *
 * Who may call pg_logical_emit_message() may send anything under our prefix.
 * What cannot be one of ours is left out here; whether it is one is told by
 * its seal, there.  Hundreds of megabytes would not be there before the session
 * is given up for its silence, and come again, for ever.
 */


static void ngx_broadcast_wal_batch_free(ngx_broadcast_wal_batch_t *batch);
static ngx_int_t ngx_broadcast_wal_batch_begin(void);
static void ngx_broadcast_wal_batch_put(ngx_str_t *text);
static void ngx_broadcast_wal_batch_forget(void *data);
static ngx_uint_t ngx_broadcast_wal_batch_idle(void);
static ngx_int_t ngx_broadcast_wal_batch_texts(void);
static void ngx_broadcast_wal_batch_numbered(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result);
static void ngx_broadcast_wal_batch_taken(ngx_uint_t taken);
static void ngx_broadcast_wal_batch_done(void);
static ngx_uint_t ngx_broadcast_wal_batch_fault(PGresult *result);
static void ngx_broadcast_wal_batch_again(ngx_event_t *ev);


void
ngx_broadcast_wal_batch_init(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    wal->query.data = NULL;

    wal->again.handler = ngx_broadcast_wal_batch_again;
    wal->again.data = wal;
    wal->again.log = ngx_broadcast_pg.log;
    wal->again.cancelable = 1;

    ngx_broadcast_wal_batch_clear();
}


void
ngx_broadcast_wal_batch_clear(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    ngx_broadcast_wal_batch_free(&wal->batch[0]);
    ngx_broadcast_wal_batch_free(&wal->batch[1]);

    wal->coming = &wal->batch[0];
    wal->going = &wal->batch[1];

    wal->stale = wal->query.data != NULL;
    wal->first = 0;
    wal->count = 0;
    wal->most = NGX_BROADCAST_WAL_MESSAGES;
    wal->pause = 0;
    wal->paused = 0;

    if (wal->again.timer_set) {
        ngx_del_timer(&wal->again);
    }
}


static void
ngx_broadcast_wal_batch_free(ngx_broadcast_wal_batch_t *batch)
{
    if (batch->pool) {
        ngx_destroy_pool(batch->pool);
    }

    ngx_memzero(batch, sizeof(ngx_broadcast_wal_batch_t));
}


ngx_uint_t
ngx_broadcast_wal_batch_full(void)
{
    ngx_broadcast_wal_batch_t  *batch = ngx_broadcast_wal.coming;

    return batch->n == NGX_BROADCAST_WAL_MESSAGES
           || batch->bytes >= NGX_BROADCAST_WAL_BYTES;
}


ngx_int_t
ngx_broadcast_wal_batch_add(ngx_str_t *content)
{
    u_char      *p;
    ngx_str_t    text;
    ngx_uint_t   beat;

    /* what only wants to be read: an empty message moves the cursor */

    text = *content;

    beat = text.len == sizeof(NGX_BROADCAST_WAL_BEAT) - 1
           && ngx_memcmp(text.data, NGX_BROADCAST_WAL_BEAT, text.len) == 0;

    if (beat) {
        text.len = 0;

    } else if (text.len < NGX_BROADCAST_WAL_HEAD
               || ngx_strlchr(text.data, text.data + text.len, '\0')
               || !ngx_broadcast_utf8_valid(&text))
    {
        ngx_broadcast_wal_batch_left_out(1);
        return NGX_OK;
    }

    if (ngx_broadcast_wal_batch_begin() != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(ngx_broadcast_wal.coming->pool, text.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, text.data, text.len);
    text.data = p;

    ngx_broadcast_wal_batch_put(&text);

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_wal_batch_give(ngx_str_t *text)
{
    ngx_pool_cleanup_t  *cln;

    if (ngx_broadcast_wal_batch_begin() != NGX_OK) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(ngx_broadcast_wal.coming->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_broadcast_wal_batch_forget;
    cln->data = text->data;

    ngx_broadcast_wal_batch_put(text);

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_wal_batch_begin(void)
{
    ngx_broadcast_wal_batch_t  *batch = ngx_broadcast_wal.coming;

    if (batch->messages) {
        return NGX_OK;
    }

    if (batch->pool == NULL) {
        batch->pool = ngx_create_pool(16384, ngx_broadcast_pg.log);
        if (batch->pool == NULL) {
            return NGX_ERROR;
        }
    }

    batch->messages = ngx_palloc(batch->pool,
                                 NGX_BROADCAST_WAL_MESSAGES
                                 * sizeof(ngx_broadcast_wal_message_t));

    return batch->messages ? NGX_OK : NGX_ERROR;
}


static void
ngx_broadcast_wal_batch_put(ngx_str_t *text)
{
    ngx_broadcast_wal_t          *wal = &ngx_broadcast_wal;
    ngx_broadcast_wal_batch_t    *batch = wal->coming;
    ngx_broadcast_wal_message_t  *message;

    message = &batch->messages[batch->n++];

    message->text = *text;
    message->commit = wal->commit;
    message->n = wal->n;
    message->xid = wal->xid;

    batch->bytes += text->len;
}


static void
ngx_broadcast_wal_batch_forget(void *data)
{
    ngx_free(data);
}


void
ngx_broadcast_wal_batch_left_out(ngx_uint_t n)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    ngx_broadcast_count(NGX_BROADCAST_WAL_LEFT_OUT, n);

    if (wal->logged != ngx_time()) {
        wal->logged = ngx_time();

        ngx_log_error(NGX_LOG_WARN, ngx_broadcast_pg.log, 0,
                      "broadcast: left out what stands in the WAL under the "
                      "prefix \"" NGX_BROADCAST_WAL_PREFIX "\" and was not "
                      "sent by the schema");
    }
}


void
ngx_broadcast_wal_batch_upto(uint64_t lsn)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    wal->coming->upto = ngx_max(wal->coming->upto, lsn);

    if (wal->coming->n == 0 && wal->going->n == 0) {
        wal->numbered = ngx_max(wal->numbered, lsn);
    }
}


void
ngx_broadcast_wal_batch_ready(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->coming->n || wal->going->n || ngx_broadcast_wal_batch_idle()) {
        ngx_broadcast_relay_turn();
    }
}


/*
 * 1: much was written that is not for us, or little a while ago.  The
 * database has to know before it is confirmed: a slot that is further than
 * that was not moved by us, and messages may have been lost.
 */

static ngx_uint_t
ngx_broadcast_wal_batch_idle(void)
{
    uint64_t              since;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    if (wal->state != NGX_BROADCAST_WAL_READING
        || wal->coming->n || wal->going->n || wal->numbered <= wal->recorded)
    {
        return 0;
    }

    since = ngx_current_msec - wal->recorded_at;

    return (wal->numbered - wal->recorded >= NGX_BROADCAST_WAL_IDLE_BYTES
            && since >= NGX_BROADCAST_RELAY_POLL)
           || since >= NGX_BROADCAST_WAL_IDLE_TIME;
}


ngx_int_t
ngx_broadcast_wal_turn(void)
{
    ngx_broadcast_wal_t        *wal = &ngx_broadcast_wal;
    ngx_broadcast_wal_batch_t  *batch;

    if (!wal->leading) {
        return NGX_DECLINED;
    }

    if (!wal->planned || wal->query.data) {
        return NGX_AGAIN;
    }

    if (wal->going->n == 0 && wal->coming->n) {
        batch = wal->going;
        wal->going = wal->coming;
        wal->coming = batch;

        wal->first = 0;
        wal->pause = 0;
    }

    if (wal->again.timer_set
        || (wal->going->n == 0 && !ngx_broadcast_wal_batch_idle()))
    {
        return wal->gate ? NGX_AGAIN : NGX_DECLINED;
    }

    if (ngx_broadcast_wal_batch_texts() != NGX_OK) {
        ngx_add_timer(&wal->again, NGX_BROADCAST_WAL_BUSY);
        return NGX_AGAIN;
    }

    wal->query.data = wal;

    ngx_broadcast_relay_send(&wal->query, NGX_BROADCAST_PG_SEQUENCE_WAL, NULL,
                             ngx_broadcast_wal_batch_numbered);

    if (wal->paused && !ngx_broadcast_wal_batch_full()) {
        wal->paused = 0;
        ngx_broadcast_pg_conn_resume(&wal->conn);
    }

    return NGX_OK;
}


/* of the next `most` messages, or of none: only how far it is read */

static ngx_int_t
ngx_broadcast_wal_batch_texts(void)
{
    u_char                        lsn[24];
    size_t                        bytes;
    uint64_t                      upto;
    ngx_str_t                     text;
    ngx_uint_t                    i, k;
    ngx_broadcast_wal_t          *wal = &ngx_broadcast_wal;
    ngx_broadcast_pg_array_t      a[4];
    ngx_broadcast_wal_message_t  *message;

    wal->count = ngx_min(wal->going->n - wal->first, wal->most);

    if (wal->texts == NULL) {
        wal->texts = ngx_create_pool(16384, ngx_broadcast_pg.log);
        if (wal->texts == NULL) {
            return NGX_ERROR;
        }
    }

    bytes = wal->going->bytes + wal->going->bytes / 8;

    for (k = 0; k < 4; k++) {
        ngx_broadcast_pg_array_init(&a[k], wal->texts,
                                    wal->count * 24 + (k == 3 ? bytes : 0));
    }

    for (i = wal->first; i < wal->first + wal->count; i++) {
        message = &wal->going->messages[i];

        text.data = lsn;
        text.len = ngx_sprintf(lsn, "%XD/%XD",
                               (uint32_t) (message->commit >> 32),
                               (uint32_t) message->commit) - lsn;

        ngx_broadcast_pg_array_text(&a[0], &text);
        ngx_broadcast_pg_array_int(&a[1], message->n);
        ngx_broadcast_pg_array_int(&a[2], message->xid);

        if (message->text.data) {
            ngx_broadcast_pg_array_text(&a[3], &message->text);

        } else {
            ngx_broadcast_pg_array_null(&a[3]);
        }
    }

    for (k = 0; k < 4; k++) {
        wal->query.params[k] = ngx_broadcast_pg_array_done(&a[k]);

        if (wal->query.params[k] == NULL) {
            return NGX_ERROR;
        }
    }

    /* with the last of them all up to there is numbered */

    upto = 0;

    if (wal->first + wal->count == wal->going->n) {
        upto = wal->going->n ? wal->going->upto : wal->numbered;
    }

    wal->sent = upto;

    (void) ngx_sprintf((u_char *) wal->upto, "%XD/%XD%Z",
                       (uint32_t) (upto >> 32), (uint32_t) upto);

    wal->query.nparams = 5;
    wal->query.params[4] = wal->upto;

    return NGX_OK;
}


static void
ngx_broadcast_wal_batch_numbered(ngx_broadcast_pg_query_t *query,
    ngx_uint_t status, PGresult *result)
{
    ngx_uint_t            stale;
    ngx_int_t             left_out;
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    stale = wal->stale;

    query->data = NULL;
    wal->stale = 0;

    if (wal->texts) {
        ngx_destroy_pool(wal->texts);
        wal->texts = NULL;
    }

    if (status == NGX_BROADCAST_PG_FAILED && !stale && wal->count
        && ngx_broadcast_wal_batch_fault(result))
    {
        return;
    }

    if (!ngx_broadcast_relay_good(status, result,
                                  "broadcast.sequence_wal()"))
    {
        return;
    }

    /* the connection was lost meanwhile: what it gave will come again */

    if (stale) {
        return;
    }

    left_out = ngx_broadcast_pg_number(result, 0, 1);

    if (left_out > 0) {
        ngx_broadcast_wal_batch_left_out(left_out);
    }

    ngx_broadcast_relay.numbered = ngx_broadcast_pg_number(result, 0, 2);

    ngx_broadcast_wal_batch_taken(ngx_broadcast_pg_number(result, 0, 0));
}


/* less than were asked: a commit is not seen by others yet */

static void
ngx_broadcast_wal_batch_taken(ngx_uint_t taken)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    wal->first += taken;
    wal->most = ngx_min(wal->most * 2, NGX_BROADCAST_WAL_MESSAGES);

    if (taken < wal->count) {
        wal->pause = wal->pause ? ngx_min(wal->pause * 2, 100)
                                : NGX_BROADCAST_WAL_VISIBLE;
        ngx_add_timer(&wal->again, wal->pause);
        return;
    }

    wal->pause = 0;

    if (wal->first == wal->going->n) {
        ngx_broadcast_wal_batch_done();
    }

    if (wal->going->n || wal->coming->n) {
        ngx_broadcast_relay.due = 1;
    }
}


static void
ngx_broadcast_wal_batch_done(void)
{
    ngx_broadcast_wal_t  *wal = &ngx_broadcast_wal;

    wal->numbered = ngx_max(wal->numbered, wal->sent);
    wal->recorded = ngx_max(wal->recorded, wal->sent);
    wal->recorded_at = ngx_current_msec;

    ngx_broadcast_wal_batch_free(wal->going);
    wal->first = 0;

    if (wal->coming->n == 0) {
        wal->numbered = ngx_max(wal->numbered, wal->coming->upto);
    }
}


/*
 * 1: one of the messages may be at fault, or all together are too much: asked
 * again with half of them; and the one that is left is left out.
 */

static ngx_uint_t
ngx_broadcast_wal_batch_fault(PGresult *result)
{
    ngx_str_t                     state;
    ngx_broadcast_wal_t          *wal = &ngx_broadcast_wal;
    ngx_broadcast_wal_message_t  *message;

    state = ngx_broadcast_pg_sqlstate(result);

    if (state.len != 5
        || (ngx_memcmp(state.data, "22", 2) != 0     /* data exception */
            && ngx_memcmp(state.data, "23", 2) != 0  /* constraint */
            && ngx_memcmp(state.data, "54", 2) != 0  /* limit */
            && !(wal->count > 1 && ngx_broadcast_pg_canceled(result))))
    {
        return 0;
    }

    message = &wal->going->messages[wal->first];

    if (wal->count == 1 && message->text.data == NULL) {
        return 0;
    }

    ngx_broadcast_count(NGX_BROADCAST_DB_ERRORS, 1);

    if (wal->count == 1) {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_pg.log, 0,
                      "broadcast: the database did not take a message of the "
                      "WAL, SQLSTATE %V", &state);

        message->text.data = NULL;

    } else {
        wal->most = wal->count / 2;
    }

    ngx_broadcast_relay.due = 1;

    return 1;
}


static void
ngx_broadcast_wal_batch_again(ngx_event_t *ev)
{
    ngx_broadcast_relay_turn();
}
