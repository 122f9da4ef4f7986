
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_KEY_H_INCLUDED_
#define _NGX_BROADCAST_KEY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>


/*
 * The keys of one configuration level, in the order of its directives: the
 * first signs, all verify.  Built at configuration time and only read
 * afterwards, by any number of workers.
 *
 * A key is of one family, and the algorithms that it verifies are always of
 * this family: a public key can never serve as an HMAC secret, whatever a
 * token's header says (RFC 8725 section 3.1).
 */

#define NGX_BROADCAST_KEY_MIN       16      /* bytes of a secret             */
#define NGX_BROADCAST_KEYS_MAX      64      /* keys in one set               */

#define NGX_BROADCAST_ALG_HS256     0x0001
#define NGX_BROADCAST_ALG_HS384     0x0002
#define NGX_BROADCAST_ALG_HS512     0x0004
#define NGX_BROADCAST_ALG_RS256     0x0008
#define NGX_BROADCAST_ALG_RS384     0x0010
#define NGX_BROADCAST_ALG_RS512     0x0020
#define NGX_BROADCAST_ALG_PS256     0x0040
#define NGX_BROADCAST_ALG_PS384     0x0080
#define NGX_BROADCAST_ALG_PS512     0x0100
#define NGX_BROADCAST_ALG_ES256     0x0200
#define NGX_BROADCAST_ALG_ES384     0x0400
#define NGX_BROADCAST_ALG_ES512     0x0800
#define NGX_BROADCAST_ALG_EDDSA     0x1000

#define NGX_BROADCAST_ALG_HS        0x0007
#define NGX_BROADCAST_ALG_RSA       0x01f8
#define NGX_BROADCAST_ALG_EC        0x0e00


typedef struct {
    ngx_uint_t            algs;      /* what it verifies, of one family      */
    ngx_str_t             kid;       /* empty: none                          */
    ngx_str_t             secret;    /* owned by the set's pool; else empty  */
    EVP_PKEY             *pkey;      /* owned by the set's pool; else NULL   */
} ngx_broadcast_key_t;


typedef struct {
    ngx_array_t           keys;      /* of ngx_broadcast_key_t               */
    ngx_pool_t           *pool;      /* borrowed: the configuration's        */
    uint64_t              serial;    /* from 1; no other set of this process */
                                     /* has had it, also of an older         */
                                     /* configuration                        */
} ngx_broadcast_keys_t;


/* NULL: no memory. */
ngx_broadcast_keys_t *ngx_broadcast_keys_create(ngx_pool_t *pool);

/*
 * Each adds keys, and returns NULL or a static sentence for "[emerg]" without
 * anything of the key in it.  kid and alg may be NULL or empty; alg is a name
 * ("HS256") or several with commas, and narrows what the key's family allows.
 *
 * secret:  the bytes as they stand, at least 16; copied.
 * file:    what a file holds.  With "-----BEGIN " in it PEM public keys or
 *          certificates (RSA from 2048 bits, P-256, P-384, P-521, Ed25519),
 *          else a secret, from which one "\n" or "\r\n" at the end is
 *          dropped.  A JWK set is refused, lest its public text be a secret.
 * jwks:    a JWK set (RFC 7517) or a single JWK with RSA, EC, OKP (Ed25519) or
 *          oct keys.  Its "kid" and "alg" count; keys of other types or for
 *          encryption are passed over; no usable key is an error.
 */
const char *ngx_broadcast_key_add_secret(ngx_broadcast_keys_t *keys,
    ngx_str_t *secret, ngx_str_t *kid, ngx_str_t *alg);
const char *ngx_broadcast_key_add_file(ngx_broadcast_keys_t *keys,
    ngx_str_t *content, ngx_str_t *kid, ngx_str_t *alg);
const char *ngx_broadcast_key_add_jwks(ngx_broadcast_keys_t *keys,
    ngx_str_t *content, ngx_str_t *kid, ngx_str_t *alg);

/*
 * The same for decoded keys; algs is a mask within the key's family, 0 is all
 * of it.  pkey is taken over, also where it is refused.
 */
const char *ngx_broadcast_key_put_secret(ngx_broadcast_keys_t *keys,
    ngx_str_t *secret, ngx_str_t *kid, ngx_uint_t algs);
const char *ngx_broadcast_key_put_public(ngx_broadcast_keys_t *keys,
    EVP_PKEY *pkey, ngx_str_t *kid, ngx_uint_t algs);

/* 1 if the first key is a secret; 0 also for NULL and an empty set. */
ngx_uint_t ngx_broadcast_keys_can_sign(ngx_broadcast_keys_t *keys);

/* One NGX_BROADCAST_ALG_ bit; 0: none of ours, "none" among them. */
ngx_uint_t ngx_broadcast_alg(ngx_str_t *name);

/* The mask of names with commas between; 0: one of them is not known. */
ngx_uint_t ngx_broadcast_algs(ngx_str_t *names);


#endif /* _NGX_BROADCAST_KEY_H_INCLUDED_ */
