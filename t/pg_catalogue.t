#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Calls of what the catalogue does not have wait for a question to the database.
# One that stands still ends with its own time-out, and so does who waits behind
# it for another one: not after the times of both.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Wait qw(within);

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create schema hub;
create function hub.known(x text) returns text language sql as 'select x';
create function hub.gate(x text) returns text language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(7);
    return x;
end $$;

select broadcast.expose('chat', 'hub');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 1,
    http    => 'broadcast_zone hubs 16m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=3s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

$nginx->leads or die "no relay leads\n";

my @hubs = map { Broadcast::Hub->connect($port, '/client?hub=chat',
                                         timeout => 30) } 1 .. 4;

sub invoke {
    my ($hub, $target) = @_;

    $hub->send({ type => 1, invocationId => '1', target => $target,
                 arguments => [ 'x' ] });
}

sub said {
    my ($hub) = @_;

    while (my $m = eval { $hub->next(30) }) {
        return $m->{error} // "result $m->{result}" if $m->{type} == 3;
    }

    return 'nothing';
}

for my $hub (@hubs) {
    invoke($hub, 'known');
    said($hub) eq 'result x' or die "no method is known\n";
}

# The version that is asked for is of this table; calls need it not.

my $session = $pg->session(@at);

$session->run('begin; lock table broadcast.binding_state
               in access exclusive mode; select pg_advisory_lock(7);');

# until it is seen: a machine may be too slow to look while it is there

my $look = $pg->session(@at);
my $still;

for (1 .. 10) {
    invoke($hubs[0], 'first');

    $still = within(sub {
        $look->run(q{select count(*) from pg_stat_activity
                      where wait_event_type = 'Lock'
                        and query = 'SELECT broadcast.bindings_version()'}) > 0
    }, 2) and last;

    said($hubs[0]);
}

ok($still, 'a question stands still');
$look->close;

# The clock of both is the worker's: who came a second later has a second more.

invoke($hubs[1], 'second');
sleep 1;
invoke($hubs[2], 'gate');

invoke($hubs[3], 'known');
is(said($hubs[3]), 'result x', 'what is known is called meanwhile');

like(said($hubs[0]), qr/\AMethod does not exist|unknown|does not/i,
     'who has asked is told in the end');
like(said($hubs[2]), qr/./, 'a call that came a second later has timed out');

my $bits = '';
vec($bits, fileno $hubs[1]{ws}{socket}, 1) = 1;
ok(scalar select($bits, undef, undef, 0),
   'who waits behind the question has been told before');
like(said($hubs[1]), qr/./, '... in the same words');

$session->run('rollback; select pg_advisory_unlock_all();');

ok((wait_for { invoke($hubs[3], 'known'); said($hubs[3]) eq 'result x' } 20),
   'all goes on');

$nginx->stop_ok;

done_testing();
