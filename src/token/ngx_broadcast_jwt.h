
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_JWT_H_INCLUDED_
#define _NGX_BROADCAST_JWT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "token/ngx_broadcast_key.h"


/*
 * Claims of a token, RFC 7519 and signalr.md 7.3 to 7.5.
 *
 * A client token has no "aud", or one with a "hub" in its query; a REST
 * token has an "aud" without.  A list of audiences may make it both.  A
 * client token without "aud" is for no hub: it opens what takes any client
 * token (auth, functions), not a hub.
 */

#define NGX_BROADCAST_JWT_LEEWAY     60     /* seconds between two clocks    */

#define NGX_BROADCAST_JWT_NAMEIDENTIFIER                                      \
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"

#define NGX_BROADCAST_JWT_CLIENT     0x1
#define NGX_BROADCAST_JWT_REST       0x2

#define NGX_BROADCAST_JWT_WEBSOCKET  0x1    /* asrs.s.htt                    */
#define NGX_BROADCAST_JWT_SSE        0x2
#define NGX_BROADCAST_JWT_LONGPOLL   0x4


typedef struct {
    json_t               *claims;    /* an object, released with the pool    */
    ngx_str_t             payload;   /* the same as signed, owned by pool    */
    ngx_str_t             user;      /* borrowed from claims or owned by     */
                                     /* pool; empty: anonymous               */
    ngx_uint_t            kind;      /* NGX_BROADCAST_JWT_CLIENT, _REST      */
    time_t                exp;       /* Unix seconds, not after year 9999    */
    time_t                close_at;  /* 0, or when a live connection must    */
                                     /* end (asrs.s.coae, asrs.s.aeo)        */
    ngx_uint_t            handshake; /* seconds, 0: not given (asrs.s.cht)   */
    ngx_uint_t            poll;      /* seconds, 0: not given (asrs.s.ttl)   */
    ngx_uint_t            transports;/* NGX_BROADCAST_JWT_WEBSOCKET ...,     */
                                     /* all where not given (asrs.s.htt)     */
} ngx_broadcast_jwt_t;


/* What a new token says; zeroed members are left out. */

typedef struct {
    ngx_str_t             aud;       /* "http://host/client/?hub=chat"       */
    ngx_str_t             user;
    ngx_array_t          *groups;    /* of ngx_str_t                         */
    json_t               *claims;    /* an object, borrowed for the call     */
    time_t                now;       /* Unix seconds                         */
    time_t                ttl;       /* seconds, at least 1                  */
} ngx_broadcast_jwt_mint_t;


/*
 * Checks signature and times; now in Unix seconds.  "exp" is required, it
 * and "nbf" get the leeway, "iat" is only checked to be a number.  A number
 * may have a fraction, which is cut off.  A repeated name, at any
 * depth, is refused.  The user is asrs.s.uid, else nameid, else .NET's long
 * name of it, else sub: a string or an integer that is a good user id
 * (base/ngx_broadcast_name.h), or the token is refused; "" is no user.
 *
 * NGX_OK:       *jwt, owned by pool.
 * NGX_DECLINED: not valid, 401; *error is a static sentence.
 * NGX_BUSY:     too long, 413; *error is set.
 * NGX_ERROR:    no memory.
 */
ngx_int_t ngx_broadcast_jwt_verify(ngx_pool_t *pool,
    ngx_broadcast_keys_t *keys, ngx_str_t *token, time_t now,
    ngx_broadcast_jwt_t **jwt, const char **error);

/*
 * The part of it that time changes, RFC 7519 sections 4.1.4 to 4.1.6: NULL, or
 * the sentence.  Reads claims, writes exp.
 */
const char *ngx_broadcast_jwt_times(ngx_broadcast_jwt_t *jwt, time_t now);

/*
 * In all of these a jwt of NULL, no token, is none of it.
 *
 * 1 or 0: is it a client token (for any hub); one for this hub, ignoring
 * case; a REST token for this path.  The path is the request's as it came
 * on the wire; a query and one slash at its end do not count, percent-encoding
 * is undone (but "%2F" is not "/"), case is ignored, signalr.md 7.4.
 */
ngx_uint_t ngx_broadcast_jwt_is_client(ngx_broadcast_jwt_t *jwt);
ngx_uint_t ngx_broadcast_jwt_for_hub(ngx_broadcast_jwt_t *jwt,
    ngx_str_t *hub);
ngx_uint_t ngx_broadcast_jwt_for_path(ngx_broadcast_jwt_t *jwt,
    ngx_str_t *path);

/* 1 or 0: the claim "role" ("groups") is this string or a list with it. */
ngx_uint_t ngx_broadcast_jwt_has_role(ngx_broadcast_jwt_t *jwt,
    ngx_str_t *role);
ngx_uint_t ngx_broadcast_jwt_has_group(ngx_broadcast_jwt_t *jwt,
    ngx_str_t *group);

/*
 * 1 or 0: may it do verb ("broadcast.join", "broadcast.send") in this group:
 * the group is in "groups", or the role is the verb, or "{verb}.{group}".
 */
ngx_uint_t ngx_broadcast_jwt_may(ngx_broadcast_jwt_t *jwt, const char *verb,
    ngx_str_t *group);

/*
 * The names in "groups", good ones only, as an array of ngx_str_t, which
 * borrow from the claims; empty where there are none.  NULL: no memory.
 */
ngx_array_t *ngx_broadcast_jwt_groups(ngx_pool_t *pool,
    ngx_broadcast_jwt_t *jwt);

/*
 * A claim as text for a variable: a string as it is (borrowed from the
 * claims), everything else, and a string with control characters, as JSON
 * (owned by pool): it can always stand in a header.  The name fits best as
 * it is, then with "asrs.u." before it, then both ignoring case, as nginx
 * writes variables in lower case.  NGX_DECLINED: none (value is empty).
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_jwt_claim(ngx_pool_t *pool, ngx_broadcast_jwt_t *jwt,
    ngx_str_t *name, ngx_str_t *value);

/*
 * A client token with nameid, nbf, exp, iat, aud, groups and the claims.  A
 * claim whose name is taken by these or registered is written with "asrs.u."
 * before it, signalr.md 7.3; so is whatever would make another user, but
 * "sub", which is one only where no user is given.
 *
 * NGX_DECLINED: user or a group is no good name, or the first key does not
 * sign; *error is a static sentence.  NGX_BUSY: the token became longer than
 * NGX_BROADCAST_TOKEN_MAX; *error is set.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_jwt_mint(ngx_pool_t *pool, ngx_broadcast_keys_t *keys,
    ngx_broadcast_jwt_mint_t *mint, ngx_str_t *token, const char **error);


#endif /* _NGX_BROADCAST_JWT_H_INCLUDED_ */
