
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
 * Connections and groups of a durable hub come from the database, in the order
 * of their ids and keys, which any node may go on with.
 */


#include "http/ngx_http_broadcast_api_list.h"


#define NGX_HTTP_BROADCAST_LIST_MAX    200      /* of a page */
#define NGX_HTTP_BROADCAST_LIST_ROWS   32       /* asked for at once */
#define NGX_HTTP_BROADCAST_LIST_NAMES  8
#define NGX_HTTP_BROADCAST_LIST_TURN   16       /* pieces a turn */


static ngx_int_t ngx_http_broadcast_list_query(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list, const char **key);
static ngx_int_t ngx_http_broadcast_list_token(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list, ngx_str_t *token);
static ngx_int_t ngx_http_broadcast_list_place(
    ngx_http_broadcast_list_t *list);
static ngx_int_t ngx_http_broadcast_list_start(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_list_t *list);
static ngx_int_t ngx_http_broadcast_list_ask(ngx_http_request_t *r);
static ngx_int_t ngx_http_broadcast_list_present(ngx_http_request_t *r,
    ngx_broadcast_presence_t *presence);
static ngx_int_t ngx_http_broadcast_list_turn(ngx_http_request_t *r);
static ngx_uint_t ngx_http_broadcast_list_piece(
    ngx_http_broadcast_list_t *list);


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

    list->cluster = ngx_http_broadcast_api_cluster(api);
    list->groups = (api->what == NGX_HTTP_BROADCAST_API_GROUPS);

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


/* "given.place", or "given:id" (or key) of the database's, in base64url */

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

        return ngx_http_broadcast_list_place(list);
    }

    n = ngx_atoi(id.data, id.len);

    if (n < 1 || n >= NGX_MAX_INT32_VALUE) {
        return NGX_ABORT;
    }

    list->next = (uint32_t) n + 1;

    return NGX_OK;
}


/* where the database goes on */

static ngx_int_t
ngx_http_broadcast_list_place(ngx_http_broadcast_list_t *list)
{
    u_char      c;
    ngx_uint_t  i;

    if (!list->groups) {
        return ngx_http_broadcast_connection_id(&list->after) == NGX_OK
               ? NGX_OK : NGX_ABORT;
    }

    for (i = 0; i < list->after.len; i++) {
        c = list->after.data[i];

        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return NGX_ABORT;
        }
    }

    return i == NGX_BROADCAST_GROUP_KEY ? NGX_OK : NGX_ABORT;
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
        return ngx_http_broadcast_when_told(r, ngx_http_broadcast_list_ask);
    }

    select = &list->select;

    if (ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub, &select->hub)
        != NGX_OK)
    {
        return ngx_http_broadcast_list_answer(r, list);
    }

    if (list->groups) {
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
ngx_http_broadcast_list_ask(ngx_http_request_t *r)
{
    ngx_http_broadcast_api_t      *api;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_http_broadcast_list_t     *list;
    ngx_broadcast_presence_ask_t   ask;

    ctx = ngx_http_get_module_ctx(r, ngx_http_broadcast_module);
    api = ctx->data;
    list = api->data;

    ngx_memzero(&ask, sizeof(ngx_broadcast_presence_ask_t));

    ask.hub = api->hub;
    ask.user = api->user;
    ask.after = list->after;
    ask.max = ngx_min(list->max + 1, list->top - list->given);
    ask.names = list->groups;

    if (api->group.data) {
        ask.groups = &api->group;
        ask.ngroups = 1;
        ask.member = 1;
    }

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

        if (list->groups) {
            ngx_http_broadcast_list_group(list, &presence->groups[i].name,
                                          presence->groups[i].connections);
            list->after = presence->groups[i].key;

        } else {
            ngx_http_broadcast_list_entry(list, &presence->rows[i]);
            list->after = presence->rows[i].id;
        }
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
