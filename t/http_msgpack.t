#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# REST bodies in MessagePack: application/x-msgpack is one message, what the
# .NET SDK sends as application/octet-stream holds it encoded for each protocol.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx;
use Broadcast::Plain;

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http => 'broadcast_zone hubs 4m; broadcast_key 0123456789abcdef;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location /api/     { broadcast_api open; }
EOS

my $port = $nginx->port;

my $json = Broadcast::Hub->connect($port, '/client?hub=chat');
my $plain = Broadcast::Plain->connect($port, '/events/chat');
my $packed = Broadcast::Hub->connect($port, '/client?hub=chat',
                                     nohandshake => 1);
$packed->{ws}->text(qq({"protocol":"messagepack","version":1}\x1e));
$packed->{ws}->message eq "{}\x1e" or die 'no handshake';


# packers: of a str, and of a map from a name to bytes

sub str { chr(0xa0 | length $_[0]) . $_[0] }
sub bin { chr(0xc4) . chr(length $_[0]) . $_[0] }

sub invocation {
    my $body = join '', @_;
    return chr(length $body) . $body;
}


sub post {
    my ($type, $body, %o) = @_;
    my @headers = ('Content-Type' => $type);

    if ($o{chunked}) {
        push @headers, 'Transfer-Encoding' => 'chunked';
        $body = join '', (map { sprintf("%x\r\n", length) . "$_\r\n" }
                          unpack '(a7)*', $body), "0\r\n\r\n";
    }

    return http($port, 'POST', $o{uri} // '/api/v1/hubs/chat', body => $body,
                headers => \@headers);
}


# what the three clients get; the plain one has what the JSON client has

sub gets {
    my ($name, %want) = @_;

    is $json->{ws}->message, $want{json} . "\x1e", "$name: JSON";
    is unpack('H*', $packed->{ws}->message // ''),
        unpack('H*', $want{packed}), "$name: MessagePack";
    is $packed->{ws}{opcode}, 2, '... in a binary frame';

    my $got = $plain->next;
    my $message = decode_json($want{json});

    is_deeply [ $got->{target}, $got->{arguments} ],
        [ $message->{target}, $message->{arguments} ],
        "$name: a plain subscriber";
}


my $date = "\xd6\xff\x38\x6d\x43\x80";

# x-msgpack

my $body = "\x82" . str('Target') . str('t')
         . str('arguments') . "\x93\x01" . bin("\1\2\3") . $date;

is post('application/x-msgpack', $body)->{status}, 202,
    'a message in MessagePack is taken';

my $text = '{"type":1,"target":"t","arguments":[1,"AQID",'
         . '"2000-01-01T00:00:00.000Z"]}';

gets('x-msgpack',
     json => $text,
     packed => invocation("\x96\x01\x80\xc0", str('t'), "\x93\x01",
                          bin("\1\2\3"), $date, "\x90"));

is_deeply [ map { post('application/x-msgpack', $_)->{status} }
            '', '{}', "\x80", "\x90", "\x81" . str('target') . "\x01",
            "\x82" . str('target') . str('t') . str('arguments') . "\x80",
            "\x81" . str('target') . str('t') . "\xc0",
            "\x81" . str('target') . str("a\nb"),
            "\x82" . str('target') . str('t') . str('arguments')
                   . "\xdd\xff\xff\xff\xff" ],
    [ (400) x 9 ], 'what is no message is not';

my $r = post('application/x-msgpack', "\x80");
is $r->{json}{message}, '"target" is required.', '... and it says why'
    or diag $r->{raw};


# octet-stream

my $encoded = invocation("\x96\x01\x80\xc0", str('e'), "\x92", $date,
                         "\xcd\0\7\x90");
$text = '{"type":1,"target":"e","arguments":["as it is", 7.0]}';

is post('application/octet-stream',
        "\x82" . str('json') . bin("$text\x1e")
               . str('messagepack') . bin($encoded))->{status}, 202,
    'a message encoded for both protocols is taken';

gets('octet-stream', json => $text, packed => $encoded);

is post('application/octet-stream',
        "\x81" . str('messagepack') . bin($encoded))->{status}, 202,
    'one for MessagePack alone';

gets('MessagePack alone',
     json => '{"type":1,"target":"e","arguments":'
             . '["2000-01-01T00:00:00.000Z",7]}',
     packed => $encoded);

is post('application/octet-stream', "\x81" . str('json') . bin("$text\x1e"))
    ->{status}, 202, 'one for JSON alone';

gets('JSON alone', json => $text,
     packed => invocation("\x96\x01\x80\xc0", str('e'), "\x92",
                          str('as it is'),
                          "\xcb\x40\x1c\x00\x00\x00\x00\x00\x00", "\x90"));

is post('application/octet-stream',
        "\x82" . str('json') . bin("$text\x1e")
               . str('messagepack') . bin($encoded), chunked => 1)->{status},
    202, 'one that comes in chunks';

gets('chunked', json => $text, packed => $encoded);

is_deeply [ map { post('application/octet-stream', $_)->{status} }
            '', "\x80", "\x81" . str('json') . bin('{}'),
            "\x81" . str('json') . str("$text\x1e"),
            "\x81" . str('json') . bin($text),
            "\x81" . str('json') . bin("$text\x1e$text\x1e"),
            "\x81" . str('json') . bin(qq({"type":6}\x1e)),
            "\x81" . str('messagepack') . bin("\x02\x91\x06"),
            "\x81" . str('messagepack') . bin(substr $encoded, 1),
            "\x81" . str('messagepack') . bin("$encoded\x00"),
            "\x81" . str('messagepack') . bin(substr $encoded, 0, -1),
            "\x81" . str('other') . bin('x'),
            "\x82" . str('json') . bin(qq({"type":1,"target":"x",)
                                       . qq("arguments":[]}\x1e))
                   . str('messagepack') . bin($encoded) ],
    [ (400) x 13 ], 'what is no whole invocation is not';


# to one connection

is post('application/x-msgpack', "\x81" . str('target') . str('one'),
        uri => "/api/v1/hubs/chat/connections/$packed->{id}")->{status}, 202,
    'to one connection';
is $packed->{ws}->message,
    invocation("\x96\x01\x80\xc0", str('one'), "\x90\x90"), '... it gets it';

$_->drop for $json, $packed, $plain;

$nginx->stop_ok;

done_testing;
