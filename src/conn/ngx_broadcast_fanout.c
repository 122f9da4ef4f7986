
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

#define NGX_BROADCAST_FANOUT_AHEAD  8       /* connections fetched from memory
                                               at once */

/* with its position, and without */

#define NGX_BROADCAST_FORMS                                                   \
    (NGX_BROADCAST_PROTOCOLS * NGX_BROADCAST_FRAMES * 2)


/* a record on its way to its connections: its frames, made as needed */

typedef struct {
    ngx_broadcast_record_t   *rec;          /* borrowed */
    ngx_broadcast_frame_t    *frames[NGX_BROADCAST_FORMS];
    ngx_uint_t                queued;
} ngx_broadcast_spread_t;


/* what is done with each connection of a scope */

typedef void (*ngx_broadcast_each_pt)(ngx_broadcast_conn_t *bc, void *data);


static void ngx_broadcast_fanout_apply(ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_each(ngx_broadcast_record_t *rec,
    ngx_broadcast_each_pt each, void *data);
static void ngx_broadcast_fanout_all(ngx_broadcast_record_t *rec,
    ngx_broadcast_local_t *hub, ngx_broadcast_each_pt each, void *data);
static void ngx_broadcast_fanout_list(ngx_broadcast_record_t *rec,
    ngx_queue_t *list, ngx_str_t *but, ngx_broadcast_each_pt each, void *data);
static ngx_uint_t ngx_broadcast_fanout_meant(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_message(ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_spread(ngx_broadcast_conn_t *bc, void *data);
static ngx_broadcast_frame_t *ngx_broadcast_fanout_frame(
    ngx_broadcast_conn_t *bc, ngx_broadcast_record_t *rec, ngx_uint_t tells);
static void ngx_broadcast_fanout_join(ngx_broadcast_conn_t *bc, void *data);
static void ngx_broadcast_fanout_leave(ngx_broadcast_conn_t *bc, void *data);
static void ngx_broadcast_fanout_close(ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_condemn(ngx_broadcast_conn_t *bc,
    void *data);
static void ngx_broadcast_fanout_gap(ngx_broadcast_local_t *hub,
    ngx_broadcast_position_t *from);
static void ngx_broadcast_fanout_epoch(ngx_broadcast_record_t *rec);
static void ngx_broadcast_fanout_missed(ngx_broadcast_local_t *hub,
    ngx_broadcast_record_t *rec);
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
    ngx_broadcast_local_t  *hub;

    switch (rec->type) {

    case NGX_BROADCAST_REC_MESSAGE:
        ngx_broadcast_fanout_message(rec);
        break;

    case NGX_BROADCAST_REC_JOIN:
        ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_join, &rec->group);
        break;

    case NGX_BROADCAST_REC_LEAVE:
        ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_leave,
                                  &rec->group);
        break;

    case NGX_BROADCAST_REC_CLOSE:
        ngx_broadcast_fanout_close(rec);
        break;

    case NGX_BROADCAST_REC_GAP:
        hub = ngx_broadcast_index_hub(rec->hub);

        if (hub) {
            if (ngx_broadcast_fanout_only == NULL) {
                ngx_broadcast_fanout_gap(hub, &hub->position);
            }

            /* raw NOTIFY takes no number: nothing that was kept is missing */

            if (!(rec->flags & NGX_BROADCAST_REC_UNNUMBERED)) {
                ngx_broadcast_fanout_missed(hub, rec);
            }
        }

        break;

    case NGX_BROADCAST_REC_EPOCH:
        ngx_broadcast_fanout_epoch(rec);
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


/*
 * Calls each() for the connections of the record's scope that were there when
 * it was appended.  each() may change groups of its connection, but neither
 * end nor free one: who must go is condemned, and goes with the flush.
 */

static void
ngx_broadcast_fanout_each(ngx_broadcast_record_t *rec,
    ngx_broadcast_each_pt each, void *data)
{
    ngx_queue_t            *list;
    ngx_broadcast_conn_t   *bc;
    ngx_broadcast_local_t  *hub;

    hub = ngx_broadcast_index_hub(rec->hub);

    if (hub == NULL || hub->count == 0) {
        return;
    }

    if (ngx_broadcast_fanout_only) {

        if (ngx_broadcast_fanout_meant(ngx_broadcast_fanout_only, rec)) {
            each(ngx_broadcast_fanout_only, data);
        }

        return;
    }

    switch (rec->scope) {

    case NGX_BROADCAST_ALL:
        ngx_broadcast_fanout_all(rec, hub, each, data);
        return;

    case NGX_BROADCAST_USER:
        list = ngx_broadcast_index_user(rec->hub, &rec->name);
        break;

    case NGX_BROADCAST_GROUP:
        list = ngx_broadcast_index_group(rec->hub, &rec->name);
        break;

    default:
        bc = ngx_broadcast_index_find(&rec->name);

        if (bc && bc->hub == hub && bc->start <= rec->log) {
            each(bc, data);
        }

        return;
    }

    ngx_broadcast_fanout_list(rec, list, NULL, each, data);

    if (rec->scope == NGX_BROADCAST_GROUP && rec->group.len) {
        list = ngx_broadcast_index_group(rec->hub, &rec->group);
        ngx_broadcast_fanout_list(rec, list, &rec->name, each, data);
    }
}


static void
ngx_broadcast_fanout_all(ngx_broadcast_record_t *rec,
    ngx_broadcast_local_t *hub, ngx_broadcast_each_pt each, void *data)
{
    ngx_uint_t             i;
    ngx_broadcast_conn_t  *bc;

    for (i = 0; i < hub->count; i++) {

        if (i + NGX_BROADCAST_FANOUT_AHEAD < hub->count) {
            ngx_broadcast_conn_near(hub->conns[i + NGX_BROADCAST_FANOUT_AHEAD]);
        }

        bc = hub->conns[i];

        if (bc->start > rec->log
            || (rec->excluded.len
                && ngx_broadcast_record_excludes(rec, &bc->id)))
        {
            continue;
        }

        each(bc, data);
    }
}


/* but: a group whose members had their turn already, or NULL */

static void
ngx_broadcast_fanout_list(ngx_broadcast_record_t *rec, ngx_queue_t *list,
    ngx_str_t *but, ngx_broadcast_each_pt each, void *data)
{
    ngx_queue_t             *q, *next;
    ngx_broadcast_conn_t    *bc;
    ngx_broadcast_joined_t  *joined;

    if (list == NULL) {
        return;
    }

    for (q = ngx_queue_head(list); q != list; q = next) {
        next = ngx_queue_next(q);

        if (rec->scope == NGX_BROADCAST_USER) {
            bc = ngx_queue_data(q, ngx_broadcast_conn_t, same);

        } else {
            joined = ngx_queue_data(q, ngx_broadcast_joined_t, link);
            bc = joined->conn;
        }

        if (bc->start > rec->log
            || (rec->excluded.len
                && ngx_broadcast_record_excludes(rec, &bc->id))
            || (but && ngx_broadcast_index_member(bc, but)))
        {
            continue;
        }

        each(bc, data);
    }
}


/* the same question as the lists answer, for one connection of the hub */

static ngx_uint_t
ngx_broadcast_fanout_meant(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    switch (rec->scope) {

    case NGX_BROADCAST_ALL:
        break;

    case NGX_BROADCAST_USER:
        if (bc->user == NULL
            || bc->user->len != rec->name.len
            || ngx_memcmp(bc->user->data, rec->name.data, rec->name.len) != 0)
        {
            return 0;
        }

        break;

    case NGX_BROADCAST_GROUP:
        if (!ngx_broadcast_index_meant(bc, rec)) {
            return 0;
        }

        break;

    default:
        return rec->name.len == bc->id.len
               && ngx_memcmp(rec->name.data, bc->id.data, bc->id.len) == 0;
    }

    return rec->excluded.len == 0
           || !ngx_broadcast_record_excludes(rec, &bc->id);
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

        ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_spread, &spread);

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

    ngx_broadcast_fanout_each(rec, ngx_broadcast_fanout_condemn, reason);

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


/* plain subscribers missed something that nobody can count */

static void
ngx_broadcast_fanout_gap(ngx_broadcast_local_t *hub,
    ngx_broadcast_position_t *from)
{
    ngx_str_t                  none;
    ngx_uint_t                 i, n;
    ngx_broadcast_conn_t      *bc;
    ngx_broadcast_frame_t     *frames[NGX_BROADCAST_FRAMES];
    ngx_broadcast_position_t   oldest;

    ngx_memzero(frames, sizeof(frames));
    ngx_str_null(&none);

    ngx_broadcast_log_oldest(ngx_broadcast_bus.zone, hub->index, &oldest);

    for (n = 0; n < hub->count; n++) {
        bc = hub->conns[n];

        if (bc->protocol != NGX_BROADCAST_PLAIN || bc->verdict) {
            continue;
        }

        if (frames[bc->framing] == NULL) {
            frames[bc->framing] = ngx_broadcast_frame_gap(bc->protocol,
                                                          bc->framing, &none,
                                                          &oldest, from);
            if (frames[bc->framing] == NULL) {
                ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_ERROR, NULL);
                continue;
            }
        }

        ngx_broadcast_count(NGX_BROADCAST_GAPS, 1);

        if (bc->resume
            && ngx_broadcast_resume_hold(bc, frames[bc->framing], NULL))
        {
            continue;
        }

        ngx_broadcast_conn_queue(bc, frames[bc->framing]);
    }

    for (i = 0; i < NGX_BROADCAST_FRAMES; i++) {
        if (frames[i]) {
            ngx_broadcast_frame_free(frames[i]);
        }
    }
}


static void
ngx_broadcast_fanout_epoch(ngx_broadcast_record_t *rec)
{
    ngx_broadcast_local_t  *hub;

    hub = ngx_broadcast_index_hub(rec->hub);

    if (hub == NULL) {
        return;
    }

    if (ngx_broadcast_fanout_only) {
        ngx_broadcast_fanout_missed(hub, rec);
        return;
    }

    if (rec->log < hub->log) {
        return;
    }

    hub->position = rec->position;
    hub->log = rec->log;

    ngx_broadcast_fanout_gap(hub, &hub->position);
    ngx_broadcast_fanout_missed(hub, rec);
}


/*
 * SignalR has no word for a message that is missing: its clients are closed,
 * with reconnect allowed, and never left in silence.
 */

static void
ngx_broadcast_fanout_missed(ngx_broadcast_local_t *hub,
    ngx_broadcast_record_t *rec)
{
    ngx_uint_t             n;
    ngx_broadcast_conn_t  *bc;

    if (ngx_broadcast_fanout_only) {
        ngx_broadcast_conn_condemn(ngx_broadcast_fanout_only,
                                   NGX_BROADCAST_END_OVERRUN, NULL);
        return;
    }

    for (n = 0; n < hub->count; n++) {
        bc = hub->conns[n];

        if (bc->protocol != NGX_BROADCAST_PLAIN && bc->start <= rec->log) {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_OVERRUN, NULL);
        }
    }
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


/*
 * Nobody knows what the clients missed: SignalR clients come again, plain ones
 * are told and go on from the oldest record that is left.
 */

void
ngx_broadcast_fanout_overrun(void)
{
    ngx_uint_t                i;
    ngx_broadcast_conn_t     *bc;
    ngx_broadcast_local_t    *hub;
    ngx_broadcast_position_t  from;

    ngx_broadcast_invoke_overrun();
    ngx_broadcast_post_overrun();
    ngx_broadcast_rows_overrun();

    for (bc = ngx_broadcast_conn_next(NULL);
         bc;
         bc = ngx_broadcast_conn_next(bc))
    {
        if (bc->protocol != NGX_BROADCAST_PLAIN) {
            ngx_broadcast_conn_condemn(bc, NGX_BROADCAST_END_OVERRUN, NULL);
        }
    }

    ngx_broadcast_move_overrun();

    i = 0;

    for ( ;; ) {
        hub = ngx_broadcast_index_hub_next(&i);

        if (hub == NULL) {
            return;
        }

        ngx_broadcast_log_oldest(ngx_broadcast_bus.zone, hub->index, &from);

        if (from.epoch) {
            from.seq--;

        } else {
            ngx_broadcast_hub_position(ngx_broadcast_bus.zone, hub->index,
                                       &from);
        }

        hub->position = from;

        ngx_broadcast_fanout_gap(hub, &from);
    }
}
