
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_select.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * Nothing is written here, so a death leaves nothing.  A row costs one step
 * and one more for each group that is asked about; a call takes at most
 * NGX_BROADCAST_STEPS of them.
 */

#define NGX_BROADCAST_STEPS  (4 * NGX_BROADCAST_SCAN)


static ngx_uint_t ngx_broadcast_select_named_locked(
    ngx_broadcast_zone_t *zone, uint32_t i);


ngx_uint_t
ngx_broadcast_select_rows(ngx_broadcast_zone_t *zone,
    ngx_broadcast_select_t *select, ngx_broadcast_row_t *next,
    ngx_broadcast_selected_t *rows, ngx_uint_t n)
{
    uint32_t                   row, user, mask;
    uint32_t                   groups[NGX_BROADCAST_SELECT_GROUPS];
    ngx_uint_t                 i, steps, found, ngroups;
    ngx_broadcast_conn_row_t  *conn;

    found = 0;
    row = *next ? *next : 1;
    ngroups = ngx_min(select->ngroups, NGX_BROADCAST_SELECT_GROUPS);

    ngx_broadcast_zone_lock(zone);

    /* names come and go between two calls, and their cells with them */

    user = select->user.len
           ? ngx_broadcast_name_find_locked(zone, NGX_BROADCAST_NAME_USER,
                                            select->hub, &select->user)
           : 0;

    for (i = 0; i < ngroups; i++) {
        groups[i] = ngx_broadcast_name_find_locked(zone,
                                                   NGX_BROADCAST_NAME_GROUP,
                                                   select->hub,
                                                   &select->groups[i]);
    }

    if ((select->user.len && user == 0)
        || (select->member && (ngroups == 0 || groups[0] == 0)))
    {
        row = zone->rows.high + 1;
    }

    for (steps = 0;
         row <= zone->rows.high && found < n && steps < NGX_BROADCAST_STEPS;
         steps++, row++)
    {
        conn = ngx_broadcast_conn(zone, row);

        if (conn->state != NGX_BROADCAST_ROW_LIVE
            || conn->hub != select->hub
            || (user && conn->user != user))
        {
            continue;
        }

        mask = 0;
        steps += ngroups;

        for (i = 0; i < ngroups; i++) {
            if (groups[i]
                && ngx_broadcast_member_find_locked(zone, row, groups[i]))
            {
                mask |= (uint32_t) 1 << i;
            }
        }

        if (select->member && !(mask & 1)) {
            continue;
        }

        rows[found].groups = mask;
        ngx_broadcast_row_info_locked(zone, row, &rows[found].info);
        found++;
    }

    *next = (row <= zone->rows.high) ? row : 0;

    ngx_broadcast_zone_unlock(zone);

    return found;
}


ngx_uint_t
ngx_broadcast_select_groups(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    uint32_t *next, ngx_broadcast_group_info_t *groups, ngx_uint_t n)
{
    uint32_t                     i;
    ngx_uint_t                   steps, found;
    ngx_broadcast_cell_t        *cell;
    ngx_broadcast_group_info_t  *group;

    found = 0;
    i = *next ? *next : 1;

    ngx_broadcast_zone_lock(zone);

    for (steps = 0;
         i <= zone->cells.high && found < n && steps < NGX_BROADCAST_STEPS;
         steps++, i++)
    {
        cell = ngx_broadcast_cell(zone, i);

        /* of a cell that is no first one these words are any text */

        if (cell->refs == 0
            || cell->u.first.kind != NGX_BROADCAST_NAME_GROUP
            || cell->u.first.hub != hub
            || cell->u.first.live == 0
            || !ngx_broadcast_select_named_locked(zone, i))
        {
            continue;
        }

        group = &groups[found++];

        group->cell = i;
        group->connections = cell->u.first.live;
        group->len = ngx_broadcast_name_copy_locked(zone, i, group->name,
                                                    NGX_BROADCAST_GROUP_BYTES);
    }

    *next = (i <= zone->cells.high) ? i : 0;

    ngx_broadcast_zone_unlock(zone);

    return found;
}


/* 1 if the cell is the first of a name: then it is in the chain it says */

static ngx_uint_t
ngx_broadcast_select_named_locked(ngx_broadcast_zone_t *zone, uint32_t i)
{
    uint32_t  k;

    k = *ngx_broadcast_head(zone, cells,
                            ngx_broadcast_cell(zone, i)->u.first.hash);

    while (k && k != i) {
        k = ngx_broadcast_cell(zone, k)->u.first.chain;
    }

    return k == i;
}
