#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A plain WebSocket that sends to an ephemeral hub faster than a worker reads
# is not read from meanwhile: nobody falls off the log's tail, nothing that it
# has sent is lost.  For a worker that is stopped it waits half a second, once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http => "broadcast_zone hubs 1m; broadcast_key $key; broadcast_queue 64m;",
    server => <<'EOS')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status json; }
        location = /pid    { return 200 $pid; }
EOS

my $port = $nginx->port;

sub status { http($port, 'GET', '/status')->{json} }

# Clients of the kind, one in each worker.

my ($slow, $quick) = sort $nginx->workers;

sub spread {
    my ($make) = @_;

    return map { $_ => $make->(worker_at($port, '/pid', $_)) } $slow, $quick;
}

my %sse = spread(sub {
    Broadcast::SSE->connect($port, '/events/chat', on => $_[0])
});
my %ws = spread(sub {
    Broadcast::Plain->connect($port, '/events/chat', on => $_[0],
        token => client_token($key, 'chat', role => 'broadcast.send'))
});

is_deeply({ map { $_->{pid} => $_->{connections} } @{ status()->{workers} } },
          { $slow => 2, $quick => 2 },
          'each worker has a subscriber and a sender');

my $rows = 12_000;

cmp_ok($rows * 200, '>', 6 * status()->{log}{bytes},
       'what is sent is many times the log');

# From a process of its own: the socket takes no more than is read from it.

sub flood {
    my ($target) = @_;
    my $pid = fork // die "fork: $!";

    return $pid if $pid;

    for my $i (1 .. $rows) {
        $ws{$quick}->send({ send => '*', target => $target,
                            arguments => [ $i, 'x' x 200 ] });

        # its own copies are not of interest

        next if $i % 100;
        my $bits = '';
        vec($bits, fileno $ws{$quick}{socket}, 1) = 1;
        while (select my $ready = $bits, undef, undef, 0) {
            sysread $ws{$quick}{socket}, my $skip, 1 << 20 or last;
        }
    }

    POSIX::_exit(0);
}

sub drain {
    my ($sse, $target) = @_;
    my ($n, $wrong, $gaps) = (0, 0, 0);

    while (my $event = $sse->event(60)) {

        if (($event->{event} // '') eq 'broadcast.gap') {
            $gaps++;
            next;
        }

        next if ($event->{event} // '') ne $target;

        my ($i) = $event->{data} =~ /^\[(\d+)/;
        $wrong++ if $i != ++$n;
        last if $i == $rows;
    }

    return ($n, $wrong, $gaps);
}


# --- a worker that is slow, but lives ---------------------------------------

# Stopped eight times for a while that is shorter than half a second, and with a
# turn of its own in between.  On a machine where that took longer the worker may
# be overrun: the exit status tells, and the worker has another attempt.

my $probe = worker_at($port, '/pid', $slow);

sub hold {
    my $pid = fork // die "fork: $!";
    return $pid if $pid;

    my $longest = 0;

    for (1 .. 8) {
        my $from = time;
        kill 'STOP', $slow;
        sleep 0.2;
        kill 'CONT', $slow;
        $probe->request('GET', '/pid', keepalive => 1);
        $probe->body($probe->head(60));
        $longest = time - $from if time - $from > $longest;
        sleep 0.1;
    }

    POSIX::_exit($longest < 0.4 ? 0 : 1);
}

my ($sender, %got, $overruns);

for my $attempt (1 .. 5) {
    my $before = status()->{log}{overruns};
    $sender = flood("first$attempt");
    my $hold = hold();

    %got = map { $_ => [ drain($sse{$_}, "first$attempt") ] } $quick, $slow;

    waitpid $sender, 0;
    waitpid $hold, 0;
    $overruns = status()->{log}{overruns} - $before;

    last if !$overruns || $? == 0;
}

for my $pid ($quick, $slow) {
    my ($n, $wrong, $gaps) = @{ $got{$pid} };

    is($n, $rows, $pid == $quick ? 'the sender\'s worker: its subscriber gets '
                                 . 'all' : 'the slow one\'s, too');
    is($wrong, 0, '... in order');
    is($gaps, 0, '... and no gap');
}

is($overruns, 0, 'no worker was overrun');


# --- a worker that is stopped -----------------------------------------------

kill 'STOP', $slow;

my $began = time;
$sender = flood('second');

my ($n, $wrong) = drain($sse{$quick}, 'second');

is($n, $rows, 'a worker is stopped: the other\'s subscriber gets all');
is($wrong, 0, '... in order');
cmp_ok(time - $began, '<', 60, '... soon');

kill 'CONT', $slow;
waitpid $sender, 0;

$nginx->stop_ok(signal => 'TERM');

done_testing();
