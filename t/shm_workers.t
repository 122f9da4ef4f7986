#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Workers share one zone and may die at any moment.  A worker killed under load
# takes its own clients with it and nothing else: those of the others get every
# message, in order and without a pause, what it held in the zone is given
# back, and every invariant of the zone holds.  Also without a master, and with
# event methods that have no edges.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;

my $server = <<'EOC';
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOC

my ($nginx, $port);


sub status { http($port, 'GET', '/status')->{json} }

sub publish {
    return http($port, 'POST', '/publish/chat?target=m', body => $_[0] // 'x',
                headers => [ 'Content-Type' => 'text/plain' ]);
}

sub clients {
    my ($n) = @_;

    return map { Broadcast::Plain->connect($port, '/events/chat') } 1 .. $n;
}


# Connects until each of the workers has a client; all of them.

sub everywhere {
    my ($workers) = @_;

    my @all;

    for (1 .. 20) {
        push @all, clients(2 * $workers);

        my $have = grep { $_->{connections} } @{ status()->{workers} };
        return @all if $have == $workers;
    }

    BAIL_OUT("the clients do not sit in $workers workers");
}


# A process that publishes until it is told to end; it asks again when the
# worker it asked has died.

sub publisher {
    my $pid = fork() // die "fork: $!";
    return $pid if $pid;

    my $end = 0;
    $SIG{TERM} = sub { $end = 1 };

    while (!$end) {
        eval { publish() };
    }

    POSIX::_exit(0);
}


# Reads what has come to the clients; notes holes, pauses and who was closed.

sub look {
    my ($seconds, @clients) = @_;

    my %client = map { fileno($_->{socket}) => $_ } grep { !$_->{end} }
                 @clients;
    my $select = IO::Select->new(map { $_->{socket} } values %client);

    for my $socket ($select->can_read($seconds)) {

        my $c = $client{fileno $socket};

        $c->some or next;

        my $now = time;
        my $text = delete $c->{buffer};
        $c->{buffer} = '';
        $text = $c->{half} . $text if defined $c->{half};
        my $at = 0;

        while ($text =~ /"id":"[0-9a-f]+-(\d+)"/g) {
            $at = pos $text;
            $c->{holes}++ if $c->{seq} && $1 != $c->{seq} + 1;
            $c->{seq} = $1;
        }

        $c->{half} = substr $text, $at;

        if ($at && $c->{seen}) {
            my $pause = $now - $c->{seen};
            $c->{pause} = $pause if $pause > ($c->{pause} // 0);
        }

        $c->{seen} = $now if $at;
    }
}

sub newest {
    return (sort { $a <=> $b } map { $_->{seq} // 0 } grep { !$_->{end} } @_)[-1]
           // 0;
}


# Kills workers one after the other while messages flow.

sub massacre {
    my ($name, $rounds, $workers, $kill, @clients) = @_;

    my $pid = publisher();

    for my $round (1 .. $rounds) {

        my $goal = newest(@clients) + 200;
        my $end = time + 60;

        look(1, @clients) while newest(@clients) < $goal && time < $end;

        my ($victim) = grep { $_->{connections} } @{ status()->{workers} };
        last unless $victim && $kill->($victim->{pid});
    }

    my $goal = newest(@clients) + 200;
    my $end = time + 60;
    look(1, @clients) while newest(@clients) < $goal && time < $end;

    ok(newest(@clients) >= $goal, "$name: messages flow to the end");

    kill 'TERM', $pid;
    waitpid $pid, 0;

    my $last = (status()->{hubs}{chat}{position} =~ /-(\d+)$/)[0];

    ok(wait_for(sub {
        look(0.1, @clients);
        !grep { !$_->{end} && ($_->{seq} // 0) < $last } @clients;
    }), "$name: every client that is left has the last one");

    my @left = grep { !$_->{end} } @clients;

    ok(@left > 0 && @left < @clients,
       "$name: clients of the dead are gone, others are left");
    is((grep { $_->{holes} } @left), 0, "$name: they missed nothing");

    my $pause = (sort { $a <=> $b } map { $_->{pause} // 0 } @left)[-1];

    ok($pause < 10, "$name: and saw no pause of 10 s")
        or diag("a pause of $pause s");
    note(sprintf "%d of %d clients left, %d messages, longest pause %.0f ms",
         scalar @left, scalar @clients, $last, $pause * 1000);

    my $s;

    ok(wait_for(sub {
        $s = status();
        $s->{hubs}{chat}{connections}{websocket} == @left;
    }), "$name: connections of the dead are given back")
        or diag(explain($s->{hubs}));

    is(scalar @{ $s->{workers} }, $workers,
       "$name: every worker that lives has a slot, and no other");
    is($s->{check}, 'ok', "$name: every invariant of the zone holds");

    return @left;
}


# --- kill -9, with a master that starts others -----------------------------

$nginx = Broadcast::Nginx->new(
    workers => 4,
    build   => 'debug',
    http    => 'broadcast_zone hubs 8m;',
    server  => $server,
)->start;

$port = $nginx->port;

my @clients = everywhere(4);

my @left = massacre('killed workers', 3, 4, sub {
    my ($pid) = @_;
    $nginx->kill_worker($pid);
    return wait_for(sub { $nginx->workers == 4
                          && !grep { $_ == $pid } $nginx->workers });
}, @clients);

$_->drop for @left;

ok(wait_for(sub { status()->{hubs}{chat}{connections}{websocket} == 0 }),
   'when all clients have left nothing is in use');


# --- who sleeps is woken ----------------------------------------------------

sub woken {
    my ($name, $workers) = @_;

    my @all = everywhere($workers);

    my (@took, $from);

    # a ring that is lost is made good by a timer of 1 s


    for (1 .. 20) {
        $from = newest(@all);
        my $begin = time;
        publish();
        my $end = time + 30;

        look(1, @all)
            while time < $end && grep { ($_->{seq} // 0) <= $from } @all;

        push @took, time - $begin;
    }

    my $median = (sort { $a <=> $b } @took)[10];

    ok($median < 0.6,
       "$name: clients of all workers have a message at once")
        or diag("after $median s");

    is((grep { $_->{holes} } @all), 0, "$name: in order");
    is(status()->{check}, 'ok', "$name: the zone is right");

    $_->drop for @all;
}

woken('edge-triggered', 4);
$nginx->stop_ok(signal => 'TERM');


# --- the same without a master ----------------------------------------------

$nginx = Broadcast::Nginx->new(
    workers => 4,
    build   => 'debug',
    http    => 'broadcast_zone hubs 8m;',
    server  => $server,
)->start;

$port = $nginx->port;
@clients = everywhere(4);

my $master = $nginx->pid;
my @workers = $nginx->workers;

kill 'KILL', $master;
ok(wait_for(sub { waitpid($master, POSIX::WNOHANG()) == $master
                  || !kill 0, $master }),
   'the master is killed, the workers live on');

my $living = 4;

@left = massacre('without a master', 2, 2, sub {
    my ($pid) = @_;
    kill 'KILL', $pid;
    return wait_for(sub { @{ status()->{workers} } == $living - 1
                          && $living-- });
}, @clients);

$_->drop for @left;
kill 'TERM', @workers;

ok(wait_for(sub { !grep { kill 0, $_ } @workers }), 'they end when told to');
$nginx->{pid} = undef;

my @wrong = $nginx->complaints;
is_deeply(\@wrong, [], 'without an alert');


# --- event methods without edges, one process alone --------------------------

for my $method ('poll', 'select') {

    $nginx = Broadcast::Nginx->new(
        workers => 2,
        build   => 'debug',
        events  => "use $method;",
        http    => 'broadcast_zone hubs 2m;',
        server  => $server,
    );

    my ($fine, $words) = $nginx->test;

    SKIP: {
        skip "nginx has no $method", 4 if $words =~ /invalid event type/;

        $nginx->start;
        $port = $nginx->port;
        woken($method, 2);
        $nginx->stop_ok(signal => 'TERM', name => "$method: it ends well");
    }
}

$nginx = Broadcast::Nginx->new(
    workers => 1,
    build   => 'debug',
    main    => 'master_process off;',
    http    => 'broadcast_zone hubs 1m;',
    server  => $server,
);

{
    # there is no worker to wait for, it is the process itself

    no warnings qw(redefine once);
    local *Broadcast::Nginx::workers = sub {
        return (grep { cmdline_is_nginx($_) } $_[0]{pid});
    };

    sub cmdline_is_nginx { -e "/proc/$_[0]" }

    $nginx->start;
    $port = $nginx->port;

    woken('a single process', 1);
    $nginx->stop_ok(signal => 'TERM', name => 'a single process: it ends well');
}

done_testing();
