
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_sha1.h>

#include "base/ngx_broadcast_compat.h"
#include "base/ngx_broadcast_id.h"
#include "pg/ngx_broadcast_pg_local.h"
#include "pg/ngx_broadcast_sender.h"


static ngx_int_t ngx_broadcast_sender_copy(ngx_pool_t *pool, ngx_str_t *text);
static void ngx_broadcast_sender_digest(ngx_sha1_t *sha1,
    ngx_broadcast_record_t *rec);


static ngx_rbtree_t       ngx_broadcast_marks;
static ngx_rbtree_node_t  ngx_broadcast_marks_sentinel;


void
ngx_broadcast_sender_init(void)
{
    ngx_rbtree_init(&ngx_broadcast_marks, &ngx_broadcast_marks_sentinel,
                    ngx_rbtree_insert_value);
}


ngx_broadcast_sender_t *
ngx_broadcast_sender_create(ngx_str_t *hub, ngx_broadcast_record_t *recs,
    ngx_uint_t n)
{
    ngx_pool_t              *pool;
    ngx_uint_t               i;
    ngx_broadcast_record_t  *rec;
    ngx_broadcast_sender_t  *sender;

    pool = ngx_create_pool(4096, ngx_broadcast_pg.log);
    if (pool == NULL) {
        return NULL;
    }

    sender = ngx_pcalloc(pool, sizeof(ngx_broadcast_sender_t));
    if (sender == NULL) {
        goto failed;
    }

    sender->pool = pool;
    sender->n = n;
    sender->hub = *hub;
    sender->recs = ngx_palloc(pool, n * sizeof(ngx_broadcast_record_t));

    if (sender->recs == NULL
        || ngx_broadcast_sender_copy(pool, &sender->hub) != NGX_OK)
    {
        goto failed;
    }

    ngx_memcpy(sender->recs, recs, n * sizeof(ngx_broadcast_record_t));

    for (i = 0; i < n; i++) {
        rec = &sender->recs[i];

        rec->mark = 0;
        ngx_str_null(&rec->packed);

        if (ngx_broadcast_sender_copy(pool, &rec->name) != NGX_OK
            || ngx_broadcast_sender_copy(pool, &rec->group) != NGX_OK
            || ngx_broadcast_sender_copy(pool, &rec->target) != NGX_OK
            || ngx_broadcast_sender_copy(pool, &rec->arguments) != NGX_OK
            || ngx_broadcast_sender_copy(pool, &rec->excluded) != NGX_OK)
        {
            goto failed;
        }

        sender->bytes += ngx_broadcast_record_size(rec);
    }

    sender->sent.count = n;

    sender->timer.data = sender;
    sender->timer.log = ngx_broadcast_pg.log;
    sender->later.data = sender;
    sender->later.log = ngx_broadcast_pg.log;

    return sender;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


static ngx_int_t
ngx_broadcast_sender_copy(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char  *p;

    if (text->len) {
        p = ngx_pnalloc(pool, text->len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, text->data, text->len);
        text->data = p;
    }

    return NGX_OK;
}


/* it guards against mistakes, not against somebody who makes two of a kind */

ngx_int_t
ngx_broadcast_sender_key(ngx_broadcast_sender_t *sender, ngx_str_t *key)
{
    u_char      hash[20];
    ngx_sha1_t  sha1;
    ngx_uint_t  i;

    sender->key = *key;

    if (ngx_broadcast_sender_copy(sender->pool, &sender->key) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sha1_init(&sha1);

    for (i = 0; i < sender->n; i++) {
        ngx_broadcast_sender_digest(&sha1, &sender->recs[i]);
    }

    ngx_sha1_final(hash, &sha1);
    ngx_hex_dump(sender->digest, hash, sizeof(hash));

    return NGX_OK;
}


/* each text behind its length: else two records could read as one */

static void
ngx_broadcast_sender_digest(ngx_sha1_t *sha1, ngx_broadcast_record_t *rec)
{
    u_char       text[9 * (NGX_INT64_LEN + 1)], *p;
    ngx_str_t   *part[5];
    ngx_uint_t   i;

    part[0] = &rec->name;
    part[1] = &rec->group;
    part[2] = &rec->target;
    part[3] = &rec->arguments;
    part[4] = &rec->excluded;

    p = ngx_sprintf(text, "%ui %ui %ui %ui", (ngx_uint_t) rec->type,
                    (ngx_uint_t) rec->scope, (ngx_uint_t) rec->source,
                    (ngx_uint_t) rec->ttl);

    for (i = 0; i < 5; i++) {
        p = ngx_sprintf(p, " %uz", part[i]->len);
    }

    ngx_sha1_update(sha1, text, p - text);

    for (i = 0; i < 5; i++) {
        ngx_sha1_update(sha1, part[i]->data, part[i]->len);
    }
}


ngx_int_t
ngx_broadcast_sender_mark(ngx_broadcast_sender_t *sender)
{
    uint64_t  mark;

    if (ngx_broadcast_id_random((u_char *) &mark, sizeof(mark)) != NGX_OK) {
        return NGX_ERROR;
    }

    mark = (mark >> 1) | 1;     /* a positive bigint, and not 0 */

    sender->recs[sender->n - 1].mark = mark;
    sender->node.key = (ngx_rbtree_key_t) mark;

    ngx_rbtree_insert(&ngx_broadcast_marks, &sender->node);

    return NGX_OK;
}


/* NULL: nobody here waits for this mark */

ngx_broadcast_sender_t *
ngx_broadcast_sender_find(uint64_t mark)
{
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    key = (ngx_rbtree_key_t) mark;
    node = ngx_broadcast_marks.root;

    while (node != &ngx_broadcast_marks_sentinel) {

        if (node->key == key) {
            return ngx_rbtree_data(node, ngx_broadcast_sender_t, node);
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


void
ngx_broadcast_sender_tell(ngx_broadcast_sender_t *sender, ngx_uint_t status)
{
    if (sender->timer.timer_set) {
        ngx_del_timer(&sender->timer);
    }

    if (sender->finished) {
        return;
    }

    sender->finished = 1;
    sender->sent.status = status;

    if (!ngx_broadcast_pg.stopping) {
        sender->handler(&sender->sent, sender->call.data);
    }
}


void
ngx_broadcast_sender_free(ngx_broadcast_sender_t *sender)
{
    if (sender->timer.timer_set) {
        ngx_del_timer(&sender->timer);
    }

    if (sender->later.timer_set) {
        ngx_del_timer(&sender->later);
    }

    if (sender->node.key) {
        ngx_rbtree_delete(&ngx_broadcast_marks, &sender->node);
    }

    ngx_destroy_pool(sender->pool);
}
