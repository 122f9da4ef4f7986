
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
 * Listed is what this instance holds.
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
    ngx_broadcast_buf_t          buf;
} ngx_http_broadcast_list_t;


static ngx_int_t ngx_http_broadcast_list_query(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list, const char **key);
static ngx_int_t ngx_http_broadcast_list_token(ngx_http_broadcast_list_t *list,
    ngx_str_t *token);
static ngx_int_t ngx_http_broadcast_list_start(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_list_t *list);
static ngx_int_t ngx_http_broadcast_list_turn(ngx_http_request_t *r);
static ngx_uint_t ngx_http_broadcast_list_piece(
    ngx_http_broadcast_list_t *list);
static ngx_uint_t ngx_http_broadcast_list_full(
    ngx_http_broadcast_list_t *list);
static void ngx_http_broadcast_list_row(ngx_http_broadcast_list_t *list,
    ngx_broadcast_row_info_t *row);
static void ngx_http_broadcast_list_name(ngx_http_broadcast_list_t *list,
    ngx_broadcast_group_info_t *group);
static ngx_int_t ngx_http_broadcast_list_answer(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list);
static ngx_int_t ngx_http_broadcast_list_link(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list);


static const char *const  ngx_http_broadcast_list_transports[] = {
    "websocket", "sse", "longpoll"
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

    return (rc == NGX_OK) ? ngx_http_broadcast_list_token(list, &token) : rc;
}


/* "place.given" in base64url */

static ngx_int_t
ngx_http_broadcast_list_token(ngx_http_broadcast_list_t *list,
    ngx_str_t *token)
{
    u_char     *p, *dot, *last, text[32];
    size_t      len;
    ngx_int_t   place, given;

    if (ngx_broadcast_unbase64url_len(token->len) > sizeof(text)
        || ngx_broadcast_unbase64url(text, &len, token) != NGX_OK)
    {
        return NGX_ABORT;
    }

    p = text;
    last = text + len;

    dot = ngx_strlchr(p, last, '.');
    if (dot == NULL) {
        return NGX_ABORT;
    }

    place = ngx_atoi(p, dot - p);
    given = ngx_atoi(dot + 1, last - dot - 1);

    if (place < 1 || place >= NGX_MAX_INT32_VALUE
        || given < 1 || given > NGX_MAX_INT32_VALUE)
    {
        return NGX_ABORT;
    }

    list->next = (uint32_t) place + 1;
    list->given = (ngx_uint_t) given;

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_list_start(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_http_broadcast_list_t *list)
{
    ngx_broadcast_select_t  *select;

    ngx_broadcast_buf_init(&list->buf, r->pool, 4096);
    ngx_broadcast_buf_literal(&list->buf, "{\"value\":[");

    select = &list->select;

    if (ngx_broadcast_hub_find(ngx_broadcast_bus.zone, &api->hub, &select->hub)
        != NGX_OK
        || list->given >= list->top)
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
    u_char                time[sizeof("1970-01-01T00:00:00Z")], *p;
    ngx_tm_t              tm;
    ngx_str_t             text;
    ngx_broadcast_buf_t  *b;

    b = &list->buf;
    list->last = row->row;

    text.data = row->id;
    text.len = row->id_len;

    ngx_broadcast_buf_literal(b, "{\"connectionId\":");
    ngx_broadcast_buf_json(b, &text);
    ngx_broadcast_buf_literal(b, ",\"userId\":");

    text.data = row->user;
    text.len = row->user_len;

    if (text.len) {
        ngx_broadcast_buf_json(b, &text);

    } else {
        ngx_broadcast_buf_literal(b, "null");
    }

    text.data = (u_char *) ngx_http_broadcast_list_transports[row->transport];
    text.len = ngx_strlen(text.data);

    ngx_broadcast_buf_literal(b, ",\"transport\":\"");
    ngx_broadcast_buf_str(b, &text);

    ngx_gmtime(row->connected, &tm);

    p = ngx_sprintf(time, "%4d-%02d-%02dT%02d:%02d:%02dZ", tm.ngx_tm_year,
                    tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour,
                    tm.ngx_tm_min, tm.ngx_tm_sec);

    ngx_broadcast_buf_literal(b, "\",\"connectedAt\":\"");
    ngx_broadcast_buf_append(b, time, p - time);
    ngx_broadcast_buf_literal(b, "\"}");
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
    u_char               *p, text[32], token[64];
    size_t                len;
    ngx_str_t             url, args, key, value;
    ngx_broadcast_buf_t   b;

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

    len = ngx_sprintf(text, "%uD.%ui", list->last, list->given + list->count)
          - text;
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
