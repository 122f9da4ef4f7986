#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Frames and messages, random and mutated, against hub (JSON and MessagePack),
# events and echo locations of a sanitized server, with and without
# permessage-deflate: it stays healthy, forgets nobody, and its log is clean.
# What stands behind the first frame that ends a connection is not read: the
# thousands that are sent are three times those that shall be.
#
#     BROADCAST_SEED=N prove t/transport_mutation.t      the same bytes again
#     BROADCAST_FRAMES=N                                 more of them

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Socket qw(SHUT_WR);
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::WebSocket qw(deflate);

my $wanted = $ENV{BROADCAST_FRAMES} // 30_000;
my $seed = $ENV{BROADCAST_SEED} // int(time * 1000) % 2 ** 31;

srand $seed;
note "BROADCAST_SEED=$seed";

my $nginx = Broadcast::Nginx->new(
    build => $ENV{BROADCAST_BUILD} || 'sanitize',
    workers => 2,
    http => 'broadcast_zone hubs 16m; broadcast_key 0123456789abcdef;
             broadcast_message_size 64k; broadcast_deflate on min_length=16;
             broadcast_client_timeout 10s;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous hub=chat; }
        location /events/  { broadcast_events anonymous; }
        location /echo     { broadcast_echo; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;
my @workers = $nginx->workers;


# --- what is good ------------------------------------------------------------

my $end = "\x1e";
my @json = map { "$_$end" } (
    '{"type":1,"target":"Send","arguments":["a",1,null,{"b":[true]}]}',
    '{"type":1,"invocationId":"1","target":"Send","arguments":[]}',
    '{"type":1,"invocationId":"2","target":"S\u00e9\ud834\udd1e",'
        . '"arguments":["\u0000\n",-1.5e300,12345678901234567890]}',
    '{"type":1,"target":"Up","arguments":[],"streamIds":["s1","s2"]}',
    '{"type":2,"invocationId":"s1","item":{"a":[1,2,3]}}',
    '{"type":3,"invocationId":"s1"}',
    '{"type":3,"invocationId":"s2","error":"no"}',
    '{"type":3,"invocationId":"7","result":[1,{"x":"y"}]}',
    '{"type":4,"invocationId":"9","target":"Stream","arguments":[5]}',
    '{"type":5,"invocationId":"9"}',
    '{"type":6}',
    '{"type":7,"error":"bye","allowReconnect":true}',
    '{"type":8,"sequenceId":3}',
    '{"type":9,"sequenceId":1}',
    '{"headers":{"a":"b"},"type":1,"target":"Send","arguments":[[[[[[]]]]]]}',
);

my @plain = (
    '{"join":"g"}', '{"leave":"g"}',
    '{"send":"g","target":"t","arguments":[1,"two"]}',
    '{"send":"*","target":"t","arguments":[]}',
    '{"target":"Send","arguments":["a"]}', '{"join":"\u00e4\u20ac"}',
);


# MessagePack of a few kinds of values: [ ] and { } as they are, \"text"

sub pack_value {
    my ($v) = @_;

    return "\xc0" if !defined $v;
    return pack_list($v) if ref $v eq 'ARRAY';

    if (ref $v eq 'HASH') {
        return chr(0x80 | keys %$v)
               . join '', map { (pack_text($_), pack_value($v->{$_})) }
                          sort keys %$v;
    }

    return pack_text($$v) if ref $v eq 'SCALAR';
    return $v < 0 ? chr(256 + $v) : $v < 128 ? chr $v : "\xcd" . pack 'n', $v;
}

sub pack_list {
    my ($v) = @_;

    return chr(0x90 | @$v) . join '', map { pack_value($_) } @$v;
}

sub pack_text {
    my ($v) = @_;

    return (length $v < 32 ? chr(0xa0 | length $v) : "\xd9" . chr length $v)
           . $v;
}

sub with_length {
    my ($body) = @_;
    my ($n, $prefix) = (length $body, '');

    do {
        $prefix .= chr($n > 127 ? 0x80 | $n & 0x7f : $n);
        $n >>= 7;
    } while $n;

    return $prefix . $body;
}

my @msgpack = map { with_length(pack_list($_)) } (
    [ 1, {}, undef, \'Send', [ \'a', 1, undef, { b => [ 1 ] } ] ],
    [ 1, {}, \'1', \'Send', [] ],
    [ 1, { h => \'v' }, \'2', \("S\xc3\xa9" x 20), [ 300, -1, [ [ [] ] ] ],
      [ \'s1', \'s2' ] ],
    [ 2, {}, \'s1', { a => [ 1, 2, 3 ] } ],
    [ 3, {}, \'s1', 2 ],
    [ 3, {}, \'s2', 1, \'no' ],
    [ 3, {}, \'7', 3, [ 1, { x => \'y' } ] ],
    [ 4, {}, \'9', \'Stream', [ 5 ] ],
    [ 5, {}, \'9' ],
    [ 6 ],
    [ 7, \'bye', 1 ],
    [ 8, 3 ],
    [ 9, 1 ],
);


# --- and what becomes of it --------------------------------------------------

my @odd = map { chr } 0, 1, 0x1e, 0x22, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x7e,
    0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0, 0xc1, 0xc4, 0xc7, 0xcf, 0xd3, 0xd9,
    0xdb, 0xdd, 0xdf, 0xed, 0xf0, 0xf4, 0xff;
my @words = ('null', '-0', '1e999', '18446744073709551616', '"\\ud800"',
             '[' x 40, '{"a":' x 40, '"type":', ',', '\\u0000', "\xff\xff\xff",
             "\xdd\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xc6\x7f\xff");

sub pick { $_[ rand @_ ] }

sub noise { join '', map { chr rand 256 } 1 .. rand shift }

sub mutate {
    my ($s, @others) = @_;

    for (0 .. rand 3) {
        my $other = pick(@others);
        my $at = int rand length($s) + 1;
        my $n = int rand 8;
        my $how = int rand 9;

        if    ($how == 0) { substr $s, $at, 1, pick(@odd) if $at < length $s }
        elsif ($how == 1) { substr($s, $at, 1) ^= chr 1 << rand 8
                                if $at < length $s }
        elsif ($how == 2) { substr $s, $at, 0, pick(@odd) x (1 + $n) }
        elsif ($how == 3) { substr $s, $at, $n, '' }
        elsif ($how == 4) { $s = substr $s, 0, $at }
        elsif ($how == 5) { substr $s, $at, 0, substr $s, int $at / 2, $n * 4 }
        elsif ($how == 6) { substr $s, $at, 0, pick(@words) }
        elsif ($how == 7) { substr $s, $at, length $s,
                            length $other > $n ? substr $other, $n : '' }
        else              { substr $s, $at, 0, noise(20) }
    }

    return $s;
}


# a good frame of the payload, mostly

sub framed {
    my ($payload, $opcode) = @_;
    my %o;

    if (rand() < 0.15) {
        $payload = deflate($payload);
        $payload = mutate($payload, 'x' x 30) if rand() < 0.3;
        $o{rsv} = 4;
    }

    return Broadcast::WebSocket->encode($opcode, $payload, %o)
        if length $payload < 3 || rand() < 0.8;

    my $at = 1 + int rand length($payload) - 1;

    return Broadcast::WebSocket->encode($opcode, substr($payload, 0, $at), %o,
                                        fin => 0)
           . (rand() < 0.5 ? Broadcast::WebSocket->encode(9, 'p') : '')
           . Broadcast::WebSocket->encode(0, substr $payload, $at);
}


# kinds of connections: path, bytes before, good messages, opcode

my @kinds = (
    [ '/client', qq({"protocol":"json","version":1}$end), \@json, 1 ],
    [ '/client', qq({"protocol":"messagepack","version":1}$end), \@msgpack,
      2 ],
    [ '/events/chat?group=g', undef, \@plain, 1 ],
    [ '/echo', undef, [ @json, @plain ], 1 ],
);

my ($sent, %answers) = (0);

sub attack {
    my ($path, $hello, $good, $opcode) = @{ pick(@kinds) };
    my $bytes = '';

    if (defined $hello) {
        $hello = mutate($hello, @$good) if rand() < 0.05;
        $bytes = framed($hello, 1);
    }

    for (0 .. 2 + rand 6) {
        my $message = pick(@$good);
        my $kind = rand;

        if ($kind < 0.6) {
            $bytes .= framed(mutate($message, @$good), $opcode);
        } elsif ($kind < 0.8) {
            $bytes .= mutate(framed($message, $opcode), @$good);
        } elsif ($kind < 0.9) {
            $bytes .= framed($message, pick(0 .. 15));
        } elsif ($kind < 0.95) {
            $bytes .= Broadcast::WebSocket->encode(pick(1, 2, 8, 9, 10),
                                                   noise(150));
        } else {
            $bytes .= noise(100);
        }

        $sent++;
    }

    my $offer = rand() < 0.5
              ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : '';
    my $c = Broadcast::HTTP->connect($port);

    $c->write("GET $path HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
              . "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n$offer"
              . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
              . (rand() < 0.3 ? substr $bytes, 0, length $bytes, '' : ''));

    if (rand() < 0.2) {
        $c->write(substr $bytes, 0, 1 + int rand 20, '') while length $bytes;
    } else {
        $c->write($bytes);
    }

    shutdown $c->{socket}, SHUT_WR;

    $answers{ $c->at_end(30) ? 'ended' : 'did not end' }++;
    $answers{'no 101'}++ if $c->{buffer} !~ /^HTTP\/1.1 101 /;
    $c->close;
}

my $began = time;

attack() while $sent < $wanted;

note sprintf '%d frames in %.1f s: %s', $sent, time - $began,
    join ', ', map { "$_ $answers{$_}" } sort keys %answers;

is $answers{'did not end'}, undef, 'every connection ended with its client';
is $answers{'no 101'}, undef, 'and had been one';


# the same messages by POST, to connections whose answers come by SSE

my $posted = 0;
my %status;

for (1 .. 60) {
    my $n = http($port, 'POST', '/client/negotiate?negotiateVersion=1',
                 body => '')->{json};
    my $c = Broadcast::HTTP->connect($port);

    $c->request('GET', "/client?id=$n->{connectionToken}", keepalive => 1,
                headers => [ Accept => 'text/event-stream' ]);
    $c->head;

    for my $body ($kinds[0][1], map { mutate(pick(@json), @json) } 1 .. 4) {
        my $r = http($port, 'POST', "/client?id=$n->{connectionToken}",
                     body => $body);
        $status{ $r->{status} }++;
        $posted++;
    }

    $c->close;
}

note 'posted: ' . join ', ', map { "$_: $status{$_}" } sort keys %status;
is_deeply [ grep { !/^(?:200|404)$/ } keys %status ], [],
    'what is posted is taken, or its connection has ended';


# --- and after all that ------------------------------------------------------

is_deeply [ $nginx->workers ], \@workers, 'no worker has died';

ok wait_for {
    my $hubs = http($port, 'GET', '/status')->{json}{hubs};
    !grep { $_ } map { values %{ $_->{connections} } } values %$hubs;
}, 'nobody is left in the counts';

my $hub = Broadcast::Hub->connect($port, '/client');
my $plain = Broadcast::Plain->connect($port, '/events/chat');

http($port, 'POST', '/publish/chat', body => 'well?',
     headers => [ 'Content-Type' => 'text/plain' ]);
is_deeply $hub->invocation('message'), [ 'well?' ], 'a hub client hears';
is $plain->next->{arguments}[0], 'well?', 'a plain one, too';

my $echo = Broadcast::WebSocket->connect($port, '/echo');
$echo->text('well!');
is $echo->message, 'well!', 'and echo answers';

$_->close for $hub, $plain, $echo;

$nginx->stop_ok(name => 'the log has no alert and no report')
    or diag "BROADCAST_SEED=$seed";

diag "BROADCAST_SEED=$seed" unless Test::More->builder->is_passing;

done_testing;
