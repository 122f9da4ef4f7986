
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_conn.h"


#define NGX_BROADCAST_PG_TEXT_OID  25      /* fixed, as those of pg_type.dat */


typedef struct {
    const char                 *name;
    const char                 *text;
} ngx_broadcast_pg_prepared_t;


static ngx_int_t ngx_broadcast_pg_statement_own(
    ngx_broadcast_pg_conn_t *conn, ngx_broadcast_pg_query_t *query,
    char *name);
static ngx_int_t ngx_broadcast_pg_statement_room(
    ngx_broadcast_pg_conn_t *conn, ngx_uint_t place);
static const Oid *ngx_broadcast_pg_texts(void);


/* the order of ngx_broadcast_pg_statement_e */

static const ngx_broadcast_pg_prepared_t
    ngx_broadcast_pg_prepared[NGX_BROADCAST_PG_STATEMENTS] = {

    { NULL, NULL },

    { NULL, NULL },

    { "broadcast_stage",
      "SELECT broadcast.stage($1::text[], $2::smallint[], $3::smallint[],"
      " $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[],"
      " $9::text[], $10::bigint[], $11::double precision[])" },

    { "broadcast_stage_once",
      "SELECT r.n, r.state, r.epoch, r.seq FROM broadcast.stage_once("
      "$1::text[], $2::smallint[], $3::smallint[],"
      " $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[],"
      " $9::text[], $10::bigint[], $11::double precision[], $12::int[],"
      " $13::text[], $14::text[]) r" },

    { "broadcast_ring",
      "SELECT broadcast.ring()" },

    { "broadcast_dispatch",
      "SELECT broadcast.dispatch($1::jsonb, $2::text, $3::text)" },

    { "broadcast_sweep",
      "SELECT broadcast.sweep($1::int, $2::text, $3::text,"
      " pg_catalog.to_timestamp($4::double precision / 1000))" },

    { "broadcast_history",
      "SELECT s.epoch, s.oldest, s.newest, s.settled, r.seq, r.type, r.scope,"
      " r.source, r.name, r.grp, r.target, r.arguments, r.excluded, r.mark,"
      " r.created FROM broadcast.replay_state($1::text, $6::text) s"
      " LEFT JOIN LATERAL broadcast.replay($1::text,"
      " coalesce(nullif($2::bigint, 0), s.epoch), $3::bigint, $4::bigint,"
      " $5::int, $6::text) r ON s.settled ORDER BY r.seq" },

    { "broadcast_sequence",
      "SELECT broadcast.sequence($1::int)" },

    { "broadcast_sequence_read",
      "SELECT r.pos, r.hub, r.epoch, r.seq, r.type, r.scope, r.source,"
      " r.name, r.grp, r.target, r.arguments, r.excluded, r.mark, r.created,"
      " r.ttl, r.numbered FROM broadcast.sequence_read($1::int) r" },

    { "broadcast_sequence_wal",
      "SELECT s.taken, s.left_out, s.numbered FROM broadcast.sequence_wal("
      "$1::pg_lsn[], $2::int[], $3::bigint[], $4::text[], $5::pg_lsn) s" },

    { "broadcast_read",
      "SELECT r.pos, r.hub, r.epoch, r.seq, r.type, r.scope, r.source,"
      " r.name, r.grp, r.target, r.arguments, r.excluded, r.mark, r.created,"
      " r.ttl FROM broadcast.read($1::bigint, $2::int) r ORDER BY r.pos" },

    { "broadcast_look",
      "SELECT broadcast.head(), broadcast.bindings_version(),"
      " broadcast.by_wal()" },

    { "broadcast_present",
      "SELECT p.connection_id, p.user_id, p.transport, p.connected_at"
      " FROM broadcast.present($1::text, $2::text, $3::text, $4::text,"
      " $5::text, $6::int) p" },

    { "broadcast_members",
      "SELECT p.connection_id, p.user_id, p.transport, p.connected_at, p.mask"
      " FROM broadcast.members($1::text, $2::text, $3::text, $4::text,"
      " $5::text[], $6::boolean, $7::int) p" },

    { "broadcast_groups",
      "SELECT g.name, g.connections, g.key"
      " FROM broadcast.groups($1::text, $2::text, $3::int) g" },

    { "broadcast_keep",
      "SELECT broadcast.keep_groups($1::jsonb)" },

    { "broadcast_timers",
      "SELECT t.id, t.wait FROM broadcast.timers($1::int) t" },

    { "broadcast_error_add",
      "SELECT broadcast.error_add($1::text, $2::text, $3::text, $4::text,"
      " $5::text, $6::text, $7::text, $8::text, $9::text, $10::text,"
      " $11::bigint)" },

    { "broadcast_enrol",
      "SELECT broadcast.keep_connections($1::jsonb, $2::text)" }
};


ngx_int_t
ngx_broadcast_pg_statement_send(ngx_broadcast_pg_conn_t *conn,
    ngx_broadcast_pg_query_t *query)
{
    int                                  sent;
    char                                 buf[NGX_BROADCAST_PG_TEXT_NAME];
    const Oid                           *types;
    const char                          *name, *const *values;
    const ngx_broadcast_pg_prepared_t   *stmt;

    stmt = &ngx_broadcast_pg_prepared[query->statement];
    values = query->values ? query->values : query->params;

    query->result = NULL;
    query->preparing = 0;
    query->failed = 0;
    query->unclear = 0;

    name = stmt->name;

    if (query->statement == NGX_BROADCAST_PG_TEXT) {
        types = query->values ? ngx_broadcast_pg_texts() : NULL;

        sent = PQsendQueryParams(conn->pg, query->text, query->nparams, types,
                                 values, NULL, NULL, 0);

        return sent == 1 ? NGX_OK : NGX_ERROR;
    }

    if (query->statement == NGX_BROADCAST_PG_METHOD) {
        name = buf;

        if (ngx_broadcast_pg_statement_own(conn, query, buf) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (!(conn->prepared & (1u << query->statement))) {

        if (PQsendPrepare(conn->pg, name, stmt->text, 0, NULL) != 1) {
            return NGX_ERROR;
        }

        conn->prepared |= 1u << query->statement;
        query->preparing = 1;
    }

    sent = PQsendQueryPrepared(conn->pg, name, query->nparams, values, NULL,
                               NULL, 0);

    return sent == 1 ? NGX_OK : NGX_ERROR;
}


/* a text of the query's own: what had its place before is given up */

static ngx_int_t
ngx_broadcast_pg_statement_own(ngx_broadcast_pg_conn_t *conn,
    ngx_broadcast_pg_query_t *query, char *name)
{
    char                      text[sizeof("DEALLOCATE ")
                                   + NGX_BROADCAST_PG_TEXT_NAME];
    uint32_t                 *known;
    ngx_broadcast_pg_text_t  *own = query->prepare;

    if (ngx_broadcast_pg_statement_room(conn, own->place) != NGX_OK) {
        return NGX_ERROR;
    }

    known = &conn->texts[own->place];

    if (*known && *known != own->id) {
        ngx_memcpy(text, "DEALLOCATE ", sizeof("DEALLOCATE ") - 1);
        ngx_broadcast_pg_text_name(*known, text + sizeof("DEALLOCATE ") - 1);

        if (PQsendQueryParams(conn->pg, text, 0, NULL, NULL, NULL, NULL, 0)
            != 1)
        {
            return NGX_ERROR;
        }

        query->preparing++;
        *known = 0;
    }

    ngx_broadcast_pg_text_name(own->id, name);

    if (*known == 0) {

        if (PQsendPrepare(conn->pg, name, (char *) own->text.data,
                          query->nparams, ngx_broadcast_pg_texts())
            != 1)
        {
            return NGX_ERROR;
        }

        query->preparing++;
        *known = own->id;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_broadcast_pg_statement_room(ngx_broadcast_pg_conn_t *conn,
    ngx_uint_t place)
{
    uint32_t    *texts;
    ngx_uint_t   n;

    if (place < conn->ntexts) {
        return NGX_OK;
    }

    n = ngx_max(place + 1, 2 * conn->ntexts);
    n = ngx_max(n, 32);

    texts = ngx_calloc(n * sizeof(uint32_t), conn->log);
    if (texts == NULL) {
        return NGX_ERROR;
    }

    if (conn->texts) {
        ngx_memcpy(texts, conn->texts, conn->ntexts * sizeof(uint32_t));
        ngx_free(conn->texts);
    }

    conn->texts = texts;
    conn->ntexts = n;

    return NGX_OK;
}


void
ngx_broadcast_pg_statement_lost(ngx_broadcast_pg_conn_t *conn,
    ngx_broadcast_pg_query_t *query)
{
    if (query->statement == NGX_BROADCAST_PG_METHOD) {
        conn->texts[query->prepare->place] = 0;

    } else {
        conn->prepared &= ~(1u << query->statement);
    }
}


/* the type of each of values: a statement need not use them all */

static const Oid *
ngx_broadcast_pg_texts(void)
{
    ngx_uint_t  i;
    static Oid  types[NGX_BROADCAST_PG_VALUES];

    if (types[0] == 0) {
        for (i = 0; i < NGX_BROADCAST_PG_VALUES; i++) {
            types[i] = NGX_BROADCAST_PG_TEXT_OID;
        }
    }

    return types;
}


ngx_str_t
ngx_broadcast_pg_sqlstate(PGresult *result)
{
    ngx_str_t  text;

    text.data = result ? (u_char *) PQresultErrorField(result,
                                                       PG_DIAG_SQLSTATE)
                       : NULL;
    text.len = text.data ? ngx_strlen(text.data) : 0;

    return text;
}


ngx_uint_t
ngx_broadcast_pg_canceled(PGresult *result)
{
    ngx_str_t  state;

    state = ngx_broadcast_pg_sqlstate(result);

    return state.len == 5
           && ngx_memcmp(state.data, NGX_BROADCAST_PG_CANCELED, 5) == 0;
}


/*
 * In one line: it may hold what a client sent, and goes into the log.  The
 * text is the result's own and is changed there.
 */

ngx_str_t
ngx_broadcast_pg_message(PGresult *result)
{
    size_t     i;
    ngx_str_t  text;

    text.data = result ? (u_char *) PQresultErrorField(result,
                                                     PG_DIAG_MESSAGE_PRIMARY)
                       : NULL;
    text.len = text.data ? ngx_strlen(text.data) : 0;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] < ' ' || text.data[i] == 0x7f) {
            text.data[i] = ' ';
        }
    }

    return text;
}


/*
 * With any SQLSTATE: who raised is told by the place in the server's source,
 * and where by the first line of the context, whatever its language.
 */

ngx_uint_t
ngx_broadcast_pg_raised(PGresult *result)
{
    char       *source, *context;
    size_t      len;
    ngx_str_t   state;

    state = ngx_broadcast_pg_sqlstate(result);

    if (state.len == 5 && ngx_memcmp(state.data, "P0001", 5) == 0) {
        return 1;
    }

    source = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    context = PQresultErrorField(result, PG_DIAG_CONTEXT);

    if (source == NULL || context == NULL
        || ngx_strcmp(source, "exec_stmt_raise") != 0)
    {
        return 0;
    }

    len = strcspn(context, "\n");

    return ngx_strnstr((u_char *) context, " broadcast.", len) == NULL;
}


ngx_uint_t
ngx_broadcast_pg_no_schema(PGresult *result)
{
    ngx_str_t  state;

    state = ngx_broadcast_pg_sqlstate(result);

    if (state.len != 5) {
        return 0;
    }

    return ngx_memcmp(state.data, "3F000", 5) == 0       /* no schema */
           || ngx_memcmp(state.data, "42883", 5) == 0    /* no function */
           || ngx_memcmp(state.data, "42P01", 5) == 0    /* no table */
           || ngx_memcmp(state.data, "42501", 5) == 0;   /* no right */
}


ngx_str_t
ngx_broadcast_pg_value(PGresult *result, int row, int column)
{
    ngx_str_t  text;

    text.data = (u_char *) PQgetvalue(result, row, column);
    text.len = PQgetlength(result, row, column);

    return text;
}


int64_t
ngx_broadcast_pg_number(PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        return 0;
    }

    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}
