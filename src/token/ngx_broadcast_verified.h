
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_VERIFIED_H_INCLUDED_
#define _NGX_BROADCAST_VERIFIED_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "token/ngx_broadcast_jwt.h"


/*
 * A client shows the same token at negotiate, at connect, at each poll and
 * POST.  What was verified once is remembered by this process: the claims,
 * under the SHA-256 of the whole token and the set of keys that it was good
 * for.  Neither token nor signature is kept, nor anything that was refused.
 *
 * Bounded: places are taken by digest, the newest has it; a longer token is
 * verified each time.  Claims stay until their place is taken, or the token is
 * seen to have expired.
 */

#define NGX_BROADCAST_VERIFIED_PLACES  256
#define NGX_BROADCAST_VERIFIED_TOKEN   2048     /* characters */


/* ngx_broadcast_jwt_verify() in all that it answers; times count each time. */
ngx_int_t ngx_broadcast_verified(ngx_pool_t *pool,
    ngx_broadcast_keys_t *keys, ngx_str_t *token, time_t now,
    ngx_broadcast_jwt_t **jwt, const char **error);


#endif /* _NGX_BROADCAST_VERIFIED_H_INCLUDED_ */
