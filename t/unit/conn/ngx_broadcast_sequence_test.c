
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/conn/ngx_broadcast_sequence.c src/conn/ngx_broadcast_outq.c
 */


#include "tap.h"

#include "conn/ngx_broadcast_peer.h"
#include "conn/ngx_broadcast_rows.h"


/*
 * Both directions of a connection against a client that counts as
 * signalr.md 6 says, over a wire that is cut at any byte, with acks that come
 * late, twice or never.  The client's log is the truth: each message once, in
 * order.
 */

ngx_broadcast_bus_t  ngx_broadcast_bus;

static ngx_broadcast_conn_t  conn;


void
ngx_broadcast_stats_add(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t counter, uint64_t n)
{
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
ngx_broadcast_frame_free(ngx_broadcast_frame_t *frame)
{
    if (--frame->refs == 0) {
        ngx_free(frame);
    }
}


static void facts(void);
static void outwards(void);
static void inwards(void);


int
main(void)
{
    ngx_broadcast_bus.log = &ngx_stub_log;

    facts();
    outwards();
    inwards();

    return done();
}


/* a frame that holds its number, as long as the caller likes */

static ngx_broadcast_frame_t *
message(uint32_t n, size_t len)
{
    ngx_broadcast_frame_t  *frame;

    frame = ngx_calloc(sizeof(ngx_broadcast_frame_t) + len, &ngx_stub_log);

    frame->refs = 1;
    frame->len = (uint32_t) len;
    frame->counted = 1;

    ngx_memcpy(ngx_broadcast_frame_data(frame), &n, sizeof(n));

    return frame;
}


static ngx_int_t
send_one(ngx_broadcast_sequence_t *s, uint32_t n, size_t len)
{
    ngx_int_t               rc;
    ngx_broadcast_frame_t  *frame;

    frame = message(n, len);
    rc = ngx_broadcast_sequence_send(s, frame);
    ngx_broadcast_frame_free(frame);

    return rc;
}


/* what waited and may go is put on the wire, and what was sent again */

static ngx_int_t
release(ngx_broadcast_sequence_t *s, ngx_broadcast_outq_t *wire)
{
    ngx_int_t               rc;
    ngx_broadcast_frame_t  *frame;

    while ((rc = ngx_broadcast_sequence_next(s, &frame)) == NGX_OK) {
        (void) ngx_broadcast_outq_push(wire, frame);
    }

    return rc == NGX_DECLINED ? NGX_OK : rc;
}


static ngx_int_t
repeat(ngx_broadcast_sequence_t *s, ngx_broadcast_outq_t *wire)
{
    uint32_t                i;
    ngx_broadcast_frame_t  *frame;

    for (i = 0; i < s->unacked.count; i++) {
        frame = ngx_broadcast_outq_frame(&s->unacked, i);
        (void) ngx_broadcast_outq_push(wire, frame);
    }

    return wire->count == s->unacked.count ? NGX_OK : NGX_ERROR;
}


static void
facts(void)
{
    ngx_broadcast_outq_t      q;
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_sequence_t  s;

    ngx_memzero(&q, sizeof(ngx_broadcast_outq_t));
    ngx_memzero(&s, sizeof(ngx_broadcast_sequence_t));
    ngx_broadcast_sequence_init(&s, 1000000);

    is_int(s.limit, 100000, "the limit is the reference server's");

    ngx_memzero(&s, sizeof(ngx_broadcast_sequence_t));
    ngx_broadcast_sequence_init(&s, 100);

    is_int(s.limit, 100, "or the queue's, where that is smaller");
    is_int(ngx_broadcast_sequence_sent(&s), 0, "nothing was sent");
    is_int(ngx_broadcast_sequence_ack(&s, 1), NGX_ERROR,
           "nothing can be acknowledged");
    is_int(ngx_broadcast_sequence_ack(&s, 0), NGX_DECLINED,
           "but nothing itself");
    is_int(ngx_broadcast_sequence_ack(&s, INT64_MIN), NGX_DECLINED,
           "or less");
    is_int(ngx_broadcast_sequence_ack(&s, INT64_MAX), NGX_ERROR,
           "whatever the number");

    is_int(send_one(&s, 1, 99), NGX_OK, "below the limit one goes");
    is_int(send_one(&s, 2, 500), NGX_OK, "however long the last is");
    is_int(send_one(&s, 3, 4), NGX_AGAIN, "behind it one waits");
    is_int(send_one(&s, 4, 4), NGX_AGAIN, "and the next");
    is_int(ngx_broadcast_sequence_sent(&s), 2, "without a number");
    is_int(ngx_broadcast_sequence_ack(&s, 3), NGX_ERROR,
           "which cannot be acknowledged");
    is_int(ngx_broadcast_sequence_ack(&s, 1), NGX_OK, "the first is");
    is_int(release(&s, &q), NGX_OK, "of no use");
    is_int(q.count, 0, "as the second fills the limit");
    is_int(ngx_broadcast_sequence_ack(&s, 2), NGX_OK, "it is, too");
    is_int(release(&s, &q), NGX_OK, "then");
    is_int(q.count, 2, "both go");
    is_int(s.unacked.count, 2, "and are kept");
    is_int(ngx_broadcast_sequence_sent(&s), 4, "with their numbers");
    is_int(ngx_broadcast_sequence_ack(&s, 2), NGX_DECLINED,
           "an Ack that comes twice says nothing");

    frame = ngx_broadcast_outq_shift(&q);
    is_int(frame->refs, 2, "kept and queued are one frame");
    ngx_broadcast_frame_free(frame);

    is_int(ngx_broadcast_sequence_ack(&s, 4), NGX_OK, "and are forgotten");
    is_int(s.unacked.bytes, 0, "with their bytes");

    is_int(ngx_broadcast_sequence_receive(&s), NGX_OK, "a message is new");
    is_int(s.owed, 1, "and owes an Ack");
    is_int(ngx_broadcast_sequence_reset(&s, 3), NGX_ERROR,
           "a Sequence may leave no hole");
    is_int(ngx_broadcast_sequence_reset(&s, INT64_MAX), NGX_ERROR,
           "not even the largest");
    is_int(ngx_broadcast_sequence_receive(&s), NGX_OK,
           "and moves nothing then");
    is_int(ngx_broadcast_sequence_reset(&s, INT64_MIN), NGX_OK,
           "it may repeat as much as it likes");
    is_int(ngx_broadcast_sequence_receive(&s), NGX_DECLINED,
           "which is known");
    is_int(s.received, 2, "and not counted again");

    ngx_broadcast_outq_clear(&q, 0);
    ngx_broadcast_sequence_clear(&s);
}


/*
 * To the client: the queue is written as a socket would, some bytes a step;
 * what was taken in whole frames has arrived, unless the cut eats it.
 */

static void
outwards(void)
{
    uint32_t                   n, made;
    ngx_int_t                  rc;
    ngx_uint_t                 i, cuts, wrong, over;
    ngx_broadcast_frame_t     *frame;
    ngx_broadcast_sequence_t   s;
    ngx_broadcast_outq_t       wire;
    int64_t                    next, latest, seq;

    ngx_memzero(&conn, sizeof(ngx_broadcast_conn_t));
    ngx_memzero(&wire, sizeof(ngx_broadcast_outq_t));
    ngx_memzero(&s, sizeof(ngx_broadcast_sequence_t));
    ngx_broadcast_sequence_init(&s, 300);

    srandom(2);

    made = 0;
    next = 1;           /* the client's: what it takes the next one for */
    latest = 0;         /* and has seen */
    cuts = 0;
    wrong = 0;
    over = 0;

    for (i = 0; i < 200000; i++) {

        switch (random() % 8) {

        case 0:
        case 1:
            rc = send_one(&s, ++made, 4 + random() % 60);
            wrong += (rc == NGX_ERROR);

            if (rc == NGX_OK) {
                frame = message(made, 4);
                (void) ngx_broadcast_outq_push(&wire, frame);
                ngx_broadcast_frame_free(frame);
            }

            over += (s.waiting.count != 0);

            break;

        case 2:
        case 3:
        case 4:
            /* one arrives */

            if (wire.count) {
                frame = ngx_broadcast_outq_shift(&wire);
                ngx_memcpy(&n, ngx_broadcast_frame_data(frame), sizeof(n));
                ngx_broadcast_frame_free(frame);

                if (next++ > latest) {
                    latest = next - 1;
                    wrong += (n != (uint32_t) latest);
                }
            }

            break;

        case 5:
            /* an Ack comes: the newest, or one of before */

            seq = latest - random() % 3;
            seq = ngx_max(seq, 0);

            wrong += (ngx_broadcast_sequence_ack(&s, seq) == NGX_ERROR);
            wrong += (release(&s, &wire) != NGX_OK);
            break;

        case 6:
            /* an Ack while there is no socket cannot be; released without */

            wrong += (s.unacked.bytes >= 300 + 64);
            break;

        case 7:
            if (random() % 50) {
                break;
            }

            /* the socket goes with all that is on it, another one comes */

            ngx_broadcast_outq_clear(&wire, 0);
            wrong += (repeat(&s, &wire) != NGX_OK);

            next = s.acked + 1;
            wrong += (next > latest + 1);
            cuts++;
            break;
        }
    }

    is_int(wrong, 0, "each message reaches the client once, in order");
    ok(cuts > 300 && over > 1000, "over many cuts and full limits");
    ok(latest > 20000, "and many of them do");

    ngx_broadcast_outq_clear(&wire, 0);
    ngx_broadcast_sequence_clear(&s);
    ok(s.unacked.ring == NULL && s.waiting.ring == NULL,
       "nothing is left behind");
}


/* from the client, which keeps what we have not acknowledged */

static void
inwards(void)
{
    int64_t                   sent, kept, pos, got, acked;
    ngx_uint_t                i, wrong, cuts;
    ngx_broadcast_sequence_t  s;

    ngx_memzero(&s, sizeof(ngx_broadcast_sequence_t));
    ngx_broadcast_sequence_init(&s, 300);

    sent = 0;           /* messages that the client made */
    kept = 1;           /* the oldest that it keeps */
    pos = 1;            /* the next one that arrives */
    got = 0;            /* the newest that was taken */
    wrong = 0;
    cuts = 0;

    for (i = 0; i < 200000; i++) {

        switch (random() % 6) {

        case 0:
        case 1:
            sent++;
            break;

        case 2:
        case 3:
            if (pos > sent) {
                break;
            }

            if (ngx_broadcast_sequence_receive(&s) == NGX_OK) {
                wrong += (pos != ++got);

            } else {
                wrong += (pos > got);
            }

            pos++;
            break;

        case 4:
            /* our Ack arrives; what it says is true */

            acked = s.received - random() % 3;
            wrong += (acked > got);

            if (acked >= kept) {
                kept = acked + 1;
            }

            break;

        case 5:
            if (random() % 50) {
                break;
            }

            s.deaf = 1;

            if (random() % 2) {
                wrong += (ngx_broadcast_sequence_receive(&s) == NGX_OK);
            }

            wrong += (ngx_broadcast_sequence_reset(&s, kept) != NGX_OK);
            pos = kept;
            cuts++;
            break;
        }
    }

    is_int(wrong, 0, "each message of the client is taken once, in order");
    ok(got > 20000 && cuts > 300, "many of them, over many cuts");
}
