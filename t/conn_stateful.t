#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Stateful reconnect on the wire, signalr.md 6: what is said, in which order,
# by whom, and what ends it.  What the official client makes of it is the
# matter of t/client_stateful.t.

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
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    http => "broadcast_zone hubs 8m; broadcast_key $key;
             broadcast_queue 4000;",
    server => <<'EOS')->start;
        location /client   { broadcast_hub; }
        location /quick    { broadcast_hub; broadcast_keepalive 1s;
                             broadcast_client_timeout 2s; }
        location /packed   { broadcast_hub; broadcast_deflate on; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;
my $token = client_token($key, 'chat', sub => 'ann');
my $uri = '/client?hub=chat';

my $ack = "Ack ID greater than amount of messages we've sent.";
my $sequence =
    "Sequence ID greater than amount of messages we've received.";


sub status      { http($port, 'GET', '/status')->{json} }
sub connections { status()->{hubs}{ $_[0] // 'chat' }{connections}{websocket} }
sub slow        { status()->{closed}{slow} }
sub away        { status()->{stateful}{away} }


sub publish {
    my ($text, $query) = @_;

    return http($port, 'POST', '/publish/chat?target=t' . ($query // ''),
        body => qq("$text"),
        headers => [ 'Content-Type' => 'application/json' ])->{status};
}


sub stateful {
    my (%o) = @_;

    return Broadcast::Hub->connect($port, $o{uri} // $uri, stateful => 1,
                                   token => $o{token} // $token, %o);
}


sub record  { +{ type => 1, target => 't', arguments => [ $_[0] ] } }
sub invoke  { +{ type => 1, target => 'No', invocationId => "$_[0]",
                 arguments => [] } }
sub answer  { +{ type => 3, invocationId => "$_[0]",
                 error => "Unknown hub method 'No'" } }
sub ack     { +{ type => 8, sequenceId => $_[0] } }
sub seq     { +{ type => 9, sequenceId => $_[0] } }


# the next record that is no ping

sub next_of {
    my ($hub, $seconds) = @_;
    my $record;

    1 while ($record = $hub->next($seconds // 30)) && $record->{type}
            && $record->{type} == 6;

    return $record;
}


# the socket ends without a word

sub cut {
    my ($hub) = @_;

    my $away = away();
    $hub->drop;

    return wait_for { away() > $away } 5;
}


# what is sent now: first letters of the messages in front of a pong

sub now {
    my ($hub) = @_;
    my @got;

    $hub->{ws}->ping('now');

    while (my $frame = $hub->{ws}->next_frame(30)) {
        last if $frame->{opcode} == 10;
        push @got, $frame->{payload} =~ /"arguments":\["(.)/g;
    }

    return join ' ', @got;
}


# negotiate

sub negotiate {
    my ($query) = @_;

    return http($port, 'POST', "/client/negotiate?hub=chat&$query", body => '',
                headers => [ Authorization => "Bearer $token" ])->{json};
}

for my $query ('useStatefulReconnect=true', 'USESTATEFULRECONNECT=TRUE',
               'useStatefulReconnect=%20True%20')
{
    my $n = negotiate("negotiateVersion=1&$query");
    ok $n->{useStatefulReconnect}, "granted where it is asked: $query";
}

ok negotiate('useStatefulReconnect=true')->{useStatefulReconnect},
    'with negotiate version 0 as well';

for my $query ('x=1', 'useStatefulReconnect=1', 'useStatefulReconnect=',
               'useStatefulReconnect=truex', 'useStatefulReconnect=false',
               'useStatefulReconnect=%zz')
{
    my $n = negotiate("negotiateVersion=1&$query");
    ok !exists $n->{useStatefulReconnect}, "not unasked: $query";
}

my $plain = Broadcast::Hub->connect($port, $uri, token => $token,
                                    nohandshake => 1);
$plain->send({ protocol => 'json', version => 2 });
is $plain->next->{error},
    "The server does not support version 2 of the 'json' protocol.",
    'version 2 is refused where it was not granted';
$plain->drop;

# the 15 seconds go by behind what follows

my $gone = stateful(uri => '/client?hub=quiet',
                    token => client_token($key, 'quiet', sub => 'ann'));
cut($gone);
my $since = time;

# the exchange of signalr.md 6.3

my $hub = stateful();
ok !$hub->{error}, 'version 2 is spoken where it was granted' or diag
    $hub->{error};
my $id = $hub->{id};

publish('a1');
publish('a2');
is_deeply next_of($hub), record('a1'), 'messages come as ever';
is_deeply next_of($hub), record('a2'), 'one after another';

my $start = time;
$hub->send(invoke(1));
is_deeply next_of($hub), answer(1), 'an answer is message 3';
is_deeply next_of($hub), ack(1), 'what came is acknowledged';
my $took = time - $start;
ok $took > 0.8, 'about a second later' or diag $took;

$hub->send(invoke($_)) for 2 .. 4;
is_deeply [ map { next_of($hub) } 1 .. 3 ], [ map { answer($_) } 2 .. 4 ],
    'three more';
is_deeply next_of($hub), ack(4), 'have one Ack';

$hub->send({ type => 6 });
$hub->send(ack(2));
$hub->send(invoke(5));
is_deeply next_of($hub), answer(5), 'ping and Ack are not counted';

ok cut($hub), 'a socket that ends without a word leaves its connection';
is connections(), 1, 'which is one';
publish('a3');

is $hub->again, 101, 'another socket with the same id is taken';
my $first = $hub->{ws}->message;
is $first, qq({"type":9,"sequenceId":3}\x1e),
    'the first that it hears is Sequence of the oldest it has not acknowledged';
is_deeply [ map { next_of($hub) } 1 .. 6 ],
    [ map({ answer($_) } 1 .. 5), record('a3') ],
    'then all of them once more, and what came meanwhile';

# what stands before Sequence is of no number

$hub->send(invoke(90));
$hub->send(seq(4));
$hub->send(invoke($_)) for 4 .. 6;
is_deeply next_of($hub), answer(6),
    'repeated messages, and those before Sequence, are not looked at again';
is_deeply next_of($hub), ack(6), 'but acknowledged, with the new one';

my $s = status()->{stateful};
is $s->{reconnects}, 1, 'the takeover is counted';
is $s->{away}, 1, 'it waits for none any more';

$hub->send(ack(9));
$hub->send(seq(7));
$hub->send(invoke(7));
is_deeply next_of($hub), answer(7), 'Sequence of the next is no repetition';
cut($hub);
$hub->again;
is_deeply next_of($hub), seq(10),
    'one that has not acknowledged the last gets that number';
is_deeply next_of($hub), answer(7), 'and the message';
$hub->send(seq(8));
$hub->send(ack(10));
$hub->send(invoke(8));
is_deeply next_of($hub), answer(8), 'the connection is what it was';
is $hub->{id}, $id, 'with its id';
$hub->send(ack(11));
$hub->send(invoke(9));
next_of($hub);
$hub->send(ack(12));

# nothing unacknowledged: sent + 1

$hub->send({ type => 5, invocationId => 'none' });
is_deeply next_of($hub), ack(10), 'CancelInvocation is counted';
cut($hub);
$hub->again;
is_deeply next_of($hub), seq(13), 'with nothing kept it is the next number';

# a socket that still lives is replaced

my $old = $hub->{ws};
is $hub->again, 101, 'another socket while the first lives';
is_deeply next_of($hub), seq(13), 'takes over';
is $old->message, undef, 'the first is closed';
is +($old->closed)[0], 1006, 'without a word';
$hub->send(seq(11));
$hub->send(invoke(11));
is_deeply next_of($hub), answer(11), 'the new one speaks';

# other people

my $bob = client_token($key, 'chat', sub => 'bob');
is http($port, 'GET', $hub->{url}, headers => [
    Authorization => "Bearer $bob", Upgrade => 'websocket',
    Connection => 'Upgrade', 'Sec-WebSocket-Version' => 13,
    'Sec-WebSocket-Key' => 'MDEyMzQ1Njc4OWFiY2RlZg==' ])->{status}, 403,
    "another user's token does not take it over";

my $late = client_token($key, 'chat', sub => 'ann', exp => int(time) - 400);
is $hub->again(headers => [ Authorization => "Bearer $late" ]), 401,
    'nor does a token that has expired';

$plain = Broadcast::Hub->connect($port, $uri, token => $token);
is $plain->again, 409, 'a connection of version 1 is not taken over';
$plain->{ws}->drop;
ok +(wait_for { connections() == 1 } 5),
    'and ends with its socket';

# granted, but not used

my $one = stateful(nohandshake => 1);
is $one->again, 409, 'nor is one whose handshake has not come';
$one->send({ protocol => 'json', version => 1 });
is_deeply $one->next, {}, 'version 1 is spoken where 2 was granted, too';
$one->send(ack(99));
$one->send(seq(99));
$one->send(invoke(1));
is_deeply next_of($one), answer(1), 'Ack and Sequence mean nothing to it';
is $one->again, 409, 'and another socket is refused';
$one->drop;
ok +(wait_for { connections() == 1 } 5),
    'it ends with its socket';

# ends

sub dead {
    my ($name) = @_;

    is $hub->again, 404, "$name: the id is dead";
}

$hub->send({ type => 7 });
$hub->{ws}->message;
dead('hub Close');

for my $end ([ 'a close frame without a code', undef ],
             [ 'a close frame with code 1000', 1000 ],
             [ 'a close frame with code 1011', 1011 ])
{
    $hub = stateful();
    $hub->{ws}->close($end->[1]);
    dead($end->[0]);
}

for my $bad ([ ack(1), $ack, 'an Ack of what was not sent' ],
             [ seq(2), $sequence, 'a Sequence with a hole' ])
{
    $hub = stateful();
    $hub->send($bad->[0]);
    is_deeply next_of($hub), { type => 7, error => $bad->[1] },
        "$bad->[2] is an error";
    dead("$bad->[2], before its socket has ended");
    $hub->{ws}->message;
    dead($bad->[2]);
}

# limits: 4000 bytes not acknowledged, 4000 waiting behind them

my $text = 'x' x 900;
$hub = stateful();
publish("$_$text") for 1 .. 8;
is now($hub), '1 2 3 4 5', 'beyond the limit messages wait for an Ack';
$hub->send(ack(2));
is now($hub), '6 7', 'an Ack makes room for as much, in their order';
is slow(), 0, 'nobody was too slow';
publish("$_$text") for 1 .. 5;
my $close;
1 while ($close = $hub->next) && $close->{type} != 7;
ok $close->{allowReconnect}, 'who acknowledges nothing is told to come again';
is slow(), 1, 'and counted as slow';
$hub->{ws}->message;
dead('too slow');

# the same without a socket

$hub = stateful();
cut($hub);
publish("$_$text") for 1 .. 8;
is $hub->again, 101, 'what fits into both waits for a socket';
is_deeply next_of($hub), seq(1), 'Sequence';
$hub->send(seq(1));
my @got;
while (@got < 8 && (my $r = next_of($hub))) {
    push @got, substr $r->{arguments}[0], 0, 1;
    $hub->send(ack(scalar @got));
}
is "@got", '1 2 3 4 5 6 7 8', 'all of it, in its order';
cut($hub);
publish("$_$text") for 1 .. 12;
ok +(wait_for { slow() == 2 } 5),
    'what does not fit ends the connection without a socket';
dead('too slow without a socket');

# each socket has its own compression

$hub = stateful(uri => '/packed?hub=chat', offer => 'permessage-deflate');
publish($text);
is_deeply next_of($hub), record($text), 'a message to a socket with deflate';
ok $hub->{ws}{compressed}, 'is compressed';
cut($hub);
is $hub->again(offer => undef), 101, 'one without takes over';
is_deeply next_of($hub), seq(1), 'and hears Sequence';
is_deeply next_of($hub), record($text), 'and the message';
ok !$hub->{ws}{compressed}, 'as it is';
is $hub->again(offer => 'permessage-deflate'), 101, 'one with takes over again';
next_of($hub);
is_deeply next_of($hub), record($text), 'and has the message';
ok $hub->{ws}{compressed}, 'compressed';
$hub->close;

# a silent client, though its socket stands

$hub = stateful(uri => '/quick?hub=chat');
1 while ($close = $hub->next) && $close->{type} == 6;
is $close->{type}, 7, 'a stateful client is expected to ping';
$hub->{ws}->message;
dead('silence');

# the server's own end

$hub = stateful(uri => '/quick?hub=chat');
cut($hub);
is $hub->again, 101, 'a socket that comes';
$hub->next;
is_deeply $hub->next, { type => 6 }, 'is pinged';
$hub->close;

my $end = wait_for { !connections('quiet') && time } 20;
ok $end, 'without a socket a connection ends';
$took = ($end // 0) - $since;
ok $took > 14, 'not before 15 s' or diag $took;
is $gone->again, 404, 'and its id is dead';
ok +(wait_for { away() == 0 } 20), 'nobody is left';

$nginx->stop_ok;

done_testing;
