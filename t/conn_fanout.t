#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Who gets a message: everybody, a user, a group, one connection, minus the
# excluded, in one order, whichever worker holds the socket.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    http => "broadcast_zone hubs 8m; broadcast_key $key;",
    server => <<'EOS')->start;
        location /client   { broadcast_hub; }
        location /events/  { broadcast_events; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
        location = /pid    { return 200 $pid; }
EOS

my $port = $nginx->port;
my ($worker) = $nginx->workers;


sub publish {
    my ($query, $body) = @_;

    my $r = http($port, 'POST', "/publish/chat?$query",
                 body => encode_json($body),
                 headers => [ 'Content-Type' => 'application/json' ]);
    is $r->{status}, 200, "published: $query" or diag $r->{raw};

    return $r->{json}{id};
}


sub status { http($port, 'GET', '/status')->{json} }


sub hub {
    my ($user, $where) = @_;

    my $hub = Broadcast::Hub->connect($port, '/client?hub=chat',
        on    => worker_at($port, '/pid', $where),
        token => client_token($key, 'chat', sub => $user));
    is $hub->{error}, undef, "$user is connected";

    return $hub;
}


# ann sits in one worker, bob in others

my @ann = map { hub('ann', $worker) } 1 .. 6;
my @bob = map { hub('bob', sub { $_[0] != $worker }) } 1 .. 6;

my $plain = Broadcast::Plain->connect($port, '/events/chat?group=news',
    token => client_token($key, 'chat', sub => 'eve', groups => ['news']));
is $plain->{head}{status}, 101, 'a plain WebSocket is accepted';

my $sse = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ Authorization => 'Bearer '
                                  . client_token($key, 'chat', sub => 'ann') ]);
is $sse->{head}{status}, 200, 'an event stream is accepted';

my $busy = wait_for { grep({ $_->{connections} } @{ status()->{workers} }) > 1 };
ok $busy, 'clients sit in at least two workers';

is_deeply status()->{hubs}{chat}{connections},
    { websocket => 13, sse => 1, longpoll => 0 }, 'all are counted';

# all

my $id = publish('target=all', { n => 1 });

is_deeply $_->invocation('all'), [ { n => 1 } ], 'a hub client gets it'
    for @ann, @bob;
is_deeply $plain->next,
    { id => $id, target => 'all', arguments => [ { n => 1 } ] },
    'the plain WebSocket gets it with its id';
is_deeply $sse->event,
    { id => $id, event => 'all', data => '[{"n":1}]' },
    'the event stream gets it with its id';

# a user

publish('target=user&user=ann', 'to ann');
$id = publish('target=after', 'x');

is_deeply $_->invocation('user'), [ 'to ann' ], 'the user gets it' for @ann;
is $sse->event->{event}, 'user', 'by an event stream too';

my $first = $bob[0]->next;
is $first->{target}, 'after', 'another user does not';
is $plain->next->{target}, 'after', 'nor does a plain subscriber of another';
$_->invocation('after') for @ann, @bob[1 .. 5];
$sse->event;

# a group: the plain subscriber by its URL, a hub client by REST

my $r = http($port, 'PUT',
    "/api/v1/hubs/chat/groups/news/connections/$bob[3]{id}");
like $r->{status}, qr/^20[02]$/, 'a connection is put into a group'
    or diag $r->{raw};

wait_for { status()->{hubs}{chat}{groups} == 1 };

publish('target=group&group=news', 'g');
publish('target=after', 'x');

is $bob[3]->next->{target}, 'group', 'the member gets it';
is $plain->next->{target}, 'group', 'and the plain member';
is $bob[2]->next->{target}, 'after', 'others do not';

$_->invocation('after') for @ann, @bob[0, 1, 3, 4, 5];
$plain->next;
$sse->event;

# one connection

publish("target=one&connection=$ann[2]{id}", 'c');
publish('target=after', 'x');

is $ann[2]->next->{target}, 'one', 'the connection gets it';
is $ann[1]->next->{target}, 'after', 'others of its user do not';

$_->invocation('after') for @ann[0, 2 .. 5], @bob;
$plain->next;
$sse->event;

# excluded

$r = http($port, 'POST',
    "/api/v1/hubs/chat?excluded=$ann[0]{id}&excluded=$bob[0]{id}",
    body => encode_json({ target => 'some', arguments => [] }),
    headers => [ 'Content-Type' => 'application/json' ]);
is $r->{status}, 202, 'a message to all but two';

publish('target=after', 'x');

is $ann[0]->next->{target}, 'after', 'the first excluded does not get it';
is $bob[0]->next->{target}, 'after', 'nor does the second';
is $ann[1]->next->{target}, 'some', 'the others do';

$_->invocation('after') for @ann[1 .. 5], @bob[1 .. 5];
$plain->next, $plain->next;
$sse->event, $sse->event;

# order: what many publish at once is the same sequence for everybody

my @lines = map { encode_json({ target => 'seq', arguments => [ $_ ] }) }
            1 .. 2000;

$r = http($port, 'POST', '/publish/chat', body => join("\n", @lines),
          headers => [ 'Content-Type' => 'application/x-ndjson' ]);
is $r->{json}{count}, 2000, '2000 messages in one body';

for my $client ($ann[0], $ann[5], $bob[5]) {
    my @seen = map { $client->invocation('seq')->[0] } 1 .. 2000;
    is_deeply \@seen, [ 1 .. 2000 ], 'come in order, none missing';
}

my @ids = map { $plain->next->{id} } 1 .. 2000;
my @numbers = map { /-(\d+)$/ } @ids;
is_deeply \@numbers, [ $numbers[0] .. $numbers[0] + 1999 ],
    'with contiguous numbers';
is $ids[-1], $r->{json}{id}, 'the last of which the publisher was told';

# counters: nine messages before the 2000

my $s = wait_for {
    my $s = status()->{hubs}{chat};
    $s->{delivered} == 14 + 7 + 4 * 14 + 2 + 1 + 12 + 14 * 2000 ? $s : undef;
};
ok $s, 'each delivery is counted once'
    or diag explain status()->{hubs}{chat};
is $s->{published}, 2009, 'each published message, too';

$_->close for @ann, @bob, $plain;
$sse->close;

ok wait_for {
    my $c = status()->{hubs}{chat}{connections};
    $c->{websocket} == 0 && $c->{sse} == 0;
}, 'closed connections leave the count';

$nginx->stop_ok;

done_testing;
