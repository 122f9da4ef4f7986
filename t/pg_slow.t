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
use Time::HiRes qw(time);

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
    as $$ select '{"body": "prompt"}'::jsonb $$;

create function brief(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep((event->'query'->>'for')::float);
    return '{"body": "prompt"}';
end $$;

select broadcast.bind('http', 'gate'), broadcast.bind('http', 'quick'),
       broadcast.bind('http', 'brief');
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
    }) or die "the database is not up\n";
}


# A call that is under way, and its answer's status and body.

sub call {
    my ($name, %o) = @_;

    my $c = Broadcast::HTTP->connect($port, %o);
    $c->{since} = time;
    $c->request('GET', "/functions/$name");

    return $c;
}

sub answer {
    my ($c) = @_;

    my $r = eval { $c->head } or return 'nothing';
    $c->body($r, 'GET');

    return $r->{status} == 200 ? $r->{body} : $r->{status};
}


# A prompt function that this machine does not let be prompt once, which took
# more than 100 ms, rightly waits with those that are not known.  So a scene is
# played until all is as it should be.  If it is not, though none of its prompt
# calls took that long, that was not the machine; nor was it in ten scenes.

my ($slowest, @facts);

sub scene {
    my ($settings, $play) = @_;

    for my $left (reverse 0 .. 9) {
        start($settings);
        learn();
        @facts = ();

        my $played = eval { $play->() };
        my $died = $@;

        $session->run('select pg_advisory_unlock_all();');
        $nginx->stop_ok;

        $played || $died eq "not as it should be\n" or die $died;

        last if $played || !$left || $slowest < 0.1;

        diag(sprintf 'once more: %s, but a prompt call took %.3f s',
             $facts[-1][2], $slowest);
    }

    is($_->[0], $_->[1], $_->[2]) for @facts;
}


# Which are surely known: a busy machine may make the first of them late.

sub learn {
    for (1 .. 20) {
        $slowest = 0;
        my $c = call('quick');
        answer($c);
        took($c->{since});
    }
}


# What has to be equal; what does not, ends a scene.

sub fact {
    my ($got, $want, $name) = @_;

    push @facts, [ $got, $want, $name ];
    return 1 if ($got // '') eq $want;

    die "not as it should be\n";
}


# A prompt call has, of this machine's time.

sub took {
    my ($since) = @_;
    my $took = time - $since;

    $slowest = $took if $took > $slowest;
}


# All that wait for the lock, for longer than any prompt call takes.

sub waiting {
    my ($n) = @_;

    return wait_for(sub {
        $pg->psql("select count(*) from pg_stat_activity
                    where wait_event = 'advisory'
                      and query_start < clock_timestamp() - interval '50 ms'",
                  @at) == $n
    });
}

# How many of 20 calls are answered.  The first of them shows whether what was
# learned before still holds.

sub quick_ones {
    my @calls = map { call('quick', timeout => 15) } 1 .. 20;
    my $n = 0;

    for my $c (@calls) {
        answer($c) eq 'prompt' or last;
        took($c->{since});
        $n++;
    }

    return $n;
}


# Two connections, the first of which is for publishers as well.

scene('pool=2 timeout=60s', sub {
    $session->run('select pg_advisory_lock(7);');

    my $first = call('first');
    fact(quick_ones(), 20, 'an unknown function delays no prompt one, on the '
                           . 'connection that has answered one just before');
    fact(waiting(1), 1, '... though it waits');

    fact(http($port, 'POST', '/publish/chat', body => 'x')->{status}, 200,
         'a publish does not wait behind it');

    my $other = call('other');
    fact(quick_ones(), 20, 'nor do prompt ones wait behind another unknown '
                           . 'one, which has no connection yet');
    fact(waiting(1), 1, '... and gets none');

    $session->run('select pg_advisory_unlock(7);');
    fact(join(' ', answer($first), answer($other)), 'through through',
         'both go on when they can');
});


# One slow answer of a prompt function leaves it its place.

scene('pool=2 timeout=60s', sub {
    for (1 .. 20) {
        my $c = call('brief');
        answer($c);
        took($c->{since});
    }

    fact(answer(call('brief?for=0.3')), 'prompt', 'a prompt function is slow');

    $session->run('select pg_advisory_lock(7);');

    my $first = call('first');
    fact(waiting(1), 1, 'another one waits for a lock');

    my $c = call('brief', timeout => 15);
    fact(answer($c), 'prompt', '... and the one that was slow once does not');
    took($c->{since});

    $session->run('select pg_advisory_unlock(7);');
    fact(answer($first), 'through', 'the other one goes on when it can');
});


# Four: what was prompt is not any more while a call of it is late.

sub invoke {
    my ($hub, $target, $x) = @_;

    $hub->send({ type => 1, invocationId => "$x", target => $target,
                 arguments => [ $x ] });
}

sub completion {
    my ($hub, $since) = @_;

    while (my $m = eval { $hub->next(15) }) {
        next if $m->{type} != 3;
        took($since) if $since;
        return $m->{error} // $m->{result};
    }

    return 'nothing';
}

scene('pool=4 timeout=60s', sub {
    fact(answer(call('gate')), 'through', 'a function runs promptly');

    $session->run('select pg_advisory_lock(7);');

    my $first = call('gate');
    fact(waiting(1), 1, 'and waits for a lock when it is called again');

    my $other = call('gate');
    fact(quick_ones(), 20, 'nothing goes behind the third call');
    fact(waiting(2), 1, '... since the second is late by then');

    # Methods of a hub, which are called by statements of their own.

    my @hubs = map { Broadcast::Hub->connect($port, '/client?hub=chat') }
               1 .. 3;

    for my $x (1 .. 20) {
        my $since = time;
        invoke($hubs[1], 'quick', $x);
        completion($hubs[1], $since);
    }

    invoke($hubs[0], 'gate', 1);

    my $since = time;

    for my $x (1 .. 20) {
        invoke($hubs[1], 'quick', $x);
        invoke($hubs[2], 'quick', $x + 100);
    }

    my @ended;

    for (map { ($hubs[1], $hubs[2]) } 1 .. 20) {
        push @ended, completion($_, $since);
        last if $ended[-1] eq 'nothing';
    }

    fact("@ended", join(' ', map { ($_, $_ + 100) } 1 .. 20),
         'an unknown method delays none that is prompt');
    fact(waiting(3), 1, '... though it waits, so all connections but one are '
                        . 'taken');

    $session->run('select pg_advisory_unlock(7);');
    fact(completion($hubs[0]), 1, 'it ends when it can');
    fact(join(' ', answer($first), answer($other)), 'through through',
         'and so do the others');
});


# One: prompt calls that never pause leave it to a slow one all the same.

start('pool=1 timeout=60s');
learn();

my @busy = map { Broadcast::HTTP->connect($port) } 1 .. 12;

$_->request('GET', '/functions/quick', keepalive => 1) for @busy;

my $turn = call('turn');
my $done = 0;

for (my $end = time + 45; !$done && time < $end; ) {
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

# The last of them comes while the first still has most of its time, as the clock
# says, or they come again.

my ($try, @gave_up);

for (1 .. 10) {
    my $since = time;
    my @calls = map { call("gate?as=$_-$since") } 1 .. 3;

    $try = $since;
    $since = time - $since;
    @gave_up = map { answer($_) } @calls;
    last if $since < 0.5;
}

is("@gave_up", '504 504 504', 'three wait for a lock until they give up');

$session->run('select pg_advisory_unlock(7);');

ok(wait_for(sub { answer(call('quick')) eq 'prompt' }),
   'the connection is of use again');
is($pg->psql("select count(*) from ran where name = '3-$try'", @at), 0,
   'a call that was not sent by then is not carried out');

$nginx->stop_ok;

done_testing();
