#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Streams both ways, signalr.md 4.5 and 4.6: a client asks for one, whoever was
# told sends its items; and uploads, which are collected for a function.  The
# wire, and the bounds; the official client is in client_invoke.t.

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
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table seen (n serial, event jsonb);

create function counter(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (event) values (event);
    return null;
end $$;

create function refuse(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'no such counter';
end $$;

create function slow(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(1);
    if event->'arguments'->>0 = 'fail' then raise exception 'too slow'; end if;
    return null;
end $$;

create function up(event jsonb) returns jsonb language sql as
$$ select jsonb_build_object('result', event->'arguments') $$;

select broadcast.bind('message', 'counter', 'chat', 'Count');
select broadcast.bind('message', 'refuse', 'chat', 'Refuse');
select broadcast.bind('message', 'slow', 'chat', 'Slow');
select broadcast.bind('message', 'up', 'chat', 'Up');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 4m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=5s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location /small    { broadcast_hub anonymous; broadcast_message_size 1k; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;


sub refused {
    my ($reason) = @_;

    my $text = http($port, 'GET', '/status?format=prometheus')->{body};
    return ($text =~ /refused_total\{reason="$reason"\} (\d+)/)[0];
}


ok wait_for(sub {
    http($port, 'GET', '/status?format=json')->{json}{database}{state} eq 'up'
}, 15), 'the database is up';

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
is $hub->{error}, undef, 'a client is connected';


sub said {
    my ($from) = @_;
    my $record;

    1 while ($record = ($from // $hub)->next) && $record->{type} == 6;

    return $record;
}


sub stream {
    my ($id, $target, @arguments) = @_;

    $hub->send({ type => 4, target => $target, arguments => \@arguments,
                 invocationId => $id });
}


# whatever was sent before has been taken when this is answered

my $fence = 0;

sub fence {
    $hub->send({ type => 1, target => 'Up', arguments => [],
                 invocationId => 'f' . ++$fence });
    my $record = said();

    return is $record->{invocationId}, "f$fence", $_[0];
}


sub api {
    my ($path, $body, $id) = @_;

    $path .= ($path =~ /\?/ ? '&' : '?') . 'api-version=2024-12-01';

    return http($port, 'POST', '/api/hubs/chat/connections/'
                               . ($id // $hub->{id}) . "/streams/$path",
                body => $body // '')->{status};
}


# --- items and the end --------------------------------------------------------

stream('1', 'Count', 3);
ok wait_for(sub { $pg->psql('select count(*) from seen', @at) }),
    'a stream invocation calls its function';
is_deeply decode_json($pg->psql(q{select event - 'claims' - 'query' - 'headers'
    - 'remoteAddress' - 'transport' from seen}, @at)),
    { kind => 'message', hub => 'chat', connectionId => $hub->{id},
      userId => undef, target => 'Count', arguments => [3],
      invocationId => '1', stream => JSON::PP::true },
    'whose event says that it is a stream';

is api('1/:send', '{"n": 123456789012345678901}'), 202, 'an item is 202';
is $hub->{ws}->message,
    qq({"type":2,"invocationId":"1","item":{"n": 123456789012345678901}}\x1e),
    'and reaches the client as it came';
is api('1/:send', ' null '), 202, 'null is an item';
is_deeply said(), { type => 2, invocationId => '1', item => undef }, 'too';
is api('1/:send?completed=true', '"last"'), 202, 'the last one';
is_deeply [ said(), said() ], [ { type => 2, invocationId => '1',
    item => 'last' }, { type => 3, invocationId => '1' } ],
    'ends the stream, without a result';
is api('1/:send', '4'), 202, 'an item behind the end';
fence('... is dropped');

stream('2', 'Count');
fence('a stream does not hold up other invocations');
is api('2/:complete'), 202, 'a stream is completed';
is_deeply said(), { type => 3, invocationId => '2' }, 'without an item';

for my $q ('reason=not%20%22today%22', 'error=not%20%22today%22') {
    stream('3', 'Count');
    fence('another one is open');
    is api("3/:complete?$q"), 202, "or with $q";
    is_deeply said(), { type => 3, invocationId => '3',
                        error => 'not "today"' }, 'which is its error';
}

stream('2', 'Count');
fence('an id that has ended may be used again');
is api('2/:send?completed=True'), 202, 'completed needs no item';
is_deeply said(), { type => 3, invocationId => '2' }, 'to end it';

stream("a/b \x{263a}", 'Count');
fence('an id may be any text');
is api('a%2Fb%20%E2%98%BA/:complete'), 202, 'also in the path';
is said()->{invocationId}, "a/b \x{263a}", 'and is found';

is api('1/:send', '1', 'nobody'), 202, 'a connection that is none is 202';
is api('nothing/:complete'), 202, 'and so is a stream that is none';

# --- errors -------------------------------------------------------------------

stream('4', 'Nope');
is_deeply said(), { type => 3, invocationId => '4',
                    error => "Unknown hub method 'Nope'" },
    'a stream of no function';
stream('5', 'Refuse');
is_deeply said(), { type => 3, invocationId => '5',
                    error => 'no such counter' },
    'what the function raises ends it';
is api('5/:send', '1'), 202, 'and its items';
fence('... are dropped');

stream('6', 'Count');
stream('6', 'Count');
is_deeply said(), { type => 3, invocationId => '6',
                    error => "Invocation ID '6' is already in use." },
    'the id of a running stream cannot be used';
$hub->send({ type => 1, target => 'Up', arguments => [], invocationId => '6' });
is said()->{error}, "Invocation ID '6' is already in use.",
    'nor by an invocation';
is api('6/:send', '6'), 202, 'the stream itself';
is said()->{item}, 6, 'goes on';

# --- cancel -------------------------------------------------------------------

$hub->send({ type => 5, invocationId => '6' });
is_deeply said(), { type => 3, invocationId => '6' },
    'a stream that is cancelled is completed without error';
is api('6/:send', '1'), 202, 'later items';
$hub->send({ type => 5, invocationId => '6' });
$hub->send({ type => 5, invocationId => 'never' });
fence('... are dropped, and the cancel of what is none is ignored');

# --- quicker than the function ------------------------------------------------

my $lock = $pg->session(@at);

sub at_work {
    return wait_for { $pg->psql(q{select count(*) from pg_locks
        where locktype = 'advisory' and classid = 0 and objid = 1
        and not granted}, @at) };
}

$lock->run('select pg_advisory_lock(1)');
stream('7', 'Slow');
ok at_work(), 'a slow function is at work';
is api('7/:send?completed=true', '1'), 202, 'its stream may be fed already';
is_deeply [ said(), said() ], [ { type => 2, invocationId => '7', item => 1 },
                                { type => 3, invocationId => '7' } ],
    'and completed';
$lock->run('select pg_advisory_unlock(1)');
fence('what the function returns then is nobody\'s');

$lock->run('select pg_advisory_lock(1)');
stream('8', 'Slow', 'fail');
ok at_work(), 'another one';
is api('8/:complete'), 202, 'is completed before it fails';
is_deeply said(), { type => 3, invocationId => '8' }, 'which counts';
$lock->run('select pg_advisory_unlock(1)');
fence('and its error is nobody\'s');

# --- bounds -------------------------------------------------------------------

stream("b$_", 'Count') for 1 .. 64;
fence('64 streams may be open');
stream('b65', 'Count');
is said()->{error}, "Failed to invoke 'Count' due to an error on the server. "
    . 'Too many streams are open.', 'one more is an error';
is refused('invocation'), 1, 'and counted';
api("b1/:complete");
is said()->{invocationId}, 'b1', 'one that ends';
stream('b66', 'Count');
fence('... makes room');

stream('x' x 129, 'Count');
like said()->{error}, qr/Too many streams/, 'an id of more than 128 bytes is one too many';

$hub->close;
$hub = Broadcast::Hub->connect($port, '/client?hub=chat');
is api('b2/:send', '1'), 202, 'the streams of a connection';
fence('end with it');

# --- uploads ------------------------------------------------------------------


sub up {
    my ($id, $arguments, @streams) = @_;

    $hub->send({ type => 1, target => 'Up', arguments => $arguments,
                 streamIds => \@streams,
                 (defined $id ? (invocationId => $id) : ()) });
}


sub item { $hub->send({ type => 2, invocationId => $_[0], item => $_[1] }) }
sub over { $hub->send({ type => 3, invocationId => $_[0], @_[1 .. $#_] }) }


up('u1', [ 5 ], 's1', 's2');
item('s1', 'a');
fence('what is collected holds up nobody');
item('s2', { b => 1 });
item('s1', undef);
over('s1');
item('s1', 'late');
fence('one stream goes on');
item('s2', [ 'c' ]);
over('s2');
is_deeply said(), { type => 3, invocationId => 'u1',
    result => [ 5, [ 'a', undef ], [ { b => 1 }, [ 'c' ] ] ] },
    'each stream is an array behind the arguments, in the order of streamIds';

up('u2', [], 's1');
over('s1');
is_deeply said()->{result}, [ [] ], 'an upload may be empty';

up('u3', [ 1 ]);
is_deeply said()->{result}, [ 1 ], 'no streamIds are none';

$hub->{ws}->text('{"type":1,"target":"Up","arguments":[ ],"streamIds":["1"],'
                 . '"invocationId":"u4"}' . "\x1e");
$hub->{ws}->text('{"type":2,"invocationId":"1","item": 12345678901234567890123 }'
                 . "\x1e" . '{"type":3,"invocationId":"1"}' . "\x1e");
like $hub->{ws}->message, qr/"result":\[\[12345678901234567890123\]\]/,
    'numbers are not touched on the way';

up('u5', [], 's1', 's2');
item('s1', 1);
over('s1', error => 'Error: boom');
is_deeply said(), { type => 3, invocationId => 'u5',
    error => q(An unexpected error occurred invoking 'Up' on the server. )
           . 'HubException: Error: boom' },
    'an upload that fails fails its invocation';
over('s2');
fence('and the rest of it is nobody\'s');

up(undef, [ 'silent' ], 's1');
over('s1', error => 'x');
up(undef, [ 'silent' ], 's1');
over('s1');
fence('without an id nothing is answered');

item('never', 1);
over('never');
over('never', error => 'x');
fence('ids that nobody knows are ignored');

up('u6', [], 's1');
up('u7', [], 's1');
is said()->{error}, "Invocation ID 's1' is already in use.",
    'an upload stream cannot be used twice';
up('u8', [], 's3', 's3');
is said()->{error}, "Invocation ID 's3' is already in use.", 'nor at once';
up('u6', []);
is said()->{error}, "Invocation ID 'u6' is already in use.",
    'nor the id of what waits for it';
$hub->send({ type => 5, invocationId => 'u6' });
is_deeply said(), { type => 3, invocationId => 'u6' },
    'what waits for its streams may be cancelled';

$hub->send({ type => 1, target => 'Nope', arguments => [],
             streamIds => [ 's1' ], invocationId => 'u9' });
is said()->{error}, "Unknown hub method 'Nope'",
    'for no function nothing is collected';
item('s1', 1);
over('s1');

$hub->send({ type => 4, target => 'Count', arguments => [ 'both' ],
             streamIds => [ 's1' ], invocationId => 'u10' });
item('s1', 1);
over('s1');
ok wait_for(sub { $pg->psql(q{select count(*) from seen
    where event->'arguments' = '["both", [1]]'
    and event->'stream' = 'true'}, @at) }), 'a stream may have uploads';
is api('u10/:send', '2'), 202, 'and has items';
is said()->{item}, 2, 'that arrive';

up("v$_", [], "s$_") for 1 .. 64;
up('v65', [], 'v');
is said()->{error}, "Failed to invoke 'Up' due to an error on the server. "
    . 'Too many streams are open.', '64 uploads are open, one more is an error';
$hub->close;

# --- the size of what is collected --------------------------------------------

$hub = Broadcast::Hub->connect($port, '/small?hub=chat');
up('w1', [ 'x' x 100 ], 's1', 's2');
item('s1', 'y' x 400);
item('s2', 'y' x 400);
fence('uploads within the size of a message');
item('s1', 'y' x 200);
is_deeply said(), { type => 3, invocationId => 'w1',
    error => "Failed to invoke 'Up' due to an error on the server. "
           . 'The streams of the client are too large.' },
    'and beyond it, which fails the invocation';
is refused('size'), 1, 'and is counted';
item('s2', 1);
over('s2');
fence('the rest of it is ignored');
up('w2', [], 's1');
item('s1', 'y' x 800);
over('s1');
is_deeply said()->{result}, [ [ 'y' x 800 ] ], 'the next one has the room again';
up('w3', [ 'x' x 500 ], 's1');
up('w4', [ 'x' x 500 ], 's2');
up('w5', [ 'x' x 100 ], 's3');
is_deeply said()->{error}, "Failed to invoke 'Up' due to an error on the "
    . 'server. The streams of the client are too large.',
    'arguments that wait for streams count';
$hub->drop;

# --- what no message may look like --------------------------------------------

for ([ '{"type":3,"invocationId":"1","result":1,"error":"x"}',
       'a Completion with result and error' ],
     [ '{"type":2,"invocationId":"1"}', 'an item without a value' ],
     [ '{"type":5}', 'a cancel without an id' ],
     [ '{"type":1,"target":"Up","arguments":[],"streamIds":[1]}',
       'a streamId that is no string' ])
{
    my $bad = Broadcast::Hub->connect($port, '/client?hub=chat');
    $bad->{ws}->text("$_->[0]\x1e");
    is_deeply said($bad), { type => 7,
                            error => 'Connection closed with an error.' },
        "$_->[1] ends the connection";
    $bad->drop;
}

$nginx->stop_ok;

done_testing;
