#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The pool of a worker: functions that take their time run beside each other,
# each on a connection of its own, also the very first ones.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

# Returns when three of it run at once, or after a long while how many did.

$pg->psql(<<'EOS', @at);
create function meet(event jsonb) returns jsonb language plpgsql as $$
declare
    n int;
    until timestamptz := clock_timestamp() + interval '10 s';
begin
    perform pg_advisory_xact_lock_shared(77);
    loop
        select count(*) into n from pg_locks
         where locktype = 'advisory' and objid = 77;
        exit when n >= 3 or clock_timestamp() > until;
        perform pg_sleep(0.01);
    end loop;
    -- let the others see three, too
    perform pg_sleep(0.2);
    return jsonb_build_object('body', n::text);
end $$;
select broadcast.bind('http', 'meet');
EOS

my $nginx = Broadcast::Nginx->new(
    http   => 'broadcast_zone hubs 4m; broadcast_database "'
            . $pg->conninfo('app', 'app') . '" pool=4 timeout=60s;',
    server => <<'EOC',
        location /functions/ { broadcast_function; }
        location /publish/   { broadcast_publish; }
        location = /status   { broadcast_status json; }
EOC
)->start;

my $port = $nginx->port;

ok(wait_for(sub {
    http($port, 'GET', '/status')->{json}{database}{state} eq 'up'
}, 15), 'the database is up');

my @calls = map {
    my $c = Broadcast::HTTP->connect($port, timeout => 60);
    $c->write("GET /functions/meet HTTP/1.1\r\nHost: x\r\n"
              . "Connection: close\r\n\r\n");
    $c;
} 1 .. 3;

ok(wait_for(sub {
    $pg->psql("select count(*) from pg_stat_activity
                where query like '%dispatch%' and state = 'active'
                  and pid <> pg_backend_pid()") > 0
}, 15), 'a function runs');

is(http($port, 'POST', '/publish/chat', body => 'x', timeout => 60)->{status},
   200, 'a publish does not wait behind it');

for my $c (@calls) {
    my $r = $c->head;
    $c->body($r, 'GET');
    is($r->{body}, '3', 'three that wait for each other meet');
}

$nginx->stop_ok;

done_testing();
