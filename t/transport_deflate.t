#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# permessage-deflate, RFC 7692: what is agreed on, what a message becomes in
# both directions, what is refused; that all clients of one window size share
# one compressed frame, and that an idle client costs no more than without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Node qw(program);
use Broadcast::Plain;
use Broadcast::Wait qw(slurp);
use Broadcast::WebSocket qw(deflate inflate);

my $build = $ENV{BROADCAST_BUILD} || 'debug';

plan skip_all => 'broadcast_echo is in debug builds alone'
    unless $build =~ /debug|sanitize/;

my $limit = 1024 * 1024;
my $nginx = server();
my $port = $nginx->port;
my $agreed = 'permessage-deflate; server_no_context_takeover;'
           . ' client_no_context_takeover';


sub server {
    return Broadcast::Nginx->new(
        build => $build,
        http => 'broadcast_zone hubs 16m; broadcast_key 0123456789abcdef;
                 broadcast_deflate on;',
        server => <<'EOS')->start;
        location /echo     { broadcast_echo; broadcast_queue 4m; }
        location /small    { broadcast_echo; broadcast_deflate on window=10
                                                               min_length=1k; }
        location /off      { broadcast_echo; broadcast_deflate off; }
        location /client   { broadcast_hub anonymous hub=chat; }
        location /events/  { broadcast_events anonymous; }
        location /longer/  { broadcast_events anonymous;
                             broadcast_deflate on min_length=2000; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
        location = /prom   { broadcast_status prometheus; }
EOS
}


sub echo {
    my ($offer, $path) = @_;

    return Broadcast::WebSocket->connect($port, $path // '/echo',
        offer => $offer // 'permessage-deflate; client_max_window_bits');
}


sub text {
    my ($n) = @_;

    return substr 'All work and no play makes Jack a dull boy. ' x ($n / 40 + 1),
                  0, $n;
}


# the same 30000 bytes again and again: a window of 15 bits sees the last ones

sub far {
    my ($n) = @_;

    srand 7;
    my $noise = join '', map { chr 32 + int rand 90 } 1 .. 30000;

    return substr $noise x ($n / 30000 + 1), 0, $n;
}


sub metric {
    my ($name) = @_;
    my $r = http($port, 'GET', '/prom');

    return $r->{body} =~ /^nginx_broadcast_$name (\d+)$/m ? $1 : undef;
}


# --- what is agreed on -------------------------------------------------------

for ([ '/echo', 'permessage-deflate', $agreed ],
     [ '/echo', 'permessage-deflate; client_max_window_bits', $agreed ],
     [ '/echo', 'permessage-deflate; server_max_window_bits=9',
       "$agreed; server_max_window_bits=9" ],
     [ '/echo', 'permessage-deflate; server_max_window_bits=8', undef ],
     [ '/echo', 'permessage-deflate; server_max_window_bits=8, '
                . 'permessage-deflate', $agreed ],
     [ '/echo', 'foo, permessage-deflate; x', undef ],
     [ '/small', 'permessage-deflate; client_max_window_bits',
       "$agreed; server_max_window_bits=10; client_max_window_bits=10" ],
     [ '/off', 'permessage-deflate', undef ])
{
    my ($path, $offer, $answer) = @$_;
    my $ws = echo($offer, $path);

    is $ws->{head}{headers}{'sec-websocket-extensions'}, $answer,
        "$path, $offer";
    $ws->close;
}

{
    my $ws = Broadcast::WebSocket->connect($port, '/echo', headers => [
        'Sec-WebSocket-Extensions' => 'foo',
        'Sec-WebSocket-Extensions' => 'permessage-deflate' ]);

    is $ws->{head}{headers}{'sec-websocket-extensions'}, $agreed,
        'offers in two headers';
    $ws->close;
}

for my $path ('/echo', '/off') {
    is echo('permessage-deflate; =', $path)->{head}{status}, 400,
        "$path: a header that is against the grammar is 400";
}


# --- messages ----------------------------------------------------------------

for my $bits (9 .. 15) {
    my $ws = echo("permessage-deflate; server_max_window_bits=$bits");
    my @wrong;

    is $ws->{window}, $bits, "window $bits: agreed on";

    for my $opcode (1, 2) {
        for my $n (0, 1, 127, 128, 1000, 65535, 70000, 300_000) {
            my $text = $n > 1000 ? far($n) : text($n);

            $ws->frame($opcode, deflate($text, $bits), rsv => 4);
            my $back = $ws->message;

            push @wrong, "$n bytes, opcode $opcode"
                unless $back eq $text && $ws->{opcode} == $opcode;
            push @wrong, "$n bytes: compressed $ws->{compressed}"
                if $n <= 1000 && $ws->{compressed} != ($n >= 128);
        }
    }

    is_deeply \@wrong, [], "window $bits: messages come back";
    $ws->close;
}

{
    my $ws = echo();
    my $text = text(5000);
    my $payload = deflate($text);

    $ws->text($text);
    is $ws->message, $text, 'who may compress need not';
    ok $ws->{compressed}, 'and is answered by what is shorter';

    my $noise = join '', map { chr int rand 256 } 1 .. 5000;
    $ws->binary($noise);
    is $ws->message, $noise, 'noise comes back';
    ok !$ws->{compressed}, 'as it is: it would be longer';

    $ws->frame(1, substr($payload, 0, 3), fin => 0, rsv => 4);
    $ws->ping('between');
    $ws->frame(0, substr($payload, 3, 1), fin => 0);
    $ws->frame(0, substr $payload, 4);
    is $ws->next_frame->{payload}, 'between', 'a ping between its fragments';
    is $ws->message, $text, 'a compressed message in fragments';

    $ws->frame(1, '', fin => 0, rsv => 4);
    $ws->frame(0, $_, fin => 0) for split //, $payload;
    $ws->frame(0, '');
    is $ws->message, $text, 'a fragment a byte, the first and last empty';

    $ws->write($_) for split //, $ws->encode(1, $payload, rsv => 4);
    is $ws->message, $text, 'byte by byte';

    $ws->frame(1, "\0", rsv => 4);
    is $ws->message, '', 'an empty message';

    $ws->frame(1, pack('H*', 'f348cdc9c9070000'), rsv => 4);
    is $ws->message, 'Hello', 'a last block of deflate inside (7.2.3.4)';

    $ws->frame(1, pack('H*', 'f248050000 00ffffcac9c90700' =~ s/ //r),
               rsv => 4);
    is $ws->message, 'Hello', 'two blocks (7.2.3.5)';

    $ws->deflated("text $_ " . text(200)) for 1 .. 50;
    is_deeply [ map { $ws->message =~ /^text (\d+) / } 1 .. 50 ], [ 1 .. 50 ],
        'each message stands for itself, in order';

    my $big = text($limit);
    $ws->deflated($big);
    ok $ws->message eq $big, 'a message of the limit';

    $noise = join '', map { pack 'N', int rand 2 ** 32 } 1 .. $limit / 4;
    $ws->deflated($noise, 2);
    ok $ws->message eq $noise,
        'noise of the limit, whose payload is longer than that';

    $ws->close;
    is_deeply [ $ws->closed ], [ 1005, '' ], 'a close is as without'
        if !defined $ws->{closed}[0];
}

{
    my $ws = echo(undef, '/small');

    $ws->text(text(1023));
    is $ws->message, text(1023), 'below min_length';
    ok !$ws->{compressed}, 'nothing is compressed';
    $ws->text(text(1024));
    is $ws->message, text(1024), 'from it on';
    ok $ws->{compressed}, 'it is';
    $ws->close;
}


# --- what is refused ---------------------------------------------------------

sub refused {
    my ($code, $what, @frames) = @_;
    my $ws = echo();

    $ws->frame(@$_) for @frames;

    is $ws->message, undef, "$what is refused";
    is +($ws->closed)[0], $code, "with $code";
    ok $ws->at_end(30), 'and the connection ends';
    $ws->drop;
}

my $hello = deflate('Hello');

refused(1002, 'RSV1 on a ping', [ 9, 'x', rsv => 4 ]);
refused(1002, 'RSV1 on a close', [ 8, pack('n', 1000), rsv => 4 ]);
refused(1002, 'RSV1 on a continuation', [ 1, 'x', fin => 0, rsv => 4 ],
        [ 0, 'x', rsv => 4 ]);
refused(1002, 'RSV1 on a continuation of a plain message',
        [ 1, 'x', fin => 0 ], [ 0, 'x', rsv => 4 ]);
refused(1002, 'RSV2 beside RSV1', [ 1, $hello, rsv => 6 ]);
refused(1002, 'RSV3 alone', [ 1, $hello, rsv => 1 ]);
refused(1007, 'what is no deflate data', [ 1, "\xff\xff\xff", rsv => 4 ]);
refused(1007, 'deflate data that breaks off',
        [ 1, substr($hello, 0, 3), rsv => 4 ]);
refused(1007, 'a compressed message without payload', [ 1, '', rsv => 4 ]);
refused(1007, 'a window over the message before',
        [ 1, pack('H*', '4a86101900'), rsv => 4 ]);
refused(1007, 'text that becomes no UTF-8', [ 1, deflate("ok\xff"), rsv => 4 ]);
refused(1007, 'text that ends inside a character',
        [ 1, deflate("ok\xc3"), rsv => 4 ]);
refused(1009, 'what becomes a byte more than the limit',
        [ 1, deflate('x' x ($limit + 1)), rsv => 4 ]);

{
    my $ws = echo('foo');

    $ws->frame(1, $hello, rsv => 4);
    is $ws->message, undef, 'RSV1 where nothing was agreed on is refused';
    is +($ws->closed)[0], 1002, 'with 1002';
    $ws->drop;
}

{
    my ($worker) = $nginx->workers;
    my $peak = sub { (slurp("/proc/$worker/status") =~ /VmHWM:\s+(\d+)/)[0] };
    my $before = $peak->();

    refused(1009, 'a bomb of 200 MB', [ 2, deflate("\0" x 200_000_000),
                                        rsv => 4 ]);
    cmp_ok $peak->() - $before, '<', 20_000,
        'and took no more memory than a message may';
}


# --- the same bytes for all --------------------------------------------------

{
    my (@clients, @hubs);
    my $with = sub {
        my ($path, $offer, $n) = @_;
        for (1 .. $n) {
            my $client = Broadcast::Plain->connect($port, $path,
                defined $offer ? (offer => $offer) : ());
            $client->{kind} = ($client->{window} // 'none') . " $path";
            push @clients, $client;
        }
    };

    $with->('/events/chat', 'permessage-deflate', 20);
    $with->('/events/chat', 'permessage-deflate; server_max_window_bits=11',
            10);
    $with->('/longer/chat', 'permessage-deflate', 5);
    $with->('/events/chat', undef, 5);

    push @hubs, Broadcast::Hub->connect($port, '/client',
                                        offer => 'permessage-deflate')
        for 1 .. 10;

    my @binary = map {
        my $hub = Broadcast::Hub->connect($port, '/client',
            offer => 'permessage-deflate', nohandshake => 1);
        $hub->{ws}->deflated(qq({"protocol":"messagepack","version":1}\x1e));
        $hub->{ws}->message;
        $hub->{ws};
    } 1 .. 10;

    my $encoded = metric('frames_encoded_total');
    my $deflated = metric('frames_deflated_total');

    my $publish = sub {
        my ($text) = @_;
        http($port, 'POST', '/publish/chat', body => encode_json($text),
             headers => [ 'Content-Type' => 'application/json' ]);
    };

    $publish->($_ . text(1000)) for 1 .. 3;

    my (%got, %compressed, $id);

    for my $client (@clients) {
        for (1 .. 3) {
            my $message = $client->next;
            $id //= $message->{id};
            $got{ $message->{arguments}[0] }++;
            $compressed{ $client->{kind} } += $client->{compressed};
        }
    }

    is_deeply [ sort { $a <=> $b } values %got ], [ 40, 40, 40 ],
        'all plain clients have all messages';
    is $compressed{'15 /events/chat'}, 60,
        'compressed, where it was agreed on';
    is $compressed{'11 /events/chat'}, 30,
        'with another window, too';
    is $compressed{'15 /longer/chat'}, 0,
        'not where the location wants more bytes';
    is $compressed{'none /events/chat'}, 0,
        'nor where it was not agreed on';

    is_deeply [ map { my $h = $_;
                      scalar grep { ($h->invocation('message') // [ '' ])->[0]
                                    =~ /^[123]All/ } 1 .. 3 } @hubs ],
        [ (3) x 10 ], 'all hub clients have them';
    is scalar(grep { $_->{ws}{compressed} } @hubs), 10, 'compressed';

    is_deeply [ map { my $ws = $_;
                      scalar grep { my $m = $ws->message;
                                    $m =~ /[123]All/ && $ws->{compressed}
                                    && $ws->{opcode} == 2 } 1 .. 3 } @binary ],
        [ (3) x 10 ], 'those that speak MessagePack, too, in binary frames';

    is metric('frames_encoded_total') - $encoded, 3 * 3,
        'a message was encoded once for each protocol';
    is metric('frames_deflated_total') - $deflated, 4 * 3,
        'and compressed once for each protocol and window size';

    $publish->('short');
    $_->next for @clients;
    $_->invocation('message') for @hubs;
    $_->message for @binary;
    is metric('frames_deflated_total') - $deflated, 4 * 3,
        'what is short is not compressed';

    # what a client missed goes through the same door

    my $again = Broadcast::Plain->connect($port,
        "/events/chat?last_event_id=$id", offer => 'permessage-deflate');

    for my $n (2, 3) {
        like $again->next->{arguments}[0], qr/^${n}All/,
            "message $n is sent again";
        ok $again->{compressed}, 'compressed';
    }

    $again->close;
    $_->close for @clients, @hubs, @binary;
}


# --- a reconnect that agrees on something else -------------------------------

{
    my $hub = Broadcast::Hub->connect($port, '/client', stateful => 1,
                                      offer => 'permessage-deflate');
    my $text = text(1000);

    # the Sequence comes first, then what was not acknowledged

    my $unacked = sub {
        my $record;
        1 while ($record = $hub->next) && $record->{type} != 1;
        return $record->{arguments}[0];
    };

    http($port, 'POST', '/publish/chat', body => $text,
         headers => [ 'Content-Type' => 'text/plain' ]);
    is $unacked->(), $text, 'a stateful client has a message';
    ok $hub->{ws}{compressed}, 'compressed';

    for ([ undef, 0 ], [ 'permessage-deflate; server_max_window_bits=9', 1 ],
         [ undef, 0 ], [ 'permessage-deflate', 1 ])
    {
        my ($offer, $compressed) = @$_;
        my $name = $offer // 'no offer';

        my $old = $hub->{ws};
        is $hub->again(offer => $offer), 101, "again with $name";
        is $unacked->(), $text, '... it is sent again';
        is $hub->{ws}{compressed} ? 1 : 0, $compressed,
            '... in the form of the new socket';
        $old->drop;
    }

    $hub->close;
}


# --- the official clients' WebSocket -----------------------------------------

{
    local $ENV{BASE} = "ws://127.0.0.1:$port";

    subtest 'the ws package' => sub { program('deflate.mjs') };
}

$nginx->stop_ok;

{
    my $key = 'a-secret-of-more-than-sixteen-bytes';

    $nginx = Broadcast::Nginx->new(
        workers => 2,
        http => "broadcast_zone hubs 16m; broadcast_key $key;
                 broadcast_deflate on min_length=1;
                 map \$arg_hub \$to { default chat; other other; }",
        server => <<'EOS')->start;
        location = /api/negotiate {
            broadcast_negotiate hub=$to user=$arg_user groups=$arg_groups;
        }
        location /api/     { broadcast_api; }
        location /client   { broadcast_hub; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
        location = /prom   { broadcast_status prometheus; }
EOS
    $port = $nginx->port;

    local $ENV{BASE} = "http://127.0.0.1:$port";
    local $ENV{TRANSPORT} = 1;
    local $ENV{KEY} = $key;

    subtest 'the SignalR client, which offers it' => sub {
        program('signalr.mjs');
    };

    cmp_ok metric('frames_deflated_total'), '>', 0, 'it was used there';

    $nginx->stop_ok;
}


# --- an idle client ----------------------------------------------------------

# A deflate and an inflate stream of its own would be some 300 KB a client.

sub cost {
    my ($offer) = @_;

    my $nginx = server();
    $port = $nginx->port;

    my ($worker) = $nginx->workers;
    my $used = sub { (slurp("/proc/$worker/status") =~ /VmRSS:\s+(\d+)/)[0] };
    my $before = $used->();
    my @clients;

    for (1 .. 200) {
        my $ws = Broadcast::WebSocket->connect($port, '/echo',
            defined $offer ? (offer => $offer) : ());
        my $text = text(2000);
        defined $offer ? $ws->deflated($text) : $ws->text($text);
        $ws->message eq $text or die "not echoed\n";
        push @clients, $ws;
    }

    my $cost = $used->() - $before;

    is http($port, 'GET', '/status')->{json}{hubs}{echo}{connections}
       {websocket}, 200, '200 clients are connected';

    $_->close for @clients;
    $nginx->stop_ok;

    return $cost;
}

my $plain = cost(undef);
my $with = cost('permessage-deflate');

note "200 clients cost $plain KB, with permessage-deflate $with KB";
cmp_ok $with - $plain, '<', 200 * 20,
    'permessage-deflate costs an idle client nothing';

done_testing;
