
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/proto/ngx_broadcast_filter.c
 *        src/proto/ngx_broadcast_filter_token.c
 *        src/proto/ngx_broadcast_filter_match.c
 *        src/base/ngx_broadcast_name.c src/base/ngx_broadcast_utf8.c
 */


#include "tap.h"

#include "proto/ngx_broadcast_filter.h"


static ngx_pool_t  *pool;


/* connections to be matched, each a letter; the groups are bits of a..c */

static const struct {
    const char  *id;
    const char  *user;
    const char  *groups;
} conns[] = {
    { "A", "alice", "a" },
    { "B", "bob", "ab" },
    { "C", "", "" },
    { "D", "al", "c" },
    { "E", "O'Hara", "b" },
    { "F", "", "a" }
};


/* the letters of those that match */

static void
matches(const char *text, const char *want)
{
    char                    got[8], *p;
    uint32_t                mask;
    ngx_int_t               rc;
    ngx_str_t               t, id, user;
    ngx_uint_t              i, k;
    ngx_broadcast_filter_t  filter;

    t = tap_str(text);
    rc = ngx_broadcast_filter_parse(&filter, &t, pool);

    if (rc != NGX_OK) {
        fprintf(stderr, "%s: %s at %d\n", text, filter.error,
                (int) filter.place);
        ok(0, text);
        return;
    }

    p = got;

    for (i = 0; i < sizeof(conns) / sizeof(conns[0]); i++) {

        mask = 0;

        for (k = 0; k < filter.ngroups; k++) {
            if (strchr(conns[i].groups, filter.groups[k].data[0])) {
                mask |= (uint32_t) 1 << k;
            }
        }

        id = tap_str(conns[i].id);
        user = tap_str(conns[i].user);

        if (ngx_broadcast_filter_match(&filter, &id, &user, mask)) {
            *p++ = conns[i].id[0];
        }
    }

    *p = '\0';

    if (!ok(strcmp(got, want) == 0, text)) {
        fprintf(stderr, "got %s, want %s\n", got, want);
    }
}


static void
refused(const char *text, ngx_uint_t place, const char *error)
{
    ngx_str_t               t;
    ngx_broadcast_filter_t  filter;

    t = tap_str(text);

    if (ngx_broadcast_filter_parse(&filter, &t, pool) != NGX_DECLINED) {
        ok(0, text);
        fprintf(stderr, "it was taken\n");
        return;
    }

    if (!ok(filter.place == place && strstr(filter.error, error) != NULL,
            text))
    {
        fprintf(stderr, "got: %s at %d\n", filter.error, (int) filter.place);
    }
}


static void
bounds(void)
{
    char                    text[8192], *p;
    ngx_str_t               t;
    ngx_uint_t              i, n;
    ngx_broadcast_filter_t  filter;

    for (n = 32; n < 34; n++) {

        p = text;

        for (i = 0; i < n; i++) {
            *p++ = '(';
        }

        p += sprintf(p, "userId eq 'x'");

        for (i = 0; i < n; i++) {
            *p++ = ')';
        }

        *p = '\0';
        t = tap_str(text);

        is_int(ngx_broadcast_filter_parse(&filter, &t, pool),
               n == 32 ? NGX_OK : NGX_DECLINED, "32 brackets deep, not 33");
    }

    is_int(filter.place, 33, "... which is told where");

    for (n = 32; n < 34; n++) {

        p = text;

        for (i = 0; i < n; i++) {
            p += sprintf(p, "%suserId eq 'x'", i ? " or " : "");
        }

        t = tap_str(text);

        is_int(ngx_broadcast_filter_parse(&filter, &t, pool),
               n == 32 ? NGX_OK : NGX_DECLINED, "64 terms, not more");
    }

    for (n = 32; n < 34; n++) {

        p = text;

        for (i = 0; i < n; i++) {
            p += sprintf(p, "%s'g%d' in groups", i ? " and " : "", (int) i);
        }

        t = tap_str(text);

        is_int(ngx_broadcast_filter_parse(&filter, &t, pool),
               n == 32 ? NGX_OK : NGX_DECLINED, "32 groups, not more");
    }

    ok(strstr(filter.error, "32") != NULL, "... which is told");

    t = tap_str("'g' in groups or 'g' in groups and 'h' in groups");
    (void) ngx_broadcast_filter_parse(&filter, &t, pool);
    is_int(filter.ngroups, 2, "a group that is named twice counts once");
}


int
main(void)
{
    ngx_str_t               t;
    ngx_broadcast_filter_t  filter;

    pool = ngx_create_pool(4096, &ngx_stub_log);

    matches("userId eq 'alice'", "A");
    matches("userId eq 'Alice'", "");
    matches("USERID EQ 'alice'", "A");
    matches("userId ne 'alice'", "BCDEF");
    matches("'bob' eq userId", "B");
    matches("'bob' ne userId", "ACDEF");
    matches("userId eq 'O''Hara'", "E");
    matches("userId eq ''", "");
    matches("userId eq null", "CF");
    matches("userId ne null", "ABDE");
    matches("connectionId eq 'D'", "D");
    matches("connectionId ne 'D'", "ABCEF");
    matches("connectionId eq null", "");
    matches("connectionId ne null", "ABCDEF");
    matches("startswith(userId,'al')", "AD");
    matches("startswith( userId , 'alice' )", "A");
    matches("startswith(userId,'')", "ABDE");
    matches("startswith(connectionId,'B')", "B");
    matches("'a' in groups", "ABF");
    matches("'z' in groups", "");
    matches("not 'a' in groups", "CDE");
    matches("not (userId eq null)", "ABDE");
    matches("not not userId eq null", "CF");
    matches("'a' in groups and 'b' in groups", "B");
    matches("'a' in groups or 'b' in groups", "ABEF");
    matches("'c' in groups or 'a' in groups and 'b' in groups", "BD");
    matches("('c' in groups or 'a' in groups) and userId ne null", "ABD");
    matches("not ('a' in groups or 'b' in groups)", "CD");
    matches("'a' in groups and not 'b' in groups and userId ne null", "A");
    matches("not startswith(userId,'al') and userId ne null", "BE");
    matches(" \t('a'in groups)and(userId eq'bob')", "B");

    refused("", 1, "userId");
    refused("   ", 4, "userId");
    refused("user eq 'x'", 1, "userId");
    refused("userId", 7, "\"eq\"");
    refused("userId gt 'x'", 8, "\"eq\"");
    refused("userId eq", 10, "single quotes");
    refused("userId eq x", 11, "single quotes");
    refused("userId eq \"x\"", 11, "character");
    refused("userId eq 'x", 11, "no end");
    refused("userId eq 'x''", 11, "no end");
    refused("userId eq 'x' and", 18, "userId");
    refused("userId eq 'x' 'y'", 15, "the end");
    refused("userId eq 'x' userId eq 'y'", 15, "the end");
    refused("userId eq 'x')", 14, "the end");
    refused("(userId eq 'x'", 15, "\")\"");
    refused("()", 2, "userId");
    refused("not", 4, "userId");
    refused("'g'", 4, "\"in\"");
    refused("'g' in", 7, "\"groups\"");
    refused("'g' in users", 8, "\"groups\"");
    refused("'' in groups", 1, "name of a group");
    refused("userId eq 'x' or '  ' in groups", 18, "name of a group");
    refused("userId eq '\xc3\xa4' and x", 19, "userId");
    refused("groups eq 'x'", 1, "userId");
    refused("startswith userId", 12, "\"(\"");
    refused("startswith(groups,'x')", 12, "userId");
    refused("startswith(userId 'x')", 19, "\",\"");
    refused("startswith(userId,x)", 19, "single quotes");
    refused("startswith(userId,'x'", 22, "\")\"");
    refused("startswith(userId,null)", 19, "single quotes");
    refused("userId eq 1", 11, "character");
    refused("userId eq 'x' & 1", 15, "character");
    refused("\xff", 1, "UTF-8");

    t = tap_str("userId eq null");
    t.len = 6;
    is_int(ngx_broadcast_filter_parse(&filter, &t, pool), NGX_DECLINED,
           "the text ends where its length says");

    bounds();

    ngx_destroy_pool(pool);

    return done();
}
