
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_UTF8_H_INCLUDED_
#define _NGX_BROADCAST_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * UTF-8 as RFC 3629 has it: no overlong form, no surrogate, nothing above
 * U+10FFFF.  U+0000 is valid here.  A zeroed state stands at a boundary.
 */

typedef struct {
    u_char                left;      /* continuation bytes still to come */
    u_char                low;       /* the next one's least value ...   */
    u_char                high;      /* ... and its greatest             */
} ngx_broadcast_utf8_t;


#define ngx_broadcast_utf8_init(u)                                            \
    (u)->left = 0; (u)->low = 0; (u)->high = 0


/*
 * Takes the text in pieces of any size.  NGX_ERROR as soon as no
 * continuation could make it valid; the state is of no use then.
 */
ngx_int_t ngx_broadcast_utf8_feed(ngx_broadcast_utf8_t *u, const u_char *p,
    size_t len);

/* NGX_OK if the text may end here, NGX_ERROR inside a character. */
ngx_int_t ngx_broadcast_utf8_finish(ngx_broadcast_utf8_t *u);

/* 1 if the whole text is valid (an empty one is), 0 if not. */
ngx_uint_t ngx_broadcast_utf8_valid(ngx_str_t *text);

/*
 * The bytes of the valid character at p, 1 to 4, or 0 if there is none
 * before end.
 */
size_t ngx_broadcast_utf8_char(const u_char *p, const u_char *end);


#endif /* _NGX_BROADCAST_UTF8_H_INCLUDED_ */
