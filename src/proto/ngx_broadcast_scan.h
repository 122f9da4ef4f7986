
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * A checking JSON scanner (RFC 8259) that yields spans of the bytes that came:
 * arguments are forwarded as they are, so big numbers, key order and \u0000
 * survive.  It checks the full grammar while it goes, needs no memory, does not
 * recurse, and stops at the first byte that is wrong.
 *
 * Decided here:
 *   - nesting deeper than 64 is refused (as System.Text.Json does);
 *   - text must be valid UTF-8 without byte order mark;
 *   - control characters in strings are refused, as the grammar wants; a span
 *     can therefore never hold the record separator 0x1E of SignalR, and CR
 *     or LF in it can only stand between tokens;
 *   - escapes of lone surrogates ("\ud800") are valid, as in the grammar, and
 *     forwarded as they are; where a string is decoded they become U+FFFD;
 *   - a name may come twice in an object: both are yielded, callers let the
 *     last one win (as JSON.parse and System.Text.Json do).
 *
 * Everything yielded is borrowed from the input.
 */

#ifndef _NGX_BROADCAST_SCAN_H_INCLUDED_
#define _NGX_BROADCAST_SCAN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_BROADCAST_SCAN_DEPTH     64
#define NGX_BROADCAST_SCAN_TOO_DEEP  "JSON text is nested deeper than 64 levels"


typedef enum {
    NGX_BROADCAST_SCAN_NULL = 0,
    NGX_BROADCAST_SCAN_FALSE,
    NGX_BROADCAST_SCAN_TRUE,
    NGX_BROADCAST_SCAN_NUMBER,
    NGX_BROADCAST_SCAN_STRING,
    NGX_BROADCAST_SCAN_ARRAY,
    NGX_BROADCAST_SCAN_OBJECT
} ngx_broadcast_scan_type_e;


typedef struct {
    ngx_str_t                   text;     /* quotes and brackets included */
    ngx_broadcast_scan_type_e   type;
    ngx_uint_t                  levels;   /* arrays and objects in each other,
                                             0 for a scalar */
    unsigned                    escaped:1;   /* some string has an escape */
    unsigned                    nul:1;       /* some string has \u0000 */
    unsigned                    lone:1;      /* some string has a lone
                                                surrogate escape */
} ngx_broadcast_scan_value_t;


typedef struct {
    u_char                     *pos;      /* borrowed: next byte to look at;
                                             after an error: the wrong byte */
    u_char                     *last;
    const char                 *error;    /* static sentence after NGX_ERROR */
    unsigned                    first:1;  /* no member or element yet */
    unsigned                    deep:1;   /* after an error: it is the depth,
                                             see ngx_broadcast_scan_pass() */
} ngx_broadcast_scan_t;


void ngx_broadcast_scan_init(ngx_broadcast_scan_t *s, const ngx_str_t *text);

/* checks the next value, white space before it is skipped; OK or ERROR */
ngx_int_t ngx_broadcast_scan_value(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v);

/*
 * After an error of the depth: goes on behind the value that it was in, so that
 * what follows can be read.  Of the value only brackets and strings were looked
 * at, so v, which must be the one that was given to the step, is good for
 * nothing but to be refused: its levels are more than the limit.  OK; ERROR if
 * the text ends in it.
 */
ngx_int_t ngx_broadcast_scan_pass(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v);

/* OK if nothing but white space is left */
ngx_int_t ngx_broadcast_scan_end(ngx_broadcast_scan_t *s);

/*
 * One value and nothing behind it.  *error may be NULL; it is set to a static
 * sentence with NGX_ERROR.
 */
ngx_int_t ngx_broadcast_scan_document(const ngx_str_t *text,
    ngx_broadcast_scan_value_t *v, const char **error);

/*
 * Walking an object or array.  Each step checks what it yields, so a walk to
 * NGX_DONE has checked the whole; no check before is needed.
 *
 *     ngx_broadcast_scan_init(&s, &text);
 *     if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) { ... }
 *     while ((rc = ngx_broadcast_scan_member(&s, &key, &value)) == NGX_OK) {
 *         ...
 *     }
 *     if (rc == NGX_DONE) rc = ngx_broadcast_scan_end(&s);
 *
 * open:  OK; DECLINED if the next value is of another type (or there is none);
 *        nothing but white space is taken then
 * steps: OK with a member or element, DONE behind the closing bracket, ERROR
 *
 * The depth limit counts from the value that a step yields.
 */
ngx_int_t ngx_broadcast_scan_open(ngx_broadcast_scan_t *s, u_char bracket);
ngx_int_t ngx_broadcast_scan_member(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *key, ngx_broadcast_scan_value_t *v);
ngx_int_t ngx_broadcast_scan_element(ngx_broadcast_scan_t *s,
    ngx_broadcast_scan_value_t *v);

/*
 * Strings; v has come out of the functions above and is of type STRING.
 *
 * is:      whether the decoded string equals a C string, exactly or ignoring
 *          the case of A-Z
 * decode:  writes the decoded bytes, at most v->text.len - 2, returns how many
 * string:  the decoded string: borrowed from the input if it has no escapes,
 *          else allocated in the pool; ERROR only if that fails
 */
ngx_uint_t ngx_broadcast_scan_is(const ngx_broadcast_scan_value_t *v,
    const char *string);
ngx_uint_t ngx_broadcast_scan_is_nocase(const ngx_broadcast_scan_value_t *v,
    const char *string);
size_t ngx_broadcast_scan_decode(const ngx_broadcast_scan_value_t *v,
    u_char *dst);
ngx_int_t ngx_broadcast_scan_string(const ngx_broadcast_scan_value_t *v,
    ngx_pool_t *pool, ngx_str_t *string);

/* OK; DECLINED if v is no number, has a fraction or exponent, or is too big */
ngx_int_t ngx_broadcast_scan_int64(const ngx_broadcast_scan_value_t *v,
    int64_t *n);

/*
 * Raw line breaks between tokens are JSON, but would break a line of an event
 * stream.  Once, when a message is published: a checked text that has some is
 * pointed to a copy in the pool, without white space between tokens.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_broadcast_scan_one_line(ngx_str_t *text, ngx_pool_t *pool);

/*
 * Its two halves: is a copy needed, and the copy.  dst has room for text->len
 * bytes and may be text->data itself; returns the bytes written.
 */
ngx_uint_t ngx_broadcast_scan_compact_needed(const ngx_str_t *text);
size_t ngx_broadcast_scan_compact(u_char *dst, const ngx_str_t *text);

/*
 * Writes a string as JSON with its quotes; src must be valid UTF-8.  Escaped
 * are the quote, the backslash and control characters only, as the reference
 * server does it.
 */
size_t ngx_broadcast_scan_quoted_len(const ngx_str_t *src);
u_char *ngx_broadcast_scan_quoted_write(u_char *dst, const ngx_str_t *src);


#endif /* _NGX_BROADCAST_SCAN_H_INCLUDED_ */
