
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_call.h"
#include "base/ngx_broadcast_buf.h"


/* signalr.md 4.6: %t is the method, %n and %m are numbers */

static const char  *ngx_broadcast_refusals[] = {

    "Unknown hub method '%t'",

    "Failed to invoke '%t' due to an error on the server. "
    "InvalidDataException: Invocation provides %n argument(s) but target "
    "expects %m.",

    "Failed to invoke '%t' due to an error on the server. "
    "InvalidDataException: Error binding arguments. Make sure that the types "
    "of the provided values match the types of the hub method being invoked.",

    "Failed to invoke '%t' due to an error on the server. "
    "NotSupportedException: Several methods of this name take so many "
    "arguments.",

    "The client attempted to invoke the streaming '%t' method with a "
    "non-streaming invocation.",

    "The client attempted to invoke the non-streaming '%t' method with a "
    "streaming invocation.",

    "Client sent %n stream(s), Hub method expects %m.",

    "Failed to invoke '%t' because user is unauthorized",

    "An unexpected error occurred invoking '%t' on the server.",

    "Failed to invoke '%t' due to an error on the server. "
    "The database is away.",

    "Failed to invoke '%t' due to an error on the server. "
    "Too many calls are waiting.",

    "Failed to invoke '%t' due to an error on the server. "
    "Too many streams are open.",

    "Failed to invoke '%t' due to an error on the server."
};


ngx_int_t
ngx_broadcast_refusal_text(ngx_pool_t *pool, ngx_uint_t why,
    ngx_str_t *target, ngx_uint_t n, ngx_uint_t m, ngx_str_t *text)
{
    size_t                len;
    const char           *p;
    ngx_broadcast_buf_t   b;

    p = ngx_broadcast_refusals[why];

    ngx_broadcast_buf_init(&b, pool, ngx_strlen(p) + target->len + 32);

    while (*p) {

        if (*p != '%') {
            len = strcspn(p, "%");
            ngx_broadcast_buf_append(&b, (u_char *) p, len);
            p += len;
            continue;
        }

        if (p[1] == 't') {
            ngx_broadcast_buf_str(&b, target);

        } else {
            ngx_broadcast_buf_uint(&b, p[1] == 'n' ? n : m);
        }

        p += 2;
    }

    return ngx_broadcast_buf_done(&b, text);
}


ngx_int_t
ngx_broadcast_refusal_thrown(ngx_pool_t *pool, ngx_str_t *target,
    ngx_str_t *name, ngx_str_t *message, ngx_str_t *text)
{
    ngx_broadcast_buf_t  b;

    ngx_broadcast_buf_init(&b, pool, 80 + target->len + name->len
                                     + message->len);

    ngx_broadcast_buf_literal(&b, "An unexpected error occurred invoking '");
    ngx_broadcast_buf_str(&b, target);
    ngx_broadcast_buf_literal(&b, "' on the server. ");

    if (name->len) {
        ngx_broadcast_buf_str(&b, name);

    } else {
        ngx_broadcast_buf_literal(&b, "HubException");
    }

    ngx_broadcast_buf_literal(&b, ": ");
    ngx_broadcast_buf_str(&b, message);

    return ngx_broadcast_buf_done(&b, text);
}
