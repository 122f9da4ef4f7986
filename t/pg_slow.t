#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A slow function delays nobody else: what is not known to be prompt has a
# connection of its own until it has answered.  Functions wait here for a lock
# that the test holds, so whatever were sent behind one would wait as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table ran(name text);

create function gate(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(7);
    insert into ran values (event->'query'->>'as');
    return '{"body": "through"}';
end $$;

create function quick(event jsonb) returns jsonb language sql
    as $$ select jsonb_build_object('body', pg_backend_pid()::text) $$;

select broadcast.bind('http', 'gate'), broadcast.bind('http', 'quick');
select broadcast.bind('http', 'gate', event => n)
  from unnest('{first,other,turn}'::text[]) n;

create schema hub;

create function hub.quick(x int) returns int language sql as 'select x';
create function hub.gate(x int) returns int language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(7);
    return x;
end $$;

select broadcast.expose('chat', 'hub');
EOS

my $session = $pg->session(@at);
my ($nginx, $port);

sub start {
    my ($settings) = @_;

    $nginx = Broadcast::Nginx->new(
        workers => 1,
        http    => 'broadcast_zone hubs 4m; broadcast_database "'
                 . $pg->conninfo('app', 'app') . "\" $settings;",
        server  => <<'EOC')->start;
        keepalive_requests 100000;

        location /functions/ { broadcast_function; }
        location /publish/   { broadcast_publish; }
        location /client     { broadcast_hub anonymous; }
        location = /status   { broadcast_status json; }
EOC
    $port = $nginx->port;

    wait_for(sub {
        http($port, 'GET', '/status')->{json}{database}{state} eq 'up'
    }, 15) or die "the database is not up\n";
}

# A call that is under way, and its answer's status and body.

sub call {
    my ($name) = @_;

    my $c = Broadcast::HTTP->connect($port);
    $c->request('GET', "/functions/$name");

    return $c;
}

sub answer {
    my ($c) = @_;

    my $r = eval { $c->head } or return 'nothing';
    $c->body($r, 'GET');

    return $r->{status} == 200 ? $r->{body} : $r->{status};
}

# Which are surely known: a busy machine may make the first of them late.

sub learn {
    answer(call('quick')) for 1 .. 20;
}

# All that wait for the lock, for longer than any prompt call takes.

sub waiting {
    my ($n) = @_;

    return wait_for(sub {
        $pg->psql("select count(*) from pg_stat_activity
                    where wait_event = 'advisory'
                      and query_start < clock_timestamp() - interval '50 ms'",
                  @at) == $n
    }, 15);
}

sub quick_ones {
    my @calls = map { call('quick') } 1 .. 20;

    return scalar grep { answer($_) =~ /^\d+$/ } @calls;
}


# Two connections, the first of which is for publishers as well.

start('pool=2 timeout=60s');
learn();
$session->run('select pg_advisory_lock(7);');

my $first = call('first');
is(quick_ones(), 20, 'an unknown function delays no prompt one, on the '
                     . 'connection that has answered one just before');
ok(waiting(1), '... though it waits');

is(http($port, 'POST', '/publish/chat', body => 'x')->{status}, 200,
   'a publish does not wait behind it');

my $other = call('other');
is(quick_ones(), 20, 'nor do prompt ones wait behind another unknown one, '
                     . 'which has no connection yet');
ok(waiting(1), '... and gets none');

$session->run('select pg_advisory_unlock(7);');
is_deeply([ answer($first), answer($other) ], [ 'through', 'through' ],
          'both go on when they can');
$nginx->stop_ok;


# Four: what was prompt is not any more while a call of it is late.

start('pool=4 timeout=60s');
learn();

is(answer(call('gate')), 'through', 'a function runs promptly');

$session->run('select pg_advisory_lock(7);');

$first = call('gate');
ok(waiting(1), 'and waits for a lock when it is called again');

$other = call('gate');
is(quick_ones(), 20, 'nothing goes behind the third call');
ok(waiting(2), '... since the second is late by then');

# Methods of a hub, which are called by statements of their own.

my @hubs = map { Broadcast::Hub->connect($port, '/client?hub=chat') } 1 .. 3;

sub invoke {
    my ($hub, $target, $x) = @_;

    $hub->send({ type => 1, invocationId => "$x", target => $target,
                 arguments => [ $x ] });
}

sub completion {
    my ($hub) = @_;

    for (my $end = time + 20; time < $end; ) {
        my $m = eval { $hub->next } or last;
        return $m->{error} // $m->{result} if $m->{type} == 3;
    }

    return 'nothing';
}

for my $x (1 .. 20) {
    invoke($hubs[1], 'quick', $x);
    completion($hubs[1]);
}

invoke($hubs[0], 'gate', 1);

for my $x (1 .. 20) {
    invoke($hubs[1], 'quick', $x);
    invoke($hubs[2], 'quick', $x + 100);
}

is_deeply([ map { completion($_) } map { ($hubs[1], $hubs[2]) } 1 .. 20 ],
          [ map { ($_, $_ + 100) } 1 .. 20 ],
          'an unknown method delays none that is prompt');
ok(waiting(3), '... though it waits, so all connections but one are taken');

$session->run('select pg_advisory_unlock(7);');
is(completion($hubs[0]), 1, 'it ends when it can');
is_deeply([ answer($first), answer($other) ], [ 'through', 'through' ],
          'and so do the others');
$nginx->stop_ok;


# One: prompt calls that never pause leave it to a slow one all the same.

start('pool=1 timeout=60s');
learn();

my @busy = map { Broadcast::HTTP->connect($port) } 1 .. 12;

$_->request('GET', '/functions/quick', keepalive => 1) for @busy;

my $turn = call('turn');
my $done = 0;

for (my $end = time + 15; !$done && time < $end; ) {
    for my $c (@busy) {
        my $r = $c->head;
        $c->body($r, 'GET');
        $c->request('GET', '/functions/quick', keepalive => 1);
    }

    my $bits = '';
    vec($bits, fileno $turn->{socket}, 1) = 1;
    $done = select $bits, undef, undef, 0;
}

ok($done, 'the only connection is emptied for a slow one');
is(answer($turn), 'through', '... which takes it');

for my $c (@busy) {
    $c->body($c->head, 'GET');
    $c->close;
}

$nginx->stop_ok;


# One, and callers that give up.

start('pool=1 timeout=1s');
$session->run('truncate ran;');
$session->run('select pg_advisory_lock(7);');

my @calls = map { call("gate?as=$_") } 1 .. 3;

is_deeply([ map { answer($_) } @calls ], [ 504, 504, 504 ],
          'three wait for a lock until they give up');

$session->run('select pg_advisory_unlock(7);');

like(answer(call('quick')), qr/^(?:\d+)$/, 'the connection is of use again');
is($pg->psql("select count(*) from ran where name = '3'", @at), 0,
   'a call that was not sent by then is not carried out');

$nginx->stop_ok;

done_testing();
