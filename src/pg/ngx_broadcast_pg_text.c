
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_text.h"


#define NGX_BROADCAST_PG_TEXT_PLACES   8192     /* two whole catalogues */
#define NGX_BROADCAST_PG_TEXT_BUCKETS  1024


static ngx_broadcast_pg_text_t
    *ngx_broadcast_pg_text_hash[NGX_BROADCAST_PG_TEXT_BUCKETS];

/* the places that are free below `used`, the last one given back on top */

static uint16_t  ngx_broadcast_pg_text_free[NGX_BROADCAST_PG_TEXT_PLACES];
static uint32_t  ngx_broadcast_pg_text_nfree;
static uint32_t  ngx_broadcast_pg_text_used;
static uint32_t  ngx_broadcast_pg_text_id;


ngx_broadcast_pg_text_t *
ngx_broadcast_pg_text_get(ngx_str_t *text, ngx_log_t *log)
{
    uint32_t                   hash;
    ngx_broadcast_pg_text_t   *t, **bucket;

    hash = (uint32_t) ngx_hash_key(text->data, text->len);

    bucket = &ngx_broadcast_pg_text_hash[hash % NGX_BROADCAST_PG_TEXT_BUCKETS];

    for (t = *bucket; t; t = t->next) {
        if (t->hash == hash
            && t->text.len == text->len
            && ngx_memcmp(t->text.data, text->data, text->len) == 0)
        {
            t->refs++;
            return t;
        }
    }

    if (ngx_broadcast_pg_text_nfree == 0
        && ngx_broadcast_pg_text_used == NGX_BROADCAST_PG_TEXT_PLACES)
    {
        return NULL;
    }

    t = ngx_alloc(sizeof(ngx_broadcast_pg_text_t) + text->len + 1, log);
    if (t == NULL) {
        return NULL;
    }

    t->text.len = text->len;
    t->text.data = (u_char *) (t + 1);
    ngx_memcpy(t->text.data, text->data, text->len);
    t->text.data[text->len] = '\0';

    t->hash = hash;
    t->refs = 1;
    t->id = ++ngx_broadcast_pg_text_id;

    ngx_broadcast_pg_pace_init(&t->pace);

    t->place = ngx_broadcast_pg_text_nfree
               ? ngx_broadcast_pg_text_free[--ngx_broadcast_pg_text_nfree]
               : ngx_broadcast_pg_text_used++;

    t->next = *bucket;
    *bucket = t;

    return t;
}


void
ngx_broadcast_pg_text_put(ngx_broadcast_pg_text_t *text)
{
    ngx_broadcast_pg_text_t  **link;

    if (--text->refs) {
        return;
    }

    link = &ngx_broadcast_pg_text_hash[text->hash
                                       % NGX_BROADCAST_PG_TEXT_BUCKETS];

    while (*link != text) {
        link = &(*link)->next;
    }

    *link = text->next;

    ngx_broadcast_pg_text_free[ngx_broadcast_pg_text_nfree++] =
                                                       (uint16_t) text->place;
    ngx_free(text);
}


void
ngx_broadcast_pg_text_renew(ngx_broadcast_pg_text_t *text)
{
    text->id = ++ngx_broadcast_pg_text_id;
}


void
ngx_broadcast_pg_text_name(uint32_t id, char *name)
{
    (void) ngx_sprintf((u_char *) name, "broadcast_%uD%Z", id);
}
