
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_BACKOFF_H_INCLUDED_
#define _NGX_BROADCAST_BACKOFF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* times between tries, in milliseconds: doubled, with jitter, bounded */

#define NGX_BROADCAST_BACKOFF_MIN  100
#define NGX_BROADCAST_BACKOFF_MAX  5000


typedef struct {
    ngx_msec_t                  last;       /* 0: no failure yet */
} ngx_broadcast_backoff_t;


#define ngx_broadcast_backoff_init(b)  (b)->last = 0


/* how long to wait after one more failure: 50 to 100 % of the step */

static ngx_inline ngx_msec_t
ngx_broadcast_backoff(ngx_broadcast_backoff_t *b)
{
    b->last = b->last ? ngx_min(b->last * 2, NGX_BROADCAST_BACKOFF_MAX)
                      : NGX_BROADCAST_BACKOFF_MIN;

    return b->last / 2 + (ngx_msec_t) ngx_random() % (b->last / 2 + 1);
}


#endif /* _NGX_BROADCAST_BACKOFF_H_INCLUDED_ */
