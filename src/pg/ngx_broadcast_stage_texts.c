
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "pg/ngx_broadcast_pg_array.h"
#include "pg/ngx_broadcast_stage_local.h"


/* a statement's parameters: an array a column, an element a record */

static void ngx_broadcast_stage_record(ngx_broadcast_pg_array_t *a,
    ngx_broadcast_sender_t *sender, ngx_broadcast_record_t *rec);
static void ngx_broadcast_stage_key(ngx_broadcast_pg_array_t *a,
    ngx_broadcast_sender_t *sender);


#define ngx_broadcast_stage_each(q)                                           \
    q = ngx_queue_head(&ngx_broadcast_stage.group);                           \
    q != ngx_queue_sentinel(&ngx_broadcast_stage.group);                      \
    q = ngx_queue_next(q)


ngx_int_t
ngx_broadcast_stage_texts(ngx_uint_t rows)
{
    size_t                     sizes[NGX_BROADCAST_STAGE_ONCE_PARAMS];
    ngx_uint_t                 i, k, n;
    ngx_queue_t               *q;
    ngx_broadcast_stage_t     *stage = &ngx_broadcast_stage;
    ngx_broadcast_record_t    *rec;
    ngx_broadcast_sender_t    *sender;
    ngx_broadcast_pg_array_t   a[NGX_BROADCAST_STAGE_ONCE_PARAMS];

    n = stage->keys ? NGX_BROADCAST_STAGE_ONCE_PARAMS
                    : NGX_BROADCAST_STAGE_PARAMS;

    for (k = 0; k < n; k++) {
        sizes[k] = rows * 5;
    }

    for (ngx_broadcast_stage_each(q)) {
        sender = ngx_queue_data(q, ngx_broadcast_sender_t, queue);

        for (i = 0; i < sender->n; i++) {
            rec = &sender->recs[i];

            /* JSON has many quotes, each is escaped */

            sizes[0] += sender->hub.len;
            sizes[4] += rec->name.len;
            sizes[5] += rec->group.len;
            sizes[6] += rec->target.len;
            sizes[7] += rec->arguments.len + rec->arguments.len / 8;
            sizes[8] += rec->excluded.len;
        }
    }

    for (k = 0; k < n; k++) {
        ngx_broadcast_pg_array_init(&a[k], stage->pool, sizes[k]);
    }

    k = 0;

    for (ngx_broadcast_stage_each(q)) {
        sender = ngx_queue_data(q, ngx_broadcast_sender_t, queue);
        k++;

        for (i = 0; i < sender->n; i++) {
            ngx_broadcast_stage_record(a, sender, &sender->recs[i]);

            if (stage->keys) {
                ngx_broadcast_pg_array_int(&a[11], k);
            }
        }

        if (stage->keys) {
            ngx_broadcast_stage_key(a, sender);
        }
    }

    for (k = 0; k < n; k++) {
        stage->query.params[k] = ngx_broadcast_pg_array_done(&a[k]);

        if (stage->query.params[k] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_broadcast_stage_record(ngx_broadcast_pg_array_t *a,
    ngx_broadcast_sender_t *sender, ngx_broadcast_record_t *rec)
{
    ngx_broadcast_pg_array_text(&a[0], &sender->hub);
    ngx_broadcast_pg_array_int(&a[1], rec->type);
    ngx_broadcast_pg_array_int(&a[2], rec->scope);
    ngx_broadcast_pg_array_int(&a[3], rec->source);
    ngx_broadcast_pg_array_text(&a[4], &rec->name);
    ngx_broadcast_pg_array_text(&a[5], &rec->group);
    ngx_broadcast_pg_array_text(&a[6], &rec->target);
    ngx_broadcast_pg_array_text(&a[7], &rec->arguments);
    ngx_broadcast_pg_array_text(&a[8], &rec->excluded);
    ngx_broadcast_pg_array_int(&a[9], rec->mark);

    switch (rec->ttl) {

    case NGX_BROADCAST_TTL_NONE:
        ngx_broadcast_pg_array_null(&a[10]);
        break;

    case NGX_BROADCAST_TTL_PRESENT:
        ngx_broadcast_pg_array_int(&a[10], 0);
        break;

    default:
        ngx_broadcast_pg_array_int(&a[10], rec->ttl);
    }
}


/* of a request, not of a record: the arrays may have other lengths */

static void
ngx_broadcast_stage_key(ngx_broadcast_pg_array_t *a,
    ngx_broadcast_sender_t *sender)
{
    ngx_str_t  digest;

    if (sender->key.len == 0) {
        ngx_broadcast_pg_array_null(&a[12]);
        ngx_broadcast_pg_array_null(&a[13]);
        return;
    }

    digest.data = sender->digest;
    digest.len = NGX_BROADCAST_DIGEST_LEN;

    ngx_broadcast_pg_array_text(&a[12], &sender->key);
    ngx_broadcast_pg_array_text(&a[13], &digest);
}
