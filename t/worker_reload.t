#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Reload: the zone stays, clients of the old workers go on getting what is
# published through the new ones until they are drained, and nothing is left
# behind: no process, no connection, no descriptor of the master's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;
use Broadcast::WebSocket;

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    build   => 'debug',
    http    => 'broadcast_zone hubs 4m; broadcast_drain 500ms;',
    server  => <<'EOC',
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC
)->start;

my $port = $nginx->port;


sub status {
    return http($port, 'GET', '/status?format=json')->{json};
}

sub publish {
    my ($words) = @_;

    return http($port, 'POST', '/publish/chat?target=m', body => $words,
                headers => [ 'Content-Type' => 'text/plain' ]);
}

sub descriptors {
    return scalar(() = glob '/proc/' . $nginx->pid . '/fd/*');
}

my $descriptors = descriptors();


# A drain that lasts: what old workers do meanwhile can be looked at.

$nginx->reload(http => 'broadcast_zone hubs 4m; broadcast_drain off;');

my $ws = Broadcast::WebSocket->connect($port, '/events/chat');
my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $first = publish('before')->{json}{id};

like($ws->message, qr/"before"/, 'a socket has a message');
is($sse->event->{id}, $first, 'a stream has it, too');

$nginx->reload;

is(scalar($nginx->workers(1)) > 2, 1, 'old workers stay for their clients');

my $second = publish('after')->{json}{id};

is(($second =~ /-(\d+)$/)[0], ($first =~ /-(\d+)$/)[0] + 1,
   'numbers go on over a reload');
like($ws->message, qr/"after"/,
     'a client of an old worker gets what a new worker publishes');
is($sse->event->{id}, $second, '... a stream, too');
is(status()->{hubs}{chat}{connections}{websocket}, 1,
   'it is counted by the new workers');

my $late = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $first ]);

is($late->event->{id}, $second, 'a new worker replays what came before it');

$_->close for $late;
$ws->drop;
$sse->close;

ok(wait_for(sub { $nginx->workers(1) == 2 }, 20),
   'an old worker ends when its last client has left');


# With a drain the clients are told to come back.

$nginx->reload(http => 'broadcast_zone hubs 4m; broadcast_drain 500ms;');

$ws = Broadcast::WebSocket->connect($port, '/events/chat');
$sse = Broadcast::SSE->connect($port, '/events/chat');
wait_for(sub { status()->{hubs}{chat}{connections}{sse} == 1 });

$nginx->reload;

is($ws->message, undef, 'a drained socket is closed');
is(($ws->closed)[0], 1012, '... with 1012, service restart');
is($sse->event, undef, 'a drained stream ends');
ok(wait_for(sub { $nginx->workers(1) == 2 }, 20), 'the old workers are gone');
is(status()->{closed}{drain}, 2, '... and both were counted');
$ws->drop;
$sse->close;


# Twenty reloads under load leave what one leaves.

for my $round (1 .. 20) {
    my @sockets = map { Broadcast::WebSocket->connect($port, '/events/chat') }
                  1 .. 4;
    publish("round $round") for 1 .. 5;
    $nginx->reload;
    $_->drop for @sockets;
}

ok(wait_for(sub { $nginx->workers(1) == 2 }, 30),
   'twenty reloads under load: all old workers are gone');
ok(wait_for(sub { descriptors() == $descriptors }, 20),
   '... the master holds no descriptor more');
ok(wait_for(sub {
    my $s = status();
    $s->{hubs}{chat}{connections}{websocket} == 0
        && @{ $s->{workers} } == 2;
}), '... no connection and no worker is left in the zone');
is(status()->{check}, 'ok', '... and its invariants hold');
is(publish('still')->{status}, 200, '... and it works');

# Another size is another zone: its numbers begin anew.

$nginx->reload(http => 'broadcast_zone hubs 8m; broadcast_drain 500ms;');
isnt((publish('new')->{json}{id} =~ /^(.*)-/)[0], ($first =~ /^(.*)-/)[0],
     'a zone of another size has another epoch');

# A client that was told to go, and does not: the end does not wait for it.

$ws = Broadcast::WebSocket->connect($port, '/events/chat');
wait_for(sub { status()->{hubs}{chat}{connections}{websocket} == 1 });
my $drained = status()->{closed}{drain};
$nginx->reload;
ok(wait_for(sub { status()->{closed}{drain} == $drained + 1 }),
   'a client is drained and says nothing');
$nginx->stop_ok(signal => 'TERM',
                name => '... by TERM nginx ends without an open socket');

done_testing();
