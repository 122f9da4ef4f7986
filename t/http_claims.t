#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What a client token's system claims change, signalr.md 7.3 and 7.5, and that
# a connection token opens one connection, within its 15 seconds and beyond;
# with two workers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;
use Broadcast::Token qw(client_token);
use Broadcast::WebSocket;

my $key = '0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 4m;\nbroadcast_key $key;\n"
             . "broadcast_drain off;\n",
    server  => <<'EOC',
        location /client   { broadcast_hub; }
        location /slow     { broadcast_hub; broadcast_handshake_timeout 1s; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
        location = /who    {
            broadcast_auth on;
            return 200 "$broadcast_user|$broadcast_claim_iss|$broadcast_claim_name";
        }
EOC
)->start;

my $port = $nginx->port;
my $handshake = qq({"protocol":"json","version":1}\x1e);
my $gone = '404 No Connection with that ID';

sub http { Broadcast::HTTP::http($port, @_) }

sub said { "$_[0]{status} $_[0]{body}" }

sub ticket {
    my ($token, $where) = @_;
    $where //= '/client';

    my $id = http('POST', "$where/negotiate?hub=chat&negotiateVersion=1",
                  headers => [ Authorization => "Bearer $token" ])
             ->{json}{connectionToken};

    return "$where?hub=chat&access_token=$token&id=$id";
}

sub websocket { Broadcast::WebSocket->connect($port, $_[0]) }
sub stream    { Broadcast::SSE->connect($port, $_[0]) }


# --- tokens that will be looked at when their time is over -------------------

my $ann = client_token($key, 'chat', sub => 'ann');
my $bob = client_token($key, 'chat', sub => 'bob');
my $begun = time;

my %spent = (websocket => ticket($ann), sse => ticket($ann));
my $unused = ticket($ann);

my $ws = websocket($spent{websocket});
is($ws->{head}{status}, 101, 'a ticket opens a WebSocket');
$ws->close(1000);

my $sse = stream($spent{sse});
is($sse->{head}{status}, 200, 'a ticket opens an event stream');
is(said(http('POST', $spent{sse} =~ s/\Q$ann/$bob/r, body => 'x')),
   "403 The connection is another user's.",
   'while it lives another user is told so');
undef $sse;

ok(wait_for { said(http('POST', $spent{$_}, body => 'x')) eq $gone },
   "the $_ is over") for sort keys %spent;


# --- event streams, byte for byte: appendix A6 -------------------------------

{
    my $url = ticket($ann);
    my $c = Broadcast::HTTP->connect($port);

    $c->request('GET', $url, version => '1.0', headers => [
        Accept => 'text/event-stream', 'Cache-Control' => 'no-cache' ]);

    my $r = $c->head;
    my $h = $r->{headers};

    is($r->{status}, 200, 'an event stream over HTTP/1.0');
    is($h->{'content-type'}, 'text/event-stream', 'its type');
    is($h->{'cache-control'}, 'no-cache,no-store', 'it is not cached');
    is($h->{'pragma'}, 'no-cache', '... nor by old caches');
    is($h->{'content-encoding'}, 'identity', '... nor compressed');
    is($h->{'x-accel-buffering'}, 'no', '... nor buffered');

    is(unpack('H*', $c->bytes(3)), '3a0d0a', 'the first bytes: a colon, CR LF');

    is(http('POST', $url, body => $handshake)->{status}, 200,
       'the handshake is posted');
    is(unpack('H*', $c->bytes(length "data: {}\x1e\r\n\r\n")),
       unpack('H*', "data: {}\x1e\r\n\r\n"),
       'the answer is one event: data, a space, the record, twice CR LF');

    http('POST', '/publish/chat', body => "two\nlines");
    my $event = 'data: {"type":1,"target":"message",'
              . '"arguments":["two\nlines"]}' . "\x1e\r\n\r\n";
    is($c->bytes(length $event), $event,
       'a message is one event, a line break in it stays an escape');

    $c->close;
}


# --- claims ------------------------------------------------------------------

sub who {
    http('GET', '/who?access_token=' . client_token($key, 'chat', @_))->{body}
}

is(who('asrs.s.uid' => 'uid', nameid => 'nameid', sub => 'sub'), 'uid||',
   'asrs.s.uid wins over nameid and sub');
is(who(nameid => 'nameid', sub => 'sub'), 'nameid||', '... nameid over sub');
is(who(sub => 'ann', 'asrs.u.iss' => 'me', 'asrs.u.name' => 'Ann'),
   'ann|me|Ann', 'asrs.u. is taken off a claim');

{
    my $token = client_token($key, 'chat', 'asrs.s.uid' => 'uid', sub => 'x');
    my $hub = Broadcast::Hub->connect($port, '/client?hub=chat',
                                      token => $token);

    http('POST', '/publish/chat?user=uid', body => 'hi');
    is_deeply($hub->invocation('message'), [ 'hi' ],
              'messages to asrs.s.uid reach the connection');
    $hub->close;
}

for ([ 1, 'WebSockets' ], [ 2, 'ServerSentEvents' ], [ 4, 'LongPolling' ]) {
    my ($mask, $name) = @$_;
    my $token = client_token($key, 'chat', 'asrs.s.htt' => $mask);
    my $r = http('POST', '/client/negotiate?hub=chat&negotiateVersion=1',
                 headers => [ Authorization => "Bearer $token" ]);

    is_deeply([ map { $_->{transport} } @{ $r->{json}{availableTransports} } ],
              [ $name ], "asrs.s.htt $mask offers $name alone");
}

is(websocket(ticket(client_token($key, 'chat', 'asrs.s.htt' => 2)))
   ->{head}{status}, 404, '... and a WebSocket that comes all the same is 404');


# the handshake's time: the location's is 15 s here and 1 s there

sub cancelled {
    my ($where, $seconds) = @_;

    my $hub = Broadcast::Hub->connect($port, "$where?hub=chat",
        nohandshake => 1, token => client_token($key, 'chat',
            defined $seconds ? ('asrs.s.cht' => $seconds) : ()));
    my $start = time;

    return (eval { $hub->next->{error} } // '', time - $start);
}

my ($error, $took) = cancelled('/client', 2);
is($error, 'Handshake was canceled.', 'asrs.s.cht sets the time of a handshake');
ok($took > 1.5 && $took < 12, '... two seconds') or diag $took;

($error, $took) = cancelled('/slow');
ok($took > 0.7 && $took < 12, 'without it the location has its own')
    or diag $took;

($error, $took) = cancelled('/slow', 3);
ok($took > 2.5, '... which the claim also makes longer') or diag $took;


# --- the end of a token ------------------------------------------------------

sub left { int(time) + $_[0] }

{
    my $exp = left(6);
    my %hub = (
        coae => [ 'asrs.s.coae' => 'true', exp => $exp ],
        aeo  => [ 'asrs.s.coae' => 'true', 'asrs.s.aeo' => $exp - 1 ],
        none => [ exp => $exp ],
    );

    $_ = Broadcast::Hub->connect($port, '/client?hub=chat',
                                 token => client_token($key, 'chat', @$_))
        for values %hub;

    my $token = client_token($key, 'chat', sub => 'ann', exp => $exp);
    my $url = ticket($token);
    my $sse = stream($url);
    http('POST', $url, body => $handshake);
    is($sse->block, ":\r\ndata: {}\x1e", 'a stream with a token of 6 seconds');

    for my $name ('aeo', 'coae') {
        my $record = $hub{$name}->next;

        is_deeply($record, { type => 7, allowReconnect => JSON::PP::true,
                             error => 'The access token has expired.' },
                  "$name: a WebSocket is told to come again");
        is($hub{$name}->next, undef, '... and closed');
    }

    $took = time - $exp;
    ok($took >= -0.1 && $took < 10,
       '... when the time has come, within seconds') or diag $took;

    like($sse->block, qr/"type":7.*"allowReconnect":true/,
         'a stream is told so, too');
    is($sse->block, undef, '... and ends');

    http('POST', '/publish/chat', body => 'still');
    is_deeply($hub{none}->invocation('message'), [ 'still' ],
              'a WebSocket without the claims outlives its token');
    $hub{none}->close;
}


# --- beyond the 15 seconds ---------------------------------------------------

# from before the end to beyond it: no moment opens a connection again

my %answers;

while (time < $begun + 17.2) {
    for (values %spent) {
        $answers{ said(http('GET', $_, headers => [
            Accept => 'text/event-stream' ])) }++;
    }

    sleep 0.05;
}

is_deeply([ keys %answers ], [ $gone ],
          'a ticket that was used opens nothing, whatever the second');

is(said(http('GET', $unused, headers => [ Accept => 'text/event-stream' ])),
   $gone, 'a ticket that was not used is none after 15 seconds');
is(websocket($unused)->{head}{status}, 404, '... nor for a WebSocket');

ok(wait_for { my $h = http('GET', '/status')->{json}{hubs}{chat};
              $h->{connections}{websocket} + $h->{connections}{sse} == 0 },
   'nobody is left');

$nginx->stop_ok(signal => 'TERM');

done_testing();
