
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/conn/ngx_broadcast_outq.c src/conn/ngx_broadcast_frame.c
 *        src/conn/ngx_broadcast_frame_message.c
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

#include "conn/ngx_broadcast_peer.h"
#include "conn/ngx_broadcast_rows.h"


/*
 * The queue of a connection against a model: frames go in at one end, a socket
 * that takes any number of bytes takes them out at the other, and what comes
 * out is what went in.
 */

ngx_broadcast_bus_t  ngx_broadcast_bus;

static uint64_t      bytes_sent;
static ngx_uint_t    delivered;
static ngx_uint_t    observed;


void
ngx_broadcast_stats_add(ngx_broadcast_zone_t *zone, ngx_uint_t slot,
    ngx_uint_t counter, uint64_t n)
{
    if (counter == NGX_BROADCAST_SENT_BYTES_WEBSOCKET) {
        bytes_sent += n;
    }
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
    observed++;
}


void
ngx_broadcast_fanout_delivered(ngx_broadcast_local_t *hub, ngx_uint_t type,
    size_t bytes, ngx_uint_t n)
{
    bytes_sent += bytes;
    delivered += n;
}


void
ngx_broadcast_fanout_stale(void)
{
}


void
ngx_broadcast_rows_room(ngx_broadcast_conn_t *bc)
{
}


static ngx_broadcast_conn_t    conn;
static ngx_broadcast_local_t   hub;


static void frames(void);
static void model(void);
static void shortly(void);
static void bounds(void);
static void holds(void);
static void moves(void);


int
main(void)
{
    ngx_broadcast_bus.log = &ngx_stub_log;

    conn.hub = &hub;
    conn.type = NGX_BROADCAST_WEBSOCKET;

    frames();
    model();
    shortly();
    bounds();
    holds();
    moves();

    ngx_broadcast_frame_stop();

    return done();
}


static void
is_frame(ngx_broadcast_frame_t *frame, const char *want, size_t len,
    const char *name)
{
    ok(frame && frame->len == len
       && memcmp(ngx_broadcast_frame_data(frame), want, len) == 0, name);

    if (frame) {
        ngx_broadcast_frame_free(frame);
    }
}

#define frame_is(frame, want, name)                                           \
    is_frame(frame, want, sizeof(want) - 1, name)


/* 1 if frames of hub messages of that type are counted */

static ngx_uint_t
counted(ngx_uint_t type)
{
    ngx_uint_t                is;
    ngx_broadcast_frame_t    *frame;
    ngx_broadcast_message_t   m;

    ngx_memzero(&m, sizeof(ngx_broadcast_message_t));

    m.type = type;
    ngx_str_set(&m.id, "1");
    ngx_str_set(&m.target, "t");
    ngx_str_set(&m.arguments, "[]");
    ngx_str_set(&m.value, "null");

    frame = ngx_broadcast_frame_hub_message(NGX_BROADCAST_HUB_JSON,
                                            NGX_BROADCAST_FRAME_WS, &m);
    is = frame->counted;

    ngx_broadcast_frame_free(frame);

    return is;
}


static void
frames(void)
{
    ngx_uint_t                 type;
    ngx_broadcast_frame_t     *frame;
    ngx_str_t                  none;
    ngx_broadcast_record_t     rec;
    ngx_broadcast_position_t   position, nowhere;
    static u_char              longer[1000];

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    ngx_str_set(&rec.target, "t");
    ngx_str_set(&rec.arguments, "[1]");
    rec.position.epoch = 0xe;
    rec.position.seq = 7;

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_HUB_JSON,
                                         NGX_BROADCAST_FRAME_WS, &rec),
             "\x81\x28{\"type\":1,\"target\":\"t\",\"arguments\":[1]}\x1e",
             "an invocation as a WebSocket frame");

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_HUB_MSGPACK,
                                         NGX_BROADCAST_FRAME_WS, &rec),
             "\x82\x0a\x09\x96\x01\x80\xc0\xa1t\x91\x01\x90",
             "for MessagePack as a binary WebSocket frame");

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_HUB_MSGPACK,
                                         NGX_BROADCAST_FRAME_BYTES, &rec),
             "\x09\x96\x01\x80\xc0\xa1t\x91\x01\x90",
             "and bare");

    ngx_str_set(&rec.packed, "\x91\xc4\x01\x07");

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_HUB_MSGPACK,
                                         NGX_BROADCAST_FRAME_BYTES, &rec),
             "\x0b\x96\x01\x80\xc0\xa1t\x91\xc4\x01\x07\x90",
             "what was published in MessagePack goes out as it came");

    ngx_str_null(&rec.packed);

    for (type = 1; type <= 5 && counted(type); type++) { /* void */ }

    ok(type == 6, "hub messages of the types 1 to 5 are counted");

    for (type = 6; type <= 9 && !counted(type); type++) { /* void */ }

    ok(type == 10, "those of the types 6 to 9 are not");

    frame = ngx_broadcast_frame_message(NGX_BROADCAST_HUB_JSON,
                                        NGX_BROADCAST_FRAME_WS, &rec);

    ok(frame->counted, "a published message is, for a hub's client");

    ngx_broadcast_frame_free(frame);

    frame = ngx_broadcast_frame_message(NGX_BROADCAST_PLAIN,
                                        NGX_BROADCAST_FRAME_WS, &rec);

    ok(!frame->counted, "and is not for a plain subscriber");

    ngx_broadcast_frame_free(frame);

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_HUB_JSON,
                                         NGX_BROADCAST_FRAME_SSE, &rec),
             "data: {\"type\":1,\"target\":\"t\",\"arguments\":[1]}\x1e"
             CRLF CRLF,
             "as a line of an event stream");

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_HUB_JSON,
                                         NGX_BROADCAST_FRAME_SSE_CHUNK, &rec),
             "32" CRLF "data: {\"type\":1,\"target\":\"t\",\"arguments\":[1]}"
             "\x1e" CRLF CRLF CRLF,
             "and in a chunk");

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_PLAIN,
                                         NGX_BROADCAST_FRAME_SSE, &rec),
             "id: e-7\nevent: t\ndata: [1]\n\n",
             "a plain event has id and name");

    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;

    frame_is(ngx_broadcast_frame_message(NGX_BROADCAST_PLAIN,
                                         NGX_BROADCAST_FRAME_SSE, &rec),
             "event: t\ndata: [1]\n\n",
             "a raw notification has no id");

    position.epoch = 0xe;
    position.seq = 7;
    nowhere.epoch = 0;
    nowhere.seq = 0;

    frame_is(ngx_broadcast_frame_ping(NGX_BROADCAST_PLAIN,
                                      NGX_BROADCAST_FRAME_SSE, &position),
             "id: e-7\n\n", "a keep-alive is an id alone");
    frame_is(ngx_broadcast_frame_ping(NGX_BROADCAST_PLAIN,
                                      NGX_BROADCAST_FRAME_SSE_CHUNK, &nowhere),
             "3" CRLF ":" CRLF CRLF, "or a comment, where there is none");
    frame_is(ngx_broadcast_frame_ping(NGX_BROADCAST_PLAIN,
                                      NGX_BROADCAST_FRAME_WS, &position),
             "\x89\x00", "or a WebSocket ping");
    frame_is(ngx_broadcast_frame_ping(NGX_BROADCAST_HUB_JSON,
                                      NGX_BROADCAST_FRAME_WS, &position),
             "\x81\x0b{\"type\":6}\x1e", "or SignalR's");

    none = tap_str("e-7..1f");

    frame_is(ngx_broadcast_frame_placed(NGX_BROADCAST_HUB_JSON,
                                        NGX_BROADCAST_FRAME_BYTES, &rec,
                                        &none),
             "{\"type\":1,\"target\":\"t\",\"arguments\":[1]}\x1e"
             "{\"type\":1,\"target\":\"broadcast.position\","
             "\"arguments\":[\"e-7..1f\"]}\x1e",
             "a message with its position is one frame");

    frame = ngx_broadcast_frame_placed(NGX_BROADCAST_HUB_MSGPACK,
                                       NGX_BROADCAST_FRAME_WS, &rec, &none);
    is_int(frame->counted, 2, "of two messages, in MessagePack as well");
    ngx_broadcast_frame_free(frame);

    frame_is(ngx_broadcast_frame_placed(NGX_BROADCAST_PLAIN,
                                        NGX_BROADCAST_FRAME_SSE, &rec, &none),
             "id: e-7..1f\nevent: t\ndata: [1]\n\n",
             "for a plain subscriber it is the id");

    memset(longer, '1', sizeof(longer));
    none.data = longer;
    none.len = sizeof(longer);

    frame = ngx_broadcast_frame_position(NGX_BROADCAST_HUB_JSON,
                                         NGX_BROADCAST_FRAME_BYTES, &none);
    ok(frame->len > sizeof(longer) && frame->counted == 1,
       "a position may be long");
    ngx_broadcast_frame_free(frame);

    ngx_str_null(&none);

    frame_is(ngx_broadcast_frame_gap(NGX_BROADCAST_PLAIN,
                                     NGX_BROADCAST_FRAME_SSE, &none,
                                     &nowhere, &position),
             "id: e-7\nevent: broadcast.gap\n"
             "data: {\"requested\":null,\"oldest\":null}\n\n",
             "a gap that nobody asked for");
}


/* 20000 random steps: push some, take some */

static void
model(void)
{
    u_char                  expected[8192], *p;
    size_t                  n, size, taken;
    ngx_chain_t            *cl, *in;
    ngx_uint_t              i, k, wrong, pushed;
    uint64_t                total;
    ngx_broadcast_frame_t  *frame;

    static u_char           line[1 << 22];
    size_t                  head, tail;

    head = 0;
    tail = 0;
    wrong = 0;
    pushed = 0;
    total = 0;
    bytes_sent = 0;
    delivered = 0;
    observed = 0;

    srandom(1);

    for (i = 0; i < 20000 && tail + sizeof(expected) < sizeof(line); i++) {

        for (k = random() % 4; k; k--) {
            size = 1 + random() % ((random() % 50) ? 40 : 4000);

            for (n = 0; n < size; n++) {
                expected[n] = (u_char) random();
            }

            frame = ngx_broadcast_frame_bytes(expected, size);
            frame->time = (pushed % 2) ? 1 : 2;

            (void) ngx_broadcast_outq_push(&conn.outq, frame);
            ngx_broadcast_frame_free(frame);

            ngx_memcpy(line + tail, expected, size);
            tail += size;
            pushed++;
        }

        wrong += (ngx_broadcast_outq_size(&conn) != tail - head);

        in = ngx_broadcast_outq_chain(&conn, 1 + random() % 8192);

        if (in == NULL) {
            wrong += (head != tail);
            continue;
        }

        n = 0;

        for (cl = in; cl; cl = cl->next) {
            size = cl->buf->last - cl->buf->pos;
            p = cl->buf->pos;

            wrong += (size == 0
                      || memcmp(p, line + head + n, size) != 0
                      || (cl->next == NULL) != cl->buf->flush);
            n += size;
        }

        /* the socket takes nothing, all, or anything between */

        taken = (random() % 3) ? random() % (n + 1) : n;

        ngx_broadcast_outq_sent(&conn, taken);
        head += taken;
        total += taken;
    }

    is_int(wrong, 0, "what comes out is what went in");

    while ((in = ngx_broadcast_outq_chain(&conn, 100000)) != NULL) {
        for (cl = in; cl; cl = cl->next) {
            n = cl->buf->last - cl->buf->pos;
            total += n;
            ngx_broadcast_outq_sent(&conn, n);
        }
    }

    is_int(total, tail, "all of it");
    is_int(bytes_sent, tail, "and is counted");
    is_int(delivered, pushed, "each frame is one delivery");
    is_int(observed, pushed - pushed / 2,
           "and is timed, unless it is a replay");
    ok(conn.outq.size == 0, "an empty queue keeps no memory");
}


static ngx_broadcast_frame_t *
push(ngx_broadcast_outq_t *q, size_t size)
{
    static u_char           data[4096];
    ngx_broadcast_frame_t  *frame;

    frame = ngx_broadcast_frame_bytes(data, size);
    (void) ngx_broadcast_outq_push(q, frame);
    ngx_broadcast_frame_free(frame);

    return frame;
}


/* the short way, into a socket that has room for it, for some, for none */

static void
shortly(void)
{
    int                     fd[2], room;
    size_t                  left, took;
    ssize_t                 n;
    ngx_broadcast_outq_t   *q;
    ngx_broadcast_frame_t  *frame;

    static u_char           large[1 << 20], read_into[1 << 20];

    q = &conn.outq;
    delivered = 0;
    bytes_sent = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK, 0, fd) == -1) {
        ok(0, "a pair of sockets");
        return;
    }

    conn.bare = -1;
    push(q, 100)->time = 1;
    is_int(ngx_broadcast_outq_write(&conn), NGX_DECLINED,
           "a socket that is not bare is the transport's");

    conn.bare = fd[0];
    is_int(ngx_broadcast_outq_write(&conn), NGX_OK, "a bare one is sent to");
    ok(q->count == 0 && q->bytes == 0 && bytes_sent == 100 && delivered == 1,
       "which is a delivery");
    is_int(read(fd[1], read_into, sizeof(read_into)), 100, "it is there");

    push(q, 10);
    push(q, 10);
    is_int(ngx_broadcast_outq_write(&conn), NGX_DECLINED,
           "two frames are the transport's");
    ngx_broadcast_outq_clear(q, 0);

    push(q, 10);
    conn.state = NGX_BROADCAST_CLOSING;
    is_int(ngx_broadcast_outq_write(&conn), NGX_DECLINED,
           "last words are, too");
    conn.state = NGX_BROADCAST_ACTIVE;
    ngx_broadcast_outq_clear(q, 0);

    /* less room than the frame has bytes */

    room = 4096;
    (void) setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));

    frame = ngx_broadcast_frame_bytes(large, sizeof(large));
    frame->time = 1;
    (void) ngx_broadcast_outq_push(q, frame);
    ngx_broadcast_frame_free(frame);

    delivered = 0;
    bytes_sent = 0;

    is_int(ngx_broadcast_outq_write(&conn), NGX_DECLINED,
           "what a socket has no room for is the transport's");
    took = bytes_sent;
    left = sizeof(large) - took;
    ok(took > 0 && left > 0 && q->bytes == left && delivered == 0,
       "the rest of a frame is still to send, and no delivery yet");

    is_int(ngx_broadcast_outq_write(&conn), NGX_DECLINED,
           "a frame that is begun is not begun again");
    is_int(q->bytes, left, "and loses nothing");

    ngx_broadcast_outq_clear(q, 0);
    push(q, 10);
    is_int(ngx_broadcast_outq_write(&conn), NGX_DECLINED,
           "a full socket takes nothing");
    is_int(q->bytes, 10, "and the frame stays");

    for (n = 0; took; took -= n) {
        n = read(fd[1], read_into, sizeof(read_into));

        if (n <= 0) {
            break;
        }
    }

    is_int(took, 0, "what was taken has arrived");

    /* as in nginx */

    (void) signal(SIGPIPE, SIG_IGN);

    close(fd[1]);
    is_int(ngx_broadcast_outq_write(&conn), NGX_DECLINED,
           "that nobody reads is for the transport to tell");

    close(fd[0]);
    conn.bare = -1;
    ngx_broadcast_outq_clear(q, 0);
}


static void
bounds(void)
{
    ngx_broadcast_outq_t  *q;

    q = &conn.outq;

    push(q, 100);
    is_int(ngx_broadcast_outq_over(q, 100), 0, "the limit is within");

    push(q, 1);
    is_int(ngx_broadcast_outq_over(q, 100), 1, "one more is not");

    ngx_broadcast_outq_clear(q, 0);
    is_int(q->bytes, 0, "cleared");

    push(q, 4000);
    is_int(ngx_broadcast_outq_over(q, 100), 0,
           "a frame above the limit may go alone");

    push(q, 100);
    is_int(ngx_broadcast_outq_over(q, 100), 0, "with a queue behind it");

    push(q, 1);
    is_int(ngx_broadcast_outq_over(q, 100), 1, "that keeps the limit");

    /* half of it is out: what is begun must be ended */

    (void) ngx_broadcast_outq_chain(&conn, 1);
    ngx_broadcast_outq_sent(&conn, 1000);
    ngx_broadcast_outq_clear(q, 1);

    is_int(q->count, 1, "a frame that was begun stays");
    is_int(q->bytes, 3000, "as far as it is not sent");

    ngx_broadcast_outq_clear(q, 1);
    is_int(q->count, 1, "however often");

    ngx_broadcast_outq_sent(&conn, 3000);
    is_int(q->count, 0, "and ends");

    push(q, 10);
    push(q, 10);
    push(q, 10);
    ngx_broadcast_outq_clear(q, 1);
    is_int(q->count, 0, "frames that were not begun go");
    ok(q->ring == NULL, "with their ring");
}


/* an answer that takes the queue whole: a poll's */

static void
holds(void)
{
    ngx_str_t              bytes;
    ngx_pool_t            *pool;
    ngx_broadcast_outq_t  *q;

    q = &conn.outq;
    pool = ngx_create_pool(4096, &ngx_stub_log);

    push(q, 100);
    push(q, 50);

    is_int(ngx_broadcast_outq_hold(&conn, pool, &bytes), NGX_OK, "held");
    is_int(bytes.len, 150, "all of it in one piece");
    is_int(q->bytes, 150, "and still in the queue");

    push(q, 7);
    ngx_broadcast_outq_clear(q, 1);
    is_int(q->bytes, 150, "what came behind an answer may be dropped, it not");

    push(q, 9);
    ngx_broadcast_outq_unhold(&conn);
    (void) ngx_broadcast_outq_hold(&conn, pool, &bytes);
    is_int(bytes.len, 159, "an answer that failed is given again, and more");

    push(q, 3);
    ngx_broadcast_outq_sent(&conn, bytes.len);
    is_int(q->bytes, 3, "an answer that is out is gone");

    ngx_broadcast_outq_clear(q, 1);
    is_int(q->count, 0, "and nothing is held behind it");

    ngx_destroy_pool(pool);
}


static void
moves(void)
{
    ngx_uint_t              i;
    ngx_broadcast_outq_t    held;
    ngx_broadcast_frame_t  *frame;

    ngx_memzero(&held, sizeof(ngx_broadcast_outq_t));

    frame = ngx_broadcast_frame_bytes("x", 1);

    for (i = 0; i < 100; i++) {
        (void) ngx_broadcast_outq_push(&held, frame);
        (void) ngx_broadcast_outq_push(&conn.outq, frame);
    }

    is_int(frame->refs, 201, "a frame is shared");

    (void) ngx_broadcast_outq_append(&conn.outq, &held);

    is_int(conn.outq.count, 200, "held frames are put behind");
    is_int(held.count, 0, "and are held no more");
    is_int(frame->refs, 201, "each reference once");

    ngx_broadcast_outq_clear(&conn.outq, 0);
    is_int(frame->refs, 1, "and given back");

    ngx_broadcast_frame_free(frame);
}
