
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* The position that a client of a hub or of events goes on from. */


#include "http/ngx_http_broadcast.h"


ngx_int_t
ngx_http_broadcast_resume_arg(ngx_http_request_t *r, const char *name,
    ngx_broadcast_open_t *in)
{
    ngx_int_t  rc;
    ngx_str_t  position;

    rc = ngx_http_broadcast_arg(r, name, &position);

    switch (rc) {

    case NGX_ERROR:
        return NGX_ERROR;

    case NGX_DECLINED:
        return NGX_OK;

    case NGX_ABORT:

        /* not well encoded: as it stands, it is no position anyway */

        (void) ngx_broadcast_query_get(&r->args, name, &position);
    }

    ngx_http_broadcast_resume(in, &position);

    return NGX_OK;
}


/*
 * What is no position is one that cannot be served: a gap.  An empty one is
 * that of a plain subscriber which has none; a hub's client that gives it asks
 * to be told.
 */

void
ngx_http_broadcast_resume(ngx_broadcast_open_t *in, ngx_str_t *position)
{
    if (position->len == 0 && in->protocol == NGX_BROADCAST_PLAIN) {
        return;
    }

    in->has_resume = 1;
    in->requested = *position;

    if (position->len == 0) {
        return;
    }

    if (ngx_broadcast_position_split(position, &in->resume, &in->suffix)
        != NGX_OK)
    {
        in->resume.epoch = 0;
        in->resume.seq = (uint64_t) -1;

        ngx_str_null(&in->suffix);
    }
}
