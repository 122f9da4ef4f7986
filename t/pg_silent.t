#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A server that is stopped with all its processes: connections stay up and say
# nothing.  Who calls is refused at once long before a call would have timed
# out; and nobody is refused because the relay alone hears nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create schema hub;
create function hub.echo(x text) returns text language sql as 'select x';
create function echo(event jsonb) returns jsonb language sql
    as $$ select '{"body": "echo"}'::jsonb $$;
create function nap(event jsonb) returns jsonb language sql
    as $$ select '{"body": "nap"}'::jsonb from pg_sleep(6) $$;

select broadcast.expose('chat', 'hub');
select broadcast.bind('http', 'echo'), broadcast.bind('http', 'nap');
EOS

# a call may take a minute: what ends sooner was not timed out

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http => 'broadcast_zone hubs 4m; broadcast_database "'
          . $pg->conninfo('app', 'app') . '" pool=2 timeout=60s;',
    server => <<'EOC')->start;
        location /client     { broadcast_hub anonymous; }
        location /events/    { broadcast_events anonymous; }
        location /publish/   { broadcast_publish; }
        location /functions/ { broadcast_function; }
        location = /status   { broadcast_status json; }
EOC

my $port = $nginx->port;

sub database { http($port, 'GET', '/status')->{json}{database} }

# an answer long before a call times out, or undef; the connection stays with the
# caller

my @open;

sub soon {
    my ($method, $uri, %o) = @_;

    my $c = Broadcast::HTTP->connect($port, timeout => 70);
    push @open, $c;
    $c->request($method, $uri, %o);

    my $r = eval { $c->head($o{seconds} // 20) } or return undef;
    pop @open;
    $c->body($r, $method);

    return $r;
}

sub echo { soon('GET', '/functions/echo', @_) }

ok((wait_for { my $d = database();
               $d->{state} eq 'up' && $d->{relay} eq 'leader' } 10),
   'the database is there');

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
my $id = 0;

sub invoke {
    my ($word, $seconds) = @_;

    $hub->send({ type => 1, invocationId => '' . ++$id, target => 'echo',
                 arguments => [ $word ] });

    while (my $record = eval { $hub->next($seconds) }) {
        return $record if $record->{type} == 3;
    }

    return undef;
}

is(invoke('a', 20)->{result}, 'a', 'a method answers');
is(echo()->{body}, 'echo', 'a function does') for 1 .. 4;


# --- the relay alone ---------------------------------------------------------

# Its session stands still: calls go on, and so does who calls.

my $relay = $pg->psql(q{select pid from pg_locks where locktype = 'advisory'});
my $nap = Broadcast::HTTP->connect($port);
$nap->request('GET', '/functions/nap');
kill 'STOP', $relay;

my ($good, $state) = (0, {});
my $until = time + 5;

while (time < $until) {
    my $r = http($port, 'GET', '/functions/echo');
    die "a call is refused: $r->{status}\n" if $r->{status} != 200;
    $good++;
    $state->{database()->{state}} = 1;
    sleep 0.1;
}

ok($good, 'the relay hears nothing: calls are made');
is_deeply([ keys %$state ], [ 'up' ], '... and the database is up');
is($nap->head->{status}, 200, '... also one that takes its time');

kill 'CONT', $relay;
is(invoke('b', 20)->{result}, 'b', 'it goes on');


# --- all of it ---------------------------------------------------------------

ok((wait_for { database()->{state} eq 'up' } 10), 'up');
$pg->freeze;

my $began = time;
my $r;

ok((wait_for { $r = echo(seconds => 1); $r && $r->{status} == 503 }),
   'the server is stopped: calls are refused at once');
note(sprintf '... after %.1f s', time - $began);
ok($r->{headers}{'retry-after'}, '... for now');

ok((wait_for { database()->{state} eq 'down' } 10), '... its state is down');
is(soon('POST', '/publish/chat', body => 'x',
        headers => [ 'Content-Type' => 'text/plain' ])->{status}, 503,
   '... publishers are told');

for my $n (1 .. 6) {
    my $r = echo();
    $r && $r->{status} == 503 or fail("call $n"), last;
}

my $record = invoke('c', 20);
like($record->{error}, qr/The database is away\.$/,
     '... a client, too');

$pg->thaw;

ok((wait_for { $r = echo(); $r && $r->{status} == 200 } 20),
   'it goes on: calls are made');
ok((wait_for { my $d = database();
               $d->{state} eq 'up' && $d->{relay} eq 'leader' } 20),
   '... the relay relays');
is(scalar(grep { my $r = eval { $_->head };
                 $r && $r->{status} =~ /^(?:200|50[034])$/ } @open),
   scalar @open, '... who was not answered is');
is(invoke('d', 20)->{result}, 'd', '... also a client');

$nginx->stop_ok;

done_testing;
