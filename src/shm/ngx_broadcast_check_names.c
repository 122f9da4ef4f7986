
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_check.h"
#include "shm/ngx_broadcast_zone_layout.h"


/* The part of the check that is about memberships, rules and names. */


static ngx_int_t ngx_broadcast_check_name(ngx_broadcast_check_t *check,
    uint32_t name);


ngx_int_t
ngx_broadcast_check_refer(ngx_broadcast_check_t *check, uint32_t name,
    ngx_uint_t kind, ngx_uint_t hub, ngx_uint_t live)
{
    ngx_broadcast_cell_t  *cell;

    if (name > check->zone->cells.high) {
        return ngx_broadcast_check_fail(check, "reference to cell", name);
    }

    cell = ngx_broadcast_cell(check->zone, name);

    if (cell->u.first.kind != kind || cell->u.first.hub != hub) {
        return ngx_broadcast_check_fail(check, "another name in cell", name);
    }

    check->refs[name]++;
    check->live[name] += (uint32_t) live;

    return NGX_OK;
}


/* the memberships of one connection, by its own chain */

ngx_int_t
ngx_broadcast_check_of_row(ngx_broadcast_check_t *check, uint32_t row)
{
    uint32_t                   i, prev;
    ngx_broadcast_conn_row_t  *conn;
    ngx_broadcast_member_t    *member;

    conn = ngx_broadcast_conn(check->zone, row);
    prev = 0;

    for (i = conn->members; i; i = member->next) {

        if (i > check->zone->members.high || check->members[i]) {
            return ngx_broadcast_check_fail(check, "memberships of row", row);
        }

        member = ngx_broadcast_member(check->zone, i);

        if (member->row != row || member->prev != prev) {
            return ngx_broadcast_check_fail(check, "membership of another "
                                            "row", i);
        }

        check->members[i] = NGX_BROADCAST_MET_TEXT;
        prev = i;

        if (ngx_broadcast_check_refer(check, member->group,
                                      NGX_BROADCAST_NAME_GROUP, conn->hub, 1)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_check_members(ngx_broadcast_check_t *check)
{
    uint32_t                 h, i, n, want;
    ngx_broadcast_zone_t    *zone;
    ngx_broadcast_member_t  *member;

    zone = check->zone;

    for (h = 0; h < zone->members.used; h++) {

        for (i = *ngx_broadcast_head(zone, members, h); i; i = member->chain) {

            if (i > zone->members.high
                || check->members[i] != NGX_BROADCAST_MET_TEXT)
            {
                return ngx_broadcast_check_fail(check, "chain of memberships",
                                                h);
            }

            check->members[i] |= NGX_BROADCAST_MET_CHAIN;
            member = ngx_broadcast_member(zone, i);

            if (ngx_broadcast_chain(&zone->members,
                                    ngx_broadcast_member_hash(member->row,
                                                              member->group))
                != h)
            {
                return ngx_broadcast_check_fail(check, "membership in "
                                                "another's chain", i);
            }
        }
    }

    n = 0;

    for (i = zone->members.free; i; i = member->next) {
        if (i > zone->members.high || check->members[i]) {
            return ngx_broadcast_check_fail(check, "list of free memberships",
                                            i);
        }

        check->members[i] = NGX_BROADCAST_MET_FREE;
        member = ngx_broadcast_member(zone, i);
        n++;
    }

    if (n != zone->members.spare) {
        return ngx_broadcast_check_fail(check, "number of free memberships",
                                        n);
    }

    for (i = 1; i <= zone->members.high; i++) {

        want = ngx_broadcast_member(zone, i)->row
               ? NGX_BROADCAST_MET_TEXT | NGX_BROADCAST_MET_CHAIN
               : NGX_BROADCAST_MET_FREE;

        if (check->members[i] != want) {
            return ngx_broadcast_check_fail(check, "membership lost", i);
        }
    }

    return NGX_OK;
}


/* each rule once in the chain of its user, and none twice */

ngx_int_t
ngx_broadcast_check_rules(ngx_broadcast_check_t *check)
{
    uint32_t                   h, i, n, want;
    ngx_uint_t                 hub;
    ngx_broadcast_zone_t      *zone;
    ngx_broadcast_rule_row_t  *rule;

    zone = check->zone;

    for (h = 0; h < zone->rules.used; h++) {

        for (i = *ngx_broadcast_head(zone, rules, h); i; i = rule->next) {

            if (i > zone->rules.high || check->rules[i]) {
                return ngx_broadcast_check_fail(check, "chain of rules", h);
            }

            check->rules[i] = NGX_BROADCAST_MET_CHAIN;
            rule = ngx_broadcast_rule(zone, i);

            if (rule->user == 0 || rule->user > zone->cells.high
                || ngx_broadcast_chain(&zone->rules,
                                       ngx_broadcast_rule_hash(rule->user))
                   != h)
            {
                return ngx_broadcast_check_fail(check, "rule in another's "
                                                "chain", i);
            }

            hub = ngx_broadcast_cell(zone, rule->user)->u.first.hub;

            if (ngx_broadcast_check_refer(check, rule->user,
                                          NGX_BROADCAST_NAME_USER, hub, 0)
                != NGX_OK
                || ngx_broadcast_check_refer(check, rule->group,
                                             NGX_BROADCAST_NAME_GROUP, hub, 0)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

            if (rule->updated > zone->rules_order
                || ngx_broadcast_rule_find_locked(zone, rule->user,
                                                  rule->group)
                   != i)
            {
                return ngx_broadcast_check_fail(check, "a second rule", i);
            }
        }
    }

    n = 0;

    for (i = zone->rules.free; i; i = rule->next) {
        if (i > zone->rules.high || check->rules[i]) {
            return ngx_broadcast_check_fail(check, "list of free rules", i);
        }

        check->rules[i] = NGX_BROADCAST_MET_FREE;
        rule = ngx_broadcast_rule(zone, i);
        n++;
    }

    if (n != zone->rules.spare) {
        return ngx_broadcast_check_fail(check, "number of free rules", n);
    }

    for (i = 1; i <= zone->rules.high; i++) {

        want = ngx_broadcast_rule(zone, i)->user ? NGX_BROADCAST_MET_CHAIN
                                                 : NGX_BROADCAST_MET_FREE;

        if (check->rules[i] != want) {
            return ngx_broadcast_check_fail(check, "rule lost", i);
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_check_cells(ngx_broadcast_check_t *check)
{
    uint32_t               h, i, n;
    ngx_broadcast_zone_t  *zone;
    ngx_broadcast_cell_t  *cell;

    zone = check->zone;

    for (h = 0; h < zone->cells.used; h++) {

        for (i = *ngx_broadcast_head(zone, cells, h);
             i;
             i = cell->u.first.chain)
        {
            if (i > zone->cells.high || check->cells[i]) {
                return ngx_broadcast_check_fail(check, "chain of names", h);
            }

            cell = ngx_broadcast_cell(zone, i);

            if (ngx_broadcast_chain(&zone->cells, cell->u.first.hash) != h) {
                return ngx_broadcast_check_fail(check, "name in another's "
                                                "chain", i);
            }

            if (ngx_broadcast_check_name(check, i) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    n = 0;

    for (i = zone->cells.free; i; i = cell->next) {
        if (i > zone->cells.high || check->cells[i]) {
            return ngx_broadcast_check_fail(check, "list of free cells", i);
        }

        check->cells[i] = NGX_BROADCAST_MET_FREE;
        cell = ngx_broadcast_cell(zone, i);

        if (cell->refs) {
            return ngx_broadcast_check_fail(check, "free cell in use", i);
        }

        n++;
    }

    if (n != zone->cells.spare) {
        return ngx_broadcast_check_fail(check, "number of free cells", n);
    }

    for (i = 1; i <= zone->cells.high; i++) {
        if (check->cells[i] == 0
            || (check->refs[i] && check->cells[i] != NGX_BROADCAST_MET_CHAIN))
        {
            return ngx_broadcast_check_fail(check, "cell lost", i);
        }
    }

    return NGX_OK;
}


/* a name in its chain: counted right, text of its hash, in its own cells */

static ngx_int_t
ngx_broadcast_check_name(ngx_broadcast_check_t *check, uint32_t name)
{
    u_char                 text[NGX_BROADCAST_GROUP_BYTES];
    uint32_t               i;
    ngx_str_t              s;
    ngx_uint_t             n;
    ngx_broadcast_cell_t  *cell, *more;

    cell = ngx_broadcast_cell(check->zone, name);

    check->cells[name] = NGX_BROADCAST_MET_CHAIN;

    if (cell->refs == 0
        || cell->refs != check->refs[name]
        || cell->u.first.live != check->live[name])
    {
        return ngx_broadcast_check_fail(check, "references to name", name);
    }

    n = 1;

    for (i = cell->next; i; i = more->next) {

        if (i > check->zone->cells.high || check->cells[i]) {
            return ngx_broadcast_check_fail(check, "cells of name", name);
        }

        more = ngx_broadcast_cell(check->zone, i);
        check->cells[i] = NGX_BROADCAST_MET_TEXT;
        n++;

        if (more->refs != 1) {
            return ngx_broadcast_check_fail(check, "cell of name", i);
        }
    }

    if (cell->u.first.len == 0
        || cell->u.first.len > sizeof(text)
        || ngx_broadcast_name_need(cell->u.first.len) != n)
    {
        return ngx_broadcast_check_fail(check, "length of name", name);
    }

    s.data = text;
    s.len = ngx_broadcast_name_copy_locked(check->zone, name, text,
                                           sizeof(text));

    if (ngx_broadcast_name_hash(check->zone, cell->u.first.kind,
                                cell->u.first.hub, &s)
        != cell->u.first.hash)
    {
        return ngx_broadcast_check_fail(check, "hash of name", name);
    }

    return NGX_OK;
}
