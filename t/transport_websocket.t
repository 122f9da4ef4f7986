#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# RFC 6455 over the real socket: the upgrade, frames in all pieces, control
# frames, limits and the closing handshake; over plain and over TLS, with the
# request freed and with the request kept.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;

my $nginx = Broadcast::Nginx->new(
    tls => 1,
    http => 'broadcast_zone hubs 4m; broadcast_key 0123456789abcdef;
             broadcast_message_size 64k;
             limit_conn_zone $binary_remote_addr zone=conns:1m;',
    server => <<'EOS')->start;
        location /events/  { broadcast_events anonymous; }
        location /kept/    { broadcast_events anonymous; limit_conn conns 100; }
        location /client   { broadcast_hub anonymous hub=chat; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my %ports = (plain => $nginx->port, TLS => $nginx->port('tls'));


sub upgrade {
    my (%headers) = @_;

    my %all = (Upgrade => 'websocket', Connection => 'Upgrade',
               'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==',
               'Sec-WebSocket-Version' => 13, %headers);

    return http($nginx->port, 'GET', '/events/chat',
                headers => [ map { ($_, $all{$_}) }
                             grep { defined $all{$_} } sort keys %all ]);
}


# the upgrade

{
    my $c = Broadcast::HTTP->connect($nginx->port);
    $c->request('GET', '/events/chat', headers => [
        Upgrade => 'WebSocket', Connection => 'keep-alive, Upgrade',
        'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version' => 13 ]);
    my $r = $c->head;

    is $r->{status}, 101, 'the upgrade is answered with 101';
    is $r->{reason}, 'Switching Protocols', 'and its reason';
    is $r->{headers}{'sec-websocket-accept'}, 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
        'the accept value is that of the RFC';
    like $r->{headers}{upgrade}, qr/^websocket$/i, 'with Upgrade';
    like $r->{headers}{connection}, qr/^upgrade$/i, 'and Connection';
    ok !exists $r->{headers}{'transfer-encoding'}, 'without a body';
    $c->close;
}

{
    my $c = Broadcast::HTTP->connect($nginx->port);
    $c->request('GET', '/events/chat', headers => [
        Upgrade => 'h2c', Upgrade => 'websocket',
        Connection => 'keep-alive', Connection => 'Upgrade',
        'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Extensions' => 'permessage-deflate' ]);
    my $r = $c->head;

    is $r->{status}, 101, 'lists may come in several headers';
    ok !exists $r->{headers}{'sec-websocket-extensions'},
        'no extension is taken where none is wanted';
    $c->close;
}

my $r = upgrade('Sec-WebSocket-Version' => 8);
is $r->{status}, 426, 'another version is 426';
is $r->{headers}{'sec-websocket-version'}, 13, 'which names ours';

is upgrade('Sec-WebSocket-Key' => undef)->{status}, 400, 'no key is 400';
is upgrade('Sec-WebSocket-Key' => 'short')->{status}, 400, 'a bad key is 400';
is upgrade(Connection => 'close')->{status}, 400,
    'no upgrade in Connection is 400';


for my $over (sort keys %ports) {
    my $port = $ports{$over};

    for my $where ('events', 'kept') {

        my $connect = sub {
            Broadcast::Plain->connect($port, "/$where/chat", @_,
                                      tls => $over eq 'TLS');
        };
        my $name = "$over, $where";

        # an unknown frame is answered, so it shows that all before was read

        my $bad = '{"join":""}';

        my $ws = $connect->();
        $ws->send({ join => 'a' });
        $ws->text($bad);
        ok exists $ws->next->{error}, "$name: a frame is answered";

        # one byte at a time

        $ws->write($_) for split //, $ws->encode(1, $bad);
        ok exists $ws->next->{error}, "$name: byte by byte";

        # two frames and a half at once

        my $half = $ws->encode(1, $bad);
        $ws->write($ws->encode(1, $bad) . $ws->encode(1, $bad)
                   . substr($half, 0, 9));
        ok exists $ws->next->{error}, "$name: the first of a packet";
        ok exists $ws->next->{error}, "$name: the second of it";
        $ws->write(substr $half, 9);
        ok exists $ws->next->{error}, "$name: the half one";

        # a fragmented message with a ping in its middle

        $ws->frame(1, substr($bad, 0, 4), fin => 0);
        $ws->frame(9, 'in the middle');
        $ws->frame(0, substr $bad, 4);

        my $pong = $ws->next_frame;
        is $pong->{opcode}, 10, "$name: a ping between fragments has its pong";
        is $pong->{payload}, 'in the middle', "$name: with the ping's payload";
        ok exists $ws->next->{error}, "$name: and the message is whole";

        # 125 bytes of ping in two reads

        my $ping = $ws->encode(9, 'p' x 125);
        $ws->write(substr $ping, 0, 60);
        select undef, undef, undef, 0.05;
        $ws->write(substr $ping, 60);
        is $ws->next_frame->{payload}, 'p' x 125,
            "$name: a long ping in two reads";

        # the closing handshake from the client

        $ws->frame(8, pack 'na*', 1000, 'bye');
        is $ws->message, undef, "$name: a close frame is answered";
        is_deeply [ $ws->closed ], [ 1000, '' ], "$name: with its code";
        ok $ws->at_end, "$name: then the connection ends";

        # a frame that came with the request

        my $early = $connect->(early => Broadcast::WebSocket->encode(1, $bad));
        ok exists $early->next->{error},
            "$name: a frame in the request's packet is not lost";
        $early->close;

        # what ends with which code

        my $ends = sub {
            my ($code, $what, @frames) = @_;
            my $ws = $connect->();
            $ws->frame(@$_) for @frames;
            is $ws->message, undef, "$name: $what is refused";
            is +($ws->closed)[0], $code, "$name: with $code";
            ok $ws->at_end(30), "$name: and the connection ends";
        };

        $ends->(1002, 'a frame without a mask', [ 1, $bad, mask => 0 ]);
        $ends->(1002, 'a reserved bit', [ 1, $bad, rsv => 4 ]);
        $ends->(1002, 'an unknown opcode', [ 3, $bad ]);
        $ends->(1002, 'a continuation of nothing', [ 0, $bad ]);
        $ends->(1002, 'a fragmented ping', [ 9, 'x', fin => 0 ]);
        $ends->(1007, 'text that is no UTF-8', [ 1, "\xff\xfe" ]);
        $ends->(1009, 'a message above the limit', [ 1, 'x' x 65537 ]);
        $ends->(1009, 'fragments above the limit in all',
            [ 1, 'x' x 40000, fin => 0 ], [ 0, 'x' x 40000 ]);

        # a terabyte is announced, and no memory taken for it

        my $huge = $connect->();
        $huge->write("\x81\xff" . pack('Q>', 2 ** 40) . 'mask');
        is $huge->message, undef, "$name: a terabyte is refused";
        is +($huge->closed)[0], 1009, "$name: with 1009";

        # the socket is cut

        my $cut = $connect->();
        $cut->write(substr $cut->encode(1, $bad), 0, 5);
        $cut->drop;
    }
}

my $port = $nginx->port;

ok wait_for {
    my $c = http($port, 'GET', '/status')->{json}{hubs}{chat}{connections};
    $c->{websocket} == 0;
}, 'all are gone from the count';

my $closed = http($port, 'GET', '/status')->{json}{closed};
is $closed->{protocol}, 4 * 9, 'bad frames are counted as protocol errors';

# messages of 1 to 100,000 bytes come out as they went in

{
    my $ws = Broadcast::Plain->connect($port, '/events/chat');

    for my $n (1, 100, 125, 126, 127, 65000) {
        my $text = 'x' x $n;
        http($port, 'POST', '/publish/chat', body => encode_json($text),
             headers => [ 'Content-Type' => 'application/json' ]);
        is $ws->next->{arguments}[0], $text, "$n bytes arrive";
    }

    $ws->close;
}

$nginx->stop_ok;

done_testing;
