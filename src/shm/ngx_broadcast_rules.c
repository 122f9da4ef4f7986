
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_rule.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Going over the rules: those of a user that connects, those that are asked
 * for, those whose time has come.
 */


static void ngx_broadcast_rule_end_locked(ngx_broadcast_zone_t *zone,
    uint32_t rule);


/* rules of the user that have not expired: memberships of a new connection */

ngx_uint_t
ngx_broadcast_rule_count_locked(ngx_broadcast_zone_t *zone, uint32_t user,
    uint32_t now)
{
    uint32_t                   i;
    ngx_uint_t                 n;
    ngx_broadcast_rule_row_t  *rule;

    n = 0;
    i = user ? *ngx_broadcast_head(zone, rules, ngx_broadcast_rule_hash(user))
             : 0;

    for ( /* void */ ; i; i = rule->next) {
        rule = ngx_broadcast_rule(zone, i);
        n += (rule->user == user && rule->expires > now);
    }

    return n;
}


/* a row that was just made: it is in none of them, and there is room */

void
ngx_broadcast_rule_join_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    uint32_t user, uint32_t now)
{
    uint32_t                   i;
    ngx_broadcast_rule_row_t  *rule;

    i = user ? *ngx_broadcast_head(zone, rules, ngx_broadcast_rule_hash(user))
             : 0;

    for ( /* void */ ; i; i = rule->next) {
        rule = ngx_broadcast_rule(zone, i);

        if (rule->user == user && rule->expires > now) {
            ngx_broadcast_name_refer_locked(zone, rule->group);
            ngx_broadcast_member_make_locked(zone, row, rule->group);
        }
    }
}


static void
ngx_broadcast_rule_end_locked(ngx_broadcast_zone_t *zone, uint32_t i)
{
    uint32_t                  *link;
    ngx_broadcast_rule_row_t  *rule;

    rule = ngx_broadcast_rule(zone, i);
    link = ngx_broadcast_head(zone, rules,
                              ngx_broadcast_rule_hash(rule->user));

    while (*link && *link != i) {
        link = &ngx_broadcast_rule(zone, *link)->next;
    }

    if (*link) {
        ngx_broadcast_zone_dirty_locked(zone);
        ngx_broadcast_rule_free_locked(zone, link);
        ngx_broadcast_zone_clean_locked(zone);
    }
}


void
ngx_broadcast_rule_clear(ngx_broadcast_zone_t *zone, ngx_uint_t *next)
{
    uint32_t                   i;
    ngx_uint_t                 n;
    ngx_broadcast_cell_t      *cell;
    ngx_broadcast_rule_row_t  *rule;

    i = *next ? (uint32_t) *next : 1;

    ngx_broadcast_zone_lock(zone);

    for (n = 0; n < NGX_BROADCAST_PIECE && i <= zone->rules.high; n++, i++) {

        rule = ngx_broadcast_rule(zone, i);

        if (rule->user == 0) {
            continue;
        }

        cell = ngx_broadcast_cell(zone, rule->user);

        if (ngx_broadcast_hub_row(zone, cell->u.first.hub + 1)->durable) {
            ngx_broadcast_rule_end_locked(zone, i);
        }
    }

    *next = (i <= zone->rules.high) ? i : 0;

    ngx_broadcast_zone_unlock(zone);
}


/* one store */

void
ngx_broadcast_rule_loaded(ngx_broadcast_zone_t *zone, uint64_t relay)
{
    ngx_broadcast_zone_lock(zone);

    zone->rules_loaded = relay;
    ngx_broadcast_store(rule_loaded);

    ngx_broadcast_zone_unlock(zone);
}


ngx_uint_t
ngx_broadcast_rule_find(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_str_t *user, ngx_str_t *group, time_t *expires)
{
    time_t    at;
    uint32_t  i, u, g;

    ngx_broadcast_zone_lock(zone);

    u = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_USER, hub,
                                       user);
    g = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_GROUP, hub,
                                       group);

    i = (u && g) ? ngx_broadcast_rule_find_locked(zone, u, g) : 0;
    at = i ? (time_t) ngx_broadcast_rule(zone, i)->expires : 0;

    ngx_broadcast_zone_unlock(zone);

    if (at <= ngx_time()) {
        return 0;
    }

    if (expires) {
        *expires = at;
    }

    return 1;
}


/*
 * Goes on where the last call of any process stopped, as that of tombstones
 * does.  At most 32 holds of NGX_BROADCAST_SCAN rules.
 */

void
ngx_broadcast_rule_expire(ngx_broadcast_zone_t *zone, time_t now)
{
    uint32_t                   i;
    ngx_uint_t                 n, hold, end;
    ngx_broadcast_rule_row_t  *rule;

    end = 0;

    for (hold = 0; hold < 32 && !end; hold++) {

        ngx_broadcast_zone_lock(zone);

        if (zone->rules.high == zone->rules.spare) {
            end = 1;
        }

        for (n = 0; n < NGX_BROADCAST_SCAN && !end; n++) {

            i = zone->rules_next + 1;

            if (i > zone->rules.high) {
                zone->rules_next = 0;
                ngx_broadcast_store(rule_expire_wrap);

                end = 1;
                break;
            }

            zone->rules_next = i;
            ngx_broadcast_store(rule_expire_next);

            rule = ngx_broadcast_rule(zone, i);

            if (rule->user && rule->expires <= (uint32_t) now) {
                ngx_broadcast_rule_end_locked(zone, i);
            }
        }

        ngx_broadcast_zone_unlock(zone);
    }
}
