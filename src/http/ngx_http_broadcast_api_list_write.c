
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* What is written of a page, and the link to the next one. */


#include "http/ngx_http_broadcast_api_list.h"
#include "http/ngx_http_broadcast_negotiate.h"


static ngx_int_t ngx_http_broadcast_list_link(ngx_http_request_t *r,
    ngx_http_broadcast_list_t *list);


static const ngx_str_t  ngx_http_broadcast_list_transports[] = {
    ngx_string("websocket"),
    ngx_string("sse"),
    ngx_string("longpoll")
};


ngx_uint_t
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


void
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


void
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


void
ngx_http_broadcast_list_name(ngx_http_broadcast_list_t *list,
    ngx_broadcast_group_info_t *group)
{
    ngx_str_t  name;

    list->last = group->cell;

    name.data = group->name;
    name.len = group->len;

    ngx_http_broadcast_list_group(list, &name, group->connections);
}


void
ngx_http_broadcast_list_group(ngx_http_broadcast_list_t *list,
    ngx_str_t *name, ngx_uint_t connections)
{
    ngx_broadcast_buf_t  *b;

    b = &list->buf;

    ngx_broadcast_buf_literal(b, "{\"name\":");
    ngx_broadcast_buf_json(b, name);
    ngx_broadcast_buf_literal(b, ",\"connections\":");
    ngx_broadcast_buf_uint(b, connections);
    ngx_broadcast_buf_char(b, '}');
}


ngx_int_t
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
