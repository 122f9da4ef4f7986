
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What an error says: which function it was, and whether its caller may. */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_failed_local.h"
#include "pg/ngx_broadcast_pg_conn.h"


static ngx_uint_t ngx_broadcast_failed_ours(PGresult *result);
static void ngx_broadcast_failed_marked(PGresult *result, ngx_str_t *name);


void
ngx_broadcast_failed_read(ngx_broadcast_failed_t *failed, PGresult *result,
    ngx_broadcast_failed_error_t *e)
{
    ngx_uint_t  i;

    struct {
        int         code;
        ngx_str_t  *text;
    } fields[] = {
        { PG_DIAG_SQLSTATE, &e->sqlstate },
        { PG_DIAG_MESSAGE_PRIMARY, &e->message },
        { PG_DIAG_MESSAGE_DETAIL, &e->detail },
        { PG_DIAG_MESSAGE_HINT, &e->hint },
        { PG_DIAG_CONTEXT, &e->context },
        { PG_DIAG_TABLE_NAME, &e->function }
    };

    ngx_memzero(e, sizeof(ngx_broadcast_failed_error_t));

    if (result == NULL) {
        ngx_str_set(&e->message, "no answer in time");
        e->function = failed->function;
        return;
    }

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        fields[i].text->data = (u_char *) PQresultErrorField(result,
                                                            fields[i].code);
        if (fields[i].text->data) {
            fields[i].text->len = ngx_strlen(fields[i].text->data);
        }
    }

    if (failed->function.len) {
        e->function = failed->function;

    } else if (!ngx_broadcast_failed_ours(result)) {
        ngx_broadcast_failed_marked(result, &e->function);
    }
}


/* 1: raised by the schema itself, with its name in the error */

static ngx_uint_t
ngx_broadcast_failed_ours(PGresult *result)
{
    const char  *source, *schema;

    source = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    schema = PQresultErrorField(result, PG_DIAG_SCHEMA_NAME);

    return source && schema
           && ngx_strcmp(source, "exec_stmt_raise") == 0
           && ngx_strcmp(schema, "broadcast") == 0;
}


/*
 * broadcast.run() marks the statement that calls a function, and an error has
 * the statements it was raised in: innermost first, so the last mark is ours.
 * What does not come to run is in the field for the statement itself.
 */

static void
ngx_broadcast_failed_marked(PGresult *result, ngx_str_t *name)
{
    u_char      *p, *found, *end;
    ngx_uint_t   i;

    static const int   fields[] = { PG_DIAG_CONTEXT, PG_DIAG_INTERNAL_QUERY };
    static const char  mark[] = "/* broadcast.run */ ";

    ngx_str_null(name);

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {

        p = (u_char *) PQresultErrorField(result, fields[i]);
        found = NULL;

        while (p) {
            p = (u_char *) ngx_strstr(p, mark);

            if (p) {
                p += sizeof(mark) - 1;
                found = p;
            }
        }

        if (found) {
            end = (u_char *) ngx_strstr(found, "($1)");

            if (end) {
                name->data = found;
                name->len = end - found;
            }

            return;
        }
    }
}


/*
 * By the fields that broadcast.unauthorized() sets: the SQLSTATE alone is also
 * that of whatever the function itself must not do.
 */

ngx_uint_t
ngx_broadcast_pg_unauthorized(PGresult *result)
{
    ngx_str_t    state;
    const char  *why;

    state = ngx_broadcast_pg_sqlstate(result);

    if (state.len != 5 || ngx_memcmp(state.data, "42501", 5) != 0
        || !ngx_broadcast_failed_ours(result))
    {
        return 0;
    }

    why = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);

    return why && (ngx_strcmp(why, "claim") == 0
                   || ngx_strcmp(why, "role") == 0
                   || ngx_strcmp(why, "execute") == 0);
}
