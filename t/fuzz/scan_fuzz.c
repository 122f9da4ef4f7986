
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c -ljansson */


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "proto/ngx_broadcast_scan.h"


/*
 * jansson is the judge of the grammar; where the two may differ is named in
 * same().  What was checked can be walked, decoded, compacted, and is then
 * still checked.
 */

static void
same(ngx_str_t *text, ngx_int_t rc, ngx_broadcast_scan_value_t *v)
{
    json_t        *json;
    json_error_t   error;

    json = json_loadb((char *) text->data, text->len,
                      JSON_DECODE_ANY|JSON_ALLOW_NUL, &error);

    if (json == NULL && rc == NGX_OK) {

        switch (json_error_code(&error)) {

        case json_error_numeric_overflow:      /* we only forward numbers */
        case json_error_null_byte_in_key:
            break;

        default:

            if (!v->lone) {                    /* jansson wants pairs */
                abort();
            }
        }
    }

    /* a zero byte behind the value is the end of the text to jansson */

    if (json && rc != NGX_OK && memchr(text->data, 0, text->len) == NULL) {
        abort();
    }

    json_decref(json);
}


static void
walk(ngx_broadcast_scan_value_t *v, ngx_uint_t depth)
{
    u_char                      *b;
    int64_t                      n;
    ngx_str_t                    s;
    ngx_int_t                    rc;
    ngx_broadcast_scan_t         scan;
    ngx_broadcast_scan_value_t   key, value;

    if (depth > NGX_BROADCAST_SCAN_DEPTH) {
        abort();
    }

    (void) ngx_broadcast_scan_int64(v, &n);
    (void) ngx_broadcast_scan_is(v, "type");

    if (v->type == NGX_BROADCAST_SCAN_STRING) {
        b = malloc(v->text.len);
        s.data = b;
        s.len = ngx_broadcast_scan_decode(v, b);

        if (s.len > v->text.len - 2) {
            abort();
        }

        s.len = ngx_broadcast_scan_quoted_len(&s);
        s.data = malloc(s.len);
        (void) ngx_broadcast_scan_quoted_write(s.data, &(ngx_str_t) {
                               ngx_broadcast_scan_decode(v, b), b });

        if (ngx_broadcast_scan_document(&s, &value, NULL) != NGX_OK) {
            abort();
        }

        free(s.data);
        free(b);
        return;
    }

    ngx_broadcast_scan_init(&scan, &v->text);

    if (ngx_broadcast_scan_open(&scan, '[') == NGX_OK) {
        while ((rc = ngx_broadcast_scan_element(&scan, &value)) == NGX_OK) {
            walk(&value, depth + 1);
        }

    } else if (ngx_broadcast_scan_open(&scan, '{') == NGX_OK) {
        while ((rc = ngx_broadcast_scan_member(&scan, &key, &value))
               == NGX_OK)
        {
            walk(&key, depth + 1);
            walk(&value, depth + 1);
        }

    } else {
        return;
    }

    if (rc != NGX_DONE || ngx_broadcast_scan_end(&scan) != NGX_OK) {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_int_t                    rc;
    ngx_str_t                    text;
    const char                  *error;
    ngx_broadcast_scan_value_t   v;

    text.data = malloc(size ? size : 1);
    text.len = size;
    memcpy(text.data, data, size);

    error = NULL;
    rc = ngx_broadcast_scan_document(&text, &v, &error);

    if ((rc == NGX_ERROR) != (error != NULL)) {
        abort();
    }

    if (error == NULL || strstr(error, "deeper") == NULL) {
        same(&text, rc, &v);
    }

    if (rc == NGX_OK) {
        walk(&v, 0);

        text.len = ngx_broadcast_scan_compact(text.data, &text);

        if (ngx_broadcast_scan_compact_needed(&text)
            || ngx_broadcast_scan_document(&text, &v, NULL) != NGX_OK)
        {
            abort();
        }
    }

    free(text.data);

    return 0;
}
