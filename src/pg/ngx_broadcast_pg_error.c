
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_conn.h"
#include "pg/ngx_broadcast_pg_error.h"


static ngx_uint_t ngx_broadcast_pg_ours(char *line, size_t len,
    ngx_uint_t *quoted);
static char *ngx_broadcast_pg_field(PGresult *result, int code);


/*
 * A context names a function without its schema where the search_path leads to
 * it, as that of a role named broadcast does.  These run under the caller's
 * path; the first ones convert.
 */

#define NGX_BROADCAST_PG_CONVERT  5

static const char  *ngx_broadcast_pg_bare[] = {
    "argument(text,anyelement)",
    "argument_array(text,anyarray,text)",
    "argument_bytes(text,anyelement)",
    "argument_is(text,text)",
    "argument_row(text,anyelement)",
    "assume(jsonb,text,text,oid)",
    "call_as(text,text,oid,text,text,text,text[])",
    "enter(text,text,text)",
    "finish(text,jsonb)",
    "finish(text,text)",
    "message_event(text,text)",
    NULL
};


/*
 * Those functions of the schema whose names begin so convert; their name stands
 * in the context in any language.
 */

ngx_uint_t
ngx_broadcast_pg_binding(PGresult *result)
{
    char        *context, *p;
    ngx_uint_t   i;

    context = ngx_broadcast_pg_field(result, PG_DIAG_CONTEXT);

    if (ngx_strstr(context, "broadcast.argument") != NULL) {
        return 1;
    }

    for (i = 0; i < NGX_BROADCAST_PG_CONVERT; i++) {
        p = ngx_strstr(context, ngx_broadcast_pg_bare[i]);

        if (p && p > context && p[-1] == ' ') {
            return 1;
        }
    }

    return 0;
}


/*
 * A line for each function, and others, with the texts of statements between
 * them, in quotes.  A line in another language than English is not understood:
 * then there may be a function behind it.
 */

ngx_uint_t
ngx_broadcast_pg_outside(PGresult *result)
{
    char        *p;
    size_t       len;
    ngx_uint_t   quoted;

    p = ngx_broadcast_pg_field(result, PG_DIAG_CONTEXT);
    quoted = 0;

    while (*p) {
        len = strcspn(p, "\n");

        if (!quoted && !ngx_broadcast_pg_ours(p, len, &quoted)) {
            return 0;
        }

        if (quoted && len && p[len - 1] == '"') {
            quoted = 0;
        }

        p += len;
        p += *p ? 1 : 0;
    }

    return 1;
}


/* 1: the line is not about a user's function; *quoted: a statement begins */

static ngx_uint_t
ngx_broadcast_pg_ours(char *line, size_t len, ngx_uint_t *quoted)
{
    char        *name;
    ngx_uint_t   i;

    static const char  *statements[] = {
        "SQL statement \"", "SQL expression \"", "PL/pgSQL assignment \"",
        NULL
    };

    static const char  *others[] = {
        "unnamed portal ", "portal ", "parallel worker", "JSON data, ", NULL
    };

    for (i = 0; statements[i]; i++) {
        if (ngx_strncmp(line, statements[i], ngx_strlen(statements[i])) == 0) {
            *quoted = 1;
            return 1;
        }
    }

    for (i = 0; others[i]; i++) {
        if (ngx_strncmp(line, others[i], ngx_strlen(others[i])) == 0) {
            return 1;
        }
    }

    name = ngx_strstr(line, "function ");

    if (name == NULL || name >= line + len) {
        return 0;
    }

    name += sizeof("function ") - 1;

    for (i = 0; ngx_broadcast_pg_bare[i]; i++) {
        if (ngx_strncmp(name, ngx_broadcast_pg_bare[i],
                        ngx_strlen(ngx_broadcast_pg_bare[i])) == 0)
        {
            return 1;
        }
    }

    return ngx_strncmp(name, "broadcast.", 10) == 0
           || ngx_strncmp(name, "\"broadcast.", 11) == 0;
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
