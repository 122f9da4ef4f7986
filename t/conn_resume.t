#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# A plain subscriber goes on where it was: from the log in shared memory, in an
# ephemeral hub as far as that reaches, and is told of a gap where it does not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http => "broadcast_zone hubs 1m; broadcast_key $key;",
    server => <<'EOS')->start;
        location /events/  { broadcast_events; }
        location /open/    { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOS

my $port = $nginx->port;


sub publish {
    my ($hub, $argument, $query) = @_;

    my $r = http($port, 'POST', "/publish/$hub?" . ($query // ''),
                 body => encode_json($argument),
                 headers => [ 'Content-Type' => 'application/json' ]);
    $r->{status} == 200 or die "publish: $r->{raw}";

    return $r->{json}{id};
}


sub resumes { http($port, 'GET', '/status?format=json')->{json}{resumes} }

my @ids = map { publish('chat', $_) } 1 .. 10;

# by header, by query

my $sse = Broadcast::SSE->connect($port, '/open/chat',
    headers => [ 'Last-Event-ID' => $ids[3] ]);
is_deeply [ map { $sse->event->{id} } 5 .. 10 ], [ @ids[4 .. 9] ],
    'an event stream goes on behind Last-Event-ID';
my $id = publish('chat', 11);
is $sse->event->{id}, $id, 'and with what is live';
$sse->close;

$sse = Broadcast::SSE->connect($port, "/open/chat?last_event_id=$ids[8]");
is_deeply [ map { $sse->event->{id} } 1, 2 ], [ $ids[9], $id ],
    'or behind ?last_event_id=';
$sse->close;

my $ws = Broadcast::Plain->connect($port, "/open/chat?last_event_id=$ids[0]");
is_deeply [ map { $ws->next->{arguments}[0] } 2 .. 11 ], [ 2 .. 11 ],
    'a plain WebSocket by ?last_event_id=';
$ws->close;

is_deeply resumes(), { asked => 3, reads => 0, gaps => 0 },
    'they are counted, what the log has is read nowhere else';

$sse = Broadcast::SSE->connect($port, "/open/chat?last_event_id=$id");
$id = publish('chat', 12);
is $sse->event->{id}, $id, 'who has missed nothing gets what is live';
$sse->close;

# only what it may see

publish('chat', 'for ann', 'user=ann');
publish('chat', 'for bob', 'user=bob');
publish('chat', 'in a', 'group=a');
publish('chat', 'in b', 'group=b');
publish('chat', 'all');

my $token = client_token($key, 'chat', sub => 'ann', groups => [ 'a' ]);
$sse = Broadcast::SSE->connect($port,
    "/events/chat?group=a&last_event_id=$id",
    headers => [ Authorization => "Bearer $token" ]);
is_deeply [ map { $sse->event->{data} } 1 .. 3 ],
    [ '["for ann"]', '["in a"]', '["all"]' ],
    'replayed is what is to all, to the user, to its groups';
$sse->close;

# gaps

my ($epoch, $seq) = $ids[0] =~ /^([0-9a-f]+)-(\d+)$/;

for my $requested ('nonsense', '-', "$epoch-", 'abc-5', "$epoch-99999999") {
    $sse = Broadcast::SSE->connect($port,
        "/open/chat?last_event_id=$requested");
    my $gap = $sse->event;
    is $gap->{event}, 'broadcast.gap', "\"$requested\" is told of a gap first";
    is decode_json($gap->{data})->{requested}, $requested,
        'with what was asked for';
    like decode_json($gap->{data})->{oldest}, qr/^$epoch-\d+$/,
        'and the oldest that is there';
    like $gap->{id}, qr/^$epoch-\d+$/, 'and the id from which it goes on';
    $sse->close;
}

$ws = Broadcast::Plain->connect($port, '/open/chat?last_event_id=nonsense');
my $gap = $ws->next;
is $gap->{target}, 'broadcast.gap', 'a plain WebSocket has it as a frame';
is $gap->{arguments}[0]{requested}, 'nonsense', 'with its argument';
$ws->close;

is resumes()->{gaps}, 6, 'gaps are counted';
like http($port, 'GET', '/status?format=prometheus')->{body},
    qr/^nginx_broadcast_gaps_total 6$/m, 'as a metric, too';

# the log forgets: what is left comes behind the gap, all of it

my $first = publish('full', 0);
my $last;
$last = publish('full', 'x' x 5000) for 1 .. 400;

$sse = Broadcast::SSE->connect($port, "/open/full?last_event_id=$first");
$gap = $sse->event;
is $gap->{event}, 'broadcast.gap', 'what the log forgot is a gap';
my ($oldest) = decode_json($gap->{data})->{oldest} =~ /-(\d+)$/;
my ($from) = $gap->{id} =~ /-(\d+)$/;
is $from + 1, $oldest, 'the stream goes on with the oldest';

my ($end) = $last =~ /-(\d+)$/;
my @seqs;
push @seqs, $sse->event->{id} =~ /-(\d+)$/ until @seqs && $seqs[-1] == $end;
is_deeply \@seqs, [ $oldest .. $end ], 'and leaves nothing out to the newest';
$sse->close;

# while it is replayed others publish: in order, once, nothing missing

publish('live', $_) for 1 .. 300;
my ($base) = publish('live', 301) =~ /^(.*)-/;

my @streams;

for my $n (302 .. 400) {
    publish('live', $n);
    push @streams, Broadcast::SSE->connect($port,
                       "/open/live?last_event_id=$base-1")
        if $n % 10 == 0;
}

for my $stream (@streams) {
    my @seen = map { decode_json($stream->event->{data})->[0] } 2 .. 400;
    is_deeply \@seen, [ 2 .. 400 ], 'replay and live meet without a seam';
    $stream->close;
}

# a reload keeps the log

@ids = map { publish('chat', $_) } 1 .. 3;
$nginx->reload;
$sse = Broadcast::SSE->connect($port, "/open/chat?last_event_id=$ids[0]");
is_deeply [ map { $sse->event->{id} } 1, 2 ], [ @ids[1, 2] ],
    'a stream goes on after a reload';
$sse->close;

$nginx->stop_ok;

done_testing;
