
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_row.h"


size_t
ngx_broadcast_row_record(PGresult *result, int row, int column,
    ngx_broadcast_record_t *rec)
{
    ngx_memzero(rec, sizeof(ngx_broadcast_record_t));

    rec->position.seq = ngx_broadcast_pg_number(result, row, column);
    rec->type = ngx_broadcast_pg_number(result, row, column + 1);
    rec->scope = ngx_broadcast_pg_number(result, row, column + 2);
    rec->source = ngx_broadcast_pg_number(result, row, column + 3);
    rec->name = ngx_broadcast_pg_value(result, row, column + 4);
    rec->group = ngx_broadcast_pg_value(result, row, column + 5);
    rec->target = ngx_broadcast_pg_value(result, row, column + 6);
    rec->arguments = ngx_broadcast_pg_value(result, row, column + 7);
    rec->excluded = ngx_broadcast_pg_value(result, row, column + 8);
    rec->mark = ngx_broadcast_pg_number(result, row, column + 9);
    rec->time = ngx_broadcast_pg_number(result, row, column + 10);

    if (rec->source >= NGX_BROADCAST_SOURCES) {
        rec->source = NGX_BROADCAST_SRC_SQL;
    }

    return rec->name.len + rec->group.len + rec->target.len
           + rec->arguments.len + rec->excluded.len;
}
