#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Functions seen from a connection: invocations and their results, one after
# another; groups from `connected`; and a durable hub's history for those who
# come again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

$pg->psql(<<'EOS', @at);
create table seen (n serial, event jsonb);

create function welcome(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep(0.3);
    return jsonb_build_object('action', 'add', 'groupName', 'lobby',
                              'connectionId', event->'connectionId');
end $$;

create function echo(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (event) values (event);
    return jsonb_build_object('result', event->'arguments'->0);
end $$;

create function slow(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep(1);
    return jsonb_build_object('result', 'slow');
end $$;

create function held(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_advisory_xact_lock(7);
    return jsonb_build_object('result', 'held');
end $$;

create function nothing(event jsonb) returns jsonb language sql as
$$ select null::jsonb $$;

create function fail(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'not today, "%"', event->'arguments'->>0;
end $$;

create function coded(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'no room' using errcode = 'PT409';
end $$;

create function misuse(event jsonb) returns jsonb language plpgsql as $$
begin
    perform broadcast.send_all('chat', 't', '{}');
    return null;
end $$;

create function divide(event jsonb) returns jsonb language plpgsql as $$
begin
    return jsonb_build_object('result', 1 / 0);
end $$;

create function tell(event jsonb) returns jsonb language sql as $$
    select '{"target":"told","arguments":["all"]}'::jsonb
$$;

select broadcast.bind('connected', 'welcome', 'lobby');
select broadcast.bind('message', 'echo', 'chat', 'Echo');
select broadcast.bind('message', 'slow', 'chat', 'Slow');
select broadcast.bind('message', 'held', 'chat', 'Held');
select broadcast.bind('message', 'nothing', 'chat', 'Nothing');
select broadcast.bind('message', 'fail', 'chat', 'Fail');
select broadcast.bind('message', 'divide', 'chat', 'Divide');
select broadcast.bind('message', 'coded', 'chat', 'Coded');
select broadcast.bind('message', 'misuse', 'chat', 'Misuse');
select broadcast.bind('message', 'tell', 'chat', 'Tell');
select broadcast.bind('message', 'echo', 'lobby', 'Echo');
EOS

my %conf = (
    workers => 2,
    http    => 'broadcast_zone hubs 2m; broadcast_key 0123456789abcdef;'
             . 'broadcast_database "' . $pg->conninfo('app', 'app')
             . '" timeout=5s;',
    server  => <<'EOC');
        location /client   { broadcast_hub anonymous; }
        location /none     { broadcast_hub anonymous nofunctions hub=chat; }
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOC

my $nginx = Broadcast::Nginx->new(%conf)->start;
my $port = $nginx->port;


sub database { http($port, 'GET', '/status')->{json}{database} }

sub leads { wait_for(sub { database()->{relay} eq 'leader' }, 15) }


sub publish {
    my ($hub, $argument) = @_;

    my $r = http($port, 'POST', "/publish/$hub", body => encode_json($argument),
                 headers => [ 'Content-Type' => 'application/json' ]);
    $r->{status} == 200 or die "publish: $r->{raw}";

    return $r->{json}{id};
}


ok leads(), 'the relay leads';

# invocations

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat&q=1');
is $hub->{error}, undef, 'a client is connected';

my $n = 0;


sub invoke {
    my ($target, @arguments) = @_;

    $hub->send({ type => 1, target => $target, arguments => \@arguments,
                 invocationId => '' . ++$n });
}


sub result {
    my $record;
    1 while ($record = $hub->next) && $record->{type} == 6;

    return $record;
}


invoke('Echo', { a => [ 1, undef ] });
is_deeply result(), { type => 3, invocationId => "$n",
                      result => { a => [ 1, undef ] } },
    'the result of a function is the Completion';

my ($row) = $pg->rows(q{select event->>'connectionId', event->>'hub',
    event->>'target', event->>'invocationId' from seen}, @at);
is_deeply $row, [ $hub->{id}, 'chat', 'Echo', "$n" ],
    'its event tells who, where and what';
is_deeply decode_json($pg->psql(q{select jsonb_build_array(
    event->'claims', event->'query') from seen}, @at)),
    [ {}, { hub => 'chat', q => '1' } ],
    'with claims and query, but not the token of the connection';

invoke('eCHO', 'x');
is result()->{result}, 'x', 'names ignore case';

invoke('Nothing');
is_deeply result(), { type => 3, invocationId => "$n", result => undef },
    'no result is null';

invoke('Fail', 'ann');
is result()->{error}, 'not today, "ann"',
    'what a function raises is the error';

invoke('Divide');
is result()->{error},
    "An unexpected error occurred invoking 'Divide' on the server.",
    'what PostgreSQL raises stays on the server';
ok $nginx->wait_log(qr/"message" function \S+ failed: division by zero \(22012\)/),
    'and is in the log';

invoke('Coded');
is result()->{error}, 'no room', 'a function may raise with any SQLSTATE';

invoke('Echo', "\0");
is result()->{error},
    "Failed to invoke 'Echo' due to an error on the server. "
    . 'InvalidDataException: Error binding arguments. Make sure that the types '
    . 'of the provided values match the types of the hub method being invoked.',
    'what jsonb has no text for does not reach the database';

invoke('Misuse');
is result()->{error},
    "An unexpected error occurred invoking 'Misuse' on the server.",
    'what a send says to the function is not for its caller';

invoke('Unknown');
is result()->{error}, "Unknown hub method 'Unknown'", 'an unknown method';

invoke('Tell');
my @both = sort { $a->{type} <=> $b->{type} } result(), result();
is $both[0]{target}, 'told', 'actions are broadcast';
is $both[1]{invocationId}, "$n", 'beside the Completion';

# one at a time, in order, and what comes meanwhile waits

my $start = time;
invoke('Slow');
invoke('Echo', $_) for 1 .. 3;
is result()->{result}, 'slow', 'a slow one is answered first';
ok time - $start >= 0.9, 'after its time';
is_deeply [ map { result()->{result} } 1 .. 3 ], [ 1, 2, 3 ],
    'then those that came meanwhile, in order';

# meanwhile the hub goes on

my $holder = $pg->session(@at);
$holder->run('select pg_advisory_lock(7)');
invoke('Held');
ok wait_for(sub {
    $pg->psql(q{select count(*) from pg_locks
                where locktype = 'advisory' and not granted}, @at)
}), 'a function is at work';
publish('chat', 'during');
my $first = result();
is $first->{target}, 'message', 'messages are not held up by it';
$holder->run('select pg_advisory_unlock(7)');
is result()->{result}, 'held', 'which ends as it should';
$holder->close;

# without an id nothing is answered, but it is done

$hub->send({ type => 1, target => 'Echo', arguments => [ 'silent' ] });
invoke('Echo', 'after');
is result()->{result}, 'after', 'without an id there is no answer';
is $pg->psql(q{select count(*) from seen
               where event->'arguments'->>0 = 'silent'}, @at), 1,
    'yet it was called';

# closed while a function runs

invoke('Slow');
$hub->drop;

# a location without functions

$hub = Broadcast::Hub->connect($port, '/none');
invoke('Echo', 1);
is result()->{error}, "Unknown hub method 'Echo'",
    'a location with nofunctions has none';
$hub->drop;

# a plain WebSocket

my $plain = Broadcast::Plain->connect($port, '/events/chat');
$plain->send({ target => 'Fail', arguments => [ 'bob' ] });
is_deeply $plain->next, { error => 'not today, "bob"' },
    'a plain WebSocket hears errors';
$plain->send({ target => 'Echo', arguments => [ 'plain' ] });
$plain->send({ target => 'Tell', arguments => [] });
is $plain->next->{target}, 'told', 'and actions, but no results';
is $pg->psql(q{select count(*) from seen
               where event->'arguments'->>0 = 'plain'}, @at), 1,
    'its message was called for';
$plain->close;

# groups from `connected`, and a message that waits for it

$hub = Broadcast::Hub->connect($port, '/client?hub=lobby');
invoke('Echo', 'first');
is result()->{result}, 'first', 'a message waits for `connected`';
ok wait_for(sub {
    http($port, 'GET', '/status')->{json}{hubs}{lobby}{groups}
}), 'which puts it into a group';
http($port, 'POST', '/publish/lobby?group=lobby&target=in', body => 'x');
is result()->{target}, 'in', 'whose messages arrive';
$hub->drop;

# the history of a durable hub

my @ids = map { publish('hist', $_) } 1 .. 5;


sub from {
    my ($id) = @_;

    return Broadcast::SSE->connect($port, "/events/hist?last_event_id=$id");
}


my $sse = from($ids[0]);
is_deeply [ map { $sse->event->{id} } 2 .. 5 ], [ @ids[1 .. 4] ],
    'a durable hub replays';
$sse->close;

# a zone that knows nothing: all from the database

$nginx->stop_ok(signal => 'TERM');
$nginx->start;

$sse = from($ids[1]);
is_deeply [ map { $sse->event->{id} } 3 .. 5 ], [ @ids[2 .. 4] ],
    'a stream that comes before the relay waits, and gets its history';
ok leads(), 'the relay leads again';
my $live = publish('hist', 6);
is $sse->event->{id}, $live, 'and then what is live';
$sse->close;

# pages of it, while others publish

publish('long', 0);
$pg->psql(q{select broadcast.send_all('long', 't', jsonb_build_array(g))
            from generate_series(1, 3000) g}, @at);
my ($epoch) = $live =~ /^(.*)-/;
my $end = publish('long', 3001);
my ($long) = $end =~ /^(.*)-/;

$nginx->stop_ok(signal => 'TERM');
$nginx->start;

my @streams = map { Broadcast::SSE->connect($port,
                        "/events/long?last_event_id=$long-1") } 1 .. 4;
ok leads(), 'the relay leads once more';
publish('long', $_) for 3002 .. 3020;

for my $stream (@streams) {
    my @seen = map { decode_json($stream->event->{data})->[0] } 1 .. 3020;
    is_deeply \@seen, [ 1 .. 3020 ],
        'a history of 3000 and what is live, in order and once';
    $stream->close;
}

# rows that are gone are a gap

$pg->psql(q{delete from broadcast.message where hub = 'hist' and seq <= 3},
          @at);
$nginx->stop_ok(signal => 'TERM');
$nginx->start;
ok leads(), 'the relay leads';

$sse = from($ids[0]);
my $gap = $sse->event;
is $gap->{event}, 'broadcast.gap', 'what was deleted is a gap';
is_deeply decode_json($gap->{data}),
    { requested => $ids[0], oldest => $ids[3] }, 'up to the oldest';
is_deeply [ map { $sse->event->{id} } 4 .. 6 ], [ @ids[3, 4], $live ],
    'and the rest follows';
$sse->close;

# a number that another node's relay has heard of, and this one's not yet, is
# no gap; one that nobody gave is

$sse = from("$epoch-99999");
is $sse->event->{event}, 'broadcast.gap', 'a number of the future is a gap';
$live = publish('hist', 7);
is $sse->event->{id}, $live, 'and the stream lives';
$sse->close;

# the database goes away

$hub = Broadcast::Hub->connect($port, '/client?hub=chat');
$pg->stop;
ok wait_for(sub { database()->{state} eq 'down' }, 15), 'the database is away';

$start = time;
invoke('Echo', 1);
like result()->{error}, qr/^Failed to invoke 'Echo'.*away/,
    'an invocation is refused';
ok time - $start < 4, 'before the 5 s that a call may take';

$sse = from($live);
is $sse->{head}{status}, 200, 'who comes is accepted';
$sse->close;

my $stranger = Broadcast::Hub->connect($port, '/client?hub=chat&q=2');
is $stranger->{error}, undef, 'a SignalR client, too';

$sse = from($ids[3]);
my $event = $sse->event;
ok defined $event, 'and told of a gap, or served from the log';
$sse->close;

$pg->start;
ok wait_for(sub { database()->{state} eq 'up' }, 20), 'it is back';

# a worker's own connections may be there a moment later

sub answered {
    my ($words) = @_;

    invoke('Echo', $words);
    return (result()->{result} // '') eq $words;
}

ok wait_for(sub { answered('again') }, 10), 'and so are functions';
$hub->close;

# who came while it was away has no row

$hub = $stranger;
ok wait_for(sub { answered('stranger') }, 10),
    'those that came meanwhile have them too';
is $pg->psql(q{select event->'query'->>'q' from seen
               where event->'arguments'->>0 = 'stranger'}, @at), '2',
    'with all that the event tells';
$hub->close;

$nginx->stop_ok(signal => 'TERM');

done_testing;
