#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A backlog in the database that is much larger than the log in shared memory:
# the relay goes as fast as the slowest worker reads, so nobody is pushed off
# the log's tail.  A worker that is stopped is waited for half a second, once:
# then the others go on without it, and its clients are told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Wait qw(slurp);

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 1m; broadcast_queue 64m;'
             . 'broadcast_database "' . $pg->conninfo('app', 'app') . '";',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
        location = /pid    { return 200 $pid; }
EOC

my $port = $nginx->port;

sub status { http($port, 'GET', '/status?format=json')->{json} }

ok((wait_for { status()->{database}{relay} eq 'leader' } 10), 'a relay leads');


my %in = map {
    $_ => Broadcast::SSE->connect($port, '/events/chat',
                                  on => worker_at($port, '/pid', $_))
} $nginx->workers;

is_deeply([ map { $_->{connections} } @{ status()->{workers} } ], [ 1, 1 ],
          'each worker has a subscriber');

my ($relayer) = $nginx->error_log =~ /.*\] (\d+)#\S+ broadcast: this worker relays/s;
my ($other) = grep { $_ != $relayer } keys %in;

ok($in{$relayer} && $other, '... the one that relays, too');


sub backlog {
    my ($rows, $target) = @_;

    $pg->psql(qq{select count(broadcast.send_all('chat', '$target',
                     jsonb_build_array(i, repeat('x', 200))))
                   from generate_series(1, $rows) i}, @at);
}

# What a subscriber gets up to the last number: how many, out of order, gaps.

sub drain {
    my ($sse, $rows, $target) = @_;
    my ($n, $wrong, $gaps) = (0, 0, 0);

    while (my $event = $sse->event(30)) {
        my $name = $event->{event} // '';

        if ($name eq 'broadcast.gap') {
            $gaps++;
            next;
        }

        next if $name ne $target;

        my ($i) = $event->{data} =~ /^\[(\d+)/;
        $wrong++ if $i != $n + 1 && !$gaps;
        $n++;
        last if $i == $rows;
    }

    return ($n, $wrong, $gaps);
}


# --- a worker that is slow, but lives ---------------------------------------

my $rows = 15_000;
my $log = status()->{log}{bytes};

cmp_ok($rows * 200, '>', 8 * $log, 'a backlog of many times the log');

# It stands still again and again, each time shorter than it would be given up: on
# a machine that lets this program itself stand still for longer, once more.

my ($overruns, %got);

for my $try (1 .. 8) {
    my $before = status()->{log}{overruns};
    my $held = File::Temp->new;

    backlog($rows, "first$try");

    my $hold = fork // die "fork: $!";

    if (!$hold) {
        hold($held);
        POSIX::_exit(0);
    }

    %got = map { $_ => [ drain($in{$_}, $rows, "first$try") ] } keys %in;
    waitpid $hold, 0;

    $overruns = status()->{log}{overruns} - $before;
    my $longest = slurp("$held");

    last if !$overruns || $longest < 0.4;
    diag("once more: it stood still for $longest s");
}

sub hold {
    my ($held) = @_;
    my $longest = 0;

    for (1 .. 8) {
        for my $step ([ 'STOP', 0.25 ], [ 'CONT', 0.1 ]) {
            my ($signal, $seconds) = @$step;
            my $began = time;

            kill $signal, $other;
            sleep $seconds;

            my $late = time - $began - $seconds;
            $longest = 0.25 + $late if 0.25 + $late > $longest;
        }
    }

    syswrite $held, $longest;
}

for my $pid ($relayer, $other) {
    my ($n, $wrong, $gaps) = @{ $got{$pid} };
    my $who = $pid == $relayer ? 'the worker that relays'
                               : 'the one that is slow';

    is($n, $rows, "$who: its client gets all of it");
    is($wrong, 0, '... in order');
    is($gaps, 0, '... and no gap');
}

my $s = status();

is($overruns, 0, 'no worker was overrun');
cmp_ok($s->{database}{paced_seconds}, '>', 0.2, 'the relay has waited, '
                                                . 'which the status says');
like(http($port, 'GET', '/status?format=prometheus')->{body},
     qr/^nginx_broadcast_relay_paced_seconds_total [0-9.]*[1-9]/m,
     '... and a metric');


# --- a worker that is stopped -----------------------------------------------

# What asks for the status must not come to it, so nothing is asked meanwhile.

$s = status();

my $paced = $s->{database}{paced_seconds};
$overruns = $s->{log}{overruns};

kill 'STOP', $other;
backlog($rows, 'second');

my ($n, $wrong) = drain($in{$relayer}, $rows, 'second');

is($n, $rows, 'a worker is stopped: the client of the other gets all');
is($wrong, 0, '... in order');

kill 'CONT', $other;

my (undef, undef, $gaps) = drain($in{$other}, $rows, 'second');
is($gaps, 1, 'the client of the stopped one is told of the gap')
    or diag("$gaps");
$s = status();
cmp_ok($s->{log}{overruns}, '>', $overruns, '... which is counted');

# waiting each time would take minutes

cmp_ok($s->{database}{paced_seconds} - $paced, '<', 10,
       '... the relay has waited for it once');

$nginx->stop_ok(signal => 'TERM');

done_testing();
