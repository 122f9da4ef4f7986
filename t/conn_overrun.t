#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# A worker that was stopped for longer than the log reaches cannot know what
# its clients missed: hub clients are asked to come again, plain ones are told
# of a gap and go on.  Others notice nothing.

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
    workers => 2,
    http => 'broadcast_zone hubs 1m; broadcast_key 0123456789abcdef;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub status { http($port, 'GET', '/status')->{json} }

sub connections {
    return map { $_->{pid} => $_->{connections} } @{ status()->{workers} };
}


sub publish {
    my ($argument) = @_;

    my $r = http($port, 'POST', '/publish/chat',
        body => encode_json($argument),
        headers => [ 'Content-Type' => 'application/json' ]);
    $r->{status} == 200 or die "publish: $r->{raw}";

    return $r->{json}{id};
}


# A client and the worker that it sits in.

sub client {
    my ($make) = @_;

    my %before = connections();
    my $client = $make->();
    my $pid = wait_for {
        my %after = connections();
        my ($more) = grep { $after{$_} > ($before{$_} // 0) } keys %after;
        $more;
    };

    return ($client, $pid);
}


my %make = (
    hub   => sub { Broadcast::Hub->connect($port, '/client?hub=chat') },
    plain => sub { Broadcast::Plain->connect($port, '/events/chat') },
    sse   => sub { Broadcast::SSE->connect($port, '/events/chat') },
);

my (%of, @all);

for (1 .. 40) {
    for my $kind (sort keys %make) {
        my ($client, $pid) = client($make{$kind});
        push @{ $of{$pid}{$kind} }, $client;
        push @all, $client;
    }

    last if keys %of == 2 && !grep { keys %$_ < 3 } values %of;
}

my ($stopped, $going) = sort keys %of;
is scalar(grep { keys %$_ == 3 } values %of), 2,
    'each worker has clients of all kinds';

kill 'STOP', $stopped;

# what another worker accepts is answered; the stopped one accepts nothing, but
# a connection that it had accepted before would wait

my $last;
$last = publish('x' x 20000) for 1 .. 100;

kill 'CONT', $stopped;

my ($end) = $last =~ /-(\d+)$/;

for my $plain (@{ $of{$stopped}{plain} }) {
    my $frame;

    do { $frame = $plain->next } until $frame->{target} eq 'broadcast.gap';

    is $frame->{arguments}[0]{requested}, undef,
        'a plain WebSocket is told of a gap that it did not ask for';
    my ($from) = $frame->{id} =~ /-(\d+)$/;

    my $n = $from;
    my $holes = 0;

    while ($n < $end) {
        my ($seq) = $plain->next->{id} =~ /-(\d+)$/;
        $holes++ if $seq != ++$n;
    }

    is $holes, 0, 'and goes on from its id without a hole';
}

for my $sse (@{ $of{$stopped}{sse} }) {
    my $event;

    do { $event = $sse->event } until $event->{event} eq 'broadcast.gap';
    pass 'an event stream is told of it, too';
}

for my $hub (@{ $of{$stopped}{hub} }) {
    my $record;

    1 while ($record = $hub->next) && $record->{type} != 7;
    ok $record->{allowReconnect}, 'a hub client is asked to come again';
    $hub->close;
}

my $s = status();
is $s->{closed}{overrun}, scalar @{ $of{$stopped}{hub} }, 'which is counted';
ok $s->{log}{overruns} >= 1, 'as is the overrun';

my $seen = 0;
my $hub = $of{$going}{hub}[0];
$seen++ while $seen < 100 && $hub->invocation('message');
is $seen, 100, 'a client of the other worker got everything';

$_->isa('Broadcast::SSE') ? $_->close : $_->drop for @all;

$nginx->stop_ok(signal => 'TERM');

done_testing;
