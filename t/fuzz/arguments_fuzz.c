
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/conn/ngx_broadcast_arguments.c
 *        src/proto/ngx_broadcast_scan.c src/proto/ngx_broadcast_scan_text.c
 *        src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "conn/ngx_broadcast_call.h"

#include "ngx_stub.h"


/*
 * Whatever a client's arguments are, the parameters fit into the room that was
 * asked for, each is a text of its own, and those in JSON are JSON.  The first
 * bytes make the method, the rest are arguments.
 */

ngx_broadcast_bus_t  ngx_broadcast_bus;


ngx_broadcast_method_call_t *
ngx_broadcast_method_prepare(ngx_broadcast_method_t *method,
    ngx_uint_t nparams, size_t size)
{
    ngx_broadcast_method_call_t  *call;

    call = calloc(1, sizeof(ngx_broadcast_method_call_t));

    call->method = method;
    call->params = calloc(nparams, sizeof(char *));
    call->nparams = nparams;
    call->size = size + nparams;
    call->text = malloc(call->size);

    return call;
}


void
ngx_broadcast_method_discard(ngx_broadcast_method_call_t *call)
{
    free(call->text);
    free(call->params);
    free(call);
}


static void
check(const char *param, ngx_broadcast_scan_type_e type)
{
    ngx_str_t                   text;
    ngx_broadcast_scan_value_t  v;

    text.data = (u_char *) param;
    text.len = strlen(param);

    if (ngx_broadcast_scan_document(&text, &v, NULL) != NGX_OK
        || (type != NGX_BROADCAST_SCAN_NULL && v.type != type)
        || v.nul || v.lone)
    {
        abort();
    }
}


static void
made(ngx_broadcast_method_call_t *call, ngx_broadcast_wanted_t *w)
{
    ngx_uint_t               i, rest;
    ngx_broadcast_method_t  *method;

    method = call->method;

    check(call->context, NGX_BROADCAST_SCAN_OBJECT);

    if (method->message) {
        check(call->params[1], NGX_BROADCAST_SCAN_OBJECT);
    }

    for (i = 0; i < method->count; i++) {
        rest = method->rest && i == method->count - 1 && w->nstreams == 0;

        if (rest) {
            check(call->params[i + 1], NGX_BROADCAST_SCAN_ARRAY);

        } else if (call->params[i + 1] && method->params.data[i] == 'j') {
            check(call->params[i + 1], NGX_BROADCAST_SCAN_NULL);
        }
    }

    if (call->raw.len
        && (call->raw.len != w->arguments.len
            || call->raw.data + call->raw.len > call->text + call->size
            || memcmp(call->raw.data, w->arguments.data, call->raw.len) != 0))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                        letters[8];
    ngx_str_t                     text;
    ngx_uint_t                    i;
    ngx_broadcast_conn_t          bc;
    ngx_broadcast_local_t         hub;
    ngx_broadcast_method_t        method;
    ngx_broadcast_wanted_t        w;
    ngx_broadcast_arguments_t    *a;
    ngx_broadcast_scan_value_t    v;
    ngx_broadcast_method_call_t  *call;

    if (size < 3) {
        return 0;
    }

    ngx_memzero(&bc, sizeof(bc));
    ngx_memzero(&hub, sizeof(hub));
    ngx_memzero(&method, sizeof(method));
    ngx_memzero(&w, sizeof(w));

    text.len = size - 3;
    text.data = malloc(size);
    memcpy(text.data, data + 3, text.len);

    bc.hub = &hub;
    ngx_str_set(&hub.name, "chat");
    ngx_str_set(&bc.id, "abcdefghijklmnopqrstuv");

    for (i = 0; i < 8; i++) {
        letters[i] = (data[0] >> i) & 1 ? 'j' : 't';
    }

    method.params.data = letters;
    method.params.len = 8;
    method.message = data[1] & 1;
    method.rest = data[1] >> 1;
    method.context = data[1] >> 2;
    w.stream = data[1] >> 3;
    w.nstreams = (data[1] >> 4) & 1;

    ngx_str_set(&w.target, "Send \"it\"");

    if (data[1] & 0x20) {
        ngx_str_set(&w.id, "7");
    }

    w.arguments = text;

    a = malloc(sizeof(ngx_broadcast_arguments_t));

    /* what comes so far is one value; else it must do no harm */

    if (ngx_broadcast_arguments_parse(a, &text) == NGX_OK
        && ngx_broadcast_scan_document(&text, &v, NULL) == NGX_OK)
    {

        /* what is found takes so many, or that and a rest */

        method.count = method.message ? 0
                       : method.rest ? ngx_min(1 + data[2] % 8, a->n + 1)
                       : a->n;

        if (method.count <= 8) {

            call = NULL;

            if (ngx_broadcast_arguments_call(&bc, &w, a, &method, 5, &call)
                == NGX_OK)
            {
                made(call, &w);
                ngx_broadcast_method_discard(call);
            }
        }
    }

    free(a);
    free(text.data);

    return 0;
}
