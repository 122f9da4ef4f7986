#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What a hub's server does with what clients send: handshakes, invocations,
# nonsense; and with which words and codes connections end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;

my $nginx = Broadcast::Nginx->new(
    http => 'broadcast_zone hubs 4m; broadcast_key 0123456789abcdef;
             broadcast_message_size 4k;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub status { http($port, 'GET', '/status')->{json} }


# a connection before its handshake, or with the one given

sub raw {
    my ($handshake) = @_;

    my $hub = Broadcast::Hub->connect($port, '/client?hub=chat',
                                      nohandshake => 1);
    $hub->{error} and die $hub->{error};
    $hub->{ws}->text($handshake) if defined $handshake;

    return $hub;
}


sub hub { Broadcast::Hub->connect($port, '/client?hub=chat') }


# handshakes

is_deeply raw(qq({"protocol":"json","version":1}\x1e))->next, {},
    'the handshake is answered with an empty object';
is_deeply raw(qq({"version":1,"x":[{}],"protocol":"JSON"}\x1e))->next, {},
    'in any order, with unknown members, ignoring case';

my %errors = (
    '{"protocol":"thrift","version":1}' =>
        "The protocol 'thrift' is not supported.",
    '{"protocol":"messagepack","version":3}' =>
        "The server does not support version 3 of the 'messagepack' protocol.",
    '{"protocol":"json","version":3}' =>
        "The server does not support version 3 of the 'json' protocol.",
    '{"version":1}' =>
        'An unexpected error occurred during connection handshake.',
    'rubbish' =>
        'An unexpected error occurred during connection handshake.',
);

for my $handshake (sort keys %errors) {
    my $hub = raw("$handshake\x1e");
    like $hub->next->{error}, qr/^\Q$errors{$handshake}\E/,
        "its error: $handshake";
    is $hub->{ws}->message, undef, 'then the connection ends';
    $hub->drop;
}

my $hub = raw('x' x 3000);
$hub->{ws}->text('x' x 3000);
is_deeply $hub->next, { error => 'Handshake was canceled.' },
    'a handshake without end is cancelled';
$hub->drop;

$hub = raw('x' x 6000);
is_deeply $hub->next, { error => 'Handshake was canceled.' },
    '... and one that is too large for a message';
is $hub->{ws}->message, undef, 'then the connection ends';
is +($hub->{ws}->closed)[0], 1009, '... as too big';
$hub->drop;

# in pieces, and with messages behind it

$hub = raw('{"protocol":');
$hub->{ws}->text(qq("json","version":1}\x1e{"type":1,"target":"A",)
                 . qq("arguments":[],"invocationId":"1"}\x1e{"type":1,));
is_deeply $hub->next, {}, 'a handshake in two messages';
is $hub->next->{invocationId}, '1', 'and an invocation behind it';
$hub->{ws}->text(qq("target":"B","arguments":[],"invocationId":"2"}\x1e));
is $hub->next->{invocationId}, '2', 'whose other half is the next message';
$hub->{ws}->binary(qq({"type":1,"target":"B","arguments":[],)
                   . qq("invocationId":"3"}\x1e));
is $hub->next->{invocationId}, '3', 'a binary frame is as good';

# invocations that nobody answers

$hub->send({ type => 1, target => 'Foo', arguments => [] });
$hub->send({ type => 1, target => 'Foo', arguments => [ 1 ],
             invocationId => 'a' });
is_deeply $hub->next, { type => 3, invocationId => 'a',
                        error => "Unknown hub method 'Foo'" },
    'an unknown method; without an id there is no answer';
$hub->send({ type => 4, target => 'Bar', arguments => [],
             invocationId => 's' });
is_deeply $hub->next, { type => 3, invocationId => 's',
                        error => "Unknown hub method 'Bar'" },
    'an unknown stream';

$hub->send({ type => 6 });
$hub->send({ type => 2, invocationId => '9', item => 1 });
$hub->send({ type => 3, invocationId => '9', result => 1 });
$hub->send({ type => 5, invocationId => '9' });
$hub->send({ type => 42 });
$hub->send({ type => 1, target => "Un\x{e4}\"\\", arguments => [],
             invocationId => 'b' });
is $hub->next->{error}, "Unknown hub method 'Un\x{e4}\"\\'",
    'what belongs to nothing is ignored';

# the client says goodbye

$hub->send({ type => 7 });
is $hub->{ws}->message, undef, 'a Close ends the connection';
is +($hub->{ws}->closed)[0], 1000, 'in peace';
$hub->drop;

# nonsense ends it

for my $record ('rubbish', '{}', '[]', '{"type":"1"}', '{"type":1}',
                '{"type":1,"target":"x","arguments":{}}',
                '{"type":1,"target":"x","arguments":[]')
{
    my $hub = hub();
    $hub->{ws}->text("$record\x1e");
    my $close = $hub->next;
    is $close->{type}, 7, "a Close answers: $record";
    like $close->{error}, qr/^Connection closed with an error\./,
        'with the words of the reference server';
    ok !$close->{allowReconnect}, 'and no word of coming again';
    is $hub->{ws}->message, undef, 'then it ends';
    is +($hub->{ws}->closed)[0], 1011, 'with 1011';
    $hub->drop;
}

for my $messages ([ '{"type":6,"x":"' . 'y' x 5000 . '"}' . "\x1e" ],
                  [ '{"type":6,"x":"' . 'y' x 3000, 'y' x 3000 ])
{
    my $hub = hub();
    $hub->{ws}->text($_) for @$messages;
    like $hub->next->{error},
        qr/The maximum message size of 4096B was exceeded\./,
        'a record above the limit, in ' . @$messages . ' messages';
    is $hub->{ws}->message, undef, 'ends the connection';
    is +($hub->{ws}->closed)[0], 1009, 'with 1009';
    $hub->drop;
}

ok status()->{closed}{protocol} >= 14, 'all of it is counted';

# by command

my @hubs = map { hub() } 1 .. 3;
my $plain = Broadcast::Plain->connect($port, '/events/chat');

my $r = http($port, 'DELETE',
    "/api/v1/hubs/chat/connections/$hubs[0]{id}?reason=enough");
like $r->{status}, qr/^20/, 'one is closed by REST' or diag $r->{raw};
is_deeply $hubs[0]->next, { type => 7, error => 'enough',
                            allowReconnect => JSON::PP::true },
    'it hears the reason, and may come again';
is $hubs[0]{ws}->message, undef, 'then the WebSocket closes';
is +($hubs[0]{ws}->closed)[0], 1000, 'with 1000';
is http($port, 'HEAD', "/api/v1/hubs/chat/connections/$hubs[0]{id}")
    ->{status}, 404, 'and is unknown from then on';

$r = http($port, 'POST', '/api/hubs/chat/:closeConnections'
    . "?api-version=2022-06-01&excluded=$hubs[2]{id}&reason=all");
is $r->{status}, 204, 'all but one are closed' or diag $r->{raw};
is $hubs[1]->next->{error}, 'all', 'a hub client';
is $plain->next, undef, 'and a plain one';
is_deeply [ $plain->closed ], [ 1000, 'all' ], 'with the reason';

http($port, 'POST', '/publish/chat', body => '1');
is $hubs[2]->next->{target}, 'message', 'the excluded one stays';

# messages before the close arrive before it

http($port, 'POST', '/publish/chat', body => 'x' x 3000) for 1 .. 20;
http($port, 'DELETE', "/api/v1/hubs/chat/connections/$hubs[2]{id}");
is $hubs[2]->next->{type}, 1, 'what came before the command' for 1 .. 20;
is $hubs[2]->next->{type}, 7, 'is heard before the Close';

$_->drop for @hubs;
$plain->drop;

$nginx->stop_ok;

done_testing;
