
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_json.h"


static const char *ngx_broadcast_json_reason(json_error_t *error);
static void ngx_broadcast_json_release(void *data);


void
ngx_broadcast_json_init(void)
{
    json_object_seed(0);
}


ngx_uint_t
ngx_broadcast_json_levels(const ngx_str_t *text)
{
    u_char      *p, *end;
    ngx_uint_t   depth, deepest, string;

    depth = 0;
    deepest = 0;
    string = 0;

    end = text->data + text->len;

    for (p = text->data; p < end; p++) {

        if (string) {
            if (*p == '\\') {
                p++;

            } else if (*p == '"') {
                string = 0;
            }

            continue;
        }

        switch (*p) {

        case '"':
            string = 1;
            break;

        case '[':
        case '{':
            depth++;
            deepest = ngx_max(deepest, depth);
            break;

        case ']':
        case '}':
            if (depth) {
                depth--;
            }

            break;
        }
    }

    return deepest;
}


static const char *
ngx_broadcast_json_reason(json_error_t *error)
{
    switch (json_error_code(error)) {

    case json_error_out_of_memory:
        return "no memory for JSON";

    case json_error_duplicate_key:
        return "a name is repeated in an object";

    case json_error_numeric_overflow:
        return "a number is too big";

    case json_error_invalid_utf8:
        return "JSON is not UTF-8";

    case json_error_premature_end_of_input:
        return "JSON ends too early";

    case json_error_end_of_input_expected:
        return "something follows the JSON value";

    case json_error_null_byte_in_key:
        return "a name holds U+0000";

    default:
        return "not JSON";
    }
}


json_t *
ngx_broadcast_json_parse(ngx_str_t *text, ngx_uint_t flags,
    const char **error)
{
    size_t        how;
    json_t       *value;
    json_error_t  e;

    *error = NULL;

    if (text->len == 0) {
        *error = "JSON ends too early";
        return NULL;
    }

    /* behind a number at the end jansson does not see it */

    if (text->data[text->len - 1] == '\0') {
        *error = "something follows the JSON value";
        return NULL;
    }

    /*
     * jansson descends once a level and allows 2048; this bounds its stack,
     * and what may be walked by recursion later.
     */

    if (ngx_broadcast_json_levels(text) > NGX_BROADCAST_JSON_DEPTH) {
        *error = "JSON is nested too deep";
        return NULL;
    }

    how = JSON_DECODE_ANY|JSON_ALLOW_NUL;

    if (flags & NGX_BROADCAST_JSON_UNIQUE) {
        how |= JSON_REJECT_DUPLICATES;
    }

    value = json_loadb((char *) text->data, text->len, how, &e);

    if (value == NULL
        && (flags & NGX_BROADCAST_JSON_REALS)
        && json_error_code(&e) == json_error_numeric_overflow)
    {
        value = json_loadb((char *) text->data, text->len,
                           how|JSON_DECODE_INT_AS_REAL, &e);
    }

    if (value == NULL) {
        *error = ngx_broadcast_json_reason(&e);
    }

    return value;
}


static void
ngx_broadcast_json_release(void *data)
{
    json_decref(data);
}


ngx_int_t
ngx_broadcast_json_own(ngx_pool_t *pool, json_t *value)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        json_decref(value);
        return NGX_ERROR;
    }

    cln->handler = ngx_broadcast_json_release;
    cln->data = value;

    return NGX_OK;
}


void
ngx_broadcast_json_text(json_t *value, ngx_str_t *text)
{
    text->data = (u_char *) json_string_value(value);
    text->len = json_string_length(value);
}


ngx_int_t
ngx_broadcast_json_str(json_t *object, const char *name, ngx_str_t *value)
{
    json_t  *member;

    ngx_str_null(value);

    member = json_object_get(object, name);

    if (member == NULL || json_is_null(member)) {
        return NGX_DECLINED;
    }

    if (!json_is_string(member)) {
        return NGX_ERROR;
    }

    ngx_broadcast_json_text(member, value);

    return NGX_OK;
}


json_t *
ngx_broadcast_json_new(ngx_str_t *text)
{
    return json_stringn(text->len ? (char *) text->data : "", text->len);
}


ngx_int_t
ngx_broadcast_json_dump(ngx_pool_t *pool, json_t *value, ngx_str_t *text)
{
    size_t  size, how;

    how = JSON_COMPACT|JSON_ENCODE_ANY;

    size = json_dumpb(value, NULL, 0, how);
    if (size == 0) {
        return NGX_ERROR;
    }

    text->data = ngx_pnalloc(pool, size);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = size;

    /* jansson allocates each time, so it may fail now though it did not */

    return (json_dumpb(value, (char *) text->data, size, how) == size)
           ? NGX_OK : NGX_ERROR;
}
