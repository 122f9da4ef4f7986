#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What things cost, in counts that are the same on every machine: system
# calls, allocations, instructions.  A figure above its bound is work that
# somebody has added to each delivery, tick, connect, publish or record: either
# it has to go, or the bound is raised in the commit that says why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::Counted;
use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::Nginx;
use Broadcast::Plain;
use Broadcast::SSE;

plan skip_all => 'another build does other work' if $ENV{BROADCAST_BUILD};

my $missing = Broadcast::Counted::missing();
plan skip_all => $missing if $missing;

# Instructions as they were measured, with gcc 12 and nginx 1.22: a bound is a
# seventh more.  Whoever makes the code better lowers them.

my %measured = (
    'a delivery to a hub\'s WebSocket'     => 405,
    'a delivery to a plain WebSocket'      => 405,
    'a delivery to an event stream'        => 415,
    'a delivery of many at once'           => 395,
    'a publish by HTTP'                    => 17330,
    'a message of a hub without clients'   => 412,
    'a connect of a hub\'s WebSocket'      => 75000,
    'a second of 900 clients at rest'      => 42000,
    'a byte of a record that is long'      => 620,
    'a join of a client in 3000 groups'    => 22000,
    'an id that a message excludes'        => 1830,
);

my $server = <<'EOS';
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /pid    { return 200 $pid; }
EOS

my $http = 'broadcast_zone hubs 32m; broadcast_keepalive 300s;'
         . 'broadcast_client_timeout 600s; keepalive_requests 1000000;'
         . 'access_log off;';


# A publisher on one connection, which is for one worker.

sub publisher {
    my ($port, $c) = @_;

    $c //= Broadcast::HTTP->connect($port, timeout => 60);

    return sub {
        my ($where, $body, $type) = @_;

        $c->request('POST', "/publish/$where", keepalive => 1,
            body => $body // 'x' x 100,
            headers => [ 'Content-Type' => $type // 'text/plain' ]);
        my $head = $c->head(60);
        $c->body($head, 'POST');
        die "publish: $head->{status}\n" if $head->{status} != 200;
    };
}


sub lines { join '', map { "{\"n\":$_,\"x\":\"" . 'x' x 80 . "\"}\n" } 1 .. $_[0] }


# Everybody has got $n messages: a hub's client is told them by "target".

sub got {
    my ($n, @clients) = @_;

    for my $client (@clients) {
        for (1 .. $n) {
            my $message = ref $client eq 'Broadcast::SSE'
                        ? $client->event(60) : $client->message(60);
            die "a message is missing\n" unless defined $message;
        }
    }
}


# n messages, one after another, each to all clients of a hub

sub paced {
    my ($publish, $where, $n, @clients) = @_;

    for (1 .. $n) {
        $publish->($where);
        got(1, @clients);
    }
}


sub hubs {
    my ($port, $hub, $n) = @_;

    return map { Broadcast::Hub->connect($port, "/client?hub=$hub") } 1 .. $n;
}


sub sockets { map { $_->{ws} // $_ } @_ }


sub plain {
    my ($port, $hub, $n) = @_;

    return map { Broadcast::Plain->connect($port, "/events/$hub") } 1 .. $n;
}


sub streams {
    my ($port, $hub, $n) = @_;

    return map { Broadcast::SSE->connect($port, "/events/$hub") } 1 .. $n;
}


sub within {
    my ($name, $is) = @_;

    my $bound = int $measured{$name} * 8 / 7;

    $is = int $is;
    note sprintf '%-40s %6d instructions, of %d', $name, $is, $bound;

    cmp_ok $is, '<=', $bound, "$name is within its bound";
    cmp_ok $is, '>', $bound / 5, '... and was counted';
}


# --- allocations and instructions --------------------------------------------

my $nginx = Broadcast::Counted->new(http => $http, server => $server,
                                    callgrind => 1)->start;
my $port = $nginx->port;
my $publish = publisher($port);

# What a message costs in a hub of many clients, less what it costs in one of
# few, is that of the clients more.

my %kinds = (
    'a hub\'s WebSocket' => \&hubs,
    'a plain WebSocket'  => \&plain,
    'an event stream'    => \&streams,
);

for my $kind (sort keys %kinds) {
    my $hub = 'h' . ++$main::hubs;
    my @few = $kinds{$kind}->($port, "few$hub", 10);
    my @many = $kinds{$kind}->($port, "many$hub", 60);
    my @to = ([ "few$hub", 20, sockets(@few) ], [ "many$hub", 20, sockets(@many) ]);

    paced($publish, @$_) for @to;

    my @n = map { my $to = $_; $nginx->allocations(sub {
        paced($publish, @$to);
    }) } @to;

    is $n[1], $n[0], "no delivery to $kind allocates anything";

    @n = map { my $to = $_; $nginx->instructions(sub {
        paced($publish, @$to);
    }) } @to;

    within("a delivery to $kind", ($n[1] - $n[0]) / 20 / 50);

    next unless $kind =~ /plain/;

    @n = map { my ($where, undef, @clients) = @$_; $nginx->instructions(sub {
        $publish->($where, lines(200), 'application/x-ndjson');
        got(200, @clients);
    }) } @to;

    within('a delivery of many at once', ($n[1] - $n[0]) / 200 / 50);
}


# A message to a group: the same, however many other clients and groups.

sub in_groups {
    my ($hub, $n) = @_;

    return map { Broadcast::Plain->connect($port,
                            "/events/$hub?group=g" . ($_ % ($n / 4))) } 1 .. $n;
}

my %groups = (small => [ in_groups('small', 40) ],
              large => [ in_groups('large', 640) ]);

my %group;

for my $hub (sort keys %groups) {
    my @in = @{ $groups{$hub} };
    my $n = @in / 4;
    my $send = sub {
        for my $g (0 .. 9) {
            $publish->("$hub?group=g$g");
            got(1, map { $in[$_ * $n + ($g || $n) - 1] } 0 .. 3);
        }
    };

    $send->();
    $group{$hub} = $nginx->instructions(sub { $send->() for 1 .. 3 }) / 30;
}

note "a message to a group of 4: $group{small} instructions among 40 clients,"
     . " $group{large} among 640";
cmp_ok $group{large}, '<', $group{small} * 1.1,
    'what a message to a group costs does not grow with the other clients';


# Publishing, and reading what nobody here is for.

$publish->('nobody') for 1 .. 20;

my @n = map { my $n = $_; $nginx->instructions(sub {
    $publish->('nobody') for 1 .. $n;
}) } 20, 220;

within('a publish by HTTP', ($n[1] - $n[0]) / 200);

# all that waits is read within a second

my $read = sub {
    my ($n) = @_;

    sleep 1.2;
    return $nginx->inside('ngx_broadcast_reader_drain', sub {
        $publish->('nobody', lines($n), 'application/x-ndjson');
        sleep 1.2;
    });
};

@n = map { $read->($_) } 100, 1100;

within('a message of a hub without clients', ($n[1] - $n[0]) / 1000);


# A record in small pieces: what has come of it is not looked through again.

my ($long) = hubs($port, 'long', 1);
my $hear = sub { $long->{ws}->ping; $long->{ws}->next_frame(60) };

$long->{ws}->text('{"type":6,"x":"' . 'x' x 500_000);
$hear->();

my $more = sub {
    $long->{ws}->write(join '', map { $long->{ws}->encode(1, 'x') } 1 .. $_[0]);
    $hear->();
};

$more->(20);
@n = map { my $n = $_; $nginx->instructions(sub { $more->($n) }) } 20, 220;

within('a byte of a record that is long', ($n[1] - $n[0]) / 200);

$long->drop;


# Groups of one client, and ids that a message is not for: what they cost does
# not grow with the groups, nor with the clients.

my $command = do {
    my $c = Broadcast::HTTP->connect($port, timeout => 60);

    sub {
        my ($method, $path, $body) = @_;

        $c->request($method, "/api/v1/hubs/$path", keepalive => 1,
            body => $body // '',
            headers => [ 'Content-Type' => 'application/json' ]);
        my $head = $c->head(60);
        $c->body($head, $method);
        die "$path: $head->{status}\n" if $head->{status} >= 300;
    };
};

my ($member) = hubs($port, 'joined', 1);
my $groups = 0;
my $join = sub {
    $command->('PUT', "joined/groups/g" . ++$groups
                      . "/connections/$member->{id}") for 1 .. $_[0];
};

$join->(3000);
@n = map { my $n = $_; $nginx->instructions(sub { $join->($n) }) } 10, 60;

within('a join of a client in 3000 groups', ($n[1] - $n[0]) / 50);

my @others = hubs($port, 'excluded', 60);
my $exclude = sub {
    my ($ids) = @_;

    $command->('POST', 'excluded/:send?'
               . join('&', map { 'excluded=' . sprintf '%022d', $_ } @$ids),
               '{"target":"t","arguments":[]}');
    got(1, sockets(@others));
};

$exclude->([ 1 .. 3 ]);
@n = map { my $n = $_; $nginx->instructions(sub { $exclude->([ 1 .. $n ]) }) }
     10, 210;

within('an id that a message excludes', ($n[1] - $n[0]) / 200);

$_->drop for $member, @others;


# Coming, and staying.

my @stay = hubs($port, 'stay', 10);

@n = map { my $n = $_; $nginx->instructions(sub {
    push @stay, hubs($port, 'stay', $n);
}) } 10, 70;

within('a connect of a hub\'s WebSocket', ($n[1] - $n[0]) / 60);

my $from = time;
my $rest = $nginx->instructions(sub { sleep 4 }) / (time - $from);

within('a second of 900 clients at rest', $rest);

$_->drop for @stay, map { @$_ } values %groups;

my @wrong = $nginx->stop(signal => 'TERM', seconds => 30);
is_deeply \@wrong, [], 'nginx ends, its log without alerts';


# --- system calls ------------------------------------------------------------

$nginx = Broadcast::Nginx->new(workers => 2, http => $http,
                               server => $server)->start;
$port = $nginx->port;

my ($here, $there) = sort { $a <=> $b } $nginx->workers;

sub traced {
    my ($pid, $what) = @_;
    my $calls = Broadcast::Counted::calls($pid, $what);
    my $n = 0;

    $n += $_ for values %$calls;
    note join ', ', map { "$_ $calls->{$_}" } sort keys %$calls;

    return ($n, $calls);
}

SKIP: {
    skip 'processes may not be traced here', 9
        unless defined Broadcast::Counted::calls($here, sub { });

    $publish = publisher($port, worker_at($port, '/pid', $here));

    my ($n, $calls) = traced($there, sub { $publish->('no') for 1 .. 300 });

    cmp_ok $n, '<', 15, 'messages of a hub without clients do not wake a worker';

    ($n, $calls) = traced($here, sub { $publish->('no') for 1 .. 300 });

    cmp_ok $n, '<=', 3 * 300 + 15, 'a publish is a read, an answer, a wait';
    cmp_ok $calls->{write} // 0, '<', 5, 'and rings nobody';

    my @clients = map {
        Broadcast::Plain->connect($port, '/events/chat',
                                  on => worker_at($port, '/pid', $here))
    } 1 .. 50;

    paced($publish, 'chat', 2, @clients);

    ($n, $calls) = traced($here, sub { paced($publish, 'chat', 20, @clients) });

    is +($calls->{writev} // 0) + ($calls->{sendto} // 0), 20 * (50 + 1),
        'a delivery alone is one call, and so is the answer';
    cmp_ok $n, '<=', 20 * (50 + 1 + 5) + 15, 'with a few a message beside';

    ($n, $calls) = traced($here, sub {
        $publish->('chat', lines(400), 'application/x-ndjson');
        got(400, @clients);
    });

    cmp_ok $n, '<', 0.1 * 400 * 50, 'many at once leave tens a call';

    ($n, $calls) = traced($here, sub { sleep 2 });

    cmp_ok $n, '<', 40, 'clients at rest cost no call of their own';

    ($n, $calls) = traced($there, sub {
        paced($publish, 'chat', 100, $clients[0]);
        got(100, @clients[1 .. 49]);
    });

    cmp_ok $n, '<', 15, 'a hub\'s messages wake those workers alone that have '
        . 'clients of it';

    $_->drop for @clients;
}

$nginx->stop_ok;


# A hub's client: a negotiate on a connection of its own, an upgrade, a
# handshake.

$nginx = Broadcast::Nginx->new(workers => 1, http => $http,
                               server => $server)->start;
$port = $nginx->port;

my ($worker) = $nginx->workers;

SKIP: {
    skip 'processes may not be traced here', 2
        unless defined Broadcast::Counted::calls($worker, sub { });

    my @clients = hubs($port, 'chat', 2);

    my ($n, $calls) = traced($worker, sub {
        push @clients, hubs($port, 'chat', 20);
    });

    my %each = (accept4 => 2, epoll_ctl => 2, recvfrom => 3, writev => 2,
                sendto => 1, setsockopt => 1, close => 1);

    is_deeply { map { $_ => $calls->{$_} } keys %each },
        { map { $_ => 20 * $each{$_} } keys %each },
        'a connect is 12 calls: two connections, three questions and answers';

    $n -= $_ for map { $calls->{$_} // 0 } keys %each, 'epoll_wait';

    cmp_ok $n, '<', 20, 'beside the waits there are no others for each';

    $_->drop for sockets(@clients);
}

$nginx->stop_ok;
done_testing;
