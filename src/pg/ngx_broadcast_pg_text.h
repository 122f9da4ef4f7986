
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_TEXT_H_INCLUDED_
#define _NGX_BROADCAST_PG_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_pace.h"


/*
 * Texts of statements that come from the database and are prepared on each
 * connection that uses them.  Equal texts are one, counted by those who hold
 * it, and known by a place and an id that is never used again in this process:
 * a connection keeps the id that it has prepared for each place.  So a text
 * that is still there when the catalogue was read anew stays prepared, and
 * where a place has got another text the old one is given up before.
 */

typedef struct ngx_broadcast_pg_text_s  ngx_broadcast_pg_text_t;

struct ngx_broadcast_pg_text_s {
    ngx_str_t                   text;       /* zero terminated, stands behind */
    uint32_t                    hash;
    uint32_t                    refs;
    uint32_t                    place;
    uint32_t                    id;         /* part of the statement's name */
    ngx_broadcast_pg_pace_t     pace;
    ngx_broadcast_pg_text_t    *next;       /* of the same hash */
};

#define NGX_BROADCAST_PG_TEXT_NAME  (sizeof("broadcast_") + NGX_INT32_LEN)


/* NULL: no memory, or no place */
ngx_broadcast_pg_text_t *ngx_broadcast_pg_text_get(ngx_str_t *text,
    ngx_log_t *log);
void ngx_broadcast_pg_text_put(ngx_broadcast_pg_text_t *text);

/* what was prepared of it is of no use any more */
void ngx_broadcast_pg_text_renew(ngx_broadcast_pg_text_t *text);

/* its name, zero terminated, in NGX_BROADCAST_PG_TEXT_NAME bytes */
void ngx_broadcast_pg_text_name(uint32_t id, char *name);


#endif /* _NGX_BROADCAST_PG_TEXT_H_INCLUDED_ */
