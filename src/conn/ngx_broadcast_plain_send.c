
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "base/ngx_broadcast_name.h"
#include "pg/ngx_broadcast_outbox.h"
#include "proto/ngx_broadcast_scan.h"


/*
 * What a plain WebSocket's client publishes: one message, of which it hears
 * only if it was not kept; or lines of them, all or none, which are answered.
 */


/* the connection that waits for its messages to be kept */

typedef struct {
    u_char                   lines;         /* 1: they are answered */
    u_char                   len;
    u_char                   id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_plain_sender_t;


static ngx_int_t ngx_broadcast_plain_records(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_str_t *text, ngx_array_t *records, ngx_uint_t *line,
    const char **error);
static const char *ngx_broadcast_plain_record(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_plain_frame_t *f,
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_plain_publish(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *recs, ngx_uint_t n, ngx_uint_t lines);
static void ngx_broadcast_plain_told(ngx_broadcast_sent_t *sent, void *data);
static void ngx_broadcast_plain_answer(ngx_broadcast_conn_t *bc,
    ngx_broadcast_sent_t *sent);
static void ngx_broadcast_plain_unsent(ngx_broadcast_conn_t *bc,
    ngx_uint_t lines, const char *why);


void
ngx_broadcast_plain_send(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_plain_frame_t *f)
{
    const char              *error;
    ngx_broadcast_record_t   rec;

    error = ngx_broadcast_plain_record(bc, pool, f, &rec);

    if (error) {
        ngx_broadcast_plain_refuse(bc, error);
        return;
    }

    ngx_broadcast_plain_publish(bc, &rec, 1, 0);
}


void
ngx_broadcast_plain_lines(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *text)
{
    ngx_int_t     rc;
    ngx_uint_t    line;
    ngx_array_t   records;
    const char   *error;

    line = 0;
    error = "no memory";

    rc = NGX_ERROR;

    if (ngx_array_init(&records, pool, 16, sizeof(ngx_broadcast_record_t))
        == NGX_OK)
    {
        rc = ngx_broadcast_plain_records(bc, pool, text, &records, &line,
                                         &error);
    }

    switch (rc) {

    case NGX_OK:
        ngx_broadcast_plain_publish(bc, records.elts, records.nelts, 1);
        return;

    case NGX_BUSY:
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_RATE, 0, NULL);
        return;

    default:
        ngx_broadcast_plain_refuse_line(bc, line, error);
        return;
    }
}


/*
 * All lines are looked at before the first is sent.  Each counts as a message
 * for broadcast_rate, the first one as the text: NGX_BUSY if that is exceeded.
 */

static ngx_int_t
ngx_broadcast_plain_records(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *text, ngx_array_t *records, ngx_uint_t *line,
    const char **error)
{
    ngx_int_t                     rc;
    ngx_str_t                     rest, one;
    ngx_broadcast_record_t       *rec;
    ngx_broadcast_plain_frame_t   f;

    rest = *text;

    while (ngx_broadcast_plain_line(&rest, &one, line) == NGX_OK) {

        if (records->nelts && ngx_broadcast_inbound_rate(bc) != NGX_OK) {
            return NGX_BUSY;
        }

        if (records->nelts == NGX_BROADCAST_BATCH_MAX) {
            ngx_broadcast_count(NGX_BROADCAST_REFUSED_SIZE, 1);
            *error = "too many messages at once";
            return NGX_ERROR;
        }

        rc = ngx_broadcast_plain_parse(&one, pool, &f, error);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        if (f.type != NGX_BROADCAST_PLAIN_SEND) {
            *error = "each of several lines has \"send\"";
            return NGX_ERROR;
        }

        rec = ngx_array_push(records);
        if (rec == NULL) {
            *error = "no memory";
            return NGX_ERROR;
        }

        *error = ngx_broadcast_plain_record(bc, pool, &f, rec);

        if (*error) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* NULL, or a sentence that says why it may not be sent */

static const char *
ngx_broadcast_plain_record(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_plain_frame_t *f, ngx_broadcast_record_t *rec)
{
    if (!ngx_broadcast_plain_may(bc, NGX_BROADCAST_MAY_SEND, "send.",
                                 &f->group))
    {
        return "the token does not allow to send to this group";
    }

    ngx_memzero(rec, sizeof(ngx_broadcast_record_t));

    rec->type = NGX_BROADCAST_REC_MESSAGE;
    rec->source = NGX_BROADCAST_SRC_CLIENT;
    rec->hub = bc->hub->index;
    rec->target = f->target;
    rec->arguments = f->arguments;

    if (f->group.len == 1 && f->group.data[0] == '*') {
        rec->scope = NGX_BROADCAST_ALL;

    } else {
        rec->scope = NGX_BROADCAST_GROUP;
        rec->name = f->group;

        if (ngx_broadcast_group_name(&rec->name) != NGX_OK) {
            return "the group name is not valid";
        }
    }

    if (ngx_broadcast_target(&rec->target) != NGX_OK) {
        return "the target is not valid";
    }

    if (ngx_broadcast_scan_one_line(&rec->arguments, pool) != NGX_OK) {
        return "no memory";
    }

    return NULL;
}


static void
ngx_broadcast_plain_publish(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *recs, ngx_uint_t n, ngx_uint_t lines)
{
    ngx_int_t                      rc;
    ngx_uint_t                     want;
    ngx_broadcast_sent_t           sent;
    ngx_broadcast_plain_sender_t   sender;

    sender.lines = (u_char) lines;
    sender.len = (u_char) bc->id.len;
    ngx_memcpy(sender.id, bc->id.data, bc->id.len);

    want = lines ? NGX_BROADCAST_NUMBERED : NGX_BROADCAST_KEPT;

    rc = ngx_broadcast_outbox_send(recs, n, want, NULL, &sent,
                                   ngx_broadcast_plain_told, &sender,
                                   sizeof(ngx_broadcast_plain_sender_t), NULL);

    switch (rc) {

    case NGX_AGAIN:
        return;

    case NGX_OK:
        if (lines) {
            ngx_broadcast_plain_answer(bc, &sent);
        }

        return;

    case NGX_DECLINED:
        ngx_broadcast_plain_unsent(bc, lines, "the database is away");
        return;

    default:
        ngx_broadcast_plain_unsent(bc, lines, lines ? "they do not fit now"
                                                    : "it does not fit now");
        return;
    }
}


static void
ngx_broadcast_plain_told(ngx_broadcast_sent_t *sent, void *data)
{
    ngx_broadcast_plain_sender_t  *sender = data;

    ngx_str_t              id;
    ngx_broadcast_conn_t  *bc;

    id.data = sender->id;
    id.len = sender->len;

    bc = ngx_broadcast_index_find(&id);

    if (bc == NULL) {
        return;
    }

    switch (sent->status) {

    case NGX_BROADCAST_SENT:
    case NGX_BROADCAST_SENT_UNNUMBERED:
        if (sender->lines) {
            ngx_broadcast_plain_answer(bc, sent);
        }

        break;

    case NGX_BROADCAST_SENT_UNKNOWN:
        ngx_broadcast_plain_refuse(bc, sender->lines
                                   ? "the database broke off: it is not "
                                     "known whether the messages were kept"
                                   : "the database broke off: it is not "
                                     "known whether the message was kept");
        break;

    case NGX_BROADCAST_NOT_FIT:
        ngx_broadcast_plain_unsent(bc, sender->lines,
                                   sender->lines ? "they do not fit"
                                                 : "it does not fit");
        break;

    default:
        ngx_broadcast_plain_unsent(bc, sender->lines, NULL);
        break;
    }
}


/* {"id","count"}, the last one's id; without it where that is late */

static void
ngx_broadcast_plain_answer(ngx_broadcast_conn_t *bc,
    ngx_broadcast_sent_t *sent)
{
    u_char     *end, buf[NGX_BROADCAST_POSITION_LEN + 64],
                position[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t   id, text;

    ngx_str_null(&id);

    if (sent->status == NGX_BROADCAST_SENT && sent->position.epoch) {
        id.data = position;
        id.len = ngx_broadcast_position_print(position, &sent->position)
                 - position;
    }

    end = ngx_broadcast_plain_sent_write(buf, &id, sent->count);

    text.data = buf;
    text.len = end - buf;

    ngx_broadcast_conn_queue_text(bc, &text);
}


static void
ngx_broadcast_plain_unsent(ngx_broadcast_conn_t *bc, ngx_uint_t lines,
    const char *why)
{
    u_char  buf[128];

    *ngx_snprintf(buf, sizeof(buf) - 1, "%s not kept%s%s",
                  lines ? "the messages were" : "the message was",
                  why ? ": " : "", why ? why : "")
        = '\0';

    ngx_broadcast_plain_refuse(bc, (char *) buf);
}
