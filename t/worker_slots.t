#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# More workers than the zone has places: 128 have one, and those that have none
# look for messages once a second.  Their clients, long polls among them, get
# everything in its order all the same, what they publish reaches the others,
# and the next place that becomes free is theirs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;
use Broadcast::Wait qw(children);

my $places = 128;
my $nginx = Broadcast::Nginx->new(
    workers => $places + 2,
    http    => 'broadcast_zone hubs 16m; broadcast_drain off;',
    server  => <<'EOC')->start;
        listen 127.0.0.1:%%PORT spread%% reuseport;
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous hub=chat; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
        location = /pid    { return 200 $pid; }
EOC

my $port = $nginx->port('spread');

sub status { http($nginx->port, 'GET', '/status')->{json} }

sub without {
    my @pids = $nginx->error_log
               =~ /\[warn\] (\d+)#\d+: broadcast: all $places places/g;
    return @pids;
}

ok((wait_for { my @pids = without(); @pids == 2 } 30), 'two workers have no place');
is(scalar @{ status()->{workers} }, $places, '... the others have');
is(status()->{unplaced_workers}, 2, '... which is counted');

my %lacks = map { $_ => 1 } without();

# Connections to the workers without a place, and to one that has.

my (%at, @with);

for (1 .. 3000) {
    my $c = Broadcast::HTTP->connect($port);

    $c->request('GET', '/pid', keepalive => 1);

    my $pid = $c->body($c->head);

    if ($lacks{$pid}) {
        push @{ $at{$pid} }, $c if @{ $at{$pid} // [] } < 5;
    } elsif (@with < 2) {
        push @with, $c;
    }

    last if keys %at == 2 && !grep { @$_ < 5 } values %at;
}

my ($one, $two) = sort keys %at;
is(scalar(grep { @$_ == 5 } values %at), 2, 'both take connections')
    or BAIL_OUT('no connection to a worker without a place');

sub publish_at {
    my ($c, $words) = @_;

    $c->request('POST', '/publish/chat?target=m', keepalive => 1,
                body => $words, headers => [ 'Content-Type' => 'text/plain' ]);

    my $r = $c->head;
    $c->body($r);

    return $r->{status};
}

# A client of each kind at the first.

my $plain = Broadcast::Plain->connect($port, '/events/chat',
                                      on => shift @{ $at{$one} });
my $polls_at = shift @{ $at{$one} };
my $poll = Broadcast::LongPoll->connect($port, '/client', at => $polls_at);
my $other = Broadcast::Plain->connect($port, '/events/chat', on => $with[0]);

is($plain->{head}{status}, 101, 'a WebSocket at one of them');
is($poll->{first}{status}, 200, '... and a long poll');

my $from_two = shift @{ $at{$two} };

for my $i (1 .. 5) {
    is(publish_at($from_two, "at two, $i"), 200, 'a message by the other one');
    is(publish_at($with[1], "with a place, $i"), 200, '... and by one that has'
                                                      . ' a place');
}

my @expected = map { ("at two, $_", "with a place, $_") } 1 .. 5;

is_deeply([ map { $other->next->{arguments}[0] } @expected ], \@expected,
          'who is at a worker with a place gets all of them');
is_deeply([ map { $plain->next->{arguments}[0] } @expected ], \@expected,
          '... so does who is at one without');
is_deeply([ map { $_->{arguments}[0] }
            grep { $_->{type} == 1 } $poll->records(10, at => $polls_at) ],
          \@expected, '... and who polls there');

# a poll that waits is answered by the timer

my $waits = $poll->start(at => $polls_at);
publish_at($with[1], 'waited for');
my $r = $poll->answer($waits);
is($r->{records}[0]{arguments}[0], 'waited for', 'a poll that waits is answered');
$_->next for $plain, $other;

# what is posted elsewhere comes to it, and its end

is($poll->post({ type => 6 }, at => $with[1])->{status}, 200,
   'what is posted at another worker is taken');

# Polls go anywhere.  Who has no place can give a client to others, and takes
# none of theirs: that is refused, and the client is where it was.

sub next_words {
    my ($where) = @_;

    for (1 .. 5) {
        my $r = $poll->poll(at => $where);
        return "status $r->{status}" if $r->{status} != 200;
        my ($one) = grep { $_->{type} == 1 } @{ $r->{records} // [] };
        return $one->{arguments}[0] if $one;
    }

    return 'nothing';
}

publish_at($with[1], 'way 1');
is(next_words($polls_at), 'way 1', 'a poll where it was');
publish_at($with[1], 'way 2');
is(next_words($with[1]), 'way 2', '... and at a worker with a place');
is($poll->poll(at => $from_two)->{status}, 503,
   '... one at a worker without is refused');
publish_at($with[1], 'way 3');
is(next_words($with[1]), 'way 3', '... and nothing is lost by that');

is($poll->delete(at => $with[1])->{status}, 202, 'it ends at another worker');
ok((wait_for { status()->{hubs}{chat}{connections}{longpoll} == 0 } 15),
   '... and is gone');


# --- a place becomes free -----------------------------------------------------

# It goes to one of those, or to the heir of who has died.

sub listed { map { $_->{pid} } @{ status()->{workers} } }

my @kept = map { $_->{pid} } grep { $_->{connections} } @{ status()->{workers} };
my ($victim) = grep { my $pid = $_; !$lacks{$pid} && !grep { $_ == $pid } @kept }
               listed();

$nginx->kill_worker($victim);
ok((wait_for { my @all = listed(); @all == $places
               && !grep { $_ == $victim } @all } 30),
   'one with a place is killed: it is taken');

publish_at($with[1], 'behind it');

my $words = '';
for (1 .. 8) {
    my $record = $plain->next // last;
    $words = $record->{arguments}[0];
    last if $words eq 'behind it';
}
is($words, 'behind it', '... and clients of the other one go on');

$plain->drop;
$other->drop;


# --- a place for a worker that has clients ------------------------------------

# Most workers leave, and places with them, without anybody who could take these
# before.  What the first one has until then is nobody's; now it is its own.

$plain = Broadcast::Plain->connect($port, '/events/chat',
                                   on => shift @{ $at{$one} });
$polls_at = shift @{ $at{$one} };
$poll = Broadcast::LongPoll->connect($port, '/client', at => $polls_at);
$waits = $poll->start(at => $polls_at);

ok((wait_for { my $c = status()->{hubs}{chat}{connections};
               $c->{websocket} == 1 && $c->{longpoll} == 1 } 15),
   'a WebSocket and a poll at a worker without a place');
is(scalar(grep { $_ == $one } listed()), 0, '... which it is still');

$nginx->reload(workers => 1);

ok((wait_for { grep { $_->{pid} == $one && $_->{connections} == 2 }
                    @{ status()->{workers} } } 30),
   'it gets one, and its connections are counted there');

# A connection that a worker which leaves has not accepted yet is reset.

# The new one takes a poll of another worker when it has a place.

ok((wait_for { my @left = children($nginx->{pid});
               my %has = map { $_ => 1 } listed();
               @left == 2 && !grep { !$has{$_} } @left }),
   '... and all others have left, but for the new one');

my $fresh = Broadcast::HTTP->connect($port);
publish_at($fresh, 'has a place');
$r = $poll->answer($waits, 15);
is($r->{records}[0]{arguments}[0], 'has a place', '... the poll goes on');
is($plain->next(15)->{arguments}[0], 'has a place', '... and the WebSocket');

$waits = $poll->start;
publish_at($fresh, 'elsewhere');
$r = $poll->answer($waits, 15);
is($r->{records}[0]{arguments}[0], 'elsewhere',
   '... so does a poll at another worker')
    or diag('answered with ' . ($r->{status} // 'nothing'));

$nginx->kill_worker($one);
ok((wait_for { status()->{hubs}{chat}{connections}{websocket} == 0 } 15),
   'it is killed: its WebSocket is gone from the zone');
is($poll->delete->{status}, 202, '... and who has left it is not');
$plain->drop;
$nginx->stop_ok;

done_testing();
