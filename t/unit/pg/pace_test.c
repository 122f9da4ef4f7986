
/*
 * Copyright (C) The nginx-broadcast authors
 */


/* links: src/pg/ngx_broadcast_pg_pace.c nginx:core/ngx_murmurhash.c */


#include <ngx_config.h>
#include <ngx_core.h>

#include "tap.h"
#include "pg/ngx_broadcast_pg_pace.h"


/*
 * Which calls may go behind others: those whose function was fair when it ran
 * last.  One slow run of a trusted function takes that from it while it lasts,
 * a second one until it is trusted again.
 */

static ngx_broadcast_pg_pace_t  pace;


static void
run(ngx_msec_t took, ngx_uint_t times)
{
    while (times--) {
        ngx_broadcast_pg_pace_took(&pace, took, 1);
    }
}


static ngx_uint_t
known(void)
{
    return pace.last <= NGX_BROADCAST_PG_FAIR;
}


int
main(void)
{
    ngx_uint_t  learned;

    ngx_broadcast_pg_pace_init(&pace);
    is_int(known(), 0, "a function that has not run is not known");

    run(500, 1);
    is_int(known(), 0, "nor is one whose first run was slow");

    run(5, NGX_BROADCAST_PG_TRUST);
    is_int(known(), 1, "one that is prompt is known");
    is_int(pace.owes, 0, "... and trusted after some runs");

    ngx_broadcast_pg_pace_took(&pace, 50, 0);
    is_int(known(), 1, "while a run is late it is known");
    ngx_broadcast_pg_pace_took(&pace, 500, 0);
    is_int(known(), 0, "... but not while that is slow");

    learned = ngx_broadcast_pg_pace_learned;
    run(5000, 1);
    is_int(known(), 1, "when it is over the function has its place again");
    is_int(ngx_broadcast_pg_pace_learned - learned, 1,
           "... of which those that wait are told");
    is_int(pace.owes, NGX_BROADCAST_PG_TRUST, "... though nothing goes behind");

    run(5, NGX_BROADCAST_PG_TRUST - 1);
    run(500, 1);
    is_int(known(), 0, "a second slow run before it is trusted is too much");

    run(5, 1);
    is_int(known(), 1, "it is known when it was prompt once more");
    run(500, 1);
    is_int(known(), 0, "... and has no second chance by that");

    run(5, NGX_BROADCAST_PG_TRUST);
    run(500, 1);
    is_int(known(), 1, "a trusted one has it again");

    return done();
}
