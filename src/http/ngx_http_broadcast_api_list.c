
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * Pages of connections and of groups, signalr.md 8.4 and ours on top.
 *
 * A page is collected in turns of the event loop, a bounded piece of the
 * registry each.  A continuation token is where the page ended and how many
 * were given by then, so `top` counts over all pages; it names a place in the
 * registry, not a connection, and stays good when that connection has gone.
 *
 * Connections of a durable hub come from the database, in the order of their
 * ids, which any node may go on with.  It knows no groups: those are listed
 * by the node that is asked, of its own connections.
 */


#include "http/ngx_http_broadcast_api.h"
#include "shm/ngx_broadcast_select.h"


#define NGX_HTTP_BROADCAST_LIST_MAX    200      /* of a page */
#define NGX_HTTP_BROADCAST_LIST_ROWS   32       /* asked for at once */
#define NGX_HTTP_BROADCAST_LIST_NAMES  8
#define NGX_HTTP_BROADCAST_LIST_TURN   16       /* pieces a turn */


typedef struct {
    ngx_broadcast_select_t       select;
    ngx_broadcast_selected_t    *rows;      /* owned by r->pool, or */
    ngx_broadcast_group_info_t  *names;     /* groups are listed */
    uint32_t                     next;      /* where to go on */
    uint32_t                     last;      /* place of the last one given */
    ngx_uint_t                   max;       /* of this page */
    ngx_uint_t                   top;       /* of all pages */
    ngx_uint_t                   given;     /* by earlier pages */
    ngx_uint_t                   count;     /* by this one */
    ngx_uint_t                   more;      /* there is at least one more */
    ngx_uint_t                   cluster;   /* from the database: */
    ngx_str_t                    after;     /* id of the last one given */
    ngx_broadcast_buf_t          buf;
} ngx_http_broadcast_list_t;


static ngx_int_t ngx_http_broadcast_list_query(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list, const char **key);
static ngx_int_t ngx_http_broadcast_list_token(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list, ngx_str_t *token);
static ngx_int_t ngx_http_broadcast_list_start(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_list_t *list);
static ngx_int_t ngx_http_broadcast_list_ask(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_list_t *list);
static ngx_int_t ngx_http_broadcast_list_present(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence);
static ngx_int_t ngx_http_broadcast_list_turn(ngx_http_request_t *r);
static ngx_uint_t ngx_http_broadcast_list_piece(
    ngx_http_broadcast_list_t *list);
static ngx_uint_t ngx_http_broadcast_list_full(
    ngx_http_broadcast_list_t *list);
static void ngx_http_broadcast_list_row(ngx_http_broadcast_list_t *list,
    ngx_broadcast_row_info_t *row);
static void ngx_http_broadcast_list_entry(ngx_http_broadcast_list_t *list,
    ngx_broadcast_present_t *conn);
static void ngx_http_broadcast_list_name(ngx_http_broadcast_list_t *list,
    ngx_broadcast_group_info_t *group);
static ngx_int_t ngx_http_broadcast_list_answer(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list);
static ngx_int_t ngx_http_broadcast_list_link(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list);


static const ngx_str_t  ngx_http_broadcast_list_transports[] = {
    ngx_string("websocket"),
    ngx_string("sse"),
    ngx_string("longpoll")
};


ngx_int_t
ngx_http_broadcast_api_list(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api)
{
    ngx_int_t                   rc;
    const char                 *key;
    ngx_http_broadcast_list_t  *list;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    list = ngx_pcalloc(r->pool, sizeof(ngx_http_broadcast_list_t));
    if (list == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->data = list;

    list->cluster = ngx_http_broadcast_api_cluster(api)
                    && api->what != NGX_HTTP_BROADCAST_API_GROUPS
                    && api->what != NGX_HTTP_BROADCAST_API_GROUP_CONNECTIONS;

    switch (ngx_http_broadcast_list_query(r, list, &key)) {

    case NGX_OK:
        return ngx_http_broadcast_list_start(r, api, list);

    case NGX_ABORT:
        return ngx_http_broadcast_api_bad(r, key,
                              "It must be a number from 1, and a "
                              "continuationToken that of an earlier page.");

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


/* NGX_OK; NGX_ABORT: *key has no good value; NGX_ERROR: no memory */

static ngx_int_t
ngx_http_broadcast_list_query(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list, const char **key)
{
    ngx_int_t  rc;
    ngx_str_t  token;

    list->max = NGX_HTTP_BROADCAST_LIST_MAX;
    list->top = NGX_MAX_UINT32_VALUE;

    *key = "maxpagesize";
    rc = ngx_http_broadcast_api_number(r, "maxpagesize", &list->max);

    if (rc != NGX_OK) {
        return rc;
    }

    list->max = ngx_min(list->max, NGX_HTTP_BROADCAST_LIST_MAX);

    *key = "top";
    rc = ngx_http_broadcast_api_number(r, "top", &list->top);

    if (rc != NGX_OK) {
        return rc;
    }

    *key = "continuationToken";
    rc = ngx_http_broadcast_arg(r, "continuationtoken", &token);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    return (rc == NGX_OK) ? ngx_http_broadcast_list_token(r, list, &token)
                           : rc;
}


/* "given.place", or "given:id" of the database's, in base64url */

static ngx_int_t
ngx_http_broadcast_list_token(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list, ngx_str_t *token)
{
    u_char     *p, *text, *last;
    size_t      len;
    ngx_int_t   n;
    ngx_str_t   id;

    text = ngx_pnalloc(r->pool, ngx_broadcast_unbase64url_len(token->len) + 1);
    if (text == NULL) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_unbase64url(text, &len, token) != NGX_OK) {
        return NGX_ABORT;
    }

    last = text + len;

    p = ngx_strlchr(text, last, list->cluster ? ':' : '.');
    if (p == NULL) {
        return NGX_ABORT;
    }

    n = ngx_atoi(text, p - text);

    if (n < 1 || n > NGX_MAX_INT32_VALUE) {
        return NGX_ABORT;
    }

    list->given = (ngx_uint_t) n;

    id.data = p + 1;
    id.len = last - id.data;

    if (list->cluster) {
        list->after = id;

        return ngx_http_broadcast_connection_id(&id) == NGX_OK ? NGX_OK
                                                               : NGX_ABORT;
    }

    n = ngx_atoi(id.data, id.len);

    if (n < 1 || n >= NGX_MAX_INT32_VALUE) {
        return NGX_ABORT;
    }

    list->next = (uint32_t) n + 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_list_start(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_list_t *list)
{
    ngx_broadcast_select_t  *select;

    ngx_broadcast_buf_init(&list->buf, r->pool, 4096);
    ngx_broadcast_buf_literal(&list->buf, "{\"value\":[");

    if (list->given >= list->top) {
        return ngx_http_broadcast_list_answer(r, list);
    }

    if (list->cluster) {
        return ngx_http_broadcast_list_ask(r, api, list);
    }

    select = &list->select;

    if (ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub, &select->hub)
        != NGX_OK)
    {
        return ngx_http_broadcast_list_answer(r, list);
    }

    if (api->what == NGX_HTTP_BROADCAST_API_GROUPS) {
        list->names = ngx_palloc(r->pool, NGX_HTTP_BROADCAST_LIST_NAMES
                                          * sizeof(ngx_broadcast_group_info_t));
    } else {
        list->rows = ngx_palloc(r->pool, NGX_HTTP_BROADCAST_LIST_ROWS
                                         * sizeof(ngx_broadcast_selected_t));
    }

    if (list->names == NULL && list->rows == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (api->user.data) {
        select->user = api->user;
    }

    if (api->group.data) {
        select->groups = &api->group;
        select->ngroups = 1;
        select->member = 1;
    }

    return ngx_http_broadcast_list_turn(r);
}


/* one more than the page has room for tells whether there is another */

static ngx_int_t
ngx_http_broadcast_list_ask(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_list_t *list)
{
    ngx_broadcast_presence_ask_t  ask;

    ngx_memzero(&ask, sizeof(ngx_broadcast_presence_ask_t));

    ask.hub = api->hub;
    ask.user = api->user;
    ask.after = list->after;
    ask.max = ngx_min(list->max + 1, list->top - list->given);

    return ngx_http_broadcast_presence(r, &ask,
                                       ngx_http_broadcast_list_present);
}


static ngx_int_t
ngx_http_broadcast_list_present(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence)
{
    ngx_uint_t                  i;
    ngx_http_broadcast_api_t   *api;
    ngx_http_broadcast_ctx_t   *ctx;
    ngx_http_broadcast_list_t  *list;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;
    list = api->data;

    for (i = 0; i < presence->n; i++) {

        if (ngx_http_broadcast_list_full(list)) {
            break;
        }

        ngx_http_broadcast_list_entry(list, &presence->rows[i]);
        list->after = presence->rows[i].id;
    }

    return ngx_http_broadcast_list_answer(r, list);
}


static ngx_int_t
ngx_http_broadcast_list_turn(ngx_http_request_t *r)
{
    ngx_uint_t                  i;
    ngx_http_broadcast_api_t   *api;
    ngx_http_broadcast_ctx_t   *ctx;
    ngx_http_broadcast_list_t  *list;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;
    list = api->data;

    for (i = 0; i < NGX_HTTP_BROADCAST_LIST_TURN; i++) {
        if (ngx_http_broadcast_list_piece(list)) {
            return ngx_http_broadcast_list_answer(r, list);
        }
    }

    return ngx_http_broadcast_next_turn(r, ngx_http_broadcast_list_turn);
}


/* 1: the page is complete */

static ngx_uint_t
ngx_http_broadcast_list_piece(ngx_http_broadcast_list_t *list)
{
    ngx_uint_t  i, n;

    if (list->names) {
        n = ngx_broadcast_select_groups(ngx_broadcast_bus.zone,
                                        list->select.hub, &list->next,
                                        list->names,
                                        NGX_HTTP_BROADCAST_LIST_NAMES);
    } else {
        n = ngx_broadcast_select_rows(ngx_broadcast_bus.zone, &list->select,
                                      &list->next, list->rows,
                                      NGX_HTTP_BROADCAST_LIST_ROWS);
    }

    for (i = 0; i < n; i++) {

        if (ngx_http_broadcast_list_full(list)) {
            return 1;
        }

        if (list->names) {
            ngx_http_broadcast_list_name(list, &list->names[i]);

        } else {
            ngx_http_broadcast_list_row(list, &list->rows[i].info);
        }
    }

    return list->next == 0;
}


/* there is one more: it begins the next page, if `top` leaves any */

static ngx_uint_t
ngx_http_broadcast_list_full(ngx_http_broadcast_list_t *list)
{
    if (list->given + list->count == list->top) {
        return 1;
    }

    if (list->count == list->max) {
        list->more = 1;
        return 1;
    }

    if (list->count++) {
        ngx_broadcast_buf_char(&list->buf, ',');
    }

    return 0;
}


static void
ngx_http_broadcast_list_row(ngx_http_broadcast_list_t *list,
    ngx_broadcast_row_info_t *row)
{
    u_char                    time[sizeof("1970-01-01T00:00:00Z")];
    ngx_tm_t                  tm;
    ngx_broadcast_present_t   conn;

    ngx_gmtime(row->connected, &tm);

    conn.id.data = row->id;
    conn.id.len = row->id_len;
    conn.user.data = row->user;
    conn.user.len = row->user_len;

    conn.transport = ngx_http_broadcast_list_transports[row->transport];

    conn.connected.data = time;
    conn.connected.len = ngx_sprintf(time, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                                     tm.ngx_tm_year, tm.ngx_tm_mon,
                                     tm.ngx_tm_mday, tm.ngx_tm_hour,
                                     tm.ngx_tm_min, tm.ngx_tm_sec)
                         - time;

    ngx_http_broadcast_list_entry(list, &conn);

    list->last = row->row;
}


static void
ngx_http_broadcast_list_entry(ngx_http_broadcast_list_t *list,
    ngx_broadcast_present_t *conn)
{
    ngx_broadcast_buf_t  *b;

    b = &list->buf;

    ngx_broadcast_buf_literal(b, "{\"connectionId\":");
    ngx_broadcast_buf_json(b, &conn->id);
    ngx_broadcast_buf_literal(b, ",\"userId\":");

    if (conn->user.len) {
        ngx_broadcast_buf_json(b, &conn->user);

    } else {
        ngx_broadcast_buf_literal(b, "null");
    }

    ngx_broadcast_buf_literal(b, ",\"transport\":");
    ngx_broadcast_buf_json(b, &conn->transport);
    ngx_broadcast_buf_literal(b, ",\"connectedAt\":");
    ngx_broadcast_buf_json(b, &conn->connected);
    ngx_broadcast_buf_char(b, '}');
}


static void
ngx_http_broadcast_list_name(ngx_http_broadcast_list_t *list,
    ngx_broadcast_group_info_t *group)
{
    ngx_str_t             text;
    ngx_broadcast_buf_t  *b;

    b = &list->buf;
    list->last = group->cell;

    text.data = group->name;
    text.len = group->len;

    ngx_broadcast_buf_literal(b, "{\"name\":");
    ngx_broadcast_buf_json(b, &text);
    ngx_broadcast_buf_literal(b, ",\"connections\":");
    ngx_broadcast_buf_uint(b, group->connections);
    ngx_broadcast_buf_char(b, '}');
}


static ngx_int_t
ngx_http_broadcast_list_answer(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list)
{
    ngx_str_t  body;

    ngx_broadcast_buf_char(&list->buf, ']');

    if (list->more && ngx_http_broadcast_list_link(r, list) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_broadcast_buf_char(&list->buf, '}');

    if (ngx_broadcast_buf_done(&list->buf, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_broadcast_json(r, NGX_HTTP_OK, &body);
}


/*
 * Absolute, path and query as they came but for the two keys that are not for
 * the next page: an SDK takes the path for the audience of its token.
 */

static ngx_int_t
ngx_http_broadcast_list_link(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list)
{
    u_char               *p;
    u_char                text[NGX_INT_T_LEN + 1 + NGX_BROADCAST_CONN_ID_MAX];
    u_char                token[ngx_broadcast_base64url_len(sizeof(text))];
    size_t                len;
    ngx_str_t             url, args, key, value;
    ngx_broadcast_buf_t   b;

    if (list->after.len > NGX_BROADCAST_CONN_ID_MAX) {
        return NGX_ERROR;       /* no id of ours, the table is the owner's */
    }

    ngx_broadcast_buf_init(&b, r->pool, 256);

    ngx_http_broadcast_negotiate_host(r, &b);

    url = r->unparsed_uri;

    p = ngx_strlchr(url.data, url.data + url.len, '?');
    if (p) {
        url.len = p - url.data;
    }

    ngx_broadcast_buf_str(&b, &url);
    ngx_broadcast_buf_char(&b, '?');

    args = r->args;

    while (ngx_broadcast_query_next(&args, &key, &value) == NGX_OK) {

        if (ngx_broadcast_query_key(&key, "continuationtoken")
            || ngx_broadcast_query_key(&key, "access_token"))
        {
            continue;
        }

        ngx_broadcast_buf_str(&b, &key);
        ngx_broadcast_buf_char(&b, '=');
        ngx_broadcast_buf_str(&b, &value);
        ngx_broadcast_buf_char(&b, '&');
    }

    p = list->cluster ? ngx_sprintf(text, "%ui:%V", list->given + list->count,
                                    &list->after)
                      : ngx_sprintf(text, "%ui.%uD", list->given + list->count,
                                    list->last);
    len = p - text;
    len = ngx_broadcast_base64url(token, text, len);

    ngx_broadcast_buf_literal(&b, "continuationToken=");
    ngx_broadcast_buf_append(&b, token, len);

    if (ngx_broadcast_buf_done(&b, &url) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_broadcast_buf_literal(&list->buf, ",\"nextLink\":");
    ngx_broadcast_buf_json(&list->buf, &url);

    return NGX_OK;
}
