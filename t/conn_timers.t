#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Keep-alives, client timeout, handshake timeout, expiry of a token, rate.

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
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    http => "broadcast_zone hubs 4m; broadcast_key $key;
             broadcast_keepalive 1s; broadcast_client_timeout 3s;",
    server => <<'EOS')->start;
        location /client   { broadcast_hub; }
        location /hasty    { broadcast_hub hub=chat;
                             broadcast_handshake_timeout 1s; }
        location /rate     { broadcast_hub anonymous hub=chat;
                             broadcast_rate 5/s burst=5; }
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;
my $token = client_token($key, 'chat', sub => 'ann');


sub status { http($port, 'GET', '/status')->{json} }


sub publish {
    my $r = http($port, 'POST', '/publish/chat', body => '1',
                 headers => [ 'Content-Type' => 'application/json' ]);

    return $r->{json}{id};
}


# keep-alives

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat', token => $token);

my $start = time;
is_deeply $hub->next, { type => 6 }, 'a hub client is pinged';
my $took = time - $start;
ok $took > 0.7 && $took < 10, 'after the time that was set' or diag $took;
is_deeply $hub->next, { type => 6 }, 'and pinged again';

# it never pinged itself

my $record;
1 while ($record = $hub->next) && $record->{type} == 6;
is $record->{type}, 7, 'a hub client that says nothing hears a Close';
is status()->{closed}{timeout}, 1,
    'and is counted';

my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $id = publish();
$sse->event;
like $sse->block, qr/\A(?::\r?\n)?id: \Q$id\E\z/,
    "an event stream's keep-alive is the position alone";
my $id2 = publish();
is $sse->event->{id}, $id2, 'events go on';

my $ws = Broadcast::Plain->connect($port, '/events/chat');
my $ping = $ws->next_frame;
is $ping->{opcode}, 9, 'a plain WebSocket is pinged by a frame';

# it answers nothing

my $frame;
1 while ($frame = $ws->next_frame) && $frame->{opcode} == 9;
is $frame->{opcode}, 8, 'without a pong it is closed';
is status()->{closed}{timeout}, 2, 'and counted';

# What has to say something within 3 s does that here, on a machine that may not
# let it: it has three attempts.

sub attempts {
    my ($try) = @_;

    for (1 .. 3) {
        return 1 if $try->();
    }

    return 0;
}

# with pongs it stays

ok attempts(sub {
    $ws = Broadcast::Plain->connect($port, '/events/chat');
    $ws->quiet(4.5);
}), 'a client that answers pings stays beyond its time';
$id = publish();
is $ws->next->{id}, $id, 'and gets its messages';
$ws->close;

# Messages are a sign of life of ours, and none of the client's: where they flow
# it is asked all the same, since a browser says nothing by itself.

my $got;

ok attempts(sub {
    my $until = time + 4.5;

    $ws = Broadcast::Plain->connect($port, '/events/busy');
    $got = 0;

    while (time < $until) {
        http($port, 'POST', '/publish/busy', body => '1');
        $got++ if defined $ws->message;
        select undef, undef, undef, 0.1;
    }

    $got > 5 && !$ws->closed;
}), 'one in a busy stream gets messages, and stays, too'
    or diag $got, $ws->closed;
$ws->close;

# the event stream, which has no way to answer, is there, too

for (1 .. 5) { last if $sse->event->{id} eq $id }
is $sse->{last_id}, $id, 'an event stream is not expected to answer';
$sse->close;

# a hub client behind an event stream is heard by its POSTs

my ($hub_sse, $block, $timeouts);

ok attempts(sub {
    my $n = http($port, 'POST', '/client/negotiate?hub=chat&negotiateVersion=1',
                 body => '', headers => [ Authorization => "Bearer $token" ]);
    my $url = "/client?hub=chat&id=$n->{json}{connectionToken}"
            . "&access_token=$token";
    $hub_sse = Broadcast::SSE->connect($port, $url);
    http($port, 'POST', $url, body => qq({"protocol":"json","version":1}\x1e));
    $hub_sse->block =~ /\{\}\x1e/ or return 0;

    my $from = time;
    $timeouts = status()->{closed}{timeout};

    while (time - $from < 4.5) {
        http($port, 'POST', $url, body => qq({"type":6}\x1e));
        $block = $hub_sse->block // return 0;
        return 0 if $block =~ /"type":7/;
    }

    return 1;
}), 'a hub client over an event stream lives as long as it pings';

like $block, qr/"type":6/, 'beyond its time';

1 while defined($block = $hub_sse->block) && $block !~ /"type":7/;

like $block, qr/"type":7/, 'and no longer';
$hub_sse->close;
is status()->{closed}{timeout}, ++$timeouts, 'and is counted';

# handshake

$hub = Broadcast::Hub->connect($port, '/hasty', token => $token,
                               nohandshake => 1);
is_deeply $hub->next, { error => 'Handshake was canceled.' },
    'a handshake that does not come is cancelled';
is $hub->{ws}->message, undef, 'and the connection closed';
is +($hub->{ws}->closed)[1], 'Handshake was canceled.', 'with that reason';
is status()->{closed}{timeout}, ++$timeouts, 'and counted';
$hub->drop;

# half a handshake, byte by byte, is none

$hub = Broadcast::Hub->connect($port, '/hasty', token => $token,
                               nohandshake => 1);
$hub->{ws}->text('{"protocol":');
is_deeply $hub->next, { error => 'Handshake was canceled.' },
    'half of one is none';
$hub->drop;

# a token that runs out ends the event stream

my $short = client_token($key, 'chat', sub => 'ann', exp => int(time) + 5);
$sse = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ Authorization => "Bearer $short" ]);
is $sse->{head}{status}, 200, 'a stream with a token of five seconds';
$start = time;
1 while time - $start < 60 && defined $sse->block;
ok time - $start < 60, 'ends with its token';
$sse->close;

# rate: 5 a second and 5 at once

$hub = Broadcast::Hub->connect($port, '/rate');
$hub->send({ type => 1, target => 'x', arguments => [] }) for 1 .. 5;
$hub->send({ type => 1, target => 'x', arguments => [],
             invocationId => '7' });
is $hub->next->{error}, "Unknown hub method 'x'",
    'six messages at once are within rate and burst';
$hub->send({ type => 1, target => 'x', arguments => [] }) for 1 .. 100;
$record = $hub->next;
is $record->{type}, 7, 'a hundred more are not';
ok $record->{error}, 'and it is told with an error';
ok !$record->{allowReconnect}, 'and not to come again';
is status()->{closed}{rate}, 1, 'and counted';
$hub->drop;

$nginx->stop_ok;

done_testing;
