
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_ERROR_H_INCLUDED_
#define _NGX_BROADCAST_PG_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <libpq-fe.h>


/* what the error of a statement of broadcast.methods() means to its caller */

/* 1: an argument could not be converted; nothing of the function has run */
ngx_uint_t ngx_broadcast_pg_binding(PGresult *result);

/*
 * 1: it came of the statement itself, not of anything that the function does:
 * the error has no context but that of this schema's wrappers
 */
ngx_uint_t ngx_broadcast_pg_outside(PGresult *result);

/* 1: the statement has to be prepared anew; it was not executed */
ngx_uint_t ngx_broadcast_pg_unprepared(PGresult *result);

/* the name that USING DATATYPE gave; borrowed, empty if none */
ngx_str_t ngx_broadcast_pg_datatype(PGresult *result);


#endif /* _NGX_BROADCAST_PG_ERROR_H_INCLUDED_ */
