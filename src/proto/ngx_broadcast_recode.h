
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Raw values between the two hub protocols (signalr.md 5.4).  What is given
 * was checked before: JSON by the scanner, MessagePack by
 * ngx_broadcast_msgpack_check().  Other input is an error, never a crash.
 *
 *   JSON                            MessagePack
 *   null, true, false               nil, true, false
 *   integer that fits 64 bits       int or uint, the shortest form; so is -0
 *   any other number                float64; beyond its range infinite, as
 *                                   JSON.parse has it
 *   string                          str; U+FFFD for a lone surrogate's escape
 *   array, object                   array, map, in the order of the source; a
 *                                   name that comes twice stays twice
 *
 *   MessagePack                     JSON
 *   float32, float64                the shortest number that reads back as the
 *                                   same float64; null for NaN and infinity,
 *                                   as JSON.stringify() has it
 *   bin                             string: base64
 *   timestamp (extension -1)        string: ISO 8601 in UTC, with three digits
 *                                   of a second as JavaScript has it, or nine
 *                                   where they are needed; null where
 *                                   JavaScript's dates end
 *   other extension                 string: base64 of its bytes
 *   map with an integer as key      object, the integer as name
 *
 * Text is at most six times, packed bytes at most two and a half times as many
 * as what they are made of, and one more head of a few bytes.
 */

#ifndef _NGX_BROADCAST_RECODE_H_INCLUDED_
#define _NGX_BROADCAST_RECODE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "proto/ngx_broadcast_message.h"


/* One value each; the result is owned by the pool.  NGX_ERROR: no memory. */

ngx_int_t ngx_broadcast_recode_pack(const ngx_str_t *json, ngx_pool_t *pool,
    ngx_str_t *packed);
ngx_int_t ngx_broadcast_recode_text(const ngx_str_t *packed, ngx_pool_t *pool,
    ngx_str_t *json);

/*
 * The same for a value whose shape is known, itself JSON: "bytes" is a string
 * of base64 that becomes bin, "time" one of ISO 8601 with a zone that becomes
 * a timestamp, [shape] an array of such (of any dimension), an object with
 * shapes one of members.  What does not fit its shape is packed as it is.
 */
ngx_int_t ngx_broadcast_recode_shaped(const ngx_str_t *json,
    const ngx_str_t *shape, ngx_pool_t *pool, ngx_str_t *packed);

/*
 * *to becomes m with its raw values (arguments, streams, value) in that
 * encoding; they are m's own if they are in it already.
 */
ngx_int_t ngx_broadcast_recode_message(const ngx_broadcast_message_t *m,
    ngx_broadcast_hub_protocol_e encoding, ngx_pool_t *pool,
    ngx_broadcast_message_t *to);


#endif /* _NGX_BROADCAST_RECODE_H_INCLUDED_ */
