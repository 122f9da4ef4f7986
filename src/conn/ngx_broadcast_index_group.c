
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The groups of a connection: in this worker's index, in the registry, and in
 * the database, which is told of what has changed.
 */


#include "conn/ngx_broadcast_index_local.h"
#include "conn/ngx_broadcast_keep.h"


#define NGX_BROADCAST_RULES_PIECE  32       /* groups, at once */


static void ngx_broadcast_index_changed(ngx_broadcast_conn_t *bc);


/*
 * A connection may be in thousands of groups, and a group have thousands of
 * connections: both lists are walked, step by step, to the end of the shorter.
 */

ngx_uint_t
ngx_broadcast_index_member(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_queue_t             *q;
    ngx_broadcast_label_t   *label;
    ngx_broadcast_joined_t  *joined, *other;

    joined = bc->groups;

    if (joined == NULL) {
        return 0;
    }

    label = ngx_broadcast_label_find(&ngx_broadcast_groups, bc->hub->index,
                                     group);
    if (label == NULL) {
        return 0;
    }

    for (q = ngx_queue_head(&label->conns);
         joined && q != &label->conns;
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_broadcast_joined_t, link);

        if (joined->group == label || other->conn == bc) {
            return 1;
        }

        joined = joined->next;
    }

    return 0;
}


ngx_uint_t
ngx_broadcast_index_meant(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec)
{
    return ngx_broadcast_index_member(bc, &rec->name)
           || (rec->group.len && ngx_broadcast_index_member(bc, &rec->group));
}


ngx_int_t
ngx_broadcast_index_join(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_int_t                rc;
    ngx_broadcast_joined_t  *joined;

    if (!bc->indexed || ngx_broadcast_index_member(bc, group)) {
        return NGX_OK;
    }

    joined = ngx_alloc(sizeof(ngx_broadcast_joined_t), ngx_broadcast_bus.log);
    if (joined == NULL) {
        return NGX_ERROR;
    }

    joined->group = ngx_broadcast_label_make(&ngx_broadcast_groups,
                                             bc->hub->index, group);
    if (joined->group == NULL) {
        ngx_free(joined);
        return NGX_ERROR;
    }

    joined->conn = bc;
    ngx_queue_insert_tail(&joined->group->conns, &joined->link);

    rc = ngx_broadcast_registry_join(ngx_broadcast_bus.zone, bc->row, &bc->id,
                                     group);
    if (rc == NGX_BUSY) {
        ngx_broadcast_joined_free(joined);
        return NGX_BUSY;
    }

    joined->next = bc->groups;
    bc->groups = joined;

    ngx_broadcast_index_changed(bc);

    return NGX_OK;
}


/*
 * The claim has made the memberships, at one moment with the row; here they
 * become the worker's.  Nobody else changes them meanwhile.
 */

ngx_int_t
ngx_broadcast_index_rules(ngx_broadcast_conn_t *bc)
{
    uint32_t    next;
    ngx_int_t   rc;
    ngx_str_t   group[NGX_BROADCAST_RULES_PIECE];
    ngx_uint_t  i, n;

    static u_char  buf[NGX_BROADCAST_GROUP_BYTES];

    next = 0;

    do {
        n = ngx_broadcast_registry_groups(ngx_broadcast_bus.zone, bc->row,
                                          &bc->id, &next, group,
                                          NGX_BROADCAST_RULES_PIECE, buf,
                                          sizeof(buf));

        for (i = 0; i < n; i++) {
            rc = ngx_broadcast_index_join(bc, &group[i]);

            if (rc != NGX_OK) {
                return rc;
            }
        }

    } while (next);

    return NGX_OK;
}


void
ngx_broadcast_index_leave(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_broadcast_joined_t  *joined, **next;

    for (next = &bc->groups; *next; next = &joined->next) {
        joined = *next;

        if (joined->group->len == group->len
            && ngx_memcmp(joined->group->data, group->data, group->len) == 0)
        {
            *next = joined->next;
            ngx_broadcast_joined_free(joined);

            (void) ngx_broadcast_registry_leave(ngx_broadcast_bus.zone,
                                                bc->row, &bc->id, group);
            ngx_broadcast_index_changed(bc);
            return;
        }
    }
}


void
ngx_broadcast_index_leave_all(ngx_broadcast_conn_t *bc)
{
    ngx_str_t                group;
    ngx_broadcast_joined_t  *joined;

    if (bc->groups) {
        ngx_broadcast_index_changed(bc);
    }

    while (bc->groups) {
        joined = bc->groups;
        bc->groups = joined->next;

        group.len = joined->group->len;
        group.data = joined->group->data;

        (void) ngx_broadcast_registry_leave(ngx_broadcast_bus.zone, bc->row,
                                            &bc->id, &group);

        ngx_broadcast_joined_free(joined);
    }
}


static void
ngx_broadcast_index_changed(ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_keep_changed(bc);

    if (bc->resume) {
        bc->resume->changed = 1;
    }
}


void
ngx_broadcast_joined_free(ngx_broadcast_joined_t *joined)
{
    ngx_queue_remove(&joined->link);
    ngx_broadcast_label_drop(&ngx_broadcast_groups, joined->group);
    ngx_free(joined);
}
