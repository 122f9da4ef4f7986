
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/pg/ngx_broadcast_pgoutput.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include <stdlib.h>

#include "pg/ngx_broadcast_pgoutput.h"


/* what it returns lies inside of what it was given */

static int
inside(ngx_str_t *text, u_char *data, size_t size)
{
    return text->len == 0
           || (text->data >= data && text->len <= size
               && text->data + text->len <= data + size);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                    *copy;
    ngx_int_t                  rc;
    ngx_str_t                  state, message;
    ngx_broadcast_pgoutput_t   out;

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);

    rc = ngx_broadcast_pgoutput_parse(copy, size, &out);

    if (rc != NGX_OK && rc != NGX_ERROR) {
        abort();
    }

    if (rc == NGX_OK
        && (!inside(&out.prefix, copy, size)
            || !inside(&out.content, copy, size)))
    {
        abort();
    }

    if (size && ngx_broadcast_pgoutput_begin(copy, size, size + 1000, &out)
                == NGX_OK
        && (!inside(&out.prefix, copy, size)
            || !inside(&out.content, copy, size + 1000)
            || out.content.len < 1000))
    {
        abort();
    }

    ngx_broadcast_pgoutput_error(copy, size, &state, &message);

    if ((state.data && !inside(&state, copy, size))
        || (message.data && !inside(&message, copy, size)))
    {
        abort();
    }

    free(copy);

    return 0;
}
