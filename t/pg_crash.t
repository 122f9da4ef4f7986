#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The database breaks during calls: backends that are terminated, one that is
# stopped, a crash; a worker that is killed; a queue that is full.  Others'
# calls go on, each call is answered, all recovers without a reload.  Who is
# first is told by locks that the test holds, not by time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Wait qw(at_best);

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table seen (n serial, kind text, id text, word text);

create function note(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (kind, id)
    values (event->>'kind', event->>'connectionId');
    return null;
end $$;

-- waits as long as the test holds the lock of that number

create function wait(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared((event->'arguments'->>0)::int);
    return jsonb_build_object('result', event->'arguments'->0);
end $$;

create function fast(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (kind, id, word)
    values ('fast', event->>'connectionId', event->'arguments'->>0);
    return jsonb_build_object('result', event->'arguments'->0);
end $$;

create function shown(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('result', current_setting('statement_timeout'))
$$;

-- joins a group, and the message behind goes to that group

create function joined(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('actions', jsonb_build_array(
        jsonb_build_object('action', 'add', 'groupName', 'g',
                           'connectionId', event->'connectionId'),
        jsonb_build_object('target', 'to group', 'groupName', 'g',
                           'arguments', '["in"]'::jsonb),
        jsonb_build_object('action', 'remove', 'groupName', 'g',
                           'connectionId', event->'connectionId'),
        jsonb_build_object('target', 'to group', 'groupName', 'g',
                           'arguments', '["out"]'::jsonb),
        jsonb_build_object('target', 'end', 'connectionId',
                           event->'connectionId', 'arguments', '[]'::jsonb)))
$$;

select broadcast.bind('connected', 'note', 'chat');
select broadcast.bind('disconnected', 'note', 'chat');
select broadcast.bind('message', 'wait', 'chat', 'Wait');
select broadcast.bind('message', 'fast', 'chat', 'Fast');
select broadcast.bind('message', 'shown', 'chat', 'Shown');
select broadcast.bind('message', 'joined', 'chat', 'Joined');
select broadcast.bind('connected', 'joined', 'greeted');
EOS

my $nginx = Broadcast::Nginx->new(
    http   => 'broadcast_zone hubs 8m; broadcast_database "'
            . $pg->conninfo('app', 'app') . '" pool=4 queue=2 timeout=5s;',
    server => <<'EOC',
        location /client   { broadcast_hub anonymous; }
        location = /status { broadcast_status; }
EOC
)->start;

my $port = $nginx->port;

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub refused {
    return http($port, 'GET', '/status?format=prometheus')->{body} =~
        /^nginx_broadcast_function_calls_total\{kind="message",outcome="refused"\} (\d+)/m
        ? $1 : 0;
}

sub sql { return $pg->psql($_[0], @at) }

my $n = 0;

sub ask {
    my ($hub, $target, @arguments) = @_;

    $hub->send({ type => 1, target => $target, arguments => \@arguments,
                 invocationId => '' . ++$n });
    return $n;
}

# the next Completion

sub answer {
    my ($hub) = @_;

    while (my $r = $hub->next) {
        return $r if $r->{type} == 3;
    }

    return {};
}

sub call {
    my ($hub, @what) = @_;

    ask($hub, @what);
    return answer($hub);
}

# pids of the backends that wait for a lock of the test's

sub waiting {
    return split /\n/, sql(q{select pid from pg_locks
        where locktype = 'advisory' and classid = 0 and not granted order by 1});
}

my $general = "An unexpected error occurred invoking 'Wait' on the server.";
my $lock = $pg->session(@at);

ok((wait_for { database()->{relay} eq 'leader' } 10), 'the relay leads');

my ($slow, $quick, $other) =
    map { Broadcast::Hub->connect($port, '/client?hub=chat') } 1 .. 3;


# --- order ---------------------------------------------------------------------

is(call($quick, 'Shown')->{result}, '4500ms',
   'the server knows the limit of a call, and ends it before');

$lock->run('select pg_advisory_lock(1)');
ask($slow, 'Wait', 1);
ok((wait_for { waiting() == 1 } 5), 'a function waits');

# the first run has a connection of its own, which may have to be made

ok((wait_for { (call($quick, 'Fast', 'f0')->{result} // '') eq 'f0' } 5),
   '... another function has run');

is_deeply([ map { call($quick, 'Fast', "f$_")->{result} } 1 .. 20 ],
          [ map { "f$_" } 1 .. 20 ], '... another client is answered meanwhile');
is(scalar(waiting()), 1, '... it waits on');

ask($slow, 'Fast', "s$_") for 1 .. 5;
is(call($quick, 'Fast', 'x')->{result}, 'x', '... the others go on');
is(sql(q{select count(*) from seen where word like 's%'}), 0,
   '... what the client asks behind is not called before it');

$lock->run('select pg_advisory_unlock(1)');

is_deeply([ map { answer($slow)->{result} } 1 .. 6 ],
          [ 1, map { "s$_" } 1 .. 5 ], '... and then in order');

$quick->send({ type => 1, target => 'Joined', arguments => [] });
is($quick->invocation('to group')->[0], 'in',
   'a group joined in an action gets what is sent behind it');
my $record;
1 while ($record = $quick->next) && $record->{type} != 1;
is($record->{target}, 'end', '... and when it was left nothing more');

my $greeted = Broadcast::Hub->connect($port, '/client?hub=greeted');
is($greeted->invocation('to group')->[0], 'in', '... also in `connected`');
1 while ($record = $greeted->next) && $record->{type} != 1;
is($record->{target}, 'end', '... and when it was left nothing more');
$greeted->close;


# --- backends are terminated ---------------------------------------------------

$lock->run('select pg_advisory_lock(1)');
ask($slow, 'Wait', 1);
ok((wait_for { waiting() == 1 } 5), 'a function runs');

$pg->psql(q{select pg_terminate_backend(pid) from pg_stat_activity
             where usename = 'app' and application_name <> 'psql'});

my $r = answer($slow);
is($r->{error}, $general, 'its backend is terminated: the call is an error');
ok((wait_for { (call($other, 'Fast', 'again')->{result} // '') eq 'again' } 15),
   '... and calls work again by themselves');


# --- a backend is stopped -------------------------------------------------------

ok((wait_for { database()->{state} eq 'up' } 10), 'the relay is back');
ask($slow, 'Wait', 1);
ok((wait_for { waiting() == 1 } 5), 'a function runs');

my ($pid) = waiting();
kill 'STOP', $pid;

is_deeply([ map { call($quick, 'Fast', "f$_")->{result} } 1 .. 20 ],
          [ map { "f$_" } 1 .. 20 ],
          'its backend is stopped: other calls go on over other connections');

$r = answer($slow);
is($r->{error}, $general, '... it ends with the time of a call');
is(call($slow, 'Fast', 'on')->{result}, 'on', '... and its client goes on');

kill 'CONT', $pid;
$lock->run('select pg_advisory_unlock(1)');


# --- the queue is full ----------------------------------------------------------

$lock->run('select pg_advisory_lock(1)');

my (@crowd, @got);
my $before = refused();

for (1 .. 60) {
    my $c = Broadcast::Hub->connect($port, '/client?hub=chat');
    push @crowd, $c;
    ask($c, 'Wait', 1);
    last if refused() > $before;
}

cmp_ok(refused(), '>', $before, 'a queue that is full is counted');
$lock->run('select pg_advisory_unlock(1)');

@got = map { answer($_) } @crowd;
is(scalar(grep { exists $_->{result} || $_->{error} } @got), scalar @crowd,
   '... each call is answered');
ok((grep { ($_->{error} // '') ne '' } @got), '... some with an error');
$_->close for @crowd;


# --- a worker is killed during calls ---------------------------------------------

$lock->run('select pg_advisory_lock(1)');
ask($_, 'Wait', 1) for $slow, $quick;
ok((wait_for { waiting() >= 1 } 5), 'functions run');

$nginx->kill_worker($_) for $nginx->workers;
$lock->run('select pg_advisory_unlock(1)');

ok((wait_for { database()->{state} eq 'up'
               && sql('select count(*) from broadcast.connections') == 0
               && database()->{unsettled} == 0 } 15),
   'their worker is killed: its connections are settled');

is(sql(q{select count(*) from (select id, kind from seen
          where kind <> 'fast' group by 1, 2 having count(*) > 1) x}), 0,
   '... no event came twice');
is(sql(q{select count(*) from (select id from seen where kind <> 'fast'
          group by 1 having count(*) filter (where kind = 'disconnected') <> 1)
          x}), 0, '... disconnected once for each');


# --- a crash ----------------------------------------------------------------------

$slow = Broadcast::Hub->connect($port, '/client?hub=chat');
$lock->run('select pg_advisory_lock(1)');
ask($slow, 'Wait', 1);
ok((wait_for { waiting() == 1 } 5), 'a function runs');
$pg->stop('immediate');
$lock->close;

$r = answer($slow);
like($r->{error}, qr/'Wait'/, 'the server crashes: the call is an error');
ok((wait_for { database()->{state} eq 'down' } 10), '... the node knows');

my $took = at_best { $r = call($slow, 'Wait', 2) } 4;
like($r->{error}, qr/ The database is away\.$/, '... the next is told so');
cmp_ok($took, '<', 4, '... at once, not when its time is over');

$pg->start;

ok((wait_for { (call($slow, 'Fast', 'back')->{result} // '') eq 'back' } 20),
   'it starts again: calls work, without a reload');
$slow->close;

ok((wait_for { sql('select count(*) from broadcast.connections') == 0 } 10),
   'nobody is left');

$nginx->stop_ok;

done_testing();
