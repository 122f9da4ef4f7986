#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# A stateful client's next socket at another worker than its last one: the
# connection comes with its numbers, what was not acknowledged, user and
# groups, also from a call of a function, and from a worker that exits; not
# from one that died.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create function slow(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_advisory_xact_lock(7);
    return jsonb_build_object('result', event->'arguments'->0);
end $$;

create table gone (id text);

create function gone(event jsonb) returns jsonb language sql as $$
    insert into gone values (event->>'connectionId') returning null::jsonb
$$;

select broadcast.bind('message', 'slow', 'chat', 'Slow');
select broadcast.bind('disconnected', 'gone', 'chat');
EOS

my %conf = (
    workers => 3,
    build   => $ENV{BROADCAST_BUILD} // 'debug',
    http    => 'broadcast_zone hubs 4m; broadcast_drain off;'
             . 'broadcast_ephemeral fill;'
             . 'broadcast_database "' . $pg->conninfo('app', 'app') . '" timeout=60s;',
    server  => <<'EOC',
        location /client   { broadcast_hub anonymous hub=chat; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /pid    { return 200 $pid; }
        location = /status { broadcast_status json; }
EOC
);

my $nginx = Broadcast::Nginx->new(%conf)->start;
my $port = $nginx->port;


sub status { http($port, 'GET', '/status')->{json} }

ok wait_for(sub { status()->{database}{state} eq 'up' }, 15),
    'the database is up';


# a connection that stays with one worker

sub at {
    my $c = worker_at($port, '/pid', $_[0]);

    return ($c, $c->{worker});
}

sub on { on => (at(@_))[0] }

# its worker has come to what was sent to it before

sub turns {
    my ($c) = @_;

    for (1 .. 3) {
        $c->request('GET', '/pid', keepalive => 1);
        $c->body($c->head, 'GET');
    }
}

sub owner {
    join ' ', map { $_->{pid} } grep { $_->{connections} }
                                @{ status()->{workers} };
}


sub publish {
    my ($text) = @_;

    http($port, 'POST', '/publish/chat?target=t', body => qq("$text"),
         headers => [ 'Content-Type' => 'application/json' ])->{status} == 200
        or die 'publish';
}


sub record  { +{ type => 1, target => 't', arguments => [ $_[0] ] } }
sub invoke  { +{ type => 1, target => $_[1] // 'No',
                 invocationId => "$_[0]", arguments => [ 7 ] } }
sub answer  { +{ type => 3, invocationId => "$_[0]",
                 error => "Unknown hub method 'No'" } }
sub ack     { +{ type => 8, sequenceId => $_[0] } }
sub seq     { +{ type => 9, sequenceId => $_[0] } }


sub next_of {
    my ($hub, $seconds) = @_;
    my $record;

    1 while ($record = $hub->next($seconds // 30))
            && ($record->{type} // 0) == 6;

    return $record;
}


sub cut {
    my ($hub) = @_;

    $hub->drop;
    return wait_for(sub { status()->{stateful}{away} }, 5);
}


my (undef, $one) = at(sub { 1 });
my (undef, $two) = at(sub { $_[0] != $one });
my (undef, $three) = at(sub { $_[0] != $one && $_[0] != $two });

my $hub = Broadcast::Hub->connect($port, '/client', stateful => 1, on($one));
ok !$hub->{error}, 'a client at one worker' or diag $hub->{error};
is owner(), $one, 'which owns its connection';

http($port, 'PUT', "/api/hubs/chat/groups/g/connections/$hub->{id}"
                   . '?api-version=2022-11-01')->{status} =~ /^20/
    or die 'group';

publish('a1');
publish('a2');
is_deeply [ map { next_of($hub) } 1 .. 2 ], [ map { record("a$_") } 1 .. 2 ],
    'gets messages';
$hub->send(ack(1));
$hub->send(invoke(1));
is_deeply next_of($hub), answer(1), 'and answers';

cut($hub);
publish('a3');

is $hub->again(on($two)), 101, 'another worker takes its next socket';
is owner(), $two, 'and owns the connection';
is_deeply [ map { next_of($hub) } 1 .. 4 ],
    [ seq(2), record('a2'), answer(1), record('a3') ],
    'Sequence, what was not acknowledged, and what came between';

$hub->send(seq(1));
$hub->send(invoke(1));
$hub->send(invoke(2));
is_deeply next_of($hub), answer(2), 'what it had taken is not taken again';
is_deeply next_of($hub), ack(2), 'but acknowledged';
$hub->send(ack(5));

http($port, 'POST', '/api/hubs/chat/groups/g/:send?api-version=2022-11-01',
     body => '{"target":"t","arguments":["to the group"]}');
is_deeply next_of($hub), record('to the group'), 'it is still in its group';
$hub->send(ack(6));

# a socket that lives, at another worker

my $old = $hub->{ws};
is $hub->again(on($three)), 101, 'a third worker takes it from a live socket';
is_deeply next_of($hub), seq(7), 'with its numbers';
is $old->message, undef, 'which is closed';
is +($old->closed)[0], 1006, 'without a word';
is owner(), $three, 'and is the owner';

# and back again, many times

my @wrong;

for my $n (1 .. 12) {
    my $pid = ($one, $two, $three)[$n % 3];

    publish("b$n");
    $hub->drop if $n % 2;

    my $status = $hub->again(on($pid));
    push @wrong, "$n: $status" unless $status == 101;
}

is_deeply \@wrong, [], 'twelve times';
is_deeply [ map { next_of($hub) } 0 .. 12 ],
    [ seq(7), map { record("b$_") } 1 .. 12 ], 'and nothing is missing';
$hub->send(ack(18));
$hub->send(seq(3));

# a call holds the connection

my $where = owner();
my @other = grep { $_ != $where } $one, $two, $three;

# it stands at a lock until that is let go

my $holder = $pg->session(@at);
my $held = q{select count(*) from pg_locks
              where locktype = 'advisory' and not granted};
my $at_work = q{select count(*) from pg_stat_activity
                 where state = 'active' and pid <> pg_backend_pid()
                   and backend_type = 'client backend' and usename = 'app'};
my @upgrade = (
    Upgrade => 'websocket', Connection => 'Upgrade',
    'Sec-WebSocket-Version' => 13,
    'Sec-WebSocket-Key' => 'MDEyMzQ1Njc4OWFiY2RlZg==');

$holder->run('select pg_advisory_lock(7)');
$hub->send(invoke(3, 'Slow'));
ok wait_for(sub { $pg->psql($held, db => 'app') > 0 }),
    'a function is at work';

$hub->drop;

my $first = (at($other[0]))[0];
$first->request('GET', $hub->{url}, keepalive => 1, headers => \@upgrade);

ok wait_for(sub { owner() eq $other[0] }), 'a socket waits for it';

my ($second) = at($other[1]);
$second->request('GET', $hub->{url}, keepalive => 1, headers => \@upgrade);
is $first->head->{status}, 409, 'not when there is a newer one';
$holder->run('select pg_advisory_unlock(7)');
is $second->head->{status}, 101, 'which gets it';
$hub->{ws} = bless $second, 'Broadcast::WebSocket';
$hub->{records} = [];
is_deeply [ map { next_of($hub) } 1 .. 2 ],
    [ seq(19), { type => 3, invocationId => '3', result => 7 } ],
    'with the result of the call';
is $pg->psql('select count(*) from gone', @at), 0,
    'nobody was called disconnected';

# the state comes while the worker that waits for it has missed a part of the log

$hub->send(seq(4));
$hub->send(ack(19));

$where = owner();
@other = grep { $_ != $where } $one, $two, $three;

my ($fill) = at($other[1]);

my ($asked) = at($where);

$holder->run('select pg_advisory_lock(7)');
$hub->send(invoke(4, 'Slow'));
ok wait_for(sub { $pg->psql($held, db => 'app') > 0 }),
    'a function is at work again';

$hub->drop;
$first = (at($other[0]))[0];
$first->request('GET', $hub->{url}, keepalive => 1, headers => \@upgrade);
ok wait_for(sub { owner() eq $other[0] }), 'a socket waits at a worker';
turns($asked);

kill 'STOP', $other[0];
$holder->run('select pg_advisory_unlock(7)');
$holder->close;
ok wait_for(sub { $pg->psql($at_work, db => 'app') == 0 }),
    '... which stands still when the function ends';
select undef, undef, undef, 0.3;
turns($asked);

for (1 .. 80) {
    $fill->request('POST', '/publish/fill', keepalive => 1,
                   body => '"' . 'x' x 20000 . '"',
                   headers => [ 'Content-Type' => 'application/json' ]);
    my $r = $fill->head;
    $fill->body($r, 'POST');
    $r->{status} == 200 or die "publish: $r->{status}";
}

kill 'CONT', $other[0];
is $first->head->{status}, 404,
    'the socket is refused when the log was overwritten meanwhile';
ok wait_for(sub { $pg->psql('select count(*) from gone', @at) == 1 }, 10),
    'and the connection has ended';

$hub = Broadcast::Hub->connect($port, '/client', stateful => 1);

# the numbers of a hole are refused wherever they come

$hub->send(seq(9));
is next_of($hub)->{type}, 7, 'a Sequence with a hole';
$hub->{ws}->message;
is $hub->again(on($where)), 404, 'is the end at every worker';
ok wait_for(sub { $pg->psql('select count(*) from gone', @at) == 2 }, 10),
    'disconnected is called, once';

# a worker that exits has it until it is told to go

$hub = Broadcast::Hub->connect($port, '/client', stateful => 1);
publish('c1');
next_of($hub);
$nginx->reload(http => $conf{http} =~ s/drain off/drain 500ms/r);
cut($hub);
publish('c2');
is $hub->again, 101, 'a new worker takes it from one that exits';
is_deeply [ map { next_of($hub) } 1 .. 3 ],
    [ seq(1), record('c1'), record('c2') ], 'with all messages';
ok wait_for(sub { $nginx->workers(1) == 3 }, 15),
    'the old workers end without it';

$nginx->reload;
my $record;
1 while ($record = next_of($hub)) && $record->{type} != 7;
ok $record->{allowReconnect}, 'a drained client is told to come again';
$hub->{ws}->message;
is $hub->again, 404, 'under another id';

# a worker that dies

(undef, $one) = at(sub { 1 });
(undef, $two) = at(sub { $_[0] != $one });
$hub = Broadcast::Hub->connect($port, '/client', stateful => 1, on($one));
my ($other) = at($two);
$nginx->kill_worker($one);
is $hub->{ws}->message, undef, 'a worker dies';
is $hub->again(on => $other), 404, 'with its connections';

is status()->{check} // 'ok', 'ok', 'the zone is in order';

$nginx->stop_ok;

# a worker that dies between taking a connection and saying so

$nginx = Broadcast::Nginx->new(%conf, env => { BROADCAST_STOP => 'move_owner' },
                               main => 'env BROADCAST_STOP;')->start;
$nginx->allow(qr/exited on signal 9/);
$port = $nginx->port;

ok wait_for(sub { status()->{database}{state} eq 'up' }, 15),
    'the database is up again';
$pg->psql('truncate gone', @at);

(undef, $one) = at(sub { 1 });
($other) = at(sub { $_[0] != $one });
$hub = Broadcast::Hub->connect($port, '/client', stateful => 1, on($one));
my $live = $hub->{ws};

ok !eval { $hub->again(on => $other); 1 }, 'a worker dies with a row in its hand';
ok wait_for(sub { $pg->psql('select count(*) from gone', @at) == 1 }, 10),
    'which is the end of the connection';
ok +IO::Select->new($live->{socket})->can_read(30), 'the old worker has noticed';
my $word = $live->message;
is $word // '', $word ? '{"type":7,"allowReconnect":true}' : '',
    'and says nothing, or that the client may come again';
is $live->message, undef, 'and has closed its socket';

$nginx->stop_ok;

done_testing;
