
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_ROW_H_INCLUDED_
#define _NGX_BROADCAST_ROW_H_INCLUDED_


#include "shm/ngx_broadcast_record.h"
#include "pg/ngx_broadcast_pg_conn.h"


/*
 * broadcast.read() and broadcast.replay() end a page at some 4 MB; one that
 * has this much and ends before what was asked for may go on.
 */
#define NGX_BROADCAST_ROW_PAGE  (2 * 1024 * 1024)


/*
 * A record from the columns seq, type, scope, source, name, grp, target,
 * arguments, excluded, mark, created, the first of them being `column`.  Its
 * strings are borrowed from result; hub, epoch, flags and relay are left to
 * the caller.  Returns how many bytes its strings have.
 */
size_t ngx_broadcast_row_record(PGresult *result, int row, int column,
    ngx_broadcast_record_t *rec);


#endif /* _NGX_BROADCAST_ROW_H_INCLUDED_ */
