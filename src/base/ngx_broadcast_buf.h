
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_BUF_H_INCLUDED_
#define _NGX_BROADCAST_BUF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * A text that grows in a pool.  A failed allocation is remembered, what is
 * appended behind it is dropped, and ngx_broadcast_buf_done() tells it once:
 * nothing between needs a check.
 *
 * Growing leaves the old block to the pool, so at most as much again as the
 * text is wasted; init with a size that mostly suffices.
 */

typedef struct {
    u_char               *start;     /* owned by pool                     */
    u_char               *last;      /* behind the text                   */
    u_char               *end;       /* behind the block                  */
    ngx_pool_t           *pool;      /* borrowed from the caller          */
    ngx_uint_t            failed;    /* 1: out of memory, start is no use */
} ngx_broadcast_buf_t;


#define ngx_broadcast_buf_literal(b, text)                                    \
    ngx_broadcast_buf_append(b, (const u_char *) text, sizeof(text) - 1)

#define ngx_broadcast_buf_len(b)  ((size_t) ((b)->last - (b)->start))


void ngx_broadcast_buf_init(ngx_broadcast_buf_t *b, ngx_pool_t *pool,
    size_t size);

/*
 * Makes room for len bytes at b->last, to be filled and counted by the
 * caller (b->last += ...).  NULL: out of memory.
 */
u_char *ngx_broadcast_buf_reserve(ngx_broadcast_buf_t *b, size_t len);

void ngx_broadcast_buf_char(ngx_broadcast_buf_t *b, u_char c);
void ngx_broadcast_buf_append(ngx_broadcast_buf_t *b, const u_char *data,
    size_t len);
void ngx_broadcast_buf_str(ngx_broadcast_buf_t *b, ngx_str_t *text);
void ngx_broadcast_buf_uint(ngx_broadcast_buf_t *b, uint64_t n);
void ngx_broadcast_buf_int(ngx_broadcast_buf_t *b, int64_t n);

/*
 * The text as a JSON string with its quotes, and without them to compose one
 * from parts (each part whole characters).  Escaped are the quote, the
 * backslash and control characters, 0x1e (SignalR's record separator) and
 * 0x7f among them; each byte that is not UTF-8 becomes U+FFFD.
 */
void ngx_broadcast_buf_json(ngx_broadcast_buf_t *b, ngx_str_t *text);
void ngx_broadcast_buf_json_bare(ngx_broadcast_buf_t *b, ngx_str_t *text);

/*
 * NGX_OK and the text, owned by the pool, not terminated; it may be appended
 * to and asked for again.  NGX_ERROR: something did not fit, text is empty.
 */
ngx_int_t ngx_broadcast_buf_done(ngx_broadcast_buf_t *b, ngx_str_t *text);


#endif /* _NGX_BROADCAST_BUF_H_INCLUDED_ */
