
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_record.h"
#include "shm/ngx_broadcast_zone_layout.h"


size_t
ngx_broadcast_record_size(ngx_broadcast_record_t *rec)
{
    return ngx_align(sizeof(ngx_broadcast_header_t)
                     + rec->name.len
                     + rec->group.len
                     + rec->target.len
                     + rec->arguments.len
                     + rec->excluded.len
                     + rec->packed.len, 8);
}


ngx_uint_t
ngx_broadcast_record_excludes(ngx_broadcast_record_t *rec, ngx_str_t *id)
{
    u_char  *p, *last, *end;

    p = rec->excluded.data;
    last = p + rec->excluded.len;

    while (p < last) {
        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) == id->len
            && ngx_memcmp(p, id->data, id->len) == 0)
        {
            return 1;
        }

        p = end + 1;
    }

    return 0;
}
