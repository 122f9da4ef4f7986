
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_rows.h"
#include "conn/ngx_broadcast_invoke.h"
#include "conn/ngx_broadcast_move.h"
#include "conn/ngx_broadcast_post.h"
#include "pg/ngx_broadcast_outbox.h"


/*
 * A record is matched and queued to all its connections at once, which is one
 * pointer for each of them, and the sockets are written afterwards from a list:
 * so the order of a connection is the log's, several records that were drained
 * in one turn leave in one call, and a long list yields to other events.
 */

/*
 * Pointers queued in a turn, about half a millisecond of work: a turn writes
 * 256 sockets, which takes longer, and what a socket is given in one call is
 * what turns before had queued.  A large frame counts as several, so that with
 * more than 256 clients some 128 kilobytes wait for one between two writes,
 * far from what a queue may hold.
 */

#define NGX_BROADCAST_FANOUT_TURN   32768
#define NGX_BROADCAST_FANOUT_LARGE  1024    /* bytes */

/* with its position, and without */

#define NGX_BROADCAST_FORMS                                                   \
    (NGX_BROADCAST_PROTOCOLS * NGX_BROADCAST_FRAMES * 2)


/* a record on its way to its connections: its frames, made as needed */

typedef struct {
    ngx_broadcast_record_t   *rec;          /* borrowed */
    ngx_broadcast_frame_t    *frames[NGX_BROADCAST_FORMS];
    ngx_uint_t                queued;
} ngx_broadcast_spread_t;


static void ngx_broadcast_fanout_apply(ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_message(ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_spread(ngx_broadcast_conn_t *bc, void *data);
static ngx_broadcast_frame_t *ngx_broadcast_fanout_frame(
    ngx_broadcast_conn_t *bc, ngx_broadcast_record_t *rec, ngx_uint_t tells);
static void ngx_broadcast_fanout_join(ngx_broadcast_conn_t *bc, void *data);
static void ngx_broadcast_fanout_leave(ngx_broadcast_conn_t *bc, void *data);
static void ngx_broadcast_fanout_close(ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_condemn(ngx_broadcast_conn_t *bc,
    void *data);
static void ngx_broadcast_fanout_one(ngx_broadcast_record_t *rec);


ngx_uint_t                    ngx_broadcast_fanout_turn;

/* the one connection that a record is for, which all others had; or NULL */

static ngx_broadcast_conn_t  *ngx_broadcast_fanout_only;
static uint64_t               ngx_broadcast_fanout_offset;


ngx_int_t
ngx_broadcast_fanout_record(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_fanout_offset = rec->log;

    if (rec->mark) {
        ngx_broadcast_outbox_seen(rec);
    }

    switch (rec->type) {

    case NGX_BROADCAST_REC_MOVE:
        ngx_broadcast_move_asked(rec);
        break;

    case NGX_BROADCAST_REC_STATE:
        ngx_broadcast_move_arrived(rec);
        break;

    case NGX_BROADCAST_REC_ANSWER:
        ngx_broadcast_invoke_answer(rec);
        break;

    case NGX_BROADCAST_REC_DONE:
        ngx_broadcast_call_done(rec);
        break;

    case NGX_BROADCAST_REC_FLOW:
        ngx_broadcast_rows_flow(rec);
        break;

    case NGX_BROADCAST_REC_TAKEN:
        ngx_broadcast_post_told(rec);
        break;

    default:
        ngx_broadcast_fanout_apply(rec);
        break;
    }

    ngx_broadcast_fanout_offset = rec->log + ngx_broadcast_record_size(rec);

    if (ngx_broadcast_fanout_turn >= NGX_BROADCAST_FANOUT_TURN) {
        ngx_broadcast_fanout_turn = 0;
        return NGX_AGAIN;
    }

    return NGX_OK;
}


uint64_t
ngx_broadcast_fanout_matched(void)
{
    return ngx_broadcast_fanout_offset;
}


void
ngx_broadcast_fanout_again(ngx_broadcast_record_t *rec,
    ngx_broadcast_conn_t *bc)
{
    if (rec->hub != bc->hub->index || bc->state >= NGX_BROADCAST_CLOSING) {
        return;
    }

    ngx_broadcast_fanout_only = bc;
    ngx_broadcast_fanout_apply(rec);
    ngx_broadcast_fanout_only = NULL;
}


static void
ngx_broadcast_fanout_apply(ngx_broadcast_record_t *rec)
{
    switch (rec->type) {

    case NGX_BROADCAST_REC_MESSAGE:
        ngx_broadcast_fanout_message(rec);
        break;

    case NGX_BROADCAST_REC_JOIN:
        ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_only,
                                  ngx_broadcast_fanout_join, &rec->group);
        break;

    case NGX_BROADCAST_REC_LEAVE:
        ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_only,
                                  ngx_broadcast_fanout_leave, &rec->group);
        break;

    case NGX_BROADCAST_REC_CLOSE:
        ngx_broadcast_fanout_close(rec);
        break;

    case NGX_BROADCAST_REC_GAP:
        ngx_broadcast_fanout_gap(rec, ngx_broadcast_fanout_only);
        break;

    case NGX_BROADCAST_REC_EPOCH:
        ngx_broadcast_fanout_epoch(rec, ngx_broadcast_fanout_only);
        break;

    case NGX_BROADCAST_REC_INPUT:
        ngx_broadcast_post_input(rec, ngx_broadcast_fanout_only);
        break;

    case NGX_BROADCAST_REC_DELETE:
    case NGX_BROADCAST_REC_COMPLETION:
    case NGX_BROADCAST_REC_INVOKE:
    case NGX_BROADCAST_REC_FORGET:
    case NGX_BROADCAST_REC_ITEM:
    case NGX_BROADCAST_REC_COMPLETE:
        ngx_broadcast_fanout_one(rec);
        break;
    }
}


static void
ngx_broadcast_fanout_message(ngx_broadcast_record_t *rec)
{
    ngx_uint_t               i;
    ngx_broadcast_local_t   *hub;
    ngx_broadcast_spread_t   spread;

    hub = ngx_broadcast_index_hub(rec->hub);

    if (hub == NULL) {
        return;
    }

    if (hub->count) {
        ngx_memzero(&spread, sizeof(ngx_broadcast_spread_t));
        spread.rec = rec;

        ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_only,
                                  ngx_broadcast_fanout_spread, &spread);

        for (i = 0; i < NGX_BROADCAST_FORMS; i++) {
            if (spread.frames[i]) {
                ngx_broadcast_frame_free(spread.frames[i]);
            }
        }
    }

    if (!(rec->flags & NGX_BROADCAST_REC_UNNUMBERED)
        && rec->log >= hub->log
        && ngx_broadcast_fanout_only == NULL)
    {
        hub->position = rec->position;
        hub->log = rec->log;
    }
}


static void
ngx_broadcast_fanout_spread(ngx_broadcast_conn_t *bc, void *data)
{
    ngx_broadcast_spread_t *spread = data;

    ngx_uint_t                form, tells;
    ngx_broadcast_frame_t   **frame;
    ngx_broadcast_record_t   *rec;

    if (!bc->live || bc->verdict) {
        return;
    }

    rec = spread->rec;
    tells = bc->tells && !(rec->flags & NGX_BROADCAST_REC_UNNUMBERED);

    form = bc->protocol * NGX_BROADCAST_FRAMES + bc->framing;
    frame = &spread->frames[form * 2 + tells];

    if (*frame == NULL) {
        *frame = ngx_broadcast_fanout_frame(bc, rec, tells);

        if (*frame == NULL) {

            /* it would miss a message: it must know */

            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
            return;
        }
    }

    ngx_broadcast_fanout_turn += 1 + (*frame)->len / NGX_BROADCAST_FANOUT_LARGE;

    if (bc->resume && ngx_broadcast_resume_hold(bc, *frame, rec)) {
        return;
    }

    if (tells) {
        *bc->told = rec->position;
    }

    ngx_broadcast_conn_queue(bc, *frame);
}


static ngx_broadcast_frame_t *
ngx_broadcast_fanout_frame(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec, ngx_uint_t tells)
{
    u_char     buf[NGX_BROADCAST_POSITION_LEN];
    ngx_str_t  position;

    if (!tells) {
        return ngx_broadcast_frame_message(bc->protocol, bc->framing, rec);
    }

    position.data = buf;
    position.len = ngx_broadcast_position_print(buf, &rec->position) - buf;

    return ngx_broadcast_frame_placed(bc->protocol, bc->framing, rec,
                                      &position);
}


static void
ngx_broadcast_fanout_join(ngx_broadcast_conn_t *bc, void *data)
{
    ngx_str_t *group = data;

    if (ngx_broadcast_index_join(bc, group) != NGX_OK) {

        /* a member that is none would miss messages in silence */

        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_bus.log, 0,
                      "broadcast connection could not join a group: "
                      "no memory left in \"broadcast_zone\"");
        ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
    }
}


static void
ngx_broadcast_fanout_leave(ngx_broadcast_conn_t *bc, void *data)
{
    ngx_str_t *group = data;

    if (group->len) {
        ngx_broadcast_index_leave(bc, group);

    } else {
        ngx_broadcast_index_leave_all(bc);
    }
}


/* arguments of the record are the reason */

static void
ngx_broadcast_fanout_close(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_frame_t  *reason;

    reason = NULL;

    if (rec->arguments.len) {
        reason = ngx_broadcast_frame_bytes(rec->arguments.data,
                                           rec->arguments.len);
    }

    ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_only,
                              ngx_broadcast_fanout_condemn, reason);

    if (reason) {
        ngx_broadcast_frame_free(reason);
    }
}


static void
ngx_broadcast_fanout_condemn(ngx_broadcast_conn_t *bc, void *data)
{
    ngx_broadcast_fanout_turn++;
    ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_COMMAND, data);
}


/* records for one connection; they may end it: nothing is touched after them */

static void
ngx_broadcast_fanout_one(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_conn_t  *bc;

    bc = ngx_broadcast_index_find(&rec->name);

    if (bc == NULL
        || bc->verdict
        || (ngx_broadcast_fanout_only && bc != ngx_broadcast_fanout_only))
    {
        return;
    }

    switch (rec->type) {

    case NGX_BROADCAST_REC_DELETE:

        /* its last words need not wait for a poll any more */

        if (bc->state == NGX_BROADCAST_CLOSING) {
            bc->transport->destroy(bc);
            ngx_broadcast_conn_closed(bc, bc->end);
            break;
        }

        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_CLIENT, 0, NULL);
        break;

    case NGX_BROADCAST_REC_COMPLETION:
        if (bc->state == NGX_BROADCAST_ACTIVE) {
            ngx_broadcast_conn_queue_records(bc, &rec->arguments);
        }

        break;

    default:
        if (bc->state == NGX_BROADCAST_ACTIVE
            && bc->hub->index == rec->hub
            && bc->protocol != NGX_BROADCAST_PLAIN)
        {
            ngx_broadcast_invocation_record(bc, rec);

        } else if (rec->type == NGX_BROADCAST_REC_INVOKE) {
            ngx_broadcast_invoke_reply(rec->hub, &rec->name, &rec->group,
                                       bc->protocol == NGX_BROADCAST_PLAIN
                                       ? NGX_BROADCAST_INVOKE_PLAIN
                                       : bc->state < NGX_BROADCAST_ACTIVE
                                       ? NGX_BROADCAST_INVOKE_EARLY
                                       : NGX_BROADCAST_INVOKE_GONE, NULL);
        }

        break;
    }
}
