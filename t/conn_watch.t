#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# A worker is not woken for messages of hubs of which it has no client.  What
# that must not change: whoever comes there gets all from then on, at once, and
# what it missed before.  A message whose ring is lost would come with a timer, up
# to a second late.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use Test::More;

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 4m; keepalive_requests 1000000;'
             . 'broadcast_keepalive 1s;',
    server  => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /pid    { return 200 $pid; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;
my ($here, $there) = sort { $a <=> $b } $nginx->workers;
my $publisher = worker_at($port, '/pid', $here);

sub publish {
    my ($hub, $text, $query) = @_;

    $publisher->request('POST', "/publish/$hub" . ($query // ''),
                        keepalive => 1, body => $text);
    my $head = $publisher->head;
    $publisher->body($head, 'POST');

    return $head->{json}{id};
}

sub at { worker_at($port, '/pid', $_[0]) }


# True if a message that was published before has come to the client of a worker
# without its timer: the worker has answered three times since, each time with a
# turn of its event loop.  How long that takes is of no interest.

sub rung {
    my ($ws, $probe) = @_;

    for (1 .. 3) {
        $probe->request('GET', '/pid', keepalive => 1);
        $probe->body($probe->head);
    }

    return length $ws->{buffer}
           || IO::Select->new($ws->{socket})->can_read(0);
}


# --- coming and going, again and again ----------------------------------------

my ($late, $wrong) = (0, 0);
my $probe = at($there);

for my $i (1 .. 150) {
    publish('chat', "before $i") for 1 .. $i % 4;

    my $ws = Broadcast::Plain->connect($port, '/events/chat', on => at($there));
    my $id = publish('chat', "for $i");

    $late++ if !rung($ws, $probe);
    my $frame = $ws->next;

    $wrong++ if $frame->{id} ne $id || $frame->{arguments}[0] ne "for $i";

    $i % 3 ? $ws->drop : $ws->close;
}

is $late, 0, 'whoever comes gets the next message at once';
is $wrong, 0, 'and none from before';


# --- what nobody there has read ------------------------------------------------

my $quiet = http($port, 'GET', '/status')->{json}{hubs}{chat}{position};
my @ids = map { publish('chat', "n$_") } 1 .. 50;

my $sse = Broadcast::SSE->connect($port, "/events/chat?last_event_id=$quiet",
                                  on => at($there));
my @got = map { $sse->event->{id} } 1 .. 50;
is_deeply \@got, \@ids, 'a resume replays it, each once';

push @ids, publish('chat', 'next');
is $sse->event->{id}, $ids[-1], 'and goes on with what comes';
$sse->close;

ok wait_for {
    !http($port, 'GET', '/status')->{json}{hubs}{chat}{connections}{sse}
}, 'it is gone';

publish('chat', 'x') for 1 .. 5;
my $now = publish('chat', 'last');
my $silent = Broadcast::SSE->connect($port, '/events/chat', on => at($there));
like $silent->block, qr/^id: \Q$now\E$/m,
    'who comes without a position is told the newest one, not what was read';
$silent->close;

# a hub's client, at a position

my $hub = Broadcast::Hub->connect($port, "/client?hub=chat&position=$quiet");
my @n = map { $hub->invocation('message')->[0] } 1 .. 50;
is_deeply \@n, [ map { "n$_" } 1 .. 50 ], 'a hub\'s client resumes, too';
$hub->close;


# --- a connection that changes its worker ----------------------------------------

my @at = (at($here), at($there));
my $poll = Broadcast::LongPoll->connect($port, '/client?hub=moving',
                                        at => $at[0]);
my @words;

for my $i (1 .. 20) {
    publish('moving', "m$i");

    my @records = $poll->records(1, at => $at[$i % 2]);
    push @words, map { $_->{arguments}[0] } grep { $_->{type} == 1 } @records;
}

is_deeply \@words, [ map { "m$_" } 1 .. 20 ],
    'a long poll that goes from worker to worker misses nothing';


# --- a worker dies while it has clients ------------------------------------------

my $ws = Broadcast::Plain->connect($port, '/events/chat', on => at($there));
publish('chat', 'alive');
is $ws->next->{arguments}[0], 'alive', 'a client at the other worker';

$nginx->kill_worker($there);

ok wait_for { 2 == grep { $_ != $there } $nginx->workers }, 'which is killed';
my ($new) = grep { $_ != $here } $nginx->workers;

publish('chat', "gone $_") for 1 .. 20;
$ws = Broadcast::Plain->connect($port, '/events/chat', on => at($new));
publish('chat', 'anew');
ok rung($ws, at($new)), 'the next one serves at once';
is $ws->next->{arguments}[0], 'anew', 'as well';
$ws->close;

is_deeply [ $nginx->stop(signal => 'TERM') ], [],
    'nginx ends, its log without alerts';

done_testing;
