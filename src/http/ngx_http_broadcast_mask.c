
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The value of access_token in logs.
 *
 * Access logs: a handler that is the first of the log phase points what the
 * log modules read to masked copies.  The request is over by then; where it
 * is not, because a subrequest is logged, nothing is touched that the main
 * request still reads.
 *
 * Error logs: the text that nginx has made is masked where it stands.
 */


#include "http/ngx_http_broadcast_mask.h"


static void ngx_http_broadcast_mask_request(ngx_http_request_t *r,
    ngx_array_t *values);
static ngx_uint_t ngx_http_broadcast_mask_inside(ngx_str_t *text,
    ngx_str_t *whole);
static void ngx_http_broadcast_mask_headers(ngx_http_request_t *r,
    ngx_list_t *headers);
static void ngx_http_broadcast_mask_variables(ngx_http_request_t *r,
    ngx_array_t *values);
static u_char *ngx_http_broadcast_mask_error(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);


/* nginx's own handler, the same for all requests of a process */
static ngx_http_log_handler_pt  ngx_http_broadcast_mask_error_next;


ngx_int_t
ngx_http_broadcast_mask_log_handler(ngx_http_request_t *r)
{
    u_char           *p;
    ngx_array_t       values;
    ngx_table_elt_t  *h;

    if (r->request_line.data == NULL && r->request_start) {

        /* refused before its request line was complete */

        for (p = r->request_start; p < r->header_in->last; p++) {
            if (*p == CR || *p == LF) {
                break;
            }
        }

        r->request_line.data = r->request_start;
        r->request_line.len = p - r->request_start;
    }

    if (ngx_array_init(&values, r->pool, 4, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_broadcast_mask_request(r, &values);

    if (r->headers_in.referer) {
        ngx_http_broadcast_mask_values(r, &r->headers_in.referer->value,
                                       &values);
    }

    if (r == r->main) {
        ngx_http_broadcast_mask_headers(r, &r->headers_in.headers);
        ngx_http_broadcast_mask_headers(r, &r->headers_out.headers);

        if (r->upstream) {
            ngx_http_broadcast_mask_headers(r,
                                         &r->upstream->headers_in.headers);
        }

    } else if (r->headers_in.referer) {

        h = ngx_palloc(r->pool, sizeof(ngx_table_elt_t));

        if (h) {
            *h = *r->headers_in.referer;
            (void) ngx_http_broadcast_mask(r->pool, &h->value);
        }

        r->headers_in.referer = h;
    }

    if (values.nelts) {
        ngx_http_broadcast_mask_variables(r, &values);
    }

    return NGX_OK;
}


/*
 * The request line and its parts, which are looked for values once: of an
 * HTTP/1.x request that was not rewritten URI and arguments stand in the line.
 */

static void
ngx_http_broadcast_mask_request(ngx_http_request_t *r, ngx_array_t *values)
{
    ngx_uint_t  inside;

    ngx_http_broadcast_mask_values(r, &r->request_line, values);

    inside = ngx_http_broadcast_mask_inside(&r->unparsed_uri,
                                            &r->request_line)
             && ngx_http_broadcast_mask_inside(&r->args, &r->request_line);

    if (inside && values->nelts <= 1) {
        ngx_http_broadcast_mask_part(r, &r->args, values);
        ngx_http_broadcast_mask_part(r, &r->unparsed_uri, values);
        ngx_http_broadcast_mask_part(r, &r->request_line, values);
        return;
    }

    if (!inside) {
        ngx_http_broadcast_mask_values(r, &r->unparsed_uri, values);
        ngx_http_broadcast_mask_values(r, &r->args, values);
    }

    (void) ngx_http_broadcast_mask(r->pool, &r->request_line);
    (void) ngx_http_broadcast_mask(r->pool, &r->unparsed_uri);
    (void) ngx_http_broadcast_mask(r->pool, &r->args);
}


static ngx_uint_t
ngx_http_broadcast_mask_inside(ngx_str_t *text, ngx_str_t *whole)
{
    return text->len == 0
           || (text->data >= whole->data
               && text->data + text->len <= whole->data + whole->len);
}


static void
ngx_http_broadcast_mask_headers(ngx_http_request_t *r, ngx_list_t *headers)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &headers->part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        (void) ngx_http_broadcast_mask(r->pool, &h[i].value);
    }
}


/*
 * Variables that were evaluated before ("set", "map", rewrites) keep their
 * values, so those that hold a token are replaced, in an array of this
 * request's own: subrequests share theirs with the main request.
 */

static void
ngx_http_broadcast_mask_variables(ngx_http_request_t *r, ngx_array_t *values)
{
    ngx_str_t                   text;
    ngx_uint_t                  i, n;
    ngx_http_variable_value_t  *vv;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    n = cmcf->variables.nelts;

    if (r->variables == NULL || n == 0) {
        return;
    }

    vv = ngx_palloc(r->pool, n * sizeof(ngx_http_variable_value_t));
    if (vv == NULL) {
        return;
    }

    ngx_memcpy(vv, r->variables, n * sizeof(ngx_http_variable_value_t));
    r->variables = vv;

    for (i = 0; i < n; i++) {

        if (!vv[i].valid || vv[i].not_found || vv[i].len == 0) {
            continue;
        }

        text.data = vv[i].data;
        text.len = vv[i].len;

        ngx_http_broadcast_mask_value(r, &text, values);

        vv[i].data = text.data;
        vv[i].len = text.len;
    }
}


ngx_int_t
ngx_http_broadcast_mask_error_handler(ngx_http_request_t *r)
{
    if (r->log_handler != ngx_http_broadcast_mask_error) {
        ngx_http_broadcast_mask_error_next = r->log_handler;
        r->log_handler = ngx_http_broadcast_mask_error;
    }

    return NGX_DECLINED;
}


/*
 * ngx_log_error_core() gives the rest of its NGX_MAX_ERROR_STR bytes; in front
 * of buf stands the message, which may have the query too (rewrite_log).
 */

static u_char *
ngx_http_broadcast_mask_error(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char     *p, *pos, *start;
    ngx_str_t   value;

    p = ngx_http_broadcast_mask_error_next(r, sr, buf, len);

    start = (len <= NGX_MAX_ERROR_STR) ? buf + len - NGX_MAX_ERROR_STR : buf;
    pos = start;

    if (ngx_http_broadcast_mask_next(&pos, start, p, &value) != NGX_OK) {
        return p;
    }

    return ngx_http_broadcast_mask_write(start, start, p, pos, &value);
}
