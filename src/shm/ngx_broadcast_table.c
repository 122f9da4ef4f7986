
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Heads of chains, by linear hashing (Litwin): a table begins with two of them,
 * and each entry beyond the most that it ever had splits one chain in two, the
 * next in order.
 *
 *     used = 6      hash & 7      0   1   2   3   4   5   6   7
 *                                 |   |   |   |   |   |   |   |
 *                   head          0   1   2   3   4   5   2   3
 *
 * So the heads in use stand side by side, four bytes an entry, and no insertion
 * does more than walk one short chain.  With all heads in use from the start
 * the first thousand clients would touch nearly all of their pages, one each.
 */


static uint32_t *ngx_broadcast_table_link(ngx_broadcast_zone_t *zone,
    ngx_broadcast_table_t *table, uint32_t i, uint32_t *hash);


uint32_t
ngx_broadcast_chain(ngx_broadcast_table_t *table, uint32_t hash)
{
    uint32_t  i, mask;

    mask = 0xffffffff >> __builtin_clz(table->used - 1);
    i = hash & mask;

    return i < table->used ? i : i & (mask >> 1);
}


/*
 * A death anywhere in it leaves `dirty` set: the rebuild makes the chains anew
 * for what `used` says by then.
 */

void
ngx_broadcast_table_grow_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_table_t *table)
{
    uint32_t  i, to, mask, hash, *heads, *link, *next;

    to = table->used;

    if (table->high - table->spare <= to || to > table->mask) {
        return;
    }

    mask = 0xffffffff >> __builtin_clz(to);
    heads = (uint32_t *) ((u_char *) zone + table->heads);

    heads[to] = 0;
    ngx_broadcast_store(grow_empty);

    link = &heads[to & (mask >> 1)];

    while (*link) {

        i = *link;
        next = ngx_broadcast_table_link(zone, table, i, &hash);

        if ((hash & mask) != to) {
            link = next;
            continue;
        }

        *link = *next;
        ngx_broadcast_store(grow_out);

        *next = heads[to];
        ngx_broadcast_store(grow_next);

        heads[to] = i;
        ngx_broadcast_store(grow_head);
    }

    table->used = to + 1;
    ngx_broadcast_store(grow_used);
}


/* where entry i, which is in a chain, has the next one of it */

static uint32_t *
ngx_broadcast_table_link(ngx_broadcast_zone_t *zone,
    ngx_broadcast_table_t *table, uint32_t i, uint32_t *hash)
{
    ngx_str_t                  id;
    ngx_broadcast_cell_t      *cell;
    ngx_broadcast_member_t    *member;
    ngx_broadcast_conn_row_t  *conn;
    ngx_broadcast_rule_row_t  *rule;

    if (table == &zone->cells) {
        cell = ngx_broadcast_cell(zone, i);
        *hash = cell->u.first.hash;

        return &cell->u.first.chain;
    }

    if (table == &zone->members) {
        member = ngx_broadcast_member(zone, i);
        *hash = ngx_broadcast_member_hash(member->row, member->group);

        return &member->chain;
    }

    if (table == &zone->rules) {
        rule = ngx_broadcast_rule(zone, i);
        *hash = ngx_broadcast_rule_hash(rule->user);

        return &rule->next;
    }

    conn = ngx_broadcast_conn(zone, i);

    id.len = conn->id_len;
    id.data = conn->id;
    *hash = (uint32_t) ngx_broadcast_id_hash(zone, &id);

    return &conn->next;
}
