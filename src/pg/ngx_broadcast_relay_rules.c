
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "shm/ngx_broadcast_registry.h"
#include "shm/ngx_broadcast_rule.h"
#include "pg/ngx_broadcast_outbox.h"
#include "pg/ngx_broadcast_relay_local.h"


/*
 * The rules of users that broadcast.membership has, for a zone that is new, or
 * that cannot read all records that changed them.  They are read in pages, in
 * one snapshot with the head of the history: what is behind that comes as
 * records.
 *
 * Who connected before, because the location does not wait for the database,
 * joins by a record that changes no rule.
 */

#define NGX_BROADCAST_READ_JOINS  64


static void ngx_broadcast_rules_row(PGresult *result, int row,
    ngx_broadcast_rule_t *rule);
static void ngx_broadcast_rules_flush(void);


static ngx_broadcast_record_t  ngx_broadcast_rules_joins[
                                   NGX_BROADCAST_READ_JOINS];
static ngx_uint_t              ngx_broadcast_rules_njoins;


const char  ngx_broadcast_relay_rules_text[] =
    "DECLARE broadcast_rules NO SCROLL CURSOR FOR"
    " SELECT broadcast.head(), r.hub, r.user_id, r.grp, r.expires, r.lasting"
    " FROM (SELECT 1) one LEFT JOIN broadcast.rules() r ON true";


/* those of this zone that the database may not have */

void
ngx_broadcast_relay_rules_begin(void)
{
    ngx_uint_t  next;

    next = 0;

    do {
        ngx_broadcast_rule_clear(ngx_broadcast_bus.zone, &next);
    } while (next);

    ngx_broadcast_relay.rules_head = 0;
}


/*
 * Rows of head, hub, user, group, expires, lasting; all but the first are null
 * where there is no rule.  1: there is another page.
 */

ngx_uint_t
ngx_broadcast_relay_rules_page(PGresult *result)
{
    int                     i, n;
    ngx_str_t               name;
    ngx_broadcast_rule_t    rule;
    ngx_broadcast_relay_t  *relay = &ngx_broadcast_relay;

    n = PQntuples(result);

    for (i = 0; i < n; i++) {

        relay->rules_head = ngx_broadcast_pg_number(result, i, 0);

        if (PQgetisnull(result, i, 1)) {
            continue;
        }

        name = ngx_broadcast_pg_value(result, i, 1);

        /* those of an ephemeral hub are its zone's alone */

        if (!ngx_broadcast_hub_durable(&name)) {
            continue;
        }

        if (ngx_broadcast_hub_index(&name, &rule.hub) != NGX_OK) {
            ngx_broadcast_bus_full("a hub");
            continue;
        }

        ngx_broadcast_rules_row(result, i, &rule);
    }

    ngx_broadcast_rules_flush();

    return n == NGX_BROADCAST_RELAY_RULES;
}


static void
ngx_broadcast_rules_row(PGresult *result, int row, ngx_broadcast_rule_t *rule)
{
    ngx_broadcast_record_t  *rec;

    rule->user = ngx_broadcast_pg_value(result, row, 2);
    rule->group = ngx_broadcast_pg_value(result, row, 3);
    rule->expires = (time_t) ngx_broadcast_pg_number(result, row, 4);
    rule->lasting = (ngx_broadcast_pg_value(result, row, 5).data[0] == 't');

    if (ngx_broadcast_rule_set(ngx_broadcast_bus.zone, rule) != NGX_OK) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_FULL, 1);
        ngx_broadcast_bus_full("the groups of a user, whose connections will "
                               "miss one");
        return;
    }

    if (!ngx_broadcast_registry_user(ngx_broadcast_bus.zone, rule->hub,
                                     &rule->user))
    {
        return;
    }

    rec = &ngx_broadcast_rules_joins[ngx_broadcast_rules_njoins++];

    ngx_memzero(rec, sizeof(ngx_broadcast_record_t));

    rec->type = NGX_BROADCAST_REC_JOIN;
    rec->scope = NGX_BROADCAST_USER;
    rec->flags = NGX_BROADCAST_REC_UNNUMBERED|NGX_BROADCAST_REC_NO_RULE;
    rec->source = NGX_BROADCAST_SRC_SQL;
    rec->hub = rule->hub;
    rec->name = rule->user;
    rec->group = rule->group;

    if (ngx_broadcast_rules_njoins == NGX_BROADCAST_READ_JOINS) {
        ngx_broadcast_rules_flush();
    }
}


/* a small log may not take them together, but it takes each */

static void
ngx_broadcast_rules_flush(void)
{
    ngx_uint_t  i;

    if (ngx_broadcast_rules_njoins
        && ngx_broadcast_publish(ngx_broadcast_rules_joins,
                                 ngx_broadcast_rules_njoins)
           != NGX_OK)
    {
        for (i = 0; i < ngx_broadcast_rules_njoins; i++) {
            (void) ngx_broadcast_publish(&ngx_broadcast_rules_joins[i], 1);
        }
    }

    ngx_broadcast_rules_njoins = 0;
}


void
ngx_broadcast_relay_rules_end(void)
{
    ngx_broadcast_rule_loaded(ngx_broadcast_bus.zone,
                              ngx_broadcast_relay.rules_head);
}
