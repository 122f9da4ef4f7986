#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Clients that speak MessagePack, on the wire: lengths, pieces, nonsense, and
# what they share with clients that speak JSON.  The official client is in
# client_msgpack.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;

my $nginx = Broadcast::Nginx->new(
    http => 'broadcast_zone hubs 4m; broadcast_key 0123456789abcdef;
             broadcast_message_size 4k;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status; }
EOS

my $port = $nginx->port;
my $handshake = qq({"protocol":"messagepack","version":1}\x1e);


sub status { http($port, 'GET', '/status?format=json')->{json} }

sub hex_of { join ' ', map { sprintf '%02x', ord } split //, $_[0] // '' }

sub bytes { my $hex = join '', @_; $hex =~ tr/0-9a-f//cd; pack 'H*', $hex }


# a message with its length before it, from the hexadecimal digits of its body

sub framed {
    my $body = bytes(@_);
    my $n = length $body;
    my $length = '';

    do {
        $length .= chr($n > 127 ? 0x80 | $n & 0x7f : $n);
        $n >>= 7;
    } while $n;

    return $length . $body;
}


# a client behind its handshake; with $more, bytes that come with it

sub client {
    my ($more) = @_;

    my $hub = Broadcast::Hub->connect($port, '/client?hub=chat',
                                      nohandshake => 1);
    die $hub->{error} if $hub->{error};

    $hub->{ws}->frame(defined $more ? 2 : 1, $handshake . ($more // ''));

    my $answer = $hub->{ws}->message;
    $answer eq "{}\x1e" or die "handshake: $answer";

    return $hub;
}


sub next_is {
    my ($hub, $hex, $name) = @_;

    is hex_of($hub->{ws}->message), $hex, $name;
    is $hub->{ws}{opcode}, 2, '... in a binary frame';
}


# invoke id target: [1, {}, id, target, []]

sub invoke {
    my ($id, $target) = @_;

    return framed('95 01 80', sprintf('a1 %02x', ord $id),
                  sprintf('%02x', 0xa0 | length $target),
                  hex_of($target), '90');
}


sub unknown {
    my ($id, $target) = @_;

    my $error = "Unknown hub method '$target'";

    return hex_of(framed('95 03 80', sprintf('a1 %02x', ord $id), '01',
                         sprintf('%02x', 0xa0 | length $error),
                         hex_of($error)));
}


# handshake and pieces

my $hub = client(invoke(a => 'A') . substr invoke(b => 'B'), 0, 3);

next_is($hub, unknown(a => 'A'),
    'a message may follow the handshake in the same frame');

$hub->{ws}->binary(substr(invoke(b => 'B'), 3) . invoke(c => 'C'));
next_is($hub, unknown(b => 'B'), 'one whose other half is the next frame');
next_is($hub, unknown(c => 'C'), 'and one behind it');

$hub->{ws}->binary($_) for split //, invoke(d => 'D');
next_is($hub, unknown(d => 'D'), 'one byte at a time');

$hub->{ws}->binary(framed('96 01 80 a1 66 a1 46 90 90'));
next_is($hub, unknown(f => 'F'), 'six elements are as good as five');

$hub->{ws}->binary(framed('97 01 80 a1 67 a1 47 90 90 c0'));
next_is($hub, unknown(g => 'G'), 'a seventh is ignored');

$hub->{ws}->binary(framed('dc 00 05 cd 00 01 c0 d9 01 68 da 00 01 48 dd 00 00 '
                          . '00 00'));
next_is($hub, unknown(h => 'H'), 'forms that are not the shortest');

$hub->{ws}->binary(framed('95 04 80 a1 69 a1 49 90'));
next_is($hub, unknown(i => 'I'), 'a stream of an unknown method');

$hub->{ws}->binary(framed($_))
    for '91 06', '94 02 80 a1 39 01', '95 03 80 a1 39 03 01', '93 05 80 a1 39',
        '92 2a 01', '92 08 01', '92 09 01', '95 01 80 c0 a1 58 90',
        '95 01 80 a0 a1 58 90';
$hub->{ws}->binary(invoke(j => 'J'));
next_is($hub, unknown(j => 'J'), 'what belongs to nothing is ignored');

$hub->drop;

$hub = client();
$hub->{ws}->binary(framed('92 07 c0'));
is $hub->{ws}->message, undef, 'a Close ends the connection';
is +($hub->{ws}->closed)[0], 1000, 'in peace';
$hub->drop;


# nonsense ends it

my $close = hex_of(framed('93 07 d9 20',
                       hex_of('Connection closed with an error.'), 'c2'));

my @nonsense = (
    [ 'a length of six bytes', bytes('80 80 80 80 80 00') ],
    [ 'a length of 32 bits', bytes('80 80 80 80 08') ],
    [ 'an empty array', framed('90') ],
    [ 'an empty message', framed('') ],
    [ 'a map', framed('80') ],
    [ 'a type that is a string', framed('91 a1 36') ],
    [ 'a result of kind 4', framed('95 03 80 a1 37 04 c0') ],
    [ 'an invocation of four elements', framed('94 01 80 c0 a1 74') ],
    [ 'a target that is an integer', framed('95 01 80 c0 07 90') ],
    [ 'arguments that are a map', framed('95 01 80 c0 a1 74 80') ],
    [ 'headers that are a string', framed('95 01 a1 61 c0 a1 74 90') ],
    [ 'an id that is an integer', framed('95 01 80 07 a1 74 90') ],
    [ 'stream ids that are integers', framed('96 01 80 c0 a1 74 90 91 01') ],
    [ 'an argument that is missing', framed('95 01 80 c0 a1 74 91') ],
    [ 'four billion arguments', framed('95 01 80 c0 a1 74 dd ff ff ff ff') ],
    [ 'the byte 0xc1', framed('95 01 80 c0 a1 74 91 c1') ],
    [ 'a string that is not UTF-8', framed('95 01 80 c0 a1 74 91 a1 ff') ],
    [ 'an array 70 levels deep',
      framed('95 01 80 c0 a1 74', '91' x 70, '90') ],
    [ 'bytes behind the array', framed('91 06 00') ],
    [ 'JSON', qq({"type":6}\x1e) . 'x' x 200 ],
);

my $before = status()->{closed}{protocol};

for (@nonsense) {
    my ($name, $bytes) = @$_;

    my $hub = client();
    $hub->{ws}->binary($bytes);
    is hex_of($hub->{ws}->message), $close,
        "$name: a Close with the words of the reference server";
    is $hub->{ws}->message, undef, '... then it ends';
    is +($hub->{ws}->closed)[0], 1011, '... with 1011';
    $hub->drop;
}

for ([ 'in whole', framed('91' . '06' x 5000) ],
     [ 'seen from its length', bytes('81 20') ],
     [ 'of two gigabytes', bytes('ff ff ff ff 07') ])
{
    my ($name, $bytes) = @$_;

    my $hub = client();
    $hub->{ws}->binary($bytes);
    like $hub->{ws}->message,
        qr/The maximum message size of 4096B was exceeded\./,
        "a message above the limit, $name";
    is $hub->{ws}->message, undef, '... ends the connection';
    is +($hub->{ws}->closed)[0], 1009, '... with 1009';
    $hub->drop;
}

is status()->{closed}{protocol} - $before, @nonsense + 3,
    'each of them is counted';


# a transport for text alone

my $negotiate = http($port, 'POST',
                     '/client/negotiate?hub=chat&negotiateVersion=1',
                     body => '')->{json};
my $uri = "/client?hub=chat&id=$negotiate->{connectionToken}";
my $stream = Broadcast::SSE->connect($port, $uri);
is http($port, 'POST', $uri, body => $handshake)->{status}, 200,
    'the handshake over SSE is taken';
like $stream->event->{data},
    qr/Cannot use the 'messagepack' protocol on the current transport\./,
    'and refused in the words of the reference server';
$stream->close;

is_deeply [ map { [ $_->{transport}, @{ $_->{transferFormats} } ] }
            @{ $negotiate->{availableTransports} } ],
    [ map { [ $_->{transport}, $_->{transport} eq 'ServerSentEvents'
              ? 'Text' : qw(Text Binary) ] }
      @{ $negotiate->{availableTransports} } ],
    'negotiate offers Binary, but not over SSE';


# both protocols: one encoding each, whatever the number of clients

my @json = map { Broadcast::Hub->connect($port, '/client?hub=mix') } 1 .. 5;
my @packed = map {
    my $hub = Broadcast::Hub->connect($port, '/client?hub=mix',
                                      nohandshake => 1);
    $hub->{ws}->text($handshake);
    $hub->{ws}->message;
    $hub
} 1 .. 7;

my $encoded = sub {
    http($port, 'GET', '/status?format=prometheus')->{body}
        =~ /^nginx_broadcast_frames_encoded_total (\d+)/m ? $1 : undef
};
$before = $encoded->();

my $arguments = '[1,-1,18446744073709551615,0.5,"\u00e4\ud83c\udf88",null,'
                . '{"z":[],"a":{}}]';
is http($port, 'POST', '/api/v1/hubs/mix', body =>
        qq({"target":"t","arguments":$arguments}),
        headers => [ 'Content-Type' => 'application/json' ])->{status}, 202,
    'a message is sent as JSON';

my $want = hex_of(framed('96 01 80 c0 a1 74 97 01 ff cf ff ff ff ff ff ff ff '
                         . 'ff cb 3f e0 00 00 00 00 00 00 a6 c3 a4 f0 9f 8e '
                         . '88 c0 82 a1 7a 90 a1 61 80 90'));

is_deeply [ map { hex_of($_->{ws}->message) } @packed ],
    [ ($want) x @packed ], 'all that speak MessagePack get it in theirs';
is_deeply [ map { $_->{ws}->message } @json ],
    [ (qq({"type":1,"target":"t","arguments":$arguments}\x1e)) x @json ],
    'those that speak JSON get the bytes that came';
is $encoded->() - $before, 2, 'it was encoded twice, for twelve clients';

my $big = '"' . 'x' x 3000 . '"';
http($port, 'POST', '/publish/mix?target=big', body => $big,
     headers => [ 'Content-Type' => 'application/json' ]);
is $packed[0]{ws}->message,
    "\xc5\x17\x96\x01\x80\xc0\xa3big\x91\xda\x0b\xb8" . 'x' x 3000 . "\x90",
    'a long one';

http($port, 'DELETE', "/api/v1/hubs/mix/connections/$packed[1]{id}?reason=bye");
$packed[1]{ws}->message;
next_is($packed[1], '07 93 07 a3 62 79 65 c3',
    'a close by REST has its reason, and allows to come again');
is $packed[1]{ws}->message, undef, '... and the connection ends';

$_->drop for @json, @packed;

$nginx->stop_ok;

done_testing;
