
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_TICKET_H_INCLUDED_
#define _NGX_BROADCAST_TICKET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_id.h"
#include "token/ngx_broadcast_key.h"


/*
 * The connection token that negotiate hands out.  No process remembers it:
 *
 *      base64url( id 16 | expiry 4, big-endian Unix seconds | mac 16 )
 *
 * The mac is HMAC-SHA256, cut to 16 bytes, over id, expiry, hub and user.
 * The id alone (22 characters, the first 16 bytes) is public, the whole is
 * the client's secret.  For negotiate version 0 the whole is the id.
 */

#define NGX_BROADCAST_TICKET_BYTES  36
#define NGX_BROADCAST_TICKET_LEN    48      /* characters                    */
#define NGX_BROADCAST_TICKET_TTL    15      /* seconds                       */
#define NGX_BROADCAST_TICKET_KEY    32      /* bytes                         */


/*
 * Derives the key from the first secret of the set, so that all nodes with
 * it agree; where keys is NULL or has no secret, from seed, random bytes that
 * the zone keeps.  key and seed are NGX_BROADCAST_TICKET_KEY bytes.
 */
ngx_int_t ngx_broadcast_ticket_key(u_char *key, ngx_broadcast_keys_t *keys,
    const u_char *seed);

/*
 * The same from the secret number n, from 0, of the set: with what follows
 * the first a token is verified that was given out before the keys changed
 * places.  NGX_DECLINED: there are not that many.
 */
ngx_int_t ngx_broadcast_ticket_key_at(u_char *key, ngx_broadcast_keys_t *keys,
    ngx_uint_t n);

/*
 * Writes NGX_BROADCAST_TICKET_LEN characters to dst.  id is
 * NGX_BROADCAST_ID_BYTES; hub is in lower case; user may be empty; expires
 * in Unix seconds (now + NGX_BROADCAST_TICKET_TTL).  NGX_ERROR: OpenSSL
 * failed, or hub or user are longer than base/ngx_broadcast_name.h allows.
 */
ngx_int_t ngx_broadcast_ticket_make(u_char *dst, const u_char *key,
    const u_char *id, ngx_str_t *hub, ngx_str_t *user, time_t expires);

/*
 * Reads id and expiry without any proof, to look for the connection's row;
 * NGX_DECLINED: not of this form.  The proof, with the row's hub and user,
 * is ngx_broadcast_ticket_verify().
 */
ngx_int_t ngx_broadcast_ticket_read(ngx_str_t *token, u_char *id,
    time_t *expires);

/*
 * NGX_OK:       made with this key for this hub and user, and now <= expiry.
 * NGX_BUSY:     the same, but its time is over: good for a connection that
 *               it has opened, not to open one.
 * NGX_DECLINED: not ours, or for another hub or user.
 * id (NGX_BROADCAST_ID_BYTES) and *expires are set unless declined.
 */
ngx_int_t ngx_broadcast_ticket_verify(ngx_str_t *token, const u_char *key,
    ngx_str_t *hub, ngx_str_t *user, time_t now, u_char *id, time_t *expires);


#endif /* _NGX_BROADCAST_TICKET_H_INCLUDED_ */
