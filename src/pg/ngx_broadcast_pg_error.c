
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_conn.h"
#include "pg/ngx_broadcast_pg_error.h"


static char *ngx_broadcast_pg_field(PGresult *result, int code);


/*
 * Those functions of the schema whose names begin so convert; their name stands
 * in the context in any language.
 */

ngx_uint_t
ngx_broadcast_pg_binding(PGresult *result)
{
    char  *context;

    context = ngx_broadcast_pg_field(result, PG_DIAG_CONTEXT);

    return ngx_strstr(context, "broadcast.argument") != NULL
           || ngx_strstr(context, " argument(text,anyelement) ") != NULL;
}


ngx_uint_t
ngx_broadcast_pg_outside(PGresult *result)
{
    char  *p, *end, *name;

    /* a line for each function; texts of statements are quoted in others */

    p = ngx_broadcast_pg_field(result, PG_DIAG_CONTEXT);

    while (*p) {
        end = p + strcspn(p, "\n");
        name = ngx_strstr(p, "function ");

        if (name && name < end
            && ngx_strncmp(name + sizeof("function ") - 1, "broadcast.", 10)
               != 0
            && ngx_strncmp(name + sizeof("function ") - 1, "\"broadcast.", 11)
               != 0)
        {
            return 0;
        }

        p = *end ? end + 1 : end;
    }

    return 1;
}


ngx_uint_t
ngx_broadcast_pg_unprepared(PGresult *result)
{
    char       *source;
    ngx_str_t   state;

    state = ngx_broadcast_pg_sqlstate(result);

    if (state.len != 5) {
        return 0;
    }

    if (ngx_memcmp(state.data, "26000", 5) == 0) {
        return 1;
    }

    source = ngx_broadcast_pg_field(result, PG_DIAG_SOURCE_FUNCTION);

    return ngx_memcmp(state.data, "0A000", 5) == 0
           && ngx_strcmp(source, "RevalidateCachedQuery") == 0
           && *ngx_broadcast_pg_field(result, PG_DIAG_CONTEXT) == '\0';
}


ngx_str_t
ngx_broadcast_pg_datatype(PGresult *result)
{
    ngx_str_t  text;

    text.data = (u_char *) ngx_broadcast_pg_field(result,
                                                  PG_DIAG_DATATYPE_NAME);
    text.len = ngx_strlen(text.data);

    return text;
}


static char *
ngx_broadcast_pg_field(PGresult *result, int code)
{
    char  *field;

    field = result ? PQresultErrorField(result, code) : NULL;

    return field ? field : (char *) "";
}
