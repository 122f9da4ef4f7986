
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_HMAC_H_INCLUDED_
#define _NGX_BROADCAST_HMAC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_BROADCAST_HMAC_MAX    64        /* bytes of the longest MAC      */
#define NGX_BROADCAST_SHA256_LEN  32        /* bytes                         */


typedef enum {
    NGX_BROADCAST_HMAC_SHA256 = 0,
    NGX_BROADCAST_HMAC_SHA384,
    NGX_BROADCAST_HMAC_SHA512
} ngx_broadcast_hmac_e;


/*
 * RFC 2104.  mac holds NGX_BROADCAST_HMAC_MAX bytes; returns how many were
 * written.  0: OpenSSL could not, its errors are cleared.
 */
size_t ngx_broadcast_hmac(u_char *mac, ngx_broadcast_hmac_e digest,
    ngx_str_t *key, const u_char *input, size_t len);

/* NGX_OK or NGX_ERROR: OpenSSL could not, its errors are cleared. */
ngx_int_t ngx_broadcast_sha256(u_char digest[NGX_BROADCAST_SHA256_LEN],
    const u_char *input, size_t len);


#endif /* _NGX_BROADCAST_HMAC_H_INCLUDED_ */
