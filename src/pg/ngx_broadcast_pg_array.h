
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_ARRAY_H_INCLUDED_
#define _NGX_BROADCAST_PG_ARRAY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_buf.h"


/*
 * A one-dimensional array in PostgreSQL's text form (its manual, 8.15.2):
 *
 *     {"a \"b\" c","back\\slash","","NULL",NULL,12}
 *
 * Text is always quoted: so no byte but the quote and the backslash means
 * anything, and the text NULL is not a null.
 */

typedef struct {
    ngx_broadcast_buf_t         buf;
    ngx_uint_t                  bad;        /* 1: a text had a zero byte */
} ngx_broadcast_pg_array_t;


/* size: what it will about take; the pool owns the text */
void ngx_broadcast_pg_array_init(ngx_broadcast_pg_array_t *array,
    ngx_pool_t *pool, size_t size);

/* an element; the empty text is an empty text */
void ngx_broadcast_pg_array_text(ngx_broadcast_pg_array_t *array,
    ngx_str_t *text);
void ngx_broadcast_pg_array_int(ngx_broadcast_pg_array_t *array, int64_t n);
void ngx_broadcast_pg_array_null(ngx_broadcast_pg_array_t *array);

/*
 * Zero terminated, owned by the pool; nothing may be appended afterwards.
 * NULL: no memory, or a text had a zero byte, which no text of PostgreSQL has.
 */
char *ngx_broadcast_pg_array_done(ngx_broadcast_pg_array_t *array);


#endif /* _NGX_BROADCAST_PG_ARRAY_H_INCLUDED_ */
