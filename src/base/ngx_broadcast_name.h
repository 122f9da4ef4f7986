
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_NAME_H_INCLUDED_
#define _NGX_BROADCAST_NAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Names that clients, publishers and operators give to things, and where
 * they come from: path segments and query strings.
 */

#define NGX_BROADCAST_HUB_MAX     128     /* bytes; a hub name is ASCII       */
#define NGX_BROADCAST_GROUP_MAX   1024    /* characters, so ...               */
#define NGX_BROADCAST_GROUP_BYTES 4096    /* ... at most so many bytes        */
#define NGX_BROADCAST_USER_MAX    1024    /* bytes                            */
#define NGX_BROADCAST_TARGET_MAX  1024    /* bytes                            */

/* bytes of an invocationId that is kept while something is under way */
#define NGX_BROADCAST_INVOCATION_ID_MAX  128


/* Where a percent-encoded text stood: '+' is a space in a query alone. */

#define NGX_BROADCAST_IN_PATH     0
#define NGX_BROADCAST_IN_QUERY    1


/*
 * The checks below take the decoded name and return NGX_OK or NGX_ERROR.
 *
 * hub:     ^[A-Za-z][A-Za-z0-9_`,.[\]]{0,127}$, signalr.md 7.1.  The name in
 *          lower case, as which it is known everywhere, is written to lower
 *          (name->len bytes, NGX_BROADCAST_HUB_MAX at most); lower may be
 *          name->data, or NULL.
 * group:   1 to 1024 characters, not only white space, valid UTF-8, no
 *          U+0000; case counts, signalr.md 8.1.
 * user:    1 to 1024 bytes of valid UTF-8 without control characters: user
 *          ids reach headers of proxied requests as $broadcast_user.
 * target:  1 to 1024 bytes of valid UTF-8 without U+0000, CR and LF: it is a
 *          line of its own in an event stream.
 */
ngx_int_t ngx_broadcast_hub_name(ngx_str_t *name, u_char *lower);
ngx_int_t ngx_broadcast_group_name(ngx_str_t *name);
ngx_int_t ngx_broadcast_user_id(ngx_str_t *user);
ngx_int_t ngx_broadcast_target(ngx_str_t *target);

/*
 * Undoes percent-encoding once.  where: NGX_BROADCAST_IN_PATH or _IN_QUERY.
 * dst borrows src's bytes if nothing was encoded, else its bytes are owned
 * by pool; dst may be src.  NGX_DECLINED: a '%' without two hex digits.
 * NGX_ERROR: no memory.  The result may hold any byte, U+0000 and '/' too.
 */
ngx_int_t ngx_broadcast_unescape(ngx_pool_t *pool, ngx_str_t *src,
    ngx_str_t *dst, ngx_uint_t where);

/*
 * Takes the next pair off *args (which moves on, so give a copy): NGX_OK,
 * or NGX_DONE at the end.  Key and value are borrowed and still encoded;
 * a pair without '=' has an empty value; empty pairs are passed over.
 */
ngx_int_t ngx_broadcast_query_next(ngx_str_t *args, ngx_str_t *key,
    ngx_str_t *value);

/* 1 if the encoded key is that name, ignoring case; name in lower case. */
ngx_uint_t ngx_broadcast_query_key(ngx_str_t *key, const char *name);

/*
 * The first value, borrowed and still encoded, of the key that is name,
 * ignoring case: NGX_OK or NGX_DECLINED (value is then empty).
 */
ngx_int_t ngx_broadcast_query_get(ngx_str_t *args, const char *name,
    ngx_str_t *value);

/* How often the key is there. */
ngx_uint_t ngx_broadcast_query_count(ngx_str_t *args, const char *name);


#endif /* _NGX_BROADCAST_NAME_H_INCLUDED_ */
