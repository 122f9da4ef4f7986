
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_call.h"
#include "conn/ngx_broadcast_index.h"
#include "base/ngx_broadcast_name.h"


/* Frames of a plain WebSocket's client. */


static void ngx_broadcast_plain_join(ngx_broadcast_conn_t *bc,
    ngx_str_t *group);
static ngx_str_t *ngx_broadcast_plain_copy(ngx_array_t *names,
    ngx_str_t *dst, u_char **p);


void
ngx_broadcast_plain_input(ngx_broadcast_conn_t *bc, ngx_pool_t *pool,
    ngx_str_t *text)
{
    ngx_int_t                     rc;
    const char                   *error;
    ngx_broadcast_wanted_t        w;
    ngx_broadcast_plain_frame_t   f;

    if (ngx_broadcast_inbound_rate(bc) != NGX_OK) {
        ngx_broadcast_conn_end(bc, NGX_BROADCAST_END_RATE, 0, NULL);
        return;
    }

    rc = ngx_broadcast_plain_parse(text, pool, &f, &error);

    if (rc == NGX_AGAIN) {
        ngx_broadcast_plain_lines(bc, pool, text);
        return;
    }

    if (rc != NGX_OK) {
        ngx_broadcast_plain_refuse_line(bc, f.line, error);
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


void
ngx_broadcast_plain_refuse_line(ngx_broadcast_conn_t *bc, ngx_uint_t line,
    const char *text)
{
    u_char  buf[256];

    if (line == 0) {
        ngx_broadcast_plain_refuse(bc, text);
        return;
    }

    *ngx_snprintf(buf, sizeof(buf) - 1, "line %ui: %s", line, text) = '\0';

    ngx_broadcast_plain_refuse(bc, (char *) buf);
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


/*
 * A token's group may be joined and sent to; the roles are broadcast.join and
 * broadcast.send for any group, broadcast.join.{group} for one.
 */

ngx_uint_t
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
