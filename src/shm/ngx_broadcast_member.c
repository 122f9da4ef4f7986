
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Memberships: which connections are in which groups.
 *
 *          conn A                  conn B
 *   +------> members ----+           members --+        row chain: next, prev
 *   |                    v                     v
 *   |   group "x" <-- member --> member     member --> group "x"
 *
 * They are for the questions "does the group exist" and "leave what the
 * connection is in"; the worker that owns a connection has its own index.
 */


static void ngx_broadcast_member_free_locked(ngx_broadcast_zone_t *zone,
    uint32_t member);
static ngx_uint_t ngx_broadcast_registry_live(ngx_broadcast_zone_t *zone,
    ngx_uint_t kind, ngx_uint_t hub, ngx_str_t *text);


uint32_t
ngx_broadcast_member_hash(uint32_t row, uint32_t group)
{
    return (uint32_t) ((((uint64_t) row << 32 | group)
                        * 0x9e3779b97f4a7c15ULL) >> 32);
}


ngx_int_t
ngx_broadcast_registry_join(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_str_t *group)
{
    uint32_t                   name;
    ngx_int_t                  rc;
    ngx_uint_t                 need;
    ngx_broadcast_conn_row_t  *conn;

    if (group->len == 0 || group->len > NGX_BROADCAST_GROUP_BYTES) {
        return NGX_BUSY;
    }

    ngx_broadcast_zone_lock(zone);

    conn = ngx_broadcast_row_locked(zone, row, id);

    if (conn == NULL) {
        rc = NGX_DECLINED;
        goto done;
    }

    name = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_GROUP,
                                          conn->hub, group);

    if (name && ngx_broadcast_member_find_locked(zone, row, name)) {
        rc = NGX_OK;
        goto done;
    }

    need = name ? 0 : ngx_broadcast_name_need(group->len);

    if (need > ngx_broadcast_table_left(&zone->cells)
        || ngx_broadcast_table_left(&zone->members) == 0)
    {
        rc = NGX_BUSY;
        goto done;
    }

    ngx_broadcast_zone_dirty_locked(zone);

    name = ngx_broadcast_name_take_locked(zone, NGX_BROADCAST_NAME_GROUP,
                                          conn->hub, group);
    ngx_broadcast_member_make_locked(zone, row, name);

    ngx_broadcast_zone_clean_locked(zone);

    rc = NGX_OK;

done:

    ngx_broadcast_zone_unlock(zone);

    return rc;
}


/*
 * A death before join_row: the membership is free, the group's cells have no
 * reference: nothing has happened.  From there on: the rebuild links it, the
 * connection is in the group.
 */

void
ngx_broadcast_member_make_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    uint32_t group)
{
    uint32_t                 i;
    ngx_broadcast_member_t  *member;

    i = zone->members.free;

    if (i) {
        zone->members.free = ngx_broadcast_member(zone, i)->next;
        ngx_broadcast_store(member_free);

        zone->members.spare--;
        ngx_broadcast_store(member_spare);

    } else {
        i = ++zone->members.high;
        ngx_broadcast_store(member_high);
    }

    member = ngx_broadcast_member(zone, i);

    member->group = group;
    ngx_broadcast_store(join_group);

    member->row = row;
    ngx_broadcast_store(join_row);

    ngx_broadcast_member_link_locked(zone, i);
    ngx_broadcast_table_grow_locked(zone, &zone->members);

    ngx_broadcast_name_live_locked(zone, group);
}


uint32_t
ngx_broadcast_member_find_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    uint32_t group)
{
    uint32_t                 i;
    ngx_broadcast_member_t  *member;

    i = *ngx_broadcast_head(zone, members,
                            ngx_broadcast_member_hash(row, group));

    while (i) {
        member = ngx_broadcast_member(zone, i);

        if (member->row == row && member->group == group) {
            break;
        }

        i = member->chain;
    }

    return i;
}


void
ngx_broadcast_member_link_locked(ngx_broadcast_zone_t *zone, uint32_t i)
{
    uint32_t                  *head;
    ngx_broadcast_conn_row_t  *conn;
    ngx_broadcast_member_t    *member;

    member = ngx_broadcast_member(zone, i);
    conn = ngx_broadcast_conn(zone, member->row);

    member->prev = 0;
    ngx_broadcast_store(link_prev);

    member->next = conn->members;
    ngx_broadcast_store(link_next);

    if (member->next) {
        ngx_broadcast_member(zone, member->next)->prev = i;
        ngx_broadcast_store(link_back);
    }

    conn->members = i;
    ngx_broadcast_store(link_members);

    head = ngx_broadcast_head(zone, members,
                              ngx_broadcast_member_hash(member->row,
                                                        member->group));
    member->chain = *head;
    ngx_broadcast_store(link_chain);

    *head = i;
    ngx_broadcast_store(link_head);
}


/*
 * Ends a membership and unlinks it.  A death before leave_row: still in the
 * group.  From there on: not any more, the rebuild drops what is left.
 */

static void
ngx_broadcast_member_free_locked(ngx_broadcast_zone_t *zone, uint32_t i)
{
    uint32_t                *link, row;
    ngx_broadcast_member_t  *member;

    member = ngx_broadcast_member(zone, i);
    row = member->row;

    member->row = 0;
    ngx_broadcast_store(leave_row);

    if (member->prev) {
        ngx_broadcast_member(zone, member->prev)->next = member->next;
        ngx_broadcast_store(leave_next);

    } else {
        ngx_broadcast_conn(zone, row)->members = member->next;
        ngx_broadcast_store(leave_members);
    }

    if (member->next) {
        ngx_broadcast_member(zone, member->next)->prev = member->prev;
        ngx_broadcast_store(leave_prev);
    }

    link = ngx_broadcast_head(zone, members,
                              ngx_broadcast_member_hash(row, member->group));

    while (*link && *link != i) {
        link = &ngx_broadcast_member(zone, *link)->chain;
    }

    if (*link) {
        *link = member->chain;
        ngx_broadcast_store(leave_chain);
    }

    ngx_broadcast_name_dead_locked(zone, member->group);
    ngx_broadcast_name_drop_locked(zone, member->group);

    member->next = zone->members.free;
    ngx_broadcast_store(leave_free_next);

    zone->members.free = i;
    ngx_broadcast_store(leave_free);

    zone->members.spare++;
    ngx_broadcast_store(leave_spare);
}


ngx_uint_t
ngx_broadcast_member_strip_locked(ngx_broadcast_zone_t *zone, uint32_t row,
    ngx_uint_t n)
{
    ngx_broadcast_conn_row_t  *conn;

    conn = ngx_broadcast_conn(zone, row);

    while (conn->members && n--) {
        ngx_broadcast_member_free_locked(zone, conn->members);
    }

    return conn->members != 0;
}


ngx_int_t
ngx_broadcast_registry_leave(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, ngx_str_t *group)
{
    uint32_t                   name, member;
    ngx_int_t                  rc;
    ngx_uint_t                 more;
    ngx_broadcast_conn_row_t  *conn;

    do {
        more = 0;

        ngx_broadcast_zone_lock(zone);

        conn = ngx_broadcast_row_locked(zone, row, id);

        if (conn == NULL) {
            rc = NGX_DECLINED;

        } else if (group->len == 0) {
            ngx_broadcast_zone_dirty_locked(zone);
            more = ngx_broadcast_member_strip_locked(zone, row,
                                                     NGX_BROADCAST_PIECE);
            ngx_broadcast_zone_clean_locked(zone);

            rc = NGX_OK;

        } else {
            name = ngx_broadcast_name_find_locked(zone,
                                                  NGX_BROADCAST_NAME_GROUP,
                                                  conn->hub, group);
            member = name ? ngx_broadcast_member_find_locked(zone, row, name)
                          : 0;
            if (member) {
                ngx_broadcast_zone_dirty_locked(zone);
                ngx_broadcast_member_free_locked(zone, member);
                ngx_broadcast_zone_clean_locked(zone);
            }

            rc = NGX_OK;
        }

        ngx_broadcast_zone_unlock(zone);

    } while (more);

    return rc;
}


/* *next: index of the membership to go on with */

ngx_uint_t
ngx_broadcast_registry_groups(ngx_broadcast_zone_t *zone,
    ngx_broadcast_row_t row, ngx_str_t *id, uint32_t *next, ngx_str_t *groups,
    ngx_uint_t n, u_char *buf, size_t size)
{
    uint32_t                   i;
    ngx_uint_t                 found, len;
    ngx_broadcast_conn_row_t  *conn;
    ngx_broadcast_member_t    *member;

    found = 0;

    ngx_broadcast_zone_lock(zone);

    conn = ngx_broadcast_row_locked(zone, row, id);
    i = (conn == NULL) ? 0 : *next ? *next : conn->members;

    while (i && i <= zone->members.high && found < n) {

        member = ngx_broadcast_member(zone, i);

        if (member->row != row) {
            i = 0;
            break;
        }

        len = ngx_broadcast_cell(zone, member->group)->u.first.len;

        if (len > size) {
            break;
        }

        groups[found].data = buf;
        groups[found].len = ngx_broadcast_name_copy_locked(zone,
                                                           member->group, buf,
                                                           size);
        found++;
        buf += len;
        size -= len;
        i = member->next;
    }

    *next = i;

    ngx_broadcast_zone_unlock(zone);

    return found;
}


/* all rows are looked at, a piece a hold, until each of the user's was met */

ngx_uint_t
ngx_broadcast_registry_user_in_group(ngx_broadcast_zone_t *zone,
    ngx_uint_t hub, ngx_str_t *user, ngx_str_t *group)
{
    uint32_t                   row, u, g;
    ngx_uint_t                 i, found, left;
    ngx_broadcast_conn_row_t  *conn;

    row = 1;
    found = 0;
    left = (ngx_uint_t) -1;

    while (!found && left) {

        ngx_broadcast_zone_lock(zone);

        u = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_USER, hub,
                                           user);
        g = ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_GROUP, hub,
                                           group);

        if (u == 0 || g == 0
            || ngx_broadcast_cell(zone, g)->u.first.live == 0)
        {
            left = 0;

        } else {
            left = ngx_min(left, ngx_broadcast_cell(zone, u)->u.first.live);
        }

        for (i = 0; i < NGX_BROADCAST_SCAN && left; i++, row++) {

            if (row > zone->rows.high) {
                left = 0;
                break;
            }

            conn = ngx_broadcast_conn(zone, row);

            if (conn->state == NGX_BROADCAST_ROW_LIVE && conn->user == u) {
                left--;

                if (ngx_broadcast_member_find_locked(zone, row, g)) {
                    found = 1;
                    break;
                }
            }
        }

        ngx_broadcast_zone_unlock(zone);
    }

    return found;
}


ngx_uint_t
ngx_broadcast_registry_user(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_str_t *user)
{
    return ngx_broadcast_registry_live(zone, NGX_BROADCAST_NAME_USER, hub,
                                       user);
}


ngx_uint_t
ngx_broadcast_registry_group(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_str_t *group)
{
    return ngx_broadcast_registry_live(zone, NGX_BROADCAST_NAME_GROUP, hub,
                                       group);
}


static ngx_uint_t
ngx_broadcast_registry_live(ngx_broadcast_zone_t *zone, ngx_uint_t kind,
    ngx_uint_t hub, ngx_str_t *text)
{
    uint32_t    name;
    ngx_uint_t  n;

    ngx_broadcast_zone_lock(zone);

    name = ngx_broadcast_name_find_locked(zone, kind, hub, text);
    n = name ? ngx_broadcast_cell(zone, name)->u.first.live : 0;

    ngx_broadcast_zone_unlock(zone);

    return n;
}
