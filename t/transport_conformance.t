#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# RFC 6455 case by case against broadcast_echo, in the groups of the Autobahn
# suite: framing, pings and pongs, reserved bits, opcodes, fragmentation, UTF-8,
# close handling, limits.  A case is bytes to send and frames to come back.  It
# runs over connections of its own: sent at once, one byte at a time, glued
# behind the upgrade request, some over TLS.  If its last frame is no close, the
# connection must still be good for a closing handshake.
#
#     prove -v t/transport_conformance.t :: 6 7      groups 6 and 7

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::WebSocket;

my $limit = 1024 * 1024;
my $build = $ENV{BROADCAST_BUILD} || 'debug';

plan skip_all => 'broadcast_echo is in debug builds alone'
    unless $build =~ /debug|sanitize/;

my $nginx = Broadcast::Nginx->new(
    build => $build, workers => 2, tls => 1,
    http => 'broadcast_zone hubs 64m; broadcast_key 0123456789abcdef;',
    server => <<'EOS')->start;
        location /echo     { broadcast_echo; broadcast_queue 4m; }
        location /huge     { broadcast_echo; broadcast_message_size 16m; }
        location /rate     { broadcast_echo; broadcast_rate 1/s burst=1; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;
my @cases;

{
    my $plain = Broadcast::Nginx->new(build => '',
        http => 'broadcast_zone hubs 1m; broadcast_key 0123456789abcdef;',
        server => 'location /echo { broadcast_echo; }');
    my ($ok, $words) = $plain->test;

    ok !$ok, 'a build that is not for tests has no broadcast_echo';
    like $words, qr/unknown directive "broadcast_echo"/, 'and says so';
}

my $TEXT = 1;
my $BINARY = 2;


# --- what cases are made of --------------------------------------------------

sub frame { Broadcast::WebSocket->encode(@_) }
sub text { frame(1, @_) }
sub binary { frame(2, @_) }
sub more { frame(0, @_, fin => 0) }     # a continuation, and its last
sub last_of { frame(0, @_) }
sub ping { frame(9, $_[0] // '') }
sub pong { frame(10, $_[0] // '') }

sub close_frame {
    my ($code, $reason) = @_;

    return frame(8, defined $code ? pack 'na*', $code, $reason // '' : '');
}


# a frame with its length in the form that is given: 7, 16 or 64 bits

sub long_frame {
    my ($bits, $length, $payload) = @_;
    my $form = $bits == 7  ? chr(0x80 | $length)
             : $bits == 16 ? "\xfe" . pack('n', $length)
             :               "\xff" . pack('Q>', $length);

    return "\x81$form\0\0\0\0" . $payload;
}


sub chunks { my ($n, $bytes) = @_; return unpack "(a$n)*", $bytes }


# the message in fragments of n bytes

sub fragments {
    my ($opcode, $n, $bytes) = @_;
    my @parts = chunks($n, $bytes);

    return map { frame($_ ? 0 : $opcode, $parts[$_], fin => $_ == $#parts) }
           0 .. $#parts;
}


# Frames that must come: [ opcode, payload ], a close with its code.

sub echoed { [ 1, $_[0] ] }
sub echoed_binary { [ 2, $_[0] ] }
sub ponged { [ 10, $_[0] // '' ] }
sub closed { [ 8, $_[0] ] }


sub case {
    my ($group, $name, $send, $expect, %o) = @_;

    my @modes = @{ $o{modes} // [ 'at once', 'byte by byte', 'glued' ] };

    # a handshake of TLS costs more than the case itself

    push @modes, 'glued over TLS'
        if $group =~ /^[259]$/ && grep { $_ eq 'glued' } @modes;

    push @cases, { group => $group, name => $name, send => $send,
                   expect => $expect, modes => \@modes, chop => $o{chop} };
}

my $hello = 'Hello-W€llo';
my $good = text($hello);


# --- 1 framing ---------------------------------------------------------------

for my $n (0, 1, 125, 126, 127, 128, 1000, 65535, 65536) {
    my @modes = $n > 2000 ? (modes => [ 'at once', 'glued' ]) : ();

    case(1, "text of $n bytes", [ text('*' x $n) ], [ echoed('*' x $n) ],
         @modes);
    case(1, "binary of $n bytes", [ binary("\xfe" x $n) ],
         [ echoed_binary("\xfe" x $n) ], @modes);
}

case(1, "65536 bytes in pieces of $_", [ text('*' x 65536) ],
     [ echoed('*' x 65536) ], modes => [ 'pieces' ], chop => $_)
    for 131, 997, 1460;

case(1, 'masks and lengths in all alignments',
     [ map { binary(substr 'abcdefghijklmnopqrstuvwxyz', 0, $_) } 0 .. 26 ],
     [ map { echoed_binary(substr 'abcdefghijklmnopqrstuvwxyz', 0, $_) }
       0 .. 26 ]);
case(1, 'a mask of zeros', [ "\x81\x85\0\0\0\0Hello" ], [ echoed('Hello') ]);
case(1, 'a mask of ones', [ "\x81\x85\xff\xff\xff\xff" . ~'Hello' ],
     [ echoed('Hello') ]);

case(1, "a length of $_->[1] in $_->[0] bits is not the shortest form",
     [ $good, long_frame(@$_, '*' x $_->[1]) ],
     [ echoed($hello), closed(1002) ],
     modes => [ 'at once', 'glued' ])
    for [ 16, 0 ], [ 16, 5 ], [ 16, 125 ], [ 64, 5 ], [ 64, 125 ],
        [ 64, 126 ], [ 64, 65535 ];

case(1, "a length with the top bit: $_",
     [ "\x82\xff" . pack('H16', $_) . "\0\0\0\0" ], [ closed(1002) ])
    for qw(8000000000000000 8000000000000005 ffffffffffffffff);

case(1, "a length of 63 bits: $_",
     [ "\x82\xff" . pack('H16', $_) . "\0\0\0\0" ], [ closed(1009) ])
    for qw(7fffffffffffffff 4000000000000000 0000000100000000
           00000000ffffffff 0000000080000000);

case(1, "a frame without a mask, opcode $_",
     [ $good, frame($_, 'x', mask => 0) ], [ echoed($hello), closed(1002) ])
    for 0, 1, 2, 8, 9, 10;

case(1, 'a frame without a mask, empty', [ frame(1, '', mask => 0) ],
     [ closed(1002) ]);


# --- 2 pings and pongs -------------------------------------------------------

case(2, 'a ping without payload', [ ping() ], [ ponged() ]);
case(2, 'a ping with a text', [ ping('Hello, world!') ],
     [ ponged('Hello, world!') ]);
case(2, 'a ping with bytes', [ ping("\0\xff\xfe\xfd\xfc\xfb\0\xff") ],
     [ ponged("\0\xff\xfe\xfd\xfc\xfb\0\xff") ]);
case(2, 'a ping of 125 bytes', [ ping("\xfe" x 125) ],
     [ ponged("\xfe" x 125) ]);
case(2, 'a ping of 126 bytes', [ ping("\xfe" x 126) ], [ closed(1002) ]);
case(2, 'a ping of 70000 bytes', [ frame(9, 'x' x 70000) ], [ closed(1002) ],
     modes => [ 'at once', 'glued' ]);
case(2, 'a pong of 126 bytes', [ pong('x' x 126) ], [ closed(1002) ]);
case(2, 'a pong that nobody asked for', [ pong() ], []);
case(2, 'a pong with payload that nobody asked for', [ pong('unsolicited') ],
     []);
case(2, 'a pong, then a ping', [ pong('unsolicited'), ping('p') ],
     [ ponged('p') ]);
case(2, 'ten pings', [ map { ping("payload-$_") } 0 .. 9 ],
     [ map { ponged("payload-$_") } 0 .. 9 ]);
case(2, 'pings and messages keep their order',
     [ map { (text("t$_"), ping("p$_"), binary("b$_")) } 0 .. 4 ],
     [ map { (echoed("t$_"), ponged("p$_"), echoed_binary("b$_")) } 0 .. 4 ]);


# --- 3 reserved bits ---------------------------------------------------------

my %opcodes = (1 => 'text', 2 => 'binary', 8 => 'close', 9 => 'ping',
               10 => 'pong');

for my $rsv (1 .. 7) {
    for my $opcode (sort { $a <=> $b } keys %opcodes) {
        my $payload = $opcode == 8 ? pack 'n', 1000 : 'x';

        case(3, "bits $rsv on a $opcodes{$opcode}",
             [ $good, frame($opcode, $payload, rsv => $rsv), ping() ],
             [ echoed($hello), closed(1002) ]);
    }

    case(3, "bits $rsv on a continuation",
         [ text('a', fin => 0), frame(0, 'b', rsv => $rsv) ],
         [ closed(1002) ]);
}

case(3, 'a reserved bit is refused by the first two bytes',
     [ chr(0xc1) . "\xff" ], [ closed(1002) ]);


# --- 4 opcodes ---------------------------------------------------------------

for my $opcode (3 .. 7, 11 .. 15) {
    case(4, "opcode $opcode, empty", [ frame($opcode, '') ],
         [ closed(1002) ]);
    case(4, "opcode $opcode with payload, behind a message",
         [ $good, frame($opcode, 'x' x 10), ping() ],
         [ echoed($hello), closed(1002) ]);
    case(4, "opcode $opcode between fragments",
         [ text('a', fin => 0), frame($opcode, 'x') ], [ closed(1002) ]);
}


# --- 5 fragmentation ---------------------------------------------------------

case(5, 'a ping in two fragments',
     [ frame(9, 'a', fin => 0), last_of('b') ], [ closed(1002) ]);
case(5, 'a pong in two fragments',
     [ frame(10, 'a', fin => 0), last_of('b') ], [ closed(1002) ]);
case(5, 'a close in two fragments',
     [ frame(8, pack('n', 1000), fin => 0), last_of('b') ], [ closed(1002) ]);
case(5, 'a text in two fragments',
     [ text('fragment1', fin => 0), last_of('fragment2') ],
     [ echoed('fragment1fragment2') ]);
case(5, 'a binary in two fragments',
     [ binary("\xff1", fin => 0), last_of("\xfe2") ],
     [ echoed_binary("\xff1\xfe2") ]);
case(5, 'a text in two fragments with a ping between',
     [ text('fragment1', fin => 0), ping('p'), last_of('fragment2') ],
     [ ponged('p'), echoed('fragment1fragment2') ]);
case(5, 'a text with 125 bytes of ping between',
     [ text('a' x 300, fin => 0), ping('p' x 125), last_of('b' x 300) ],
     [ ponged('p' x 125), echoed('a' x 300 . 'b' x 300) ]);
case(5, 'five fragments with a ping between each',
     [ text('f0', fin => 0), map({ (ping("p$_"), more("f$_")) } 1 .. 3),
       ping('p4'), last_of('f4') ],
     [ map({ ponged("p$_") } 1 .. 4), echoed('f0f1f2f3f4') ]);
case(5, 'a pong between fragments',
     [ text('a', fin => 0), pong('x'), last_of('b') ], [ echoed('ab') ]);
case(5, 'a close between fragments',
     [ text('a', fin => 0), close_frame(1000), last_of('b') ],
     [ closed(1000) ]);
case(5, 'empty fragments',
     [ text('', fin => 0), more(''), last_of('') ], [ echoed('') ]);
case(5, 'empty fragments around a full one',
     [ text('', fin => 0), more('middle'), last_of('') ],
     [ echoed('middle') ]);
case(5, 'an empty last fragment',
     [ binary('all', fin => 0), last_of('') ], [ echoed_binary('all') ]);
case(5, 'a continuation of nothing', [ last_of('x'), text('y') ],
     [ closed(1002) ]);
case(5, 'a continuation of nothing that goes on', [ more('x'), text('y') ],
     [ closed(1002) ]);
case(5, 'a continuation behind a whole message', [ $good, last_of('x') ],
     [ echoed($hello), closed(1002) ]);
case(5, 'a continuation behind a message of fragments',
     [ fragments(1, 3, 'fragments'), last_of('x') ],
     [ echoed('fragments'), closed(1002) ]);
case(5, 'continuations of nothing between good messages',
     [ $good, more('x'), $good ], [ echoed($hello), closed(1002) ]);
case(5, 'a text inside a message', [ text('a', fin => 0), text('b') ],
     [ closed(1002) ]);
case(5, 'a binary inside a text', [ text('a', fin => 0), binary('b') ],
     [ closed(1002) ]);
case(5, 'a text begun inside a message',
     [ text('a', fin => 0), text('b', fin => 0) ], [ closed(1002) ]);
case(5, 'two messages of fragments, one after the other',
     [ fragments(1, 1, 'one'), fragments(2, 1, 'two') ],
     [ echoed('one'), echoed_binary('two') ]);
case(5, "1000 bytes in fragments of $_",
     [ fragments(2, $_, join '', map { chr $_ % 256 } 1 .. 1000) ],
     [ echoed_binary(join '', map { chr $_ % 256 } 1 .. 1000) ])
    for 1, 3, 7, 125, 126, 999;


# --- 6 UTF-8 -----------------------------------------------------------------

sub utf8 { my ($text) = @_; utf8::encode($text); return $text }

my %valid = (
    'a Greek word' => utf8("\x{3ba}\x{1f79}\x{3c3}\x{3bc}\x{3b5}"),
    'all lengths' => utf8("a\x{e4}\x{20ac}\x{1d11e}"),
    map { (sprintf('U+%04X', $_) => utf8(chr $_)) }
        0, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xe000, 0xfffd,
        0xffff, 0xfffe, 0xfdd0, 0x10000, 0x1ffff, 0x3ffff, 0xfffff, 0x100000,
        0x10ffff,
);

for my $what (sort keys %valid) {
    my $bytes = $valid{$what};

    case(6, "$what as a text", [ text($bytes) ], [ echoed($bytes) ]);
    case(6, "$what as a text, a fragment for each byte",
         [ fragments(1, 1, $bytes) ], [ echoed($bytes) ]);
}

# what is bad, and the index of the byte that first makes it so

my @invalid = (
    [ 'a lone continuation byte', "\x80", 0 ],
    [ 'the last continuation byte', "\xbf", 0 ],
    [ 'two continuation bytes', "\x80\xbf", 0 ],
    [ 'a continuation byte behind a character', "\xc3\xa4\x80", 2 ],
    [ 'byte FE', "\xfe", 0 ],
    [ 'byte FF', "\xff", 0 ],
    [ 'bytes FE FE FF FF', "\xfe\xfe\xff\xff", 0 ],
    [ 'byte F5', "\xf5\x80\x80\x80", 0 ],
    [ 'five bytes', "\xf8\x88\x80\x80\x80", 0 ],
    [ 'six bytes', "\xfc\x84\x80\x80\x80\x80", 0 ],
    [ 'an overlong slash in two bytes', "\xc0\xaf", 0 ],
    [ 'an overlong slash in three bytes', "\xe0\x80\xaf", 1 ],
    [ 'an overlong slash in four bytes', "\xf0\x80\x80\xaf", 1 ],
    [ 'an overlong U+007F', "\xc1\xbf", 0 ],
    [ 'an overlong U+07FF', "\xe0\x9f\xbf", 1 ],
    [ 'an overlong U+FFFF', "\xf0\x8f\xbf\xbf", 1 ],
    [ 'an overlong U+0000', "\xc0\x80", 0 ],
    [ 'surrogate D800', "\xed\xa0\x80", 1 ],
    [ 'surrogate DBFF', "\xed\xaf\xbf", 1 ],
    [ 'surrogate DC00', "\xed\xb0\x80", 1 ],
    [ 'surrogate DFFF', "\xed\xbf\xbf", 1 ],
    [ 'a pair of surrogates', "\xed\xa0\x80\xed\xb0\x80", 1 ],
    [ 'U+110000', "\xf4\x90\x80\x80", 1 ],
    [ 'two bytes, the second missing', "\xc3A", 1 ],
    [ 'three bytes, the third missing', "\xe2\x82A", 2 ],
    [ 'four bytes, the fourth missing', "\xf0\x9d\x84A", 3 ],
    [ 'a start byte behind a start byte', "\xc3\xc3\xa4", 1 ],
    [ 'Greek, a surrogate, ASCII',
      "\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited", 8 ],
    [ 'Greek, U+110000, ASCII',
      "\xce\xba\xe1\xbd\xb9\xcf\x83\xf4\x90\x80\x80edited", 8 ],
);

for (@invalid) {
    my ($what, $bytes, $at) = @$_;
    my $prefix = substr $bytes, 0, $at;
    my $first = substr $bytes, $at, 1;

    case(6, "$what in a text", [ text("ok $bytes!") ], [ closed(1007) ]);
    case(6, "$what in the second message", [ $good, text($bytes) ],
         [ echoed($hello), closed(1007) ]);

    # The frame announces 1000 bytes, and ends with the byte that is wrong:
    # the answer to a ping says that what stood before was not.

    case(6, "$what: the byte that is wrong is enough",
         [ text("ok $prefix", fin => 0), ping('still'),
           substr more($first . 'x' x 1000), 0, 4 + 4 + 1 ],
         [ ponged('still'), closed(1007) ]);
}

for ([ "\xc3" ], [ "\xe2\x82" ], [ "\xe2" ], [ "\xf0\x9d\x84" ], [ "\xf0" ]) {
    my ($bytes) = @$_;
    my $name = unpack 'H*', $bytes;

    case(6, "a text that ends behind $name", [ text($bytes) ],
         [ closed(1007) ]);
    case(6, "a text whose last fragment is empty behind $name",
         [ text($bytes, fin => 0), ping('p'), last_of('') ],
         [ ponged('p'), closed(1007) ]);
}

case(6, 'a character over fragments with pings between',
     [ text("\xf0", fin => 0), ping(1), more("\x9d"), ping(2), more("\x84"),
       ping(3), last_of("\x9e") ],
     [ ponged(1), ponged(2), ponged(3), echoed("\xf0\x9d\x84\x9e") ]);
case(6, 'what is no UTF-8 is good in a binary', [ binary("\xff\xfe\x80") ],
     [ echoed_binary("\xff\xfe\x80") ]);
case(6, 'each message begins anew',
     [ binary("\xc3"), text("\xc3\xa4"), fragments(1, 1, "\xc3\xa4") ],
     [ echoed_binary("\xc3"), echoed("\xc3\xa4"), echoed("\xc3\xa4") ]);


# --- 7 close handling --------------------------------------------------------

case(7, 'a message, then a close', [ $good, close_frame(1000) ],
     [ echoed($hello), closed(1000) ]);
case(7, 'two closes', [ close_frame(1000), close_frame(1001) ],
     [ closed(1000) ]);
case(7, 'a ping behind the close', [ close_frame(1000), ping() ],
     [ closed(1000) ]);
case(7, 'a message behind the close', [ close_frame(1000), $good ],
     [ closed(1000) ]);
case(7, 'nonsense behind the close', [ close_frame(1000), "\xff" x 50 ],
     [ closed(1000) ]);
case(7, '100000 bytes behind the close',
     [ close_frame(1000), map { binary('x' x 10000) } 1 .. 10 ],
     [ closed(1000) ], modes => [ 'at once' ]);
case(7, 'a close without a code', [ close_frame() ], [ closed(undef) ]);
case(7, 'a close of one byte', [ frame(8, 'a') ], [ closed(1002) ]);
case(7, 'a close with a code alone', [ close_frame(1000) ], [ closed(1000) ]);
case(7, 'a close with a reason', [ close_frame(1000, 'Hello World!') ],
     [ closed(1000) ]);
case(7, 'a close with the longest reason', [ close_frame(1000, '*' x 123) ],
     [ closed(1000) ]);
case(7, 'a close with a longer reason', [ close_frame(1000, '*' x 124) ],
     [ closed(1002) ]);
case(7, 'a close whose reason is no UTF-8',
     [ close_frame(1000, "\xce\xba\xed\xa0\x80ed") ], [ closed(1007) ]);
case(7, 'a close whose reason breaks off',
     [ close_frame(1000, "\xce\xba\xe1\xbd") ], [ closed(1007) ]);
case(7, 'a close whose reason is UTF-8',
     [ close_frame(1000, "\xce\xba\xe1\xbd\xb9") ], [ closed(1000) ]);

case(7, "code $_", [ close_frame($_) ], [ closed($_) ])
    for 1000 .. 1003, 1007 .. 1014, 3000, 3999, 4000, 4999;
case(7, "code $_ with a reason", [ close_frame($_, 'why') ], [ closed($_) ])
    for 1001, 3000, 4999;
case(7, "code $_ is none that may be sent", [ close_frame($_) ],
     [ closed(1002) ])
    for 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000,
        32768, 65535;
case(7, "code $_ with a reason is none that may be sent",
     [ close_frame($_, 'why') ], [ closed(1002) ]) for 1005, 5000;


# --- 9 limits ----------------------------------------------------------------

for my $opcode ($TEXT, $BINARY) {
    my $kind = $opcodes{$opcode};

    for my $kb (64, 128, 1024) {
        my $bytes = 'nginx-broadcast!' x ($kb * 64);

        case(9, "$kind of ${kb}k in one frame", [ frame($opcode, $bytes) ],
             [ [ $opcode, $bytes ] ], modes => [ 'at once', 'glued' ]);

        case(9, "$kind of ${kb}k in fragments of $_",
             [ fragments($opcode, $_, $bytes) ], [ [ $opcode, $bytes ] ],
             modes => [ 'at once' ])
            for $kb == 64 ? (64, 256, 1024, 65535) : (4096, 65536);

        case(9, "$kind of ${kb}k in pieces of $_",
             [ frame($opcode, $bytes) ], [ [ $opcode, $bytes ] ],
             modes => [ 'pieces' ], chop => $_)
            for $kb == 64 ? (64, 512) : (2048, 65536);
    }
}

case(9, '16k byte by byte', [ text('x' x 16384) ], [ echoed('x' x 16384) ],
     modes => [ 'byte by byte' ]);
case(9, 'a message above the limit is refused by its header',
     [ substr binary('x' x ($limit + 1)), 0, 14 ], [ closed(1009) ]);
case(9, 'a whole message above the limit', [ binary('x' x ($limit + 1)) ],
     [ closed(1009) ], modes => [ 'at once' ]);
case(9, 'fragments above the limit in all',
     [ binary('x' x 1000000, fin => 0), more('x' x 40000),
       last_of('x' x 40000) ],
     [ closed(1009) ], modes => [ 'at once' ]);
case(9, 'fragments of the limit in all, then another message',
     [ text('x' x ($limit - 1), fin => 0), last_of('y'), $good ],
     [ echoed('x' x ($limit - 1) . 'y'), echoed($hello) ],
     modes => [ 'at once' ]);
case(9, 'a thousand messages', [ map { text("message $_") } 1 .. 1000 ],
     [ map { echoed("message $_") } 1 .. 1000 ], modes => [ 'at once' ]);


# --- running them ------------------------------------------------------------

# The upgrade with these bytes in the request's own write; the 101 was read.

sub upgraded {
    my ($bytes, $path, $tls) = @_;
    $path //= '/echo';

    my $c = bless Broadcast::HTTP->connect($nginx->port($tls ? 'tls' : undef),
                                           timeout => 20, tls => $tls),
        'Broadcast::WebSocket';

    setsockopt $c->{socket}, IPPROTO_TCP, TCP_NODELAY, 1 unless $tls;

    $c->write("GET $path HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
              . "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
              . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
              . ($bytes // ''));

    my $head = $c->head;
    $head->{status} == 101 or die "no upgrade: $head->{raw}";

    return $c;
}


# an empty string, or what was wrong

sub run {
    my ($case, $mode) = @_;
    my $bytes = join '', @{ $case->{send} };

    my $glued = $mode =~ /glued/;
    my $ws = upgraded($glued ? $bytes : '', undef, $mode =~ /TLS/);

    if ($mode eq 'at once') {
        $ws->write($bytes);

    } elsif (!$glued) {

        # the server may close at any byte: what follows is lost on nobody

        for (chunks($case->{chop} // 1, $bytes)) {
            $ws->write($_) or last;
        }
    }

    my $n = 0;

    for my $expect (@{ $case->{expect} }) {
        my $wrong = differs($ws->next_frame, @$expect);
        return 'frame ' . $n . ": $wrong" if $wrong;
        $n++;
    }

    unless ($n && $case->{expect}[-1][0] == 8) {
        $ws->write(close_frame(1000));
        my $wrong = differs($ws->next_frame, 8, 1000);
        return "at the end: $wrong" if $wrong;
    }

    return 'the connection does not end' unless $ws->at_end(30);
    return length($ws->{buffer}) . ' bytes behind the close'
        if length $ws->{buffer};

    $ws->drop;

    return '';
}


sub differs {
    my ($f, $opcode, $payload) = @_;

    return 'the connection ended' unless $f;
    return "reserved bits $f->{rsv}" if $f->{rsv};
    return 'a fragment' unless $f->{fin};

    if ($f->{opcode} == 8) {
        my ($code) = unpack 'n', $f->{payload};
        my $got = 'close ' . ($code // 'without code');
        my $want = 'close ' . ($payload // 'without code');

        return $opcode == 8 && $got eq $want ? ''
               : $opcode == 8 ? "$got, not $want" : $got;
    }

    return "opcode $f->{opcode}, not $opcode" if $f->{opcode} != $opcode;
    return length($f->{payload}) . ' bytes that differ'
        if $f->{payload} ne $payload;
    return '';
}


# --- the closing handshake that we begin -------------------------------------

# broadcast_rate ends these with 1008.  One client answers, one goes on talking
# and answers later, one never says a word.

my %told;

for my $who ('answers', 'talks', 'silent') {
    my $ws = $told{$who} = upgraded('', '/rate');

    $ws->write(text($_)) for 1 .. 8;

    while (my $f = $ws->next_frame) {
        next if $f->{opcode} != 8;
        is unpack('n', $f->{payload}), 1008, "$who: told to go";
        last;
    }
}

my $told = time;

{
    my $ws = $told{answers};

    $ws->write(close_frame(1008));
    ok $ws->at_end(30), 'who answers our close is gone at once';

    $ws = $told{talks};

    $ws->write(text('more') . ping('p') . binary('x' x 5000));
    ok !$ws->at_end(0.3), 'who goes on talking is waited for';
    is $ws->{buffer}, '', 'and gets no answer';
    $ws->write(close_frame(1008));
    ok $ws->at_end(30), 'until its close has come';
}

my %want = map { $_ => 1 } @ARGV;

for my $case (@cases) {
    next if %want && !$want{ $case->{group} };

    my @wrong = grep { $_ ne '' } map {
        my $mode = $_;
        my $wrong = eval { run($case, $mode) } // "died: $@";
        $wrong eq '' ? '' : "$mode: $wrong";
    } @{ $case->{modes} };

    ok !@wrong, "$case->{group}: $case->{name}" or diag join "\n", @wrong;
}

note scalar(@cases) . ' cases';

{
    my $ws = $told{silent};

    ok $ws->at_end(60), 'who never answers our close is cut off';
    cmp_ok time - $told, '>', 4, 'but not before it had time to';
}


# --- what a suite may want that sends more -----------------------------------

{
    my $ws = upgraded('', '/huge');
    my $huge = 'nginx!!!' x (2 * 1024 * 1024);

    for (1, 2) {
        $ws->binary($huge);
        ok $ws->message(60) eq $huge, '16m come back';
    }

    $ws->close;
}


# --- SSE and POST, long polling ----------------------------------------------

{
    my $n = http($port, 'POST', '/echo/negotiate?negotiateVersion=1',
                 body => '')->{json};
    my $c = Broadcast::HTTP->connect($port);

    $c->request('GET', "/echo?id=$n->{connectionToken}", keepalive => 1,
                headers => [ Accept => 'text/event-stream' ]);
    is $c->head->{status}, 200, 'an event stream';

    for my $text ('one', "two\nlines", 'x' x 100_000) {
        my $r = http($port, 'POST', "/echo?id=$n->{connectionToken}",
                     body => $text);
        is $r->{status}, 200, 'a message is taken';

        my $stream = '';
        $stream .= $c->chunk until $stream =~ /data:.*\n\n\z/s
                                   || $stream =~ /data:.*\r\n\r\n\z/s;
        my @lines = $stream =~ /^data: (.*?)\r?$/mg;
        is join("\n", @lines), $text, 'and comes back on the stream';
    }

    $c->close;
}

{
    my $n = http($port, 'POST', '/echo/negotiate?negotiateVersion=1',
                 body => '')->{json};
    my $uri = "/echo?id=$n->{connectionToken}";

    is http($port, 'GET', $uri)->{status}, 200, 'the first poll';

    for my $bytes ('one', "\0\xff", 'x' x 100_000) {
        http($port, 'POST', $uri, body => $bytes);
        ok http($port, 'GET', $uri)->{body} eq $bytes,
            length($bytes) . ' bytes come back by a poll';
    }

    is http($port, 'DELETE', $uri)->{status}, 202, 'and it is ended';
}

$nginx->stop_ok;

done_testing;
