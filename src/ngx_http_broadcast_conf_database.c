
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* Directives of the database: where it is, and which hubs use it how. */


#include "ngx_http_broadcast_conf.h"


/* a parameter of broadcast_database that is a number or a time */

typedef struct {
    const char   *name;
    size_t        offset;       /* of an ngx_uint_t or ngx_msec_t, which are
                                   the same, in ngx_broadcast_pg_conf_t */
    ngx_uint_t    time;         /* 1: read as milliseconds */
    ngx_int_t     min;
    ngx_int_t     max;
    const char   *error;
} ngx_http_broadcast_bound_t;


static ngx_int_t ngx_http_broadcast_bounded(ngx_conf_t *cf,
    ngx_broadcast_pg_conf_t *pg, ngx_str_t *arg, ngx_uint_t *seen);
static ngx_int_t ngx_http_broadcast_role_claim(ngx_conf_t *cf,
    ngx_broadcast_pg_conf_t *pg, ngx_str_t *value);
static ngx_int_t ngx_http_broadcast_wal_name(ngx_str_t *name);
static ngx_str_t *ngx_http_broadcast_hub_arg(ngx_conf_t *cf,
    ngx_str_t *name);


static ngx_http_broadcast_bound_t  ngx_http_broadcast_bounds[] = {

    { "pool", offsetof(ngx_broadcast_pg_conf_t, pool), 0, 1, 1000,
      "it must be 1 to 1000" },

    { "timeout", offsetof(ngx_broadcast_pg_conf_t, timeout), 1, 1,
      NGX_MAX_INT_T_VALUE, "it must be a time above 0" },

    { "queue", offsetof(ngx_broadcast_pg_conf_t, queue), 0, 0, 1000000,
      "it must be 0 to 1000000" },

    { "streams", offsetof(ngx_broadcast_pg_conf_t, streams), 0, 0, 100,
      "it must be 0 to 100" },

    { "stream_timeout", offsetof(ngx_broadcast_pg_conf_t, stream_timeout), 1,
      1, 86400000, "it must be a time of 1 day at most" },

    { NULL, 0, 0, 0, 0, NULL }
};


char *
ngx_http_broadcast_database(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_main_conf_t *bmcf = conf;

    ngx_int_t                 rc;
    ngx_str_t                *value, v;
    ngx_uint_t                i, seen;
    ngx_broadcast_pg_conf_t  *pg;

    ngx_http_broadcast_needs_zone(cf);

    pg = &bmcf->pg;

    if (pg->conninfo.len) {
        return "is duplicate";
    }

    value = cf->args->elts;
    seen = 0;

    if (value[1].len == 0) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "the conninfo is empty");
    }

    /* arguments of directives are zero terminated */
    pg->conninfo = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        rc = ngx_http_broadcast_bounded(cf, pg, &value[i], &seen);

        if (rc == NGX_OK) {
            continue;
        }

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (!pg->role_claim.len
            && ngx_http_broadcast_option(&value[i], "role_claim", &v))
        {
            if (ngx_http_broadcast_role_claim(cf, pg, &v) != NGX_OK) {
                return ngx_http_broadcast_bad(cf, &value[i],
                           "it must be the name of a claim, and may have "
                           "\":\" and a role behind it");
            }

        } else {
            return ngx_http_broadcast_bad(cf, &value[i],
                                     "it is no parameter, or given twice");
        }
    }

    return NGX_CONF_OK;
}


/* NGX_OK; NGX_DECLINED: it is none of these, or given twice; NGX_ERROR */

static ngx_int_t
ngx_http_broadcast_bounded(ngx_conf_t *cf, ngx_broadcast_pg_conf_t *pg,
    ngx_str_t *arg, ngx_uint_t *seen)
{
    ngx_int_t                    n;
    ngx_str_t                    v;
    ngx_uint_t                   i;
    ngx_http_broadcast_bound_t  *bound;

    for (i = 0; ngx_http_broadcast_bounds[i].name; i++) {
        bound = &ngx_http_broadcast_bounds[i];

        if (!(*seen & ((ngx_uint_t) 1 << i))
            && ngx_http_broadcast_option(arg, bound->name, &v))
        {
            break;
        }
    }

    bound = &ngx_http_broadcast_bounds[i];

    if (bound->name == NULL) {
        return NGX_DECLINED;
    }

    n = bound->time ? ngx_parse_time(&v, 0) : ngx_atoi(v.data, v.len);

    if (n < bound->min || n > bound->max) {
        (void) ngx_http_broadcast_bad(cf, arg, bound->error);
        return NGX_ERROR;
    }

    *(ngx_uint_t *) ((char *) pg + bound->offset) = n;
    *seen |= (ngx_uint_t) 1 << i;

    return NGX_OK;
}


/*
 * name[:default].  A role has at most NAMEDATALEN less one bytes; "none" is
 * no role, but the word for the session's own.
 */

static ngx_int_t
ngx_http_broadcast_role_claim(ngx_conf_t *cf, ngx_broadcast_pg_conf_t *pg,
    ngx_str_t *value)
{
    u_char      *p, *last, c;
    ngx_str_t    name, role;
    ngx_uint_t   i;

    last = value->data + value->len;
    p = ngx_strlchr(value->data, last, ':');

    name.data = value->data;
    name.len = (p ? p : last) - value->data;

    role.data = p ? p + 1 : last;
    role.len = last - role.data;

    if (name.len == 0 || name.len > 63 || role.len > 63
        || (p && role.len == 0)
        || (role.len == 4 && ngx_strncmp(role.data, "none", 4) == 0))
    {
        return NGX_ERROR;
    }

    for (i = 0; i < name.len; i++) {
        c = name.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
              || (c >= 'a' && c <= 'z') || c == '_' || c == '-'
              || c == '.' || c == '/'))
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < role.len; i++) {
        if (role.data[i] < ' ' || role.data[i] == 0x7f) {
            return NGX_ERROR;
        }
    }

    pg->role_claim.len = name.len;
    pg->role_claim.data = ngx_pnalloc(cf->pool, name.len + 1);

    if (pg->role_claim.data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(pg->role_claim.data, name.data, name.len + 1);

    /* the rest of an argument, which is zero terminated */

    pg->role_default = role;

    return NGX_OK;
}


/* the hub's name in lower case, or NULL after [emerg] */

static ngx_str_t *
ngx_http_broadcast_hub_arg(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_str_t  *hub;

    hub = ngx_palloc(cf->pool, sizeof(ngx_str_t));
    if (hub == NULL) {
        return NULL;
    }

    hub->len = name->len;
    hub->data = ngx_pnalloc(cf->pool, name->len + 1);

    if (hub->data == NULL) {
        return NULL;
    }

    if (ngx_broadcast_hub_name(name, hub->data) != NGX_OK) {
        (void) ngx_http_broadcast_bad(cf, name, "it is no name of a hub");
        return NULL;
    }

    return hub;
}


char *
ngx_http_broadcast_listen(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_main_conf_t *bmcf = conf;

    ngx_str_t                  *value, v, *hub;
    ngx_uint_t                  i;
    ngx_broadcast_pg_listen_t   l, *listen;

    ngx_http_broadcast_needs_zone(cf);

    value = cf->args->elts;

    ngx_memzero(&l, sizeof(ngx_broadcast_pg_listen_t));

    /* NAMEDATALEN less one, what PostgreSQL keeps of a channel's name */

    if (value[1].len == 0 || value[1].len > 63) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "a channel has 1 to 63 bytes");
    }

    l.channel = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        if (!l.hub.len && ngx_http_broadcast_option(&value[i], "hub", &v)) {

            hub = ngx_http_broadcast_hub_arg(cf, &v);
            if (hub == NULL) {
                return NGX_CONF_ERROR;
            }

            l.hub = *hub;

        } else if (!l.target.len
                   && ngx_http_broadcast_option(&value[i], "target",
                                                &l.target))
        {
            if (ngx_broadcast_target(&l.target) != NGX_OK) {
                return ngx_http_broadcast_bad(cf, &value[i],
                                              "it is no target");
            }

        } else if (!l.group.len
                   && ngx_http_broadcast_option(&value[i], "group", &l.group))
        {
            if (ngx_broadcast_group_name(&l.group) != NGX_OK) {
                return ngx_http_broadcast_bad(cf, &value[i],
                                              "it is no name of a group");
            }

        } else {
            return ngx_http_broadcast_bad(cf, &value[i],
                                     "it is no parameter, or given twice");
        }
    }

    if (l.hub.len == 0 || l.target.len == 0) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it needs \"hub=\" and \"target=\"");
    }

    if (bmcf->pg.listen == NULL) {
        bmcf->pg.listen = ngx_array_create(cf->pool, 4,
                                          sizeof(ngx_broadcast_pg_listen_t));
        if (bmcf->pg.listen == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    listen = bmcf->pg.listen->elts;

    for (i = 0; i < bmcf->pg.listen->nelts; i++) {
        if (listen[i].channel.len == l.channel.len
            && ngx_memcmp(listen[i].channel.data, l.channel.data,
                          l.channel.len)
               == 0)
        {
            return ngx_http_broadcast_bad(cf, &value[1],
                                          "the channel is duplicate");
        }
    }

    listen = ngx_array_push(bmcf->pg.listen);
    if (listen == NULL) {
        return NGX_CONF_ERROR;
    }

    *listen = l;

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_ephemeral(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_main_conf_t *bmcf = conf;

    ngx_str_t   *value, *hub, *name;
    ngx_uint_t   i, n;

    ngx_http_broadcast_needs_zone(cf);

    if (bmcf->pg.ephemeral == NULL) {
        bmcf->pg.ephemeral = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (bmcf->pg.ephemeral == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len == 1 && value[i].data[0] == '*') {
            hub = &value[i];

        } else {
            hub = ngx_http_broadcast_hub_arg(cf, &value[i]);
            if (hub == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        name = bmcf->pg.ephemeral->elts;

        for (n = 0; n < bmcf->pg.ephemeral->nelts; n++) {
            if (name[n].len == hub->len
                && ngx_memcmp(name[n].data, hub->data, hub->len) == 0)
            {
                return ngx_http_broadcast_bad(cf, &value[i],
                                              "the hub is duplicate");
            }
        }

        name = ngx_array_push(bmcf->pg.ephemeral);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = *hub;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_broadcast_source(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_broadcast_main_conf_t *bmcf = conf;

    ngx_str_t   *value, *name, v;
    ngx_uint_t   i;

    ngx_http_broadcast_needs_zone(cf);

    if (bmcf->source != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bmcf->source = 0;

    if (ngx_strcmp(value[1].data, "outbox") == 0) {

        if (cf->args->nelts > 2) {
            return ngx_http_broadcast_bad(cf, &value[2],
                                          "\"outbox\" has no parameters");
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "wal") != 0) {
        return ngx_http_broadcast_bad(cf, &value[1],
                                      "it must be \"outbox\" or \"wal\"");
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (!bmcf->pg.slot.len
            && ngx_http_broadcast_option(&value[i], "slot", &v))
        {
            name = &bmcf->pg.slot;

        } else if (!bmcf->pg.publication.len
                   && ngx_http_broadcast_option(&value[i], "publication", &v))
        {
            name = &bmcf->pg.publication;

        } else {
            return ngx_http_broadcast_bad(cf, &value[i],
                                       "it is no parameter, or given twice");
        }

        if (ngx_http_broadcast_wal_name(&v) != NGX_OK) {
            return ngx_http_broadcast_bad(cf, &value[i],
                            "it must be 1 to 63 lower case letters, digits "
                            "and underscores");
        }

        *name = v;
    }

    bmcf->source = 1;

    if (bmcf->pg.slot.len == 0) {
        ngx_str_set(&bmcf->pg.slot, "broadcast");
    }

    if (bmcf->pg.publication.len == 0) {
        ngx_str_set(&bmcf->pg.publication, "broadcast");
    }

    return NGX_CONF_OK;
}


/* what PostgreSQL takes for a slot: and so it never needs to be quoted */

static ngx_int_t
ngx_http_broadcast_wal_name(ngx_str_t *name)
{
    u_char  c;
    size_t  i;

    if (name->len == 0 || name->len > 63) {
        return NGX_ERROR;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_') {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
