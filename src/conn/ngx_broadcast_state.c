
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_invocation.h"
#include "conn/ngx_broadcast_keep.h"
#include "conn/ngx_broadcast_state.h"
#include "conn/ngx_broadcast_stateful.h"


#define NGX_BROADCAST_STATE_SIZE  sizeof(uint64_t)      /* of a number */

/* frames of the queue: behind the flag, how many messages count */

#define NGX_BROADCAST_STATE_SQL      0x01
#define NGX_BROADCAST_STATE_COUNTED  1          /* bits to the left */


/* what of the base part is no member of ngx_broadcast_open_t */

typedef struct {
    ngx_broadcast_open_t      open;
    ngx_uint_t                type;
    ngx_uint_t                state;
    ngx_uint_t                end;
    ngx_uint_t                keep;
    uint64_t                  heard;
    ngx_msec_t                since;
    ngx_msec_t                received;
    ngx_msec_t                sent;
    ngx_msec_t                counted;
    ngx_uint_t                excess;
} ngx_broadcast_state_base_t;


typedef struct {
    void                    (*put)(ngx_broadcast_buf_t *b,
                                   ngx_broadcast_conn_t *bc);

    /* NGX_OK, NGX_DECLINED: no such thing, NGX_ERROR: no memory */
    ngx_int_t               (*get)(ngx_broadcast_state_in_t *in,
                                   ngx_broadcast_conn_t *bc);
} ngx_broadcast_state_part_t;


static void ngx_broadcast_state_part(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc,
    void (*put)(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc));
static ngx_int_t ngx_broadcast_state_cut(ngx_broadcast_state_in_t *in,
    ngx_broadcast_state_in_t *part);
static void ngx_broadcast_state_put_base(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_state_get_base(ngx_broadcast_state_in_t *in,
    ngx_broadcast_state_base_t *base);
static void ngx_broadcast_state_put_groups(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_state_get_groups(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc);
static void ngx_broadcast_state_put_queue(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_state_get_queue(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc);
static void ngx_broadcast_state_put_input(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_state_get_input(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc);
static void ngx_broadcast_state_put_event(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc);
static ngx_int_t ngx_broadcast_state_get_event(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc);


/* behind the base part, in this order */

static const ngx_broadcast_state_part_t  ngx_broadcast_state_parts[] = {
    { ngx_broadcast_state_put_groups, ngx_broadcast_state_get_groups },
    { ngx_broadcast_state_put_queue, ngx_broadcast_state_get_queue },
    { ngx_broadcast_state_put_input, ngx_broadcast_state_get_input },
    { ngx_broadcast_state_put_event, ngx_broadcast_state_get_event },
    { ngx_broadcast_invocation_put, ngx_broadcast_invocation_got },
    { ngx_broadcast_stateful_put, ngx_broadcast_stateful_get },
    { ngx_broadcast_resume_put, ngx_broadcast_resume_get }
};

#define NGX_BROADCAST_STATE_PARTS                                             \
    (sizeof(ngx_broadcast_state_parts) / sizeof(ngx_broadcast_state_part_t))


void
ngx_broadcast_state_put(ngx_broadcast_buf_t *b, uint64_t n)
{
    ngx_broadcast_buf_append(b, (u_char *) &n, NGX_BROADCAST_STATE_SIZE);
}


void
ngx_broadcast_state_put_bytes(ngx_broadcast_buf_t *b, const u_char *data,
    size_t len)
{
    ngx_broadcast_state_put(b, len);

    if (len) {
        ngx_broadcast_buf_append(b, data, len);
    }
}


uint64_t
ngx_broadcast_state_get(ngx_broadcast_state_in_t *in)
{
    uint64_t  n;

    if ((size_t) (in->last - in->pos) < NGX_BROADCAST_STATE_SIZE) {
        in->failed = 1;
        return 0;
    }

    ngx_memcpy(&n, in->pos, NGX_BROADCAST_STATE_SIZE);
    in->pos += NGX_BROADCAST_STATE_SIZE;

    return n;
}


void
ngx_broadcast_state_get_bytes(ngx_broadcast_state_in_t *in, ngx_str_t *bytes)
{
    uint64_t  len;

    len = ngx_broadcast_state_get(in);

    if (len > (size_t) (in->last - in->pos)) {
        in->failed = 1;
        len = 0;
    }

    bytes->len = (size_t) len;
    bytes->data = in->pos;

    in->pos += len;
}


void
ngx_broadcast_state_write(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc,
    ngx_broadcast_owner_t to, uint64_t matched)
{
    ngx_uint_t  i;

    ngx_broadcast_state_put(b, NGX_BROADCAST_STATE_VERSION);
    ngx_broadcast_state_put(b, to);
    ngx_broadcast_state_put(b, matched);
    ngx_broadcast_state_put(b, NGX_BROADCAST_STATE_WHOLE);

    ngx_broadcast_state_part(b, bc, ngx_broadcast_state_put_base);

    for (i = 0; i < NGX_BROADCAST_STATE_PARTS; i++) {
        ngx_broadcast_state_part(b, bc, ngx_broadcast_state_parts[i].put);
    }
}


void
ngx_broadcast_state_write_kind(ngx_broadcast_buf_t *b, ngx_uint_t kind,
    ngx_broadcast_owner_t to)
{
    ngx_broadcast_state_put(b, NGX_BROADCAST_STATE_VERSION);
    ngx_broadcast_state_put(b, to);
    ngx_broadcast_state_put(b, 0);
    ngx_broadcast_state_put(b, kind);
}


void
ngx_broadcast_state_forward(ngx_str_t *text, ngx_broadcast_owner_t to)
{
    uint64_t  n;

    n = to;

    ngx_memcpy(text->data + NGX_BROADCAST_STATE_SIZE, &n,
               NGX_BROADCAST_STATE_SIZE);
}


/* the part's length stands before it, and is known behind it */

static void
ngx_broadcast_state_part(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc,
    void (*put)(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc))
{
    size_t    at;
    uint64_t  len;

    at = ngx_broadcast_buf_len(b);

    ngx_broadcast_state_put(b, 0);

    put(b, bc);

    if (b->failed) {
        return;
    }

    len = ngx_broadcast_buf_len(b) - at - NGX_BROADCAST_STATE_SIZE;

    ngx_memcpy(b->start + at, &len, NGX_BROADCAST_STATE_SIZE);
}


ngx_int_t
ngx_broadcast_state_read(ngx_str_t *text, ngx_broadcast_state_t *state)
{
    ngx_broadcast_state_in_t  *in;

    in = &state->rest;

    in->pos = text->data;
    in->last = text->data + text->len;
    in->failed = 0;

    if (ngx_broadcast_state_get(in) != NGX_BROADCAST_STATE_VERSION) {
        in->failed = 1;
    }

    state->to = ngx_broadcast_state_get(in);
    state->matched = ngx_broadcast_state_get(in);
    state->kind = ngx_broadcast_state_get(in);

    if (state->kind > NGX_BROADCAST_STATE_LATER) {
        in->failed = 1;
    }

    return in->failed ? NGX_DECLINED : NGX_OK;
}


static ngx_int_t
ngx_broadcast_state_cut(ngx_broadcast_state_in_t *in,
    ngx_broadcast_state_in_t *part)
{
    ngx_str_t  bytes;

    ngx_broadcast_state_get_bytes(in, &bytes);

    part->pos = bytes.data;
    part->last = bytes.data + bytes.len;
    part->failed = 0;

    return in->failed ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ngx_broadcast_state_make(ngx_broadcast_state_t *state,
    ngx_broadcast_record_t *rec, ngx_broadcast_row_t row,
    ngx_broadcast_limits_t *limits, ngx_broadcast_conn_t **bcp)
{
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_broadcast_conn_t        *bc;
    ngx_broadcast_claimed_t      claimed;
    ngx_broadcast_state_in_t     part;
    ngx_broadcast_state_base_t   base;

    if (ngx_broadcast_state_cut(&state->rest, &part) != NGX_OK
        || ngx_broadcast_state_get_base(&part, &base) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    base.open.id = rec->name;
    base.open.limits = limits;

    claimed.row = row;
    claimed.position = rec->position;
    claimed.log = rec->log;

    bc = ngx_broadcast_conn_adopt(&base.open, base.type, rec->hub, &claimed);

    if (bc == NULL) {
        return NGX_ERROR;
    }

    ngx_broadcast_conn_turn(bc, base.state);

    bc->live = (base.state == NGX_BROADCAST_ACTIVE);
    bc->end = base.end;
    bc->since = ngx_current_msec - base.since;
    bc->received = ngx_current_msec - base.received;
    bc->sent = ngx_current_msec - base.sent;
    bc->counted = ngx_current_msec - base.counted;
    bc->excess = base.excess;

    for (i = 0; i < NGX_BROADCAST_STATE_PARTS; i++) {

        rc = ngx_broadcast_state_cut(&state->rest, &part);

        if (rc == NGX_OK) {
            rc = ngx_broadcast_state_parts[i].get(&part, bc);
        }

        if (rc == NGX_OK && (part.failed || part.pos != part.last)) {
            rc = NGX_DECLINED;
        }

        if (rc != NGX_OK) {
            ngx_broadcast_conn_moved(bc);
            return rc;
        }
    }

    /* its groups are those that the other worker has told of, or will not */

    ngx_broadcast_keep_set_state(bc, base.keep);
    ngx_broadcast_enrol_arrived(bc, base.heard);

    *bcp = bc;

    return NGX_OK;
}


static void
ngx_broadcast_state_put_base(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_state_put(b, bc->type);
    ngx_broadcast_state_put(b, bc->protocol);
    ngx_broadcast_state_put(b, bc->framing);
    ngx_broadcast_state_put(b, bc->state);
    ngx_broadcast_state_put(b, bc->end);
    ngx_broadcast_state_put(b, bc->functions);
    ngx_broadcast_state_put(b, bc->expires);
    ngx_broadcast_state_put(b, bc->handshake);
    ngx_broadcast_state_put(b, ngx_broadcast_keep_state(bc));
    ngx_broadcast_state_put(b, ngx_broadcast_enrol_heard(bc));

    ngx_broadcast_state_put(b, ngx_current_msec - bc->since);
    ngx_broadcast_state_put(b, ngx_current_msec - bc->received);
    ngx_broadcast_state_put(b, ngx_current_msec - bc->sent);
    ngx_broadcast_state_put(b, ngx_current_msec - bc->counted);
    ngx_broadcast_state_put(b, bc->excess);

    ngx_broadcast_state_put_bytes(b, bc->hub->name.data, bc->hub->name.len);

    ngx_broadcast_state_put_bytes(b, bc->user ? bc->user->data : NULL,
                                  bc->user ? bc->user->len : 0);

    ngx_broadcast_state_put_bytes(b, bc->text + bc->id.len, bc->address);
}


static ngx_int_t
ngx_broadcast_state_get_base(ngx_broadcast_state_in_t *in,
    ngx_broadcast_state_base_t *base)
{
    ngx_broadcast_open_t  *open;

    ngx_memzero(base, sizeof(ngx_broadcast_state_base_t));

    open = &base->open;

    base->type = ngx_broadcast_state_get(in);
    open->protocol = ngx_broadcast_state_get(in);
    open->framing = ngx_broadcast_state_get(in);
    base->state = ngx_broadcast_state_get(in);
    base->end = ngx_broadcast_state_get(in);
    open->functions = ngx_broadcast_state_get(in);
    open->token_expires = ngx_broadcast_state_get(in);
    open->handshake = ngx_broadcast_state_get(in);
    base->keep = ngx_broadcast_state_get(in);
    base->heard = ngx_broadcast_state_get(in);

    base->since = ngx_broadcast_state_get(in);
    base->received = ngx_broadcast_state_get(in);
    base->sent = ngx_broadcast_state_get(in);
    base->counted = ngx_broadcast_state_get(in);
    base->excess = ngx_broadcast_state_get(in);

    ngx_broadcast_state_get_bytes(in, &open->hub);
    ngx_broadcast_state_get_bytes(in, &open->user);
    ngx_broadcast_state_get_bytes(in, &open->address);

    if (in->failed
        || in->pos != in->last
        || base->type >= NGX_BROADCAST_TRANSPORTS
        || open->protocol >= NGX_BROADCAST_PROTOCOLS
        || open->protocol == NGX_BROADCAST_PLAIN
        || open->framing >= NGX_BROADCAST_FRAMES
        || base->state < NGX_BROADCAST_HANDSHAKE
        || base->state > NGX_BROADCAST_CLOSING
        || base->end > NGX_BROADCAST_END_LOST)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_broadcast_state_put_groups(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_joined_t  *joined;

    for (joined = bc->groups; joined; joined = joined->next) {
        ngx_broadcast_state_put_bytes(b, joined->group->data,
                                      joined->group->len);
    }
}


/* the registry knows them already: the row has come with its memberships */

static ngx_int_t
ngx_broadcast_state_get_groups(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    ngx_str_t  group;

    while (in->pos != in->last) {
        ngx_broadcast_state_get_bytes(in, &group);

        if (in->failed || group.len == 0) {
            return NGX_DECLINED;
        }

        if (ngx_broadcast_index_join(bc, &group) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_broadcast_state_put_queue(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_state_put_frames(b, &bc->outq);
}


static ngx_int_t
ngx_broadcast_state_get_queue(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    return ngx_broadcast_state_get_frames(in, &bc->outq);
}


void
ngx_broadcast_state_put_frames(ngx_broadcast_buf_t *b,
    ngx_broadcast_outq_t *q)
{
    uint32_t                i;
    ngx_broadcast_frame_t  *frame;

    for (i = 0; i < q->count; i++) {
        frame = ngx_broadcast_outq_frame(q, i);

        ngx_broadcast_state_put(b, frame->time);
        ngx_broadcast_state_put(b, frame->seq);
        ngx_broadcast_state_put(b,
                              (frame->sql ? NGX_BROADCAST_STATE_SQL : 0)
                              | frame->counted << NGX_BROADCAST_STATE_COUNTED);
        ngx_broadcast_state_put_bytes(b, ngx_broadcast_frame_data(frame),
                                      frame->len);
    }
}


ngx_int_t
ngx_broadcast_state_get_frames(ngx_broadcast_state_in_t *in,
    ngx_broadcast_outq_t *q)
{
    uint64_t                time, seq;
    ngx_int_t               rc;
    ngx_str_t               bytes;
    ngx_uint_t              flags;
    ngx_broadcast_frame_t  *frame;

    while (in->pos != in->last) {
        time = ngx_broadcast_state_get(in);
        seq = ngx_broadcast_state_get(in);
        flags = ngx_broadcast_state_get(in);
        ngx_broadcast_state_get_bytes(in, &bytes);

        if (in->failed) {
            return NGX_DECLINED;
        }

        frame = ngx_broadcast_frame_bytes(bytes.data, bytes.len);
        if (frame == NULL) {
            return NGX_ERROR;
        }

        frame->time = time;
        frame->seq = seq;
        frame->sql = (flags & NGX_BROADCAST_STATE_SQL) ? 1 : 0;
        frame->counted = (flags >> NGX_BROADCAST_STATE_COUNTED) & 0x03;

        rc = ngx_broadcast_outq_push(q, frame);

        ngx_broadcast_frame_free(frame);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_broadcast_state_put_input(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_input_t  *input;

    input = bc->input;

    if (input) {
        ngx_broadcast_buf_append(b, ngx_broadcast_input_data(input)
                                    + input->pos,
                                 input->len - input->pos);
    }
}


static ngx_int_t
ngx_broadcast_state_get_input(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    size_t                  len;
    ngx_broadcast_input_t  *input;

    len = in->last - in->pos;

    if (len == 0) {
        return NGX_OK;
    }

    input = ngx_alloc(sizeof(ngx_broadcast_input_t) + len,
                      ngx_broadcast_bus.log);
    if (input == NULL) {
        return NGX_ERROR;
    }

    input->len = len;
    input->size = len;
    input->pos = 0;
    input->partial = 0;

    ngx_memcpy(ngx_broadcast_input_data(input), in->pos, len);
    in->pos = in->last;

    bc->input = input;

    return NGX_OK;
}


/* members of the event, until `connected` was called */

static void
ngx_broadcast_state_put_event(ngx_broadcast_buf_t *b,
    ngx_broadcast_conn_t *bc)
{
    if (bc->event) {
        ngx_broadcast_buf_append(b, ngx_broadcast_frame_data(bc->event),
                                 bc->event->len);
    }
}


static ngx_int_t
ngx_broadcast_state_get_event(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    size_t  len;

    len = in->last - in->pos;

    if (len == 0) {
        return NGX_OK;
    }

    bc->event = ngx_broadcast_frame_bytes(in->pos, len);
    in->pos = in->last;

    return bc->event ? NGX_OK : NGX_ERROR;
}
