
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/proto/ngx_broadcast_filter.c
 *        src/proto/ngx_broadcast_filter_token.c
 *        src/proto/ngx_broadcast_filter_match.c
 *        src/base/ngx_broadcast_name.c src/base/ngx_broadcast_utf8.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_stub.h"
#include "proto/ngx_broadcast_filter.h"


/*
 * A filter is taken, and then its negation matches what it does not; or it is
 * refused at a place that is in it or right behind it.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                  *copy, *longer;
    ngx_str_t                text, id, user;
    ngx_int_t                rc, not;
    ngx_uint_t               i;
    ngx_pool_t              *pool;
    ngx_broadcast_filter_t   filter, inverse;

    pool = ngx_create_pool(1024, &ngx_stub_log);
    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);

    text.data = copy;
    text.len = size;

    rc = ngx_broadcast_filter_parse(&filter, &text, pool);

    if (rc == NGX_DECLINED) {

        if (filter.error == NULL || filter.place < 1
            || filter.place > size + 1)
        {
            abort();
        }

    } else if (rc == NGX_OK) {

        longer = malloc(size + 6);
        memcpy(longer, "not (", 5);
        memcpy(longer + 5, copy, size);
        longer[5 + size] = ')';

        text.data = longer;
        text.len = size + 6;

        not = ngx_broadcast_filter_parse(&inverse, &text, pool);

        ngx_str_set(&id, "id");
        ngx_str_set(&user, "user");

        for (i = 0; i < 4; i++) {

            user.len = (i & 1) ? 4 : 0;

            if (not == NGX_OK
                && ngx_broadcast_filter_match(&filter, &id, &user,
                                              (uint32_t) i)
                   == ngx_broadcast_filter_match(&inverse, &id, &user,
                                                 (uint32_t) i))
            {
                abort();
            }
        }

        free(longer);
    }

    free(copy);
    ngx_destroy_pool(pool);

    return 0;
}
