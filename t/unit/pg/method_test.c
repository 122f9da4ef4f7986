
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/pg/ngx_broadcast_method.c src/pg/ngx_broadcast_pg_text.c
 *        src/pg/ngx_broadcast_pg_pace.c nginx:core/ngx_hash.c
 *        nginx:core/ngx_murmurhash.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_method_local.h"

#include "tap.h"


static ngx_broadcast_methods_t  *methods;


static void
add(const char *hub, const char *name, int count, int flags, int arrays,
    const char *function)
{
    ngx_broadcast_method_t  m;

    ngx_memzero(&m, sizeof(ngx_broadcast_method_t));

    m.hub.data = (u_char *) hub;
    m.hub.len = strlen(hub);
    m.name.data = (u_char *) name;
    m.name.len = strlen(name);
    m.function.data = (u_char *) function;
    m.function.len = strlen(function);
    m.statement = m.function;
    m.count = count < 0 ? 0 : count;
    m.message = count < 0;
    m.rest = flags & 1 ? 1 : 0;
    m.ambiguous = flags & 2 ? 1 : 0;
    m.arrays = arrays;

    ok(ngx_broadcast_methods_add(methods, &m) == NGX_OK, function);
}


static void
finds(const char *hub, const char *name, int nargs, int nstreams, int rc,
    const char *function, const char *what)
{
    ngx_str_t                h, n;
    ngx_uint_t               got;
    ngx_broadcast_method_t  *m;

    h.data = (u_char *) hub;
    h.len = strlen(hub);
    n.data = (u_char *) name;
    n.len = strlen(name);

    got = ngx_broadcast_method_find(&h, &n, nargs, nstreams, &m);

    ok(got == (ngx_uint_t) rc
       && (function == NULL
           ? m == NULL
           : m && m->function.len == strlen(function)
             && memcmp(m->function.data, function, m->function.len) == 0),
       what);
}


int
main(void)
{
    ngx_str_t                 text, other;
    ngx_broadcast_pg_text_t  *a, *b, *c;

    finds("h", "x", 0, 0, NGX_BROADCAST_METHOD_UNREAD, NULL,
          "nothing was read yet");

    methods = ngx_broadcast_methods_create(32, &ngx_stub_log);
    ngx_broadcast_methods = methods;

    finds("h", "x", 0, 0, NGX_BROADCAST_METHOD_NONE, NULL, "none at all");

    add("h", "one", 1, 0, 0, "one/1");
    add("h", "one", 3, 0, 1, "one/3");
    add("g", "one", 2, 0, 0, "g one/2");
    add("h", "all", 1, 1, 1, "all/1+");
    add("h", "all", 2, 0, 0, "all/2");
    add("h", "twice", 1, 2, 0, "twice/1");
    add("", "bound", -1, 0, 0, "any bound");
    add("h", "bound", -1, 0, 0, "h bound");
    add("h", "bound", 1, 0, 0, "bound/1");

    finds("h", "ONE", 1, 0, NGX_BROADCAST_METHOD_FOUND, "one/1",
          "a name ignores case");
    finds("h", "one", 3, 0, NGX_BROADCAST_METHOD_FOUND, "one/3",
          "the number of arguments decides");
    finds("h", "one", 0, 0, NGX_BROADCAST_METHOD_COUNT, "one/1",
          "none wants so few: the next count");
    finds("h", "one", 2, 0, NGX_BROADCAST_METHOD_COUNT, "one/3",
          "one between, and not another hub's");
    finds("h", "one", 4, 0, NGX_BROADCAST_METHOD_COUNT, "one/3",
          "so many: the greatest");
    finds("h", "one", 2, 1, NGX_BROADCAST_METHOD_FOUND, "one/3",
          "a stream is one of the arguments");
    finds("h", "one", 2, 2, NGX_BROADCAST_METHOD_STREAMS, "one/3",
          "more of them than arrays");
    finds("h", "all", 0, 0, NGX_BROADCAST_METHOD_FOUND, "all/1+",
          "the rest may be empty");
    finds("h", "all", 7, 0, NGX_BROADCAST_METHOD_FOUND, "all/1+", "or long");
    finds("h", "all", 2, 0, NGX_BROADCAST_METHOD_FOUND, "all/2",
          "a count of its own goes first");
    finds("h", "all", 0, 1, NGX_BROADCAST_METHOD_FOUND, "all/1+",
          "a stream is the whole rest");
    finds("h", "all", 1, 1, NGX_BROADCAST_METHOD_STREAMS, "all/2",
          "and no part of it");
    finds("h", "twice", 1, 0, NGX_BROADCAST_METHOD_AMBIGUOUS, "twice/1",
          "two of a kind");
    finds("h", "bound", 1, 0, NGX_BROADCAST_METHOD_FOUND, "h bound",
          "a bound function goes before a method, a hub's before any hub's");
    finds("g", "bound", 9, 0, NGX_BROADCAST_METHOD_FOUND, "any bound",
          "for other hubs, with any arguments");
    finds("h", "x", 0, 0, NGX_BROADCAST_METHOD_NONE, NULL, "another name");

    add("", "", -1, 0, 0, "any any");
    finds("h", "x", 0, 0, NGX_BROADCAST_METHOD_FOUND, "any any",
          "one for any name");
    finds("h", "one", 2, 0, NGX_BROADCAST_METHOD_COUNT, "one/3",
          "does not stand in for a wrong count");

    add("h", "", -1, 0, 0, "h any");
    finds("h", "x", 0, 0, NGX_BROADCAST_METHOD_FOUND, "h any",
          "the hub's own goes first there, too");

    /* texts */

    ngx_str_set(&text, "select 1");
    ngx_str_set(&other, "select 2");

    a = ngx_broadcast_pg_text_get(&text, &ngx_stub_log);
    b = ngx_broadcast_pg_text_get(&text, &ngx_stub_log);
    c = ngx_broadcast_pg_text_get(&other, &ngx_stub_log);

    ok(a == b && a != c && a->place != c->place && a->id != c->id,
       "equal texts are one, others have places and ids of their own");

    ngx_broadcast_pg_text_put(a);
    ok(ngx_broadcast_pg_text_get(&text, &ngx_stub_log) == b,
       "it stays while it is held");

    ngx_broadcast_pg_text_put(b);
    ngx_broadcast_pg_text_put(b);

    a = ngx_broadcast_pg_text_get(&text, &ngx_stub_log);
    ok(a->id > c->id, "a text that was given up comes back with a new id");

    ngx_broadcast_pg_text_put(a);
    ngx_broadcast_pg_text_put(c);

    ngx_broadcast_methods_put(methods);

    return done();
}
