
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_WAL_H_INCLUDED_
#define _NGX_BROADCAST_WAL_H_INCLUDED_


#include "pg/ngx_broadcast_pg.h"


/*
 * What was sent through PostgreSQL's WAL, in place of the staging table: the
 * leading relay reads it from a logical replication slot and numbers it.  It
 * is also who changes from one way to the other.  For the relay only.
 */

/* this relay leads; it does not any more, or its session is lost */
void ngx_broadcast_wal_start(void);
void ngx_broadcast_wal_stop(void);

/* about once a second while it leads */
void ngx_broadcast_wal_poll(void);

/*
 * The leader's turn.  NGX_OK: the numbering of what came from the WAL was sent
 * over the relay's session; NGX_AGAIN: nothing may be numbered yet;
 * NGX_DECLINED: nothing came, number what is staged.
 */
ngx_int_t ngx_broadcast_wal_turn(void);


#endif /* _NGX_BROADCAST_WAL_H_INCLUDED_ */
