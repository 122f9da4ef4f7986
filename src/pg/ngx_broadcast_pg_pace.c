
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg_pace.h"


#define NGX_BROADCAST_PG_PACES   512
#define NGX_BROADCAST_PG_PROBES  8


ngx_uint_t  ngx_broadcast_pg_pace_learned;

static ngx_broadcast_pg_pace_t  ngx_broadcast_pg_paces[NGX_BROADCAST_PG_PACES];


void
ngx_broadcast_pg_pace_init(ngx_broadcast_pg_pace_t *pace)
{
    pace->hash = 0;
    pace->owes = 1;
    pace->last = NGX_MAX_UINT32_VALUE;
    pace->credit = 0;
}


ngx_broadcast_pg_pace_t *
ngx_broadcast_pg_pace_get(ngx_uint_t kind, ngx_str_t *name)
{
    uint32_t                  hash;
    ngx_uint_t                i;
    ngx_broadcast_pg_pace_t  *pace, *place;

    hash = name ? ngx_murmur_hash2(name->data, name->len) : 0;
    hash = hash * 31 + (uint32_t) kind + 1;

    if (hash == 0) {
        hash = 1;
    }

    place = &ngx_broadcast_pg_paces[hash % NGX_BROADCAST_PG_PACES];

    for (i = 0; i < NGX_BROADCAST_PG_PROBES; i++) {
        pace = &ngx_broadcast_pg_paces[(hash + i) % NGX_BROADCAST_PG_PACES];

        if (pace->hash == hash) {
            return pace;
        }

        if (pace->hash == 0) {
            place = pace;
            break;
        }
    }

    ngx_broadcast_pg_pace_init(place);
    place->hash = hash;

    return place;
}


void
ngx_broadcast_pg_pace_took(ngx_broadcast_pg_pace_t *pace, ngx_msec_t took,
    ngx_uint_t ended)
{
    ngx_uint_t  prompt;

    prompt = took <= NGX_BROADCAST_PG_PROMPT;

    if (ended && took > NGX_BROADCAST_PG_FAIR && pace->credit) {
        pace->credit = 0;
        took = NGX_BROADCAST_PG_FAIR;
    }

    if (pace->last > NGX_BROADCAST_PG_FAIR && took <= NGX_BROADCAST_PG_FAIR) {
        ngx_broadcast_pg_pace_learned++;
    }

    pace->last = (uint32_t) took;

    if (!prompt) {
        pace->owes = NGX_BROADCAST_PG_TRUST;

    } else if (pace->owes == 0 || --pace->owes == 0) {
        pace->credit = 1;
    }
}
