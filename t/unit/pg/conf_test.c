
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/pg/ngx_broadcast_pg_conf.c src/pg/ngx_broadcast_pg_host.c
 *        src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_utf8.c nginx:core/ngx_inet.c -lpq
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "pg/ngx_broadcast_pg.h"

#include <libpq-fe.h>

#include "tap.h"


static ngx_pool_t                *pool;
static ngx_uint_t                 warnings;
static ngx_str_t                  err;
static ngx_broadcast_pg_conf_t    conf;


/* The real one needs the configuration file that is being read. */

void
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t code,
    const char *fmt, ...)
{
    warnings++;
}


static ngx_int_t
check(const char *conninfo)
{
    ngx_conf_t  cf;

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    ngx_memzero(&conf, sizeof(ngx_broadcast_pg_conf_t));

    cf.pool = pool;
    cf.log = &ngx_stub_log;

    conf.conninfo.data = (u_char *) conninfo;
    conf.conninfo.len = strlen(conninfo);

    ngx_str_set(&err, "");
    warnings = 0;

    return ngx_broadcast_pg_check_conf(&cf, &conf, &err);
}


/* What libpq itself reads from the resolved text; "-": not there. */

static void
option(const char *name, const char *want, const char *what)
{
    const char        *got;
    PQconninfoOption  *options, *o;

    got = "-";
    options = PQconninfoParse((char *) conf.resolved.data, NULL);

    for (o = options; o && o->keyword; o++) {
        if (strcmp(o->keyword, name) == 0 && o->val) {
            got = o->val;
        }
    }

    is_mem(got, strlen(got), want, strlen(want), what);

    PQconninfoFree(options);
}


static void
test_hosts(void)
{
    is_int(check("dbname=app user=u"), NGX_OK, "no host");
    option("host", "-", "libpq's own default host stays");
    option("hostaddr", "-", "and has no address");
    option("dbname", "app", "other options are passed on");

    is_int(check("host=/run/postgresql port=5433 dbname=app"), NGX_OK,
           "a folder of a socket");
    option("host", "/run/postgresql", "it is not looked up");
    option("hostaddr", "-", "and has no address");
    option("port", "5433", "its port is kept");

    check("host=192.0.2.1");
    option("hostaddr", "192.0.2.1", "an address stands for itself");
    option("host", "192.0.2.1", "host stays beside it");

    check("host=::1 port=1");
    option("hostaddr", "::1", "an IPv6 address, without brackets");

    check("hostaddr=192.0.2.7 host=db.example.invalid");
    option("hostaddr", "192.0.2.7", "an address that was given is kept");
    option("host", "db.example.invalid", "its host is not looked up");
    is_int(warnings, 0, "nor warned of");

    check("host=/a,192.0.2.1,/b port=1,2,3");
    option("host", "/a,192.0.2.1,/b", "several hosts keep their order");
    option("hostaddr", ",192.0.2.1,", "those without address have a place");
    option("port", "1,2,3", "and each its port");

    is_int(conf.resolutions->nelts, 3, "one conninfo begins with each");
    conf.resolved = ((ngx_str_t *) conf.resolutions->elts)[2];
    option("host", "/b,/a,192.0.2.1", "the third, then around");
    option("hostaddr", ",,192.0.2.1", "with the addresses");
    option("port", "3,1,2", "and ports");

    check("hostaddr=192.0.2.1,192.0.2.2 host=one,two");
    conf.resolved = ((ngx_str_t *) conf.resolutions->elts)[1];
    option("hostaddr", "192.0.2.2,192.0.2.1", "also of addresses given");
    option("host", "two,one", "each with its host");

    check("dbname=app");
    is_int(conf.resolutions->nelts, 1, "without a host there is one");

    check("postgresql://u@192.0.2.1:7,192.0.2.2:8/app?sslmode=require");
    option("hostaddr", "192.0.2.1,192.0.2.2", "a URI with two hosts");
    option("port", "7,8", "its ports");
    option("sslmode", "require", "its parameters");
    option("dbname", "app", "its database");
}


static void
test_names(void)
{
    char              *host, *addr;
    size_t             hosts, addrs;
    PQconninfoOption  *options, *o;

    is_int(check("host=localhost,/tmp port=5,6"), NGX_OK, "a name");

    host = addr = NULL;
    options = PQconninfoParse((char *) conf.resolved.data, NULL);

    for (o = options; o->keyword; o++) {
        if (strcmp(o->keyword, "host") == 0) {
            host = o->val;
        }

        if (strcmp(o->keyword, "hostaddr") == 0) {
            addr = o->val;
        }
    }

    ok(addr && (strstr(addr, "127.0.0.1") || strstr(addr, "::1")),
       "it is looked up");

    for (hosts = 0; host && *host; host++) {
        hosts += *host == ',';
    }

    for (addrs = 0; addr && *addr; addr++) {
        addrs += *addr == ',';
    }

    is_int(addrs, hosts, "as many hosts as addresses");

    PQconninfoFree(options);

    is_int(check("host=no..such password=x"), NGX_OK,
           "a name that is not found is no error");
    is_int(warnings, 1, "but a warning");
    is_int(conf.resolved.len, 0, "and there is nowhere to connect to");

    is_int(check("host=no..such,192.0.2.1 port=1,2"), NGX_OK,
           "one of two is not found");
    option("host", "192.0.2.1", "the other one is left");
    option("port", "2", "with its own port");
}


static void
test_values(void)
{
    check("host=/x password='a b' user='it\\'s \\\\ me'");
    option("user", "it's \\ me", "quotes and backslashes survive");

    check("host=/x");
    option("gssencmode", "disable", "GSSAPI, which would block, is off");
    option("client_encoding", "UTF8", "the encoding is ours");
    option("tcp_user_timeout", "15000", "dead peers are noticed");

    check("host=/x gssencmode=require client_encoding=LATIN1"
          " tcp_user_timeout=5");
    option("gssencmode", "require", "what the operator says counts");
    option("client_encoding", "UTF8", "but for the encoding");
    option("tcp_user_timeout", "5", "also of times");
}


static void
test_errors(void)
{
    is_int(check("host=/x pasword=secret"), NGX_ERROR, "an unknown option");
    is_str(&err, "invalid connection option \"pasword\"",
           "is named, its value is not");

    is_int(check("host=/x password=two secret words"), NGX_ERROR,
           "a password that was not quoted");
    ok(ngx_strlcasestrn(err.data, err.data + err.len, (u_char *) "secret", 5)
       == NULL, "no piece of it is shown");
    ok(err.len > 0, "something is");

    is_int(check("postgresql://u:secret@[::1/app"), NGX_ERROR, "a bad URI");
    ok(ngx_strlcasestrn(err.data, err.data + err.len, (u_char *) "secret", 5)
       == NULL, "its password is not shown");

    is_int(check("service=app"), NGX_ERROR, "a service file is refused");
    is_int(check("host=/x replication=database"), NGX_ERROR,
           "so is replication");
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);

    test_hosts();
    test_names();
    test_values();
    test_errors();

    ngx_destroy_pool(pool);

    return done();
}
