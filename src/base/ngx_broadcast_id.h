
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ID_H_INCLUDED_
#define _NGX_BROADCAST_ID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* A connection id: 16 random bytes, written as 22 characters of base64url. */

#define NGX_BROADCAST_ID_BYTES  16
#define NGX_BROADCAST_ID_LEN    22


#define ngx_broadcast_base64url_len(len)    (((len) * 4 + 2) / 3)
#define ngx_broadcast_unbase64url_len(len)  ((len) * 3 / 4)


/*
 * Fills buf from the system's random source, which does not block once the
 * machine has booted.  NGX_ERROR (not logged): the source failed, and buf
 * must not be used.
 */
ngx_int_t ngx_broadcast_id_random(u_char *buf, size_t len);

/*
 * base64url without padding, RFC 4648 section 5.  dst holds
 * ngx_broadcast_base64url_len(len) bytes; returns how many were written.
 */
size_t ngx_broadcast_base64url(u_char *dst, const u_char *src, size_t len);

/*
 * Strict: padding, white space, a foreign character, an impossible length or
 * unused bits that are not zero are NGX_ERROR, so each value has exactly one
 * text.  dst holds ngx_broadcast_unbase64url_len(src->len) bytes and may be
 * src->data itself; *len is set.
 */
ngx_int_t ngx_broadcast_unbase64url(u_char *dst, size_t *len, ngx_str_t *src);

/* 1 if equal, 0 if not; the time depends on len alone, not on the bytes. */
ngx_int_t ngx_broadcast_memeq(const void *one, const void *two, size_t len);


#endif /* _NGX_BROADCAST_ID_H_INCLUDED_ */
