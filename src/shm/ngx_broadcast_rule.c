
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_rule.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Rules of users: which groups their connections join when they connect.
 *
 *   head by user --> rule --> rule --> rule of another user --> rule
 *                     |  \     |  \
 *                     |   \    |   group "y"
 *                     |    \  user "u"
 *                     |     group "x"
 *                    user "u"
 *
 * All rules of a user are in one chain, the newest link first; the hub is that
 * of the names.  `user` is stored last when a rule is made, and cleared first
 * when it ends.
 *
 * A change that comes with a record is applied with it, by
 * ngx_broadcast_log_apply_locked(), and again if its owner died meanwhile: so
 * it is done as a whole or not at all, though it takes several stores.  Only a
 * refusal may then be counted twice.
 */


#define NGX_BROADCAST_TTL_MAX  0x7fffffff   /* seconds, some 68 years */


static ngx_int_t ngx_broadcast_rule_set_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_rule_t *rule);
static uint32_t ngx_broadcast_rule_take_locked(ngx_broadcast_zone_t *zone);
static ngx_uint_t ngx_broadcast_rule_need_locked(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_str_t *user, ngx_str_t *group, ngx_uint_t *rules);
static void ngx_broadcast_rule_limit_locked(ngx_broadcast_zone_t *zone,
    uint32_t user, uint32_t rule, ngx_uint_t lasting);
static void ngx_broadcast_rule_remove_locked(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_str_t *user, ngx_str_t *group);


uint32_t
ngx_broadcast_rule_hash(uint32_t user)
{
    return (uint32_t) (((uint64_t) user * 0x9e3779b97f4a7c15ULL) >> 32);
}


/* seconds, wall clock, when a JOIN with this ttl (of a record) expires */

static time_t
ngx_broadcast_rule_expires(uint64_t usec, uint32_t ttl)
{
    if (ttl == NGX_BROADCAST_TTL_NONE) {
        ttl = NGX_BROADCAST_RULE_LASTS;
    }

    ttl = ngx_min(ttl, NGX_BROADCAST_TTL_MAX);

    return (time_t) ((usec + 999999) / 1000000) + ttl;
}


ngx_int_t
ngx_broadcast_rule_set(ngx_broadcast_zone_t *zone, ngx_broadcast_rule_t *rule)
{
    ngx_int_t  rc;

    if (rule->user.len == 0 || rule->user.len > NGX_BROADCAST_USER_MAX
        || rule->group.len == 0
        || rule->group.len > NGX_BROADCAST_GROUP_BYTES)
    {
        return NGX_OK;
    }

    ngx_broadcast_zone_lock(zone);

    rc = ngx_broadcast_rule_set_locked(zone, rule);

    ngx_broadcast_zone_unlock(zone);

    return rc;
}


/*
 * A death before rule_user: the rule is free, the cells have no reference of
 * it: nothing has happened, but that an older rule may have made room.  From
 * there on: the rebuild links it, it is there.  One that was there has the
 * expiry of then or of now; if a record said so, it is applied again.
 */

static ngx_int_t
ngx_broadcast_rule_set_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_rule_t *in)
{
    uint32_t                   i, user, group, *head;
    ngx_uint_t                 n;
    ngx_broadcast_rule_row_t  *rule;

    n = 0;

    if (ngx_broadcast_rule_need_locked(zone, in->hub, &in->user, &in->group,
                                       &n)
        > ngx_broadcast_table_left(&zone->cells)
        || n > ngx_broadcast_table_left(&zone->rules))
    {
        zone->rules_refused++;
        ngx_broadcast_store(rule_refused);

        return NGX_BUSY;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    user = ngx_broadcast_name_take_locked(zone, NGX_BROADCAST_NAME_USER,
                                          in->hub, &in->user);
    group = ngx_broadcast_name_take_locked(zone, NGX_BROADCAST_NAME_GROUP,
                                           in->hub, &in->group);

    i = ngx_broadcast_rule_find_locked(zone, user, group);

    ngx_broadcast_rule_limit_locked(zone, user, i, in->lasting);

    if (i == 0) {
        i = ngx_broadcast_rule_take_locked(zone);
        rule = ngx_broadcast_rule(zone, i);

        rule->group = group;
        ngx_broadcast_store(rule_group);

        n = 1;

    } else {
        rule = ngx_broadcast_rule(zone, i);

        ngx_broadcast_name_drop_locked(zone, user);
        ngx_broadcast_name_drop_locked(zone, group);

        n = 0;
    }

    zone->rules_order++;
    ngx_broadcast_store(rule_order);

    rule->updated = zone->rules_order;
    ngx_broadcast_store(rule_updated);

    rule->expires = (uint32_t) in->expires;
    ngx_broadcast_store(rule_expires);

    rule->lasting = in->lasting ? 1 : 0;
    ngx_broadcast_store(rule_lasting);

    if (n) {
        rule->user = user;
        ngx_broadcast_store(rule_user);

        head = ngx_broadcast_head(zone, rules, ngx_broadcast_rule_hash(user));

        rule->next = *head;
        ngx_broadcast_store(rule_next);

        *head = i;
        ngx_broadcast_store(rule_head);

        ngx_broadcast_table_grow_locked(zone, &zone->rules);
    }

    ngx_broadcast_zone_clean_locked(zone);

    return NGX_OK;
}


/* the caller has looked that one is left */

static uint32_t
ngx_broadcast_rule_take_locked(ngx_broadcast_zone_t *zone)
{
    uint32_t  i;

    i = zone->rules.free;

    if (i) {
        zone->rules.free = ngx_broadcast_rule(zone, i)->next;
        ngx_broadcast_store(rule_free);

        zone->rules.spare--;
        ngx_broadcast_store(rule_spare);

        return i;
    }

    i = ++zone->rules.high;
    ngx_broadcast_store(rule_high);

    return i;
}


uint32_t
ngx_broadcast_rule_find_locked(ngx_broadcast_zone_t *zone, uint32_t user,
    uint32_t group)
{
    uint32_t                   i;
    ngx_broadcast_rule_row_t  *rule;

    i = *ngx_broadcast_head(zone, rules, ngx_broadcast_rule_hash(user));

    while (i) {
        rule = ngx_broadcast_rule(zone, i);

        if (rule->user == user && rule->group == group) {
            break;
        }

        i = rule->next;
    }

    return i;
}


/* cells that a rule takes which may be there; adds to *rules if it is not */

static ngx_uint_t
ngx_broadcast_rule_need_locked(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_str_t *user, ngx_str_t *group, ngx_uint_t *rules)
{
    uint32_t    u, g;
    ngx_uint_t  n;

    n = 0;

    u = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_USER, hub,
                                       user);
    if (u == 0) {
        n += ngx_broadcast_name_need(user->len);
    }

    g = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_GROUP, hub,
                                       group);
    if (g == 0) {
        n += ngx_broadcast_name_need(group->len);
    }

    if (u == 0 || g == 0 || ngx_broadcast_rule_find_locked(zone, u, g) == 0) {
        (*rules)++;
    }

    return n;
}


/*
 * Makes room, in the limit of its kind, for one more rule of the user beside
 * this one (0: beside all): the one that was updated first goes.
 */

static void
ngx_broadcast_rule_limit_locked(ngx_broadcast_zone_t *zone, uint32_t user,
    uint32_t beside, ngx_uint_t lasting)
{
    uint32_t                  *link, *oldest;
    uint64_t                   updated;
    ngx_uint_t                 n;
    ngx_broadcast_rule_row_t  *rule;

    n = 0;
    updated = 0;
    oldest = NULL;

    link = ngx_broadcast_head(zone, rules, ngx_broadcast_rule_hash(user));

    for ( /* void */ ; *link; link = &rule->next) {

        rule = ngx_broadcast_rule(zone, *link);

        if (rule->user != user || *link == beside
            || rule->lasting != (lasting ? 1 : 0))
        {
            continue;
        }

        n++;

        if (oldest == NULL || rule->updated < updated) {
            oldest = link;
            updated = rule->updated;
        }
    }

    if (n >= (lasting ? NGX_BROADCAST_RULES_LASTING
                      : NGX_BROADCAST_RULES_TIMED))
    {
        ngx_broadcast_rule_free_locked(zone, oldest);
    }
}


/*
 * All rules of the user if the group is empty: at most as many as the limits
 * allow.  A death leaves some of them; the record is applied again.
 */

static void
ngx_broadcast_rule_remove_locked(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_str_t *user, ngx_str_t *group)
{
    uint32_t                   u, g, *link;
    ngx_broadcast_rule_row_t  *rule;

    u = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_USER, hub,
                                       user);
    g = group->len ? ngx_broadcast_name_find_locked(zone,
                                                    NGX_BROADCAST_NAME_GROUP,
                                                    hub, group)
                   : 0;

    if (u == 0 || (g == 0 && group->len)) {
        return;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    link = ngx_broadcast_head(zone, rules, ngx_broadcast_rule_hash(u));

    while (*link) {
        rule = ngx_broadcast_rule(zone, *link);

        if (rule->user == u && (g == 0 || rule->group == g)) {
            ngx_broadcast_rule_free_locked(zone, link);
            continue;
        }

        link = &rule->next;
    }

    ngx_broadcast_zone_clean_locked(zone);
}


/*
 * Ends the rule that this link leads to.  A death before rule_off: it is
 * there.  From there on: it is not, the rebuild drops what is left.
 */

void
ngx_broadcast_rule_free_locked(ngx_broadcast_zone_t *zone, uint32_t *link)
{
    uint32_t                   i, user;
    ngx_broadcast_rule_row_t  *rule;

    i = *link;
    rule = ngx_broadcast_rule(zone, i);
    user = rule->user;

    rule->user = 0;
    ngx_broadcast_store(rule_off);

    *link = rule->next;
    ngx_broadcast_store(rule_off_link);

    ngx_broadcast_name_drop_locked(zone, rule->group);
    ngx_broadcast_name_drop_locked(zone, user);

    rule->next = zone->rules.free;
    ngx_broadcast_store(rule_off_next);

    zone->rules.free = i;
    ngx_broadcast_store(rule_off_free);

    zone->rules.spare++;
    ngx_broadcast_store(rule_off_spare);
}


/*
 * What a record says, read from the ring.  The relay's records have been
 * committed, so there nobody can be told that there is no room.
 */

void
ngx_broadcast_rule_apply_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_header_t *h)
{
    u_char                user[NGX_BROADCAST_USER_MAX];
    u_char                group[NGX_BROADCAST_GROUP_BYTES];
    uint64_t              offset;
    ngx_broadcast_hub_t  *hub;
    ngx_broadcast_rule_t  rule;

    if (h->scope != NGX_BROADCAST_USER
        || (h->flags & NGX_BROADCAST_REC_NO_RULE)
        || h->name_len == 0 || h->name_len > sizeof(user)
        || h->group_len > sizeof(group))
    {
        return;
    }

    hub = ngx_broadcast_hub_row(zone, h->hub + 1);

    if (h->relay && h->relay <= zone->rules_loaded && hub->durable) {
        return;
    }

    offset = h->offset + sizeof(ngx_broadcast_header_t);

    ngx_broadcast_ring_get(zone, offset, user, h->name_len);
    ngx_broadcast_ring_get(zone, offset + h->name_len, group, h->group_len);

    rule.hub = h->hub;
    rule.user.data = user;
    rule.user.len = h->name_len;
    rule.group.data = group;
    rule.group.len = h->group_len;

    if (h->type == NGX_BROADCAST_REC_LEAVE) {
        ngx_broadcast_rule_remove_locked(zone, rule.hub, &rule.user,
                                         &rule.group);

    } else if (h->type == NGX_BROADCAST_REC_JOIN && rule.group.len) {

        /* a ttl of 0 replaces a longer one: the rule is over */

        if (h->ttl == NGX_BROADCAST_TTL_PRESENT) {
            ngx_broadcast_rule_remove_locked(zone, rule.hub, &rule.user,
                                             &rule.group);
            return;
        }

        rule.expires = ngx_broadcast_rule_expires(h->time, h->ttl);
        rule.lasting = (h->ttl == NGX_BROADCAST_TTL_NONE);

        (void) ngx_broadcast_rule_set_locked(zone, &rule);
    }
}


/* 1 if there is room for what these records say; those of the relay can wait */

ngx_uint_t
ngx_broadcast_rule_room_locked(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n)
{
    ngx_uint_t               i, rules, cells;
    ngx_broadcast_record_t  *rec;

    rules = 0;
    cells = 0;

    for (i = 0; i < n; i++) {
        rec = &recs[i];

        if (rec->type == NGX_BROADCAST_REC_JOIN
            && rec->scope == NGX_BROADCAST_USER
            && rec->relay == 0
            && !(rec->flags & NGX_BROADCAST_REC_NO_RULE)
            && rec->ttl != NGX_BROADCAST_TTL_PRESENT)
        {
            cells += ngx_broadcast_rule_need_locked(zone, rec->hub, &rec->name,
                                                    &rec->group, &rules);
        }
    }

    return cells <= ngx_broadcast_table_left(&zone->cells)
           && rules <= ngx_broadcast_table_left(&zone->rules);
}
