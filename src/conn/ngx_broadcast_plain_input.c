
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_call.h"
#include "conn/ngx_broadcast_index.h"
#include "base/ngx_broadcast_name.h"
#include "pg/ngx_broadcast_outbox.h"
#include "proto/ngx_broadcast_plain.h"
#include "proto/ngx_broadcast_scan.h"


/* Frames of a plain WebSocket's client. */


static void ngx_broadcast_plain_join(ngx_broadcast_conn_t *bc,
    ngx_str_t *group);
static void ngx_broadcast_plain_send(ngx_broadcast_conn_t *bc,
    ngx_pool_t *pool, ngx_broadcast_plain_frame_t *f);
static void ngx_broadcast_plain_sent(ngx_broadcast_sent_t *sent, void *data);
static ngx_uint_t ngx_broadcast_plain_may(ngx_broadcast_conn_t *bc,
    ngx_uint_t role, const char *verb, ngx_str_t *group);
static ngx_str_t *ngx_broadcast_plain_copy(ngx_array_t *names,
    ngx_str_t *dst, u_char **p);


/* the connection that waits for its message to be kept */

typedef struct {
    u_char                   len;
    u_char                   id[NGX_BROADCAST_CONN_ID_MAX];
} ngx_broadcast_sender_t;


void
ngx_broadcast_plain_input(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *text)
{
    const char                   *error;
    ngx_broadcast_wanted_t        w;
    ngx_broadcast_plain_frame_t   f;

    if (ngx_broadcast_inbound_rate(bc) != NGX_OK) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_RATE, 0, NULL);
        return;
    }

    if (ngx_broadcast_plain_parse(text, pool, &f, &error) != NGX_OK) {
        ngx_broadcast_plain_refuse(bc, error);
        return;
    }

    switch (f.type) {

    case NGX_BROADCAST_PLAIN_JOIN:
        ngx_broadcast_plain_join(bc, &f.group);
        return;

    case NGX_BROADCAST_PLAIN_LEAVE:
        ngx_broadcast_index_leave(bc, &f.group);
        return;

    case NGX_BROADCAST_PLAIN_SEND:
        ngx_broadcast_plain_send(bc, pool, &f);
        return;

    default:
        break;
    }

    ngx_memzero(&w, sizeof(ngx_broadcast_wanted_t));

    w.target = f.target;
    w.arguments = f.arguments;

    ngx_broadcast_call_begin(bc, pool, &w);
}


void
ngx_broadcast_plain_refuse(ngx_broadcast_conn_t *bc, const char *text)
{
    ngx_str_t  error;

    error.data = (u_char *) text;
    error.len = ngx_strlen(text);

    ngx_broadcast_conn_queue_new(bc, ngx_broadcast_frame_error(&error));
}


static void
ngx_broadcast_plain_join(ngx_broadcast_conn_t *bc, ngx_str_t *group)
{
    ngx_int_t  rc;

    if (ngx_broadcast_group_name(group) != NGX_OK) {
        ngx_broadcast_plain_refuse(bc, "the group name is not valid");
        return;
    }

    if (!ngx_broadcast_plain_may(bc, NGX_BROADCAST_MAY_JOIN, "join.", group)) {
        ngx_broadcast_plain_refuse(bc, "the token does not allow to join "
                                       "this group");
        return;
    }

    rc = ngx_broadcast_index_join(bc, group);

    if (rc != NGX_OK) {
        ngx_broadcast_plain_refuse(bc, "the group has no room now");
    }
}


static void
ngx_broadcast_plain_send(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_broadcast_plain_frame_t *f)
{
    ngx_int_t                rc;
    ngx_broadcast_sent_t     sent;
    ngx_broadcast_record_t   rec;
    ngx_broadcast_sender_t   sender;

    if (!ngx_broadcast_plain_may(bc, NGX_BROADCAST_MAY_SEND, "send.",
                                 &f->group))
    {
        ngx_broadcast_plain_refuse(bc, "the token does not allow to send to "
                                       "this group");
        return;
    }

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_MESSAGE;
    rec.source = NGX_BROADCAST_SRC_CLIENT;
    rec.hub = bc->hub->index;
    rec.target = f->target;
    rec.arguments = f->arguments;

    if (f->group.len == 1 && f->group.data[0] == '*') {
        rec.scope = NGX_BROADCAST_ALL;

    } else {
        rec.scope = NGX_BROADCAST_GROUP;
        rec.name = f->group;

        if (ngx_broadcast_group_name(&rec.name) != NGX_OK) {
            ngx_broadcast_plain_refuse(bc, "the group name is not valid");
            return;
        }
    }

    if (ngx_broadcast_target(&rec.target) != NGX_OK) {
        ngx_broadcast_plain_refuse(bc, "the target is not valid");
        return;
    }

    /* raw line breaks would end a line of an event stream */

    if (ngx_broadcast_scan_compact_needed(&rec.arguments)) {
        rec.arguments.data = ngx_pnalloc(pool, f->arguments.len);

        if (rec.arguments.data == NULL) {
            ngx_broadcast_plain_refuse(bc, "no memory");
            return;
        }

        rec.arguments.len = ngx_broadcast_scan_compact(rec.arguments.data,
                                                       &f->arguments);
    }

    sender.len = (u_char) bc->id.len;
    ngx_memcpy(sender.id, bc->id.data, bc->id.len);

    rc = ngx_broadcast_outbox_send(&rec, 1, NGX_BROADCAST_KEPT, NULL, &sent,
                                   ngx_broadcast_plain_sent, &sender,
                                   sizeof(ngx_broadcast_sender_t), NULL);

    if (rc == NGX_DECLINED) {
        ngx_broadcast_plain_refuse(bc, "the message was not kept: the "
                                       "database is away");

    } else if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_broadcast_plain_refuse(bc, "the message was not kept: it does "
                                       "not fit now");
    }
}


static void
ngx_broadcast_plain_sent(ngx_broadcast_sent_t *sent, void *data)
{
    ngx_broadcast_sender_t  *sender = data;

    ngx_str_t              id;
    ngx_broadcast_conn_t  *bc;

    if (sent->status == NGX_BROADCAST_SENT
        || sent->status == NGX_BROADCAST_SENT_UNNUMBERED)
    {
        return;
    }

    id.data = sender->id;
    id.len = sender->len;

    bc = ngx_broadcast_index_find(&id);

    if (bc == NULL) {
        return;
    }

    switch (sent->status) {

    case NGX_BROADCAST_SENT_UNKNOWN:
        ngx_broadcast_plain_refuse(bc, "the database broke off: it is not "
                                       "known whether the message was kept");
        break;

    case NGX_BROADCAST_NOT_FIT:
        ngx_broadcast_plain_refuse(bc, "the message was not kept: it does "
                                       "not fit");
        break;

    default:
        ngx_broadcast_plain_refuse(bc, "the message was not kept");
        break;
    }
}


/*
 * A token's group may be joined and sent to; the roles are broadcast.join and
 * broadcast.send for any group, broadcast.join.{group} for one.
 */

static ngx_uint_t
ngx_broadcast_plain_may(ngx_broadcast_conn_t *bc, ngx_uint_t role,
    const char *verb, ngx_str_t *group)
{
    size_t                   len;
    ngx_str_t                name;
    ngx_uint_t               i;
    ngx_broadcast_rights_t  *rights;

    rights = bc->rights;

    if (rights == NULL) {
        return 0;
    }

    if (rights->roles & role) {
        return 1;
    }

    for (i = 0; i < rights->ngroups; i++) {
        if (rights->names[i].len == group->len
            && ngx_memcmp(rights->names[i].data, group->data, group->len) == 0)
        {
            return 1;
        }
    }

    len = ngx_strlen(verb);

    for ( /* void */ ; i < rights->ngroups + rights->nroles; i++) {
        name = rights->names[i];

        if (name.len > sizeof("broadcast.") - 1
            && ngx_strncmp(name.data, "broadcast.", sizeof("broadcast.") - 1)
               == 0)
        {
            name.data += sizeof("broadcast.") - 1;
            name.len -= sizeof("broadcast.") - 1;
        }

        if (name.len == len + group->len
            && ngx_memcmp(name.data, verb, len) == 0
            && ngx_memcmp(name.data + len, group->data, group->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* only a WebSocket can ask for anything */

ngx_int_t
ngx_broadcast_plain_rights(ngx_broadcast_conn_t *bc, ngx_broadcast_open_t *in)
{
    u_char                  *p;
    size_t                   size;
    ngx_str_t               *name;
    ngx_uint_t               i, n, ngroups, nroles;
    ngx_broadcast_rights_t  *rights;

    ngroups = in->may_join ? in->may_join->nelts : 0;
    nroles = in->role_groups ? in->role_groups->nelts : 0;
    n = ngroups + nroles;

    if (bc->type != NGX_BROADCAST_WEBSOCKET || (n == 0 && in->roles == 0)) {
        return NGX_OK;
    }

    size = offsetof(ngx_broadcast_rights_t, names) + n * sizeof(ngx_str_t);

    name = ngroups ? in->may_join->elts : NULL;

    for (i = 0; i < ngroups; i++) {
        size += name[i].len;
    }

    name = nroles ? in->role_groups->elts : NULL;

    for (i = 0; i < nroles; i++) {
        size += name[i].len;
    }

    size = ngx_max(size, sizeof(ngx_broadcast_rights_t));

    rights = ngx_alloc(size, ngx_broadcast_bus.log);
    if (rights == NULL) {
        return NGX_ERROR;
    }

    rights->roles = in->roles;
    rights->ngroups = ngroups;
    rights->nroles = nroles;

    p = (u_char *) &rights->names[n];

    name = ngx_broadcast_plain_copy(in->may_join, rights->names, &p);
    (void) ngx_broadcast_plain_copy(in->role_groups, name, &p);

    bc->rights = rights;

    return NGX_OK;
}


static ngx_str_t *
ngx_broadcast_plain_copy(ngx_array_t *names, ngx_str_t *dst, u_char **p)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (names == NULL) {
        return dst;
    }

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {
        dst->data = *p;
        dst->len = name[i].len;
        *p = ngx_cpymem(*p, name[i].data, name[i].len);
        dst++;
    }

    return dst;
}
