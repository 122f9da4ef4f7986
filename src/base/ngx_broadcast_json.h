
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_JSON_H_INCLUDED_
#define _NGX_BROADCAST_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>


/*
 * JSON that the module itself reads: claims, actions, settings.  Arguments
 * of messages do not pass here, they are forwarded as the bytes that came.
 *
 * Values live in malloc()ed memory and are counted by jansson: who parses
 * calls json_decref(), or ngx_broadcast_json_own() once.
 */

#define NGX_BROADCAST_JSON_DEPTH   512      /* levels of [] and {}           */

#define NGX_BROADCAST_JSON_UNIQUE  0x1      /* a repeated name is an error,  */
                                            /* otherwise the last one counts */
#define NGX_BROADCAST_JSON_REALS   0x2      /* integers beyond 64 bits make  */
                                            /* all numbers of the text       */
                                            /* doubles; otherwise an error   */


/*
 * Once in the master, at configuration: seeds jansson's hash, which it
 * would otherwise do by reading a file in the worker.
 */
void ngx_broadcast_json_init(void);

/*
 * Any JSON value with nothing but white space around it.  "\u0000" is
 * allowed in strings (json_string_length()), not in names.  NULL: *error is
 * a static sentence; nothing of the text is in it.  (A machine without memory
 * may cost a string a character: jansson's scanner does not look.)
 */
json_t *ngx_broadcast_json_parse(ngx_str_t *text, ngx_uint_t flags,
    const char **error);

/*
 * How deep arrays and objects are nested in a text that is JSON; of any other
 * text at least as deep as a parser would go.
 */
ngx_uint_t ngx_broadcast_json_levels(const ngx_str_t *text);

/* The value is released when the pool is destroyed; NGX_ERROR: it was now. */
ngx_int_t ngx_broadcast_json_own(ngx_pool_t *pool, json_t *value);

/*
 * A member of an object that is a string, borrowed from it until it is
 * released or changed; it may hold U+0000.  NGX_DECLINED: there is none, or
 * it is null, or object is NULL or no object.  NGX_ERROR: of another type.
 * value is empty in both cases.
 */
ngx_int_t ngx_broadcast_json_str(json_t *object, const char *name,
    ngx_str_t *value);

/* Borrowed from value, which is a string. */
void ngx_broadcast_json_text(json_t *value, ngx_str_t *text);

/* A new string value, NULL: no memory or not UTF-8. */
json_t *ngx_broadcast_json_new(ngx_str_t *text);

/* Compact, in the order of the parsed text, owned by the pool. */
ngx_int_t ngx_broadcast_json_dump(ngx_pool_t *pool, json_t *value,
    ngx_str_t *text);


#endif /* _NGX_BROADCAST_JSON_H_INCLUDED_ */
