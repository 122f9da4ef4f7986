
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/conn/ngx_broadcast_state.c src/conn/ngx_broadcast_outq.c
 *        src/conn/ngx_broadcast_frame.c
 *        src/conn/ngx_broadcast_frame_message.c
 *        src/conn/ngx_broadcast_resume_state.c
 *        src/proto/ngx_broadcast_hub_json_write.c
 *        src/proto/ngx_broadcast_hub_msgpack_write.c
 *        src/proto/ngx_broadcast_recode.c
 *        src/proto/ngx_broadcast_recode_shape.c
 *        src/proto/ngx_broadcast_recode_text.c
 *        src/base/ngx_broadcast_msgpack.c src/base/ngx_broadcast_buf.c
 *        src/proto/ngx_broadcast_plain.c src/proto/ngx_broadcast_sse.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/proto/ngx_broadcast_ws_frame.c src/base/ngx_broadcast_utf8.c
 *        src/base/ngx_broadcast_name.c src/shm/ngx_broadcast_position.c
 *        nginx:core/ngx_sha1.c
 */


#include "tap.h"

#include "conn/ngx_broadcast_enrol.h"
#include "conn/ngx_broadcast_index.h"
#include "conn/ngx_broadcast_invocation.h"
#include "conn/ngx_broadcast_keep.h"
#include "conn/ngx_broadcast_state.h"
#include "conn/ngx_broadcast_stateful.h"
#include "conn/ngx_broadcast_resume.h"
#include "conn/ngx_broadcast_rows.h"


/*
 * A connection becomes bytes, and the bytes the same connection; any other
 * bytes become none, or one, and nothing is lost on the way.  What stands
 * around a connection is played here: index, registry, the parts of others.
 */

ngx_broadcast_bus_t    ngx_broadcast_bus;
volatile ngx_msec_t    ngx_current_msec = 1000000;

static ngx_uint_t      dropped;


void
ngx_broadcast_stats_add(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t counter, uint64_t n)
{
}


void
ngx_broadcast_hub_info(ngx_broadcast_zone_t *z, ngx_uint_t i,
    ngx_broadcast_hub_info_t *info)
{
    ngx_memzero(info, sizeof(ngx_broadcast_hub_info_t));
}


void
ngx_broadcast_fanout_observe(ngx_broadcast_frame_t *frame)
{
}


void
ngx_broadcast_fanout_delivered(ngx_broadcast_local_t *hub, ngx_uint_t type,
    size_t bytes, ngx_uint_t n)
{
}


void
ngx_broadcast_fanout_stale(void)
{
}


void
ngx_broadcast_rows_room(ngx_broadcast_conn_t *bc)
{
}


void
ngx_broadcast_invocation_put(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
}


ngx_int_t
ngx_broadcast_invocation_got(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    return NGX_OK;
}


void
ngx_broadcast_stateful_put(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
}


ngx_int_t
ngx_broadcast_stateful_get(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    return NGX_OK;
}


ngx_uint_t
ngx_broadcast_keep_state(ngx_broadcast_conn_t *bc)
{
    return (bc->kept ? NGX_BROADCAST_KEEP_KEPT : 0)
           |(bc->changed ? NGX_BROADCAST_KEEP_CHANGED : 0);
}


void
ngx_broadcast_keep_set_state(ngx_broadcast_conn_t *bc, ngx_uint_t state)
{
    bc->kept = (state & NGX_BROADCAST_KEEP_KEPT) ? 1 : 0;
    bc->changed = (state & NGX_BROADCAST_KEEP_CHANGED) ? 1 : 0;
}


uint64_t
ngx_broadcast_enrol_heard(ngx_broadcast_conn_t *bc)
{
    return bc->lacks ? 0 : 1;
}


void
ngx_broadcast_enrol_arrived(ngx_broadcast_conn_t *bc, uint64_t heard)
{
    bc->lacks = (heard == 0);
}


/* --- a connection without a worker ---------------------------------------- */

static ngx_broadcast_label_t *
label(ngx_str_t *name)
{
    ngx_broadcast_label_t  *l;

    l = calloc(1, sizeof(ngx_broadcast_label_t) + name->len);

    l->len = name->len;
    ngx_memcpy(l->data, name->data, name->len);

    return l;
}


ngx_broadcast_conn_t *
ngx_broadcast_conn_adopt(ngx_broadcast_open_t *in, ngx_uint_t type,
    ngx_uint_t hub, ngx_broadcast_claimed_t *claimed)
{
    size_t                  address;
    ngx_broadcast_conn_t   *bc;

    address = ngx_min(in->address.len, 255);

    bc = calloc(1, sizeof(ngx_broadcast_conn_t) + in->id.len + address);

    bc->hub = calloc(1, sizeof(ngx_broadcast_local_t) + in->hub.len);
    bc->hub->index = hub;
    bc->hub->name.len = in->hub.len;
    bc->hub->name.data = (u_char *) (bc->hub + 1);
    ngx_memcpy(bc->hub->name.data, in->hub.data, in->hub.len);

    bc->id.len = in->id.len;
    bc->id.data = bc->text;
    ngx_memcpy(bc->text, in->id.data, in->id.len);
    ngx_memcpy(bc->text + in->id.len, in->address.data, address);

    bc->address = (uint8_t) address;
    bc->user = in->user.len ? label(&in->user) : NULL;
    bc->limits = in->limits;
    bc->type = type;
    bc->protocol = in->protocol;
    bc->framing = in->framing;
    bc->expires = in->token_expires;
    bc->functions = in->functions ? 1 : 0;
    bc->row = claimed->row;
    bc->start = claimed->log;

    return bc;
}


void
ngx_broadcast_conn_turn(ngx_broadcast_conn_t *bc, ngx_uint_t state)
{
    bc->state = state;
    bc->since = ngx_current_msec;
}


ngx_int_t
ngx_broadcast_index_join(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_broadcast_joined_t  *joined;

    joined = calloc(1, sizeof(ngx_broadcast_joined_t));

    joined->group = label(group);
    joined->next = bc->groups;
    bc->groups = joined;

    return NGX_OK;
}


static void
unmake(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_joined_t  *joined;

    while (bc->groups) {
        joined = bc->groups;
        bc->groups = joined->next;
        free(joined->group);
        free(joined);
    }

    ngx_broadcast_outq_clear(&bc->outq, 0);
    ngx_broadcast_resume_free(bc);

    if (bc->event) {
        ngx_broadcast_frame_free(bc->event);
    }

    free(bc->told);
    free(bc->input);
    free(bc->user);
    free(bc->hub);
    free(bc);
}


void
ngx_broadcast_conn_moved(ngx_broadcast_conn_t *bc)
{
    dropped++;
    unmake(bc);
}


/* --- the test ------------------------------------------------------------- */

static ngx_broadcast_limits_t  limits;
static ngx_pool_t             *pool;


static void
push(ngx_broadcast_outq_t *q, const char *text, uint64_t time,
    ngx_uint_t counted)
{
    ngx_broadcast_frame_t  *frame;

    frame = ngx_broadcast_frame_bytes(text, strlen(text));

    frame->time = time;
    frame->sql = (time != 0);
    frame->counted = counted;

    (void) ngx_broadcast_outq_push(q, frame);
    ngx_broadcast_frame_free(frame);
}


/* in the middle of a replay */

static void
replays(ngx_broadcast_conn_t *bc)
{
    ngx_str_t                requested;
    ngx_broadcast_resume_t  *r;

    bc->told = calloc(1, sizeof(ngx_broadcast_position_t));
    bc->told->epoch = 14;
    bc->told->seq = 5;
    bc->tells = 1;

    requested = tap_str("e-3..1f_2~a_1");

    r = ngx_broadcast_resume_new(&requested, 10);
    bc->resume = r;

    r->after = *bc->told;
    r->upto.epoch = 14;
    r->upto.seq = 9;
    r->skip = r->upto;
    r->page = 7;
    r->delay = 500;
    r->deadline = ngx_current_msec + 3000;
    r->again = ngx_current_msec + 250;
    r->begun = 1;
    r->checked = 1;
    r->settled = 1;
    r->away = 1;
    r->kept = 1;

    push(&r->early, "early", 0, 1);
    push(&r->held, "live", 99, 2);
    push(&r->held, "done", 0, 1);
}


static ngx_broadcast_conn_t *
sample(void)
{
    ngx_str_t                 group;
    ngx_broadcast_conn_t     *bc;
    ngx_broadcast_open_t      in;
    ngx_broadcast_claimed_t   claimed;

    ngx_memzero(&in, sizeof(in));
    ngx_memzero(&claimed, sizeof(claimed));

    in.id = tap_str("abcdefghijklmnopqrstuv");
    in.hub = tap_str("chat");
    in.user = tap_str("ann");
    in.address = tap_str("127.0.0.1");
    in.framing = NGX_BROADCAST_FRAME_BYTES;
    in.token_expires = 4000000000;
    in.functions = 1;
    in.limits = &limits;

    bc = ngx_broadcast_conn_adopt(&in, NGX_BROADCAST_LONGPOLL, 3, &claimed);

    bc->state = NGX_BROADCAST_ACTIVE;
    bc->handshake = 7;
    bc->since = ngx_current_msec - 11;
    bc->received = ngx_current_msec - 22;
    bc->sent = ngx_current_msec - 33;
    bc->counted = ngx_current_msec - 44;
    bc->excess = 5000;
    bc->kept = 1;
    bc->changed = 1;
    bc->lacks = 1;

    group = tap_str("one");
    (void) ngx_broadcast_index_join(bc, &group);
    group = tap_str("two");
    (void) ngx_broadcast_index_join(bc, &group);

    push(&bc->outq, "{\"type\":1}\x1e", 1234567, 2);
    push(&bc->outq, "{\"type\":3}\x1e", 0, 1);
    push(&bc->outq, "{}\x1e", 0, 0);

    replays(bc);

    bc->input = malloc(sizeof(ngx_broadcast_input_t) + 8);
    bc->input->len = 6;
    bc->input->size = 8;
    bc->input->pos = 2;
    ngx_memcpy(ngx_broadcast_input_data(bc->input), "xx{\"ty", 6);

    bc->event = ngx_broadcast_frame_bytes("\"claims\":{}", 11);

    return bc;
}


static ngx_str_t
composed(ngx_broadcast_conn_t *bc)
{
    ngx_str_t            text;
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, pool, 16);
    ngx_broadcast_state_write(&b, bc, 0x205, 4096);
    (void) ngx_broadcast_buf_done(&b, &text);

    return text;
}


static ngx_int_t
parsed(ngx_str_t *text, ngx_broadcast_state_t *state,
    ngx_broadcast_conn_t **bc)
{
    ngx_int_t               rc;
    ngx_broadcast_record_t  rec;

    rc = ngx_broadcast_state_read(text, state);

    if (rc != NGX_OK || state->kind != NGX_BROADCAST_STATE_WHOLE) {
        return rc == NGX_OK ? NGX_DONE : rc;
    }

    ngx_memzero(&rec, sizeof(rec));

    rec.name = tap_str("abcdefghijklmnopqrstuv");
    rec.hub = 3;
    rec.log = 8192;

    return ngx_broadcast_state_make(state, &rec, 17, &limits, bc);
}


static int
same_frame(ngx_broadcast_outq_t *q, uint32_t i, const char *text,
    uint64_t time, ngx_uint_t counted)
{
    ngx_broadcast_frame_t  *f;

    f = ngx_broadcast_outq_frame(q, i);

    return f->len == strlen(text)
           && ngx_memcmp(ngx_broadcast_frame_data(f), text, f->len) == 0
           && f->time == time
           && f->sql == (time != 0)
           && f->counted == counted;
}


static void
whole(void)
{
    ngx_str_t                text, again;
    ngx_broadcast_conn_t    *bc, *to;
    ngx_broadcast_state_t    state;
    ngx_broadcast_resume_t  *r;

    bc = sample();
    text = composed(bc);

    ngx_current_msec += 100000;

    is_int(parsed(&text, &state, &to), NGX_OK, "a state becomes a connection");
    is_int(state.to, 0x205, "for the worker that it names");
    is_int(state.matched, 4096, "with the place in the log");

    ok(to->type == NGX_BROADCAST_LONGPOLL
       && to->protocol == NGX_BROADCAST_HUB_JSON
       && to->framing == NGX_BROADCAST_FRAME_BYTES
       && to->state == NGX_BROADCAST_ACTIVE,
       "transport, protocol, framing and state");
    ok(to->kept && to->changed && to->lacks,
       "the database is to be told of its groups, and asked for its row");
    ok(to->live && to->functions && to->expires == 4000000000,
       "it gets messages, calls functions, its token ends when it did");
    ok(to->row == 17 && to->start == 8192 && to->limits == &limits,
       "row, limits and where it starts are the new worker's");
    ok(to->hub->name.len == 4 && to->user->len == 3 && to->address == 9
       && ngx_memcmp(to->user->data, "ann", 3) == 0,
       "hub, user and address");
    ok(ngx_current_msec - to->since == 11
       && ngx_current_msec - to->received == 22
       && ngx_current_msec - to->sent == 33
       && ngx_current_msec - to->counted == 44
       && to->excess == 5000,
       "times are ages: another process has another clock");
    ok(to->groups && to->groups->next && to->groups->next->next == NULL,
       "groups");
    ok(to->outq.count == 3
       && same_frame(&to->outq, 0, "{\"type\":1}\x1e", 1234567, 2)
       && same_frame(&to->outq, 1, "{\"type\":3}\x1e", 0, 1)
       && same_frame(&to->outq, 2, "{}\x1e", 0, 0),
       "the queue, frame by frame");
    ok(to->input && to->input->len == 4 && to->input->pos == 0
       && ngx_memcmp(ngx_broadcast_input_data(to->input), "{\"ty", 4) == 0,
       "input, but what was taken of it");
    ok(to->event && to->event->len == 11, "the event that is still owed");

    r = to->resume;

    ok(to->tells && to->told->epoch == 14 && to->told->seq == 5,
       "the position that it was told");
    ok(r && r->after.seq == 5 && r->upto.seq == 9 && r->skip.seq == 9
       && r->page == 7 && r->begun && r->checked && r->settled && r->away
       && r->kept && !r->fresh && !r->waiting && !r->through && !r->ahead
       && !r->changed && !r->asked,
       "how far its replay is");
    ok(r->requested.len == 13
       && ngx_memcmp(r->requested.data, "e-3..1f_2~a_1", 13) == 0
       && r->suffix.len == 10
       && ngx_memcmp(r->suffix.data, "..1f_2~a_1", 10) == 0
       && r->place == r->requested.data + 13,
       "what was asked for, and what that leaves out");
    ok(r->deadline - ngx_current_msec == 3000
       && r->again - ngx_current_msec == 250 && r->delay == 500,
       "how long it waits for the database");
    ok(r->early.count == 1 && r->held.count == 2
       && same_frame(&r->early, 0, "early", 0, 1)
       && same_frame(&r->held, 0, "live", 99, 2)
       && same_frame(&r->held, 1, "done", 0, 1),
       "what is held behind it");

    bc->resume->deadline += 100000;
    bc->resume->again += 100000;
    bc->since += 100000;
    bc->received += 100000;
    bc->sent += 100000;
    bc->counted += 100000;
    to->handshake = 7;

    again = composed(to);
    ok(again.len == text.len, "and the connection the same bytes");

    unmake(to);
    unmake(bc);
}


static void
bare(void)
{
    ngx_str_t               text;
    ngx_broadcast_buf_t     b;
    ngx_broadcast_conn_t   *bc, *to;
    ngx_broadcast_open_t    in;
    ngx_broadcast_state_t   state;
    ngx_broadcast_claimed_t claimed;

    ngx_memzero(&in, sizeof(in));
    ngx_memzero(&claimed, sizeof(claimed));

    in.id = tap_str("x");
    in.hub = tap_str("h");
    in.address = tap_str("");
    in.framing = NGX_BROADCAST_FRAME_BYTES;

    bc = ngx_broadcast_conn_adopt(&in, NGX_BROADCAST_LONGPOLL, 0, &claimed);
    bc->state = NGX_BROADCAST_CLOSING;
    bc->end = NGX_BROADCAST_END_COMMAND;

    text = composed(bc);

    is_int(parsed(&text, &state, &to), NGX_OK, "one that is CLOSING moves");
    ok(to->state == NGX_BROADCAST_CLOSING && !to->live
       && to->end == NGX_BROADCAST_END_COMMAND,
       "it remembers why, and gets no messages");
    ok(to->user == NULL && to->groups == NULL && to->input == NULL
       && to->event == NULL && to->outq.count == 0,
       "what it has not, it has not");
    unmake(to);

    ngx_broadcast_state_forward(&text, 0x909);
    (void) ngx_broadcast_state_read(&text, &state);
    is_int(state.to, 0x909, "a state may be forwarded");
    is_int(state.matched, 4096, "as it is");

    ngx_broadcast_buf_init(&b, pool, 16);
    ngx_broadcast_state_write_kind(&b, NGX_BROADCAST_STATE_GONE, 0x101);
    (void) ngx_broadcast_buf_done(&b, &text);

    ok(ngx_broadcast_state_read(&text, &state) == NGX_OK
       && state.to == 0x101 && state.kind == NGX_BROADCAST_STATE_GONE,
       "a word without a state");

    text.data[0] ^= 1;
    is_int(ngx_broadcast_state_read(&text, &state), NGX_DECLINED,
           "another version is none");

    bc->protocol = NGX_BROADCAST_PLAIN;
    text = composed(bc);
    is_int(parsed(&text, &state, &to), NGX_DECLINED,
           "a plain connection does not move");

    bc->protocol = NGX_BROADCAST_HUB_JSON;
    bc->state = NGX_BROADCAST_NEW;
    text = composed(bc);
    is_int(parsed(&text, &state, &to), NGX_DECLINED,
           "nor one without a transport");

    unmake(bc);
}


static void
broken(void)
{
    u_char                 *copy;
    size_t                  i, n;
    ngx_str_t               text, cut;
    ngx_int_t               rc;
    ngx_uint_t              whole_ones, wrong;
    ngx_broadcast_conn_t   *bc, *to;
    ngx_broadcast_state_t   state;

    bc = sample();
    text = composed(bc);
    unmake(bc);

    wrong = 0;
    dropped = 0;

    /* a copy of its own, so that a byte beyond it is seen */

    for (n = 0; n < text.len; n++) {
        copy = malloc(n ? n : 1);
        ngx_memcpy(copy, text.data, n);
        cut.data = copy;
        cut.len = n;

        rc = parsed(&cut, &state, &to);

        wrong += (rc != NGX_DECLINED);

        if (rc == NGX_OK) {
            unmake(to);
        }

        free(copy);
    }

    is_int(wrong, 0, "no beginning of a state is one");
    ok(dropped > 0, "some of them had become a connection, and are dropped");

    whole_ones = 0;
    srandom(20240601);

    for (i = 0; i < 20000; i++) {
        copy = malloc(text.len);
        ngx_memcpy(copy, text.data, text.len);
        cut.data = copy;
        cut.len = text.len;

        for (n = 0; n < 1 + i % 4; n++) {
            copy[random() % text.len] ^= 1 << random() % 8;
        }

        if (parsed(&cut, &state, &to) == NGX_OK) {
            whole_ones++;
            unmake(to);
        }

        free(copy);
    }

    ok(whole_ones > 0 && whole_ones < 20000,
       "states with wrong bits are another state, or none");
}


int
main(void)
{
    ngx_broadcast_bus.log = &ngx_stub_log;
    pool = ngx_create_pool(4096, &ngx_stub_log);

    whole();
    bare();
    broken();

    ngx_destroy_pool(pool);

    return done();
}
