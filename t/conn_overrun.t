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
use IO::Select;
use Test::More;

use Broadcast::HTTP qw(http worker_at);
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
        location = /pid    { return 200 $pid; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub status { http($port, 'GET', '/status')->{json} }


# Publishes on a connection that is kept.

sub publish {
    my ($c, $argument) = @_;

    $c->request('POST', '/publish/chat', keepalive => 1,
        body => encode_json($argument),
        headers => [ 'Content-Type' => 'application/json' ]);

    my $r = $c->head;
    $c->body($r, 'POST');
    $r->{status} == 200 or die "publish: $r->{raw}";

    return decode_json($r->{body})->{id};
}


my %make = (
    hub   => sub { Broadcast::Hub->connect($port, '/client?hub=chat', @_) },
    plain => sub { Broadcast::Plain->connect($port, '/events/chat', @_) },
    sse   => sub { Broadcast::SSE->connect($port, '/events/chat', @_) },
);

my ($stopped, $going) = sort $nginx->workers;
my (%of, @all);

for my $pid ($stopped, $going) {
    for my $kind (sort keys %make) {
        my $client = $make{$kind}->(on => worker_at($port, '/pid', $pid));

        $of{$pid}{$kind} = $client;
        push @all, $client;
    }
}

# A stateful client of the one that will be stopped.

my $stateful = $make{hub}->(stateful => 1,
                            on => worker_at($port, '/pid', $stopped));

is_deeply({ map { $_->{pid} => $_->{connections} } @{ status()->{workers} } },
          { $stopped => 4, $going => 3 },
          'each worker has clients of all kinds');

# A stopped worker may be the one that the kernel wakes for a new connection,
# so the publisher has one already, with the other worker.

my $publisher = worker_at($port, '/pid', $going);

kill 'STOP', $stopped;

my $last;
$last = publish($publisher, 'x' x 20000) for 1 .. 90;

kill 'CONT', $stopped;

my ($end) = $last =~ /-(\d+)$/;

my $frame;
do { $frame = $of{$stopped}{plain}->next }
    until $frame->{target} eq 'broadcast.gap';

is $frame->{arguments}[0]{requested}, undef,
    'a plain WebSocket is told of a gap that it did not ask for';

my ($n) = $frame->{id} =~ /-(\d+)$/;
my $holes = 0;

while ($n < $end) {
    my ($seq) = $of{$stopped}{plain}->next->{id} =~ /-(\d+)$/;
    $holes++ if $seq != ++$n;
}

is $holes, 0, 'and goes on from its id without a hole';

my $event;
do { $event = $of{$stopped}{sse}->event }
    until $event->{event} eq 'broadcast.gap';
pass 'an event stream is told of it, too';

my $record;
1 while ($record = $of{$stopped}{hub}->next) && $record->{type} != 7;
ok $record->{allowReconnect}, 'a hub client is asked to come again';
$of{$stopped}{hub}->close;

1 while ($record = $stateful->next) && $record->{type} != 7;
ok $record->{allowReconnect}, 'so is a stateful one';
is $stateful->{ws}->message, undef, 'with a close frame';
is +($stateful->{ws}->closed)[0], 1012, 'of its code';
ok !IO::Select->new($stateful->{ws}{socket})->can_read(1),
    'whose answer the server waits for';
$stateful->close;

my $s = status();
is $s->{closed}{overrun}, 2, 'which is counted';
ok $s->{log}{overruns} >= 1, 'as is the overrun';

my $seen = 0;
$seen++ while $seen < 90 && $of{$going}{hub}->invocation('message');
is $seen, 90, 'a client of the other worker got everything';

$_->isa('Broadcast::SSE') ? $_->close : $_->drop for @all;

$nginx->stop_ok(signal => 'TERM');

# --- much at once -------------------------------------------------------------

# Some large messages of clients, in the same moment: they wait for those that
# have much to read, where they would have pushed all workers off the log.

my $crowd = Broadcast::Nginx->new(
    workers => 2,
    http => 'broadcast_zone hubs 4m;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

$port = $crowd->port;

my $size = 250_000;
my $large = '{"type":1,"target":"x","arguments":["' . 'x' x $size . "\"]}\x1e";
my $body = '"' . 'x' x $size . '"';

is(status()->{log}{bytes}, 4 * 1024 * 1024 / 4, 'a log of a megabyte');

# Eight megabytes: the slowest build reads some of them in far less than the
# half second that is waited for a worker.  Where a worker got no turn for so
# long, it is the machine's doing, and another attempt has its chance.

my (@calm, @got, $overruns);

for my $attempt (1 .. 8) {
    $overruns = status()->{log}{overruns};

    $_->drop for @calm;
    @calm = map { Broadcast::Hub->connect($port, '/client?hub=chat') } 1 .. 4;

    my @polls = map { poller() } 1 .. 16;

    @got = (at_once($large, map { "/client?hub=chat&id=$_" } @polls),
            at_once($body, ('/publish/other') x 16));

    $overruns = status()->{log}{overruns} - $overruns;
    last if !$overruns;
}

is($got[0], '200 ' x 16, 'messages of clients, more than the log holds');
is($got[1], '200 ' x 16, '... and as many published');
is($overruns, 0, '... and no worker falls off the log');

http($port, 'POST', '/publish/chat?target=still', body => '1',
     headers => [ 'Content-Type' => 'application/json' ]);
is_deeply($_->invocation('still'), [ 1 ], '... a client goes on') for @calm;

$_->close for @calm;
$crowd->stop_ok(signal => 'TERM');


# the token of a connection that polls

sub poller {
    my $r = http($port, 'POST', '/client/negotiate?hub=chat&negotiateVersion=1',
                 body => '');
    my $id = $r->{json}{connectionToken};

    http($port, 'GET', "/client?hub=chat&id=$id");
    http($port, 'POST', "/client?hub=chat&id=$id",
         body => qq({"protocol":"json","version":1}\x1e));

    return $id;
}


# sends a body to each, whose last bytes come in the same moment; the statuses

sub at_once {
    my ($bytes, @urls) = @_;

    my @c = map {
        my $c = Broadcast::HTTP->connect($port);
        $c->write("POST $_ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  . "Content-Type: application/json\r\nContent-Length: "
                  . length($bytes) . "\r\n\r\n");
        $c->head;
        $c->write(substr $bytes, 0, -1);
        $c;
    } @urls;

    my @workers = $crowd->workers;

    kill 'STOP', @workers;
    $_->write(substr $bytes, -1) for @c;
    kill 'CONT', @workers;

    return join '', map { $_->head->{status} . ' ' } @c;
}


done_testing;
