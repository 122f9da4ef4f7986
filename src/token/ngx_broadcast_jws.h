
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_JWS_H_INCLUDED_
#define _NGX_BROADCAST_JWS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "token/ngx_broadcast_key.h"


/* Characters of a token; a longer one is 413, signalr.md 7.1. */

#define NGX_BROADCAST_TOKEN_MAX  4096


/*
 * JWS in compact form, RFC 7515, against the keys of a set (NULL: none).
 * A "kid" narrows the search to the keys that have it and to those without
 * any; one that no key has is ignored (Azure's SDKs send a hash).
 *
 * NGX_OK:       *payload, owned by pool, is what was signed.
 * NGX_DECLINED: not valid; *error is a static sentence for a log.
 * NGX_BUSY:     longer than NGX_BROADCAST_TOKEN_MAX; *error is set.
 * NGX_ERROR:    no memory.
 */
ngx_int_t ngx_broadcast_jws_verify(ngx_pool_t *pool,
    ngx_broadcast_keys_t *keys, ngx_str_t *token, ngx_str_t *payload,
    const char **error);

/*
 * Signs with the first key, which must be a secret, by HS256 (or the first
 * that the key's alg allows).  NGX_DECLINED: it is none.
 */
ngx_int_t ngx_broadcast_jws_sign(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    ngx_str_t *payload, ngx_str_t *token);


#endif /* _NGX_BROADCAST_JWS_H_INCLUDED_ */
