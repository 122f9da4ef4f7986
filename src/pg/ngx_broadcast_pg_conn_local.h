
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_CONN_LOCAL_H_INCLUDED_
#define _NGX_BROADCAST_PG_CONN_LOCAL_H_INCLUDED_


#include "pg/ngx_broadcast_pg_conn.h"


/* The inside of a connection: for its own files only. */


/* ngx_broadcast_pg_conn.c */

/* at once: lost() is called, then the ends of what was in flight */
void ngx_broadcast_pg_conn_fail(ngx_broadcast_pg_conn_t *conn);

/* keeps why in one line; NULL: libpq's own words, which hold no password */
void ngx_broadcast_pg_conn_why(ngx_broadcast_pg_conn_t *conn,
    const char *why);


/* ngx_broadcast_pg_conn_io.c: of the socket of one that is OPEN */

void ngx_broadcast_pg_conn_read(ngx_event_t *ev);
void ngx_broadcast_pg_conn_write(ngx_event_t *ev);


#endif /* _NGX_BROADCAST_PG_CONN_LOCAL_H_INCLUDED_ */
